"""payloads: a request of ours as a body of ``/sdapi/v1/txt2img``, ``img2img`` or ``extra-…``."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from safelight.backends.input_picture import input_picture
from safelight.backends.noise_levels import noise_levels
from safelight.backends.webui.dialects import SDCPP, Abilities, Dialect, Model
from safelight.errors import BackendError
from safelight.knobs import did_you_mean
from safelight.lora_tags import Lora, split_loras
from safelight.pipeline.backend import DrawingRequest, Img2ImgRequest, Txt2ImgRequest
from safelight.sampler_names import SAMPLERS, SCHEDULERS, name_hint

__all__ = ["KNOB_OF_FIELD", "Payload", "drawing_payload", "encoded_picture", "with_extra"]

KNOB_OF_FIELD: Mapping[str, str] = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "sampler_name": "sampler",
    "sampler_index": "sampler",
    "scheduler": "scheduler",
    "steps": "steps",
    "cfg_scale": "cfg_scale",
    "eta": "eta",
    "width": "width",
    "height": "height",
    "clip_skip": "clip_skip",
    "batch_size": "batch_size",
    "n_iter": "batch_size",
    "init_images": "init_image",
    "denoising_strength": "denoising_strength",
    "hr_denoising_strength": "hires_denoising_strength",
    "mask": "mask",
    "mask_blur": "mask_blur",
    "enable_hr": "hires_scale",
    "hr_scale": "hires_scale",
    "hr_upscaler": "hires_upscaler",
    "hr_second_pass_steps": "hires_steps",
    "hr_steps": "hires_steps",
    "image": "init_image",
    "upscaler_1": "upscaler",
    "upscaling_resize": "scale",
    "sd_model_checkpoint": "model",
    "sd_vae": "vae",
    "forge_additional_modules": "vae",
    "CLIP_stop_at_last_layers": "clip_skip",
    "scheduler_eta": "eta",
    "guidance_scale": "cfg_scale",
    "sampler": "sampler",
    "strength": "denoising_strength",
    "batch_count": "batch_size",
    "loras": "prompt",
}
"""Field or option of the API -> the knob of ours that it is."""

_HIRES_STRENGTH = 0.7
"""Of hires fix where none is stated; what AUTOMATIC1111's page begins with."""

_NOTHING: Mapping[str, str] = MappingProxyType({})
_OURS = ("send_images", "force_task_id", "override_settings_restore_afterwards", "lora")


@dataclass(slots=True, kw_only=True)
class Payload:
    """What is posted, and what must be said about it.

    Attributes:
        body: The JSON.
        options: Its ``override_settings``, in the making.
        inline: What stable-diffusion.cpp takes out of the prompt, in the making.
        warnings: Whole sentences.
    """

    body: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    inline: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def drawing_payload(
    request: DrawingRequest, abilities: Abilities, loras: Sequence[Mapping[str, Any]] | None
) -> Payload:
    """Return the body that asks for *request*.

    Args:
        request: Txt2img or img2img.
        abilities: What the server has; a name that it lacks is refused here.
        loras: The server's list of LoRAs, None when it was not asked or does not say.

    Raises:
        BackendError: A knob is beyond what the server can do; the message names it.
    """
    payload = Payload()
    body, dialect = payload.body, abilities.dialect
    _refuse_what_it_lacks(request, dialect)
    body["prompt"], body["negative_prompt"] = request.prompt, request.negative_prompt
    for knob in ("steps", "cfg_scale", "width", "height", "batch_size"):
        if getattr(request, knob) is not None:
            body[knob] = getattr(request, knob)
    _put_seed(payload, request.seed, abilities)
    _put_names(payload, request, abilities)
    _put_model(payload, request, abilities)
    _put_others(payload, request, abilities)
    for knob, (place, name) in (("clip_skip", dialect.clip_skip), ("eta", dialect.eta)):
        if (value := getattr(request, knob)) is None:
            continue
        if knob in dialect.ignored:
            payload.warnings.append(
                f"{dialect.title} has no {knob} that a request can set; {value!r} has no effect."
            )
            continue
        {"option": payload.options, "field": body, "sdcpp": payload.inline}[place][name] = value
    if isinstance(request, Txt2ImgRequest) and request.hires_scale is not None:
        _put_hires(payload, request, abilities)
    if isinstance(request, Img2ImgRequest):
        _put_picture(payload, request)
    _refuse_a_single_step(payload, request, abilities)
    _put_loras(payload, request.prompt, abilities, loras)
    _finish(payload)
    body["prompt"] = body["prompt"] or dialect.empty_prompt
    payload.body = body = {dialect.fields.get(name, name): value for name, value in body.items()}
    stated = {name: knob for knob, (_, name) in dialect.others.items() if knob in request.others}
    with_extra(body, request.extra, stated)
    return payload


