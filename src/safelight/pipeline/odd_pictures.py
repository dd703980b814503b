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

_MOST_KEPT = 10_000
"""What was used first is kept of so many settings: of very many prompts each comes once."""


class OddPictures:
    """Looks at every picture of a run as it is saved."""

    def __init__(self) -> None:
        self._plain: list[tuple[int, tuple[int, ...]]] = []
        self._pixels: dict[str, dict[int, None]] = {}  # pixels -> the variants that show them
        self._used: dict[tuple[str, bytes], tuple[int, Any]] = {}
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
        told = {knob: used[knob] for knob in _CHANGED_THERE if knob in used and knob not in asked}
        extras = {f"{EXTRA}{k}": v for k, v in (used.get("extra") or {}).items()
                  if k not in (asked.get("extra") or {}) and _may_change_pixels(k)}  # fmt: skip
        others = _digest(repr(sorted({**asked, "seed": None}.items()))) if extras else b""
        for name, value in (*told.items(), *extras.items()):
            # What the texts beside pictures say hangs on what was asked, prompts included.
            about = others if name in extras else request.stage.encode()
            if (name, about) not in self._used and len(self._used) >= _MOST_KEPT:
                continue
            before, known = self._used.setdefault((name, about), (place, value))
            if known != value and name not in self._changed:
                self._changed[name] = (
                    f"{request.stage}.{name} was not asked for, and changed while the run went on:"
                    f" {known!r} at picture {before + 1}, {value!r} at picture {place + 1}"
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


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _counted(number: int) -> str:
    return "1 picture is" if number == 1 else f"{number} pictures are"
