"""learn: what knobs do to ratings, and what to try next; worked out when somebody asks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.effects_answer import EffectsAnswer
from safelight.application.level_filters import RATED, Spans, level_clause, within
from safelight.application.next_step import NextStep
from safelight.errors import ConfigError
from safelight.filter_tokens import quoted
from safelight.knobs import KNOBS
from safelight.learning.evidence.findings import (
    ABSENT,
    Behind,
    ChosenParents,
    Comparison,
    Effects,
    KnobEffect,
    ParentShare,
    one_line,
    text_of_level,
)
from safelight.learning.evidence.sentences import Sentence, short_reason
from safelight.learning.plans.suggested import Nearest, setting_words
from safelight.web.heavy_questions import Asked, asked
from safelight.web.places import engine_states
from safelight.web.questions import EffectsQuestion, ReportPage, ReportQuestion
from safelight.web.roles import GuestRoute, is_owner, may_ask
from safelight.web.table import LightTable, checked_filter

__all__ = ["reach_of", "routes"]

_MOST_ROWS = 16
_LONGEST_NAME = 80
"""Letters of a name that is shown whole; of longer ones the middle is left out."""

_SHOWN_PAIRS, _MOST_NAMED = 2, 4
_REPORT_SECONDS = 600.0
_ENGINE = re.compile(r"^(backend\b|\[backend)", re.MULTILINE)
_TICKS = (0.5, 1.0, 2.0)
"""How far apart the marks of the scale may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One comparison, placed on the scale that all settings share.

    Attributes:
        comparison: The comparison.
        sign: What it comes to, in words.
        href: The pictures behind it, or None.
        name: Of the level, whole or with its middle left out.
        against: Of what that is compared with, likewise.
        dot: Where the difference is on the scale; None without a figure, as *low* and *high*.
        low: Where the interval begins.
        high: Where it ends.
    """

    comparison: Comparison
    sign: str
    href: str | None
    name: str
    against: str
    dot: str | None
    low: str | None
    high: str | None


def _name(level: str) -> str:
    """Return *level* in one line; of a very long one the middle is left out, never the end."""
    return one_line(level, _LONGEST_NAME)


def _rated(q: str, clause: str | None) -> str | None:
    """Return the address of the rated pictures that meet *q* and *clause*."""
    if clause is None:
        return None
    return "/?" + urlencode({"q": f"{within(q, clause)} and {RATED}"})


def _sign(comparison: Comparison) -> str:
    sign = comparison.verdict
    if comparison.more is not None:
        sign += f", about {comparison.more:,} more ratings"
    return sign


def _plot(knob: KnobEffect, q: str, spans: Spans | None, *, reach: float) -> dict[str, Any]:
    """Return one setting's plot: intervals on one scale that all settings share."""

    def at(value: float | None) -> str | None:
        if value is None or not math.isfinite(value):
            return None
        return _place(max(-reach, min(reach, value)), reach)

    told = [c for c in knob.comparisons if c.difference is not None]
    few = [_name(c.level) for c in knob.comparisons if c.status == "few" and c.difference is None]
    untold = [c for c in knob.comparisons if c.status == "confounded"]
    rows = [
        _Row(
            comparison=comparison, sign=_sign(comparison),
            href=_rated(q, level_clause(knob.knob, comparison.level, spans)),
            name=_name(comparison.level), against=_name(comparison.against),
            dot=at(comparison.difference), low=at(comparison.low), high=at(comparison.high),
        )
        for comparison in told[:_MOST_ROWS]
    ]  # fmt: skip
    return {
        "knob": knob, "rows": rows, "hidden": len(told) - len(rows),
        "notes": list(dict.fromkeys(note for c in told[:_MOST_ROWS] for note in c.notes)),
        "untold": _untold(untold), "few": f"{', '.join(few[:_MOST_NAMED])}"
        + (f" and {len(few) - _MOST_NAMED} more" if len(few) > _MOST_NAMED else ""),
    }  # fmt: skip


