"""rating: what people say of pictures, and which pictures to show them."""

from __future__ import annotations

import asyncio
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.errors import FilterError
from safelight.learning.ratings import KINDS, RatingEvent
from safelight.timestamps import utc_timestamp
from safelight.web.browse import picture_row
from safelight.web.roles import GuestRoute, is_owner, may_ask
from safelight.web.table import LONGEST_FILTER, LightTable, body_of, json_answer

__all__ = ["routes"]

_MOST = 500
_AHEAD = timedelta(minutes=5)
"""How far a browser's clock may be ahead; beyond that the server's counts."""
_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_FAIR = ("sha256", "pixel_sha256", "width", "height", "after")
_LOOKED_AT = 3000
_GUEST = "guest"
"""Rater of what a guest says who gives no name."""

_MODES = {"one": 1, "pair": 2, "four": 4}
_SETS = {"one": 24, "pair": 12, "four": 12}


class _Given(msgspec.Struct):
    events: list[msgspec.Raw]


class _Name(msgspec.Struct):
    event_id: str = ""


def _checked(raw: msgspec.Raw) -> RatingEvent:
    event = RatingEvent.from_json(bytes(raw))
    if not _EVENT_ID.fullmatch(event.event_id):
        raise ValueError("event_id must be 32 lower-case hex digits")
    if event.kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {event.kind[:80]!r}")
    if event.source != "safelight":
        raise ValueError("source is for imports; what is said here comes from safelight")
    texts = [event.rater, *event.added, *event.removed]
    if any(len(text) > 200 for text in texts) or len(str(event.value)) > 10_000:
        raise ValueError("names and tags have 200 characters at most, notes 10,000")
    if event.client_timestamp:
        raise ValueError("client_timestamp is what the server keeps of a clock that is wrong")
    if len(event.added) + len(event.removed) + len(event.shown) + len(event.shown_beside) > 200:
        raise ValueError("an event names 200 tags and pictures at most")
    now = datetime.now(UTC)
    if event.moment > now + _AHEAD:
        return msgspec.structs.replace(
            event, timestamp=utc_timestamp(now), client_timestamp=event.timestamp
        )
    return event


def _by_guest(event: RatingEvent) -> RatingEvent:
    return msgspec.structs.replace(event, rater=_GUEST)


def _split(given: _Given) -> tuple[list[RatingEvent], list[dict[str, str]]]:
    kept, refused = [], []
    for raw in given.events:
        try:
            kept.append(_checked(raw))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            try:
                name = msgspec.json.decode(raw, type=_Name).event_id
            except (msgspec.MsgspecError, ValueError, RecursionError):
                name = ""
            refused.append({"event_id": name[:80], "error": str(error)})
    return kept, refused


def _next(
    table: LightTable, q: str, mode: str, rater: str, seed: int
) -> list[list[dict[str, Any]]]:
    """Return sets of pictures to show next; none when nothing is left."""
    from safelight.application.to_rate import POOL_COLUMNS, NothingToRate, next_to_rate

    try:
        sets = next_to_rate(
            table.archive, table.ratings.events(), together=_MODES[mode], count=_SETS[mode],
            condition=q, rater=rater, seed=seed, most=_LOOKED_AT,
        )  # fmt: skip
    except NothingToRate:
        return []
    table.pictures.remember((row["sha256"], row["path"]) for group in sets for row in group)
    return [
        [picture_row(table, POOL_COLUMNS, [row[name] for name in POOL_COLUMNS]) for row in group]
        for group in sets
    ]


def routes(table: LightTable) -> list[Route]:
    """Return what the browser tells and asks about ratings."""
    threads = ThreadPoolExecutor(4, thread_name_prefix="ratings")

    async def take(request: Request) -> Response:
        """Write what was said; it is on the disk when this is answered."""
        given = await body_of(request, _Given)
        if len(given.events) > _MOST:
            raise msgspec.ValidationError(f"at most {_MOST} events at a time")
        kept, refused = _split(given)
        if not is_owner(request):  # the owner's are those without a name
            kept = [event if event.rater else _by_guest(event) for event in kept]
        # Threads of their own: a rater must not queue behind readers.
        await asyncio.get_running_loop().run_in_executor(threads, table.ratings.add, *kept)
        return json_answer({"accepted": [event.event_id for event in kept], "refused": refused})

    def rate(request: Request) -> Response:
        mode = request.query_params.get("mode", "one")
        return table.page(
            request, "rate", mode=mode if mode in _MODES else "one",
            q=request.query_params.get("q", ""), fair=request.query_params.get("fair", "1") != "0",
        )  # fmt: skip

    def next_to_rate(request: Request) -> Response:
        mode = request.query_params.get("mode", "one")
        if mode not in _MODES:
            raise msgspec.ValidationError(f"mode must be one of {', '.join(_MODES)}")
        q = request.query_params.get("q", "")
        if len(q) > LONGEST_FILTER:
            raise FilterError(f"a filter may have {LONGEST_FILTER:,} characters")
        may_ask(request, q)
        rater = request.query_params.get("rater", "")
        sets = _next(table, q, mode, rater, secrets.randbits(32))
        if request.query_params.get("fair", "1") != "0":
            sets = [[{name: row[name] for name in _FAIR} for row in group] for group in sets]
        return json_answer({"sets": sets})

    return [
        GuestRoute("/rate", rate),
        GuestRoute("/api/ratings", take, methods=["POST"]),
        GuestRoute("/api/next-to-rate", next_to_rate),
    ]
