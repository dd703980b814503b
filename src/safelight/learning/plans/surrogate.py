"""Surrogate: what ratings say about settings that nobody has tried yet, and how surely.

A Gaussian process over numbers and choices together. Two settings are alike when their knobs
are, each knob with a scale of its own that is found from the ratings; a part in which knobs add
up and a part in which they act on each other are weighed against each other, so that few
ratings already tell main effects, and many tell interactions.

Source: Rasmussen and Williams 2006, chapters 2 and 5 (regression, marginal likelihood and its
gradient); Duvenaud et al. 2011, arXiv:1112.4394 (additive kernels).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.evidence.descent import least

__all__ = ["Surrogate", "fit_surrogate"]

Floats = NDArray[np.float64]

_SQRT5 = math.sqrt(5.0)
_MOST_FITTED = 250
"""Points from which the scales are found; all points are used for the answer."""

_NUMBER_SCALE, _CHOICE_SCALE = math.log(0.35), math.log(1.0)
_LEVEL = 1.0
"""Variance of the level about which scores move. It is not their mean: people draw what they
like, so what they have not drawn lies below it, and a model that returns to the mean would look
there for ever."""
_JITTER = 1e-8


@dataclass(frozen=True, slots=True)
class _Scales:
    """The logarithms that are fitted: one scale per knob, two amplitudes, the noise."""

    knobs: Floats
    additive: float
    joint: float
    noise: float

    @property
    def prior(self) -> float:
        """Variance of a score about which nothing is known."""
        return _LEVEL + math.exp(2 * self.additive) + math.exp(2 * self.joint)

    @staticmethod
    def of(vector: Floats) -> _Scales:
        return _Scales(vector[:-3], float(vector[-3]), float(vector[-2]), float(vector[-1]))


@dataclass(frozen=True, slots=True)
class Surrogate:
    """What the ratings say, ready to be asked.

    Attributes:
        points: (n, knobs) where ratings are.
        choices: Which knobs are choices.
        mean: Mean score.
        spread: Standard deviation of the scores, the unit in which the model works.
        noise_sd: Standard deviation of one rating about the setting's own score, in score units.
    """

    points: Floats
    choices: NDArray[np.bool_]
    mean: float
    spread: float
    noise_sd: float
    _scales: _Scales
    _wanted: Floats
    _whitener: Floats
    _weights: Floats

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the expected score of each of *points* and its standard deviation.

        The deviation is that of the setting's own score; a single picture varies by
        :attr:`noise_sd` more.
        """
        cross = _kernel(points, self.points, self.choices, self._scales)
        mean = cross @ self._weights
        within = self._whitener @ cross.T
        prior = self._scales.prior
        variance = np.maximum(prior - np.einsum("ij,ij->j", within, within), 1e-12)
        return self.mean + self.spread * mean, self.spread * np.sqrt(variance)

    def difference(
        self, point: Floats, others: Floats, counts: Floats | None = None
    ) -> tuple[float, float]:
        """Return the expected score of *point* less that of *others*, and its standard deviation.

        What is unknown of both alike does not count.

        Args:
            point: One point.
            others: (n, knobs), of which the mean is taken.
            counts: (n,) weights of that mean; equal when not given.
        """
        points = np.vstack([point, others])
        weights = -np.ones(len(others)) if counts is None else -counts
        contrast = np.append(1.0, weights / abs(weights.sum()))
        means, covariance = self.together(points)
        variance = max(float(contrast @ covariance @ contrast), 1e-12)
        return float(contrast @ (means - self.mean)), math.sqrt(variance)

    def together(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the expected scores of *points*, (n,), and their covariance, (n, n)."""
        cross = _kernel(points, self.points, self.choices, self._scales)
        within = self._whitener @ cross.T
        left = _kernel(points, points, self.choices, self._scales) - within.T @ within
        return self.mean + self.spread * (cross @ self._weights), self.spread**2 * left

    def likeness(self, point: Floats, others: Floats) -> Floats:
        """Return how alike *point* is to each of *others*, 0 to 1, all knobs taken together."""
        apart = np.abs(others - point)
        apart[:, self.choices] = apart[:, self.choices] > 0.5
        return np.asarray(_each_knob(apart, self.choices, self._scales.knobs)[0].prod(axis=1))

    def believing(self, point: Floats) -> Surrogate:
        """Return the model after *point* was rated just as it expects: only surer there."""
        points = np.vstack([self.points, point])
        cross = _kernel(point[None, :], self.points, self.choices, self._scales)[0]
        mean = float(cross @ self._weights)
        row = self._whitener @ cross
        prior = self._scales.prior
        noise = math.exp(2 * self._scales.noise)
        corner = math.sqrt(max(prior + noise + _JITTER - float(row @ row), _JITTER))
        size = len(self.points)
        whitener = np.zeros((size + 1, size + 1))
        whitener[:size, :size] = self._whitener
        whitener[size] = np.append(-row @ self._whitener, 1.0) / corner
        wanted = np.append(self._wanted, mean)
        return Surrogate(
            points, self.choices, self.mean, self.spread, self.noise_sd,
            self._scales, wanted, whitener, whitener.T @ (whitener @ wanted),
        )  # fmt: skip


@one_blas_thread()
def fit_surrogate(
    points: Floats,
    scores: Floats,
    choices: NDArray[np.bool_],
    *,
    counts: Floats | None = None,
    variances: Floats | None = None,
) -> Surrogate:
    """Return the model of *scores*.

    Args:
        points: (n, knobs), as :class:`~safelight.learning.plans.knob_space.KnobSpace` makes them.
        scores: (n,) mean score at each point.
        choices: (knobs,) which are choices.
        counts: (n,) pictures behind each mean; 1 each when not given.
        variances: (n,) what is known of the means' own variance, added to the noise.
    """
    counts = np.ones(len(scores)) if counts is None else counts
    mean = float(np.average(scores, weights=counts))
    spread = float(np.std(scores)) or 1.0
    wanted = (scores - mean) / spread
    known = np.zeros(len(scores)) if variances is None else variances / spread**2
    used = _rows_fitted(counts)
    scales = _fitted_scales(points[used], wanted[used], choices, counts[used], known[used])
    noise = math.exp(2 * scales.noise) / counts + known
    total = _kernel(points, points, choices, scales)
    total[np.diag_indices_from(total)] += noise + _JITTER
    whitener = np.tril(np.linalg.inv(np.linalg.cholesky(total)))
    weights = whitener.T @ (whitener @ wanted)
    noise_sd = math.exp(scales.noise) * spread
    return Surrogate(points, choices, mean, spread, noise_sd, scales, wanted, whitener, weights)


def _rows_fitted(counts: Floats) -> NDArray[np.intp]:
    """Return the rows from which the scales are found: those with most pictures behind them."""
    order = np.argsort(-counts, kind="stable")
    return np.sort(order[:_MOST_FITTED])


def _fitted_scales(
    points: Floats, wanted: Floats, choices: NDArray[np.bool_], counts: Floats, known: Floats
) -> _Scales:
    """Return the scales of highest posterior probability; the same for the same ratings."""
    knobs = points.shape[1]
    centre = np.append(np.where(choices, _CHOICE_SCALE, _NUMBER_SCALE), [-0.7, -0.7, -0.7])
    width = np.append(np.where(choices, 1.0, 0.7), [0.7, 0.7, 0.7])
    apart = np.abs(points[:, None, :] - points[None, :, :])
    apart[:, :, choices] = apart[:, :, choices] > 0.5

    def cost(vector: Floats) -> tuple[float, Floats]:
        value, gradient = _negative_log_likelihood(vector, apart, wanted, choices, counts, known)
        off = (vector - centre) / width
        return value + 0.5 * float(off @ off), gradient + off / width

    low, high = np.repeat([-3.0, -4.0], [knobs, 3]), np.repeat([3.0, 2.0], [knobs, 3])
    return _Scales.of(least(cost, centre, low=low, high=high).point)


def _negative_log_likelihood(
    vector: Floats,
    apart: Floats,
    wanted: Floats,
    choices: NDArray[np.bool_],
    counts: Floats,
    known: Floats,
) -> tuple[float, Floats]:
    """Return -log p(wanted), but for its constant, and its gradient in *vector*.

    With K the covariance of the scores y, noise included::

        -log p(y) = y' K^-1 y / 2 + log|K| / 2 + n log(2 pi) / 2
        its slope = tr((K^-1 - K^-1 y y' K^-1) dK) / 2

    (Rasmussen and Williams 2006, equations 5.8 and 5.9.) Where K cannot be factorised, the value
    is so large that nobody goes there.

    Args:
        vector: (knobs + 3,) as :meth:`_Scales.of` takes it.
        apart: (n, n, knobs) distances; of choices 0 or 1.
        wanted: (n,) y.
        choices: (knobs,).
        counts: (n,) pictures behind each of *wanted*.
        known: (n,) variance that is known of each.
    """
    knobs = len(choices)
    scales = _Scales.of(vector)
    each, slopes = _each_knob(apart, choices, scales.knobs, slopes=True)
    additive = math.exp(2 * scales.additive) * each.mean(axis=2)
    joint = math.exp(2 * scales.joint) * each.prod(axis=2)
    noise = math.exp(2 * scales.noise) / counts
    total = _LEVEL + additive + joint
    total[np.diag_indices_from(total)] += noise + known + _JITTER
    try:
        factor = np.linalg.cholesky(total)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(vector)
    inverse = np.linalg.inv(total)
    weights = inverse @ wanted
    inner = inverse - np.outer(weights, weights)
    gradient = np.empty_like(vector)
    # Each product holds every factor; one factor's slope comes in by division (all are > 0).
    per_knob = (
        math.exp(2 * scales.additive) / knobs + joint[:, :, None] / np.maximum(each, 1e-12)
    ) * slopes
    gradient[:knobs] = 0.5 * np.einsum("ij,ijk->k", inner, per_knob)
    gradient[knobs] = np.sum(inner * additive)
    gradient[knobs + 1] = np.sum(inner * joint)
    gradient[knobs + 2] = np.sum(np.diag(inner) * noise)
    value = 0.5 * wanted @ weights + np.log(np.diag(factor)).sum()
    return float(value), gradient


def _kernel(left: Floats, right: Floats, choices: NDArray[np.bool_], scales: _Scales) -> Floats:
    """Return how much the score at each of *left* tells about that at each of *right*."""
    total = np.zeros((len(left), len(right)))
    product = np.ones((len(left), len(right)))
    for column, (is_choice, log) in enumerate(zip(choices, scales.knobs, strict=True)):
        apart = np.abs(left[:, None, column] - right[None, :, column])
        if is_choice:
            each = np.where(apart > 0.5, math.exp(-math.exp(-log)), 1.0)
        else:
            apart *= _SQRT5 / math.exp(log)
            each = np.exp(-apart)
            each *= 1.0 + apart + apart * apart / 3.0
        total += each
        product *= each
    total *= math.exp(2 * scales.additive) / left.shape[1]
    product *= math.exp(2 * scales.joint)
    total += product
    total += _LEVEL
    return total


def _each_knob(
    apart: Floats, choices: NDArray[np.bool_], logs: Floats, *, slopes: bool = False
) -> tuple[Floats, Floats]:
    """Return the likeness of each pair in each knob, and its slope in the log scale.

    Numbers: Matern 5/2. Choices: 1 for the same level, exp(-1 / scale) for another.
    """
    scale = np.exp(logs)
    r = apart * (_SQRT5 / scale)
    decay = np.exp(-np.where(choices, apart / scale, r))
    each = np.where(choices, 1.0, 1.0 + r + r * r / 3.0) * decay
    if not slopes:
        return each, each
    return each, np.where(choices, apart / scale, r * r * (1.0 + r) / 3.0) * decay
