"""views: packs and loose records as one set of tables, each run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from safelight.archive.packs import Pack, columnar, select_columns

if TYPE_CHECKING:
    import duckdb

__all__ = ["VIEWS", "make_views", "quoted_name"]

VIEWS = ("runs", "images", "loras")
"""What may be asked."""


def make_views(
    connection: duckdb.DuckDBPyConnection,
    packs: Sequence[Pack],
    loose: Mapping[str, list[tuple[Any, ...]]],
) -> None:
    """Make the views; a run that is in several places counts once, in the earliest pack."""
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
        connection.execute(f"CREATE VIEW {table} AS {' UNION ALL BY NAME '.join(parts)}")


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
