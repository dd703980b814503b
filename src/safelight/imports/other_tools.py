"""Tools that write one small JSON object: Draw Things, imaginAIry, Easy Diffusion and others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safelight.formats.bounded_json import json_object
from safelight.imports.reading import Draft, as_number

__all__ = [
    "read_civitai_extra",
    "read_draw_things",
    "read_easy_diffusion",
    "read_hf_space",
    "read_image_meta_hub",
    "read_imaginairy",
    "read_stability_matrix",
    "read_tensorart",
]

_PROMPTS = ("prompt", "negative_prompt")
_SIZE = re.compile(r"\s*\(?(\d{1,6})\s*[x×,]\s*(\d{1,6})\)?\s*")


def _take(draft: Draft, data: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for knob, key in names.items():
        draft.read(knob, data.get(key))


def _take_size(draft: Draft, text: object) -> None:
    if isinstance(text, str) and (size := _SIZE.fullmatch(text)):
        draft.read("width", size[1])
        draft.read("height", size[2])


def read_draw_things(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read Draw Things' JSON (``c``, ``uc``) into *draft*; False when it is none."""
    if not isinstance(data.get("c"), str) or "uc" not in data:
        return False
    draft.generator = "draw-things"
    _take(draft, data, {"prompt": "c", "negative_prompt": "uc", "steps": "steps", "seed": "seed",
                        "cfg_scale": "scale", "sampler": "sampler", "model": "model"})  # fmt: skip
    _take_size(draft, data.get("size"))
    newer = data.get("v2") if isinstance(data.get("v2"), dict) else {}
    strength = as_number(data.get("strength"))
    if strength is not None and 0 < strength < 1:
        draft.stage = "img2img"
        draft.read("denoising_strength", strength)
    loras = newer.get("loras", data.get("lora")) if isinstance(newer, dict) else None
    for lora in loras if isinstance(loras, list) else ():
        if isinstance(lora, dict):
            draft.add_lora(lora.get("file", lora.get("model")), lora.get("weight"))
    for key, value in data.items():
        if key in ("shift", "guidance_embed", "clip_skip", "profile", "hires_fix"):
            draft.also(key, value)
    draft.also("controls", (isinstance(newer, dict) and newer.get("controls")) or None)
    return True


