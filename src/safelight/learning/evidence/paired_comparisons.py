"""paired_comparisons: what a knob does among pictures that are alike in everything else.

The strongest evidence that an archive has: same prompt, same seed, one engine, and exactly one
knob differs. Nothing that is recorded can be the cause of such a difference but who judged both
pictures, and when: what that may do stands beside the difference (:mod:`.circumstances`).

The differences of one prompt are not independent of each other, so the interval is that of the
prompts' sums (cluster-robust): Liang and Zeger 1986, *Longitudinal data analysis using
generalized linear models*; the degrees of freedom count unequal prompts as fewer, as in Kish
1965, *Survey Sampling*. :func:`clustered_mean` has the formulae.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.circumstances import STEADY_SPREAD
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.trials import Trials

__all__ = [
    "FEWEST_PROMPTS",
    "STAR_ROUNDED",
    "Clusters",
    "Estimate",
    "PairedGroups",
    "clustered_mean",
    "clusters_of",
]

FEWEST_PROMPTS = 6
"""With fewer prompts the answer is for those prompts, and for new seeds if there are as many of
these; else for those seeds, too."""

STAR_ROUNDED = 1 / 12
"""Variance of what rounding to whole stars does, whose thresholds are about 1 apart."""

_FEWEST_CLUSTERS, _LEAST_TOLD = 1.5, 0.01
_PARTS, _MOST_SIGNS, _LEAST_OF_EXACT = 4096, 400, 0.6
_NO_DEVIATE, _MOST_WON = 1e-3, 500.0

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A difference of mean scores.

    Attributes:
        difference: Level minus reference.
        error: Standard error.
        freedom: Degrees of freedom of the t distribution.
        comparisons: Pairs, or pictures of the level for an adjusted one.
        prompts: On how many prompts it rests.
        planned: How many comparisons there would be was decided before the first picture was rated.
        for_signs: Of picks, what betting on one sign has made of 1, where both are luck
            (:func:`_bet_on_signs`).
    """

    difference: float
    error: float
    freedom: float
    comparisons: int
    prompts: int
    planned: bool = False
    for_signs: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """Which pictures are alike beyond their settings.

    Attributes:
        prompts: Number of each row's prompt, int64[n]; rows without one stand alone.
        draws: Number of each row's prompt and seed together, or of what it was made from,
            int64[n].
        whole: Number of what the answer is for more of: prompts, draws or single rows, int64[n].
        only: For which prompts and seeds the answer is, in words; empty for new ones.
    """

    prompts: NDArray[np.int64]
    draws: NDArray[np.int64]
    whole: NDArray[np.int64]
    only: str


def clusters_of(trials: Trials) -> Clusters:
    """Return the clusters of *trials*."""
    alone = np.arange(len(trials)) + 1
    prompts = _numbered(np.where(trials.prompts.codes >= 0, trials.prompts.codes, -alone))
    seeds, kin = trials.seeds.codes, trials.kin.codes
    # A picture that was made from another is as the other is, whatever its seed.
    drawn = np.where(kin >= 0, len(trials.seeds.names) + kin, seeds)
    many = len(trials.seeds.names) + len(trials.kin.names) + 1
    draws = _numbered(np.where(drawn >= 0, prompts * many + drawn, -alone))
    counts = [int(codes.max(initial=-1)) + 1 for codes in (prompts, draws)]
    if counts[0] >= FEWEST_PROMPTS:
        return Clusters(prompts=prompts, draws=draws, whole=prompts, only="")
    few = f"for {'this prompt' if counts[0] == 1 else f'these {counts[0]} prompts'}"
    if counts[1] >= FEWEST_PROMPTS:
        return Clusters(prompts=prompts, draws=draws, whole=draws, only=few)
    only = f"{few} and {'this seed' if counts[1] == 1 else 'these seeds'}"
    return Clusters(prompts=prompts, draws=draws, whole=alone - 1, only=only)


def _numbered(codes: Integers) -> Integers:
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


