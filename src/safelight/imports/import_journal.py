"""import_journal: what an import has read and not yet put into the archive, kept every few hundred.

A hidden file of lines beside the logs, which belongs to this machine. It is locked while its
import lives and deleted when all of it is in the archive; one that nobody holds was left by an
import that was killed, and the next one takes it in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from safelight.durable_file import AppendOnlyFile, is_held, make_folder, open_regular_file
from safelight.imports.imported_picture import ImportedPicture
from safelight.line_checksums import line_state, with_checksum

__all__ = ["ImportJournal", "is_journal", "left_behind"]

_BEGINS = ".read-"
_ENDS = ".jsonl"
_TOGETHER = 256
_decoder = msgspec.json.Decoder(ImportedPicture)


class ImportJournal:
    """Keeps pictures that were read until they are in the archive.

    Args:
        folder: ``imports`` in the archive; made when something is written.
        stem: A name that no other import has.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder, self._stem = folder, stem
        self._number = 0
        self._file: AppendOnlyFile | None = None
        self._lines: list[bytes] = []

    def add(self, picture: ImportedPicture) -> None:
        """Keep a picture; it is on the disk when a few hundred are there.

        Raises:
            OSError: They could not be written.
        """
        self._lines.append(with_checksum(msgspec.json.encode(picture)))
        if len(self._lines) >= _TOGETHER:
            if self._file is None:
                make_folder(self._folder, root=self._folder.parent)
                self._number += 1
                name = f"{_BEGINS}{self._stem}-{self._number}{_ENDS}"
                self._file = AppendOnlyFile(self._folder / name)
            self._file.append(b"\n".join(self._lines))
            self._lines.clear()

    def begin_anew(self, waiting: Sequence[ImportedPicture] = ()) -> None:
        """Forget all but *waiting*: the rest is in the archive.

        Raises:
            OSError: Those could not be written.
        """
        old, self._file = self._file, None
        self._lines.clear()
        for picture in waiting:
            self.add(picture)
        if old is not None:
            old.remove()

    def close(self) -> None:
        """Let go of the file; what it holds is taken in by the next import."""
        if self._file is not None:
            self._file.close()


def is_journal(name: str) -> bool:
    """Return whether a file of the folder is a journal, of an import that lives or was killed."""
    return name.startswith(_BEGINS) and name.endswith(_ENDS)


def left_behind(folder: Path) -> Iterator[tuple[Path, list[ImportedPicture]]]:
    """Yield the journals that nobody holds, and the whole lines of each."""
    for path in sorted(folder.glob(f"{_BEGINS}*{_ENDS}")):
        with contextlib.suppress(OSError):
            if is_held(path):
                continue
            pictures: list[ImportedPicture] = []
            with open_regular_file(path) as file:
                for line in file:
                    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
                        if line_state(line.rstrip()) == "whole":
                            pictures.append(_decoder.decode(line))
            yield path, pictures
