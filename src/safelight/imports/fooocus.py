"""Fooocus and RuinedFooocus: JSON under ``parameters`` or in the EXIF comment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safelight.imports.reading import Draft, as_whole

__all__ = ["read_fooocus", "read_ruined_fooocus"]

_SIZE = re.compile(r"\(?\s*(\d{1,6})\s*[,x×]\s*(\d{1,6})\s*\)?")
_LORA = re.compile(r"(.+?)\s*:\s*(-?[\d.]+)")


def read_fooocus(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read Fooocus's own scheme into *draft*, with its snake-case keys or its spoken labels."""
    values = {str(key).lower().replace(" ", "_"): value for key, value in data.items()}
    if "prompt" not in values:
        return False
    draft.generator = "fooocus"
    draft.read("prompt", values.get("prompt"))
    draft.read("negative_prompt", values.get("negative_prompt"))
    draft.default("negative_prompt", "")
    for knob, key in (("steps", "steps"), ("seed", "seed"), ("cfg_scale", "guidance_scale"),
                      ("sampler", "sampler"), ("scheduler", "scheduler"),
                      ("clip_skip", "clip_skip"), ("model", "base_model"),
                      ("cfg_scale", "cfg"), ("width", "width"), ("height", "height")):  # fmt: skip
        draft.read(knob, values.get(key))
    skip = as_whole(str(values.get("base_clip_skip", "")).removeprefix("-"))
    if skip:  # counted from the end in Fooocus-MRE
        draft.read("clip_skip", skip)
    if size := _SIZE.fullmatch(str(values.get("resolution", "")).strip()):
        draft.read("width", size[1])
        draft.read("height", size[2])
    vae = values.get("vae")
    if isinstance(vae, str) and not vae.startswith("Default"):
        draft.read("vae", vae)
    digest = values.get("base_model_hash")
    draft.add_hash("autov2" if isinstance(digest, str) and len(digest) == 10 else "unknown", digest)
    loras = values.get("loras")
    for lora in loras if isinstance(loras, list) else ():
        if isinstance(lora, list) and len(lora) >= 2:
            draft.add_lora(lora[0], lora[1], lora[2] if len(lora) > 2 else "")
        elif isinstance(lora, dict):
            draft.add_lora(lora.get("name"), lora.get("weight"))
    for key, value in values.items():
        listed = re.fullmatch(r"lora_(?:combined_)?\d+|lora_\d+_.*", key)
        if listed and isinstance(value, str) and (match := _LORA.fullmatch(value)):
            draft.add_lora(match[1], match[2])
    for number in range(1, 6):
        draft.add_lora(values.get(f"l{number}"), values.get(f"w{number}"))
    for key in ("performance", "styles", "sharpness", "adm_guidance", "refiner_model",
                "refiner_switch", "full_prompt", "full_negative_prompt", "version", "style",
                "p_txt", "n_txt", "switch"):  # fmt: skip
        draft.also(key, values.get(key))
    return True


def read_ruined_fooocus(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read RuinedFooocus's JSON into *draft*."""
    draft.generator = "ruined-fooocus"
    for knob, key in (("prompt", "Prompt"), ("negative_prompt", "Negative"), ("steps", "steps"),
                      ("cfg_scale", "cfg"), ("width", "width"), ("height", "height"),
                      ("seed", "seed"), ("sampler", "sampler_name"), ("scheduler", "scheduler"),
                      ("model", "base_model_name"), ("clip_skip", "clip_skip")):  # fmt: skip
        draft.read(knob, data.get(key))
    draft.default("negative_prompt", "")
    denoise = data.get("denoise")
    if denoise is not None:
        draft.also("denoise", denoise)
    draft.add_hash("sha256", data.get("base_model_hash"))
    loras = data.get("loras")
    for lora in loras if isinstance(loras, list) else ():
        if isinstance(lora, dict):
            draft.add_lora(lora.get("name"), lora.get("weight"), lora.get("hash"))
        elif isinstance(lora, list):
            parts = [part for part in lora if isinstance(part, str | int | float)]
            match = _LORA.fullmatch(str(parts[-1])) if parts else None
            if match:
                draft.add_lora(match[1], match[2], str(parts[0]))
    return True
