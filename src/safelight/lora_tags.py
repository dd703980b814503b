"""lora_tags: the ``<lora:name:weight>`` tags in a prompt, for engines that need them apart."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

__all__ = [
    "LORA",
    "LORA_ENDING",
    "MOST_WEIGHT",
    "Lora",
    "LoraFamily",
    "has_tags_of",
    "lora_family",
    "lora_of",
    "lora_stem",
    "lora_tags",
    "split_loras",
    "with_lora",
]

LORA = "lora."
"""What the name of a LoRA's weight begins with wherever settings have names."""

MOST_WEIGHT = 100.0
"""Beyond it, on either side of zero, a weight is a slip."""

LORA_ENDING = r"\.(safetensors|pt|ckpt)$"
"""What names of a LoRA may end in, which tells none apart."""

_BLANKS = " \t"
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


@dataclass(frozen=True, slots=True)
class LoraFamily:
    """What one training made, of which a LoRA's file is one state.

    Attributes:
        name: What all its files are called, as LoRAs are compared.
        unit: ``epoch`` or ``step``; empty where the name tells neither, as the last file's.
        number: Which of them, from 0; None where the name does not tell.
    """

    name: str
    unit: str = ""
    number: int | None = None


_STATE = re.compile(
    # kohya's epochs and steps, ai-toolkit's steps, and epochs as people and OneTrainer write them.
    r"(.+?)(?:-(?P<kohya>0\d{5})|-step(?P<steps>\d{8})|_(?P<toolkit>0\d{8})|-e(?P<epoch>\d{1,4}))"
)


def lora_family(name: str) -> LoraFamily:
    """Return the training that the LoRA *name* came from, and how far it was."""
    stem = lora_stem(re.split(r"[\\/]", name.strip())[-1])
    match = _STATE.fullmatch(stem)
    if match is None:
        return LoraFamily(stem)
    unit = "epoch" if match["kohya"] or match["epoch"] else "step"
    number = next(part for part in match.groups()[1:] if part is not None)
    return LoraFamily(match[1], unit, int(number))


def lora_of(key: str, first: str) -> tuple[str, str] | None:
    """Return the stage and the LoRA whose weight *key* is; None when it is no LoRA's.

    Args:
        key: As sweeps and settings have it: ``lora.NAME`` or ``stage.lora.NAME``.
        first: The stage that is meant when *key* names none.
    """
    if key.startswith(LORA):
        return first, key[len(LORA) :].strip()
    stage, _, name = key.partition(".")
    return (stage, name[len(LORA) :].strip()) if name.startswith(LORA) else None


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

    return _with_tags(prompt, take), tuple(loras)


def lora_tags(prompt: str) -> tuple[str, ...]:
    """Return the LoRA tags of *prompt*, as they stand there."""
    return tuple(match[0] for match in _TAG.finditer(prompt))


def has_tags_of(prompt: str) -> Callable[[str], bool] | None:
    """Return what tells whether a text has one of the LoRA tags of *prompt*; None without any."""
    tags = set(lora_tags(prompt))
    return (lambda text: not tags.isdisjoint(lora_tags(text))) if tags else None


def with_lora(prompt: str, name: str, weight: float) -> str:
    """Return *prompt* with the LoRA *name* at *weight*; without it, when that is 0.

    A tag of that name keeps its place and, when it has one of its own, its weight on the text
    encoder; else one is added after the last word. Nothing but the tag changes: one that goes
    takes a separator with it, so that without tags the prompt is the same at every weight.
    """
    there = False

    def change(match: re.Match[str]) -> str:
        nonlocal there
        if match[1].strip() != name:
            return match[0]
        again, there = there, True
        return "" if again or not weight else _tag(name, match[2].split(":")[1:], weight)

    changed = _with_tags(prompt, change)
    if there or not weight:
        return changed
    words = prompt.rstrip(f",\n{_BLANKS}")
    return f"{words}{' ' if words else ''}{_tag(name, [], weight)}{prompt[len(words) :]}"


def _with_tags(prompt: str, change: Callable[[re.Match[str]], str]) -> str:
    """Return *prompt* with each tag as *change* has it; one that it leaves empty goes."""
    parts: list[str] = []
    pieces: list[str] = []
    end = 0
    for match in _TAG.finditer(prompt):
        tag = change(match)
        pieces += [prompt[end : match.start()], tag]
        end = match.end()
        if not tag:
            parts.append("".join(pieces))
            pieces.clear()
    return _closed_up([*parts, "".join([*pieces, prompt[end:]])])


def _closed_up(parts: list[str]) -> str:
    """Join *parts*, leaving out the one comma or the blanks that what stood between them leaves."""
    whole, blanks, solid = [""], "", ""  # blanks are those at the end, solid is what they follow
    for place, part in enumerate(parts):
        bare = part.lstrip(_BLANKS)
        if place == 0:
            bare = part
        elif bare.startswith(",") and solid in ("", ",", "\n"):
            bare = bare[1:] if solid == "," else bare[1:].lstrip(_BLANKS)
            blanks = ""
        elif bare.startswith((",", "\n")):
            bare, blanks = part, ""
        elif not bare and place == len(parts) - 1:
            whole, blanks = ["".join(whole).removesuffix(",").rstrip(_BLANKS)], ""
            bare = part
        elif solid and not blanks:
            bare = part
        elif not solid:
            blanks = ""
        if ending := bare.rstrip(_BLANKS):
            whole += [blanks, ending]
            blanks, solid = bare[len(ending) :], ending[-1]
        else:
            blanks += bare
    return "".join([*whole, blanks])


def _tag(name: str, parts: list[str], weight: float) -> str:
    """Return the tag of *name* at *weight*, all else as the tag with *parts* has it."""
    plain = [part for part in parts if "=" not in part]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    apart = len(plain) > 1 or "te" in named or "unet" in named
    if _lora(name, parts) is None:
        plain, named, apart = [], {}, False
    text_encoder = [named.get("te", plain[0] if plain else "1")] if apart else []
    others = [f"{key}={value}" for key, value in named.items() if key not in ("te", "unet")]
    return f"<{':'.join(['lora', name, *text_encoder, _number(weight), *plain[2:], *others])}>"


def _number(weight: float) -> str:
    """Return the shortest text that is *weight* exactly, without an exponent."""
    return format(Decimal(repr(float(weight))), "f").removesuffix(".0")


def _lora(name: str, parts: list[str]) -> Lora | None:
    plain = [part for part in parts if "=" not in part]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    try:
        text_encoder = float(named.get("te", plain[0] if plain else 1.0))
        unet = float(named.get("unet", plain[1] if len(plain) > 1 else text_encoder))
    except ValueError:
        return None
    return Lora(name=name, unet=unet, text_encoder=text_encoder)
