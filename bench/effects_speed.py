"""What effects cost: COUNT rated pictures and 20 knobs (bars: 5 s and 1 GB at 100,000).

Half of the pictures come in sweeps (pairs), half with settings by chance; 10 knobs are numbers,
10 are texts, one of them with 1,000 values. Printed apart: reading the ratings as scores, joining
them with what made the pictures, and the effects.

Usage: ``python bench/effects_speed.py [COUNT]``; 100,000 when not given
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np

from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import join_trials
from safelight.learning.ratings.rating_event import Identity, RatingEvent

NUMBERS, TEXTS, LEVELS, PROMPTS = 10, 10, 5, 400


def pictures(count: int, chance: np.random.Generator) -> dict[str, list[Any]]:
    """Return what an archive says of *count* pictures."""
    numbers = chance.integers(0, LEVELS, (count, NUMBERS)).astype(float)
    numbers[:, 0] = chance.uniform(1, 15, count)  # a number with as many values as pictures
    texts = chance.integers(0, LEVELS, (count, TEXTS))
    texts[:, 0] = chance.integers(0, 1000, count)
    prompts, seeds = chance.integers(0, PROMPTS, count), np.arange(count)
    for start in range(0, count // 2, 8):  # a sweep of eight: one knob differs, all else is alike
        end = min(start + 8, count // 2)
        knob = int(chance.integers(1, TEXTS))
        own = texts[start:end, knob].copy()
        texts[start:end], numbers[start:end] = texts[start], numbers[start]
        texts[start:end, knob] = own
        prompts[start:end], seeds[start:end] = prompts[start], seeds[start]
    made: dict[str, list[Any]] = {
        "sha256": [f"{number:064x}" for number in range(count)],
        "prompt": [f"subject {prompt}" for prompt in prompts],
        "seed": seeds.tolist(),
    }
    made |= {f"number {k}": numbers[:, k].tolist() for k in range(NUMBERS)}
    made |= {f"text {k}": [f"value {v}" for v in texts[:, k]] for k in range(TEXTS)}
    return made


def main() -> None:
    """Print seconds and the most memory."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    chance = np.random.default_rng(0)
    made = pictures(count, chance)
    events = [
        RatingEvent(
            event_id=str(place), timestamp="2026-01-01T00:00:00Z", kind="stars",
            value=int(chance.integers(1, 6)), rater=f"rater {place % 3}",
            image=Identity(sha256=digest),
        )
        for place, digest in enumerate(made["sha256"])
    ]  # fmt: skip
    at_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = [moments()]
    scores = fit_scores(events)
    times.append(moments())
    trials = join_trials(made, scores)
    times.append(moments())
    effects = find_effects(trials)
    times.append(moments())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = sum(c.difference is not None for k in effects.knobs for c in k.comparisons)
    parts = [
        f"{name} {after[0] - before[0]:.2f} s ({after[1] - before[1]:.2f} s of processor)"
        for name, before, after in zip(
            ("scores", "join", "effects"), times, times[1:], strict=False
        )
    ]
    print(
        f"{count:,} rated pictures, {len(effects.knobs)} knobs, {figures} figures:"
        f" {', '.join(parts)}; {most:,.0f} MB at most"
        f" ({at_first:,.0f} MB before, events and pictures)"
    )


def moments() -> tuple[float, float]:
    """Return the clock on the wall and the processor's."""
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main()
