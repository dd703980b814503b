"""txt2img -> img2img -> upscale: which request comes next, and what the engine made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safelight.errors import ConfigError
from safelight.knobs import STAGES, Stage
from safelight.learning.learning_record import Mismatch
from safelight.pipeline.backend import (
    ImageRequest,
    Img2ImgRequest,
    Txt2ImgRequest,
    UpscaleRequest,
    requested_knobs,
)

__all__ = ["effective_knobs", "mismatches", "stage_request", "stages_of", "stages_up_to"]


def stages_of(config: Mapping[Stage, Mapping[str, Any]]) -> tuple[Stage, ...]:
    """Return the stages of a variant in the order in which they run."""
    return tuple(stage for stage in STAGES if stage in config)


def stages_up_to(stage: Stage) -> tuple[Stage, ...]:
    """Return *stage* and the stages that can have come before it."""
    return STAGES[: STAGES.index(stage) + 1]


def stage_request(stage: Stage, knobs: Mapping[str, Any], init_image: bytes | None) -> ImageRequest:
    """Return the request of one stage.

    Args:
        stage: The stage.
        knobs: Its decided knobs.
        init_image: The picture to start from; None for txt2img.

    Raises:
        ConfigError: The stage needs a picture and there is none.
    """
    stated = {name: value for name, value in knobs.items() if name != "init_image"}
    if stage == "txt2img":
        return Txt2ImgRequest(**{"prompt": "", **stated})
    if init_image is None:
        raise ConfigError(f"{stage} needs a picture to start from: set {stage}.init_image")
    if stage == "img2img":
        return Img2ImgRequest(init_image=init_image, **stated)
    return UpscaleRequest(init_image=init_image, **stated)


def effective_knobs(knobs: Mapping[str, Any], effective: Mapping[str, Any]) -> dict[str, Any]:
    """Return *knobs* with what the engine says it used put over them."""
    return {**knobs, **effective}


def mismatches(request: ImageRequest, effective: Mapping[str, Any]) -> tuple[Mismatch, ...]:
    """Return the knobs for which the engine says it used something else than was asked.

    Knobs that the request left to the engine, and knobs that the engine does not report,
    are no mismatch.
    """
    return tuple(
        Mismatch(knob=f"{request.stage}.{knob}", requested=asked, effective=effective[knob])
        for knob, asked in requested_knobs(request).items()
        if knob in effective and effective[knob] != asked
    )
