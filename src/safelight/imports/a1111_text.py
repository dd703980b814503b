"""The ``parameters`` text of AUTOMATIC1111, and of the many that write the same, as a reading.

Its grammar is :mod:`safelight.formats.infotext`.
"""

from __future__ import annotations

import hashlib
import re

from safelight.formats.bounded_json import json_value
from safelight.formats.infotext import Infotext, parse_infotext
from safelight.imports.reading import Draft, as_number, as_whole
from safelight.imports.text_loras import civitai_resources, read_loras
from safelight.sampler_names import canonical_name

__all__ = ["read_infotext"]

_SIZE = re.compile(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*")
_MODULE = re.compile(r"Module \d+")
_VAE = re.compile(r"vae|(^|[\W_])ae([\W_]|$)", re.IGNORECASE)
_TEXT_ENCODER = re.compile(
    r"clip|t5|qwen|llama|gemma|mistral|gpt[\W_]?oss|text[\W_]?encoder", re.IGNORECASE
)
_MODEL_ENDINGS = (".safetensors", ".ckpt", ".gguf", ".pt")


_SPELLED = {key.lower(): key for key in (
    "Steps", "Sampler", "Schedule type", "Scheduler", "CFG scale", "Seed", "Size", "Model",
    "Model hash", "VAE", "Clip skip", "Denoising strength", "Hires upscale", "Hires scale",
    "Hires upscaler", "Hires steps", "Hires resize", "Hires prompt", "First pass size",
    "Lora hashes", "Hashes", "Version", "App", "Unet",
)}  # fmt: skip
_SPELLED |= {"guidance scale": "CFG scale", "cfg": "CFG scale", "sampler name": "Sampler"}
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,16}")


def read_infotext(draft: Draft, text: str) -> bool:
    """Read a parameters text into *draft*; False when it is none."""
    info = parse_infotext(text)
    if not info.pairs:
        return False
    pairs = _as_we_spell(info.pairs)
    draft.generator = _generator(pairs)
    if "Guidance Scale" in info.pairs and draft.generator == "a1111-like":
        draft.generator = "draw-things"
        info = _with_dashed_negative(info)
    draft.read("prompt", info.prompt)
    if info.negative_prompt is None:
        draft.default("negative_prompt", "")
    else:
        draft.read("negative_prompt", info.negative_prompt)
    taken = {"Steps", "CFG scale", "Seed", "Version"}
    _read_numbers(draft, pairs)
    taken |= _read_sampler(draft, pairs)
    taken |= _read_model(draft, pairs)
    taken |= _read_modules(draft, pairs)
    taken |= _read_passes(draft, pairs)
    taken |= read_loras(draft, pairs)
    for key, value in pairs.items():
        if key not in taken:
            draft.also(key, value)
    draft.also("Version", pairs.get("Version"))
    return True


def _as_we_spell(pairs: dict[str, str]) -> dict[str, str]:
    """Return *pairs* with the keys that are asked for as AUTOMATIC1111 spells them."""
    spelled: dict[str, str] = {}
    for key, value in pairs.items():
        usual = _SPELLED.get(" ".join(key.replace("_", " ").lower().split()), key)
        spelled[key if usual in pairs else usual] = value
    return spelled


def _with_dashed_negative(info: Infotext) -> Infotext:
    """Return a text of Draw Things, which marks its negative prompt by a dash alone."""
    lines = info.prompt.split("\n")
    place = next((n for n, line in enumerate(lines) if n and line.startswith("-")), 0)
    if info.negative_prompt is not None or not place:
        return info
    negative = "\n".join([lines[place][1:], *lines[place + 1 :]])
    return Infotext("\n".join(lines[:place]), negative, info.pairs)


