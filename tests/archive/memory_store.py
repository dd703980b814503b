"""An object store in memory: what a real one promises, and nothing else."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

from safelight.archive.transfer import Entry
from safelight.errors import StorageError

__all__ = ["MemoryStore"]


class MemoryStore:
    """Objects by name; one that is there never changes.

    Attributes:
        objects: Key -> content.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._times: dict[str, int] = {}
        self._clock = itertools.count(1)
        self._lock = threading.Lock()

    def put_new(self, key: str, data: bytes) -> bool:
        with self._lock:
            if key in self.objects:
                return False
            self.objects[key] = bytes(data)
            self._times[key] = next(self._clock)
            return True

    def get(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError as error:
            raise StorageError(f"there is no object {key}") from error

    def entries(self) -> Iterator[tuple[str, Entry]]:
        for key, data in list(self.objects.items()):
            yield key, Entry(len(data), self._times.get(key, 0))
