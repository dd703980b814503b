"""star_model: what stars and flags say, when every rater uses them in a way of his own.

A graded response model: the stars x that rater r gives picture i have the probabilities::

    P(x <= k) = logistic(b_r (c_rk - s_i))               k = 1 to 4;  P(x <= 0) = 0, P(x <= 5) = 1
    P(x = k)  = P(x <= k) - P(x <= k - 1)                logistic(u) = 1 / (1 + exp(-u))

``s_i`` is the picture's score, standard normal over the pictures, in units of the spread of taste;
``c_r1 < ... < c_r4`` are the rater's thresholds, in that unit; ``b_r`` is how sharply he judges,
per unit. Flags are a scale of three of the same kind, with two thresholds and a sharpness of its
own: reject < passed over < favourite. Passed over is what a rater of flags has seen and left, and
what he gave stars and no flag.

Where hardly any picture is known to be passed over, those who flag are taken to have passed over
three in ten of what they saw: the flagged are then the ends of what was seen, and lie further
apart than pictures do. How wide the gap is, flags alone cannot tell; nor how sharp they are.

The raters' numbers are fitted with the scores integrated out, so that ten pictures do not bend
them; :func:`fit_stars` says how. A standard that drifts while he rates is no business of this
model: of pictures rated in the order of a setting, what is the setting's and what is the rater's
can only be told beside that setting (:mod:`.circumstances`).

Sources: Samejima 1969, *Estimation of latent ability using a response pattern of graded scores*
(a rater is what an item is there; the flags are ours); Bock and Aitkin 1981,
*Marginal maximum likelihood estimation of item parameters* (the EM).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.descent import least

__all__ = ["SEEN", "SHARPNESS", "RaterScale", "StarEvidence", "StarFit", "fit_stars", "own_scales"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SHARPNESS = 2.2
"""Prior median of ``b``: the noise of one rating is then about 0.8 of the spread of pictures."""

_SHARPNESS_SPREAD = 0.4
_THRESHOLDS = np.array([-1.5, -0.5, 0.5, 1.5])
_FLAG_THRESHOLDS = np.array([-0.8, 0.8])
_THRESHOLD_SPREAD, _GAP_SPREAD = 1.0, 0.7
_NODES = np.linspace(-4.5, 4.5, 37)
_LOG_PRIOR = -0.5 * _NODES**2 - float(np.log(np.exp(-0.5 * _NODES**2).sum()))
_STARS_FOR_OWN_SCALE, _MOST_SCALES = 15, 40
_MOST_ROUNDS, _SETTLED = 60, 5e-4
_RAREST = 1e-12
_FEW_JUDGEMENTS = 5_000
"""Judgements up to which sums are formed sooner than a sparse matrix is imported."""

SEEN = 7
"""The value of a picture that a rater of flags saw and left without a judgement."""

_FLAG_RANKS = {0: 1, SEEN: 2, 6: 3}
_FLAGGED = (0, 6)
_UNNAMED = 3 / 7
"""Passed over pictures for each flag where they are not known: three of ten that were seen."""
_PASSED_OVER_KNOWN = 15
"""Passed over pictures from which on a scale of flags rests on them alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterScale:
    """How one rater uses stars.

    Attributes:
        thresholds: ``c``: scores at which at least 2, 3, 4 and 5 stars become likelier than fewer.
        sharpness: ``b``; the noise of one of his ratings has the deviation 1.81 / ``b``, that of
            the logistic distribution being pi / sqrt(3).
        shared: He rated too little for a scale of his own and shares one with others.
    """

    thresholds: tuple[float, float, float, float]
    sharpness: float
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StarEvidence:
    """Stars and flags as columns, one row each, by rater and picture.

    Attributes:
        images: Row of the picture, int64[m].
        raters: Number of the rater, int64[m].
        values: 1 to 5 for stars; 0 for a reject, 6 for a favourite; :data:`SEEN` for a picture
            that a rater of flags passed over, int64[m].
        image_count: How many pictures there are.
        rater_names: Name of each rater.
    """

    images: Integers
    raters: Integers
    values: Integers
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
        extremes: Which pictures are the ends of what somebody saw: all that is known of them are
            flags of raters of whom what they passed over is not known, bool[n].
    """

    means: Floats
    variances: Floats
    rater_rows: Mapping[str, tuple[Integers, Floats, Floats]]
    scales: Mapping[str, RaterScale]
    extremes: NDArray[np.bool_]


def fit_stars(evidence: StarEvidence) -> StarFit:
    """Fit the raters' scales and the pictures' scores.

    Scores are integrated out on Q = 37 nodes z_q, evenly from -4.5 to 4.5. Judgements that look
    alike are one cell c of C, of which picture i has n_ic. In turns, for each scale r::

        L_cq = log P(cell c | z_q)                                     as the module has it
        p_iq = exp(sum_c n_ic L_cq - z_q^2 / 2) / (the same summed over q)
        E_cq = sum_i n_ic p_iq
        theta_r: climb  sum_cq E_cq L_cq(theta_r) - sum_j (theta_rj - m_j)^2 / (2 v_j^2)

    n (images, C) counts; p (images, Q) and E (C, Q) without unit; theta (5,) is log b, c_1 and the
    logarithms of c_2 - c_1, c_3 - c_2 and c_4 - c_3; its prior is normal, with the means
    m = (log 2.2, -1.5, 0, 0, 0) and the deviations v = (0.4, 1, 0.7, 0.7, 0.7). Of flags theta is
    (3,), with m = (log 2.2, -0.8, log 1.6) and v = (0.4, 1, 0.7). The last p gives each picture's
    moments (:func:`_moments`).

    A rater with fewer than 15 stars shares a scale, as do all but the 39 with the most; and so with
    flags. A scale of flags that knows of fewer than 15 passed over pictures is fitted beside so
    many that nobody named that they are three in ten (:class:`_Judged`).

    Bock and Aitkin's turns maximise a likelihood; these have a prior, for raters of few stars, and
    climb eight steps, for speed: 60 turns, or until no number of theta moves by 5e-4.
    """
    judged = _Judged(evidence)
    # A cell is what one judgement looks like: (scale, value). All its judgements are alike.
    cells, cell_of = np.unique(judged.scales * 8 + judged.ranks, return_inverse=True)
    seen = _Seen(judged.images, cell_of, (judged.image_count, len(cells)))
    scales = {int(number): _Scale.of(int(number)) for number in np.unique(cells // 8)}
    plan = [_Cells(number, cells) for number in scales]
    log_likelihood = np.zeros((len(cells), len(_NODES)))
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
    counts, owner = judged.star_counts, judged.star_owner
    shared = np.bincount(owner[counts > 0]) if counts.any() else np.zeros(0)
    return StarFit(
        means=means[: evidence.image_count],
        variances=variances[: evidence.image_count],
        rater_rows=_by_rater(judged, evidence.rater_names, cell_of, log_likelihood),
        scales={
            name: scales[int(owner[number])].rater_scale(shared=bool(shared[owner[number]] > 1))
            for number, name in enumerate(evidence.rater_names)
            if counts[number]
        },
        extremes=judged.extremes,
    )


class _Judged:
    """Every judgement as one on a scale, those besides that nobody wrote down included.

    Stars are on the scales 0 to 39, flags on those from 40 on. A picture with stars and no flag of
    a rater who flags is passed over by him. Pictures that nobody named, which stand for those that
    were passed over unseen, come after all others and have no rater, -1.
    """

    def __init__(self, evidence: StarEvidence) -> None:
        raters, values = evidence.raters, evidence.values
        starred = _are_stars(values)
        self.star_counts = np.bincount(raters[starred], minlength=len(evidence.rater_names))
        self.star_owner = scale_of_rater(self.star_counts)
        pairs = raters * max(evidence.image_count, 1) + evidence.images
        left = starred & np.isin(raters, raters[_are_flags(values)])
        left &= ~np.isin(pairs, pairs[~starred])
        self.images = np.append(evidence.images, evidence.images[left])
        self.raters = np.append(raters, raters[left])
        values = np.append(values, np.full(int(left.sum()), SEEN))
        on_flags = ~_are_stars(values)
        flag_owner = _MOST_SCALES + scale_of_rater(
            np.bincount(self.raters[on_flags], minlength=len(evidence.rater_names))
        )
        self.scales = np.where(on_flags, flag_owner[self.raters], self.star_owner[self.raters])
        self.ranks = values.copy()
        for value, rank in _FLAG_RANKS.items():
            self.ranks[values == value] = rank
        self.image_count = evidence.image_count
        flagged = _are_flags(values)
        flags = np.bincount(self.scales[flagged], minlength=2 * _MOST_SCALES)
        passed_over = np.bincount(self.scales[on_flags & ~flagged], minlength=2 * _MOST_SCALES)
        unnamed = np.where(passed_over < _PASSED_OVER_KNOWN, _UNNAMED * flags - passed_over, 0)
        known = ~(flagged & (unnamed[self.scales] > 0))
        self.extremes = np.bincount(self.images, minlength=evidence.image_count) > 0
        self.extremes[self.images[known]] = False
        for scale in np.flatnonzero(unnamed > 0):
            self._add_unnamed(int(scale), round(unnamed[scale]))

    def _add_unnamed(self, scale: int, count: int) -> None:
        unnamed = self.image_count + np.arange(count)
        self.images = np.append(self.images, unnamed)
        self.raters = np.append(self.raters, np.full(count, -1))
        self.scales = np.append(self.scales, np.full(count, scale))
        self.ranks = np.append(self.ranks, np.full(count, _FLAG_RANKS[SEEN]))
        self.image_count += count


def _are_stars(values: Integers) -> NDArray[np.bool_]:
    return np.asarray((values >= 1) & (values <= 5))


def _are_flags(values: Integers) -> NDArray[np.bool_]:
    return np.isin(values, _FLAGGED)


def own_scales(evidence: StarEvidence) -> NDArray[np.bool_]:
    """Return which raters have a scale of their own, of stars or of flags, bool[raters]."""
    judged = _Judged(evidence)
    own = judged.scales % _MOST_SCALES > 0
    return np.isin(np.arange(len(evidence.rater_names)), judged.raters[own])


def scale_of_rater(counts: Integers) -> Integers:
    """Return which scale each rater uses: number 0 is shared by all who rated little.

    Args:
        counts: How many stars each gave, int64[raters].
    """
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
        self.rows = np.flatnonzero(cells // 8 == number)
        self.values = cells[self.rows] % 8

    def log_likelihood(self, parameters: Floats) -> Floats:
        """Return L, the log probability of each cell at each node, float64[cells, nodes].

        For x stars, with c_0 and c_5 infinite; a difference below 1e-12 counts as that. Of flags
        x is the place on their scale, and c_3 is infinite::

            L_xq = log(logistic(b (c_x - z_q)) - logistic(b (c_(x-1) - z_q)))
        """
        upper, lower, *_ = self._bounds(parameters)
        return np.log(np.maximum(_logistic(upper) - _logistic(lower), _RAREST))

    def fit_and_slope(self, parameters: Floats, expected: Floats) -> tuple[float, Floats]:
        """Return F, the sum of *expected* times the log probabilities, and its gradient.

        With u and l the arguments of both logistic functions, f(u) = logistic(u) (1 - logistic(u))
        and g = E / (logistic(u) - logistic(l)), all (cells, nodes), summed over both::

            F = sum E L                        dF / d log b = sum g (f(u) u - f(l) l)
            D_k = b (sum over cells of k stars of g f(u) - sum over those of k + 1 of g f(l))
            dF / dc_1 = D_1 + D_2 + D_3 + D_4
            dF / d log(c_k - c_(k-1)) = (c_k - c_(k-1)) (D_k + ... + D_4)         k = 2 to 4

        (of flags up to D_2).

        Args:
            parameters: theta, (5,) or (3,), as :func:`fit_stars` has it.
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
        by_threshold = np.zeros(len(steps) + 3)
        np.add.at(by_threshold, self.values, sharpness * rise)
        np.add.at(by_threshold, self.values - 1, -sharpness * fall)
        thresholds = by_threshold[1:-1]
        later = np.cumsum(thresholds[::-1])[::-1]
        slope = [
            float((by_upper * finite_upper - by_lower * finite_lower).sum()),
            later[0],
            *(later[1:] * steps),
        ]
        return float((expected * np.log(chance)).sum()), np.array(slope)

    def _bounds(self, parameters: Floats) -> tuple[Floats, Floats, float, Floats]:
        thresholds, sharpness = _unpacked(parameters)
        bounds = np.concatenate(([-np.inf], thresholds, [np.inf]))
        upper = sharpness * (bounds[self.values][:, None] - _NODES)
        lower = sharpness * (bounds[self.values - 1][:, None] - _NODES)
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
    """One scale while it is fitted.

    Args:
        thresholds: What they are likely to be: four of stars, two of flags.
    """

    def __init__(self, thresholds: Floats = _THRESHOLDS) -> None:
        gaps = np.log(np.diff(thresholds))
        self.parameters = np.array([np.log(SHARPNESS), thresholds[0], *gaps])
        self._prior = self.parameters.copy()
        spread = [_SHARPNESS_SPREAD, _THRESHOLD_SPREAD, *[_GAP_SPREAD] * len(gaps)]
        self._precision = 1 / np.square(spread)
        self._curvature: Floats | None = None

    @staticmethod
    def of(number: int) -> _Scale:
        """Return the one of that number, before it is fitted: of stars, or of flags."""
        return _Scale(_THRESHOLDS if number < _MOST_SCALES else _FLAG_THRESHOLDS)

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
        thresholds, sharpness = _unpacked(self.parameters)
        first, second, third, fourth = (float(value) for value in thresholds)
        return RaterScale(
            thresholds=(first, second, third, fourth),
            sharpness=float(sharpness),
            shared=shared,
        )


def _unpacked(parameters: Floats) -> tuple[Floats, float]:
    """Return c and b of theta (:func:`fit_stars`): logarithms end where nobody comes."""
    sharpness, first, *gaps = parameters
    steps = np.exp(np.clip(gaps, -8, 3))
    thresholds = first + np.concatenate(([0.0], np.cumsum(steps)))
    return thresholds, float(np.exp(np.clip(sharpness, -3, 3)))


def _by_rater(
    judged: _Judged, names: Sequence[str], cell_of: Integers, log_likelihood: Floats
) -> Mapping[str, tuple[Integers, Floats, Floats]]:
    rows_of = {}
    order = np.argsort(judged.raters, kind="stable")
    bounds = np.searchsorted(judged.raters[order], np.arange(len(names) + 1))
    for number, name in enumerate(names):
        own = order[bounds[number] : bounds[number + 1]]
        rows, place = np.unique(judged.images[own], return_inverse=True)
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
