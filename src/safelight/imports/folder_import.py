"""folder_import: folders of pictures -> records in an archive, again and again without doubles.

The files are read in worker processes and become packs of the archive, written whole; what was
read meanwhile is kept in a journal, so that an import that was killed goes on where it was. Which
picture a file is, :mod:`.known_pictures` decides: one that was moved, renamed, imported elsewhere
or given other texts stays the same picture with the same ratings.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from safelight.archive import Archive
from safelight.archive.places import read_places
from safelight.archive_layout import imports_folder, picture_file
from safelight.durable_file import remove_file
from safelight.errors import RequestError, StorageError
from safelight.imports.import_accounts import MOST_FAULTS_KEPT
from safelight.imports.import_journal import ImportJournal, left_behind
from safelight.imports.import_log import ImportLog, SeenFiles, path_key
from safelight.imports.imported_picture import ImportedPicture, import_picture, shown_path
from safelight.imports.known_pictures import KnownPictures, Settled, settle
from safelight.imports.missing_pictures import (
    MetFiles,
    note_missing,
    note_replaced,
    places_of_missing,
    still_missing,
)
from safelight.imports.picture_walk import WalkNotes, walk_pictures
from safelight.imports.rating_links import link_ratings, unrepeated
from safelight.imports.remembered_walks import RememberedWalks
from safelight.imports.spool_import import SpoolImport
from safelight.imports.spools import SPOOL_FOLDER, is_spool
from safelight.imports.worker_processes import read_files
from safelight.learning.ratings import RatingEvent
from safelight.timestamps import utc_timestamp

__all__ = ["ComingPictures", "ImportFault", "ImportSummary", "import_folders", "mend_places"]

_RECORDS_HELD = 2000
"""Records that are held at once."""

_PER_PACK = 896
"""Pictures of a pack: they are held in memory until it is written, and found from then on.

Each hundred more take 2 MB more; half as many packs are asked 3 ms faster each.
"""

_PACK_BYTES = 128 * 2**20
_LOOSE = 64
_SETTLED_TOGETHER = 2000
_TOLD_EACH = 500
"""Pictures, also unchanged ones, that are met between two words of progress."""

_MANY = 200
"""Files that come at once for which it pays to start processes that read."""

_MOST_FAULTS = 1000
_MOST_TWINS = 100


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
        opened: Of these, read until now, whatever came of it.
        unchanged: Of these, not read again: same place, size and time as before.
        known: Read, and already in the archive: moved, renamed, copied or drawn by safelight.
        imported: New pictures.
        superseded: Known pictures that say something else now, or are understood otherwise.
        changes: Knob -> what became of it (``now read``, ``no more read``, ``changed``) ->
            pictures, of those.
        twins: New pictures with the image data of another one, and other settings.
        twin_places: Where some of them lie.
        taken_in: Pictures that an import which was killed had read.
        gone: Pictures that are not where they were; see :func:`.missing_pictures.note_missing`.
        other_kinds: Kind -> files that were met and are not read.
        passed_over: Folders that are the archive itself, or of what was discarded.
        read: Generator -> outcome -> pictures, of the new ones; the generator is empty where
            nothing says who made a picture.
        missing: Generator -> what was not read (``model unresolved``) -> pictures.
        ratings: Ratings of other programs that were found.
        lines: Lines of spools that were read: executions that tools tell of.
        failed: New records of executions that failed.
        cancelled: New records of executions that were cancelled.
        alone: New records of executions that left no picture of their own.
        faults: What could not be read, the first thousand.
        fault_count: How many there were.
        stopped: Whether it was asked to stop before it was through; importing again goes on.
        seconds: How long it took.
    """

    files: int = 0
    opened: int = 0
    unchanged: int = 0
    known: int = 0
    imported: int = 0
    superseded: int = 0
    changes: dict[str, Counter[str]] = field(default_factory=dict)
    twins: int = 0
    twin_places: list[str] = field(default_factory=list)
    taken_in: int = 0
    gone: int = 0
    other_kinds: Counter[str] = field(default_factory=Counter)
    passed_over: list[str] = field(default_factory=list)
    read: dict[str, Counter[str]] = field(default_factory=dict)
    missing: dict[str, Counter[str]] = field(default_factory=dict)
    ratings: int = 0
    lines: int = 0
    failed: int = 0
    cancelled: int = 0
    alone: int = 0
    faults: list[ImportFault] = field(default_factory=list)
    fault_count: int = 0
    stopped: bool = False
    seconds: float = 0.0

    def add(self, other: ImportSummary) -> None:
        """Count what another one did as done by this one."""
        for each in fields(self):
            mine, more = getattr(self, each.name), getattr(other, each.name)
            if each.name in ("read", "missing", "changes"):
                for name, counts in more.items():
                    mine.setdefault(name, Counter()).update(counts)
            elif isinstance(mine, Counter):
                mine.update(more)
            elif isinstance(mine, list):
                mine += more[: max(0, _MOST_FAULTS - len(mine))]
            else:
                setattr(self, each.name, mine + more)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "files": self.files, "opened": self.opened, "unchanged": self.unchanged,
            "known": self.known, "imported": self.imported, "superseded": self.superseded,
            "changes": {knob: dict(counts) for knob, counts in sorted(self.changes.items())},
            "twins": self.twins, "twin_places": self.twin_places, "taken_in": self.taken_in,
            "gone": self.gone, "other_kinds": dict(sorted(self.other_kinds.items())),
            "passed_over": self.passed_over, "ratings": self.ratings, "lines": self.lines,
            "failed": self.failed, "cancelled": self.cancelled, "alone": self.alone,
            "read": {name: dict(counts) for name, counts in sorted(self.read.items())},
            "missing": {name: dict(counts) for name, counts in sorted(self.missing.items())},
            "faults": [{"path": shown_path(f.path), "told": f.reason} for f in self.faults],
            "fault_count": self.fault_count, "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


