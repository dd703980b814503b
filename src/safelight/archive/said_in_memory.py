"""SaidInMemory: what people say, as tables beside the pictures that are held in memory.

Of half a million pictures the same may be said at once: what is said stands in ``opinions`` once,
and pictures point to it by numbers of a few bytes. A hash is kept as the number that ``held`` has
of it beside its text; two different ones have the same number once in ten million archives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from safelight.archive.columns import RATINGS, columns_of, numpy_columns
from safelight.archive.search import fetched_rows
from safelight.archive.views import rating_values

if TYPE_CHECKING:
    import duckdb

    from safelight.learning.ratings import PictureSet, Rating
    from safelight.learning.ratings.followed_ratings import RatingChange

__all__ = ["SaidInMemory"]

_KEYS = ("image_key_", "sha_key_", "pixel_key_")
"""Columns of ``held``, the one first whose rating counts where several do."""

_TEXT = "format('{:016x}{:016x}{:016x}{:016x}', part0, part1, part2, part3)"
_KNOWN = "(part0 > 0 OR part1 > 0 OR part2 > 0 OR part3 > 0)"


class SaidInMemory:
    """Tables: ``opinions``, what is said; ``said``, by hashes; ``rated``, by rows in ``held``.

    Args:
        schema: Where the tables and ``held`` are.
    """

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._opinions = 0

    def create(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Create the tables, with nothing in them."""
        columns = ", ".join(f'"{name}" {kind}' for name, kind in RATINGS.items())
        cursor.execute(f"CREATE TABLE {self._schema}.opinions (said_ INTEGER, {columns})")
        cursor.execute(f"CREATE TABLE {self._schema}.said (key_ UBIGINT, said_ INTEGER)")
        cursor.execute(f"CREATE TABLE {self._schema}.rated (row_ INTEGER, said_ INTEGER)")

    def take(self, cursor: duckdb.DuckDBPyConnection, change: RatingChange) -> None:
        """Take in what is different from the last time.

        Args:
            cursor: In a change.
            change: It.
        """
        if change.hashes is not None and not (change.hashes or change.alike):
            return
        main = self._schema
        cursor.execute("CREATE OR REPLACE TEMP TABLE touched (key_ UBIGINT)")
        if change.hashes is None:
            for table in ("opinions", "said", "rated"):
                cursor.execute(f"DELETE FROM {main}.{table}")
        else:
            self._touch(cursor, change)
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
        self._say(cursor, change.ratings)
        for alike in change.alike:
            if alike.rating is not None:
                number = self._opinion(cursor, [alike.rating])
                _each_kind(cursor, alike.pictures, f"{main}.said", f", {number}")
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
        cursor.execute("DROP TABLE several")

    def _touch(self, cursor: duckdb.DuckDBPyConnection, change: RatingChange) -> None:
        """Note the hashes of all pictures of which something else is said now."""
        _each_text(cursor, change.hashes or (), "touched")
        for alike in change.alike:
            _each_kind(cursor, alike.pictures, "touched")

    def _opinion(self, cursor: duckdb.DuckDBPyConnection, ratings: Sequence[Rating]) -> int:
        """Keep what is said; return the number of the first."""
        first = self._opinions + 1
        self._opinions += len(ratings)
        rows = [(number, *rating_values(r)) for number, r in enumerate(ratings, first)]
        kinds = {"said_": "INTEGER", **RATINGS}
        cursor.register("given", numpy_columns(kinds, columns_of(rows)))
        casts = ", ".join(f'CAST("{name}" AS {kind})' for name, kind in kinds.items())
        cursor.execute(f"INSERT INTO {self._schema}.opinions SELECT {casts} FROM given")
        cursor.unregister("given")
        return first

    def _say(self, cursor: duckdb.DuckDBPyConnection, ratings: Sequence[Rating]) -> None:
        if not ratings:
            return
        first = self._opinion(cursor, ratings)
        digests, numbers = list[str](), list[int]()
        for number, rating in enumerate(ratings, first):
            own = (*rating.sha256s, *rating.pixel_sha256s, *rating.image_sha256s)
            digests += own
            numbers += [number] * len(own)
        _each_text(cursor, digests, f"{self._schema}.said", numbers)


def _each_text(
    cursor: duckdb.DuckDBPyConnection,
    digests: Iterable[str],
    table: str,
    numbers: Sequence[int] | None = None,
) -> None:
    """Put the keys of *digests* into *table*, with their *numbers* if there are any."""
    import numpy as np

    given: dict[str, Any] = {"hash": np.array(list(digests), object)}
    if not len(given["hash"]):
        return
    if numbers is not None:
        given["said"] = np.array(numbers, np.int32)
    cursor.register("given", given)
    more = ", said" if numbers is not None else ""
    cursor.execute(f"INSERT INTO {table} SELECT hash(CAST(hash AS VARCHAR)){more} FROM given")
    cursor.unregister("given")


def _each_kind(
    cursor: duckdb.DuckDBPyConnection, pictures: PictureSet, table: str, more: str = ""
) -> None:
    """Put the keys of all hashes of *pictures* into *table*; no text of them is kept."""
    for kind in pictures.columns:
        cursor.register("given", pictures.numbers(kind))
        cursor.execute(f"INSERT INTO {table} SELECT hash({_TEXT}){more} FROM given WHERE {_KNOWN}")
        cursor.unregister("given")
