"""InvokeAI: ``invokeai_metadata`` of version 3 and later, ``sd-metadata`` and ``Dream`` before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safelight.formats.bounded_json import json_object
from safelight.imports.reading import Draft, as_number

__all__ = ["read_invokeai"]

_TEXT_ENCODERS = ("clip_embed_model", "clip_l_model", "clip_g_model", "t5_encoder",
                  "t5_encoder_model", "qwen3_encoder")  # fmt: skip
_DREAM = re.compile(r"(?<=\s)-([sSWHCAfI])\s*([^\s-][^\s]*)")
_DREAM_KNOBS = {"s": "steps", "S": "seed", "W": "width", "H": "height", "C": "cfg_scale",
                "A": "sampler", "f": "denoising_strength"}  # fmt: skip


def read_invokeai(draft: Draft, texts: Mapping[str, str]) -> bool:
    """Read InvokeAI's texts into *draft*; False when there are none that say something."""
    draft.generator = "invokeai"
    if metadata := json_object(texts.get("invokeai_metadata", "")):
        _read_metadata(draft, metadata)
        return True
    old = json_object(texts.get("sd-metadata", ""))
    images = old.get("images")
    image = old.get("image") or (images[0] if isinstance(images, list) and images else None)
    if isinstance(image, dict):
        _read_old(draft, old, image)
        return True
    if "Dream" in texts:
        return _read_dream(draft, texts["Dream"])
    return any(key in texts for key in ("invokeai_graph", "invokeai_workflow"))


def _read_metadata(draft: Draft, metadata: dict[str, Any]) -> None:
    mode = str(metadata.get("generation_mode", ""))
    if "img2img" in mode or "inpaint" in mode or "outpaint" in mode:
        draft.stage = "img2img"
        draft.read("denoising_strength", metadata.get("strength"))
    draft.read("prompt", metadata.get("positive_prompt"))
    if style := metadata.get("positive_style_prompt"):
        draft.also("positive_style_prompt", style)
    draft.read("negative_prompt", metadata.get("negative_prompt"))
    draft.default("negative_prompt", "")
    for knob in ("width", "height", "seed", "steps"):
        draft.read(knob, metadata.get(knob))
    draft.read("cfg_scale", metadata.get("cfg_scale"))
    if metadata.get("guidance") is not None:  # distilled; without a true one beside it
        draft.default("cfg_scale", 1)
    encoders = [metadata.get(key) for key in _TEXT_ENCODERS]
    names = [e.get("name", e.get("model_name")) for e in encoders if isinstance(e, dict)]
    draft.read("text_encoders", ", ".join(name for name in names if isinstance(name, str)))
    draft.read("sampler", metadata.get("scheduler"))
    draft.default("scheduler", "Automatic")
    model = metadata.get("model")
    if isinstance(model, dict):
        draft.read("model", model.get("name", model.get("model_name")))
        digest = model.get("hash", model.get("model_hash"))
        if isinstance(digest, str):
            kind, colon, _ = digest.partition(":")
            draft.add_hash(kind if colon else "unknown", digest)
    elif isinstance(model, str):
        draft.read("model", model)
    vae = metadata.get("vae")
    if isinstance(vae, dict):
        draft.read("vae", vae.get("name", vae.get("model_name")))
    skip = as_number(metadata.get("clip_skip"))
    if skip is not None:  # counted from 0 there
        draft.read("clip_skip", skip + 1)
    else:
        draft.default("clip_skip", 1)
    for entry in _list(metadata.get("loras")):
        lora = entry.get("model", entry.get("lora", {}))
        if isinstance(lora, dict):
            name = lora.get("name", lora.get("model_name", lora.get("key")))
            draft.add_lora(name, entry.get("weight"), lora.get("hash"))
    for key in ("app_version", "rand_device", "cfg_rescale_multiplier", "guidance", "strength"):
        draft.also(key, metadata.get(key))
    for key in ("controlnets", "ipAdapters", "t2iAdapters", "ref_images"):
        draft.also(key, metadata.get(key) or None)


def _read_old(draft: Draft, old: dict[str, Any], image: dict[str, Any]) -> None:
    prompts = image.get("prompt")
    parts = _list(prompts)
    if isinstance(prompts, str):
        draft.read("prompt", prompts)
    elif len(parts) == 1:
        draft.read("prompt", parts[0].get("prompt"))
    elif parts:
        weighed = [f"{p.get('prompt')}:{p.get('weight')}" for p in parts]
        draft.read("prompt", " AND ".join(weighed))
    text = str(draft.knobs.get("prompt", ""))
    if negative := re.findall(r"\[([^\[\]|]+)\]", text):  # InvokeAI 2 wrote it in brackets
        draft.read("negative_prompt", ", ".join(negative))
    else:
        draft.default("negative_prompt", "")
    for knob in ("steps", "seed", "width", "height", "cfg_scale", "sampler"):
        draft.read(knob, image.get(knob))
    if image.get("type") == "img2img":
        draft.stage = "img2img"
        strength = image.get("strength_steps", image.get("strength"))
        draft.read("denoising_strength", strength)
    draft.default("scheduler", "Automatic")
    model = old.get("model_weights") or old.get("model_id")
    if isinstance(model, str) and model:
        draft.read("model", model)
    draft.also("model", old.get("model"))
    draft.add_hash("sha256", old.get("model_hash"))
    draft.also("app_version", old.get("app_version"))
    for key in ("variations", "postprocessing", "threshold", "perlin", "facetool"):
        if image.get(key) not in (None, 0, [], "gfpgan"):
            draft.also(key, image.get(key))


def _read_dream(draft: Draft, text: str) -> bool:
    text = text[:100_000]
    switches = {match[1]: match[2] for match in _DREAM.finditer(text)}
    if "S" not in switches and "s" not in switches:
        return False
    first = re.search(r"\s-[a-zA-Z]\s*\S", text)
    prompt = text[: first.start()] if first else text
    draft.read("prompt", prompt.strip().removeprefix('"').removesuffix('"'))
    draft.default("negative_prompt", "")
    draft.default("scheduler", "Automatic")
    for letter, knob in _DREAM_KNOBS.items():
        draft.read(knob, switches.get(letter))
    if "I" in switches:
        draft.stage = "img2img"
    return True


def _list(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
