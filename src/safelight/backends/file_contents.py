"""content_of: the hash of a model's file or folder, read once as long as it stays as it is."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

__all__ = ["content_of"]


def content_of(path: Path) -> str | None:
    """Return the SHA-256 of the file *path*, of a folder that of all its files; None without one.

    What a folder holds is told by names and contents; hidden files do not count. A file that has
    kept its size, its time and its inode is not read again by this process.
    """
    try:
        if path.is_file():
            return _file_content(path)
        if not path.is_dir():
            return None
        digest = hashlib.sha256()
        for folder, folders, names in os.walk(path, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                place = Path(folder, name)
                line = f"{place.relative_to(path).as_posix()}\0{_file_content(place)}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    except OSError:
        return None


def _file_content(path: Path) -> str:
    status = path.stat()
    return _read(os.fspath(path), status.st_size, status.st_mtime_ns, status.st_ino)


@functools.lru_cache(maxsize=4096)
def _read(path: str, _size: int, _modified: int, _inode: int) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 - a text is what the cache holds
        return hashlib.file_digest(file, "sha256").hexdigest()
