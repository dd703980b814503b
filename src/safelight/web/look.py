"""look: one picture with everything that is known about it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import msgspec
from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.configs_again import stages_of_picture
from safelight.application.discarding import in_trash
from safelight.application.dropped_pictures import pictures_alike
from safelight.application.kindred import children_of, same_prompt, same_seed
from safelight.application.picture_settings import (
    PictureSettings,
    Setting,
    label_of,
    settings_of_picture,
    shown_value,
)
from safelight.application.settings_texts import FORMS, settings_told
from safelight.archive_layout import picture_file
from safelight.errors import ImageError, RequestError
from safelight.filter_tokens import quoted
from safelight.formats.infotext import parameters_text
from safelight.formats.png_chunks import PNG_SIGNATURE, read_png
from safelight.learning.learning_record import ImageOutput, LearningRecord
from safelight.varied_names import dotted
from safelight.web.browse import ROW_COLUMNS, behind, picture_row, picture_rows
from safelight.web.picture_answer import PictureAnswer
from safelight.web.pictures import THUMBNAIL_SIDES, is_digest
from safelight.web.roles import GuestRoute, has_place, is_owner, may_ask
from safelight.web.table import LightTable, NotThere, json_answer

__all__ = ["Known", "details", "flat_knobs", "known_picture", "routes"]

_MISSING = "(not there)"
_MADE_AT_ONCE = 2
_PATIENCE = 0.3
"""Seconds that a thumbnail waits to be made while somebody waits for an answer."""
_MOST_TEXT = 4 * 2**20
"""Bytes of a file's texts that are shown."""
_LONGEST_VALUE, _MOST_REST = 20_000, 200
_COLUMNS = (*ROW_COLUMNS, "discarded")
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
        discarded: Whether it is, or was, in the trash.
    """

    row: dict[str, Any]
    output: ImageOutput
    config: dict[str, dict[str, Any]]
    record: LearningRecord | None = None
    label: str | None = None
    choices: Mapping[str, Any] = {}
    templates: Mapping[str, Any] = {}
    discarded: bool = False

    @property
    def settings(self) -> PictureSettings:
        """What led to it, in the order people read it."""
        return settings_of_picture(self.output, self.config, self.record)


def known_picture(table: LightTable, digest: str) -> Known:
    """Return what is known about the picture whose bytes have this SHA-256.

    Raises:
        NotThere: The archive does not know it.
    """
    if not is_digest(digest):
        raise NotThere(f"no picture has the identity {digest[:80]!r}")
    rows = table.archive.query(f"sha256 = '{digest}'", columns=_COLUMNS, limit=1)
    if not rows.rows:
        return _made_now(table, digest)
    row = picture_row(table, rows.columns, rows.rows[0])
    discarded = bool(row.pop("discarded"))
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
        discarded=discarded,
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


def details(table: LightTable, known: Known, *, owner: bool) -> dict[str, Any]:
    """Return what the view shows, in plain values; where the file is, to the *owner* only."""
    output, record, told = known.output, known.record, known.settings
    children = children_of(table.archive, output.sha256) if record is not None else ()
    kin = record.outputs if record is not None else ()
    near = {output.sha256, output.parent} - {None}
    beside = [each for each in kin if near & {each.parent, each.sha256}]
    table.pictures.remember((each.sha256, each.path) for each in beside)
    has_file = table.pictures.file(output.sha256) is not None
    imported = record is not None and record.status == "imported"
    return {
        **known.row,
        "seconds": output.seconds,
        "label": known.label,
        "choices": {str(k): shown_value(v) for k, v in known.choices.items()},
        "templates": {str(k): shown_value(v) for k, v in known.templates.items()},
        "words": told.words[:_LONGEST_VALUE],
        "whole_prompt": told.prompt[:_LONGEST_VALUE],
        "negative": told.negative[:_LONGEST_VALUE],
        "settings": [_told(one) for one in told.settings],
        "rest": [_told(one) for one in told.rest[:_MOST_REST]],
        "unread": told.unread,
        "scores": [
            {"scorer": scorer, "number": float(f"{number:.6g}"), "unit": unit}
            for scorer, number, unit in table.archive.scores_of(
                [digest for digest in (output.sha256, output.pixel_sha256) if digest]
            )
        ],
        "parent": output.parent if output.parent and is_digest(output.parent) else None,
        "parent_label": next(
            (f"{each.stage} {each.width} × {each.height}" for each in kin
             if each.sha256 == output.parent), "",
        ),
        "children": [dict(child) for child in children if is_digest(child["sha256"])],
        "same_prompt": _asked(same_prompt(known.row), owner=owner),
        "run": _run(known),
        "parameters": parameters_text(known.config, output.width, output.height),
        "tool": " ".join(filter(None, (told.tool, told.version))),
        "imported": imported,
        "backend": dict(record.backend) if record is not None else {},
        "environment": dict(record.environment) if record is not None else {},
        "warnings": list(record.warnings[:20]) if record is not None else [],
        "file_name": PurePosixPath(output.path or f"{output.sha256[:12]}.png").name,
        "has_file": has_file,
        "trash": _trash(table, known) if known.discarded else None,
        **(_where(table, output) if owner else {}),
    }  # fmt: skip


def _told(one: Setting) -> dict[str, Any]:
    return {**asdict(one), "value": one.value[:_LONGEST_VALUE]}


def _run(known: Known) -> dict[str, Any]:
    """Return what the run is called, and the condition for its pictures."""
    run_id = known.row["run_id"]
    return {"name": known.row.get("name") or run_id, "q": f"run_id = {quoted(run_id)}"}


def _asked(q: str, *, owner: bool) -> str | None:
    """Return the condition *q* as a link may have it: a guest's tells no place."""
    return q if q and (owner or not has_place(q)) else None


