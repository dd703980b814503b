"""places: where pictures that were moved were met again, or are gone from, by the logs of imports.

An import writes a line for every picture that it met elsewhere, or no more (``imports/places-*``);
so does whoever puts pictures into the trash, or brings them back. The newest line of a picture
counts; a torn or foreign line is passed over.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from safelight.durable_file import open_regular_file
from safelight.line_checksums import line_state

__all__ = ["Places", "read_places"]


class Places(dict[str, str]):
    """SHA-256 of a picture's bytes -> path, for those that were met a second time.

    Attributes:
        gone: SHA-256 -> the path that it is gone from, which says nothing of another one.
        discarded: Those of *gone* that somebody put into the trash.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gone: dict[str, str] = {}
        self.discarded: set[str] = set()


class _Line(msgspec.Struct):
    path: str
    sha256: str
    gone: bool = False
    discarded: bool = False


_decoder = msgspec.json.Decoder(_Line)


def read_places(folder: Path) -> Places:
    """Return where pictures are now that are not where their records say."""
    places = Places()
    for path in sorted(folder.glob("places-*.jsonl")):
        with contextlib.suppress(OSError), open_regular_file(path) as file:
            for line in file:
                with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
                    if line_state(line.rstrip()) != "damaged":
                        entry = _decoder.decode(line)
                        if entry.gone:
                            places.gone[entry.sha256] = entry.path
                            noted = places.discarded
                            (noted.add if entry.discarded else noted.discard)(entry.sha256)
                            continue
                        places[entry.sha256] = entry.path
                        if places.gone.get(entry.sha256) == entry.path:
                            del places.gone[entry.sha256]
                            places.discarded.discard(entry.sha256)
    return places
