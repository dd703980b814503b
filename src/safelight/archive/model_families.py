"""model_families: what a model's name says of its family; nothing where it says nothing."""

from __future__ import annotations

import re

__all__ = ["family_of_model"]

_FAMILIES = (
    ("FLUX", r"flux"),
    ("Qwen-Image", r"qwen"),
    ("Z-Image", r"z[ _.-]?image"),
    ("Chroma", r"chroma"),
    ("HiDream", r"hidream"),
    ("Wan", r"wan[ _.-]?[12v]"),
    ("Stable Cascade", r"cascade"),
    ("SD 3", r"(?:sd|stable[ _.-]?diffusion)[ _.-]?3"),
    ("Pony", r"pony"),
    ("NoobAI", r"noob"),
    ("Illustrious", r"illustrious|ilxl|(?<![a-z])ill?(?![a-z])"),
    ("SDXL", r"xl|playground-v2"),
    ("SD 2", r"(?:sd|stable[ _.-]?diffusion)[ _.-]?(?:v?2)|(?<![a-z0-9])v2-[01]"),
    ("SD 1.5", r"(?:sd|stable[ _.-]?diffusion)[ _.-]?(?:v?1)|(?<![a-z0-9])v1-[45]|sd15"),
)
"""Family -> what stands in names of its models; what is made of another family comes before it."""

_KNOWN = tuple((name, re.compile(pattern)) for name, pattern in _FAMILIES)


def family_of_model(name: str) -> str:
    """Return the family that the model *name* is said to be of; empty when its name says none."""
    plain = name.lower()
    return next((family for family, pattern in _KNOWN if pattern.search(plain)), "")
