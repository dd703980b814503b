"""effects: what each knob does to the scores, how sure that is, and what it rests on.

The levels of a knob are compared by the strongest evidence there is (:mod:`.comparing`). A
difference is called likely only when it would be so after looking at all knobs: the chance that
any knob is named where none matters is 5 % at most (Holm 1979, *A simple sequentially rejective
multiple test procedure*; Bonferroni within a knob). It is called clear when that holds however
often one looks while ratings come in (:func:`.comparing._kept_chance`). Of the 5 % an archive has
3 % for differences, 1 % for pairs of knobs and 1 % for what makes no difference.

The estimate and its 95 % interval are the data's own. What to expect of new pictures is drawn
towards no effect as far as the spread of all effects says (empirical Bayes: Efron and Morris
1975, *Data analysis using Stein's estimator and its generalizations*; the spread nearly as in
Paule and Mandel 1982, *Consensus values and weighting factors*), so that three lucky pictures
recommend nothing.

Formulae: the interval and its chance at :mod:`.comparing`, Holm's correction at :func:`holm`, what
to expect at :func:`_shrunk` and :func:`_spread`, how many more at :meth:`.Draft._more`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.evidence.comparing import (
    FEWEST_PAIRS,
    FEWEST_PICTURES,
    KNOBS_RISK,
    MATTERS,
    Comparing,
    Draft,
)
from safelight.learning.evidence.findings import ABSENT, Comparison, Effects, KnobEffect
from safelight.learning.evidence.interactions import find_interactions
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.parts import differences_in_parts
from safelight.learning.evidence.selection import selection_of
from safelight.learning.evidence.trials import Trials
from safelight.learning.evidence.undone_pairs import undone_pairs
from safelight.learning.evidence.usable_kinds import usable_kinds

__all__ = [
    "FEWEST_PAIRS",
    "FEWEST_PICTURES",
    "MATTERS",
    "Comparison",
    "Effects",
    "KnobEffect",
    "find_effects",
    "holm",
]

_INTERACTIONS_RISK, _SMALL_RISK = 0.01, 0.01


@one_blas_thread("scipy.linalg")
def find_effects(trials: Trials) -> Effects:
    """Return what each knob does to the scores of *trials*."""
    blank = Effects(
        pictures=len(trials),
        ratings=int(trials.ratings.sum()),
        prompts=len(np.unique(trials.prompts.codes)),
        gone=trials.gone,
        unrated=trials.unrated,
        warning=selection_of(trials).warning,
    )
    reason = _why_nothing(trials)
    if reason:
        return replace(blank, reason=reason)
    comparing = Comparing(trials)
    varied = [knob for knob, levels in comparing.levels.items() if not levels.constant]
    drafts = [draft for knob in varied for draft in comparing.drafts(knob)]
    drafts = _corrected(_shrunk(drafts))
    kinds = usable_kinds(comparing)
    interactions = find_interactions(
        comparing.levels, trials.readings, comparing.weights, comparing.clusters.prompts,
        comparing.clusters.draws, comparing.beside, kinds,
        risk=_INTERACTIONS_RISK, least_noise=comparing.least_noise,
    )  # fmt: skip
    in_parts = differences_in_parts(comparing, interactions, drafts, kinds.every)
    for draft in drafts:
        draft.parts = in_parts.get((draft.knob, draft.level, draft.against), ())
        if draft.parts:
            draft.status = "depends"
    knobs = [
        _knob_effect(levels, [d.comparison() for d in drafts if d.knob == knob])
        for knob, levels in comparing.levels.items()
    ]
    knobs = [
        replace(
            effect, may_be_best=_may_be_best(comparing, effect),
            seconds=comparing.seconds(effect.knob),
        ) if effect.comparisons else effect
        for effect in knobs
    ]  # fmt: skip
    knobs += [
        KnobEffect(
            knob=knob,
            status="constant",
            follows=leader,
            summary=f"{knob} was {_only_value(comparing.every[knob])} or not there, which {leader}"
            f" decided: it is counted with {leader}",
        )
        for knob, leader in comparing.follow.items()
    ]
    return replace(
        blank,
        knobs=tuple(sorted(knobs, key=_clearest_first)),
        interactions=interactions,
        undone=undone_pairs(comparing.trials, comparing.levels, comparing.alike),
        following=kinds.following,
    )  # fmt: skip


def _may_be_best(comparing: Comparing, effect: KnobEffect) -> tuple[str, ...]:
    """Return the levels that may be best, where levels are known to differ, for all pictures alike.

    Of each of many knobs that do nothing some level would leave by chance.
    """
    if any(one.status == "depends" for one in effect.comparisons):
        return ()
    told = any(one.told for one in effect.comparisons)
    return comparing.may_be_best(effect.knob) if told else ()


def _only_value(levels: KnobLevels) -> str:
    return next(name for name in levels.names if name != ABSENT)


def _why_nothing(trials: Trials) -> str:
    gone = ""
    if trials.gone:
        gone = (
            f"; {trials.gone:,} rated pictures have no record here, are grids, or the filter leaves"
            " them out"
        )
    if not len(trials):
        return f"no rated pictures{gone}: rate some with safelight rate"
    if len(trials) == 1:
        return f"only one rated picture{gone}: a difference takes two at least"
    if float(np.ptp(trials.readings)) < 1e-9:
        return (
            f"all {len(trials)} rated pictures have the same score{gone}:"
            " ratings that never differ say nothing about knobs"
        )
    return ""


def _shrunk(drafts: Sequence[Draft]) -> list[Draft]:
    """Set what to expect: within a knob of many levels by its own spread, else by everyone's.

    With the spread T of :func:`_spread`, a variance in squared score units; many are 8 levels::

        expected = difference T / (T + error^2)

    Source: Efron and Morris 1975.
    """
    estimated = [draft for draft in drafts if draft.estimate is not None]
    groups: dict[str, list[Draft]] = {}
    for draft in estimated:
        groups.setdefault(draft.knob, []).append(draft)
    common = _spread(estimated)
    for group in groups.values():
        spread = _spread(group) if len(group) >= 8 else common
        for draft in group:
            assert draft.estimate is not None
            noise = draft.estimate.error**2
            draft.expected = draft.estimate.difference * spread / (spread + noise)
    return list(drafts)


def _spread(drafts: Sequence[Draft]) -> float:
    """Return the variance of true differences, at which their squares add up as they should.

    Of K differences d with errors e, in score units, it is the T of::

        sum_k d_k^2 / (T + e_k^2) = K

    Paule and Mandel 1982 have differences from a weighted mean, and so K - 1; here the mean of
    true differences is taken to be 0. Two imagined differences of :data:`MATTERS`, without error,
    are counted in K: they keep it from zero where there are few.
    """
    squares = np.array([MATTERS**2] * 2 + [d.estimate.difference**2 for d in drafts if d.estimate])
    noise = np.array([0.0] * 2 + [d.estimate.error**2 for d in drafts if d.estimate])

    def excess(spread: float) -> float:
        return float((squares / (spread + noise)).sum()) - len(squares)

    low, high = 1e-6, float(squares.max()) + 1e-6
    if excess(low) <= 0:
        return low
    while high / low > 1 + 1e-9:  # excess falls all the way
        middle = math.sqrt(low * high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return low


def _corrected(drafts: Sequence[Draft]) -> list[Draft]:
    """Set the corrected chances, and the status that follows from them.

    *likely* is a chance of 0.03 or less by :func:`holm`, *clear* one that is kept
    (:func:`_kept_chance`). Else, with F Student's t distribution of the estimate's freedom, *small*
    is F((|difference| - 0.2) / error) of 0.01 or less when it is multiplied with all comparisons.
    """
    from scipy.special import stdtr

    estimated = [draft for draft in drafts if draft.estimate is not None]
    kept = holm([(draft.knob, draft.kept_chance) for draft in estimated])
    for draft, (chance, looks), (kept_chance, _) in zip(
        estimated, holm([(draft.knob, draft.chance) for draft in estimated]), kept, strict=True
    ):
        draft.chance, draft.looks = chance, looks
        assert draft.estimate is not None
        within = (abs(draft.estimate.difference) - MATTERS) / max(draft.estimate.error, 1e-12)
        if kept_chance <= KNOBS_RISK:
            draft.status = "clear"
        elif chance <= KNOBS_RISK:
            draft.status = "likely"
        elif float(stdtr(draft.estimate.freedom, within)) * len(estimated) <= _SMALL_RISK:
            draft.status = "small"
    return list(drafts)


def holm(chances: Sequence[tuple[str, float]]) -> list[tuple[float, int]]:
    """Return each comparison's corrected chance, and how many looks it was corrected for.

    With K knobs in the order, j from 1, of L_j times their least chance, L_j their comparisons,
    each comparison with chance p of the j-th knob has::

        looks  = L_j (K - j + 1)
        chance = max(looks p, least chance of the knob before, corrected)

    so that the knobs' least chances are Holm's, of Bonferroni's within each.

    Args:
        chances: Knob and p of each comparison.
    """
    groups: dict[str, list[int]] = {}
    for place, (knob, _) in enumerate(chances):
        groups.setdefault(knob, []).append(place)
    least = {knob: len(own) * min(chances[p][1] for p in own) for knob, own in groups.items()}
    corrected: list[tuple[float, int]] = [(1.0, 1)] * len(chances)
    floor = 0.0
    for before, knob in enumerate(sorted(groups, key=lambda knob: least[knob])):
        looks = len(groups[knob]) * (len(groups) - before)
        for place in groups[knob]:
            corrected[place] = max(chances[place][1] * looks, floor), looks
        floor = max(floor, min(corrected[place][0] for place in groups[knob]))
    return corrected


_ORDER: Sequence[str] = (
    "clear",
    "likely",
    "depends",
    "open",
    "small",
    "confounded",
    "few",
    "constant",
)


def _knob_effect(levels: KnobLevels, comparisons: Sequence[Comparison]) -> KnobEffect:
    unused = levels.different - len(levels.names) if levels.values is None else 0
    left_out = f"; {_in_doubt(levels)}" if levels.doubtful else ""
    if levels.constant:
        always = f"was always {levels.names[0]}" if levels.names else "is not known of any picture"
        summary = f"{levels.knob} {always}: nothing to compare{left_out}"
        return KnobEffect(
            knob=levels.knob, status="constant", summary=summary, left_out=levels.doubtful
        )
    status = min((c.status for c in comparisons), key=_ORDER.index)
    best = max(
        (c for c in comparisons if c.status == status), key=lambda c: (abs(c.expected or 0), c.n)
    )
    summary = comparison_summary(levels.knob, best)
    if all(c.status == "few" for c in comparisons):
        summary = (
            f"not enough evidence about {levels.knob}: {levels.different} values in"
            f" {int(levels.counts.sum())} rated pictures, and none has {FEWEST_PAIRS} pairs or"
            f" {FEWEST_PICTURES} pictures on both sides"
        )
    return KnobEffect(
        knob=levels.knob,
        status=status,
        summary=summary + left_out,
        comparisons=tuple(comparisons),
        unused=unused,
        left_out=levels.doubtful,
    )


def _in_doubt(levels: KnobLevels) -> str:
    count = levels.doubtful
    pictures = f"{count:,} pictures are" if count != 1 else "1 picture is"
    return f"{pictures} left out that do not say which {levels.knob} it was"


def comparison_summary(knob: str, comparison: Comparison) -> str:
    """Return what *comparison* says of *knob*, in a sentence without its full stop."""
    name = f"{knob} {comparison.level} against {comparison.against}"
    if comparison.status == "confounded":
        return f"{name} cannot be told: {'; '.join(comparison.notes)}"
    if comparison.difference is None or comparison.low is None or comparison.high is None:
        if comparison.notes:
            return f"{name}: {'; '.join(comparison.notes)}"
        return (
            f"not enough evidence about {name}: n = {comparison.n},"
            f" about {comparison.more} more ratings"
        )
    rests = f"{comparison.n} pairs alike in all else" if comparison.basis == "pairs" else (
        f"{comparison.n} pictures, the other knobs held in mind"
    )  # fmt: skip
    figure = (
        f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}], {rests}"
    )
    if comparison.told:
        return f"{name} is {comparison.verdict}: {figure}"
    if comparison.status == "depends":
        return (
            f"{name} {comparison.verdict}: {'; '.join(part.summary for part in comparison.parts)}"
        )
    if comparison.status == "small":
        return f"{name} makes no difference that matters: {figure}"
    return f"not enough evidence about {name}: {figure}; about {comparison.more} more ratings"


def _clearest_first(effect: KnobEffect) -> tuple[int, float, str]:
    largest = max((abs(c.expected or 0) for c in effect.comparisons), default=0.0)
    return (_ORDER.index(effect.status), -largest, effect.knob)
