"""A small classifier that says which concept a picture shows: the fidelity score.

It never sees the generator or its loss. It learns from the same artwork, drawn with shifts,
small turns, other sizes, blur, noise, other colours and backgrounds; and from pictures of
nothing (noise, shuffled tiles, halves of two pictures), which form a class of their own, so
that a picture is not credited for being the least wrong of all concepts.

What the score means: the log-probability of the wanted concept, at most 0. It measures
whether the picture can be told from all other concepts of the list. It does not measure
beauty, and hardly sharpness: the classifier was taught to look through blur. Nor does it
check colour, background or style words, or see a second object.

Writes ``judge.onnx`` (int8 weights) and ``judge.json`` (class names in order, what it takes to
read the wanted concept from a prompt, and how much fine detail the drawings of each concept have)
to OUT.
``judge.onnx`` maps ``pictures``, float32 RGB from 0 to 1 (batch, 3, 64, 64), to
``log_probabilities`` (batch, classes).

Usage: ``python -m training.judge --data DIR --out DIR``
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.captions import BACKGROUNDS, COLOURS, STOP_WORDS, STYLES
from training.dataset import Dataset
from training.export import open_graph, quantise, write_graph
from training.prepare import over

NOTHING = "nothing"
"""Class 0: pictures that show no concept."""

HELD_OUT = 2_000
"""Fresh pictures, altered like the training ones, for the accuracy that is printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """How the classifier is trained.

    Attributes:
        steps: Batches.
        batch_size: Pictures a batch.
        learning_rate: At its highest; one cosine down to 0.
        nothing: Part of the pictures that show nothing.
        recoloured: Part of the pictures whose main colour is replaced.
        plain: Part of the pictures on white.
        seed: Of weights and pictures.
    """

    steps: int = 1_400
    batch_size: int = 96
    learning_rate: float = 3e-3
    nothing: float = 0.1
    recoloured: float = 0.4
    plain: float = 0.6
    seed: int = 0


class Judge(nn.Module):
    """Five convolutions, each but the fourth halving the side, and a linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = ((3, 32, 2), (32, 64, 2), (64, 128, 2), (128, 128, 1), (128, 192, 2))
        layers: list[nn.Module] = []
        for inputs, outputs, stride in widths:
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
                nn.GroupNorm(8, outputs),
                nn.SiLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(192 + 192, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return log-probabilities (batch, classes) of RGB pictures from 0 to 1."""
        hidden = self.features(pictures * 4 - 3)
        pooled = torch.cat([hidden.mean((2, 3)), hidden.amax((2, 3))], 1)
        return functional.log_softmax(self.head(pooled), -1)


