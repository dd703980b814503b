"""Stars are read by the graded response model, and climbing it goes where it rises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit

from safelight.learning.evidence.star_model import (
    _MOST_SCALES,
    _NODES,
    SEEN,
    StarEvidence,
    _Cells,
    _Scale,
    fit_stars,
)


def cells_of_one_rater() -> _Cells:
    """Return every star of a rater, beside those of others."""
    return _Cells(1, np.array([rater * 8 + stars for rater in (0, 1, 2) for stars in range(1, 6)]))


def some_parameters(seed: int) -> NDArray[np.float64]:
    """Return some that are so likely that no chance is too small to be told from none."""
    return _Scale().parameters + np.random.default_rng(seed).normal(0, 0.1, 5)


def cells_of_flags() -> _Cells:
    """Return reject, passed over and favourite of a rater, beside stars of others."""
    return _Cells(_MOST_SCALES, np.array([9, 10, *(_MOST_SCALES * 8 + n for n in (1, 2, 3))]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("number", [1, _MOST_SCALES])
def test_the_slope_is_that_of_differences(seed: int, number: int) -> None:
    """Of sharpness and thresholds, wherever one stands; else raters are read askew."""
    cells = cells_of_one_rater() if number == 1 else cells_of_flags()
    shape = (len(cells.rows), len(_NODES))
    expected = np.random.default_rng(seed).exponential(size=shape)
    vector = _Scale.of(number).parameters
    vector = vector + np.random.default_rng(seed).normal(0, 0.1, len(vector))
    slope = cells.fit_and_slope(vector, expected)[1]
    for place, step in enumerate(1e-5 * np.eye(len(vector))):
        above = cells.fit_and_slope(vector + step, expected)[0]
        below = cells.fit_and_slope(vector - step, expected)[0]
        near = 1e-6 * np.abs(slope).max()
        assert slope[place] == pytest.approx((above - below) / 2e-5, abs=near)


def test_one_of_the_five_is_always_given() -> None:
    """For every score the chances of one to five stars are one together."""
    chances = np.exp(cells_of_one_rater().log_likelihood(some_parameters(7)))
    np.testing.assert_allclose(chances.reshape(-1, 5, len(_NODES)).sum(axis=1), 1, atol=1e-9)


def moments_of(sign: int, threshold: float) -> tuple[float, float]:
    """Return mean and variance of a score that is *sign* times above *threshold*."""

    def weighed(power: int) -> float:
        def density(score: float) -> float:
            chance = expit(2.2 * (sign * score - threshold))
            return float(score**power * stats.norm.pdf(score) * chance)

        return float(quad(density, -8, 8)[0])

    mean = weighed(1) / weighed(0)
    return mean, weighed(2) / weighed(0) - mean**2


def flags_of(favourites: int, rejects: int, passed_over: int = 0) -> StarEvidence:
    """Return one rater's flags, one picture each, the favourites first."""
    values = [6] * favourites + [0] * rejects + [SEEN] * passed_over
    return StarEvidence(
        images=np.arange(len(values)), raters=np.zeros(len(values), np.int64),
        values=np.array(values), image_count=len(values) + 1, rater_names=("ann",),
    )  # fmt: skip


def test_a_flag_alone_is_the_posterior_of_the_book() -> None:
    """A reject says as much as a favourite, the other way; a picture without either is unknown."""
    fit = fit_stars(flags_of(1, 1))
    estimates = list(zip(fit.means, fit.variances, strict=True))
    for row, wanted in enumerate((moments_of(1, 0.8), moments_of(-1, 0.8), (0.0, 1.0))):
        assert estimates[row] == pytest.approx(wanted, abs=0.25)  # two flags move thresholds, too
    assert fit.means[0] == pytest.approx(-fit.means[1], abs=0.1)
    assert fit.scales == {}


@pytest.mark.parametrize(("favourites", "rejects"), [(10, 40), (25, 25), (45, 5)])
def test_rare_flags_say_more_than_frequent_ones(favourites: int, rejects: int) -> None:
    """One favourite in ten is far above the middle, nine in ten are hardly."""
    means = fit_stars(flags_of(favourites, rejects)).means
    assert means[0] > 0 > means[favourites]
    assert means[0] + means[favourites] == pytest.approx(1.3 * (rejects - favourites) / 50, abs=0.4)


def test_whose_passed_over_pictures_are_known_shows_no_ends_only() -> None:
    """Fifteen are enough; fewer are taken for a part of them."""
    assert fit_stars(flags_of(20, 20)).extremes.sum() == 40
    assert fit_stars(flags_of(20, 20, 3)).extremes.sum() == 40
    assert not fit_stars(flags_of(20, 20, 15)).extremes.any()


def test_where_a_rater_passes_over_pictures_his_thresholds_are() -> None:
    """Half of the pictures are left, a quarter at each end: as a normal has them, with noise."""
    fit = fit_stars(flags_of(100, 100, 200))
    assert fit.means[:-1].mean() == pytest.approx(0, abs=0.01)
    assert fit.means[:-1].var() + fit.variances[:-1].mean() == pytest.approx(1, abs=0.05)
    assert fit.means[200] == pytest.approx(0, abs=0.01)


def test_what_a_rater_of_flags_gave_stars_only_he_passed_over() -> None:
    """So that rejects are below all that he kept, down to one star."""
    kept = np.arange(60)
    evidence = StarEvidence(
        images=np.concatenate([kept, 60 + np.arange(40)]), raters=np.zeros(100, np.int64),
        values=np.concatenate([1 + kept // 12, np.zeros(40, np.int64)]), image_count=100,
        rater_names=("ann",),
    )  # fmt: skip
    fit = fit_stars(evidence)
    assert fit.means[60:].max() < fit.means[:60].min()
    assert not fit.extremes.any()
    assert fit.means.var() + fit.variances.mean() == pytest.approx(1, abs=0.1)
