"""plain_snapshot: a deep copy of anything as plain JSON values, with secrets blanked."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec

__all__ = ["plain_snapshot"]

_SECRET_KEY = re.compile(
    r"^(.*[-_ ])?(password|passwd|passphrase|token|secret|api[-_]?key|access[-_]?key"
    r"|authorization|credentials?)$",
    re.IGNORECASE,
)
_SECRET_HINT = re.compile(
    rb"passw|passphrase|token|secret|api.?key|access.?key|authorization|credential|://[^/\s\"]*@"
    rb'|"user(name)?"',
    re.IGNORECASE,
)
_URL_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@\"']+@", re.IGNORECASE)
_ENGINE_FIELDS = ("backend", "environment")
_BLANKED = "(removed)"


def plain_snapshot(values: Mapping[Any, Any]) -> Any:
    """Return a deep copy of *values* in which everything is a plain JSON value, secrets blanked.

    Never raises for what the values are: what JSON cannot hold becomes its text.
    """
    try:
        # One trip through JSON is the fastest deep copy there is; it also settles types.
        text = msgspec.json.encode(values, enc_hook=_plain_value)
    except (TypeError, ValueError, RecursionError, OverflowError):
        text = json.dumps(_plain_slowly(values, ()), ensure_ascii=False).encode()
    if _SECRET_HINT.search(text):
        return _without_secrets(msgspec.json.decode(text), engine=False)
    return msgspec.json.decode(text)


def _plain_value(value: Any) -> Any:
    """Return a plain stand-in for one value that JSON cannot hold; never raises."""
    if isinstance(value, Mapping):
        return {_key(key): item for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(value, key=repr)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    for method in ("tolist", "item"):  # numpy and torch, without importing them
        if callable(getattr(value, method, None)):
            try:
                return getattr(value, method)()
            except Exception:  # noqa: BLE001 - foreign code; its text is kept instead
                break
    if isinstance(value, Sequence):
        return list(value)
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - foreign code; its type is all there is to say
        return f"<{type(value).__name__}>"


def _plain_slowly(value: Any, above: tuple[int, ...]) -> Any:
    """Do the same for values that the fast encoder refuses: cycles, odd keys, broken text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if id(value) in above or len(above) > 100:
        return "<circular>" if id(value) in above else "<too deep>"
    above = (*above, id(value))
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain_slowly(item, above) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_slowly(item, above) for item in value]
    try:
        value = msgspec.to_builtins(value, enc_hook=_plain_value)
    except Exception:  # noqa: BLE001 - whatever it is, the record holds its text
        value = str(_plain_value(value))
    return _plain_slowly(value, above)


def _key(key: object) -> str:
    text = key if isinstance(key, str) else str(_plain_value(key))
    return text.encode("utf-8", "backslashreplace").decode()


def _without_secrets(value: Any, *, engine: bool) -> Any:
    """Blank secrets by the name of their key, and credentials inside URLs.

    Args:
        value: Plain JSON.
        engine: Whether *value* belongs to the engine, whose user name is a secret, too.
    """
    if isinstance(value, dict):
        return {
            key: _BLANKED
            if item not in (None, "") and _is_secret(key, engine)
            else _without_secrets(item, engine=engine or key in _ENGINE_FIELDS)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item, engine=engine) for item in value]
    if isinstance(value, str) and "@" in value:
        return _URL_CREDENTIALS.sub(r"\1", value)
    return value


def _is_secret(key: str, engine: bool) -> bool:
    return bool(_SECRET_KEY.match(key)) or (engine and key.lower() in ("user", "username"))
