"""What is odd about the pictures of a run is told once, whatever engine drew them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from safelight.pipeline import (
    BackendDescription,
    GeneratedImage,
    Generation,
    ImageRequest,
    PipelineRunner,
    StepCallback,
    odd_pictures,
)
from safelight.pipeline.backend import Txt2ImgRequest, requested_knobs
from safelight.pipeline.images import PixelIdentity, encode_png, identify_pixels

Answer = Callable[[Mapping[str, Any]], tuple[tuple[int, int, int] | int, Mapping[str, Any]]]


class Painter:
    """Answers with pictures of one colour, or of noise from a number."""

    name = "painter"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def describe(self) -> BackendDescription:
        return BackendDescription(name=self.name)

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        asked = requested_knobs(request)
        colour, used = self._answer(asked)
        if isinstance(colour, int):
            samples = np.random.default_rng(colour).integers(0, 256, (64, 64, 3), np.uint8)
        else:
            samples = np.full((64, 64, 3), colour, np.uint8)
        effective = {**asked, **used}
        return Generation(images=(GeneratedImage(png=encode_png(samples), effective=effective),))


def warnings_of(answer: Answer, **knobs: Any) -> list[str]:
    config = {
        "txt2img": {"prompt": "a", "seed": 1, "width": 64, "height": 64},
        "randomizer": {
            "mode": "fanout", "sweep": {f"txt2img.{name}": list(v) for name, v in knobs.items()},
        },
    }  # fmt: skip
    result = PipelineRunner(Painter(answer)).run(config, seed=1)
    assert result.status == "completed"
    return list(result.warnings)


def test_a_run_of_different_pictures_has_nothing_odd() -> None:
    assert warnings_of(lambda r: (r["steps"], {}), steps=range(1, 5)) == []


@pytest.mark.parametrize(("colour", "called"), [((0, 0, 0), "black"), ((7, 7, 9), "one colour")])
def test_pictures_of_one_colour_are_told_once(colour: tuple[int, int, int], called: str) -> None:
    told = warnings_of(lambda r: (colour if r["steps"] > 2 else r["steps"], {}), steps=range(1, 6))
    assert len(told) == 1
    assert told[0].startswith(f"3 pictures are all {'of ' * (called != 'black')}{called} (first: v")


def test_the_same_pixels_of_other_settings_are_told_once() -> None:
    told = warnings_of(lambda r: (r["seed"], {}), steps=range(1, 5))
    assert len(told) == 1
    assert told[0].startswith("4 pictures have the same pixels as another of other settings")
    assert "variants 1 and 2" in told[0]


def test_what_nobody_asked_for_and_changes_is_told() -> None:
    """Somebody turned a knob at the server while the run went on."""
    told = warnings_of(
        lambda r: (r["steps"], {"clip_skip": 1 if r["steps"] < 3 else 2}),
        steps=range(1, 5),
    )
    assert told == [
        "txt2img.clip_skip was not asked for, and changed while the run went on: 1 at picture 1,"
        " 2 at picture 3"
    ]


def test_what_the_texts_say_hangs_on_what_was_asked() -> None:
    """Of different prompts they may differ; of different seeds they may not."""
    by_steps = warnings_of(
        lambda r: (r["steps"], {"extra": {"Lora hashes": str(r["steps"])}}), steps=range(1, 4)
    )
    assert by_steps == []
    by_seed = warnings_of(
        lambda r: (r["seed"], {"extra": {"ENSD": str(r["seed"])}}), seed=range(1, 4)
    )
    assert len(by_seed) == 1
    assert "txt2img.extra.ENSD" in by_seed[0]
    of_each = {"Variation seed": 0, "Time taken": 0}
    for_each = warnings_of(
        lambda r: (r["seed"], {"extra": dict.fromkeys(of_each, str(r["seed"]))}), seed=range(1, 4)
    )
    assert for_each == []


def saw(*pictures: tuple[Mapping[str, Any], Mapping[str, Any]]) -> list[str]:
    """Return what is told of pictures that were asked for so, and drawn so."""
    odd = odd_pictures.OddPictures()
    for place, (asked, used) in enumerate(pictures):
        request = Txt2ImgRequest(seed=1, width=64, height=64, **asked)
        pixels = PixelIdentity(pixel_sha256=f"{place:064x}", width=64, height=64)
        odd.saw(place, request, used, pixels)
    return odd.sentences()


def test_a_setting_that_is_switched_on_or_off_has_changed() -> None:
    """A text leaves out what is at its default, and what a sampler has no use for."""
    ancestral, plain = {"sampler": "Euler a"}, {"sampler": "Euler"}
    ensd, other = {"extra": {"ENSD": "31337"}}, {"extra": {"ENSD": "5"}}
    assert len(saw((ancestral, {}), ({**ancestral, "prompt": "b"}, ensd))) == 1
    assert len(saw((ancestral, ensd), (ancestral, {}))) == 1
    assert len(saw((ancestral, {}), (ancestral, {"vae": "soft"}))) == 1
    assert saw((ancestral, ensd), (plain, {}), (ancestral, ensd)) == []
    dpm = {"sampler": "DPM2 a"}
    assert len(saw((ancestral, ensd), (dpm, other))) == 1


def test_what_hangs_on_what_was_asked_has_not_changed() -> None:
    """A server may have a VAE for each model, and is told settings by ``extra``."""
    assert saw(({"model": "a"}, {"vae": "x"}), ({"model": "b"}, {"vae": "y"})) == []
    assert saw(({"vae": "x"}, {}), ({}, {"vae": "y"})) == []
    moved = {"extra": {"override_settings": {"eta_noise_seed_delta": 5}}}
    ensd = {"extra": {**moved["extra"], "ENSD": "5"}}
    assert saw(({}, {}), (moved, ensd), ({}, {})) == []


def test_what_is_kept_of_a_long_run_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts are long, and each of very many comes once."""
    monkeypatch.setattr(odd_pictures, "_MOST_KEPT", 100)
    odd, pictures = odd_pictures.OddPictures(), 500
    tracemalloc.start()
    try:
        for place in range(pictures):
            request = Txt2ImgRequest(prompt=f"{place} " + 4000 * "a", seed=1, width=64, height=64)
            pixels = PixelIdentity(pixel_sha256=f"{place:064x}", width=64, height=64)
            odd.saw(place, request, {"extra": {"ENSD": str(place)}}, pixels)
        assert tracemalloc.get_traced_memory()[0] < 1000 * pictures
    finally:
        tracemalloc.stop()


def test_one_colour_is_seen_in_tall_pictures_and_with_transparency() -> None:
    """They are looked at band by band."""
    plain = np.full((2000, 300, 3), 5, np.uint8)
    assert identify_pixels(encode_png(plain)).colour == (5, 5, 5)
    plain[1999, 299, 2] = 6
    assert identify_pixels(encode_png(plain)).colour is None
    plain[:] = 5
    plain[1000:] = 6
    assert identify_pixels(encode_png(plain)).colour is None
