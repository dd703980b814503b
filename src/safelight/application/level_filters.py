"""level_filters: what a filter calls the pictures that have one level of a setting."""

from __future__ import annotations

from collections.abc import Mapping

from safelight.filter_tokens import quoted
from safelight.knobs import knob_of_extra
from safelight.learning.evidence.findings import ABSENT, ALL_OTHERS, text_of_level
from safelight.recorded_settings import EXTRA, LORA, MOST_EXACT

__all__ = [
    "NOT_RATED",
    "RATED",
    "Spans",
    "exact_number",
    "level_clause",
    "setting_clause",
    "within",
]

Spans = Mapping[str, tuple[float, float]]
"""Level -> its least and its largest value, as names of levels are rounded."""

RATED = "(stars is not missing or picks_won > 0 or picks_lost > 0)"
NOT_RATED = "(stars is missing and not rejected = true and not favourite = true)"


def level_clause(knob: str, level: str, spans: Spans | None) -> str | None:
    """Return the condition for pictures with *level*; None where no filter says it.

    Args:
        knob: Whose level it is.
        level: What it is called.
        spans: Of a knob of numbers, from the rated pictures; None for one of texts.
    """
    name = setting_clause(knob) if knob.startswith((EXTRA, LORA)) else knob
    if level == ALL_OTHERS:
        return None
    if knob.startswith("term:"):
        word = knob.partition(":")[2] if level == "with" else text_of_level(level)
        return None if level == "without" or "|" in word else f"prompt has {quoted(word)}"
    if level == ABSENT:  # of a LoRA: it is there, and nobody knows its weight
        return None if knob.startswith(LORA) else f"{name} is missing"
    if spans is None and knob.startswith(LORA):  # one of a training's states
        return f"{setting_clause(f'{LORA}{level}')} is not missing"
    if spans is None:
        return f"{name} = {quoted(text_of_level(level))}"
    if level not in spans:
        return None
    low, high = spans[level]
    between = f"between {exact_number(low)} and {exact_number(high)}"
    clause = f"{name} = {exact_number(low)}" if low == high else f"{name} {between}"
    if knob.startswith(LORA) and low <= 0 <= high:
        return f"({name} is missing or {clause})"
    return clause


def within(q: str, clause: str) -> str:
    """Return the filter for those pictures of *q* that meet *clause*."""
    return f"({q}) and {clause}" if q.strip() else clause


def setting_clause(name: str) -> str:
    """Return what a filter calls the setting *name*, and nothing else by."""
    plain = name.removeprefix(EXTRA)
    if name.startswith(EXTRA) and knob_of_extra(plain) is None:
        return f"extra({quoted(plain)})"
    if name.startswith(LORA):
        return f"lora({quoted(name[len(LORA) :])})"
    return f"recorded({quoted(name)})"


def exact_number(number: float) -> str:
    """Return *number* as a filter reads it back, to the last digit."""
    return str(int(number)) if number.is_integer() and abs(number) < MOST_EXACT else repr(number)
