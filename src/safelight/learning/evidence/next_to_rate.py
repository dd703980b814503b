"""next_to_rate: whose rating would teach most.

A rating teaches about the picture's own score and, through it, about what its knobs do. What is
known of the knobs is a Bayesian regression of the scores on the values of every knob; what a
rating or a pick is expected to tell is the information it carries about both. For a pick that
is most where the two are close and little is known of their difference.

Settings play no part in what comes back: pictures are named by their place in the pool, and the
two of a pair are in random order.

The formulae stand at :func:`rating_pool` (what is known), :func:`next_pictures` (what stars tell)
and :func:`next_pairs` (what picks tell).

Source: Lindley 1956, *On a measure of the information provided by an experiment*; Houlsby et al.
2011, arXiv:1112.5745 (of a probit comparison, nearly, in closed form).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.evidence.scores import ImageScores

__all__ = ["RatingPool", "next_pairs", "next_pictures", "rating_pool"]

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_MOST_LEVELS = 12
"""Values of one knob told apart; numbers with more are cut into as many equal parts."""

_MOST_COLUMNS = 160
_CANDIDATES = 1500
_EFFECT_VARIANCE = 0.25
_OWN_VARIANCE = 0.5
"""Variance of a picture's score that its knobs do not explain; the spread of taste is 1."""

_RATING_VARIANCE = 0.64
"""Variance of one star rating about the picture's score."""

_PICK_SD = 1.0
"""Deviation of a pick's own noise, of a difference of two scores; it is read as a probit here."""

_HALF_LOG = math.sqrt(math.pi * math.log(2) / 2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RatingPool:
    """Pictures that might be rated, and what is known so far.

    Attributes:
        means: Expected score of each, float64[n].
        own: Variance of each score, its knobs' effects taken as known, float64[n].
        prompts: Pictures of one prompt, side by side.
        seeds: Pictures of one prompt and seed, side by side.
        columns: (n, knobs) places in the regression, int64; -1 where the knob is absent.
        covariance: Of the effects of all values of all knobs, float64[width, width].
        scored: Places of the pictures that somebody judged already.
    """

    means: Floats
    own: Floats
    prompts: _Groups
    seeds: _Groups
    columns: Codes
    covariance: Floats
    scored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.means)


@one_blas_thread()
def rating_pool(
    columns: Mapping[str, Sequence[object]], scores: ImageScores | None = None
) -> RatingPool:
    """Return the pool of all rows of *columns*; made once, asked many times.

    The score of picture i, in units of the spread of taste, is what its knobs do and a part of
    its own, with x_i (width,) 1 where a knob has that value, else 0::

        s_i = x_i' beta + u_i                  beta ~ N(0, 0.25 I), u_i ~ N(0, 0.5)
        r_i = 1 / (1 / sd_i^2 - 1)             variance of what was read of s_i
        covariance = (X' W X + I / 0.25)^-1    W = diag(1 / (0.5 + r_i)), of those scored
        effects    = covariance X' W m
        own_i = 1 / (1 / 0.5 + 1 / r_i)        0.5 where none is scored

    m and sd (n,) are the scores and their deviations, X (n, width); the mean of a picture without
    a score is x_i' effects. r_i is of readings, while m is drawn towards 0 already, so that
    effects come out somewhat too small; and both parts of a score are from here on taken for
    independent, which those of a rated picture are not.

    Source: Rasmussen and Williams 2006, section 2.1 (Bayesian linear regression).

    Args:
        columns: Name -> values, all of one length, one row per picture: ``sha256`` or
            ``pixel_sha256`` or both, ``prompt``, ``seed``, and knobs of any kind. None and NaN
            are absent.
        scores: What is known of their scores; None for nothing.

    Raises:
        ValueError: Columns differ in length.
    """
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns must be of one length, got {sorted(lengths)}")
    size = lengths.pop() if lengths else 0
    empty = [None] * size
    prompts = _codes(columns.get("prompt", empty))
    seeds = _codes(list(zip(prompts.tolist(), columns.get("seed", empty), strict=True)))
    places, width = _design(columns, size)
    means, deviations, scored = np.zeros(size), np.ones(size), np.zeros(size, bool)
    if scores is not None and scores.identities:
        pairs = zip(columns.get("sha256", empty), columns.get("pixel_sha256", empty), strict=True)
        score_rows = [
            scores.place(*(d if isinstance(d, str) else None for d in pair)) for pair in pairs
        ]
        at = np.array([-1 if place is None else place for place in score_rows], np.int64)
        scored = at >= 0
        means[scored] = scores.scores[at[scored]]
        deviations[scored] = scores.deviations[at[scored]]
    covariance: Floats = np.eye(width) * _EFFECT_VARIANCE
    if scored.any() and width:
        design = _dense(places[scored], width)
        weights = 1 / (_OWN_VARIANCE + _reading_variance(deviations[scored]))
        precision = (design * weights[:, None]).T @ design + np.eye(width) / _EFFECT_VARIANCE
        covariance = np.asarray(np.linalg.inv(precision), np.float64)
        effects = covariance @ (design.T @ (weights * means[scored]))
        predicted = np.zeros(size)
        for column in places.T:
            predicted += np.append(effects, 0.0)[column]
        means = np.where(scored, means, predicted)
    # What a picture's own ratings leave open, beside what its knobs say anyway.
    variance = 1 / (1 / _OWN_VARIANCE + 1 / _reading_variance(deviations))
    own = np.where(scored, variance, _OWN_VARIANCE)
    return RatingPool(
        means=means, own=own, prompts=_grouped(prompts), seeds=_grouped(seeds), columns=places,
        covariance=covariance, scored=scored,
    )  # fmt: skip


