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
    """

    difference: float
    error: float
    freedom: float
    comparisons: int
    prompts: int
    planned: bool = False


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
        estimate = clustered_mean(
            means[:, 0], clusters[:, 0], clusters[:, 1], means[:, 1:], rounded=self._rounded
        )
        theirs = other & np.isin(self._group, where)
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
) -> Estimate:
    """Return the mean of *differences* with the error of a mean over clusters.

    With n differences d, n_k of them in cluster k, and Z (n, m) what stands beside them, whose
    coefficients have the prior deviation T of :data:`~.circumstances.STEADY_SPREAD`::

        X = [1, Z]      R = s^2 diag(0, 1/T^2, ...)      s^2 the mean square of d about its mean

        a          = the first row of (X'X + R)^-1 X', or 1/n without Z
        difference = a' d               e = d - X (X'X + R)^-1 X' d
        G          = (sum_k n_k)^2 / sum_k n_k^2
        h          = trace of X (X'X + R)^-1 X', 1 without Z
        error^2    = G / (G - 1) n / (n + 1 - h) sum_k (sum_(i in k) a_i e_i)^2 + T^2 |Z' a|^2
        freedom    = G - 1, at least 1

    G is Kish's effective number; Liang and Zeger's error is without Z and both factors, of which
    one allows for few clusters, the other for what was fitted. With G of 1.5 or less the error is
    infinite. Scores come of whole stars, so that the first part of error^2 is *rounded* times a' a
    at least.

    Args:
        differences: d, float64[n], in score units.
        clusters: Number of each one's cluster, int64[n].
        prompts: Number of each one's prompt, int64[n].
        beside: Z, float64[n, m].
        rounded: Variance of a difference that rounding to whole stars makes.
    """
    count = len(differences)
    _, cluster, size = np.unique(clusters, return_inverse=True, return_counts=True)
    pull, left, prior = np.full(count, 1 / count), differences - differences.mean(), 0.0
    spare = float(count)
    if beside is not None:
        varied = beside[:, np.abs(beside).max(axis=0, initial=0.0) > 1e-9]
        if varied.shape[1]:
            pull, left, prior, spare = _beside(differences, varied, float(np.square(left).mean()))
    effective = float(count**2 / np.square(size).sum())
    error = float("inf")
    if effective > 1.5:
        off = np.bincount(cluster, weights=pull * left)
        variance = float(np.square(off).sum()) * effective / (effective - 1) * count / spare
        error = (max(variance, rounded * float(pull @ pull)) + prior) ** 0.5
    return Estimate(
        difference=float(pull @ differences),
        error=error,
        freedom=max(effective - 1, 1.0),
        comparisons=count,
        prompts=len(np.unique(prompts)),
    )


def _beside(
    differences: Floats, beside: Floats, noise: float
) -> tuple[Floats, Floats, float, float]:
    """Return a, e, T^2 |Z' a|^2 and n + 1 - h, at least 1, of :func:`clustered_mean`."""
    design = np.column_stack([np.ones(len(differences)), beside])
    ridge = np.full(design.shape[1], max(noise, 1e-6) / STEADY_SPREAD**2)
    ridge[0] = 0.0
    solved = np.linalg.solve(design.T @ design + np.diag(ridge), design.T)
    left = differences - design @ (solved @ differences)
    prior = STEADY_SPREAD**2 * float(np.square(beside.T @ solved[0]).sum())
    spare = len(differences) + 1 - float(np.einsum("ij,ji->", design, solved))
    return solved[0], left, prior, max(spare, 1.0)
