"""dialects: what servers of ``/v1/images`` add to OpenAI's fields, as data, and who is who.

OpenAI's own request has a prompt, a model, a number and a size. Where steps, guidance and seed go
is every server's own, and none but stable-diffusion.cpp's says what it made of them. Of these only
sd-server was run; the others are told from their documents and sources of 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError, BackendLoginRefused, BackendUnavailable
from safelight.sampler_names import canonical_name

__all__ = ["DIALECTS", "SD_SERVER", "Abilities", "Dialect", "look_around"]

_EMPTY: Mapping[str, Any] = MappingProxyType({})
_UNBOUNDED = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one kind of server takes beside OpenAI's own fields.

    Attributes:
        name: What the option ``server``, records and documentation call it.
        title: What messages call it.
        owners: What ``owned_by`` is in its list of models.
        fields: Knob -> its field, dotted where it lies within another one.
        constants: What every request carries, so that pictures come as PNG in the answer.
        true_cfg: The field of guidance beside a distilled one; empty where there is none.
        inline: Whether *fields* go, as JSON, into the prompt.
        edits: Whether ``/v1/images/edits`` exists.
        not_in_edits: Knobs of *fields* that it has not there.
        image: The field of its input picture there.
        mask: The field of a mask there; empty where it has none that acts.
        mask_is: What shows the place to redraw.
        sizes_edits: Whether edits are sent the input's size where none is stated.
        batches: ``counted``: n pictures of one request have the seeds seed, seed + 1, ...;
            ``apart``: nobody says what seeds they have, so each is a request; ``unseeded``: no
            picture has a seed that can be asked for.
        least_seed: Smallest seed that is none of chance.
        largest_seed: Largest seed that is not cut.
        negative_after: What parts the negative prompt from the prompt, where they are one field.
        sends_model: Whether a request names the model.
        tells: Whether its pictures say what was used.
        version_path: What answers with its version; empty where nothing does.
    """

    name: str
    title: str
    owners: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    constants: Mapping[str, Any] = field(
        default_factory=lambda: {"response_format": "b64_json", "output_format": "png"}
    )
    true_cfg: str = ""
    inline: bool = False
    edits: bool = False
    not_in_edits: tuple[str, ...] = ()
    image: str = "image"
    mask: str = ""
    mask_is: Literal["white", "transparent"] = "white"
    sizes_edits: bool = True
    batches: Literal["counted", "apart", "unseeded"] = "apart"
    least_seed: int = 0
    largest_seed: int = _UNBOUNDED
    negative_after: str = ""
    sends_model: bool = True
    tells: bool = False
    version_path: str = ""


_DIFFUSERS_LIKE = {
    "seed": "seed",
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "guidance": "guidance_scale",
    "negative_prompt": "negative_prompt",
    "shift": "flow_shift",
}

VLLM_OMNI = Dialect(
    name="vllm-omni",
    title="vLLM-Omni",
    owners=("vllm", "vllm-omni"),
    fields=_DIFFUSERS_LIKE,
    true_cfg="true_cfg_scale",
    edits=True,
    not_in_edits=("shift",),
    mask="mask_image",
    version_path="/version",
)
SGLANG = Dialect(
    name="sglang",
    title="SGLang",
    owners=("sglang",),
    fields=_DIFFUSERS_LIKE,
    true_cfg="true_cfg_scale",
    edits=True,  # its route takes a mask, and hands it to nobody
    not_in_edits=("shift",),
)
LOCALAI = Dialect(
    name="localai",
    title="LocalAI",
    fields={"seed": "seed", "steps": "step"},
    constants={"response_format": "b64_json"},
    least_seed=1,  # its diffusers backend takes 0 for none
    largest_seed=2**31 - 1,  # it is handed on as a signed number of 32 bits
    negative_after="|",
    version_path="/version",
)
SD_SERVER = Dialect(
    name="sd-server",
    title="stable-diffusion.cpp",
    fields={
        "seed": "seed",
        "steps": "sample_params.sample_steps",
        "cfg_scale": "sample_params.guidance.txt_cfg",
        "guidance": "sample_params.guidance.distilled_guidance",
        "shift": "sample_params.flow_shift",
        "sampler": "sample_params.sample_method",
        "scheduler": "sample_params.scheduler",
        "eta": "sample_params.eta",
        "negative_prompt": "negative_prompt",
        "clip_skip": "clip_skip",
        "denoising_strength": "strength",
    },
    constants={"output_format": "png"},
    inline=True,
    edits=True,
    image="image[]",
    mask="mask",
    batches="counted",
    largest_seed=2**63 - 1,
    sends_model=False,
    tells=True,
)
DYNAMO = Dialect(
    name="dynamo",
    title="Dynamo",
    owners=("nvidia",),
    fields={
        "seed": "nvext.seed",
        "steps": "nvext.num_inference_steps",
        "cfg_scale": "nvext.guidance_scale",
        "negative_prompt": "nvext.negative_prompt",
    },
    largest_seed=2**63 - 1,
)
OPENAI = Dialect(
    name="openai",
    title="OpenAI",
    owners=("openai", "openai-internal", "system"),
    constants={},
    edits=True,
    mask="mask",
    mask_is="transparent",
    sizes_edits=False,  # it draws a few sizes only
    batches="unseeded",
)

