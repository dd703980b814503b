"""odd_pictures: what is odd about the pictures of one run, whatever engine drew them.

A picture of one colour is what overflowing numbers leave; the very same pixels under different
settings mean that a setting had no effect; and a setting that nobody asked for, but that changes
from one picture to the next, was changed at the server meanwhile. Each is told once for a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from safelight.pipeline.backend import ImageRequest, requested_knobs
from safelight.pipeline.images import PixelIdentity
from safelight.recorded_settings import EXTRA, changes_no_pixels

__all__ = ["OddPictures"]

_CHANGED_THERE = ("model", "vae", "clip_skip", "eta")
"""What a server uses when it is not asked for; other knobs hang on those that are."""

_SERVERS_OWN = frozenset({
    "ENSD", "RNG", "Token merging ratio", "Token merging ratio hr", "NGMS", "NGMS all steps",
    "Skip Early CFG", "Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise",
    "Schedule min sigma", "Schedule max sigma", "Schedule rho", "Noise Schedule",
    "Discard penultimate sigma", "SGM noise multiplier", "UniPC variant", "UniPC order",
    "UniPC skip type", "UniPC lower order final", "Tiling", "Downcast alphas_cumprod",
    "FP8 weight", "VAE Decoder", "VAE Encoder", "Noise multiplier", "Extra noise",
})  # fmt: skip
"""What texts beside pictures say of the server's settings, whatever the prompt; where one is at
its default, the text leaves it out."""
_THEY_HANG_ON = ("sampler", "scheduler")
"""Knobs with which a text leaves out a setting that has no effect."""

_MOST_KEPT = 10_000
"""What was used first is kept of so many settings: of very many prompts each comes once."""


class OddPictures:
    """Looks at every picture of a run as it is saved."""

    def __init__(self) -> None:
        self._plain: list[tuple[int, tuple[int, ...]]] = []
        self._pixels: dict[str, dict[int, None]] = {}  # pixels -> the variants that show them
        self._first: dict[bytes, tuple[int, Mapping[str, Any]]] = {}
        self._changed: dict[str, str] = {}

    def saw(
        self,
        place: int,
        request: ImageRequest,
        effective: Mapping[str, Any],
        pixels: PixelIdentity,
    ) -> None:
        """Look at one picture.

        Args:
            place: Of its variant in the run, from 0; no two variants of a run are equal.
            request: What was asked.
            effective: What the engine says it used.
            pixels: What it shows.
        """
        if pixels.colour is not None:
            self._plain.append((place, pixels.colour))
        elif request.stage == "txt2img":  # the others begin with pictures, which may be alike
            self._pixels.setdefault(pixels.pixel_sha256, {})[place] = None
        self._look_for_changes(place, request, requested_knobs(request), effective)

    def _look_for_changes(
        self, place: int, request: ImageRequest, asked: Mapping[str, Any], used: Mapping[str, Any]
    ) -> None:
        extras = {f"{EXTRA}{k}": v for k, v in (used.get("extra") or {}).items()
                  if k not in (asked.get("extra") or {}) and _may_change_pixels(k)}  # fmt: skip
        told = {k: v for k, v in extras.items() if k.removeprefix(EXTRA) in _SERVERS_OWN}
        others = {k: v for k, v in extras.items() if k not in told}
        told |= {knob: used[knob] for knob in _CHANGED_THERE if knob in used and knob not in asked}
        where = (request.stage, asked.get("model"), asked.get("extra"))
        for name, value in told.items():
            self._compare(place, request.stage, f"{where} {name}", {name: value})
        alike = [asked.get(knob, used.get(knob)) for knob in _THEY_HANG_ON]
        stated = [knob for knob in (*_CHANGED_THERE, "hires_scale") if asked.get(knob) is not None]
        self._compare(place, request.stage, f"{where} {alike} {stated}", told)
        # What else the texts say hangs on what was asked, prompts included.
        about = repr(sorted({**asked, "seed": None}.items()))
        self._compare(place, request.stage, about, others)

    def _compare(self, place: int, stage: str, about: str, told: Mapping[str, Any]) -> None:
        """Compare what one picture tells with the first about which the same was asked.

        What one tells and the other does not has changed, too.

        Args:
            place: Of its variant in the run, from 0.
            stage: Where it was drawn.
            about: What was asked.
            told: Name -> value.
        """
        key = _digest(about)
        if key not in self._first and len(self._first) >= _MOST_KEPT:
            return
        before, known = self._first.setdefault(key, (place, told))
        for name in (*known, *(n for n in told if n not in known)):
            was, value = known.get(name), told.get(name)
            if was == value or name in self._changed:
                continue
            self._changed[name] = (
                f"{stage}.{name} was not asked for, and changed while the run went on:"
                f" {_told(was)} at picture {before + 1}, {_told(value)} at picture {place + 1}"
            )

    def sentences(self) -> list[str]:
        """Return what is odd, one sentence for each kind."""
        told = []
        if self._plain:
            place, colour = self._plain[0]
            black = "black" if not any(colour[:3]) else "of one colour"
            told.append(
                f"{_counted(len(self._plain))} all {black} (first: variant {place + 1}); with"
                " float16, a model whose numbers overflow does this"
            )
        same = [[*places] for places in self._pixels.values() if len(places) > 1]
        if same:
            number, (one, other, *_) = sum(map(len, same)), same[0]
            told.append(
                f"{number} pictures have the same pixels as another of other settings (first:"
                f" variants {one + 1} and {other + 1}): what differs between them had no effect"
            )
        return [*told, *self._changed.values()]


def _may_change_pixels(name: str) -> bool:
    """Whether it is neither a time, a user or an address, nor a seed, which each picture has."""
    return not (changes_no_pixels(f"{EXTRA}{name}") or name.lower().endswith("seed"))


def _told(value: Any) -> str:
    return "nothing is told" if value is None else repr(value)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _counted(number: int) -> str:
    return "1 picture is" if number == 1 else f"{number} pictures are"
