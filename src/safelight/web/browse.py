"""browse: the grid, its filters, and searches worth keeping."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.saved_searches import (
    SavedSearch,
    keep_searches,
    saved_searches,
)
from safelight.archive.answer import columns_of_view
from safelight.archive.paging import cursor, cursor_values
from safelight.errors import FilterError, SafelightError
from safelight.filter_parts import FilterParts
from safelight.filter_tokens import quoted
from safelight.filters import SCORED
from safelight.learning.learning_record import ImageOutput
from safelight.learning.ratings import Identity
from safelight.pipeline.journal import VariantEntry
from safelight.web.facets import FacetValue
from safelight.web.pictures import is_digest
from safelight.web.roles import GuestRoute, has_place, is_owner, may_ask
from safelight.web.table import (
    LONGEST_FILTER,
    LightTable,
    body_of,
    json_answer,
    short_filter,
    without_discarded,
)

__all__ = ["ROW_COLUMNS", "picture_row", "picture_rows", "routes"]

ROW_COLUMNS = (
    "sha256", "pixel_sha256", "run_id", "place", "path", "timestamp", "name", "status", "stage",
    "width", "height", "seed", "prompt", "model", "sampler", "scheduler", "steps", "cfg_scale",
    "mismatches", "stars", "favourite", "rejected", "tags", "notes",
    "album",
)  # fmt: skip
"""What the grid knows of a picture; its path stays here."""

_OF_ONE_PICTURE = ("run_id", "place")
PAGE = 120
_LARGEST_PAGE = 500
_MOST_VALUES, _MOST_LISTED = 40, 2_000
"""Values of each facet, and of one whose values are listed."""

_LONGEST_TEXT = 20_000
"""Characters of one text that the grid is given: files may say megabytes, and a page that is too
large to be taken is not there at all."""

_GROUPS: Mapping[str, str] = {"run": "-timestamp", "prompt": "prompt", "seed": "seed"}
SORTS: Mapping[str, str] = {
    "-timestamp": "newest first", "timestamp": "oldest first", "-stars": "best rated",
    "stars": "worst rated", "seed": "seed", "prompt": "prompt", "model": "model",
    "sampler": "sampler", "steps": "steps", "-cfg_scale": "strongest guidance",
    "-width": "widest", "-seconds": "slowest", "-mismatches": "most mismatches",
}  # fmt: skip


class _Searches(msgspec.Struct, forbid_unknown_fields=True):
    searches: list[SavedSearch]


def picture_row(table: LightTable, columns: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    """Return what the page is given of one picture.

    ``after`` is what a rating of it must be after, for who has read what the page shows.
    """
    values = dict(zip(columns, row, strict=True))
    values["file_name"] = PurePosixPath(values.pop("path", None) or "").name
    known = [values.get(name) for name in ("sha256", "pixel_sha256")]
    sha256, pixels = (digest if is_digest(digest or "") else None for digest in known)
    if sha256 or pixels:
        identity = Identity(sha256=sha256, pixel_sha256=pixels)
        values["after"] = table.ratings.highest_after(identity)
    if values.get("seed") is not None:
        values["seed"] = str(values["seed"])  # JavaScript rounds numbers as large as seeds can be
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def picture_rows(
    table: LightTable, q: str, *, sort: str, limit: int, after: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of pictures and where the next begins.

    Raises:
        FilterError: *q*, *sort* or *after* cannot be read.
    """
    answer = table.archive.query(
        without_discarded(short_filter(q)),
        columns=ROW_COLUMNS,
        sort=sort,
        limit=limit,
        after=after or None,
    )
    table.pictures.remember((row[0], row[4]) for row in answer.rows)
    rows = [picture_row(table, answer.columns, [_cut(v) for v in row]) for row in answer.rows]
    return rows, answer.after


def _cut(value: Any) -> Any:
    """Return *value*, of a text as much as the grid is given; a picture's own page has it all."""
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]}…"
    return value


def behind(table: LightTable, which: str, sort: str) -> str | None:
    """Return the cursor behind the picture for which *which* holds; None when there is none.

    Raises:
        FilterError: *which* or *sort* cannot be read.
    """
    key = dict.fromkeys((sort.removeprefix("-"), *_OF_ONE_PICTURE))
    here = table.archive.query(which, columns=list(key), limit=1)
    return cursor(list(here.rows[0])) if here.rows else None


def _page(
    request: Request, table: LightTable, wanted: Mapping[str, str], limit: int, after: str = ""
) -> tuple[list[dict[str, Any]], str | None]:
    """Return what :func:`picture_rows` does, for who asks.

    A cursor holds what was sorted by, which may be a place, and any may be made up. One of a guest
    names the picture before, and nothing of it.

    Raises:
        FilterError: What is wanted cannot be read, or is not for a guest.
    """
    q = may_ask(request, wanted["q"], wanted["sort"])
    if after and not is_owner(request):
        match cursor_values(after):
            case [str(run_id), int(place)]:
                which = f"run_id = {quoted(run_id)} and place = {place}"
            case _:
                raise FilterError("after must be what the page before ended with")
        after = behind(table, which, wanted["sort"]) or ""
        if not after:
            raise FilterError("the picture before is not there any more; begin with the first page")
    rows, following = picture_rows(table, q, sort=wanted["sort"], limit=limit, after=after)
    if following is not None and not is_owner(request):
        following = cursor([rows[-1][name] for name in _OF_ONE_PICTURE])
    return rows, following


def _by_scores(table: LightTable) -> dict[str, str]:
    """Return the orders by what scorers say."""
    return {
        f"{sign}{SCORED}{name}": f"{most} {name}"
        for name in table.archive.scorers() for sign, most in (("-", "most"), ("", "least"))
    }  # fmt: skip


