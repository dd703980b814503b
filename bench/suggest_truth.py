"""How many ratings it takes to find good settings, where the truth is known.

Three kinds of landscape, drawn anew for every repeat: smooth; with categorical traps (the sampler
that is best on average is not the best one); with interactions (what cfg_scale should be depends
on steps and sampler). A simulated person gives each drawn picture 1 to 5 whole stars: the
setting's own score, the picture's own luck (standard deviation 0.5 stars), rounded and cut.

Each method says after every rating which of the settings drawn so far it holds for the best, and
has found a good one when the true score of that one is at least 95 % of the best there is.
``tried`` counts until any setting drawn was that good, whether or not anybody could know.
Random search and Optuna's default sampler (TPE, one trial at a time) recommend what was rated
best, as ``study.best_trial`` does; "random, modelled" draws at random and recommends by our
model, which tells apart what choosing and what reading the ratings is worth.

    python bench/suggest_truth.py --repeats 50 --ratings 100
    python bench/suggest_truth.py --nothing
    python bench/suggest_truth.py --coverage
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import Trials, join_trials
from safelight.learning.plans.knob_space import ChoiceKnob, KnobSpace, NumberKnob
from safelight.learning.plans.proposals import Tried, model_of, propose
from safelight.learning.plans.suggest import Verdict, suggest, verdict
from safelight.learning.plans.surrogate import Surrogate
from safelight.learning.ratings import Identity, RatingEvent
from suggest_landscapes import Landscape, Truth, optuna_setting, optuna_study

LUCK = 0.5
SAMPLERS = ("Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ SDE", "DDIM")
SCHEDULERS = ("Karras", "Normal", "Exponential", "Beta")

SPACE = KnobSpace(
    knobs=(
        NumberKnob(name="steps", low=4, high=60, step=1, logarithmic=True, integer=True),
        NumberKnob(name="cfg_scale", low=1, high=15, step=0.5),
        NumberKnob(name="denoising_strength", low=0, high=1, step=0.05),
        ChoiceKnob(name="sampler", levels=SAMPLERS),
        ChoiceKnob(name="scheduler", levels=SCHEDULERS),
    )
)


def smooth(rng: np.random.Generator) -> Truth:
    """Return one hill per number, and small differences between samplers and schedulers."""
    centre, width = rng.uniform(0.15, 0.85, 3), rng.uniform(0.4, 0.8, 3)
    samplers, schedulers = rng.uniform(-0.6, 0, 6), rng.uniform(-0.4, 0, 4)

    def score(points: np.ndarray) -> np.ndarray:
        far = ((points[:, :3] - centre) / width) ** 2
        own = samplers[points[:, 3].astype(int)] + schedulers[points[:, 4].astype(int)]
        return np.asarray(1.5 + 3.3 * np.exp(-0.5 * far.sum(axis=1)) + own)

    return score


def traps(rng: np.random.Generator) -> Truth:
    """Return a sampler that is good everywhere, and one that is best, but at its own place only."""
    centre, own = rng.uniform(0.15, 0.85, 3), rng.uniform(0.15, 0.85, 3)
    trap, best = rng.choice(6, 2, replace=False)
    good = rng.integers(4)

    def score(points: np.ndarray) -> np.ndarray:
        sampler, scheduler = points[:, 3].astype(int), points[:, 4].astype(int)
        far = np.exp(-0.5 * (((points[:, :3] - centre) / 0.8) ** 2).sum(axis=1))
        near = np.exp(-0.5 * (((points[:, :3] - own) / 0.6) ** 2).sum(axis=1))
        worth = 1.2 + 1.8 * far
        worth = np.where(sampler == trap, 2.0 + 1.8 * far, worth)
        worth = np.where(sampler == best, 1.2 + 3.4 * near, worth)
        return np.asarray(worth + np.where(scheduler == good, 0.2, 0.0))

    return score


def interactions(rng: np.random.Generator) -> Truth:
    """Return a ridge: the right cfg_scale moves with steps, and lies elsewhere per sampler."""
    tilt = rng.choice([-1, 1]) * rng.uniform(0.4, 0.8)
    shifts, levels = rng.uniform(-0.2, 0.2, 6), rng.uniform(-0.7, 0, 6)
    top, denoise = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8, 4)

    def score(points: np.ndarray) -> np.ndarray:
        sampler, scheduler = points[:, 3].astype(int), points[:, 4].astype(int)
        ridge = points[:, 1] - (0.5 + tilt * (points[:, 0] - 0.5) + shifts[sampler])
        along, other = points[:, 0] - top, points[:, 2] - denoise[scheduler]
        hill = np.exp(-0.5 * ((ridge / 0.25) ** 2 + (along / 0.6) ** 2 + (other / 0.5) ** 2))
        return np.asarray(1.2 + 3.6 * hill + levels[sampler])

    return score


LANDSCAPES = {
    "smooth": Landscape(SPACE, smooth, LUCK),
    "categorical traps": Landscape(SPACE, traps, LUCK),
    "interactions": Landscape(SPACE, interactions, LUCK),
}


def best_of(truth: Truth, rng: np.random.Generator) -> float:
    """Return the best true score, by a dense search and climbing from its best points."""
    points = SPACE.of_unit(rng.random((60_000, 5)))
    scores = truth(points)
    best = points[np.argsort(-scores)[:40]]
    for size in (0.1, 0.05, 0.02, 0.01):
        for _ in range(4):
            near = np.repeat(best, 40, axis=0)
            near[:, :3] = np.clip(near[:, :3] + size * rng.standard_normal((len(near), 3)), 0, 1)
            near = np.vstack([best, near])
            best = near[np.argsort(-truth(near))[:40]]
    return float(truth(best).max())


Steps = list[tuple[int, float]]
"""After each rating: place of the setting that is recommended, and the score of the one tried."""

Method = Callable[[Landscape, Truth, int, np.random.Generator], Steps]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One method's way through one landscape.

    Attributes:
        reached: Ratings until the recommended setting was good enough; the limit + 1 if never.
        tried: Ratings until any tried setting was.
        end: How far the last recommendation is from the best, in percent.
    """

    reached: int
    tried: int
    end: float


