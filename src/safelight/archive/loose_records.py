"""loose_records: the records that are in no pack yet, a file each.

What a file is called says nothing but when it was written: whose record it is, it says itself. Of
several records of a run one counts (:mod:`.run_copies`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from safelight.archive.columns import Batch, decoded
from safelight.durable_file import read_regular_file
from safelight.errors import RecordError
from safelight.learning.learning_record import read_document
from safelight.timestamps import read_compact, utc_timestamp

__all__ = ["loose_batch", "loose_documents", "loose_names", "may_hold_copies", "written_at"]


class _Name(msgspec.Struct):
    run_id: str = ""


_OWN_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z_([A-Za-z0-9_-]*)(?:~[0-9a-f]{12}(?:-\d+)?)?\.json")
"""What the writer, or a merge that keeps two records of one name, calls a file."""

_NUMBER = re.compile(r"(?:-\d+)+$")
_name_decoder = msgspec.json.Decoder(_Name)


def loose_names(folder: Path) -> list[str]:
    """Return the names of the files of loose records, oldest first.

    Raises:
        OSError: The folder is there and cannot be listed.
    """
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [name for name in names if name.endswith(".json") and not name.startswith(".")]


def may_hold_copies(folder: Path) -> bool:
    """Return whether there may be several records of one run, as far as their names tell.

    Raises:
        OSError: The folder is there and cannot be listed.
    """
    runs: set[str] = set()
    for name in loose_names(folder):
        own = _OWN_NAME.fullmatch(name)
        run = None if own is None else _NUMBER.sub("", own[1])
        if run is None or run in runs:
            return True
        runs.add(run)
    return False


def written_at(path: str) -> str:
    """Return when the record in *path* was written: as its name tells, else as the disk does."""
    moment = read_compact(os.path.basename(path))  # noqa: PTH119 - as in packing
    if moment is not None:
        return moment
    try:
        seconds = os.stat(path).st_mtime  # noqa: PTH116
        return utc_timestamp(datetime.fromtimestamp(seconds, UTC))
    except (OSError, ValueError, OverflowError):
        return utc_timestamp()


def loose_batch(folder: Path) -> tuple[Batch, dict[Path, str]]:
    """Return the loose records as rows, and path -> why for those that cannot be used.

    Raises:
        OSError: The folder is there and cannot be listed.
    """
    batch = Batch()
    trouble: dict[Path, str] = {}
    for name in loose_names(folder):
        path = folder / name
        try:
            record = decoded(read_regular_file(path))
        except FileNotFoundError:
            continue  # packed under our eyes
        except (OSError, RecordError) as error:
            trouble[path] = str(error)
            continue
        batch.add(record, partial(written_at, str(path)))
    return batch, trouble


def loose_documents(
    folder: Path, run_ids: Iterable[str] = (), *, prefix: str = ""
) -> Iterator[tuple[str, bytes]]:
    """Yield (run_id, document) of the runs in *run_ids*, and of those that begin with *prefix*.

    Only what is whole. Files that are named as the writer names them are looked at when they are
    named after the runs that are asked for, and the others of them only where that was not enough.
    """
    wanted, read = set(run_ids), set[str]()

    def asked(run_id: str) -> bool:
        return run_id in wanted or (bool(prefix) and run_id.startswith(prefix))

    likely: list[str] = []
    others: list[str] = []
    for name in loose_names(folder):
        own = _OWN_NAME.fullmatch(name)
        is_likely = own is None or asked(own[1]) or asked(_NUMBER.sub("", own[1]))
        (likely if is_likely else others).append(name)
    for number, name in enumerate((*likely, *others)):
        if number == len(likely) and (read >= wanted if wanted else read):
            return
        try:
            document = read_regular_file(folder / name)
            run_id = _name_decoder.decode(document).run_id
            if asked(run_id):
                read_document(document)
                read.add(run_id)
                yield run_id, document
        except (OSError, ValueError, RecursionError, RecordError):
            continue  # told by whoever reads all of them
