"""learn: what knobs do to ratings, and what to try next; worked out when somebody asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.effects_answer import EffectsAnswer, Spans
from safelight.learning.evidence.findings import ABSENT, Comparison, Effects, KnobEffect
from safelight.recorded_settings import EXTRA, LORA
from safelight.web.facets import exact_number, quoted, setting_clause
from safelight.web.heavy_questions import asked
from safelight.web.questions import EffectsQuestion
from safelight.web.roles import GuestRoute, may_ask
from safelight.web.table import LightTable, checked_filter

__all__ = ["routes"]

_WIDTH, _LABELS, _FIGURES, _ROW = 760, 190, 190, 34
_SIGNS = {
    "clear": "clear", "small": "no difference that matters", "open": "not enough evidence",
    "few": "not enough evidence", "confounded": "cannot be told",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One comparison, placed in its plot.

    Attributes:
        comparison: The comparison.
        sign: What it comes to.
        href: The pictures behind it, or None.
        y: Middle of the row.
        dot: Where the difference is; None without a figure, as *low* and *high*.
        low: Where the interval begins.
        high: Where it ends.
    """

    comparison: Comparison
    sign: str
    href: str | None
    y: float
    dot: float | None
    low: float | None
    high: float | None


def _where(q: str, knob: str, level: str, spans: Spans | None) -> str | None:
    """Return the address of the pictures with *level*; None where no filter says it.

    Args:
        q: What all of them meet.
        knob: Whose level it is.
        level: What it is called.
        spans: Level -> its least and its largest value, for a knob of numbers; those of rated
            pictures, as names of levels are rounded.
    """
    name = setting_clause(knob) if knob.startswith((EXTRA, LORA)) else knob
    if knob.startswith("term:"):
        word = knob.partition(":")[2] if level == "with" else level
        if level == "without" or "|" in word:
            return None
        clause = f"prompt has {quoted(word)}"
    elif level == ABSENT:
        if knob.startswith(LORA):
            return None  # it is there, and nobody knows its weight
        clause = f"{name} is missing"
    elif spans is None:
        clause = f"{name} = {quoted('' if level == '(empty)' else level)}"
    elif level in spans:
        low, high = spans[level]
        between = f"between {exact_number(low)} and {exact_number(high)}"
        clause = f"{name} = {exact_number(low)}" if low == high else f"{name} {between}"
        if knob.startswith(LORA) and low <= 0 <= high:
            clause = f"({name} is missing or {clause})"
    else:
        return None
    here = f"({q}) and " if q.strip() else ""
    rated = " and (stars is not missing or picks_won > 0 or picks_lost > 0)"
    return "/?" + urlencode({"q": here + clause + rated})


def _plot(knob: KnobEffect, q: str, spans: Spans | None, *, reach: float) -> dict[str, Any]:
    """Return one knob's plot: dots with intervals on one axis that all knobs share."""
    left, right = _LABELS + 10, _WIDTH - _FIGURES - 10

    def at(value: float | None) -> float | None:
        if value is None or not math.isfinite(value):
            return None
        clipped = max(-reach, min(reach, value))
        return round(left + (clipped + reach) / (2 * reach) * (right - left), 1)

    rows = [
        _Row(
            comparison=comparison,
            sign="better" if comparison.status == "clear" and (comparison.difference or 0) > 0
            else "worse" if comparison.status == "clear" else _SIGNS[comparison.status],
            href=_where(q, knob.knob, comparison.level, spans), y=_ROW * (place + 0.5),
            dot=at(comparison.difference), low=at(comparison.low), high=at(comparison.high),
        )
        for place, comparison in enumerate(knob.comparisons[:16])
    ]  # fmt: skip
    return {
        "knob": knob, "rows": rows, "height": _ROW * len(rows) + 4, "zero": at(0.0),
        "width": _WIDTH, "labels": _LABELS, "figures": _WIDTH - _FIGURES,
        "hidden": len(knob.comparisons) - len(rows),
    }  # fmt: skip


def _plots(effects: Effects, spans: Mapping[str, Spans], q: str) -> list[dict[str, Any]]:
    shown = [effect for effect in effects.knobs if effect.comparisons]
    ends = [
        abs(end)
        for effect in shown
        for c in effect.comparisons
        for end in (c.difference, c.low, c.high)
        if end is not None and math.isfinite(end)
    ]
    reach = min(max([0.5, *ends]), 4.0) * 1.05
    return [_plot(effect, q, spans.get(effect.knob), reach=reach) for effect in shown]


def _page(answer: EffectsAnswer, q: str) -> dict[str, Any]:
    effects = answer.effects
    return {
        "effects": effects, "rated_by": answer.rated_by,
        "plots": _plots(effects, answer.spans, q),
        "constant": [effect.knob for effect in effects.knobs if effect.status == "constant"],
        "ignored": answer.ignored, "unknown": answer.unknown, "models": answer.models,
        "model": answer.model, "suggestions": answer.suggestions, "configs": answer.configs,
    }  # fmt: skip


def _age(seconds: float) -> str:
    """Return *seconds* in the words of somebody who tells when something was."""
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= max(length, 2):
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "a moment ago"


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about effects."""

    async def learn(request: Request) -> Response:
        """Show the last answer at once; the page asks again when there is a new one."""
        given = request.query_params
        q = checked_filter(given.get("q", ""))
        question = EffectsQuestion(
            q=may_ask(request, q), model=given.get("model", ""),
            ignored=tuple(given.getlist("ignore")),
        )  # fmt: skip
        state = await asked(table.answers, request, question, only_kept="kept" in given)
        if state.answer is None and state.failure is not None:
            raise state.failure
        shown = state.answer if isinstance(state.answer, EffectsAnswer) else None
        kept_at = "?" + urlencode([*given.multi_items(), ("kept", "1")])
        return await run_in_threadpool(
            table.page, request, "learn", q=q, state=state, age=_age(state.age), kept_at=kept_at,
            shown=None if shown is None else _page(shown, q),
        )  # fmt: skip

    return [GuestRoute("/learn", learn)]
