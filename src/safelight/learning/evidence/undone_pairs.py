"""undone_pairs: which single setting keeps pictures from being alike in all else.

Any recorded setting counts in a comparison, those included that nobody knows: a difference that is
not explained may be their doing. Where one of them alone undoes pairs, people are told which, and
can say that it does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.trials import Trials, value_hashes
from safelight.recorded_settings import EXTRA

__all__ = ["UndonePairs", "pair_count", "undone_pairs"]

_MOST_ROWS = 20_000
"""Rated pictures that are looked at, whole prompts of them: then the counts are lower bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndonePairs:
    """What a setting costs.

    Attributes:
        setting: Its name, ``extra.NAME``.
        pairs: How many more there were if it did not count, of all knobs together.
        knobs: Which knobs' pairs, and how many of each, the most first.
    """

    setting: str
    pairs: int
    knobs: tuple[tuple[str, int], ...]

    @property
    def message(self) -> str:
        """What it costs, in a sentence without its full stop."""
        each = ", ".join(f"{knob} {count:,}" for knob, count in self.knobs[:3])
        more = f" and {len(self.knobs) - 3} more knobs" if len(self.knobs) > 3 else ""
        return (
            f"{self.setting} alone undoes {self.pairs:,} pairs that are alike in all else"
            f" ({each}{more})"
        )


def pair_count(levels: KnobLevels, alike: NDArray[np.uint64]) -> int:
    """Return how many levels have something to be compared with among rows alike in all else.

    Args:
        levels: The knob.
        alike: Equal where rows differ in this knob at most, uint64[n].
    """
    known = np.flatnonzero(levels.codes >= 0)
    _, group = np.unique(alike[known], return_inverse=True)
    width = len(levels.names)
    cells = np.unique(group * width + levels.codes[known])
    cell_group, cell_level = cells // width, cells % width
    if levels.reference is None:
        sizes = np.bincount(cell_group)
        return int((sizes[cell_group] > 1).sum())
    with_reference = np.zeros(int(group.max(initial=0)) + 1, bool)
    with_reference[cell_group[cell_level == levels.reference]] = True
    return int((with_reference[cell_group] & (cell_level != levels.reference)).sum())


def undone_pairs(
    trials: Trials,
    levels: Mapping[str, KnobLevels],
    alike: Mapping[str, NDArray[np.uint64]],
) -> tuple[UndonePairs, ...]:
    """Return the settings beside knobs that alone undo pairs, the costliest first.

    Args:
        trials: The rows.
        levels: Their knobs.
        alike: Of each knob, as :func:`.knob_levels.likeness` has it.
    """
    rows = _some_rows(trials)
    own = {
        name: value_hashes(name, column)[rows]
        for name, column in trials.settings.items()
        if name.startswith(EXTRA)
    }
    undone = []
    varied = [knob for knob, its_levels in levels.items() if not its_levels.constant]
    before = {knob: pair_count(levels[knob].of_rows(rows), alike[knob][rows]) for knob in varied}
    for name, column in own.items():
        cost = {
            knob: pair_count(levels[knob].of_rows(rows), alike[knob][rows] - column) - before[knob]
            for knob in varied
            if knob != name
        }
        knobs = sorted(
            (knob_and_cost for knob_and_cost in cost.items() if knob_and_cost[1] > 0),
            key=lambda each: -each[1],
        )
        if knobs:
            pairs = sum(count for _, count in knobs)
            undone.append(UndonePairs(setting=name, pairs=pairs, knobs=tuple(knobs)))
    return tuple(sorted(undone, key=lambda each: (-each.pairs, each.setting)))


def _some_rows(trials: Trials) -> NDArray[np.int64]:
    count = len(trials)
    if count <= _MOST_ROWS:
        return np.arange(count)
    order = np.argsort(trials.prompts.codes, kind="stable")
    return np.sort(order[:_MOST_ROWS])
