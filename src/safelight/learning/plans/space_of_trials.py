"""space_of_trials: what may be varied, from what was rated, and what goes together.

Knobs that varied may be varied, numbers a little beyond what was tried. Where pictures of several
models were rated, the model is one more choice, and not everything goes with each:

- A LoRA only with models that it was used with, since it may be made for their kind alone.
- Steps, guidance and shift within what the model itself was tried with, since a distilled model
  wants other ones. Of a model with fewer than ten rated pictures too little is known to say so.
- Samplers and other named values only where an engine that draws the model has drawn them.
- A knob that not all models have is not varied; it stays with those that do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.knobs import KNOBS
from safelight.learning.evidence.trials import Trials
from safelight.learning.plans.knob_space import (
    MOST_LEVELS,
    ChoiceKnob,
    KnobSpace,
    NumberKnob,
    Rooms,
    SpaceKnob,
    knob_of_values,
    widened,
)
from safelight.learning.plans.suggested import FEWEST_ALIKE
from safelight.recorded_settings import LORA

__all__ = ["EXPLORED", "MODEL", "knob_values", "space_of"]

MODEL = "model"

EXPLORED: tuple[SpaceKnob, ...] = tuple(
    knob
    for knob in (
        knob_of_values("steps", (6, 40)),
        knob_of_values("cfg_scale", (2.0, 12.0)),
        knob_of_values("sampler", ("Euler", "Euler a", "DPM++ 2M", "DPM++ SDE")),
    )
    if knob is not None
)
"""What is explored when nothing at all is known."""

_NOT_SET = frozenset(("stage", "negative_prompt", "width", "height"))
_OF_A_MODEL = frozenset(("steps", "cfg_scale", "guidance", "shift"))
"""Numbers of which each model wants its own."""

_MOST_NAMED = 4


def space_of(
    trials: Trials, given: Sequence[SpaceKnob] = ()
) -> tuple[KnobSpace, dict[str, Any], list[str]]:
    """Return what may be varied, what stays as it is, and what to say about that.

    Args:
        trials: The rated pictures.
        given: Knobs to vary between these values, with whatever model.
    """
    notes: list[str] = []
    named = {knob.name: knob for knob in given}
    varied: dict[str, SpaceKnob] = {}
    fixed: dict[str, Any] = {}
    for name in sorted(trials.knobs, key=lambda name: name != MODEL):
        if name in named or not (name in KNOBS or name.startswith(LORA)):
            continue  # what is no setting of the engine, such as the terms of a prompt
        values = knob_values(trials, name)
        known = [value for value in values if value is not None]
        if not known:
            continue
        knob = knob_of_values(name, known) if name not in _NOT_SET else None
        if isinstance(knob, NumberKnob) and not name.startswith(LORA):
            knob = widened(knob)
        if knob is None or len(known) < 0.9 * len(values):
            fixed[name] = Counter(known).most_common(1)[0][0]
            if knob is not None and MODEL in varied:
                notes += _of_some_models(trials, name, values)
            continue
        levels = len(set(known))
        if isinstance(knob, ChoiceKnob) and levels > MOST_LEVELS:
            notes.append(f"{name} has {levels:,} values; only the {MOST_LEVELS} most drawn are"
                         " considered")  # fmt: skip
        varied[name] = knob
    varied |= named
    if not varied:
        notes.append(
            "no setting that nearly all rated pictures tell varied so far; steps, cfg_scale and"
            " sampler are explored"
        )
        varied = {knob.name: knob for knob in EXPLORED}
        fixed = {name: value for name, value in fixed.items() if name not in varied}
    model = varied.get(MODEL)
    rooms = None
    if isinstance(model, ChoiceKnob):
        rooms, few = _rooms(trials, model, list(varied.values()), named)
        notes += few
    return KnobSpace(knobs=tuple(varied.values()), rooms=rooms), fixed, notes


def knob_values(trials: Trials, name: str) -> list[Any]:
    """Return the values of a knob, None where it is absent."""
    if name in trials.numbers:
        column = trials.numbers[name]
        return [None if math.isnan(v) else int(v) if v.is_integer() else float(v) for v in column]
    levels = trials.levels[name]
    return [None if code < 0 else levels.names[code] for code in levels.codes]


def _of_some_models(trials: Trials, name: str, values: Sequence[Any]) -> list[str]:
    """Return what to say of a knob that some models have and others do not."""
    known: dict[str, list[bool]] = {}
    for model, value in zip(knob_values(trials, MODEL), values, strict=True):
        known.setdefault(model, []).append(value is not None)
    having = [model for model, there in known.items() if sum(there) >= 0.9 * len(there)]
    if not 0 < len(having) < len(known):
        return []
    return [f"{name} is only known of {_listed(having)}, and stays there as it was; of one model"
            " alone it is varied"]  # fmt: skip


def _rooms(
    trials: Trials, model: ChoiceKnob, knobs: Sequence[SpaceKnob], named: Mapping[str, SpaceKnob]
) -> tuple[Rooms, list[str]]:
    """Return what goes with each model, and what to say of those of which little is known."""
    codes = np.array([model.place(value) for value in knob_values(trials, MODEL)])
    rows = [np.flatnonzero(codes == place) for place in range(len(model.levels))]
    few = [len(own) < FEWEST_ALIKE for own in rows]
    numbers: dict[str, tuple[tuple[float, float], ...]] = {}
    choices: dict[str, tuple[tuple[int, ...], ...]] = {}
    unbounded = []
    for knob in knobs:
        lora = knob.name.startswith(LORA)
        if knob.name not in trials.knobs or (knob.name in named and not lora):
            continue
        values = knob_values(trials, knob.name)
        if isinstance(knob, ChoiceKnob) and knob is not model:
            choices[knob.name] = _drawn_by_its_engines(trials, knob, values, rows)
        elif isinstance(knob, NumberKnob) and lora:
            numbers[knob.name] = tuple(
                (knob.low, knob.high) if any(values[row] for row in own) else (0.0, 0.0)
                for own in rows
            )
        elif isinstance(knob, NumberKnob) and knob.name in _OF_A_MODEL:
            unbounded.append(knob.name)
            numbers[knob.name] = tuple(
                (knob.low, knob.high) if little else _tried(knob, [values[row] for row in own])
                for own, little in zip(rows, few, strict=True)
            )
    little_known = [str(name) for name, little in zip(model.levels, few, strict=True) if little]
    notes = []
    if little_known and unbounded:
        notes.append(
            f"fewer than {FEWEST_ALIKE} pictures of {_listed(little_known)} are rated:"
            f" {', '.join(unbounded)} may be ones that never were tried with it"
        )
    return Rooms(choice=MODEL, numbers=numbers, choices=choices), notes


def _tried(knob: NumberKnob, values: Sequence[Any]) -> tuple[float, float]:
    """Return the least and greatest round value within what was tried."""
    known = [value for value in values if value is not None and math.isfinite(knob.place(value))]
    if not known:
        return knob.low, knob.high
    low, high = float(min(known)), float(max(known))
    inner = math.ceil(low / knob.step) * knob.step, math.floor(high / knob.step) * knob.step
    return inner if inner[0] <= inner[1] else (low, high)


def _drawn_by_its_engines(
    trials: Trials, knob: ChoiceKnob, values: Sequence[Any], rows: Sequence[NDArray[np.intp]]
) -> tuple[tuple[int, ...], ...]:
    """Return for each model the places of the levels that its engines have drawn."""
    engines = trials.backends.codes
    places = np.array([knob.place(value) for value in values])
    found = []
    for own in rows:
        drawn = places[np.isin(engines, engines[own])]
        known = sorted({int(place) for place in drawn if math.isfinite(place)})
        found.append(tuple(known or range(len(knob.levels))))
    return tuple(found)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
