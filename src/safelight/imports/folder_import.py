"""folder_import: folders of pictures -> records in an archive, again and again without doubles.

The files are read in worker processes and become packs of the archive, written whole. A picture
is known by its bytes, so that one that was moved, renamed or imported elsewhere stays the same
picture with the same ratings; an import that was killed goes on where it was.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safelight.archive import Archive
from safelight.archive.places import read_places
from safelight.archive_layout import imports_folder
from safelight.errors import StorageError
from safelight.escaped_output import escape_standard_streams
from safelight.imports.import_log import ImportLog
from safelight.imports.imported_picture import (
    ImportedPicture,
    import_picture,
    shown_path,
)
from safelight.imports.picture_walk import walk_pictures
from safelight.learning.learning_record import LearningRecord
from safelight.learning.ratings import RatingEvent

__all__ = ["ImportFault", "ImportSummary", "import_folders", "mend_places"]

_TOGETHER = 32
_RECORDS_HELD = 2000
"""Records that are held at once."""

_PER_PACK = 16_384
_PACK_BYTES = 128 * 2**20
_LOOSE = 64
_MOST_FAULTS = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImportFault:
    """A file or folder that could not be read, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class ImportSummary:
    """What an import did.

    Attributes:
        files: Pictures that were met.
        unchanged: Of these, not read again: same place, size and time as before.
        known: Read, and already in the archive: moved, renamed, copied or drawn by safelight.
        imported: New records.
        read: Generator -> outcome -> pictures, of the new ones; the generator is empty where
            nothing says who made a picture.
        missing: Generator -> what was not read (``model unresolved``) -> pictures.
        ratings: Ratings of other programs that were found.
        faults: What could not be read, the first thousand.
        fault_count: How many there were.
        seconds: How long it took.
    """

    files: int = 0
    unchanged: int = 0
    known: int = 0
    imported: int = 0
    read: dict[str, Counter[str]] = field(default_factory=dict)
    missing: dict[str, Counter[str]] = field(default_factory=dict)
    ratings: int = 0
    faults: list[ImportFault] = field(default_factory=list)
    fault_count: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "files": self.files, "unchanged": self.unchanged, "known": self.known,
            "imported": self.imported, "ratings": self.ratings,
            "read": {name: dict(counts) for name, counts in sorted(self.read.items())},
            "missing": {name: dict(counts) for name, counts in sorted(self.missing.items())},
            "faults": [{"path": shown_path(f.path), "told": f.reason} for f in self.faults],
            "fault_count": self.fault_count, "seconds": round(self.seconds, 3),
        }  # fmt: skip


def import_folders(
    folders: Sequence[Path | str],
    archive: Archive,
    *,
    jobs: int = 1,
    again: bool = False,
    rater: str = "",
    on_progress: Callable[[ImportSummary], None] = lambda _summary: None,
) -> ImportSummary:
    """Import every picture below *folders* that the archive does not have yet.

    Nothing of the user's is written, moved or deleted. What cannot be read is told in the
    summary and does not stop the rest.

    Args:
        folders: Folders, or picture files.
        archive: Where the records and ratings go.
        jobs: Processes that read; 1 reads in this one.
        again: Read files also when they are unchanged since the last import.
        rater: Whose the ratings found in pictures are.
        on_progress: Told about every few pictures.

    Raises:
        StorageError: The archive cannot be written; what was imported before stays.
        ArchiveError: The same, told by the archive.
    """
    began = time.monotonic()
    work = _Import(archive, again=again, rater=rater)
    try:
        work.run(folders, jobs, on_progress)
    except OSError as error:
        raise StorageError(f"the archive {archive.path} cannot be written: {error}") from error
    finally:
        work.close()
    work.summary.seconds = time.monotonic() - began
    on_progress(work.summary)
    return work.summary


