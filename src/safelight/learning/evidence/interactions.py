"""interactions: pairs of knobs where what one does depends on the other.

Each pair of knobs is one more column (or a few) beside all knobs in the regression of
:mod:`.adjusted_model`: the product of both. Numbers enter by their value,
texts with at most five levels by level. The chances are corrected by Holm's method for all pairs
that were looked at.

With a and b columns (n,) of two knobs (:func:`_parts`, 0 before a change and 1 after), and L such
columns for the pair (a *look* each)::

    z = (a - mean a) (b - mean b)
    p = L min over looks of 2 F(-|difference| / error; freedom)            Bonferroni

where the estimate is :meth:`.AdjustedModel.coefficient` of z and F Student's t distribution. Looks
of which :meth:`.AdjustedModel.leanings` are 2 or less count in L and are never the smallest. The
K pairs in the order of their p, from 1, are named while::

    chance_j = max over i <= j of (K - i + 1) p_i <= risk

Source: Holm 1979, *A simple sequentially rejective multiple test procedure*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.adjusted_model import AdjustedModel
from safelight.learning.evidence.findings import Interaction
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.paired_comparisons import Estimate

__all__ = ["Interaction", "find_interactions"]

_MOST_KNOBS, _MOST_LEVELS, _MOST_ROWS, _WORTH_A_LOOK = 12, 5, 10_000, 2.0
_FEWEST_BOTH, _MOST_BESIDE = 10, 40

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Tried:
    """The strongest of the looks at a pair of knobs."""

    chance: float
    knob: str
    other: str
    parts: tuple[_Part, _Part]
    estimate: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """One way of changing a knob: 0 before, 1 after, between for numbers between."""

    change: tuple[str, str]
    column: Floats
    after: NDArray[np.bool_]


def find_interactions(
    levels: Mapping[str, KnobLevels],
    readings: Floats,
    weights: Floats,
    prompts: Integers,
    draws: Integers,
    *,
    risk: float,
) -> tuple[Interaction, ...]:
    """Return the pairs of knobs that clearly depend on each other, the strongest first.

    The twelve knobs that varied most are looked at, in at most 10,000 pictures.

    Args:
        levels: All knobs.
        readings: Unshrunk scores, float64[n].
        weights: float64[n], above 0.
        prompts: Number of each row's prompt, int64[n].
        draws: Number of each row's prompt and seed together, int64[n].
        risk: Chance that any pair is named where none interacts.
    """
    from scipy.special import stdtr, stdtrit

    count = len(readings)
    some = np.unique(np.linspace(0, count - 1, min(count, _MOST_ROWS)).astype(np.int64))
    thinned = {
        knob: KnobLevels(
            knob=knob,
            names=its_levels.names,
            codes=its_levels.codes[some],
            values=its_levels.values,
            counts=np.bincount(
                its_levels.codes[some][its_levels.codes[some] >= 0], minlength=len(its_levels.names)
            ),
            reference=its_levels.reference,
            different=its_levels.different,
        )
        for knob, its_levels in levels.items()
        if len(its_levels.names) <= _MOST_BESIDE
    }
    parts = {
        knob: _parts(its_levels) for knob, its_levels in thinned.items() if not its_levels.constant
    }
    usable = [knob for knob, own in parts.items() if own]
    varied = sorted(usable, key=lambda k: max(p.column.var() for p in parts[k]), reverse=True)
    chosen = sorted(varied[:_MOST_KNOBS], key=list(levels).index)
    if len(chosen) < 2 or len(some) < 4 * _FEWEST_BOTH:
        return ()
    model = AdjustedModel(thinned, readings[some], weights[some], prompts[some], draws[some])
    tried: list[_Tried] = []
    for knob, other in combinations(chosen, 2):
        looks = [pair for pair in product(parts[knob], parts[other]) if _enough(*pair)]
        if not looks:
            continue
        columns = np.column_stack([_product(*pair) for pair in looks])
        leanings = np.abs(model.leanings(columns))
        best: tuple[float, int, Estimate] | None = None
        for place in np.flatnonzero(leanings > _WORTH_A_LOOK).tolist():
            estimate = model.coefficient(columns[:, place])
            if estimate is not None and estimate.error > 0:
                size = abs(estimate.difference) / estimate.error
                chance = float(2 * stdtr(estimate.freedom, -size)) * len(looks)
                if best is None or chance < best[0]:
                    best = (chance, place, estimate)
        if best is None:
            tried.append(_Tried(1.0, knob, other, looks[0], None))
        else:
            tried.append(_Tried(best[0], knob, other, looks[best[1]], best[2]))
    tried.sort(key=lambda look: look.chance)
    interactions = []
    corrected = 0.0
    for place, look in enumerate(tried):
        corrected = max(corrected, look.chance * (len(tried) - place))
        estimate = look.estimate
        if corrected > risk or estimate is None:
            break
        first, second = look.parts
        reach = float(stdtrit(estimate.freedom, 0.975)) * estimate.error
        interactions.append(
            Interaction(
                knob=look.knob,
                change=first.change,
                other=look.other,
                other_change=second.change,
                difference=estimate.difference,
                low=estimate.difference - reach,
                high=estimate.difference + reach,
                chance=corrected,
                n=int((first.after & second.after).sum()),
                pictures=len(some),
            )
        )
    return tuple(interactions)


def _enough(first: _Part, second: _Part) -> bool:
    cells = [
        (a & b).sum() for a in (first.after, ~first.after) for b in (second.after, ~second.after)
    ]
    return bool(min(cells) >= _FEWEST_BOTH)


def _product(first: _Part, second: _Part) -> Floats:
    """Return z of the module, float64[n]."""
    centred = first.column - first.column.mean()
    return np.asarray(centred * (second.column - second.column.mean()), np.float64)


def _parts(levels: KnobLevels) -> list[_Part]:
    """Return the columns of a knob, float64[n] each, without unit.

    Numbers have one, (v - low) / (high - low), with v the mean value of a row's level, low and
    high the 10 % and 90 % quantiles of v, or least and greatest where those are one. Texts have
    one per level but the reference, 1 where the level is used, else 0.
    """
    if levels.values is not None and np.isfinite(levels.values).all():
        column = levels.values[levels.codes]
        low, high = np.quantile(column, (0.1, 0.9))
        if not low < high:
            low, high = column.min(), column.max()
        scaled = (column - low) / (high - low)
        middle = np.median(scaled)
        after = scaled > middle if (scaled > middle).any() else scaled >= middle
        return [_Part(change=(f"{low:.4g}", f"{high:.4g}"), column=scaled, after=after)]
    if levels.reference is None or len(levels.names) > _MOST_LEVELS:
        return []
    base = levels.names[levels.reference]
    parts = []
    for level, name in enumerate(levels.names):
        if level != levels.reference and levels.counts[level] >= 2 * _FEWEST_BOTH:
            own = levels.codes == level
            change = (base, name)
            parts.append(_Part(change=change, column=own.astype(np.float64), after=own))
    return parts
