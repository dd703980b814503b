"""learn: what knobs do to ratings, and what to try next; computed when somebody asks."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.errors import FilterError, SafelightError
from safelight.knobs import KNOBS
from safelight.learning.ratings import Identity
from safelight.web.look import known_picture
from safelight.web.runs import as_toml
from safelight.web.table import LONGEST_FILTER, LightTable

if TYPE_CHECKING:
    from safelight.learning.effects import Comparison, Effects, KnobEffect
    from safelight.learning.suggest import Suggestion
    from safelight.learning.trials import Trials

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
        told: The comparison.
        sign: What it comes to.
        href: The pictures behind it, or None.
        y: Middle of the row.
        dot: Where the difference is; None without a figure, as *low* and *high*.
        low: Where the interval begins.
        high: Where it ends.
    """

    told: Comparison
    sign: str
    href: str | None
    y: float
    dot: float | None
    low: float | None
    high: float | None


def _rated(table: LightTable, q: str) -> tuple[Trials, str]:
    """Return the rated pictures that meet *q*, and who rated; people before programs."""
    from safelight.learning.scores import fit_scores, is_automatic
    from safelight.learning.trials import TRIAL_COLUMNS, join_trials

    answer = table.archive.query(q, columns=TRIAL_COLUMNS, sort="timestamp", limit=None)
    columns: dict[str, Sequence[Any]] = dict.fromkeys(answer.columns, ())
    if answer.rows:
        columns = dict(zip(answer.columns, zip(*answer.rows, strict=True), strict=True))
    known = (
        Identity(sha256=a, pixel_sha256=b)
        for a, b in zip(columns["sha256"], columns["pixel_sha256"], strict=True)
    )
    events = table.ratings.events()
    said = [event for event in events if event.kind not in ("note", "tags")]
    people = [event for event in said if not is_automatic(event)]
    chosen = people if any(event.kind != "undo" for event in people) else said
    names = sorted({event.rater for event in chosen if event.kind != "undo"})
    who = "nobody yet"
    if names:
        who = " and ".join(name or "one without a name" for name in names[:3])
        who = f"{len(names):,} raters" if len(names) > 3 else who
    if chosen is said and names:
        who = f"a program, not people ({who})"
    return join_trials(columns, fit_scores(chosen, known)), who


def _where(q: str, knob: str, level: str, *, text: bool) -> str | None:
    """Return the address of the pictures with *level*; None where no filter says it."""
    quoted = "'" + level.replace("'", "''") + "'"
    if knob.startswith(("term:", "lora:")):
        word = knob.partition(":")[2] if level == "with" or knob[0] == "l" else level
        if level in ("without", "0") or "|" in word:
            return None
        word = f"<lora:{word}" if knob[0] == "l" else word
        clause = "prompt has '" + word.replace("'", "''") + "'"
    elif level in ("(none)", "(empty)"):
        clause = f"{knob} is missing" if level == "(none)" else f"{knob} = ''"
    elif text:
        clause = f"{knob} = {quoted}"
    else:
        low, _, high = level.partition(" to ")
        try:
            ends = [float(end) for end in (low, high) if end]
        except ValueError:
            return None
        between = f"{knob} between {ends[0]:g} and {ends[-1]:g}"
        clause = f"{knob} = {ends[0]:g}" if len(ends) == 1 else between
    here = f"({q}) and " if q.strip() else ""
    rated = " and (stars is not missing or picks_won > 0 or picks_lost > 0)"
    return "/?" + urlencode({"q": here + clause + rated})


