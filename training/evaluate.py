"""Draw with an exported model and print the figures the model card quotes.

Everything goes through the shipped ONNX graphs, on one thread:

- ``prompts``: the 40 fixed prompts, two seeds each; top-1 is the part of the pictures whose
  wanted concept the judge ranks first.
- ``concepts``: 60 concepts drawn at random, by name, one seed each.
- ``knobs``: top-1, mean log-probability and mean detail for guidance 1, 3, 8 and 2 to 32 steps.
- ``seconds``: median time of one picture, 20 steps with guidance.

Writes ``evaluation.json`` and the contact sheets to OUT.

Usage: ``python -m training.evaluate --model DIR --judge DIR --out DIR``
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.captions import STYLES, Concept, Vocabulary, caption_words, wanted_concept
from training.dataset import Normalisation
from training.export import TEXT_OUTPUTS, open_graph
from training.judge import Scores, fine_detail
from training.prepare import read_json
from training.sampling import (
    Pictures,
    dpmpp_2m,
    guidance_captions,
    guided,
    karras_sigmas,
    starting_noise,
)
from training.sheets import contact_sheet

PROMPTS = Path(__file__).parent / "prompts40.txt"
STEPS, CFG_SCALE = 20, 3.0
CFG_SCALES = (1.0, 3.0, 8.0)
STEP_COUNTS = (2, 4, 8, 16, 32)
KNOB_PROMPTS = 20
RANDOM_CONCEPTS, RANDOM_CONCEPTS_SEED = 60, 5
BATCH = 20
"""Pictures drawn at once."""


class ExportedModel:
    """The graphs and facts that ``python -m training.export`` wrote."""

    def __init__(self, folder: Path) -> None:
        facts = read_json(folder / "model.json")
        self.facts: dict[str, Any] = facts
        self.concepts = tuple(
            Concept(name=concept["name"], synonyms=tuple(concept["synonyms"]))
            for concept in facts["concepts"]
        )
        self._vocabulary = Vocabulary(tuple(facts["vocabulary"]))
        self._normalisation = Normalisation(tuple(facts["mean"]), tuple(facts["std"]))
        self._text = open_graph(folder / "text.onnx")
        self._unet = open_graph(folder / "unet.onnx")

    def draw(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int = STEPS,
        cfg_scale: float = CFG_SCALE,
    ) -> NDArray[np.uint8]:
        """Return one RGB picture (side, side, 3) per prompt and seed."""
        parts = [
            self._draw_batch(
                prompts[first : first + BATCH], seeds[first : first + BATCH], steps, cfg_scale
            )
            for first in range(0, len(prompts), BATCH)
        ]
        return np.concatenate(parts)

    def _draw_batch(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, cfg_scale: float
    ) -> NDArray[np.uint8]:
        captions = guidance_captions(prompts, cfg_scale)
        tokens = [self._vocabulary.encode(caption_words(caption)) for caption in captions]
        encoded = self._text.run(TEXT_OUTPUTS, {"tokens": np.asarray(tokens, np.int64)})
        context = dict(zip(TEXT_OUTPUTS, encoded, strict=True))

        def estimate(pictures: Pictures, sigma: float) -> Pictures:
            levels = np.full(len(pictures), sigma, np.float32)
            result: Pictures = self._unet.run(
                ["denoised"], {"x": pictures, "sigma": levels, **context}
            )[0]
            return result

        noise = starting_noise(seeds, self.facts["image_size"], self.facts["sigma_max"])
        sigmas = karras_sigmas(steps, self.facts["sigma_min"], self.facts["sigma_max"])
        return self._normalisation.decode(dpmpp_2m(guided(estimate, cfg_scale), noise, sigmas))


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the judge says about pictures, in order.

    Attributes:
        hits: Whether the wanted concept came first.
        log_probabilities: Of the wanted concept.
        first: The class that came first.
        detail: Binary logarithm of each picture's fine detail over that of the artwork of its
            wanted concept: 0 is as much, -1 half as much.
    """

    hits: NDArray[np.bool_]
    log_probabilities: NDArray[np.float32]
    first: tuple[str, ...]
    detail: NDArray[np.float64]

    def summary(self) -> dict[str, float]:
        """Return the mean of each measure."""
        return {
            "top1": round(float(self.hits.mean()), 4),
            "log_probability": round(float(self.log_probabilities.mean()), 4),
            "detail": round(float(self.detail.mean()), 4),
        }


def ask(
    scores: Scores, images: NDArray[np.uint8], prompts: Sequence[str], concepts: Sequence[Concept]
) -> Verdicts:
    """Judge *images* by the concept each prompt wants.

    Raises:
        ValueError: A prompt wants no known concept.
    """
    wanted = []
    for prompt in prompts:
        concept = wanted_concept(prompt, concepts)
        if concept is None:
            raise ValueError(f"no concept is called {prompt!r}")
        wanted.append(scores.names.index(concept.name))
    names = [scores.names[number] for number in wanted]
    artwork = np.array([scores.detail[name] for name in names])
    likelihoods = scores.log_probabilities(images)
    best = likelihoods.argmax(-1)
    return Verdicts(
        hits=best == np.array(wanted),
        log_probabilities=likelihoods[np.arange(len(wanted)), wanted],
        first=tuple(scores.names[number] for number in best),
        detail=np.log2(np.maximum(fine_detail(images), 1e-6) / artwork),
    )


