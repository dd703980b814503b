"""comfyui_nodes: what ComfyUI's nodes say: knobs, names of widgets and of methods that enlarge.

Knobs are those of nodes that bend a model. They are told by their class and the inputs that they
have, and so are the nodes of packs that do the same under names of their own
(``ModelSamplingAuraFlow``, ``TeaCacheForVidGen``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from safelight.knobs import KNOBS, knob_fault

__all__ = [
    "BENDING_KNOBS",
    "LATENT_METHODS",
    "PIXEL_METHODS",
    "WIDGETS",
    "node_knobs",
    "reads_as_words",
]

BENDING_KNOBS = (
    "guidance", "cfg_rescale", "shift", "sigmas", "text_encoders", "weight_dtype", "cache",
)  # fmt: skip
"""What :func:`node_knobs` knows of."""

PIXEL_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "Lanczos": "lanczos",
        "Nearest": "nearest-exact",
        "Bicubic": "bicubic",
        "Bilinear": "bilinear",
        "Area": "area",
    }
)
"""Upscalers that need no model: our name -> ``upscale_method`` of ImageScale."""

LATENT_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "Latent": "bilinear",
        "Latent (bicubic)": "bicubic",
        "Latent (nearest-exact)": "nearest-exact",
        "Latent (area)": "area",
        "Latent (bislerp)": "bislerp",
    }
)
"""Hires upscalers that enlarge the latent: our name -> ``upscale_method`` of LatentUpscaleBy."""

_GUIDES = re.compile(r"FluxGuidance|CLIPTextEncodeFlux")
_RESCALES = re.compile(r"RescaleCFG")
_SHIFTS = re.compile(r"ModelSampling(?!.*(Cascade|Flux|LTXV))")
_CACHES = re.compile(
    r"TeaCache|EasyCache|LazyCache|MagCache|FirstBlockCache|FBCache|WaveSpeed|CacheDiT", re.I
)
_THRESHOLDS = (
    "rel_l1_thresh", "reuse_threshold", "residual_diff_threshold", "magcache_thresh", "threshold",
)  # fmt: skip

_DETAILS = (
    "guide_size", "guide_size_for", "max_size", "seed", "*", "steps", "cfg", "sampler_name",
    "scheduler", "denoise",
)  # fmt: skip
_EASY_LOADER = (
    "ckpt_name", "vae_name", "clip_skip", "lora_name", "lora_model_strength",
    "lora_clip_strength", "resolution", "empty_latent_width", "empty_latent_height", "positive",
    "negative", "batch_size",
)  # fmt: skip
WIDGETS: Mapping[str, tuple[str, ...]] = {
    "KSampler": ("seed", "*", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "*", "steps", "cfg", "sampler_name", "scheduler",
        "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "*", "cfg"),
    "RandomNoise": ("noise_seed", "*"),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KSamplerSelect": ("sampler_name",),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "RescaleCFG": ("multiplier",),
    "ModelSamplingSD3": ("shift",),
    "ModelSamplingAuraFlow": ("shift",),
    "ModelSamplingFlux": ("max_shift", "base_shift", "width", "height"),
    "EasyCache": ("reuse_threshold", "start_percent", "end_percent", "verbose"),
    "ManualSigmas": ("sigmas",),
    "CLIPLoader": ("clip_name", "type", "device"),
    "DualCLIPLoader": ("clip_name1", "clip_name2", "type", "device"),
    "TripleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3"),
    "QuadrupleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3", "clip_name4"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "VAELoader": ("vae_name",),
    "CLIPTextEncode": ("text",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "LoadImage": ("image", "upload"),
    "SaveImage": ("filename_prefix",),
    "EmptyMochiLatentVideo": ("width", "height", "length", "batch_size"),
    "EmptyHunyuanLatentVideo": ("width", "height", "length", "batch_size"),
    "EmptyLTXVLatentVideo": ("width", "height", "length", "batch_size"),
    "WanImageToVideo": ("width", "height", "length", "batch_size"),
    "SVD_img2vid_Conditioning": ("width", "height", "video_frames"),
    "StableCascade_EmptyLatentImage": ("width", "height", "compression", "batch_size"),
    "CLIPTextEncodeHunyuanDiT": ("bert", "mt5xl"),
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "TextEncodeQwenImageEdit": ("prompt",),
    "unCLIPCheckpointLoader": ("ckpt_name",),
    "ImageOnlyCheckpointLoader": ("ckpt_name",),
    "LTXVScheduler": ("steps", "max_shift", "base_shift", "stretch", "terminal"),
    "OptimalStepsScheduler": ("model_type", "steps", "denoise"),
    "KarrasScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "ImageScale": ("upscale_method", "width", "height", "crop"),
    "ImageScaleBy": ("upscale_method", "scale_by"),
    "UpscaleModelLoader": ("model_name",),
    "PrimitiveNode": ("value", "*"),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value", "*"),
    "PrimitiveFloat": ("value",),
    "String Literal": ("string",),
    # Packs; what stands behind the last name is not needed.
    "KSampler //Inspire": ("seed", "*", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerPipe //Inspire": ("seed", "*", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced //Inspire": (
        "add_noise", "noise_seed", "*", "steps", "cfg", "sampler_name", "scheduler",
        "start_at_step", "end_at_step",
    ),
    "ImpactKSamplerBasicPipe": (
        "seed", "*", "steps", "cfg", "sampler_name", "scheduler", "denoise",
    ),
    "ImpactKSamplerAdvancedBasicPipe": (
        "add_noise", "noise_seed", "*", "steps", "cfg", "sampler_name", "scheduler",
        "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "FaceDetailer": _DETAILS,
    "FaceDetailerPipe": _DETAILS,
    "DetailerForEach": _DETAILS,
    "DetailerForEachDebug": _DETAILS,
    "DetailerForEachPipe": _DETAILS,
    "SEGSDetailer": _DETAILS,
    "UltimateSDUpscale": (
        "upscale_by", "seed", "*", "steps", "cfg", "sampler_name", "scheduler", "denoise",
    ),
    "KSampler (Efficient)": ("seed", "*", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "Efficient Loader": (
        "ckpt_name", "vae_name", "clip_skip", "lora_name", "lora_model_strength",
        "lora_clip_strength", "positive", "negative", "token_normalization",
        "weight_interpretation", "empty_latent_width", "empty_latent_height", "batch_size",
    ),
    "easy preSampling": ("steps", "cfg", "sampler_name", "scheduler", "denoise", "seed", "*"),
    "easy a1111Loader": _EASY_LOADER,
    "easy comfyLoader": _EASY_LOADER,
    "easy fullLoader": (
        "ckpt_name", "config_name", "vae_name", "clip_skip", "lora_name", "lora_model_strength",
        "lora_clip_strength", "resolution", "empty_latent_width", "empty_latent_height",
        "positive", "positive_token_normalization", "positive_weight_interpretation", "negative",
        "negative_token_normalization", "negative_weight_interpretation", "batch_size",
    ),
    "easy positive": ("positive",),
    "easy negative": ("negative",),
    "SDXL Empty Latent Image (rgthree)": ("dimensions", "clip_scale", "batch_size"),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
}  # fmt: skip
"""Class -> what its widgets are called, in the editor's order; ``*`` is what the editor adds to a
seed (``randomize``). Editor graphs of before 2025 hold values without names."""


_PASS_TEXT = re.compile(r"Primitive(Node|String\w*)|String\w+|Regex\w+|CaseConverter|Reroute")
_READ_TEXT = re.compile(
    r"CLIPTextEncode(Controlnet|Flux|HiDream|HunyuanDiT|Lumina2|PixArtAlpha|SD3|SDXL(Refiner)?)?"
    r"|TextEncode(HunyuanVideo_ImageToVideo|QwenImageEdit(Plus)?)"
)
"""ComfyUI's own nodes that hand a text on, and that encode one: as words, whatever stands in it."""