def with_extra(
    body: dict[str, Any], extra: Mapping[str, Any], stated: Mapping[str, str] = _NOTHING
) -> None:
    """Merge the knobs that only this server knows into *body*.

    Args:
        body: What is posted.
        extra: Field -> value.
        stated: Fields that the request's knobs have filled -> the knob.

    Raises:
        BackendError: One of them is a knob of safelight's, or something that safelight sets.
    """
    options = extra.get("override_settings", {})
    if not isinstance(options, Mapping):
        raise BackendError(f"extra.override_settings must be a table, got {options!r}")
    for name in (*extra, *options):
        if name in KNOB_OF_FIELD:
            raise BackendError(f"extra.{name} is the knob {KNOB_OF_FIELD[name]}; set that instead")
        if name in stated:
            raise BackendError(f"extra.{name} is the knob {stated[name]}, which is stated, too")
        if name in _OURS:
            raise BackendError(f"extra.{name} is set by safelight; leave it out")
    if options:
        body["override_settings"] = {**body.get("override_settings", {}), **options}
        body["override_settings_restore_afterwards"] = True
    body.update({name: value for name, value in extra.items() if name != "override_settings"})


def encoded_picture(data: bytes) -> str:
    """Return a picture as every server can read it: a PNG or JPEG file, in base64.

    Raises:
        BackendError: It is no picture. Some servers would draw from the text alone then.
    """
    picture = input_picture(data)
    if not data.startswith((b"\x89PNG", b"\xff\xd8")):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data = buffer.getvalue()
    return base64.b64encode(data).decode("ascii")


def _put_seed(payload: Payload, seed: int, abilities: Abilities) -> None:
    dialect = abilities.dialect
    if seed > dialect.largest_seed:
        raise BackendError(
            f"seed must be at most {dialect.largest_seed} on {dialect.title}, got {seed}"
        )
    if seed > dialect.field_seed:
        payload.inline["seed"] = seed
    else:
        payload.body["seed"] = seed


def _refuse_what_it_lacks(request: DrawingRequest, dialect: Dialect) -> None:
    """Refuse what would be another picture without it.

    Raises:
        BackendError: The request asks for it.
    """
    loras = ("lora",) if split_loras(request.prompt)[1] else ()
    stated = (knob for knob in dialect.refused if getattr(request, knob, None) is not None)
    for knob in (*stated, *(name for name in loras if name in dialect.refused)):
        value = "a <lora:…> tag" if knob == "lora" else repr(getattr(request, knob))
        value = "a picture" if knob == "mask" else value
        if value == "1":  # a batch of one
            continue
        raise BackendError(
            f"{knob} must be left out on {dialect.title}, whose requests cannot state it, got"
            f" {value}"
        )


def _put_names(payload: Payload, request: DrawingRequest, abilities: Abilities) -> None:
    dialect = abilities.dialect
    tables: tuple[tuple[str, str, Mapping[str, str] | None, Mapping[str, Any]], ...] = (
        ("sampler", "sampler_name", abilities.samplers, SAMPLERS),
        ("scheduler", "scheduler", abilities.schedulers, SCHEDULERS),
    )
    for knob, field_name, known, table in tables:
        asked: str | None = getattr(request, knob)
        if asked is None:
            continue
        if known is None:
            payload.warnings.append(
                f"{dialect.title} has no {knob} of its own here; {asked!r} has no effect."
            )
            continue
        same = _other_name(knob, asked, known, dialect.names)
        if same is None:
            raise BackendError(
                f"{knob} {asked!r} is unknown to {dialect.title}{name_hint(knob, asked, known)}"
            )
        payload.body[field_name] = known[same]
        why = table[asked].approximate.get(dialect.approximations) if asked in table else None
        if why:
            payload.warnings.append(f"{knob} {asked!r} is only nearly what it says: {why}.")


