"""interactions: pairs of knobs where what one does depends on the other.

Each pair of knobs is one more column (or a few) beside all knobs in the regression of
:mod:`.adjusted_model`: the product of both. Numbers enter by their value, texts by the eight levels
used most, kinds of pictures (:mod:`.usable_kinds`) by whether a picture is of them: what a knob
does may depend on what is drawn. Kinds that people made stand beside the knobs, too, where a knob
is looked into by them. The chances are corrected by Holm's method for all pairs looked at.

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
from safelight.learning.evidence.picture_kinds import PictureKind
from safelight.learning.evidence.usable_kinds import UsableKinds

__all__ = ["Interaction", "find_interactions"]

_MOST_KNOBS, _MOST_LEVELS, _MOST_ROWS, _WORTH_A_LOOK = 12, 8, 10_000, 2.0
_FEWEST_BOTH, _MOST_BESIDE = 10, 40
_NO_KINDS = UsableKinds()

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
    beside: Floats | None = None,
    kinds: UsableKinds = _NO_KINDS,
    *,
    risk: float,
    least_noise: float = 0.0,
) -> tuple[Interaction, ...]:
    """Return the pairs of knobs that clearly depend on each other, the strongest first.

    The twelve knobs that varied most are looked at, with each other and with kinds, in at most
    10,000 pictures.

    Args:
        levels: All knobs.
        readings: Unshrunk scores, float64[n].
        weights: float64[n], above 0.
        prompts: Number of each row's prompt, int64[n].
        draws: Number of each row's prompt and seed together, int64[n].
        beside: What stands beside the knobs, float64[n, k].
        kinds: What knobs are looked into by, beside each other.
        risk: Chance that any pair is named where none interacts.
        least_noise: As of :class:`.AdjustedModel`.
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
    usable = [knob for knob, its in parts.items() if its]
    varied = sorted(usable, key=lambda k: max(p.column.var() for p in parts[k]), reverse=True)
    chosen = sorted(varied[:_MOST_KNOBS], key=list(levels).index)
    if len(chosen) + len(kinds.every) < 2 or len(some) < 4 * _FEWEST_BOTH:
        return ()
    of_kinds = {name: [_of_kind(kind, some)] for name, kind in kinds.every.items()}
    pairs = [*combinations(chosen, 2)]
    pairs += product((knob for knob in chosen if not knob.startswith("term:")), of_kinds)
    parts |= of_kinds
    beside = np.zeros((count, 0)) if beside is None else beside

    def model_beside(columns: Floats) -> AdjustedModel:
        return AdjustedModel(
            thinned, readings[some], weights[some], prompts[some], draws[some], columns[some],
            least_noise=least_noise,
        )  # fmt: skip

    own = [kind.has[:, None].astype(np.float64) for kind in kinds.of_people.values()]
    plain = model_beside(beside)
    of_people = model_beside(np.concatenate([beside, *own], axis=1)) if own else plain
    tried: list[_Tried] = []
    for knob, other in pairs:
        model = of_people if other in kinds.of_people else plain
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
                conditions=kinds.every[look.other].conditions
                if look.other in of_kinds
                else ("", ""),
            )
        )
    return tuple(interactions)


def _of_kind(kind: PictureKind, some: Integers) -> _Part:
    has = kind.has[some]
    return _Part(change=kind.parts, column=has.astype(np.float64), after=has)


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
    one per level of the eight used most but the reference, or the first of them, 1 where the level
    is used, else 0.
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
    most = np.argsort(-levels.counts, kind="stable")[:_MOST_LEVELS].tolist()
    reference = levels.reference if levels.reference is not None else most[0]
    base = levels.names[reference]
    parts = []
    for level in sorted(most):
        name = levels.names[level]
        if level != reference and levels.counts[level] >= 2 * _FEWEST_BOTH:
            own = levels.codes == level
            change = (base, name)
            parts.append(_Part(change=change, column=own.astype(np.float64), after=own))
    return parts
