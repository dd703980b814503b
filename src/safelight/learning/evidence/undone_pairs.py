"""undone_pairs: which single setting keeps pictures from being alike in all else.

Any recorded setting counts in a comparison, those included that nobody knows: a difference that is
not explained may be their doing. Where one of them alone undoes pairs, people are told which, and
can say that it does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.findings import UndonePairs
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.trials import Trials
from safelight.learning.evidence.value_columns import value_hashes
from safelight.recorded_settings import EARLIER, EXTRA

__all__ = ["UndonePairs", "pair_count", "undone_pairs"]

_MOST_ROWS, _MOST_SETTINGS = 20_000, 30
"""Rated pictures, whole prompts of them, and settings: with more, counts are lower bounds."""

_OTHERS = (EXTRA, EARLIER)


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
    own = _that_may_undo(trials, rows)
    undone = []
    varied = [knob for knob, one in levels.items() if not one.constant]
    before = {knob: pair_count(levels[knob].of_rows(rows), alike[knob][rows]) for knob in varied}
    for name, column in own.items():
        cost = {
            knob: pair_count(levels[knob].of_rows(rows), alike[knob][rows] - column) - before[knob]
            for knob in varied
            if knob != name
        }
        knobs = sorted((one for one in cost.items() if one[1] > 0), key=lambda one: -one[1])
        if knobs:
            pairs = sum(count for _, count in knobs)
            undone.append(UndonePairs(setting=name, pairs=pairs, knobs=tuple(knobs)))
    return tuple(sorted(undone, key=lambda one: (-one.pairs, one.setting)))


def _that_may_undo(trials: Trials, rows: NDArray[np.int64]) -> dict[str, NDArray[np.uint64]]:
    """Return the hashes of settings that vary within a prompt and seed, those that do so most."""
    names = [n for n in dict.fromkeys((*trials.settings, *trials.knobs)) if n.startswith(_OTHERS)]
    together = value_hashes("prompt", trials.prompts) + value_hashes("seed", trials.seeds)
    _, group = np.unique(together[rows], return_inverse=True)
    hashes: dict[str, NDArray[np.uint64]] = {}
    spread: dict[str, int] = {}
    for name in names:
        column = np.zeros(len(trials), np.uint64)
        for of, salt in ((trials.numbers, name), (trials.levels, name),
                         (trials.settings, f"settings {name}")):  # fmt: skip
            if name in of:
                column = column + value_hashes(salt, of[name])
        column = column[rows]
        different = len(np.unique(np.stack([group.astype(np.uint64), column]), axis=1).T)
        if different > group.max(initial=-1) + 1:
            hashes[name], spread[name] = column, different
    most = sorted(spread, key=lambda name: -spread[name])[:_MOST_SETTINGS]
    return {name: hashes[name] for name in names if name in most}


def _some_rows(trials: Trials) -> NDArray[np.int64]:
    count = len(trials)
    if count <= _MOST_ROWS:
        return np.arange(count)
    order = np.argsort(trials.prompts.codes, kind="stable")
    return np.sort(order[:_MOST_ROWS])
