"""views: packs and loose records as one set of tables, each run once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from safelight.archive.columns import RATINGS
from safelight.archive.packs import Pack, columnar, select_columns
from safelight.learning.ratings import Rating

if TYPE_CHECKING:
    import duckdb

__all__ = ["VIEWS", "make_views", "quoted_name"]

VIEWS = ("runs", "images", "loras")
"""What may be asked."""


def make_views(
    connection: duckdb.DuckDBPyConnection,
    packs: Sequence[Pack],
    loose: Mapping[str, list[tuple[Any, ...]]],
    ratings: Iterable[Rating] = (),
) -> None:
    """Make the views; a run that is in several places counts once, in the earliest pack.

    Args:
        connection: Where.
        packs: Whose files are read when somebody asks.
        loose: Table -> rows of the records that are in no pack.
        ratings: What people say now, joined to pictures by either of their hashes.
    """
    passed_over = _doubles(connection, packs, [row[0:2] for row in loose["runs"]])
    for table in VIEWS:
        rows = [row for row in loose[table] if ("", row[0]) not in passed_over]
        connection.register(f"given_{table}", columnar(table, rows))
        connection.execute(
            f"CREATE TABLE loose_{table} AS {select_columns(table, f'given_{table}')}"
        )
        connection.unregister(f"given_{table}")
        parts = [f"SELECT * FROM loose_{table}"]
        if packs:
            parts.append(_packed(table, packs, passed_over))
        every = " UNION ALL BY NAME ".join(parts)
        if table == "images":
            every = _rated(connection, every, list(ratings))
        connection.execute(f"CREATE VIEW {table} AS {every}")


def _rated(connection: duckdb.DuckDBPyConnection, images: str, ratings: Sequence[Rating]) -> str:
    """Return SQL of *images* with the columns of their ratings."""
    import numpy as np

    if not ratings:
        none = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in RATINGS.items())
        return f"SELECT *, {none} FROM ({images})"
    rows = [
        (digest, r.stars, r.favourite, r.rejected, " ".join(r.tags) or None,
         "; ".join(r.notes.values()) or None, r.picks_won, r.picks_lost)
        for r in ratings for digest in (*r.sha256s, *r.pixel_sha256s)
    ]  # fmt: skip
    kinds = {"hash": "VARCHAR", **RATINGS}
    columns = {}
    for place, name in enumerate(kinds):
        columns[name] = np.empty(len(rows), object)
        columns[name][:] = [row[place] for row in rows]
    connection.register("given_ratings", columns)
    casts = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in kinds.items())
    connection.execute(f"CREATE TABLE rated AS SELECT {casts} FROM given_ratings")
    connection.unregister("given_ratings")
    # A hash of bytes is never one of pixels, so one table serves for both.
    said = ", ".join(f'coalesce(b."{name}", p."{name}") AS "{name}"' for name in RATINGS)
    return (
        f"SELECT i.*, {said} FROM ({images}) i LEFT JOIN rated b ON b.hash = i.sha256"
        " LEFT JOIN rated p ON p.hash = i.pixel_sha256"
    )


def _packed(table: str, packs: Sequence[Pack], passed_over: set[tuple[str, str]]) -> str:
    own = {pack.path.name: f"{pack.path.absolute() / table}.parquet" for pack in packs}
    doubled = {name for name, _ in passed_over if name}
    clean = [file for name, file in own.items() if name not in doubled]
    parts = [f"SELECT * FROM read_parquet([{', '.join(map(_text, clean))}], union_by_name=true)"]
    for name in sorted(doubled):
        ids = ", ".join(_text(run_id) for pack, run_id in passed_over if pack == name)
        parts.append(f"SELECT * FROM read_parquet({_text(own[name])}) WHERE run_id NOT IN ({ids})")
    return " UNION ALL BY NAME ".join(parts if clean else parts[1:])


def _doubles(
    connection: duckdb.DuckDBPyConnection, packs: Sequence[Pack], loose: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return (pack's name, run_id) of every run that an earlier place has; loose is ``""``.

    Only packs whose times overlap are looked into, which serial packing never makes.
    """
    found: set[tuple[str, str]] = set()
    for place, pack in enumerate(packs):
        file = str(pack.path.absolute() / "runs.parquet")
        near = [run_id for run_id, time in loose if pack.first <= time <= pack.last]
        if near:
            rows = connection.execute(
                f"SELECT run_id FROM read_parquet({_text(file)}) WHERE list_contains(?, run_id)",
                [near],
            ).fetchall()
            found |= {("", run_id) for (run_id,) in rows}
        for earlier in packs[:place]:
            if earlier.first > pack.last or pack.first > earlier.last:
                continue
            other = str(earlier.path.absolute() / "runs.parquet")
            rows = connection.execute(
                f"SELECT run_id FROM read_parquet({_text(file)})"
                f" WHERE run_id IN (SELECT run_id FROM read_parquet({_text(other)}))"
            ).fetchall()
            found |= {(pack.path.name, run_id) for (run_id,) in rows}
    return found


def quoted_name(column: str) -> str:
    """Return *column* as SQL names it."""
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
