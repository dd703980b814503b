"""Drawing: one request to the bundled model, decided, checked, and carried out.

A request is one pass of a sampler, two with the hires fix (draw, enlarge, redraw), and as many
pictures as its batch asks for, one after another, so that a picture of a batch has the same
bytes as the same seed drawn alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from safelight.backends.bundled.samplers import SAMPLERS, Array, Walk
from safelight.backends.bundled.schedules import SCHEDULES
from safelight.backends.bundled.text_to_image_model import TextToImageModel
from safelight.backends.input_picture import input_picture
from safelight.backends.upscalers import own_upscalers, upscale
from safelight.errors import BackendError
from safelight.pipeline.backend import (
    DrawingRequest,
    GeneratedImage,
    Img2ImgRequest,
    StepCallback,
    Txt2ImgRequest,
)
from safelight.pipeline.images import encode_png
from safelight.sampler_names import SAMPLERS as NAMES
from safelight.sampler_names import name_hint

__all__ = ["Drawing"]

_MOST_STEPS = 1000
_SIDE_STEP = 16
"""Sides are multiples of this: the network folds by 4 and halves twice."""


def _one_of(knob: str, value: str | None, known: Sequence[str] | Mapping[str, Any]) -> str | None:
    """Return *value* when the engine knows it.

    Raises:
        BackendError: It does not.
    """
    if value is not None and value not in known:
        hint = name_hint(knob, value, known)
        raise BackendError(f"the bundled model has no {knob} {value!r}{hint}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One walk of a sampler.

    Attributes:
        sigmas: The levels that it visits, the last one 0; a single one is no walk at all.
        size: (width, height) in pixels.
    """

    sigmas: Array
    size: tuple[int, int]


