"""saved_searches: searches that somebody gave a name at the light table, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from safelight.archive_layout import searches_file
from safelight.durable_file import make_folder, read_regular_file, replace_file
from safelight.errors import StorageError

__all__ = ["SavedSearch", "keep_searches", "saved_searches"]


class SavedSearch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A search that somebody gave a name."""

    name: str
    q: str = ""
    sort: str = "-timestamp"
    group: str = ""


def saved_searches(archive: Path) -> list[SavedSearch]:
    """Return those of the archive folder *archive*; none where they cannot be read."""
    try:
        return msgspec.json.decode(
            read_regular_file(searches_file(archive)), type=list[SavedSearch]
        )
    except (OSError, msgspec.MsgspecError, ValueError):
        return []


def keep_searches(archive: Path, searches: Sequence[SavedSearch]) -> None:
    """Put *searches* in the place of those that are kept.

    Raises:
        StorageError: They could not be written; those before are there.
    """
    try:
        make_folder(archive)
        replace_file(searches_file(archive), msgspec.json.encode(searches))
    except OSError as error:
        raise StorageError(f"the searches could not be kept: {error}") from error