@one_blas_thread()
def next_pictures(
    pool: RatingPool,
    count: int = 1,
    *,
    leave_out: Collection[int] = (),
    passed_over: Collection[int] = (),
    seed: int = 0,
) -> tuple[int, ...]:
    """Return the places of the *count* pictures whose stars would teach most, in random order.

    Pictures that were passed over come only where there are too few others, and behind them.
    Each is chosen given that those before it will be rated. Of a large pool a random sample is
    looked at, and all of a small one. It is the picture of largest::

        gain_i = log(1 + own_i / v) + log(1 + h_i / (own_i + v)) = log(1 + (own_i + h_i) / v)

    with v = 0.64 the variance of a rating and h_i = x_i' S x_i that of what the knobs do, S the
    covariance (width, width): twice the information, in nats, of the rating about effects and
    own part (Lindley 1956). With i chosen, as if it were rated already::

        S <- S - S x_i x_i' S / (own_i + v + h_i)

    Args:
        pool: The pictures.
        count: How many; fewer come when there are fewer.
        leave_out: Places that must not come, such as what the rater has rated.
        passed_over: Places that the rater was shown and said nothing about.
        seed: The same seed gives the same pictures.
    """
    rng = np.random.default_rng(seed)
    fresh = _allowed(pool, {*leave_out, *passed_over})
    left = np.setdiff1d(_allowed(pool, leave_out), fresh)
    first, covariance = _most_telling(pool, _sample(fresh, rng), count, pool.covariance)
    again, _ = _most_telling(pool, _sample(left, rng), count - len(first), covariance)
    return tuple(some[place] for some in (first, again) for place in rng.permutation(len(some)))


def _most_telling(
    pool: RatingPool, candidates: Codes, count: int, covariance: Floats
) -> tuple[list[int], Floats]:
    """Return *count* of *candidates*, and the covariance when they will have been rated."""
    design = _dense(pool.columns[candidates], len(pool.covariance))
    own = pool.own[candidates]
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        through = np.einsum("ij,ij->i", design @ covariance, design)
        gain = np.log1p(own / _RATING_VARIANCE)
        gain += np.log1p(through / (own + _RATING_VARIANCE))
        gain[[int(np.flatnonzero(candidates == place)[0]) for place in chosen]] = -1.0
        best = int(np.argmax(gain))
        chosen.append(int(candidates[best]))
        row = design[best]
        toward = covariance @ row
        noise = float(own[best]) + _RATING_VARIANCE
        covariance = covariance - np.outer(toward, toward) / (noise + float(row @ toward))
    return chosen, covariance


