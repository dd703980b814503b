"""star_model: what stars say about pictures, when every rater uses the scale in a way of his own.

A graded response model: the stars x that rater r gives picture i have the probabilities::

    P(x <= k) = logistic(b_r (c_rk + d_r t - s_i))       k = 1 to 4;  P(x <= 0) = 0, P(x <= 5) = 1
    P(x = k)  = P(x <= k) - P(x <= k - 1)                logistic(u) = 1 / (1 + exp(-u))

``s_i`` is the picture's score, standard normal over the pictures, in units of the spread of taste;
``c_r1 < ... < c_r4`` are the rater's thresholds, in that unit; ``b_r`` is how sharply he judges,
per unit; ``d_r``, in that unit, is how his standard drifts between his first (t = -1) and his last
judgement (t = 1). A flag is read alike of everyone::

    P(reject) = logistic(2.2 (-1.2 - s_i))               P(favourite) = logistic(2.2 (s_i - 1.2))

The raters' numbers are fitted with the scores integrated out, so that ten pictures do not bend
them; :func:`fit_stars` says how.

Sources: Samejima 1969, *Estimation of latent ability using a response pattern of graded scores*
(a rater is what an item is there; the drift and the flags are ours); Bock and Aitkin 1981,
*Marginal maximum likelihood estimation of item parameters* (the EM).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.descent import least

__all__ = ["SHARPNESS", "RaterScale", "StarEvidence", "StarFit", "fit_stars"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SHARPNESS = 2.2
"""Prior median of ``b``: the noise of one rating is then about 0.8 of the spread of pictures."""

_SHARPNESS_SPREAD = 0.4
_DRIFT_SPREAD = 0.3
_THRESHOLDS = np.array([-1.5, -0.5, 0.5, 1.5])
_THRESHOLD_SPREAD, _GAP_SPREAD = 1.0, 0.7
_NODES = np.linspace(-4.5, 4.5, 37)
_LOG_PRIOR = -0.5 * _NODES**2 - float(np.log(np.exp(-0.5 * _NODES**2).sum()))
_TIME_BINS, _STARS_FOR_DRIFT = 8, 40
_STARS_FOR_OWN_SCALE, _MOST_SCALES = 15, 40
_MOST_ROUNDS, _SETTLED = 60, 5e-4
_RAREST = 1e-12
_FEW_JUDGEMENTS = 5_000
"""Judgements up to which sums are formed sooner than a sparse matrix is imported."""
_FLAG_SHARPNESS, _FLAG_THRESHOLD = 2.2, 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterScale:
    """How one rater uses stars.

    Attributes:
        thresholds: ``c``: scores at which at least 2, 3, 4 and 5 stars become likelier than fewer.
        sharpness: ``b``; the noise of one of his ratings has the deviation 1.81 / ``b``, that of
            the logistic distribution being pi / sqrt(3).
        drift: ``d``, in units of the score; 0 where he rated too little to tell.
        shared: He rated too little for a scale of his own and shares one with others.
    """

    thresholds: tuple[float, float, float, float]
    sharpness: float
    drift: float
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StarEvidence:
    """Stars and flags as columns, one row each, in an order that the events decide.

    Attributes:
        images: Row of the picture, int64[m].
        raters: Number of the rater, int64[m].
        values: 1 to 5 for stars; 0 for a reject, 6 for a favourite, int64[m].
        times: Place among the rater's own stars and flags, from -1 to 1, float64[m].
        image_count: How many pictures there are.
        rater_names: Name of each rater.
    """

    images: Integers
    raters: Integers
    values: Integers
    times: Floats
    image_count: int
    rater_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StarFit:
    """Scores by stars and flags alone.

    Attributes:
        means: Posterior mean of each picture's score, float64[n]; 0 without evidence.
        variances: Posterior variance, float64[n]; 1 without evidence.
        rater_rows: Rater -> (rows of the pictures, means, variances) by his own evidence.
        scales: Rater -> his use of the stars; raters who gave none are absent.
    """

    means: Floats
    variances: Floats
    rater_rows: Mapping[str, tuple[Integers, Floats, Floats]]
    scales: Mapping[str, RaterScale]


def fit_stars(evidence: StarEvidence) -> StarFit:
    """Fit the raters' scales and the pictures' scores.

    Scores are integrated out on Q = 37 nodes z_q, evenly from -4.5 to 4.5. Judgements that look
    alike are one cell c of C, of which picture i has n_ic. In turns, for each scale r::

        L_cq = log P(cell c | z_q)                                     as the module has it
        p_iq = exp(sum_c n_ic L_cq - z_q^2 / 2) / (the same summed over q)
        E_cq = sum_i n_ic p_iq
        theta_r: climb  sum_cq E_cq L_cq(theta_r) - sum_j (theta_rj - m_j)^2 / (2 v_j^2)

    n (images, C) counts; p (images, Q) and E (C, Q) without unit; theta (6,) is log b, c_1, the
    logarithms of c_2 - c_1, c_3 - c_2 and c_4 - c_3, and d; its prior is normal, with the means
    m = (log 2.2, -1.5, 0, 0, 0, 0) and the deviations v = (0.4, 1, 0.7, 0.7, 0.7, 0.3). The last p
    gives each picture's moments (:func:`_moments`).

    A rater with fewer than 15 stars shares a scale, as do all but the 39 with the most; one with
    fewer than 40 has t = 0, others have for t the middle of one of 8 parts of their time.

    Bock and Aitkin's turns maximise a likelihood; these have a prior, for raters of few stars, and
    climb eight steps, for speed: 60 turns, or until no number of theta moves by 5e-4.
    """
    starred = (evidence.values >= 1) & (evidence.values <= 5)
    counts = np.bincount(evidence.raters[starred], minlength=len(evidence.rater_names))
    owner = _scale_of_rater(counts)
    time_bins = np.zeros(len(evidence.values), np.int64)
    drifting = counts[evidence.raters] >= _STARS_FOR_DRIFT
    binned = np.minimum(((evidence.times + 1) / 2 * _TIME_BINS).astype(np.int64), _TIME_BINS - 1)
    time_bins[drifting] = binned[drifting]
    # A cell is what one judgement looks like: (scale, time, value). All its judgements are alike.
    scale = owner[evidence.raters]
    keys = np.where(starred, (scale * 2 + drifting) * _TIME_BINS + time_bins, -1) * 8
    keys += evidence.values
    cells, cell_of = np.unique(keys, return_inverse=True)
    size = (evidence.image_count, len(cells))
    seen = _Seen(evidence.images, cell_of, size)
    scales = {int(number): _Scale() for number in np.unique(owner[counts > 0])}
    plan = [_Cells(number, cells) for number in scales]
    log_likelihood = np.zeros((len(cells), len(_NODES)))
    log_likelihood[cells % 8 == 0] = _log_logistic(_FLAG_SHARPNESS * (-_FLAG_THRESHOLD - _NODES))
    log_likelihood[cells % 8 == 6] = _log_logistic(_FLAG_SHARPNESS * (_NODES - _FLAG_THRESHOLD))
    for _ in range(_MOST_ROUNDS if scales else 0):
        for own in plan:
            log_likelihood[own.rows] = own.log_likelihood(scales[own.number].parameters)
        expected = seen.per_cell(_posterior(seen.per_image(log_likelihood)))
        moved = [scales[own.number].improve(own, expected[own.rows]) for own in plan]
        if max(moved) < _SETTLED:
            break
    for own in plan:
        log_likelihood[own.rows] = own.log_likelihood(scales[own.number].parameters)
    means, variances = _moments(_posterior(seen.per_image(log_likelihood)))
    shared = np.bincount(owner[counts > 0]) if scales else np.zeros(0)
    return StarFit(
        means=means,
        variances=variances,
        rater_rows=_by_rater(evidence, cell_of, log_likelihood),
        scales={
            name: scales[int(owner[number])].rater_scale(shared=bool(shared[owner[number]] > 1))
            for number, name in enumerate(evidence.rater_names)
            if counts[number]
        },
    )


def _scale_of_rater(counts: Integers) -> Integers:
    """Return which scale each rater uses: number 0 is shared by all who rated little."""
    order = np.argsort(-counts, kind="stable")
    owner = np.zeros(len(counts), np.int64)
    for place, rater in enumerate(order[: _MOST_SCALES - 1]):
        if counts[rater] >= _STARS_FOR_OWN_SCALE:
            owner[rater] = place + 1
    return owner


class _Cells:
    """The cells of one scale: which rows of the table they are, and what they mean."""

    def __init__(self, number: int, cells: Integers) -> None:
        self.number = number
        where, value = cells // 8, cells % 8
        self.rows = np.flatnonzero((where >= 0) & (where // (2 * _TIME_BINS) == number))
        self.values = value[self.rows]
        drifting = where[self.rows] // _TIME_BINS % 2 == 1
        middle = (where[self.rows] % _TIME_BINS + 0.5) / _TIME_BINS * 2 - 1
        self.times = np.where(drifting, middle, 0.0)

    def log_likelihood(self, parameters: Floats) -> Floats:
        """Return L, the log probability of each cell at each node, float64[cells, nodes].

        For x stars, with c_0 and c_5 infinite; a difference below 1e-12 counts as that::

            L_xq = log(logistic(b (c_x + d t - z_q)) - logistic(b (c_(x-1) + d t - z_q)))
        """
        upper, lower, *_ = self._bounds(parameters)
        return np.log(np.maximum(_logistic(upper) - _logistic(lower), _RAREST))

    def fit_and_slope(self, parameters: Floats, expected: Floats) -> tuple[float, Floats]:
        """Return F, the sum of *expected* times the log probabilities, and its gradient.

        With u and l the arguments of both logistic functions, f(u) = logistic(u) (1 - logistic(u))
        and g = E / (logistic(u) - logistic(l)), all (cells, nodes), summed over both::

            F = sum E L                        dF / d log b = sum g (f(u) u - f(l) l)
            dF / dd = b sum t g (f(u) - f(l))
            D_k = b (sum over cells of k stars of g f(u) - sum over those of k + 1 of g f(l))
            dF / dc_1 = D_1 + D_2 + D_3 + D_4
            dF / d log(c_k - c_(k-1)) = (c_k - c_(k-1)) (D_k + ... + D_4)         k = 2 to 4

        Args:
            parameters: theta, (6,), as :func:`fit_stars` has it.
            expected: E, (cells, nodes).
        """
        upper, lower, sharpness, steps = self._bounds(parameters)
        above, below = _logistic(upper), _logistic(lower)
        chance = np.maximum(above - below, _RAREST)
        by_upper = expected * above * (1 - above) / chance
        by_lower = expected * below * (1 - below) / chance
        finite_upper = np.where(np.isfinite(upper), upper, 0.0)
        finite_lower = np.where(np.isfinite(lower), lower, 0.0)
        rise, fall = by_upper.sum(axis=1), by_lower.sum(axis=1)
        by_threshold = np.zeros(6)
        np.add.at(by_threshold, self.values, sharpness * rise)
        np.add.at(by_threshold, self.values - 1, -sharpness * fall)
        thresholds = by_threshold[1:5]
        later = np.cumsum(thresholds[::-1])[::-1]
        slope = [
            float((by_upper * finite_upper - by_lower * finite_lower).sum()),
            later[0],
            *(later[1:] * steps),
            sharpness * float(self.times @ (rise - fall)),
        ]
        return float((expected * np.log(chance)).sum()), np.array(slope)

    def _bounds(self, parameters: Floats) -> tuple[Floats, Floats, float, Floats]:
        thresholds, sharpness, drift = _unpacked(parameters)
        bounds = np.concatenate(([-np.inf], thresholds, [np.inf]))
        shift = drift * self.times
        upper = sharpness * ((bounds[self.values] + shift)[:, None] - _NODES)
        lower = sharpness * ((bounds[self.values - 1] + shift)[:, None] - _NODES)
        return upper, lower, sharpness, np.diff(thresholds)


class _Seen:
    """Which cells each picture's judgements are, for sums over either.

    Pictures with the same judgements get the same sums to the bit, in whatever order they came.
    """

    def __init__(self, images: Integers, cells: Integers, size: tuple[int, int]) -> None:
        order = np.lexsort((cells, images))
        self._images, self._cells, self._size = images[order], cells[order], size
        self._matrix: Any = None
        if len(images) > _FEW_JUDGEMENTS:
            from scipy import sparse  # a tenth of a second to import

            self._matrix = sparse.csr_array((np.ones(len(images)), (images, cells)), shape=size)

    def per_image(self, values: Floats) -> Floats:
        """Return for each picture the sum over its cells, of *values* float64[cells, nodes]."""
        if self._matrix is not None:
            return np.asarray(self._matrix @ values)
        return _sums(values, self._cells, self._images, self._size[0])

    def per_cell(self, values: Floats) -> Floats:
        """Return for each cell the sum over its pictures, of *values* float64[images, nodes]."""
        if self._matrix is not None:
            return np.asarray(self._matrix.T @ values)
        return _sums(values, self._images, self._cells, self._size[1])


def _sums(values: Floats, rows: Integers, places: Integers, count: int) -> Floats:
    """Return the sums of those *rows* of *values* that have the same place, for each place."""
    total = np.empty((count, values.shape[1]))  # row by row: equal rows have equal products
    for node in range(values.shape[1]):
        total[:, node] = np.bincount(places, values[rows, node], count)
    return total


class _Scale:
    """One scale while it is fitted."""

    def __init__(self) -> None:
        gaps = np.log(np.diff(_THRESHOLDS))
        self.parameters = np.array([np.log(SHARPNESS), _THRESHOLDS[0], *gaps, 0.0])
        self._prior = self.parameters.copy()
        spread = [_SHARPNESS_SPREAD, _THRESHOLD_SPREAD, *[_GAP_SPREAD] * 3, _DRIFT_SPREAD]
        self._precision = 1 / np.square(spread)
        self._curvature: Floats | None = None

    def improve(self, cells: _Cells, expected: Floats) -> float:
        """Climb the last line of :func:`fit_stars`; return how far the parameters moved."""

        def loss(parameters: Floats) -> tuple[float, Floats]:
            off = parameters - self._prior
            fit, slope = cells.fit_and_slope(parameters, expected)
            return 0.5 * float(off @ (self._precision * off)) - fit, self._precision * off - slope

        if self._curvature is None:  # each judgement bends the log posterior by about 1
            self._curvature = np.diag(1 / (self._precision + expected.sum()))
        before = self.parameters
        self.parameters, self._curvature = least(loss, before, rounds=8, curvature=self._curvature)
        return float(np.abs(self.parameters - before).max())

    def rater_scale(self, *, shared: bool) -> RaterScale:
        thresholds, sharpness, drift = _unpacked(self.parameters)
        first, second, third, fourth = (float(value) for value in thresholds)
        return RaterScale(
            thresholds=(first, second, third, fourth),
            sharpness=float(sharpness),
            drift=float(drift),
            shared=shared,
        )


def _unpacked(parameters: Floats) -> tuple[Floats, float, float]:
    """Return c (4,), b and d of theta (:func:`fit_stars`): logarithms end where nobody comes."""
    sharpness, first, *gaps, drift = parameters
    steps = np.exp(np.clip(gaps, -8, 3))
    thresholds = first + np.concatenate(([0.0], np.cumsum(steps)))
    return thresholds, float(np.exp(np.clip(sharpness, -3, 3))), float(drift)


def _by_rater(
    evidence: StarEvidence, cell_of: Integers, log_likelihood: Floats
) -> Mapping[str, tuple[Integers, Floats, Floats]]:
    rows_of = {}
    order = np.argsort(evidence.raters, kind="stable")
    bounds = np.searchsorted(evidence.raters[order], np.arange(len(evidence.rater_names) + 1))
    for number, name in enumerate(evidence.rater_names):
        own = order[bounds[number] : bounds[number + 1]]
        rows, place = np.unique(evidence.images[own], return_inverse=True)
        seen = _Seen(place, cell_of[own], (len(rows), len(log_likelihood)))
        rows_of[name] = (rows, *_moments(_posterior(seen.per_image(log_likelihood))))
    return rows_of


def _posterior(log_likelihood: Floats) -> Floats:
    """Return p of :func:`fit_stars`, (images, nodes), of sums of log probabilities, as many."""
    total = np.asarray(log_likelihood) + _LOG_PRIOR
    total -= total.max(axis=1, keepdims=True)
    np.exp(total, out=total)
    total /= total.sum(axis=1, keepdims=True)
    return total


def _moments(posterior: Floats) -> tuple[Floats, Floats]:
    """Return each picture's mean and variance, float64[images] each.

    With p the posterior, (images, Q), and z the nodes, (Q,), in score units::

        mean_i = sum_q p_iq z_q                  variance_i = sum_q p_iq z_q^2 - mean_i^2
    """
    means = posterior @ _NODES
    return means, posterior @ _NODES**2 - means**2


def _logistic(x: Floats) -> Floats:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), np.float64)


def _log_logistic(x: Floats | Sequence[float]) -> Floats:
    return -np.logaddexp(0.0, -np.asarray(x, np.float64))
