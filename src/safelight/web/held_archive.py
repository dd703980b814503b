"""HeldArchive: an archive whose database stays open between questions.

Opening it costs a look at every loose record and rating; a page that asks several times a
second cannot pay that each time. What changed on the disk is noticed by the folders' times and
the rating segments' sizes: records are read anew at once, ratings for a fifth of the time at
most, because while people rate they change all the time.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from safelight.application.live_runs import record_so_far
from safelight.archive import Answer, Archive, Fault
from safelight.archive.answer import columns_of_view
from safelight.archive.chosen_pictures import ChosenPictures
from safelight.archive.columns import RATINGS
from safelight.archive.pictures_in_memory import PicturesInMemory
from safelight.archive.running_runs import running_names
from safelight.archive.search import fetched_rows
from safelight.archive.varied_settings import MAY_VARY, varied_settings
from safelight.archive_layout import (
    JOURNAL_NAME,
    imports_folder,
    marked_folder,
    packs_folder,
    ratings_folder,
    records_folder,
    running_folder,
)
from safelight.errors import ArchiveError, RecordError, SafelightError
from safelight.filters import Filter, compile_filter
from safelight.learning.learning_record import LearningRecord, read_document
from safelight.learning.ratings.rating_event import LARGE
from safelight.operating_system import give_back_memory, step_back
from safelight.web.facets import (
    FACET_RATINGS,
    IN_MEMORY,
    Facet,
    WholeCounts,
    count_facets,
    facets_on_disk,
)

if TYPE_CHECKING:
    import duckdb

__all__ = ["HeldArchive"]

_REST = 4
"""Seconds of rest after reading for one second, so that raters do not wait for readers."""

_LEAST_REST = 0.2
"""Seconds between two looks at ratings, however little they cost."""

_LOOK = 0.1
"""Seconds between two looks at how long the lists of ratings and of places are."""

_AT_ONCE = 4
"""Questions that are worked on at the same time, one more than guests may ask at a time; more would
only take from each other."""

_ANSWERS_KEPT, _LARGEST_KEPT = 64, 500
_MOST_KEPT = 48 * 2**20
"""Characters of all answers that are kept; one prompt may have megabytes of them."""

_OF_RECORDS = 3
"""Parts of a signature that are not about ratings."""

_OF_ANSWERS = 1 + _OF_RECORDS
"""The same of what answers are kept by, where what runs make now stands before."""

_LOOK_AT_RUNS = 1.0
"""Seconds between two looks at what runs that go on have made: each costs pages their answers."""

_BREATH = 0.1
"""Seconds for the first page to get out before the pictures are taken into memory."""

_AGAIN = 60.0
"""Seconds until that is tried again when it failed."""

_TICK = 20_000_000
"""Nanoseconds in which a folder may change twice and look as if it had changed once."""

Signature = tuple[object, ...]
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer, and until when it may be given again."""

    records: Signature
    ratings: Signature
    rests_until: float
    answer: object
    size: int


