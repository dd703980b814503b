"""The mixed model is the one of the books: what a plain search finds, and textbook freedoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize

from safelight.learning.evidence.mixed_model import MixedFit, fit_mixed

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Readings of prompts that differ, of a setting of two levels, and of another of seven."""

    readings: Floats
    weights: Floats
    fixed: Floats
    prompts: Integers
    draws: Integers
    other: Floats

    def parts(self) -> list[Floats]:
        """Return the parts of V of variance 1, as whole matrices."""
        return [
            np.diag(self.weights.mean() / self.weights),
            *(np.equal.outer(c, c).astype(float) for c in (self.prompts, self.draws)),
            self.other @ self.other.T,
        ]

    def fit(self) -> MixedFit:
        return fit_mixed(
            self.readings, self.weights, self.fixed, self.prompts,
            [self.prompts, self.draws], [self.other],
        )  # fmt: skip


def world(seed: int, *, count: int = 120) -> World:
    chance = np.random.default_rng(seed)
    prompts = chance.integers(15, size=count)
    draws = prompts * 4 + chance.integers(4, size=count)
    levels = chance.integers(2, size=count)
    other = np.eye(7)[chance.integers(7, size=count)]
    readings = 0.4 * levels + chance.normal(0, 0.7, 15)[prompts] + chance.normal(0, 0.8, count)
    readings = readings + chance.normal(0, 0.6, 60)[draws] + other @ chance.normal(0, 0.5, 7)
    fixed = np.column_stack([np.ones(count), levels]).astype(float)
    return World(readings, chance.uniform(0.5, 1, count), fixed, prompts, draws, other)


def restricted(world: World, variances: Floats) -> float:
    """Return the restricted log-likelihood, by the formula of Patterson and Thompson 1971."""
    whole = sum(v * part for v, part in zip(variances, world.parts(), strict=True))
    inverse = np.linalg.inv(whole)
    inside = world.fixed.T @ inverse @ world.fixed
    projected = inverse - inverse @ world.fixed @ np.linalg.inv(inside) @ world.fixed.T @ inverse
    sizes = np.linalg.slogdet(whole)[1] + np.linalg.slogdet(inside)[1]
    return float(-(sizes + world.readings @ projected @ world.readings) / 2)


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_what_a_plain_search_finds(seed: int) -> None:
    own = world(seed)
    fit = own.fit()
    plain = optimize.minimize(
        lambda v: -restricted(own, v), np.full(4, 0.3), bounds=[(1e-3, 9)] + [(0, 9)] * 3,
        method="L-BFGS-B",
    )  # fmt: skip
    assert restricted(own, fit.variances) == pytest.approx(-plain.fun, abs=0.02)
    whole = sum(v * part for v, part in zip(fit.variances, own.parts(), strict=True))
    inverse = np.linalg.inv(whole)
    covariance = np.linalg.inv(own.fixed.T @ inverse @ own.fixed)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-6)
    np.testing.assert_allclose(fit.pull, inverse @ own.fixed @ covariance, atol=1e-9)
    np.testing.assert_allclose(fit.beta, fit.pull.T @ own.readings, rtol=1e-6)


@pytest.mark.parametrize("groups", [8, 20])
def test_of_a_balanced_design_the_freedom_is_the_textbooks(groups: int) -> None:
    """A level that goes with whole prompts is told by prompts: the t test of their means."""
    size, chance = 6, np.random.default_rng(3)
    prompts = np.repeat(np.arange(groups), size)
    level = (prompts % 2).astype(float)
    readings = chance.normal(0, 1, groups)[prompts] + chance.normal(0, 0.7, groups * size)
    fixed = np.column_stack([np.ones(len(level)), level])
    fit = fit_mixed(readings, np.ones(len(level)), fixed, prompts, [prompts], [])
    difference, error, freedom = fit.contrast(np.array([0.0, 1.0]))
    means = readings.reshape(groups, size).mean(axis=1)
    first, second = means[::2], means[1::2]
    pooled = (first.var(ddof=1) + second.var(ddof=1)) / 2
    assert difference == pytest.approx(second.mean() - first.mean())
    assert error == pytest.approx((pooled * 4 / groups) ** 0.5, rel=2e-3)
    assert freedom == pytest.approx(groups - 2, rel=0.05)


def test_variances_that_are_held_are_kept_and_noise_is_never_below_its_least() -> None:
    own = world(1)
    held = np.array([np.nan, np.nan, 0.25, 4.0])
    fit = fit_mixed(
        own.readings, own.weights, own.fixed, own.prompts, [own.prompts, own.draws], [own.other],
        held=held, least=np.array([3.0, 0.0, 0.0, 0.0]),
    )  # fmt: skip
    assert fit.variances[2:].tolist() == [0.25, 4.0]
    assert fit.variances[0] == 3.0


def test_what_is_believed_to_be_small_is_small_until_readings_say_otherwise() -> None:
    def of_draws(own: World, belief: float) -> float:
        fit = fit_mixed(
            own.readings, own.weights, own.fixed, own.prompts, [own.prompts, own.draws],
            [own.other], beliefs=np.array([np.inf, np.inf, belief, np.inf]),
        )  # fmt: skip
        return float(fit.variances[2])

    few, many = world(2, count=60), world(2, count=600)
    assert of_draws(few, 0.02) < 0.1 * of_draws(few, np.inf) + 0.03
    assert of_draws(many, 0.2) == pytest.approx(of_draws(many, np.inf), rel=0.2)


def test_readings_that_are_all_noise_have_no_variance_to_share() -> None:
    """Nor does a step ever end where it cannot go on: at 0, or beyond all spread."""
    chance = np.random.default_rng(8)
    own = world(0)
    for _ in range(20):
        noise = chance.normal(size=len(own.readings))
        fit = World(noise, own.weights, own.fixed, own.prompts, own.draws, own.other).fit()
        assert (fit.variances >= 0).all()
        assert fit.variances[1:].sum() < 1.0 < 2.5 * fit.variances[0]