DIALECTS: Mapping[str, Dialect] = {
    each.name: each for each in (VLLM_OMNI, SGLANG, LOCALAI, SD_SERVER, DYNAMO, OPENAI)
}
"""Name -> dialect, as the option ``server`` has them."""

_ENDING = re.compile(r"\.(safetensors|ckpt|gguf|pth?|sft|bin)$", re.IGNORECASE)
_SD_SERVER_MODEL = "sd-cpp-local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What one server says that it has.

    Attributes:
        dialect: Who it is.
        models: The names of its models, as requests name them.
        version: Its version; empty when it does not say.
        samplers: Name as we list it -> name as the server takes it; None when it has no choice.
        schedulers: The same.
    """

    dialect: Dialect
    models: tuple[str, ...] = ()
    version: str = ""
    samplers: Mapping[str, str] | None = None
    schedulers: Mapping[str, str] | None = None

    @property
    def spellings(self) -> tuple[str, ...]:
        """The names of its models, and those without folder or ending that mean one of them."""
        bare = [model.rpartition("/")[2] for model in self.models]
        names = (*self.models, *bare, *(_ENDING.sub("", name) for name in bare))
        return tuple(name for name in dict.fromkeys(names) if self.called(name))

    def called(self, model: str) -> str | None:
        """Return the listed model of that name, which may lack folder and ending; else None."""
        if model in self.models:
            return model
        same = [each for each in self.models if _plain(each) == _plain(model)]
        return same[0] if len(same) == 1 else None


def look_around(server: EngineServer, named: str = "") -> Abilities:
    """Ask *server* who it is and what it has.

    Args:
        server: Its address.
        named: What the option ``server`` says that it is; empty where it is to be found out.

    Raises:
        BackendUnavailable: It does not answer.
        BackendError: It wants a key, or nothing says what it is.
    """
    listed = _asked(server, "/v1/models")
    entries = listed.get("data") if isinstance(listed, dict) else None
    entries = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else None
    if entries is None and not named:
        raise BackendError(
            f"{server} answers, but not /v1/models with a list; check the address, or say what it"
            f" is: server = {_known()}"
        )
    dialect = DIALECTS[named] if named else _recognised(server, entries or [])
    models = tuple(str(entry["id"]) for entry in entries or () if entry.get("id"))
    if dialect is SD_SERVER:
        return _sd_server(server)
    told = _asked(server, dialect.version_path) if dialect.version_path else None
    version = told.get("version") if isinstance(told, dict) else None
    return Abilities(dialect=dialect, models=models, version=str(version or ""))


def _recognised(server: EngineServer, entries: list[dict[str, Any]]) -> Dialect:
    if any(entry.get("id") == _SD_SERVER_MODEL for entry in entries):
        return SD_SERVER
    owners = {str(entry.get("owned_by") or "").lower() for entry in entries}
    for dialect in DIALECTS.values():
        if owners & set(dialect.owners):
            return dialect
    own = _asked(server, "/models")  # SGLang's own, beside OpenAI's
    if isinstance(own, dict) and "pipeline_class" in own:
        return SGLANG
    system = _asked(server, "/system")
    if isinstance(system, dict) and "loaded_models" in system:
        return LOCALAI
    raise BackendError(
        f"{server} does not say what it is; say it in the backend's table: server = {_known()}"
    )


def _sd_server(server: EngineServer) -> Abilities:
    told = _asked(server, "/sdcpp/v1/capabilities")
    told = told if isinstance(told, dict) else {}
    model = told.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    return Abilities(
        dialect=SD_SERVER,
        models=(str(name),) if name else (),
        samplers=_ours("sampler", told.get("samplers")),
        schedulers=_ours("scheduler", told.get("schedulers")),
    )


def _ours(knob: str, native: Any) -> dict[str, str]:
    """Return our name -> the server's, where we know it; else its own."""
    names = [name for name in native if isinstance(name, str)] if isinstance(native, list) else []
    ours: dict[str, str] = {}
    for name in names:
        ours.setdefault(canonical_name(knob, name) or name, name)
    return ours


def _asked(server: EngineServer, path: str) -> Any:
    """Return the JSON that *path* answers with; None where there is none."""
    try:
        return server.json(server.get(path))
    except (BackendUnavailable, BackendLoginRefused):
        raise
    except BackendError:
        return None


def _plain(name: str) -> str:
    bare = name.strip().replace("\\", "/").rpartition("/")[2]
    return _ENDING.sub("", bare).lower()


def _known() -> str:
    return ", ".join(f'"{name}"' for name in DIALECTS)