class _Import:
    def __init__(self, archive: Archive, *, again: bool, rater: str) -> None:
        self.summary = ImportSummary()
        self._archive = archive
        self._folder = os.path.abspath(archive.path)
        self._log = ImportLog(imports_folder(archive.path))
        self._seen = None if again else self._log.seen()
        self._known = _KnownPictures(archive)
        self._rater = rater
        self._waiting: list[ImportedPicture] = []
        self._moved: list[ImportedPicture] = []
        self._bytes = 0
        self._ratings = archive.ratings()

    def run(
        self, folders: Sequence[Path | str], jobs: int,
        on_progress: Callable[[ImportSummary], None],
    ) -> None:  # fmt: skip
        files = self._unread(folders)
        for batch in _read_all(files, self._folder, self._rater, jobs):
            for picture in batch:
                self._take(picture)
            if len(self._waiting) + len(self._moved) >= _PER_PACK or self._bytes > _PACK_BYTES:
                self._keep()
            on_progress(self.summary)
        self._keep()

    def _unread(self, folders: Sequence[Path | str]) -> Iterator[str]:
        for path, size, modified in walk_pictures(
            folders, without=self._archive.path, on_fault=self._fault
        ):
            self.summary.files += 1
            place = (shown_path(path, self._folder), size, modified)
            if self._seen is not None and place in self._seen:
                self.summary.unchanged += 1
            else:
                yield path

    def _fault(self, path: str, reason: str) -> None:
        self.summary.fault_count += 1
        if len(self.summary.faults) < _MOST_FAULTS:
            self.summary.faults.append(ImportFault(path, reason))

    def _take(self, picture: ImportedPicture) -> None:
        if picture.fault:
            self._fault(picture.path, picture.fault)
            return
        if self._known.add(picture.sha256):
            self._waiting.append(picture)
            self._bytes += len(picture.document)
        else:
            self._moved.append(picture)

    def _keep(self) -> None:
        """Put what is waiting into the archive, then say so in the log."""
        new, moved = self._waiting, self._moved
        if len(new) < _LOOSE:
            with self._archive.writer() as writer:
                for picture in new:
                    writer.write(LearningRecord.from_json(picture.document))
                writer.close()
                if writer.pending:
                    raise OSError("records could not be written; see the log for the cause")
        else:
            self._archive.add_pack([picture.document for picture in new])
        events = [
            RatingEvent.from_json(line) for picture in (*new, *moved) for line in picture.events
        ]
        if events:
            self._ratings.add(*events)
        # Who comes upon a copy knows of one more; only one that has gone from its place was moved.
        gone = _gone(self._archive, [picture.sha256 for picture in moved])
        self._log.add_places(
            (picture.sha256, shown_path(picture.path, self._folder))
            for picture in moved
            if picture.sha256 in gone
        )
        self._log.add_seen(
            (shown_path(picture.path, self._folder), picture.size, picture.modified, picture.sha256)
            for picture in (*new, *moved)
        )
        for picture in new:
            name = picture.generator
            self.summary.read.setdefault(name, Counter())[picture.outcome] += 1
            self.summary.missing.setdefault(name, Counter()).update(picture.missing)
        self.summary.imported += len(new)
        self.summary.known += len(moved)
        self.summary.ratings += len(events)
        self._waiting, self._moved, self._bytes = [], [], 0

    def close(self) -> None:
        self._ratings.close()
        self._log.close()


def _gone(archive: Archive, pictures: Sequence[str]) -> set[str]:
    """Return those of *pictures*, SHA-256, that are not where the archive knows them."""
    if not pictures:
        return set()
    rows = archive.rows(
        "SELECT sha256, path FROM run_images WHERE path IS NOT NULL"
        " AND sha256 IN (SELECT unnest(?::VARCHAR[]))",
        [list(pictures)],
        rated=False,
    )
    there = {sha256 for sha256, path in rows if os.path.isfile(archive.path / path)}
    return {sha256 for sha256, _ in rows} - there


def mend_places(archive: Archive) -> int:
    """Let pictures be where their records say, where they are there and not where they moved.

    Returns:
        How many were found again.

    Raises:
        ArchiveError: The archive cannot be read.
        StorageError: It cannot be written.
    """
    moved = read_places(imports_folder(archive.path))
    lost = [sha256 for sha256, path in moved.items() if not os.path.isfile(archive.path / path)]
    if not lost:
        return 0
    rows = archive.rows(
        "SELECT DISTINCT run_id FROM run_images WHERE sha256 IN (SELECT unnest(?::VARCHAR[]))",
        [lost],
        rated=False,
    )
    places = {
        output.sha256: output.path
        for start in range(0, len(rows), _RECORDS_HELD)
        for record in archive.records(run_id for (run_id,) in rows[start:][:_RECORDS_HELD])
        for output in record.outputs
        if output.path is not None and os.path.isfile(archive.path / output.path)
    }
    mended = [(sha256, places[sha256]) for sha256 in lost if sha256 in places]
    log = ImportLog(imports_folder(archive.path))
    try:
        log.add_places(mended)
    except OSError as error:
        raise StorageError(f"the archive {archive.path} cannot be written: {error}") from error
    finally:
        log.close()
    return len(mended)


class _KnownPictures:
    """The pictures in an archive, by the first eight bytes of their hash: flat in memory."""

    def __init__(self, archive: Archive) -> None:
        self._old = archive.picture_keys()
        self._new: set[int] = set()

    def add(self, sha256: str) -> bool:
        """Take a picture in; False when it was there."""
        import numpy as np

        key = int(sha256[:16], 16)
        place = int(np.searchsorted(self._old, np.uint64(key)))
        if key in self._new or (place < len(self._old) and int(self._old[place]) == key):
            return False
        self._new.add(key)
        return True


def _read_all(
    paths: Iterable[str], archive: str, rater: str, jobs: int
) -> Iterator[list[ImportedPicture]]:
    """Yield batches of pictures in the order of *paths*, never far ahead of who takes them."""
    batches = _batches(paths)
    if jobs <= 1:
        for batch in batches:
            yield _read_batch(batch, archive, rater)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_become_worker) as pool:
        running: deque[Future[list[ImportedPicture]]] = deque()
        try:
            for batch in batches:
                running.append(pool.submit(_read_batch, batch, archive, rater))
                if len(running) >= jobs * 4:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for path in paths:
        batch.append(path)
        if len(batch) == _TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_batch(paths: list[str], archive: str, rater: str) -> list[ImportedPicture]:
    return [import_picture(path, archive, rater) for path in paths]


def _become_worker() -> None:
    """Make this process a worker: it ends with its parent, and what it says steers no terminal.

    A killed parent cannot tell its workers, which would wait for work for ever.
    """
    escape_standard_streams()
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
