"""Carry out one drawing request on a loaded model, and tell what was really used."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends.diffusers_engine.call import PipelineCall
from safelight.backends.diffusers_engine.families import Task, refuse_size, side_multiple
from safelight.backends.diffusers_engine.hires import Hires, steps_run
from safelight.backends.diffusers_engine.loaded_model import LoadedModel, libraries, quiet
from safelight.backends.diffusers_engine.loras import is_path, use_loras
from safelight.backends.diffusers_engine.pictures import composite, fitted, grey, png, softened
from safelight.backends.diffusers_engine.schedules import (
    Schedule,
    is_flow,
    make_schedule,
    refuse_unfit,
)
from safelight.backends.input_picture import input_picture
from safelight.backends.upscalers import upscale
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

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Drawing"]

_MASK_BLUR = 4


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

    Raises:
        BackendError: diffusers has no pipeline for it.
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
        self._warnings: list[str] = list(model.notes)
        self._progress = _Progress(on_step=on_step, planned=[])
        self._pipe = model.pipe_for(_task(request))
        match = type(model.own).__name__.startswith("FlowMatch")
        self._acting = request.prompt
        self._rounds_up = getattr(self._pipe, "unet", None) is None
        self._call = PipelineCall(self._pipe, request, match=match)

    def carry_out(self) -> Generation:
        """Draw every picture.

        Raises:
            BackendError: The request does not fit the model, or the engine failed.
            GenerationCancelled: *on_step* asked to stop.
        """
        torch, _ = libraries()
        _check(self._request)
        try:
            with quiet(), self._call.guidance.held(self._request.cfg_scale):
                images = tuple(self._images(self._take_loras()))
        except SafelightError:
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._out_of_memory(torch, error) from error
        except Exception as error:
            if "allocate memory" in str(error):
                raise self._out_of_memory(torch, error) from error
            raise BackendError(f"diffusers refuses: {error}") from error
        warnings = (*self._warnings, *self._call.warnings)
        return Generation(images=images, warnings=tuple(dict.fromkeys(warnings)))

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
                    tag = rf"<lora:{re.escape(lora.name)}(:[^<>]*)?>"
                    self._acting = re.sub(tag, "", self._acting).strip()
            loras = tuple(known)
        use_loras(self._model, loras, self._lora_dir, self._files)
        return prompt

    # -- drawing -------------------------------------------------------------------------

    def _images(self, prompt: str) -> Iterator[GeneratedImage]:
        if "shift" in self._request.others and not self._flow():
            self._warnings.append("shift had no effect: the model is none of flow matching")
        arguments = self._call.arguments(prompt)
        schedule = self._schedule()
        refuse_unfit(type(self._pipe).__name__, self._call.defaults, schedule)
        arguments |= self._call.eta(schedule.scheduler, schedule.effective["sampler"])
        seeds = [self._request.seed + place for place in range(self._request.batch_size or 1)]
        groups = [seeds] if self._together else [[seed] for seed in seeds]
        own_steps = self._call.defaults["num_inference_steps"]
        steps: int = arguments.get("num_inference_steps", own_steps)
        width, height = self._request.width, self._request.height
        if width or height:
            has = self._call.defaults
            refuse_size(self._pipe, width or has.get("width"), height or has.get("height"))
        if isinstance(self._request, Img2ImgRequest):
            yield from self._redrawn(self._request, groups, arguments, steps)
            return
        hires = Hires.of(self._request, steps, rounds_up=self._rounds_up)
        second = None if hires is None else self._second_pipe()
        self._plan(groups, steps, hires)
        arguments |= self._size(width, height)
        for group in groups:
            pictures = self._pass(self._pipe, arguments, group)
            for seed, drawn in zip(group, pictures, strict=True):
                effective = self._effective(arguments, seed, drawn, steps)
                picture = drawn
                if hires is not None:
                    picture = self._second_pass(second, hires, arguments, seed, drawn)
                    effective |= hires.effective()
                yield GeneratedImage(png=png(picture), effective=effective)

    def _redrawn(
        self,
        request: Img2ImgRequest,
        groups: Sequence[Sequence[int]],
        arguments: dict[str, Any],
        steps: int,
    ) -> Iterator[GeneratedImage]:
        has, multiple = self._call.defaults, side_multiple(self._pipe)
        given = fitted(
            input_picture(request.init_image), request.width, request.height, multiple=multiple
        )
        strength, effective, kept = request.denoising_strength, dict[str, Any](), False
        arguments |= {"image": given, **self._size(given.width, given.height)}
        if "strength" not in has:
            self._refuse_strength(strength)
        else:
            strength = has["strength"] if strength is None else strength
            arguments["strength"] = effective["denoising_strength"] = strength
            kept = steps_run(steps, strength, self._rounds_up) < 1
        if request.mask is not None:
            arguments["mask_image"] = grey(request.mask, given.size)
            effective["mask_blur"] = _MASK_BLUR if request.mask_blur is None else request.mask_blur
        if kept:
            effective["denoising_strength"] = 0
            self._warnings.append(
                f"denoising_strength {strength:g} of {steps} steps is less than one step:"
                " the input was kept"
            )
        whole = 1.0 if strength is None else strength
        self._progress.planned = [self._count(steps, whole)] * len(groups)
        for group in groups:
            if kept:
                pictures = [given] * len(group)
                self._progress.whole_pass()
            else:
                pictures = self._pass(self._pipe, arguments, group)
            for seed, drawn in zip(group, pictures, strict=True):
                picture = drawn
                if "mask_image" in arguments:
                    mask = softened(arguments["mask_image"], effective["mask_blur"])
                    picture = composite(drawn, given, mask)
                used = self._effective(arguments, seed, picture, steps) | effective
                yield GeneratedImage(png=png(picture), effective=used)

    def _size(self, width: int | None, height: int | None) -> dict[str, int]:
        """Return the arguments for a size, as far as the pipeline takes any."""
        has = self._call.defaults
        size = {"width": width, "height": height}
        arguments = {name: side for name, side in size.items() if side is not None and name in has}
        if arguments and "max_area" in has and "max_area" not in self._request.extra:
            # It would draw that many pixels, whatever the sides.
            own = self._pipe.default_sample_size * self._pipe.vae_scale_factor
            arguments["max_area"] = (width or own) * (height or own)
        return arguments

    def _refuse_strength(self, strength: float | None) -> None:
        """Refuse a strength to a pipeline that edits: it looks at the input, and redraws none."""
        if strength is not None:
            raise BackendError(
                f"denoising_strength {strength:g} means nothing to a {type(self._pipe).__name__},"
                " which edits the picture as the prompt says; leave it out"
            )

    def _second_pipe(self) -> Any:
        """Return the pipeline of hires fix's second pass, before the first begins."""
        kind = type(self._pipe).__name__
        try:
            pipe = self._model.pipe_for("Image2Image")
        except BackendError as error:
            raise BackendError(
                f"hires_scale needs img2img: {error}; leave it out, or enlarge in a stage upscale"
            ) from error
        if "strength" not in inspect.signature(pipe.__call__).parameters:
            raise BackendError(
                f"hires_scale needs img2img by a strength, and a {kind} only edits;"
                " leave it out, or enlarge in a stage upscale"
            )
        return pipe

    def _second_pass(
        self, pipe: Any, hires: Hires, arguments: Mapping[str, Any], seed: int, drawn: Image.Image
    ) -> Image.Image:
        enlarged = upscale(
            drawn, hires.upscaler, hires.scale, networks_dir=self._networks_dir, files=self._files
        )
        enlarged = fitted(enlarged, None, None, multiple=side_multiple(pipe))
        if hires.steps_done < 1:
            self._progress.whole_pass()
            return enlarged
        names = inspect.signature(pipe.__call__).parameters
        second = {name: value for name, value in arguments.items() if name in names}
        for name in arguments.keys() - names.keys() - {"width", "height"}:
            knob = "cfg_rescale" if name == "guidance_rescale" else f"extra.{name}"
            self._warnings.append(
                f"{knob} had no effect on the second pass: {type(pipe).__name__} has none"
            )
        second |= {k: v for k, v in _sides(enlarged).items() if k in names}
        second |= {"image": enlarged, "strength": hires.strength}
        # Left out, they would be the second pipeline's own: FLUX.1 has 3.5 here and 7 there.
        first = self._call.guidance
        for guided in (first.argument, first.distilled):
            if guided is not None and guided in names:
                second.setdefault(guided, self._call.defaults[guided])
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
            **self._progress.hook(pipe),
            num_images_per_prompt=len(seeds),
            generator=generators if len(seeds) > 1 else generators[0],
            output_type="pil",
        )
        self._progress.next_pass()
        pictures: list[Image.Image] = list(answer[0])  # some call it image, others images
        if any(getattr(answer, "nsfw_content_detected", None) or ()):
            self._warnings.append("the model's safety checker blackened a picture")
        elif any(picture.getbbox() is None for picture in pictures):
            half = "" if pipe.dtype == torch.float32 else "; dtype float32 may help"
            self._warnings.append(f"a picture is all black{half}")
        return pictures

    def _schedule(self) -> Schedule:
        request, levels = self._request, self._call.takes_levels
        made = make_schedule(
            self._model.own,
            request.sampler,
            None if levels else request.scheduler,
            shift=request.others.get("shift"),
            levels=levels,
        )
        self._warnings.extend(made.warnings)
        return made

    def _flow(self) -> bool:
        return is_flow(type(self._model.own).__name__, self._model.own.config)

    def _plan(self, groups: Sequence[Sequence[int]], steps: int, hires: Hires | None) -> None:
        planned: list[int] = []
        for group in groups:
            planned.append(self._count(steps, 1.0))
            if hires is not None:
                planned += [self._count(hires.schedule_steps, hires.strength)] * len(group)
        self._progress.planned = planned

    def _count(self, steps: int, strength: float) -> int:
        """Return how many calls a pass will take; the pass itself corrects it."""
        scheduler = self._schedule().scheduler
        left_out = steps - steps_run(steps, strength, self._rounds_up)
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
            "prompt": self._acting,
            "model": self._model.name,
            **schedule.effective,
            "steps": steps,
            "seed": seed,
            **_sides(picture),
        }
        if self._call.takes_levels:
            used.pop("scheduler", None)
        if request.batch_size is not None:
            used["batch_size"] = request.batch_size
        if self._model.model_hash is not None:
            used["model_hash"] = self._model.model_hash
        return used | self._call.effective(arguments, self._pipe.scheduler)

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
        told: Steps of this pass that were told.
    """

    on_step: StepCallback
    planned: list[int]
    now: int = 0
    told: int = 0

    def hook(self, pipe: Any) -> dict[str, Any]:
        """Return what *pipe* is called with so that it tells its steps, as far as it can."""
        names = inspect.signature(pipe.__call__).parameters
        if "callback_on_step_end" in names:
            return {"callback_on_step_end": self._step}
        if "callback" in names:
            return {"callback": lambda place, *_: self._tell(place), "callback_steps": 1}
        return {}

    def _step(self, pipe: Any, place: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
        self.planned[self.now] = pipe.num_timesteps
        self._tell(place)
        return {}

    def _tell(self, place: int) -> None:
        self.told = place + 1
        self.on_step(sum(self.planned[: self.now]) + place + 1, sum(self.planned))

    def next_pass(self) -> None:
        """Go on to the next pass, when the last one has told all its steps, or none."""
        if not self.told:
            self.whole_pass()
            return
        self.now += 1
        self.told = 0

    def whole_pass(self) -> None:
        """Report a pass in which nothing had to be drawn."""
        self.planned[self.now] = 1
        self.on_step(sum(self.planned[: self.now + 1]), sum(self.planned))
        self.now += 1


def _task(request: Txt2ImgRequest | Img2ImgRequest) -> Task:
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


def _sides(picture: Image.Image) -> dict[str, int]:
    return {"width": picture.width, "height": picture.height}
