"""KnobSpace: the settings that may be tried, as points that a model can reason about.

A number lies between two ends, on a logarithmic scale where its values span a large ratio
(``steps`` 4 to 64 does), and is only ever asked for in round steps; everything else is a choice
among named levels. A setting is a mapping of knob -> value; a point is its row of floats:
0 to 1 for a number, the place of the level for a choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.errors import ConfigError
from safelight.knobs import KNOBS
from safelight.recorded_settings import LORA

__all__ = [
    "ChoiceKnob",
    "KnobSpace",
    "NumberKnob",
    "Rooms",
    "SpaceKnob",
    "knob_of_values",
    "widened",
]

Points = NDArray[np.float64]

_LOG_RATIO = 8.0
"""Numbers that span a larger ratio than this are looked at on a logarithmic scale."""

_ROUND_STEPS = 40
"""About as many round values are tried between two ends."""

_TYPED = {"cfg_scale": 0.5, "denoising_strength": 0.05, "hires_denoising_strength": 0.05}
_TYPED_WEIGHT, _FEWEST_STEPS = 0.05, 4
"""Steps in which people type these and weights of LoRAs, where so many fit between the ends."""

_LEAST_SETTING, _MOST_SETTING = 1e-100, 1e100
"""Smaller and larger numbers are nobody's setting, and cannot be calculated with."""

MOST_LEVELS = 64
"""Levels of a choice that can be compared with any hope; the most often tried are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberKnob:
    """A knob that is a number.

    Attributes:
        name: ``stage.knob``, or whatever the trials call it.
        low: Least value.
        high: Greatest value, above *low*.
        step: Values are multiples of this, or one of both ends. Of numbers on a logarithmic scale
            that are not whole, the step is instead a tenth of the value, rounded down to 1, 2 or
            5 times a power of ten, unless it is *typed*.
        logarithmic: Ratios count, not differences; *low* is above 0.
        integer: Values are whole numbers.
        typed: The step is that in which people type such values.
    """

    name: str
    low: float
    high: float
    step: float
    logarithmic: bool = False
    integer: bool = False
    typed: bool = False

    def place(self, value: Any) -> float:
        """Return where *value* v lies: 0 at *low*, 1 at *high*; NaN for what is no number.

        ``(v - low) / (high - low)``; on a logarithmic scale ``log(v / low) / log(high / low)``.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return math.nan
        if self.logarithmic:
            if value <= 0:
                return math.nan
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, place: float) -> Any:
        """Return the round value nearest to *place* p, a number from 0 to 1.

        ``low + p (high - low)``, or ``low (high / low)^p`` on a logarithmic scale, then rounded.
        """
        place = min(1.0, max(0.0, place))
        if self.logarithmic:
            exact = self.low * (self.high / self.low) ** place
        else:
            exact = self.low + place * (self.high - self.low)
        step = self.step
        if self.logarithmic and not self.integer and not self.typed:
            step = _round_step(exact / 10)
        rounded = min(self.high, max(self.low, round(exact / step) * step))
        if self.integer:
            return round(rounded)
        return float(f"{rounded:.6g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceKnob:
    """A knob whose values have no order.

    Attributes:
        name: As in :class:`NumberKnob`.
        levels: What there is to choose from, at least two.
    """

    name: str
    levels: tuple[Any, ...]

    def place(self, value: Any) -> float:
        """Return which level *value* is; NaN for none of them."""
        for number, level in enumerate(self.levels):
            if level == value and isinstance(level, bool) is isinstance(value, bool):
                return float(number)
        return math.nan

    def value(self, place: float) -> Any:
        """Return the level at *place*."""
        return self.levels[int(place)]


SpaceKnob = NumberKnob | ChoiceKnob


def knob_of_values(name: str, values: Iterable[Any]) -> SpaceKnob | None:
    """Return the knob *name* with these values as what may be tried; None when it never varies.

    Values that are missing (None, NaN), or beyond any setting, are passed over. Where numbers and
    texts are mixed, all are levels of a choice. Of more than :data:`MOST_LEVELS` levels the most
    frequent stay.

    Args:
        name: ``stage.knob`` or the knob alone; the knob table gives whole numbers and multiples.
        values: What was tried, or may be, in any order, with repeats.
    """
    counts: dict[tuple[bool, Any], int] = {}
    for value in values:
        if value is None or (isinstance(value, (int, float)) and not _is_setting(value)):
            continue
        key = (isinstance(value, bool), value)
        counts[key] = counts.get(key, 0) + 1
    levels = [value for _, value in counts]
    if len(levels) < 2:
        return None
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in levels):
        return _number_knob(name, levels)
    kept = sorted(counts, key=lambda key: (-counts[key], str(key[1])))[:MOST_LEVELS]
    return ChoiceKnob(name=name, levels=tuple(sorted((v for _, v in kept), key=str)))


