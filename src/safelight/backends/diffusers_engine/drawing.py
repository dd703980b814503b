"""Carry out one drawing request on a loaded model, and tell what was really used."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends.diffusers_engine.loaded_model import LoadedModel, libraries, quiet
from safelight.backends.diffusers_engine.loras import is_path, use_loras
from safelight.backends.diffusers_engine.schedules import Schedule, make_schedule
from safelight.backends.input_picture import input_picture
from safelight.backends.noise_levels import noise_levels
from safelight.backends.upscalers import DEFAULT_UPSCALER, upscale
from safelight.errors import BackendError, SafelightError
from safelight.lora_tags import split_loras
from safelight.pipeline.backend import (
    DrawingRequest,
    GeneratedImage,
    Generation,
    Img2ImgRequest,
    StepCallback,
    Txt2ImgRequest,
)
from safelight.pipeline.images import encode_png

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Drawing"]

_HIRES_STRENGTH, _MASK_BLUR = 0.7, 4
_OURS = frozenset(
    [
        "prompt",
        "negative_prompt",
        "image",
        "mask_image",
        "width",
        "height",
        "strength",
        "num_inference_steps",
        "generator",
        "num_images_per_prompt",
        "clip_skip",
        "eta",
        "output_type",
        "return_dict",
        "latents",
        "callback_on_step_end",
        "callback_on_step_end_tensor_inputs",
    ]
)
"""Arguments of a pipeline that knobs decide; ``extra`` may not."""
_ELSEWHERE = {
    "text_encoders": "diffusers draws with the model's own",
    "weight_dtype": "set the engine's option dtype",
    "cache": "the engine turns none on",
}
"""Knobs of the table that the engine has no use for, and why."""
_WEIGHTED = re.compile(r"\([^()]+:\s*\d*\.?\d+\s*\)")


class Drawing:
    """One drawing request on one model.

    Args:
        model: In memory, with or without LoRAs of an earlier request.
        request: What to draw.
        on_step: Told of every step.
        lora_dir: Where LoRAs are.
        networks_dir: Where the user's upscalers are.
        files: Which files may be used.
        together: Draw the pictures of a batch in one call.
    """

    def __init__(
        self,
        model: LoadedModel,
        request: Txt2ImgRequest | Img2ImgRequest,
        on_step: StepCallback,
        *,
        lora_dir: Path | None,
        networks_dir: Path | None,
        files: AllowedFiles = ANY_FILE,
        together: bool,
    ) -> None:
        self._model = model
        self._request = request
        self._lora_dir = lora_dir
        self._networks_dir, self._files = networks_dir, files
        self._together = together
        self._warnings: list[str] = []
        self._progress = _Progress(on_step=on_step, planned=[])
        self._pipe = model.pipe_for(_task(request))
        signature = inspect.signature(self._pipe.__call__).parameters.values()
        self._defaults = {p.name: p.default for p in signature if p.kind is not p.VAR_KEYWORD}
        self._cfg_name = (
            "true_cfg_scale" if "true_cfg_scale" in self._defaults else "guidance_scale"
        )
        self._prompt = request.prompt
        self._takes_levels = False

    def carry_out(self) -> Generation:
        """Draw every picture.

        Raises:
            BackendError: The request does not fit the model, or the engine failed.
            GenerationCancelled: *on_step* asked to stop.
        """
        torch, _ = libraries()
        _check(self._request)
        try:
            with quiet():
                self._prompt = self._take_loras()
                self._warn_of_prompts()
                images = tuple(self._images())
        except SafelightError:
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._out_of_memory(torch, error) from error
        except Exception as error:
            if "allocate memory" in str(error):
                raise self._out_of_memory(torch, error) from error
            raise BackendError(f"diffusers refuses: {error}") from error
        return Generation(images=images, warnings=tuple(dict.fromkeys(self._warnings)))

    # -- what is asked -------------------------------------------------------------------

    def _take_loras(self) -> str:
        prompt, loras = split_loras(self._request.prompt)
        if loras and self._lora_dir is None:
            known = [lora for lora in loras if is_path(lora.name, self._files)]
            for lora in loras:
                if lora not in known:
                    self._warnings.append(
                        f"the LoRA {lora.name!r} had no effect: the option lora_dir is not set"
                    )
            loras = tuple(known)
        use_loras(self._model, loras, self._lora_dir, self._files)
        return prompt

    def _warn_of_prompts(self) -> None:
        prompts = (("prompt", self._prompt), ("negative prompt", self._request.negative_prompt))
        tokenizer = getattr(self._pipe, "tokenizer", None)
        for what, text in prompts:
            if _WEIGHTED.search(text):
                self._warnings.append(
                    f"{what}: diffusers does not weigh words; (word:1.2) was read as plain text"
                )
            if tokenizer is None or "max_sequence_length" in self._defaults or not text:
                continue
            most = tokenizer.model_max_length
            count = len(tokenizer(text, truncation=False).input_ids)
            if count > most:
                self._warnings.append(
                    f"{what}: too long for the model: the last {count - most:,} of"
                    f" {count - 2:,} tokens had no effect"
                )

    def _arguments(self) -> dict[str, Any]:
        """Return what every pass is called with, and warn of knobs that have no effect."""
        request, has = self._request, self._defaults
        wanted: dict[str, Any] = {
            "prompt": self._prompt,
            "num_inference_steps": request.steps,
            self._cfg_name: request.cfg_scale,
        }
        arguments = {name: value for name, value in wanted.items() if value is not None}
        arguments |= self._guidance() | self._levels()
        if "negative_prompt" in has and (request.negative_prompt or self._guided(request)):
            arguments["negative_prompt"] = request.negative_prompt
        for name, value in request.extra.items():
            if (
                name in has
                and name not in _OURS
                and name != self._cfg_name
                and name not in arguments
            ):
                arguments[name] = value
            else:
                self._warnings.append(
                    f"{type(self._pipe).__name__} takes no extra knob {name!r}; it had no effect"
                )
        if request.vae is not None:
            self._warnings.append("vae had no effect: diffusers draws with the model's own")
        if request.clip_skip is not None:
            arguments |= self._clip_skip(request.clip_skip)
        if request.negative_prompt and "negative_prompt" not in has:
            self._warnings.append("negative_prompt had no effect: this model has none")
        if "shift" in request.others and not self._flow():
            self._warnings.append("shift had no effect: the model is none of flow matching")
        for knob, why in _ELSEWHERE.items():
            if knob in request.others:
                self._warnings.append(f"{knob} had no effect: {why}")
        return arguments

    def _guidance(self) -> dict[str, Any]:
        """Return distilled guidance and rescale, and warn where the model has none."""
        others, arguments = self._request.others, dict[str, Any]()
        if "guidance" in others:
            if self._is_distilled():
                arguments["guidance_scale"] = others["guidance"]
            else:
                self._warnings.append("guidance had no effect: this model takes cfg_scale only")
        if "cfg_rescale" in others:
            if "guidance_rescale" not in self._defaults:
                self._warnings.append(
                    f"cfg_rescale had no effect: {type(self._pipe).__name__} has none"
                )
            else:
                arguments["guidance_rescale"] = others["cfg_rescale"]
                if not self._guided(self._request):
                    self._warnings.append("cfg_rescale has no effect at cfg_scale 1")
        return arguments

    def _is_distilled(self) -> bool:
        """Whether the pipeline's ``guidance_scale`` is put into the model, beside a true one."""
        transformer = getattr(self._pipe, "transformer", None)
        embeds = transformer is not None and getattr(transformer.config, "guidance_embeds", False)
        return bool(embeds) and {"guidance_scale", "true_cfg_scale"} <= set(self._defaults)

    def _levels(self) -> dict[str, Any]:
        """Return the noise levels that were asked for, as the scheduler takes them."""
        request = self._request
        if "sigmas" not in request.others:
            return {}
        levels = list(noise_levels(request.others["sigmas"]))
        for knob, value in (
            ("scheduler", request.scheduler),
            ("shift", request.others.get("shift")),
        ):
            if value not in (None, "Automatic"):
                raise BackendError(
                    f"sigmas are the noise levels that {knob} would make; leave one of them out"
                )
        whole = isinstance(request, Txt2ImgRequest) and request.hires_scale is None
        if not whole or "sigmas" not in self._defaults:
            where = type(self._pipe).__name__ if whole else "img2img and hires fix"
            self._warnings.append(f"sigmas had no effect: {where} can not be given any")
            return {}
        self._takes_levels = True
        if self._flow():  # it adds the 0 by itself, others want it
            levels = levels[:-1] if levels[-1] == 0 else levels
        elif levels[-1] != 0:
            levels.append(0.0)
        return {"sigmas": levels, "num_inference_steps": len(levels) - (not self._flow())}

    def _guided(self, request: DrawingRequest) -> bool:
        scale = request.cfg_scale
        return (self._defaults.get(self._cfg_name, 1) if scale is None else scale) > 1

    def _clip_skip(self, layers: int) -> dict[str, int]:
        """Return diffusers' ``clip_skip``, which counts from what the model does by itself.

        AUTOMATIC1111's 1 is all layers; Stable Diffusion XL and 3 always leave out the last.
        """
        if "clip_skip" not in self._defaults:
            self._warnings.append("clip_skip had no effect: this model has none")
            return {}
        most = self._pipe.text_encoder.config.num_hidden_layers
        if layers > most:
            raise BackendError(f"clip_skip must be at most {most} for this model, got {layers}")
        skipped = layers - self._least_clip_skip()
        encoder = self._pipe.text_encoder
        if not hasattr(encoder, "text_model") and hasattr(encoder, "final_layer_norm"):
            # diffusers 0.42 still looks one level deeper than transformers 5 has it.
            object.__setattr__(encoder, "text_model", encoder)
        return {"clip_skip": skipped} if skipped > 0 else {}

    def _least_clip_skip(self) -> int:
        return 2 if getattr(self._pipe, "text_encoder_2", None) is not None else 1

    # -- drawing -------------------------------------------------------------------------

    def _images(self) -> Iterator[GeneratedImage]:
        arguments = self._arguments()
        schedule = self._schedule()
        arguments |= self._eta(schedule)
        seeds = [self._request.seed + place for place in range(self._request.batch_size or 1)]
        groups = [seeds] if self._together else [[seed] for seed in seeds]
        steps = arguments.get("num_inference_steps", self._defaults["num_inference_steps"])
        if isinstance(self._request, Img2ImgRequest):
            yield from self._redrawn(self._request, groups, arguments, steps)
            return
        assert isinstance(self._request, Txt2ImgRequest)
        hires = _Hires.of(self._request, steps, flow=self._flow())
        self._plan(groups, steps, hires)
        for name in ("width", "height"):
            if (value := getattr(self._request, name)) is not None:
                arguments[name] = value
        for group in groups:
            pictures = self._pass(self._pipe, arguments, group)
            for seed, drawn in zip(group, pictures, strict=True):
                effective = self._effective(arguments, seed, drawn, steps)
                picture = drawn
                if hires is not None:
                    picture = self._second_pass(hires, arguments, seed, drawn)
                    effective |= hires.effective()
                yield GeneratedImage(png=_png(picture), effective=effective)

    def _redrawn(
        self,
        request: Img2ImgRequest,
        groups: Sequence[Sequence[int]],
        arguments: dict[str, Any],
        steps: int,
    ) -> Iterator[GeneratedImage]:
        given = _fitted(input_picture(request.init_image), request.width, request.height)
        strength = request.denoising_strength
        strength = self._defaults["strength"] if strength is None else strength
        effective: dict[str, Any] = {"denoising_strength": strength}
        arguments |= {"image": given, "strength": strength}
        arguments |= {k: v for k, v in _sides(given).items() if k in self._defaults}
        if request.mask is not None:
            arguments["mask_image"] = _grey(request.mask, given.size)
            effective["mask_blur"] = _MASK_BLUR if request.mask_blur is None else request.mask_blur
        kept = _steps_run(steps, strength, self._flow()) < 1
        if kept:
            effective["denoising_strength"] = 0
            self._warnings.append(
                f"denoising_strength {strength:g} of {steps} steps is less than one step:"
                " the input was kept"
            )
        self._progress.planned = [self._count(steps, strength)] * len(groups)
        for group in groups:
            if kept:
                pictures = [given] * len(group)
                self._progress.whole_pass()
            else:
                pictures = self._pass(self._pipe, arguments, group)
            for seed, drawn in zip(group, pictures, strict=True):
                picture = drawn
                if "mask_image" in arguments:
                    mask = _softened(arguments["mask_image"], effective["mask_blur"])
                    picture = _composite(drawn, given, mask)
                used = self._effective(arguments, seed, picture, steps) | effective
                yield GeneratedImage(png=_png(picture), effective=used)

    def _second_pass(
        self, hires: _Hires, arguments: Mapping[str, Any], seed: int, drawn: Image.Image
    ) -> Image.Image:
        enlarged = upscale(
            drawn, hires.upscaler, hires.scale, networks_dir=self._networks_dir, files=self._files
        )
        enlarged = _fitted(enlarged, None, None)
        if hires.steps_done < 1:
            self._progress.whole_pass()
            return enlarged
        pipe = self._model.pipe_for("Image2Image")
        names = inspect.signature(pipe.__call__).parameters
        second = {name: value for name, value in arguments.items() if name in names}
        if "guidance_rescale" in arguments and "guidance_rescale" not in names:
            self._warnings.append(
                f"cfg_rescale had no effect on the second pass: {type(pipe).__name__} has none"
            )
        second |= {k: v for k, v in _sides(enlarged).items() if k in names}
        second |= {"image": enlarged, "strength": hires.strength}
        second["num_inference_steps"] = hires.schedule_steps
        (picture,) = self._pass(pipe, second, [seed])
        return picture

    def _pass(
        self, pipe: Any, arguments: Mapping[str, Any], seeds: Sequence[int]
    ) -> list[Image.Image]:
        """Call *pipe* once, with one source of chance for each of *seeds*."""
        torch, _ = libraries()
        pipe.scheduler = self._schedule().scheduler
        if hasattr(pipe.scheduler, "noise_sampler_seed"):  # its noise ignores the generators
            pipe.scheduler.noise_sampler_seed = list(seeds) if len(seeds) > 1 else seeds[0]
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        answer = pipe(
            **arguments,
            num_images_per_prompt=len(seeds),
            generator=generators if len(seeds) > 1 else generators[0],
            callback_on_step_end=self._progress.step,
            output_type="pil",
        )
        self._progress.next_pass()
        if any(getattr(answer, "nsfw_content_detected", None) or ()):
            self._warnings.append("the model's safety checker blackened a picture")
        elif any(picture.getbbox() is None for picture in answer.images):
            self._warnings.append("a picture is all black; dtype float32 may help")
        return list(answer.images)

    def _schedule(self) -> Schedule:
        request = self._request
        made = make_schedule(
            self._model.own,
            request.sampler,
            None if self._takes_levels else request.scheduler,
            shift=request.others.get("shift"),
            levels=self._takes_levels,
        )
        self._warnings.extend(made.warnings)
        return made

    def _eta(self, schedule: Schedule) -> dict[str, float]:
        if self._request.eta is None:
            return {}
        step = inspect.signature(schedule.scheduler.step).parameters
        if "eta" in step and "eta" in self._defaults:
            return {"eta": self._request.eta}
        name = schedule.effective["sampler"]
        self._warnings.append(f"eta had no effect: {name} has none in diffusers")
        return {}

    def _flow(self) -> bool:
        return type(self._model.own).__name__.startswith("FlowMatch")

    def _plan(self, groups: Sequence[Sequence[int]], steps: int, hires: _Hires | None) -> None:
        planned: list[int] = []
        for group in groups:
            planned.append(self._count(steps, 1.0))
            if hires is not None:
                planned += [self._count(hires.schedule_steps, hires.strength)] * len(group)
        self._progress.planned = planned

    def _count(self, steps: int, strength: float) -> int:
        """Return how many calls a pass will take; the pass itself corrects it."""
        scheduler = self._schedule().scheduler
        left_out = steps - _steps_run(steps, strength, self._flow())
        skipped: int = max(left_out, 0) * scheduler.order
        try:
            scheduler.set_timesteps(steps)
        except Exception:  # noqa: BLE001 - flows need the picture's size; an estimate is enough
            return max(1, steps - skipped)
        count: int = len(scheduler.timesteps)
        return max(1, count - skipped)

    # -- what was used -------------------------------------------------------------------

    def _effective(
        self, arguments: Mapping[str, Any], seed: int, picture: Image.Image, steps: int
    ) -> dict[str, Any]:
        request = self._request
        schedule = self._schedule()
        used: dict[str, Any] = {
            "prompt": request.prompt,
            "model": self._model.name,
            **schedule.effective,
            "steps": steps,
            "seed": seed,
            "width": picture.width,
            "height": picture.height,
        }
        if request.batch_size is not None:
            used["batch_size"] = request.batch_size
        if self._model.model_hash is not None:
            used["model_hash"] = self._model.model_hash
        if self._is_distilled():
            used["guidance"] = arguments.get("guidance_scale", self._defaults["guidance_scale"])
        if "guidance_rescale" in arguments:
            used["cfg_rescale"] = arguments["guidance_rescale"]
        if self._takes_levels:
            used.pop("scheduler", None)
            used["sigmas"] = self._used_levels()
        if (scale := self._real_cfg_scale(arguments)) is not None:
            used["cfg_scale"] = scale
            if "negative_prompt" in self._defaults:
                used["negative_prompt"] = request.negative_prompt
            if request.negative_prompt and scale <= 1:
                self._warnings.append("the negative prompt has no effect at cfg_scale 1")
        if "clip_skip" in self._defaults:
            used["clip_skip"] = arguments.get("clip_skip", 0) + self._least_clip_skip()
        if "eta" in inspect.signature(schedule.scheduler.step).parameters:
            used["eta"] = arguments.get("eta", self._defaults.get("eta", 0.0))
        return used

    def _used_levels(self) -> str:
        """Return the noise levels of the last pass, in the words of the request if they are its."""
        asked: str = self._request.others["sigmas"]
        used = [float(level) for level in self._pipe.scheduler.sigmas]
        wanted = [*noise_levels(asked), *([] if noise_levels(asked)[-1] == 0 else [0.0])]
        near = len(used) == len(wanted) and all(
            abs(level - other) <= 1e-4 * max(1.0, other)
            for level, other in zip(used, wanted, strict=True)
        )
        return asked if near else ", ".join(f"{level:g}" for level in used)

    def _real_cfg_scale(self, arguments: Mapping[str, Any]) -> float | None:
        """Return the weight that acts: below 1 diffusers does what it does at 1."""
        if self._cfg_name not in self._defaults:
            return None
        scale = float(arguments.get(self._cfg_name, self._defaults[self._cfg_name]))
        unet = getattr(self._pipe, "unet", None)
        distilled = unet is not None and getattr(unet.config, "time_cond_proj_dim", None)
        return scale if distilled else max(1.0, scale)

    def _out_of_memory(self, torch: Any, error: BaseException) -> BackendError:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return BackendError(
            "the device has too little memory for this picture: make width, height or"
            f" batch_size smaller, or set dtype to float16 or bfloat16 ({error})"
        )


