"""blanks: executions that left no picture, asked in the language in which pictures are asked.

A filter speaks of pictures, and these have none. Each is taken as though it had left one, so that
``steps > 20 lora.ink > 0.5`` finds what failed with the same words as what came through. Beside the
columns of pictures there is ``error``, and a word is looked for in it, too.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from safelight.archive.answer import columns_of_view
from safelight.archive.columns import Batch, Decoded, as_one_picture, numpy_columns
from safelight.archive.paging import cursor, page_condition
from safelight.archive.search import fetched_rows, sorting
from safelight.archive.views import Views
from safelight.filters import FILE_NAME, Filter, compile_filter

__all__ = ["BlankTable"]

_TOLD = {"run_id": "VARCHAR", "told_status": "VARCHAR", "error": "VARCHAR"}
_EVERY = (
    "(SELECT i.* REPLACE (t.told_status AS status), t.error FROM images i"
    " JOIN told t ON t.run_id = i.run_id)"
)
_ORDER = ("timestamp", "run_id")
_IN_ERRORS = {FILE_NAME: "contains(lower(coalesce(error, '')), ?)"}


class BlankTable:
    """A table of executions that left no picture; many may ask at once.

    Args:
        records: Of the executions, each once.
    """

    def __init__(self, records: Sequence[Decoded]) -> None:
        import duckdb

        batch, told = Batch(), list[tuple[str, str, str]]()
        for record in records:
            batch.add(as_one_picture(record))
            told.append((record.run_id, record.status, record.error or ""))
        self._lock = threading.Lock()
        self._known: Mapping[str, str] = {**columns_of_view("images"), "error": "VARCHAR"}
        self._connection = duckdb.connect()
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET threads = 1")
        self._connection.execute("SET lock_configuration = true")
        Views(self._connection, [], batch).show()
        columns: list[Sequence[Any]] = list(zip(*told, strict=True))
        self._connection.register("given", numpy_columns(_TOLD, columns))
        casts = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in _TOLD.items())
        self._connection.execute(f"CREATE TABLE told AS SELECT {casts} FROM given")
        self._connection.unregister("given")

    def find(
        self, condition: str, *, limit: int, after: str | None = None
    ) -> tuple[list[str], str | None]:
        """Return the runs that meet *condition*, the newest first, and where the next page begins.

        Raises:
            FilterError: *condition* or *after* cannot be read.
        """
        wanted = self._compiled(condition)
        page = page_condition(_ORDER, True, after, self._known)
        rows = self._rows(
            f"SELECT timestamp, run_id FROM {_EVERY} WHERE {wanted.sql} AND {page.sql}"
            f" ORDER BY {sorting(_ORDER, True)} LIMIT {int(limit) + 1}",
            [*wanted.parameters, *page.parameters],
        )
        following = cursor(list(rows[limit - 1])) if len(rows) > limit else None
        return [run_id for _, run_id in rows[:limit]], following

    def count(self, condition: str, column: str) -> dict[str, int]:
        """Return value of *column* -> how many that meet *condition* have it, most first.

        Raises:
            FilterError: *condition* cannot be read.
        """
        wanted = self._compiled(condition)
        rows = self._rows(
            f"SELECT coalesce({column}, ''), count(*) FROM {_EVERY} WHERE {wanted.sql}"
            " GROUP BY ALL ORDER BY 2 DESC, 1",
            wanted.parameters,
        )
        return dict(rows)

    def _compiled(self, condition: str) -> Filter:
        return compile_filter(condition, self._known, _IN_ERRORS)

    def _rows(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return fetched_rows(self._connection, statement, parameters)
