"""Train the denoiser on a prepared folder; stop and resume at will.

The schedule is a function of the samples seen, never of the clock, so a paused or resumed
training is the same training. The run folder holds:

- ``settings.json``: everything that decides the result, written once.
- ``checkpoint.pt``: weights, averaged weights, optimiser; replaced whole.
- ``log.jsonl``: a line every LOG_EVERY steps.
- ``sheet_<samples>.png``: the fixed prompts, drawn with the averaged weights.

Loss weight and noise distribution follow Karras et al. 2022 (EDM, arXiv:2206.00364), the noise
moved up for pictures with large flat areas (the reason is given in Hoogeboom et al. 2023,
arXiv:2301.11093).

Usage: ``python -m training.train --data DIR --run DIR --seed 1 --samples 120000``
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.captions import CaptionSettings, Vocabulary, caption_words
from training.dataset import SIGMA_DATA, Dataset, PictureSettings
from training.network import Denoiser, NetworkSettings
from training.sampling import (
    Pictures,
    dpmpp_2m,
    guidance_captions,
    guided,
    karras_sigmas,
    starting_noise,
)
from training.sheets import contact_sheet

LOG_EVERY = 50
HIGHEST_WEIGHT = 20.0
"""Reached at sigma 0.25; below, a network that predicts the clean picture cannot follow EDM's
weight, which grows without bound."""

CHECKPOINT_SECONDS = 120
PROMPTS = Path(__file__).parent / "prompts40.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Everything besides the data that decides a run.

    Attributes:
        seed: Of the first weights, the batches and the noise.
        samples: Pictures seen in one cycle of the learning rate.
        batch_size: Pictures a step.
        learning_rate: At its highest; the caption's layers get ``caption_rate`` times that.
        warm_up: Samples over which the learning rate rises from 0 in each cycle.
        decay_from: Part of a cycle, 0 to 1, after which it falls in a straight line to 0.
        noise_mean: Mean of log sigma.
        noise_deviation: Standard deviation of log sigma.
        average: Decay of the weights' running average, per step.
        sheet_every: Samples between two sample sheets.
    """

    seed: int
    samples: int
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    caption_rate: float = 2.0
    warm_up: int = 6_000
    decay_from: float = 0.35
    noise_mean: float = 1.2
    noise_deviation: float = 1.4
    average: float = 0.998
    sheet_every: int = 30_000
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    pictures: PictureSettings = field(default_factory=PictureSettings)


def learning_rate_factor(settings: TrainingSettings, seen: int) -> float:
    """Return what to multiply the highest learning rate by after *seen* samples.

    The schedule repeats (warm restarts: Loshchilov and Hutter 2017, arXiv:1608.03983), so that
    a finished run is a usable model and also the first part of a longer run.
    """
    seen_in_cycle = seen % settings.samples
    rising = min(1.0, (seen_in_cycle + settings.batch_size) / settings.warm_up)
    progress = seen_in_cycle / settings.samples
    falling = min(1.0, (1 - progress) / (1 - settings.decay_from))
    return rising * max(0.0, falling)