def _is_setting(value: float) -> bool:
    return value == 0 or _LEAST_SETTING < abs(value) < _MOST_SETTING


def widened(knob: NumberKnob) -> NumberKnob:
    """Return *knob* with a tenth more room at both ends, as far as its rule allows.

    A tenth of ``high - low``, or on a logarithmic scale the factor ``(high / low)^0.1``, in whole
    steps; and never below half of *low* where that is not negative.

    The best value may lie just outside of what was tried.
    """
    rule = KNOBS.get(knob.name.rpartition(".")[2])
    least = -math.inf if rule is None or rule.minimum is None else rule.minimum
    most = math.inf if rule is None or rule.maximum is None else rule.maximum
    if rule is not None and rule.above is not None:
        least = rule.above + knob.step
    if knob.low >= 0:
        least = max(least, knob.low / 2)
    if knob.logarithmic:
        factor = (knob.high / knob.low) ** 0.1
        low, high = knob.low / factor, knob.high * factor
    else:
        room = 0.1 * (knob.high - knob.low)
        low, high = knob.low - room, knob.high + room
    low = max(least, knob.low - math.floor((knob.low - low) / knob.step) * knob.step)
    high = min(most, knob.high + math.floor((high - knob.high) / knob.step) * knob.step)
    return replace(knob, low=min(low, knob.low), high=max(high, knob.high))


def _number_knob(name: str, levels: Sequence[float]) -> NumberKnob:
    rule = KNOBS.get(name.rpartition(".")[2])
    low, high = float(min(levels)), float(max(levels))
    whole = all(float(level).is_integer() for level in levels)
    integer = rule.kind == "integer" if rule is not None else whole and high - low >= _ROUND_STEPS
    step = _round_step((high - low) / _ROUND_STEPS)
    if integer:
        step = float((rule and rule.multiple_of) or max(1.0, 1.0 if high < 200 else step))
    usual = _TYPED_WEIGHT if name.startswith(LORA) else _TYPED.get(name.rpartition(".")[2], 0.0)
    typed = usual > 0 and high - low >= _FEWEST_STEPS * usual
    return NumberKnob(
        name=name, low=low, high=high, step=usual if typed else step, integer=integer,
        logarithmic=low > 0 and high / low > _LOG_RATIO, typed=typed,
    )  # fmt: skip


