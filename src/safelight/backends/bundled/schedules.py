"""Noise schedules: which noise levels a sampler visits, from the highest down to zero.

Each takes the number of steps and the model's range, and returns float32 *sigmas* of shape
(steps + 1,), strictly falling, from sigma_max to sigma_min and then 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCHEDULES", "Schedule"]

Sigmas = NDArray[np.float32]
Schedule = Callable[[int, float, float], Sigmas]


def _ended(sigmas: NDArray[np.float64]) -> Sigmas:
    return np.append(sigmas, 0.0).astype(np.float32)


def karras(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Sigmas:
    """Return sigmas that are evenly spaced in sigma ** (1 / rho).

    Source: equation 5 of Karras et al. 2022, arXiv:2206.00364.
    """
    ramp = np.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), steps)
    return _ended(ramp**rho)


def exponential(steps: int, sigma_min: float, sigma_max: float) -> Sigmas:
    """Return sigmas that are evenly spaced in log sigma.

    Source: ``get_sigmas_exponential`` of k-diffusion (Crowson).
    """
    return _ended(np.exp(np.linspace(np.log(sigma_max), np.log(sigma_min), steps)))


def normal(steps: int, sigma_min: float, sigma_max: float) -> Sigmas:
    """Return the sigmas of evenly spaced timesteps.

    The model was trained on noise levels, not on timesteps; its timestep is the angle of the
    variance-preserving process with a cosine schedule, in which sigma = tan(angle).

    Source: section 3.2 of Nichol and Dhariwal 2021, arXiv:2102.09672, without its offset.
    """
    return _ended(np.tan(np.linspace(np.arctan(sigma_max), np.arctan(sigma_min), steps)))


def sgm_uniform(steps: int, sigma_min: float, sigma_max: float) -> Sigmas:
    """Return the sigmas of evenly spaced timesteps that leave out the last one.

    Source: ``sgm_uniform`` of AUTOMATIC1111 1.10: as ``normal`` with one step more, cut.
    """
    angles = np.linspace(np.arctan(sigma_max), np.arctan(sigma_min), steps + 1)[:-1]
    return _ended(np.tan(angles))


def simple(steps: int, sigma_min: float, sigma_max: float) -> Sigmas:
    """Return every (1000 / steps)-th of the process's thousand sigmas, from the highest down.

    Source: ``simple_scheduler`` of AUTOMATIC1111 1.10 and ComfyUI.
    """
    levels = np.tan(np.linspace(np.arctan(sigma_min), np.arctan(sigma_max), 1000))
    return _ended(levels[[-(1 + int(i * 1000 / steps)) for i in range(steps)]])


def beta(steps: int, sigma_min: float, sigma_max: float, shape: float = 0.6) -> Sigmas:
    """Return sigmas at the quantiles of a beta distribution: dense at both ends.

    This is AUTOMATIC1111's schedule, which spaces sigmas; ComfyUI's spaces timesteps.

    Source: Lee et al. 2024, arXiv:2407.12173; ``beta_scheduler`` of AUTOMATIC1111 1.10.
    """
    # With t = sin(a) ** 2 the density loses its poles, and a plain sum is exact to 1e-7.
    angles = np.linspace(0, np.pi / 2, 50_001)
    density = (np.sin(angles) * np.cos(angles)) ** (2 * shape - 1)
    cumulated = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    quantiles = 1 - np.linspace(0, 1, steps)
    places = np.interp(quantiles * cumulated[-1], cumulated, np.sin(angles) ** 2)
    return _ended(sigma_min + places * (sigma_max - sigma_min))


SCHEDULES: Mapping[str, Schedule] = {
    "Karras": karras,
    "Normal": normal,
    "Exponential": exponential,
    "SGM Uniform": sgm_uniform,
    "Simple": simple,
    "Beta": beta,
}
"""Every schedule by its AUTOMATIC1111 name."""