class PairedGroups:
    """The groups of alike rows in which one knob has several levels.

    Args:
        levels: The knob.
        alike: Equal where rows differ in this knob at most, uint64[n].
        readings: Unshrunk scores, float64[n].
        weights: How much each tells, float64[n], above 0.
        clusters: Which rows are alike beyond that.
        judging: Who judged and when, as :attr:`.Circumstances.judging`, float64[n, k].
        runs: Number of the run of each row that was rated whole, -1 for others, int64[n].
        ratings: How many judgements a reading rests on.
        picked: Which readings rest on picks, bool[n]; none when not given.
    """

    def __init__(
        self,
        levels: KnobLevels,
        alike: NDArray[np.uint64],
        readings: Floats,
        weights: Floats,
        clusters: Clusters,
        judging: Floats | None = None,
        runs: Integers | None = None,
        picked: NDArray[np.bool_] | None = None,
        *,
        ratings: float = 1.0,
    ) -> None:
        self._rounded = 2 * STAR_ROUNDED / max(ratings, 1.0)
        known = np.flatnonzero(levels.codes >= 0)
        _, group, size = np.unique(alike[known], return_inverse=True, return_counts=True)
        keep = size[group] > 1
        rows = known[keep]
        _, group = np.unique(group[keep], return_inverse=True)
        self._groups = int(group.max(initial=-1)) + 1
        width = len(levels.names)
        cells, cell = np.unique(group * width + levels.codes[rows], return_inverse=True)
        self._group, self._level = cells // max(width, 1), cells % max(width, 1)
        self._weight = np.bincount(cell, weights=weights[rows], minlength=len(cells))
        columns = [readings] if judging is None else [readings, *judging.T]
        self._total = np.column_stack(
            [
                np.bincount(cell, weights=weights[rows] * column[rows], minlength=len(cells))
                for column in columns
            ]
        )
        self._runs = np.full((len(cells), 2), -1)
        if runs is not None and len(rows):
            self._runs[:] = np.iinfo(np.int64).max, -1
            np.minimum.at(self._runs[:, 0], cell, runs[rows])
            np.maximum.at(self._runs[:, 1], cell, runs[rows])
        some = np.zeros(len(rows)) if picked is None else picked[rows].astype(np.float64)
        self._picked = np.bincount(cell, some, len(cells)) > 0
        self._cluster = np.zeros((self._groups, 2), np.int64)
        self._cluster[group, 0] = clusters.whole[rows]
        self._cluster[group, 1] = clusters.prompts[rows]

    def estimate(self, level: int, against: int | None) -> Estimate | None:
        """Return the estimate of a level that has pairs with what it is compared with.

        In each group of alike rows where the level and something to compare with it occur, with y
        the readings, w the weights, and means over the group's rows weighted with w::

            d = mean of y where the level is it - mean of y where the level is *against*

        or, without that, where it is any other. The estimate is :func:`clustered_mean` of these
        differences: a group counts once, however many rows it has. What stands beside is the same
        difference of judging.
        """
        own = np.flatnonzero(self._level == level)
        where = self._group[own]
        other = self._level == against if against is not None else self._level != level
        weight = np.bincount(self._group[other], self._weight[other], self._groups)[where]
        both = weight > 1e-9
        if not both.any():
            return None
        own, where = own[both], where[both]
        total = _sums(self._group[other], self._total[other], self._groups)[where]
        means = self._total[own] / self._weight[own, None] - total / weight[both, None]
        clusters = self._cluster[where]
        theirs = other & np.isin(self._group, where)
        estimate = clustered_mean(
            means[:, 0], clusters[:, 0], clusters[:, 1], means[:, 1:], rounded=self._rounded,
            by_signs=bool(self._picked[own].any() or self._picked[theirs].any()),
        )  # fmt: skip
        runs = np.concatenate([self._runs[own].ravel(), self._runs[theirs].ravel()])
        return replace(estimate, planned=bool(runs[0] >= 0 and (runs == runs[0]).all()))


def _sums(places: Integers, values: Floats, count: int) -> Floats:
    columns = [np.bincount(places, weights=column, minlength=count) for column in values.T]
    return np.column_stack(columns)


