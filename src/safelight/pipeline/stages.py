"""txt2img -> img2img -> upscale: which request comes next, and what the engine made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from safelight.errors import ConfigError
from safelight.knobs import FILE_KNOBS, STAGES, Stage
from safelight.learning.learning_record import Mismatch
from safelight.learning.snapshot import plain_values
from safelight.pipeline.backend import (
    ImageRequest,
    Img2ImgRequest,
    Txt2ImgRequest,
    UpscaleRequest,
    requested_knobs,
)

__all__ = ["mismatches", "stage_request", "stages_of"]

_KINDS = {"txt2img": Txt2ImgRequest, "img2img": Img2ImgRequest, "upscale": UpscaleRequest}
_FIELDS = {stage: {field.name for field in fields(kind)} for stage, kind in _KINDS.items()}


def stages_of(config: Mapping[Stage, Mapping[str, Any]]) -> tuple[Stage, ...]:
    """Return the stages of a variant in the order in which they run."""
    return tuple(stage for stage in STAGES if stage in config)


def stage_request(
    stage: Stage,
    knobs: Mapping[str, Any],
    init_image: bytes | None,
    *,
    mask: bytes | None = None,
    job_id: str = "",
) -> ImageRequest:
    """Return the request of one stage.

    Args:
        stage: The stage.
        knobs: Its decided knobs.
        init_image: The picture to start from; None for txt2img.
        mask: What of it may change; None is all, and only img2img has one.
        job_id: Names the request uniquely.

    Raises:
        ConfigError: The stage needs a picture and there is none.
    """
    # Of a knob that names a file the request carries the bytes.
    stated = {name: value for name, value in knobs.items() if name not in FILE_KNOBS}
    known = _FIELDS[stage]
    own = {name: value for name, value in stated.items() if name in known}
    own["job_id"] = job_id
    own["others"] = {name: value for name, value in stated.items() if name not in known}
    if stage == "txt2img":
        return Txt2ImgRequest(**{"prompt": "", **own})
    if init_image is None:
        raise ConfigError(f"{stage} needs a picture to start from: set {stage}.init_image")
    if stage == "img2img":
        return Img2ImgRequest(init_image=init_image, mask=mask, **own)
    return UpscaleRequest(init_image=init_image, **own)


def mismatches(
    request: ImageRequest, effective: Mapping[str, Any], *, batch_place: int = 0
) -> tuple[Mismatch, ...]:
    """Return the knobs for which the engine says it used something else than was asked.

    Knobs that the request left to the engine, and knobs that the engine does not report,
    are no mismatch; nor is the seed of a picture that is not the first of its batch, nor the
    schedule type that an engine chose because it was asked to (``Automatic``).
    """
    effective = _each_extra(effective)
    differing = {
        knob: asked
        for knob, asked in _each_extra(requested_knobs(request)).items()
        if knob in effective and effective[knob] != asked
    }
    if not differing:
        return ()
    return tuple(
        Mismatch(knob=f"{request.stage}.{knob}", requested=asked, effective=effective[knob])
        for knob, asked in plain_values(differing).items()
        if effective[knob] != asked
        and not (knob == "seed" and batch_place > 0)
        and not (knob == "scheduler" and asked == "Automatic")
    )


def _each_extra(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Return *knobs* with what only this engine knows by itself, as ``extra.NAME``."""
    extra = knobs.get("extra")
    rest = {name: value for name, value in knobs.items() if name != "extra"}
    return rest | (
        {f"extra.{n}": v for n, v in extra.items()} if isinstance(extra, Mapping) else {}
    )
