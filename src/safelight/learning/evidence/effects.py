"""effects: what each knob does to the scores, how sure that is, and what it rests on.

Every level of a knob is compared with the knob's reference level: in pairs of pictures that are
alike in everything else where the archive has enough of them
(:mod:`.paired_comparisons`), else with all other knobs held in mind
(:mod:`.adjusted_model`), and not at all where another knob went with it
(:mod:`.confounding`). A difference is called clear only when it would be so
after looking at all knobs: the chance that any knob is named where none matters is 5 % at most
(Holm 1979, *A simple sequentially rejective multiple test procedure*; Bonferroni within a knob;
3 % for knobs and 1 % for pairs of knobs, which leaves some for what is only nearly normal).

The estimate and its 95 % interval are the data's own. What to expect of new pictures is drawn
towards no effect as far as the spread of all effects says (empirical Bayes: Efron and Morris
1975, *Data analysis using Stein's estimator and its generalizations*; the spread nearly as in
Paule and Mandel 1982, *Consensus values and weighting factors*), so that three lucky pictures
recommend nothing.

Formulae: the interval and its chance at :func:`_draft`, Holm's correction at :func:`_corrected`,
what to expect at :func:`_shrunk` and :func:`_spread`, how many more at :meth:`_Draft._more`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.adjusted_model import AdjustedModel
from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.evidence.confounding import TogetherCounts, followers
from safelight.learning.evidence.findings import (
    ABSENT,
    Basis,
    Comparison,
    Effects,
    KnobEffect,
    Status,
)
from safelight.learning.evidence.interactions import find_interactions
from safelight.learning.evidence.knob_levels import KnobLevels, knob_levels, likeness
from safelight.learning.evidence.paired_comparisons import (
    FEWEST_PROMPTS,
    Estimate,
    paired_estimates,
)
from safelight.learning.evidence.trials import Levels, Trials
from safelight.learning.evidence.undone_pairs import undone_pairs

__all__ = [
    "FEWEST_PAIRS",
    "FEWEST_PICTURES",
    "MATTERS",
    "Comparison",
    "Effects",
    "KnobEffect",
    "find_effects",
]

FEWEST_PAIRS = 8
"""With fewer pairs no figure is given."""

FEWEST_PICTURES = 10
"""With fewer rated pictures on either side, and too few pairs, no figure is given."""

MATTERS = 0.2
"""A difference below a fifth of the spread of scores is called too small to matter."""

_KNOBS_RISK, _INTERACTIONS_RISK = 0.03, 0.01
_PICTURES_PER_PAIR = 20  # pairs are used unless so many more pictures are not in any
_POWER = 0.8416  # of the standard normal: four of five such studies would see it


@one_blas_thread("scipy.linalg")
def find_effects(trials: Trials) -> Effects:
    """Return what each knob does to the scores of *trials*.

    A reading weighs max(1 - deviation^2, 0.02), one over its variance: the deviation is of the
    score behind it, whose prior has variance 1.
    """
    blank = Effects(
        pictures=len(trials),
        ratings=int(trials.ratings.sum()),
        prompts=len(np.unique(trials.prompts.codes)),
        gone=trials.gone,
    )
    reason = _why_nothing(trials)
    if reason:
        return replace(blank, reason=reason)
    every = knob_levels(trials)
    follow = followers(every)
    levels = {knob: its_levels for knob, its_levels in every.items() if knob not in follow}
    weights = np.maximum(1 - np.square(trials.deviations), 0.02)
    prompts, draws = _clusters(trials)
    model = AdjustedModel(levels, trials.readings, weights, prompts, draws)
    alike = likeness(trials, follow)
    beside = dict(levels)
    if len(np.unique(prompts)) < FEWEST_PROMPTS:
        beside["prompt"] = _prompt_levels(trials.prompts)
    together = TogetherCounts(beside)
    drafts = []
    for knob, its_levels in levels.items():
        if its_levels.constant:
            continue
        paired = paired_estimates(its_levels, alike[knob], trials.readings, weights, prompts)
        adjusted = model.estimates(knob)
        for level in range(len(its_levels.names)):
            if level != its_levels.reference:
                estimates = paired.get(level), adjusted.get(level)
                drafts.append(_draft(its_levels, level, *estimates, together))
    drafts = _corrected(_shrunk(drafts))
    knobs = [
        _knob_effect(its_levels, [d.comparison() for d in drafts if d.knob == knob])
        for knob, its_levels in levels.items()
    ]
    knobs += [
        KnobEffect(
            knob=knob,
            status="constant",
            follows=leader,
            summary=f"{knob} was {next(n for n in every[knob].names if n != ABSENT)} or not there,"
            f" which {leader} decided: it is counted with {leader}",
        )
        for knob, leader in follow.items()
    ]
    return replace(
        blank,
        knobs=tuple(sorted(knobs, key=_clearest_first)),
        interactions=find_interactions(
            levels, trials.readings, weights, prompts, draws, risk=_INTERACTIONS_RISK
        ),
        undone=undone_pairs(trials, levels, alike),
    )


def _why_nothing(trials: Trials) -> str:
    gone = ""
    if trials.gone:
        gone = (
            f"; {trials.gone:,} rated pictures have no record here, or the filter leaves them out"
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


def _clusters(trials: Trials) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each row's prompt, and its prompt and seed; rows without one stand alone."""
    count = len(trials)
    alone = np.arange(count) + 1
    prompts = np.where(trials.prompts.codes >= 0, trials.prompts.codes, -alone)
    _, prompts = np.unique(prompts, return_inverse=True)
    seeds = trials.seeds.codes
    draws = np.where(seeds >= 0, prompts * (len(trials.seeds.names) + 1) + seeds, -alone)
    return prompts.astype(np.int64), np.unique(draws, return_inverse=True)[1].astype(np.int64)


