"""recorded_settings: what is recorded of how a picture was made, beside knobs.

An engine's own settings (``extra`` of a stage), what an import read and no knob stands for, the
files that a stage began with, what an earlier stage had of a knob that a later one has otherwise,
and the weights of LoRAs. Each is a :class:`Setting` called ``extra.NAME``, ``earlier.KNOB`` or
``lora.NAME``; archives keep them in one long table, and evidence counts them as it counts knobs.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from safelight.knobs import EXTRA, PLAIN_NUMBER
from safelight.lora_tags import LORA, lora_stem, lora_tags, split_loras

__all__ = [
    "CUT_SHORT",
    "EARLIER",
    "EXTRA",
    "GRID",
    "LORA",
    "LORA_TAGS",
    "MOST_EXACT",
    "WORDS",
    "Setting",
    "changes_no_pixels",
    "comparable_model",
    "comparable_name",
    "earlier_setting",
    "extra_settings",
    "hash_parts",
    "hashed_knob",
    "lora_settings",
    "model_spellings",
]

EARLIER = "earlier."
"""What names begin with of what an earlier stage had; others begin with ``extra.`` or ``lora.``."""

CUT_SHORT = "cut short"
"""The extra by which an import says that not all told steps were taken; it is no sample."""

GRID = "grid of pictures"
"""The extra by which an import says that one file shows several pictures; it is no sample."""

LORA_TAGS, WORDS = "lora_tags", "words"
"""What a stage has, and what it is there, where tags of LoRAs in its prompt are only words: whoever
drew does nothing else with them. A stage that does not say so drew with them."""

_LONGEST_TEXT = 1000
MOST_EXACT = 2**53
"""Whole numbers from here on are not all exact as a float."""

_NO_PIXELS = frozenset({
    # When, how long and with how much memory.
    "time", "time taken", "date", "timestamp", "duration", "elapsed", "seconds", "generated at",
    "generation time", "created date", "createddate", "memory", "vram", "peak memory", "ram",
    # Who, and in whose name.
    "user", "username", "user id", "user email", "creator", "author", "created by", "client id",
    # What follows from the training step of a sample.
    "epoch of training step",
    # Where it lay or was asked for.
    "url", "uri", "file", "filename", "file name", "path", "directory", "image name", "image url",
    "board id", "id", "uuid", "guid", "job id", "request id", "session id", "prompt id",
    "queue id", "batch id", "index", "safelight", "safelight run", "safelight variant",
    # What was found out of the finished picture.
    "score", "aesthetic score", "rating", "nsfw", "tags",
})  # fmt: skip
"""Settings that cannot change pixels, in lower case with blanks; whoever writes an import reader
adds those of its tool. A name within another one (``controlnet.path``) is never meant."""

_HASHES = {
    "model hash": "model", "vae hash": "vae", "refiner hash": "model", "lora hashes": "",
    "ti hashes": "", "hashes": "",
}  # fmt: skip
_RESOURCES = ("resources", "civitai resources")
_DEEPEST, _LONGEST_NAME = 40, 200


class Setting(NamedTuple):
    """One recorded setting of a picture.

    Attributes:
        stage: Whose it is.
        name: ``extra.NAME``, with a dot for each level of what nests, or ``lora.NAME``.
        number: Its value when it is a number, or a text that is one.
        text: Its value when it is no number, or a number that is spelled otherwise than that one.
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
        if _plain(name) in _RESOURCES:
            value = _resource_ids(value)
        yield from _leaves(stage, f"{EXTRA}{name}", value, _DEEPEST)


def _leaves(stage: str, name: str, value: Any, depth: int) -> Iterator[Setting]:
    name = _bounded(name, _LONGEST_NAME)
    if isinstance(value, Mapping) and depth:
        for key, inner in value.items():
            yield from _leaves(stage, f"{name}.{key}", inner, depth - 1)
    elif isinstance(value, str):
        plain = value.strip()
        number = float(plain) if len(plain) < 64 and PLAIN_NUMBER.fullmatch(plain) else math.nan
        yield _setting(stage, name, number, plain if math.isfinite(number) else value)
    elif isinstance(value, bool):
        yield Setting(stage, name, None, "true" if value else "false")
    elif isinstance(value, (int, float)):
        try:
            yield _setting(stage, name, float(value), str(value))
        except OverflowError:
            yield _setting(stage, name, math.inf, str(value))
    elif value is not None:
        try:
            text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
        except (RecursionError, ValueError):
            text = "(nests too deep)"
        yield _setting(stage, name, math.nan, text)


def _setting(stage: str, name: str, number: float, text: str) -> Setting:
    """Return a setting; its text is kept where the number does not say all of it."""
    if not math.isfinite(number):
        return Setting(stage, name, None, _bounded(text))
    said = abs(number) < MOST_EXACT and text in (repr(number), f"{number:.0f}")
    return Setting(stage, name, number, None if said else _bounded(text))