@one_blas_thread()
def next_pairs(
    pool: RatingPool,
    count: int = 1,
    *,
    leave_out: Collection[int] = (),
    compared: Collection[frozenset[int]] = (),
    seed: int = 0,
) -> tuple[tuple[int, int], ...]:
    """Return the *count* pairs that a pick between would teach most about; each is shuffled.

    Two of a pair share their prompt, and mostly their seed, as long as there are such pairs. For
    two pictures i and j the difference of scores is believed normal, with the mean mu and the
    variance v, D = x_i - x_j (width,) and S the covariance (width, width)::

        mu   = m_i - m_j                       v = own_i + own_j + D' S D
        gain = I(mu, v) / (1 + how often i and j are in pairs chosen before)

    with I from :func:`_information_of_pick`. The largest is chosen, and then counts as a reading
    of the difference with the noise 2 (a probit comparison of equals is worth one of pi / 2)::

        S <- S - S D D' S / (own_i + own_j + 2 + D' S D)

    Args:
        pool: The pictures.
        count: How many; fewer come when there are fewer.
        leave_out: Places that must not come.
        compared: Pairs of places that must not come again.
        seed: The same seed gives the same pairs.
    """
    rng = np.random.default_rng(seed)
    pairs = _possible_pairs(pool, leave_out, rng)
    pairs = pairs[[frozenset(pair) not in compared for pair in pairs.tolist()]]
    if not len(pairs):
        return ()
    width = len(pool.covariance)
    apart = _dense(pool.columns[pairs[:, 0]], width) - _dense(pool.columns[pairs[:, 1]], width)
    own = pool.own[pairs].sum(axis=1)
    between = (pool.means[pairs[:, 0]] - pool.means[pairs[:, 1]]) / _PICK_SD
    covariance = pool.covariance
    shown = np.zeros(len(pool), np.int64)
    chosen: list[tuple[int, int]] = []
    for _ in range(min(count, len(pairs))):
        variance = (own + np.einsum("ij,ij->i", apart @ covariance, apart)) / _PICK_SD**2
        gain = _information_of_pick(between, variance)
        gain = gain / (1 + shown[pairs].sum(axis=1))  # not the same picture over and over
        gain[[tuple(sorted(pair)) in {tuple(sorted(c)) for c in chosen} for pair in pairs.tolist()]
             ] = -1.0  # fmt: skip
        best = int(np.argmax(gain))
        if gain[best] < 0:
            break
        first, other = (int(place) for place in pairs[best][rng.permutation(2)])
        chosen.append((first, other))
        shown[[first, other]] += 1
        row = apart[best]
        toward = covariance @ row
        noise = float(own[best]) + 2 * _PICK_SD**2
        covariance = covariance - np.outer(toward, toward) / (noise + float(row @ toward))
    return tuple(chosen)


def _information_of_pick(mean: Floats, variance: Floats) -> Floats:
    """Return what a pick tells of a difference, in bits: entropy of the pick less its own noise.

    The pick is Bernoulli with Phi(x), the difference x normal with mean mu and variance v, both
    (pairs,), in units of :data:`_PICK_SD` and of its square::

        I    = h(Phi(mu / sqrt(1 + v))) - C / sqrt(v + C^2) exp(-mu^2 / (2 (v + C^2)))
        h(p) = -p log2 p - (1 - p) log2(1 - p)                       C = sqrt(pi log(2) / 2)

    The second part is the mean of h(Phi(x)), for which exp(-x^2 / (pi log 2)) stands.

    Source: Houlsby et al. 2011, arXiv:1112.5745.
    """
    from scipy.special import ndtr

    chance = np.clip(ndtr(mean / np.sqrt(1 + variance)), 1e-12, 1 - 1e-12)
    entropy = -chance * np.log2(chance) - (1 - chance) * np.log2(1 - chance)
    spread = variance + _HALF_LOG**2
    noise = _HALF_LOG / np.sqrt(spread) * np.exp(-(mean**2) / (2 * spread))
    return np.asarray(entropy - noise)


def _allowed(pool: RatingPool, leave_out: Collection[int]) -> Codes:
    allowed = np.ones(len(pool), bool)
    allowed[list(leave_out)] = False
    return np.flatnonzero(allowed)


def _sample(places: Codes, rng: np.random.Generator) -> Codes:
    if len(places) <= _CANDIDATES:
        return places
    return np.sort(rng.choice(places, _CANDIDATES, replace=False))


