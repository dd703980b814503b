"""import_log: which files were imported, and where known pictures lie now.

Two kinds of append-only files in the archive's ``imports`` folder, a new one for each import,
a JSON object a line. ``seen-*`` spares the next import of the same tree the reading; ``places-*``
tells where a picture that was already known was met again. Neither holds anything that a fresh
import would not find again, so a lost or torn file costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from safelight.durable_file import AppendOnlyFile, make_folder, open_regular_file
from safelight.line_checksums import line_state, with_checksum

__all__ = ["ImportLog", "SeenFiles"]


class _Line(msgspec.Struct):
    path: str
    size: int = 0
    modified: int = 0
    sha256: str = ""


_decoder = msgspec.json.Decoder(_Line)


class SeenFiles:
    """Files of earlier imports, eight bytes each."""

    def __init__(self, lines: Iterable[tuple[str, int, int]]) -> None:
        import numpy as np

        keys = np.fromiter((_key(*line) for line in lines), dtype=np.uint64)
        self._keys = np.unique(keys)

    def __contains__(self, file: tuple[str, int, int]) -> bool:
        import numpy as np

        place = int(np.searchsorted(self._keys, np.uint64(_key(*file))))
        return place < len(self._keys) and int(self._keys[place]) == _key(*file)

    def __len__(self) -> int:
        return len(self._keys)


def _key(path: str, size: int, modified: int) -> int:
    """Eight bytes of a file's name, size and time; two files share one in 10**13 pairs of pairs."""
    text = f"{path}\0{size}\0{modified}".encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class ImportLog:
    """Reads the logs of all imports and writes that of one.

    Args:
        folder: ``imports`` in the archive; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        self._stem = f"{moment}_{secrets.token_hex(4)}.jsonl"
        self._open: dict[str, AppendOnlyFile] = {}

    def seen(self) -> SeenFiles:
        """Return the files that need not be read again."""
        return SeenFiles((line.path, line.size, line.modified) for line in self._lines("seen"))

    def _lines(self, kind: str) -> Iterator[_Line]:
        for path in sorted(self._folder.glob(f"{kind}-*.jsonl")):
            with contextlib.suppress(OSError), open_regular_file(path) as file:
                for line in file:
                    with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
                        if line_state(line.rstrip()) != "damaged":
                            yield _decoder.decode(line)

    def add_seen(self, entries: Iterable[tuple[str, int, int, str]]) -> None:
        """Say that files (shown path, size, modified, sha256) are in the archive, durably."""
        self._append("seen", [
            {"path": path, "size": size, "modified": modified, "sha256": sha256}
            for path, size, modified, sha256 in entries
        ])  # fmt: skip

    def add_places(self, entries: Iterable[tuple[str, str]]) -> None:
        """Say where known pictures (sha256, shown path) were met."""
        self._append("places", [{"path": path, "sha256": sha} for sha, path in entries])

    def _append(self, kind: str, entries: list[dict[str, Any]]) -> None:
        if not entries:
            return
        file = self._open.get(kind)
        if file is None:
            make_folder(self._folder, root=self._folder.parent)
            file = self._open[kind] = AppendOnlyFile(self._folder / f"{kind}-{self._stem}")
        file.append(b"\n".join(with_checksum(msgspec.json.encode(entry)) for entry in entries))

    def close(self) -> None:
        """Close what is open."""
        for file in self._open.values():
            file.close()
        self._open.clear()