class Drawing:
    """One request, ready to be carried out.

    Args:
        model: The networks.
        request: What to draw.

    Raises:
        BackendError: A knob of *request* breaks a rule of the model.
    """

    def __init__(self, model: TextToImageModel, request: DrawingRequest) -> None:
        self._model = model
        self._request = request
        self.prompt = model.encode(request.prompt)
        self.negative = model.encode(request.negative_prompt)
        self.knobs = self._decided()
        self._sampler = SAMPLERS[self.knobs["sampler"]]
        self._passes = tuple(self._planned())
        self._given, self._mask = self._inputs()

    def pictures(self, on_step: StepCallback) -> Iterator[GeneratedImage]:
        """Draw one picture after another, reporting the steps of all."""
        model, knobs = self._model, self.knobs
        denoise = model.denoiser(self.prompt, self.negative, knobs["cfg_scale"])
        batch = knobs.get("batch_size", 1)
        each = sum(max(len(part.sigmas) - 1, 1) for part in self._passes)
        for number in range(batch):
            seed = knobs["seed"] + number
            done = number * each

            def report(step: int, denoised: Array, done: int = done) -> None:
                on_step(done + step, batch * each, encode_png(model.to_pixels(denoised)))

            x = self._drawn(np.random.Generator(np.random.PCG64(seed)), denoise, report)
            png = encode_png(model.to_pixels(x))
            yield GeneratedImage(png=png, effective={**knobs, "seed": seed})

    # -- deciding ------------------------------------------------------------------------

    def _decided(self) -> dict[str, Any]:
        """Return every knob that shapes the picture, defaults filled in."""
        request, model = self._request, self._model
        _one_of("model", request.model, (model.name,))
        sampler = _one_of("sampler", request.sampler, SAMPLERS) or "DPM++ 2M"
        width, height = self._size()
        knobs: dict[str, Any] = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "model": model.name,
            "sampler": sampler,
            "scheduler": _scheduler(request.scheduler, sampler),
            "steps": _steps("steps", request.steps, 20),
            "cfg_scale": _finite("cfg_scale", request.cfg_scale, 3.0),
            "seed": request.seed,
            "width": width,
            "height": height,
        }
        own_eta = SAMPLERS[sampler].eta
        if own_eta is not None:
            knobs["eta"] = own_eta if request.eta is None else request.eta
        batch = 1 if request.batch_size is None else request.batch_size
        if batch < 1:
            raise BackendError(f"batch_size must be at least 1, got {batch}")
        if request.batch_size is not None:
            knobs["batch_size"] = batch
        if not 0 <= request.seed <= 2**64 - batch:
            raise BackendError(
                "seed must lie in 0 to 2**64 - 1 for every picture,"
                f" got {batch} from {request.seed}"
            )
        if isinstance(request, Img2ImgRequest):
            knobs["denoising_strength"] = _strength(
                "denoising_strength", request.denoising_strength, 0.75
            )
            if request.mask is not None:
                knobs["mask_blur"] = request.mask_blur or 0
        if isinstance(request, Txt2ImgRequest) and request.hires_scale is not None:
            knobs |= self._hires(request, knobs["steps"])
        return knobs

    def _hires(self, request: Txt2ImgRequest, steps: int) -> dict[str, Any]:
        scale = _finite("hires_scale", request.hires_scale, 2.0)
        first, largest = self._model.image_size, self._model.largest_side
        if not first < first * scale <= largest or first * scale % _SIDE_STEP:
            fitting = [side / first for side in range(first, largest + 1, _SIDE_STEP)][1:]
            scales = ", ".join(f"{fit:g}" for fit in fitting)
            raise BackendError(f"hires_scale of the bundled model must be {scales}; got {scale:g}")
        upscaler = _one_of("hires_upscaler", request.hires_upscaler, own_upscalers())
        return {
            "hires_scale": scale,
            "hires_upscaler": upscaler or "Lanczos",
            "hires_steps": _steps("hires_steps", request.hires_steps, steps),
            "hires_denoising_strength": _strength(
                "hires_denoising_strength", request.hires_denoising_strength, 0.2
            ),
        }

    def _size(self) -> tuple[int, int]:
        """Return (width, height): the model's own, or for redrawing up to the largest it can."""
        first, largest = self._model.image_size, self._model.largest_side
        redraws = isinstance(self._request, Img2ImgRequest)
        sides = range(first, largest + 1, _SIDE_STEP) if redraws else range(first, first + 1)
        for name, side in (("width", self._request.width), ("height", self._request.height)):
            if side is not None and side not in sides:
                possible = " or ".join(map(str, sides)) if len(sides) < 3 else (
                    f"{first} to {largest} in steps of {_SIDE_STEP}"
                )  # fmt: skip
                raise BackendError(
                    f"{name} must be {possible} px for the bundled model, got {side}; leave it out,"
                    " and enlarge with hires_scale or an [upscale] stage"
                )
        return self._request.width or first, self._request.height or first

    def _planned(self) -> Iterator[_Pass]:
        knobs = self.knobs
        size = (knobs["width"], knobs["height"])
        whole = self._sigmas(knobs["steps"])
        strength = knobs.get("denoising_strength")
        start = 0 if strength is None else _first_level(strength, knobs["steps"])
        yield _Pass(sigmas=whole[start:], size=size)
        if "hires_scale" in knobs:
            start = _first_level(knobs["hires_denoising_strength"], knobs["hires_steps"])
            scale = knobs["hires_scale"]
            yield _Pass(
                sigmas=self._sigmas(knobs["hires_steps"])[start:],
                size=(round(size[0] * scale), round(size[1] * scale)),
            )

    def _sigmas(self, steps: int) -> Array:
        schedule = SCHEDULES[self.knobs["scheduler"]]
        return schedule(steps, self._model.sigma_min, self._model.sigma_max)

    def _inputs(self) -> tuple[Array | None, Array | None]:
        """Return the picture to start from and what of it may change, 0 (keep) to 1."""
        request, size = self._request, self._passes[0].size
        if not isinstance(request, Img2ImgRequest):
            return None, None
        given = self._model.from_pixels(_resized(input_picture(request.init_image), size))
        if request.mask is None:
            return given, None
        grey = input_picture(request.mask).convert("L")
        if self.knobs["mask_blur"]:
            grey = grey.filter(ImageFilter.GaussianBlur(self.knobs["mask_blur"]))
        return given, _resized(grey, size).astype(np.float32)[None, None] / np.float32(255)

    # -- drawing -------------------------------------------------------------------------

    def _drawn(
        self,
        chance: np.random.Generator,
        denoise: Callable[[Array, float], Array],
        report: Callable[[int, Array], None],
    ) -> Array:
        first, *more = self._passes
        start = self._given if self._given is not None else _nothing(first.size)
        if self._mask is not None:
            denoise = _kept(denoise, start, self._mask)
        x = self._walk(first, start, chance, denoise, report)
        if self._mask is not None:
            x = self._mask * x + (1 - self._mask) * start
        done = max(len(first.sigmas) - 1, 1)
        for part in more:
            picture = Image.fromarray(self._model.to_pixels(x))
            enlarged = np.asarray(
                upscale(picture, self.knobs["hires_upscaler"], self.knobs["hires_scale"])
            )
            start = self._model.from_pixels(enlarged)

            def onwards(step: int, denoised: Array, done: int = done) -> None:
                report(done + step, denoised)

            x = self._walk(part, start, chance, denoise, onwards)
            done += max(len(part.sigmas) - 1, 1)
        return x

    def _walk(
        self,
        part: _Pass,
        start: Array,
        chance: np.random.Generator,
        denoise: Callable[[Array, float], Array],
        report: Callable[[int, Array], None],
    ) -> Array:
        def noise() -> Array:
            return chance.standard_normal(start.shape, np.float32)

        x: Array = start + noise() * part.sigmas[0]
        if len(part.sigmas) == 1:
            report(1, start)
            return x
        walk = Walk(
            denoise=denoise,
            sigmas=part.sigmas,
            noise=noise,
            eta=self.knobs.get("eta", 0.0),
            on_step=report,
        )
        return self._sampler.run(walk, x)


