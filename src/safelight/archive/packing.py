"""packing: loose records into packs, on two cores when there are many.

Each batch is packed by itself: read, written as a pack, verified, and only then are its files
deleted. Many batches are shared out among processes, because taking JSON apart is Python's own
work; as separate programs they need no guard in the caller's main module, and one that is killed
leaves at most its own batch loose.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.archive.columns import Decoded, decoded
from safelight.archive.packs import write_decoded
from safelight.errors import ArchiveError, RecordError
from safelight.learning.paused_collector import paused_collector

__all__ = ["Packed", "pack_files", "pack_in_batches"]

_MOST_PROCESSES = 4
_WORTH_A_PROCESS = 10_000
"""Records; below that a process takes longer to begin than it saves."""


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


def pack_in_batches(
    packs: Path,
    batches: Sequence[Sequence[Path]],
    on_batch: Callable[[Packed], None] = lambda _: None,
    *,
    processes: int | None = None,
) -> list[Packed]:
    """Pack each of *batches*, files of loose records, into *packs*; return what became of each.

    Args:
        packs: The folder of packs.
        batches: They have no file in common.
        on_batch: Told of each that is done, from any thread.
        processes: How many to use; None chooses by the work that there is.

    Raises:
        ArchiveError: A pack could not be written; its records stay loose. The other batches are
            finished first.
    """
    if processes is None:
        worth = sum(map(len, batches)) // _WORTH_A_PROCESS
        processes = min(len(batches), os.cpu_count() or 1, _MOST_PROCESSES, worth)
    if processes < 2 or not sys.executable:
        results = []
        for batch in batches:
            results.append(pack_files(packs, batch))
            on_batch(results[-1])
        return results
    done: dict[int, Packed] = {}
    lock = threading.Lock()

    def tell(number: int, packed: Packed) -> None:
        with lock:
            done[number] = packed
            on_batch(packed)

    numbered = list(enumerate(batches))
    with ThreadPoolExecutor(processes) as pool:
        shares = [
            pool.submit(_pack_elsewhere, packs, numbered[first::processes], tell)
            for first in range(processes)
        ]
    for share in shares:
        share.result()
    return [done[number] for number in range(len(batches))]


def pack_files(packs: Path, files: Sequence[Path]) -> Packed:
    """Pack *files* into *packs* in this process, and delete them once the pack is safe.

    Raises:
        ArchiveError: The pack could not be written; the records stay loose.
    """
    batch: list[tuple[Decoded, bytes]] = []
    packed: list[Path] = []
    left: list[tuple[Path, str]] = []
    with paused_collector():
        for path in files:
            try:
                document = path.read_bytes()
                batch.append((decoded(document), document))
            except FileNotFoundError:
                continue  # another process has packed it
            except (OSError, RecordError) as error:
                left.append((path, str(error)))
                continue
            packed.append(path)
        if not batch:
            return Packed(left=tuple(left))
        pack = write_decoded(packs, batch)
    for path in packed:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - Path costs as much again
    return Packed(records=len(packed), pack=pack.path, left=tuple(left))


def _pack_elsewhere(
    packs: Path,
    batches: Sequence[tuple[int, Sequence[Path]]],
    on_batch: Callable[[int, Packed], None],
) -> None:
    """Do :func:`pack_files` for each of *batches* in one other process."""
    source = str(Path(__file__).parents[2])
    search = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH", ""))))
    task = {"packs": str(packs), "batches": [list(map(str, files)) for _, files in batches]}
    with tempfile.TemporaryFile("w+b") as given, tempfile.TemporaryFile("w+b") as said:
        given.write(json.dumps(task).encode())
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "safelight.archive.packing"],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, "PYTHONPATH": search},
        )
        with process:
            for (number, _), line in zip(batches, process.stdout or (), strict=False):
                answer = json.loads(line)
                if "error" in answer:
                    raise ArchiveError(answer["error"])
                on_batch(number, _packed_from(answer))
                batches = batches[1:]
        if batches:
            said.seek(0)
            told = said.read().decode(errors="replace")[-500:].strip()
            raise ArchiveError(
                f"the process that packed ended with {process.returncode}; what it had not packed"
                f" is still loose: {told}"
            )


def _packed_from(answer: Mapping[str, Any]) -> Packed:
    return Packed(
        records=answer["records"],
        pack=Path(answer["pack"]) if answer["pack"] else None,
        left=tuple((Path(path), told) for path, told in answer["left"]),
    )


def _tell(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _main() -> None:
    task = json.load(sys.stdin)
    for files in task["batches"]:
        try:
            done = pack_files(Path(task["packs"]), [Path(file) for file in files])
        except ArchiveError as error:
            _tell({"error": str(error)})
            return
        left = [(str(path), told) for path, told in done.left]
        pack = str(done.pack) if done.pack else None
        _tell({"records": done.records, "pack": pack, "left": left})


if __name__ == "__main__":
    _main()