def denoising_loss(estimate: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """Return the squared error, weighted as in EDM but never by more than HIGHEST_WEIGHT."""
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    weight = weight.clamp(max=HIGHEST_WEIGHT)
    return (weight[:, None, None, None] * (estimate.float() - clean) ** 2).mean()


class Trainer:
    """One run: model, average, optimiser and the place reached."""

    def __init__(self, dataset: Dataset, settings: TrainingSettings, folder: Path) -> None:
        torch.manual_seed(settings.seed)
        self.dataset, self.settings, self.folder = dataset, settings, folder
        self.network = NetworkSettings(
            vocabulary=len(dataset.vocabulary.words), image_size=dataset.image_size
        )
        self.model = Denoiser(self.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = Denoiser(self.network)
        self.average.load_state_dict(self.model.state_dict())
        self.average.requires_grad_(False)
        carriers = self.model.layout_parameters()
        parameters = list(self.model.parameters())
        rate = settings.learning_rate
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if id(p) not in carriers], "rate": rate},
                {
                    "params": [p for p in parameters if id(p) in carriers],
                    "rate": rate * settings.caption_rate,
                },
            ],
            betas=(0.9, 0.99),
            weight_decay=0.0,
            fused=True,
        )
        self.steps = 0
        self.cpu_seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._keep_settings()
        if (folder / "checkpoint.pt").exists():
            self._resume()

    @property
    def seen(self) -> int:
        """Samples seen so far."""
        return self.steps * self.settings.batch_size

    def _keep_settings(self) -> None:
        path = self.folder / "settings.json"
        wanted = {"training": asdict(self.settings), "network": asdict(self.network)}
        text = json.dumps(wanted, indent=1, sort_keys=True)
        if not path.exists():
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            raise ValueError(f"{path} holds other settings; use another run folder")

    def _resume(self) -> None:
        state: dict[str, Any] = torch.load(self.folder / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps, self.cpu_seconds = state["steps"], state["cpu_seconds"]

    def save(self) -> None:
        """Replace the checkpoint; a crash leaves the old one whole."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "network": asdict(self.network),
            "steps": self.steps,
            "seen": self.seen,
            "cpu_seconds": self.cpu_seconds,
        }
        temporary = self.folder / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "checkpoint.pt")

    def log(self, **facts: float) -> None:
        """Append one line to the log."""
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")

    def run(self, cycles: int = 1, stop_after: float = float("inf")) -> None:
        """Train to the end of cycle *cycles*, or for *stop_after* seconds by the wall clock."""
        compiled: Callable[..., Tensor] = torch.compile(self.model)
        settings, dataset = self.settings, self.dataset
        parameters = list(self.model.parameters())
        averaged: list[Tensor] = list(self.average.parameters())
        started = saved = time.monotonic()
        cpu_before = self.cpu_seconds - time.process_time()
        losses: list[float] = []
        while self.seen < cycles * settings.samples and time.monotonic() - started < stop_after:
            factor = learning_rate_factor(settings, self.seen)
            for group in self.optimiser.param_groups:
                group["lr"] = group["rate"] * factor
            rng = np.random.default_rng((settings.seed, self.steps))
            pictures, tokens = dataset.batch(
                settings.batch_size, rng, settings.captions, settings.pictures
            )
            levels = np.exp(
                rng.standard_normal(settings.batch_size, np.float32) * settings.noise_deviation
                + settings.noise_mean
            ).astype(np.float32)
            noise = rng.standard_normal(pictures.shape, np.float32) * levels[:, None, None, None]
            clean = torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last)
            noisy = torch.from_numpy(noise).contiguous(memory_format=torch.channels_last) + clean
            sigma = torch.from_numpy(levels)
            with torch.autocast("cpu", torch.bfloat16):
                estimate = compiled(noisy, sigma, torch.from_numpy(tokens))
            loss = denoising_loss(estimate, clean, sigma)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimiser.step()
            self.steps += 1
            decay = min(settings.average, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 1 - decay)

            losses.append(loss.item())
            self.cpu_seconds = cpu_before + time.process_time()
            if self.steps % LOG_EVERY == 0:
                self.log(
                    step=self.steps,
                    samples=self.seen,
                    loss=round(float(np.mean(losses)), 5),
                    learning_rate=settings.learning_rate * factor,
                    cpu_seconds=round(self.cpu_seconds, 1),
                    wall_seconds=round(time.monotonic() - started, 1),
                )
                losses.clear()
            if self.seen % settings.sheet_every < settings.batch_size:
                self.draw_sheet()
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.monotonic()
        self.save()

    def draw_sheet(self) -> None:
        """Draw the fixed prompts with the averaged weights."""
        prompts = PROMPTS.read_text(encoding="utf-8").split("\n")[:-1]
        pictures = draw(
            self.average, self.dataset.vocabulary, prompts, [0] * len(prompts), steps=14
        )
        images = self.dataset.normalisation.decode(pictures)
        contact_sheet(images, prompts, columns=8).save(self.folder / f"sheet_{self.seen:07d}.png")


@torch.no_grad()
def draw(
    model: Denoiser,
    vocabulary: Vocabulary,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 20,
    cfg_scale: float = 3.0,
) -> Pictures:
    """Draw normalised pictures of *prompts* with torch, in bfloat16."""
    captions = guidance_captions(prompts, cfg_scale)
    tokens = [vocabulary.encode(caption_words(caption)) for caption in captions]
    encoded = model.text(torch.tensor(tokens))

    def estimate(pictures: Pictures, sigma: float) -> Pictures:
        with torch.autocast("cpu", torch.bfloat16):
            levels = torch.full((len(pictures),), sigma)
            clean = model.denoise(torch.from_numpy(pictures), levels, *encoded)
        result: Pictures = clean.float().numpy()
        return result

    noise = starting_noise(seeds, model.settings.image_size)
    return dpmpp_2m(guided(estimate, cfg_scale), noise, karras_sigmas(steps))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Prepared folder.")
    parser.add_argument("--run", type=Path, required=True, help="Folder of this run.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--samples", type=int, required=True, help="Pictures in one cycle.")
    parser.add_argument("--cycles", type=int, default=1, help="Times the schedule is run through.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--stop-after", type=float, default=float("inf"), help="Seconds; resume later."
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = TrainingSettings(seed=arguments.seed, samples=arguments.samples)
    Trainer(Dataset(arguments.data), settings, arguments.run).run(
        arguments.cycles, arguments.stop_after
    )


if __name__ == "__main__":
    main()
