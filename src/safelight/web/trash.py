"""trash: pictures into the trash and out of it, for the owner; what is there, by date."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.discarding import (
    ToDiscard,
    discard,
    empty_trash,
    in_trash,
    restore,
    to_discard,
    trash_days,
)
from safelight.archive.trash import DiscardedFile, Moved
from safelight.web.table import LightTable, body_of, json_answer, short_filter, without_discarded

__all__ = ["routes"]

_MOST_TOLD = 20
_MOST_SHOWN = 24


class _Set(msgspec.Struct, forbid_unknown_fields=True):
    """Pictures by a filter, or one by one; the snapshot is that of what was told before."""

    q: str | None = None
    sha256s: list[str] | None = None
    snapshot: str = ""


class _Which(msgspec.Struct, forbid_unknown_fields=True):
    """A date, the name of a discard, a filter, or nothing for all; and how many were told."""

    which: str = ""
    files: int = -1


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about the trash."""
    archive = table.archive
    going = {"done": 0, "of": 0}  # one at a time moves files: the trash is locked meanwhile

    def on_progress(done: int, of: int) -> None:
        going.update(done=done, of=of)

    def progress(request: Request) -> Response:
        """Tell how far the files are that are being moved."""
        del request  # it says nothing
        return json_answer(going)

    def choose(given: _Set) -> ToDiscard:
        if (given.q is None) == (given.sha256s is None):
            raise msgspec.ValidationError("give either q or sha256s")
        if given.q is not None:
            return to_discard(archive, without_discarded(short_filter(given.q)))
        return to_discard(archive, sha256s=given.sha256s)

    async def plan(request: Request) -> Response:
        given = await body_of(request, _Set)
        chosen = await run_in_threadpool(choose, given)
        folders = {_shown(folder): count for folder, count in chosen.folders.items()}
        return json_answer({
            "files": len(chosen.files), "size": chosen.size, "folders": folders,
            "used_again": chosen.used_again, "led_to": chosen.led_to, "linked": chosen.linked,
            "already": chosen.already, "snapshot": chosen.snapshot, **_left(chosen),
        })  # fmt: skip

    async def put_in(request: Request) -> Response:
        given = await body_of(request, _Set)
        chosen = await run_in_threadpool(choose, given)
        if chosen.snapshot != given.snapshot:
            raise HTTPException(
                409, f"it would be {len(chosen.files):,} files now: look again, and ask again"
            )
        on_progress(0, len(chosen.files))
        now = datetime.now().astimezone()
        moved = await run_in_threadpool(
            lambda: discard(archive, chosen, now, on_progress=on_progress)
        )
        archive.signature_now()  # who asks next is to see it
        return json_answer(_told(moved))

    def contents() -> list[dict[str, Any]]:
        files = in_trash(archive)
        shown: dict[str, list[str]] = {}
        for file in files:
            own = shown.setdefault(file.day, [])
            if len(own) < _MOST_SHOWN:
                own.append(file.sha256)
                table.pictures.remember([(file.sha256, str(file.now))])
        return [
            {"day": day.day, "files": day.files, "size": day.size, "shown": shown[day.day]}
            for day in trash_days(files)
        ]

    def page(request: Request) -> Response:
        return table.page(request, "trash", first={"days": contents()})

    def listed(request: Request) -> Response:
        del request  # it says nothing
        return json_answer({"days": contents()})

    def meant(given: _Which) -> list[DiscardedFile]:
        files = in_trash(archive, short_filter(given.which))
        if given.files not in (-1, len(files)):
            raise HTTPException(409, f"it would be {len(files):,} files now: look again")
        return files

    async def take_out(request: Request) -> Response:
        given = await body_of(request, _Which)
        files = await run_in_threadpool(meant, given)
        on_progress(0, len(files))
        moved = await run_in_threadpool(lambda: restore(archive, files, on_progress=on_progress))
        table.pictures.remember((file.sha256, file.place) for file in files)
        archive.signature_now()
        return json_answer(_told(moved))

    async def empty(request: Request) -> Response:
        given = await body_of(request, _Which)
        if given.files < 0:
            raise msgspec.ValidationError("files must say how many are to be deleted")
        files = await run_in_threadpool(meant, given)
        on_progress(0, len(files))
        return json_answer(_told(await run_in_threadpool(
            lambda: empty_trash(archive, files, on_progress=on_progress)
        )))  # fmt: skip

    return [
        Route("/trash", page),
        Route("/api/trash", listed),
        Route("/api/trash", put_in, methods=["POST"]),
        Route("/api/trash/plan", plan, methods=["POST"]),
        Route("/api/trash/progress", progress),
        Route("/api/trash/restore", take_out, methods=["POST"]),
        Route("/api/trash/empty", empty, methods=["POST"]),
    ]


def _told(moved: Moved) -> dict[str, Any]:
    return {"discard": moved.name, "files": moved.files, "size": moved.size, **_left(moved)}


def _left(done: Moved | ToDiscard) -> dict[str, Any]:
    told = [
        {"path": _shown(str(fault.path)), "told": _shown(fault.reason)}
        for fault in done.left[:_MOST_TOLD]
    ]
    return {"left": told, "left_count": len(done.left)}


def _shown(text: str) -> str:
    """Return *text*, of a name that may be none, as JSON can hold it."""
    return text.encode("utf-8", "backslashreplace").decode()
