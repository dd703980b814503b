"""posting: where tools tell what they have drawn, and what their settings are to say for that."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.posted_lines import SWARMUI_TEMPLATE
from safelight.errors import RequestError, SafelightError
from safelight.escaped_output import escaped_line
from safelight.web.guard import LINES
from safelight.web.roles import ToolRoute
from safelight.web.table import LightTable, json_answer, whole_body

__all__ = ["address_for_tools", "routes"]

_LINES = ("application/x-ndjson", "application/jsonl")
_log = logging.getLogger(__name__)
_MOST_TOLD = 100
_MOST_VALUES = 1_000_000
"""Commas and brackets of a body, which is large for its pictures: 64 MB of them take 5 GB."""


def address_for_tools(table: LightTable, request: Request) -> str:
    """Return where tools post, with the token that lets them."""
    address = str(request.url_for("post_lines"))
    return f"{address}?token={table.of_tools}" if table.of_tools else address


def _read(body: bytes, kind: str) -> list[Any]:
    """Return the lines in a body: one, a list of some, or each on a line of its own.

    Raises:
        msgspec.MsgspecError: They are no JSON.
        RequestError: They are more than can be held.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise RequestError(
            f"what is posted may hold {_MOST_VALUES:,} values at once: post it in several parts"
        )
    try:
        if kind in _LINES:
            return msgspec.json.Decoder().decode_lines(body)
        if kind != "application/json":
            raise msgspec.ValidationError(
                f"lines are posted with Content-Type application/json or {_LINES[0]}, got"
                f" {kind[:80]!r}"
            )
        lines = msgspec.json.decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise msgspec.ValidationError(f"what is posted must be JSON in UTF-8: {error}") from error
    except RecursionError as error:
        raise msgspec.ValidationError("the body nests too deep") from error
    return lines if isinstance(lines, list) else [lines]


def routes(table: LightTable) -> list[Route]:
    """Return what tools tell, and what the browser asks about it."""
    one_at_a_time = CapacityLimiter(1)
    told: set[str] = set()

    def tell(sentence: str) -> None:
        """Say on the terminal what most senders show nobody, each thing once."""
        if sentence not in told and len(told) < _MOST_TOLD:
            told.add(sentence)
            _log.warning("posted by a tool: %s", escaped_line(sentence))

    def receive(body: bytes, kind: str) -> dict[str, Any]:
        try:
            received = table.posted.receive(_read(body, kind))
        except (SafelightError, msgspec.MsgspecError) as error:
            tell(str(error))
            raise
        for note in received.notes:
            tell(note)
        return {"kept": received.kept, "notes": received.notes}

    async def post_lines(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        async with one_at_a_time:  # whose pictures are held
            body = await whole_body(request)
            return json_answer(await run_in_threadpool(receive, body, kind), 202)

    def how(request: Request) -> Response:
        return json_answer(
            {"address": address_for_tools(table, request), "swarmui": SWARMUI_TEMPLATE}
        )

    return [
        ToolRoute(LINES, post_lines, methods=["POST"], name="post_lines"),
        Route(LINES, how),
    ]
