"""tree_looks: which pictures came to some folders between two looks.

A look asks each folder whether it has changed, and lists those that have, the newest first. A file
that is written over where it lies changes no folder: a whole look, now and then, lists them all.
What is new is told by when the file system itself last touched a file, compared with the newest
such moment that was seen: by one clock, whichever machine it stands in. Only of the files of the
last seconds before that is kept how they lay.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from safelight.imports.picture_walk import WalkedFile, is_entered, is_looked_at
from safelight.imports.spools import SPOOL_FOLDER, SPOOL_SUFFIX
from safelight.operating_system import last_touched

__all__ = ["TreeLooks"]

_MARGIN = 3 * 10**9
"""Nanoseconds before the newest moment that was seen that are looked at again."""

_TICK = 2 * 10**9
"""Nanoseconds in which a file system may write one time for two changes: those of FAT."""


class TreeLooks:
    """Looks at folders again and again.

    Attributes:
        spools: Spools that were met, and files of some.

    Args:
        folders: What is looked at, with all below.
        without: A folder that is not: the archive.
    """

    def __init__(self, folders: Sequence[str], without: str) -> None:
        self.spools: set[str] = set()
        self._folders, self._without = list(folders), without
        self._known: dict[str, int] = {}
        self._newest = 0
        self._recent: dict[str, WalkedFile] = {}
        self._is_first = True

    def look(
        self, *, whole: bool = False, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[WalkedFile]:
        """Yield the pictures that came, or were written over, since the last look.

        The first look yields none; what cannot be looked at is passed over until it can.

        Args:
            whole: List also folders that have not changed.
            stop: Asked at every folder whether to look no further.
        """
        first, self._is_first = self._is_first, False
        whole = whole or first
        pending = list(self._folders) if whole else self._changed()
        before = self._newest
        since, visited = before - _MARGIN, self._without_archive()
        while pending and not stop():
            folder = pending.pop()
            is_new = folder not in self._known
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in visited:
                    continue
                visited.add((status.st_dev, status.st_ino))
                is_settled = abs(time.time_ns() - status.st_mtime_ns) > _TICK
                self._known[folder] = status.st_mtime_ns if is_settled else -1
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=attrgetter("name"))
            except OSError:
                self._known.pop(folder, None)
                continue
            for path in self._below(entries):
                if whole or path not in self._known:
                    pending.append(path)
            for file in _pictures(entries):
                touched = last_touched(*file[2:])
                self._newest = max(self._newest, touched)
                as_before = self._recent.get(file[0]) == file
                if touched >= self._newest - _MARGIN:
                    self._recent[file[0]] = file
                else:
                    as_before |= touched < since and not is_new
                if not (first or as_before):
                    yield file
        if self._newest != before:
            oldest = self._newest - _MARGIN
            self._recent = {p: f for p, f in self._recent.items() if last_touched(*f[2:]) >= oldest}

    def _changed(self) -> list[str]:
        """Return the folders with other entries than when they were listed, the newest last."""
        changed: list[tuple[int, str]] = [
            (0, folder) for folder in self._folders if folder not in self._known
        ]
        for folder, then in list(self._known.items()):
            try:
                now = os.stat(folder).st_mtime_ns
            except OSError:
                del self._known[folder]
                continue
            if now != then:
                changed.append((now, folder))
        return [folder for _, folder in sorted(changed)]

    def _without_archive(self) -> set[tuple[int, int]]:
        try:
            status = os.stat(self._without)
        except OSError:
            return set()
        return {(status.st_dev, status.st_ino)}

    def _below(self, entries: Sequence[os.DirEntry[str]]) -> Iterator[str]:
        for entry in entries:
            try:
                if entry.is_dir():
                    if entry.name == SPOOL_FOLDER:
                        self.spools.add(entry.path)
                    elif is_entered(entry.name):
                        yield entry.path
                elif entry.name.endswith(SPOOL_SUFFIX):
                    self.spools.add(entry.path)
            except OSError:
                continue


def _pictures(entries: Sequence[os.DirEntry[str]]) -> Iterator[WalkedFile]:
    for entry in entries:
        if not is_looked_at(entry.name):
            continue
        try:
            status = entry.stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield entry.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns
