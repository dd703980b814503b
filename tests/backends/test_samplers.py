"""Samplers against a problem whose exact solution is known, not against themselves.

For data that is Gaussian with mean m and standard deviation s the perfect denoiser is
D(x, sigma) = (s^2 x + sigma^2 m) / (s^2 + sigma^2), and the probability-flow ODE takes x at
sigma_max to m + (x - m) s / sqrt(s^2 + sigma_max^2).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from safelight.backends.bundled.samplers import SAMPLERS, Walk
from safelight.backends.bundled.schedules import SCHEDULES

Array = NDArray[np.float32]
MEAN, SPREAD, LOWEST, HIGHEST = 0.3, 0.5, 0.02, 20.0
ODE_SAMPLERS = ["Euler", "Heun", "LMS", "DPM2", "DPM++ 2M", "DDIM"]


def denoise(x: Array, sigma: float) -> Array:
    weight = SPREAD**2 / (SPREAD**2 + sigma**2)
    return np.asarray(weight * x + (1 - weight) * MEAN, np.float32)


def exact(x: Array) -> Array:
    return np.asarray(MEAN + (x - MEAN) * SPREAD / np.sqrt(SPREAD**2 + HIGHEST**2), np.float32)


def started(count: int = 400) -> Array:
    chance = np.random.default_rng(5)
    return (chance.standard_normal((1, 1, 1, count)) * HIGHEST + MEAN).astype(np.float32)


def run(
    name: str,
    steps: int,
    *,
    schedule: str = "Karras",
    eta: float | None = None,
    x: Array | None = None,
    on_step: Callable[[int, Array], None] = lambda step, denoised: None,
) -> Array:
    x = started() if x is None else x
    chance = np.random.default_rng(6)
    info = SAMPLERS[name]
    walk = Walk(
        denoise=denoise,
        sigmas=SCHEDULES[schedule](steps, LOWEST, HIGHEST),
        noise=lambda: chance.standard_normal(x.shape, np.float32),
        eta=(info.eta or 0.0) if eta is None else eta,
        on_step=on_step,
    )
    return info.run(walk, x)


def error(name: str, steps: int, **options: Any) -> float:
    return float(np.abs(run(name, steps, **options) - exact(started())).max())


@pytest.mark.parametrize("name", ODE_SAMPLERS)
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_ode_samplers_arrive_at_the_exact_solution(name: str, schedule: str) -> None:
    """With enough steps, every one, on every schedule.

    Of LMS 200 are enough; at 1000 its weights of either sign amplify float32's own error.
    """
    assert error(name, 200 if name == "LMS" else 1000, schedule=schedule) < 0.03


@pytest.mark.parametrize(
    ("name", "order"), [("Euler", 1), ("Heun", 2), ("DPM2", 2), ("DPM++ 2M", 2)]
)
def test_the_error_falls_as_fast_as_the_papers_say(name: str, order: int) -> None:
    """Halving the steps of a first-order sampler costs a factor of 2, of a second-order one 4.

    The last step, from sigma_min to 0, is left out: it adds an error that does not fall.
    """

    def short_of_zero(steps: int) -> float:
        sigmas = SCHEDULES["Karras"](steps, LOWEST, HIGHEST)[:-1]
        walk = Walk(denoise=denoise, sigmas=sigmas, noise=started)
        x = SAMPLERS[name].run(walk, started())
        spread = np.sqrt((SPREAD**2 + LOWEST**2) / (SPREAD**2 + HIGHEST**2))
        return float(np.abs(x - (MEAN + (started() - MEAN) * spread)).max())

    ratio = short_of_zero(20) / short_of_zero(40)
    assert 2**order * 0.7 < ratio < 2**order * 1.6


def test_second_order_beats_first_order_at_equal_work() -> None:
    """DPM++ 2M asks the model once a step, like Euler."""
    assert error("DPM++ 2M", 12) < error("Euler", 12) / 2


@pytest.mark.parametrize("name", ["Euler a", "DPM++ SDE", "DPM++ 2M SDE"])
def test_stochastic_samplers_arrive_at_the_right_distribution(name: str) -> None:
    """Fresh noise in every step, and yet the data's own mean and spread at the end."""
    x = run(name, 200, x=started(20_000))
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(x.std()) == pytest.approx(SPREAD, rel=0.05)


def test_both_noises_of_a_dpmpp_sde_step_come_from_one_path() -> None:
    """With independent ones the spread falls short by 7 % at 50 steps; with one path by 0.3 %."""
    x = run("DPM++ SDE", 50, x=started(20_000))
    assert float(x.std()) == pytest.approx(SPREAD, rel=0.02)


