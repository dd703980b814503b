"""told_pictures: what a spool's line says, as texts for the readers, and as what a record holds.

The same readers read it that read pictures: a graph as one beside a picture, an infotext as a text
beside it, parameters as :func:`read_parameters`. What only the line knows (how long it took, what
was cached, how it ended) stands in ``metadata.import.spool`` of the record.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from safelight.imports.reading import Draft
from safelight.imports.spools import Execution
from safelight.learning.learning_record import LearningRecord, VariantFailure
from safelight.recorded_settings import CUT_SHORT
from safelight.sampler_names import SAMPLERS, SCHEDULERS
from safelight.timestamps import epoch_seconds, utc_timestamp

__all__ = ["OF_LINES", "TOLD_PARAMETERS", "ToldPicture", "failed_or_alone", "read_parameters",
           "run_of_line", "told_picture", "told_texts"]  # fmt: skip

TOLD_PARAMETERS = "safelight_parameters"
"""The one key of the text that parameters become."""

OF_LINES = "spool-"
"""How the names of runs begin that lines of spools tell of, and no picture."""

_SWARM = "sui_image_params"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt",), "negative_prompt": ("negative_prompt",),
    "steps": ("steps", "num_inference_steps"), "seed": ("seed",),
    "sampler": ("sampler", "sampler_name"), "scheduler": ("scheduler", "schedule_type"),
    "model": ("model", "checkpoint", "sd_model_name"), "vae": ("vae",),
    "width": ("width",), "height": ("height",), "clip_skip": ("clip_skip",),
    "denoising_strength": ("denoising_strength", "strength"),
    "cfg_scale": ("cfg_scale", "true_cfg_scale", "cfg", "guidance_scale"),
    "guidance": ("guidance", "distilled_cfg_scale"), "cfg_rescale": ("guidance_rescale",),
    "hires_scale": ("hires_scale",), "hires_upscaler": ("hires_upscaler",),
    "hires_steps": ("hires_steps",), "hires_denoising_strength": ("hires_denoising_strength",),
}  # fmt: skip
"""Knob -> what tools call it, the first that is there counts."""

_OF_IMG2IMG = ("denoising_strength", "strength")
_FLOW_SAMPLERS = {
    "FlowMatchEulerDiscreteScheduler": "Euler", "FlowMatchHeunDiscreteScheduler": "Heun"
}  # fmt: skip
_SIGMA_FLAGS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
_ROUNDING = 2 * 10**9
"""Nanoseconds by which file systems round when a file was written."""

_LATE = 20 * 10**9
"""Nanoseconds between the end of an execution and the writing of a file that was not there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPicture:
    """What a line says of one of its pictures.

    Attributes:
        run: Name of the execution.
        texts: How it was made, for the readers, tried in their order.
        about: What ``metadata.import.spool`` holds.
        tool: What ran, and its version.
        began: When; empty where that is not known.
        seconds: Of the whole execution.
        share: The picture's part of them.
        environment: What else changes pixels.
        size: Of its file in bytes, as the line knew it; -1 where it did not.
        written: When that was written last, nanoseconds; where the size is not known, when its
            execution ended.
        is_cut_short: The tool was stopped before it had taken all steps that its text tells of.
    """

    run: str
    texts: tuple[str, ...]
    about: Mapping[str, Any]
    tool: tuple[str, str]
    began: str
    seconds: float
    share: float
    environment: Mapping[str, Any] = field(default_factory=dict)
    size: int = -1
    written: int = 0
    is_cut_short: bool = False

    def is_of(self, status: os.stat_result) -> bool:
        """Return whether a file is as it was when the line was written, or came just then."""
        apart = abs(self.written - status.st_mtime_ns)
        if self.size < 0:
            return self.written > 0 and apart <= _LATE
        return self.size == status.st_size and apart <= _ROUNDING

    def added_to(self, record: LearningRecord) -> LearningRecord:
        """Return the record of the picture with what only the line knows."""
        own = {**dict(record.metadata.get("import") or {}), "spool": dict(self.about)}
        if self.is_cut_short:
            own["extra"] = {**(own.get("extra") or {}), CUT_SHORT: "true"}
        stages = list(record.base_config) or ["txt2img"]
        name, version = self.tool
        return replace(
            record,
            timestamp=self.began or record.timestamp,
            outputs=tuple(
                msgspec.structs.replace(output, seconds=self.seconds) for output in record.outputs
            ),
            seconds={stages[-1]: self.share} if self.share else {},
            backend={
                **record.backend,
                "name": record.backend.get("name") or name,
                "version": record.backend.get("version") or version,
            },
            environment={**record.environment, **self.environment},
            # One that knows of the line counts more than one of the file alone, wherever they meet.
            metadata={**record.metadata, "import": {"reading": 1, **own}},
        )


