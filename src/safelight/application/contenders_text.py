"""contenders_text: what a best setting is better than, what may be as good, and how fast it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from safelight.knobs import KNOBS
from safelight.learning.plans.suggested import Contenders

__all__ = ["Seconds", "contenders_text", "seconds_taken"]

_MOST_VALUES, _MOST_TIMED = 6, 20_000

Seconds = Mapping[str, Mapping[Any, float]]
"""Knob -> value -> the median of the seconds that its pictures took."""


def seconds_taken(rows: Sequence[Sequence[Any]], at: Mapping[str, int]) -> Seconds:
    """Return the median of the seconds of *rows*, the first 20,000, by knob and value.

    Args:
        rows: Of the view ``images``, of one model, engine and stage.
        at: Column -> its place in a row; ``seconds`` and some knobs.
    """
    taken: dict[str, dict[Any, list[float]]] = {}
    timed = [row for row in rows if row[at["seconds"]]][:_MOST_TIMED]
    for name in at.keys() & KNOBS.keys() - {"prompt", "negative_prompt", "seed"}:
        for row in timed:
            if (value := row[at[name]]) is not None:
                taken.setdefault(name, {}).setdefault(value, []).append(row[at["seconds"]])
    return {
        name: {value: median(seconds) for value, seconds in values.items()}
        for name, values in taken.items()
    }


def contenders_text(contenders: Sequence[Contenders], seconds: Seconds) -> list[str]:
    """Return what the best setting is better than and what may be as good, a line for each knob.

    Args:
        contenders: As :func:`~safelight.learning.plans.contenders.contenders_of` has them.
        seconds: What pictures took; of what may be as good, the fastest is told first.
    """
    lines = []
    for knob in contenders:
        taken = seconds.get(knob.knob, {})
        known = sorted((v for v in knob.equal if v in taken), key=taken.__getitem__)
        equal = [*known, *(v for v in knob.equal if v not in taken)]
        worse = _values_text(knob.worse, taken) or "none of the others"
        tied = f"; may be as good: {_values_text(equal, taken)}" if equal else ""
        own = _values_text([knob.value], taken)
        lines.append(f"{knob.knob} {own}: better than {worse}{tied}")
    return lines


def _values_text(values: Sequence[Any], seconds: Mapping[Any, float]) -> str:
    named = [f"{v} ({seconds[v]:.3g} s)" if v in seconds else str(v) for v in values[:_MOST_VALUES]]
    more = len(values) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")
