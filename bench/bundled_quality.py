"""What the model in the box draws, by its automatic fidelity score.

* 40 fixed prompts, two seeds each, and 60 concepts drawn at random, by name: how often the
  classifier sees what the prompt names (bars: 0.85 and 0.9).
* 20 prompts at guidance 1, 3 and 8 with 2 to 32 steps: top-1, mean log-probability and mean
  detail, the binary logarithm of fine detail beside the artwork's.
* How far the pictures of each sampler with 6 steps are from its own with 60, as the mean
  difference of 8-bit pixels over four prompts.

Usage: ``python bench/bundled_quality.py [PROMPTS]``; PROMPTS is ``training/prompts40.txt``
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safelight.backends.bundled import MODEL_FOLDER, BundledBackend
from safelight.backends.bundled.fidelity import Fidelity, FidelityScorer
from safelight.backends.bundled.model_facts import model_facts
from safelight.backends.bundled.samplers import SAMPLERS
from safelight.pipeline.backend import Txt2ImgRequest
from safelight.pipeline.images import open_rgb

PROMPTS = Path(__file__).parent.parent / "training" / "prompts40.txt"
CFG_SCALES, STEPS = (1, 3, 8), (2, 4, 8, 16, 32)
KNOB_PROMPTS, RANDOM_CONCEPTS, RANDOM_CONCEPTS_SEED = 20, 60, 5


class Studio:
    """The engine and its judge."""

    def __init__(self) -> None:
        self._backend = BundledBackend()
        self._scorer = FidelityScorer()

    def draw(self, prompt: str, seed: int, **knobs: Any) -> bytes:
        """Return the picture as a PNG file."""
        request = Txt2ImgRequest(prompt=prompt, seed=seed, **{"steps": 20, "cfg_scale": 3, **knobs})
        return self._backend.generate(request, lambda *_step, **_more: None).images[0].png

    def judged(self, prompt: str, seed: int, **knobs: Any) -> Fidelity:
        """Return the score of a picture, drawn for the occasion."""
        fidelity = self._scorer.score(self.draw(prompt, seed, **knobs), prompt)
        assert fidelity is not None, prompt
        return fidelity


def top1(scores: Iterable[Fidelity]) -> float:
    """Return the part of the pictures in which the wanted concept came first."""
    return float(np.mean([score.hit for score in scores]))


def print_fixed(studio: Studio, prompts: Sequence[str]) -> None:
    """Print what becomes of the fixed prompts."""
    scores = [[studio.judged(prompt, seed) for seed in (0, 1)] for prompt in prompts]
    each = top1(score for pair in scores for score in pair)
    best = float(np.mean([any(score.hit for score in pair) for pair in scores]))
    missed = [p for p, pair in zip(prompts, scores, strict=True) if not any(s.hit for s in pair)]
    print(f"{len(prompts)} prompts, two seeds each: top-1 {each:.3f}, best of two {best:.3f}")
    print(f"  both missed: {', '.join(missed) or 'none'}")


def print_random(studio: Studio) -> None:
    """Print what becomes of random concepts, one seed each."""
    names = [concept["name"] for concept in model_facts(MODEL_FOLDER)["concepts"]]
    order = np.random.default_rng(RANDOM_CONCEPTS_SEED).permutation(len(names))
    chosen = [names[number] for number in order[:RANDOM_CONCEPTS]]
    scores = [studio.judged(name, seed) for seed, name in enumerate(chosen)]
    print(f"{len(chosen)} random concepts: top-1 {top1(scores):.3f}")


def print_knobs(studio: Studio, prompts: Sequence[str]) -> None:
    """Print the scores by guidance and steps."""
    print(f"{len(prompts)} prompts: top-1 / log-probability / detail")
    print("             " + "".join(f"{f'{steps} steps':>22}" for steps in STEPS))
    for cfg_scale in CFG_SCALES:
        cells = []
        for steps in STEPS:
            scores = [
                studio.judged(prompt, seed, cfg_scale=cfg_scale, steps=steps)
                for seed, prompt in enumerate(prompts)
            ]
            surely = np.mean([score.log_probability for score in scores])
            detail = np.mean([score.detail for score in scores])
            cells.append(f"{top1(scores):.2f} / {surely:6.2f} / {detail:5.2f}")
        print(f"  cfg_scale {cfg_scale}" + "".join(f"{cell:>22}" for cell in cells))


def print_samplers(studio: Studio) -> None:
    """Print how far each sampler with few steps is from where it goes with many."""
    print("difference of 6 steps from 60 of the same sampler, in 8-bit steps a pixel:")
    for name in SAMPLERS:
        apart = [
            np.abs(
                np.asarray(open_rgb(studio.draw(prompt, 1, sampler=name, steps=6)), np.float32)
                - np.asarray(open_rgb(studio.draw(prompt, 1, sampler=name, steps=60)), np.float32)
            ).mean()
            for prompt in ("car", "frog", "soccer ball", "house")
        ]
        print(f"  {name:14}{np.mean(apart):6.1f}")


def main() -> None:
    """Print everything; it takes about three minutes."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PROMPTS
    prompts = path.read_text(encoding="utf-8").splitlines()
    studio = Studio()
    print_fixed(studio, prompts)
    print_random(studio)
    print_knobs(studio, prompts[:KNOB_PROMPTS])
    print_samplers(studio)


if __name__ == "__main__":
    main()
