"""Whole-or-absent files and locked append-only files: the only place that renames or fsyncs.

A reader sees a file whole or not at all, also after ``kill -9`` and after a power cut: the
bytes go to a temporary file in the same folder, are flushed to the disk, and only then get
their name; the folder is flushed last, so that the name itself survives.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from pathlib import Path
from typing import Self

__all__ = [
    "TEMPORARY_SUFFIX",
    "AppendOnlyFile",
    "replace_file",
    "sync_folder",
    "write_new_file",
]

TEMPORARY_SUFFIX = ".tmp"
"""Files that end so are unfinished; readers must pass over them."""

_BINARY = getattr(os, "O_BINARY", 0)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY


def write_new_file(
    folder: Path, stem: str, suffix: str, data: bytes, *, flush: bool = True
) -> Path:
    """Write *data* as ``stem + suffix`` in *folder*, or under ``stem-2`` and so on if taken.

    An existing file is never overwritten; when it holds the same bytes, nothing is written.
    Two processes cannot choose the same name: whoever wants a name first creates its
    temporary file exclusively.

    Args:
        folder: Must exist.
        stem: Wanted name without its suffix.
        suffix: For example ``.json``.
        data: The whole content.
        flush: Whether to flush the folder, too. Pass False when several files follow each
            other into one folder, and call :func:`sync_folder` after the last.

    Returns:
        The path that the file got.

    Raises:
        OSError: The file could not be written; nothing is left behind.
    """
    base = os.fspath(folder)
    for number in itertools.count(1):
        name = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
        final = f"{base}{os.sep}{name}"
        temporary = f"{base}{os.sep}.{name}{TEMPORARY_SUFFIX}"
        try:
            handle = os.open(temporary, _NEW_FILE, 0o666)
        except FileExistsError:
            continue
        try:
            if os.access(final, os.F_OK):
                os.close(handle)
                os.unlink(temporary)  # noqa: PTH108 - paths are texts here: Path costs a tenth
                if not _holds(final, data):
                    continue
            else:
                _fill(handle, data)
                os.rename(temporary, final)  # noqa: PTH104
        except BaseException:
            _remove(temporary)
            raise
        if flush:
            _sync(base)
        return Path(final)
    raise AssertionError("unreachable")


def replace_file(path: Path, data: bytes) -> None:
    """Write *data* as *path*, replacing what is there in one step.

    Raises:
        OSError: The file could not be written; the old content stays.
    """
    temporary = os.fspath(path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}"))
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
    try:
        _fill(handle, data)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        _remove(temporary)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in *folder* to the disk.

    Raises:
        OSError: The disk reported trouble.
    """
    _sync(os.fspath(folder))


def _sync(folder: str) -> None:
    if sys.platform == "win32":  # Windows cannot open a folder to flush it
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _holds(path: str, data: bytes) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read() == data
    except OSError:  # a folder, or not ours to read: taken all the same
        return False


def _fill(handle: int, data: bytes) -> None:
    """Write all of *data* to *handle*, flush it to the disk, and close it whatever happens."""
    try:
        _write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def _remove(temporary: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(temporary)  # noqa: PTH108


class AppendOnlyFile:
    """A file of lines that one process extends and holds locked while it lives.

    The lock goes when the process goes, however it goes: a file that can be locked belongs
    to nobody. A half-written last line is possible after a power cut; readers pass over it.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open *path*, or create it, and lock it.

        Raises:
            BlockingIOError: Another process holds it.
            FileNotFoundError: It is missing, and *create* is False.
            OSError: It cannot be opened.
        """
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | _BINARY | (os.O_CREAT if create else 0)
        self._handle = os.open(path, flags, 0o666)
        try:
            _lock(self._handle)
        except BaseException:
            os.close(self._handle)
            raise

    def append(self, line: bytes, *, flush: bool = True) -> None:
        """Add *line* and a newline in one write, and flush it to the disk.

        Raises:
            OSError: The line may be missing or torn; what came before it is safe.
        """
        _write_all(self._handle, line + b"\n")
        if flush:
            os.fsync(self._handle)

    def close(self) -> None:
        """Unlock and close; closing twice is harmless."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        # Locks one byte far behind any content: Windows locks forbid reading what they cover.
        os.lseek(handle, 2**40, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(str(error)) from error
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
