"""Whether effects tell the truth, on raters whose taste is known.

Every run makes pictures with five knobs, and raters who judge them: with noise of their own, on
scales of their own, with standards that drift. The score's truth is known, in units of its spread.

* ``sweep`` (pairs), ``scatter`` and ``scatter of few prompts`` (settings by chance, adjusted),
  ``picks`` (of one out of four): how often 95 % intervals hold the true difference (bar: 93 to
  97 %).
* ``null``: in how many runs any knob or pair of knobs is named where nothing matters (bar: at
  most 5 %).
* ``confounder``: how often a sampler that was only used with one model is named as such, and how
  often it is called clear all the same (bars: always, never).
* ``interaction``: how often a planted interaction is found with 400 ratings (bar: always), and
  how often another one is.

Usage: ``python bench/effects_truth.py [RUNS] [PART ...]``; 500 runs of every part when not given
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import join_trials
from safelight.learning.ratings.rating_event import Identity, RatingEvent

Columns = dict[str, list[Any]]
SAMPLERS, STEPS, CFGS, LORAS = ("Euler a", "DPM++ 2M", "DDIM"), (8, 16, 30), (3.0, 6.0, 9.0), 3
WORTH: Mapping[str, Mapping[Any, float]] = {
    "sampler": {"Euler a": 0.0, "DPM++ 2M": 0.45, "DDIM": -0.2},
    "steps": {8: -0.6, 16: 0.0, 30: 0.1},
    "cfg_scale": {3.0: -0.3, 6.0: 0.0, 9.0: -0.5},
    "lora.ink": {0.0: 0.0, 0.5: 0.2, 1.0: -0.1},
    "vae": {"a": 0.0, "b": 0.0},
}
"""True worth of every value, before it is divided by the spread of scores."""

KINDS = ("sweep", "scatter", "scatter of few prompts", "picks")
START = datetime(2026, 1, 1, tzinfo=UTC)
PROMPT_SPREAD, PROMPT_TASTE, LUCK = 0.6, 0.15, 0.6


def sweep(chance: np.random.Generator, prompts: int = 16) -> Columns:
    """Return one-knob-at-a-time sweeps: two seeds of every prompt."""
    rows = []
    for prompt in range(prompts):
        for seed in range(2):
            base = {knob: chance.choice(list(values)) for knob, values in WORTH.items()}
            rows.append((prompt, seed, base))
            rows += [
                (prompt, seed, {**base, knob: value})
                for knob, values in WORTH.items()
                for value in values
                if value != base[knob]
            ]
    return columns(rows)


def scatter(chance: np.random.Generator, pictures: int = 400, prompts: int = 60) -> Columns:
    """Return pictures with settings by chance, each with a seed of its own."""
    draw = [
        (int(chance.integers(prompts)), seed,
         {knob: chance.choice(list(values)) for knob, values in WORTH.items()})
        for seed in range(pictures)
    ]  # fmt: skip
    return columns(draw)


def columns(rows: list[tuple[int, int, dict[str, Any]]]) -> Columns:
    """Return what an archive would say of the pictures."""
    made: Columns = {"sha256": [], "prompt": [], "seed": []}
    for number, (prompt, seed, knobs) in enumerate(rows):
        made["sha256"].append(f"{number:064x}")
        lora = float(knobs["lora.ink"])
        tag = f" <lora:ink:{lora}>" if lora else ""
        made["prompt"].append(f"subject {prompt}{tag}")
        made["seed"].append(seed)
        for knob, value in knobs.items():
            if knob != "lora.ink":
                plain = str(value) if isinstance(value, str) else float(value)
                made.setdefault(knob, []).append(plain)
    return made


def knob_values(made: Columns) -> dict[str, list[Any]]:
    """Return the value of every knob, the LoRA's weight included."""
    weights = [
        float(text.rpartition(":")[2].rstrip(">")) if "<" in text else 0.0
        for text in made["prompt"]
    ]
    return {"lora.ink": weights, **{k: made[k] for k in WORTH if k != "lora.ink"}}


