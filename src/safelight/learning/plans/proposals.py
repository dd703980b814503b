"""proposals: which settings to draw next, from what was rated and how sure that is.

With too few ratings for a model the settings spread evenly over the space. From then on each
next one is where the score may well be highest (the mean and three deviations), given that those
before it were drawn and rated as expected. ``bench/suggest_truth.py`` compares that with random
search and with Optuna's default sampler.

The next setting x is where, with m(x) and sd(x) the model's mean and deviation in score units,
this is largest; sd is that after those before were rated as expected, which leaves m as it is::

    m(x) + 3 sd(x)

Source: Srinivas et al. 2010, arXiv:0912.3995 (upper confidence bound); Desautels et al. 2014,
*Parallelizing exploration-exploitation tradeoffs*, JMLR 15 (several at once). Both have in place
of 3 the root of a beta that grows with the rounds, and the latter with the batch, for the worst
case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.plans.knob_space import ChoiceKnob, KnobSpace
from safelight.learning.plans.surrogate import Surrogate, fit_surrogate

__all__ = [
    "MOST_SETTINGS",
    "Proposal",
    "Tried",
    "all_alike",
    "expected",
    "model_of",
    "most_rated",
    "propose",
    "spread_settings",
]

Floats = NDArray[np.float64]

_CANDIDATES = 1024
_STARTS, _MOVES = 8, 24
_ROUNDS = 2
_DARING = 3.0
"""Deviations above the mean by which a setting is judged."""
_ALIKE = 1e-6
"""Scores closer than this are the same; the spread of taste is 1."""
MOST_SETTINGS = 800
"""Settings that a model rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One setting and what its pictures were rated.

    Attributes:
        setting: Knob -> value, all knobs of the space.
        score: Mean score of its pictures.
        pictures: How many.
        variance: What is known of the variance of *score*, beyond picture by picture noise.
    """

    setting: Mapping[str, Any]
    score: float
    pictures: int = 1
    variance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One setting worth drawing.

    Attributes:
        setting: Knob -> value.
        mean: The score that the model expects; None when there is no model yet.
        low: Lower end of the 95 % interval of the setting's own score.
        high: Upper end.
    """

    setting: Mapping[str, Any]
    mean: float | None = None
    low: float | None = None
    high: float | None = None


def fewest_ratings(space: KnobSpace) -> int:
    """Return how many tried settings a model needs before it is asked anything."""
    return len(space.knobs) + 3


@one_blas_thread()
def propose(
    space: KnobSpace,
    tried: Sequence[Tried],
    count: int,
    *,
    model: Surrogate | None = None,
    seed: int = 0,
) -> tuple[Proposal, ...]:
    """Return *count* settings to draw next, the best expected first, none of them twice.

    A setting that was tried already comes again only when nothing new is left, or when what is
    not known about it is what matters.

    Args:
        space: What may be varied.
        tried: The evidence; settings outside the space are passed over.
        count: How many.
        model: :func:`model_of` the same, when the caller has it already.
        seed: The same seed and evidence give the same proposals.
    """
    model = fitted = model_of(space, tried) if model is None else model
    if model is None or fitted is None:
        known = [rated.setting for rated in tried]
        return tuple(
            Proposal(setting=setting)
            for setting in spread_settings(space, count, seed=seed, avoid=known)
        )
    rng = np.random.default_rng(seed)
    points: list[Floats] = []
    for _ in range(count):
        point = _most_promising(space, model, rng, points)
        if point is None:
            break
        points.append(point)
        model = model.believing(point)
    proposals = expected(space, fitted, [space.setting(point) for point in points])
    return tuple(sorted(proposals, key=lambda proposal: -(proposal.mean or 0.0)))


def most_rated(tried: Sequence[Tried]) -> Sequence[Tried]:
    """Return all of *tried*, or of very many those with most pictures, whatever their scores.

    Among equals chance decides (always the same): to take the best would be to take the luckiest.
    """
    if len(tried) <= MOST_SETTINGS:
        return tried
    order = np.random.default_rng(0).permutation(len(tried))
    by_pictures = sorted(order, key=lambda place: -tried[place].pictures)
    return [tried[place] for place in sorted(by_pictures[:MOST_SETTINGS])]


def all_alike(tried: Sequence[Tried]) -> bool:
    """Return whether no two scores differ by more than what rounding makes of equal ratings."""
    scores = [rated.score for rated in tried]
    return not scores or max(scores) - min(scores) < _ALIKE