def _read_numbers(draft: Draft, pairs: dict[str, str]) -> None:
    """Read steps, scale and seed; a model in a cloud has none of the first two, and says 0."""
    seed = pairs.get("Seed")
    if seed is not None and _HEXADECIMAL.fullmatch(seed):
        seed = str(int(seed, 16))
    metadata = json_value(pairs.get("Civitai metadata", ""))
    if isinstance(metadata, dict):
        if as_whole(seed) is None and metadata.get("seed") is not None:
            seed = metadata["seed"]
        if str(metadata.get("workflow", "")).startswith("img2img"):
            draft.stage = "img2img"
    draft.read("seed", seed)
    if _in_a_cloud(pairs):
        draft.unresolved("steps")
        draft.unresolved("cfg_scale")
        draft.warnings.append(
            "0 steps are stated: a model in a cloud tells no steps, scale or sampler"
        )
        return
    draft.read("steps", pairs.get("Steps"))
    draft.read("cfg_scale", pairs.get("CFG scale"))


def _in_a_cloud(pairs: dict[str, str]) -> bool:
    return as_whole(pairs.get("Steps")) == 0


def _generator(pairs: dict[str, str]) -> str:
    version = pairs.get("Version", "")
    if "SD.Next" in pairs.get("App", "") or "Parser" in pairs:
        return "sdnext"
    if version.startswith("Fooocus"):
        return "fooocus"
    if version == "stable-diffusion.cpp" or "SDCPP" in pairs:
        return "sd.cpp"
    if version == "ComfyUI":
        return "comfyui"
    if "classic" in version:
        return "forge-classic"
    if "neo" in version:
        return "forge-neo"
    if re.match(r"f\d[\w.]*-v\d", version):
        return "reforge"
    if re.match(r"f\d[\d.]*v\d", version):
        return "forge"
    if re.match(r"v1\.|1\.\d", version):
        return "a1111"
    if "Civitai resources" in pairs or "Civitai metadata" in pairs:
        return "civitai"
    return "a1111-like"


def _read_sampler(draft: Draft, pairs: dict[str, str]) -> set[str]:
    if _in_a_cloud(pairs):
        draft.unresolved("sampler")
        return {"Schedule type"}
    sampler, named = pairs.get("Sampler", ""), pairs.get("Schedule type")
    taken = {"Sampler", "Schedule type", "Clip skip", "CLiP-skip"}
    if draft.generator == "sdnext":
        taken.add("Sampler sigma")
        named = named or pairs.get("Sampler sigma")
        if not sampler and "Scheduler" in pairs:  # the model's own, by its class
            sampler = pairs["Scheduler"]
            taken.add("Scheduler")
    elif not named and canonical_name("scheduler", pairs.get("Scheduler", "")):
        named = pairs["Scheduler"]
        taken.add("Scheduler")
    elif draft.generator == "sd.cpp" and not named:
        method, _, schedule = sampler.rpartition(" ")
        if canonical_name("sampler", method):
            sampler, named = method, schedule
    draft.read("scheduler", named)
    if sampler in ("Undefined", "Default"):
        draft.unresolved("sampler")
        draft.warnings.append(f"the sampler is called {sampler!r}, which names none")
    else:
        draft.read("sampler", sampler or None)
    if sampler not in ("Undefined", "Default") and draft.generator not in ("sdnext", "sd.cpp"):
        draft.default("scheduler", "Automatic")
    undefined = sampler == "Undefined"
    skip = pairs.get("Clip skip", pairs.get("CLiP-skip"))  # as SD.Next has it
    if skip is not None and not undefined:
        draft.read("clip_skip", skip)
    elif draft.generator not in ("sd.cpp", "sdnext", "comfyui", "draw-things"):
        draft.default("clip_skip", 1)
    return taken


def _read_model(draft: Draft, pairs: dict[str, str]) -> set[str]:
    listed = json_value(pairs.get("Hashes", ""))
    hashes = {str(key): value for key, value in listed.items()} if isinstance(listed, dict) else {}
    named = next((key for key in hashes if key.lower().startswith("model:")), "")
    digest = pairs.get("Model hash") or hashes.get("model") or hashes.get(named) or ""
    stated = pairs.get("Model") or pairs.get("Unet") or named.partition(":")[2]
    model = stated or _civitai_model(pairs)
    draft.read("model", model)
    draft.read("vae", pairs.get("VAE"))
    if isinstance(digest, str) and digest:
        draft.add_hash(_hash_kind(digest, model or ""), digest)
    return {"Model", "Model hash", "VAE"} | ({"Unet"} if not pairs.get("Model") else set())


