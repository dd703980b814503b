"""PicturesInMemory: every picture of an archive as one table in memory, kept up with the disk.

Packs answer one question well; a page that asks several times a second, for anything, needs all
of them open and decoded. It is a copy and nothing else: made anew by each process, and caught up
with the packs, the loose records, the ratings and the places before it is asked. Compressed, half
a million pictures take some 150 MB.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.archive.chosen_pictures import ChosenPictures, chosen_pictures
from safelight.archive.columns import PLACED, RATINGS, TABLES, Batch, Run, decoded, run_of
from safelight.archive.loose_records import written_at
from safelight.archive.packs import Pack, connected, read_packs, take_documents
from safelight.archive.places import Places, read_places
from safelight.archive.running_runs import RunningRun, running_names
from safelight.archive.said_in_memory import SaidInMemory
from safelight.archive.scores_in_memory import ScoresInMemory
from safelight.archive.search import fetched_rows, scored_source, sorting
from safelight.archive.views import (
    SHOWN_ONCE,
    Selection,
    Views,
    find_passed_over,
    find_reuse,
    quoted_name,
    selection,
)
from safelight.archive_layout import imports_folder, packs_folder, records_folder
from safelight.durable_file import read_regular_file
from safelight.errors import ArchiveError, RecordError
from safelight.filters import (
    FILE_NAME,
    FOLDER,
    RATED_TEXTS,
    SETTING_KEY,
    Filter,
    compile_filter,
    lower_file_name,
)
from safelight.learning.ratings import ratings_folder
from safelight.learning.ratings.followed_ratings import FollowedRatings

if TYPE_CHECKING:
    import duckdb

__all__ = ["DAY", "IN_FOLDER", "KEY", "SIZE", "PicturesInMemory"]

MOST = 2_000_000
"""Pictures; a larger archive is not taken into memory."""

DAY, SIZE = "day_", "size_"
"""Columns of ``images`` here that the archive's has not: ``2026-01-31`` and ``512×768``."""

IN_FOLDER = "folder_"
"""Column of ``images`` here: the folder of a picture's file."""

KEY = "key_"
"""Column of ``settings`` here: that by which filters find one, :data:`.filters.SETTING_KEY`."""

_NEWEST = 20_000
"""Pictures that are asked first, as most questions are for the newest and end with them."""

_COMPRESSED_TOGETHER = 250_000
_HELD = {**TABLES["images"], **PLACED}
_COLUMNS = tuple(name for name in _HELD if name != "prompt_id")
_KNOWN: Mapping[str, str] = {**{name: _HELD[name] for name in _COLUMNS}, **RATINGS}
_OWN = ", ".join(map(quoted_name, _COLUMNS))
_LOOSE = ""
_RUNNING = "running"
"""Where pictures of runs that go on come from; packs are called otherwise."""

_NAME = "compressed"
_log = logging.getLogger(__name__)

_IN_PROMPTS = "prompt_id IN (SELECT prompt_id FROM {} WHERE contains(lower_prompt, ?))"
_IN_NAMES_AND_SAID = {
    FILE_NAME: "contains(file_, ?)", FOLDER: IN_FOLDER,
    **{name: "row_ IN (SELECT row_ FROM rated WHERE said_ IN"
       f" (SELECT said_ FROM opinions WHERE contains(lower({name}), ?)))"
       for name in RATED_TEXTS},
}  # fmt: skip
_SETTINGS = "row_ IN (SELECT row_ FROM settings WHERE {})"
_SCORES = "row_ IN (SELECT row_ FROM scores WHERE {})"
_EQUAL = {
    column: f"({key} = hash(?::VARCHAR) AND CASE {key} WHEN 0 THEN {column} = ?"
    f" ELSE {column} = ? END)"
    for column, key in (
        ("sha256", "sha_key_"), ("pixel_sha256", "pixel_key_"),
        ("image_sha256", "image_key_"), ("run_id", "run_key_")
    )
}  # fmt: skip
"""For want of an index: numbers are compared first, and texts only where those are alike."""


