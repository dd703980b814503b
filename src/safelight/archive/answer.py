"""What a query of the archive answers, as rows and as tables of other libraries."""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.archive.columns import INTERNAL, LORAS, PLACED, RATINGS, TABLES
from safelight.archive.views import VIEWS, quoted_name
from safelight.errors import FilterError, RequestError
from safelight.filters import SCORED, compile_filter
from safelight.knobs import did_you_mean
from safelight.stopped_queries import stopped_as_asked

if TYPE_CHECKING:
    import duckdb

__all__ = ["Answer", "Fault", "columns_of_view", "without_discarded"]

_NOT_DISCARDED = "discarded is missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something in the archive that cannot be used; it was left as it is.

    Attributes:
        path: Where.
        reason: Why.
    """

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query found.

    Attributes:
        columns: Their names.
        rows: One tuple per row.
        after: Where the next page begins; None on the last one.
        left_out: What of the archive could not be asked, and why.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    after: str | None = None
    left_out: tuple[Fault, ...] = ()

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Yield each row as column -> value."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))

    def parquet(self) -> bytes:
        """Return the rows as a Parquet file (zstd)."""
        with tempfile.TemporaryDirectory() as folder, self._typed() as (connection, rows):
            file = Path(folder) / "rows.parquet"
            connection.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
            return file.read_bytes()

    def pandas(self) -> Any:
        """Return the rows as a ``pandas.DataFrame``.

        Raises:
            RequestError: pandas is not installed.
        """
        _needed("pandas")
        with self._typed() as (connection, rows):
            return connection.execute(rows).df()

    def polars(self) -> Any:
        """Return the rows as a ``polars.DataFrame``.

        Raises:
            RequestError: polars is not installed.
        """
        return _needed("polars").read_parquet(io.BytesIO(self.parquet()))

    def arrow(self) -> Any:
        """Return the rows as a ``pyarrow.Table``.

        Raises:
            RequestError: pyarrow is not installed.
        """
        _needed("pyarrow")
        with self._typed() as (connection, rows):
            return connection.sql(rows).to_arrow_table()

    @contextlib.contextmanager
    def _typed(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        """Give a database, and SQL that selects the rows there, each column of its kind."""
        import duckdb
        import numpy as np

        table = {}
        for place, column in enumerate(self.columns):
            table[column] = np.empty(len(self.rows), object)
            table[column][:] = [row[place] for row in self.rows]
        kinds = {**LORAS, **TABLES["settings"], **TABLES["runs"], **columns_of_view("images")}
        casts = ", ".join(
            f"CAST({quoted_name(name)} AS {kinds.get(name, kind)}) AS {quoted_name(name)}"
            for name in self.columns
            for kind in ["DOUBLE" if name.startswith(SCORED) else "VARCHAR"]
        )
        with stopped_as_asked(), duckdb.connect() as connection:
            connection.register("given", table)
            yield connection, f"SELECT {casts} FROM given"


def _needed(package: str) -> Any:
    """Return an optional package.

    Raises:
        RequestError: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise RequestError(
            f"this needs {package}; install it with: pip install {package}"
        ) from error


def columns_of_view(view: str) -> Mapping[str, str]:
    """Return the columns of *view* that may be asked for -> their SQL types.

    Raises:
        FilterError: There is no such view.
    """
    if view not in VIEWS:
        raise FilterError(
            f"there is no view {view!r}{did_you_mean(view, VIEWS)}; views: {', '.join(VIEWS)}"
        )
    table = LORAS if view == "loras" else TABLES[view]
    own = {name: kind for name, kind in table.items() if name not in INTERNAL}
    return {**own, **PLACED, **RATINGS} if view == "images" else own


def without_discarded(condition: str) -> str:
    """Return *condition* narrowed to what was not discarded, unless it speaks of that itself.

    Raises:
        FilterError: It cannot be read.
    """
    if "discarded" in compile_filter(condition, columns_of_view("images"), scores="").columns:
        return condition
    return f"({condition}) and {_NOT_DISCARDED}" if condition.strip() else _NOT_DISCARDED
