"""JSON from strangers: bounded in size, never deeper than the parser can go, never an error."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["MAX_JSON", "json_object", "json_value", "whole_text"]

MAX_JSON = 32 * 2**20
"""Characters; the largest real graphs are a few megabytes."""

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder(strict=False)


def json_value(text: str) -> Any:
    """Return the value of a JSON text, or None when it is none, too long or too deep.

    Some nodes write ``NaN`` into graphs, which Python reads and nothing else does.
    """
    if not text or len(text) > MAX_JSON:
        return None
    try:
        value = _DECODER.decode(text.strip("\0 \t\r\n"))
        return _whole(value) if _HALF.search(text) else value
    except (ValueError, RecursionError):
        return None


def whole_text(text: str) -> str:
    """Return *text* with half characters, which only JSON's escapes can make, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {whole_text(key): _whole(item) for key, item in value.items()}
    return value


def json_object(text: str) -> dict[str, Any]:
    """Return the object of a JSON text; empty when it is none."""
    value = json_value(text)
    return value if isinstance(value, dict) else {}
