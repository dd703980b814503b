"""knob_levels: every knob as a few levels to compare, and which rows are alike but for it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.findings import level_of_text
from safelight.learning.evidence.trials import ABSENT, Trials, prompt_terms
from safelight.learning.evidence.value_columns import Column, Levels, value_hashes
from safelight.recorded_settings import LORA

__all__ = ["MOST_LEVELS", "KnobLevels", "knob_levels", "levels_of_column", "likeness"]

MOST_LEVELS = 200
"""So many of a knob's values are looked at, those used most."""

_FEW_VALUES, _RANGES, _AGAINST_ONE = 8, 5, 12

_LARGEST = 1e100
"""Means of larger numbers are of this: their squares can still be reckoned with."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnobLevels:
    """One knob's column, cut into levels.

    Attributes:
        knob: Its name.
        names: What each level is called: a value, or a range of numbers.
        codes: Level of each row; -1 for values that are passed over, int64[n].
        counts: Rows of each level, int64[levels].
        values: Mean value of each level, of numbers; NaN for absent. None for texts.
        reference: The level that others are compared with; None when each level is compared
            with all others together, because there are many.
        different: How many different values there are, absence included.
        doubtful: Rows that do not tell the value, and are passed over.
    """

    knob: str
    names: tuple[str, ...]
    codes: Integers
    counts: Integers
    values: NDArray[np.float64] | None
    reference: int | None
    different: int
    doubtful: int = 0

    @property
    def constant(self) -> bool:
        """Whether it never varied."""
        return self.different <= 1

    def of_rows(self, rows: Integers) -> KnobLevels:
        """Return the levels of some rows, numbered as those of all."""
        return replace(self, codes=self.codes[rows])


def knob_levels(trials: Trials) -> Mapping[str, KnobLevels]:
    """Return every knob's levels.

    Numbers with at most 8 values have those as levels, others are cut into 5 ranges that hold
    about as many rows each. The reference is the level used most, for LoRAs and prompt terms
    their absence.
    """
    columns: dict[str, Column] = {**trials.numbers, **trials.levels}
    return {name: _of_known(name, column, trials.doubtful) for name, column in columns.items()}


def _of_known(knob: str, column: Column, doubtful: Mapping[str, NDArray[np.bool_]]) -> KnobLevels:
    """Return the levels of *column*; rows of which it is not known are passed over."""
    if knob not in doubtful:
        return levels_of_column(knob, column)
    known = np.flatnonzero(~doubtful[knob])
    some = (
        column[known]
        if not isinstance(column, Levels)
        else replace(column, codes=column.codes[known])
    )
    levels = levels_of_column(knob, some)
    codes = np.full(len(doubtful[knob]), -1, np.int64)
    codes[known] = levels.codes
    return replace(levels, codes=codes, doubtful=len(codes) - len(known))


def levels_of_column(knob: str, column: Column) -> KnobLevels:
    """Return the levels of one knob, as :func:`knob_levels` has them."""
    if isinstance(column, Levels):
        return _of_texts(knob, column)
    return _of_numbers(knob, column)


def _of_numbers(knob: str, column: NDArray[np.float64]) -> KnobLevels:
    known = np.isfinite(column)
    values = np.unique(column[known])
    codes = np.full(len(column), -1, np.int64)
    if len(values) <= _FEW_VALUES:
        names = _names_of([(value, value) for value in values], 6)
        codes[known] = np.searchsorted(values, column[known])
        means = np.clip(values, -_LARGEST, _LARGEST)
    else:
        cuts = np.unique(np.quantile(column[known], np.arange(1, _RANGES) / _RANGES))
        codes[known] = np.searchsorted(cuts, column[known], side="left")
        _, codes[known] = np.unique(codes[known], return_inverse=True)
        inside = [column[codes == level] for level in range(int(codes.max()) + 1)]
        names = _names_of([(part.min(), part.max()) for part in inside], 4)
        means = np.array([np.clip(part, -_LARGEST, _LARGEST).mean() for part in inside])
    if not known.all():
        codes[~known] = len(names)
        names.append(ABSENT)
        means = np.append(means, np.nan)
    base = names.index("0") if knob.startswith(LORA) and "0" in names else None
    different = len(values) + (not known.all())
    return _made(knob, tuple(names), codes, means, base, different)


def _names_of(spans: Sequence[tuple[float, float]], digits: int) -> list[str]:
    """Return what ranges are called, with so many digits or as many as it takes to differ."""
    names: list[str] = []
    for many in (digits, 9, 17):
        names = [
            f"{low:.{many}g}" if low == high else f"{low:.{many}g} to {high:.{many}g}"
            for low, high in spans
        ]
        if len(set(names)) == len(names):
            break
    return names


def _of_texts(knob: str, column: Levels) -> KnobLevels:
    names = [level_of_text(name) for name in column.names]
    codes = column.codes.copy()
    absent = codes < 0
    if absent.any():
        codes[absent] = len(names)
        names.append(ABSENT)
    counts = np.bincount(codes, minlength=len(names))
    used = np.flatnonzero(counts)
    different = len(used)
    most = np.sort(used[np.argsort(-counts[used], kind="stable")][:MOST_LEVELS])
    place = np.full(len(names), -1, np.int64)
    place[most] = np.arange(len(most))
    kept = tuple(names[level] for level in most)
    absence = "without" if knob.startswith("term:") else ABSENT if knob.startswith(LORA) else ""
    base = kept.index(absence) if absence in kept else None
    return _made(knob, kept, place[codes], None, base, different)


def _made(
    knob: str,
    names: tuple[str, ...],
    codes: Integers,
    values: NDArray[np.float64] | None,
    base: int | None,
    different: int,
) -> KnobLevels:
    counts = np.bincount(codes[codes >= 0], minlength=len(names)).astype(np.int64)
    if base is None and 0 < len(names) <= _AGAINST_ONE:
        base = int(np.argmax(counts))
    return KnobLevels(
        knob=knob, names=names, codes=codes, counts=counts, values=values, reference=base,
        different=different,
    )  # fmt: skip


def likeness(trials: Trials, passed_over: Container[str] = ()) -> Mapping[str, NDArray[np.uint64]]:
    """Return for each knob a number per row: equal where rows differ in that knob at most.

    Rows are alike when they share prompt, seed, engine, all other knobs and every other recorded
    setting that may change pixels. A row that does not tell its prompt or one of the other knobs is
    like no other; a seed that is not told is chance, as any is. For a LoRA or a
    term the prompt is the rest of it. The numbers are sums of 64-bit hashes, so two rows are
    wrongly taken for alike about once in 10**19 pairs.

    Args:
        trials: The rows; unknown seeds are all alike.
        passed_over: Knobs that may differ, too, because they follow another.
    """
    own = {
        name: value_hashes(name, column)
        for name, column in trials.numbers.items()
        if name not in passed_over
    }
    for name, levels in trials.levels.items():
        if name not in passed_over:
            own[name] = value_hashes(name, levels)
    prompt = value_hashes("prompt", trials.prompts)
    rest = value_hashes("seed", trials.seeds)
    if "backend" not in own:
        rest = rest + value_hashes("backend", trials.backends)
    for name, setting in trials.settings.items():
        if name not in passed_over:
            rest = rest + value_hashes(f"settings {name}", setting)
    for name, column in own.items():
        if not name.startswith("term:"):  # the prompt itself says which terms it has
            rest = rest + column
    alike = {}
    parts: list[tuple[str, ...]] = []
    for name, column in own.items():
        if name.startswith("term:"):
            names = trials.levels[name].names
            terms = {name.removeprefix("term:")} if names == ("without", "with") else set(names)
            parts = parts or [prompt_terms(text) for text in trials.prompts.names]
            alike[name] = rest + _prompts_without(parts, trials.prompts.codes, terms)
        else:
            alike[name] = rest - column + prompt
    return {name: _told_apart(name, column, trials.doubtful) for name, column in alike.items()}


def _told_apart(
    knob: str, alike: NDArray[np.uint64], doubtful: Mapping[str, NDArray[np.bool_]]
) -> NDArray[np.uint64]:
    """Return *alike* with a number of its own for each row that is in doubt of something else."""
    others = [rows for name, rows in doubtful.items() if name not in (knob, "seed")]
    if not others:
        return alike
    numbered = value_hashes("a row in doubt", np.arange(len(alike), dtype=np.float64))
    return np.where(np.any(others, axis=0), alike + numbered, alike)


def _prompts_without(
    parts: Sequence[tuple[str, ...]], codes: Integers, terms: set[str]
) -> NDArray[np.uint64]:
    rests = [",".join(t for t in own if t not in terms) for own in parts]
    number = {rest: place for place, rest in enumerate(dict.fromkeys(rests))}
    numbers = np.array([*(number[rest] for rest in rests), -1], np.float64)
    return value_hashes("prompt", numbers[codes])