def random_search(
    landscape: Landscape, truth: Truth, ratings: int, rng: np.random.Generator
) -> Steps:
    """Return (place of the recommended setting, ...) after each rating, with true scores."""
    settings = [SPACE.setting(p) for p in SPACE.of_unit(rng.random((ratings, 5)))]
    true = truth(np.array([SPACE.point(s) for s in settings]))
    given = [landscape.stars(float(score), rng) for score in true]
    return [(int(np.argmax(given[: n + 1])), float(true[n])) for n in range(ratings)]


def random_modelled(
    landscape: Landscape, truth: Truth, ratings: int, rng: np.random.Generator
) -> Steps:
    """Return the same of random search whose recommendation is our model's, every 8 ratings."""
    tried: list[Tried] = []
    steps: Steps = []
    for point in SPACE.of_unit(rng.random((ratings, 5))):
        setting = SPACE.setting(point)
        score = landscape.score(truth, setting)
        tried.append(Tried(setting=setting, score=landscape.stars(score, rng)))
        place = steps[-1][0] if steps else 0
        if len(tried) % 8 == 0:
            place = recommended(tried, model_of(SPACE, tried))
        steps.append((place, score))
    return steps


def recommended(tried: Sequence[Tried], model: Surrogate | None) -> int:
    """Return the place of the setting that our model holds for the best."""
    if model is None:
        return int(np.argmax([rated.score for rated in tried]))
    means, _ = model.predict(np.array([SPACE.point(rated.setting) for rated in tried]))
    return int(np.argmax(means))


def tpe(landscape: Landscape, truth: Truth, ratings: int, rng: np.random.Generator) -> Steps:
    """Return the same of Optuna's default sampler."""
    study = optuna_study("tpe", int(rng.integers(2**31)))
    steps: Steps = []
    for _ in range(ratings):
        trial = study.ask()
        score = landscape.score(truth, optuna_setting(SPACE, trial))
        study.tell(trial, landscape.stars(score, rng))
        steps.append((study.best_trial.number, score))
    return steps


def safelight(batch: int) -> Method:
    """Return the method of ``safelight suggest``, asked for *batch* settings at a time."""

    def method(landscape: Landscape, truth: Truth, ratings: int, rng: np.random.Generator) -> Steps:
        tried: list[Tried] = []
        steps: Steps = []
        model = None
        while len(tried) < ratings:
            asked = propose(SPACE, tried, batch, model=model, seed=int(rng.integers(2**31)))
            true = truth(np.array([SPACE.point(proposal.setting) for proposal in asked]))
            tried += [
                Tried(setting=proposal.setting, score=landscape.stars(float(score), rng))
                for proposal, score in zip(asked, true, strict=True)
            ]
            model = model_of(SPACE, tried)
            place = recommended(tried, model)
            steps += [(steps[-1][0] if steps else 0, float(score)) for score in true[:-1]]
            steps.append((place, float(true[-1])))
        return steps[:ratings]

    return method


def course(steps: Steps, best: float) -> Course:
    """Return how that went."""
    enough = 0.95 * best
    true = [score for _, score in steps]
    never = len(steps) + 1
    return Course(
        reached=next((n + 1 for n, (p, _) in enumerate(steps) if true[p] >= enough), never),
        tried=next((n + 1 for n, score in enumerate(true) if score >= enough), never),
        end=100 * (best - true[steps[-1][0]]) / best,
    )


def nothing(archives: int) -> None:
    """Print how often anything is recommended where no knob matters."""
    for levels, each in (((8, 16, 24), 3), ((8, 16, 24), 8), (tuple(range(4, 40, 3)), 3)):
        kept = better = asked = rows = worse = 0
        for seed in range(archives):
            trials = _of_chance(levels, each, np.random.default_rng(seed))
            rows = len(trials)
            outcome = verdict(trials)
            if isinstance(outcome, Verdict):
                kept += outcome.enough
                worse += any(each.worse for each in outcome.contenders)
            if seed < archives // 4:
                gains = [suggestion.gain_low for suggestion in suggest(trials, 4).suggestions]
                asked += len(gains)
                better += sum(gain is not None and gain > 0 for gain in gains)
        print(
            f"nothing matters, {rows} pictures of {6 * len(levels)} settings: a preset was kept in"
            f" {kept} of {archives} archives, some value called surely worse in {worse};"
            f" {better} of {asked} suggestions were called surely better",
            flush=True,
        )


