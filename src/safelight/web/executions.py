"""executions: what other tools executed that ended without a picture, as a list and one by one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.blanks import ENDINGS, Blank, BlankPage, count_words
from safelight.application.engine_list import own_engine
from safelight.errors import ConfigError, FilterError
from safelight.filter_tokens import quoted
from safelight.timestamps import day_words, duration
from safelight.web.table import LightTable, json_answer, short_filter

__all__ = ["config_again", "lines_of", "routes"]

_PAGE = 50
_NONE = BlankPage(blanks=(), after=None, count=0, by_status={})


def lines_of(blank: Blank) -> dict[str, Any]:
    """Return what the page tells of one."""
    return {
        "blank": blank, "time": blank.began[11:16],
        "took": duration(blank.seconds) if blank.seconds else "",
    }  # fmt: skip


def config_again(table: LightTable, blank: Blank) -> dict[str, Any]:
    """Return the config that asks for it again, of the owner's own engine where there is one."""
    config = dict(blank.settings.config)
    try:
        own = own_engine(table.configs.engines, config.get("backend"))
    except ConfigError:  # starting a run on one of them says what is wrong with the list
        own = None
    return config if own is None else {**config, "backend": own}


def _narrowed(q: str, ended: str) -> str:
    """Return *q* of those alone that ended so; of all when *ended* is no status."""
    if ended not in ENDINGS:
        return q
    clause = f"status = {quoted(ended)}"
    return f"({q}) and {clause}" if q.strip() else clause


def _endings(q: str, ended: str, all_of_q: BlankPage) -> list[dict[str, Any]]:
    """Return the choices by how they ended; what is looked for stays."""
    choices = [("All", "", all_of_q.count)]
    for status, words in ENDINGS.items():
        if count := all_of_q.by_status.get(status):
            choices.append((words[:1].upper() + words[1:], status, count))
    asked = {"q": q} if q else {}
    return [
        {
            "label": label, "count": count, "on": status == ended,
            "href": "/executions?" + urlencode({**asked, **({"ended": status} if status else {})}),
        }
        for label, status, count in choices
    ]  # fmt: skip


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about executions without a picture."""

    def listed(request: Request) -> Response:
        asked = request.query_params
        q, ended = asked.get("q", ""), asked.get("ended", "")
        fault, page, every = "", _NONE, _NONE
        try:
            every = table.blanks.find(short_filter(q), limit=0)
            page = table.blanks.find(
                _narrowed(q, ended), limit=_PAGE, after=asked.get("after") or None
            )
        except FilterError as error:
            fault = str(error)
        days: dict[str, list[dict[str, Any]]] = {}
        for blank in page.blanks:
            days.setdefault(day_words(blank.began), []).append(lines_of(blank))
        older = {"q": q, "ended": ended, "after": page.after or ""}
        return table.page(
            request, "executions", q=q, ended=ended, fault=fault, days=list(days.items()),
            older="/executions?" + urlencode(older) if page.after else "",
            endings=_endings(q, ended, every) if len(every.by_status) > 1 else [],
            status=400 if fault else 200,
        )  # fmt: skip

    async def counted(request: Request) -> Response:
        q = short_filter(request.query_params.get("q", ""))
        page = await table.turns.take_slow(request, lambda: table.blanks.find(q, limit=0))
        return json_answer({"count": page.count, "words": count_words(page.by_status)})

    return [Route("/executions", listed), Route("/api/executions", counted)]