def _plot(knob: KnobEffect, q: str, *, text: bool, reach: float) -> dict[str, Any]:
    """Return one knob's plot: dots with intervals on one axis that all knobs share."""
    left, right = _LABELS + 10, _WIDTH - _FIGURES - 10

    def at(value: float | None) -> float | None:
        if value is None or not math.isfinite(value):
            return None
        clipped = max(-reach, min(reach, value))
        return round(left + (clipped + reach) / (2 * reach) * (right - left), 1)

    rows = [
        _Row(
            told=one, sign="better" if one.status == "clear" and (one.difference or 0) > 0
            else "worse" if one.status == "clear" else _SIGNS[one.status],
            href=_where(q, knob.knob, one.level, text=text), y=_ROW * (place + 0.5),
            dot=at(one.difference), low=at(one.low), high=at(one.high),
        )
        for place, one in enumerate(knob.comparisons[:16])
    ]  # fmt: skip
    return {
        "knob": knob, "rows": rows, "height": _ROW * len(rows) + 4, "zero": at(0.0),
        "width": _WIDTH, "labels": _LABELS, "figures": _WIDTH - _FIGURES,
        "hidden": len(knob.comparisons) - len(rows),
    }  # fmt: skip


def _plots(effects: Effects, trials: Trials, q: str) -> list[dict[str, Any]]:
    shown = [one for one in effects.knobs if one.comparisons]
    ends = [
        abs(end)
        for one in shown
        for c in one.comparisons
        for end in (c.difference, c.low, c.high)
        if end is not None and math.isfinite(end)
    ]
    reach = min(max([0.5, *ends]), 4.0) * 1.05
    return [_plot(one, q, text=one.knob in trials.levels, reach=reach) for one in shown]


def _config_of(table: LightTable, trials: Trials, one: Suggestion) -> str:
    """Return the suggestion as a config: a rated picture's, with the suggested values over it."""
    known = None
    for identity in trials.identities[:20]:
        try:
            known = known_picture(table, identity)
            break
        except SafelightError:
            continue
    stages: dict[str, dict[str, Any]] = {"txt2img": {}}
    if known is not None:
        stages = {
            stage: {k: v for k, v in knobs.items() if k in KNOBS and stage in KNOBS[k].stages}
            for stage, knobs in known.config.items()
        }
    for knob, value in one.setting.items():
        for stage, knobs in stages.items():
            if knob in KNOBS and stage in KNOBS[knob].stages and value is not None:
                knobs[knob] = value
                break
    config: dict[str, Any] = {"name": "suggested", **stages}
    if known is not None and known.record is not None and known.record.backend.get("name"):
        config["backend"] = str(known.record.backend["name"])
    config["randomizer"] = {"seeds_per_variant": 2}
    return as_toml(
        {key: value for key, value in config.items() if not isinstance(value, Mapping)}
        | {key: value for key, value in config.items() if isinstance(value, Mapping)}
    )


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about effects."""

    @functools.lru_cache(maxsize=8)
    def told(q: str, model: str, signature: object) -> dict[str, Any]:
        from safelight.learning.effects import find_effects
        from safelight.learning.suggest import suggest

        trials, who = _rated(table, q)
        effects = find_effects(trials)
        models = list(table.archive.models_rated())
        model = model if model in models else (models[0] if models else "")
        suggestions, configs = None, list[str]()
        if model and len(trials):
            here = f"({q}) and " if q.strip() else ""
            named = model.replace("'", "''")
            own, _ = _rated(table, f"{here}model = '{named}'")
            suggestions = suggest(own, 4)
            configs = [_config_of(table, own, one) for one in suggestions.suggestions]
        return {
            "effects": effects, "rated_by": who, "plots": _plots(effects, trials, q),
            "constant": [one.knob for one in effects.knobs if one.status == "constant"],
            "models": models, "model": model, "suggestions": suggestions, "configs": configs,
        }  # fmt: skip

    def learn(request: Request) -> Response:
        q = request.query_params.get("q", "")
        if len(q) > LONGEST_FILTER:
            raise FilterError(f"a filter may have {LONGEST_FILTER:,} characters")
        model = request.query_params.get("model", "")
        return table.page(request, "learn", q=q, **told(q, model, table.archive.signature()))

    return [Route("/learn", learn)]
