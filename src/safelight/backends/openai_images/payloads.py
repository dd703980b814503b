"""payloads: a request of ours as one of ``/v1/images/generations`` or ``/v1/images/edits``."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safelight.backends.input_picture import input_picture
from safelight.backends.openai_images.dialects import Abilities, Dialect
from safelight.errors import BackendError
from safelight.lora_tags import split_loras
from safelight.pipeline.backend import DrawingRequest, Img2ImgRequest, Txt2ImgRequest, unused_knobs
from safelight.sampler_names import SAMPLERS, SCHEDULERS, name_hint

__all__ = ["Payload", "drawing_payload"]

_TRUE_CFG_MODELS = ("qwen-image", "qwen_image")
"""Models whose guidance is ``true_cfg_scale``, and whose ``guidance_scale`` does nothing."""

_OURS = frozenset({"prompt", "model", "n", "size", "response_format", "stream", "image", "image[]"})
_BREAKS_OFF_AT_ONE_STEP = ("karras", "exponential")
"""Native schedules of sd-server that divide by steps - 1: the process ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What is posted, and what is known of it.

    Attributes:
        path: Where to.
        body: Fields; nested ones are tables.
        files: Of a form: field -> file name, content, type; empty where *body* is JSON.
        number: How many pictures are asked for.
        sent: Knob -> value, as it was sent.
        unused: Knobs of the request for which the server has no field.
        warnings: Whole sentences.
    """

    path: str
    body: Mapping[str, Any]
    files: Mapping[str, tuple[str, bytes, str]] = field(default_factory=dict)
    number: int = 1
    sent: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def drawing_payload(
    request: DrawingRequest, abilities: Abilities, *, number: int, cfg_field: str = ""
) -> Payload:
    """Return what asks for *number* pictures of *request*.

    Args:
        request: Txt2img or img2img; its seed is that of the first picture.
        abilities: What the server has; what it lacks is refused here.
        number: Pictures of this one request.
        cfg_field: Where ``cfg_scale`` goes; empty where the model's name decides.

    Raises:
        BackendError: The server cannot do it; the message names the knob.
    """
    dialect = abilities.dialect
    _refuse(request, abilities)
    sent = _sent(request, abilities)
    own: dict[str, Any] = {}
    fields = _fields(dialect, sent, cfg_field)
    for knob, path in fields.items():
        _put(own, path, _native(knob, sent[knob], abilities))
    _refuse_a_single_step(dialect, request, own)
    prompt = request.prompt
    if dialect.negative_after and request.negative_prompt:
        prompt += dialect.negative_after + request.negative_prompt
    if dialect.inline:
        # Without <, of which a negative prompt could end it.
        inline = json.dumps({**own, **_extra(request, own)}).replace("<", "\\u003c")
        # First, because the first one counts, and a prompt may hold anything.
        prompt = f"<sd_cpp_extra_args>{inline}</sd_cpp_extra_args>{prompt}"
        own = {}
    body: dict[str, Any] = {"prompt": prompt, "n": number, **dialect.constants, **own}
    if "model" in sent and dialect.sends_model:
        body["model"] = sent["model"]
        if str(sent["model"]).startswith("dall-e"):  # later models refuse the field
            body["response_format"] = "b64_json"
    if "width" in sent:
        body["size"] = f"{sent['width']}x{sent['height']}"
    if not dialect.inline:
        body.update(_extra(request, body))
    files = {}
    if isinstance(request, Img2ImgRequest):
        files = _pictures(request, dialect)
    if request.extra:
        sent["extra"] = dict(request.extra)
    used = {*sent, "batch_size", *(f"extra.{name}" for name in request.extra)}
    if request.scheduler == "Automatic" and "scheduler" in dialect.fields:
        used.add("scheduler")
    if dialect.mask and isinstance(request, Img2ImgRequest) and request.mask is not None:
        used.add("mask")
    unused = unused_knobs(request, used)
    return Payload(
        path=f"/v1/images/{'edits' if files else 'generations'}",
        body=body,
        files=files,
        number=number,
        sent=sent,
        unused=unused,
        warnings=tuple(_no_field(dialect, knob, request) for knob in unused),
    )


def _sent(request: DrawingRequest, abilities: Abilities) -> dict[str, Any]:
    """Return knob -> value for all that this server can be sent."""
    dialect = abilities.dialect
    edit = isinstance(request, Img2ImgRequest)
    stated = {knob: getattr(request, knob, None) for knob in dialect.fields}
    stated |= {k: v for k, v in request.others.items() if k in dialect.fields}
    sent = {
        knob: value
        for knob, value in stated.items()
        if value is not None and not (edit and knob in dialect.not_in_edits)
    }
    if not edit:
        sent.pop("denoising_strength", None)
    if sent.get("scheduler") == "Automatic":
        del sent["scheduler"]
    if not request.negative_prompt:
        sent.pop("negative_prompt", None)
    elif dialect.negative_after:
        sent["negative_prompt"] = request.negative_prompt
    sent["prompt"] = request.prompt
    model = _model(request, abilities)
    if model is not None:
        sent["model"] = model
    size = (request.width, request.height)
    if size == (None, None) and isinstance(request, Img2ImgRequest) and dialect.sizes_edits:
        size = input_picture(request.init_image).size
    if size != (None, None):
        if None in size:
            raise BackendError(
                f"width and height must be stated together on {dialect.title}, got {size[0]} and"
                f" {size[1]}"
            )
        sent["width"], sent["height"] = size
    return sent


def _model(request: DrawingRequest, abilities: Abilities) -> str | None:
    title = abilities.dialect.title
    if request.model is not None:
        if not abilities.models:  # of a server that takes no name either, nobody knows the model
            return request.model if abilities.dialect.sends_model else None
        called = abilities.called(request.model)
        if called is None:
            raise BackendError(
                f"model {request.model!r} is unknown to {title}"
                f"{name_hint('model', request.model, abilities.models)}"
            )
        return called
    if len(abilities.models) > 1:
        raise BackendError(
            f"model must be stated: {title} has {len(abilities.models)} of them"
            f"{name_hint('model', '', abilities.models)}"
        )
    return abilities.models[0] if abilities.models else None


def _fields(dialect: Dialect, sent: Mapping[str, Any], cfg_field: str) -> dict[str, str]:
    """Return knob -> field, for all of *sent* that has one."""
    fields = {knob: path for knob, path in dialect.fields.items() if knob in sent}
    if not dialect.true_cfg or "cfg_scale" not in fields:
        return fields
    model = str(sent.get("model", "")).lower()
    takes_true = "guidance" in fields or any(name in model for name in _TRUE_CFG_MODELS)
    fields["cfg_scale"] = cfg_field or (dialect.true_cfg if takes_true else fields["cfg_scale"])
    if fields.get("guidance") == fields["cfg_scale"]:
        raise BackendError(
            f"cfg_scale and guidance are one field, {fields['cfg_scale']}, on {dialect.title} with"
            " this cfg_field; leave one out"
        )
    return fields


def _native(knob: str, value: Any, abilities: Abilities) -> Any:
    known = {"sampler": abilities.samplers, "scheduler": abilities.schedulers}.get(knob)
    if known is None or value in known:
        return value if known is None else known[value]
    table: Mapping[str, Any] = SAMPLERS if knob == "sampler" else SCHEDULERS
    native = table[value].sdcpp if value in table else value
    if native in known.values():
        return native
    raise BackendError(
        f"{knob} {value!r} is unknown to {abilities.dialect.title}{name_hint(knob, value, known)}"
    )


def _put(table: dict[str, Any], path: str, value: Any) -> None:
    *outer, last = path.split(".")
    for key in outer:
        table = table.setdefault(key, {})
    table[last] = value


def _extra(request: DrawingRequest, body: Mapping[str, Any]) -> dict[str, Any]:
    for name in request.extra:
        if name in _OURS:
            raise BackendError(f"extra.{name} is set by safelight; leave it out")
        if name in body:
            raise BackendError(f"extra.{name} is stated as a knob, too; leave one out")
    return dict(request.extra)


def _refuse(request: DrawingRequest, abilities: Abilities) -> None:
    """Refuse what would be drawn otherwise than asked, before anything is sent."""
    dialect = abilities.dialect
    title = dialect.title
    if isinstance(request, Txt2ImgRequest) and request.hires_scale is not None:
        raise BackendError(
            f"hires_scale {request.hires_scale:g} cannot be asked for over /v1/images on {title},"
            " which draws in one pass; leave it out, or add an img2img stage"
        )
    if loras := split_loras(request.prompt)[1]:
        raise BackendError(
            f"<lora:{loras[0].name}:…> is only words to {title} over /v1/images; load the LoRA when"
            " the server starts, and leave it out of the prompt"
        )
    parts = ("prompt", "negative_prompt") if dialect.negative_after else ()
    for knob in parts:
        if dialect.negative_after in getattr(request, knob):
            raise BackendError(
                f"{knob} holds {dialect.negative_after!r}, behind which {title} reads another"
                " prompt; leave it out"
            )
    if "seed" in dialect.fields and not (
        dialect.least_seed <= request.seed <= dialect.largest_seed
    ):
        raise BackendError(
            f"seed must lie between {dialect.least_seed} and {dialect.largest_seed} on {title}, got"
            f" {request.seed}; state seeds in the config"
        )
    if not isinstance(request, Img2ImgRequest):
        return
    if not dialect.edits:
        raise BackendError(
            f"img2img cannot be asked of {title}, which has no /v1/images/edits with an init_image"
            + (" and a mask" if request.mask is not None else "")
        )
    if request.mask is not None and not dialect.mask:
        raise BackendError(f"mask cannot be used on {title}: its /v1/images/edits ignores one")


def _refuse_a_single_step(
    dialect: Dialect, request: DrawingRequest, own: Mapping[str, Any]
) -> None:
    schedule = own.get("sample_params", {}).get("scheduler") if dialect.inline else None
    if request.steps == 1 and schedule in _BREAKS_OFF_AT_ONE_STEP:
        raise BackendError(
            f"steps must be at least 2 with scheduler {request.scheduler!r} on {dialect.title},"
            " whose server ends otherwise, got 1"
        )


def _pictures(request: Img2ImgRequest, dialect: Dialect) -> dict[str, tuple[str, bytes, str]]:
    """Return the form's files: decoded before, because some servers pass over what is none."""
    picture = input_picture(request.init_image)
    files = {dialect.image: ("image.png", _png(picture), "image/png")}
    if request.mask is not None:
        mask = input_picture(request.mask).convert("L").resize(picture.size)
        if dialect.mask_is == "transparent":
            picture = picture.convert("RGBA")
            picture.putalpha(mask.point(lambda value: 255 - value))
            mask = picture
        files[dialect.mask] = ("mask.png", _png(mask), "image/png")
    return files


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _no_field(dialect: Dialect, knob: str, request: DrawingRequest) -> str:
    if knob == "seed":
        return (
            f"{dialect.title} takes no seed: the same settings give another picture each time, and"
            " the record has none."
        )
    if knob == "mask":
        return f"{dialect.title} has no mask that a request can set; it had no effect."
    value = getattr(request, knob, None)
    value = request.others.get(knob) if value is None else value
    return (
        f"{dialect.title} has no {knob} that a request can set here; {value!r} had no effect, and"
        " the record leaves it out."
    )
