"""setting_columns: recorded settings as columns of rated pictures.

What can be compared itself becomes a knob; all else only says which pictures are alike. Nothing is
dropped without a reason: a value that a column of numbers does not show (another stage's, another
spelling, a weight that is not known) stays in a column of its own that tells rows apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.value_columns import Column, Levels, levels_of, numbers_of
from safelight.recorded_settings import (
    EXTRA,
    LORA,
    Setting,
    changes_no_pixels,
    comparable_name,
    hash_parts,
    hashed_knob,
)

__all__ = ["SettingColumns", "setting_columns"]

_FEWEST_REPEATS = 3
_MOST_KNOBS = 20
"""So many settings that nobody knows are compared themselves, those whose values are most even."""

Settings = Sequence[Setting]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SettingColumns:
    """What settings are of some rows.

    Attributes:
        weights: ``lora.NAME`` -> weights, float64[n]; 0 where there is none, NaN where it is not
            known.
        knobs: ``extra.NAME`` -> values, of those that are compared.
        apart: Name -> what tells rows apart beyond the columns above, of settings that vary in it.
    """

    weights: Mapping[str, NDArray[np.float64]]
    knobs: Mapping[str, Column]
    apart: Mapping[str, Levels]


def setting_columns(
    settings: Mapping[str, Mapping[int, Settings]],
    rows: Sequence[int],
    named: Mapping[str, Sequence[object]],
) -> SettingColumns:
    """Return the columns of *settings* for *rows*.

    Args:
        settings: Name -> row -> what it was, of every stage in order. Names that differ in case
            alone, and those of one LoRA, are one.
        rows: Which rows, in the order of the columns.
        named: ``model`` and ``vae`` -> its name in each of *rows*; a hash of one that has no
            other hash says nothing new.
    """
    weights: dict[str, NDArray[np.float64]] = {}
    knobs: dict[str, Column] = {}
    apart: dict[str, list[object]] = {}
    rest: dict[str, list[Settings]] = {}
    evenness: dict[str, int] = {}
    together = _together(settings)
    for name, by_row in together.items():
        if changes_no_pixels(name):
            continue
        values: list[Settings] = [tuple(by_row.get(row, ())) for row in rows]
        if name.startswith(LORA):
            weights[name] = np.array([_weight(one) for one in values], np.float64)
            apart[name] = _rests_of(values)
            continue
        knob = hashed_knob(name)
        if len(set(values)) < 2 or (
            knob is not None and not _tells_more(values, named.get(knob, ()))
        ):
            continue
        rest[name] = values
        if name.startswith(EXTRA) and knob is None:
            column = _column([one[-1] if one else None for one in values])
            largest, different = _counted(column)
            if not isinstance(column, Levels) or different <= len(rows) / _FEWEST_REPEATS:
                knobs[name], evenness[name] = column, len(rows) - largest
    chosen = sorted(knobs, key=lambda name: (-evenness[name], name))[:_MOST_KNOBS]
    for name, values in rest.items():
        if name in chosen:
            apart[name] = _rests_of(values, numeric=not isinstance(knobs[name], Levels))
        else:
            apart[name] = [_all_of(one) for one in values]
    return SettingColumns(
        weights=weights,
        knobs={name: knobs[name] for name in chosen},
        apart={name: levels_of(said) for name, said in apart.items() if len(set(said)) > 1},
    )


def _together(
    settings: Mapping[str, Mapping[int, Settings]],
) -> dict[str, dict[int, list[Setting]]]:
    """Return *settings* with one entry for what has one name, called as it is first spelled."""
    spelled: dict[str, str] = {}
    united: dict[str, dict[int, list[Setting]]] = {}
    for name, by_row in settings.items():
        own = united.setdefault(spelled.setdefault(comparable_name(name), name), {})
        for row, values in by_row.items():
            own.setdefault(row, []).extend(values)
    return united


def _all_of(values: Settings) -> str | None:
    return repr([(one.stage, one.value) for one in values]) if values else None


def _rests_of(values: Sequence[Settings], *, numeric: bool = True) -> list[object]:
    """Return what a column of the last values does not say of each row; None where that is all.

    Args:
        values: Of each row.
        numeric: Whether the column has their numbers, else it has their values.
    """
    usual = Counter(own[-1].stage for own in values if own).most_common(1)
    rests: list[object] = []
    for own in values:
        if not own:
            rests.append(None)
            continue
        *earlier, last = own
        unsaid = None
        if numeric:
            unsaid = last.text if last.number is not None else repr(last.value)
        plain = not earlier and unsaid is None and last.stage == usual[0][0]
        before = [(one.stage, one.value) for one in earlier]
        rests.append(None if plain else repr((before, last.stage, unsaid)))
    return rests


def _weight(values: Settings) -> float:
    if not values:
        return 0.0
    number = values[-1].number
    return float("nan") if number is None else number


def _column(values: Sequence[Setting | None]) -> Column:
    """Return numbers where each of *values* is one, else texts."""
    if all(one is None or one.number is not None for one in values):
        numbers = numbers_of([None if one is None else one.number for one in values])
        if numbers is not None:
            return numbers
    return levels_of([None if one is None else one.value for one in values])


def _counted(column: Column) -> tuple[int, int]:
    """Return how often the most frequent value is there, and how many there are."""
    codes = column.codes if isinstance(column, Levels) else np.nan_to_num(column, nan=np.inf)
    _, counts = np.unique(codes, return_counts=True)
    return int(counts.max()), len(counts)


def _tells_more(values: Sequence[Settings], names: Sequence[object]) -> bool:
    """Return whether hashes tell apart what has one name."""
    hashes: dict[object, set[str]] = {}
    for row, own in enumerate(values):
        for one in own:
            if names:
                hashes.setdefault(names[row], set()).add(str(one.value))
            else:
                for name, digest in hash_parts(str(one.value)).items():
                    hashes.setdefault(name, set()).add(digest)
    return any(len(one) > 1 for one in hashes.values())