def _prompt_levels(prompts: Levels) -> KnobLevels:
    codes = prompts.codes
    used = np.bincount(codes[codes >= 0], minlength=len(prompts.names)).astype(np.int64)
    names = tuple(f'"{name[:60]}"' for name in prompts.names)
    return KnobLevels(
        knob="prompt", names=names, codes=codes, counts=used, values=None, reference=None,
        different=len(names),
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A comparison while it is made."""

    knob: str
    level: str
    against: str
    pictures: int
    other_pictures: int
    status: Status
    basis: Basis = ""
    estimate: Estimate | None = None
    quantile: float = 0.0
    chance: float = 1.0
    looks: int = 1
    expected: float = 0.0
    n: int = 0
    notes: tuple[str, ...] = ()

    def comparison(self) -> Comparison:
        common = Comparison(
            level=self.level, against=self.against, status=self.status, basis=self.basis,
            n=self.n, pictures=self.pictures, notes=self.notes,
        )  # fmt: skip
        if self.estimate is None:
            if self.status == "confounded":
                return common
            if self.notes:
                return common
            lacking = (max(FEWEST_PICTURES - x, 0) for x in (self.pictures, self.other_pictures))
            return replace(common, more=max(sum(lacking), 1))
        reach = self.quantile * self.estimate.error
        return replace(
            common,
            prompts=self.estimate.prompts,
            difference=self.estimate.difference,
            low=self.estimate.difference - reach,
            high=self.estimate.difference + reach,
            expected=self.expected,
            chance=min(self.chance, 1.0),
            more=self._more() if self.status == "open" else None,
        )

    def _more(self) -> int:
        """Return how many ratings are lacking to see the expected difference, or what matters.

        As a two-sided normal test at the corrected risk sees it in four of five studies, when
        the error falls with the root of n pairs (or pictures of the level, and as many others)::

            grown = ((-Phi^-1(0.03 / (2 looks)) + Phi^-1(0.8)) error / max(|expected|, 0.2))^2
            more  = 2 n (grown - 1), at least 2, rounded up to two digits

        with error and expected in score units and looks from :func:`_corrected`.
        """
        assert self.estimate is not None
        from scipy.special import ndtri

        target = max(abs(self.expected), MATTERS)
        clear = -float(ndtri(_KNOBS_RISK / 2 / self.looks))
        grown = ((clear + _POWER) * self.estimate.error / target) ** 2
        return _rounded_up(max(2 * self.n * (grown - 1), 2))


def _rounded_up(number: float) -> int:
    """Return *number* with two digits that count: no more are known."""
    unit: int = 10 ** max(math.floor(math.log10(number)) - 1, 0)
    return math.ceil(number / unit) * unit


def _draft(
    levels: KnobLevels,
    level: int,
    paired: Estimate | None,
    adjusted: Estimate | None,
    counts: TogetherCounts,
) -> _Draft:
    """Return the comparison of one level, by pairs or adjusted, or why there is none.

    With F Student's t distribution of the estimate's freedom and F^-1 its quantile::

        low, high = difference -+ F^-1(0.975) error             in score units
        chance    = 2 F(-|difference| / error)                  not corrected yet

    Pairs are used when they are at least max(8, a twentieth of the pictures of the rarer side).
    """
    from scipy.special import stdtr, stdtrit

    knob = levels.knob
    own = int(levels.counts[level])
    others = int(levels.counts.sum()) - own
    if levels.reference is not None:
        others = int(levels.counts[levels.reference])
    draft = _Draft(
        knob=knob,
        level=levels.names[level],
        against="all others" if levels.reference is None else levels.names[levels.reference],
        pictures=own,
        other_pictures=others,
        n=own,
        status="few",
    )
    # Which of both is used must not hang on what they say, or the intervals are too short.
    fewest = max(FEWEST_PAIRS, min(draft.pictures, draft.other_pictures) / _PICTURES_PER_PAIR)
    if paired is None or paired.comparisons < fewest or not np.isfinite(paired.error):
        paired = None
        if draft.pictures < FEWEST_PICTURES or draft.other_pictures < FEWEST_PICTURES:
            return draft
    together = () if paired else counts.confounders(knob, level)
    if not paired and (together or adjusted is None):
        draft.status = "confounded"
        draft.notes = tuple(confounder.reason for confounder in together) or counts.only_used_with(
            knob, level
        )
        draft.notes = draft.notes or ("the other knobs together imply which it is",)
        return draft
    draft.basis = "pairs" if paired else "adjusted"
    draft.estimate = paired or adjusted
    assert draft.estimate is not None
    if not np.isfinite(draft.estimate.error):
        draft.estimate, draft.basis = None, ""
        draft.notes = (
            f"not enough evidence: the pictures with {knob} {draft.level} are of one prompt only",
        )
        return draft
    draft.status = "open"
    draft.n = draft.estimate.comparisons
    draft.quantile = float(stdtrit(draft.estimate.freedom, 0.975))
    size = abs(draft.estimate.difference) / max(draft.estimate.error, 1e-12)
    draft.chance = float(2 * stdtr(draft.estimate.freedom, -size))
    if not paired:
        draft.notes = counts.only_used_with(knob, level)
    return draft


def _shrunk(drafts: Sequence[_Draft]) -> list[_Draft]:
    """Set what to expect: within a knob of many levels by its own spread, else by everyone's.

    With the spread T of :func:`_spread`, a variance in squared score units; many are 8 levels::

        expected = difference T / (T + error^2)

    Source: Efron and Morris 1975.
    """
    estimated = [draft for draft in drafts if draft.estimate is not None]
    groups: dict[str, list[_Draft]] = {}
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


def _spread(drafts: Sequence[_Draft]) -> float:
    """Return the variance of true differences, at which their squares add up as they should.

    Of K differences d with errors e, in score units, it is the T of::

        sum_k d_k^2 / (T + e_k^2) = K

    Paule and Mandel 1982 have differences from a weighted mean, and so K - 1; here the mean of
    true differences is taken to be 0. Two imagined differences of :data:`MATTERS`, without error,
    are counted in K: they keep it from zero where there are few.
    """
    from scipy.optimize import brentq

    squares = np.array([MATTERS**2] * 2 + [d.estimate.difference**2 for d in drafts if d.estimate])
    noise = np.array([0.0] * 2 + [d.estimate.error**2 for d in drafts if d.estimate])

    def excess(spread: float) -> float:
        return float((squares / (spread + noise)).sum()) - len(squares)

    most = float(squares.max()) + 1e-6
    return float(brentq(excess, 1e-6, most)) if excess(1e-6) > 0 > excess(most) else 1e-6


def _corrected(drafts: Sequence[_Draft]) -> list[_Draft]:
    """Set the corrected chances, and the status that follows from them.

    With K knobs in the order, j from 1, of L_j times their least chance, L_j their comparisons,
    each comparison with chance p of the j-th knob has::

        looks  = L_j (K - j + 1)
        chance = max(looks p, least chance of the knob before, corrected), at most 1

    so that the knobs' least chances are Holm's, of Bonferroni's within each. *clear* is a chance
    of 0.03 or less; else *small* is |difference| + F^-1(0.975) error < 0.2, not corrected.
    """
    groups: dict[str, list[_Draft]] = {}
    for draft in drafts:
        if draft.estimate is not None:
            groups.setdefault(draft.knob, []).append(draft)
    order = sorted(groups.values(), key=lambda g: len(g) * min(d.chance for d in g))
    floor = 0.0
    for place, group in enumerate(order):
        looks = len(group) * (len(order) - place)
        for draft in sorted(group, key=lambda d: d.chance):
            draft.chance, draft.looks = max(draft.chance * looks, floor), looks
        floor = max(floor, min(d.chance for d in group))
    for group in order:
        for draft in group:
            assert draft.estimate is not None
            reach = draft.quantile * draft.estimate.error
            if draft.chance <= _KNOBS_RISK:
                draft.status = "clear"
            elif abs(draft.estimate.difference) + reach < MATTERS:
                draft.status = "small"
    return list(drafts)


_ORDER: Sequence[str] = ("clear", "open", "small", "confounded", "few", "constant")


def _knob_effect(levels: KnobLevels, comparisons: Sequence[Comparison]) -> KnobEffect:
    unused = levels.different - len(levels.names) if levels.values is None else 0
    if levels.constant:
        summary = f"{levels.knob} was always {levels.names[0]}: nothing to compare"
        return KnobEffect(knob=levels.knob, status="constant", summary=summary)
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
        summary=summary,
        comparisons=tuple(comparisons),
        unused=unused,
    )


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
    if comparison.status == "clear":
        return f"{name} is {'better' if comparison.difference > 0 else 'worse'}: {figure}"
    if comparison.status == "small":
        return f"{name} makes no difference that matters: {figure}"
    return f"not enough evidence about {name}: {figure}; about {comparison.more} more ratings"


def _clearest_first(effect: KnobEffect) -> tuple[int, float, str]:
    largest = max((abs(c.expected or 0) for c in effect.comparisons), default=0.0)
    return (_ORDER.index(effect.status), -largest, effect.knob)
