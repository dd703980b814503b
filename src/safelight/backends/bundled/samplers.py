"""Samplers: how noise becomes a picture, one short function each, in numpy alone.

All have one shape. They integrate the probability-flow ODE dx/dsigma = (x - D(x, sigma)) / sigma
of Karras et al. 2022 (arXiv:2206.00364), or its stochastic counterpart, along falling *sigmas*
that end with 0, and call *on_step* after every step with its number, from 1, and the denoised
picture that the step rested on; what that raises passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAMPLERS", "Sampler", "SamplerInfo", "Walk"]

Array = NDArray[np.float32]
Denoiser = Callable[[Array, float], Array]
"""(x of shape (batch, channels, height, width), sigma) -> the noiseless picture it expects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What a sampler walks along.

    Attributes:
        denoise: The model.
        sigmas: float32, falling, the last one 0.
        noise: Draws standard normal noise of the picture's shape.
        eta: How much fresh noise replaces old noise, 0 (none) to 1; ODE samplers ignore it.
        on_step: Called after every step with its number, from 1, and the denoised picture.
    """

    denoise: Denoiser
    sigmas: Array
    noise: Callable[[], Array]
    eta: float = 0.0
    on_step: Callable[[int, Array], None] = lambda *_: None


Sampler = Callable[[Walk, Array], Array]
"""Turns noise of level sigmas[0], float32 (batch, channels, height, width), into a picture."""


def _ancestral_step(sigma: float, following: float, eta: float) -> tuple[float, float]:
    """Return the level to go down to and the noise to add to arrive at *following*."""
    up = min(following, eta * (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5)
    return (following**2 - up**2) ** 0.5, up


def euler(walk: Walk, x: Array) -> Array:
    """Euler steps: algorithm 2 of Karras et al. 2022, arXiv:2206.00364, without churn."""
    sigmas = walk.sigmas
    for i in range(len(sigmas) - 1):
        denoised = walk.denoise(x, float(sigmas[i]))
        x = x + (x - denoised) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
        walk.on_step(i + 1, denoised)
    return x


def euler_ancestral(walk: Walk, x: Array) -> Array:
    """Euler steps that go further down and add fresh noise back.

    Source: ``sample_euler_ancestral`` of k-diffusion (Crowson). In this parametrisation it is
    also DDIM with eta: equation 16 of Song et al. 2020, arXiv:2010.02502, gives the same
    levels, so that eta 0 is Euler and DDIM's eta 1 is Euler a.
    """
    sigmas = walk.sigmas
    for i in range(len(sigmas) - 1):
        denoised = walk.denoise(x, float(sigmas[i]))
        down, up = _ancestral_step(float(sigmas[i]), float(sigmas[i + 1]), walk.eta)
        x = x + (x - denoised) / sigmas[i] * np.float32(down - sigmas[i])
        if up > 0:
            x = x + walk.noise() * np.float32(up)
        walk.on_step(i + 1, denoised)
    return x


def heun(walk: Walk, x: Array) -> Array:
    """Heun's second-order steps: algorithm 1 of Karras et al. 2022, arXiv:2206.00364."""
    sigmas = walk.sigmas
    for i in range(len(sigmas) - 1):
        sigma, following = sigmas[i], sigmas[i + 1]
        denoised = walk.denoise(x, float(sigma))
        slope = (x - denoised) / sigma
        predicted = x + slope * (following - sigma)
        if following > 0:
            slope_there = (predicted - walk.denoise(predicted, float(following))) / following
            predicted = x + (slope + slope_there) / 2 * (following - sigma)
        x = predicted
        walk.on_step(i + 1, denoised)
    return x


def dpmpp_2m(walk: Walk, x: Array) -> Array:
    """DPM-Solver++(2M): algorithm 2 of Lu et al. 2022, arXiv:2211.01095, with sigma as noise."""
    sigmas = walk.sigmas
    before: Array | None = None
    step_before = 0.0
    for i in range(len(sigmas) - 1):
        sigma, following = float(sigmas[i]), float(sigmas[i + 1])
        denoised = walk.denoise(x, sigma)
        if following == 0:
            x = denoised
        else:
            step = float(np.log(sigma / following))
            target = denoised
            if before is not None:
                ratio = step_before / step
                target = np.float32(1 + 0.5 / ratio) * denoised - np.float32(0.5 / ratio) * before
            x = np.float32(following / sigma) * x - np.float32(np.expm1(-step)) * target
            step_before = step
        before = denoised
        walk.on_step(i + 1, denoised)
    return x


def dpm_2(walk: Walk, x: Array) -> Array:
    """DPM-Solver-2: algorithm 1 of Lu et al. 2022, arXiv:2206.00927, midpoint in log sigma.

    Source: ``sample_dpm_2`` of k-diffusion (Crowson) for its form on a sigma schedule.
    """
    sigmas = walk.sigmas
    for i in range(len(sigmas) - 1):
        sigma, following = float(sigmas[i]), float(sigmas[i + 1])
        denoised = walk.denoise(x, sigma)
        slope = (x - denoised) / np.float32(sigma)
        if following == 0:
            x = x + slope * np.float32(following - sigma)
        else:
            middle = float(np.sqrt(sigma * following))
            half_way = x + slope * np.float32(middle - sigma)
            slope = (half_way - walk.denoise(half_way, middle)) / np.float32(middle)
            x = x + slope * np.float32(following - sigma)
        walk.on_step(i + 1, denoised)
    return x