def fixed_prompts() -> tuple[str, ...]:
    """Read the 40 prompts, one a line."""
    return tuple(PROMPTS.read_text(encoding="utf-8").splitlines())


def judge_prompts(model: ExportedModel, scores: Scores, out: Path) -> dict[str, Any]:
    """Draw and judge the fixed prompts with seeds 0 and 1; ``prompts.png`` shows both."""
    prompts = [prompt for prompt in fixed_prompts() for _ in range(2)]
    images = model.draw(prompts, [0, 1] * (len(prompts) // 2))
    verdicts = ask(scores, images, prompts, model.concepts)
    contact_sheet(images, prompts, columns=8, scale=2).save(out / "prompts.png")
    best_of_two = verdicts.hits.reshape(-1, 2).any(1)
    return {
        **verdicts.summary(),
        "top1_best_of_two": round(float(best_of_two.mean()), 4),
        "mistaken": {
            f"{prompt} ({number % 2})": first
            for number, (prompt, hit, first) in enumerate(
                zip(prompts, verdicts.hits, verdicts.first, strict=True)
            )
            if not hit
        },
    }


def judge_concepts(model: ExportedModel, scores: Scores, out: Path) -> dict[str, Any]:
    """Draw and judge 60 random concepts; ``concepts.png`` shows them."""
    order = np.random.default_rng(RANDOM_CONCEPTS_SEED).permutation(len(model.concepts))
    names = [model.concepts[number].name for number in order[:RANDOM_CONCEPTS]]
    images = model.draw(names, range(len(names)))
    verdicts = ask(scores, images, names, model.concepts)
    contact_sheet(images, names, columns=10, scale=2).save(out / "concepts.png")
    mistaken = {
        name: first
        for name, hit, first in zip(names, verdicts.hits, verdicts.first, strict=True)
        if not hit
    }
    return {**verdicts.summary(), "mistaken": mistaken}


def judge_knobs(model: ExportedModel, scores: Scores, out: Path) -> dict[str, Any]:
    """Judge 20 prompts under each guidance and step count; ``knobs.png`` shows the first."""
    prompts = fixed_prompts()[:KNOB_PROMPTS]
    table: dict[str, Any] = {}
    shown, labels = [], []
    for cfg_scale in CFG_SCALES:
        for steps in STEP_COUNTS:
            images = model.draw(prompts, range(len(prompts)), steps=steps, cfg_scale=cfg_scale)
            verdicts = ask(scores, images, prompts, model.concepts)
            label = f"cfg {cfg_scale:g}, {steps}"
            table[f"{label} steps"] = verdicts.summary()
            shown += [images[0], images[3]]
            labels += [label, label]
    contact_sheet(np.stack(shown), labels, columns=2 * len(STEP_COUNTS), scale=2).save(
        out / "knobs.png"
    )
    return table


def show_words(model: ExportedModel, out: Path) -> None:
    """Draw colours, styles and backgrounds for the eye: ``words.png``."""
    prompts = [
        *(f"{colour} apple" for colour in ("green", "blue", "purple", "yellow", "black", "pink")),
        *(f"{colour} car" for colour in ("green", "blue", "purple", "yellow", "black", "white")),
        *(f"{colour} heart" for colour in ("green", "blue", "purple", "yellow", "black", "pink")),
        *(f"{thing} {style}" for thing in ("tree", "ghost", "octopus") for style in STYLES),
        *(f"dog on {shade} background" for shade in ("blue", "black", "pink", "green", "red")),
    ]  # fmt: skip
    images = model.draw(prompts, range(len(prompts)))
    contact_sheet(images, prompts, columns=6, scale=2).save(out / "words.png")


def median_seconds(model: ExportedModel, repeats: int = 9) -> float:
    """Return the median time of one picture with guidance, after one to warm up."""
    model.draw(["house"], [0])
    times = []
    for seed in range(repeats):
        started = time.perf_counter()
        model.draw(["house"], [seed])
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="What training.export wrote.")
    parser.add_argument("--judge", type=Path, required=True, help="What training.judge wrote.")
    parser.add_argument("--out", type=Path, required=True, help="Where to write.")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    model, scores = ExportedModel(arguments.model), Scores(arguments.judge)
    figures: dict[str, Any] = {"training": model.facts["training"]}
    figures["prompts"] = judge_prompts(model, scores, arguments.out)
    figures["concepts"] = judge_concepts(model, scores, arguments.out)
    show_words(model, arguments.out)
    figures["knobs"] = judge_knobs(model, scores, arguments.out)
    figures["seconds"] = round(median_seconds(model), 3)
    text = json.dumps(figures, indent=1)
    (arguments.out / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
