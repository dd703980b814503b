"""version_note: told once per archive, machine and version: that another version wrote in it.

What records and journals say of themselves decides; nothing in an archive is converted or marked.
That it was told is kept in a file that begins with a dot, which no version carries or reads.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safelight.archive_layout import (
    ARCHIVE_FOLDERS,
    JOURNAL_NAME,
    pictures_folder,
    records_folder,
    version_file,
)
from safelight.durable_file import open_regular_file, read_regular_file, replace_file
from safelight.version import __version__

__all__ = ["NEWS", "version_note"]

NEWS = {
    (0, 2): "a trash with undo, albums, engines by name, guests at the page, runs in parts",
}
"""First two numbers of a version -> what it brought, in a line."""

CHANGES = {
    (0, 2): "packs that 0.2 makes are left out by 0.1, which says so; what is loose it reads",
}
"""First two numbers of a version -> what an earlier one cannot do with what it writes."""

_MOST = 2**24
"""Bytes of a record that are read for this."""

_LINE = 2**18
_FOLDERS = 20
"""Folders of pictures that are looked into for a journal; some are no runs."""


def version_note(archive: Path) -> str | None:
    """Return what to tell whoever opens *archive* with this version for the first time, or None.

    Whoever may not write there is told nothing, as it would be told each time.
    """
    marker = version_file(archive)
    with contextlib.suppress(OSError):
        if read_regular_file(marker, most=100).decode("ascii", "replace").strip() == __version__:
            return None
    try:
        if not ARCHIVE_FOLDERS & set(os.listdir(archive)):
            return None
        found = max(_versions(archive), default=None)
        replace_file(marker, f"{__version__}\n".encode())
    except OSError:
        return None
    own = _numbers(__version__)
    if found is None or own is None or found[:2] == own[:2]:
        return None
    shown = ".".join(map(str, found))
    if found > own:
        return (
            f"safelight {shown} has written in this archive, and this is {__version__}: what that"
            " one added is passed over (said once)"
        )
    later = [numbers for numbers in sorted(NEWS) if numbers > found[:2]]
    told = [f"new: {NEWS[numbers]}" for numbers in later]
    told += [CHANGES[numbers] for numbers in later if numbers in CHANGES]
    return (
        f"this archive was last written by safelight {shown}, and this is {__version__}: nothing in"
        f" it is converted; {'; '.join(told)} (said once)"
    )


def _versions(archive: Path) -> Iterator[tuple[int, ...]]:
    """Yield the versions that the newest loose record and the newest journal name."""
    for said in (_newest_record(archive), _newest_header(archive)):
        about = said.get("metadata")
        imported = about.get("import") if isinstance(about, dict) else None
        for place in (said.get("environment"), imported):
            version = place.get("safelight") if isinstance(place, dict) else None
            if isinstance(version, str) and (numbers := _numbers(version)) is not None:
                yield numbers


def _newest_record(archive: Path) -> dict[str, Any]:
    folder = records_folder(archive)
    with contextlib.suppress(OSError, ValueError, RecursionError):
        names = [name for name in os.listdir(folder) if name.endswith(".json") and name[0] != "."]
        if names:
            return _object(read_regular_file(folder / max(names), most=_MOST))
    return {}


def _newest_header(archive: Path) -> dict[str, Any]:
    """Return the first line of the newest journal: it stays when its record is packed."""
    looked = 0
    with contextlib.suppress(OSError):
        for day in sorted(os.listdir(pictures_folder(archive)), reverse=True):
            folder = pictures_folder(archive) / day
            with contextlib.suppress(NotADirectoryError):
                for run in sorted(os.listdir(folder), reverse=True):
                    looked += 1
                    if looked > _FOLDERS:
                        return {}
                    with (
                        contextlib.suppress(OSError, ValueError, RecursionError),
                        open_regular_file(folder / run / JOURNAL_NAME) as journal,
                    ):
                        return _object(journal.readline(_LINE))
    return {}


def _object(text: bytes) -> dict[str, Any]:
    said = json.loads(text)
    return said if isinstance(said, dict) else {}


def _numbers(version: str) -> tuple[int, ...] | None:
    """Return 1.2.3 as numbers; None for what is written in another way."""
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return tuple(int(part[:9]) for part in parts)
