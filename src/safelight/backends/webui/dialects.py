"""dialects: how the servers that speak AUTOMATIC1111's API differ, as data, and who is who.

Whatever a server can be asked for (lists, progress, options) is asked once and kept in its
:class:`Abilities`; a :class:`Dialect` holds only what no server tells: where a knob goes in the
request, and what is known to be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from safelight.backends.engine_server import Answer, EngineServer
from safelight.errors import BackendError, BackendUnavailable
from safelight.sampler_names import SAMPLERS, SCHEDULERS, canonical_name

__all__ = [
    "A1111",
    "DRAW_THINGS",
    "FORGE",
    "FORGE_NEO",
    "KOBOLDCPP",
    "REFORGE",
    "SDCPP",
    "SDNEXT",
    "Abilities",
    "Dialect",
    "Model",
    "listed_models",
    "look_around",
    "settings_of",
]

Place = Literal["option", "field", "sdcpp"]
"""Where a knob goes: into ``override_settings``, into the request itself, or into the JSON that
stable-diffusion.cpp takes out of the prompt."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What no server of this kind tells about itself.

    Attributes:
        name: What records and documentation call it.
        title: What messages call it.
        names: Column of :mod:`safelight.sampler_names` with its own names, or empty.
        approximations: Column that says which names are only nearly the same, or empty.
        clip_skip: Where clip skip goes, and under which name.
        eta: Where eta goes, and under which name.
        others: Knob that has no field of its own in requests -> where it goes, and under which
            name; for stable-diffusion.cpp the keys of its JSON, joined by dots.
        vae: The option that chooses a VAE; empty when it is fixed at the start.
        switches_models: Whether a request may choose the checkpoint.
        loras_in_prompt: Whether ``<lora:…>`` is understood in a prompt.
        has_schedulers: Whether the request's schedule type has an effect.
        hires: Knob -> field of the request.
        hires_always: What hires fix needs besides.
        field_seed: Largest seed that fits the request's own field.
        largest_seed: Largest seed at all.
        invented_hash: The model hash that it makes up.
        empty_prompt: What stands for no prompt.
        samplers: Its samplers, where it does not list them.
        fields: Field of the API -> what it calls it.
        refused: Knobs without which it would draw something else, and ``lora``: a request that
            states one is refused.
        ignored: Knobs that a request cannot set; one that states them is told so.
        tells_nothing: Whether it never says what it used.
        has_extras: Whether ``extra-single-image`` exists.
        two_step_schedules: Native schedules that a single step breaks.
    """

    name: str
    title: str
    names: Literal["", "sdcpp"] = ""
    approximations: Literal["", "sdcpp", "diffusers"] = ""
    clip_skip: tuple[Place, str] = ("option", "CLIP_stop_at_last_layers")
    eta: tuple[Place, str] = ("field", "eta")
    others: Mapping[str, tuple[Place, str]] = field(default_factory=lambda: _EMPTY)
    vae: str = "sd_vae"
    switches_models: bool = True
    loras_in_prompt: bool = True
    has_schedulers: bool = True
    hires: Mapping[str, str] = field(default_factory=lambda: _HIRES)
    hires_always: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    field_seed: int = 2**64 - 1
    largest_seed: int = 2**64 - 1
    invented_hash: str = ""
    empty_prompt: str = ""
    samplers: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    refused: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    tells_nothing: bool = False
    has_extras: bool = True
    two_step_schedules: tuple[str, ...] = ()


_HIRES: Mapping[str, str] = MappingProxyType(
    {
        "hires_scale": "hr_scale",
        "hires_upscaler": "hr_upscaler",
        "hires_steps": "hr_second_pass_steps",
        "hires_denoising_strength": "denoising_strength",
    }
)

A1111 = Dialect(name="a1111", title="AUTOMATIC1111")
REFORGE = replace(A1111, name="reforge", title="reForge")
FORGE = Dialect(
    name="forge",
    title="Forge",
    # Not forge_unet_storage_dtype: a request that sets it is told that it holds, but the weights
    # are only converted when the model is loaded for another reason.
    others={
        "guidance": ("field", "distilled_cfg_scale"),
        "text_encoders": ("option", "forge_additional_modules"),
    },
    vae="forge_additional_modules",
    hires_always={"hr_additional_modules": []},  # without it: 500, NoneType is not iterable
)
FORGE_NEO = replace(
    FORGE,
    title="Forge Neo",
    # One field for both: the model decides whether it is guidance or shift.
    others={**FORGE.others, "shift": ("field", "distilled_cfg_scale")},
)
SDNEXT = Dialect(
    name="sdnext",
    title="SD.Next",
    approximations="diffusers",
    clip_skip=("field", "clip_skip"),
    eta=("option", "scheduler_eta"),
    others={"cfg_rescale": ("field", "cfg_rescale"), "shift": ("field", "schedulers_shift")},
    has_schedulers=False,
    hires={**_HIRES, "hires_denoising_strength": "hr_denoising_strength"},
    # Without the first two nothing is enlarged, without an upscaler it answers 500.
    hires_always={"hr_force": True, "hr_resize_mode": 1, "hr_upscaler": "Latent Bilinear"},
)
SDCPP = Dialect(
    name="sdcpp",
    title="stable-diffusion.cpp",
    names="sdcpp",
    approximations="sdcpp",
    clip_skip=("field", "clip_skip"),
    eta=("sdcpp", "eta"),
    others={
        "guidance": ("sdcpp", "sample_params.guidance.distilled_guidance"),
        "shift": ("sdcpp", "sample_params.flow_shift"),
        "sigmas": ("sdcpp", "sample_params.custom_sigmas"),
        "cache": ("sdcpp", "cache_mode"),
    },
    vae="",
    switches_models=False,
    loras_in_prompt=False,
    hires={**_HIRES, "hires_steps": "hr_steps"},
    field_seed=2**31 - 1,  # above it the field wraps in silence, and 2**32 is drawn as 0
    largest_seed=2**63 - 1,
    invented_hash="8888888888",
    empty_prompt=" ",  # an empty one is refused
    two_step_schedules=("karras", "exponential"),  # division by steps - 1: the server aborts
    has_extras=False,
)
KOBOLDCPP = Dialect(
    # It carries stable-diffusion.cpp and answers like its server, but reads far fewer fields.
    name="koboldcpp",
    title="KoboldCpp",
    names="sdcpp",
    approximations="sdcpp",
    clip_skip=("field", "clip_skip"),
    vae="",
    switches_models=False,
    field_seed=2**31 - 1,
    largest_seed=2**31 - 1,  # a C int: what is above comes out negative, which is "any"
    invented_hash="8888888888",
    refused=("hires_scale", "mask", "batch_size", "lora"),
    ignored=("eta",),
    tells_nothing=True,
    has_extras=False,
)
DRAW_THINGS = Dialect(
    name="drawthings",
    title="Draw Things",
    clip_skip=("field", "clip_skip"),
    vae="",
    switches_models=False,
    has_schedulers=False,
    field_seed=2**32 - 1,
    largest_seed=2**32 - 1,
    samplers=(
        "DPM++ 2M Karras", "Euler a", "DDIM", "PLMS", "DPM++ SDE Karras", "UniPC", "LCM",
        "Euler A Substep", "DPM++ SDE Substep", "TCD", "Euler A Trailing", "DPM++ SDE Trailing",
        "DPM++ 2M AYS", "Euler A AYS", "DPM++ SDE AYS", "DPM++ 2M Trailing", "DDIM Trailing",
    ),
    fields={
        "cfg_scale": "guidance_scale", "sampler_name": "sampler", "denoising_strength": "strength",
    },
    refused=("hires_scale", "mask", "batch_size", "lora"),
    ignored=("eta",),
    tells_nothing=True,
    has_extras=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One checkpoint or VAE as a server lists it.

    Attributes:
        title: As its drop-down shows it, perhaps with a hash: ``x.safetensors [6ce0161689]``.
        name: Without folder and ending.
        filename: Where it lies there; empty when it does not say.
        hash: The first ten digits of its SHA-256, empty when unknown.
    """

    title: str
    name: str
    filename: str = ""
    hash: str = ""

    def is_called(self, name: str) -> bool:
        """Whether *name* is one of the spellings in use for this model."""
        return _plain(name) in {_plain(n) for n in (self.title, self.name, self.filename) if n}


