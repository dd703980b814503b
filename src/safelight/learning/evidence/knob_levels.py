"""knob_levels: every knob as a few levels to compare, and which rows are alike but for it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.trials import ABSENT, Trials, prompt_terms
from safelight.learning.evidence.value_columns import Levels, value_hashes
from safelight.recorded_settings import LORA

__all__ = ["MOST_LEVELS", "KnobLevels", "knob_levels", "likeness"]

MOST_LEVELS = 200
"""So many of a knob's values are looked at, those used most."""

_FEW_VALUES, _RANGES, _AGAINST_ONE = 8, 5, 12

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
    """

    knob: str
    names: tuple[str, ...]
    codes: Integers
    counts: Integers
    values: NDArray[np.float64] | None
    reference: int | None
    different: int

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
    levels = {name: _of_numbers(name, column) for name, column in trials.numbers.items()}
    return levels | {name: _of_texts(name, column) for name, column in trials.levels.items()}


def _of_numbers(knob: str, column: NDArray[np.float64]) -> KnobLevels:
    known = np.isfinite(column)
    values = np.unique(column[known])
    codes = np.full(len(column), -1, np.int64)
    if len(values) <= _FEW_VALUES:
        names = _names_of([(value, value) for value in values], 6)
        codes[known] = np.searchsorted(values, column[known])
        means = values
    else:
        cuts = np.unique(np.quantile(column[known], np.arange(1, _RANGES) / _RANGES))
        codes[known] = np.searchsorted(cuts, column[known], side="left")
        _, codes[known] = np.unique(codes[known], return_inverse=True)
        inside = [column[codes == level] for level in range(int(codes.max()) + 1)]
        names = _names_of([(part.min(), part.max()) for part in inside], 4)
        means = np.array([part.mean() for part in inside])
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
    names, codes = list(column.names), column.codes.copy()
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
    kept = tuple(names[level] or "(empty)" for level in most)
    base = kept.index("without") if knob.startswith("term:") and "without" in kept else None
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
    setting that may change pixels. For a LoRA or a
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
    for name, column in own.items():
        if name.startswith("term:"):
            names = trials.levels[name].names
            terms = {name.removeprefix("term:")} if names == ("without", "with") else set(names)
            alike[name] = rest + _prompts_without(trials.prompts, terms)
        else:
            alike[name] = rest - column + prompt
    return alike


def _prompts_without(prompts: Levels, terms: set[str]) -> NDArray[np.uint64]:
    rests = [",".join(t for t in prompt_terms(text) if t not in terms) for text in prompts.names]
    number = {rest: place for place, rest in enumerate(dict.fromkeys(rests))}
    codes = np.array([*(number[rest] for rest in rests), -1], np.float64)
    return value_hashes("prompt", codes[prompts.codes])
