"""A pipeline's call: what a request makes of its arguments, and what of them is recorded."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from safelight.backends.diffusers_engine.guidance import Guidance, guidance_of
from safelight.backends.noise_levels import noise_levels
from safelight.errors import BackendError
from safelight.knobs import did_you_mean
from safelight.pipeline.backend import DrawingRequest, Txt2ImgRequest

__all__ = ["PipelineCall"]

_DECIDED_BY = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "image": "init_image",
    "mask_image": "mask",
    "width": "width",
    "height": "height",
    "strength": "denoising_strength",
    "num_inference_steps": "steps",
    "generator": "seed",
    "num_images_per_prompt": "batch_size",
    "clip_skip": "clip_skip",
    "eta": "eta",
    "sigmas": "sigmas",
    "guidance_rescale": "cfg_rescale",
}
"""Arguments of a pipeline that knobs decide; ``extra`` may not."""
_ENGINES = (
    "output_type",
    "return_dict",
    "latents",
    "callback",
    "callback_steps",
    "callback_on_step_end",
    "callback_on_step_end_tensor_inputs",
)
"""Arguments that only the engine decides."""
_ELSEWHERE = {
    "text_encoders": "diffusers draws with the model's own",
    "weight_dtype": "set the engine's option dtype",
    "cache": "the engine turns none on",
}
"""Knobs of the table that the engine has no use for, and why."""
_UNWRITTEN = re.compile(
    r"_embeds(_|$)|_latents$|^ip_adapter_|_attention_mask(_|$)|(^|_)(images?|mask)$|_reference$|^fonts$"
)
"""Arguments that no config can write down; some pipelines would open a path that stands there."""
_WEIGHTED = re.compile(r"\([^()]+:\s*\d*\.?\d+\s*\)")


class PipelineCall:
    """What one pipeline is called with for one request.

    Args:
        pipe: The pipeline.
        request: What to draw.
        match: Whether its own scheduler is of flow matching, and wants noise levels without the 0.

    Attributes:
        defaults: Arguments of the call -> their defaults.
        guidance: How the pipeline is guided.
        takes_levels: Whether it is given noise levels; known once there are arguments.
        warnings: Of knobs without effect; grows as arguments are made.
    """

    def __init__(self, pipe: Any, request: DrawingRequest, *, match: bool) -> None:
        self._pipe, self._request, self._match = pipe, request, match
        self._kind = type(pipe).__name__
        signature = inspect.signature(pipe.__call__).parameters.values()
        self.defaults = {p.name: p.default for p in signature if p.kind is not p.VAR_KEYWORD}
        self.guidance: Guidance = guidance_of(pipe, self.defaults)
        self.takes_levels = False
        self.warnings: list[str] = []

    def arguments(self, prompt: str) -> dict[str, Any]:
        """Return what every pass is called with, and warn of knobs that have no effect.

        Args:
            prompt: The request's, without what is no prompt to a pipeline.

        Raises:
            BackendError: The request states what the pipeline does not take.
        """
        request, has = self._request, self.defaults
        self._warn_of_prompts(prompt)
        arguments: dict[str, Any] = {"prompt": prompt}
        if request.steps is not None:
            arguments["num_inference_steps"] = request.steps
        arguments |= self.guidance.arguments(request.cfg_scale) | self._guided() | self._levels()
        takes_negative = self.guidance.takes_negative(request.cfg_scale)
        if "negative_prompt" in has and (request.negative_prompt or takes_negative):
            arguments["negative_prompt"] = request.negative_prompt
        if request.clip_skip is not None:
            arguments |= self._clip_skip(request.clip_skip)
        arguments |= self._extra(arguments)
        if request.vae is not None:
            self.warnings.append("vae had no effect: diffusers draws with the model's own")
        for knob, why in _ELSEWHERE.items():
            if knob in request.others:
                self.warnings.append(f"{knob} had no effect: {why}")
        return arguments

    def eta(self, scheduler: Any, name: str) -> dict[str, float]:
        """Return ``eta`` for *scheduler*, called *name*, if it has one."""
        if self._request.eta is None:
            return {}
        if "eta" in inspect.signature(scheduler.step).parameters and "eta" in self.defaults:
            return {"eta": self._request.eta}
        self.warnings.append(f"eta had no effect: {name} has none in diffusers")
        return {}

    def effective(self, arguments: Mapping[str, Any], scheduler: Any) -> dict[str, Any]:
        """Return the knobs that *arguments* stand for, as they acted.

        Args:
            arguments: Of this call.
            scheduler: That the call ran with.
        """
        request, used = self._request, dict[str, Any]()
        if self.guidance.distilled is not None:
            own = self.defaults[self.guidance.distilled]
            used["guidance"] = arguments.get(self.guidance.distilled, own)
        if "guidance_rescale" in arguments:
            used["cfg_rescale"] = arguments["guidance_rescale"]
        if self.takes_levels:
            used["sigmas"] = self._used_levels(scheduler)
        if (scale := self.guidance.acting(request.cfg_scale)) is not None:
            used["cfg_scale"] = scale
        # A pipeline that takes none draws as if it were empty.
        used["negative_prompt"] = (
            request.negative_prompt if "negative_prompt" in self.defaults else ""
        )
        if "clip_skip" in self.defaults:
            used["clip_skip"] = arguments.get("clip_skip", 0) + self._least_clip_skip()
        if "eta" in inspect.signature(scheduler.step).parameters:
            used["eta"] = arguments.get("eta", self.defaults.get("eta", 0.0))
        told = [name for name in request.extra if name != self.guidance.distilled]
        extra = {name: arguments[name] for name in self._free() if name in told}
        return used | ({"extra": extra} if extra else {})

    # -- guidance ------------------------------------------------------------------------

    def _guided(self) -> dict[str, Any]:
        """Return distilled guidance and rescale, and warn of guidance without effect."""
        request, guidance = self._request, self.guidance
        others, arguments = request.others, dict[str, Any]()
        acting = guidance.acting(request.cfg_scale)
        if not guidance.is_known and guidance.argument is not None:
            self.warnings.append(
                f"{self._kind} is not in the table of what pipelines do with guidance:"
                f" that its {guidance.argument} of 1 is none was assumed"
            )
        if guidance.convention == "none" and request.cfg_scale not in (None, 1):
            instead = "; its own is the knob guidance" if guidance.distilled else ""
            self.warnings.append(
                f"cfg_scale had no effect: this model has no guidance beside the prompt{instead}"
            )
        if request.negative_prompt and "negative_prompt" not in self.defaults:
            self.warnings.append("negative_prompt had no effect: this model has none")
        elif request.negative_prompt and not guidance.takes_negative(request.cfg_scale):
            at = "with this model" if guidance.convention == "taught" else "at cfg_scale 1"
            self.warnings.append(f"the negative prompt has no effect {at}")
        if "guidance" in others and guidance.distilled is None:
            self.warnings.append("guidance had no effect: this model takes cfg_scale only")
        elif "guidance" in others:
            arguments[str(guidance.distilled)] = others["guidance"]
        if "cfg_rescale" in others and "guidance_rescale" not in self.defaults:
            self.warnings.append(f"cfg_rescale had no effect: {self._kind} has none")
        elif "cfg_rescale" in others:
            arguments["guidance_rescale"] = others["cfg_rescale"]
            if acting == 1:
                self.warnings.append("cfg_rescale has no effect at cfg_scale 1")
        return arguments

    # -- further arguments ---------------------------------------------------------------

    def _free(self) -> list[str]:
        """Return the arguments that ``extra`` may state."""
        ours = {*_DECIDED_BY, *_ENGINES, self.guidance.argument, *self.guidance.cleared}
        return [n for n in self.defaults if n not in ours and not _UNWRITTEN.search(n)]

    def _extra(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        free, taken = self._free(), dict[str, Any]()
        for name, value in self._request.extra.items():
            if name not in self.defaults and name not in _DECIDED_BY:
                hint = did_you_mean(name, free) or f"; it takes: {', '.join(free)}"
                raise BackendError(f"{self._kind} takes no extra argument {name!r}{hint}")
            if name not in free or name in arguments:
                knob = self._knob_for(name)
                why = "the engine decides it" if name in _ENGINES else "no config can write it down"
                why = f"the knob {knob} decides it" if knob else why
                self.warnings.append(f"the extra knob {name!r} had no effect: {why}")
                continue
            taken[name] = value
        return taken

    def _knob_for(self, name: str) -> str | None:
        if name == self.guidance.distilled:
            return "guidance"
        return "cfg_scale" if name == self.guidance.argument else _DECIDED_BY.get(name)

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
        if not whole or "sigmas" not in self.defaults:
            where = self._kind if whole else "img2img and hires fix"
            self.warnings.append(f"sigmas had no effect: {where} can not be given any")
            return {}
        self.takes_levels = True
        if self._match:  # it adds the 0 by itself, others want it
            levels = levels[:-1] if levels[-1] == 0 else levels
        elif levels[-1] != 0:
            levels.append(0.0)
        return {"sigmas": levels, "num_inference_steps": len(levels) - (not self._match)}

    def _used_levels(self, scheduler: Any) -> str:
        """Return the noise levels of the last pass, in the words of the request if they are its."""
        asked: str = self._request.others["sigmas"]
        used = [float(level) for level in scheduler.sigmas]
        wanted = [*noise_levels(asked), *([] if noise_levels(asked)[-1] == 0 else [0.0])]
        near = len(used) == len(wanted) and all(
            abs(level - other) <= 1e-4 * max(1.0, other)
            for level, other in zip(used, wanted, strict=True)
        )
        return asked if near else ", ".join(f"{level:g}" for level in used)

    # -- text ----------------------------------------------------------------------------

    def _clip_skip(self, layers: int) -> dict[str, int]:
        """Return diffusers' ``clip_skip``, which counts from what the model does by itself.

        AUTOMATIC1111's 1 is all layers; Stable Diffusion XL and 3 always leave out the last.
        """
        if "clip_skip" not in self.defaults:
            self.warnings.append("clip_skip had no effect: this model has none")
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

    def _warn_of_prompts(self, prompt: str) -> None:
        prompts = (("prompt", prompt), ("negative prompt", self._request.negative_prompt))
        tokenizer = getattr(self._pipe, "tokenizer", None)
        for what, text in prompts:
            if _WEIGHTED.search(text):
                self.warnings.append(
                    f"{what}: diffusers does not weigh words; (word:1.2) was read as plain text"
                )
            if tokenizer is None or "max_sequence_length" in self.defaults or not text:
                continue
            most = tokenizer.model_max_length
            count = len(tokenizer(text, truncation=False).input_ids)
            if count > most:
                self.warnings.append(
                    f"{what}: too long for the model: the last {count - most:,} of"
                    f" {count - 2:,} tokens had no effect"
                )
