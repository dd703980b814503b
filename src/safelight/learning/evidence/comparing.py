"""comparing: the levels of knobs, one against another, by the strongest evidence there is.

In pairs of pictures that are alike in everything else where there are enough of them
(:mod:`.paired_comparisons`), else with all other knobs held in mind (:mod:`.setting_model`,
:mod:`.adjusted_model`), and not at all where another knob (:mod:`.confounding`) or who judged,
when and what (:mod:`.circumstances`) went with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.adjusted_model import AdjustedModel
from safelight.learning.evidence.circumstances import Circumstances
from safelight.learning.evidence.confounding import TogetherCounts, followers
from safelight.learning.evidence.findings import ALL_OTHERS, Basis, Comparison, Part, Status
from safelight.learning.evidence.knob_levels import KnobLevels, knob_levels, likeness
from safelight.learning.evidence.lora_families import with_families
from safelight.learning.evidence.paired_comparisons import (
    STAR_ROUNDED,
    Estimate,
    PairedGroups,
    clusters_of,
)
from safelight.learning.evidence.setting_model import MOST_WORK, SettingModel
from safelight.learning.evidence.trials import Levels, Trials

__all__ = [
    "FEWEST_PAIRS",
    "FEWEST_PICTURES",
    "KNOBS_RISK",
    "MATTERS",
    "Comparing",
    "Draft",
]

FEWEST_PAIRS = 8
"""With fewer pairs no figure is given."""

FEWEST_PICTURES = 10
"""With fewer rated pictures on either side, and too few pairs, no figure is given."""

MATTERS = 0.2
"""A difference below a fifth of the spread of scores is called too small to matter."""

KNOBS_RISK = 0.03
"""Chance that any difference is told where there is none."""

_EXPECTED = 0.6
"""Deviation of true differences that looking again and again is tuned to, in score units."""
_JUDGED_ALIKE, _MOSTLY = 8, 0.5
_PICTURES_PER_PAIR = 20  # pairs are used unless so many more pictures are not in any
_POWER = 0.8416  # of the standard normal: four of five such studies would see it
_BALANCED, _MOST_BALANCED = 1.1, 6
_MOST_PAIRED, _MOST_BESIDE = 12, 6
_MOST_RANKED, _BEST_RISK = 40, 0.05


@dataclass(slots=True, kw_only=True)
class Draft:
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
    kept_chance: float = 1.0
    looks: int = 1
    expected: float = 0.0
    n: int = 0
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    def comparison(self) -> Comparison:
        """Return what is told."""
        common = Comparison(
            level=self.level, against=self.against, status=self.status, basis=self.basis,
            n=self.n, pictures=self.pictures, notes=self.notes, parts=self.parts,
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
        clear = -float(ndtri(KNOBS_RISK / 2 / self.looks))
        grown = ((clear + _POWER) * self.estimate.error / target) ** 2
        return _rounded_up(max(2 * self.n * (grown - 1), 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What one level against another rests on.

    Attributes:
        basis: Pairs, a model, or nothing.
        estimate: None without either.
        apart: Why they cannot be told apart; nothing where they can.
    """

    basis: Basis = ""
    estimate: Estimate | None = None
    apart: tuple[str, ...] = ()


