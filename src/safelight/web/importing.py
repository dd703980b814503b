"""importing: folders of this machine chosen in the page, and the imports of them."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.picture_folders import count_pictures, list_folder, usual_folders
from safelight.errors import RequestError
from safelight.imports.import_accounts import ImportAccount, import_accounts
from safelight.imports.spools import SPOOL_FOLDER
from safelight.web.places import short_text
from safelight.web.table import LightTable, NotThere, body_of, json_answer

__all__ = ["routes"]

_SHOWN, _MOST_REASONS = 100, 20
_POSTED = "What other tools draw"


class _Folder(msgspec.Struct):
    """A folder to import.

    Attributes:
        folder: Whole.
        yes: Whether the page may read below it from now on.
        expected: Pictures in it, as far as they were counted.
    """

    folder: str
    yes: bool = False
    expected: int = 0


class _Number(msgspec.Struct):
    number: int


def _may_read(table: LightTable, folder: Path) -> bool:
    """Return whether the owner has allowed *folder*, or one around it, before."""
    real = Path(os.path.realpath(folder))
    return any(real.is_relative_to(os.path.realpath(root)) for root in table.configs.files().roots)


def _line(account: ImportAccount) -> dict[str, Any]:
    faults = account.summary.get("faults", ())
    folders = [folder for folder in account.folders if folder != SPOOL_FOLDER]
    return {
        "began": account.began, "ended": account.ended, "folders": folders or [_POSTED],
        "stopped": bool(account.summary.get("stopped")),
        "files": account.count("files"), "new": account.count("imported"),
        "better": account.count("superseded"), "known": account.count("known"),
        "gone": account.count("gone"), "unread": account.count("fault_count"),
        "reasons": list(faults)[:_MOST_REASONS],
        "again": folders[0] if len(folders) == 1 and Path(folders[0]).is_absolute() else "",
    }  # fmt: skip


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about folders and imports."""

    def places(request: Request) -> Response:
        home = table.home
        usual = [] if home is None else usual_folders(home)
        return json_answer({
            "home": str(home or Path.cwd()),
            "usual": [{"name": each.name, "path": str(each.path)} for each in usual],
        })  # fmt: skip

    def asked_for(request: Request) -> Path:
        return Path(short_text(request.query_params.get("path", ""), "a folder"))

    def folder(request: Request) -> Response:
        listed = list_folder(asked_for(request))
        return json_answer({
            "path": str(listed.path), "more": listed.more,
            "parent": None if listed.parent is None else str(listed.parent),
            "folders": [{"name": n, "path": str(listed.path / n)} for n in listed.folders],
        })  # fmt: skip

    async def count(request: Request) -> Response:
        path = asked_for(request)
        counted = await table.turns.take_slow(
            request, lambda: count_pictures(path, table.archive.path)
        )
        return json_answer(
            {**asdict(counted), "may": await run_in_threadpool(_may_read, table, path)}
        )

    def begin(given: _Folder) -> Response:
        path = list_folder(Path(short_text(given.folder, "a folder"))).path
        if path == Path(path.anchor):
            raise RequestError(f"{path} is the whole disk; choose the folder that is meant")
        if path == table.archive.path.resolve():
            raise RequestError("this is the archive itself: all that is in it is here already")
        if not _may_read(table, path):
            if not given.yes:
                question = (
                    f"May the page read pictures below {path}? The folder is then one of those"
                    " that runs may name files in, too."
                )
                return json_answer({"asks": question}, 202)
            if table.configs.folders.path is not None:
                table.configs.folders.add(path)
        one = table.imports.start((str(path),), expected=max(0, given.expected))
        return json_answer({"number": one.number}, 202)

    async def start(request: Request) -> Response:
        return await run_in_threadpool(begin, await body_of(request, _Folder))

    async def stop(request: Request) -> Response:
        given = await body_of(request, _Number)
        if not table.imports.stop(given.number):
            raise NotThere(f"no import of this page has the number {given.number}")
        return json_answer({"stopped": given.number})

    def going_on(request: Request) -> Response:
        return json_answer({"imports": table.imports.state()})

    def imports(request: Request) -> Response:
        accounts = import_accounts(table.archive.path)
        busy = {tuple(one["folders"]) for one in table.imports.state() if one["is_open"]}
        lines = [_line(each) for each in accounts[:_SHOWN]]
        lines = [one for one in lines if one["ended"] or tuple(one["folders"]) not in busy]
        return table.page(
            request, "imports", imports=lines, more=max(0, len(accounts) - _SHOWN),
            going_on=table.imports.state(),
        )  # fmt: skip

    return [
        Route("/imports", imports),
        Route("/api/imports", going_on),
        Route("/api/imports", start, methods=["POST"]),
        Route("/api/imports/stop", stop, methods=["POST"]),
        Route("/api/machine/places", places),
        Route("/api/machine/folder", folder),
        Route("/api/machine/count", count),
    ]