def coverage(repeats: int) -> None:
    """Print how often the 95 % intervals hold the truth after 60 ratings of random settings."""
    for name, landscape in LANDSCAPES.items():
        new: list[float] = []
        gains: list[bool] = []
        for repeat in range(repeats):
            rng = np.random.default_rng((_UNSEEN + repeat, 7))
            truth = landscape.draw(rng)
            points = SPACE.rounded(SPACE.of_unit(rng.random((60, 5))))
            scores = truth(points) + LUCK * rng.standard_normal(60)
            tried = [
                Tried(setting=SPACE.setting(point), score=float(score))
                for point, score in zip(points, scores, strict=True)
            ]
            model = model_of(SPACE, tried)
            assert model is not None
            others = SPACE.rounded(SPACE.of_unit(rng.random((300, 5))))
            means, deviations = model.predict(others)
            new.append(float(np.mean(np.abs(truth(others) - means) < 1.96 * deviations)))
            best = model.points[[int(np.argmax(model.predict(model.points)[0]))]]
            for proposal in propose(SPACE, tried, 4, model=model, seed=repeat):
                point = np.array(SPACE.point(proposal.setting))
                gain, deviation = model.difference(point, best)
                true = float(truth(point[None, :])[0] - truth(best)[0])
                gains.append(abs(true - gain) < 1.96 * deviation)
        print(
            f"{name:18} 95 % intervals hold the truth: {100 * np.mean(new):.1f} % of new settings,"
            f" {100 * np.mean(gains):.1f} % of the gains of {len(gains)} suggestions",
            flush=True,
        )


def _of_chance(levels: Sequence[int], each: int, rng: np.random.Generator) -> Trials:
    """Return rated pictures whose stars are chance."""
    rows = list(itertools.product(levels, SAMPLERS[:3], (3.0, 7.0), range(each)))
    names = [f"{place:064x}" for place in range(len(rows))]
    events = [
        RatingEvent(
            event_id=name, timestamp="2026-01-01T00:00:00Z", kind="stars",
            image=Identity(sha256=name), value=int(rng.choice(5, p=_STARS)) + 1,
        )
        for name in names
    ]  # fmt: skip
    columns: dict[str, list[Any]] = {
        "sha256": names,
        "prompt": [f"prompt {seed % 2}" for *_, seed in rows],
        "seed": [seed for *_, seed in rows],
        "steps": [steps for steps, *_ in rows],
        "sampler": [sampler for _, sampler, *_ in rows],
        "cfg_scale": [cfg for _, _, cfg, _ in rows],
    }
    return join_trials(columns, fit_scores(events))


_STARS = (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9)


_UNSEEN = 1000
"""First of the landscapes that this prints; numbers 0 to 19 were used to choose constants."""


def main() -> None:
    """Print one row per landscape and method."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--ratings", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--only", default="", help="methods whose name holds this")
    parser.add_argument("--landscape", default="", help="landscapes whose name holds this")
    parser.add_argument("--nothing", action="store_true", help="only archives of pure chance")
    parser.add_argument("--coverage", action="store_true", help="only whether intervals hold")
    given = parser.parse_args()
    if given.coverage:
        coverage(given.repeats)
        return
    if given.nothing:
        nothing(2 * given.repeats)
        return
    methods: dict[str, Method] = {
        "random": random_search, "random, modelled": random_modelled, "Optuna TPE": tpe,
        f"safelight, {given.batch} at a time": safelight(given.batch),
    }  # fmt: skip
    print(
        f"{given.repeats} repeats, {given.ratings} ratings each ({4 * given.ratings} of random"
        f" search); median ratings until within 5 % of the best (quartiles);"
        f" {given.ratings + 1} ({4 * given.ratings + 1}) means never"
    )
    print(f"{'landscape':18} {'method':26} {'found':>16} {'tried':>16} {'off at end':>11} {'s':>6}")
    for name, landscape in LANDSCAPES.items():
        if given.landscape not in name:
            continue
        for title, method in methods.items():
            if given.only not in title:
                continue
            started = time.perf_counter()
            courses = []
            for repeat in range(given.repeats):
                rng = np.random.default_rng((_UNSEEN + repeat, 7))
                truth = landscape.draw(rng)
                best = best_of(truth, rng)
                count = given.ratings * (4 if title == "random" else 1)
                courses.append(course(method(landscape, truth, count, rng), best))
            seconds = (time.perf_counter() - started) / given.repeats
            off = np.median([each.end for each in courses])
            print(
                f"{name:18} {title:26} {_quartiles([each.reached for each in courses]):>16}"
                f" {_quartiles([each.tried for each in courses]):>16} {off:9.1f} % {seconds:6.1f}",
                flush=True,
            )


def _quartiles(values: Sequence[int]) -> str:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"


if __name__ == "__main__":
    main()
