"""places: where pictures that were moved were met again, from the logs of imports.

An import writes a line for every picture that the archive knew already (``imports/places-*``).
The newest line of a picture counts; a torn or foreign line is passed over.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from safelight.durable_file import open_regular_file
from safelight.line_checksums import line_state

__all__ = ["read_places"]


class _Line(msgspec.Struct):
    path: str
    sha256: str


_decoder = msgspec.json.Decoder(_Line)


def read_places(folder: Path) -> dict[str, str]:
    """Return SHA-256 of a picture's bytes -> path, for those that were met a second time."""
    places: dict[str, str] = {}
    for path in sorted(folder.glob("places-*.jsonl")):
        with contextlib.suppress(OSError), open_regular_file(path) as file:
            for line in file:
                with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
                    if line_state(line.rstrip()) != "damaged":
                        entry = _decoder.decode(line)
                        places[entry.sha256] = entry.path
    return places