class Comparing:
    """The knobs of rated pictures.

    Args:
        trials: The pictures.
    """

    def __init__(self, trials: Trials) -> None:
        self.trials = trials = with_families(trials)
        self.every = knob_levels(trials)
        self.follow = followers(self.every)
        self.levels = {k: own for k, own in self.every.items() if k not in self.follow}
        self.clusters = clusters_of(trials)
        self.circumstances = Circumstances(trials, self.clusters.prompts)
        self._paired: dict[str, PairedGroups] = {}
        self._told_by_pairs: dict[tuple[str, int, int | None], Estimate | None] = {}
        self._adjusted: dict[tuple[str, int, int | None], Estimate | None] = {}

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """One over a reading's variance, as pictures have it that were judged alike, float64[n].

        It is max(1 - deviation^2, 0.02) of the score behind a reading, whose prior has variance
        1, averaged over pictures judged as often by the same raters. A picture's own one hangs on
        what was said of it (the best and the worst are read least surely), and weights that hang
        on readings draw differences together and make errors too large.
        """
        trials, judged = self.trials, self.trials.judgements
        told = own = np.maximum(1 - np.square(trials.deviations), 0.02)
        sign = np.random.default_rng(0).random(len(judged.rater_names))
        raters = np.bincount(judged.images, sign[judged.raters], minlength=len(trials))
        for alike in (trials.ratings, trials.ratings + raters.round(9) * 1e3):
            _, group = np.unique(alike, return_inverse=True)
            size = np.bincount(group)
            mean = np.bincount(group, own) / size
            told = np.where(size[group] >= _JUDGED_ALIKE, mean[group], told)
        return np.asarray(told, np.float64)

    @cached_property
    def beside(self) -> NDArray[np.float64]:
        """Columns of circumstances for a regression, float64[n, k]."""
        return np.concatenate([self.circumstances.steady, *self.circumstances.loose], axis=1)

    @cached_property
    def _picked(self) -> NDArray[np.bool_]:
        """Of which rows picks say something, bool[n]."""
        compared = self.trials.compared
        return compared >= 0 if len(compared) else np.zeros(len(self.trials), np.bool_)

    @property
    def _held_together(self) -> NDArray[np.int64] | None:
        """Rows that picks hold together, where most rest on picks alone, int64[n]; else None."""
        judged = np.bincount(self.trials.judgements.images, minlength=len(self.trials)) > 0
        if float((self._picked & ~judged).mean()) <= _MOSTLY:
            return None
        compared = self.trials.compared
        return np.where(self._picked & ~judged, compared, compared.max() + 1)

    @property
    def least_noise(self) -> float:
        """Variance that whole stars alone make of a reading, in squared score units."""
        return STAR_ROUNDED / max(float(self.trials.ratings.mean()), 1.0)

    @cached_property
    def alike(self) -> Mapping[str, NDArray[np.uint64]]:
        """Of each knob, equal where rows differ in it at most."""
        return likeness(self.trials, self.follow)

    def drafts(self, knob: str) -> list[Draft]:
        """Return the comparisons of *knob*: of each level, and others that tell more."""
        levels = self.levels[knob]
        pairs: list[tuple[int, int | None]] = [
            (level, levels.reference)
            for level in range(len(levels.names))
            if level != levels.reference
        ]
        pairs += self._others(levels)
        self._prepare(knob, pairs)
        return [self._draft(levels, *pair) for pair in pairs]

    def draft(self, knob: str, level: str, against: str) -> Draft | None:
        """Return one comparison by name; None where there are no such levels."""
        levels = self.levels.get(knob)
        if levels is None or level not in levels.names:
            return None
        if against == ALL_OTHERS:
            return self._draft(levels, levels.names.index(level), None)
        if against not in levels.names:
            return None
        return self._draft(levels, levels.names.index(level), levels.names.index(against))

    def may_be_best(self, knob: str) -> tuple[str, ...]:
        """Return the levels of *knob* that may be best; nothing where none is known not to be.

        Of L levels, one leaves when some other is better with a chance, one-sided, of
        0.05 / (L - 1) at most. So the best is among them with 95 %, for this knob, looked at once.

        Source: Hsu 1981, *Simultaneous confidence intervals for all distances from the "best"*,
        with Bonferroni's bound in the place of his own.
        """
        from scipy.special import stdtr

        levels = self.levels[knob]
        known = [p for p in range(len(levels.names)) if levels.counts[p] >= FEWEST_PICTURES]
        if not 3 <= len(known) <= _MOST_RANKED:
            return ()
        self._prepare(knob, list(combinations(known, 2)))
        worse: set[int] = set()
        for pair in combinations(known, 2):
            chosen = self._chosen(levels, *pair, apart=False)
            if chosen.estimate is None or not np.isfinite(chosen.estimate.error):
                continue
            better, other = pair if chosen.estimate.difference > 0 else pair[::-1]
            size = abs(chosen.estimate.difference) / max(chosen.estimate.error, 1e-12)
            chance = float(stdtr(chosen.estimate.freedom, -size))
            if (
                other not in worse
                and chance <= _BEST_RISK / (len(known) - 1)
                and not self._chosen(levels, better, other).apart
            ):
                worse.add(other)
        return tuple(levels.names[p] for p in known if p not in worse) if worse else ()

    def seconds(self, knob: str) -> Mapping[str, float]:
        """Return level -> what drawing a picture took on average, where it is known."""
        levels, spent = self.levels[knob], self.trials.seconds
        known = (spent > 0) & (levels.codes >= 0)
        count = np.bincount(levels.codes[known], minlength=len(levels.names))
        total = np.bincount(levels.codes[known], spent[known], minlength=len(levels.names))
        return {
            name: float(total[place] / count[place])
            for place, name in enumerate(levels.names)
            if count[place]
        }

    def _others(self, levels: KnobLevels) -> Iterator[tuple[int, int]]:
        """Yield further pairs of levels: all of a balanced plan, else those that have pairs.

        The level used most elsewhere is a poor judge of two that a sweep has compared.
        """
        reference, names = levels.reference, range(len(levels.names))
        if reference is None or len(levels.names) < 3:
            return
        rest = [p for p in names if p != reference]
        used = levels.counts
        if len(levels.names) <= _MOST_BALANCED and used.max() <= _BALANCED * used.min():
            yield from combinations(rest, 2)
            return
        if len(levels.names) > _MOST_PAIRED:
            return
        found = 0
        for pair in combinations(rest, 2):
            level, against = sorted(pair, key=lambda p: (used[p], -p))
            if (
                found < _MOST_BESIDE
                and self._pairs(levels, level, against)
                and not all(self._pairs(levels, p, reference) for p in pair)
            ):
                found += 1
                yield level, against

    # -- one level against another -----------------------------------------------------------

    def _draft(self, levels: KnobLevels, level: int, against: int | None) -> Draft:
        """Return the comparison of one level, by pairs or adjusted, or why there is none.

        With F Student's t distribution of the estimate's freedom and F^-1 its quantile::

            low, high = difference -+ F^-1(0.975) error             in score units
            chance    = 2 F(-|difference| / error)                  not corrected yet
        """
        from scipy.special import stdtr, stdtrit

        knob = levels.knob
        draft = Draft(
            knob=knob, level=levels.names[level],
            against=ALL_OTHERS if against is None else levels.names[against],
            pictures=int(levels.counts[level]),
            other_pictures=self._opposite(levels, level, against),
            status="few", n=int(levels.counts[level]),
        )  # fmt: skip
        chosen = self._chosen(levels, level, against)
        if chosen.apart:
            draft.status, draft.notes = "confounded", chosen.apart
            return draft
        if chosen.estimate is None:
            return draft
        draft.estimate, draft.basis = chosen.estimate, chosen.basis
        if not np.isfinite(draft.estimate.error):
            draft.estimate, draft.basis = None, ""
            draft.notes = (
                f"not enough evidence: the pictures with {knob} {draft.level} are of one prompt"
                " only",
            )
            return draft
        draft.status = "open"
        draft.n = draft.estimate.comparisons
        draft.quantile = float(stdtrit(draft.estimate.freedom, 0.975))
        size = abs(draft.estimate.difference) / max(draft.estimate.error, 1e-12)
        draft.chance = float(2 * stdtr(draft.estimate.freedom, -size))
        # A plan that is rated to its end has been looked at once, whatever was looked at before.
        draft.kept_chance = draft.chance
        if not draft.estimate.planned:
            draft.kept_chance = _kept_chance(draft.estimate, draft.chance)
        draft.notes = (self.clusters.only,) if self.clusters.only else ()
        if draft.basis == "adjusted":
            draft.notes += self._counts.only_used_with(knob, level)
        return draft

    def _chosen(
        self, levels: KnobLevels, level: int, against: int | None, *, apart: bool = True
    ) -> _Chosen:
        """Return pairs where there are enough, else what a model says, or why nothing is said.

        Which of both must not hang on what they say, or the intervals are too short.

        Args:
            levels: The knob.
            level: Which.
            against: What it is compared with; None is all others together.
            apart: Whether to look for what kept them apart.
        """
        paired = self._pairs(levels, level, against)
        few = min(int(levels.counts[level]), self._opposite(levels, level, against))
        if paired is None and few < FEWEST_PICTURES:
            return _Chosen()
        adjusted = None
        if paired is None:
            adjusted = self._model(levels, level, against)
        reasons = self._apart(levels, level, against, paired=paired is not None) if apart else ()
        if reasons:
            return _Chosen(apart=reasons)
        if paired is None and adjusted is None:
            reasons = self._counts.only_used_with(levels.knob, level)
            return _Chosen(apart=reasons or ("the other knobs together imply which it is",))
        return _Chosen(basis="pairs" if paired else "adjusted", estimate=paired or adjusted)

    def _pairs(self, levels: KnobLevels, level: int, against: int | None) -> Estimate | None:
        """Return what pairs say, where there are enough of them."""
        key = levels.knob, level, against
        if key not in self._told_by_pairs:
            self._told_by_pairs[key] = self._enough_pairs(levels, level, against)
        return self._told_by_pairs[key]

    def _enough_pairs(self, levels: KnobLevels, level: int, against: int | None) -> Estimate | None:
        if levels.knob not in self._paired:
            self._paired[levels.knob] = PairedGroups(
                levels, self.alike[levels.knob], self.trials.readings, self.weights,
                self.clusters, self.circumstances.judging, self.trials.finished.codes, self._picked,
                ratings=float(self.trials.ratings.mean()),
            )  # fmt: skip
        paired = self._paired[levels.knob].estimate(level, against)
        few = min(int(levels.counts[level]), self._opposite(levels, level, against))
        fewest = max(FEWEST_PAIRS, few / _PICTURES_PER_PAIR)
        if paired is None or paired.comparisons < fewest or not np.isfinite(paired.error):
            return None
        return paired

    def _prepare(self, knob: str, pairs: Sequence[tuple[int, int | None]]) -> None:
        """Have the regression answer at once for all that pairs of pictures do not tell."""
        levels = self.levels[knob]
        open_ones = [
            pair
            for pair in pairs
            if (knob, *pair) not in self._adjusted and self._pairs(levels, *pair) is None
        ]
        told = self._regression.estimates(knob, open_ones)
        for pair in open_ones:
            self._adjusted[(knob, *pair)] = told.get(pair)

    def _model(self, levels: KnobLevels, level: int, against: int | None) -> Estimate | None:
        key = levels.knob, level, against
        if key not in self._adjusted:
            self._prepare(levels.knob, [(level, against)])
        if self._adjusted[key] is None or self._mixed is None:
            return self._adjusted[key]
        return self._mixed.estimate(levels, level, against)

    def _apart(
        self, levels: KnobLevels, level: int, against: int | None, *, paired: bool
    ) -> tuple[str, ...]:
        """Return why levels cannot be told from something else, nothing where they can."""
        instead = self.circumstances.instead(levels, level, against, paired=paired)
        reasons = tuple(one.reason for one in instead)
        if paired:
            return reasons
        together = self._counts.confounders(levels.knob, level, against)
        return tuple(confounder.reason for confounder in together) + reasons

    def _opposite(self, levels: KnobLevels, level: int, against: int | None) -> int:
        if against is not None:
            return int(levels.counts[against])
        return int(levels.counts.sum() - levels.counts[level])

    @cached_property
    def _counts(self) -> TogetherCounts:
        together = dict(self.levels)
        if self.clusters.only:
            together["prompt"] = _prompt_levels(self.trials.prompts)
        return TogetherCounts(together)

    @cached_property
    def _regression(self) -> AdjustedModel:
        return AdjustedModel(
            self.levels, self.trials.readings, self.weights, self.clusters.prompts,
            self.clusters.draws, self.beside, least_noise=self.least_noise,
        )  # fmt: skip

    @cached_property
    def _mixed(self) -> SettingModel | None:
        model = SettingModel(
            self.levels, self.trials.readings, self.weights, self.trials.ratings, self.clusters,
            self.circumstances, together=self._held_together,
        )  # fmt: skip
        return model if model.work <= MOST_WORK else None


