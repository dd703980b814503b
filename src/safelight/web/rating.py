"""rating: what people say of pictures, and which pictures to show them."""

from __future__ import annotations

import random
import re
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.learning.ratings import KINDS, RatingEvent
from safelight.web.browse import picture_rows
from safelight.web.table import LightTable, body_of, json_answer

__all__ = ["routes"]

_MOST = 500
_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_FAIR = ("sha256", "pixel_sha256", "width", "height")
_MODES = {"one": 1, "pair": 2, "four": 4}


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
    if len(event.added) + len(event.removed) + len(event.shown) + len(event.shown_beside) > 200:
        raise ValueError("an event names 200 tags and pictures at most")
    return event


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


def _next(table: LightTable, q: str, mode: str, count: int) -> list[list[dict[str, Any]]]:
    """Return sets of pictures to be rated, in an order that tells nothing about them."""
    here = f"({q}) and " if q.strip() else ""
    chance = random.Random()
    if mode == "one":
        open_ = "stars is missing and (rejected is missing or rejected = false)"
        rows, _ = picture_rows(table, here + open_, sort="-timestamp", limit=500)
        chance.shuffle(rows)
        return [[row] for row in rows[:count]]
    size = _MODES[mode]
    kinds = {"prompt": "prompt", "width": "width", "height": "height"}
    groups = [g for g in table.archive.groups(q, kinds) if g[-1] >= size and g[0] is not None]
    chance.shuffle(groups)
    sets: list[list[dict[str, Any]]] = []
    for prompt, width, height, _ in groups[:12]:
        text = "'" + str(prompt).replace("'", "''") + "'"
        same = f"{here}prompt = {text} and width = {width} and height = {height}"
        rows, _ = picture_rows(table, same, sort="-timestamp", limit=200)
        rows = list({row["pixel_sha256"]: row for row in rows}.values())
        chance.shuffle(rows)
        if len(rows) >= size:
            sets += [rows[at : at + size] for at in range(0, len(rows) - size + 1, size)]
    chance.shuffle(sets)
    return sets[:count]


def routes(table: LightTable) -> list[Route]:
    """Return what the browser tells and asks about ratings."""

    async def take(request: Request) -> Response:
        """Write what was said; it is on the disk when this is answered."""
        given = await body_of(request, _Given)
        if len(given.events) > _MOST:
            raise msgspec.ValidationError(f"at most {_MOST} events at a time")
        kept, refused = _split(given)
        await run_in_threadpool(table.ratings.add, *kept)
        return json_answer({"accepted": [one.event_id for one in kept], "refused": refused})

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
        if q.strip():
            picture_rows(table, q, sort="-timestamp", limit=1)  # alone it must be whole
        sets = _next(table, q, mode, 12)
        if request.query_params.get("fair", "1") != "0":
            sets = [[{name: row[name] for name in _FAIR} for row in one] for one in sets]
        return json_answer({"sets": sets})

    return [
        Route("/rate", rate),
        Route("/api/ratings", take, methods=["POST"]),
        Route("/api/next-to-rate", next_to_rate),
    ]
