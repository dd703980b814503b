"""JSON from strangers: bounded in size, never deeper than the parser can go, never an error."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["MAX_JSON", "json_object", "json_value"]

MAX_JSON = 32 * 2**20
"""Characters; the largest real graphs are a few megabytes."""

_DECODER = json.JSONDecoder(strict=False)


def json_value(text: str) -> Any:
    """Return the value of a JSON text, or None when it is none, too long or too deep.

    Some nodes write ``NaN`` into graphs, which Python reads and nothing else does.
    """
    if not text or len(text) > MAX_JSON:
        return None
    try:
        return _DECODER.decode(text.strip("\0 \t\r\n"))
    except (ValueError, RecursionError):
        return None


def json_object(text: str) -> dict[str, Any]:
    """Return the object of a JSON text; empty when it is none."""
    value = json_value(text)
    return value if isinstance(value, dict) else {}
