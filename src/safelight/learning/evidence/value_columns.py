"""value_columns: values of any kind as columns of numbers, of levels, and of hashes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["Column", "Levels", "levels_of", "numbers_of", "value_hashes"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """A column of texts, as numbers into a list of them.

    Attributes:
        names: The different values, sorted.
        codes: Place in *names* of each row, -1 where there is none, int64[n].
    """

    names: tuple[str, ...]
    codes: NDArray[np.int64]


Column = NDArray[np.float64] | Levels
"""Numbers, NaN where there is none, or texts."""


def value_hashes(salt: str, column: NDArray[np.float64] | Levels) -> NDArray[np.uint64]:
    """Return 64-bit hashes of the values (splitmix64 of their bits and the salt)."""
    start = int.from_bytes(blake2b(salt.encode(), digest_size=8).digest(), "little")
    if isinstance(column, Levels):
        column = column.codes.astype(np.float64)
    column = np.where(np.isnan(column), np.inf, column) + 0.0  # one NaN, one zero
    mixed = column.view(np.uint64) ^ np.uint64(start)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


def levels_of(values: Iterable[object]) -> Levels:
    """Return *values* as levels; None, NaN and infinity are none."""
    values = list(values)
    if not set(map(type, values)) <= {str, int, float, bool, type(None)}:
        values = [
            value if value is None or isinstance(value, (str, int, float)) else repr(value)
            for value in values
        ]
    # 1, 1.0 and True are one key of a dict; a NaN is a key of its own each time, and absent.
    text = {value: _level_name(value) for value in dict.fromkeys(values)}
    names = sorted({name for name in text.values() if name is not None})
    number = {name: place for place, name in enumerate(names)}
    code = {value: -1 if name is None else number[name] for value, name in text.items()}
    codes = np.fromiter(map(code.__getitem__, values), np.int64, len(values))
    return Levels(names=tuple(names), codes=codes)


def _level_name(value: object) -> str | None:
    absent = value is None or (isinstance(value, float) and not math.isfinite(value))
    return None if absent else str(value)


def numbers_of(values: Sequence[object]) -> NDArray[np.float64] | None:
    """Return *values* as numbers, or None when one of them is something else."""
    kinds = set(map(type, values)) - {type(None)}
    if bool in kinds or not all(issubclass(kind, (int, float)) for kind in kinds):
        return None
    try:
        column = np.array(values, np.float64)
    except OverflowError:  # an integer beyond what a float holds
        column = np.array([_float(value) for value in values], np.float64)
    column[~np.isfinite(column)] = math.nan
    return column


def _float(value: object) -> float:
    try:
        return math.nan if value is None else float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.nan