def clustered_mean(
    differences: Floats,
    clusters: Integers,
    prompts: Integers,
    beside: Floats | None = None,
    *,
    rounded: float = 0.0,
    by_signs: bool = False,
) -> Estimate:
    """Return the mean of *differences* with the error of a mean over clusters.

    With n differences d, n_k of them in cluster k, and Z (n, m) what stands beside them, whose
    coefficients have the prior deviation T of :data:`~.circumstances.STEADY_SPREAD`::

        X = [1, Z]      R = s^2 diag(0, 1/T^2, ...)      s^2 the mean square of d about its mean
        S = (X'X + R)^-1                                 a the first row of S X'

        difference = a' d               e = d - X S X' d
        error^2    = sum_k (sum_(i in k) a_i e_i)^2 / told + T^2 |Z' a|^2

    *told* is the part of the variance of a' d that the sum of squares before it has on average,
    and the freedom is that of a chi-square with the mean and the variance of this sum
    (:func:`_of_few`): what is left over of few differences is less than what was there, the more so
    the more stands beside them. Without Z and with clusters of one size both are those of Student's
    t test: told = (K - 1) / K of K clusters, freedom = K - 1.

    With G = (sum_k n_k)^2 / sum_k n_k^2 (Kish's) of 1.5 or less the error is infinite. Scores come
    of whole stars, so that the first part of error^2 is *rounded* times a' a at least.

    Picks, one for each pair, make differences of one size and either sign. Where eight of eight
    have one sign, which luck does once in 128 times, their variance is none, and Student's t test
    takes them for sure. So *by_signs* the error is made as large as it takes for the t test of no
    difference to have the chance that the test of signs has (:func:`_chance_of_signs`), of
    g_k = sum_(i in k) a_i e_i with e what is left of d beside Z alone.

    Args:
        differences: d, float64[n], in score units.
        clusters: Number of each one's cluster, int64[n].
        prompts: Number of each one's prompt, int64[n].
        beside: Z, float64[n, m].
        rounded: Variance of a difference that rounding to whole stars makes.
        by_signs: The differences rest on picks.
    """
    count = len(differences)
    _, cluster, size = np.unique(clusters, return_inverse=True, return_counts=True)
    design = np.ones((count, 1))
    if beside is not None:
        varied = beside[:, np.abs(beside).max(axis=0, initial=0.0) > 1e-9]
        design = np.column_stack([design, varied])
    ridge = np.full(design.shape[1], max(float(differences.var()), 1e-6) / STEADY_SPREAD**2)
    ridge[0] = 0.0
    solved = np.asarray(np.linalg.inv(design.T @ design + np.diag(ridge)), np.float64)
    pull = design @ solved[0]
    error, freedom, for_signs = float("inf"), 1.0, None
    if count**2 / np.square(size).sum() > _FEWEST_CLUSTERS:
        left = differences - design @ (solved @ (design.T @ differences))
        squares = float(np.square(np.bincount(cluster, weights=pull * left)).sum())
        alike = _likeness(left, cluster, size)
        told, freedom = _of_few(pull, design, solved, cluster, alike)
        prior = STEADY_SPREAD**2 * float(np.square(design[:, 1:].T @ pull).sum())
        error = (max(squares / told, rounded * float(pull @ pull)) + prior) ** 0.5
        freedom = max(freedom, 1.0)
        if by_signs:
            others = np.linalg.inv(design[:, 1:].T @ design[:, 1:] + np.diag(ridge[1:]))
            left = differences - design[:, 1:] @ (others @ (design[:, 1:].T @ differences))
            sums = np.asarray(np.bincount(cluster, weights=pull * left), np.float64)
            chance, for_signs = _chance_of_signs(sums), _bet_on_signs(sums)
            error = max(error, _error_of(abs(float(pull @ differences)), chance, freedom))
    return Estimate(
        difference=float(pull @ differences),
        error=error,
        freedom=freedom,
        comparisons=count,
        prompts=len(np.unique(prompts)),
        for_signs=for_signs,
    )


def _error_of(size: float, chance: float, freedom: float) -> float:
    """Return the error with which a difference of *size* has *chance*, two-sided, by a t test."""
    from scipy.special import stdtrit

    deviate = -float(stdtrit(freedom, chance / 2))
    return size / deviate if deviate > _NO_DEVIATE else 0.0


def _bet_on_signs(sums: Floats) -> float:
    """Return what bets on *sums* g (K,) having one sign have made of 1, to be told at any time.

    With r the root of the mean square of g, and the mean over c of -2, -1, -1/2, -1/4, 1/4, ... 2::

        mean of prod_k exp(c g_k / r) / cosh(c g_k / r)

    of which each has the mean 1 if every sign is luck, however many there are.

    Source: de la Pena 1999, *A general class of exponential inequalities for martingales and
    ratios*; Ramdas, Ruf, Larsson and Koolen 2020, *Admissible anytime-valid sequential inference
    must rely on nonnegative martingales*.
    """
    scale = float(np.sqrt(np.square(sums).mean()))
    if scale <= 0:
        return 1.0
    stakes = np.array([2, 1, 0.5, 0.25])
    staked = np.concatenate([-stakes, stakes])[:, None] * sums / scale
    logs = (staked - np.logaddexp(staked, -staked) + np.log(2)).sum(axis=1)
    return float(np.exp(np.minimum(logs, _MOST_WON)).mean())