def _refuse_a_single_step(payload: Payload, request: DrawingRequest, abilities: Abilities) -> None:
    dialect, hires_steps = abilities.dialect, abilities.dialect.hires["hires_steps"]
    if payload.body.get("scheduler") not in dialect.two_step_schedules:
        return
    for knob, name in (("steps", "steps"), ("hires_steps", hires_steps)):
        if payload.body.get(name) == 1:
            raise BackendError(
                f"{knob} must be at least 2 with scheduler {request.scheduler!r} on"
                f" {dialect.title}, whose server ends otherwise, got 1"
            )


def _other_name(knob: str, asked: str, known: Mapping[str, str], names: str) -> str | None:
    """Return the listed name for *asked*: itself, or another of the same meaning."""
    if asked in known:
        return asked
    table: Mapping[str, Any] = SAMPLERS if knob == "sampler" else SCHEDULERS
    native = getattr(table[asked], names) if names and asked in table else None
    return next((ours for ours, theirs in known.items() if theirs == native), None)


def _put_model(payload: Payload, request: DrawingRequest, abilities: Abilities) -> None:
    dialect = abilities.dialect
    if request.model is not None:
        model = _listed("model", request.model, abilities.models, dialect.title)
        if dialect.switches_models:
            payload.options["sd_model_checkpoint"] = model.title
    if request.vae is None:
        return
    if not dialect.vae:
        payload.warnings.append(
            f"{dialect.title} chooses its VAE when it starts; vae {request.vae!r} has no effect."
        )
    elif request.vae in ("Automatic", "None"):
        forge = dialect.vae == "forge_additional_modules"
        payload.options[dialect.vae] = [] if forge else request.vae
    else:
        vae = _listed("vae", request.vae, abilities.vaes or (), dialect.title)
        forge = dialect.vae == "forge_additional_modules"
        payload.options[dialect.vae] = [vae.filename or vae.name] if forge else vae.name


def _put_others(payload: Payload, request: DrawingRequest, abilities: Abilities) -> None:
    """Put the knobs that few servers have; of those that this one has not, the answer is read."""
    dialect = abilities.dialect
    filled: dict[str, str] = {}
    for knob, value in request.others.items():
        if knob not in dialect.others:
            continue
        place, name = dialect.others[knob]
        if name in filled:
            raise BackendError(
                f"{filled[name]} and {knob} are one setting on {dialect.title}, whose model decides"
                " which of them it is; leave one out"
            )
        filled[name] = knob
        if knob == "text_encoders":
            _put_text_encoders(payload, value, abilities)
        elif knob == "cache":
            mode, _, option = str(value).partition(" ")
            payload.inline |= {"cache_mode": mode.lower(), "cache_option": option.strip()}
        else:
            put = list(noise_levels(value)) if knob == "sigmas" else value
            {"option": payload.options, "field": payload.body, "sdcpp": payload.inline}[place][
                name
            ] = put


def _put_text_encoders(payload: Payload, names: str, abilities: Abilities) -> None:
    """Add text encoders to Forge's list, in which the VAE stands, too."""
    title, option = abilities.dialect.title, abilities.dialect.vae
    wanted = [name for part in names.split(",") if (name := part.strip())]
    modules = [_listed("text_encoders", name, abilities.vaes or (), title) for name in wanted]
    if option not in payload.options:
        payload.warnings.append(
            f"{title} has one list for text encoders and VAE; as vae is not stated, it draws with"
            " the model's own."
        )
    files = [module.filename or module.name for module in modules]
    payload.options[option] = [*payload.options.get(option, []), *files]


def _listed(knob: str, asked: str, listed: Sequence[Model], title: str) -> Model:
    exact = [m for m in listed if asked in (m.title, m.name)]
    matching = exact or [m for m in listed if m.is_called(asked)]
    if matching:
        return matching[0]
    known = [m.title for m in listed]
    raise BackendError(f"{knob} {asked!r} is unknown to {title}{name_hint(knob, asked, known)}")