def _nothing(size: tuple[int, int]) -> Array:
    return np.zeros((1, 3, size[1], size[0]), np.float32)


def _kept(denoise: Callable[[Array, float], Array], start: Array, mask: Array) -> Any:
    """Return a denoiser that expects *start* wherever *mask* is 0."""
    return lambda x, sigma: mask * denoise(x, sigma) + (1 - mask) * start


def _first_level(strength: float, steps: int) -> int:
    """Return where in a schedule of *steps* redrawing begins, as AUTOMATIC1111 counts.

    Source: ``setup_img2img_steps`` and ``sample_img2img`` of AUTOMATIC1111 1.10, except that
    strength 0 is no step at all.
    """
    return steps if strength == 0 else steps - 1 - int(min(strength, 0.999) * steps)


def _scheduler(asked: str | None, sampler: str) -> str:
    """Return the schedule; ``Automatic`` is what it is for *sampler* in AUTOMATIC1111."""
    if asked != "Automatic":
        return _one_of("scheduler", asked, SCHEDULES) or "Karras"
    automatic = NAMES[sampler].scheduler
    return automatic if automatic in SCHEDULES else "Normal"


def _steps(knob: str, value: int | None, default: int) -> int:
    steps = default if value is None else value
    if not 1 <= steps <= _MOST_STEPS:
        raise BackendError(f"{knob} must be an integer from 1 to {_MOST_STEPS}, got {steps}")
    return steps


def _finite(knob: str, value: float | None, default: float) -> float:
    number = default if value is None else value
    if not np.isfinite(number):
        raise BackendError(f"{knob} must be a finite number, got {number}")
    return number


def _strength(knob: str, value: float | None, default: float) -> float:
    strength = default if value is None else value
    if not 0 <= strength <= 1:
        raise BackendError(f"{knob} must be a number from 0 to 1, got {strength}")
    return strength


def _resized(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    same = picture.size == size
    return np.asarray(picture if same else picture.resize(size, Image.Resampling.LANCZOS))
