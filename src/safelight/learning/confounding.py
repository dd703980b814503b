"""confounding: which knobs went together, so that their effects cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.learning.knob_levels import KnobLevels

__all__ = ["Confounder", "confounders", "only_used_with"]

_SHARED = 0.02  # less than this part in common: as good as nothing
_FEWEST_REPEATS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confounder:
    """Another knob that changed whenever this one did.

    Attributes:
        knob: The other knob.
        told: What was found, a sentence without its full stop.
    """

    knob: str
    told: str


def confounders(
    levels: Mapping[str, KnobLevels], knob: str, level: int, pictures: NDArray[np.bool_]
) -> tuple[Confounder, ...]:
    """Return the knobs that have no value in common between *level* and what it is compared with.

    Args:
        levels: All knobs.
        knob: The one in question.
        level: Of that knob.
        pictures: Rows that count, bool[n].
    """
    one = levels[knob]
    own = pictures & (one.codes == level)
    base = pictures & (one.codes != level)
    if one.reference is not None:
        base &= one.codes == one.reference
    found = []
    for name, other in levels.items():
        if name == knob or other.constant or _tells_pictures_apart(other):
            continue
        width = len(other.names)
        mine = np.bincount(other.codes[own & (other.codes >= 0)], minlength=width)
        theirs = np.bincount(other.codes[base & (other.codes >= 0)], minlength=width)
        if not mine.sum() or not theirs.sum():
            continue
        common = np.minimum(mine / mine.sum(), theirs / theirs.sum()).sum()
        if common < _SHARED:
            against = "everything else" if one.reference is None else one.names[one.reference]
            told = (
                f"{quoted(knob, one.names[level])} was only ever used with"
                f" {_listed(name, other, mine)}, and {quoted(knob, against)} only with"
                f" {_listed(name, other, theirs)}"
            )
            found.append(Confounder(knob=name, told=told))
    return tuple(found)


def only_used_with(
    levels: Mapping[str, KnobLevels], knob: str, level: int, pictures: NDArray[np.bool_]
) -> tuple[str, ...]:
    """Return what this level was only ever used with, of knobs that varied elsewhere."""
    own = pictures & (levels[knob].codes == level)
    rest = pictures & (levels[knob].codes != level)
    found = []
    for name, other in levels.items():
        if name == knob or other.constant or name.startswith(("term:", "lora:")):
            continue
        used = np.unique(other.codes[own])
        if len(used) == 1 and used[0] >= 0 and len(np.unique(other.codes[rest])) > 1:
            found.append(
                f"{quoted(knob, levels[knob].names[level])} was only ever used with"
                f" {name} {other.names[used[0]]}"
            )
    return tuple(found)


def quoted(knob: str, level: str) -> str:
    """Return how a level is called in a sentence."""
    return f"{knob} {level}"


def _tells_pictures_apart(other: KnobLevels) -> bool:
    """Return whether nearly every picture has a value of its own, which confounds nothing."""
    return other.values is None and len(other.codes) / max(other.different, 1) < _FEWEST_REPEATS


def _listed(name: str, other: KnobLevels, counts: NDArray[np.int64]) -> str:
    used = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    shown = " or ".join(other.names[level] for level in used[:3])
    return f"{name} {shown}" + (f" or {len(used) - 3} others" if len(used) > 3 else "")
