"""views: packs and loose records as one set of tables, each run once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.archive.columns import (
    INTERNAL,
    OF_THE_RUN,
    RATINGS,
    TABLES,
    Batch,
    Run,
    columns_of,
    numpy_columns,
)
from safelight.archive.filters import Filter
from safelight.archive.packs import Pack, pack_name
from safelight.archive.run_copies import Rank, rank_of
from safelight.learning.ratings import Rating
from safelight.recorded_settings import LORA

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "SHOWN_ONCE",
    "VIEWS",
    "Selection",
    "Views",
    "doubled_runs",
    "find_reuse",
    "newest_first",
    "packs_at",
    "quoted_name",
    "registered_ratings",
    "selection",
]

VIEWS = ("runs", "images", "loras", "settings")
"""What may be asked."""

_FIRST_LOOK = 30_000
_GROWTH = 8

_LORAS = (
    f"SELECT run_id, place, substr(name, {len(LORA) + 1}) AS name, number AS weight FROM settings"
    f" WHERE starts_with(name, '{LORA}')"
)
_IN_PROMPTS = "prompt_id IN (SELECT prompt_id FROM prompts WHERE contains(lower_prompt, ?))"


class Views:
    """The views over some packs and the loose records, in one database.

    A run that is in several places counts once, in the earliest pack, and a picture that later
    runs used again counts once, as who drew it has it. Besides those that may be asked there are
    ``plain_images``, without what people say and with the columns for searching; ``prompts``; and
    ``run_images`` and ``plain_run_images``, where such a picture is there once for each run.

    Attributes:
        packs: All that have tables.
        doubled: Runs of which there are several records.
        reuse: Whether any picture is used again.

    Args:
        connection: Where they are made.
        packs: Those of the archive that have tables of today.
        loose: The records that are in no such pack.
        ratings: What people say now, joined to pictures by either of their hashes.
        places: SHA-256 of a picture -> where it lies now, when it was met elsewhere.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        packs: Sequence[Pack],
        loose: Batch,
        ratings: Iterable[Rating] = (),
        places: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self.packs = packs
        passed_over = doubled_runs(connection, packs, {"": loose.runs})
        self.doubled = loose.doubled | {run_id for _, run_id in passed_over}
        self._doubled = {name for name, _ in passed_over}
        columns = {"pack": "VARCHAR", "run_id": "VARCHAR"}
        given = numpy_columns(columns, columns_of(sorted(passed_over)))
        connection.register("given_passed_over", given)
        connection.execute(
            "CREATE TABLE passed_over AS SELECT pack::VARCHAR AS pack, run_id::VARCHAR AS run_id"
            " FROM given_passed_over"
        )
        connection.unregister("given_passed_over")
        loose.create_tables(connection)
        if "" in self._doubled:
            for table in ("runs", "images", "settings"):
                connection.execute(
                    f"DELETE FROM batch_{table} WHERE run_id IN"
                    " (SELECT run_id FROM passed_over WHERE pack = '')"
                )
        self._rated = _load_ratings(connection, list(ratings))
        self._moved = _load_places(connection, places or {})
        self.reuse = self._find_reuse()

    def show(self, packs: Sequence[Pack] | None = None, *, loose: bool = True) -> Mapping[str, str]:
        """Make the views show *packs*, all when None, and the loose records or not.

        Returns:
            Column -> SQL that looks for a text in it, for :func:`.filters.compile_filter`.
        """
        shown = self.packs if packs is None else packs
        for table, view in (
            ("prompts", "prompts"), ("runs", "runs"), ("settings", "settings"),
            ("images", "plain_run_images"),
        ):  # fmt: skip
            every = self._every(table, shown, loose=loose)
            if table == "images" and self._moved:
                every = self._moved.format(images=every)
            self._connection.execute(f"CREATE OR REPLACE VIEW {view} AS {every}")
        self._connection.execute(f"CREATE OR REPLACE VIEW loras AS {_LORAS}")
        once = f" WHERE {SHOWN_ONCE}" if self.reuse else ""
        self._connection.execute(
            f"CREATE OR REPLACE VIEW plain_images AS SELECT * FROM plain_run_images{once}"
        )
        for view in ("images", "run_images"):
            rated = self._rated.format(images=f"plain_{view}")
            self._connection.execute(f"CREATE OR REPLACE VIEW {view} AS {rated}")
        return {"prompt": _IN_PROMPTS}

    def _every(self, table: str, packs: Sequence[Pack], *, loose: bool = True) -> str:
        """Return SQL for all rows of *table*, of those of *packs* and of the loose records."""
        parts = [f"SELECT * FROM batch_{table}" + ("" if loose else " WHERE FALSE")]
        parts += self._packed(table, packs)
        return " UNION ALL BY NAME ".join(parts)

    def _packed(self, table: str, packs: Sequence[Pack]) -> Iterator[str]:
        """Yield SQL for each part of *packs*."""
        doubled = self._doubled if table != "prompts" else set()
        clean = [_file(pack, table) for pack in packs if pack.path.name not in doubled]
        if clean:
            yield f"SELECT * FROM read_parquet([{', '.join(clean)}])"
        for pack in packs:
            if pack.path.name in doubled:
                yield (
                    f"SELECT * FROM read_parquet({_file(pack, table)})"
                    " WHERE run_id NOT IN (SELECT run_id FROM passed_over"
                    f" WHERE pack = {_text(pack.path.name)})"
                )

    def _find_reuse(self) -> bool:
        """Find the pictures that are used again and whose own record is not here."""
        self._connection.execute(
            f"CREATE TEMP VIEW every_image AS {self._every('images', self.packs)}"
        )
        self._connection.execute(f"CREATE TEMP VIEW every_run AS {self._every('runs', self.packs)}")
        reuse = find_reuse(self._connection, "every_image", "every_run")
        self._connection.execute("DROP VIEW every_image")
        self._connection.execute("DROP VIEW every_run")
        return reuse


