"""How good the recommended setting is after 20, 40 and 60 ratings, beside other optimisers.

Six knobs, among them four models, ten samplers and five schedulers; whole stars with luck, one
picture of a setting. Three kinds of landscape, drawn anew for every repeat:

- ``cliffs``: a third of the pairs of sampler and scheduler fail outright, the rest differ little.
- ``turbo``: three models want much guidance and many steps, the fourth, which is then the best,
  little guidance and few steps.
- ``flat``: nearly nothing matters but the model and a bad corner.

All methods see the same landscapes. Printed is by how many stars the setting that a method
recommends is below the best there is, and how much less that is than of others, landscape by
landscape, with a 95 % interval of the mean (Student's t). Random search and Optuna recommend what
was rated best; safelight what its model holds for the best, as ``safelight suggest`` does.

    python bench/suggest_peers.py --repeats 10
    python bench/suggest_peers.py --repeats 100 --only random,safelight

Optuna's samplers run where it can be imported (5.0; its GP needs torch).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from scipy.special import stdtrit

from safelight.learning.plans.knob_space import ChoiceKnob, KnobSpace, NumberKnob
from safelight.learning.plans.proposals import Tried, model_of, propose
from suggest_landscapes import (
    Landscape,
    Setting,
    Truth,
    of_settings,
    optuna_setting,
    optuna_study,
)

LOOKS = (20, 40, 60)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SAMPLERS = (
    "Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ SDE", "DDIM", "UniPC", "LCM", "DPM2", "IPNDM",
)  # fmt: skip
SCHEDULERS = ("Karras", "Normal", "Exponential", "Beta", "Simple")
MODELS = ("a", "b", "c", "turbo")

SPACE = KnobSpace(
    knobs=(
        NumberKnob(name="steps", low=4, high=50, step=1, logarithmic=True, integer=True),
        NumberKnob(name="cfg_scale", low=1, high=15, step=0.5),
        NumberKnob(name="lora.ink", low=0, high=1.2, step=0.05),
        ChoiceKnob(name="sampler", levels=SAMPLERS),
        ChoiceKnob(name="scheduler", levels=SCHEDULERS),
        ChoiceKnob(name="model", levels=MODELS),
    )
)


def cliffs(rng: np.random.Generator) -> Truth:
    """Return one where a third of the pairs of sampler and scheduler have one star."""
    fails = rng.random((10, 5)) < 0.33
    samplers, models = rng.uniform(-0.3, 0, 10), rng.uniform(-0.6, 0, 4)
    centre = rng.uniform(4, 9)

    def score(setting: Setting) -> float:
        sampler = SAMPLERS.index(setting["sampler"])
        if fails[sampler, SCHEDULERS.index(setting["scheduler"])]:
            return 1.0
        worth = 4.3 + samplers[sampler] + models[MODELS.index(setting["model"])]
        worth -= 0.05 * max(abs(setting["cfg_scale"] - centre) - 2, 0) ** 1.5
        worth -= 0.6 * math.exp(-(setting["steps"] - 4) / 8)
        return max(float(worth - 0.3 * max(setting["lora.ink"] - 0.8, 0) / 0.4), 1.0)

    return of_settings(SPACE, score)


def turbo(rng: np.random.Generator) -> Truth:
    """Return one where the best model wants what the others cannot bear."""
    samplers, schedulers = rng.uniform(-0.4, 0, 10), rng.uniform(-0.2, 0, 5)
    models, weight = rng.uniform(-0.5, 0, 3), rng.uniform(0.2, 1.0)

    def score(setting: Setting) -> float:
        steps, cfg, model = setting["steps"], setting["cfg_scale"], setting["model"]
        if model == "turbo":
            near = ((cfg - 1.5) / 1.5) ** 2 + (math.log(steps / 7) / 0.8) ** 2
            worth = 2.0 + 2.3 * math.exp(-0.5 * near)
        else:
            hill = math.exp(-0.5 * ((cfg - 6.5) / 3) ** 2) * (1 - math.exp(-steps / 12))
            worth = 2.2 + 1.5 * hill + models[MODELS.index(model)]
        worth += 0.5 * math.exp(-0.5 * ((setting["lora.ink"] - weight) / 0.35) ** 2)
        sampler, scheduler = setting["sampler"], setting["scheduler"]
        return float(
            worth + samplers[SAMPLERS.index(sampler)] + schedulers[SCHEDULERS.index(scheduler)]
        )

    return of_settings(SPACE, score)


def flat(rng: np.random.Generator) -> Truth:
    """Return one where most pictures have four stars."""
    models, samplers = rng.uniform(-0.8, 0, 4), rng.uniform(-0.15, 0, 10)

    def score(setting: Setting) -> float:
        worth = 4.2 + models[MODELS.index(setting["model"])]
        worth += samplers[SAMPLERS.index(setting["sampler"])]
        worth -= 0.8 * (setting["cfg_scale"] > 11 and setting["lora.ink"] > 0.6)
        return float(worth - 0.5 * (setting["steps"] < 8))

    return of_settings(SPACE, score)


LANDSCAPES = {
    "cliffs": Landscape(SPACE, cliffs, 0.6),
    "turbo": Landscape(SPACE, turbo, 0.8),
    "flat": Landscape(SPACE, flat, 0.8),
}


def best_of(landscape: Landscape, truth: Truth, rng: np.random.Generator) -> float:
    """Return the best score found by a dense search and climbing from its best setting."""

    def worth(setting: Setting) -> float:
        return landscape.score(truth, setting)

    best = max((_anywhere(rng) for _ in range(6000)), key=worth)
    for _ in range(3000):
        other = _anywhere(rng)
        moved = rng.choice(list(best), size=int(rng.integers(1, 3)))
        best = max(best, {**best, **{name: other[name] for name in moved}}, key=worth)
    return worth(best)


def _anywhere(rng: np.random.Generator) -> dict[str, Any]:
    return SPACE.setting(SPACE.of_unit(rng.random((1, len(SPACE.knobs))))[0])


class Method(Protocol):
    """Something that asks for settings, is told stars, and recommends one of those it asked for."""

    def ask(self) -> Setting:
        """Return the next one."""
        ...

    def tell(self, setting: Setting, stars: int) -> None:
        """Take what its picture was rated."""
        ...

    def recommended(self) -> int:
        """Return the place of the one held for the best."""
        ...


class AtRandom:
    """Random search; it recommends what was rated best."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.stars: list[int] = []

    def ask(self) -> Setting:
        """Return the next one."""
        return _anywhere(self.rng)

    def tell(self, setting: Setting, stars: int) -> None:  # noqa: ARG002
        """Take what its picture was rated."""
        self.stars.append(stars)

    def recommended(self) -> int:
        """Return the place of the one held for the best."""
        return int(np.argmax(self.stars))


