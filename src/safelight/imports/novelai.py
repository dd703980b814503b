"""NovelAI: ``Comment`` JSON beside ``Software = NovelAI``, in PNG chunks or EXIF."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safelight.formats.bounded_json import json_object
from safelight.imports.reading import Draft

__all__ = ["is_novelai", "read_novelai"]


def is_novelai(texts: Mapping[str, str]) -> bool:
    """Say whether NovelAI wrote the texts."""
    software = texts.get("Software", texts.get("exif:Software", ""))
    return software.startswith("NovelAI") or "NovelAI" in texts.get("Source", "")


def read_novelai(draft: Draft, texts: Mapping[str, str]) -> bool:
    """Read NovelAI's texts into *draft*."""
    draft.generator = "novelai"
    outer = json_object(texts.get("exif:UserComment", ""))
    comment = json_object(texts.get("Comment") or str(outer.get("Comment", "")))
    description = texts.get("Description") or outer.get("Description")
    description = description or texts.get("exif:ImageDescription")
    if not comment and not description:
        return False
    new, old = _caption(comment.get("v4_prompt")), comment.get("prompt")
    draft.read("prompt", new or old or description)
    negative = _caption(comment.get("v4_negative_prompt")) or comment.get("uc")
    draft.read("negative_prompt", negative)
    draft.default("negative_prompt", "")
    if new and isinstance(old, str) and old != new:
        draft.also("prompt", old)
    for knob, key in (("steps", "steps"), ("cfg_scale", "scale"), ("seed", "seed"),
                      ("width", "width"), ("height", "height"), ("sampler", "sampler"),
                      ("scheduler", "noise_schedule")):  # fmt: skip
        draft.read(knob, comment.get(key))
    strength = comment.get("strength")
    if comment.get("request_type") in ("Img2ImgRequest", "NativeInfillingRequest") or (
        strength is not None and "v4_prompt" not in comment
    ):
        draft.stage = "img2img"
        draft.read("denoising_strength", strength)
    source = texts.get("Source") or outer.get("Source") or texts.get("exif:Software", "")
    if match := re.fullmatch(r"(.+?)\s+([0-9A-F]{8})", str(source)):
        draft.read("model", match[1])
        draft.add_hash("novelai", match[2])
    _read_characters(draft, comment)
    for key in ("uncond_scale", "cfg_rescale", "sm", "sm_dyn", "noise", "qualityToggle"):
        draft.also(key, comment.get(key))
    for key in (
        "reference_strength_multiple",
        "reference_strength",
        "director_reference_strengths",
    ):
        draft.also(key, comment.get(key) or None)
    return True


def _caption(value: object) -> str | None:
    caption = value.get("caption") if isinstance(value, dict) else None
    text = caption.get("base_caption") if isinstance(caption, dict) else None
    return text if isinstance(text, str) else None


def _read_characters(draft: Draft, comment: Mapping[str, Any]) -> None:
    prompt = comment.get("v4_prompt")
    caption = prompt.get("caption") if isinstance(prompt, dict) else None
    listed = caption.get("char_captions") if isinstance(caption, dict) else None
    for number, character in enumerate(listed if isinstance(listed, list) else (), 1):
        if isinstance(character, dict) and isinstance(character.get("char_caption"), str):
            draft.also(f"character {number}", character["char_caption"])
