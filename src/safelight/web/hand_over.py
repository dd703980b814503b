"""hand_over: pictures as a .zip, for owners and guests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import parse_qs

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from safelight.application.handing_over import (
    HandOver,
    ToHandOver,
    handed_over,
    to_hand_over,
    zipped,
)
from safelight.web.roles import GuestRoute, is_owner, may_ask, without_places
from safelight.web.table import LightTable, body_of, json_answer, short_filter, without_discarded

__all__ = ["routes"]

_AT_ONCE = 2
"""Archives that are made at a time, of guests and owners each."""


class _Set(msgspec.Struct, forbid_unknown_fields=True):
    """Pictures by a filter, or one by one."""

    q: str | None = None
    sha256s: list[str] | None = None


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks to have pictures."""
    free = {owner: threading.BoundedSemaphore(_AT_ONCE) for owner in (True, False)}

    def choose(request: Request, given: _Set) -> ToHandOver:
        if (given.q is None) == (given.sha256s is None):
            raise msgspec.ValidationError("give either q or sha256s")
        if given.q is not None:
            q = may_ask(request, short_filter(given.q))
            return to_hand_over(table.archive, without_discarded(q))
        return to_hand_over(table.archive, sha256s=given.sha256s)

    async def plan(request: Request) -> Response:
        given = await body_of(request, _Set)
        chosen = await run_in_threadpool(choose, request, given)
        return json_answer({"files": len(chosen.rows), "size": chosen.size})

    async def take(request: Request) -> Response:
        sent = (await request.body()).decode("utf-8", "replace")
        fields = parse_qs(sent, keep_blank_values=True)
        given = _Set(
            q=fields["q"][0] if "q" in fields else None,
            sha256s=fields["sha256s"][0].split(",") if "sha256s" in fields else None,
        )
        how = HandOver(
            strip="strip" in fields, sheet="sheet" in fields, page="page" in fields,
            names=fields.get("names", [""])[0],
        )  # fmt: skip
        chosen = await run_in_threadpool(choose, request, given)
        if not chosen.rows:
            raise HTTPException(404, "none of these pictures has a file")
        line = free[is_owner(request)]
        if not line.acquire(blocking=False):
            raise HTTPException(
                503, f"{_AT_ONCE} downloads are going on; try again when one of them has ended",
                {"Retry-After": "10"},
            )  # fmt: skip
        shown = str if is_owner(request) else without_places

        carried = handed_over(table.archive, chosen, how, shown=shown)
        return _Zip(zipped(carried, chosen, how), line)

    return [
        GuestRoute("/api/hand-over", plan, methods=["POST"]),
        GuestRoute("/hand-over", take, methods=["POST"]),
    ]


class _Zip(StreamingResponse):
    """Sends a .zip as it is made; when it ends, however that is, the next may be made."""

    def __init__(self, parts: Iterator[bytes], line: threading.Semaphore) -> None:
        super().__init__(
            parts, media_type="application/zip",
            headers={"Content-Disposition": 'attachment; filename="pictures.zip"'},
        )  # fmt: skip
        self._line = line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._line.release()
