"""hand_over: pictures as a .zip, for owners and guests."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


_log = logging.getLogger(__name__)
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class _Going:
    """A download that is going on, under the name that the page gave it."""

    chosen: ToHandOver
    is_wanted: bool = True

    def while_wanted(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """Yield *parts*, and break off where nobody wants them any more.

        Raises:
            _BrokenOff: Nobody does. What was sent so far must not pass for a whole file.
        """
        for part in parts:
            if not self.is_wanted:
                raise _BrokenOff
            yield part


class _BrokenOff(Exception):
    """Somebody cancelled a download."""


class _Which(msgspec.Struct, forbid_unknown_fields=True):
    """A download, by the name that the page gave it."""

    name: str


class _Set(msgspec.Struct, forbid_unknown_fields=True):
    """Pictures by a filter, or one by one."""

    q: str | None = None
    sha256s: list[str] | None = None


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks to have pictures."""
    going: dict[str, _Going] = {}
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
        name, download = fields.get("name", [""])[0], _Going(chosen)
        if _NAME.fullmatch(name):
            going[name] = download

        def ended() -> None:
            going.pop(name, None)
            line.release()

        return _Zip(download.while_wanted(zipped(carried, chosen, how)), ended)

    def progress(request: Request) -> Response:
        """Tell how many files of a download are on their way; nothing of one that has ended."""
        download = going.get(request.query_params.get("name", ""))
        if download is None:
            return json_answer({"files": None, "of": None})
        return json_answer({"files": download.chosen.files, "of": len(download.chosen.rows)})

    async def cancel(request: Request) -> Response:
        which = await body_of(request, _Which)
        if download := going.get(which.name):
            download.is_wanted = False
        return json_answer({"cancelled": download is not None})

    return [
        GuestRoute("/api/hand-over/progress", progress),
        GuestRoute("/api/hand-over/cancel", cancel, methods=["POST"]),
        GuestRoute("/api/hand-over", plan, methods=["POST"]),
        GuestRoute("/hand-over", take, methods=["POST"]),
    ]


class _Zip(StreamingResponse):
    """Sends a .zip as it is made; when it ends, however that is, the next may be made."""

    def __init__(self, parts: Iterator[bytes], ended: Callable[[], None]) -> None:
        super().__init__(
            parts, media_type="application/zip",
            headers={"Content-Disposition": 'attachment; filename="pictures.zip"'},
        )  # fmt: skip
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await super().__call__(scope, receive, send)
        except* _BrokenOff:
            _log.info("a download was cancelled")  # the connection is cut, as the answer has no end
        finally:
            self._ended()
