"""SwarmUI: ``sui_image_params`` JSON, in PNG's ``parameters`` or the EXIF comment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from safelight.imports.reading import Draft, as_number

__all__ = ["read_swarmui"]

_TEXT_ENCODERS = ("cliplmodel", "clipgmodel", "t5xxlmodel", "llavamodel", "llamamodel",
                  "qwenmodel", "mistralmodel", "gemmamodel")  # fmt: skip
_TAKEN = frozenset({
    "prompt", "negativeprompt", "model", "vae", "seed", "steps", "cfgscale", "width", "height",
    "sampler", "scheduler", "loras", "loraweights", "initimagecreativity", "refinerupscale",
    "refinerupscalemethod", "refinercontrolpercentage", "refinercontrol", "refinersteps",
    "clipstopatlayer", *_TEXT_ENCODERS,
})  # fmt: skip


def read_swarmui(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read SwarmUI's JSON into *draft*; False when it is none. Numbers may be texts there."""
    params = data.get("sui_image_params")
    if not isinstance(params, dict):
        return False
    draft.generator = "swarmui"
    strength = params.get("initimagecreativity")
    if strength not in (None, ""):
        draft.stage = "img2img"
        draft.read("denoising_strength", strength)
    for knob, key in (("prompt", "prompt"), ("negative_prompt", "negativeprompt"),
                      ("model", "model"), ("seed", "seed"), ("steps", "steps"),
                      ("cfg_scale", "cfgscale"), ("width", "width"), ("height", "height"),
                      ("sampler", "sampler"), ("scheduler", "scheduler")):  # fmt: skip
        draft.read(knob, params.get(key))
    draft.default("negative_prompt", "")
    vae = params.get("vae")
    if isinstance(vae, str) and vae not in ("Automatic", "None"):
        draft.read("vae", vae)
    encoders = [params.get(key) for key in _TEXT_ENCODERS]
    draft.read("text_encoders", ", ".join(e for e in encoders if isinstance(e, str) and e))
    scale = as_number(params.get("refinerupscale"))
    if scale is not None and scale > 1:
        draft.read("hires_scale", scale)
        draft.read("hires_upscaler", params.get("refinerupscalemethod"))
        control = params.get("refinercontrolpercentage", params.get("refinercontrol"))
        draft.read("hires_denoising_strength", control)
        draft.read("hires_steps", params.get("refinersteps"))
    stop = as_number(params.get("clipstopatlayer"))
    if stop is not None and stop < 0:
        draft.read("clip_skip", -stop)
    weights = _listed(params.get("loraweights"))
    for place, name in enumerate(_listed(params.get("loras"))):
        draft.add_lora(name, weights[place] if place < len(weights) else 1)
    models = data.get("sui_models")
    for entry in models if isinstance(models, list) else ():
        if isinstance(entry, dict) and entry.get("param") == "model":
            draft.add_hash("swarmui", entry.get("hash"))
    for key, value in params.items():
        if key not in _TAKEN:
            draft.also(key, value)
    return True


def _listed(value: object) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, Iterable) else []