class Pictures:
    """Draws altered pictures and their classes."""

    def __init__(self, dataset: Dataset, settings: JudgeSettings) -> None:
        self.dataset, self.settings = dataset, settings
        self.names = (NOTHING, *(concept.name for concept in dataset.concepts))
        number = {name: index for index, name in enumerate(self.names)}
        self._classes = np.array([number[str(e["concept"])] for e in dataset.entries])
        self._colourable = np.array([bool(e["can_recolour"]) for e in dataset.entries])

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return pictures (size, 3, side, side) and classes (size,)."""
        chosen = rng.integers(len(self._classes), size=size)
        pixels = self.dataset.artwork[chosen]
        for place, number in enumerate(chosen):
            if self._colourable[number] and rng.random() < self.settings.recoloured:
                variants = self.dataset.recoloured[number]
                pixels[place] = variants[rng.integers(len(variants))]
        pictures = self._alter(self._place(pixels, rng), rng)
        classes = torch.from_numpy(self._classes[chosen].copy())
        empty = int(size * self.settings.nothing)
        pictures[:empty] = _nothing(pictures[:empty], pictures[empty : 2 * empty], rng)
        classes[:empty] = 0
        return pictures, classes

    def _place(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
        """Turn, scale and shift drawings, and lay them over a background."""
        size = len(pixels)
        scaled = torch.from_numpy(pixels.astype(np.float32) / 255).permute(0, 3, 1, 2)
        opacity = scaled[:, 3:]
        layers = torch.cat([scaled[:, :3] * opacity, opacity], 1)
        angle = np.deg2rad(rng.normal(0, 8, size))
        zoom = np.exp(rng.normal(0.03, 0.1, (2, size)))
        shift = rng.normal(0, 0.07, (2, size))
        matrix = np.stack(
            [
                np.stack([np.cos(angle) * zoom[0], -np.sin(angle) * zoom[0], shift[0]], -1),
                np.stack([np.sin(angle) * zoom[1], np.cos(angle) * zoom[1], shift[1]], -1),
            ],
            1,
        )
        grid = functional.affine_grid(
            torch.from_numpy(matrix.astype(np.float32)), list(layers.shape), align_corners=False
        )
        moved = functional.grid_sample(layers, grid, align_corners=False)
        colours = np.array(list(BACKGROUNDS.values()), np.float32)[
            rng.integers(len(BACKGROUNDS), size=size)
        ]
        colours[rng.random(size) < self.settings.plain] = 255
        background = torch.from_numpy(colours / 255)[:, :, None, None]
        return moved[:, :3] + background * (1 - moved[:, 3:])

    @staticmethod
    def _alter(pictures: Tensor, rng: np.random.Generator) -> Tensor:
        """Blur a third, coarsen a sixth, add noise and change contrast."""
        size, side = len(pictures), pictures.shape[-1]
        kind = rng.random(size)
        blurred = torch.from_numpy(np.flatnonzero(kind < 0.33))
        if len(blurred):
            width = float(rng.uniform(0.5, 2.0))
            offsets = torch.arange(-4, 5).float()
            kernel = torch.exp(-(offsets**2) / (2 * width**2))
            kernel = (kernel / kernel.sum()).repeat(3, 1, 1, 1)
            part = functional.pad(pictures[blurred], (4, 4, 4, 4), mode="replicate")
            part = functional.conv2d(part, kernel, groups=3)
            pictures[blurred] = functional.conv2d(part, kernel.transpose(2, 3), groups=3)
        coarse = torch.from_numpy(np.flatnonzero(kind > 0.84))
        if len(coarse):
            part = functional.avg_pool2d(pictures[coarse], 2)
            pictures[coarse] = functional.interpolate(part, size=(side, side))
        level = np.abs(rng.normal(0, 0.05, (size, 1, 1, 1))).astype(np.float32)
        contrast = rng.uniform(0.85, 1.1, (size, 1, 1, 1)).astype(np.float32)
        noise = rng.standard_normal(pictures.shape, np.float32) * level
        result = (pictures - 0.5) * torch.from_numpy(contrast) + 0.5 + torch.from_numpy(noise)
        return result.clamp(0, 1)


def _nothing(pictures: Tensor, others: Tensor, rng: np.random.Generator) -> Tensor:
    """Return pictures that show nothing: shuffled tiles, two halves, averages, blobs."""
    result = pictures.clone()
    side = pictures.shape[-1]
    for place in range(len(pictures)):
        kind = rng.integers(4)
        if kind == 0:
            tile = int(rng.choice([8, 16]))
            count = side // tile
            tiles = pictures[place].unfold(1, tile, tile).unfold(2, tile, tile)
            order = torch.from_numpy(rng.permutation(count * count))
            mixed = tiles.reshape(3, -1, tile, tile)[:, order].reshape(3, count, count, tile, tile)
            result[place] = mixed.permute(0, 1, 3, 2, 4).reshape(3, side, side)
        elif kind == 1:
            result[place, :, :, side // 2 :] = others[place, :, :, side // 2 :]
        elif kind == 2:
            result[place] = (pictures[place] + others[place]) / 2
        else:
            cells = int(rng.choice([4, 8, 16]))
            blobs = torch.from_numpy(rng.random((1, 3, cells, cells), np.float32))
            result[place] = functional.interpolate(blobs, size=(side, side), mode="bicubic")[0]
    return result.clamp(0, 1)


def train_judge(pictures: Pictures, settings: JudgeSettings) -> tuple[Judge, float]:
    """Return the classifier and its accuracy on pictures it has not seen."""
    torch.manual_seed(settings.seed)
    judge = Judge(len(pictures.names))
    optimiser = torch.optim.AdamW(judge.parameters(), lr=settings.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    for step in range(settings.steps):
        rng = np.random.default_rng((settings.seed, step))
        images, classes = pictures.batch(settings.batch_size, rng)
        log_probabilities = judge(images)
        wanted = functional.nll_loss(log_probabilities, classes)
        loss = 0.95 * wanted - 0.05 * log_probabilities.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)
    judge.eval()
    images, classes = pictures.batch(HELD_OUT, np.random.default_rng((settings.seed, -1 % 2**32)))
    with torch.no_grad():
        answers = torch.cat([judge(part) for part in torch.split(images, 100)]).argmax(-1)
    return judge, float((answers == classes).float().mean())


class Scores:
    """Reads ``judge.onnx`` and scores pictures.

    Attributes:
        names: Class names in order; the first is :data:`NOTHING`.
    """

    def __init__(self, folder: Path) -> None:
        self.names: tuple[str, ...] = tuple(
            json.loads((folder / "judge.json").read_text(encoding="utf-8"))["classes"]
        )
        self.detail: dict[str, float] = json.loads(
            (folder / "judge.json").read_text(encoding="utf-8")
        )["detail"]
        self._graph: onnxruntime.InferenceSession = open_graph(folder / "judge.onnx")

    def log_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (count, classes) for RGB bytes (count, side, side, 3)."""
        pictures = np.moveaxis(images.astype(np.float32) / 255, -1, 1)
        result: NDArray[np.float32] = self._graph.run(None, {"pictures": pictures})[0]
        return result