SHOWN_ONCE = "(drawn_by IS NULL OR (run_id, place) IN (SELECT run_id, place FROM shown_reuse))"
"""Keeps one row of each picture, where ``shown_reuse`` is what :func:`find_reuse` made."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pictures a question is about, as parts of SQL.

    Attributes:
        source: What to select from.
        where: What must hold.
        parameters: The values of both, in order.
    """

    source: str
    where: str
    parameters: tuple[Any, ...]


def selection(wanted: Filter, *, reuse: bool, once: str, every: str) -> Selection:
    """Return the pictures that meet *wanted*, each once.

    Where the condition is about runs, a picture that was used again is among those of each; one
    that is found several times is shown as who drew it has it, or the earliest of those found.

    Args:
        wanted: The condition.
        reuse: Whether any picture is used again.
        once: Name of the view that has each picture once.
        every: Name of the view that has it for each run.
    """
    if not reuse or not wanted.columns & OF_THE_RUN:
        return Selection(once, wanted.sql, wanted.parameters)
    chosen = f"SELECT * FROM {every} WHERE {wanted.sql}"
    source = (
        f"({chosen} AND drawn_by IS NULL UNION ALL SELECT * FROM ({chosen} AND drawn_by IS NOT NULL"
        " QUALIFY row_number() OVER (PARTITION BY sha256, path ORDER BY timestamp, run_id, place)"
        f" = 1) again WHERE NOT EXISTS (SELECT 1 FROM ({chosen} AND drawn_by IS NULL) first"
        " WHERE first.run_id = again.drawn_by AND first.sha256 = again.sha256))"
    )
    return Selection(source, "TRUE", wanted.parameters * 3)


