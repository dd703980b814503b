"""paired_comparisons: what a knob does among pictures that are alike in everything else.

The strongest evidence that an archive has: same prompt, same seed, one engine, and exactly one
knob differs. Nothing else can be the cause of such a difference, whatever else was confounded.

The differences of one prompt are not independent of each other, so the interval is that of the
prompts' sums (cluster-robust): Liang and Zeger 1986, *Longitudinal data analysis using
generalized linear models*; the degrees of freedom count unequal prompts as fewer, as in Kish
1965, *Survey Sampling*. :func:`clustered_mean` has the formulae.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.knob_levels import KnobLevels

__all__ = ["FEWEST_PROMPTS", "Estimate", "clustered_mean", "paired_estimates"]

FEWEST_PROMPTS = 6
"""With fewer prompts each group of pictures stands for itself: the answer is for those prompts."""

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
    """

    difference: float
    error: float
    freedom: float
    comparisons: int
    prompts: int


def paired_estimates(
    levels: KnobLevels,
    alike: NDArray[np.uint64],
    readings: Floats,
    weights: Floats,
    prompts: Integers,
) -> Mapping[int, Estimate]:
    """Return an estimate for each level that has pairs with what it is compared with.

    In each group of alike rows where level l and something to compare with it occur, with y the
    readings, w the weights, and means over the group's rows weighted with w::

        d = mean of y where the level is l - mean of y where it is the reference

    or, without a reference, where it is any other level. The estimate is :func:`clustered_mean`
    of these differences: a group counts once, however many rows it has.

    Args:
        levels: The knob.
        alike: Equal where rows differ in this knob at most, uint64[n].
        readings: Unshrunk scores, float64[n].
        weights: How much each tells, float64[n], above 0.
        prompts: Number of each row's prompt, int64[n].
    """
    known = np.flatnonzero(levels.codes >= 0)
    if not len(known):
        return {}
    _, group, size = np.unique(alike[known], return_inverse=True, return_counts=True)
    keep = size[group] > 1
    rows, group = known[keep], group[keep]
    if not len(rows):
        return {}
    _, group = np.unique(group, return_inverse=True)
    width = len(levels.names)
    cells, cell = np.unique(group * width + levels.codes[rows], return_inverse=True)
    weight = np.bincount(cell, weights=weights[rows])
    total = np.bincount(cell, weights=weights[rows] * readings[rows])
    cell_group, cell_level = cells // width, cells % width
    groups = int(group.max()) + 1
    prompt = np.zeros(groups, np.int64)
    prompt[group] = prompts[rows]
    if levels.reference is None:
        other_weight = np.bincount(cell_group, weights=weight, minlength=groups)
        other_total = np.bincount(cell_group, weights=total, minlength=groups)
    else:
        at = cell_level == levels.reference
        here = cell_group[at]
        other_weight = np.bincount(here, weights=weight[at], minlength=groups)
        other_total = np.bincount(here, weights=total[at], minlength=groups)
    estimates = {}
    for level in range(width):
        if level == levels.reference:
            continue
        own = np.flatnonzero(cell_level == level)
        where = cell_group[own]
        against_weight, against_total = other_weight[where], other_total[where]
        if levels.reference is None:
            against_weight = against_weight - weight[own]
            against_total = against_total - total[own]
        both = against_weight > 1e-9
        if not both.any():
            continue
        own, where = own[both], where[both]
        differences = total[own] / weight[own] - against_total[both] / against_weight[both]
        estimates[level] = clustered_mean(differences, prompt[where])
    return estimates


def clustered_mean(differences: Floats, prompts: Integers) -> Estimate:
    """Return the mean of *differences* with the error of a mean over prompts.

    With n differences d, n_k of them in cluster k::

        difference = sum d / n
        G          = (sum_k n_k)^2 / sum_k n_k^2
        error^2    = G / (G - 1) sum_k (sum_(d in k) (d - difference))^2 / n^2
        freedom    = G - 1, at least 1

    Clusters are prompts; with fewer than :data:`FEWEST_PROMPTS` every difference is one. G is
    Kish's effective number; Liang and Zeger's error is without the factor of G, which allows for
    few clusters. With G of 1.5 or less the error is infinite.

    Args:
        differences: d, float64[n], in score units.
        prompts: Number of each one's prompt, int64[n].
    """
    names, cluster = np.unique(prompts, return_inverse=True)
    count = len(names)
    if count < FEWEST_PROMPTS:
        cluster = np.arange(len(differences))
    size = np.bincount(cluster)
    mean = float(differences.mean())
    off = np.bincount(cluster, weights=differences - mean)
    effective = float(size.sum() ** 2 / np.square(size).sum())
    error = float("inf")
    if effective > 1.5:
        variance = float(np.square(off).sum()) / len(differences) ** 2
        error = (variance * effective / (effective - 1)) ** 0.5
    return Estimate(
        difference=mean,
        error=error,
        freedom=max(effective - 1, 1.0),
        comparisons=len(differences),
        prompts=count,
    )