def _resource_ids(value: Any) -> Any:
    """Return which resources are named, without weights: those are the LoRAs' own settings."""
    try:
        listed = json.loads(value) if isinstance(value, str) else value
        ids = {str(one.get("modelVersionId") or one.get("modelVersionName")) for one in listed}
    except (AttributeError, RecursionError, TypeError, ValueError):
        return value
    return ", ".join(sorted(ids))


def earlier_setting(stage: str, knob: str, value: Any) -> Iterator[Setting]:
    """Yield what *stage* had of a knob that a later stage has otherwise."""
    yield from _leaves(stage, f"{EARLIER}{knob}", value, 0)


def _bounded(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Return *text*, or its beginning and a hash of all of it."""
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:longest]}... (sha256 {digest[:16]})"


def lora_settings(
    stage: str, prompt: object, named: object = None, tags: object = None
) -> Iterator[Setting]:
    """Yield the weight of each LoRA that a picture was drawn with, of a repeated one each.

    Its text is there when the weight is not known, or another one on the text encoder. Tags that
    are words are one setting: pictures are not alike that were drawn with other words.

    Args:
        stage: Whose prompt it is.
        prompt: The prompt, with its tags.
        named: What a graph or a page of the tool named: mappings with ``name`` and ``weight``. One
            that has a tag, too, has the tag's weight.
        tags: :data:`WORDS` where tags of the prompt do nothing.
    """
    if tags == WORDS:
        if words := " ".join(lora_tags(prompt) if isinstance(prompt, str) else ()):
            yield Setting(stage, f"{EXTRA}{LORA_TAGS}", None, _bounded(words))
        prompt = None
    tagged: set[str] = set()
    if isinstance(prompt, str) and "<lora:" in prompt:
        for lora in split_loras(prompt)[1]:
            tagged.add(lora_stem(lora.name))
            same = lora.text_encoder == lora.unet
            text = None if same else f"text encoder {lora.text_encoder}"
            yield Setting(stage, f"{LORA}{_bounded(lora.name, _LONGEST_NAME)}", lora.unet, text)
    for entry in named if isinstance(named, list) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
            name, weight = entry["name"], entry.get("weight")
            if lora_stem(name) in tagged:
                continue
            number = None
            if isinstance(weight, (int, float)) and abs(weight) < MOST_EXACT:
                number = float(weight)
            text = None if number is not None else _bounded(f"weight {weight!r}")
            yield Setting(stage, f"{LORA}{_bounded(name, _LONGEST_NAME)}", number, text)


def comparable_name(name: str) -> str:
    """Return *name* as names are compared: without case, a LoRA's without its file's ending."""
    if name.startswith(LORA):
        return LORA + lora_stem(name[len(LORA) :])
    return name.lower()


_MODEL_ENDING = re.compile(r"\.(safetensors|sft|ckpt|pth?|bin|gguf|onnx)$")
_MODEL_HASH = re.compile(r"\s*\[[0-9a-f]{6,64}\]$")


def comparable_model(name: str) -> str:
    """Return *name* as models are compared: no case, folder, file's ending or ``[hash]``."""
    plain = _MODEL_HASH.sub("", name.strip().lower())
    return _MODEL_ENDING.sub("", re.split(r"[\\/]", plain)[-1]) or plain


def model_spellings(counts: Mapping[str, int]) -> dict[str, str]:
    """Return each name of a model -> how that model is spelled most often.

    Args:
        counts: How many pictures have each name.
    """
    used: dict[str, list[str]] = {}
    for name in counts:
        used.setdefault(comparable_model(name), []).append(name)
    return {
        name: min(names, key=lambda one: (-counts[one], one))
        for names in used.values() for name in names
    }  # fmt: skip


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_\-]", " ", name).lower().split())


def changes_no_pixels(name: str) -> bool:
    """Return whether the setting *name* cannot change pixels: a time, a user, an address."""
    return name.startswith(EXTRA) and _plain(name[len(EXTRA) :]) in _NO_PIXELS


def hashed_knob(name: str) -> str | None:
    """Return the knob whose content a setting is the hash of, ``""`` for those of several things.

    None for what is no hash. A hash says nothing new where every name has one only.
    """
    return _HASHES.get(_plain(name[len(EXTRA) :])) if name.startswith(EXTRA) else None


def hash_parts(text: str) -> dict[str, str]:
    """Return name -> hash of a text such as ``"ink: 0a1b, oil: 2c3d"``, or a JSON object."""
    try:
        parts = json.loads(text)
    except (RecursionError, ValueError):
        pairs = (part.partition(":") for part in text.strip('"').split(","))
        return {name.strip(): value.strip() for name, _, value in pairs}
    return {str(k): str(v) for k, v in parts.items()} if isinstance(parts, dict) else {"": text}
