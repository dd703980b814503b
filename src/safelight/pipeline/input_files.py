"""InputFiles: the pictures that a config names, read once each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.errors import FileRefused, StorageError

__all__ = ["InputFiles"]

_HELD = 4


class InputFiles:
    """What is in the files that knobs name; the last few are held.

    Args:
        folder: Where their names start.
        given: Name -> content, for files that somebody else has read already.
        files: Which may be named, and how they are opened.
    """

    def __init__(
        self,
        folder: Path,
        given: Mapping[str, bytes] | None = None,
        files: AllowedFiles = ANY_FILE,
    ) -> None:
        self.folder = folder
        self._files = files
        self._given = given or {}
        self._held: dict[str, tuple[bytes, str]] = {}

    def read(self, knob: str, knobs: Mapping[str, Any]) -> bytes | None:
        """Return what is in the file that *knob* names, None where it names none.

        Raises:
            StorageError: It cannot be read.
        """
        name = knobs.get(knob)
        if name is None:
            return None
        return self._given[name] if name in self._given else self._content(knob, name)[0]

    def sha256(self, knob: str, knobs: Mapping[str, Any]) -> str | None:
        """Return the SHA-256 of what :meth:`read` returns, hexadecimal.

        Raises:
            StorageError: It cannot be read.
        """
        name = knobs.get(knob)
        return None if name is None else self._content(knob, name)[1]

    def _content(self, knob: str, name: str) -> tuple[bytes, str]:
        held = self._held.get(name)
        if held is None:
            try:
                with self._files.open(name, self.folder) as file:
                    data = file.read()
            except (OSError, FileRefused) as error:
                raise StorageError(f"{knob} {name!r} cannot be read: {error}") from error
            held = data, hashlib.sha256(data).hexdigest()
            while len(self._held) >= _HELD:
                self._held.pop(next(iter(self._held)), None)
            self._held[name] = held
        return held
