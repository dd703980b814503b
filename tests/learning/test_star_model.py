"""Stars are read by the graded response model, and climbing it goes where it rises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit

from safelight.learning.evidence.star_model import (
    _FLAG_SHARPNESS,
    _FLAG_THRESHOLD,
    _NODES,
    _STARS_FOR_DRIFT,
    _TIME_BINS,
    StarEvidence,
    _Cells,
    _Scale,
    fit_stars,
)


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
    slope = cells.fit_and_slope(vector, expected)[1]
    for place, step in enumerate(1e-5 * np.eye(len(vector))):
        above = cells.fit_and_slope(vector + step, expected)[0]
        below = cells.fit_and_slope(vector - step, expected)[0]
        near = 1e-6 * np.abs(slope).max()
        assert slope[place] == pytest.approx((above - below) / 2e-5, abs=near)


def test_one_of_the_five_is_always_given() -> None:
    """For every score, at every time, the chances of one to five stars are one together."""
    chances = np.exp(cells_of_one_rater().log_likelihood(some_parameters(7)))
    np.testing.assert_allclose(chances.reshape(-1, 5, len(_NODES)).sum(axis=1), 1, atol=1e-9)


def moments_of(sign: int) -> tuple[float, float]:
    """Return mean and variance of a score that is *sign* times above the threshold of flags."""

    def weighed(power: int) -> float:
        def density(score: float) -> float:
            chance = expit(_FLAG_SHARPNESS * (sign * score - _FLAG_THRESHOLD))
            return float(score**power * stats.norm.pdf(score) * chance)

        return float(quad(density, -8, 8)[0])

    mean = weighed(1) / weighed(0)
    return mean, weighed(2) / weighed(0) - mean**2


def test_a_flag_alone_is_the_posterior_of_the_book() -> None:
    """A reject says as much as a favourite, the other way; a picture without either is unknown."""
    flags = StarEvidence(
        images=np.array([0, 1]), raters=np.array([0, 0]), values=np.array([6, 0]),
        times=np.zeros(2), image_count=3, rater_names=("ann",),
    )  # fmt: skip
    fit = fit_stars(flags)
    estimates = list(zip(fit.means, fit.variances, strict=True))
    for row, wanted in enumerate((moments_of(1), moments_of(-1), (0.0, 1.0))):
        assert estimates[row] == pytest.approx(wanted, abs=1e-3)
    assert fit.scales == {}


def test_a_standard_that_drifts_is_found_and_of_few_stars_none_is_told() -> None:
    """Who gets stricter in the evening is read so; who does not, or is hardly known, is not."""
    chance, raters = np.random.default_rng(4), {"strict": 0.8, "steady": 0.0, "mild": -0.8}
    given = dict.fromkeys(raters, 400) | {"few": _STARS_FOR_DRIFT - 1}
    columns = []
    for number, (name, count) in enumerate(given.items()):
        times = np.linspace(-1, 1, count)
        felt = chance.normal(size=count) + chance.logistic(size=count) / 2.2
        values = 1 + np.searchsorted([-1.5, -0.5, 0.5, 1.5], felt - raters.get(name, 0.8) * times)
        columns.append((np.full(count, number), values, times))
    who, values, times = map(np.concatenate, zip(*columns, strict=True))
    fit = fit_stars(
        StarEvidence(
            images=np.arange(len(who)), raters=who, values=values, times=times,
            image_count=len(who), rater_names=tuple(given),
        )
    )  # fmt: skip
    for name, drift in raters.items():
        assert fit.scales[name].drift == pytest.approx(drift, abs=0.25)
    assert fit.scales["few"].drift == pytest.approx(0, abs=1e-9)
