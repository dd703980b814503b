"""agreement: how far raters who judged the same pictures say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.star_model import StarEvidence

__all__ = ["Agreement", "krippendorff_alpha", "rater_agreement"]

_PAIRS_OF_RATERS = 200
_FEWEST_SHARED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Agreement of raters; a figure is None where nothing is shared.

    Attributes:
        alpha: Krippendorff's alpha of stars, ordinal: 1 is full agreement, 0 as by chance.
        alpha_pictures: Pictures with stars of two raters or more, on which it rests.
        tau: Mean Kendall's tau-b between two raters' scores of the pictures that both judged:
            1 is the same order, 0 as by chance.
        tau_pairs: Pairs of raters on which it rests, each with at least 5 shared pictures.
        tau_pictures: Shared pictures, summed over those pairs.
    """

    alpha: float | None = None
    alpha_pictures: int = 0
    tau: float | None = None
    tau_pairs: int = 0
    tau_pictures: int = 0


def rater_agreement(
    evidence: StarEvidence,
    raters: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]],
) -> Agreement:
    """Return the agreement of stars, and of each rater's (rows, scores).

    Of more than 200 pairs of raters, those who judged most are taken. For two raters who share
    at least 5 pictures, P of the pairs of these are in the same order, Q in opposite orders, T
    alike for the one rater only and U for the other only::

        tau_b = (P - Q) / sqrt((P + Q + T) (P + Q + U))

    tau is the plain mean of these.

    Source: Kendall 1945, *The treatment of ties in ranking problems*; ``scipy.stats.kendalltau``.
    """
    stars = (evidence.values >= 1) & (evidence.values <= 5)
    alpha, pictures = krippendorff_alpha(evidence.images[stars], evidence.values[stars])
    busiest = sorted(raters, key=lambda rater: -len(rater[0]))[: int((2 * _PAIRS_OF_RATERS) ** 0.5)]
    taus, shared = [], 0
    for (rows, scores), (other_rows, other_scores) in combinations(busiest, 2):
        _, at, other_at = np.intersect1d(rows, other_rows, return_indices=True)
        if len(at) < _FEWEST_SHARED:
            continue
        from scipy.stats import kendalltau  # slow to import, and few archives have two raters

        tau = float(kendalltau(scores[at], other_scores[other_at]).statistic)
        if tau == tau:  # not a number when one of them judged all alike
            taus.append(tau)
            shared += len(at)
    return Agreement(
        alpha=alpha,
        alpha_pictures=pictures,
        tau=float(np.mean(taus)) if taus else None,
        tau_pairs=len(taus),
        tau_pictures=shared,
    )


def krippendorff_alpha(
    units: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[float | None, int]:
    """Return Krippendorff's alpha with the ordinal metric, and on how many units it rests.

    With n_uc times the value c for unit u, m_u = sum_c n_uc at least 2, and c, k from 1 to 5::

        o_ck  = sum_u n_uc (n_uk - [c = k]) / (m_u - 1)             coincidences
        n_c   = sum_k o_ck,    n = sum_c n_c
        D_ck  = (sum of n from c to k - (n_c + n_k) / 2)^2          squared distance of ranks
        alpha = 1 - (n - 1) sum_ck o_ck D_ck / sum_ck n_c n_k D_ck

    o and D are (5, 5); nothing has a unit.

    Args:
        units: What was judged, int64[m].
        values: The judgement, 1 to 5, int64[m].

    Returns:
        None for alpha when no unit has two values, or all values are equal.

    Source: Krippendorff 2011, *Computing Krippendorff's Alpha-Reliability*, section E.
    """
    if not len(units):
        return None, 0
    _, unit = np.unique(units, return_inverse=True)
    table = np.zeros((int(unit.max()) + 1, 5))
    cells = np.bincount(unit * 5 + values - 1, minlength=table.size)
    table += cells.reshape(table.shape)
    table = table[table.sum(axis=1) >= 2]
    if not len(table):
        return None, 0
    weights = 1 / (table.sum(axis=1) - 1)
    together = (table * weights[:, None]).T @ table - np.diag(weights @ table)
    totals = together.sum(axis=1)
    up_to = np.cumsum(totals) - totals / 2
    distance = np.square(up_to[:, None] - up_to[None, :])
    expected = float(totals @ distance @ totals) / (totals.sum() - 1)
    if expected <= 0:
        return None, len(table)
    return float(1 - (together * distance).sum() / expected), len(table)
