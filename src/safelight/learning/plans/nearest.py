"""nearest: the pictures there are that come nearest to a setting that nobody has drawn.

A setting in words is hard to imagine; a picture that differs from it in one number is not. Far is
what people would call so: another model is further than another sampler, and of a number the
distance is a part of the room between what was tried, on a logarithmic scale where its values
span a large ratio (:mod:`.knob_space`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.trials import Trials
from safelight.learning.plans.knob_space import NumberKnob, SpaceKnob, knob_of_values
from safelight.learning.plans.space_of_trials import MODEL, knob_values
from safelight.learning.plans.suggested import Difference, Nearest
from safelight.recorded_settings import LORA

__all__ = ["nearest_pictures"]

Rows = NDArray[np.intp]

_OTHER_MODEL, _OTHER_VALUE = 3.0, 1.0
"""How far another model is, and another value of any choice; the ends of a number are 1 apart."""

_UNKNOWN = 1.5
"""How far a picture is that does not tell its value: it may be any."""

_LEAST = 0.02
"""How far another number is at least, so that the same one is nearer however wide the room is."""


def nearest_pictures(
    trials: Trials, settings: Sequence[Mapping[str, Any]], count: int = 3
) -> tuple[tuple[Nearest, ...], ...]:
    """Return for each of *settings* the *count* pictures that are nearest to it.

    Of pictures that are equally near, one of each prompt comes first, and those whose score lies
    in the middle of them: none is shown because it turned out well.

    Args:
        trials: The pictures; those of which no file is known are left out.
        settings: Knob -> value.
        count: How many for each.

    Returns:
        Fewer where there are no more of which any of the settings is known.
    """
    known = np.flatnonzero([bool(digest) for digest in trials.digests])
    if not len(known):
        return ((),) * len(settings)
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    columns = {name: _values(trials, name) for name in names}
    return tuple(_nearest(trials, known, columns, setting, count) for setting in settings)


def _values(trials: Trials, name: str) -> Sequence[Any]:
    if name in trials.knobs:
        return knob_values(trials, name)
    return [0 if name.startswith(LORA) else None] * len(trials)


def _nearest(
    trials: Trials,
    known: Rows,
    columns: Mapping[str, Sequence[Any]],
    setting: Mapping[str, Any],
    count: int,
) -> tuple[Nearest, ...]:
    distances = np.zeros(len(trials))
    for name, wanted in setting.items():
        values = columns[name]
        knob = knob_of_values(name, (*values, wanted))
        steps = {value: _step(knob, name, value, wanted) for value in set(values)}
        distances += [steps[value] for value in values]
    told = [name for name in setting if not name.startswith(LORA)]
    if told:  # of which nothing is known, that is near to nothing
        known = known[[any(columns[name][row] is not None for name in told) for row in known]]
    if not len(known):
        return ()
    distances = distances.round(6)
    order = known[np.argsort(distances[known], kind="stable")]
    last = distances[order[min(count, len(order)) - 1]]
    chosen: list[int] = []
    for distance in np.unique(distances[order[distances[order] <= last]]):
        chosen += _of_many_prompts(trials, order[distances[order] == distance])
    return tuple(
        Nearest(
            digest=trials.digests[row],
            differences=tuple(
                Difference(knob=name, value=columns[name][row], wanted=wanted)
                for name, wanted in setting.items()
                if columns[name][row] != wanted
            ),
        )
        for row in chosen[:count]
    )


def _of_many_prompts(trials: Trials, rows: Rows) -> list[int]:
    """Return *rows*, the first of each prompt before the second of any, the middling ones first."""
    off = np.abs(trials.scores[rows] - np.median(trials.scores[rows]))
    by_score = sorted(zip(off.tolist(), rows.tolist(), strict=True),
                      key=lambda one: (one[0], trials.digests[one[1]]))  # fmt: skip
    turns: dict[int, list[int]] = {}
    for _, row in by_score:
        turns.setdefault(int(trials.prompts.codes[row]), []).append(row)
    return [row for turn in zip_longest(*turns.values()) for row in turn if row is not None]


def _step(knob: SpaceKnob | None, name: str, value: Any, wanted: Any) -> float:
    """Return how far *value* is from *wanted*."""
    if value == wanted:
        return 0.0
    if name == MODEL:
        return _OTHER_MODEL
    if isinstance(knob, NumberKnob):
        apart = abs(knob.place(value) - knob.place(wanted))
        if math.isfinite(apart):
            return max(apart, _LEAST)
    return _UNKNOWN if value is None else _OTHER_VALUE
