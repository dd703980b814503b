"""infotext: what the text that a server answers with says, as knobs.

Three servers write three texts: AUTOMATIC1111 and Forge the one that gave the format its name,
SD.Next the same with keys of its own, stable-diffusion.cpp an older form with its whole request
as JSON at the end. What a text does not say is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safelight.formats.bounded_json import json_object
from safelight.formats.infotext import Infotext
from safelight.sampler_names import SCHEDULERS, canonical_name

__all__ = ["infotext_knobs", "unread_pairs"]

_TEXT_KEYS = {
    "sampler": "Sampler",
    "scheduler": "Schedule type",
    "model": "Model",
    "vae": "VAE",
    "hires_upscaler": "Hires upscaler",
    "text_encoders": "TE",
    "weight_dtype": "Diffusion in Low Bits",
}
_INTEGER_KEYS = {
    "steps": "Steps",
    "seed": "Seed",
    "clip_skip": "Clip skip",
    "hires_steps": "Hires steps",
    "mask_blur": "Mask blur",
}
_NUMBER_KEYS = {
    "cfg_scale": "CFG scale",
    "denoising_strength": "Denoising strength",
    "hires_denoising_strength": "Hires strength",
    "hires_scale": "Hires upscale",
    "guidance": "Distilled CFG Scale",
    "cfg_rescale": "CFG rescale",
}
_ETA_KEYS = ("Eta", "Eta DDIM", "Sampler Eta")
_SHIFT_KEYS = ("Shift", "Sampler shift")
_READ = frozenset({
    *_TEXT_KEYS.values(), *_INTEGER_KEYS.values(), *_NUMBER_KEYS.values(), *_ETA_KEYS, *_SHIFT_KEYS,
    "Size", "Model hash", "Version", "Scheduler", "Batch size", "Batch pos",
})  # fmt: skip


def infotext_knobs(text: Infotext) -> dict[str, Any]:
    """Return the knobs that *text* tells, and ``model_hash`` with its kind.

    The size is that of the first pass, as written; ``denoising_strength`` is the only one that
    most texts know, be it img2img's or hires fix's; SD.Next's own ``Hires strength`` counts unless
    it is 0. Numbers that are no numbers are left out.
    """
    pairs = text.pairs
    if facts := json_object(pairs.get("SDCPP", "")):
        return _sdcpp_knobs(facts)
    knobs: dict[str, Any] = {k: pairs[key] for k, key in _TEXT_KEYS.items() if pairs.get(key)}
    for names, kind in ((_INTEGER_KEYS, int), (_NUMBER_KEYS, float)):
        for knob, key in names.items():
            _put(knobs, knob, kind, pairs.get(key))
    if not knobs.get("hires_denoising_strength"):
        knobs.pop("hires_denoising_strength", None)
    for knob, keys in (("eta", _ETA_KEYS), ("shift", _SHIFT_KEYS)):
        for key in keys:
            _put(knobs, knob, float, pairs.get(key))
    size = re.fullmatch(r"(\d+)x(\d+)", pairs.get("Size", ""))
    if size:
        knobs["width"], knobs["height"] = int(size[1]), int(size[2])
    if re.fullmatch(r"[0-9a-f]{10}", pairs.get("Model hash", "")):
        knobs["model_hash"] = f"autov2:{pairs['Model hash']}"
    _split_joined_sampler(knobs)
    if "sampler" not in knobs and pairs.get("Scheduler"):
        knobs["sampler"] = pairs["Scheduler"]  # SD.Next's default: the class is all it tells
    return knobs


def unread_pairs(text: Infotext) -> dict[str, str]:
    """Return what *text* says beside knobs: settings of the server that may change pixels.

    ``ENSD``, ``RNG``, ``Token merging ratio``, what extensions add; under their own names, as
    an import of the same picture keeps them. stable-diffusion.cpp's JSON is read as a whole.
    """
    pairs = text.pairs
    if "SDCPP" in pairs:
        return {}
    return {
        key: value
        for key, value in pairs.items()
        if key not in _READ and not re.fullmatch(r"Module \d+", key)
    }


def _put(knobs: dict[str, Any], knob: str, kind: type[int] | type[float], value: Any) -> None:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        return
    if number == number and abs(number) != float("inf"):
        knobs.setdefault(knob, number)


def _split_joined_sampler(knobs: dict[str, Any]) -> None:
    """``DPM++ 2M Karras`` is how AUTOMATIC1111 before 1.9 wrote sampler and schedule."""
    sampler = str(knobs.get("sampler", ""))
    for schedule in SCHEDULERS if "scheduler" not in knobs else ():
        if sampler.endswith(f" {schedule}") and canonical_name("sampler", sampler) is None:
            knobs["sampler"], knobs["scheduler"] = sampler[: -len(schedule) - 1], schedule
            return


def _sdcpp_knobs(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What stable-diffusion.cpp's JSON says; its numbers are of single precision."""
    sampling = _part(facts, "sampling")
    hires = _part(facts, "hires")
    prompt = _part(facts, "prompt")
    method, schedule = sampling.get("method", "default"), sampling.get("scheduler", "default")
    knobs: dict[str, Any] = {
        "prompt": prompt.get("positive"),
        "negative_prompt": prompt.get("negative"),
        "sampler": canonical_name("sampler", str(method)) or str(method),
        "scheduler": canonical_name("scheduler", str(schedule)) or str(schedule),
        "steps": sampling.get("steps"),
        "cfg_scale": _rounded(_part(sampling, "guidance").get("txt_cfg")),
        "eta": _rounded(sampling.get("eta")),
        "guidance": _rounded(_part(sampling, "guidance").get("distilled_guidance")),
        "shift": _rounded(sampling.get("flow_shift")),
        "seed": facts.get("seed"),
        "width": facts.get("width"),
        "height": facts.get("height"),
        "model": _part(facts, "models").get("model"),
        "vae": _part(facts, "models").get("vae"),
        "denoising_strength": _rounded(facts.get("strength")),
    }
    levels = sampling.get("custom_sigmas")
    if isinstance(levels, list) and levels and None not in (known := [*map(_rounded, levels)]):
        knobs["sigmas"] = ", ".join(f"{level:g}" for level in known)
    cache = _part(facts, "cache")
    if cache.get("requested_mode"):
        knobs["cache"] = f"{cache['requested_mode']} {cache.get('requested_option') or ''}".strip()
    clip_skip = facts.get("clip_skip")
    knobs["clip_skip"] = clip_skip if isinstance(clip_skip, int) and clip_skip > 0 else None
    if hires.get("enabled"):
        knobs["hires_scale"] = _rounded(hires.get("scale"))
        knobs["hires_upscaler"] = hires.get("upscaler")
        knobs["hires_steps"] = hires.get("steps") or None
        knobs["denoising_strength"] = _rounded(hires.get("denoising_strength"))
    return {knob: value for knob, value in knobs.items() if value is not None}


def _part(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = facts.get(key)
    return value if isinstance(value, Mapping) else {}


def _rounded(value: Any) -> float | None:
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    return round(float(value), 6) if right else None
