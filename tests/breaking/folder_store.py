"""An object store that is a folder: what a real one promises, for processes that are killed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from safelight.archive.transfer import Entry
from safelight.errors import StorageError

__all__ = ["FolderStore"]


class FolderStore:
    """Objects by name; one is there whole or not at all, and never changes.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hidden = folder.with_name(f"{folder.name}-unfinished")
        for each in (self._folder, self._hidden):
            each.mkdir(parents=True, exist_ok=True)

    def put_new(self, key: str, data: bytes) -> bool:
        unfinished = self._hidden / secrets.token_hex(8)
        unfinished.write_bytes(data)
        place = self._folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(unfinished, place)
        except FileExistsError:
            return False
        finally:
            unfinished.unlink()
        return True

    def get(self, key: str) -> bytes:
        try:
            return (self._folder / key).read_bytes()
        except OSError as error:
            raise StorageError(f"{key} cannot be read: {error}") from error

    def entries(self) -> Iterator[tuple[str, Entry]]:
        for path in sorted(self._folder.rglob("*")):
            if path.is_file():
                status = path.stat()
                key = path.relative_to(self._folder).as_posix()
                yield key, Entry(status.st_size, status.st_mtime_ns)


class BadDayStore(FolderStore):
    """One that does not answer, loses answers and cuts bodies, as *chance* has it.

    Args:
        folder: Where.
        odds: How often something goes wrong.
        seed: Decides when.
    """

    def __init__(self, folder: Path, odds: float, seed: int) -> None:
        import random

        super().__init__(folder)
        self._odds, self._chance = odds, random.Random(seed)

    def _bad(self) -> bool:
        return self._chance.random() < self._odds

    def put_new(self, key: str, data: bytes) -> bool:
        if self._bad():
            raise StorageError(f"{key} was refused: 503")
        put = super().put_new(key, data)
        if self._bad():
            raise StorageError(f"{key} was not answered")  # but it is there
        return put

    def get(self, key: str) -> bytes:
        if self._bad():
            raise StorageError(f"{key} was not answered")
        data = super().get(key)
        return data[: len(data) // 2] if self._bad() else data

    def entries(self) -> Iterator[tuple[str, Entry]]:
        if self._chance.random() < self._odds / 4:
            raise StorageError("the objects cannot be listed: 500")
        yield from super().entries()
