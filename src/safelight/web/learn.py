"""learn: what knobs do to ratings, and what to try next; computed when somebody asks."""

from __future__ import annotations

import functools
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.config_text import toml_text
from safelight.errors import FilterError, PlanError, UnknownSettingError
from safelight.recorded_settings import EXTRA, LORA
from safelight.web.facets import exact_number, quoted, setting_clause
from safelight.web.roles import GuestRoute, may_ask
from safelight.web.table import LONGEST_FILTER, LightTable

if TYPE_CHECKING:
    from safelight.application.suggestions import Evidence
    from safelight.learning.evidence.effects import Comparison, Effects, KnobEffect
    from safelight.learning.evidence.trials import Trials
    from safelight.learning.plans.suggest import Suggestion, Suggestions

__all__ = ["routes"]

Spans = dict[str, tuple[float, float]]

_SEEDS = 2
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
    from safelight.learning.evidence.trials import ABSENT

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


def _spans(trials: Trials) -> dict[str, Spans]:
    """Return knob -> level -> its least and largest value, of knobs that are numbers."""
    from safelight.learning.evidence.knob_levels import knob_levels

    spans: dict[str, Spans] = {}
    for knob, levels in knob_levels(trials).items():
        if knob not in trials.numbers:
            continue
        own = spans.setdefault(knob, {})
        for place, level in enumerate(levels.names):
            inside = trials.numbers[knob][levels.codes == place]
            ends = [float(value) for value in inside if math.isfinite(value)]
            if ends:
                own[level] = min(ends), max(ends)
    return spans


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


def _plots(effects: Effects, trials: Trials, q: str) -> list[dict[str, Any]]:
    shown = [effect for effect in effects.knobs if effect.comparisons]
    ends = [
        abs(end)
        for effect in shown
        for c in effect.comparisons
        for end in (c.difference, c.low, c.high)
        if end is not None and math.isfinite(end)
    ]
    reach = min(max([0.5, *ends]), 4.0) * 1.05
    spans = _spans(trials)
    return [_plot(effect, q, spans.get(effect.knob), reach=reach) for effect in shown]


def _config_of(evidence: Evidence, result: Suggestions, suggestion: Suggestion) -> str:
    """Return the suggestion as a config, the same that the command line writes."""
    from safelight.application.suggestions import suggestion_config

    config = suggestion_config(
        evidence, [suggestion.setting], result.fixed, (), _SEEDS, name="suggested"
    )
    return toml_text(config)


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about effects."""

    @functools.lru_cache(maxsize=8)
    def effects_page(
        q: str, model: str, ignored: tuple[str, ...], signature: object
    ) -> dict[str, Any]:
        from safelight.application.rated_pictures import rated_trials
        from safelight.application.suggestions import find_evidence
        from safelight.learning.evidence.effects import find_effects
        from safelight.learning.plans.suggest import suggest

        unknown: tuple[str, ...] = ()
        try:
            _, trials, who = rated_trials(table.archive, q, (), ignored)
        except UnknownSettingError as error:  # the page of yesterday, or another filter
            unknown = error.names
            ignored = tuple(name for name in ignored if name not in unknown)
            _, trials, who = rated_trials(table.archive, q, (), ignored)
        effects = find_effects(trials)
        models = list(table.archive.models_rated())
        model = model if model in models else (models[0] if models else "")
        suggestions, configs = None, list[str]()
        if model and len(trials):
            with suppress(PlanError):  # none of the pictures that meet the filter has this model
                evidence = find_evidence(table.archive, model=model, condition=q)
                suggestions = suggest(evidence.trials, 4)
                configs = [
                    _config_of(evidence, suggestions, suggestion)
                    for suggestion in suggestions.suggestions
                ]
        return {
            "effects": effects, "rated_by": who, "plots": _plots(effects, trials, q),
            "constant": [effect.knob for effect in effects.knobs if effect.status == "constant"],
            "ignored": ignored, "unknown": unknown, "models": models, "model": model,
            "suggestions": suggestions, "configs": configs,
        }  # fmt: skip

    def learn(request: Request) -> Response:
        q = request.query_params.get("q", "")
        if len(q) > LONGEST_FILTER:
            raise FilterError(f"a filter may have {LONGEST_FILTER:,} characters")
        may_ask(request, q)
        model = request.query_params.get("model", "")
        ignored = tuple(request.query_params.getlist("ignore"))
        page = effects_page(q, model, ignored, table.archive.signature())
        return table.page(request, "learn", q=q, **page)

    return [GuestRoute("/learn", learn)]
