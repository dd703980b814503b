"""rating: what people say of pictures, and which pictures to show them."""

from __future__ import annotations

import asyncio
import math
import re
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.ratable_pictures import POOL_COLUMNS, unrated_by_chance
from safelight.application.rating import check_tags
from safelight.errors import RequestError
from safelight.learning.ratings import KINDS, MANY, RatingEvent
from safelight.timestamps import utc_timestamp
from safelight.web.allowance import Allowance
from safelight.web.browse import picture_row
from safelight.web.heavy_questions import asked
from safelight.web.questions import NextQuestion, NextSets
from safelight.web.roles import GuestRoute, is_owner, may_ask
from safelight.web.table import LightTable, body_of, checked_filter, json_answer

__all__ = ["GUEST", "check_texts", "guests_allowance", "refuse_flood", "routes"]

_MOST = 500
_MOST_OF_ONE = 5_000
"""Pictures of one event that names them."""

_AHEAD = timedelta(minutes=5)
"""How far a browser's clock may be ahead; beyond that the server's counts."""
_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_FAIR = ("sha256", "pixel_sha256", "width", "height", "after")
_LOOKED_AT = 3000
GUEST = "guest"
"""Rater of what a guest says who gives no name."""

_MODES = {"one": 1, "pair": 2, "four": 4}
_SETS = {"one": 40, "pair": 24, "four": 24}
"""The page asks for more when 15 are left."""

_MEANWHILE = 60
"""Sets drawn by chance for who would have to wait: six seconds of ten keys each."""

_DIGITS = 15
_OF_GUESTS, _OF_GUESTS_A_SECOND = 16 * 2**20, 4 * 2**10
"""Bytes of what all guests say, at once and every second: 50,000 ratings, and 13 a second."""


class _Given(msgspec.Struct):
    events: list[msgspec.Raw]


class _Name(msgspec.Struct):
    event_id: str = ""


def _checked(raw: msgspec.Raw) -> RatingEvent:
    event = RatingEvent.from_json(bytes(raw))
    if not _EVENT_ID.fullmatch(event.event_id):
        raise ValueError("event_id must be 32 lower-case hex digits")
    if event.kind not in (*KINDS, MANY):
        kinds = ", ".join((*KINDS, MANY))
        raise ValueError(f"kind must be one of {kinds}, got {event.kind[:80]!r}")
    if event.source != "safelight":
        raise ValueError("source is for imports; what is said here comes from safelight")
    check_texts([event.rater, *event.added, *event.removed], event.value)
    if event.statement == "tags":
        try:
            check_tags(event.added)
        except RequestError as error:
            raise ValueError(str(error)) from error
    if (
        event.parts
        or event.same_pictures
        or (event.many is not None and len(event.many) > _MOST_OF_ONE)
    ):
        raise ValueError(
            f"an event names {_MOST_OF_ONE:,} pictures at most; of more, say it of a filter"
        )
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


def check_texts(names: Sequence[str], value: object) -> None:
    """See that texts are as short as what people say.

    Raises:
        ValueError: One is not.
    """
    if any(len(name) > 200 for name in names) or len(str(value)) > 10_000:
        raise ValueError("names and tags have 200 characters at most, notes 10,000")


def guests_allowance() -> Allowance:
    """Return how much guests may have kept for good."""
    return Allowance(_OF_GUESTS, _OF_GUESTS_A_SECOND)


def refuse_flood(allowance: Allowance, amount: int) -> None:
    """Refuse *amount* bytes of what guests say while they say too much.

    Raises:
        HTTPException: 429, it may be said again later; or 413, it is too much ever.
    """
    if amount > _OF_GUESTS:
        raise HTTPException(
            413, f"guests say {_OF_GUESTS:,} bytes at once at most; choose fewer pictures"
        )
    if seconds := allowance.take(amount):
        again = math.ceil(seconds)
        raise HTTPException(
            429,
            f"guests say more than {_OF_GUESTS_A_SECOND:,} bytes a second; keep it, and send it"
            f" again in {again} s",
            {"Retry-After": str(again)},
        )


def _by_guest(event: RatingEvent) -> RatingEvent:
    return msgspec.structs.replace(event, rater=GUEST)


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


def _shown_sets(table: LightTable, told: NextSets, *, fresh: bool) -> list[list[dict[str, Any]]]:
    """Return the sets as the page has them; of older ones those that nothing was said about since.

    Args:
        table: Whose pictures.
        told: The sets.
        fresh: Whether nothing was said since.
    """
    rows = [[dict(zip(told.columns, row, strict=True)) for row in group] for group in told.sets]
    table.pictures.remember((row["sha256"], row["path"]) for group in rows for row in group)
    shown = []
    for group, after in zip(rows, told.after, strict=True):
        pictures = [picture_row(table, told.columns, list(row.values())) for row in group]
        now = [row.get("after", 0) for row in pictures]
        if fresh or any(then >= since for then, since in zip(after, now, strict=True)):
            shown.append(pictures)
    return shown


