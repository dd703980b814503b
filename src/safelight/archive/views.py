"""views: packs and loose records as one set of tables, each run once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from safelight.archive.columns import (
    INTERNAL,
    RATINGS,
    TABLES,
    Batch,
    columns_of,
    numpy_columns,
)
from safelight.archive.packs import FIRST_LAYOUT, Pack
from safelight.learning.ratings import Rating

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "VIEWS",
    "Views",
    "doubled_runs",
    "newest_first",
    "packs_at",
    "quoted_name",
    "registered_ratings",
]

VIEWS = ("runs", "images", "loras")
"""What may be asked."""

_FIRST_LOOK = 30_000
_GROWTH = 8

_IN_TEXT = "contains(lower_prompt, ?)"
_IN_PROMPTS = "prompt_id IN (SELECT prompt_id FROM prompts WHERE contains(lower_prompt, ?))"


class Views:
    """The views over some packs and the loose records, in one database.

    A run that is in several places counts once, in the earliest pack. Besides those that may be
    asked there are ``plain_images``, without what people say and with the columns for searching,
    and ``prompts``.

    Attributes:
        packs: All of the archive.

    Args:
        connection: Where they are made.
        packs: See above.
        loose: The records that are in no pack.
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
        self._passed_over = doubled_runs(connection, packs, loose.runs)
        loose.create_tables(connection)
        if again := [run_id for pack, run_id in self._passed_over if not pack]:
            for table in VIEWS:
                connection.execute(
                    f"DELETE FROM batch_{table} WHERE list_contains(?, run_id)", [again]
                )
        self._rated = _load_ratings(connection, list(ratings))
        self._moved = _load_places(connection, places or {})

    def show(self, packs: Sequence[Pack] | None = None, *, loose: bool = True) -> Mapping[str, str]:
        """Make the views show *packs*, all when None, and the loose records or not.

        Returns:
            Column -> SQL that looks for a text in it, for :func:`.filters.compile_filter`.
        """
        shown = self.packs if packs is None else packs
        first = [pack for pack in shown if pack.schema == FIRST_LAYOUT]
        later = [pack for pack in shown if pack.schema != FIRST_LAYOUT]
        for table, view in (
            ("prompts", "prompts"), ("runs", "runs"), ("loras", "loras"), ("images", "plain_images")
        ):  # fmt: skip
            own = (
                "batch_images LEFT JOIN batch_prompts USING (prompt_id)"
                if table == "images"
                else f"batch_{table}"
            )
            parts = [f"SELECT * FROM {own}" + ("" if loose else " WHERE FALSE")]
            parts += self._packed(table, later)
            if table != "prompts":
                parts += self._packed(table, first)
            every = " UNION ALL BY NAME ".join(parts)
            if table == "images" and self._moved:
                every = self._moved.format(images=every)
            self._connection.execute(f"CREATE OR REPLACE VIEW {view} AS {every}")
        self._connection.execute(f"CREATE OR REPLACE VIEW images AS {self._rated}")
        looks = [_IN_TEXT] * bool(first) + [_IN_PROMPTS] * bool(later)
        return {"prompt": f"({' OR '.join(looks or [_IN_TEXT])})"}

    def _packed(self, table: str, packs: Sequence[Pack]) -> Iterator[str]:
        """Yield SQL for each part of *packs*, which are of one layout."""
        doubled = {name for name, _ in self._passed_over} if table != "prompts" else set()
        clean = [_file(pack, table) for pack in packs if pack.path.name not in doubled]
        if clean:
            yield f"SELECT * FROM read_parquet([{', '.join(clean)}])"
        for pack in packs:
            if pack.path.name in doubled:
                ids = [_text(run) for name, run in self._passed_over if name == pack.path.name]
                yield (
                    f"SELECT * FROM read_parquet({_file(pack, table)})"
                    f" WHERE run_id NOT IN ({', '.join(sorted(ids))})"
                )


def newest_first(
    packs: Sequence[Pack], *, oldest: bool = False
) -> Iterator[tuple[list[Pack], str | None]]:
    """Yield *packs* in groups that grow, from the newest on, or from the *oldest*.

    Each group is of one layout. With it comes a time that no record of a later group lies
    beyond, None with the last: who has found enough beyond it needs no further group.
    """
    ordered = sorted(packs, key=lambda pack: pack.first if oldest else pack.last)
    if not oldest:
        ordered.reverse()
    start, most = 0, _FIRST_LOOK
    while True:
        end, records = start, 0
        while end < len(ordered) and (
            end == start
            or (
                records + ordered[end].records <= most
                and ordered[end].schema == ordered[start].schema
            )
        ):
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
        return f"SELECT {own}, {none} FROM plain_images i"
    with registered_ratings(connection, ratings) as rows:
        connection.execute(f"CREATE TABLE rated AS {rows}")
    # A hash of bytes is never one of pixels, so one table serves for both.
    said = ", ".join(f'coalesce(b."{name}", p."{name}") AS "{name}"' for name in RATINGS)
    return (
        f"SELECT {own}, {said} FROM plain_images i LEFT JOIN rated b ON b.hash = i.sha256"
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
    connection: duckdb.DuckDBPyConnection, packs: Sequence[Pack], loose: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return (pack's name, run_id) of every run that an earlier place has; loose is ``""``.

    Only packs whose times overlap are looked into, which serial packing never makes.
    """
    found: set[tuple[str, str]] = set()
    times = sorted(time for _, time in loose)
    near = packs_at(packs, times)
    if near:
        rows = connection.execute(
            f"SELECT run_id FROM {_runs_of(near)} WHERE timestamp BETWEEN ? AND ?"
            " AND run_id IN (SELECT unnest(?::VARCHAR[]))",
            [times[0], times[-1], [run_id for run_id, _ in loose]],
        ).fetchall()
        found |= {("", run_id) for (run_id,) in rows}
    place = {pack.path.name: number for number, pack in enumerate(packs)}
    for cluster in _clusters(packs):
        rows = connection.execute(
            f"SELECT run_id, list(DISTINCT filename) FROM {_runs_of(cluster)}"
            " GROUP BY run_id HAVING count(*) > 1"
        ).fetchall()
        for run_id, files in rows:
            names = sorted((_pack_name(file) for file in files), key=place.__getitem__)
            found |= {(name, run_id) for name in names[1:]}
    return found


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
    return f"read_parquet([{files}], filename = true, union_by_name = true)"


def _pack_name(file: str) -> str:
    return file.replace("\\", "/").split("/")[-2]


def _file(pack: Pack, table: str) -> str:
    return _text(str(pack.path.absolute() / f"{table}.parquet"))


def quoted_name(column: str) -> str:
    """Return *column* as SQL names it."""
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