def reads_as_words(nodes: Mapping[str, Any], holds: Callable[[str], bool]) -> bool:
    """Return whether all that a graph makes of some texts is words.

    Packs have nodes that carry out what stands in a text, such as ``<lora:...>``; ComfyUI's own
    have not. A node of a pack that takes the text and from which nothing is taken, as those that
    save, cannot have done anything with it.

    Args:
        nodes: The graph in the API format.
        holds: Whether a text in an input is one of them.
    """
    takers: dict[str, list[str]] = {}
    todo: list[str] = []
    for name, node in nodes.items():
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        for value in inputs.values() if isinstance(inputs, Mapping) else ():
            if isinstance(value, list) and value and isinstance(value[0], (str, int)):
                takers.setdefault(str(value[0]), []).append(name)
            elif isinstance(value, str) and holds(value):
                todo.append(name)
    found, seen = bool(todo), set[str]()
    while todo:
        name = todo.pop()
        kind = str(nodes[name].get("class_type", ""))
        if name in seen or _READ_TEXT.fullmatch(kind):
            continue
        seen.add(name)
        if takers.get(name) and not _PASS_TEXT.fullmatch(kind):
            return False
        todo.extend(takers.get(name, ()))
    return found


def node_knobs(
    kind: str,
    inputs: Mapping[str, Any],
    number: Callable[[str], float | None],
    text: Callable[[str], str | None],
) -> dict[str, Any]:
    """Return the knobs that one node says: ``ModelSamplingSD3`` -> ``{"shift": 3.0}``.

    A value that breaks the knob's rule is left out.

    Args:
        kind: Its class.
        inputs: As the graph has them.
        number: Input -> its number, through its links as far as the caller follows them.
        text: Input -> its text, in the same way.
    """
    knobs: dict[str, Any] = {}
    if _GUIDES.search(kind):
        knobs["guidance"] = number("guidance")
    if _RESCALES.search(kind):
        knobs["cfg_rescale"] = number("multiplier" if "multiplier" in inputs else "cfg_rescale")
    if _SHIFTS.match(kind):
        knobs["shift"] = number("shift")
    if kind.endswith("Sigmas") and "sigmas" in inputs:
        knobs["sigmas"] = text("sigmas")
    if "weight_dtype" in inputs:
        knobs["weight_dtype"] = text("weight_dtype")
    if "CLIP" in kind and (names := [key for key in inputs if re.fullmatch(r"clip_name\d*", key)]):
        encoders = [text(name) for name in sorted(names)]
        knobs["text_encoders"] = ", ".join(n for n in encoders if n) if all(encoders) else None
    if _CACHES.search(kind):
        limit = next((number(key) for key in _THRESHOLDS if key in inputs), None)
        knobs["cache"] = kind if limit is None else f"{kind} {limit:g}"
    return {
        knob: value
        for knob, value in knobs.items()
        if value not in (None, "") and knob_fault(KNOBS[knob], value) is None
    }
