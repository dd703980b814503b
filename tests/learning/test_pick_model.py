"""Picks are read by Plackett, Luce, Bradley, Terry and Davidson, to the letter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import approx_fprime

from safelight.learning.evidence.pick_model import (
    _CHOICES_FOR_SHARPNESS,
    _EXACT_UP_TO,
    PICK_SHARPNESS,
    Choice,
    _inverse_diagonal,
    _log_determinant,
    _Problem,
    fit_picks,
)

Floats = NDArray[np.float64]

MEANS = np.array([0.3, -0.2, 0.0, 0.8, -1.0])
VARIANCES = np.array([1.0, 0.5, 0.7, 0.9, 0.3])
DECIDED = (Choice(0, (1,)), Choice(2, (1, 3, 4)), Choice(3, (0, 1), weight=2.0), Choice(4, (2,)))
TIED = (Choice(1, (3,), tie=True, weight=0.5), Choice(0, (4,), tie=True, weight=1.5))


def log_posterior(choices: Sequence[Choice], scores: Floats, b: float, nu: float) -> float:
    """Return it choice by choice, as the sources have it, without its constant."""
    total = -float(((scores - MEANS) ** 2 / VARIANCES).sum()) / 2
    for choice in choices:
        shown = (choice.winner, *choice.losers)
        worth = [math.exp(b * scores[place]) for place in shown]
        tie = nu * math.sqrt(worth[0] * worth[1]) if len(shown) == 2 else 0.0
        won = tie if choice.tie else worth[0]
        total += choice.weight * math.log(won / (sum(worth) + tie))
    return total


@pytest.mark.parametrize("choices", [DECIDED, TIED, DECIDED + TIED])
@pytest.mark.parametrize("sharpness", [0.6, 1.0, 2.5])
def test_the_log_posterior_is_that_of_the_sources(
    choices: tuple[Choice, ...], sharpness: float
) -> None:
    """Also where nobody tied, and where nobody decided."""
    problem = _Problem(choices, MEANS, VARIANCES)
    assert (problem.nu > 0) is any(choice.tie for choice in choices)
    scores = np.random.default_rng(1).normal(size=len(MEANS))[problem.rows]
    at = MEANS.copy()  # a picture in no choice stays where it is believed to be
    at[problem.rows] = scores
    wanted = log_posterior(choices, at, sharpness, problem.nu)
    assert problem._value(scores, sharpness) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("choices", [DECIDED, TIED, DECIDED + TIED])
@pytest.mark.parametrize("sharpness", [0.6, 2.5])
def test_slope_and_curvature_are_those_of_differences(
    choices: tuple[Choice, ...], sharpness: float
) -> None:
    """The slope finds the scores, the curvature says how sure they are."""
    problem = _Problem(choices, MEANS, VARIANCES)
    scores = np.random.default_rng(2).normal(size=len(problem.rows))
    slope, curvature = problem._slope(scores, sharpness)
    measured = approx_fprime(scores, lambda s: problem._value(s, sharpness), 1e-6)
    np.testing.assert_allclose(slope, measured, atol=2e-5)
    bent = approx_fprime(scores, lambda s: -problem._slope(s, sharpness)[0], 1e-6)
    np.testing.assert_allclose(curvature.toarray(), bent, atol=2e-5)


def large_matrix() -> sparse.csc_array:
    """Return the curvature of more pictures than are calculated with exactly."""
    size, chance = _EXACT_UP_TO + 100, np.random.default_rng(3)
    one, other = chance.integers(size, size=(2, 2 * size))
    apart = one != other
    pairs = sparse.coo_array(
        (np.full(apart.sum(), -0.06), (one[apart], other[apart])), shape=(size, size)
    )
    return sparse.csc_array(pairs + pairs.T + sparse.diags_array(chance.uniform(1, 2, size)))


def test_of_very_many_pictures_determinant_and_deviations_are_nearly_exact() -> None:
    """To the second order of what pictures have to do with each other."""
    matrix = large_matrix()
    exact = np.linalg.slogdet(matrix.toarray())[1]
    first_order = float(np.log(matrix.diagonal()).sum())
    assert abs(_log_determinant(matrix) - exact) < 0.03 * abs(first_order - exact)
    wanted = np.diag(np.linalg.inv(matrix.toarray()))
    np.testing.assert_allclose(_inverse_diagonal(matrix), wanted, rtol=3e-3)


def test_how_sharp_picks_are_is_only_asked_where_they_are_many() -> None:
    """A few that happen to agree do not make a picker infallible."""
    means, variances = np.zeros(2), np.ones(2)
    agreed = [Choice(0, (1,))] * _CHOICES_FOR_SHARPNESS
    assert fit_picks(agreed, means, variances).sharpness > PICK_SHARPNESS
    assert fit_picks(agreed[1:], means, variances).sharpness == PICK_SHARPNESS
    assert fit_picks(agreed, means, variances, sharpness=0.9).sharpness == 0.9
