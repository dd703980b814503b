"""The Gaussian process is the one of the book: its gradient, its likelihood and its answers."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from safelight.learning.plans.surrogate import (
    _JITTER,
    _LEVEL,
    Surrogate,
    _negative_log_likelihood,
    _Scales,
    fit_surrogate,
)

CHOICES = np.array([False, True, False])


def problem(count: int = 14, seed: int = 3) -> dict[str, Any]:
    """Return settings of two numbers and a choice, with scores of unequal weight."""
    chance = np.random.default_rng(seed)
    points = chance.random((count, 3))
    points[:, 1] = chance.integers(3, size=count)
    scores = np.sin(4 * points[:, 0]) + 0.5 * (points[:, 1] == 1) + chance.normal(0, 0.2, count)
    counts = chance.integers(1, 5, count).astype(float)
    return {"points": points, "scores": scores, "counts": counts,
            "variances": chance.random(count) * 0.05}  # fmt: skip


def covariance(left: Any, right: Any, scales: _Scales) -> Any:
    """Return the covariance of scores, entry by entry, as its words say it.

    Numbers: Matern 5/2 (Rasmussen and Williams, equation 4.17); choices: exp(-1 / scale) when they
    differ; their mean adds up, their product acts together.
    """
    matrix = np.empty((len(left), len(right)))
    for i, point in enumerate(left):
        for j, other in enumerate(right):
            each = []
            for knob, is_choice in enumerate(CHOICES):
                length = math.exp(scales.knobs[knob])
                if is_choice:
                    each.append(1.0 if point[knob] == other[knob] else math.exp(-1 / length))
                else:
                    r = math.sqrt(5) * abs(point[knob] - other[knob]) / length
                    each.append((1 + r + r * r / 3) * math.exp(-r))
            matrix[i, j] = (
                _LEVEL
                + math.exp(2 * scales.additive) * sum(each) / len(each)
                + math.exp(2 * scales.joint) * math.prod(each)
            )
    return matrix


def likelihood_of(given: dict[str, Any], vector: Any) -> tuple[float, Any]:
    points = given["points"]
    apart = np.abs(points[:, None, :] - points[None, :, :])
    apart[:, :, CHOICES] = apart[:, :, CHOICES] > 0.5
    return _negative_log_likelihood(
        vector, apart, given["scores"], CHOICES, given["counts"], given["variances"]
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_that_of_differences(seed: int) -> None:
    """Of every scale, wherever one stands."""
    vector = np.random.default_rng(seed).normal(-0.3, 0.5, len(CHOICES) + 3)
    given = problem()
    slope = likelihood_of(given, vector)[1]
    measured = approx_fprime(vector, lambda v: likelihood_of(given, v)[0], 1e-6)
    np.testing.assert_allclose(slope, measured, rtol=2e-4, atol=2e-4)


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    given = problem()
    vector = np.array([-0.5, 0.2, -1.0, -0.4, -0.8, -0.6])
    scales = _Scales.of(vector)
    noise = math.exp(2 * scales.noise) / given["counts"] + given["variances"] + _JITTER
    total = covariance(given["points"], given["points"], scales) + np.diag(noise)
    constant = len(noise) / 2 * math.log(2 * math.pi)
    wanted = -multivariate_normal.logpdf(given["scores"], cov=total) - constant
    assert likelihood_of(given, vector)[0] == pytest.approx(wanted, rel=1e-9)


def by_the_book(model: Surrogate, given: dict[str, Any], points: Any) -> tuple[Any, Any]:
    """Return mean and covariance at *points*: Rasmussen and Williams, equations 2.25 and 2.26."""
    scales = model._scales
    known = given["variances"] / model.spread**2
    noise = math.exp(2 * scales.noise) / given["counts"] + known + _JITTER
    total = covariance(given["points"], given["points"], scales) + np.diag(noise)
    cross = covariance(points, given["points"], scales)
    standard = (given["scores"] - model.mean) / model.spread
    mean = cross @ np.linalg.solve(total, standard)
    left = covariance(points, points, scales) - cross @ np.linalg.solve(total, cross.T)
    return model.mean + model.spread * mean, model.spread**2 * left


def fitted(given: dict[str, Any]) -> Surrogate:
    return fit_surrogate(
        given["points"], given["scores"], CHOICES,
        counts=given["counts"], variances=given["variances"],
    )  # fmt: skip


def test_what_is_expected_is_the_posterior_of_the_book() -> None:
    given = problem()
    model = fitted(given)
    points = problem(9, seed=8)["points"]
    mean, deviation = model.predict(points)
    wanted, left = by_the_book(model, given, points)
    np.testing.assert_allclose(mean, wanted, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(deviation, np.sqrt(np.diag(left)), rtol=1e-6)


def test_a_difference_counts_what_is_unknown_of_both_once() -> None:
    """Its variance is that of the contrast, with the covariance of all points."""
    given = problem()
    model = fitted(given)
    points = problem(4, seed=8)["points"]
    counts = np.array([1.0, 2.0, 5.0])
    mean, deviation = model.difference(points[0], points[1:], counts)
    contrast = np.array([1.0, *(-counts / counts.sum())])
    wanted, left = by_the_book(model, given, points)
    assert mean == pytest.approx(float(contrast @ wanted), rel=1e-6)
    assert deviation == pytest.approx(math.sqrt(contrast @ left @ contrast), rel=1e-6)


def test_believing_is_to_have_seen_what_was_expected() -> None:
    """The same scales, one more point: means stay, and it is surer there, as by the book."""
    given = problem()
    model = fitted(given)
    (point,) = problem(1, seed=9)["points"]
    more = {
        "points": np.vstack([given["points"], point]),
        "scores": np.append(given["scores"], model.predict(point[None])[0]),
        "counts": np.append(given["counts"], 1.0),
        "variances": np.append(given["variances"], 0.0),
    }
    believed = model.believing(point)
    points = np.vstack([point, problem(5, seed=10)["points"]])
    mean, deviation = believed.predict(points)
    wanted, left = by_the_book(model, more, points)
    np.testing.assert_allclose(mean, wanted, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(deviation, np.sqrt(np.diag(left)), rtol=1e-5)
    np.testing.assert_allclose(mean, model.predict(points)[0], rtol=1e-5, atol=1e-7)
    assert believed.noise_sd == model.noise_sd > 0  # what it expects says nothing of how it wobbles


def test_the_scales_are_where_no_step_is_better() -> None:
    """No scale of a fit can be moved a little and be more probable."""
    given = problem(30)
    model = fitted(given)
    scales = model._scales
    vector = np.array([*scales.knobs, scales.additive, scales.joint, scales.noise])
    standard = {**given, "scores": (given["scores"] - model.mean) / model.spread,
                "variances": given["variances"] / model.spread**2}  # fmt: skip
    centre = np.array([math.log(0.35), 0.0, math.log(0.35), -0.7, -0.7, -0.7])
    width = np.array([0.7, 1.0, 0.7, 0.7, 0.7, 0.7])

    def cost(at: Any) -> float:
        off = (at - centre) / width
        return likelihood_of(standard, at)[0] + 0.5 * float(off @ off)

    best = cost(vector)
    for place in range(len(vector)):
        for step in (-0.05, 0.05):
            assert cost(vector + step * np.eye(len(vector))[place]) > best


def test_a_fit_warns_of_nothing() -> None:
    """Whoever asks for suggestions would read it: an optimiser grumbles at what it cannot do."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(problem(30))


def test_scores_without_any_noise_are_not_believed_to_the_last_digit() -> None:
    """A few equal ratings are no proof that nobody ever wavers: a hundredth of the spread stays."""
    points = np.random.default_rng(2).random((200, 3))
    points[:, 1] = points[:, 1] > 0.5
    model = fit_surrogate(points, points[:, 0] + points[:, 1], CHOICES)
    assert 0.01 < model.noise_sd / model.spread < 0.05


def test_noise_is_found_where_there_is_noise() -> None:
    """Scores that only wobble are explained by wobbling, and the figure is in their unit."""
    chance = np.random.default_rng(5)
    points = chance.random((120, 3))
    points[:, 1] = chance.integers(3, size=120)
    model = fit_surrogate(points, chance.normal(3, 0.7, 120), CHOICES)
    assert model.noise_sd == pytest.approx(0.7, rel=0.2)
    mean, deviation = model.predict(points)
    assert np.abs(mean - 3).max() < 0.4
    assert deviation.max() < 0.4
