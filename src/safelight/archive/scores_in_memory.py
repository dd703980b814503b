"""ScoresInMemory: what scorers say, as tables beside the pictures that are held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.archive.views import registered_scores
from safelight.learning.ratings import RatingEvent, picture_scores
from safelight.learning.ratings.rating_store import Segments

if TYPE_CHECKING:
    import duckdb

__all__ = ["ScoresInMemory"]


class ScoresInMemory:
    """Two tables: ``told_scores`` by the hashes of pictures, ``scores`` by their rows in ``held``.

    Args:
        folder: Of the segments; it need not be there yet.
        schema: Where the tables and ``held`` are.
    """

    def __init__(self, folder: Path, schema: str) -> None:
        self._segments = Segments(folder, scores=True)
        self._schema = schema
        self._events: dict[str, RatingEvent] = {}
        self._undone = 0

    def create(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Create both tables, with nothing in them."""
        columns = "name VARCHAR, number DOUBLE, unit VARCHAR, version VARCHAR"
        cursor.execute(f"CREATE TABLE {self._schema}.told_scores (hash VARCHAR, {columns})")
        cursor.execute(f"CREATE TABLE {self._schema}.scores (row_ INTEGER, {columns})")

    def catch_up(self, cursor: duckdb.DuckDBPyConnection, undos: Sequence[RatingEvent]) -> None:
        """Take in what scorers have said since the last time.

        Args:
            cursor: In a change.
            undos: All that were taken back, of whatever kind: they stand among ratings.

        Raises:
            StorageError: The segments cannot be listed.
        """
        whole, added = self._segments.news()
        before = len(self._events)
        if whole:
            self._events = {}
        self._events |= {event.event_id: event for event in added}
        taken_back = bool(self._events) and len(undos) != self._undone
        if not added and len(self._events) == before and not taken_back:
            return
        self._undone = len(undos)
        cursor.execute(f"DELETE FROM {self._schema}.told_scores")
        cursor.execute(f"DELETE FROM {self._schema}.scores")
        told = picture_scores([*self._events.values(), *undos]).current
        if told:
            with registered_scores(cursor, told) as rows:
                cursor.execute(f"INSERT INTO {self._schema}.told_scores {rows}")
            self.join(cursor, "TRUE")

    def join(self, cursor: duckdb.DuckDBPyConnection, which: str) -> None:
        """Join what is told to the pictures of *which*, by any of their hashes."""
        parts = " UNION ".join(
            f"SELECT h.row_, s.name, s.number, s.unit, s.version FROM {self._schema}.held h"
            f" JOIN {self._schema}.told_scores s ON s.hash = h.{column} WHERE {which}"
            for column in ("sha256", "image_sha256", "pixel_sha256")
        )
        if self._events:
            cursor.execute(f"INSERT INTO {self._schema}.scores {parts}")

    @staticmethod
    def scorers(cursor: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
        """Return the names of scorers that have said anything, sorted."""
        return cursor.execute("SELECT DISTINCT name FROM told_scores ORDER BY name").fetchall()

    @staticmethod
    def of_picture(
        cursor: duckdb.DuckDBPyConnection, digests: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        """Return (name, number, unit) of the picture that any of *digests* names."""
        return cursor.execute(
            "SELECT DISTINCT name, number, unit FROM told_scores"
            " WHERE hash IN (SELECT unnest(?::VARCHAR[])) ORDER BY name",
            [list(digests)],
        ).fetchall()
