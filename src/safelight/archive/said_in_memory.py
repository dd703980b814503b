"""SaidInMemory: what people say, as tables beside the pictures that are held in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.archive.columns import RATINGS
from safelight.archive.said_tables import SaidTables, put_keys
from safelight.archive.search import fetched_rows

if TYPE_CHECKING:
    import duckdb

    from safelight.learning.ratings.followed_ratings import RatingChange
    from safelight.learning.ratings.large_sets import AlikeRated

__all__ = ["SaidInMemory"]

_KEYS = ("image_key_", "sha_key_", "pixel_key_")
"""Columns of ``held``, the one first whose rating counts where several do."""


class SaidInMemory(SaidTables):
    """What :class:`SaidTables` has, and ``rated``: what is said, by rows in ``held``.

    Args:
        schema: Where the tables and ``held`` are.
    """

    def __init__(self, schema: str) -> None:
        super().__init__(schema)
        self._sets: dict[bytes, int] = {}

    def create(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Create the tables, with nothing in them."""
        super().create(cursor)
        cursor.execute(f"CREATE TABLE {self._schema}.rated (row_ INTEGER, said_ INTEGER)")

    def take(self, cursor: duckdb.DuckDBPyConnection, change: RatingChange) -> None:
        """Take in what is different from the last time.

        Args:
            cursor: In a change.
            change: It.
        """
        main = self._schema
        if change.hashes is None:
            self._sets.clear()
        alike = [each for each in change.alike if not self._says_otherwise(cursor, each)]
        if change.hashes is not None and not (change.hashes or alike):
            return
        cursor.execute("CREATE OR REPLACE TEMP TABLE touched (key_ UBIGINT)")
        if change.hashes is None:
            for table in ("opinions", "said", "rated"):
                cursor.execute(f"DELETE FROM {main}.{table}")
        else:
            put_keys(cursor, "touched", change.hashes, (each.pictures for each in alike))
            keys = "(SELECT key_ FROM touched)"
            any_of = " OR ".join(f"{key} IN {keys}" for key in _KEYS)
            cursor.execute(f"DELETE FROM {main}.said WHERE key_ IN {keys}")
            cursor.execute(
                "CREATE OR REPLACE TEMP TABLE touched_rows AS"
                f" SELECT row_ FROM {main}.held WHERE {any_of}"
            )
            cursor.execute(
                f"DELETE FROM {main}.rated WHERE row_ IN (SELECT row_ FROM touched_rows)"
            )
        if alike:
            self._sets.clear()  # some of these may be among those of others
        self._sets |= self.say(cursor, change.ratings, alike)
        which = "TRUE" if change.hashes is None else "h.row_ IN (SELECT row_ FROM touched_rows)"
        self.join(cursor, which)
        cursor.execute(
            f"DELETE FROM {main}.opinions WHERE said_ NOT IN (SELECT said_ FROM {main}.said)"
            f" AND said_ NOT IN (SELECT said_ FROM {main}.rated)"
        )
        cursor.execute("DROP TABLE IF EXISTS touched")
        cursor.execute("DROP TABLE IF EXISTS touched_rows")

    def join(self, cursor: duckdb.DuckDBPyConnection, which: str) -> None:
        """Join what is said to the pictures of *which*, by any of their hashes."""
        main = self._schema
        if not fetched_rows(cursor, f"SELECT 1 FROM {main}.said LIMIT 1", ()):
            return
        found = " UNION ALL ".join(
            f"SELECT h.row_, s.said_, {rank} AS rank FROM {main}.held h"
            f" JOIN {main}.said s ON s.key_ = h.{key} WHERE {which}"
            for rank, key in enumerate(_KEYS)
        )
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE joined AS SELECT row_, min(said_) AS said_,"
            f" max(said_) AS other_ FROM ({found}) GROUP BY row_"
        )
        cursor.execute(
            f"INSERT INTO {main}.rated SELECT row_, said_ FROM joined WHERE said_ = other_"
        )
        if fetched_rows(cursor, "SELECT 1 FROM joined WHERE said_ <> other_ LIMIT 1", ()):
            self._join_several(cursor, found)
        cursor.execute("DROP TABLE joined")

    def _join_several(self, cursor: duckdb.DuckDBPyConnection, found: str) -> None:
        """Join what is said of pictures of which different things are said by different hashes."""
        main = self._schema
        merged = ", ".join(
            f'arg_min(o."{name}", f.rank) FILTER (o."{name}" IS NOT NULL) AS "{name}"'
            for name in RATINGS
        )
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE several AS SELECT f.row_, {self._opinions}"
            f" + row_number() OVER () AS said_, {merged} FROM ({found}) f"
            f" JOIN {main}.opinions o ON o.said_ = f.said_"
            " WHERE f.row_ IN (SELECT row_ FROM joined WHERE said_ <> other_) GROUP BY f.row_"
        )
        cursor.execute(f"INSERT INTO {main}.rated SELECT row_, said_ FROM several")
        cursor.execute(f"INSERT INTO {main}.opinions SELECT * EXCLUDE row_ FROM several")
        ((count,),) = fetched_rows(cursor, "SELECT count(*) FROM several", ())
        self._opinions += count
        self._sets.clear()  # these say what sets said at this moment
        cursor.execute("DROP TABLE several")

    def _says_otherwise(self, cursor: duckdb.DuckDBPyConnection, alike: AlikeRated) -> bool:
        """Say something else of all of a set that is known, whose pictures point to it already.

        Returns:
            Whether it is.
        """
        number = self._sets.get(alike.pictures.digest)
        if number is None:
            return False
        cursor.execute(f"DELETE FROM {self._schema}.opinions WHERE said_ = ?", [number])
        self._opinion(cursor, [alike.rating], number)
        return True