def _possible_pairs(
    pool: RatingPool, leave_out: Collection[int], rng: np.random.Generator
) -> Codes:
    """Return (m, 2) pairs: of one prompt and seed, of one prompt, and only else of any two."""
    left_out = np.zeros(len(pool), bool)
    left_out[list(leave_out)] = True
    pairs = [
        pool.seeds.pairs(_CANDIDATES, left_out, rng),
        pool.prompts.pairs(_CANDIDATES // 2, left_out, rng),
    ]
    if not sum(map(len, pairs)):
        whole = _grouped(np.zeros(len(pool), np.int64))
        pairs = [whole.pairs(_CANDIDATES, left_out, rng)]
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Places sorted by what they have in common, so that pairs are drawn without a search.

    Attributes:
        order: Places, those of one group side by side.
        starts: For each of *order*, where its group begins.
        sizes: For each of *order*, how many its group has.
        shared: Which of *order* have company.
    """

    order: Codes
    starts: Codes
    sizes: Codes
    shared: Codes

    def pairs(self, count: int, left_out: NDArray[np.bool_], rng: np.random.Generator) -> Codes:
        """Return up to *count* random pairs of one group, none with a place in *left_out*."""
        if not len(self.shared):
            return np.zeros((0, 2), np.int64)
        first = np.repeat(self.shared, 4)
        if len(first) > count or left_out.any():
            # Those who rated nearly everything need more tries to meet what is left.
            share = max(1e-3, 1 - float(left_out.mean()))
            first = rng.choice(self.shared, min(100_000, int(count / share**2)))
        sizes = self.sizes[first]
        step = 1 + (rng.random(len(first)) * (sizes - 1)).astype(np.int64)
        second = self.starts[first] + (first - self.starts[first] + step) % sizes
        pairs = np.column_stack([self.order[first], self.order[second]])
        return np.asarray(pairs[~left_out[pairs].any(axis=1)][:count])


def _grouped(codes: Codes) -> _Groups:
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=1)
    starts = np.cumsum(sizes) - sizes
    own = codes[order]
    return _Groups(order, starts[own], sizes[own], np.flatnonzero(sizes[own] > 1))


_NO_KNOBS = frozenset(("sha256", "pixel_sha256", "prompt", "seed"))


def _design(columns: Mapping[str, Sequence[object]], size: int) -> tuple[Codes, int]:
    """Return each row's places in the regression, one per knob that varies, and its width."""
    coded: list[Codes] = []
    width = 0
    for name, values in columns.items():
        if name in _NO_KNOBS:
            continue
        codes, levels = _levels(values)
        if levels < 2 or width + levels > _MOST_COLUMNS:
            continue
        coded.append(np.where(codes >= 0, codes + width, -1))
        width += levels
    places = np.column_stack(coded) if coded else np.zeros((size, 0), np.int64)
    return places.astype(np.int64), width


def _levels(values: Sequence[object]) -> tuple[Codes, int]:
    """Return which level each value is, -1 for none, and how many levels there are."""
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool)
                  for v in values if v is not None)  # fmt: skip
    if numbers:
        column = np.array([math.nan if v is None else _float(v) for v in values], float)
        known = np.isfinite(column)
        different = np.unique(column[known])
        if len(different) > _MOST_LEVELS:
            cuts = np.quantile(column[known], np.linspace(0, 1, _MOST_LEVELS + 1)[1:-1])
            codes = np.searchsorted(np.unique(cuts), column, side="right")
        else:
            codes = np.searchsorted(different, column)
        codes = np.where(known, codes, -1)
        return codes.astype(np.int64), int(codes.max(initial=-1)) + 1
    codes = _codes(values)
    codes[[value is None for value in values]] = -1
    counts = np.bincount(codes[codes >= 0])
    kept = np.sort(np.argsort(-counts, kind="stable")[: _MOST_LEVELS - 1])
    rank = np.full(len(counts) + 1, len(kept), np.int64)  # the rare ones are one level
    rank[kept] = np.arange(len(kept))
    rank[-1] = -1
    return rank[codes], int(rank.max(initial=-1)) + 1


def _float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.nan


def _codes(values: Sequence[object]) -> Codes:
    seen: dict[object, int] = {}
    return np.fromiter(
        (seen.setdefault(v if isinstance(v, Hashable) else repr(v), len(seen)) for v in values),
        np.int64,
        len(values),
    )


def _dense(places: Codes, width: int) -> Floats:
    rows = np.zeros((len(places), width + 1))
    for column in places.T:
        rows[np.arange(len(places)), column] = 1.0  # -1 is the last, which is cut off
    return rows[:, :width]


def _reading_variance(deviations: Floats) -> Floats:
    """Return r of :func:`rating_pool`: variances of what was read, the prior's part taken out."""
    known = np.clip(deviations, 1e-3, 0.999)
    return np.asarray(1 / (1 / known**2 - 1))
