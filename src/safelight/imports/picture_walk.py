"""picture_walk: the picture files below some folders, each once, whatever links there are."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from safelight.imports.picture_reader import SUFFIXES

__all__ = ["walk_pictures"]

_PASSED_OVER = frozenset({"thumbnails", ".thumbnails", "@eaDir", "__MACOSX", ".Trash"})
_PREVIEW = ".swarmpreview."


def walk_pictures(
    folders: Iterable[Path | str],
    *,
    without: Path | None = None,
    on_fault: Callable[[str, str], None] = lambda _path, _reason: None,
) -> Iterator[tuple[str, int, int]]:
    """Yield (absolute path, bytes, time of change in nanoseconds), a folder's files by name.

    Links are followed; a folder that was already visited is not entered again, so loops end.
    Thumbnails and previews of other tools are passed over.

    Args:
        folders: Folders, or picture files.
        without: A folder that is not entered: the archive.
        on_fault: Told of (path, why) what could not be looked at.
    """
    visited: set[tuple[int, int]] = set()
    if without is not None:
        try:
            status = os.stat(without)
            visited.add((status.st_dev, status.st_ino))
        except OSError:
            pass
    for folder in folders:
        path = os.path.abspath(folder)
        try:
            status = os.stat(path)
        except OSError as error:
            on_fault(path, error.strerror or str(error))
            continue
        if stat.S_ISREG(status.st_mode):
            yield path, status.st_size, status.st_mtime_ns
        else:
            yield from _folder(path, visited, on_fault)


def _folder(
    start: str, visited: set[tuple[int, int]], on_fault: Callable[[str, str], None]
) -> Iterator[tuple[str, int, int]]:
    pending = [start]
    while pending:
        path = pending.pop()
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            on_fault(path, error.strerror or str(error))
            continue
        below: list[str] = []
        for entry in entries:
            try:
                if entry.is_dir():
                    if entry.name not in _PASSED_OVER:
                        below.append(entry.path)
                elif _is_picture(entry.name):
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield entry.path, status.st_size, status.st_mtime_ns
            except OSError as error:
                on_fault(entry.path, error.strerror or str(error))
        pending.extend(reversed(below))


def _is_picture(name: str) -> bool:
    lower = name.lower()
    return os.path.splitext(lower)[1] in SUFFIXES and _PREVIEW not in lower
