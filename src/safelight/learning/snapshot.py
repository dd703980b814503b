"""plain_snapshot: a deep copy of anything as plain JSON values, with secrets blanked."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import Any

import msgspec

__all__ = ["plain_snapshot", "plain_values"]

_BLANKED = "(removed)"
_ENGINE_FIELDS = ("backend", "environment")
_PROMPTS = ("prompt", "negative_prompt")
_WILDCARD = {"token", "values"}
_LORAS = ("lora.", "img2img.lora.")
_DEEPEST = 100
_MOST_BITS = 14_000
"""Integers beyond this cannot be written as digits: Python itself refuses above 4,300 digits."""

_SECRET_KEY = re.compile(
    r"^(.*[-_ .])?(password|passwd|passphrase|pwd|token|secret|(api|access|private)[-_ ]?key"
    r"|auth|authorization|signature|cookies?|credentials?)$"
)
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SECRET_HINTS: Mapping[bytes, tuple[bytes, ...]] = {
    hint: tuple(word + end for word in words for end in ends)
    for hint, words, ends in (
        (b"passw", (b"password", b"passwd"), (b'":', b'\\n":', b"=")),
        (b"passphrase", (b"passphrase",), (b'":', b'\\n":')),
        (b"pwd", (b"pwd",), (b'":', b'\\n":')),
        (b"token", (b"token",), (b'":', b'\\n":', b"=")),
        (b"secret", (b"secret",), (b'":', b'\\n":', b"=")),
        (b"key", (b"key",), (b'":', b'\\n":', b"=")),
        (b"sig", (b"sig", b"signature"), (b'":', b'\\n":', b"=")),
        (b"auth", (b"auth", b"authorization"), (b'":', b'\\n":')),
        (b"credential", (b"credential", b"credentials"), (b'":', b'\\n":')),
        (b"cookie", (b"cookie", b"cookies"), (b'":', b'\\n":')),
        (b'"user', (b"user", b"username", b"user_name"), (b'":',)),
        (b"://", (b"://",), (b"",)),
    )
}  # fmt: skip
"""Words worth a closer look, and how they stand where they give something away: at the end of a
key, or of a parameter of an address. Most records have none, and are not walked; ``signature``
alone is in every other prompt.