def read_imaginairy(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read imaginAIry's JSON, of before and since version 14; False when it is none."""
    prompt = data.get("prompt")
    if not isinstance(prompt, dict):
        return False
    software = prompt.get("software", data.get("software", ""))
    if str(software).lower() != "imaginairy":
        return False
    draft.generator = "imaginairy"
    draft.read("prompt", _weighed(prompt.get("prompts", prompt.get("prompt"))))
    draft.read("negative_prompt", _weighed(prompt.get("negative_prompt")))
    draft.default("negative_prompt", "")
    _take(draft, prompt, {"steps": "steps", "seed": "seed", "cfg_scale": "prompt_strength",
                          "width": "width", "height": "height", "sampler": "sampler_type",
                          "model": "model"})  # fmt: skip
    draft.read("sampler", prompt.get("solver_type"))
    weights = prompt.get("model_weights")
    draft.read("model", weights.get("name") if isinstance(weights, dict) else weights)
    size = prompt.get("size")
    if isinstance(size, list) and len(size) == 2:
        draft.read("width", size[0])
        draft.read("height", size[1])
    draft.default("scheduler", "Automatic")
    if prompt.get("init_image") not in (None, "None"):
        draft.stage = "img2img"
        kept = as_number(prompt.get("init_image_strength"))
        draft.also("init_image", prompt.get("init_image"))
        if kept is not None and 0 <= kept <= 1:  # the share that is kept there
            draft.read("denoising_strength", round(1 - kept, 6))
    return True


def _weighed(value: object) -> str | None:
    if isinstance(value, str):
        return value
    parts: list[tuple[Any, Any]] = []
    for part in value if isinstance(value, list) else ():
        if isinstance(part, list) and len(part) == 2:
            parts.append((part[0], part[1]))
        elif isinstance(part, dict):
            parts.append((part.get("weight", 1), part.get("text", "")))
    if len(parts) == 1:
        return str(parts[0][1])
    return " AND ".join(f"{text}:{weight}" for weight, text in parts) or None


def read_easy_diffusion(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read Easy Diffusion's keys, which are PNG chunks or one JSON; False when they are none."""
    if "use_stable_diffusion_model" not in data:
        return False
    draft.generator = "easy-diffusion"
    _take(draft, data, {"prompt": "prompt", "negative_prompt": "negative_prompt", "seed": "seed",
                        "steps": "num_inference_steps", "cfg_scale": "guidance_scale",
                        "width": "width", "height": "height", "sampler": "sampler_name",
                        "model": "use_stable_diffusion_model", "vae": "use_vae_model"})  # fmt: skip
    draft.default("negative_prompt", "")
    draft.default("scheduler", "Automatic")
    skip = {"true": 2, "false": 1}.get(str(data.get("clip_skip")).lower(), data.get("clip_skip"))
    draft.read("clip_skip", skip)
    if data.get("init_image") not in (None, "", False, "None", "False"):
        draft.stage = "img2img"
        draft.read("denoising_strength", data.get("prompt_strength"))
    if data.get("use_upscale") not in (None, "", "None", False):
        draft.also("use_upscale", data["use_upscale"])
        draft.also("upscale_amount", data.get("upscale_amount"))
    if data.get("use_controlnet_model") not in (None, "", "None", False):
        for key in ("use_controlnet_model", "control_filter_to_apply", "control_alpha"):
            draft.also(key, data.get(key))
    if data.get("use_lora_model"):
        names, weights = data["use_lora_model"], data.get("lora_alpha")
        names = names if isinstance(names, list) else [names]
        weights = weights if isinstance(weights, list) else [weights]
        for place, name in enumerate(names):
            draft.add_lora(name, weights[place] if place < len(weights) else None)
    return True


def read_hf_space(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read what popular demo pages of diffusers write; False when it is something else."""
    if "prompt" not in data or ("num_inference_steps" not in data and "resolution" not in data):
        return False
    draft.generator = "hf-space"
    _take(draft, data, {"prompt": "prompt", "negative_prompt": "negative_prompt", "seed": "seed",
                        "steps": "num_inference_steps", "cfg_scale": "guidance_scale",
                        "sampler": "sampler", "model": "Model"})  # fmt: skip
    draft.default("negative_prompt", "")
    draft.default("scheduler", "Automatic")
    _take_size(draft, data.get("resolution"))
    draft.add_hash("sha256", data.get("Model hash"))
    larger = data.get("use_upscaler")
    if isinstance(larger, dict):
        _take(draft, larger, {"hires_upscaler": "upscale_method", "hires_scale": "upscale_by",
                              "hires_denoising_strength": "upscaler_strength",
                              "hires_steps": "upscale_steps"})  # fmt: skip
    return True


def read_tensorart(draft: Draft, text: str) -> bool:
    """Read TensorArt's ``generation_data`` over what its graph said; False when it is none."""
    data = json_object(text)
    if not data:
        return False
    draft.generator = "tensorart"
    _take(draft, data, {"prompt": "prompt", "negative_prompt": "negativePrompt", "seed": "seed",
                        "steps": "steps", "cfg_scale": "cfgScale", "width": "width",
                        "height": "height", "clip_skip": "clipSkip",
                        "sampler": "samplerName"})  # fmt: skip
    model = data.get("baseModel")
    if isinstance(model, dict):
        draft.read("model", model.get("modelFileName") or model.get("label"))
        draft.add_hash("unknown", model.get("hash"))
    models = data.get("models")
    for entry in models if isinstance(models, list) else ():
        if isinstance(entry, dict) and entry.get("type") == "LORA":
            draft.add_lora(entry.get("modelFileName") or entry.get("label"), entry.get("weight"))
    return True


def read_stability_matrix(draft: Draft, text: str) -> bool:
    """Read Stability Matrix's ``parameters-json`` over what its graph said."""
    data = json_object(text)
    if not data:
        return False
    draft.generator = "stability-matrix"
    _take(draft, data, {"prompt": "PositivePrompt", "negative_prompt": "NegativePrompt"})
    names = {"steps": "Steps", "cfg_scale": "CfgScale", "seed": "Seed", "model": "ModelName",
             "sampler": "Sampler"}  # fmt: skip
    for knob, key in names.items():
        if knob not in draft.knobs:
            draft.read(knob, data.get(key))
    draft.add_hash("sha256", data.get("ModelHash"))
    return True


def read_civitai_extra(draft: Draft, text: str) -> bool:
    """Read ``extraMetadata``, which Civitai's own generator puts into its graphs.

    It is of the picture that was asked for; an upscale of its own is a transformation after that.
    """
    data = json_object(text)
    if "prompt" not in data:
        return False
    draft.generator = "civitai"
    upscale = draft.knobs.pop("upscaler", None)
    draft.statuses.pop("upscaler", None)
    draft.also("upscaler", upscale)
    workflow = str(data.get("workflowId", data.get("workflow", "")))
    draft.also("workflow", workflow)
    strength = data.get("denoise", draft.knobs.pop("denoising_strength", None))
    draft.statuses.pop("denoising_strength", None)
    draft.stage = "img2img" if workflow.startswith("img2img") else "txt2img"
    if draft.stage == "img2img":
        draft.read("denoising_strength", strength)
    _take(draft, data, {"prompt": "prompt", "negative_prompt": "negativePrompt", "seed": "seed",
                        "steps": "steps", "cfg_scale": "cfgScale", "width": "width",
                        "height": "height", "clip_skip": "clipSkip",
                        "sampler": "sampler"})  # fmt: skip
    draft.default("scheduler", "Automatic")
    draft.also("baseModel", data.get("baseModel"))
    draft.also("resources", data.get("resources"))
    return True


def read_image_meta_hub(draft: Draft, data: Mapping[str, Any]) -> None:
    """Read what Image MetaHub's saver says itself, where its graph said nothing."""
    loras, known = data.get("loras"), bool(draft.loras)
    draft.generator = draft.generator or str(data.get("generator", "")).lower()
    names = {"prompt": "prompt", "negative_prompt": "negativePrompt", "seed": "seed",
             "steps": "steps", "cfg_scale": "cfg", "sampler": "sampler_name",
             "scheduler": "scheduler", "model": "model", "vae": "vae", "width": "width",
             "height": "height"}  # fmt: skip
    said = any(data.get(key) not in (None, "", 0) for key in ("prompt", "seed", "steps", "model"))
    for knob, key in names.items() if said else ():
        silent = knob in _PROMPTS and knob not in draft.statuses  # its graph said nothing, either
        if knob not in draft.knobs and (data.get(key) not in (None, "") or silent):
            draft.read(knob, data.get(key))
    for lora in loras if isinstance(loras, list) and not known else ():
        inner = lora.get("name") if isinstance(lora, dict) else None
        if isinstance(inner, dict):
            draft.add_lora(inner.get("lora"), inner.get("strength"))
        elif isinstance(lora, dict):
            draft.add_lora(inner, lora.get("weight"))