def _read_modules(draft: Draft, pairs: dict[str, str]) -> set[str]:
    """Read Forge's list of VAE and text encoders, which only their names tell apart."""
    encoders: list[str] = []
    taken: set[str] = set()
    for key, name in pairs.items():
        if not _MODULE.fullmatch(key):
            continue
        if _VAE.search(name):
            if "vae" in draft.knobs:
                continue
            draft.read("vae", name)
        elif _TEXT_ENCODER.search(name):
            encoders.append(name)
        else:
            continue
        taken.add(key)
    draft.read("text_encoders", ", ".join(encoders))
    return taken


def _civitai_model(pairs: dict[str, str]) -> str | None:
    for resource in civitai_resources(pairs):
        if str(resource.get("type", "")).lower() in ("checkpoint", "model"):
            name = resource.get("modelName") or resource.get("air")
            if isinstance(name, str) and name:
                return name
    return None


def _hash_kind(digest: str, model: str) -> str:
    """Name the kind of a model hash, which its length tells, but for Forge's hash of the name.

    Forge hashed file names from 2024-08-10 to 2025-02-17 (and from its cache for longer).
    """
    if not re.fullmatch(r"[0-9a-fA-F]+", digest):
        return "unknown"
    short = digest.lower()
    stem = model.rpartition("/")[2].rpartition("\\")[2]
    for ending in ("", *_MODEL_ENDINGS):
        if hashlib.sha256((stem + ending).encode()).hexdigest()[:10] == short[:10] and stem:
            return "forge-name-hash"
    return {8: "autov1", 10: "autov2", 12: "autov3", 64: "sha256"}.get(len(short), "unknown")


def _read_passes(draft: Draft, pairs: dict[str, str]) -> set[str]:
    """Read size, hires fix and the img2img strength."""
    size = _size(pairs.get("Size"))
    first, final = _size(pairs.get("First pass size")), _size(pairs.get("Hires resize"))
    taken = {"Size", "Denoising strength", "Hires upscale", "Hires scale", "Hires upscaler",
             "Hires steps", "First pass size"}  # fmt: skip
    scale = pairs.get("Hires upscale") or pairs.get("Hires scale")
    hires = bool(scale or "Hires upscaler" in pairs or final)
    if first and size:  # before 2023 ``Size`` was the final size
        hires, final, size = True, size, first if all(first) else size
    if size:
        draft.read("width", size[0])
        draft.read("height", size[1])
    strength = pairs.get("Denoising strength")
    if not hires:
        if strength is not None:
            draft.stage = "img2img"
            draft.read("denoising_strength", strength)
        return taken
    if scale:
        draft.read("hires_scale", scale)
    elif (
        final
        and size
        and all(size)
        and final != size
        and (final[0] * size[1] == final[1] * size[0])
    ):
        draft.read("hires_scale", final[0] / size[0])
    else:
        draft.unresolved("hires_scale")
    draft.read("hires_upscaler", pairs.get("Hires upscaler"))
    own = as_number(pairs.get("Hires strength"))  # SD.Next; with 0 another one counts
    if own:
        taken.add("Hires strength")
    draft.read("hires_denoising_strength", own or strength)
    steps = as_whole(pairs.get("Hires steps"))
    if steps:
        draft.read("hires_steps", steps)
    elif draft.generator != "sdnext":
        draft.default("hires_steps", draft.knobs.get("steps"))
    return taken


def _size(text: str | None) -> tuple[int, int] | None:
    match = _SIZE.fullmatch(text or "")
    return (int(match[1]), int(match[2])) if match else None
