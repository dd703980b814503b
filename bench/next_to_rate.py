"""The next picture and the next pair to rate at 100,000 pictures, and what choosing them is worth.

First the time: the pool is made once from columns and fitted scores; each question after that
should take less than 100 ms. Then the worth, on simulated archives (40 prompts, 3 knobs, noisy
picks): how well the effects are known after so many picks of chosen and of random pairs.

    python bench/next_to_rate.py
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np

from safelight.learning.evidence.next_to_rate import next_pairs, next_pictures, rating_pool
from safelight.learning.evidence.scores import ImageScores, fit_scores
from safelight.learning.ratings import Identity, RatingEvent

SAMPLERS = ("Euler", "Euler a", "Heun", "DPM++ 2M")


def archive(size: int, rng: np.random.Generator, prompts: int = 2000) -> dict[str, list[Any]]:
    """Return the columns of an archive of *size* pictures."""
    return {
        "sha256": [f"{n:064x}" for n in range(size)],
        "prompt": [f"prompt {n}" for n in rng.integers(0, prompts, size)],
        "seed": rng.integers(0, 4, size).tolist(),
        "model": [f"model {n}" for n in rng.integers(0, 6, size)],
        "sampler": [SAMPLERS[n] for n in rng.integers(0, 4, size)],
        "scheduler": [f"scheduler {n}" for n in rng.integers(0, 5, size)],
        "steps": rng.integers(4, 60, size).tolist(),
        "cfg_scale": rng.uniform(1, 15, size).round(1).tolist(),
        "denoising_strength": rng.uniform(0, 1, size).round(2).tolist(),
    }


def speed(size: int) -> None:
    """Print how long the questions take."""
    rng = np.random.default_rng(1)
    columns = archive(size, rng)
    rated = rng.choice(size, size // 10, replace=False)
    identities = tuple(columns["sha256"][n] for n in np.sort(rated))
    scores = ImageScores(
        identities=identities,
        scores=(drawn := rng.standard_normal(len(rated))),
        readings=drawn,
        deviations=rng.uniform(0.4, 0.9, len(rated)),
        ratings=np.ones(len(rated), np.int64),
        places={name: place for place, name in enumerate(identities)},
    )
    start = time.perf_counter()
    pool = rating_pool(columns, scores)
    made = time.perf_counter() - start
    next_pairs(pool)
    pictures = _times(lambda n: next_pictures(pool, seed=n))
    ten = _times(lambda n: next_pictures(pool, 10, seed=n))
    pairs = _times(lambda n: next_pairs(pool, seed=n))
    print(
        f"{size:,} pictures, {len(rated):,} rated: pool made in {made:.2f} s;"
        f" next picture {pictures:.0f} ms, next ten {ten:.0f} ms, next pair {pairs:.0f} ms"
        " (medians of 15)"
    )


def _times(ask: Any) -> float:
    taken = []
    for number in range(15):
        start = time.perf_counter()
        ask(number)
        taken.append(1e3 * (time.perf_counter() - start))
    return median(taken)


def worth(picks: int, repeats: int) -> None:
    """Print how well scores are known after *picks* of chosen and of random pairs."""
    errors: dict[str, list[float]] = {"chosen": [], "random": []}
    for repeat in range(repeats):
        for how, error in errors.items():
            rng = np.random.default_rng(repeat)
            columns = archive(240, rng, prompts=12)
            effect = {name: rng.normal(0, 0.6) for name in SAMPLERS}
            truth = np.array([effect[name] for name in columns["sampler"]])
            truth += rng.normal(0, 0.6) * (np.array(columns["steps"]) > 30)
            truth += rng.normal(0, 0.5, 240)
            events: list[RatingEvent] = []
            compared: set[frozenset[int]] = set()
            pool = rating_pool(columns)
            while len(events) < picks:
                if how == "chosen":
                    pairs = next_pairs(pool, 10, compared=compared, seed=len(events))
                else:
                    pairs = tuple(
                        (int(a), int(b))
                        for a, b in (rng.choice(240, 2, replace=False) for _ in range(10))
                    )
                for pair in pairs:
                    compared.add(frozenset(pair))
                    better = truth[pair[0]] - truth[pair[1]] + rng.normal(0, 1) > 0
                    shown = tuple(Identity(sha256=columns["sha256"][picture]) for picture in pair)
                    events.append(
                        RatingEvent(
                            event_id=f"{repeat}-{len(events)}", timestamp="2026-01-01T00:00:00Z",
                            kind="pick", shown=shown, won=(0 if better else 1,),
                        )
                    )  # fmt: skip
                pool = rating_pool(columns, fit_scores(events))
            means = np.array([
                pool.means[[s == name for s in columns["sampler"]]].mean() for name in SAMPLERS
            ])  # fmt: skip
            true = np.array([effect[name] for name in SAMPLERS])
            error.append(float(np.corrcoef(means, true)[0, 1]))
    for how, error in errors.items():
        print(
            f"{picks} picks of {how:6} pairs: samplers told in the right order, correlation"
            f" {np.mean(error):.2f} (mean of {repeats})"
        )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=40)
    given = parser.parse_args()
    speed(given.size)
    for picks in (30, 60):
        worth(picks, given.repeats)


if __name__ == "__main__":
    main()