def _by_chance(table: LightTable, question: NextQuestion) -> list[list[dict[str, Any]]]:
    """Return sets for who would have to wait: of pictures that nobody rated, from anywhere."""
    sets = unrated_by_chance(
        table.archive, together=question.together, count=_MEANWHILE, condition=question.q,
        passed_over=lambda picture: table.ratings.was_passed_over(question.rater, picture),
        seed=secrets.randbits(32),
    )  # fmt: skip
    table.pictures.remember((row["sha256"], row["path"]) for group in sets for row in group)
    return [
        [picture_row(table, POOL_COLUMNS, [row[name] for name in POOL_COLUMNS]) for row in group]
        for group in sets
    ]


def _of_guest(
    table: LightTable, kept: Sequence[RatingEvent]
) -> tuple[list[RatingEvent], list[dict[str, str]]]:
    """Return what a guest may say of *kept*, and what not: albums, and what others said."""
    by_id = {event.event_id: event for event in kept}
    allowed, refused = [], []
    for event in kept:
        reason = ""
        if event.statement == "albums":
            reason = "albums are the owner's; guests look, rate and tag"
        elif event.undoes:
            undone = by_id.get(event.undoes) or table.ratings.event(event.undoes)
            if undone is not None and undone.rater != event.rater:
                reason = "everybody takes back what they said themselves, and nothing else"
        if reason:
            refused.append({"event_id": event.event_id, "error": reason})
        else:
            allowed.append(event)
    return allowed, refused


def routes(table: LightTable, allowance: Allowance) -> list[Route]:
    """Return what the browser tells and asks about ratings.

    Args:
        table: Whose pictures.
        allowance: Of all guests together.
    """
    threads = ThreadPoolExecutor(4, thread_name_prefix="ratings")

    async def take(request: Request) -> Response:
        """Write what was said; it is on the disk when this is answered."""
        given = await body_of(request, _Given)
        if len(given.events) > _MOST:
            raise msgspec.ValidationError(f"at most {_MOST} events at a time")
        kept, refused = _split(given)
        if not is_owner(request):
            refuse_flood(allowance, len(await request.body()))
            # the owner's are those without a name
            kept = [event if event.rater else _by_guest(event) for event in kept]
            kept, others = await run_in_threadpool(_of_guest, table, kept)
            refused += others
        # Threads of their own: a rater must not queue behind readers.
        await asyncio.get_running_loop().run_in_executor(threads, table.ratings.add, *kept)
        return json_answer({"accepted": [event.event_id for event in kept], "refused": refused})

    def rate(request: Request) -> Response:
        mode = request.query_params.get("mode", "one")
        return table.page(
            request, "rate", mode=mode if mode in _MODES else "one",
            q=request.query_params.get("q", ""), fair=request.query_params.get("fair", "1") != "0",
        )  # fmt: skip

    async def next_to_rate(request: Request) -> Response:
        given = request.query_params
        mode = given.get("mode", "one")
        if mode not in _MODES:
            raise msgspec.ValidationError(f"mode must be one of {', '.join(_MODES)}")
        after = given.get("after", "0")
        if not after.isdecimal() or len(after) > _DIGITS:
            raise msgspec.ValidationError(f"after must be a number as it was told, got {after!r}")
        q = may_ask(request, checked_filter(given.get("q", "")))
        question = NextQuestion(
            q=q, together=_MODES[mode], count=_SETS[mode],
            most=_LOOKED_AT, rater=given.get("rater", ""),
        )  # fmt: skip
        state = await asked(
            table.answers, request, question, after=int(after), only_kept="kept" in given,
            changing=True,
        )  # fmt: skip
        sets = list[list[dict[str, Any]]]()
        if isinstance(state.answer, NextSets):
            sets = await run_in_threadpool(_shown_sets, table, state.answer, fresh=state.fresh)
        elif "meanwhile" in given:
            sets = await run_in_threadpool(_by_chance, table, question)
        if state.answer is None and state.failure is not None and not sets:
            raise state.failure
        if given.get("fair", "1") != "0":
            sets = [[{name: row[name] for name in _FAIR} for row in group] for group in sets]
        told = {
            "sets": sets, "state": "answered" if state.answer is not None else "computing",
            "number": state.number, "age_s": round(state.age, 1), "fresh": state.fresh,
            "waiting": state.waiting, "key": state.key,
        }  # fmt: skip
        if state.answer is None:
            return json_answer(told, 202, {"Retry-After": "2"})
        return json_answer(told)

    return [
        GuestRoute("/rate", rate),
        GuestRoute("/api/ratings", take, methods=["POST"]),
        GuestRoute("/api/next-to-rate", next_to_rate),
    ]