def _prompt_levels(prompts: Levels) -> KnobLevels:
    codes = prompts.codes
    used = np.bincount(codes[codes >= 0], minlength=len(prompts.names)).astype(np.int64)
    names = tuple(f'"{name[:60]}"' for name in prompts.names)
    return KnobLevels(
        knob="prompt", names=names, codes=codes, counts=used, values=None, reference=None,
        different=len(names),
    )  # fmt: skip


def _kept_chance(estimate: Estimate, chance: float) -> float:
    """Return a chance that holds however often somebody looks while ratings come in.

    With z the normal deviate of *chance*, two-sided, I = 1 / error^2 and T = 0.6::

        e    = (1 + I T^2)^(-1/2) exp(z^2 I T^2 / (2 (1 + I T^2)))
        kept = 1 / e, from *chance* to 1

    e is what a normal prior of differences, of deviation T, makes of the evidence against none: it
    exceeds 1 / kept at some look with that chance at most. Of picks it is the mean of this and of
    :attr:`.Estimate.for_signs`: the mean of two bets is one. Signs know nothing of what drift may
    do, and what is not told by one look is told by none.

    Source: Robbins 1970, *Statistical methods related to the law of the iterated logarithm* (the
    mixture); Johari, Koomen, Pekelis and Walsh 2022, *Always valid inference*.
    """
    from scipy.special import ndtri

    deviate = -float(ndtri(max(chance, 1e-300) / 2))
    told = _EXPECTED**2 / max(estimate.error, 1e-12) ** 2
    exponent = deviate**2 * told / (2 * (1 + told)) - math.log1p(told) / 2
    if estimate.for_signs is not None:
        kept = 1 / max((math.exp(min(exponent, 500.0)) + estimate.for_signs) / 2, 1.0)
        return max(kept, chance)
    return math.exp(-max(exponent, 0.0))


def _rounded_up(number: float) -> int:
    """Return *number* with two digits that count: no more are known."""
    unit: int = 10 ** max(math.floor(math.log10(number)) - 1, 0)
    return math.ceil(number / unit) * unit
