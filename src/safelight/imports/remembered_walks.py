"""remembered_walks: walks that met only what the archive had, so that the next need not ask it.

Of each a hash is kept: of the name, size and times of every picture that was met. It is good as
long as the archive holds what it held then, so that neither a merge nor a file of an import that
was killed is overlooked. Both stand in a hidden file, which belongs to this machine and is replaced
as a whole. It may be deleted: without it, or where it is damaged, the archive is asked as for any
other walk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from safelight.archive_layout import imports_folder, packs_folder, ratings_folder, records_folder
from safelight.durable_file import read_regular_file, replace_file
from safelight.imports.import_journal import is_journal

__all__ = ["REMEMBERED_WALKS", "RememberedWalks"]

REMEMBERED_WALKS = ".walks.json"
_MOST = 200
"""Walks that are kept, the last ones; each is of other folders."""

_FOLDERS = (packs_folder, records_folder, imports_folder, ratings_folder)


class _File(msgspec.Struct):
    held: str
    walks: dict[str, str]


class RememberedWalks:
    """The walks that went into one archive, as it is now.

    Args:
        archive: Its folder.
    """

    def __init__(self, archive: Path) -> None:
        self._path = imports_folder(archive) / REMEMBERED_WALKS
        self._walks: dict[str, str] = {}
        self._held, self._journals = _held_by(archive)
        with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError):
            kept = msgspec.json.decode(read_regular_file(self._path), type=_File)
            if kept.held == _digest(sorted(self._held)):
                self._walks = kept.walks

    def of(self, folders: Sequence[str]) -> str | None:
        """Return the hash of what the last walk of *folders* met; None when nothing is known."""
        return self._walks.get(_digest(folders))

    def forget(self) -> None:
        """Remember none of the walks from before."""
        self._walks = {}

    def remember(self, folders: Sequence[str], met: str | None, written: Iterable[Path]) -> None:
        """Remember a walk, and those from before, which what its import has written leaves true.

        What anybody else has added meanwhile makes all of them unknown.

        Args:
            folders: What was walked.
            met: The hash of what was met; None where not all of it is in the archive.
            written: The packs, records, logs and ratings of the import.
        """
        walks, key = dict(self._walks), _digest(folders)
        walks.pop(key, None)
        if met is not None:
            walks[key] = met
        held = self._held - self._journals
        with contextlib.suppress(OSError):  # without it the next import takes longer
            held.update(map(_shown, written))
            if walks != self._walks or held != self._held:
                kept = _File(_digest(sorted(held)), dict(list(walks.items())[-_MOST:]))
                replace_file(self._path, msgspec.json.encode(kept))


def _held_by(archive: Path) -> tuple[set[str], set[str]]:
    """Return the names of what tells which imported pictures an archive has, and where they lie.

    So are those of ratings, which an import joins to pictures whose bytes are others now. Records
    of runs that were drawn here come and go, and say nothing about that. Second, those of journals,
    which somebody has to take in: no walk is good while there is one.
    """
    held: set[str] = set()
    journals: set[str] = set()
    for folder in (of(archive) for of in _FOLDERS):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                is_other = folder.name == "records" and "import-" not in entry.name
                if is_journal(entry.name):
                    journals.add(entry.name)
                elif not (is_other or entry.name.startswith(".")):
                    held.add(_shown(folder / entry.name))
    return held | journals, journals


def _shown(path: Path) -> str:
    size = path.stat().st_size if path.suffix == ".jsonl" else 0  # what grows
    return f"{path.parent.name}/{path.name} {size}"


def _digest(texts: Sequence[str]) -> str:
    return hashlib.blake2b(repr(list(texts)).encode(), digest_size=16).hexdigest()