def _round_step(size: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is not above *size*."""
    power = 10.0 ** math.floor(math.log10(size))
    return next((float(f * power) for f in (5, 2, 1) if f * power <= size * 1.000001), power)


def _rounded_places(knob: NumberKnob, places: Points) -> Points:
    """Return where the round values nearest to *places* lie; see :meth:`NumberKnob.value`."""
    places = np.clip(places, 0.0, 1.0)
    ratio = knob.high / knob.low if knob.logarithmic else 0.0
    step: float | Points = knob.step
    if knob.logarithmic:
        exact = knob.low * ratio**places
        if not knob.integer and not knob.typed:
            power = 10.0 ** np.floor(np.log10(exact / 10))
            head = exact / 10 / power * 1.000001
            step = power * np.where(head >= 5, 5.0, np.where(head >= 2, 2.0, 1.0))
    else:
        exact = knob.low + places * (knob.high - knob.low)
    values = np.clip(np.round(exact / step) * step, knob.low, knob.high)
    if knob.logarithmic:
        return np.asarray(np.log(values / knob.low) / math.log(ratio))
    return np.asarray((values - knob.low) / (knob.high - knob.low))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What goes together with each level of one choice.

    Attributes:
        choice: The knob that others depend on, a choice.
        numbers: Number -> for each level of *choice* its least and greatest value.
        choices: Other choice -> for each level of *choice* the places of the levels that go
            with it, at least one.
    """

    choice: str
    numbers: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    choices: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobSpace:
    """Every combination of values of some knobs.

    Attributes:
        knobs: At least one, no name twice.
        rooms: What goes together, where not everything does.
    """

    knobs: tuple[SpaceKnob, ...]
    rooms: Rooms | None = None

    def __post_init__(self) -> None:
        names = [knob.name for knob in self.knobs]
        if not names:
            raise ConfigError("there is no knob to vary; name some with --knob steps=4,8,16")
        if len(set(names)) < len(names):
            raise ConfigError(f"no knob may be there twice, got {', '.join(names)}")

    @property
    def choices(self) -> NDArray[np.bool_]:
        """Which of the knobs are choices."""
        return np.array([isinstance(knob, ChoiceKnob) for knob in self.knobs])

    def point(self, setting: Mapping[str, Any]) -> list[float]:
        """Return where *setting* lies; NaN where it has no such knob or value."""
        return [knob.place(setting.get(knob.name)) for knob in self.knobs]

    def setting(self, point: Sequence[float] | Points) -> dict[str, Any]:
        """Return the round setting nearest to *point*."""
        if self.rooms is not None:
            point = self._inside(np.array([point], float))[0]
        setting = {k.name: k.value(float(p)) for k, p in zip(self.knobs, point, strict=True)}
        if self.rooms is not None:  # rounding may lead out of it again
            own = self._level(setting[self.rooms.choice])
            for name, ends in self.rooms.numbers.items():
                low, high = ends[own]
                if not low <= setting[name] <= high:
                    end = low if setting[name] < low else high
                    setting[name] = round(end) if end.is_integer() else end
        return setting

    def rounded(self, points: Points) -> Points:
        """Return *points* moved to where their settings truly lie."""
        moved = np.array(points, float)
        for column, knob in enumerate(self.knobs):
            if isinstance(knob, NumberKnob):
                moved[:, column] = _rounded_places(knob, moved[:, column])
        return moved if self.rooms is None else self._inside(moved)

    def goes_together(self, points: Points) -> NDArray[np.bool_]:
        """Return which of *points* lie within their rooms, bool[n]."""
        if self.rooms is None:
            return np.ones(len(points), bool)
        return np.asarray(np.isclose(self._inside(np.array(points, float)), points).all(axis=1))

    def _inside(self, points: Points) -> Points:
        """Move *points* to the nearest ones within their rooms."""
        assert self.rooms is not None
        at = {knob.name: column for column, knob in enumerate(self.knobs)}
        own = points[:, at[self.rooms.choice]].astype(np.intp)
        for name, ends in self.rooms.numbers.items():
            knob = self.knobs[at[name]]
            places = np.array([[knob.place(low), knob.place(high)] for low, high in ends])
            points[:, at[name]] = np.clip(points[:, at[name]], *places[own].T)
        for name, allowed in self.rooms.choices.items():
            knob = self.knobs[at[name]]
            assert isinstance(knob, ChoiceKnob)
            levels = range(len(knob.levels))
            # What does not go with it becomes one that does, each in turn.
            goes = np.array([[n if n in some else some[n % len(some)] for n in levels]
                             for some in allowed])  # fmt: skip
            points[:, at[name]] = goes[own, points[:, at[name]].astype(np.intp)]
        return points

    def _level(self, value: Any) -> int:
        assert self.rooms is not None
        return int(next(k for k in self.knobs if k.name == self.rooms.choice).place(value))

    def of_unit(self, rows: Points) -> Points:
        """Return the points of *rows*, numbers of 0 to 1 (1 excluded), one column per knob."""
        points = np.array(rows, float)
        for column, knob in enumerate(self.knobs):
            if isinstance(knob, ChoiceKnob):
                points[:, column] = np.floor(points[:, column] * len(knob.levels))
        return points
