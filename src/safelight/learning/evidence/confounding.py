"""confounding: which knobs went together, so that their effects cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.findings import one_line
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.trials import ABSENT
from safelight.recorded_settings import EXTRA, LORA

__all__ = ["Confounder", "TogetherCounts", "followers"]

_SHARED = 0.02  # less than this part in common: as good as nothing
_FEWEST_REPEATS = 3.0
_MOST_LEADING, _MOST_NAMED = 12, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Confounder:
    """Another knob that changed whenever this one did.

    Attributes:
        knob: The other knob.
        reason: What was found, a sentence without its full stop.
    """

    knob: str
    reason: str


class TogetherCounts:
    """How often each level of one knob was used with each of another, counted once per pair."""

    def __init__(self, levels: Mapping[str, KnobLevels]) -> None:
        self._levels = levels
        self._tables: dict[tuple[str, str], NDArray[np.int64]] = {}
        self._totals: dict[tuple[str, str], NDArray[np.int64]] = {}

    def table(self, knob: str, other: str) -> NDArray[np.int64]:
        """Return counts, int64[levels of *knob*, levels of *other*]."""
        if (knob, other) not in self._tables:
            mine, theirs = self._levels[knob], self._levels[other]
            height, width = len(mine.names) + 1, len(theirs.names) + 1  # the last is for code -1
            cells = (mine.codes % height) * width + theirs.codes % width
            table = np.bincount(cells, minlength=height * width).reshape(height, width)
            self._tables[knob, other] = table = table[:-1, :-1]
            self._tables[other, knob] = table.T
        return self._tables[knob, other]

    def _used_elsewhere(self, knob: str, level: int, other: str) -> NDArray[np.int64]:
        """Return how often all other levels of *knob* went with each of *other*."""
        if (knob, other) not in self._totals:
            self._totals[knob, other] = self.table(knob, other).sum(axis=0)
        return np.asarray(self._totals[knob, other] - self.table(knob, other)[level], np.int64)

    def confounders(self, knob: str, level: int, against: int | None) -> tuple[Confounder, ...]:
        """Return the knobs without a value in common between *level* and *against*, or all others.

        With m_j and t_j how often the other knob's level j went with *level* and with what that
        is compared with, of all M and T rows, in common is::

            sum_j min(m_j / M, t_j / T)

        from 0 to 1; below 0.02 is as good as nothing. It is 1 less the total variation distance.
        """
        levels = self._levels[knob]
        confounders = []
        for name, other in self._levels.items():
            if name == knob or other.constant or _tells_pictures_apart(other):
                continue
            table = self.table(knob, name)
            mine = table[level]
            theirs = (
                table[against] if against is not None else self._used_elsewhere(knob, level, name)
            )
            if not mine.sum() or not theirs.sum():
                continue
            common = np.minimum(mine / mine.sum(), theirs / theirs.sum()).sum()
            if common < _SHARED:
                other_name = "everything else" if against is None else levels.names[against]
                reason = (
                    f"{one_line(knob)} {one_line(levels.names[level])} was only ever used with"
                    f" {_listed(name, other, mine)}, and {one_line(knob)} {one_line(other_name)}"
                    f" only with {_listed(name, other, theirs)}"
                )
                confounders.append(Confounder(knob=name, reason=reason))
        return tuple(confounders)

    def only_used_with(self, knob: str, level: int) -> tuple[str, ...]:
        """Return what this level was only ever used with, of knobs that varied elsewhere."""
        sentences = []
        for name, other in self._levels.items():
            if name == knob or other.constant or name.startswith(("term:", LORA)):
                continue
            table = self.table(knob, name)
            used = np.flatnonzero(table[level])
            elsewhere = np.count_nonzero(self._used_elsewhere(knob, level, name))
            if len(used) == 1 and elsewhere > 1:
                sentences.append(
                    f"{one_line(knob)} {one_line(self._levels[knob].names[level])} was only ever"
                    f" used with {one_line(name)} {one_line(other.names[used[0]])}"
                )
        if len(sentences) > _MOST_NAMED + 1:
            left = len(sentences) - _MOST_NAMED
            level_name = one_line(self._levels[knob].names[level])
            sentences[_MOST_NAMED:] = [
                f"the same holds of {one_line(knob)} {level_name} and {left} other settings"
            ]
        return tuple(sentences)


def followers(levels: Mapping[str, KnobLevels]) -> Mapping[str, str]:
    """Return the knobs that follow another, and which.

    An engine tells some knobs only where they apply: ``eta`` with some samplers, ``hires_steps``
    with the hires fix. Such a knob has one value or none, and another says which; it is no
    cause of its own, and confounds nothing. A setting that nobody knows may be one, so that it
    follows no knob, only others of its kind: the parts of an extension, whether that was used.
    """
    counts = TogetherCounts(levels)
    leaders: dict[str, str] = {}
    order = list(levels)
    for knob in order:
        mine = levels[knob]
        if mine.different != 2 or ABSENT not in mine.names or knob.startswith(LORA):
            continue
        for other in order:
            theirs = levels[other]
            leads = ABSENT not in theirs.names or order.index(other) < order.index(knob)
            if knob.startswith(EXTRA) and not other.startswith(EXTRA):
                continue
            if other == knob or other in leaders or theirs.constant or not leads:
                continue
            if theirs.different > _MOST_LEADING or other.startswith(("term:", LORA)):
                continue
            if (np.count_nonzero(counts.table(other, knob), axis=1) <= 1).all():
                leaders[knob] = other
                break
    return leaders


def _tells_pictures_apart(other: KnobLevels) -> bool:
    """Return whether nearly every picture has a value of its own, which confounds nothing."""
    return other.values is None and len(other.codes) / max(other.different, 1) < _FEWEST_REPEATS


def _listed(name: str, other: KnobLevels, counts: NDArray[np.int64]) -> str:
    used = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    shown = " or ".join(one_line(other.names[level]) for level in used[:3])
    others = f" or {len(used) - 3} other{'' if len(used) == 4 else 's'}"
    return f"{one_line(name)} {shown}" + (others if len(used) > 3 else "")
