"""SaidTables: what people say, as tables of a database.

Of half a million pictures the same may be said at once: what is said stands in ``opinions`` once,
and hashes point to it by numbers of a few bytes. A hash is kept as the number that DuckDB makes of
its text; two different ones have the same number once in ten million archives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from safelight.archive.columns import RATINGS, columns_of, numpy_columns
from safelight.filters import TAGS_BETWEEN
from safelight.learning.ratings import Rating

if TYPE_CHECKING:
    import duckdb

    from safelight.learning.ratings import PictureSet
    from safelight.learning.ratings.large_sets import AlikeRated

__all__ = ["SaidTables", "put_keys"]

_TEXT = "format('{:016x}{:016x}{:016x}{:016x}', part0, part1, part2, part3)"
_KNOWN = "(part0 > 0 OR part1 > 0 OR part2 > 0 OR part3 > 0)"


class SaidTables:
    """Two tables: ``opinions``, what is said, and ``said``, by the hashes of pictures.

    Args:
        schema: Where they are.
    """

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._opinions = 0

    def create(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Create the tables, with nothing in them."""
        columns = ", ".join(f'"{name}" {kind}' for name, kind in RATINGS.items())
        cursor.execute(f"CREATE TABLE {self._schema}.opinions (said_ INTEGER, {columns})")
        cursor.execute(f"CREATE TABLE {self._schema}.said (key_ UBIGINT, said_ INTEGER)")

    def say(
        self,
        cursor: duckdb.DuckDBPyConnection,
        ratings: Sequence[Rating],
        alike: Iterable[AlikeRated],
    ) -> dict[bytes, int]:
        """Put in what is said of pictures of which nothing is said here.

        Args:
            cursor: Puts it there.
            ratings: Of single pictures.
            alike: Of very many.

        Returns:
            Digest of each set of *alike* -> the number of what is said of it.
        """
        said = f"{self._schema}.said"
        if ratings:
            first = self._opinion(cursor, ratings)
            digests, numbers = list[str](), list[int]()
            for number, rating in enumerate(ratings, first):
                own = (*rating.sha256s, *rating.pixel_sha256s, *rating.image_sha256s)
                digests += own
                numbers += [number] * len(own)
            _put_texts(cursor, digests, said, numbers)
        sets: dict[bytes, int] = {}
        for each in alike:
            number = self._opinion(cursor, [each.rating])
            _put_pictures(cursor, each.pictures, said, f", {number}")
            sets[each.pictures.digest] = number
        return sets

    def _opinion(
        self, cursor: duckdb.DuckDBPyConnection, ratings: Sequence[Rating | None], first: int = 0
    ) -> int:
        """Keep what is said, from the number *first* on or from the next one; return it."""
        if not first:
            first = self._opinions + 1
            self._opinions += len(ratings)
        rows = [(number, *rating_values(rating)) for number, rating in enumerate(ratings, first)]
        kinds = {"said_": "INTEGER", **RATINGS}
        cursor.register("given", numpy_columns(kinds, columns_of(rows)))
        casts = ", ".join(f'CAST("{name}" AS {kind})' for name, kind in kinds.items())
        cursor.execute(f"INSERT INTO {self._schema}.opinions SELECT {casts} FROM given")
        cursor.unregister("given")
        return first


def rating_values(rating: Rating | None) -> tuple[Any, ...]:
    """Return the columns ``RATINGS`` of *rating*; nothing in any where nothing is said."""
    if rating is None:
        return (None,) * len(RATINGS)
    return (
        rating.stars, rating.favourite, rating.rejected, TAGS_BETWEEN.join(rating.tags) or None,
        "; ".join(rating.notes.values()) or None, rating.picks_won, rating.picks_lost,
        "; ".join(rating.albums) or None,
    )  # fmt: skip


def put_keys(
    cursor: duckdb.DuckDBPyConnection,
    table: str,
    digests: Iterable[str],
    sets: Iterable[PictureSet],
) -> None:
    """Put the keys of *digests*, and of all pictures of *sets*, into the column of *table*."""
    _put_texts(cursor, digests, table)
    for pictures in sets:
        _put_pictures(cursor, pictures, table)


def _put_texts(
    cursor: duckdb.DuckDBPyConnection,
    digests: Iterable[str],
    table: str,
    numbers: Sequence[int] | None = None,
) -> None:
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


def _put_pictures(
    cursor: duckdb.DuckDBPyConnection, pictures: PictureSet, table: str, more: str = ""
) -> None:
    """Put each hash of *pictures* in once; DuckDB makes their texts, and none is kept."""
    for kind in pictures.columns:
        cursor.register("given", pictures.numbers(kind))
        once = "DISTINCT " if pictures.may_repeat(kind) else ""
        cursor.execute(
            f"INSERT INTO {table} SELECT {once}hash({_TEXT}){more} FROM given WHERE {_KNOWN}"
        )
        cursor.unregister("given")