def fine_detail(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the root mean square of the four-neighbour Laplacian of RGB bytes.

    Args:
        images: (count, side, side, 3).

    Returns:
        One number per picture, in steps of 8-bit colour; blur halves it, grain doubles it.
    """
    p = images.astype(np.float64)
    neighbours = p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:]
    result: NDArray[np.float64] = np.sqrt(
        ((4 * p[:, 1:-1, 1:-1] - neighbours) ** 2).mean((1, 2, 3))
    )
    return result


def artwork_detail(dataset: Dataset) -> dict[str, float]:
    """Return concept -> the mean fine detail of its drawings, on white."""
    details: dict[str, list[float]] = {concept.name: [] for concept in dataset.concepts}
    for entry, drawing in zip(dataset.entries, dataset.artwork, strict=True):
        flat = over(drawing).round().astype(np.uint8)
        details[str(entry["concept"])].append(float(fine_detail(flat[None])[0]))
    return {name: round(sum(values) / len(values), 2) for name, values in details.items()}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Prepared folder.")
    parser.add_argument("--out", type=Path, required=True, help="Where to write.")
    parser.add_argument("--steps", type=int, default=JudgeSettings().steps)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = JudgeSettings(steps=arguments.steps)
    dataset = Dataset(arguments.data)
    pictures = Pictures(dataset, settings)
    judge, accuracy = train_judge(pictures, settings)
    arguments.out.mkdir(parents=True, exist_ok=True)
    full = arguments.out / "judge.float32.onnx"
    example = torch.zeros(2, 3, dataset.image_size, dataset.image_size)
    write_graph(judge, (example,), ("pictures", "log_probabilities"), full, outputs=1)
    quantise(full, arguments.out / "judge.onnx")
    full.unlink()
    facts = {
        "classes": pictures.names,
        "held_out_accuracy": round(accuracy, 4),
        "image_size": dataset.image_size,
        "concepts": [asdict(concept) for concept in dataset.concepts],
        "passed_over": [*STYLES, *COLOURS],
        "stop_words": sorted(STOP_WORDS),
        "detail": artwork_detail(dataset),
    }
    (arguments.out / "judge.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    print(f"accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
