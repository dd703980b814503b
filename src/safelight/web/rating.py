"""rating: what people say of pictures, and which pictures to show them."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.errors import FilterError
from safelight.learning.ratings import KINDS, Identity, RatingEvent
from safelight.timestamps import utc_timestamp
from safelight.web.browse import picture_row
from safelight.web.table import LONGEST_FILTER, LightTable, body_of, json_answer

__all__ = ["routes"]

_MOST = 500
_AHEAD = timedelta(minutes=5)
"""How far a browser's clock may be ahead; beyond that the server's counts."""
_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_FAIR = ("sha256", "pixel_sha256", "width", "height", "after")
_POOL = (
    "sha256", "pixel_sha256", "path", "parent", "prompt", "seed", "stage", "model", "vae",
    "sampler", "scheduler", "steps", "cfg_scale", "eta", "clip_skip", "width", "height",
    "denoising_strength", "hires_scale", "hires_upscaler", "upscaler", "scale",
)  # fmt: skip
_NO_KNOBS = ("path", "parent")
_POOL_SIZE = 3000
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
    """Return sets of pictures whose rating would teach most, in an order that tells nothing.

    Of a large archive the newest are looked at.
    """
    from safelight.learning.next_to_rate import next_pairs, next_pictures, rating_pool
    from safelight.learning.rating_event import Pictures, events_in_force
    from safelight.learning.scores import fit_scores, is_automatic

    answer = table.archive.query(q, columns=_POOL, limit=_POOL_SIZE)
    table.pictures.remember((row["sha256"], row["path"]) for row in answer.dicts())
    found = [row for row in answer.dicts() if row["path"]]
    parents = {row["parent"] for row in found}
    found = [row for row in found if row["sha256"] not in parents]
    events = [event for event in table.ratings.events() if not is_automatic(event)]
    identities = [_identity(row) for row in found]
    known = Pictures([*identities, *(one for event in events for one in _seen(event))])
    # The same picture may lie in several runs; one of them is enough. Pixels alone do not tell:
    # those of imported pictures are not known.
    found = list({known.key(_identity(row)): row for row in found}.values())
    identities = [_identity(row) for row in found]
    place_of = {known.key(identity): place for place, identity in enumerate(identities)}
    judged, compared = set[int](), set[frozenset[int]]()
    for event in events_in_force(events):
        if event.rater == rater:
            places = {place_of.get(known.key(one), -1) for one in _seen(event)} - {-1}
            if event.kind in ("stars", "reject") and event.value:
                judged |= places
            elif event.kind == "pick":
                compared |= {frozenset((a, b)) for a in places for b in places if a < b}
    columns = {name: [row[name] for row in found] for name in _POOL if name not in _NO_KNOBS}
    pool = rating_pool(columns, fit_scores(events, identities))
    if mode == "one":
        sets = [(place,) for place in next_pictures(pool, 24, leave_out=judged, seed=seed)]
    elif mode == "pair":
        sets = list(next_pairs(pool, 12, compared=compared, seed=seed))  # type: ignore[arg-type]
    else:
        sets = _fours(found, random.Random(seed))  # type: ignore[assignment]
    return [[picture_row(table, _POOL, tuple(found[p].values())) for p in one] for one in sets]


def _identity(row: Mapping[str, Any]) -> Identity:
    return Identity(sha256=row["sha256"], pixel_sha256=row["pixel_sha256"])


def _seen(event: RatingEvent) -> tuple[Identity, ...]:
    return event.shown if event.image is None else (event.image,)


def _fours(found: list[dict[str, Any]], chance: random.Random) -> list[tuple[int, ...]]:
    """Return places of pictures, four at a time: of one prompt and size as long as there are any.

    Pictures that others made seldom share a prompt; then those of one size, and at last any.
    """
    sets: list[tuple[int, ...]] = []
    for alike in (("prompt", "width", "height"), ("width", "height"), ()):
        groups: dict[object, list[int]] = {}
        for place, row in enumerate(found):
            groups.setdefault(tuple(row[name] for name in alike), []).append(place)
        for places in groups.values():
            chance.shuffle(places)
            sets += [tuple(places[at : at + 4]) for at in range(0, len(places) - 3, 4)]
        if sets:
            break
    chance.shuffle(sets)
    return sets[:12]


def routes(table: LightTable) -> list[Route]:
    """Return what the browser tells and asks about ratings."""
    threads = ThreadPoolExecutor(4, thread_name_prefix="ratings")

    async def take(request: Request) -> Response:
        """Write what was said; it is on the disk when this is answered."""
        given = await body_of(request, _Given)
        if len(given.events) > _MOST:
            raise msgspec.ValidationError(f"at most {_MOST} events at a time")
        kept, refused = _split(given)
        # Threads of their own: a rater must not queue behind readers.
        await asyncio.get_running_loop().run_in_executor(threads, table.ratings.add, *kept)
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
        if len(q) > LONGEST_FILTER:
            raise FilterError(f"a filter may have {LONGEST_FILTER:,} characters")
        rater = request.query_params.get("rater", "")
        sets = _next(table, q, mode, rater, secrets.randbits(32))
        if request.query_params.get("fair", "1") != "0":
            sets = [[{name: row[name] for name in _FAIR} for row in one] for one in sets]
        return json_answer({"sets": sets})

    return [
        Route("/rate", rate),
        Route("/api/ratings", take, methods=["POST"]),
        Route("/api/next-to-rate", next_to_rate),
    ]
