"""A disk that keeps only what was flushed, and cuts the power whenever something is.

Without power nobody knows what of the unflushed is on the disk: each name that was added, taken
away or given to another file since its folder was last flushed may be as it was or as it is now,
and each file that was written since may hold the old, a part of the new, or zeros instead. Only
the order of calls makes an acknowledgement true: file flushed, folder flushed, then told. (The
model is that of Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.)
"""

from __future__ import annotations

import os
import random
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Cut", "PowerCuts"]


@dataclass(frozen=True, slots=True)
class Cut:
    """What is found when the power is back.

    Attributes:
        number: Of the call of ``fsync`` that it was cut at, from 1; 0 is the end.
        folder: What the disk holds.
        acknowledged: What had been acknowledged before.
    """

    number: int
    folder: Path
    acknowledged: frozenset[str]


class PowerCuts:
    """While the context lasts, what this process flushes in *folder* is noted.

    Attributes:
        flushes: Calls of ``fsync`` in *folder* so far.
        cuts: The power was cut then.
        acknowledged: What has been acknowledged; whoever carries out the work adds to it.

    Args:
        folder: Everything in it is on the disk now.
        copies: Where the disk's content is copied to at a cut.
        chance: Decides when, and what of the unflushed is on the disk.
        odds: How often a call of ``fsync`` finds no power any more.
    """

    def __init__(self, folder: Path, copies: Path, chance: random.Random, odds: float) -> None:
        self._folder, self._copies, self._chance, self._odds = folder, copies, chance, odds
        self._names: dict[int, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._kept: list[int] = []  # handles: no number of a file is given to another one
        self._lock = threading.RLock()
        self._fsync = os.fsync
        self.flushes = 0
        self.acknowledged: set[str] = set()
        self.cuts: list[Cut] = []

    def __enter__(self) -> Self:
        for folder, _, files in os.walk(self._folder):
            self._note_folder(folder)
            for name in files:
                self._note_file(os.path.join(folder, name))  # noqa: PTH118
        os.fsync = self._flush  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        os.fsync = self._fsync
        if kind is None:
            self._cut(0)
        for handle in self._kept:
            os.close(handle)

    def _flush(self, handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115
        with self._lock:
            if path.startswith(str(self._folder)):
                self.flushes += 1
                if self._chance.random() < self._odds:
                    self._cut(self.flushes)
                if stat.S_ISDIR(os.fstat(handle).st_mode):
                    self._note_folder(f"/proc/self/fd/{handle}")
                else:
                    self._note_file(f"/proc/self/fd/{handle}")

    def _note_folder(self, path: str) -> None:
        self._kept.append(os.open(path, os.O_RDONLY))
        with os.scandir(self._kept[-1]) as entries:
            listing = {entry.name: entry.inode() for entry in entries}
        self._names[os.fstat(self._kept[-1]).st_ino] = listing

    def _note_file(self, path: str) -> None:
        self._kept.append(os.open(path, os.O_RDONLY))
        with open(path, "rb") as file:  # noqa: PTH123 - what it is now, whatever its name
            self._contents[os.fstat(self._kept[-1]).st_ino] = file.read()

    # -- without power -------------------------------------------------------------------

    def _cut(self, number: int) -> None:
        acknowledged = frozenset(self.acknowledged)
        target = self._copies / f"cut-{len(self.cuts)}"
        present = {path.stat().st_ino: path for path in [self._folder, *_all(self._folder)]}
        self._restore(self._folder.stat().st_ino, target, present)
        self.cuts.append(Cut(number, target, acknowledged))

    def _restore(self, folder: int, target: Path, present: dict[int, Path]) -> None:
        target.mkdir(parents=True)
        was = self._names.get(folder, {})
        now = _listing(present[folder]) if folder in present else {}
        for name in sorted({*was, *now}):
            either = (was.get(name), now.get(name))
            file = either[0] if either[0] == either[1] else self._chance.choice(either)
            if file is None:
                continue
            path = present.get(file)
            if file in self._names or (path is not None and path.is_dir()):
                self._restore(file, target / name, present)
            else:
                (target / name).write_bytes(self._on_disk(file, path))

    def _on_disk(self, file: int, path: Path | None) -> bytes:
        was = self._contents.get(file, b"")
        try:
            now = was if path is None else path.read_bytes()
        except OSError:  # it has gone meanwhile
            now = was
        if now == was or self._chance.random() < 0.3:
            return was
        kept = len(was) if now.startswith(was) else 0
        end = self._chance.randint(kept, len(now))
        whole = self._chance.random() < 0.5
        return now[:end] + (b"" if whole else bytes(len(now) - end))


def _all(folder: Path) -> list[Path]:
    paths = []
    for path, folders, files in os.walk(folder):
        paths += [Path(path, name) for name in (*folders, *files)]
    return [path for path in paths if path.exists()]


def _listing(folder: Path) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.inode() for entry in entries}
