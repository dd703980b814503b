"""Stars are read by the graded response model, and climbing it goes where it rises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from safelight.learning.star_model import _NODES, _TIME_BINS, _Cells, _Scale


def cells_of_one_rater() -> _Cells:
    """Return every star at every time of a rater who drifts, and of one who does not."""
    places = [2 * _TIME_BINS, *(3 * _TIME_BINS + time for time in range(_TIME_BINS))]
    return _Cells(1, np.array([place * 8 + stars for place in places for stars in range(1, 6)]))


def some_parameters(seed: int) -> NDArray[np.float64]:
    """Return some that are so likely that no chance is too small to be told from none."""
    return _Scale().parameters + np.random.default_rng(seed).normal(0, 0.2, 6)


@pytest.mark.parametrize("seed", range(5))
def test_the_slope_is_that_of_differences(seed: int) -> None:
    """Of sharpness, thresholds and drift, wherever one stands; else raters are read askew."""
    cells = cells_of_one_rater()
    shape = (len(cells.rows), len(_NODES))
    expected = np.random.default_rng(seed).exponential(size=shape)
    vector = some_parameters(seed)
    told = cells.fit_and_slope(vector, expected)[1]
    for place, step in enumerate(1e-5 * np.eye(len(vector))):
        above = cells.fit_and_slope(vector + step, expected)[0]
        below = cells.fit_and_slope(vector - step, expected)[0]
        near = 1e-6 * np.abs(told).max()
        assert told[place] == pytest.approx((above - below) / 2e-5, abs=near)


def test_one_of_the_five_is_always_given() -> None:
    """For every score, at every time, the chances of one to five stars are one together."""
    chances = np.exp(cells_of_one_rater().log_likelihood(some_parameters(7)))
    np.testing.assert_allclose(chances.reshape(-1, 5, len(_NODES)).sum(axis=1), 1, atol=1e-9)
