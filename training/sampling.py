"""Draw pictures with a trained denoiser, in numpy: one sampler, one noise schedule, guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.float32]
Denoise = Callable[[Pictures, float], Pictures]
"""Noisy pictures and their noise level to estimates of the clean ones."""

SIGMA_MIN, SIGMA_MAX = 0.1, 40.0


def karras_sigmas(
    steps: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, rho: float = 7.0
) -> NDArray[np.float64]:
    """Return *steps* falling noise levels and a final 0.

    Source: equation 5 of Karras et al. 2022, arXiv:2206.00364.
    """
    ramp = np.linspace(0, 1, steps)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return np.append((high + ramp * (low - high)) ** rho, 0.0)


def starting_noise(seeds: Sequence[int], image_size: int, sigma_max: float = SIGMA_MAX) -> Pictures:
    """Return one noise picture per seed; a seed means the same noise in any batch."""
    shape = (3, image_size, image_size)
    noise = [np.random.default_rng(seed).standard_normal(shape, np.float32) for seed in seeds]
    return np.stack(noise) * np.float32(sigma_max)


def guidance_captions(captions: Sequence[str], cfg_scale: float) -> list[str]:
    """Return the captions :func:`guided` needs estimates for: each, then as often none."""
    return [*captions, *([] if cfg_scale == 1.0 else [""] * len(captions))]


def guided(estimate: Denoise, cfg_scale: float) -> Denoise:
    """Push the estimate with a caption away from the one without.

    Args:
        estimate: Denoises a batch under :func:`guidance_captions`.
        cfg_scale: 1 means no guidance, and half the work.

    Source: Ho and Salimans 2022, arXiv:2207.12598, with their 1 + w written as *cfg_scale*.
    """
    if cfg_scale == 1.0:
        return estimate

    def denoise(pictures: Pictures, sigma: float) -> Pictures:
        with_caption, without = np.split(estimate(np.concatenate([pictures, pictures]), sigma), 2)
        return without + np.float32(cfg_scale) * (with_caption - without)

    return denoise


def dpmpp_2m(denoise: Denoise, pictures: Pictures, sigmas: NDArray[np.float64]) -> Pictures:
    """DPM-Solver++(2M), data prediction.

    Source: algorithm 2 of Lu et al. 2022, arXiv:2211.01095, with lambda = -log(sigma).
    """
    old: Pictures | None = None
    old_step = 0.0
    for sigma, next_sigma in pairwise(sigmas):
        estimate = denoise(pictures, float(sigma))
        if next_sigma == 0:
            return estimate
        step = float(np.log(sigma / next_sigma))
        direction = estimate
        if old is not None:
            ratio = np.float32(step / (2 * old_step))
            direction = (1 + ratio) * estimate - ratio * old
        pictures = (
            np.float32(next_sigma / sigma) * pictures - np.float32(np.expm1(-step)) * direction
        )
        old, old_step = estimate, step
    return pictures
