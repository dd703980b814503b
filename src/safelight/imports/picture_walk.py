"""picture_walk: the picture files below some folders, each once, whatever links there are."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path

from safelight.archive_layout import TRASH
from safelight.imports.picture_reader import SUFFIXES
from safelight.imports.spools import SPOOL_FOLDER, SPOOL_SUFFIX

__all__ = ["WalkNotes", "WalkedFile", "is_entered", "is_looked_at", "walk_pictures"]

_PASSED_OVER = frozenset(
    {"thumbnails", ".thumbnails", ".thumbs", "@eaDir", "__MACOSX", ".Trash", TRASH}
)
_PREVIEW = ".swarmpreview."
_OTHER_KINDS = {
    **dict.fromkeys((".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v"), "video"),
    **dict.fromkeys((".heic", ".heif"), "HEIC"), **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".jxl": "JPEG XL", ".bmp": "BMP", ".json": "JSON", ".psd": "PSD", ".exr": "EXR",
}  # fmt: skip


WalkedFile = tuple[str, int, int, int]


def is_entered(name: str) -> bool:
    """Return whether a walk enters a folder of that name."""
    return name not in _PASSED_OVER and name != SPOOL_FOLDER


def is_looked_at(name: str) -> bool:
    """Return whether a file of that name is called like a picture that is read."""
    lower = name.lower()
    suffix = lower[lower.rfind(".") :]
    # a name of a suffix alone has none
    return suffix in SUFFIXES and _PREVIEW not in lower and bool(lower[: -len(suffix)].strip("."))


@dataclass(slots=True)
class WalkNotes:
    """What a walk met beside pictures.

    Attributes:
        other_kinds: Files of kinds that may hold pictures or their settings, and are not read.
        passed_over: Folders that were asked for and not entered.
        walked: Folders that were asked for, have pictures, and were walked to their end.
        spools: Spools that were met, and files of some: what tools tell of pictures.
        met: The hash of the folders and pictures that were met: of names, sizes and both times.
    """

    other_kinds: Counter[str] = field(default_factory=Counter)
    passed_over: list[str] = field(default_factory=list)
    walked: list[str] = field(default_factory=list)
    spools: list[str] = field(default_factory=list)
    met: hashlib.blake2b = field(default_factory=partial(hashlib.blake2b, digest_size=16))

    def take_in(self, *met: object) -> None:
        """Put plain values into the hash of what was met."""
        self.met.update(repr(met).encode())


def walk_pictures(
    folders: Iterable[Path | str],
    *,
    without: Path | None = None,
    on_fault: Callable[[str, str], None] = lambda _path, _reason: None,
    notes: WalkNotes | None = None,
) -> Iterator[WalkedFile]:
    """Yield (absolute path, bytes, when it was written, when it was changed), by folder and name.

    Both times are nanoseconds: what a program may set, and what only the disk does.

    Links are followed; a folder that was already visited is not entered again, so loops end.
    Thumbnails and previews of other tools are passed over, and what was discarded.

    Args:
        folders: Folders, or picture files.
        without: A folder that is not entered: the archive.
        on_fault: Told of (path, why) what could not be looked at.
        notes: Filled as far as the walk is.
    """
    notes = notes or WalkNotes()
    visited: set[tuple[int, int]] = set()
    faults, met = 0, 0

    def note_fault(path: str, reason: str) -> None:
        nonlocal faults
        faults += 1
        on_fault(path, reason)

    if without is not None:
        try:
            status = os.stat(without)
            visited.add((status.st_dev, status.st_ino))
        except OSError:
            pass
    for folder in folders:
        path = os.path.abspath(folder)
        if TRASH in Path(path).parts:
            notes.passed_over.append(path)
            continue
        try:
            status = os.stat(path)
        except OSError as error:
            on_fault(path, error.strerror or str(error))
            continue
        if stat.S_ISREG(status.st_mode):
            file = path, status.st_size, status.st_mtime_ns, status.st_ctime_ns
            notes.take_in(file)
            yield file
            continue
        if (status.st_dev, status.st_ino) in visited:
            notes.passed_over.append(path)
            continue
        faults = met = 0
        for file in _folder(path, visited, note_fault, notes):
            met += 1
            yield file
        if met and not faults:
            notes.walked.append(path)


def _folder(
    start: str,
    visited: set[tuple[int, int]],
    on_fault: Callable[[str, str], None],
    notes: WalkNotes,
) -> Iterator[WalkedFile]:
    pending = [start]
    while pending:
        path = pending.pop()
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(path) as listing:
                entries = sorted(listing, key=attrgetter("name"))
        except OSError as error:
            on_fault(path, error.strerror or str(error))
            continue
        below: list[str] = []
        files: list[WalkedFile] = []
        for entry in entries:
            try:
                if entry.is_dir():
                    if entry.name == SPOOL_FOLDER:
                        notes.spools.append(entry.path)
                    elif entry.name not in _PASSED_OVER:
                        below.append(entry.path)
                    continue
                name = entry.name.lower()
                suffix = name[name.rfind(".") :]
                if suffix in SUFFIXES:
                    if not is_looked_at(name):
                        continue
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        files.append((
                            entry.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
                        ))  # fmt: skip
                elif name.endswith(SPOOL_SUFFIX):
                    notes.spools.append(entry.path)
                elif kind := _OTHER_KINDS.get(suffix):
                    notes.other_kinds[kind] += 1
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    on_fault(entry.path, "a link to what is not there")
            except OSError as error:
                on_fault(entry.path, error.strerror or str(error))
        notes.take_in(path, below, files)
        pending.extend(reversed(below))
        yield from files