class Safelight:
    """``safelight suggest``, asked for four settings at a time."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tried: list[Tried] = []
        self.asked: list[Setting] = []

    def ask(self) -> Setting:
        """Return the next one."""
        if not self.asked:
            proposals = propose(SPACE, self.tried, 4, seed=int(self.rng.integers(2**31)))
            self.asked = [proposal.setting for proposal in proposals]
        return self.asked.pop(0)

    def tell(self, setting: Setting, stars: int) -> None:
        """Take what its picture was rated."""
        self.tried.append(Tried(setting=setting, score=stars))

    def recommended(self) -> int:
        """Return the place of the one held for the best."""
        model = model_of(SPACE, self.tried)
        if model is None:
            return int(np.argmax([rated.score for rated in self.tried]))
        points = np.array([SPACE.point(rated.setting) for rated in self.tried])
        means, deviations = model.predict(points)
        return int(np.argmax(means - deviations))


class Optuna(AtRandom):
    """One of Optuna's samplers, one trial at a time; it recommends what was rated best."""

    def __init__(self, seed: int, sampler: str) -> None:
        super().__init__(seed)
        self.study = optuna_study(sampler, seed)

    def ask(self) -> Setting:
        """Return the next one."""
        self.trial = self.study.ask()
        return optuna_setting(SPACE, self.trial)

    def tell(self, setting: Setting, stars: int) -> None:
        """Take what its picture was rated."""
        super().tell(setting, stars)
        self.study.tell(self.trial, stars)


METHODS: Mapping[str, Callable[[int], Method]] = {
    "safelight": Safelight,
    "random": AtRandom,
    "Optuna TPE": lambda seed: Optuna(seed, "tpe"),
    "Optuna GP": lambda seed: Optuna(seed, "gp"),
}


def regrets(landscape: Landscape, repeat: int, method: Method) -> list[float]:
    """Return by how many stars the recommended setting is below the best, at each of the looks."""
    rng = np.random.default_rng((repeat, 77))
    truth = landscape.draw(rng)
    best = best_of(landscape, truth, rng)
    scores: list[float] = []
    found = []
    for count in range(1, LOOKS[-1] + 1):
        setting = method.ask()
        scores.append(landscape.score(truth, setting))
        method.tell(setting, landscape.stars(scores[-1], rng))
        if count in LOOKS:
            found.append(best - scores[method.recommended()])
    return found


def _regrets(title: str, name: str, repeat: int) -> list[float]:
    return regrets(LANDSCAPES[title], repeat, METHODS[name](repeat + 1))


def _with_interval(values: Sequence[float], sign: str = "") -> str:
    """Return the mean of *values* -+ half its 95 % interval."""
    count = len(values)
    reach = stdtrit(count - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(count)
    return f"{np.mean(values):{sign}.2f} ± {reach:.2f}"


def main() -> None:
    """Print a row for each landscape and method."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=10, help="at least 2")
    parser.add_argument("--first", type=int, default=0, help="number of the first landscape")
    parser.add_argument("--only", default="", help="methods, with commas between")
    parser.add_argument("--landscape", default="", help="landscapes whose name holds this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    given = parser.parse_args()
    wanted = given.only.split(",") if given.only else list(METHODS)
    if find_spec("optuna") is None:
        wanted = [name for name in wanted if not name.startswith("Optuna")]
    if find_spec("torch") is None:
        wanted = [name for name in wanted if name != "Optuna GP"]
    print(f"{given.repeats} repeats; stars below the best after {LOOKS} ratings, ± 95 %")
    repeats = range(given.first, given.first + given.repeats)
    landscapes = [name for name in LANDSCAPES if given.landscape in name]
    # Read by every process when it loads its arithmetic: one thread each.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        made = {
            (landscape, name): [pool.submit(_regrets, landscape, name, one) for one in repeats]
            for landscape in landscapes
            for name in sorted(wanted, key=lambda name: name != "Optuna GP")  # the slowest first
        }
        for title in landscapes:
            off: dict[str, np.ndarray] = {}
            for name in wanted:
                off[name] = np.array([one.result() for one in made[title, name]])
                figures = "".join(f"{_with_interval(column):>16}" for column in off[name].T)
                print(f"{title:8} {name:22}{figures}", flush=True)
            for name in wanted:
                if name != "safelight" and "safelight" in off:
                    apart = (off["safelight"] - off[name]).T
                    figures = "".join(f"{_with_interval(column, '+'):>16}" for column in apart)
                    print(f"{title:8} safelight - {name:10}{figures}", flush=True)


if __name__ == "__main__":
    main()