def told_texts(execution: Execution, place: int = 0) -> tuple[str, ...]:
    """Return what an execution says of how its picture number *place* was made."""
    texts = []
    infotexts = execution.infotexts
    if infotexts:
        each = len(infotexts) == len(execution.outputs)
        texts.append(infotexts[place if each else 0])
    if execution.graph:
        texts.append(json.dumps(execution.graph, ensure_ascii=False))
    own = execution.outputs[place].get("parameters") if place < len(execution.outputs) else None
    parameters = {**execution.parameters, **(own if isinstance(own, dict) else {})}
    if isinstance(parameters.get(_SWARM), dict):
        texts.append(json.dumps(_of_swarm(parameters), ensure_ascii=False))
    elif parameters:
        told = {TOLD_PARAMETERS: parameters, "tool": execution.tool}
        texts.append(json.dumps(told, ensure_ascii=False))
    return tuple(texts)


def _of_swarm(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return SwarmUI's own JSON as far as its webhook fills it in.

    What it does not know stays a ``%tag%``. Pictures of one batch are all told the first's seed.
    """
    params = {
        key: value for key, value in parameters[_SWARM].items()
        if not (isinstance(value, str) and value.lower() == f"%{key}%")
    }  # fmt: skip
    if str(params.get("batchsize") or 1) != "1":
        params.pop("seed", None)
    return {**parameters, _SWARM: params}


def told_picture(execution: Execution, place: int) -> ToldPicture:
    """Return what *execution* says of its picture number *place*."""
    output = execution.outputs[place]
    size, written = output.get("bytes"), output.get("mtime_ns")
    if type(size) is not int or type(written) is not int:
        when = epoch_seconds(execution.ended) if "path" in output else 0.0
        size, written = -1, int(when * 10**9)
    seconds = execution.seconds or 0.0
    return ToldPicture(
        run=execution.name,
        texts=told_texts(execution, place),
        about=_about(execution),
        tool=(execution.tool, execution.tool_version),
        began=execution.began,
        seconds=seconds,
        share=seconds / len(execution.outputs),
        environment=execution.environment,
        size=size,
        written=written,
        is_cut_short=output.get("cut_short") is True,
    )


def run_of_line(name: str) -> str:
    """Return the run that an execution becomes: the same wherever and whenever it is read."""
    if _PLAIN_NAME.fullmatch(name):
        return f"{OF_LINES}{name}"
    return f"{OF_LINES}{hashlib.sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:40]}"


def failed_or_alone(execution: Execution, record: LearningRecord) -> LearningRecord:
    """Return the record of an execution without pictures.

    Args:
        execution: Which failed, was cancelled, or whose pictures are not there.
        record: Of what its line says of how it was made; its picture is no file.
    """
    stage = next(reversed(list(record.base_config)), "txt2img")
    error = execution.error or ("it failed" if execution.status == "failed" else "")
    own = {
        **dict(record.metadata.get("import") or {}),
        "spool": {**_about(execution), **_pictures(execution)},
    }
    return replace(
        record,
        run_id=run_of_line(execution.name),
        timestamp=execution.began or execution.ended or utc_timestamp(),
        status=execution.status,
        error=error or None,
        outputs=(),
        failures=(
            (VariantFailure(variant=0, stage=stage, error=error),)
            if execution.status == "failed" else ()
        ),
        backend={
            "name": record.backend.get("name") or execution.tool,
            "version": record.backend.get("version") or execution.tool_version,
        },
        environment=execution.environment,
        seconds={stage: execution.seconds} if execution.seconds else {},
        metadata={"import": own},
    )  # fmt: skip


def _about(execution: Execution) -> dict[str, Any]:
    told = {
        "id": execution.name, "tool": execution.tool, "tool_version": execution.tool_version,
        "status": execution.status, "began": execution.began, "ended": execution.ended,
        "seconds": execution.seconds, "error": execution.error, "cached": list(execution.cached),
        "left_out": list(execution.left_out),
    }  # fmt: skip
    return {key: value for key, value in told.items() if value not in (None, "", [])}


def _pictures(execution: Execution) -> dict[str, Any]:
    kept = ("path", "pixel_sha256", "width", "height", "cut_short")
    listed = [{k: o[k] for k in kept if k in o} for o in execution.outputs[:100]]
    return {"outputs": listed} if listed else {}


def read_parameters(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read the parameters that a line tells into *draft*; False when *data* is none of these.

    What no knob is called stays in the tool's words.
    """
    told = data.get(TOLD_PARAMETERS)
    if not isinstance(told, dict):
        return False
    draft.generator = str(data.get("tool") or "")
    left = {key: value for key, value in told.items() if value is not None}
    if any(isinstance(left.get(name), int | float) for name in _OF_IMG2IMG):
        draft.stage = "img2img"
    if "true_cfg_scale" in left or left.get("guidance_embeds") is True:  # distilled: no CFG
        left["guidance"] = left.pop("guidance_scale", left.get("guidance"))
    _name_scheduler(draft, left)
    for knob, names in _NAMES.items():
        name = next((name for name in names if left.get(name) is not None), None)
        if name is not None and isinstance(left[name], str | int | float):
            draft.read(knob, left.pop(name))
    loras = left.pop("loras", None)
    for lora in loras if isinstance(loras, list) else ():
        if isinstance(lora, dict):
            draft.add_lora(lora.get("name"), lora.get("weight"))
    draft.tags_are_words = "<lora:" in str(draft.knobs.get("prompt", "")) and "pipeline" in told
    draft.add_prompt_loras()  # those of diffusers are words: its pipelines know no tags
    for name, value in left.items():
        draft.also(name, value)
    return True


def _name_scheduler(draft: Draft, told: Mapping[str, Any]) -> None:
    """Read sampler and schedule from a scheduler of diffusers, where one name alone fits it."""
    cls, config = told.get("scheduler_class"), told.get("scheduler_config")
    if not isinstance(cls, str) or not isinstance(config, dict):
        return
    fits: dict[int, list[str]] = {}
    for name, names in SAMPLERS.items():
        like = names.diffusers
        if (
            like is not None
            and like.cls == cls
            and all(config.get(option) == value for option, value in like.options.items())
        ):
            fits.setdefault(len(like.options), []).append(name)
    best = fits[max(fits)] if fits else [_FLOW_SAMPLERS[cls]] if cls in _FLOW_SAMPLERS else []
    if cls in _FLOW_SAMPLERS and config.get("use_dynamic_shifting") is False:
        draft.read("shift", config.get("shift"))
    if len(best) == 1:
        draft.read("sampler", best[0])
    flags = [name for name in _SIGMA_FLAGS if config.get(name) is True]
    schedules = [
        name for name, names in SCHEDULERS.items()
        if names.diffusers and any(names.diffusers.get(flag) is True for flag in flags)
    ]  # fmt: skip
    if len(flags) == len(schedules) == 1:
        draft.read("scheduler", schedules[0])