class HeldArchive(Archive):
    """One archive folder, held open.

    Args:
        path: The folder.
        rest: Seconds of rest after reading ratings for one second; with 0 every answer has all
            that was said before it was asked for.
        running: Whether answers about pictures have those of runs that go on.
    """

    def __init__(self, path: Path | str, *, rest: float = _REST, running: bool = False) -> None:
        super().__init__(path)
        self._follows = running
        self._made_now: tuple[tuple[str, int], ...] = ()
        self._look_at_runs = 0.0
        self._taken_running: Signature = ()
        self._so_far: tuple[str, int | None, LearningRecord] | None = None
        self._rest_factor = rest
        self._lock = threading.Lock()
        self._held: duckdb.DuckDBPyConnection | None = None
        self._signature: Signature = ()
        self._rest_until = 0.0
        self._answers: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()
        self._keeping = threading.Lock()
        self._askers = ThreadPoolExecutor(_AT_ONCE, "asker", initializer=step_back)
        self._memory: PicturesInMemory | None = None
        self._whole: tuple[PicturesInMemory | None, WholeCounts] = (None, WholeCounts())
        self._asking = threading.local()
        self._taken: Signature = ()
        self._loader: threading.Thread | None = None
        self._load_from = 0.0
        self._closed = threading.Event()
        self._questions = 0
        self._places_and_ratings: Signature = ()
        self._look_again = 0.0

    # -- asking --------------------------------------------------------------------------

    def query(
        self,
        condition: str = "",
        *,
        view: str = "images",
        columns: Sequence[str] = (),
        sort: str = "-timestamp",
        limit: int | None = 50,
        after: str | None = None,
    ) -> Answer:
        """Return what :meth:`Archive.query` does, which many may ask at once.

        An answer is given again while the records are the same; to ratings it may be late by
        as long as :data:`_REST` times what it cost, so that raters do not wait for readers.
        """

        def ask() -> Answer:
            return super(HeldArchive, self).query(
                condition, view=view, columns=columns, sort=sort, limit=limit, after=after
            )

        key = (condition, view, tuple(columns), sort, limit, after)
        answer = self._asked_once(key, ask, keep=limit is not None and limit <= _LARGEST_KEPT)
        self._load_soon()
        return answer

    def chosen(self, condition: str) -> ChosenPictures:
        """Return what :meth:`Archive.chosen` does, with all that is on the disk this moment."""
        wanted = compile_filter(condition, columns_of_view("images"))
        rated = bool(RATINGS.keys() & wanted.columns)
        self._at_once()
        memory = self._caught_up(rated=rated)
        found = super().chosen(condition) if memory is None else memory.chosen(condition)
        if found.count > LARGE:
            self.give_back_memory()
        return found

    def facets(
        self, condition: str, *, most: int = 40, fresh: bool = False
    ) -> tuple[int, tuple[Facet, ...]]:
        """Return how many pictures meet *condition*, and how they part.

        Args:
            condition: In the filter language.
            most: Values per facet.
            fresh: Whether ratings of this very moment count.

        Raises:
            FilterError: The condition cannot be read.
            ArchiveError: The archive cannot answer.
        """
        self._load_soon()
        if fresh:
            self._look_again = self._rest_until = 0.0
            self._forget(("facets", condition, most))
        return self._asked_once(
            ("facets", condition, most), lambda: self._facets(condition, most), keep=True
        )

    def models_rated(self) -> tuple[str, ...]:
        """Return the models whose pictures were rated, the most rated first."""
        statement = (
            "SELECT model FROM images WHERE model IS NOT NULL AND"
            " (stars IS NOT NULL OR picks_won > 0 OR picks_lost > 0) GROUP BY model"
            " ORDER BY count(*) DESC LIMIT 100"
        )
        return tuple(row[0] for row in self._rows_now(statement))

    def names_said(self, column: str, between: str) -> dict[str, int]:
        """Return what :meth:`Archive.names_said` does, with all that is on the disk now."""
        self._at_once()
        return super().names_said(column, between)

    def varied(self, run_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return run -> the settings in which its pictures of one stage differ.

        The seed is among them only where nothing else is.

        Raises:
            ArchiveError: The archive cannot answer.
        """
        memory = self._caught_up(rated=False)
        given = [list(run_ids)]
        if memory is None:
            source = "run_images WHERE run_id IN (SELECT unnest(?::VARCHAR[]))"
            rows = self.rows(varied_settings(source), given, rated=False)
        else:
            source = "held WHERE run_key_ IN (SELECT hash(unnest(?::VARCHAR[])))"
            with memory.asked() as connection:
                rows = fetched_rows(connection, varied_settings(source), given)
        varied = {
            run_id: [name for name, each in zip(MAY_VARY, flags, strict=True) if each]
            for run_id, *flags in rows
        }
        return {
            run_id: tuple(name for name in names if name != "seed" or len(names) == 1)
            for run_id, names in varied.items()
        }

    def _at_once(self) -> None:
        """Let the next question know all that was said, however much was read lately."""
        self.signature_now()
        self._rest_until = 0.0

    def _rows_now(self, statement: str) -> list[tuple[Any, ...]]:
        memory = self._caught_up()
        if memory is None:
            return self.rows(statement)
        with memory.asked() as connection:
            return fetched_rows(connection, statement, ())

    def scorers(self) -> tuple[str, ...]:
        """Return the scorers that have said anything of pictures here, by name."""
        memory = self._caught_up()
        return tuple(sorted(self.picture_scores().newest)) if memory is None else memory.scorers()

    def scores_of(self, digests: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return (scorer, number, unit) of what scorers say of the picture with *digests*."""
        memory = self._caught_up()
        if memory is not None:
            return memory.scores_of(digests)
        (told,) = self.picture_scores().of_each([digests])
        return [(one.scorer, one.number, one.unit) for one in told]

    def record(self, run_id: str) -> LearningRecord:
        """Return what :meth:`Archive.record` does."""
        memory = self._caught_up()
        with suppress(ArchiveError, RecordError):  # there may be another copy that is whole
            document = None if memory is None else memory.document(run_id)
            if document is not None:
                return read_document(document)
        try:
            return super().record(run_id)
        except ArchiveError:
            if self._follows and run_id in running_names(self.path):
                with suppress(SafelightError, OSError, ValueError):
                    return self._record_so_far(run_id)
            raise

    def _record_so_far(self, run_id: str) -> LearningRecord:
        """Return what the record of a run that goes on would be, read anew when it has made more.

        Whoever looks through its pictures asks for it with each of them.
        """
        size = dict(self.running()).get(run_id)
        kept = self._so_far
        if kept is None or kept[:2] != (run_id, size):
            kept = self._so_far = (run_id, size, record_so_far(self.path, run_id))
        return kept[2]

    def left_out(self) -> tuple[Fault, ...]:
        """Return what cannot be asked, and why."""
        memory = self._memory
        if memory is None:
            return super().left_out()
        faults = sorted(memory.left_out().items())
        return tuple(Fault(path=path, reason=why) for path, why in faults)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor of the held database; closing it leaves the database open."""
        with self._lock:
            signature = self.signature()
            if (
                self._held is None
                or signature[:_OF_RECORDS] != self._signature[:_OF_RECORDS]
                or (signature != self._signature and time.monotonic() >= self._rest_until)
            ):
                begun = time.monotonic()
                self._held = super().connect()
                self._signature = signature
                self._rest(begun)
            self._note((self._made_now, *self._signature))
            return self._held.cursor()

    # -- held in memory ------------------------------------------------------------------

    @property
    def is_loading(self) -> bool:
        """Whether the pictures are being taken into memory, so that counting should wait."""
        return self._loader is not None and self._loader.is_alive()

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for an answer, so that what is less urgent should wait."""
        return self._questions > 0

    def hold(self) -> None:
        """Take the pictures into memory here and now, for who is going to ask more than once."""
        if self._memory is None and time.monotonic() >= self._load_from:
            self._load_from = time.monotonic() + _AGAIN
            self._load(0)

    def close(self) -> None:
        """Let go of what is held; for when nobody asks any more."""
        self._closed.set()
        if self._loader is not None:
            self._loader.join()
        self._memory = None

    def give_back_memory(self) -> None:
        """Return what was freed to the system: some twenty milliseconds.

        DuckDB keeps pages apart from the C library, for all databases of a process together, and
        lets go of them all when any one closes.
        """
        import duckdb

        duckdb.connect().close()
        give_back_memory()

    def _load_soon(self) -> None:
        """Take the pictures into memory, behind the answer to whoever asked first."""
        if self._memory is not None or time.monotonic() < self._load_from:
            return
        with self._lock:
            if not self.is_loading and self._memory is None:
                self._load_from = time.monotonic() + _AGAIN
                self._loader = threading.Thread(target=self._load, daemon=True)
                self._loader.start()

    def _load(self, breath: float = _BREATH) -> None:
        import duckdb

        step_back()
        if self._closed.wait(breath):
            return
        signature, running = self.signature(), self.running()
        memory = None
        while memory is None:
            try:
                memory = PicturesInMemory(self._opened(threads=1), self.path, running=self._follows)
                memory.unreadable = dict(self._unreadable)
                if memory.is_too_large():
                    self._load_from = math.inf
                    return
                memory.catch_up()
            except (SafelightError, OSError, UnicodeDecodeError, duckdb.Error) as error:
                asked, memory = None if memory is None else memory.listed, None
                if asked is None or not self.find_unreadable(asked):
                    _log.warning("the pictures stay on the disk: %s", error)
                    return
        self._taken, self._taken_running, self._memory = signature, running, memory
        with self._keeping:
            self._held = None
        self.give_back_memory()

    def _caught_up(self, *, rated: bool = True) -> PicturesInMemory | None:
        """Return the table with what the disk has now; None while there is none.

        Args:
            rated: Whether what people say matters; what was said of many takes a moment.
        """
        import duckdb

        memory = self._memory
        if memory is None or (self.signature(), self.running()) == self._taken_and_running():
            return self._knowing(memory)
        with self._lock:
            memory, signature, running = self._memory, self.signature(), self.running()
            if memory is None or (signature, running) == self._taken_and_running():
                return self._knowing(memory)
            if self._so_far is not None and self._so_far[0] not in (name for name, _ in running):
                self._so_far = None
            begun = time.monotonic()
            try:
                if signature[:_OF_RECORDS] != self._taken[:_OF_RECORDS]:
                    memory.catch_up()
                    self._taken_running = () if memory.lags else running
                else:
                    if running != self._taken_running:
                        memory.catch_up_running()
                        self._taken_running = () if memory.lags else running
                        begun = time.monotonic()
                    if signature == self._taken or not rated or begun < self._rest_until:
                        return self._knowing(memory)
                    if memory.catch_up_ratings():
                        self.give_back_memory()
            except (SafelightError, OSError, UnicodeDecodeError, duckdb.Error) as error:
                if self.find_unreadable(memory.listed):
                    self._load_from = 0.0  # without it, at once
                else:
                    _log.warning("the pictures are read from the disk: %s", error)
                self._memory = None
                return None
            self._taken = signature
            self._rest(begun)
            return self._knowing(memory)

    def _knowing(self, memory: PicturesInMemory | None) -> PicturesInMemory | None:
        """Return *memory*, and note in this thread what it has at least."""
        if memory is not None:
            self._note((self._taken_running, *self._taken))
        return memory

    def _note(self, known: Signature) -> None:
        """Note in this thread what the answer that it works out is made of, the first time."""
        if getattr(self._asking, "known", None) is None:
            self._asking.known = known

    def _taken_and_running(self) -> tuple[Signature, Signature]:
        return self._taken, self._taken_running

    def _rows_of(
        self,
        columns: Sequence[str],
        condition: str,
        page: Filter,
        *,
        view: str,
        order: Sequence[str],
        down: bool,
        after: str | None,
        limit: int | None,
    ) -> list[tuple[Any, ...]]:
        memory = self._caught_up() if view == "images" else None
        if memory is None:
            return super()._rows_of(
                columns, condition, page, view=view, order=order, down=down, after=after,
                limit=limit,
            )  # fmt: skip
        return memory.rows(columns, condition, page, order=order, down=down, limit=limit)

    def _rest(self, begun: float) -> None:
        ended = time.monotonic()
        rest = max(_LEAST_REST, min(self._rest_factor * (ended - begun), 10.0))
        self._rest_until = ended + rest if self._rest_factor else ended

    def _asked_once(self, key: tuple[object, ...], ask: Callable[[], T], *, keep: bool) -> T:
        """Return what *ask* does, or what it did when that still holds."""
        signature = self._seen()
        records, ratings = signature[:_OF_ANSWERS], signature[_OF_ANSWERS:]
        kept = self._answers.get(key)
        if (
            kept is not None
            and kept.records == records
            and (kept.ratings == ratings or time.monotonic() < kept.rests_until)
        ):
            return cast("T", kept.answer)
        with self._keeping:
            self._questions += 1
        try:
            answer = self._askers.submit(self._answered, key, kept, signature, ask, keep).result()
        finally:
            with self._keeping:
                self._questions -= 1
        return cast("T", answer)

    def _forget(self, key: tuple[object, ...]) -> None:
        """Give the answer again only if nothing was said since."""
        with self._keeping:
            if (kept := self._answers.get(key)) is not None:
                self._answers[key] = replace(kept, rests_until=0.0)

    def _answered(
        self,
        key: tuple[object, ...],
        before: _Kept | None,
        signature: Signature,
        ask: Callable[[], object],
        keep: bool,
    ) -> object:
        records, ratings = signature[:_OF_ANSWERS], signature[_OF_ANSWERS:]
        kept = self._answers.get(key)
        if kept is not None and kept is not before and kept.records == records:
            return kept.answer  # somebody asked the same meanwhile
        begun = time.monotonic()
        self._asking.known = None
        answer = ask()
        cost = time.monotonic() - begun
        # What was said a moment ago may be on the disk and not in the answer: it is asked again.
        known = self._asking.known or signature
        records, ratings = known[:_OF_ANSWERS], known[_OF_ANSWERS:]
        if keep:
            rest = max(_LEAST_REST, min(self._rest_factor * cost, 2.0))
            rests_until = begun + cost + rest if self._rest_factor else begun
            made = _Kept(records, ratings, rests_until, answer, _characters(answer))
            with self._keeping:
                self._answers[key] = made
                sizes = sum(each.size for each in self._answers.values())
                while len(self._answers) > _ANSWERS_KEPT or sizes > _MOST_KEPT:
                    sizes -= self._answers.popitem(last=False)[1].size
        return answer

    def records_signature(self) -> Signature:
        """Return what changes when records or packs do."""
        return tuple(_changed(folder(self.path)) for folder in (records_folder, packs_folder))

    def signature(self) -> Signature:
        """Return what changes when records, packs or, a moment later, places or ratings do."""
        times = self.records_signature()
        now = time.monotonic()
        if now >= self._look_again:
            # Many small looks, each of which lets other threads in between: not every time.
            places = tuple(sorted(_sizes(imports_folder(self.path))))
            self._places_and_ratings = (places, *sorted(_sizes(ratings_folder(self.path))))
            self._look_again = now + _LOOK if self._rest_factor else now
        return (*times, *self._places_and_ratings)

    def signature_now(self) -> Signature:
        """Return :meth:`signature` as it is this moment, for who does not ask all the time."""
        self._look_again = 0.0
        return self.signature()

    def running(self) -> tuple[tuple[str, int], ...]:
        """Return what changes, a second later at most, when a run that goes on has made more."""
        if self._follows and time.monotonic() >= self._look_at_runs:
            self._made_now = tuple(self._journal_sizes())
            self._look_at_runs = time.monotonic() + _LOOK_AT_RUNS
        return self._made_now

    def _journal_sizes(self) -> Iterator[tuple[str, int]]:
        for name in running_names(self.path):
            size = -1  # its folder is gone, or not there yet
            with suppress(OSError, UnicodeDecodeError, ValueError):
                place = self.path / marked_folder(running_folder(self.path) / name)
                size = (place / JOURNAL_NAME).stat().st_size
            yield name, size

    def _seen(self) -> Signature:
        return (self.running(), *self.signature())

    # -- counting ------------------------------------------------------------------------

    def _facets(self, condition: str, most: int) -> tuple[int, tuple[Facet, ...]]:
        memory = self._caught_up()
        if memory is not None:
            with memory.asked() as connection:
                asked = memory.selection(condition, FACET_RATINGS)
                of_most = memory.likely_holds(connection, condition)
                plain = asked.source.isidentifier()  # it is made of the condition otherwise
                return count_facets(
                    connection, asked, most, IN_MEMORY, self._whole_of(memory) if plain else None,
                    of_most=of_most,
                )  # fmt: skip
        return facets_on_disk(self, condition, most)

    def _whole_of(self, memory: PicturesInMemory) -> WholeCounts:
        """Return what was counted of *memory*: changes of another one have the same numbers."""
        counted, whole = self._whole
        if counted is not memory:
            whole = WholeCounts()
            self._whole = (memory, whole)
        return whole


def _characters(answer: object) -> int:
    """Return about how much an answer holds; of rows, all their texts."""
    rows = answer.rows if isinstance(answer, Answer) else ()
    return 1000 + sum(len(value) for row in rows for value in row if isinstance(value, str))


def _changed(folder: Path) -> int:
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return 0
    # Clocks of file systems tick in milliseconds: what comes in the same tick would be missed.
    return time.time_ns() if abs(time.time_ns() - changed) < _TICK else changed


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield entry.name, entry.stat().st_size
    except OSError:
        return