def model_of(space: KnobSpace, tried: Sequence[Tried]) -> Surrogate | None:
    """Return the model of *tried*, or None when there is too little, or all are rated alike."""
    rows = [(space.point(rated.setting), rated) for rated in most_rated(tried)]
    rows = [(p, rated) for p, rated in rows if np.isfinite(p).all() and np.isfinite(rated.score)]
    if len(rows) < fewest_ratings(space) or all_alike([rated for _, rated in rows]):
        return None
    return fit_surrogate(
        np.array([point for point, _ in rows]),
        np.array([rated.score for _, rated in rows]),
        space.choices,
        counts=np.array([float(rated.pictures) for _, rated in rows]),
        variances=np.array([rated.variance for _, rated in rows]),
    )


def expected(
    space: KnobSpace, model: Surrogate, settings: Sequence[Mapping[str, Any]]
) -> tuple[Proposal, ...]:
    """Return what *model* expects of *settings*: mean -+ 1.96 deviations, a normal's 95 %."""
    if not settings:
        return ()
    means, deviations = model.predict(np.array([space.point(setting) for setting in settings]))
    return tuple(
        Proposal(setting=dict(setting), mean=float(mean),
                 low=float(mean - 1.96 * sd), high=float(mean + 1.96 * sd))
        for setting, mean, sd in zip(settings, means, deviations, strict=True)
    )  # fmt: skip


def spread_settings(
    space: KnobSpace,
    count: int,
    *,
    seed: int = 0,
    avoid: Sequence[Mapping[str, Any]] = (),
) -> tuple[dict[str, Any], ...]:
    """Return *count* settings spread evenly over *space*: fewer only when there are no more.

    Source: Latin hypercube, McKay et al. 1979; 2 to 64 settings are also permuted for a smaller
    centred discrepancy. Both are of ``scipy.stats.qmc``.
    """
    from scipy.stats import qmc

    seen = {_key(space, setting) for setting in avoid}
    settings: list[dict[str, Any]] = []
    for attempt in range(8):
        missing = count - len(settings)
        if missing <= 0:
            break
        sampler = qmc.LatinHypercube(
            len(space.knobs),
            rng=np.random.default_rng((seed, attempt)),
            optimization="random-cd" if 1 < missing <= 64 else None,
        )
        for point in space.of_unit(sampler.random(missing)):
            setting = space.setting(point)
            if _key(space, setting) not in seen:
                seen.add(_key(space, setting))
                settings.append(setting)
    return tuple(settings)


def _key(space: KnobSpace, setting: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(repr(setting.get(knob.name)) for knob in space.knobs)


def _most_promising(
    space: KnobSpace,
    model: Surrogate,
    rng: np.random.Generator,
    taken: Sequence[Floats],
) -> Floats | None:
    """Return the round point of largest m + 3 sd (the module's) found that is not *taken*.

    It is looked for among 1024 random points and neighbours of the best rated ones, then twice
    among neighbours of the best so far.
    """

    def promise(points: Floats) -> Floats:
        mean, deviation = model.predict(points)
        return np.asarray(mean + _DARING * deviation)

    candidates = space.rounded(space.of_unit(rng.random((_CANDIDATES, len(space.knobs)))))
    order = np.argsort(-model.predict(model.points)[0], kind="stable")[:_STARTS]
    candidates = np.vstack([candidates, space.rounded(_near(space, model.points[order], rng))])
    promises = promise(candidates)
    for _ in range(_ROUNDS):
        starts = candidates[np.argsort(-promises, kind="stable")[:_STARTS]]
        near = space.rounded(_near(space, starts, rng))
        candidates = np.vstack([candidates, near])
        promises = np.append(promises, promise(near))
    for place in np.argsort(-promises, kind="stable"):
        if not any(np.array_equal(candidates[place], point) for point in taken):
            return np.asarray(candidates[place])
    return None


def _near(space: KnobSpace, points: Floats, rng: np.random.Generator) -> Floats:
    """Return *points* with one to a few of their knobs moved, many times over.

    Of d knobs a random one is moved, each other with the chance 1.2 / d; a choice to any level,
    a number by a normal step of deviation 0.03, 0.1 or 0.25 of its range, kept inside of that.
    """
    moved = np.repeat(np.clip(points, 0, None), _MOVES, axis=0)
    rows, columns = moved.shape
    change = rng.random((rows, columns)) < 1.2 / columns
    change[np.arange(rows), rng.integers(columns, size=rows)] = True
    for column, knob in enumerate(space.knobs):
        if isinstance(knob, ChoiceKnob):
            other = rng.integers(len(knob.levels), size=rows).astype(float)
        else:
            size = rng.choice([0.03, 0.1, 0.25], size=rows)
            other = np.clip(moved[:, column] + size * rng.standard_normal(rows), 0.0, 1.0)
        moved[:, column] = np.where(change[:, column], other, moved[:, column])
    return moved
