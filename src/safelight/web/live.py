"""live: news for open pages, over server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from safelight.web.guard import is_still_in
from safelight.web.roles import GuestRoute, is_owner
from safelight.web.table import LightTable

__all__ = ["routes"]

_EVERY = 0.5
_BREATH = 15.0
_MOST_LISTENERS = 200
_OWNERS_NEWS = ("runs",)


class _News:
    """Looks at the disk once for all who listen."""

    def __init__(self, table: LightTable) -> None:
        self._table = table
        self._seen: dict[str, Any] = {}
        self._at = 0.0
        self._lock = asyncio.Lock()
        self.listeners = 0

    async def now(self) -> dict[str, Any]:
        async with self._lock:
            if time.monotonic() - self._at >= _EVERY * 0.8:
                self._seen = await run_in_threadpool(self._look)
                self._at = time.monotonic()
            return self._seen

    def _look(self) -> dict[str, Any]:
        archive = self._table.archive
        return {
            "archive": str(hash(archive.signature()[:2])),
            "being-made": str(hash(archive.running())),
            "runs": self._table.runs.state(),
        }


def routes(table: LightTable) -> list[Route]:
    """Return the stream."""
    news = _News(table)

    async def stream(request: Request) -> AsyncIterator[bytes]:
        news.listeners += 1
        sent: dict[str, Any] = {}
        breath = time.monotonic()
        try:
            yield b"retry: 1000\n\n"
            while not table.closing.is_set() and not await request.is_disconnected():
                if not is_still_in(request.scope):
                    break
                for name, value in (await news.now()).items():
                    if name in _OWNERS_NEWS and not is_owner(request):
                        continue
                    if sent.get(name) != value:
                        sent[name] = value
                        yield f"event: {name}\ndata: ".encode() + _line(value) + b"\n\n"
                        breath = time.monotonic()
                if time.monotonic() - breath > _BREATH:
                    yield b": still here\n\n"
                    breath = time.monotonic()
                await asyncio.sleep(_EVERY)
        finally:
            news.listeners -= 1

    async def events(request: Request) -> Response:
        if news.listeners >= _MOST_LISTENERS:
            return Response("too many pages listen", 503, media_type="text/plain")
        return StreamingResponse(stream(request), media_type="text/event-stream")

    return [GuestRoute("/events", events)]


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value)