def _untold(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what cannot be told, a sentence for each value that others are compared with."""
    by_other: dict[str, list[Comparison]] = {}
    for one in comparisons:
        by_other.setdefault(one.against, []).append(one)
    sentences = []
    for against, those in by_other.items():
        names = [_name(one.level) for one in those[:_MOST_NAMED]]
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        if len(those) > len(names):
            listed = f"{', '.join(names)} and {len(those) - len(names)} more"
        reasons = list(dict.fromkeys(short_reason(note) for one in those for note in one.notes))
        reasons.sort(key=len)
        left = len(reasons) - 1
        more = f" (and {left} more reason{'s' if left > 1 else ''})" if left else ""
        why = f": {reasons[0]}{more}" if reasons else ""
        sentences.append(f"{listed} against {_name(against)} cannot be told apart{why}.")
    return sentences


def _place(value: float, reach: float) -> str:
    """Return where *value* is on a scale that ends at *reach* on both sides."""
    return f"{50 + 48 * value / reach:.2f}%"


def _plots(effects: Effects, spans: Mapping[str, Spans], q: str) -> list[dict[str, Any]]:
    shown = [effect for effect in effects.knobs if effect.comparisons]
    reach = _reach(shown)
    return [_plot(effect, q, spans.get(effect.knob), reach=reach) for effect in shown]


def _reach(knobs: Sequence[KnobEffect]) -> float:
    return reach_of(
        end
        for effect in knobs
        for c in effect.comparisons
        for end in ((c.difference, c.low, c.high) if c.told else (c.difference,))
    )


def reach_of(ends: Iterable[float | None]) -> float:
    """Return how far a scale goes, so that nearly everything that is known lies on it."""
    known = (abs(end) for end in ends if end is not None and math.isfinite(end))
    return min(max([0.5, *known]), 4.0) * 1.05


def _marks(reach: float) -> list[tuple[str, str]]:
    """Return (where, what) of the marks of a scale."""
    step = next((step for step in _TICKS if reach / step <= 3), _TICKS[-1])
    count = int(reach // step)
    return [(_place(n * step, reach), f"{n * step:+g}" if n else "0")
            for n in range(-count, count + 1)]  # fmt: skip


def _sentence(
    one: Sentence, behind: Behind | None, spans: Mapping[str, Spans], q: str
) -> dict[str, Any]:
    """Return a sentence, pictures behind it, and the address of all of those."""
    own = spans.get(one.knob)
    rest = one.text.removeprefix(one.claim)
    shown: dict[str, Any] = {"about": one.about, "claim": one.claim, "rest": rest, "duels": [],
                             "singles": [], "href": None, "open": ""}  # fmt: skip
    if behind is None:
        clause = one.condition or (level_clause(one.knob, one.level, own) if one.level else None)
        if clause:
            shown |= {"href": _rated(q, clause), "open": "Show the pictures"}
        return shown
    if behind.singles:
        shown["singles"] = [
            {"name": name, "digest": digest, "href": f"/look/{digest}"}
            for name, digest in behind.singles
        ]
        return shown
    shown["duels"] = [
        {"better": (behind.better, pair[0]), "worse": (behind.worse, pair[1]),
         "href": f"/compare?pictures={pair[0]},{pair[1]}"}
        for pair in behind.pairs[:_SHOWN_PAIRS]
    ]  # fmt: skip
    if behind.alike and behind.whole:
        digests = dict.fromkeys(digest for pair in behind.pairs for digest in pair)
        clause = f"sha256 in ({', '.join(map(quoted, digests))})"
        shown["href"] = "/?" + urlencode({"q": clause, "group": "prompt"})
        shown["open"] = f"Show {'the pair' if behind.count == 1 else f'all {behind.count} pairs'}"
        return shown
    sides = [level_clause(one.knob, level, own) for level in (one.better, one.worse)]
    known = [side for side in sides if side is not None]
    if known:
        clause = f"({' or '.join(known)})" if len(known) > 1 else known[0]
        clause = f"({one.condition}) and {clause}" if one.condition else clause
        shown["href"] = f"{_rated(q, clause)}&group=prompt"
        shown["open"] = "Show the pictures of both" if len(known) > 1 else "Show the pictures"
    return shown


def _sentences(answer: EffectsAnswer, q: str) -> list[dict[str, Any]]:
    """Return what is to be read first."""
    sentences = answer.effects.sentences
    behind = answer.behind or (None,) * len(sentences)
    return [
        _sentence(one, pictures, answer.spans, q)
        for one, pictures in zip(sentences, behind, strict=True)
        if one.about != "untold"
    ]


def _page(answer: EffectsAnswer, q: str) -> dict[str, Any]:
    effects = answer.effects
    return {
        "effects": effects, "rated_by": answer.rated_by,
        "sentences": _sentences(answer, q) if effects.knobs else [],
        "undecided": effects.undecided,
        "untold": effects.untold,
        "plots": _plots(effects, answer.spans, q),
        "marks": _marks(_reach(effects.knobs)),
        "constant": [effect.knob for effect in effects.knobs if effect.status == "constant"],
        "ignored": answer.ignored, "unknown": answer.unknown, "models": answer.models,
        "kinds": [(kind.name, within(q, kind.condition)) for kind in answer.kinds],
        "model": answer.model, "suggestions": answer.suggestions,
        "best": answer.suggestions and answer.suggestions.best
        and setting_words(answer.suggestions.best.setting),
        "copies": answer.best, "tries": _tries(answer), "step": answer.step and _step(answer.step),
        "scorers": answer.scorers, "parents": _parents(answer.parents, q),
    }  # fmt: skip


def _step(step: NextStep) -> dict[str, Any]:
    """Return what to do next, with what its button says and where that leads."""
    label, href = "", ""
    if step.act == "rate":
        label = f"Rate {step.count:,} picture{'' if step.count == 1 else 's'}"
        href = "/rate?" + urlencode({"q": step.q})
    elif step.act == "import":
        label, href = "Get pictures", "/"
    return {"act": step.act, "sentence": step.sentence, "label": label, "href": href}


def _tries(answer: EffectsAnswer) -> list[dict[str, Any]]:
    """Return each setting worth trying, what is nearest to it, and the config that draws it."""
    if answer.suggestions is None:
        return []
    tries = []
    nearest = answer.nearest or ((),) * len(answer.configs)
    found = zip(answer.suggestions.suggestions, answer.configs, nearest, strict=True)
    for suggestion, config, near in found:
        tries.append({
            "suggestion": suggestion, "words": setting_words(suggestion.setting), "config": config,
            "why": f"{suggestion.why[0].upper()}{suggestion.why[1:]}.",
            "nearest": [_near(one) for one in near],
            # What no engine of ours drew is drawn by the one that somebody chooses.
            "asks": _ENGINE.search(config) is None,
        })  # fmt: skip
    return tries


def _near(one: Nearest) -> dict[str, Any]:
    return {"digest": one.digest, "text": one.text, "href": f"/look/{one.digest}"}


def _told_age(state: Asked) -> str:
    """Return how old an answer is: in ratings where some were given since, else in time."""
    if state.since:
        return f"{state.since:,} rating{'' if state.since == 1 else 's'} ago"
    return _age(state.age)


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
    return "/?" + urlencode({"q": within(q, clause)})


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

        def page() -> Response:
            told = None if shown is None else _page(shown, q)
            engines: list[str] = []
            if told is not None and is_owner(request) and any(t["asks"] for t in told["tries"]):
                with suppress(ConfigError):  # a new run says what is wrong with the list
                    engines = [each["name"] for each in engine_states(table)]
            return table.page(
                request, "learn", q=q, state=state, age=_told_age(state), kept_at=kept_at,
                shown=told, engines=engines,
            )  # fmt: skip

        return await run_in_threadpool(page)

    async def report(request: Request) -> Response:
        """Hand over what the page says as one file; who asks waits while it is made."""
        q = checked_filter(request.query_params.get("q", ""))
        question = ReportQuestion(q=may_ask(request, q), told=q, guest=not is_owner(request))
        state = await asked(table.answers, request, question, patience=_REPORT_SECONDS)
        if state.failure is not None:
            raise state.failure
        if not isinstance(state.answer, ReportPage) or state.waiting:
            raise HTTPException(
                503, "the file is still being made; ask again in a while", {"Retry-After": "30"}
            )
        return Response(
            state.answer.html, media_type="text/html",
            headers={"Content-Disposition": 'attachment; filename="report.html"'},
        )  # fmt: skip

    return [GuestRoute("/learn", learn), GuestRoute("/learn/report", report)]