def true_scores(
    chance: np.random.Generator, made: Columns, worth: Mapping[str, Mapping[Any, float]]
) -> tuple[NDArray[np.float64], float]:
    """Return scores of spread 1, and by what worth was divided."""
    prompts = np.unique([t.partition(" <")[0] for t in made["prompt"]], return_inverse=True)[1]
    scores = chance.normal(0, PROMPT_SPREAD, prompts.max() + 1)[prompts]
    scores = scores + chance.normal(0, LUCK, len(prompts))
    for knob, values in knob_values(made).items():
        own = np.array([worth[knob][value] for value in values])
        # How much a prompt's pictures gain by a knob differs a little from prompt to prompt.
        for value in set(values):
            taste = chance.normal(0, PROMPT_TASTE, prompts.max() + 1)[prompts]
            own = own + np.where([v == value for v in values], taste, 0) * (
                float(np.ptp(list(worth[knob].values()))) > 0
            )
        scores += own
    spread = float(scores.std())
    return (scores - scores.mean()) / spread, spread


def stars(
    chance: np.random.Generator, scores: NDArray[np.float64], share: float = 0.6
) -> Iterator[RatingEvent]:
    """Yield three raters' stars: noise, scales and drift of their own."""
    moment = 0
    for rater in range(3):
        sharpness = chance.uniform(1.6, 3.2)
        width, shift, drift = chance.uniform(0.6, 1.3), chance.normal(0, 0.4), chance.normal(0, 0.2)
        seen = chance.permutation(len(scores))[: round(share * len(scores))]
        for place, picture in enumerate(seen):
            felt = scores[picture] + chance.logistic() / sharpness
            felt -= drift * (2 * place / len(seen) - 1) + shift
            value = 1 + int(np.searchsorted(np.array([-1.4, -0.5, 0.4, 1.3]) * width, felt))
            moment += 1
            yield RatingEvent(
                event_id=f"{moment}", timestamp=stamp(moment), kind="stars", value=value,
                image=Identity(sha256=f"{picture:064x}"), rater=f"rater {rater}",
            )  # fmt: skip


def picks(
    chance: np.random.Generator, scores: NDArray[np.float64], made: Columns, count: int = 500
) -> Iterator[RatingEvent]:
    """Yield two raters' picks of one out of four pictures of a prompt."""
    prompts = np.unique([t.partition(" <")[0] for t in made["prompt"]], return_inverse=True)[1]
    for moment in range(count):
        own = np.flatnonzero(prompts == chance.integers(prompts.max() + 1))
        shown = chance.permutation(own)[:4]
        felt = 1.6 * scores[shown] + chance.gumbel(size=len(shown))
        yield RatingEvent(
            event_id=f"p{moment}", timestamp=stamp(moment), kind="pick",
            shown=tuple(Identity(sha256=f"{p:064x}") for p in shown),
            won=(int(np.argmax(felt)),), rater=f"rater {moment % 2}",
        )  # fmt: skip


