"""What every engine promises; an engine's own test inherits BackendContract."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from safelight.errors import BackendError, GenerationCancelled
from safelight.knobs import KNOBS, knob_fault
from safelight.pipeline.backend import (
    Backend,
    GeneratedImage,
    Img2ImgRequest,
    ListsChoices,
    TellsSetup,
    Txt2ImgRequest,
    UpscaleRequest,
)


class Steps:
    """Takes what an engine reports, and stops it after *stop_after* steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[tuple[int, int]] = []
        self.previews: list[bytes] = []
        self._stop_after = stop_after

    def __call__(self, step: int, steps: int, preview: bytes | None = None) -> None:
        self.seen.append((step, steps))
        if preview is not None:
            self.previews.append(preview)
        if self._stop_after is not None and len(self.seen) >= self._stop_after:
            raise GenerationCancelled("stopped by the test")


def pixels(png: bytes) -> NDArray[np.int16]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.int16)


class BackendContract:
    """Every test here holds for every engine; subclasses provide the two fixtures."""

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError("return the engine, ready to draw")

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        """A small txt2img request that this engine can carry out fast."""
        raise NotImplementedError("return the fields of a Txt2ImgRequest")

    def draw(self, backend: Backend, fields: dict[str, Any], **changes: Any) -> GeneratedImage:
        request = Txt2ImgRequest(**{**fields, **changes})
        (image,) = backend.generate(request, Steps()).images
        return image

    def test_the_same_request_gives_the_same_picture(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """All chance comes from the seed."""
        first, second = (self.draw(backend, request_fields) for _ in range(2))
        assert (pixels(first.png) == pixels(second.png)).all()

    def test_what_pictures_depend_on_is_told_in_plain_values(self, backend: Backend) -> None:
        """And is the same as long as nothing changes."""
        assert isinstance(backend, TellsSetup)
        named = {"model": ["m"], "vae": ["v"], "upscaler": ["Lanczos"]}
        first, second = backend.setup(named), backend.setup(named)
        assert first == second
        for part in (first.facts, first.defaults, first.contents):
            assert json.loads(json.dumps(dict(part))) == dict(part)

    def test_another_seed_gives_another_picture(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """And the seed that was used is reported."""
        seed = request_fields.get("seed", 0) + 1
        first, second = self.draw(backend, request_fields), self.draw(
            backend, request_fields, seed=seed
        )  # fmt: skip
        assert (pixels(first.png) != pixels(second.png)).any()
        assert second.effective.get("seed", seed) == seed

    @pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**64 - 1])
    def test_every_seed_is_a_seed(
        self, backend: Backend, request_fields: dict[str, Any], seed: int
    ) -> None:
        """Zero is no absence, and large ones are not cut."""
        try:
            image = self.draw(backend, request_fields, seed=seed)
        except BackendError as error:
            assert "seed" in str(error), "a seed that the engine cannot take is refused by name"
        else:
            assert image.effective.get("seed", seed) == seed

    def test_the_picture_has_the_size_that_is_reported(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """What the record says is what the file is."""
        image = self.draw(backend, request_fields)
        height, width, _ = pixels(image.png).shape
        assert image.effective.get("width", width) == width
        assert image.effective.get("height", height) == height

    def test_what_is_reported_are_knobs_with_right_values(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """Plain values of the right kind, defaults above all."""
        image = self.draw(backend, {"prompt": request_fields["prompt"]})
        assert json.loads(json.dumps(dict(image.effective))) == dict(image.effective)
        for name, value in image.effective.items():
            if name in KNOBS:
                assert knob_fault(KNOBS[name], value) is None, name
        assert {"sampler", "steps", "cfg_scale", "seed"} <= image.effective.keys()

    def test_steps_are_reported_in_order_up_to_the_last(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """A progress bar ends full."""
        steps = Steps()
        backend.generate(Txt2ImgRequest(**request_fields), steps)
        assert steps.seen
        assert all(1 <= step <= of for step, of in steps.seen)
        assert [step for step, _ in steps.seen] == sorted(step for step, _ in steps.seen)
        assert steps.seen[-1][0] == steps.seen[-1][1]
        for preview in steps.previews:
            pixels(preview)

    def test_a_stop_passes_through_and_the_engine_lives_on(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """Cancelling one picture must not cost the next."""
        whole = self.draw(backend, request_fields)
        with pytest.raises(GenerationCancelled):
            backend.generate(Txt2ImgRequest(**request_fields), Steps(stop_after=1))
        assert (pixels(self.draw(backend, request_fields).png) == pixels(whole.png)).all()

    @pytest.mark.parametrize("knob", ["sampler", "scheduler"])
    def test_an_unknown_name_is_never_used_in_silence(
        self, backend: Backend, request_fields: dict[str, Any], knob: str
    ) -> None:
        """Refused, reported as what was used instead, or warned of as without effect."""
        request = Txt2ImgRequest(**{**request_fields, knob: "No Such Name"})
        try:
            generation = backend.generate(request, Steps())
        except BackendError as error:
            assert knob in str(error)
            assert "No Such Name" in str(error)
        else:
            used = generation.images[0].effective.get(knob)
            assert used != "No Such Name"
            assert used is not None or any(knob in warning for warning in generation.warnings)

    @pytest.mark.parametrize(
        ("knob", "value"),
        [
            ("vae", "no such vae"), ("clip_skip", 2), ("eta", 0.5), ("batch_size", 2),
            ("hires_scale", 2), ("extra", {"no_such_knob": 1}),
        ],
    )  # fmt: skip
    def test_no_knob_is_ignored_in_silence(
        self, backend: Backend, request_fields: dict[str, Any], knob: str, value: Any
    ) -> None:
        """Used and reported, refused by name, or warned of."""
        request = Txt2ImgRequest(**{**request_fields, knob: value})
        name = "no_such_knob" if knob == "extra" else knob
        try:
            generation = backend.generate(request, Steps())
        except BackendError as error:
            assert name in str(error)
            return
        used = generation.images[0].effective
        assert name in used or any(name in warning for warning in generation.warnings)
        if knob == "batch_size" and used.get(knob) == 2:
            seeds = [image.effective.get("seed") for image in generation.images]
            assert seeds == [request.seed, request.seed + 1]
        if knob == "hires_scale" and knob in used:
            height, width, _ = pixels(generation.images[0].png).shape
            assert (width, height) == (2 * used["width"], 2 * used["height"])

    @pytest.mark.parametrize(
        ("knob", "value"),
        [
            ("guidance", 2.5), ("cfg_rescale", 0.5), ("shift", 3.0), ("sigmas", "1.0, 0.5, 0"),
            ("text_encoders", "no such encoder"), ("weight_dtype", "no such format"),
            ("cache", "no such cache"),
        ],
    )  # fmt: skip
    def test_no_knob_without_a_field_is_ignored_in_silence(
        self, backend: Backend, request_fields: dict[str, Any], knob: str, value: Any
    ) -> None:
        """They are in the table, so a config may state them; few engines have all of them."""
        request = Txt2ImgRequest(**request_fields, others={knob: value})
        try:
            generation = backend.generate(request, Steps())
        except BackendError as error:
            assert knob in str(error)
            return
        used = generation.images[0].effective
        assert knob in used or any(knob in warning for warning in generation.warnings)

    def test_a_mask_keeps_what_it_shows_black(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """Where the engine can mask; where it cannot, it says so."""
        given = self.draw(backend, request_fields)
        height, width, _ = pixels(given.png).shape
        half = np.zeros((height, width, 3), np.uint8)
        half[:, : width // 2] = 255
        buffer = io.BytesIO()
        Image.fromarray(half).save(buffer, "PNG")
        request = Img2ImgRequest(
            init_image=given.png, mask=buffer.getvalue(), denoising_strength=0.9,
            **{**request_fields, "seed": 987, "prompt": "something else"},
        )  # fmt: skip
        try:
            generation = backend.generate(request, Steps())
        except BackendError as error:
            assert "mask" in str(error)
            return
        if any("mask" in warning for warning in generation.warnings):
            return
        apart = np.abs(pixels(generation.images[0].png) - pixels(given.png)).mean(axis=(0, 2))
        assert apart[width * 3 // 4 :].mean() < apart[: width // 4].mean()

    def test_every_listed_choice_can_be_used(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """What the engine offers, it does, and reports by the same name (or what it chose)."""
        if not isinstance(backend, ListsChoices):
            pytest.skip("this engine lists no choices")
        for knob in ("sampler", "scheduler"):
            for name in backend.choices().get(knob, ()):
                image = self.draw(backend, request_fields, **{knob: name})
                assert image.effective[knob] == name or name == "Automatic"

    def test_redrawing_keeps_the_more_the_lower_the_strength(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """At 0 the input comes back, at 1 little of it is left."""
        given = self.draw(backend, request_fields)
        distances = []
        for strength in (0.0, 0.5, 1.0):
            request = Img2ImgRequest(
                init_image=given.png,
                denoising_strength=strength,
                **{**request_fields, "seed": 987, "prompt": "something else"},
            )
            (image,) = backend.generate(request, Steps()).images
            distances.append(float(np.abs(pixels(image.png) - pixels(given.png)).mean()))
        assert distances[0] < 3
        assert distances[0] < distances[1] < distances[2]

    def test_an_upscale_makes_both_sides_larger(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """By the factor that was asked for, to the pixel."""
        given = self.draw(backend, request_fields)
        request = UpscaleRequest(init_image=given.png, scale=1.5)
        (image,) = backend.generate(request, Steps()).images
        before, after = pixels(given.png).shape, pixels(image.png).shape
        assert after[:2] == (round(before[0] * 1.5), round(before[1] * 1.5))
        assert image.effective["scale"] == 1.5

    @pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
    def test_a_damaged_input_is_refused(
        self, backend: Backend, request_fields: dict[str, Any], data: bytes
    ) -> None:
        """Some real engines draw from the text alone then, and say nothing."""
        with pytest.raises(BackendError):
            backend.generate(Img2ImgRequest(init_image=data, **request_fields), Steps())
        with pytest.raises(BackendError):
            backend.generate(UpscaleRequest(init_image=data, scale=2), Steps())

    @pytest.mark.parametrize("prompt", ["", "灯台 🗼", "a " * 10_000, "(x:1.2) [y] <x:z:0.5>"])
    def test_any_prompt_is_drawn(
        self, backend: Backend, request_fields: dict[str, Any], prompt: str
    ) -> None:
        """Empty, long, foreign or full of other engines' syntax: a picture, perhaps a warning."""
        pixels(self.draw(backend, request_fields, prompt=prompt).png)

    def test_it_describes_itself_in_plain_values(self, backend: Backend) -> None:
        """The description goes into every record."""
        description = backend.describe()
        assert description.name == backend.name
        environment = dict(description.environment)
        assert json.loads(json.dumps(environment)) == environment
