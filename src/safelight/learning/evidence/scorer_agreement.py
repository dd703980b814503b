"""scorer_agreement: whether a scorer puts pictures of one prompt in the order in which people do.

Nothing more follows from it: it says what of knobs nobody should conclude from a scorer's numbers,
and is no evidence about any knob itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.rank_agreement import RankAgreement, ScorerAgreement

__all__ = ["FEWEST_PROMPTS", "RankAgreement", "ScorerAgreement", "scorer_agreement"]

FEWEST_PROMPTS = 6
"""Prompts with an order to compare from which an interval is given: it is about new prompts."""

_LEVEL = 0.95


def scorer_agreement(
    numbers: NDArray[np.float64],
    scores: NDArray[np.float64],
    prompts: Sequence[str],
    models: Sequence[str],
) -> ScorerAgreement:
    """Return how far *numbers* have the order of *scores* among the pictures of each prompt.

    Only pictures of one prompt are compared, and for a model only those that are its own, too.
    Among the n_g pictures of prompt g, P_g pairs have the same order in both, Q_g the opposite, T_g
    are tied in the numbers only, U_g in the scores only. A prompt weighs as it has pictures, not
    pairs, or one with many would count alone::

        w_g = 2 / n_g;    P = sum_g w_g P_g, and so on
        tau = (P - Q) / sqrt((P + Q + T) (P + Q + U))

    which is Kendall's tau-b where there is one prompt. Its variance v is that of a delete-one
    jackknife over the G prompts in which any pair counts, with tau_(g) that without g; but of few
    prompts that happen to agree the jackknife makes no variance at all. So it is at least that
    of prompts in which both orders are chance, and either falls with 1 - tau^2. The interval is
    where what is told is not further from what may be true than that allows (Wilson's)::

        v = (G - 1) / G  sum_g (tau_(g) - mean of tau_(.))^2
        c = w (P + Q + T + U)
        V = sum_g c_g^2 2 (2 n_g + 5) / (9 n_g (n_g - 1)) / (sum_g c_g)^2
        q = max(t(0.975, G - 1)^2 v / (1 - tau^2), 1.96^2 V)
        the ends are (tau -+ sqrt(q (1 + q - tau^2))) / (1 + q),    from -1 to 1

    Args:
        numbers: The scorer's, any unit, float64[n].
        scores: People's, any unit, float64[n].
        prompts: Of each picture, n.
        models: Of each picture, n; empty where it is not known: it then counts for none.

    Source: Kendall 1945, *The treatment of ties in ranking problems*, and 1938, *A new measure of
    rank correlation*, for the variance of chance; Efron and Stein 1981, *The jackknife estimate of
    variance*; Wilson 1927, *Probable inference, the law of succession, and statistical inference*.
    """
    prompt = np.unique(np.asarray(prompts, object).astype(str), return_inverse=True)[1]
    model = np.asarray(models, object).astype(str)
    every = np.arange(len(numbers))
    named = sorted(set(model.tolist()) - {""})
    by_model = [(name, _agreement(every[model == name], numbers, scores, prompt)) for name in named]
    by_model.sort(key=lambda each: -each[1].pictures)
    return ScorerAgreement(
        overall=_agreement(every, numbers, scores, prompt), by_model=tuple(by_model)
    )


def _agreement(
    rows: NDArray[np.int64],
    numbers: NDArray[np.float64],
    scores: NDArray[np.float64],
    prompt: NDArray[np.int64],
) -> RankAgreement:
    order = rows[np.argsort(prompt[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(prompt[order], prepend=-1))
    groups = [group for group in np.split(order, starts[1:]) if len(group) > 1]
    pictures = sum(map(len, groups))
    if not groups:
        return RankAgreement(pictures=0, prompts=0)
    sums = np.array([_pairs(numbers[group], scores[group]) for group in groups])
    counted = sums.any(axis=1)
    sizes, sums = np.array([len(group) for group in groups])[counted], sums[counted]
    total = sums.sum(axis=0)
    tau = _tau(total[None])[0] if len(sums) else np.nan
    if np.isnan(tau):
        return RankAgreement(pictures=pictures, prompts=len(groups))
    low, high = _interval(float(tau), _tau(total - sums), sums.sum(axis=1), sizes)
    return RankAgreement(pictures=pictures, prompts=len(groups), tau=float(tau), low=low, high=high)


def _pairs(numbers: NDArray[np.float64], scores: NDArray[np.float64]) -> tuple[float, ...]:
    """Return w (P, Q, T, U) of the pictures of one prompt."""
    same = opposite = tied_numbers = tied_scores = 0
    for place in range(len(numbers) - 1):
        one = np.sign(numbers[place + 1 :] - numbers[place])
        other = np.sign(scores[place + 1 :] - scores[place])
        both = one * other
        same += int((both > 0).sum())
        opposite += int((both < 0).sum())
        tied_numbers += int(((one == 0) & (other != 0)).sum())
        tied_scores += int(((one != 0) & (other == 0)).sum())
    weight = 2 / len(numbers)
    return tuple(weight * each for each in (same, opposite, tied_numbers, tied_scores))


def _tau(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return tau of each row of (P, Q, T, U), not a number where there is no order."""
    same, opposite, tied_numbers, tied_scores = np.maximum(sums, 0).T
    ordered = same + opposite
    below = np.sqrt((ordered + tied_numbers) * (ordered + tied_scores))
    return np.where(below > 1e-9, (same - opposite) / np.maximum(below, 1e-9), np.nan)


def _interval(
    tau: float,
    without: NDArray[np.float64],
    counted: NDArray[np.float64],
    sizes: NDArray[np.int64],
) -> tuple[float | None, float | None]:
    """Return the interval of :func:`scorer_agreement`, of tau_(g), c_g and n_g."""
    count = len(without)
    if count < FEWEST_PROMPTS or np.isnan(without).any():
        return None, None
    from scipy.special import ndtri, stdtrit  # slow to import

    jackknife = (count - 1) / count * float(np.square(without - without.mean()).sum())
    by_chance = 2 * (2 * sizes + 5) / (9 * sizes * (sizes - 1))
    least = float(np.square(counted) @ by_chance) / float(counted.sum()) ** 2
    told = float(stdtrit(count - 1, (1 + _LEVEL) / 2)) ** 2 * jackknife / max(1 - tau**2, 1e-9)
    reach = max(told, float(ndtri((1 + _LEVEL) / 2)) ** 2 * least)
    half = (reach * max(1 + reach - tau**2, 0.0)) ** 0.5
    return max(-1.0, (tau - half) / (1 + reach)), min(1.0, (tau + half) / (1 + reach))
