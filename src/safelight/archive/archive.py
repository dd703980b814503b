"""Archive: everything that was ever drawn into one folder, found by what it was made with.

There is no index that could rot: DuckDB reads the packs, and the few loose records are decoded
and handed to it. What is damaged or foreign costs itself only: it is left out of answers, which
say so, told by ``verify``, and never deleted.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safelight.archive.answer import Answer, Fault, columns_of_view
from safelight.archive.chosen_pictures import ChosenPictures, chosen_pictures
from safelight.archive.columns import RATINGS, Batch
from safelight.archive.loose_records import (
    loose_batch,
    loose_documents,
    loose_names,
    may_hold_copies,
)
from safelight.archive.pack_check import readable_tables
from safelight.archive.packing import Packed, pack_in_batches, share_out, worthwhile_processes
from safelight.archive.packs import (
    Pack,
    forget_orphans,
    read_packs,
    renew_tables,
    take_documents,
    whole_documents,
    write_pack,
)
from safelight.archive.paging import cursor, page_condition
from safelight.archive.places import read_places
from safelight.archive.run_copies import comparable_content, that_count
from safelight.archive.search import KEYS, Search, fetched_rows
from safelight.archive.views import Views, quoted_name, selection
from safelight.archive_layout import (
    imports_folder,
    packs_folder,
    ratings_folder,
    records_folder,
)
from safelight.durable_file import make_folder, write_new_file
from safelight.errors import (
    ArchiveError,
    FilterError,
    RecordError,
    StorageError,
)
from safelight.filters import SCORED, Filter, compile_filter
from safelight.knobs import STAGES, did_you_mean, knob_of_extra
from safelight.learning.learning_record import (
    LearningRecord,
    LearningRecordWriter,
    read_document,
    record_stem,
)
from safelight.learning.ratings import (
    PictureScore,
    PictureScores,
    RatingEvent,
    RatingStore,
    picture_scores,
)
from safelight.learning.ratings.followed_ratings import (
    NOTHING_SAID,
    FollowedRatings,
    RatingChange,
)
from safelight.recorded_settings import EXTRA, LORA, MOST_EXACT, comparable_name
from safelight.stopped_queries import stopped_as_asked

if TYPE_CHECKING:
    import duckdb

__all__ = ["Archive", "PackReport"]

_T = TypeVar("_T")
_PER_PACK = 20_000
_IN_ORDER = f"nullif(list_position({list(STAGES)}, stage), 0) NULLS LAST, number, text"
_TOGETHER = 2000
"""Runs whose documents are held at once."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)
_MOST_NAMED = 5
"""Files by name; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What packing did.

    Attributes:
        records: Loose records that are in packs now.
        packs: The packs that were made.
        left: Loose files that were left where they are, and packs of an earlier version of which
            no tables could be made, and why.
    """

    records: int = 0
    packs: tuple[Path, ...] = ()
    left: tuple[Fault, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """What an archive's folder holds at one moment, to be asked.

    Attributes:
        packs: All that are not left out.
        loose: Records that are in no table of a pack.
        ratings: What people say.
        places: Where pictures lie that were met elsewhere.
        scores: What scorers say.
    """

    packs: Sequence[Pack]
    loose: Batch
    ratings: RatingChange
    places: Mapping[str, str]
    scores: Sequence[PictureScore]

    def views(self, connection: duckdb.DuckDBPyConnection) -> Views:
        """Return the views over them."""
        packs = [pack for pack in self.packs if pack.tables is not None]
        return Views(connection, packs, self.loose, self.ratings, self.places, self.scores)


class Archive:
    """One archive folder.

    Args:
        path: The folder; it is made when something is written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._unreadable: dict[Path, str] = {}
        self._left_out: dict[Path, str] = {}
        self._warned: set[Path] = set()
        self._warned_of_old_packs = False

    def writer(self) -> LearningRecordWriter:
        """Return a writer of records into this archive."""
        return LearningRecordWriter(records_folder(self.path), root=self.path)

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
        """Return the rows of *view* that meet *condition*, page by page.

        Args:
            condition: In the filter language (``docs/archive.md``); empty is everything.
            view: ``images``, ``runs``, ``loras`` or ``settings``.
            columns: Which to return; all when none is named. Of ``images`` also ``extra.NAME``,
                ``lora.NAME`` and ``score.NAME``.
            sort: A column, of ``images`` also ``score.NAME``, with ``-`` before it from the
                largest down.
            limit: Most rows of a page; None for all.
            after: ``Answer.after`` of the page before.

        Raises:
            FilterError: The condition, a column or *after* cannot be read.
            ArchiveError: The archive cannot answer.
        """
        known = columns_of_view(view)
        name, down = sort.removeprefix("-"), sort.startswith("-")
        if view == "images" and name.startswith(SCORED):
            known = {**known, name: "DOUBLE"}
        settings = [c for c in columns if view == "images" and c.startswith((EXTRA, LORA, SCORED))]
        if settings:
            knobs = {
                name: knob
                for name in settings
                if name.startswith(EXTRA) and (knob := knob_of_extra(name[len(EXTRA) :]))
            }
            own = [knobs.get(column, column) for column in columns if column not in settings
                   or column in knobs]  # fmt: skip
            keys = dict.fromkeys((*own, "run_id", "place"))
            answer = self.query(condition, columns=[*keys], sort=sort, limit=limit, after=after)
            return self._with_settings(answer, columns, settings, knobs)
        for column in (*columns, name):
            if column not in known:
                hint = did_you_mean(column, known) or f"; there are: {', '.join(known)}"
                raise FilterError(f"{view} has no column {column!r}{hint}")
        order = (name, *(key for key in KEYS[view] if key != name))
        page = page_condition(order, down, after, known)
        shown = tuple(dict.fromkeys(columns)) or tuple(known)
        fetched = dict.fromkeys((*shown, *order))
        rows = self._rows_of(
            tuple(fetched), condition, page, view=view, order=order, down=down, after=after,
            limit=None if limit is None else limit + 1,
        )  # fmt: skip
        more = limit is not None and len(rows) > limit
        rows = rows[:limit] if limit is not None else rows
        places = {column: place for place, column in enumerate(fetched)}
        following = cursor([rows[-1][places[c]] for c in order]) if more and rows else None
        kept = tuple(tuple(row[: len(shown)]) for row in rows)
        return Answer(columns=shown, rows=kept, after=following, left_out=self.left_out())

    def settings(self, run_ids: Iterable[str]) -> list[tuple[Any, ...]]:
        """Return (run_id, place, stage, name, number, text) of what the pictures of some runs have.

        Args:
            run_ids: The runs.

        Raises:
            ArchiveError: The archive cannot answer.
        """
        return self.rows(
            "SELECT run_id, place, stage, name, number, text FROM settings"
            " WHERE run_id IN (SELECT unnest(?::VARCHAR[]))"
            f" ORDER BY run_id, place, name, {_IN_ORDER}",
            [sorted(set(run_ids))],
            rated=False,
        )

    def _with_settings(
        self,
        answer: Answer,
        columns: Sequence[str],
        settings: Sequence[str],
        knobs: Mapping[str, str],
    ) -> Answer:
        """Return *answer*, which has run and place, with *columns*, some of them *settings*.

        Those for which a knob stands, which are in *knobs*, are its column.
        """
        rows = list(answer.dicts())
        wanted = {comparable_name(name) for name in settings}
        settings_of: dict[tuple[str, int], dict[str, Any]] = {}
        for run_id, place, _, name, number, text in self.settings(row["run_id"] for row in rows):
            if (own_name := comparable_name(name)) in wanted:  # the last stage's counts
                exact = number is not None and abs(number) < MOST_EXACT
                own = settings_of.setdefault((run_id, place), {})
                own[own_name] = number if exact else text
        if any(name.startswith(SCORED) for name in settings):
            for run_id, place, name, number in self.rows(
                "SELECT run_id, place, name, number FROM scores"
                " WHERE run_id IN (SELECT unnest(?::VARCHAR[]))",
                [sorted({row["run_id"] for row in rows})], rated=False, scored=True,
            ):  # fmt: skip
                settings_of.setdefault((run_id, place), {})[comparable_name(SCORED + name)] = number
        kept = []
        for row in rows:
            own = settings_of.get((row["run_id"], row["place"]), {})
            values = {name: own.get(comparable_name(name)) for name in settings}
            values |= {name: row[knob] for name, knob in knobs.items() if row[knob] is not None}
            kept.append(tuple((values if name in values else row)[name] for name in columns))
        return replace(answer, columns=tuple(columns), rows=tuple(kept))

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
        """Return *columns* of the first *limit* rows; the rest as :class:`.Search` has it."""
        known = columns_of_view(view)
        wanted = compile_filter(condition, known)
        rated = view == "images" and bool(RATINGS.keys() & {*columns, *wanted.columns})

        def search(connection: duckdb.DuckDBPyConnection, views: Views) -> list[tuple[Any, ...]]:
            return Search(
                connection=connection, views=views, view=view, known=known, condition=condition,
                order=order, down=down, page=page, after=after,
            ).rows(columns, limit)  # fmt: skip

        scored = bool(wanted.scorers) or order[0].startswith(SCORED)
        return self.asked(search, rated=rated, scored=scored)

    def chosen(self, condition: str) -> ChosenPictures:
        """Return all pictures that meet *condition*, as one value.

        Raises:
            FilterError: The condition cannot be read.
            ArchiveError: The archive cannot answer.
        """
        known = columns_of_view("images")
        wanted = compile_filter(condition, known)

        def choose(connection: duckdb.DuckDBPyConnection, views: Views) -> ChosenPictures:
            views.show()
            asked = selection(wanted, reuse=views.reuse, once="images", every="run_images")
            return chosen_pictures(connection, asked)

        rated = bool(RATINGS.keys() & wanted.columns)
        return self.asked(choose, rated=rated, scored=bool(wanted.scorers))

    def names_said(self, column: str, between: str) -> dict[str, int]:
        """Return each name in *column* of ratings -> how many pictures that are not discarded.

        Args:
            column: ``tags`` or ``album``.
            between: What stands between names there.

        Raises:
            ArchiveError: The archive cannot answer.
        """
        rows = self._rows_now(
            f"SELECT {quoted_name(column)}, count(*) FILTER (discarded IS NULL) FROM images"
            f" WHERE {quoted_name(column)} IS NOT NULL GROUP BY 1"
        )
        return _each_name(rows, between)

    def _rows_now(self, statement: str) -> list[tuple[Any, ...]]:
        return self.rows(statement)

    def sql(self, statement: str) -> Answer:
        """Return what one SELECT over the views (:data:`.views.VIEWS`, and ``scores``) gives.

        It reads nothing but this archive, and changes nothing.

        Raises:
            ArchiveError: It is no single SELECT, or fails.
        """
        import duckdb

        def select(connection: duckdb.DuckDBPyConnection, views: Views) -> Answer:
            views.show()
            try:
                statements = connection.extract_statements(statement)
            except duckdb.Error as error:
                raise ArchiveError(f"the SQL cannot be read: {error}") from None
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ArchiveError("only one SELECT at a time may be asked")
            rows = fetched_rows(connection, statement, ())
            columns = tuple(entry[0] for entry in connection.description or ())
            return Answer(columns=columns, rows=tuple(rows), left_out=self.left_out())

        return self.asked(select, rated=True, scored="scores" in statement.lower())

    def rows(
        self,
        statement: str,
        parameters: Sequence[Any] = (),
        *,
        rated: bool = True,
        scored: bool = False,
    ) -> list[tuple[Any, ...]]:
        """Return the rows of one SELECT of our own over the views.

        Args:
            statement: The SELECT.
            parameters: Its values.
            rated: Whether it asks for ratings; all of them are read for it.
            scored: Whether it asks for numbers of scorers, likewise.

        Raises:
            ArchiveError: It fails.
        """

        def select(connection: duckdb.DuckDBPyConnection, views: Views) -> list[tuple[Any, ...]]:
            views.show()
            return fetched_rows(connection, statement, parameters)

        return self.asked(select, rated=rated, scored=scored)

    def record(self, run_id: str) -> LearningRecord:
        """Return the record of the run whose id begins with *run_id*, of the newest for ``last``.

        Raises:
            ArchiveError: There is none, or more than one, or it is damaged.
        """
        if run_id == "last":
            # One that was drawn, where there is one: an import has a record for each picture.
            drawn = self.query("status != 'imported'", view="runs", columns=["run_id"], limit=1)
            newest = drawn.rows or self.query(view="runs", columns=["run_id"], limit=1).rows
            if not newest:
                raise ArchiveError(
                    f"there are no records in {self.path}; make one with: safelight run CONFIG"
                )
            run_id = newest[0][0]
        loose = loose_documents(records_folder(self.path), prefix=run_id)
        where = "starts_with(run_id, ?) AND run_id BETWEEN ? AND ? LIMIT 99"
        packed = self._documents(where, [run_id, run_id, run_id + "\U0010ffff"])
        whole = that_count([*packed, *loose])
        ids = {*whole, *(key for key, _ in packed)}
        if run_id in ids:
            ids = {run_id}
        if len(ids) != 1:
            if not ids:
                raise ArchiveError(f"no run in {self.path} has an id that begins with {run_id!r}")
            some = ", ".join(sorted(ids)[:5])
            raise ArchiveError(
                f"{len(ids)} runs begin with {run_id!r}: {some}; give more of the id"
            )
        (only,) = ids
        if only not in whole:
            raise ArchiveError(
                f"the record of run {only} is damaged; another copy of the archive may have it:"
                " safelight archive merge OTHER"
            )
        return whole[only]

    def records(self, run_ids: Iterable[str]) -> list[LearningRecord]:
        """Return the records of *run_ids*; those that cannot be read are left out.

        Raises:
            ArchiveError: The archive cannot be asked.
        """
        return list(that_count(self.documents(run_ids)).values())

    def documents(self, run_ids: Iterable[str]) -> list[tuple[str, bytes]]:
        """Return (run_id, document) of all records of *run_ids*, also those that do not count.

        Raises:
            ArchiveError: The archive cannot be asked.
        """
        wanted = sorted(set(run_ids))
        if not wanted:
            return []
        loose = loose_documents(records_folder(self.path), wanted)
        return [*self._documents("run_id IN (SELECT unnest(?))", [wanted]), *loose]

    def older_readings(self) -> int:
        """Return how many records of imported pictures do not count any more.

        Raises:
            ArchiveError: The archive cannot be asked.
        """
        return self.asked(lambda _, views: views.older_readings, rated=False)

    def differing_runs(self, most: int = 100) -> tuple[list[str], int]:
        """Return a sentence for each run that has records that differ: which of them counts.

        The first *most* of them, and how many there are. Imports of the same pictures from two
        places are none: both say the same of them.

        Raises:
            ArchiveError: The archive cannot be asked.
        """
        sentences: list[str] = []
        count = 0
        for sentence in itertools.chain.from_iterable(map(_differing, self._copies())):
            count += 1
            if count <= most:
                sentences.append(sentence)
        return sentences, count

    def hashes_in_copies(self) -> dict[str, set[str]]:
        """Return path of a picture -> the SHA-256s that records of runs that have several say.

        What a record says that does not count is true of its pictures, too.

        Raises:
            ArchiveError: The archive cannot be asked.
        """
        sha256s: dict[str, set[str]] = {}
        for _, document in itertools.chain.from_iterable(self._copies()):
            with contextlib.suppress(RecordError):
                for output in read_document(document).outputs:
                    digest = output.sha256.lower()
                    if output.path is not None and _SHA256.fullmatch(digest):
                        sha256s.setdefault(output.path, set()).add(digest)
        return sha256s

    def _copies(self) -> Iterator[list[tuple[str, bytes]]]:
        """Yield (run_id, document) of every record of the runs that have several, in groups."""
        try:
            if not self._packs() and not may_hold_copies(records_folder(self.path)):
                return
        except OSError as error:
            raise ArchiveError(f"the records cannot be listed: {error}") from error
        wanted = sorted(self.asked(lambda _, views: views.doubled, rated=False))
        for start in range(0, len(wanted), _TOGETHER):
            some = wanted[start : start + _TOGETHER]
            copies = self._documents("run_id IN (SELECT unnest(?))", [some])
            copies += loose_documents(records_folder(self.path), some)
            yield copies

    def _documents(self, where: str, parameters: Sequence[Any]) -> list[tuple[str, bytes]]:
        """Return (run_id, document) of the packed records for which *where* holds."""
        documents: list[tuple[str, bytes]] = []
        files = [str(pack.path.absolute() / "documents.parquet") for pack in self._packs()]
        if not files:
            return documents
        statement = f"SELECT run_id, json FROM read_parquet(?) WHERE {where}"
        with self._database() as connection:
            try:
                rows = fetched_rows(connection, statement, [files, *parameters])
            except ArchiveError:  # one of them cannot be read: ask each by itself
                rows = []
                for file in files:
                    try:
                        rows += fetched_rows(connection, statement, [[file], *parameters])
                    except ArchiveError:
                        whole = whole_documents(Path(file).parent, where, parameters)
                        documents += [(record.run_id, document) for record, document in whole]
        return documents + [(run_id, text.encode()) for run_id, text in rows]

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a database with the views, which sees no file but the packs.

        Raises:
            ArchiveError: The archive cannot be asked.
        """
        while True:
            sources = self._sources(rated=True, scored=True)
            connection = self._opened()
            with contextlib.ExitStack() as on_trouble:
                on_trouble.callback(connection.close)
                try:
                    sources.views(connection).show()
                except Exception as error:  # noqa: BLE001 - raised again, or mended
                    self._raise_unless_a_pack_is_to_blame(error, sources.packs)
                    continue
                on_trouble.pop_all()
            return connection

    def asked(
        self,
        work: Callable[[duckdb.DuckDBPyConnection, Views], _T],
        *,
        rated: bool,
        scored: bool = False,
    ) -> _T:
        """Return what *work* does with the views; a pack that cannot be read is left out of them.

        Raises:
            ArchiveError: The archive cannot answer, and no pack is to blame.
        """
        while True:
            sources = self._sources(rated=rated, scored=scored)
            try:
                with self._database() as connection:
                    return work(connection, sources.views(connection))
            except Exception as error:  # noqa: BLE001 - raised again, or mended
                self._raise_unless_a_pack_is_to_blame(error, sources.packs)

    def _raise_unless_a_pack_is_to_blame(self, error: Exception, asked: Sequence[Pack]) -> None:
        """Return when *error* comes from a pack that is left out or another one from now on."""
        import duckdb

        foreign = error.__cause__ if isinstance(error, ArchiveError) else error
        # A text that rotted may be read as one, and be none.
        theirs = (duckdb.Error, UnicodeDecodeError)
        if isinstance(foreign, theirs) and self.find_unreadable(asked):
            return
        if isinstance(error, theirs):
            raise ArchiveError(f"{self.path} cannot be asked: {error}") from error
        raise error

    def find_unreadable(self, asked: Sequence[Pack]) -> bool:
        """Look for packs that cannot be asked, and leave them out from now on.

        Args:
            asked: Those that were asked in vain.

        Returns:
            Whether it is worth asking again: others are there now, or they have other tables.
        """
        for pack in self._packs():
            if (reason := readable_tables(pack)) is not None:
                self._unreadable[pack.path] = reason
        return self._packs() != list(asked)

    def left_out(self) -> tuple[Fault, ...]:
        """Return what the last question could not ask, and why; ``verify`` tells more."""
        return tuple(
            Fault(path=path, reason=reason) for path, reason in sorted(self._left_out.items())
        )

    def _leave_out(self, trouble: Mapping[Path, str]) -> None:
        self._left_out |= trouble
        for path in [path for path in trouble if path not in self._warned][:_MOST_NAMED]:
            _log.warning("%s %s", path.name, trouble[path])
        if not self._warned.issuperset(trouble):
            many = len(trouble)
            what = f"{many:,} files" if many > 1 else "one file"
            _log.warning(
                "what is damaged of %s is left out of what follows; see: safelight archive verify",
                what,
            )
        self._warned.update(trouble)

    @contextlib.contextmanager
    def _database(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a database as :meth:`_opened` does, for as long as it is asked."""
        with stopped_as_asked(), self._opened() as connection:
            yield connection

    def _opened(self, *, threads: int | None = None) -> duckdb.DuckDBPyConnection:
        """Return a database that sees no file but the packs; it has no views yet."""
        import duckdb

        connection = duckdb.connect()
        folder = str(packs_folder(self.path).absolute())
        connection.execute("SET allowed_directories = [?]", [folder])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET pandas_analyze_sample = 0")
        if threads is not None:  # it lives long: what a moment took goes back to the system
            connection.execute(f"SET threads = {threads}")
            connection.execute("SET allocator_flush_threshold = '8MB'")
            connection.execute("SET allocator_bulk_deallocation_flush_threshold = '8MB'")
        connection.execute("SET lock_configuration = true")
        return connection

    def _packs(self) -> list[Pack]:
        packs, trouble = read_packs(packs_folder(self.path))
        self._unreadable = {p: reason for p, reason in self._unreadable.items() if p.exists()}
        self._leave_out({**trouble, **self._unreadable})
        return [pack for pack in packs if pack.path not in self._unreadable]

    def _sources(self, *, rated: bool, scored: bool) -> _Sources:
        # The packs last: what is packed meanwhile is then seen twice, which is put right, and
        # the other way round it would not be seen at all.
        self._left_out = {}
        try:
            loose, trouble = loose_batch(records_folder(self.path))
        except OSError as error:
            raise ArchiveError(f"the records cannot be listed: {error}") from error
        self._leave_out(trouble)
        packs = self._packs()
        old = [pack for pack in packs if pack.tables is None]
        for pack in old:  # of an earlier version: what its tables lack is in its documents
            if reason := take_documents(pack, loose):
                self._leave_out({pack.path: reason})
        if old and not self._warned_of_old_packs:
            self._warned_of_old_packs = True
            _log.warning(
                "%s of an earlier version: questions read %s records one by one, which is slow;"
                " make tables of them with: safelight archive pack",
                "one pack is" if len(old) == 1 else f"{len(old):,} packs are",
                f"{sum(pack.records for pack in old):,}",
            )
        return _Sources(
            packs=packs, loose=loose, ratings=self._ratings() if rated else NOTHING_SAID,
            places=read_places(imports_folder(self.path)),
            scores=self.picture_scores().current if scored else (),
        )  # fmt: skip

    def ratings(self) -> RatingStore:
        """Return the store of this archive's ratings."""
        return RatingStore(ratings_folder(self.path), root=self.path)

    def scores(self) -> RatingStore:
        """Return the store of what scorers say of this archive's pictures."""
        return RatingStore(ratings_folder(self.path), root=self.path, scores=True)

    def picture_scores(self) -> PictureScores:
        """Return what scorers say of pictures now.

        Raises:
            ArchiveError: The events cannot be listed.
        """
        scores = self._events(self.scores())
        if not scores:
            return PictureScores()
        undos = [event for event in self._events(self.ratings()) if event.kind == "undo"]
        return picture_scores([*scores, *undos])  # what takes one back stands among ratings

    def _ratings(self) -> RatingChange:
        """Return what is said of all pictures; of very many alike it is said once."""
        followed = FollowedRatings(ratings_folder(self.path))
        try:
            said = followed.news()
        except StorageError as error:
            raise ArchiveError(str(error)) from error
        self._left_out |= followed.trouble
        for path, reason in followed.trouble.items():
            _log.warning("%s: %s; passed over", path, reason)
        return said

    def _events(self, store: RatingStore) -> Sequence[RatingEvent]:
        try:
            events = store.events()
        except StorageError as error:
            raise ArchiveError(str(error)) from error
        self._left_out |= store.passed_over  # the store has told of it
        return events

    def picture_keys(self, column: str = "sha256") -> Any:
        """Return the first eight bytes of every picture's hash, sorted: uint64[pictures].

        Args:
            column: ``sha256``, of its file's bytes, or ``image_sha256``, of its image data.

        Raises:
            ArchiveError: The archive cannot answer.
        """
        import numpy as np

        key = f"CAST('0x' || substr({column}, 1, 16) AS UBIGINT)"
        statement = (
            f"SELECT {key} AS key FROM images WHERE regexp_full_match({column}, '[0-9a-f]{{64}}')"
        )

        def keys(connection: duckdb.DuckDBPyConnection, views: Views) -> Any:
            views.show()
            return np.unique(connection.execute(statement).fetchnumpy()["key"].astype(np.uint64))

        return self.asked(keys, rated=False)

    def image_sha256s(self, sha256s: Iterable[str]) -> dict[str, str]:
        """Return SHA-256 of a file's bytes -> of its image data, of those that are known.

        Also what records say that do not count any more: a picture's older files.

        Raises:
            ArchiveError: The archive cannot answer.
        """

        def look(connection: duckdb.DuckDBPyConnection, views: Views) -> dict[str, str]:
            columns = "run_id, sha256, image_sha256"
            parts = [f"SELECT {columns} FROM batch_images WHERE status = 'imported'"]
            files = [str(p.tables.absolute() / "images.parquet") for p in views.packs if p.tables]
            if files:
                packed = "read_parquet(?) WHERE status = 'imported'"
                parts.append(f"SELECT {columns} FROM {packed}")
            # A run is named after the bytes that it was first read from.
            rows = connection.execute(
                f"WITH every AS ({' UNION ALL '.join(parts)}),"
                " asked AS (SELECT unnest(?::VARCHAR[]) AS sha256),"
                " known AS (SELECT e.sha256, e.run_id, e.image_sha256 FROM every e"
                " JOIN asked a ON a.sha256 = e.sha256 UNION ALL"
                " SELECT sha256, 'import-' || substr(sha256, 1, 40), NULL FROM asked)"
                " SELECT k.sha256, coalesce(max(k.image_sha256), max(e.image_sha256)) FROM known k"
                " JOIN every e ON e.run_id = k.run_id WHERE e.image_sha256 IS NOT NULL"
                " GROUP BY k.sha256",
                [*([files] if files else []), sorted(set(sha256s))],
            ).fetchall()
            return dict(rows)

        return self.asked(look, rated=False)

    # -- keeping -------------------------------------------------------------------------

    def add_loose(self, documents: Sequence[bytes]) -> list[Path]:
        """Write records that are in no file yet, a file each; return these.

        Args:
            documents: Canonical JSON of each.

        Raises:
            ArchiveError: One could not be written; those before it are there.
            RecordError: One of them is no record.
        """
        folder = records_folder(self.path)
        try:
            make_folder(folder, root=self.path)
            return [
                write_new_file(
                    folder, record_stem(record.timestamp, record.run_id), ".json", document
                )
                for document in documents
                for record in (read_document(document),)
            ]
        except OSError as error:
            raise ArchiveError(f"{self.path} cannot be written: {error}") from error

    def add_pack(self, documents: Sequence[bytes]) -> Path:
        """Write records that are in no file yet as one pack, whole or not at all.

        Args:
            documents: Canonical JSON of each.

        Raises:
            ArchiveError: The pack could not be written.
            RecordError: One of them is no record.
        """
        return write_pack(packs_folder(self.path), documents).path

    def pack(
        self,
        *,
        at_least: int = 1,
        per_pack: int = _PER_PACK,
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> PackReport:
        """Move the loose records into packs; those stay where fewer than *at_least* are.

        Of packs of an earlier version tables of today are made.

        Args:
            at_least: As many must be loose.
            per_pack: Most records of one pack.
            on_progress: Told how many records of how many are done, of those packs, too.

        Raises:
            ArchiveError: A pack could not be written; its records stay loose.
        """
        packs, records = packs_folder(self.path), records_folder(self.path)
        forget_orphans(packs)
        old = [pack for pack in self._packs() if pack.tables is None]
        try:
            loose = loose_names(records)
        except OSError as error:
            raise ArchiveError(f"the records cannot be listed: {error}") from error
        if len(loose) < at_least:
            loose = []
        done, total = 0, sum(pack.records for pack in old) + len(loose)
        left: list[Fault] = []
        for pack in old:
            _log.info("tables are made of %s, %d records", pack.path.name, pack.records)
            try:
                renew_tables(pack)
            except ArchiveError as error:  # it is asked through its documents as before
                left.append(Fault(path=pack.path, reason=str(error)))
            done += pack.records
            on_progress(done, total)
        if not loose:
            return PackReport(left=tuple(left))
        processes = worthwhile_processes(len(loose))
        batches = share_out(loose, per_pack, processes)

        def on_pack(packed: Packed) -> None:
            nonlocal done
            done += packed.records
            on_progress(done, total)

        results = pack_in_batches(packs, records, batches, on_pack, processes=processes)
        return PackReport(
            records=sum(result.records for result in results),
            packs=tuple(result.pack for result in results if result.pack is not None),
            left=(
                *left,
                *(Fault(path=p, reason=reason) for result in results for p, reason in result.left),
            ),
        )


def _each_name(rows: Iterable[tuple[Any, ...]], between: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for names, count in rows:
        for name in names.split(between):
            counts[name] += count
    return dict(counts)


def _differing(copies: Sequence[tuple[str, bytes]]) -> Iterator[str]:
    contents: dict[str, set[object]] = {}
    for run_id, document in copies:
        with contextlib.suppress(RecordError):
            contents.setdefault(run_id, set()).add(
                comparable_content(read_document(document), document)
            )
    several = {run_id for run_id, versions in contents.items() if len(versions) > 1}
    for run_id, counts in that_count(copy for copy in copies if copy[0] in several).items():
        yield (
            f"run {run_id} has {len(contents[run_id])} records that differ: the one that counts is"
            f" {counts.status}, with {len(counts.outputs)} pictures"
        )
