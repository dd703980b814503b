"""Archive: everything that was ever drawn into one folder, found by what it was made with.

There is no index that could rot: DuckDB reads the packs, and the few loose records are decoded
and handed to it. What is damaged or foreign is passed over, counted and told by ``verify``,
never deleted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.archive.columns import INTERNAL, RATINGS, TABLES, Batch, decoded
from safelight.archive.filters import Filter, compile_filter
from safelight.archive.packing import Packed, pack_in_batches, share_out, worthwhile_processes
from safelight.archive.packs import Pack, checked, read_documents, read_packs, write_pack
from safelight.archive.paging import cursor, page_condition
from safelight.archive.places import read_places
from safelight.archive.search import KEYS, Search, fetched_rows
from safelight.archive.views import VIEWS, Views, quoted_name
from safelight.archive_layout import imports_folder, packs_folder, records_folder
from safelight.errors import ArchiveError, FilterError, RecordError
from safelight.knobs import did_you_mean
from safelight.learning.learning_record import LearningRecord, LearningRecordWriter
from safelight.learning.ratings import Rating, RatingStore, current_ratings, ratings_folder

if TYPE_CHECKING:
    import duckdb

__all__ = ["Answer", "Archive", "Fault", "PackReport"]

_PER_PACK = 20_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query found.

    Attributes:
        columns: Their names.
        rows: One tuple per row.
        after: Where the next page begins; None on the last one.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    after: str | None = None

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Yield each row as column -> value."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))

    def parquet(self) -> bytes:
        """Return the rows as a Parquet file (zstd)."""
        import duckdb
        import numpy as np

        table = {}
        for place, column in enumerate(self.columns):
            table[column] = np.empty(len(self.rows), object)
            table[column][:] = [row[place] for row in self.rows]
        with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
            connection.register("given", table)
            kinds = {**TABLES["images"], **RATINGS}
            casts = ", ".join(
                f"CAST({quoted_name(name)} AS {kinds.get(name, 'VARCHAR')}) AS {quoted_name(name)}"
                for name in self.columns
            )
            file = Path(folder) / "rows.parquet"
            connection.execute(
                f"COPY (SELECT {casts} FROM given) TO '{file}' (FORMAT parquet, COMPRESSION zstd)"
            )
            return file.read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something in the archive that cannot be used; it was left as it is.

    Attributes:
        path: Where.
        told: Why.
    """

    path: Path
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What packing did.

    Attributes:
        records: Loose records that are in packs now.
        packs: The packs that were made.
        left: Loose files that were left where they are, and why.
    """

    records: int = 0
    packs: tuple[Path, ...] = ()
    left: tuple[Fault, ...] = field(default_factory=tuple)


class Archive:
    """One archive folder.

    Args:
        path: The folder; it is made when something is written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def writer(self) -> LearningRecordWriter:
        """Return a writer of records into this archive."""
        return LearningRecordWriter(records_folder(self.path))

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
            view: ``images``, ``runs`` or ``loras``.
            columns: Which to return; all when none is named.
            sort: A column, with ``-`` before it from the largest down.
            limit: Most rows of a page; None for all.
            after: ``Answer.after`` of the page before.

        Raises:
            FilterError: The condition, a column or *after* cannot be read.
            ArchiveError: The archive cannot answer.
        """
        known = _columns_of(view)
        name, down = sort.removeprefix("-"), sort.startswith("-")
        for column in (*columns, name):
            if column not in known:
                hint = did_you_mean(column, known) or f"; there are: {', '.join(known)}"
                raise FilterError(f"{view} has no column {column!r}{hint}")
        order = (name, *(key for key in KEYS[view] if key != name))
        page = page_condition(order, down, after)
        shown = tuple(dict.fromkeys(columns)) or tuple(known)
        fetched = dict.fromkeys((*shown, *order))
        rows = self._found(
            tuple(fetched), condition, page, view=view, order=order, down=down, after=after,
            limit=None if limit is None else limit + 1,
        )  # fmt: skip
        more = limit is not None and len(rows) > limit
        rows = rows[:limit] if limit is not None else rows
        places = {column: place for place, column in enumerate(fetched)}
        following = cursor([rows[-1][places[c]] for c in order]) if more and rows else None
        kept = tuple(tuple(row[: len(shown)]) for row in rows)
        return Answer(columns=shown, rows=kept, after=following)

    def _found(
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
        known = _columns_of(view)
        wanted = compile_filter(condition, known)
        rated = view == "images" and RATINGS.keys() & {*columns, *wanted.columns}
        with self._database() as connection:
            return Search(
                connection=connection, views=self._views(connection, rated=bool(rated)),
                view=view, known=known, condition=condition, order=order, down=down, page=page,
                after=after,
            ).rows(columns, limit)  # fmt: skip

    def sql(self, statement: str) -> Answer:
        """Return what one SELECT over the views ``runs``, ``images`` and ``loras`` gives.

        It reads nothing but this archive, and changes nothing.

        Raises:
            ArchiveError: It is no single SELECT, or fails.
        """
        import duckdb

        with self.connect() as connection:
            try:
                statements = connection.extract_statements(statement)
            except duckdb.Error as error:
                raise ArchiveError(f"the SQL cannot be read: {error}") from error
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ArchiveError("only one SELECT at a time may be asked")
            rows = fetched_rows(connection, statement, ())
            columns = tuple(entry[0] for entry in connection.description or ())
        return Answer(columns=columns, rows=tuple(rows))

    def record(self, run_id: str) -> LearningRecord:
        """Return the record of the run whose id begins with *run_id*, of the newest for ``last``.

        Raises:
            ArchiveError: There is none, or more than one.
        """
        if run_id == "last":
            newest = self.query(view="runs", columns=["run_id"], limit=1).rows
            if not newest:
                raise ArchiveError(
                    f"there are no records in {self.path}; make one with: safelight run CONFIG"
                )
            run_id = newest[0][0]
        found: dict[str, bytes] = {}
        for path in self._loose():
            if path.stem.rpartition("_")[2].startswith(run_id):
                found[path.stem.rpartition("_")[2]] = path.read_bytes()
        if packs := self._packs():
            files = [str(pack.path.absolute() / "documents.parquet") for pack in packs]
            with self._database() as connection:
                rows = fetched_rows(
                    connection,
                    "SELECT run_id, json FROM read_parquet(?) WHERE starts_with(run_id, ?)"
                    " AND run_id BETWEEN ? AND ? LIMIT 9",
                    [files, run_id, run_id, run_id + "\U0010ffff"],
                )
            found |= {key: text.encode() for key, text in rows}
        if len(found) != 1:
            if not found:
                raise ArchiveError(f"no run in {self.path} has an id that begins with {run_id!r}")
            ids = ", ".join(sorted(found)[:5])
            raise ArchiveError(
                f"{len(found)} runs begin with {run_id!r}: {ids}; give more of the id"
            )
        return LearningRecord.from_json(next(iter(found.values())))

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a database with the views, which sees no file but the packs.

        Raises:
            ArchiveError: A pack cannot be read.
        """
        connection = self._database()
        try:
            self._views(connection, rated=True).show()
        except BaseException:
            connection.close()
            raise
        return connection

    def _database(self, *, threads: int | None = None) -> duckdb.DuckDBPyConnection:
        """Return a database that sees no file but the packs; it has no views yet."""
        import duckdb

        connection = duckdb.connect()
        folder = str(packs_folder(self.path).absolute())
        connection.execute("SET allowed_directories = [?]", [folder])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET pandas_analyze_sample = 0")
        if threads is not None:
            connection.execute(f"SET threads = {threads}")
        connection.execute("SET lock_configuration = true")
        return connection

    def _packs(self) -> list[Pack]:
        packs, trouble = read_packs(packs_folder(self.path))
        for path, told in trouble.items():
            _log.warning("%s %s; it is passed over", path.name, told)
        return packs

    def _views(self, connection: duckdb.DuckDBPyConnection, *, rated: bool) -> Views:
        import duckdb

        # The packs last: what is packed meanwhile is then seen twice, which is put right, and
        # the other way round it would not be seen at all.
        loose = self._loose_batch()
        packs = self._packs()
        try:
            return Views(
                connection, packs, loose, self._ratings() if rated else (),
                read_places(imports_folder(self.path)),
            )  # fmt: skip
        except duckdb.Error as error:
            raise ArchiveError(f"{self.path} cannot be asked: {error}") from error

    def ratings(self) -> RatingStore:
        """Return the store of this archive's ratings."""
        return RatingStore(ratings_folder(self.path))

    def _ratings(self) -> Sequence[Rating]:
        if not ratings_folder(self.path).is_dir():
            return ()
        return tuple(current_ratings(self.ratings().events()).values())

    def picture_keys(self) -> Any:
        """Return the first eight bytes of every picture's SHA-256, sorted: uint64[pictures]."""
        import numpy as np

        key = "CAST('0x' || substr(sha256, 1, 16) AS UBIGINT)"
        with contextlib.closing(self.connect()) as connection:
            rows = connection.execute(
                f"SELECT {key} AS key FROM images WHERE regexp_full_match(sha256, '[0-9a-f]{{64}}')"
            )
            return np.unique(rows.fetchnumpy()["key"].astype(np.uint64))

    # -- keeping -------------------------------------------------------------------------

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
        """Move the loose records into packs; with fewer than *at_least* do nothing.

        Args:
            at_least: As many must be loose.
            per_pack: Most records of one pack.
            on_progress: Told how many of how many are done.

        Raises:
            ArchiveError: A pack could not be written; its records stay loose.
        """
        loose = self._loose_names()
        if len(loose) < at_least:
            return PackReport()
        processes = worthwhile_processes(len(loose))
        batches = share_out(loose, per_pack, processes)
        done = 0

        def tell(packed: Packed) -> None:
            nonlocal done
            done += packed.records
            on_progress(done, len(loose))

        packs, records = packs_folder(self.path), records_folder(self.path)
        results = pack_in_batches(packs, records, batches, tell, processes=processes)
        return PackReport(
            records=sum(result.records for result in results),
            packs=tuple(result.pack for result in results if result.pack is not None),
            left=tuple(Fault(path=p, told=told) for result in results for p, told in result.left),
        )

    def recover(self) -> PackReport:
        """Finish what a crash interrupted: delete loose records that a pack holds to the letter.

        Also removes what packers that no longer run left half written, when it is a day old.

        Returns:
            How many loose records went, and which files differ from the pack's and stay.

        Raises:
            ArchiveError: A pack cannot be read.
        """
        left: list[Fault] = []
        gone = 0
        loose = {path.stem.rpartition("_")[2]: path for path in self._loose()}
        for pack in self._packs():
            for run_id, document in read_documents(pack.path) if loose else ():
                path = loose.get(run_id)
                if path is None:
                    continue
                if path.read_bytes() == document:
                    path.unlink(missing_ok=True)
                    gone += 1
                else:
                    left.append(Fault(path=path, told=f"differs from {pack.path.name}'s"))
                del loose[run_id]
        yesterday = time.time() - 86_400
        for hidden in packs_folder(self.path).glob(".*.tmp"):
            if hidden.is_dir() and hidden.stat().st_mtime < yesterday:
                shutil.rmtree(hidden, ignore_errors=True)
        return PackReport(records=gone, left=tuple(left))

    def verify(self) -> tuple[int, list[Fault]]:
        """Read everything; return how many records are whole, and what is not.

        Nothing is changed or deleted.
        """
        packs, trouble = read_packs(packs_folder(self.path))
        faults = [Fault(path=path, told=told) for path, told in trouble.items()]
        whole = 0
        for pack in packs:
            told = checked(pack)
            if told is None:
                whole += pack.records
            else:
                faults.append(Fault(path=pack.path, told=told))
        for path in sorted(records_folder(self.path).glob("*")):
            if path.name.startswith("."):
                continue
            try:
                LearningRecord.from_json(path.read_bytes())
                whole += 1
            except (OSError, RecordError) as error:
                faults.append(Fault(path=path, told=str(error)))
        return whole, faults

    def merge(self, other: Archive) -> int:
        """Copy what *other* has and this archive lacks; return how many files were copied.

        Names are unique wherever they were made, so a file of the same name is the same file.
        """
        copied = 0
        for source in sorted(other.path.rglob("*")):
            place = source.relative_to(other.path)
            hidden = any(part.startswith(".") for part in place.parts)
            if not source.is_file() or hidden or place.parts[0] == "running":
                continue
            target = self.path / place
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.tmp")
            shutil.copy2(source, temporary)
            temporary.replace(target)
            copied += 1
        return copied

    # -- reading -------------------------------------------------------------------------

    def _loose(self) -> Iterator[Path]:
        for name in self._loose_names():
            yield records_folder(self.path) / name

    def _loose_names(self) -> list[str]:
        try:
            names = sorted(os.listdir(records_folder(self.path)))
        except FileNotFoundError:
            return []
        return [name for name in names if name.endswith(".json") and not name.startswith(".")]

    def _loose_batch(self) -> Batch:
        batch = Batch()
        for path in self._loose():
            try:
                batch.add(decoded(path.read_bytes()))
            except (OSError, RecordError) as error:
                _log.warning("%s is passed over: %s", path.name, error)
        return batch


def _columns_of(view: str) -> Mapping[str, str]:
    if view not in VIEWS:
        raise FilterError(
            f"there is no view {view!r}{did_you_mean(view, VIEWS)}; views: {', '.join(VIEWS)}"
        )
    own = {name: kind for name, kind in TABLES[view].items() if name not in INTERNAL}
    return {**own, **RATINGS} if view == "images" else own
