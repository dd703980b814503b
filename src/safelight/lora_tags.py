"""lora_tags: the ``<lora:name:weight>`` tags in a prompt, for engines that need them apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["LORA", "LORA_ENDING", "MOST_WEIGHT", "Lora", "lora_stem", "split_loras", "with_lora"]

LORA = "lora."
"""What the name of a LoRA's weight begins with wherever settings have names."""

MOST_WEIGHT = 100.0
"""Beyond it, on either side of zero, a weight is a slip."""

LORA_ENDING = r"\.(safetensors|pt|ckpt)$"
"""What names of a LoRA may end in, which tells none apart."""

_TAG = re.compile(r"<lora:([^:<>]+)((?::[^:<>]*)*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """One LoRA that a prompt asks for.

    Attributes:
        name: As the prompt writes it, usually the file's stem.
        unet: Weight on the image network.
        text_encoder: Weight on the text encoder.
    """

    name: str
    unet: float = 1.0
    text_encoder: float = 1.0


def lora_stem(name: str) -> str:
    """Return *name* as LoRAs are compared: in lower case, without the ending of its file."""
    return re.sub(LORA_ENDING, "", name.lower())


def split_loras(prompt: str) -> tuple[str, tuple[Lora, ...]]:
    """Return *prompt* without its LoRA tags, and the LoRAs in their order.

    Understands ``<lora:name>``, ``<lora:name:w>``, ``<lora:name:te:unet>`` and
    ``<lora:name:te=0.5:unet=1>``. A tag whose weight is no number stays in the prompt.

    Source: ``extra_networks_lora.py`` of AUTOMATIC1111 1.10.
    """
    loras: list[Lora] = []

    def take(match: re.Match[str]) -> str:
        lora = _lora(match[1].strip(), match[2].split(":")[1:])
        if lora is None:
            return match[0]
        loras.append(lora)
        return ""

    rest = _TAG.sub(take, prompt)
    if loras:
        rest = re.sub(r"(,\s*){2,}", ", ", re.sub(r"[ \t]{2,}", " ", rest)).strip(" ,")
    return rest, tuple(loras)


def with_lora(prompt: str, name: str, weight: float) -> str:
    """Return *prompt* with the LoRA *name* at *weight*; without it, when that is 0.

    A tag of that name keeps its place and gets the weight; else one is added at the end.
    """
    tag = f"<lora:{name}:{weight:g}>" if weight else ""
    replaced = False

    def change(match: re.Match[str]) -> str:
        nonlocal replaced
        if match[1].strip() != name:
            return match[0]
        again, replaced = replaced, True
        return "" if again else tag

    changed = _TAG.sub(change, prompt)
    if replaced and not tag:
        changed = re.sub(r"(\s*,)+", ",", re.sub(r"[ \t]{2,}", " ", changed)).strip(" ,")
    return changed if replaced or not tag else f"{changed} {tag}".lstrip()


def _lora(name: str, parts: list[str]) -> Lora | None:
    plain = [part for part in parts if "=" not in part]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    try:
        text_encoder = float(named.get("te", plain[0] if plain else 1.0))
        unet = float(named.get("unet", plain[1] if len(plain) > 1 else text_encoder))
    except ValueError:
        return None
    return Lora(name=name, unet=unet, text_encoder=text_encoder)
