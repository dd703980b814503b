"""chosen_pictures: all pictures that meet a condition, as one value, and a name of just these.

Between the moment that somebody is told how many there are and the moment that something is said
of them, others may write to the archive. The name tells whether it is still the same pictures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.archive.search import fetched_parts, fetched_rows
from safelight.archive.views import Selection
from safelight.learning.ratings import PictureSet

if TYPE_CHECKING:
    import duckdb

__all__ = ["ChosenPictures", "chosen_pictures"]

_HASHES = ("sha256", "pixel_sha256", "image_sha256")
_LENGTH, _IS_HASH = "length({0}) = 64", "regexp_full_match({0}, '[0-9a-f]{{64}}')"
_HEX = "CASE WHEN {0} THEN {1} ELSE repeat('0', 64) END"
_ANY = " OR ".join(_LENGTH.format(name) for name in _HASHES)
_COUNTED = (
    f"SELECT count(*), coalesce(sum(hash({', '.join(_HASHES)})), 0), "
    f"{', '.join(f'count({name})' for name in _HASHES)} FROM {{source}}"
    f" WHERE {{where}} AND ({_ANY})"
)
_HASHES_OF = "SELECT concat({hashes}) FROM {source} WHERE {where} AND ({any})"
_AT_ONCE = 16_384
"""Rows that are fetched together: all texts of half a million pictures would be 100 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPictures:
    """Pictures, as many times as they are found.

    Attributes:
        count: How many.
        snapshot: The same for the same pictures, and for hardly any others.
        pictures: Which; None when there are none.
    """

    count: int
    snapshot: str
    pictures: PictureSet | None


def chosen_pictures(connection: duckdb.DuckDBPyConnection, asked: Selection) -> ChosenPictures:
    """Return the pictures that are *asked* for.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    which = {"source": asked.source, "where": asked.where}
    statement = _COUNTED.format(**which)
    ((count, mixed, *known),) = fetched_rows(connection, statement, asked.parameters)
    names = [name for name, rows in zip(_HASHES, known, strict=True) if rows]
    pictures = None
    if count:
        for is_hash in (_LENGTH, _IS_HASH):  # what is no hash has rarely its length
            hexes = (_HEX.format(is_hash.format(name), name) for name in names)
            statement = _HASHES_OF.format(hashes=", ".join(hexes), any=_ANY, **which)
            with contextlib.suppress(ValueError):
                texts = fetched_parts(connection, statement, asked.parameters, _AT_ONCE)
                pictures = _pictures(names, texts)
                break
    return ChosenPictures(count=count, snapshot=f"{count}-{int(mixed):x}", pictures=pictures)


def _pictures(names: Sequence[str], parts: Iterable[list[tuple[Any, ...]]]) -> PictureSet:
    import numpy as np

    columns: dict[str, list[bytes]] = {name: [] for name in names}
    for part in parts:
        together = bytes.fromhex("".join([text for (text,) in part]))
        if len(together) != 32 * len(names) * len(part):  # blanks are passed over
            raise ValueError("what is no hash has the length of one")
        hashes = np.frombuffer(together, np.uint8).reshape(-1, len(names), 32)
        for name, column in zip(names, hashes.transpose(1, 0, 2), strict=True):
            columns[name].append(column.tobytes())
    return PictureSet(**{name: b"".join(column) for name, column in columns.items()})
