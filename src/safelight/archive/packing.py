"""packing: loose records into packs, on two cores when there are many.

Each batch is packed by itself: read, written as a pack, verified, and only then are its files
deleted. Many batches are shared out among this process and others, because taking JSON apart is
Python's own work; as separate programs those need no guard in the caller's main module. Each asks
for a batch when it is done with the last, and one that is killed leaves at most its own loose.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from safelight.archive.loose_records import written_at
from safelight.archive.packs import UnwrittenPack
from safelight.durable_file import (
    read_regular_file,
    remove_file,
)
from safelight.errors import ArchiveError, RecordError
from safelight.paused_collector import paused_collector

__all__ = [
    "Packed",
    "delete_files",
    "pack_files",
    "pack_in_batches",
    "share_out",
    "worthwhile_processes",
]

_MOST_PROCESSES = 4
_WORTH_A_PROCESS = 10_000
"""Records; below that a process takes longer to begin than it saves."""


_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_MOST_AT_ONCE = 1 << 16
"""Bytes; most records are smaller."""

_DELETERS = 4
"""Threads. A journalled disk takes 0.1 ms to forget a file, and takes several at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What became of one batch.

    Attributes:
        records: How many are in the pack now.
        pack: Its folder; None when there was nothing to pack.
        left: Files that were left where they are, and why.
    """

    records: int = 0
    pack: Path | None = None
    left: tuple[tuple[Path, str], ...] = ()


def share_out(names: Sequence[str], per_pack: int, processes: int) -> list[Sequence[str]]:
    """Return *names* in batches of at most *per_pack*, as many for each of *processes*."""
    if not names:
        return []
    rounds = -(-len(names) // (per_pack * processes))
    size = -(-len(names) // (rounds * processes))
    return [names[start : start + size] for start in range(0, len(names), size)]


def worthwhile_processes(records: int) -> int:
    """Return how many processes, this one included, should pack that many records."""
    if not sys.executable:
        return 1
    return max(1, min(os.cpu_count() or 1, _MOST_PROCESSES, records // _WORTH_A_PROCESS))


def pack_in_batches(
    packs: Path,
    folder: Path,
    batches: Sequence[Sequence[str]],
    on_batch: Callable[[Packed], None] = lambda _: None,
    *,
    processes: int = 1,
) -> list[Packed]:
    """Pack each of *batches*, files in *folder*, into *packs*; return what became of each.

    Args:
        packs: The folder of packs.
        folder: The folder of loose records.
        batches: Names of files; they have none in common.
        on_batch: Told of each that is done, from any thread.
        processes: How many to use, this one included.

    Raises:
        ArchiveError: A pack could not be written; its records stay loose. The other batches are
            finished first, as far as a process is left for them.
    """
    waiting = deque(enumerate(batches))
    done: dict[int, Packed] = {}
    lock = threading.Lock()

    def keep_packing(pack: Callable[[Path, Path, Sequence[str]], Packed]) -> None:
        while True:
            try:
                number, names = waiting.popleft()
            except IndexError:
                return
            packed = pack(packs, folder, names)
            with lock:
                done[number] = packed
                on_batch(packed)

    def keep_packing_elsewhere() -> None:
        with _OtherProcess() as other:
            keep_packing(other.pack)

    others = min(processes, len(batches)) - 1
    with ThreadPoolExecutor(max(others, 1)) as pool:
        helping = [pool.submit(keep_packing_elsewhere) for _ in range(others)]
        try:
            keep_packing(pack_files)
        except KeyboardInterrupt:
            waiting.clear()
            raise
    for helped in helping:
        helped.result()
    return [done[number] for number in range(len(batches))]


def pack_files(packs: Path, folder: Path, names: Sequence[str]) -> Packed:
    """Pack the files *names* of *folder* into *packs* here, and delete them once the pack is safe.

    Raises:
        ArchiveError: The pack could not be written; the records stay loose.
    """
    unwritten = UnwrittenPack()
    packed: list[str] = []
    left: list[tuple[Path, str]] = []
    here = os.path.join(folder, "")  # noqa: PTH118 - a Path for each file costs as much again
    with paused_collector():
        for name in names:
            try:
                unwritten.add(read_regular_file(here + name), partial(written_at, here + name))
            except FileNotFoundError:
                continue  # another process has packed it
            except (OSError, RecordError) as error:
                left.append((folder / name, str(error)))
                continue
            packed.append(name)
        if not packed:
            return Packed(left=tuple(left))
        pack = unwritten.write(packs)
    left += delete_files(folder, packed)
    return Packed(records=len(packed), pack=pack.path, left=tuple(left))


def delete_files(folder: Path, names: Sequence[str]) -> list[tuple[Path, str]]:
    """Delete *names* in *folder*, several at a time as half of it is waiting; return who stays."""
    stay: list[tuple[Path, str]] = []
    here = os.path.join(folder, "")  # noqa: PTH118 - as above

    def delete(some: Sequence[str]) -> None:
        for name in some:
            try:
                remove_file(here + name)
            except FileNotFoundError:
                continue
            except OSError as error:
                stay.append((folder / name, f"is packed but cannot be deleted: {error}"))

    with ThreadPoolExecutor(_DELETERS) as pool:
        for done in [pool.submit(delete, names[first::_DELETERS]) for first in range(_DELETERS)]:
            done.result()
    return sorted(stay)


class _OtherProcess:
    """Packs batch after batch in a process of its own, which ends when this one does.

    Raises:
        ArchiveError: A pack could not be written, or the process died.
    """

    def __enter__(self) -> Self:
        source = str(Path(__file__).parents[2])
        search = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH", ""))))
        self._errors = tempfile.TemporaryFile("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "safelight.archive.packing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": search},
        )
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._errors.close()

    def pack(self, packs: Path, folder: Path, names: Sequence[str]) -> Packed:
        """Do :func:`pack_files` there."""
        given, answers = self._process.stdin, self._process.stdout
        assert given is not None
        assert answers is not None
        with suppress(BrokenPipeError):
            given.write(json.dumps([str(packs), str(folder), *names]).encode() + b"\n")
            given.flush()
        line = answers.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            errors = self._errors.read().decode(errors="replace")[-500:].strip()
            raise ArchiveError(
                f"the process that packed ended with {code}; what it had not packed is still"
                f" loose: {errors}"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise ArchiveError(answer["error"])
        return _packed_from(answer)


def _packed_from(answer: Mapping[str, Any]) -> Packed:
    return Packed(
        records=answer["records"],
        pack=Path(answer["pack"]) if answer["pack"] else None,
        left=tuple((Path(path), reason) for path, reason in answer["left"]),
    )


def _answer(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _main() -> None:
    for line in sys.stdin:
        packs, folder, *names = json.loads(line)
        try:
            done = pack_files(Path(packs), Path(folder), names)
        except ArchiveError as error:
            _answer({"error": str(error)})
            continue
        left = [(str(path), reason) for path, reason in done.left]
        pack = str(done.pack) if done.pack else None
        _answer({"records": done.records, "pack": pack, "left": left})


if __name__ == "__main__":
    _main()