def find_reuse(connection: duckdb.DuckDBPyConnection, images: str, runs: str) -> bool:
    """Create the table ``shown_reuse``; return whether any picture is used again.

    A picture that a run used again is not counted again. One whose own record is not here is
    counted as the earliest of those that used it has it.

    Args:
        connection: The database.
        images: Name of a view of all pictures of all runs.
        runs: Name of a view of all runs.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS shown_reuse (run_id VARCHAR, place BIGINT)")
    drawn_by = connection.execute(
        f"SELECT DISTINCT drawn_by FROM {images} WHERE drawn_by IS NOT NULL"
    ).fetchall()
    if not drawn_by:
        return False
    connection.execute(
        f"INSERT INTO shown_reuse SELECT arg_min(run_id, (timestamp, run_id, place)),"
        f" arg_min(place, (timestamp, run_id, place)) FROM {images} WHERE drawn_by IS NOT NULL"
        f" AND drawn_by NOT IN (SELECT run_id FROM {runs}) GROUP BY sha256, path"
    )
    return True


def newest_first(
    packs: Sequence[Pack], *, oldest: bool = False
) -> Iterator[tuple[list[Pack], str | None]]:
    """Yield *packs* in groups that grow, from the newest on, or from the *oldest*.

    With each comes a time that no record of a later group lies
    beyond, None with the last: who has found enough beyond it needs no further group.
    """
    ordered = sorted(packs, key=lambda pack: pack.first if oldest else pack.last)
    if not oldest:
        ordered.reverse()
    start, most = 0, _FIRST_LOOK
    while True:
        end, records = start, 0
        while end < len(ordered) and (end == start or records + ordered[end].records <= most):
            records += ordered[end].records
            end += 1
        if end == len(ordered):
            yield ordered[start:], None
            return
        yield ordered[start:end], ordered[end].first if oldest else ordered[end].last
        start, most = end, most * _GROWTH


def packs_at(packs: Sequence[Pack], times: Sequence[str]) -> list[Pack]:
    """Return those of *packs* that span one of *times*, which are sorted."""
    return [
        pack for pack in packs if bisect_left(times, pack.first) < bisect_right(times, pack.last)
    ]


def _load_ratings(connection: duckdb.DuckDBPyConnection, ratings: Sequence[Rating]) -> str:
    """Return SQL of the pictures with the columns of their ratings."""
    own = ", ".join(f'i."{name}"' for name in TABLES["images"] if name not in INTERNAL)
    if not ratings:
        none = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in RATINGS.items())
        return f"SELECT {own}, {none} FROM {{images}} i"
    with registered_ratings(connection, ratings) as rows:
        connection.execute(f"CREATE TABLE rated AS {rows}")
    # A hash of bytes is never one of pixels, so one table serves for both.
    rating_columns = ", ".join(f'coalesce(b."{name}", p."{name}") AS "{name}"' for name in RATINGS)
    return (
        f"SELECT {own}, {rating_columns} FROM {{images}} i LEFT JOIN rated b ON b.hash = i.sha256"
        " LEFT JOIN rated p ON p.hash = i.pixel_sha256"
    )


@contextmanager
def registered_ratings(
    connection: duckdb.DuckDBPyConnection, ratings: Sequence[Rating]
) -> Iterator[str]:
    """Give SQL that selects ``hash`` and the columns of *ratings*, a row for each hash."""
    rows = [
        (digest, r.stars, r.favourite, r.rejected, " ".join(r.tags) or None,
         "; ".join(r.notes.values()) or None, r.picks_won, r.picks_lost)
        for r in ratings for digest in (*r.sha256s, *r.pixel_sha256s)
    ]  # fmt: skip
    kinds = {"hash": "VARCHAR", **RATINGS}
    connection.register("given_ratings", numpy_columns(kinds, columns_of(rows)))
    casts = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in kinds.items())
    yield f"SELECT {casts} FROM given_ratings"
    connection.unregister("given_ratings")


def _load_places(connection: duckdb.DuckDBPyConnection, places: Mapping[str, str]) -> str:
    """Return SQL that puts the places where pictures lie now over those of their records."""
    if not places:
        return ""
    kinds = {"sha256": "VARCHAR", "place_now": "VARCHAR"}
    connection.register("given_places", numpy_columns(kinds, [list(places), list(places.values())]))
    connection.execute("CREATE TABLE moved AS SELECT * FROM given_places")
    connection.unregister("given_places")
    return (
        "SELECT i.* REPLACE (coalesce(m.place_now, i.path) AS path)"
        " FROM ({images}) i LEFT JOIN moved m ON m.sha256 = i.sha256"
    )


def doubled_runs(
    connection: duckdb.DuckDBPyConnection,
    packs: Sequence[Pack],
    taken: Mapping[str, Sequence[Run]],
) -> set[tuple[str, str]]:
    """Return (where it is, run_id) of every record that does not count.

    Of several records of a run the one of highest rank counts (:func:`.run_copies.rank_of`), of
    equal ones, which are the same, that of the earliest pack, and a loose one last.

    A run has one time, so only packs whose times overlap are looked into, which serial packing
    never makes. Records whose time is that of a file are looked for everywhere.

    Args:
        connection: A database that may read the packs.
        packs: Those with tables.
        taken: Where records are that are in no table of a pack -> their runs; loose ones are in
            ``""``, the last of them.
    """
    loose = [run for runs in taken.values() for run in runs]
    timely = [run for run in loose if not run.untimely]
    untimely = [run for run in loose if run.untimely]
    times = sorted(run.timestamp for run in timely)
    looks: list[tuple[Sequence[Pack], str, list[Any]]] = []
    if near := packs_at(packs, times):
        which = "timestamp BETWEEN ? AND ? AND run_id IN (SELECT unnest(?::VARCHAR[]))"
        looks.append((near, which, [times[0], times[-1], [run.run_id for run in timely]]))
    if untimely:
        which = "run_id IN (SELECT unnest(?::VARCHAR[]))"
        looks.append((packs, which, [[run.run_id for run in untimely]]))
    for some, which in (
        *((cluster, "TRUE") for cluster in _clusters(packs)),
        (packs, "status = 'imported'"), (packs, "stated_time IS NOT NULL"),
    ):  # fmt: skip
        if len(some) > 1:
            several = " GROUP BY run_id HAVING count(*) > 1"
            doubled = f"SELECT run_id FROM {_runs_of(some)} WHERE {which}{several}"
            looks.append((some, f"{which} AND run_id IN ({doubled})", []))
    place = {name: number for number, name in enumerate([*(p.path.name for p in packs), *taken])}
    copies: dict[str, dict[str, Rank]] = {}
    for name, runs in taken.items():
        for run in runs:
            ranks = copies.setdefault(run.run_id, {})
            ranks[name] = max(run.rank, ranks.get(name, run.rank))
    for some, which, parameters in looks:
        if some:
            for run_id, file, status, pictures, own_digest in connection.execute(
                f"SELECT run_id, filename, coalesce(status, ''), coalesce(pictures, 0), digest"
                f" FROM {_runs_of(some)} WHERE {which}",
                parameters,
            ).fetchall():
                ranks = copies.setdefault(run_id, {})
                ranks[pack_name(file)] = rank_of(status, pictures, own_digest)
    passed_over: set[tuple[str, str]] = set()
    for run_id, ranks in copies.items():
        names = sorted(ranks, key=place.__getitem__)
        counts = max(names, key=ranks.__getitem__)  # the first of those
        passed_over |= {(name, run_id) for name in names if name != counts}
    return passed_over


def _clusters(packs: Sequence[Pack]) -> Iterator[list[Pack]]:
    """Yield the packs that hang together by overlapping times, two or more each."""
    cluster: list[Pack] = []
    end = ""
    for pack in sorted(packs, key=lambda pack: (pack.first, pack.last)):
        if cluster and pack.first > end:
            if len(cluster) > 1:
                yield cluster
            cluster = []
        end = max(end, pack.last) if cluster else pack.last
        cluster.append(pack)
    if len(cluster) > 1:
        yield cluster


def _runs_of(packs: Sequence[Pack]) -> str:
    files = ", ".join(_file(pack, "runs") for pack in packs)
    return f"read_parquet([{files}], filename = true)"


def _file(pack: Pack, table: str) -> str:
    assert pack.tables is not None
    return _text(str(pack.tables.absolute() / f"{table}.parquet"))


def quoted_name(column: str) -> str:
    """Return *column* as SQL names it."""
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