def _plain(name: str) -> str:
    """``models/x.safetensors [6ce0161689]`` and ``x`` are the same model."""
    bare = re.sub(r"\s*\[[0-9a-fA-F]+\]$", "", name.strip()).replace("\\", "/").rpartition("/")[2]
    return re.sub(r"\.(safetensors|ckpt|gguf|pth?|sft|bin)$", "", bare, flags=re.IGNORECASE).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What one server says that it has.

    Attributes:
        dialect: Who it is.
        models: Its checkpoints.
        vaes: Its VAEs, or Forge's modules; None when it does not list them.
        samplers: Name as we list it -> name as the server takes it.
        schedulers: The same, None when it does not list them.
        upscalers: Names, ``None`` left out; None when it does not list them.
        hires_upscalers: The same with the latent ones.
        has_progress: Whether it can say how far it is, and be interrupted.
        has_tasks: Whether it can say which of the jobs in its queue is running.
        enlarges: Whether ``extra-single-image`` exists.
    """

    dialect: Dialect
    models: tuple[Model, ...] = ()
    vaes: tuple[Model, ...] | None = None
    samplers: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    schedulers: Mapping[str, str] | None = None
    upscalers: tuple[str, ...] | None = None
    hires_upscalers: tuple[str, ...] | None = None
    has_progress: bool = False
    has_tasks: bool = False
    enlarges: bool = False


def look_around(server: EngineServer) -> Abilities:
    """Ask *server* who it is and what it has.

    Raises:
        BackendUnavailable: It does not answer.
        BackendError: It wants a password, or is none of the family.
    """
    samplers = _ask(server, "samplers")
    if not isinstance(samplers, list):
        return _without_lists(server)
    options = settings_of(server) or {}
    progress = _ask(server, "progress")
    dialect = _recognised(options, progress, lambda: _ask(server, "/api/extra/version"))
    forge = dialect.vae == "forge_additional_modules"
    modules = _ask(server, "sd-modules" if forge else "sd-vae")
    schedulers = _ask(server, "schedulers") if dialect.has_schedulers else None
    upscalers = _names(_ask(server, "upscalers"))
    latent = _names(_ask(server, "latent-upscale-modes")) or ()
    return Abilities(
        dialect=dialect,
        models=listed_models(server),
        vaes=_models(modules) if isinstance(modules, list) and dialect.vae else None,
        samplers=_translated("sampler", dialect, samplers),
        schedulers=_translated("scheduler", dialect, schedulers) if schedulers else None,
        upscalers=upscalers,
        hires_upscalers=None if upscalers is None else (*latent, *upscalers),
        has_progress=isinstance(progress, dict),
        has_tasks=isinstance(progress, dict) and _has_tasks(server),
        enlarges=dialect.has_extras,
    )


def _without_lists(server: EngineServer) -> Abilities:
    """Return what Draw Things has, which answers no question of the API but tells its settings.

    Raises:
        BackendError: It is something else.
    """
    settings = _ask(server, "/")
    if not (isinstance(settings, dict) and {"sampler", "guidance_scale"} <= settings.keys()):
        raise BackendError(
            f"{server} answers, but has no /sdapi/v1 interface; start AUTOMATIC1111 or Forge"
            " with --api, or check the address"
        )
    loaded = str(settings.get("model") or "")
    return Abilities(
        dialect=DRAW_THINGS,
        models=_models([{"title": loaded, "model_name": loaded}] if loaded else []),
        samplers={name: name for name in DRAW_THINGS.samplers},
    )


def settings_of(server: EngineServer) -> Mapping[str, Any] | None:
    """Return the settings of *server* as its API tells them; None when it does not.

    Raises:
        BackendUnavailable: It does not answer.
    """
    options = _ask(server, "options")
    return options if isinstance(options, dict) else None


def listed_models(server: EngineServer) -> tuple[Model, ...]:
    """Return the checkpoints that *server* lists.

    Raises:
        BackendUnavailable: It does not answer.
    """
    return _models(_ask(server, "sd-models"))


def listed_loras(server: EngineServer) -> tuple[str, ...]:
    """Return the LoRAs that *server* lists, as prompts name them; none when it does not tell.

    Raises:
        BackendUnavailable: It does not answer.
    """
    return _names(_ask(server, "loras")) or ()


_NEO_OPTION = re.compile(r"(lumina|qwen|wan|anima|zit|klein)_[ti]2i_")
"""Presets that Forge itself, whose last are those of FLUX.1, never had."""


def _recognised(options: Mapping[str, Any], progress: Any, version: Callable[[], Any]) -> Dialect:
    """Return who answers so.

    Args:
        options: Its settings.
        progress: What it says of its progress; no mapping when it cannot.
        version: Asks for KoboldCpp's version; nothing else tells it from stable-diffusion.cpp.
    """
    if not isinstance(progress, dict):
        about = version()
        kobold = isinstance(about, dict) and about.get("result") == "KoboldCpp"
        return KOBOLDCPP if kobold else SDCPP
    if "forge_additional_modules" in options:
        return FORGE_NEO if any(_NEO_OPTION.match(name) for name in options) else FORGE
    if "id" in progress and "CLIP_stop_at_last_layers" not in options:
        return SDNEXT
    return REFORGE if "reforge_karras_rho" in options else A1111


def _ask(server: EngineServer, name: str) -> Any:
    """Return a list or table of the API; None when the server lacks it or fails over it.

    Args:
        server: Who is asked.
        name: What for; a path from the server's root begins with a slash.
    """
    path = name if name.startswith("/") else f"/sdapi/v1/{name}"
    refusals: list[Answer] = []

    def keep(answer: Answer) -> None:
        refusals.append(answer)

    try:
        answer = server.get(path, explain=keep)
    except BackendUnavailable:
        raise
    except BackendError:
        if not refusals:  # a wrong password, which no other question gets past
            raise
        return None
    try:
        return server.json(answer)
    except BackendError:
        if name.startswith("/"):  # a page, where no API was promised
            return None
        raise


def _has_tasks(server: EngineServer) -> bool:
    question = {"id_task": "safelight", "id_live_preview": -1, "live_preview": False}
    try:
        body = server.json(server.ask("POST", "/internal/progress", json=question))
    except BackendError:
        return False
    return isinstance(body, dict) and "queued" in body


def _models(listed: Any) -> tuple[Model, ...]:
    entries = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    return tuple(
        Model(
            title=str(e.get("title") or e.get("model_name") or ""),
            name=str(e.get("model_name") or e.get("title") or ""),
            filename=str(e.get("filename") or ""),
            hash=str(e.get("hash") or str(e.get("sha256") or "")[:10]),
        )
        for e in entries
    )


def _names(listed: Any) -> tuple[str, ...] | None:
    if not isinstance(listed, list):
        return None
    names = [str(e.get("name")) for e in listed if isinstance(e, dict) and e.get("name")]
    return tuple(name for name in names if name != "None")


def _translated(knob: str, dialect: Dialect, listed: Iterable[Any]) -> dict[str, str]:
    """Return our name -> the server's, for every entry; ours is AUTOMATIC1111's where known."""
    native = [str(e.get("label") or e.get("name")) for e in listed if isinstance(e, dict)]
    if not dialect.names:
        return {name: name for name in native if name}
    table: Mapping[str, Any] = SAMPLERS if knob == "sampler" else SCHEDULERS
    by_native: dict[str, list[str]] = {}
    for canonical, names in table.items():
        by_native.setdefault(names.sdcpp or "", []).append(canonical)
    ours = [(name, by_native.get(name) or [canonical_name(knob, name) or name]) for name in native]
    return {name_here: name for name, several in ours for name_here in several[:1]}