def import_folders(
    folders: Sequence[Path | str],
    archive: Archive,
    *,
    jobs: int = 1,
    again: bool = False,
    rater: str = "",
    on_progress: Callable[[ImportSummary], None] = lambda _summary: None,
    stop: Callable[[], bool] = lambda: False,
) -> ImportSummary:
    """Import every picture below *folders* that the archive does not have yet, or not as it is now.

    So are the executions that tools tell of in spools there (:mod:`.spool_import`). Nothing of the
    user's is written, moved or deleted; beside a spool stands how far it was read. What cannot be
    read is told in the summary and does not stop the rest.

    Args:
        folders: Folders, picture files, or spools and files of some.
        archive: Where the records and ratings go.
        jobs: Processes that read; 1 reads in this one.
        again: Read files also when they are unchanged since the last import; what they say counts
            where it differs from before, or the reader is newer.
        rater: Whose the ratings found in pictures are.
        on_progress: Told about every few pictures.
        stop: Asked at every picture whether to read no more; what was read is kept.

    Raises:
        StorageError: The archive cannot be written; what was imported before stays.
        ArchiveError: The same, told by the archive.
        RequestError: No process that reads can be started.
    """
    began = time.monotonic()
    work = _Import(archive, again=again, rater=rater, stop=stop)
    try:
        work.run(folders, jobs, on_progress)
    except OSError as error:
        raise StorageError(
            f"the archive {archive.path} cannot be written: {error}; the pictures are as they were,"
            " and importing again goes on"
        ) from error
    except (KeyboardInterrupt, RequestError):
        work.keep_all()
        raise
    else:
        work.summary.seconds = time.monotonic() - began
        work.account_for(ended=True)
        work.remember()
    finally:
        work.close()
    on_progress(work.summary)
    return work.summary


