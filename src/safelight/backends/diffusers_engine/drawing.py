"""Drawing: one request to a loaded model, from knobs to pictures and back to knobs.

Every picture of a batch is drawn alone: drawn together they would differ from the same seeds
alone in their last bits, and a good one could not be drawn again by its seed.
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFilter

from safelight.backends.diffusers_engine.loaded_model import LoadedModel
from safelight.backends.diffusers_engine.schedulers import choose_scheduler
from safelight.backends.input_picture import input_picture
from safelight.backends.upscalers import upscale
from safelight.errors import BackendError, GenerationCancelled
from safelight.lora_tags import split_loras
from safelight.pipeline.backend import (
    DrawingRequest,
    GeneratedImage,
    Generation,
    Img2ImgRequest,
    StepCallback,
    Txt2ImgRequest,
    unused_knobs,
)

__all__ = ["Drawing"]

_STEPS, _CFG_SCALE, _STRENGTH, _HIRES_STRENGTH = 20, 7.0, 0.75, 0.7
_MOST_STEPS = 1000
_ATTENTION = re.compile(r"(?<!\\)\([^()]*:\s*[\d.]+\s*\)")


class Drawing:
    """One request, ready to be carried out.

    Args:
        model: The model, loaded.
        request: What to draw.

    Raises:
        BackendError: A knob of *request* cannot be done with this model.
    """

    def __init__(self, model: LoadedModel, request: DrawingRequest) -> None:
        self._model, self._request = model, request
        self._prompt, self._loras = split_loras(request.prompt)
        self._negative, _ = split_loras(request.negative_prompt)
        self._pipeline = model.pipeline(self._task())
        self._chosen = choose_scheduler(model.own_scheduler, request.sampler, request.scheduler)
        self._pipeline.scheduler = self._chosen.scheduler
        self._arguments = frozenset(inspect.signature(self._pipeline.__call__).parameters)
        self._steps = _STEPS if request.steps is None else request.steps
        if not 1 <= self._steps <= _MOST_STEPS:
            raise BackendError(f"steps must be from 1 to {_MOST_STEPS}, got {self._steps}")
        self._batch = request.batch_size or 1
        if not 0 <= request.seed <= 2**64 - self._batch:
            raise BackendError(f"seed must lie in 0 to 2**64 - 1, got {request.seed}")
        self._given, self._mask = self._inputs()
        self._extra = {k: v for k, v in request.extra.items() if k in self._arguments}

    def carry_out(self, on_step: StepCallback, lora_dir: Path | None) -> Generation:
        """Draw every picture of the request.

        Raises:
            BackendError: The library refuses, or the device has too little memory.
            GenerationCancelled: *on_step* asked to stop.
        """
        progress = _Progress(on_step, self._batch)
        try:
            if lora_dir is not None:
                self._model.put_on(self._loras, lora_dir)
            images = []
            for number in range(self._batch):
                images.append(self._picture(self._request.seed + number, progress))
                progress.picture_done()
        except (BackendError, GenerationCancelled):
            raise
        except torch.OutOfMemoryError as error:
            raise BackendError(
                "the device has too little memory for this picture; try a smaller width and"
                " height, or dtype = 'float16'"
            ) from error
        except Exception as error:
            raise BackendError(f"diffusers refuses the request: {self._fault(error)}") from error
        finally:
            if self._loras:
                self._model.take_off()
        warnings = self._warnings(images[0])
        if self._loras and lora_dir is None:
            names = ", ".join(lora.name for lora in self._loras)
            warnings.append(f"LoRAs had no effect ({names}): set lora_dir in the backend's table")
        return Generation(images=tuple(images), warnings=tuple(warnings))

    def _task(self) -> str:
        if not isinstance(self._request, Img2ImgRequest):
            return "txt2img"
        return "img2img" if self._request.mask is None else "inpaint"

    def _inputs(self) -> tuple[Image.Image | None, Image.Image | None]:
        request = self._request
        if not isinstance(request, Img2ImgRequest):
            return None, None
        given = input_picture(request.init_image)
        size = (request.width or _evened(given.width), request.height or _evened(given.height))
        if given.size != size:
            given = given.resize(size, Image.Resampling.LANCZOS)
        if request.mask is None:
            return given, None
        mask = input_picture(request.mask).convert("L").resize(size)
        blur = request.mask_blur or 0
        return given, mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask

    # -- one picture ---------------------------------------------------------------------

    def _picture(self, seed: int, progress: _Progress) -> GeneratedImage:
        generator = torch.Generator("cpu").manual_seed(seed)
        request = self._request
        knobs = self._common(seed)
        if isinstance(request, Img2ImgRequest):
            picture = self._redrawn(request, generator, knobs, progress)
        else:
            assert isinstance(request, Txt2ImgRequest)
            picture = self._drawn(request, generator, knobs, progress)
        grown = knobs.get("hires_scale", 1)
        knobs["width"], knobs["height"] = (round(side / grown) for side in picture.size)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return GeneratedImage(png=buffer.getvalue(), effective=knobs)

    def _common(self, seed: int) -> dict[str, Any]:
        """Return the knobs that every stage shares, as they are used."""
        request, chosen = self._request, self._chosen
        knobs: dict[str, Any] = {
            "prompt": request.prompt,
            "model": self._model.name,
            "sampler": chosen.sampler,
            "steps": self._steps,
            "seed": seed,
            "cfg_scale": _CFG_SCALE if request.cfg_scale is None else request.cfg_scale,
        }
        if chosen.schedule is not None:
            knobs["scheduler"] = chosen.schedule
        if "negative_prompt" in self._arguments:
            knobs["negative_prompt"] = request.negative_prompt
        if "eta" in self._step_arguments():
            knobs["eta"] = 0.0 if request.eta is None else request.eta
        if "clip_skip" in self._arguments and request.clip_skip is not None:
            knobs["clip_skip"] = request.clip_skip
        if request.batch_size is not None:
            knobs["batch_size"] = self._batch
        if self._extra:
            knobs["extra"] = dict(self._extra)
        return knobs

    def _step_arguments(self) -> Mapping[str, Any]:
        return inspect.signature(self._chosen.scheduler.step).parameters

    def _drawn(
        self,
        request: Txt2ImgRequest,
        generator: torch.Generator,
        knobs: dict[str, Any],
        progress: _Progress,
    ) -> Image.Image:
        sides = {"width": request.width, "height": request.height}
        sides = {name: side for name, side in sides.items() if side is not None}
        scale = request.hires_scale
        if scale is not None:
            knobs["hires_scale"] = scale
            knobs["hires_upscaler"] = request.hires_upscaler or "Lanczos"
            knobs["hires_steps"] = request.hires_steps or self._steps
            strength = request.hires_denoising_strength
            knobs["hires_denoising_strength"] = _HIRES_STRENGTH if strength is None else strength
            progress.expect(round(knobs["hires_steps"] * knobs["hires_denoising_strength"]))
        picture = self._called(self._pipeline, knobs, generator, progress, **sides)
        if scale is None:
            return picture
        larger = upscale(picture, knobs["hires_upscaler"], scale)
        larger = larger.resize((_evened(larger.width), _evened(larger.height)))
        second = {**knobs, "steps": knobs["hires_steps"]}
        return self._redraw(
            larger, knobs["hires_denoising_strength"], None, second, generator, progress
        )

    def _redrawn(
        self,
        request: Img2ImgRequest,
        generator: torch.Generator,
        knobs: dict[str, Any],
        progress: _Progress,
    ) -> Image.Image:
        assert self._given is not None
        strength = request.denoising_strength
        knobs["denoising_strength"] = _STRENGTH if strength is None else strength
        if self._mask is not None:
            knobs["mask_blur"] = request.mask_blur or 0
        return self._redraw(
            self._given, knobs["denoising_strength"], self._mask, knobs, generator, progress
        )

    def _redraw(
        self,
        given: Image.Image,
        strength: float,
        mask: Image.Image | None,
        knobs: Mapping[str, Any],
        generator: torch.Generator,
        progress: _Progress,
    ) -> Image.Image:
        """Redraw *given*; as in AUTOMATIC1111 the smallest strength above 0 is one step."""
        if strength == 0:
            progress(1, 1)
            return given
        task = "img2img" if mask is None else "inpaint"
        pipeline = self._model.pipeline(task)
        pipeline.scheduler = self._chosen.scheduler
        masked = {} if mask is None else {"mask_image": mask}
        picture = self._called(
            pipeline, knobs, generator, progress, image=given,
            strength=max(strength, 1 / knobs["steps"]),
            width=given.width, height=given.height, **masked,
        )  # fmt: skip
        if mask is None:
            return picture
        return Image.composite(picture, given.resize(picture.size), mask.resize(picture.size))

    def _called(
        self,
        pipeline: Any,
        knobs: Mapping[str, Any],
        generator: torch.Generator,
        progress: _Progress,
        **more: Any,
    ) -> Image.Image:
        """Call *pipeline* with those of the arguments that it takes."""

        def on_step_end(pipe: Any, step: int, _timestep: Any, tensors: Any) -> Any:
            progress(step + 1, max(step + 1, int(pipe.num_timesteps)))
            return tensors

        clip_skip = knobs.get("clip_skip", 1)
        arguments: dict[str, Any] = {
            "prompt": self._prompt,
            "negative_prompt": self._negative,
            "num_inference_steps": knobs["steps"],
            "guidance_scale": knobs["cfg_scale"],
            "generator": generator,
            "eta": knobs.get("eta", 0.0),
            # diffusers counts the layers that are skipped, everybody else those from the end.
            "clip_skip": clip_skip - 1 if clip_skip > 1 else None,
            "callback_on_step_end": on_step_end,
            "output_type": "pil",
            **self._extra,
            **more,
        }
        taken = frozenset(inspect.signature(pipeline.__call__).parameters)
        result = pipeline(**{name: v for name, v in arguments.items() if name in taken})
        picture: Image.Image = result.images[0].convert("RGB")
        progress.pass_done()
        return picture

    def _fault(self, error: Exception) -> str:
        """Return what the library says, with the knob where it does not name it."""
        told = _first_line(error)
        skipped = self._request.clip_skip not in (None, 1) and isinstance(error, AttributeError)
        return f"clip_skip cannot be done with these versions ({told})" if skipped else told

    # -- what to say of it ---------------------------------------------------------------

    def _warnings(self, image: GeneratedImage) -> list[str]:
        told = list(self._chosen.warnings)
        used = {*image.effective, *(f"extra.{name}" for name in self._extra), "mask"}
        told += [
            f"diffusers has no {knob} for this model and sampler; it had no effect"
            for knob in unused_knobs(self._request, used)
        ]
        if _ATTENTION.search(self._prompt + " " + self._negative):
            told.append("diffusers reads weights such as (word:1.2) as plain text")
        told += self._cut("prompt", self._prompt) + self._cut("negative_prompt", self._negative)
        return told

    def _cut(self, knob: str, text: str) -> list[str]:
        """Return a sentence when the tokenizer has no room for all of *text*."""
        tokenizer = getattr(self._pipeline, "tokenizer", None)
        most = getattr(tokenizer, "model_max_length", None)
        if tokenizer is None or not isinstance(most, int) or most > 10_000:
            return []
        count = len(tokenizer(text, truncation=False).input_ids)
        if count <= most:
            return []
        return [f"the {knob} has {count} tokens; the last {count - most} had no effect"]


class _Progress:
    """Steps of all passes and pictures, as one count."""

    def __init__(self, on_step: StepCallback, pictures: int) -> None:
        self._on_step, self._pictures = on_step, pictures
        self._done_before = self._in_picture = 0
        self._expected = 0
        self._last = (0, 1)

    def expect(self, steps: int) -> None:
        """Note that a pass of about *steps* will follow this one."""
        self._expected = max(1, steps)

    def __call__(self, step: int, steps: int) -> None:
        each = self._in_picture + steps + self._expected
        done = self._done_before + self._in_picture + step
        whole = max(done, self._last[1], self._done_before + each)
        if self._done_before == 0:
            whole = max(done, each * self._pictures)
        self._last = (max(done, self._last[0]), whole)
        self._on_step(*self._last)

    def pass_done(self) -> None:
        """Begin the next pass, if one follows."""
        self._in_picture = self._last[0] - self._done_before
        self._expected = 0

    def picture_done(self) -> None:
        """Begin the next picture; the last one ends with a full bar."""
        self._done_before, self._in_picture = self._last[0], 0
        self._pictures -= 1
        if self._pictures == 0 and self._last[0] < self._last[1]:
            self._last = (self._last[1], self._last[1])
            self._on_step(*self._last)


def _evened(side: int) -> int:
    """Return the nearest multiple of 8, which every latent needs."""
    return max(8, round(side / 8) * 8)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