Plain searches: one regular expression for all of them takes ten times as long.
"""

_LIKE_OTHERS = ("\u017f".encode(), "\u212a".encode())
"""Letters that count as s and k where case does not."""

# Both begin at a sign that what follows cannot hold, so that no text takes longer than its length.
_URL_CREDENTIALS = re.compile(r"(?<=[a-z0-9+.-]://)[^/\s?#\"']+@", re.IGNORECASE)
_URL_SECRET = re.compile(
    # In a JSON text within a text, & and " may be escaped.
    r"((?:[?&;]|\\u0026)(?:[^=&;?\s\\]|\\(?!u0026))*(?:token|key|secret|passw(?:or)?d|signature|sig)=)"
    r"(?:(?!\\u002[26]|\\\")[^&;#\s\"'])+",
    re.IGNORECASE,
)


def plain_snapshot(values: Mapping[Any, Any]) -> Any:
    """Return a deep copy of *values* in which everything is a plain JSON value, secrets blanked.

    Paths and enums become their text, numpy scalars numbers, NaN and infinity None, bytes
    base64, anything else its text. Never raises for what the values are.
    """
    text = _json(values)
    plain = msgspec.json.decode(text)
    lowered = text.lower()
    suspicious = any(
        hint in lowered and any(sign in lowered for sign in (*signs, *_LIKE_OTHERS))
        for hint, signs in _SECRET_HINTS.items()
    )
    return _without_secrets(plain, engine=False) if suspicious else plain


def plain_values(values: Mapping[Any, Any]) -> Any:
    """Do the same, but keep secrets: for values that are compared before they are recorded."""
    return msgspec.json.decode(_json(values))


def _json(values: Mapping[Any, Any]) -> bytes:
    try:
        # One trip through JSON is the fastest deep copy there is; it also settles types.
        return msgspec.json.encode(values, enc_hook=_plain_value)
    except Exception:  # noqa: BLE001 - foreign values may do anything when looked at
        return json.dumps(_plain_slowly(values, ()), ensure_ascii=False).encode()


def _plain_value(value: Any) -> Any:
    """Return a plain stand-in for one value that JSON cannot hold; never raises."""
    try:
        return _stand_in(value)
    except Exception:  # noqa: BLE001 - its type is all there is to say
        return f"<{type(value).__name__}>"


def _stand_in(value: Any) -> Any:
    for kind in (str, int, float):
        if isinstance(value, kind):  # a subclass, which the encoder does not take for one
            return kind.__str__(value) if kind is str else kind(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, Mapping):
        return {_key(key): item for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(value, key=repr)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    for method in ("tolist", "item"):  # numpy and torch, without importing them
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    return list(value) if isinstance(value, Sequence) else str(value)


def _plain_slowly(value: Any, above: tuple[int, ...]) -> Any:
    """Do the same for values that the fast encoder refuses: cycles, odd keys, broken text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _MOST_BITS else hex(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if id(value) in above or len(above) > _DEEPEST:
        return "<circular>" if id(value) in above else "<too deep>"
    above = (*above, id(value))
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    try:
        if isinstance(value, Mapping):
            return {_key(key): _plain_slowly(item, above) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain_slowly(item, above) for item in value]
        value = msgspec.to_builtins(value, enc_hook=_plain_value)
    except Exception:  # noqa: BLE001 - whatever it is, the record holds its text
        value = _plain_value(value)
        if not isinstance(value, (str, int, float, list, dict)):
            value = _text(str(value))
    return _plain_slowly(value, above)


def _key(key: object) -> str:
    return _text(key if isinstance(key, str) else str(_plain_value(key)))


def _text(value: str) -> str:
    return str.__str__(value).encode("utf-8", "backslashreplace").decode()


def _without_secrets(value: Any, *, engine: bool) -> Any:
    """Blank secrets by the name of their key, and inside URLs.

    Args:
        value: Plain JSON.
        engine: Whether *value* belongs to the engine, whose user name is a secret, too.
    """
    if isinstance(value, dict):
        cleaned = {key: _without_secret(key, item, engine) for key, item in value.items()}
        # What an inline wildcard stands for in a prompt is called token, too.
        return {**cleaned, "token": value["token"]} if _is_wildcard(value) else cleaned
    if isinstance(value, list):
        return [_without_secrets(item, engine=engine) for item in value]
    if isinstance(value, str) and ("://" in value or "=" in value):
        return _URL_SECRET.sub(rf"\1{_BLANKED}", _URL_CREDENTIALS.sub("", value))
    return value


def _without_secret(key: str, item: Any, engine: bool) -> Any:
    if item not in (None, "") and _is_secret(key, engine):
        return _BLANKED
    if key == "lora" and isinstance(item, dict):  # names of LoRAs, and their weights
        return {name: _without_secrets(each, engine=engine) for name, each in item.items()}
    if key.rpartition(".")[2] in _PROMPTS:  # what was drawn must stay what was drawn
        texts = item if isinstance(item, list) else [item]
        if all(isinstance(text, str) for text in texts):
            kept = [_URL_CREDENTIALS.sub("", text) for text in texts]
            return kept if isinstance(item, list) else kept[0]
    return _without_secrets(item, engine=engine or key in _ENGINE_FIELDS)


def _is_wildcard(value: Mapping[str, Any]) -> bool:
    return value.keys() == _WILDCARD and isinstance(value["values"], list)


@lru_cache(maxsize=4096)
def _is_secret(key: str, engine: bool) -> bool:
    if key.startswith(_LORAS):
        return False
    name = _CAMEL_CASE.sub("_", key).lower()
    return bool(_SECRET_KEY.match(name)) or (engine and name in ("user", "username", "user_name"))
