"""selection: what is said of many pictures at once, and the names that many pictures share."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.albums import albums, tags_in_use
from safelight.application.rating import rate_chosen
from safelight.errors import ChosenOthers
from safelight.learning.ratings.rating_event import LARGE, SAID_OF_MANY
from safelight.web.allowance import Allowance
from safelight.web.rating import GUEST, check_texts, refuse_flood
from safelight.web.roles import GuestRoute, is_owner, may_ask
from safelight.web.table import (
    LightTable,
    body_of,
    checked_filter,
    json_answer,
    without_discarded,
)

__all__ = ["routes"]

_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_A_PICTURE = 90
"""Bytes that a picture of a set takes, about."""

_MOST_TAGS = 500


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    """One thing that is said of every picture that a filter finds.

    Attributes:
        event_id: Made by who says it, so that saying it again changes nothing.
        says: One of ``SAID_OF_MANY``.
        q: The filter.
        snapshot: As ``/api/chosen`` told it, with how many there are.
        value: Stars, a flag or a note.
        added: Tags or albums.
        removed: Likewise.
        rater: Who says it.
    """

    event_id: str
    says: str
    q: str
    snapshot: str
    value: bool | int | str | None = None
    added: list[str] = []
    removed: list[str] = []
    rater: str = ""

    def statement(self) -> dict[str, Any]:
        """Return it as keywords of :func:`.rate_chosen`."""
        if self.says == "tags":
            return {"tags": self.added, "untag": self.removed}
        if self.says == "albums":
            return {"albums": self.added, "out_of": self.removed}
        return {self.says: self.value}


def _checked(said: _Said) -> _Said:
    if not _EVENT_ID.fullmatch(said.event_id):
        raise msgspec.ValidationError("event_id must be 32 lower-case hex digits")
    if said.says not in SAID_OF_MANY:
        raise msgspec.ValidationError(f"says must be one of {', '.join(SAID_OF_MANY)}")
    try:
        check_texts([said.rater, *said.added, *said.removed], said.value)
    except ValueError as error:
        raise msgspec.ValidationError(str(error)) from error
    return said


def routes(table: LightTable, allowance: Allowance) -> list[Route]:
    """Return what the browser says of many pictures, and asks for that.

    Args:
        table: Whose pictures.
        allowance: Of all guests together.
    """
    threads = ThreadPoolExecutor(1, thread_name_prefix="selection")

    async def chosen(request: Request) -> Response:
        """Tell how many pictures a filter finds, and a name of just these."""
        q = without_discarded(may_ask(request, checked_filter(request.query_params.get("q", ""))))
        found = await table.turns.take_slow(request, lambda: table.archive.chosen(q))
        return json_answer({"count": found.count, "snapshot": found.snapshot})

    async def say(request: Request) -> Response:
        """Write one event about all of them; it is on the disk when this is answered."""
        said = _checked(await body_of(request, _Said))
        q = without_discarded(may_ask(request, checked_filter(said.q)))
        rater = said.rater
        if not is_owner(request):
            if said.says == "albums":
                raise HTTPException(403, "albums are the owner's; guests look, rate and tag")
            rater = rater or GUEST
            found = await table.turns.take_slow(request, lambda: table.archive.chosen(q))
            refuse_flood(allowance, _A_PICTURE * found.count)

        def write() -> int:
            events = rate_chosen(
                table.archive, q, store=table.ratings, snapshot=said.snapshot,
                event_id=said.event_id, rater=rater, **said.statement(),
            )  # fmt: skip
            return sum(len(event.many) for event in events if event.many is not None)

        try:
            count = await asyncio.get_running_loop().run_in_executor(threads, write)
            if count > LARGE:
                give_back = table.archive.give_back_memory
                await asyncio.get_running_loop().run_in_executor(threads, give_back)
        except ChosenOthers as error:
            told = {"error": str(error), "count": error.count, "snapshot": error.snapshot}
            return json_answer(told, 409)
        return json_answer({"accepted": [said.event_id], "count": count})

    def albums_now(request: Request) -> Response:
        return json_answer({"albums": albums(table.archive)})

    def tags_now(request: Request) -> Response:
        return json_answer({"tags": tags_in_use(table.archive)[:_MOST_TAGS]})

    return [
        GuestRoute("/api/chosen", chosen),
        GuestRoute("/api/ratings/many", say, methods=["POST"]),
        GuestRoute("/api/albums", albums_now),
        GuestRoute("/api/tags", tags_now),
    ]
