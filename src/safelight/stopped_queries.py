"""stopped_queries: Control-C stops a query as it stops anything else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["stopped_as_asked"]


@contextlib.contextmanager
def stopped_as_asked() -> Iterator[None]:
    """Raise KeyboardInterrupt where DuckDB makes a RuntimeError of it.

    DuckDB looks for signals while it works in the main thread, stops, and drops what Python's
    handler raised.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise
