"""LoRAs of a parameters text: tags of the prompt, and what other programs write beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from safelight.formats.bounded_json import json_value
from safelight.imports.reading import Draft, as_number
from safelight.lora_tags import Lora, lora_stem, split_loras

__all__ = ["civitai_resources", "read_loras"]

_NUMBERED = re.compile(
    # "AddNet Model 1", "Lora_0 Model name" of SaveImageWithMetaData, "LoRA 1 Model" of Draw Things
    r"(AddNet|LoRA)[ _](?:(\d+) )?(Model name|Model hash|Model|Strength model|Weight A|Weight)"
    r"(?: (\d+))?",
    re.IGNORECASE,
)
_WITH_HASH = re.compile(r"(.+)\(([0-9a-fA-F]{8,64})\)")
_KINDS = frozenset({"lora", "lycoris", "locon", "dora"})


def read_loras(draft: Draft, pairs: Mapping[str, str]) -> set[str]:
    """Put the LoRAs of a text into *draft* and return the keys that say nothing more.

    Tags of the prompt come first and of the hires pass's prompt next; of what lists stand beside
    them, those that no tag is about are added.
    """
    hashes = _hashes(pairs)
    tags = [*_tags(draft.knobs.get("prompt")), *_tags(pairs.get("Hires prompt"))]
    for tag in tags:
        draft.add_lora(tag.name, tag.unet, hashes.get(lora_stem(tag.name), ("", ""))[1])
    taken = {"Lora hashes"}
    for name, weight, digest, keys in _numbered(pairs):
        taken |= keys
        if lora_stem(name) not in _stems(draft):
            draft.add_lora(name, weight, digest)
    data = json_value(pairs.get("SDCPP", ""))
    listed = data.get("lora", data.get("loras")) if isinstance(data, dict) else None
    for one in _mappings(listed):
        called = one.get("name")
        if isinstance(called, str) and lora_stem(called) not in _stems(draft):
            draft.add_lora(called, one.get("multiplier"))
    for stem, (name, digest) in hashes.items():
        if stem not in _stems(draft):
            draft.add_lora(name, None, digest)
    _read_resources(draft, pairs)
    return taken


def _stems(draft: Draft) -> set[str]:
    return {lora_stem(lora.name) for lora in draft.loras}


def _tags(prompt: object) -> tuple[Lora, ...]:
    """Return the LoRAs of a prompt; ``lyco`` is another word for ``lora`` to AUTOMATIC1111."""
    text = re.sub(r"<lyco:", "<lora:", prompt) if isinstance(prompt, str) else ""
    return split_loras(text)[1] if "<lora:" in text else ()


def _hashes(pairs: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return stem -> (name, hash) of ``Lora hashes`` and of the LoRAs in ``Hashes``."""
    hashes: dict[str, tuple[str, str]] = {}
    for part in pairs.get("Lora hashes", "").split(","):
        name, colon, digest = part.rpartition(":")
        if colon:
            hashes[lora_stem(name.strip())] = (name.strip(), digest.strip())
    listed = json_value(pairs.get("Hashes", ""))
    for key, digest in listed.items() if isinstance(listed, dict) else ():
        kind, _, name = str(key).partition(":")
        if kind.lower() == "lora" and name and isinstance(digest, str):
            hashes.setdefault(lora_stem(name), (name, digest))
    return hashes


def _numbered(pairs: Mapping[str, str]) -> Iterator[tuple[str, Any, str, set[str]]]:
    """Yield name, weight, hash and keys of LoRAs whose parts are keys with one number."""
    parts: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    off = pairs.get("AddNet Enabled") == "False"
    for key, value in pairs.items():
        if off and key.startswith("AddNet"):
            continue
        if (match := _NUMBERED.fullmatch(key)) and (number := match[2] or match[4]):
            own = parts.setdefault((match[1].lower(), number), {})
            own[match[3].lower()] = (key, value)
    for one in parts.values():
        named = one.get("model name") or one.get("model")
        if named is None:
            continue
        hashed = _WITH_HASH.fullmatch(named[1])
        name = hashed[1] if hashed else named[1]
        digest = hashed[2] if hashed else one.get("model hash", ("", ""))[1]
        weight = next(
            (one[k][1] for k in ("strength model", "weight a", "weight") if k in one), None
        )
        yield name, weight, digest, {key for key, _ in one.values()}


def civitai_resources(pairs: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the entries of ``Civitai resources``."""
    return list(_mappings(json_value(pairs.get("Civitai resources", ""))))


def _mappings(value: object) -> Iterator[dict[str, Any]]:
    yield from (one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _read_resources(draft: Draft, pairs: Mapping[str, str]) -> None:
    """Add the resources that no LoRA so far is about.

    Civitai calls them by their pages' titles and tags by their files, so those of one weight are
    taken for one where no name agrees.
    """
    left = [
        one for one in civitai_resources(pairs) if str(one.get("type", "")).lower() in _KINDS
        and isinstance(one.get("modelName") or one.get("air"), str)
    ]  # fmt: skip
    known = list(draft.loras)

    def about(one: dict[str, Any], by: Any) -> bool:
        match = next((lora for lora in known if by(one, lora)), None)
        if match is not None:
            known.remove(match)
        return match is not None

    def same_name(one: dict[str, Any], lora: Any) -> bool:
        return _letters(lora_stem(lora.name)) == _letters(str(one.get("modelName")))

    def same_weight(one: dict[str, Any], lora: Any) -> bool:
        weight = as_number(one.get("weight"))
        return None in (weight, lora.weight) or weight == lora.weight

    for by in (same_name, same_weight):
        left = [one for one in left if not about(one, by)]
    for one in left:
        draft.add_lora(one.get("modelName") or one.get("air"), one.get("weight"))


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