def _where(table: LightTable, output: ImageOutput) -> dict[str, Any]:
    """Return where the file is, as records have it and as the system has it."""
    if not output.path:
        return {}
    path = Path(picture_file(table.archive.path, output.path)).absolute()
    folder = str(PurePosixPath(output.path).parent)
    told = {
        "path": str(path), "folder": folder, "whole_folder": str(path.parent),
        "folder_q": f"folder = {quoted(folder)}",
    }  # fmt: skip
    # A name that is no text is shown by its bytes.
    return {k: v.encode("utf-8", "backslashreplace").decode() for k, v in told.items()}


def _trash(table: LightTable, known: Known) -> dict[str, Any]:
    """Return since when a discarded picture is in the trash; no date when it was emptied."""
    there = in_trash(table.archive, known.output.sha256)
    if there:
        table.pictures.remember([(there[0].sha256, str(there[0].now))])
    return {"since": there[0].day if there else None, "files": len(there)}


def _labels(names: Iterable[str]) -> dict[str, str]:
    """Return what people call settings; of two stages that have one, which it is."""
    labels = {name: label_of(name) for name in names}
    twice = Counter(labels.values())
    return {
        name: label if twice[label] == 1 else f"{label} of {name.partition('.')[0]}"
        for name, label in labels.items()
    }


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
            request, "look", picture=details(table, known, owner=is_owner(request)), wanted=wanted,
            around=_neighbours(table, known, about, wanted["sort"]),
        )  # fmt: skip

    def picture(request: Request) -> Response:
        known = known_picture(table, request.path_params["digest"])
        wanted = _wanted(request)
        about = may_ask(request, wanted["q"], wanted["sort"])
        answer = details(table, known, owner=is_owner(request))
        if "around" in request.query_params:
            answer["around"] = _neighbours(table, known, about, wanted["sort"])
        return json_answer(answer)

    def changes(request: Request) -> Response:
        """Tell what differs between two to four pictures."""
        digests = request.query_params.get("pictures", "").split(",")[:4]
        every = [known_picture(table, digest) for digest in digests if digest]
        knobs = [flat_knobs(known) for known in every]
        names = dict.fromkeys(name for stage_knobs in knobs for name in stage_knobs)
        labels = _labels(names)
        rows = [
            {
                "knob": name,
                "label": labels[name],
                "values": [shown_value(stage_knobs.get(name, _MISSING)) for stage_knobs in knobs],
            }
            for name in names
            if len({shown_value(stage_knobs.get(name, _MISSING)) for stage_knobs in knobs}) > 1
        ]
        return json_answer({"pictures": [known.row for known in every], "differences": rows})

    def kindred(request: Request) -> Response:
        """Tell which pictures compare with one; the page asks when somebody rests on it."""
        known, owner = known_picture(table, request.path_params["digest"]), is_owner(request)
        seed = same_seed(table.archive, known.output.sha256)
        alike = pictures_alike(table.archive, known.settings)
        q = "" if seed is None else _asked(seed.q, owner=owner)
        more = None if alike is None else _asked(alike.q, owner=owner)
        return json_answer({
            "seed": None if seed is None else {
                "q": q, "count": seed.count, "pictures": seed.pictures,
                "beside": [
                    {**asdict(one), "sheet": not one.fits_compare} for one in seed.beside
                ],
            },
            "more": None if alike is None or not more else {
                "q": more, "count": alike.count, "by": [label_of(name) for name in alike.by],
            },
        })  # fmt: skip

    def settings(request: Request) -> Response:
        """Tell the settings in the words of another tool."""
        form = request.query_params.get("as", FORMS[0])
        known = known_picture(table, request.path_params["digest"])
        if form not in FORMS:
            raise RequestError(f"as must be one of {', '.join(FORMS)}, got {form[:80]!r}")
        return json_answer(asdict(settings_told(known.settings).text(form)))

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
        GuestRoute("/api/pictures/{digest}/kindred", kindred),
        GuestRoute("/api/pictures/{digest}/settings", settings),
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
