"""The ``parameters`` text of AUTOMATIC1111, and of the many that write the same, as a reading.

Its grammar is :mod:`safelight.formats.infotext`.
"""

from __future__ import annotations

import hashlib
import re

from safelight.formats.bounded_json import json_value
from safelight.formats.infotext import parse_infotext
from safelight.imports.reading import Draft, as_number, as_whole

__all__ = ["read_infotext"]

_SIZE = re.compile(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*")
_MODULE = re.compile(r"Module \d+")
_VAE = re.compile(r"vae|(^|[\W_])ae([\W_]|$)", re.IGNORECASE)
_TEXT_ENCODER = re.compile(
    r"clip|t5|qwen|llama|gemma|mistral|gpt[\W_]?oss|text[\W_]?encoder", re.IGNORECASE
)
_MODEL_ENDINGS = (".safetensors", ".ckpt", ".gguf", ".pt")


def read_infotext(draft: Draft, text: str) -> bool:
    """Read a parameters text into *draft*; False when it is none."""
    info = parse_infotext(text)
    pairs = info.pairs
    if not pairs:
        return False
    draft.generator = _generator(pairs)
    draft.read("prompt", info.prompt)
    if info.negative_prompt is None:
        draft.default("negative_prompt", "")
    else:
        draft.read("negative_prompt", info.negative_prompt)
    taken = {"Steps", "CFG scale", "Seed", "Version"}
    draft.read("steps", pairs.get("Steps"))
    draft.read("cfg_scale", pairs.get("CFG scale"))
    draft.read("seed", pairs.get("Seed"))
    taken |= _read_sampler(draft, pairs)
    taken |= _read_model(draft, pairs)
    taken |= _read_modules(draft, pairs)
    taken |= _read_passes(draft, pairs)
    taken |= _read_loras(draft, pairs)
    for key, value in pairs.items():
        if key not in taken:
            draft.also(key, value)
    draft.also("Version", pairs.get("Version"))
    return True


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
    sampler = pairs.get("Sampler", "")
    named = pairs.get("Schedule type") or (
        pairs.get("Sampler sigma") if draft.generator == "sdnext" else None
    )
    draft.read("scheduler", named)
    if sampler in ("Undefined", "Default"):
        draft.unresolved("sampler")
        draft.warnings.append(f"the sampler is called {sampler!r}, which names none")
    else:
        draft.read("sampler", sampler or None)
    if sampler not in ("Undefined", "Default") and draft.generator not in ("sdnext", "sd.cpp"):
        draft.default("scheduler", "Automatic")
    undefined = sampler == "Undefined"
    if "Clip skip" in pairs and not undefined:
        draft.read("clip_skip", pairs["Clip skip"])
    elif draft.generator not in ("sd.cpp", "sdnext", "comfyui"):
        draft.default("clip_skip", 1)
    return {"Sampler", "Schedule type", "Clip skip"} | (
        {"Sampler sigma"} if draft.generator == "sdnext" else set()
    )


def _read_model(draft: Draft, pairs: dict[str, str]) -> set[str]:
    digest = pairs.get("Model hash", "")
    model = pairs.get("Model") or pairs.get("Unet")
    hashes = json_value(pairs.get("Hashes", ""))
    hashes = hashes if isinstance(hashes, dict) else {}
    digest = digest or str(hashes.get("model", ""))
    if not model:
        model = _civitai_model(pairs)
    draft.read("model", model)
    draft.read("vae", pairs.get("VAE"))
    if digest:
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
    resources = json_value(pairs.get("Civitai resources", ""))
    for resource in resources if isinstance(resources, list) else ():
        if isinstance(resource, dict) and str(resource.get("type", "")).lower() in (
            "checkpoint", "model",
        ):  # fmt: skip
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
    draft.read("hires_denoising_strength", strength)
    steps = as_whole(pairs.get("Hires steps"))
    if steps:
        draft.read("hires_steps", steps)
    elif draft.generator != "sdnext":
        draft.default("hires_steps", draft.knobs.get("steps"))
    return taken


def _size(text: str | None) -> tuple[int, int] | None:
    match = _SIZE.fullmatch(text or "")
    return (int(match[1]), int(match[2])) if match else None


def _read_loras(draft: Draft, pairs: dict[str, str]) -> set[str]:
    hashes: dict[str, str] = {}
    for part in pairs.get("Lora hashes", "").split(","):
        name, colon, digest = part.rpartition(":")
        if colon:
            hashes[name.strip()] = digest.strip()
    civitai = json_value(pairs.get("Hashes", ""))
    for key, digest in civitai.items() if isinstance(civitai, dict) else ():
        if isinstance(key, str) and key.startswith("lora:") and isinstance(digest, str):
            hashes.setdefault(key.removeprefix("lora:"), digest)
    draft.add_prompt_loras(hashes)
    named = {lora.name for lora in draft.loras}
    for name, digest in hashes.items():
        if name not in named:
            draft.add_lora(name, None, digest)
    resources = json_value(pairs.get("Civitai resources", ""))
    for resource in resources if isinstance(resources, list) else ():
        if isinstance(resource, dict) and str(resource.get("type", "")).lower() in (
            "lora", "lycoris", "locon", "dora",
        ):  # fmt: skip
            called = resource.get("modelName") or resource.get("air")
            if isinstance(called, str) and not named:
                draft.add_lora(called, as_number(resource.get("weight")))
    return {"Lora hashes"}
