"""safetensors_header: what the header of a ``.safetensors`` file says; its tensors are not read.

Source: the format's README (eight bytes of length, little-endian, then JSON).
"""

from __future__ import annotations

from pathlib import Path

from safelight.durable_file import open_regular_file
from safelight.formats.bounded_json import json_object

__all__ = ["safetensors_metadata"]

_LONGEST_HEADER = 16 * 2**20


def safetensors_metadata(path: Path | str) -> dict[str, str]:
    """Return key -> text of a file's ``__metadata__``; empty for what is no such file.

    Raises:
        OSError: It cannot be read.
    """
    with open_regular_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _LONGEST_HEADER:
            return {}
        header = file.read(length)
    told = json_object(header.decode("utf-8", "replace")).get("__metadata__")
    told = told if isinstance(told, dict) else {}
    return {key: value for key, value in told.items() if isinstance(value, str)}
