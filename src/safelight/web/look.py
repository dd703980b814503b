"""look: one picture with everything that is known about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import msgspec
from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.configs_again import stages_of_picture
from safelight.errors import ImageError
from safelight.formats.infotext import parameters_text
from safelight.formats.png_chunks import PNG_SIGNATURE, read_png
from safelight.imports.knobs_read import knobs_read
from safelight.learning.learning_record import ImageOutput, LearningRecord
from safelight.varied_names import dotted
from safelight.web.browse import ROW_COLUMNS, behind, picture_row, picture_rows
from safelight.web.picture_answer import PictureAnswer
from safelight.web.pictures import THUMBNAIL_SIDES, is_digest
from safelight.web.roles import GuestRoute, may_ask
from safelight.web.table import LightTable, NotThere, json_answer

__all__ = ["Known", "details", "flat_knobs", "known_picture", "routes"]

_MISSING = "(not there)"
_MADE_AT_ONCE = 2
_PATIENCE = 0.3
"""Seconds that a thumbnail waits to be made while somebody waits for an answer."""
_MOST_TEXT = 4 * 2**20
"""Bytes of a file's texts that are shown."""
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A picture, with what led to it.

    Attributes:
        row: What the grid knows of it.
        output: Its entry in the record.
        config: Stage -> effective knobs, up to the stage that made it.
        record: None while its run goes on.
        label: What was chosen for its variant.
        choices: Source -> chosen value.
        templates: ``stage.knob`` -> the prompt as written.
    """

    row: dict[str, Any]
    output: ImageOutput
    config: dict[str, dict[str, Any]]
    record: LearningRecord | None = None
    label: str | None = None
    choices: Mapping[str, Any] = {}
    templates: Mapping[str, Any] = {}


def known_picture(table: LightTable, digest: str) -> Known:
    """Return what is known about the picture whose bytes have this SHA-256.

    Raises:
        NotThere: The archive does not know it.
    """
    if not is_digest(digest):
        raise NotThere(f"no picture has the identity {digest[:80]!r}")
    rows = table.archive.query(f"sha256 = '{digest}'", columns=ROW_COLUMNS, limit=1)
    if not rows.rows:
        return _made_now(table, digest)
    row = picture_row(table, rows.columns, rows.rows[0])
    record = table.record(row["run_id"])
    output = next((image for image in record.outputs if image.sha256 == digest), None)
    if output is None:  # a better record of the run has just come
        raise NotThere(f"the record of run {record.run_id} does not name this picture any more")
    about = _variant_of(record, output.variant)
    return Known(
        row=row,
        output=output,
        config=stages_of_picture(_config_of(record, output.variant), output.stage, record),
        record=record,
        label=about.get("label"),
        choices=about.get("choices") or {},
        templates=record.template.get("prompts") or {},
    )


def _made_now(table: LightTable, digest: str) -> Known:
    from safelight.web.browse import _made_now as row_of

    for run_id, entry, output in table.pictures.being_made():
        if output.sha256 == digest:
            row = row_of(run_id, entry, output)
            row.pop("path")
            return Known(
                row=row, output=output, config=stages_of_picture(entry.config, output.stage),
                label=entry.label, choices=entry.choices, templates=entry.templates,
            )  # fmt: skip
    raise NotThere(f"no picture has the identity {digest}")


def _config_of(record: LearningRecord, variant: int) -> Mapping[str, Any]:
    if 0 <= variant < len(record.variant_configs):
        return record.variant_configs[variant]
    return {}


def _variant_of(record: LearningRecord, variant: int) -> Mapping[str, Any]:
    variants = record.template.get("variants")
    if isinstance(variants, list) and 0 <= variant < len(variants):
        account = variants[variant]
        return account if isinstance(account, Mapping) else {}
    return {}


def flat_knobs(known: Known) -> dict[str, Any]:
    """Return ``stage.knob`` -> effective value."""
    return {
        f"{stage}.{name}": value
        for stage, knobs in known.config.items()
        for name, value in dotted(knobs)
    }


def details(table: LightTable, known: Known) -> dict[str, Any]:
    """Return what the view shows, in plain values."""
    output, record = known.output, known.record
    unlike = {m.knob: m.requested for m in output.mismatches}
    learned = {k.name: k for k in knobs_read(record)} if record is not None else {}
    effective = flat_knobs(known)
    knobs = [
        {
            "knob": name,
            "requested": _shown(unlike.get(name, effective.get(name, _MISSING))),
            "effective": _shown(effective.get(name, _MISSING)),
            "mismatch": name in unlike,
            "learned": learned[name].status if name in learned else "read",
            "others": [_shown(other) for other in learned[name].others] if name in learned else [],
        }
        for name in dict.fromkeys([*effective, *unlike, *learned])
    ]
    others = record.outputs if record is not None else ()
    children = [child for child in others if child.parent == output.sha256]
    table.pictures.remember((child.sha256, child.path) for child in (*children, output))
    return {
        **known.row,
        "seconds": output.seconds,
        "label": known.label,
        "choices": {str(k): _shown(v) for k, v in known.choices.items()},
        "templates": {str(k): _shown(v) for k, v in known.templates.items()},
        "knobs": knobs,
        "scores": [
            {"scorer": scorer, "number": float(f"{number:.6g}"), "unit": unit}
            for scorer, number, unit in table.archive.scores_of(
                [digest for digest in (output.sha256, output.pixel_sha256) if digest]
            )
        ],
        "parent": output.parent if output.parent and is_digest(output.parent) else None,
        "children": [
            {"sha256": child.sha256, "stage": child.stage,
             "width": child.width, "height": child.height}
            for child in children if is_digest(child.sha256)
        ],
        "parameters": parameters_text(known.config, output.width, output.height),
        "backend": dict(record.backend) if record is not None else {},
        "environment": dict(record.environment) if record is not None else {},
        "warnings": list(record.warnings[:20]) if record is not None else [],
        "file_name": PurePosixPath(output.path or f"{output.sha256[:12]}.png").name,
        "has_file": table.pictures.file(output.sha256) is not None,
    }  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _neighbours(table: LightTable, known: Known, q: str, sort: str) -> dict[str, str | None]:
    """Return the pictures before and after this one in the order that the grid has."""
    name = sort.removeprefix("-")
    neighbours: dict[str, str | None] = {"previous": None, "next": None}
    place = behind(table, f"sha256 = '{known.output.sha256}'", sort)
    if place is None:
        return neighbours
    opposite = name if sort.startswith("-") else f"-{name}"
    for side, order in (("next", sort), ("previous", opposite)):
        rows, _ = picture_rows(table, q, sort=order, limit=1, after=place)
        neighbours[side] = rows[0]["sha256"] if rows else None
    return neighbours


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about one picture."""
    making = CapacityLimiter(_MADE_AT_ONCE)

    def look(request: Request) -> Response:
        known = known_picture(table, request.path_params["digest"])
        wanted = _wanted(request)
        about = may_ask(request, wanted["q"], wanted["sort"])
        return table.page(
            request, "look", picture=details(table, known), wanted=wanted,
            around=_neighbours(table, known, about, wanted["sort"]),
        )  # fmt: skip

    def picture(request: Request) -> Response:
        known = known_picture(table, request.path_params["digest"])
        wanted = _wanted(request)
        about = may_ask(request, wanted["q"], wanted["sort"])
        answer = details(table, known)
        if "around" in request.query_params:
            answer["around"] = _neighbours(table, known, about, wanted["sort"])
        return json_answer(answer)

    def changes(request: Request) -> Response:
        """Tell what differs between two to four pictures."""
        digests = request.query_params.get("pictures", "").split(",")[:4]
        every = [known_picture(table, digest) for digest in digests if digest]
        knobs = [flat_knobs(known) for known in every]
        names = dict.fromkeys(name for stage_knobs in knobs for name in stage_knobs)
        rows = [
            {
                "knob": name,
                "values": [_shown(stage_knobs.get(name, _MISSING)) for stage_knobs in knobs],
            }
            for name in names
            if len({_shown(stage_knobs.get(name, _MISSING)) for stage_knobs in knobs}) > 1
        ]
        return json_answer({"pictures": [known.row for known in every], "differences": rows})

    def metadata(request: Request) -> Response:
        """Tell what the file says of itself, word for word."""
        digest = request.path_params["digest"]
        opened = table.pictures.opened(digest)
        if opened is None:
            raise NotThere(f"no file of the archive has the identity {digest[:80]!r}")
        try:
            with opened.file as file:
                texts = _texts(file) if opened.kind == "image/png" else {}
        except (OSError, ImageError) as error:
            texts = {"": str(error)}
        return json_answer({"texts": texts})

    def record(request: Request) -> Response:
        text = table.record(request.path_params["run_id"]).to_json()
        return Response(text, media_type="application/json")

    def file(request: Request) -> Response:
        digest = request.path_params["digest"]
        opened = table.pictures.opened(digest)
        if opened is None:
            raise NotThere(f"no file of the archive has the identity {digest[:80]!r}")
        kept = "attachment" if "download" in request.query_params else "inline"
        return PictureAnswer(opened, _FOREVER, kept)

    async def thumbnail(request: Request) -> Response:
        text = request.query_params.get("side", "384")
        side = int(text) if text.isdecimal() and len(text) < 6 else 0
        side = min((s for s in THUMBNAIL_SIDES if s >= side), default=THUMBNAIL_SIDES[-1])
        digest = request.path_params["digest"]
        made = await run_in_threadpool(table.pictures.kept_thumbnail, digest, side)
        if made is None:
            async with making:
                if await _is_gone(request):
                    return Response(status_code=503)
                patience = time.monotonic() + _PATIENCE
                while table.archive.is_asked and time.monotonic() < patience:
                    await asyncio.sleep(0.005)
                made = await run_in_threadpool(table.pictures.thumbnail, digest, side)
        if made is None:
            raise NotThere("no file of the archive has this identity")
        return Response(made, media_type="image/webp", headers=_FOREVER)

    return [
        GuestRoute("/look/{digest}", look),
        GuestRoute("/api/pictures/{digest}", picture),
        GuestRoute("/api/pictures/{digest}/metadata", metadata),
        GuestRoute("/api/changes", changes),
        Route("/api/records/{run_id}", record),
        GuestRoute("/pictures/{digest}", file),
        GuestRoute("/thumbnails/{digest}", thumbnail),
    ]


def _texts(file: BinaryIO) -> dict[str, str]:
    if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        raise ImageError("not a PNG file")
    return read_png(file, _MOST_TEXT).texts


async def _is_gone(request: Request) -> bool:
    """Return whether nobody waits any more: who scrolls on or filters leaves pictures behind."""
    await request.body()
    return await request.is_disconnected()


def _wanted(request: Request) -> dict[str, str]:
    return {
        "q": request.query_params.get("q", ""),
        "sort": request.query_params.get("sort") or "-timestamp",
        "group": request.query_params.get("group", ""),
    }