def _put_hires(payload: Payload, request: Txt2ImgRequest, abilities: Abilities) -> None:
    upscaler, known = request.hires_upscaler, abilities.hires_upscalers
    if upscaler is not None and known is not None and upscaler not in known:
        raise BackendError(
            f"hires_upscaler {upscaler!r} is unknown to {abilities.dialect.title}"
            f"{name_hint('hires_upscaler', upscaler, known)}"
        )
    if abilities.dialect is SDCPP and request.hires_denoising_strength == 0:
        raise BackendError(
            f"hires_denoising_strength must be above 0 on {abilities.dialect.title}, which divides"
            " by it; leave hires_scale out and use upscale instead"
        )
    payload.body["enable_hr"] = True
    payload.body.update(abilities.dialect.hires_always)
    for knob, name in abilities.dialect.hires.items():
        if getattr(request, knob) is not None:
            payload.body[name] = getattr(request, knob)
    # AUTOMATIC1111's own default is none at all, with which Forge and reForge answer 500.
    payload.body.setdefault(abilities.dialect.hires["hires_denoising_strength"], _HIRES_STRENGTH)


def _put_picture(payload: Payload, request: Img2ImgRequest) -> None:
    body = payload.body
    body["init_images"] = [encoded_picture(request.init_image)]
    size = input_picture(request.init_image).size
    body.setdefault("width", size[0])  # the API's own default is 512, whatever the picture is
    body.setdefault("height", size[1])
    if request.denoising_strength is not None:
        body["denoising_strength"] = request.denoising_strength
    if request.mask is None:
        return
    buffer = io.BytesIO()
    input_picture(request.mask).convert("L").save(buffer, "PNG")  # alpha would count otherwise
    body["mask"] = base64.b64encode(buffer.getvalue()).decode("ascii")
    body["inpainting_fill"] = 1  # start from the picture; the API's default is to smear it
    body["inpaint_full_res"] = False  # the API's default enlarges what the mask shows
    if request.mask_blur is not None:
        body["mask_blur"] = request.mask_blur


def _put_loras(
    payload: Payload,
    prompt: str,
    abilities: Abilities,
    listed: Sequence[Mapping[str, Any]] | None,
) -> None:
    rest, wanted = split_loras(prompt)
    if not wanted:
        return
    entries: list[tuple[Lora, Mapping[str, Any]]] = []
    for lora in wanted:
        entry = next((e for e in listed or () if _is_lora(e, lora.name)), None)
        if entry is not None:
            entries.append((lora, entry))
        elif listed is not None:
            known = [str(e["name"]) for e in listed if e.get("name")]
            raise BackendError(
                f"there is no LoRA {lora.name!r} on {abilities.dialect.title}"
                f"{did_you_mean(lora.name, known) or _named(known)}"
            )
    if not abilities.dialect.loras_in_prompt:
        payload.body["prompt"] = rest
        payload.body["lora"] = [{"path": e.get("path"), "multiplier": x.unet} for x, e in entries]


def _named(known: Sequence[str]) -> str:
    more = f", and {len(known) - 20} more" if len(known) > 20 else ""
    return f"; it has: {', '.join(known[:20])}{more}" if known else "; it has none"


def _is_lora(entry: Mapping[str, Any], name: str) -> bool:
    spellings = [str(entry.get(key) or "") for key in ("name", "alias", "path")]
    return any(Model(title=s, name=s).is_called(name) for s in spellings if s)


def _finish(payload: Payload) -> None:
    body = payload.body
    if payload.options:
        body["override_settings"] = dict(payload.options)
        body["override_settings_restore_afterwards"] = True
    if payload.inline:
        extra: dict[str, Any] = {}
        for path, value in payload.inline.items():
            *outer, last = ("sample_params.eta" if path == "eta" else path).split(".")
            part = extra
            for key in outer:
                part = part.setdefault(key, {})
            part[last] = value
        body["prompt"] += f"<sd_cpp_extra_args>{json.dumps(extra)}</sd_cpp_extra_args>"