def test_without_eta_ancestral_steps_are_euler_steps() -> None:
    """And DDIM, whose eta is 0 unless asked for, is Euler."""
    assert np.allclose(run("Euler a", 10, eta=0.0), run("Euler", 10), atol=1e-4)
    assert np.allclose(run("DDIM", 10), run("Euler", 10), atol=1e-4)
    assert not np.allclose(run("DDIM", 10, eta=1.0), run("DDIM", 10), atol=1e-2)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_step_is_told_once_and_the_result_is_finite(name: str, steps: int) -> None:
    """Few steps are rough, never nonsense."""
    steps_told: list[int] = []
    x = run(name, steps, on_step=lambda step, denoised: steps_told.append(step))
    assert steps_told == list(range(1, steps + 1))
    assert np.isfinite(x).all()
    assert x.dtype == np.float32


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("steps", [1, 2, 20, 1000])
def test_schedules_fall_from_the_highest_level_to_zero(name: str, steps: int) -> None:
    """One more level than steps, and never the same level twice."""
    sigmas = SCHEDULES[name](steps, LOWEST, HIGHEST)
    assert sigmas.shape == (steps + 1,)
    assert sigmas[0] == pytest.approx(HIGHEST, rel=1e-5)
    assert sigmas[-1] == 0
    assert (np.diff(sigmas) < 0).all()
    if steps > 1 and name not in ("SGM Uniform", "Simple"):  # these two stop above the lowest
        assert sigmas[-2] == pytest.approx(LOWEST, rel=1e-4)


def test_the_karras_schedule_is_the_papers() -> None:
    """Equation 5 with rho 7, worked out by hand for three steps."""
    middle = ((HIGHEST ** (1 / 7) + LOWEST ** (1 / 7)) / 2) ** 7
    assert SCHEDULES["Karras"](3, LOWEST, HIGHEST)[1] == pytest.approx(middle, rel=1e-5)
    exponential = SCHEDULES["Exponential"](3, LOWEST, HIGHEST)[1]
    assert exponential == pytest.approx(np.sqrt(HIGHEST * LOWEST), rel=1e-5)


REFERENCE = json.loads(
    (Path(__file__).parent.parent / "data" / "samplers" / "reference.json").read_text("utf-8")
)


def denoise_mixture(x: Array, sigma: float) -> Array:
    """The exact denoiser of the reference's mixture of Gaussians."""
    wide = x.astype(np.float64)
    variances = [spread**2 + sigma**2 for spread in REFERENCE["spreads"]]
    logits = np.stack([
        np.log(weight) - np.log(variance) / 2 - (wide - mean) ** 2 / variance / 2
        for mean, weight, variance in zip(
            REFERENCE["means"], REFERENCE["weights"], variances, strict=True
        )
    ])  # fmt: skip
    means = np.stack([
        (spread**2 * wide + sigma**2 * mean) / variance
        for mean, spread, variance in zip(
            REFERENCE["means"], REFERENCE["spreads"], variances, strict=True
        )
    ])  # fmt: skip
    shares = np.exp(logits - logits.max(axis=0))
    return np.asarray((shares * means).sum(axis=0) / shares.sum(axis=0), np.float32)


@pytest.mark.parametrize("case", sorted(REFERENCE["results"]))
def test_samplers_agree_with_k_diffusion_number_by_number(case: str) -> None:
    """Same start, same noise, same levels: the same result, to single precision.

    The tolerance is 0.002 on data of spread 0.6; ours computes in float32, k-diffusion in float64.
    """
    name, schedule = case.split(" / ")
    x = np.asarray(REFERENCE["x"], np.float32).reshape(1, 1, 2, 4)
    noises = (np.asarray(n, np.float32).reshape(x.shape) for n in REFERENCE["noises"])
    sigmas = np.asarray(REFERENCE["schedules"][schedule], np.float32)
    info = SAMPLERS[name]
    walk = Walk(
        denoise=denoise_mixture, sigmas=sigmas, noise=lambda: next(noises), eta=info.eta or 0.0
    )
    result = info.run(walk, x)
    assert np.abs(result.ravel() - REFERENCE["results"][case]).max() < 0.002


@pytest.mark.parametrize("name", ["Karras", "Exponential", "Beta"])
def test_schedules_agree_with_their_sources(name: str) -> None:
    """Within a relative 0.01 %, the last zero apart."""
    expected = np.asarray(REFERENCE["schedules"][name])
    sigmas = SCHEDULES[name](len(expected) - 1, LOWEST, HIGHEST)
    assert sigmas[:-1] == pytest.approx(expected[:-1], rel=1e-4)
    assert sigmas[-1] == expected[-1] == 0
