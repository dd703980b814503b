"""Draw reference.json from k-diffusion, the implementation that AUTOMATIC1111 runs.

Not a test: run it by hand, with torch, scipy and tqdm installed, on an unpacked k-diffusion
wheel (``pip download --no-deps k-diffusion==0.1.1.post1``), to make the file anew::

    python make_reference.py FOLDER_WITH_K_DIFFUSION > reference.json

Only ``k_diffusion/sampling.py`` is loaded; what it imports for other purposes is left out. The
denoiser is the exact one of a mixture of three Gaussians, in double precision; noise is read
from a list, so that stochastic samplers can be compared number by number.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch

MEANS, SPREADS, WEIGHTS = (-0.6, 0.4, 0.9), (0.1, 0.2, 0.05), (0.5, 0.3, 0.2)
LOWEST, HIGHEST = 0.02, 20.0
STEPS = 8
SAMPLERS = {
    "Euler": ("sample_euler", None),
    "Euler a": ("sample_euler_ancestral", 1.0),
    "Heun": ("sample_heun", None),
    "LMS": ("sample_lms", None),
    "DPM2": ("sample_dpm_2", None),
    "DPM++ 2M": ("sample_dpmpp_2m", None),
    "DPM++ SDE": ("sample_dpmpp_sde", 1.0),
    "DPM++ 2M SDE": ("sample_dpmpp_2m_sde", 1.0),
}


def load_sampling(folder: Path) -> Any:
    for name in ("torchsde", "torchdiffeq"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchdiffeq"].odeint = None  # type: ignore[attr-defined]
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder / "k_diffusion")]
    sys.modules["k_diffusion"] = package
    shapes = types.ModuleType("k_diffusion.utils")
    shapes.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]  # type: ignore[attr-defined]
    sys.modules["k_diffusion.utils"] = shapes
    package.utils = shapes  # type: ignore[attr-defined]
    path = folder / "k_diffusion" / "sampling.py"
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class OnePath:
    """Noise of one Brownian path over sigma, as k-diffusion's own default sampler draws it."""

    def __init__(self, noises: Any) -> None:
        self._noises = iter(noises)
        self._before: tuple[float, float, Any] | None = None

    def __call__(self, sigma: Any, following: Any) -> Any:
        start, end = float(sigma), float(following)
        noise = torch.tensor(next(self._noises))
        if self._before is not None and self._before[0] == start:
            share = (start - self._before[1]) / (start - end)
            noise = share**0.5 * self._before[2] + (1 - share) ** 0.5 * noise
        self._before = (start, end, noise)
        return noise


def denoise(x: Any, sigma: Any) -> Any:
    level = sigma.reshape(-1, *([1] * (x.ndim - 1)))
    logits, means = [], []
    for mean, spread, weight in zip(MEANS, SPREADS, WEIGHTS, strict=True):
        variance = spread**2 + level**2
        logits.append(np.log(weight) - torch.log(variance) / 2 - (x - mean) ** 2 / variance / 2)
        means.append((spread**2 * x + level**2 * mean) / variance)
    shares = torch.softmax(torch.stack(logits), 0)
    return (shares * torch.stack(means)).sum(0)


def main() -> None:
    sampling = load_sampling(Path(sys.argv[1]))
    chance = np.random.default_rng(7)
    x = chance.standard_normal((1, 1, 2, 4)) * HIGHEST
    noises = chance.standard_normal((64, 1, 1, 2, 4))
    sigmas = {
        "Karras": sampling.get_sigmas_karras(STEPS, LOWEST, HIGHEST),
        "Exponential": sampling.get_sigmas_exponential(STEPS, LOWEST, HIGHEST),
    }
    quantiles = scipy.stats.beta.ppf(1 - np.linspace(0, 1, STEPS), 0.6, 0.6)
    beta = [*(LOWEST + q * (HIGHEST - LOWEST) for q in quantiles), 0.0]
    results = {}
    for name, (function, eta) in SAMPLERS.items():
        for schedule in sigmas:
            options: dict[str, Any] = {"disable": True}
            if eta is not None:
                options["eta"] = eta
                options["noise_sampler"] = OnePath(noises)
            if name == "DPM++ 2M SDE":
                options["solver_type"] = "midpoint"
            out = getattr(sampling, function)(
                denoise, torch.tensor(x), sigmas[schedule].double(), **options
            )
            results[f"{name} / {schedule}"] = out.flatten().tolist()
    json.dump(
        {
            "source": "k-diffusion 0.1.1.post1 (MIT, Katherine Crowson); scipy for Beta",
            "means": MEANS, "spreads": SPREADS, "weights": WEIGHTS,
            "x": x.flatten().tolist(),
            "noises": [noise.flatten().tolist() for noise in noises[:24]],
            "schedules": {
                **{name: values.double().tolist() for name, values in sigmas.items()},
                "Beta": beta,
            },
            "results": results,
        },
        sys.stdout,
    )  # fmt: skip


if __name__ == "__main__":
    main()