def lms(walk: Walk, x: Array) -> Array:
    """Linear multistep (Adams-Bashforth) of order 4 on an uneven grid.

    Source: ``sample_lms`` of k-diffusion (Crowson); coefficients are exact integrals of
    Lagrange polynomials, where the source uses quadrature.
    """
    sigmas = walk.sigmas
    slopes: list[Array] = []
    for i in range(len(sigmas) - 1):
        denoised = walk.denoise(x, float(sigmas[i]))
        slopes = [(x - denoised) / sigmas[i], *slopes[:3]]
        nodes = [float(sigmas[i - back] - sigmas[i]) for back in range(len(slopes))]
        weights = _multistep_weights(nodes, float(sigmas[i + 1] - sigmas[i]))
        for slope, weight in zip(slopes, weights, strict=True):
            x = x + slope * np.float32(weight)
        walk.on_step(i + 1, denoised)
    return x


def _multistep_weights(nodes: list[float], following: float) -> list[float]:
    """Integrate each Lagrange polynomial over *nodes*, the first of which is 0, to *following*."""
    weights = []
    for place, node in enumerate(nodes):
        others = [other for at, other in enumerate(nodes) if at != place]
        polynomial = np.poly1d(others, r=True) / np.prod([node - other for other in others])
        weights.append(float(np.polyint(polynomial)(following)))
    return weights


def dpmpp_2m_sde(walk: Walk, x: Array) -> Array:
    """SDE-DPM-Solver++(2M): equation 18 of Lu et al. 2022, arXiv:2211.01095, midpoint form.

    Source: ``sample_dpmpp_2m_sde`` of k-diffusion (Crowson) with ``solver_type="midpoint"``.
    """
    sigmas = walk.sigmas
    before: Array | None = None
    step_before = 0.0
    for i in range(len(sigmas) - 1):
        sigma, following = float(sigmas[i]), float(sigmas[i + 1])
        denoised = walk.denoise(x, sigma)
        if following == 0:
            x = denoised
        else:
            step = float(np.log(sigma / following))
            reach = -np.expm1(-step - walk.eta * step)
            x = (
                np.float32(following / sigma * np.exp(-walk.eta * step)) * x
                + np.float32(reach) * denoised
            )
            if before is not None:
                x = x + np.float32(0.5 * reach * step / step_before) * (denoised - before)
            if walk.eta:
                x = x + walk.noise() * np.float32(
                    following * np.sqrt(-np.expm1(-2 * walk.eta * step))
                )
            step_before = step
        before = denoised
        walk.on_step(i + 1, denoised)
    return x


def dpmpp_sde(walk: Walk, x: Array) -> Array:
    """DPM-Solver++ (stochastic), second order, singlestep, with its midpoint half way.

    Both noises of a step come from one Brownian path: the whole step's is made of the first
    half's and of fresh noise for the rest. Independent ones would cost an order of accuracy.

    Source: ``sample_dpmpp_sde`` of k-diffusion (Crowson) with r = 1/2, after algorithm 1 of
    Lu et al. 2022, arXiv:2211.01095.
    """
    sigmas = walk.sigmas
    for i in range(len(sigmas) - 1):
        sigma, following = float(sigmas[i]), float(sigmas[i + 1])
        denoised = walk.denoise(x, sigma)
        if following == 0:
            x = x + (x - denoised) / np.float32(sigma) * np.float32(following - sigma)
        else:
            middle = float(np.sqrt(sigma * following))
            share = (sigma - middle) / (sigma - following)
            first = walk.noise()
            whole = np.float32(share**0.5) * first + np.float32((1 - share) ** 0.5) * walk.noise()
            there = _noised_step(x, denoised, sigma, middle, walk.eta, first)
            x = _noised_step(x, walk.denoise(there, middle), sigma, following, walk.eta, whole)
        walk.on_step(i + 1, denoised)
    return x


def _noised_step(
    x: Array, denoised: Array, sigma: float, following: float, eta: float, noise: Array
) -> Array:
    """Go towards *denoised* below *following*, and add *noise* back up to it."""
    down, up = _ancestral_step(sigma, following, eta)
    share = down / sigma
    moved: Array = np.float32(share) * x + np.float32(1 - share) * denoised
    return moved + noise * np.float32(up)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerInfo:
    """A sampler and what a caller must know to run it.

    Attributes:
        run: The sampler.
        eta: Its default eta; None when it has none.
    """

    run: Sampler
    eta: float | None = None


SAMPLERS: Mapping[str, SamplerInfo] = {
    "Euler": SamplerInfo(run=euler),
    "Euler a": SamplerInfo(run=euler_ancestral, eta=1.0),
    "Heun": SamplerInfo(run=heun),
    "LMS": SamplerInfo(run=lms),
    "DPM2": SamplerInfo(run=dpm_2),
    "DPM++ 2M": SamplerInfo(run=dpmpp_2m),
    "DPM++ SDE": SamplerInfo(run=dpmpp_sde, eta=1.0),
    "DPM++ 2M SDE": SamplerInfo(run=dpmpp_2m_sde, eta=1.0),
    "DDIM": SamplerInfo(run=euler_ancestral, eta=0.0),
}
"""Every sampler by its AUTOMATIC1111 name."""