def stamp(moment: int) -> str:
    """Return the time of a rating."""
    return (START + timedelta(seconds=moment)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def coverage_run(kind: str, run: int) -> list[tuple[str, bool, float, float]]:
    """Return (basis, held, error of the estimate, half the interval) of every comparison."""
    chance = np.random.default_rng((1, run))
    made = sweep(chance)
    if kind.startswith("scatter"):
        made = scatter(chance, prompts=15 if kind == "scatter of few prompts" else 60)
    scores, spread = true_scores(chance, made, WORTH)
    events = picks(chance, scores, made) if kind == "picks" else stars(chance, scores)
    effects = find_effects(join_trials(made, fit_scores(events)))
    rows: list[tuple[str, bool, float, float]] = []
    for knob in effects.knobs:
        worth = {str(value).removesuffix(".0"): w for value, w in WORTH[knob.knob].items()}
        for comparison in knob.comparisons:
            if comparison.difference is None or comparison.low is None or comparison.high is None:
                continue
            truth = (worth[comparison.level] - worth[comparison.against]) / spread
            held = comparison.low <= truth <= comparison.high
            half = (comparison.high - comparison.low) / 2
            rows.append((comparison.basis, held, comparison.difference - truth, half))
    return rows


def null_run(run: int) -> list[str]:
    """Return the names that are named where no knob matters."""
    chance = np.random.default_rng((2, run))
    made = scatter(chance) if run % 2 else sweep(chance)
    nothing = {knob: dict.fromkeys(values, 0.0) for knob, values in WORTH.items()}
    scores, _ = true_scores(chance, made, nothing)
    effects = find_effects(join_trials(made, fit_scores(stars(chance, scores))))
    return [k.knob for k in effects.clear] + [
        i.knob + " x " + i.other for i in effects.interactions
    ]


def confounder_run(run: int) -> tuple[bool, bool]:
    """Return whether the planted confounder is named, and whether it is called clear."""
    chance = np.random.default_rng((3, run))
    made = scatter(chance, pictures=200)
    made["model"] = ["X" if sampler == "DPM++ 2M" else "Y" for sampler in made["sampler"]]
    scores, _ = true_scores(chance, made, WORTH)
    effects = find_effects(join_trials(made, fit_scores(stars(chance, scores))))
    named, clear = False, False
    for knob in effects.knobs:
        for comparison in knob.comparisons:
            if knob.knob == "sampler" and "DPM++ 2M" in (comparison.level, comparison.against):
                text = "; ".join(comparison.notes)
                named |= "sampler DPM++ 2M was only ever used with model X" in text or (
                    "sampler DPM++ 2M only with model X" in text
                )
                clear |= comparison.status == "clear"
            clear |= knob.knob == "model" and comparison.status == "clear"
    return named, clear


def interaction_run(run: int) -> tuple[bool, bool]:
    """Return whether the planted interaction is found, and whether a false one is."""
    chance = np.random.default_rng((4, run))
    made = scatter(chance, pictures=400)
    nothing = {knob: dict.fromkeys(values, 0.0) for knob, values in WORTH.items()}
    scores, _ = true_scores(chance, made, nothing)
    high = np.array(made["cfg_scale"]) >= 9
    other = np.array(made["vae"]) == "b"
    scores = scores + 1.5 * (np.where(high == other, 0.5, -0.5))
    scores = (scores - scores.mean()) / scores.std()
    effects = find_effects(join_trials(made, fit_scores(stars(chance, scores, share=1 / 3))))
    pairs = {
        frozenset((interaction.knob, interaction.other)) for interaction in effects.interactions
    }
    planted = frozenset(("cfg_scale", "vae"))
    return planted in pairs, bool(pairs - {planted})


def main() -> None:
    """Print the figures of each part."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    wanted = sys.argv[2:] or [*KINDS, "null", "confounder", "interaction"]
    with ProcessPoolExecutor(2) as pool:

        def each(run: Callable[[int], Any]) -> list[Any]:
            return list(pool.map(run, range(runs), chunksize=4))

        for kind in (kind for kind in KINDS if kind in wanted):
            every = [row for result in each(partial(coverage_run, kind)) for row in result]
            for basis in ("pairs", "adjusted"):
                if rows := [row for row in every if row[0] == basis]:
                    print_coverage(kind, basis, rows, runs)
        counts: list[Any]
        if "null" in wanted:
            named = [names for names in each(null_run) if names]
            print(f"null: {len(named) / runs:.1%} of {runs} runs name something: {named[:5]}")
        if "confounder" in wanted:
            counts = each(confounder_run)
            print(
                f"confounder: named in {np.mean([n for n, _ in counts]):.1%} of {runs} runs,"
                f" called clear in {np.mean([c for _, c in counts]):.1%}"
            )
        if "interaction" in wanted:
            counts = each(interaction_run)
            print(
                f"interaction: found in {np.mean([n for n, _ in counts]):.1%} of {runs} runs with"
                f" 400 ratings, a false one in {np.mean([f for _, f in counts]):.1%}"
            )


def print_coverage(
    kind: str, basis: str, rows: list[tuple[str, bool, float, float]], runs: int
) -> None:
    """Print how often intervals held the truth."""
    held = np.mean([row[1] for row in rows])
    off, half = [row[2] for row in rows], np.median([row[3] for row in rows])
    print(
        f"coverage, {kind}, {basis}: {held:.1%} of {len(rows):,} intervals in {runs} runs;"
        f" mean error {np.mean(off):+.3f}, half an interval {half:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