@dataclass(frozen=True, slots=True)
class _Loose:
    """A loose record: how its file looked, and what tells it from others when it could be read."""

    size: int
    changed: int
    run: Run | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _OldPack:
    """A pack of an earlier version: its runs, which its documents tell, and what is damaged."""

    runs: Sequence[Run]
    fault: str | None


class PicturesInMemory:
    """The table, in a database of its own.

    One thread at a time may change it; any number may ask meanwhile, and each sees it as it was
    before or after a change, whose number ``changes`` has. Ask for ``images`` and ``settings``
    with :meth:`asked`.

    Attributes:
        unreadable: Packs that are left alone, and why; whoever finds one puts it here.
        listed: The packs as they were when they were last looked at.

    Args:
        connection: An empty database that may read the packs.
        folder: The archive's.
        running: Whether pictures of runs that go on are taken in, too, until their record is there.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, folder: Path, *, running: bool = False
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._follows = running
        self._running: dict[str, RunningRun] = {}
        connection.execute(f"ATTACH ':memory:' AS {_NAME} (COMPRESS)")
        self.unreadable: dict[Path, str] = {}
        self.listed: Sequence[Pack] = ()
        self._trouble: dict[Path, str] = {}
        self._packs: dict[str, Pack] = {}
        self._loose: dict[str, _Loose] = {}
        self._old: dict[str, _OldPack] = {}
        self._passed_over: set[tuple[str, str]] = set()
        self._places = Places()
        self._ratings = FollowedRatings(ratings_folder(folder))
        self._said = SaidInMemory(f"{_NAME}.main")
        self._scores = ScoresInMemory(ratings_folder(folder), f"{_NAME}.main")
        self._rows = self._prompts = self._uncompressed = 0
        self._empty = True
        self._reuse = False
        self._scratch: list[str] = []
        self._create()

    # -- asking --------------------------------------------------------------------------

    @contextmanager
    def asked(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection with the views ``images`` and ``settings`` as they are now."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"USE {_NAME}")
            cursor.begin()
            yield cursor

    def condition(self, text: str, *, newest: bool = False) -> Filter:
        """Return what *text*, in the filter language, means for ``images``.

        Args:
            text: The condition.
            newest: It is asked of the newest pictures only.

        Raises:
            FilterError: It cannot be read.
        """
        prompts = "newest_prompts" if newest else "prompts"
        searched = {"prompt": _IN_PROMPTS.format(prompts), **_IN_NAMES_AND_SAID}
        return compile_filter(text, _KNOWN, searched, _EQUAL, _SETTINGS, scores=_SCORES)

    def rows(
        self,
        columns: Sequence[str],
        condition: str,
        page: Filter,
        *,
        order: Sequence[str],
        down: bool,
        limit: int | None,
    ) -> list[tuple[Any, ...]]:
        """Return *columns* of the first *limit* pictures that meet *condition* and are of *page*.

        Args:
            columns: Of the view ``images``.
            condition: In the filter language.
            page: Further condition, with the columns of *order*.
            order: The columns to sort by, a unique key at their end.
            down: Whether from the largest down.
            limit: Most of them; all when None.

        Raises:
            FilterError: The condition cannot be read.
            ArchiveError: It cannot answer.
        """
        by = sorting(order, down)
        shown = ", ".join(map(quoted_name, columns))
        with self.asked() as cursor:
            if limit is None:
                asked = self.selection(condition, {*columns, *order})
                source, scorer = scored_source(asked.source, order, "row_")
                return fetched_rows(
                    cursor,
                    f"SELECT {shown} FROM {source} WHERE {asked.where} AND {page.sql}"
                    f" ORDER BY {by}",
                    [*scorer, *asked.parameters, *page.parameters],
                )
            # First which, then all their columns: rows are wide, and few are shown.
            numbers: list[int] = []
            if order[0] == "timestamp" and down:
                numbers = self._first(cursor, condition, page, by, order, limit, newest=True)
            if len(numbers) < limit:
                numbers = self._first(cursor, condition, page, by, order, limit)
            if not numbers:
                return []
            source, scorer = scored_source("run_images", order, "row_")
            return fetched_rows(
                cursor,
                f"SELECT {shown} FROM {source} WHERE row_ BETWEEN ? AND ?"
                f" AND row_ IN (SELECT unnest(?::INTEGER[])) ORDER BY {by}",
                [*scorer, min(numbers), max(numbers), numbers],
            )

    def chosen(self, condition: str) -> ChosenPictures:
        """Return the pictures that meet *condition*.

        Raises:
            FilterError: It cannot be read.
            ArchiveError: It cannot answer.
        """
        with self.asked() as cursor:
            return chosen_pictures(cursor, self.selection(condition))

    def selection(
        self, condition: str, columns: Collection[str] = (), *, newest: bool = False
    ) -> Selection:
        """Return which pictures meet *condition*, for whoever asks for *columns* of them.

        Args:
            condition: In the filter language.
            columns: Those of ratings cost a join.
            newest: As in :meth:`condition`.

        Raises:
            FilterError: It cannot be read.
        """
        wanted = self.condition(condition, newest=newest)
        rated = bool(RATINGS.keys() & {*columns, *wanted.columns})
        return selection(
            wanted,
            reuse=self._reuse,
            once="images" if rated else ("plain_images" if self._reuse else "held"),
            every="run_images" if rated else "held",
        )

    def _first(
        self,
        cursor: duckdb.DuckDBPyConnection,
        condition: str,
        page: Filter,
        by: str,
        order: Sequence[str],
        limit: int,
        *,
        newest: bool = False,
    ) -> list[int]:
        """Return which pictures come first; of the *newest* only, when they are told apart."""
        since = fetched_rows(cursor, "SELECT since FROM newest", ()) if newest else []
        if newest and not since:
            return []
        asked = self.selection(condition, order, newest=newest)
        source, scorer = scored_source(asked.source, order, "row_")
        bound = " AND timestamp >= ?" if newest else ""
        rows = fetched_rows(
            cursor,
            f"SELECT row_ FROM {source} WHERE {asked.where} AND {page.sql}{bound}"
            f" ORDER BY {by} LIMIT {int(limit)}",
            [*scorer, *asked.parameters, *page.parameters, *(row[0] for row in since)],
        )
        return [row for (row,) in rows]

    def likely_holds(self, cursor: duckdb.DuckDBPyConnection, condition: str) -> bool:
        """Return whether *condition* holds of most of the newest pictures, if these are told apart.

        Raises:
            FilterError: It cannot be read.
        """
        since = fetched_rows(cursor, "SELECT since FROM newest", ())
        asked = self.selection(condition, newest=True)
        if not since or not asked.source.isidentifier():
            return False
        ((every, found),) = fetched_rows(
            cursor,
            f"SELECT count(*), count(*) FILTER ({asked.where}) FROM {asked.source}"
            " WHERE timestamp >= ?",
            [*asked.parameters, since[0][0]],
        )
        return bool(2 * found > every)

    def scorers(self) -> tuple[str, ...]:
        """Return the scorers that have said anything, by name."""
        with self.asked() as cursor:
            return tuple(name for (name,) in self._scores.scorers(cursor))

    def scores_of(self, digests: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return (name, number, unit) of what scorers say of the picture with *digests*."""
        with self.asked() as cursor:
            return self._scores.of_picture(cursor, digests)

    def document(self, run_id: str) -> bytes | None:
        """Return the record of a run as its pack has it, None when no pack holds it.

        Raises:
            ArchiveError: The pack cannot be read.
        """
        with self.asked() as cursor:
            statement = f"SELECT source_ FROM held WHERE {_EQUAL['run_id']} LIMIT 1"
            source = fetched_rows(cursor, statement, [run_id] * 3)
            pack = self._packs.get(source[0][0]) if source else None
            if pack is None:
                return None
            file = str(pack.path.absolute() / "documents.parquet")
            statement = "SELECT json FROM read_parquet(?) WHERE run_id = ?"
            rows = fetched_rows(cursor, statement, [file, run_id])
        return rows[0][0].encode() if rows else None

    def left_out(self) -> dict[Path, str]:
        """Return what cannot be used, and why."""
        folder = records_folder(self._folder)
        loose = {folder / name: file.fault for name, file in self._loose.items() if file.fault}
        packs = packs_folder(self._folder)
        old = {packs / name: pack.fault for name, pack in self._old.items() if pack.fault}
        return {**self._trouble, **old, **loose, **self._ratings.trouble}

    # -- keeping up ----------------------------------------------------------------------

    def is_too_large(self) -> bool:
        """Return whether the packs hold more pictures than should be in memory."""
        packs = self._packs_now().values()
        tables = [pack.tables for pack in packs if pack.tables is not None]
        pictures = 0
        if tables:
            files = [str(folder.absolute() / "images.parquet") for folder in tables]
            statement = "SELECT sum(num_rows) FROM parquet_file_metadata(?)"
            pictures = int(fetched_rows(self._connection, statement, [files])[0][0])
        return pictures + sum(_pictures_of(pack) for pack in packs if pack.tables is None) > MOST

    def catch_up(self) -> None:
        """Take in what changed on the disk since the last time; at first, everything.

        Raises:
            duckdb.Error: A pack cannot be read; the table is as it was.
        """
        # First of all: a run that has no marker any more has its record by now.
        running = running_names(self._folder) if self._follows else ()
        loose = _listed(records_folder(self._folder))
        places = read_places(imports_folder(self._folder))
        with self._connection.cursor() as cursor, self._change(cursor):
            self._take_records(cursor, loose, places)
            self._take_running(cursor, running)
        self._empty = False
        self.catch_up_ratings()

    @property
    def lags(self) -> bool:
        """Whether runs that go on have made more than was taken in at once."""
        return any(run.lags for run in self._running.values())

    def catch_up_running(self) -> None:
        """Take in what runs that go on have made since the last time.

        Raises:
            duckdb.Error: It cannot be kept; the table is as it was.
        """
        running = running_names(self._folder)
        if not self._running.keys() <= set(running):  # one has ended
            self.catch_up()
            return
        with self._connection.cursor() as cursor, self._change(cursor):
            self._take_running(cursor, running)

    def catch_up_ratings(self) -> bool:
        """Take in what people said since the last time; return whether of very many pictures."""
        try:
            change = self._ratings.news()
            with self._connection.cursor() as cursor, self._change(cursor):
                self._said.take(cursor, change)
                is_large = bool(change.alike)
                self._scores.catch_up(cursor, self._ratings.undos())
        except BaseException:
            self._ratings = FollowedRatings(ratings_folder(self._folder))
            self._scores = ScoresInMemory(ratings_folder(self._folder), f"{_NAME}.main")
            raise
        return is_large

    def _create(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(f"USE {_NAME}")
            own = ", ".join(f'"{name}" {_HELD[name]}' for name in _COLUMNS)
            cursor.execute(
                "CREATE TABLE held (row_ INTEGER, source_ VARCHAR, sha_key_ UBIGINT,"
                f" pixel_key_ UBIGINT, image_key_ UBIGINT, run_key_ UBIGINT,"
                f" {DAY} VARCHAR, {SIZE} VARCHAR, file_ VARCHAR, {IN_FOLDER} VARCHAR,"
                f" prompt_id BIGINT, {own})"
            )
            cursor.execute("CREATE TABLE prompts (prompt_id BIGINT, lower_prompt VARCHAR)")
            cursor.execute("CREATE TABLE changes AS SELECT 0 AS n")
            cursor.execute("CREATE TABLE newest (since VARCHAR)")
            cursor.execute("CREATE TABLE newest_prompts (prompt_id BIGINT, lower_prompt VARCHAR)")
            cursor.execute(
                f"CREATE TABLE settings (row_ INTEGER, {KEY} VARCHAR, name VARCHAR, number DOUBLE,"
                " text VARCHAR)"
            )
            self._said.create(cursor)
            self._scores.create(cursor)
            named = ", ".join(f'o."{name}"' for name in RATINGS)
            cursor.execute("CREATE TABLE shown_reuse (run_id VARCHAR, place BIGINT)")
            cursor.execute(
                f"CREATE VIEW run_images AS SELECT h.*, {named} FROM held h"
                " LEFT JOIN rated r ON r.row_ = h.row_ LEFT JOIN opinions o ON o.said_ = r.said_"
            )
            cursor.execute(f"CREATE VIEW images AS SELECT * FROM run_images WHERE {SHOWN_ONCE}")
            cursor.execute(f"CREATE VIEW plain_images AS SELECT * FROM held WHERE {SHOWN_ONCE}")

    @contextmanager
    def _change(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        cursor.execute(f"USE {_NAME}")
        cursor.begin()
        try:
            yield
            cursor.execute(f"UPDATE {_NAME}.main.changes SET n = n + 1")
            cursor.commit()
        except BaseException:
            self._scratch.clear()
            with suppress(Exception):  # a commit that failed is rolled back already
                cursor.rollback()
            raise
        self._clear(cursor)

    def _packs_now(self) -> dict[str, Pack]:
        packs, trouble = read_packs(packs_folder(self._folder))
        self.unreadable = {p: reason for p, reason in self.unreadable.items() if p.exists()}
        self._trouble = {**trouble, **self.unreadable}
        self.listed = [pack for pack in packs if pack.path not in self.unreadable]
        return {pack.path.name: pack for pack in self.listed}

    def _take_records(
        self,
        cursor: duckdb.DuckDBPyConnection,
        listed: Mapping[str, _Loose],
        places: Places,
    ) -> None:
        first_new = self._rows + 1
        batch = Batch(self._prompts)
        loose, doubled = self._read_loose(listed, batch)
        # Not before they were read: what is packed meanwhile is then seen twice, which is put
        # right, and the other way round it would not be seen at all.
        packs = self._packs_now()
        stay = {name for name in loose if loose[name] == self._loose.get(name)}
        runs = [file.run for file in loose.values() if file.run is not None]
        old_packs = {
            name: self._old[name] if self._packs.get(name) == pack else _old_pack(pack)
            for name, pack in packs.items()
            if pack.tables is None
        }
        old_runs = {name: old.runs for name, old in old_packs.items()}
        with_tables = tuple(pack for pack in packs.values() if pack.tables is not None)
        find_passed_over(cursor, with_tables, {**old_runs, _LOOSE: runs})
        passed_over = {(name, run_id) for name, run_id in fetched_rows(
            cursor, "SELECT pack, run_id FROM passed_over", ())}  # fmt: skip
        cursor.execute("DROP TABLE passed_over")
        back = {run_id for source, run_id in self._passed_over - passed_over if source == _LOOSE}
        # A run that no pack has any more, and one that goes from one of several loose files.
        gone = {o.run.run_id for n, o in self._loose.items() if n not in stay and o.run is not None}
        for name, file in loose.items():
            if file.run is not None and file.run.run_id in back | gone | doubled:
                with suppress(FileNotFoundError):
                    self._read_again(name, batch)
        self._drop_runs(cursor, [(_LOOSE, run_id) for run_id in gone | doubled])
        again = {name for name, _ in self._passed_over - passed_over}
        old = [n for n, pack in self._packs.items() if packs.get(n) != pack or n in again]
        self._drop_packs(cursor, old)
        taken = set(old)
        if batch.runs:
            self._prompts += batch.sizes()["prompts"]
            self._take(cursor, _LOOSE, (), batch, places)
            taken.add(_LOOSE)
        for name, pack in packs.items():
            if name in old or name not in self._packs:
                taken.add(name)
                if pack.tables is not None:
                    self._take(cursor, name, (pack,), Batch(), places)
                    continue
                batch = Batch(self._prompts)
                take_documents(pack, batch)
                self._prompts += batch.sizes()["prompts"]
                self._take(cursor, name, (), batch, places)
        self._drop_runs(
            cursor,
            [
                passed
                for passed in passed_over
                if passed not in self._passed_over or passed[0] in taken
            ],
        )
        if gone or doubled or old or passed_over != self._passed_over:
            self._sweep(cursor)
        self._said.join(cursor, f"h.row_ >= {first_new}")
        self._scores.join(cursor, f"h.row_ >= {first_new}")
        if moved := [(d, path) for d, path in places.items() if self._places.get(d) != path]:
            self._move(cursor, moved)
        was = self._places
        if moved or (places.gone, places.discarded) != (was.gone, was.discarded):
            self._note_gone(cursor, {**was.gone, **places.gone}, places)
        self._find_newest(cursor)
        self._find_reuse(cursor)
        self._packs, self._loose, self._old = dict(packs), loose, old_packs
        self._passed_over, self._places = passed_over, places

    def _take_running(self, cursor: duckdb.DuckDBPyConnection, names: Collection[str]) -> None:
        """Add what the runs *names* have made since the last time, until they have a record."""
        first_new = self._rows + 1
        batch, again = Batch(self._prompts), False
        ended = self._running.keys() - set(names)
        for name in names:
            run = self._running.setdefault(name, RunningRun(self._folder, name))
            record = run.news()
            if record is not None:
                batch.add(record, behind=(run.pictures, run.variants))
                run.took(record)
                again = again or b'"drawn_by":"' in bytes(record.template)
        if batch.runs:
            self._prompts += batch.sizes()["prompts"]
            self._take(cursor, _RUNNING, (), batch, self._places)
            main = f"{_NAME}.main"
            cursor.execute(
                f"INSERT INTO {main}.newest_prompts SELECT p.* FROM {main}.prompts p, {main}.newest"
                f" WHERE p.prompt_id IN (SELECT prompt_id FROM {main}.held WHERE row_ >= ?)",
                [first_new],
            )
            self._said.join(cursor, f"h.row_ >= {first_new}")
            self._scores.join(cursor, f"h.row_ >= {first_new}")
        if not self._running:
            return
        run_ids = sorted(self._running)
        recorded = {run_id for (run_id,) in fetched_rows(
            cursor,
            f"SELECT DISTINCT run_id FROM {_NAME}.main.held WHERE run_key_ IN"
            " (SELECT hash(unnest(?::VARCHAR[]))) AND source_ <> ?",
            [run_ids, _RUNNING],
        )}  # fmt: skip
        forgot = self._forget_running(cursor, sorted(recorded | ended))
        for name in ended:
            del self._running[name]
        if again or (forgot and self._reuse):
            self._find_reuse(cursor)

    def _forget_running(self, cursor: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> int:
        """Let go of what runs had made while they went on; return how many pictures that were."""
        if not run_ids:
            return 0
        main = f"{_NAME}.main"
        rows = [row for (row,) in fetched_rows(
            cursor,
            f"SELECT row_ FROM {main}.held WHERE source_ = ? AND run_id IN"
            " (SELECT unnest(?::VARCHAR[]))",
            [_RUNNING, list(run_ids)],
        )]  # fmt: skip
        for table in ("held", "settings", "rated", "scores") if rows else ():
            cursor.execute(
                f"DELETE FROM {main}.{table} WHERE row_ IN (SELECT unnest(?::INTEGER[]))", [rows]
            )
        return len(rows)

    def _read_loose(
        self, listed: Mapping[str, _Loose], batch: Batch
    ) -> tuple[dict[str, _Loose], set[str]]:
        """Return *listed* with their runs, and which of these have records old and new.

        What is new is read into *batch*, for that one of several records of a run counts.
        """
        loose: dict[str, _Loose] = {}
        for name, seen in listed.items():
            known = self._loose.get(name)
            if known is not None and (known.size, known.changed) == (seen.size, seen.changed):
                loose[name] = known
        old = {file.run.run_id for file in loose.values() if file.run is not None}
        doubled: set[str] = set()
        for name, seen in listed.items():
            if name not in loose:
                with suppress(FileNotFoundError):  # packed meanwhile
                    read = self._read_again(name, batch, old)
                    run_and_fault = (None, read) if isinstance(read, str) else (read, "")
                    loose[name] = _Loose(seen.size, seen.changed, *run_and_fault)
                    if isinstance(read, Run) and read.run_id in old:
                        doubled.add(read.run_id)
        return dict(sorted(loose.items())), doubled

    def _read_again(self, name: str, batch: Batch, without: Collection[str] = ()) -> Run | str:
        """Read a record into *batch*, unless it is of a run of *without*; or say why not."""
        path = records_folder(self._folder) / name
        try:
            record = decoded(read_regular_file(path))
        except FileNotFoundError:
            raise
        except (OSError, RecordError) as error:
            return str(error)
        written = partial(written_at, str(path))
        if record.run_id not in without:
            batch.add(record, written)
        return run_of(record, written)

    def _take(
        self,
        cursor: duckdb.DuckDBPyConnection,
        source: str,
        packs: Sequence[Pack],
        batch: Batch,
        places: Places,
    ) -> None:
        """Add the pictures of one source, doubles and all."""
        main = f"{_NAME}.main"
        scratch = f"{_NAME}.scratch_{len(self._scratch)}"
        self._scratch.append(scratch)
        cursor.execute(f"CREATE SCHEMA {scratch}")
        cursor.execute(f"USE {scratch}")
        Views(cursor, packs, batch, places=places).show()
        cursor.execute(f"INSERT INTO {main}.prompts SELECT prompt_id, lower_prompt FROM prompts")
        cursor.execute(
            f"INSERT INTO {main}.held SELECT {self._rows} + row_number() OVER (), ?,"
            " hash(sha256), hash(pixel_sha256), hash(image_sha256), hash(run_id), timestamp[1:10],"
            f" width || '×' || height, {FILE_NAME}, {FOLDER}, prompt_id, {_OWN}"
            " FROM plain_run_images",
            [source],
        )
        if fetched_rows(cursor, "SELECT 1 FROM settings LIMIT 1", ()):
            cursor.execute(
                f"INSERT INTO {main}.settings SELECT h.row_, s.{KEY}, s.name, s.number, s.text"
                f" FROM (SELECT *, {SETTING_KEY} AS {KEY} FROM settings) s JOIN {main}.held h"
                " ON h.run_id = s.run_id AND h.place = s.place WHERE h.row_ > ?",
                [self._rows],
            )
        rows = fetched_rows(cursor, f"SELECT max(row_) FROM {main}.held", ())[0][0] or 0
        self._uncompressed += max(0, rows - self._rows)
        self._rows = max(self._rows, rows)
        cursor.execute(f"USE {_NAME}")
        if self._empty:  # nobody asks yet
            cursor.commit()
            self._clear(cursor)
            if self._uncompressed >= _COMPRESSED_TOGETHER:
                cursor.execute(f"CHECKPOINT {_NAME}")
                self._uncompressed = 0
            cursor.begin()

    def _clear(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Drop what changes were made with, which DuckDB does not let the change itself do."""
        while self._scratch:
            cursor.execute(f"DROP SCHEMA {self._scratch.pop()} CASCADE")

    def _drop_runs(
        self, cursor: duckdb.DuckDBPyConnection, runs: Sequence[tuple[str, str]]
    ) -> None:
        by_source: dict[str, list[str]] = {}
        for source, run_id in runs:
            by_source.setdefault(source, []).append(run_id)
        for source, ids in by_source.items():
            cursor.execute(
                f"DELETE FROM {_NAME}.main.held WHERE source_ = ?"
                " AND run_id IN (SELECT unnest(?::VARCHAR[]))",
                [source, ids],
            )

    def _drop_packs(self, cursor: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
        if names:
            cursor.execute(
                f"DELETE FROM {_NAME}.main.held WHERE source_ IN (SELECT unnest(?::VARCHAR[]))",
                [list(names)],
            )

    def _sweep(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Forget what belonged to pictures that are gone."""
        main = f"{_NAME}.main"
        keys = {"settings": "row_", "rated": "row_", "scores": "row_", "prompts": "prompt_id"}
        for table, key in keys.items():
            cursor.execute(
                f"DELETE FROM {main}.{table} WHERE {key} NOT IN"
                f" (SELECT {key} FROM {main}.held WHERE {key} IS NOT NULL)"
            )

    def _find_reuse(self, cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(f"USE {_NAME}")
        cursor.execute(f"DELETE FROM {_NAME}.main.shown_reuse")
        self._reuse = find_reuse(cursor, f"{_NAME}.main.held", f"{_NAME}.main.held")

    def _find_newest(self, cursor: duckdb.DuckDBPyConnection) -> None:
        main = f"{_NAME}.main"
        cursor.execute(f"DELETE FROM {main}.newest")
        cursor.execute(f"DELETE FROM {main}.newest_prompts")
        cursor.execute(
            f"INSERT INTO {main}.newest SELECT timestamp FROM {main}.held"
            f" ORDER BY timestamp DESC LIMIT 1 OFFSET {2 * _NEWEST}"
        )  # none when there are few
        if fetched_rows(cursor, f"SELECT 1 FROM {main}.newest", ()):
            cursor.execute(
                f"UPDATE {main}.newest SET since = (SELECT timestamp FROM {main}.held"
                f" ORDER BY timestamp DESC LIMIT 1 OFFSET {_NEWEST})"
            )
            cursor.execute(
                f"INSERT INTO {main}.newest_prompts SELECT * FROM {main}.prompts WHERE prompt_id IN"
                f" (SELECT prompt_id FROM {main}.held WHERE timestamp >="
                f" (SELECT since FROM {main}.newest))"
            )

    def _move(self, cursor: duckdb.DuckDBPyConnection, moved: Sequence[tuple[str, str]]) -> None:
        digests, paths = zip(*moved, strict=True)
        cursor.execute(
            f"UPDATE {_NAME}.main.held h SET path = m.path, file_ = {lower_file_name('m.path')},"
            f" {IN_FOLDER} = {FOLDER.replace('path,', 'm.path,')}"
            " FROM"
            " (SELECT unnest(?::VARCHAR[]) AS digest, unnest(?::VARCHAR[]) AS path) m"
            " WHERE m.digest = h.sha256",
            [list(digests), list(paths)],
        )

    def _note_gone(
        self, cursor: duckdb.DuckDBPyConnection, touched: Mapping[str, str], places: Places
    ) -> None:
        gone = "coalesce(m.gone_from = h.path, FALSE)"
        cursor.execute(
            f"UPDATE {_NAME}.main.held h SET gone = nullif({gone}, FALSE),"
            f" discarded = nullif({gone} AND m.discarded, FALSE)"
            " FROM (SELECT unnest(?::VARCHAR[]) AS digest, unnest(?::VARCHAR[]) AS gone_from,"
            " unnest(?::BOOLEAN[]) AS discarded) m WHERE m.digest = h.sha256",
            [list(touched), [places.gone.get(digest) for digest in touched],
             [digest in places.discarded for digest in touched]],
        )  # fmt: skip


def _old_pack(pack: Pack) -> _OldPack:
    batch = Batch()
    fault = take_documents(pack, batch)
    return _OldPack(batch.runs, fault)


def _pictures_of(pack: Pack) -> int:
    """Return how many pictures a pack of an earlier version holds, by its own tables if it can."""
    try:
        with connected() as connection:
            statement = "SELECT num_rows FROM parquet_file_metadata(?)"
            file = str(pack.path / "images.parquet")
            return int(fetched_rows(connection, statement, [file])[0][0])
    except ArchiveError:
        batch = Batch()
        take_documents(pack, batch)
        return batch.sizes()["images"]


def _listed(folder: Path) -> dict[str, _Loose]:
    listed = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    with suppress(FileNotFoundError):
                        status = entry.stat()
                        seen = _Loose(status.st_size, status.st_mtime_ns)
                        listed.append((entry.name, seen))
    except FileNotFoundError:
        return {}
    return dict(sorted(listed))
