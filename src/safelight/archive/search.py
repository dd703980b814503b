"""search: the rows that meet a condition, asked of the newest packs first.

Packs are sorted by time, and most questions are for the newest rows: once enough of them lie
beyond everything that the packs not yet asked could hold, nobody need ask those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.archive.columns import OF_THE_RUN, RATINGS
from safelight.archive.packs import Pack
from safelight.archive.paging import cursor_values
from safelight.archive.views import Views, newest_first, packs_at, quoted_name, selection
from safelight.errors import ArchiveError
from safelight.filters import SCORED, Filter, compile_filter

if TYPE_CHECKING:
    import duckdb

__all__ = ["KEYS", "Search", "fetched_parts", "fetched_rows", "scored_source", "sorting"]

KEYS: Mapping[str, tuple[str, ...]] = {
    "runs": ("run_id",), "images": ("run_id", "place"), "loras": ("run_id", "place", "name"),
    "settings": ("run_id", "place", "stage", "name"),
}  # fmt: skip
"""View -> the columns that tell its rows apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One question over a view.

    Attributes:
        connection: The database of *views*.
        views: Over all of the archive.
        view: One of the views.
        known: Its columns -> their SQL types.
        condition: In the filter language.
        order: The columns to sort by, a unique key at their end.
        down: Whether from the largest down.
        page: What holds for the rows of this page.
        after: Its cursor.
    """

    connection: duckdb.DuckDBPyConnection
    views: Views
    view: str
    known: Mapping[str, str]
    condition: str
    order: Sequence[str]
    down: bool
    page: Filter
    after: str | None

    def rows(self, columns: Sequence[str], limit: int | None) -> list[tuple[Any, ...]]:
        """Return *columns* of the first *limit* rows, of all when None."""
        if limit is None or "timestamp" not in self.known:
            self.views.show()
            return self._ask(columns, limit, rated=True)
        # First which rows, then all their columns: rows are wide, and few are shown.
        keys = tuple(dict.fromkeys((*self.order, "timestamp", *KEYS[self.view])))
        first_keys = self._first_keys(keys, limit)
        if not first_keys:
            return []
        times = sorted({row[keys.index("timestamp")] for row in first_keys})
        self.views.show(packs_at(self.views.packs, times))
        source = "run_images" if self.view == "images" else self.view
        source, scorer = scored_source(source, self.order, "run_id, place")
        placeholders = "(" + ", ".join("?" * len(KEYS[self.view])) + ")"
        names = ", ".join(map(quoted_name, KEYS[self.view]))
        places = [keys.index(name) for name in KEYS[self.view]]
        return fetched_rows(
            self.connection,
            f"SELECT {', '.join(map(quoted_name, columns))} FROM {source}"
            f" WHERE timestamp IN ({', '.join('?' * len(times))})"
            f" AND ({names}) IN ({', '.join([placeholders] * len(first_keys))})"
            f" ORDER BY {sorting(self.order, self.down)}",
            [*scorer, *times, *(row[place] for row in first_keys for place in places)],
        )

    def _first_keys(self, keys: Sequence[str], limit: int) -> list[tuple[Any, ...]]:
        """Return *keys* of the first *limit* rows."""
        wanted = compile_filter(self.condition, self.known, self._searched)
        rated = bool(RATINGS.keys() & {*wanted.columns, *self.order})
        by_run = self.views.reuse and self.view == "images" and wanted.columns & OF_THE_RUN
        if self.order[0] != "timestamp" or by_run:
            self.views.show()
            return self._ask(keys, limit, rated=rated)
        first: list[tuple[Any, ...]] = []
        groups = newest_first(self._packs_of_page(), oldest=not self.down)
        for number, (packs, bound) in enumerate(groups):
            self.views.show(packs, loose=number == 0)
            first += self._ask(keys, limit, rated=rated)
            first = sorted(first, reverse=self.down)[:limit]
            if bound is None or (len(first) == limit and self._beyond(first[-1][0], bound)):
                break
        return first

    def _packs_of_page(self) -> Sequence[Pack]:
        """Return the packs that can hold rows behind the cursor."""
        if self.after is None:
            return self.views.packs
        time = cursor_values(self.after)[0]
        if not isinstance(time, str):
            return self.views.packs
        if self.down:
            return [pack for pack in self.views.packs if pack.first <= time]
        return [pack for pack in self.views.packs if pack.last >= time]

    def _beyond(self, time: str, bound: str) -> bool:
        return time > bound if self.down else time < bound

    @property
    def _searched(self) -> Mapping[str, str]:
        return self.views.searched if self.view == "images" else {}

    def _ask(
        self, columns: Sequence[str], limit: int | None, *, rated: bool
    ) -> list[tuple[Any, ...]]:
        """Return rows of the view as it shows now; of pictures without ratings when not *rated*."""
        plain = "" if rated or self.view != "images" else "plain_"
        wanted = compile_filter(self.condition, self.known, self._searched if plain else {})
        asked = selection(
            wanted,
            reuse=self.views.reuse and self.view == "images",
            once=f"{plain}{self.view}",
            every=f"{plain}run_images",
        )
        source, scorer = scored_source(asked.source, self.order, "run_id, place")
        most = "" if limit is None else f" LIMIT {int(limit)}"
        by = sorting(self.order, self.down)
        return fetched_rows(
            self.connection,
            f"SELECT {', '.join(map(quoted_name, columns))} FROM {source}"
            f" WHERE {asked.where} AND {self.page.sql} ORDER BY {by}{most}",
            [*scorer, *asked.parameters, *self.page.parameters],
        )


def scored_source(source: str, order: Sequence[str], key: str) -> tuple[str, list[str]]:
    """Return SQL for *source* with the score that is sorted by as a column, if one is.

    Args:
        source: Pictures.
        order: The columns to sort by.
        key: Columns that tell pictures apart, of ``scores``, too.

    Returns:
        The SQL and its parameters, which come before those of *source*.
    """
    if not order[0].startswith(SCORED):
        return source, []
    numbers = (
        f"SELECT {key}, any_value(number) AS {quoted_name(order[0])} FROM scores"
        f" WHERE lower(name) = lower(?) GROUP BY {key}"
    )
    own = f"SELECT p.*, s.{quoted_name(order[0])} FROM ({numbers}) s"
    return f"({own} RIGHT JOIN {source} p USING ({key}))", [order[0][len(SCORED) :]]


def sorting(order: Sequence[str], down: bool) -> str:
    """Return SQL that sorts by *order*, what is missing at the end."""
    direction = "DESC" if down else "ASC"
    return ", ".join(f"{quoted_name(name)} {direction} NULLS LAST" for name in order)


def fetched_parts(
    connection: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[Any], at_once: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield all rows of *statement*, *at_once* together.

    Raises:
        ArchiveError: It fails.
    """
    import duckdb

    try:
        answer = connection.execute(statement, list(parameters))
        while rows := answer.fetchmany(at_once):
            yield rows
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise ArchiveError(f"the archive cannot answer: {error}") from error


def fetched_rows(
    connection: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[Any]
) -> list[tuple[Any, ...]]:
    """Return all rows of *statement*.

    Raises:
        ArchiveError: It fails.
    """
    import duckdb

    try:
        return connection.execute(statement, list(parameters)).fetchall()
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise ArchiveError(f"the archive cannot answer: {error}") from error