@dataclass(slots=True, kw_only=True)
class _Progress:
    """Steps of several passes as one row.

    Attributes:
        on_step: Who is told.
        planned: Steps of each pass; a pass that runs puts in its real number.
        now: Which pass runs.
    """

    on_step: StepCallback
    planned: list[int]
    now: int = 0

    def step(self, pipe: Any, place: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
        self.planned[self.now] = pipe.num_timesteps
        self.on_step(sum(self.planned[: self.now]) + place + 1, sum(self.planned))
        return {}

    def next_pass(self) -> None:
        self.now += 1

    def whole_pass(self) -> None:
        """Report a pass in which nothing had to be drawn."""
        self.planned[self.now] = 1
        self.on_step(sum(self.planned[: self.now + 1]), sum(self.planned))
        self.now += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hires:
    """The second pass of hires fix.

    Attributes:
        scale: Factor of both sides.
        upscaler: What enlarges.
        strength: How much is redrawn.
        schedule_steps: Steps of a schedule of which *strength* leaves as many as were asked.
        flow: The model is a flow-matching one.
    """

    scale: float
    upscaler: str
    strength: float
    schedule_steps: int
    flow: bool

    @classmethod
    def of(cls, request: Txt2ImgRequest, steps: int, *, flow: bool) -> _Hires | None:
        if request.hires_scale is None:
            return None
        strength = request.hires_denoising_strength
        strength = _HIRES_STRENGTH if strength is None else strength
        wanted = request.hires_steps or steps
        counts = range(wanted, 1001)  # 1000 is all that a model was trained on
        enough = (count for count in counts if _steps_run(count, strength, flow) >= wanted)
        return cls(
            scale=request.hires_scale,
            upscaler=request.hires_upscaler or DEFAULT_UPSCALER,
            strength=strength,
            schedule_steps=next(enough, max(1000, wanted)),
            flow=flow,
        )

    @property
    def steps_done(self) -> int:
        return _steps_run(self.schedule_steps, self.strength, self.flow)

    def effective(self) -> dict[str, Any]:
        used = {"hires_scale": self.scale, "hires_upscaler": self.upscaler}
        done = {"hires_steps": self.steps_done} if self.steps_done else {}
        return {**used, **done, "hires_denoising_strength": self.strength}


def _steps_run(steps: int, strength: float, flow: bool) -> int:
    """Return how many of *steps* diffusers runs; pipelines of flows round up, others down."""
    return steps - int(steps - steps * strength) if flow else int(steps * strength)


def _task(request: Txt2ImgRequest | Img2ImgRequest) -> str:
    if isinstance(request, Txt2ImgRequest):
        return "Text2Image"
    return "Image2Image" if request.mask is None else "Inpainting"


def _check(request: DrawingRequest) -> None:
    if request.steps is not None and request.steps < 1:
        raise BackendError(f"steps must be at least 1, got {request.steps}")
    last = request.seed + (request.batch_size or 1) - 1
    if request.seed < 0 or last >= 2**64:
        raise BackendError(
            f"seed must lie in 0 to 2**64 - 1 for every picture of the batch, got {request.seed}"
        )


def _fitted(picture: Image.Image, width: int | None, height: int | None) -> Image.Image:
    """Return *picture* in the size that was asked for, or in its own cut to multiples of 8."""
    from PIL import Image

    size = (width or max(8, picture.width // 8 * 8), height or max(8, picture.height // 8 * 8))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _sides(picture: Image.Image) -> dict[str, int]:
    return {"width": picture.width, "height": picture.height}


def _grey(mask: bytes, size: tuple[int, int]) -> Image.Image:
    return input_picture(mask).convert("L").resize(size)


def _softened(mask: Image.Image, blur: int) -> Image.Image:
    from PIL import ImageFilter

    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask


def _composite(drawn: Image.Image, given: Image.Image, mask: Image.Image) -> Image.Image:
    """Return *drawn* where *mask* is white, *given* where it is black: to the very pixel."""
    from PIL import Image

    return Image.composite(drawn.resize(given.size), given, mask)


def _png(picture: Image.Image) -> bytes:
    import numpy as np

    return encode_png(np.asarray(picture.convert("RGB")))
