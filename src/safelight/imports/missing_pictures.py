"""missing_pictures: pictures that are not where they were, and those that are there again.

A folder that was not reached, is empty or was not walked to its end (a disk that is not there, a
share that stopped answering) says nothing. What is missing stays in the archive: ratings of
pictures that somebody deleted are evidence like any other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from safelight.archive import Archive
from safelight.archive_layout import picture_file
from safelight.imports.import_log import ImportLog, LogLine, path_key
from safelight.imports.imported_picture import shown_path

__all__ = ["MetFiles", "Missing", "note_missing", "note_replaced", "places_of_missing",
           "still_missing"]  # fmt: skip

Places = Mapping[str, str]
"""Place -> SHA-256 of the picture there."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What a walk did not meet of what the archive knows.

    Attributes:
        gone: The SHA-256 of pictures that were there before, and are gone.
        passed_over: How many are there all the same.
    """

    gone: frozenset[str]
    passed_over: int


class MetFiles:
    """The places that a walk met, eight bytes each."""

    def __init__(self) -> None:
        self._keys: set[int] = set()

    def add(self, key: int) -> None:
        """Take in the key of a place (:func:`.import_log.path_key`)."""
        self._keys.add(key)

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def all_of(self, keys: Set[int]) -> bool:
        """Return whether all places of these keys were met."""
        return keys <= self._keys


def note_missing(archive: Archive, log: ImportLog, walked: Sequence[str], met: MetFiles) -> Missing:
    """Note which imported pictures below *walked* are gone.

    Args:
        archive: Whose pictures.
        log: Where it is noted.
        walked: Folders that have pictures and were walked to their end.
        met: The files that were met.

    Raises:
        ArchiveError: The archive cannot be asked.
        OSError: The log cannot be written.
    """
    gone: dict[tuple[str, str], None] = {}
    passed_over = 0
    home = os.path.abspath(archive.path)
    for folder in walked:
        below = shown_path(folder, home).rstrip("/") + "/"
        for sha256, path in archive.rows(
            "SELECT sha256, path FROM images WHERE status = 'imported'"
            " AND NOT coalesce(gone, FALSE) AND starts_with(path, ?)",
            [below],
            rated=False,
        ):
            if path_key(path) in met:
                continue
            if _is_there(archive, path):
                passed_over += 1
            else:
                gone[sha256, path] = None
    log.add_gone(gone)
    return Missing(frozenset(sha256 for sha256, _ in gone), passed_over)


def note_replaced(archive: Archive, log: ImportLog, now: Places) -> set[str]:
    """Note which pictures are gone because another one lies in their place; return their SHA-256.

    Args:
        archive: Whose pictures.
        log: Where it is noted.
        now: Place -> SHA-256 of what lies there.
    """
    there = archive.rows(
        "SELECT DISTINCT sha256, path FROM images WHERE status = 'imported'"
        " AND NOT coalesce(gone, FALSE) AND path IN (SELECT unnest(?::VARCHAR[]))",
        [list(now)],
        rated=False,
    )
    replaced = [(sha256, path) for sha256, path in there if now[path] != sha256]
    log.add_gone(replaced)
    return {sha256 for sha256, _ in replaced}


def still_missing(archive: Archive, sha256s: set[str]) -> int:
    """Return how many of some pictures are gone, and not by having been discarded."""
    ((count,),) = archive.rows(
        "SELECT count(DISTINCT sha256) FROM images WHERE status = 'imported' AND gone"
        " AND discarded IS NULL AND sha256 IN (SELECT unnest(?::VARCHAR[]))",
        [sorted(sha256s)],
        rated=False,
    )
    return int(count)


def places_of_missing(archive: Archive, log: ImportLog, met: MetFiles) -> tuple[Places, Places]:
    """Return place -> SHA-256 of pictures that are gone, where the walk met them.

    A file that was read before and is unchanged is not read again, so nothing else tells that it
    is the picture.

    Returns:
        Those that are where they were, and those that are elsewhere.
    """
    gone = dict(archive.rows(
        "SELECT sha256, path FROM images WHERE status = 'imported' AND gone", rated=False
    ))  # fmt: skip
    there: dict[str, str] = {}  # the newest line of a place that fits its file counts
    for line in log.lines("seen") if gone else ():
        is_asked = line.sha256 in gone or line.path in there
        if is_asked and path_key(line.path) in met and _is_as_seen(archive, line):
            there[line.path] = line.sha256
    back = {path: sha256 for path, sha256 in there.items() if gone.get(sha256) == path}
    missing = gone.keys() - back.values()
    elsewhere = {sha256: path for path, sha256 in there.items() if sha256 in missing}
    return back, {path: sha256 for sha256, path in elsewhere.items()}


def _is_there(archive: Archive, path: str) -> bool:
    """Return whether a file is there that the walk passed over, or came to by another name."""
    return os.path.lexists(picture_file(archive.path, path))


def _is_as_seen(archive: Archive, line: LogLine) -> bool:
    try:
        status = os.stat(picture_file(archive.path, line.path))
    except (OSError, ValueError):
        return False
    changed = status.st_ctime_ns if line.changed else 0  # earlier versions did not note it
    now = line.path, status.st_size, status.st_mtime_ns, changed
    return now == line.file
