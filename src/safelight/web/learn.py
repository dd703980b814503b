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
from safelight.filter_tokens import quoted
from safelight.knobs import KNOBS
from safelight.learning.evidence.findings import (
    ABSENT,
    ChosenParents,
    Comparison,
    Effects,
    KnobEffect,
    ParentShare,
    text_of_level,
)
from safelight.recorded_settings import EXTRA, LORA
from safelight.web.facets import exact_number, setting_clause
from safelight.web.heavy_questions import asked
from safelight.web.questions import EffectsQuestion
from safelight.web.roles import GuestRoute, may_ask
from safelight.web.table import LightTable, checked_filter

__all__ = ["routes"]

_MOST_SIGNS = 28  # letters that stand beside a dot; what it depends on is told above it
_WIDTH, _LABELS, _FIGURES, _ROW = 790, 190, 220, 34


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
        word = knob.partition(":")[2] if level == "with" else text_of_level(level)
        if level == "without" or "|" in word:
            return None
        clause = f"prompt has {quoted(word)}"
    elif level == ABSENT:
        if knob.startswith(LORA):
            return None  # it is there, and nobody knows its weight
        clause = f"{name} is missing"
    elif spans is None and knob.startswith(LORA):  # one of a training's states
        clause = f"{setting_clause(f'{LORA}{level}')} is not missing"
    elif spans is None:
        clause = f"{name} = {quoted(text_of_level(level))}"
    elif level in spans:
        low, high = spans[level]
        between = f"between {exact_number(low)} and {exact_number(high)}"
        clause = f"{name} = {exact_number(low)}" if low == high else f"{name} {between}"
        if knob.startswith(LORA) and low <= 0 <= high:
            clause = f"({name} is missing or {clause})"
    else:
        return None
    return _pictures(q, clause)


def _pictures(q: str, clause: str) -> str:
    """Return the address of the rated pictures that meet *q* and *clause*."""
    rated = " and (stars is not missing or picks_won > 0 or picks_lost > 0)"
    return "/?" + urlencode({"q": _within(q, clause) + rated})


def _within(q: str, clause: str) -> str:
    return f"({q}) and {clause}" if q.strip() else clause


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
            sign=comparison.verdict if len(comparison.verdict) <= _MOST_SIGNS else "depends",
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


def _sentences(effects: Effects, spans: Mapping[str, Spans], q: str) -> list[dict[str, Any]]:
    """Return what is to be read first, with the address of the pictures behind each."""
    return [
        {
            "text": one.text,
            "href": _pictures(q, one.condition) if one.condition
            else _where(q, one.knob, one.level, spans.get(one.knob)) if one.level else None,
        }
        for one in effects.sentences
    ]  # fmt: skip


def _page(answer: EffectsAnswer, q: str) -> dict[str, Any]:
    effects = answer.effects
    return {
        "effects": effects, "rated_by": answer.rated_by,
        "sentences": _sentences(effects, answer.spans, q) if effects.knobs else [],
        "undecided": effects.undecided,
        "plots": _plots(effects, answer.spans, q),
        "constant": [effect.knob for effect in effects.knobs if effect.status == "constant"],
        "ignored": answer.ignored, "unknown": answer.unknown, "models": answer.models,
        "kinds": [(kind.name, _within(q, kind.condition)) for kind in answer.kinds],
        "model": answer.model, "suggestions": answer.suggestions, "configs": answer.configs,
        "scorers": answer.scorers, "parents": _parents(answer.parents, q),
    }  # fmt: skip


def _parents(found: ChosenParents | None, q: str) -> dict[str, Any] | None:
    """Return what was gone on with: what is likely, and of its settings all values."""
    if found is None:
        return None
    likely = {share.knob for share in found.likely}
    return {
        "found": found,
        "likely": [(share.summary, _of_text(q, share)) for share in found.likely],
        "shares": [share for share in found.shares if share.knob in likely],
    }


def _of_text(q: str, share: ParentShare) -> str | None:
    """Return the address of the pictures with a value that is a text."""
    if KNOBS[share.knob].kind != "text" or share.level == ABSENT:
        return None
    clause = f"{share.knob} = {quoted(text_of_level(share.level))}"
    return "/?" + urlencode({"q": _within(q, clause)})


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