def _made_now(run_id: str, entry: VariantEntry, output: ImageOutput) -> dict[str, Any]:
    knobs: dict[str, Any] = {}
    for own in entry.config.values():
        knobs.update(own)
    known = {name: knobs.get(name) for name in ("prompt", "model", "sampler", "scheduler")}
    return {
        **dict.fromkeys(ROW_COLUMNS), **known, "sha256": output.sha256,
        "pixel_sha256": output.pixel_sha256, "run_id": run_id, "place": None, "path": None,
        "stage": output.stage, "width": output.width, "height": output.height,
        "seed": None if output.seed is None else str(output.seed), "status": "running",
        "steps": knobs.get("steps"), "cfg_scale": knobs.get("cfg_scale"),
        "mismatches": len(output.mismatches),
    }  # fmt: skip


def _wanted(request: Request) -> dict[str, str]:
    group = request.query_params.get("group", "")
    sort = request.query_params.get("sort") or _GROUPS.get(group, "-timestamp")
    if group in ("prompt", "seed") and sort.removeprefix("-") != group:
        sort = group
    if group == "run":
        sort = sort if sort.removeprefix("-") == "timestamp" else "-timestamp"
    return {
        "q": request.query_params.get("q", ""), "sort": sort,
        "group": group if group in _GROUPS else "",
    }  # fmt: skip


def _chips(q: str) -> list[dict[str, str]]:
    """Return what must all hold of *q*, each with the filter that is left without it."""
    parts = FilterParts.of(short_filter(q), columns_of_view("images"))
    return [{"clause": part, "q": parts.without(place)} for place, part in enumerate(parts.parts)]


def _told(value: FacetValue, parts: FilterParts) -> dict[str, Any]:
    """Return a facet's value with the filter with it put in or taken out."""
    on, q = parts.toggled(value.clause)
    told = {"value": value.value, "count": value.count, "clause": value.clause, "on": on, "q": q}
    if value.parts:
        told["parts"] = [_told(part, parts) for part in value.parts]
    return told


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks the grid for."""
    folder = table.archive.path

    def browse(request: Request) -> Response:
        wanted = _wanted(request)
        fault, rows, after, chips = "", list[dict[str, Any]](), None, list[dict[str, str]]()
        try:
            chips = _chips(wanted["q"])
            rows, after = _page(request, table, wanted, PAGE)
        except SafelightError as error:
            fault = str(error)
        return table.page(
            request, "browse", wanted=wanted, sorts={**SORTS, **_by_scores(table)}, fault=fault,
            first={"rows": rows, "after": after, "chips": chips, **wanted},
            status=400 if fault else 200,
        )  # fmt: skip

    def pictures(request: Request) -> Response:
        wanted = _wanted(request)
        text = request.query_params.get("limit", str(PAGE))
        limit = int(text) if text.isdecimal() and len(text) < 6 else PAGE
        rows, after = _page(
            request, table, wanted, max(1, min(limit, _LARGEST_PAGE)),
            request.query_params.get("after", ""),
        )  # fmt: skip
        left_out = len(table.archive.left_out())
        chips = _chips(wanted["q"])
        return json_answer({"rows": rows, "after": after, "chips": chips, "left_out": left_out})

    async def facets(request: Request) -> Response:
        asked = request.query_params
        q = short_filter(asked.get("q", ""))
        about = without_discarded(may_ask(request, q))
        while table.archive.is_loading:  # without keeping a thread from those who read
            await asyncio.sleep(0.02)
        name, fresh = asked.get("name", ""), "fresh" in asked
        most = _MOST_LISTED if name else _MOST_VALUES
        total, counted = await table.turns.take_slow(
            request, lambda: table.archive.facets(about, most=most, fresh=fresh)
        )
        parts = FilterParts.of(q, columns_of_view("images"))
        listed = [
            {
                "name": facet.name,
                "values": [
                    _told(value, parts)
                    for value in facet.values
                    if is_owner(request) or not has_place(value.clause)
                ],
                "more": len(facet.values) == most,
            }
            for facet in counted
            if name in ("", facet.name) and (is_owner(request) or facet.name != "folder")
        ]
        return json_answer({"total": total, "facets": listed})

    def being_made(request: Request) -> Response:
        runs = table.live.look()
        made = [one for run in runs for one in run.newest][:PAGE]
        table.pictures.remember((one.output.sha256, one.output.path) for one in made)
        rows = [_made_now(one.run_id, one.entry, one.output) for one in made]
        return json_answer({"rows": rows, "total": sum(run.pictures for run in runs)})

    def searches(request: Request) -> Response:
        told = saved_searches(folder)
        if not is_owner(request):
            told = [search for search in told if not _tells_places(request, search)]
        return json_answer({"searches": told})

    async def save_searches(request: Request) -> Response:
        given = await body_of(request, _Searches)
        if len(given.searches) > 200 or any(
            len(search.name) > 200 or len(search.q) > LONGEST_FILTER for search in given.searches
        ):
            raise FilterError("at most 200 searches, with names of 200 characters, can be kept")
        await run_in_threadpool(keep_searches, folder, given.searches)
        return json_answer({"searches": saved_searches(folder)})

    return [
        GuestRoute("/", browse),
        GuestRoute("/api/pictures", pictures),
        GuestRoute("/api/facets", facets),
        GuestRoute("/api/being-made", being_made),
        GuestRoute("/api/searches", searches),
        Route("/api/searches", save_searches, methods=["PUT"]),
    ]


def _tells_places(request: Request, search: SavedSearch) -> bool:
    """Return whether a guest could not ask *search*, or would be told by it where something is."""
    try:
        may_ask(request, search.q, search.sort)
    except FilterError:
        return True
    return any(has_place(text) for text in (search.name, search.q, search.sort))
