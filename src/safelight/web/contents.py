"""contents: the page that tells what is in the archive, before anybody has rated."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.epochs import Training, trainings_in
from safelight.application.level_filters import setting_clause
from safelight.application.next_step import has_samples, next_step, pictures_of, question_text
from safelight.archive.contents import Contents, Count, Counts
from safelight.filter_tokens import quoted
from safelight.knobs import KNOBS
from safelight.recorded_settings import LORA
from safelight.web.heavy_questions import asked
from safelight.web.questions import ContentsQuestion
from safelight.web.roles import GuestRoute, is_owner, may_ask
from safelight.web.table import LightTable, checked_filter

__all__ = ["routes"]

_SHOWN, _MOST_QUESTIONS = 4, 8
_COLUMNS = {"made_by": "backend", "models": "model", "loras": "lora", "outcomes": "outcome"}


def _where(q: str, column: str, value: Count) -> str:
    """Return the address of the pictures that have *value*."""
    if column == "months":
        clause = f"timestamp between '{value.name}' and '{value.name}-31T99'"
    elif column == "doubts":
        knob, _, status = value.name.partition(" ")
        clause = f"{status} has {quoted(knob)}"
    elif not value.name:
        name = _COLUMNS[column]
        clause = f"({name} is missing or {name} = '')"
    else:
        clause = _named(_COLUMNS[column], value)
    here = f"({q}) and " if q.strip() else ""
    return "/?" + urlencode({"q": here + clause})


def _named(name: str, value: Count) -> str:
    if value.spelled:
        return f"{name} in ({', '.join(map(quoted, value.spelled))})"
    return f"{name} = {quoted(value.name)}"


def _of_knob(q: str, knob: str, value: Count) -> str:
    name = setting_clause(knob) if knob.startswith(LORA) else knob
    number = knob.startswith(LORA) or (knob in KNOBS and KNOBS[knob].kind != "text")
    if not value.name and not number:
        clause = f"({name} is missing or {name} = '')"
    elif knob.startswith(LORA) and float(value.name or 1) == 0:
        clause = f"({name} is missing or {name} = 0)"
    elif not value.name:
        clause = f"{name} is missing"
    else:
        clause = f"{name} = {value.name}" if number else _named(name, value)
    here = f"({q}) and " if q.strip() else ""
    return "/?" + urlencode({"q": here + clause})


def _page(contents: Contents, q: str) -> dict[str, Any]:
    parts: list[tuple[str, str, Counts]] = [
        ("Made by", "made_by", contents.made_by), ("Models", "models", contents.models),
        ("LoRAs", "loras", contents.loras), ("How well it was read", "outcomes", contents.outcomes),
        ("In doubt", "doubts", contents.doubts),
    ]  # fmt: skip
    most = max((one.pictures for one in contents.months.listed), default=1)
    return {
        "contents": contents,
        "parts": [
            {"title": title, "counts": counts,
             "values": [(one, _where(q, column, one)) for one in counts.listed]}
            for title, column, counts in parts if counts.listed
        ],
        "months": [
            (one, _where(q, "months", one), round(100 * one.pictures / most, 1))
            for one in contents.months.listed
        ],
        "families": [
            (one.name or "not told by the name", one.pictures) for one in contents.families.listed
        ] if any(one.name for one in contents.families.listed) else [],
        "questions": [
            (question_text(knob, question), question, "/rate?" + urlencode({
                "q": pictures_of(question)}))
            for knob, question in contents.questions[:_MOST_QUESTIONS]
        ],
        "step": next_step(contents),
        "varied": [
            (one, [(value, _of_knob(q, one.knob, value)) for value in one.values.listed[:_SHOWN]])
            for one in contents.varied
        ],
    }  # fmt: skip


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about contents."""

    async def contents(request: Request) -> Response:
        """Show the last answer at once; the page asks again when there is a new one."""
        given = request.query_params
        q = checked_filter(given.get("q", ""))
        question = ContentsQuestion(q=may_ask(request, q))
        state = await asked(table.answers, request, question, only_kept="kept" in given)
        if state.answer is None and state.failure is not None:
            raise state.failure
        shown = state.answer if isinstance(state.answer, Contents) else None
        trainings: list[Training] = []
        if shown is not None and not q.strip() and is_owner(request) and has_samples(shown):
            trainings = await table.turns.take_slow(request, lambda: trainings_in(table.archive))
        kept_at = "?" + urlencode([*given.multi_items(), ("kept", "1")])
        return await run_in_threadpool(
            table.page, request, "contents", q=q, state=state, kept_at=kept_at,
            shown=None if shown is None else _page(shown, q),
            trainings=[(one, urlencode({"q": one.condition, "mode": "pair"})) for one in trainings],
        )  # fmt: skip

    return [GuestRoute("/contents", contents)]