class ComingPictures:
    """What comes to some folders, taken into an archive a few files at a time: one import.

    Args:
        folders: Where it comes from, for the account of the import, and for what lines of spools
            may name.
        archive: Where the records and ratings go.
        jobs: Processes that read where many come at once.
        rater: Whose the ratings found in pictures are.
        stop: Asked at every line of a spool whether to read no more.
    """

    def __init__(
        self, folders: Sequence[Path | str], archive: Archive, *, jobs: int = 1, rater: str = "",
        stop: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._work = _Import(archive, again=False, rater=rater, stop=stop)
        self._work.begin_as_they_come(folders)
        self._jobs = jobs
        self._total = ImportSummary()

    def take(
        self, paths: Sequence[str], spools: Sequence[str] = (), *, cut: Set[str] = frozenset()
    ) -> tuple[ImportSummary, list[str]]:
        """Take in some pictures, and what is new in some spools.

        Args:
            paths: Of files that have come, or are others now.
            spools: Folders or files.
            cut: Those of *paths* that are taken although they end before their picture does.

        Returns:
            What came of it, and the paths that were not taken because they are not whole yet.

        Raises:
            StorageError: The archive cannot be written; the next call goes on.
            ArchiveError: The same, told by the archive.
        """
        work = self._work
        work.summary = ImportSummary()
        try:
            unfinished = work.take_few(paths, spools, self._jobs, cut)
        except OSError as error:
            raise StorageError(f"the archive {work.archive.path} cannot be written: {error}") from (
                error
            )
        finally:
            self._total.add(work.summary)
        return work.summary, unfinished

    def has_news(self, spools: Sequence[str]) -> bool:
        """Return whether some spools hold more than was read."""
        return self._work.has_news(spools)

    @property
    def waiting(self) -> frozenset[str]:
        """Files of spools of which some lines were left for a little later."""
        return self._work.waiting

    @property
    def told_files(self) -> Mapping[str, tuple[int, int]]:
        """Pictures that lines of the last call told of: path -> bytes, and when it was written."""
        return self._work.told_files

    def close(self) -> None:
        """Put what was read into the archive, and say what this import did.

        Raises:
            StorageError: The archive cannot be written; what was read is in a journal.
            ArchiveError: The same, told by the archive.
        """
        work = self._work
        work.summary = self._total
        try:
            work.keep_all()
            work.account_for(ended=True)
        except OSError as error:
            raise StorageError(f"the archive {work.archive.path} cannot be written: {error}") from (
                error
            )
        finally:
            work.close()


class _Any:
    """Stands for the pictures of an archive that is asked about each file that comes.

    To know all of them takes seconds where there are a million.
    """

    unsure: frozenset[int] = frozenset()
    some_gone = False

    @property
    def places(self) -> _Any:
        """Any place may be that of a picture."""
        return self

    def __contains__(self, key: object) -> bool:
        return True

    def add(self, _picture: ImportedPicture) -> bool:
        """Any picture may be there."""
        return False


class _Import:
    def __init__(
        self, archive: Archive, *, again: bool, rater: str, stop: Callable[[], bool]
    ) -> None:
        self.summary = ImportSummary()
        self.archive = self._archive = archive
        self._stop = stop
        self._folder = os.path.abspath(archive.path)
        self._log = ImportLog(imports_folder(archive.path))
        self._journal = ImportJournal(imports_folder(archive.path), self._log.stem)
        self._again, self._rater = again, rater
        self._walks = RememberedWalks(archive.path)  # before the archive is asked anything
        self._asked: list[str] = []
        self._walked: list[str] = []
        self._met: str | None = None
        self._is_open = False
        self._written: list[Path] = []
        self._waiting: list[ImportedPicture] = []
        self._unsettled: list[ImportedPicture] = []
        self._decided: list[Settled] = []
        self._linked: dict[str, str] = {}
        self._seen: SeenFiles
        self._known: KnownPictures | _Any
        self._gone = set[str]()
        self._bytes = 0
        self._ratings = archive.ratings()
        self._began, self._folders = utc_timestamp(), list[str]()
        self._has_account = False
        self._told: set[str] = set()
        self._by_lines: set[int] = set()  # what lines told of before the walk met it
        self.told_files: dict[str, tuple[int, int]] = {}
        self._spools = SpoolImport(
            archive, self._log, rater=rater, take=self._take, keep=self._keep_told,
            before_writing=self._begin_account, fault=self._fault,
        )  # fmt: skip

    def run(
        self, folders: Sequence[Path | str], jobs: int,
        on_progress: Callable[[ImportSummary], None],
    ) -> None:  # fmt: skip
        self._ask(folders)
        spools = [
            each if is_spool(each) else os.path.join(each, SPOOL_FOLDER) for each in self._asked
        ]
        if not (self._again or self._spools.has_news(spools)) and self._is_as_it_was():
            return
        known = self._known = KnownPictures(self._archive)
        self._take_in_what_was_left()
        self._take_lines(spools)
        read = partial(import_picture, archive=self._folder, rater=self._rater)
        notes, met = WalkNotes(), MetFiles()
        files = self._unread(notes, met, on_progress)
        with contextlib.closing(read_files(files, read, jobs, _died)) as batches:
            for batch in batches:
                for picture in batch:
                    self._take(picture)
                self.summary.opened += len(batch)
                waiting = len(self._waiting) + len(self._unsettled)
                if waiting >= _PER_PACK or self._bytes > _PACK_BYTES:
                    self._keep()
                on_progress(self.summary)
        self.keep_all()
        self._take_lines(notes.spools)
        self.summary.other_kinds, self.summary.passed_over = notes.other_kinds, notes.passed_over
        if self.summary.stopped:  # what was not met may be there
            return
        # Of the places that were there when this began; what came since was met.
        if not met.all_of(known.places):
            missing = note_missing(self._archive, self._log, notes.walked, met)
            self._gone |= missing.gone
            self._is_open |= missing.passed_over > 0
        if self._gone or known.some_gone:
            self._find_again(met)
            self.summary.gone = still_missing(self._archive, self._gone)
        if not (self._is_open or self.summary.fault_count):
            self._met = notes.met.hexdigest()

    def begin_as_they_come(self, folders: Sequence[Path | str]) -> None:
        """Begin an import of files that are named as they come."""
        self._ask(folders)
        self._known = _Any()

    def has_news(self, spools: Sequence[str]) -> bool:
        """Return whether some spools hold more than was read."""
        return self._spools.has_news(spools)

    @property
    def waiting(self) -> frozenset[str]:
        """Files of spools of which some lines were left for a little later."""
        return frozenset(self._spools.waiting)

    def take_few(
        self, paths: Sequence[str], spools: Sequence[str], jobs: int, cut: Set[str]
    ) -> list[str]:
        """Take in some files and lines; return which files are not whole yet, those of *cut* not.

        Arguments as those of :meth:`ComingPictures.take`.
        """
        self.told_files.clear()
        self._by_lines.clear()  # nothing is walked
        self._take_lines(spools)
        paths = [path for path in paths if path not in self.told_files]
        read = partial(import_picture, archive=self._folder, rater=self._rater)
        unfinished: list[str] = []
        several = jobs if len(paths) >= _MANY else 1
        with contextlib.closing(read_files(paths, read, several, _died)) as batches:
            for batch in batches:
                for picture in batch:
                    if picture.fault or picture.image_sha256 or picture.path in cut:
                        self._take(picture)
                    else:
                        unfinished.append(picture.path)
                self.summary.files += len(batch)
                self.summary.opened += len(batch)
                if len(self._unsettled) >= _PER_PACK or self._bytes > _PACK_BYTES:
                    self._keep()
        self._keep_read()
        if self._linked:
            self.keep_all()
        return unfinished

    def _ask(self, folders: Sequence[Path | str]) -> None:
        self._asked = [os.path.abspath(each) for each in folders]
        self._walked = [each for each in self._asked if not is_spool(each)]
        self._folders = [shown_path(each, self._folder) for each in self._asked]

    def _take_lines(self, spools: Sequence[str]) -> None:
        """Read what is new in some spools."""
        reading, summary = self._spools, self.summary
        before = reading.lines, reading.failed, reading.cancelled, reading.alone
        reading.take_in(spools, self._walked, self._stop)
        now = reading.lines, reading.failed, reading.cancelled, reading.alone
        lines, failed, cancelled, alone = (n - b for n, b in zip(now, before, strict=True))
        summary.lines += lines
        summary.failed += failed
        summary.cancelled += cancelled
        summary.alone += alone

    def _keep_told(self) -> set[str]:
        """Put all that was read into the archive; return which executions its new records tell."""
        self._told = set()
        self._keep_read()
        return self._told

    def _find_again(self, met: MetFiles) -> None:
        """Read what else the walk met of pictures that are gone."""
        back, elsewhere = places_of_missing(self._archive, self._log, met)
        self._is_open |= bool(back or elsewhere)  # what takes their places may be missing now
        self._log.add_places((sha256, place) for place, sha256 in back.items())
        self._gone |= note_replaced(self._archive, self._log, back)
        for place in elsewhere:
            path = os.fspath(picture_file(Path(self._folder), place))
            picture = import_picture(path, archive=self._folder, rater=self._rater)
            if picture.fault:
                continue
            if self._is_unchanged(place, picture.size, picture.modified, picture.changed):
                self.summary.unchanged -= path_key(place) not in self._by_lines
            else:
                self.summary.known -= 1
            self._take(picture)
        self.keep_all()

    def _is_as_it_was(self) -> bool:
        """Walk, and return whether that met exactly what all is in the archive of."""
        last = self._walks.of(self._asked)
        if last is None:
            return False
        notes, faults = WalkNotes(), list[str]()
        files = sum(1 for _ in walk_pictures(
            self._walked, without=self._archive.path, notes=notes,
            on_fault=lambda path, _: faults.append(path),
        ))  # fmt: skip
        if faults or notes.met.hexdigest() != last or self._spools.has_news(notes.spools):
            return False
        self.summary.files = self.summary.unchanged = files
        self.summary.other_kinds, self.summary.passed_over = notes.other_kinds, notes.passed_over
        self._met = last
        return True

    def remember(self) -> None:
        """Remember what was met, if all of it is in the archive.

        Another walk may have met a picture that this one misses: that one is to look for it.
        """
        if self._gone:
            self._walks.forget()
        rated = [] if self._ratings.segment is None else [self._ratings.segment]
        written = [*self._written, *self._log.files, *rated]
        self._walks.remember(self._asked, self._met, written)

    def _take_in_what_was_left(self) -> None:
        """Take in what an import that was killed had read."""
        for path, pictures in left_behind(imports_folder(self._archive.path)):
            for picture in pictures:
                self._take(picture)
            self.keep_all()
            self.summary.taken_in += len(pictures)
            remove_file(path, missing_ok=True)

    def _unread(
        self, notes: WalkNotes, met: MetFiles, on_progress: Callable[[ImportSummary], None]
    ) -> Iterator[str]:
        self._seen = self._log.seen()
        for path, size, written, changed in walk_pictures(
            self._walked, without=self._archive.path, on_fault=self._fault, notes=notes
        ):
            if self._stop():
                self.summary.stopped = True
                return
            self.summary.files += 1
            if not self.summary.files % _TOLD_EACH:
                on_progress(self.summary)
            place = shown_path(path, self._folder)
            key = path_key(place)
            met.add(key)
            if self._is_unchanged(place, size, written, changed):
                self.summary.unchanged += key not in self._by_lines
            else:
                yield path

    def _is_unchanged(self, place: str, size: int, modified: int, changed: int) -> bool:
        """Return whether a file need not be read."""
        was_seen = (place, size, modified, changed) in self._seen
        return was_seen and not self._again and path_key(place) not in self._known.unsure

    def _fault(self, path: str, reason: str) -> None:
        self.summary.fault_count += 1
        if len(self.summary.faults) < _MOST_FAULTS:
            self.summary.faults.append(ImportFault(path, reason))

    def _take(self, picture: ImportedPicture) -> None:
        if picture.fault:
            self._fault(picture.path, picture.fault)
            return
        says_nothing = picture.outcome == "none" and not picture.told_by
        told = self._spools.pixels.told_of(picture) if says_nothing else None
        if told is not None:
            picture = import_picture(
                picture.path, archive=self._folder, rater=self._rater, told=told
            )
        if picture.told_by and picture.image_sha256 and isinstance(self._known, _Any):
            self.told_files[picture.path] = picture.size, picture.modified
        picture = replace(picture, path=shown_path(picture.path, self._folder))
        self._is_open |= not picture.image_sha256
        self._journal.add(picture)
        is_new = self._known.add(picture)
        (self._waiting if is_new else self._unsettled).append(picture)
        self._bytes += len(picture.document)

    def keep_all(self) -> None:
        """Put all that was read into the archive, and join what was said before to it."""
        self._keep_read()
        link_ratings(self._archive, self._ratings, self._linked)
        self._linked.clear()

    def _keep_read(self) -> None:
        while self._waiting or self._unsettled:
            self._keep()

    def _keep(self) -> None:
        """Put what is waiting into the archive, say so in the log, and settle what may be known."""
        self._write()
        unsettled, self._unsettled, self._bytes = self._unsettled, [], 0
        decided: set[object] = set()
        for start in range(0, len(unsettled), _SETTLED_TOGETHER):
            some = unsettled[start : start + _SETTLED_TOGETHER]
            known: list[Settled] = []
            for settled in settle(self._archive, some, decided, again=self._again):
                if isinstance(settled, ImportedPicture):
                    self._unsettled.append(settled)
                elif settled.what == "known":
                    known.append(settled)
                else:
                    self._decided.append(settled)
                    self._waiting.append(settled.picture)
            self._keep_known(known)
        self._journal.begin_anew([*self._waiting, *self._unsettled])

    def account_for(self, *, ended: bool) -> None:
        """Say what this import did; nothing where it changed nothing and met no fault."""
        if ended and not (self._has_account or self.summary.fault_count or self.summary.gone):
            return
        self._has_account = True
        told = self.summary.to_dict() if ended else {}
        if ended:
            told["faults"] = told["faults"][:MOST_FAULTS_KEPT]
        self._log.add_account({
            "began": self._began, "ended": utc_timestamp() if ended else "",
            "folders": self._folders, "summary": told,
        })  # fmt: skip

    def _write(self) -> None:
        new = self._waiting
        if new:
            self._begin_account()
        documents = [picture.document for picture in new]
        if len(new) < _LOOSE:
            self._written += self._archive.add_loose(documents)
        else:
            self._written.append(self._archive.add_pack(documents))
        decided = {id(settled.picture): settled for settled in self._decided}
        for picture in new:
            self._count(picture, decided.get(id(picture)))
        self._rate(new, decided)
        self._note_seen(new, [picture.sha256 for picture in new])
        told = [picture for picture in new if picture.told_by]
        self._told |= {picture.told_by for picture in told}
        self._by_lines |= {path_key(picture.path) for picture in told}
        self._waiting, self._decided = [], []

    def _begin_account(self) -> None:
        if not self._has_account:
            self.account_for(ended=False)

    def _count(self, picture: ImportedPicture, settled: Settled | None) -> None:
        summary = self.summary
        if settled is not None and settled.what == "superseding":
            summary.superseded += 1
            for knob, how in settled.changes:
                summary.changes.setdefault(knob, Counter())[how] += 1
            if picture.image_sha256:
                self._linked[settled.sha256] = picture.image_sha256
            return
        if settled is not None and settled.what == "twin":
            summary.twins += 1
            if len(summary.twin_places) < _MOST_TWINS:
                summary.twin_places.append(picture.path)
        summary.imported += 1
        summary.read.setdefault(picture.generator, Counter())[picture.outcome] += 1
        summary.missing.setdefault(picture.generator, Counter()).update(picture.missing)

    def _keep_known(self, known: Sequence[Settled]) -> None:
        # Who comes upon a copy knows of one more; only one that has gone from its place was moved.
        self._log.add_places((s.sha256, s.picture.path) for s in known if s.is_gone)
        pictures = [settled.picture for settled in known]
        self._rate(pictures, {id(s.picture): s for s in known})
        self._note_seen(pictures, [settled.sha256 for settled in known])
        self.summary.known += len(known)

    def _rate(self, pictures: Sequence[ImportedPicture], decided: dict[int, Settled]) -> None:
        again = [p for p in pictures if p.events and id(p) in decided]
        first = [p for p in pictures if p.events and id(p) not in decided]
        events = [RatingEvent.from_json(line) for p in first for line in p.events]
        if again:
            said = [RatingEvent.from_json(line) for p in again for line in p.events]
            link_ratings(self._archive, self._ratings, self._linked)
            events += unrepeated(self._ratings, said)
        if events:
            self._ratings.add(*events)
        self.summary.ratings += len(events)

    def _note_seen(self, read: Sequence[ImportedPicture], known_by: Sequence[str]) -> None:
        """Note which files need not be read again, and what lay in their places before."""
        at_home = {p.path: p.sha256 for p in read if path_key(p.path) in self._known.places}
        if at_home:
            self._gone |= note_replaced(self._archive, self._log, at_home)
        self._log.add_seen(
            (p.path, p.size, p.modified, p.changed, sha256)
            for p, sha256 in zip(read, known_by, strict=True)
        )

    def close(self) -> None:
        self._ratings.close()
        self._journal.close()
        self._log.close()


def _died(path: str, reason: str) -> ImportedPicture:
    return ImportedPicture(path=path, fault=reason)


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
