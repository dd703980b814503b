"""dropped: a picture file that is handed to the page: its settings, and what to do with it."""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import msgspec
from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.config_text import toml_text
from safelight.application.dropped_pictures import keep_picture, pictures_alike
from safelight.application.picture_settings import PictureSettings, read_picture_bytes
from safelight.errors import ConfigError
from safelight.timestamps import utc_timestamp
from safelight.web.guard import PICTURES
from safelight.web.table import LightTable, json_answer, whole_body

__all__ = ["routes"]

_LONGEST_NAME, _LONGEST_VALUE, _MOST_REST = 255, 20_000, 200
_BYTES = "application/octet-stream"


def _told(table: LightTable, told: PictureSettings) -> dict[str, Any]:
    """Return what the page shows of a picture, in plain values."""
    alike = pictures_alike(table.archive, told)
    known = table.archive.query(f"sha256 = '{told.sha256}'", columns=["sha256"], limit=1).rows
    return {
        "name": told.name, "sha256": told.sha256, "tool": told.tool, "version": told.version,
        "outcome": told.outcome, "width": told.width, "height": told.height,
        "prompt": told.prompt[:_LONGEST_VALUE], "negative": told.negative[:_LONGEST_VALUE],
        "settings": [_setting(one) for one in told.settings],
        "rest": [_setting(one) for one in told.rest[:_MOST_REST]],
        "unread": told.unread, "warnings": told.warnings[:20], "engine": told.engine,
        "config": told.config, "toml": toml_text(told.config) if told.settings else "",
        "alike": None if alike is None else asdict(alike), "known": bool(known),
    }  # fmt: skip


def _setting(one: Any) -> dict[str, Any]:
    return {**asdict(one), "value": one.value[:_LONGEST_VALUE]}


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about a picture that it was given."""
    one_at_a_time = CapacityLimiter(1)

    async def taken(request: Request, work: Callable[[bytes, str], dict[str, Any]]) -> Response:
        """Answer with what *work* makes of the picture; its bytes are held by one at a time."""
        if request.headers.get("content-type", "") != _BYTES:
            raise msgspec.ValidationError(f"a picture comes with Content-Type {_BYTES}")
        name = request.query_params.get("name", "")[:_LONGEST_NAME] or "picture"
        async with one_at_a_time:
            data = await whole_body(request)
            return json_answer(await run_in_threadpool(work, data, name))

    def read(data: bytes, name: str) -> PictureSettings:
        told = read_picture_bytes(io.BytesIO(data), name, time.time())
        try:
            return told.named_engine(table.configs.engines)
        except ConfigError:  # who runs it is told what is wrong with the list
            return told

    def look(data: bytes, name: str) -> dict[str, Any]:
        return _told(table, read(data, name))

    def keep(data: bytes, name: str) -> dict[str, Any]:
        told = read(data, name)
        if table.archive.query(f"sha256 = '{told.sha256}'", columns=["sha256"], limit=1).rows:
            return {"number": None, "sha256": told.sha256}
        path = keep_picture(table.archive.path, data, name, utc_timestamp()[:10])
        number = table.imports.start((str(path.absolute()),), expected=1).number
        return {"number": number, "sha256": told.sha256}

    def answering(work: Callable[[bytes, str], dict[str, Any]]) -> Callable[
        [Request], Awaitable[Response]
    ]:  # fmt: skip
        async def answer(request: Request) -> Response:
            return await taken(request, work)

        return answer

    return [
        Route(PICTURES, answering(look), methods=["POST"]),
        Route(f"{PICTURES}/keep", answering(keep), methods=["POST"]),
    ]
