"""recorded_settings: what is recorded of how a picture was made, beside knobs.

An engine's own settings (``extra`` of a stage), what an import read and no knob stands for, and the
weights of LoRAs. Each is a :class:`Setting` called ``extra.NAME`` or ``lora.NAME``; archives keep
them in one long table, and evidence counts them as it counts knobs.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from safelight.lora_tags import LORA, split_loras

__all__ = ["EXTRA", "LORA", "Setting", "changes_no_pixels", "extra_settings", "lora_settings"]

EXTRA = "extra."
"""What the names of settings begin with that no knob stands for."""

_LONGEST_TEXT = 1000
_MOST_EXACT = 2**53
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)

_NO_PIXELS = frozenset({
    # When, how long and with how much memory.
    "time", "time taken", "date", "timestamp", "duration", "elapsed", "seconds", "generated at",
    "generation time", "created date", "createddate", "memory", "vram", "peak memory", "ram",
    # Who, and in whose name.
    "user", "username", "user id", "user email", "creator", "author", "created by", "client id",
    # Where it lay or was asked for.
    "url", "uri", "file", "filename", "file name", "path", "directory", "image name", "image url",
    "board id", "id", "uuid", "guid", "job id", "request id", "session id", "prompt id",
    "queue id", "batch id", "index", "safelight",
    # The content of what a knob or a tag names already.
    "model hash", "vae hash", "lora hashes", "lora hash", "ti hashes", "hashes", "refiner hash",
    "resources", "civitai resources", "civitai metadata", "basemodel",
    # What was found out of the finished picture.
    "score", "aesthetic score", "rating", "nsfw", "tags",
})  # fmt: skip
"""Settings that cannot change pixels, in lower case with blanks; whoever writes an import reader
adds those of its tool."""


class Setting(NamedTuple):
    """One recorded setting of a picture.

    Attributes:
        stage: Whose it is.
        name: ``extra.NAME``, with a dot for each level of what nests, or ``lora.NAME``.
        number: Its value when it is a number, or a text that is one.
        text: Its value when it is none, or a number that a float does not hold exactly.
    """

    stage: str
    name: str
    number: float | None
    text: str | None

    @property
    def value(self) -> float | str | None:
        """What tells two values apart."""
        return self.number if self.text is None else self.text


def extra_settings(stage: str, extras: Mapping[str, Any]) -> Iterator[Setting]:
    """Yield every single value in *extras*; lists are one value, as JSON, and None is none."""
    for name, value in extras.items():
        yield from _leaves(stage, f"{EXTRA}{name}", value)


def _leaves(stage: str, name: str, value: Any) -> Iterator[Setting]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(stage, f"{name}.{key}", inner)
    elif isinstance(value, str):
        plain = value.strip()
        if len(plain) < 64 and _NUMBER.fullmatch(plain):
            yield _of_number(stage, name, float(plain), plain)
        else:
            yield Setting(stage, name, None, _bounded(value))
    elif isinstance(value, bool):
        yield Setting(stage, name, None, "true" if value else "false")
    elif isinstance(value, (int, float)):
        yield _of_number(stage, name, value, str(value))
    elif value is not None:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
        yield Setting(stage, name, None, _bounded(text))


def _of_number(stage: str, name: str, value: float, text: str) -> Setting:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return Setting(stage, name, None, _bounded(text))
    return Setting(stage, name, number, None if abs(number) < _MOST_EXACT else _bounded(text))


def _bounded(text: str) -> str:
    """Return *text*, or its beginning and a hash of all of it."""
    if len(text) <= _LONGEST_TEXT:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:_LONGEST_TEXT]}... (sha256 {digest[:16]})"


def lora_settings(stage: str, prompt: object, named: object = None) -> Iterator[Setting]:
    """Yield the weight of each LoRA that a picture was drawn with.

    Args:
        stage: Whose prompt it is.
        prompt: The prompt, with its tags.
        named: What a graph named, when no tag does: mappings with ``name`` and ``weight``.
    """
    if isinstance(prompt, str) and "<lora:" in prompt:
        for lora in split_loras(prompt)[1]:
            yield Setting(stage, f"{LORA}{lora.name}", lora.unet, None)
    elif isinstance(named, list):
        for entry in named:
            if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
                weight = entry.get("weight")
                number = None
                if isinstance(weight, (int, float)) and abs(weight) < _MOST_EXACT:
                    number = float(weight)
                yield Setting(stage, f"{LORA}{entry['name']}", number, None)


def changes_no_pixels(name: str) -> bool:
    """Return whether the setting *name* cannot change pixels: a time, a user, an address."""
    plain = name.removeprefix(EXTRA).rpartition(".")[2] if name.startswith(EXTRA) else name
    return " ".join(re.sub(r"[_\-]", " ", plain).lower().split()) in _NO_PIXELS