def _chance_of_signs(sums: Floats) -> float:
    """Return the chance of a sum as far from 0 as that of *sums* if every sign were luck.

    With g (K,) the sums, rounded to whole parts of 4,096 of the sum of their sizes, s (K,) signs of
    which each is + or - with a half, and S = |sum_k s_k g_k| to within the rounding::

        exact  = P(S >= |sum_k g_k|)
        chance = max(P(S > |sum_k g_k|) + P(S = |sum_k g_k|) / 2, 0.6 exact)

    counted over all 2^K signs by adding one g_k after the other to the distribution. It holds
    whatever distribution differences have, as long as it is symmetric where nothing differs. Few
    signs have few chances, and to count all of what is just as far would be too careful by the
    half; but what is asked to be 3 % is never above 5 %, by the second part. 0 for more than 400
    sums, of which the t test is good enough.

    Source: Fisher 1935, *The Design of Experiments*, section 21; Pagano and Tritchler 1983, *On
    obtaining permutation distributions in polynomial time*; Lancaster 1961, *Significance tests in
    discrete distributions*, for the half.
    """
    whole = float(np.abs(sums).sum())
    if len(sums) > _MOST_SIGNS or whole <= 0:
        return 0.0 if whole > 0 else 1.0
    parts = np.rint(sums / whole * _PARTS).astype(np.int64)
    far, middle = abs(int(parts.sum())), int(np.abs(parts).sum())
    chances = np.zeros(2 * middle + 1)
    chances[middle] = 1.0
    for part in np.abs(parts).tolist():
        if part:
            moved = np.zeros_like(chances)
            moved[part:] += chances[:-part] / 2
            moved[:-part] += chances[part:] / 2
            chances = moved
    rounding = len(sums) // 2
    if far <= rounding:
        return 1.0
    beyond = 2 * float(chances[middle + far + rounding + 1 :].sum())
    exact = 2 * float(chances[middle + far - rounding :].sum())
    return min(max((beyond + exact) / 2, _LEAST_OF_EXACT * exact), 1.0)


def _of_few(
    pull: Floats, design: Floats, solved: Floats, cluster: Integers, alike: float
) -> tuple[float, float]:
    """Return *told* and the freedom of :func:`clustered_mean`.

    The sum over clusters of (sum_(i in k) a_i e_i)^2 is d' B B' d, where column k of B (n, K) is
    (I - X S X') times a with all but cluster k set to 0. With V (n, n) the covariance of d, 1 on
    its diagonal, r within clusters and 0 elsewhere::

        W = B' V B          told = tr W / a' V a          freedom = (tr W)^2 / tr(W W)

    With x_k, u_k and g_k the sums of X, of a X and of a over a cluster, W = diag(w) + F N F' with

        w_k = (1 - r) sum a_i^2 + r g_k^2           F = [g x, u]
        N   = [[0, -r S], [-r S, (1 - r) (S X'X S - 2 S) + r S x'x S]]

    Source: Bell and McCaffrey 2002, *Bias reduction in standard errors for linear regression with
    multi-stage samples*, for the freedom; Imbens and Kolesar 2016, *Robust standard errors in small
    samples: some practical advice*, for its use with few clusters, and for r from the residuals.
    Theirs corrects the residuals of each cluster by a root of a matrix; a factor for all has the
    same mean.

    Args:
        pull: a, float64[n].
        design: X, float64[n, 1 + m].
        solved: S, float64[1 + m, 1 + m].
        cluster: int64[n], from 0.
        alike: r (:func:`_likeness`).
    """
    count = int(cluster.max()) + 1
    own = np.bincount(cluster, weights=pull, minlength=count)
    squares = np.bincount(cluster, weights=np.square(pull), minlength=count)
    sums, pulled = _sums(cluster, design, count), _sums(cluster, design * pull[:, None], count)
    weights = (1 - alike) * squares + alike * np.square(own)
    sides = np.concatenate([own[:, None] * sums, pulled], axis=1)
    crossed = -alike * solved
    apart = solved @ (design.T @ design) @ solved - 2 * solved
    last = (1 - alike) * apart + alike * (solved @ (sums.T @ sums) @ solved)
    middle = np.block([[np.zeros_like(solved), crossed], [crossed, last]])
    inside = middle @ (sides.T @ sides)
    trace = float(weights.sum() + np.trace(inside))
    between = float(weights @ np.einsum("ki,ij,kj->k", sides, middle, sides))
    of_squares = float(weights @ weights) + 2 * between + float(np.trace(inside @ inside))
    told = trace / float(weights.sum())
    return max(told, _LEAST_TOLD), trace**2 / max(of_squares, 1e-300)


def _likeness(left: Floats, cluster: Integers, size: Integers) -> float:
    """Return how alike differences of a cluster are, from 0 to 1, by what is left of them.

    The mean of e_i e_j over pairs of a cluster, over the mean of e_i^2; and 2 / n more, since what
    is left about a mean is less alike by about 1 / n.
    """
    squares = float(np.square(left).sum())
    pairs = float((size * (size - 1)).sum())
    if not pairs or squares <= 0:
        return 0.0
    together = float(np.square(np.bincount(cluster, weights=left)).sum()) - squares
    return min(max(together / pairs * len(left) / squares + 2 / len(left), 0.0), 1.0)
