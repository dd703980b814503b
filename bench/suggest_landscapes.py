"""Landscapes of settings whose truth is known: what suggest_truth.py and suggest_peers.py share.

A landscape is a space of settings, a truth that is drawn anew for every repeat, and the luck of a
picture. A truth gives the score of each point of the space, in stars; a simulated person gives
whole ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from safelight.learning.plans.knob_space import ChoiceKnob, KnobSpace

__all__ = ["Landscape", "Setting", "Truth", "of_settings", "optuna_setting", "optuna_study"]

Setting = Mapping[str, Any]
Truth = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Landscape:
    """One of them.

    Attributes:
        space: Of its settings.
        draw: Returns a truth.
        luck: Standard deviation of a picture's own luck, in stars.
    """

    space: KnobSpace
    draw: Callable[[np.random.Generator], Truth]
    luck: float

    def score(self, truth: Truth, setting: Setting) -> float:
        """Return the true score of one setting."""
        return float(truth(np.array([self.space.point(setting)]))[0])

    def stars(self, score: float, rng: np.random.Generator) -> int:
        """Return what the person gives a picture."""
        return int(np.clip(round(score + self.luck * rng.standard_normal()), 1, 5))


def of_settings(space: KnobSpace, score: Callable[[Setting], float]) -> Truth:
    """Return the truth that gives each setting its *score*."""

    def scores(points: np.ndarray) -> np.ndarray:
        return np.array([score(space.setting(point)) for point in points])

    return scores


def optuna_study(sampler: str, seed: int) -> Any:
    """Return a study with Optuna's sampler ``tpe`` or ``gp``, one trial at a time."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = (
        optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
        if sampler == "gp"
        else optuna.samplers.TPESampler(seed=seed)
    )
    return optuna.create_study(direction="maximize", sampler=made)


def optuna_setting(space: KnobSpace, trial: Any) -> Setting:
    """Return the setting of *space* that *trial* asks for."""
    setting: dict[str, Any] = {}
    for knob in space.knobs:
        if isinstance(knob, ChoiceKnob):
            setting[knob.name] = trial.suggest_categorical(knob.name, knob.levels)
        elif knob.integer:
            setting[knob.name] = trial.suggest_int(
                knob.name, int(knob.low), int(knob.high), log=knob.logarithmic
            )
        else:
            setting[knob.name] = trial.suggest_float(knob.name, knob.low, knob.high, step=knob.step)
    return setting
