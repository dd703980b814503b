"""live: news for open pages, over server-sent events."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from safelight.operating_system import resident_megabytes
from safelight.web.guard import is_still_in
from safelight.web.heavy_questions import Listening
from safelight.web.held_archive import HeldArchive
from safelight.web.roles import GuestRoute, is_owner
from safelight.web.run_queue import live_state
from safelight.web.table import LightTable, json_answer

__all__ = ["archive_seen", "routes"]

_EVERY = 0.5
_BREATH = 15.0
_MOST_LISTENERS = 200
_OWNERS_NEWS = ("runs", "live", "imports")
_MOST_EACH = 128
"""Listeners of one address: a hundred people behind one proxy, and places left for others."""
_COME_AGAIN = {"Retry-After": "15"}
_MOST_QUESTIONS = 4


class _News:
    """Looks at the disk once for all who listen."""

    def __init__(self, table: LightTable) -> None:
        self._table = table
        self._seen: dict[str, Any] = {}
        self._at = 0.0
        self._lock = asyncio.Lock()
        self.listeners: dict[str, int] = {}

    def enter(self, address: str) -> bool:
        """Count one who listens, unless there are too many; return whether there was a place."""
        here = self.listeners.get(address, 0)
        if here >= _MOST_EACH or sum(self.listeners.values()) >= _MOST_LISTENERS:
            return False
        self.listeners[address] = here + 1
        return True

    def leave(self, address: str) -> None:
        """Give the place of one who listened back."""
        self.listeners[address] -= 1
        if not self.listeners[address]:
            del self.listeners[address]

    async def now(self) -> dict[str, Any]:
        async with self._lock:
            if time.monotonic() - self._at >= _EVERY * 0.8:
                self._seen = await run_in_threadpool(self._look)
                self._at = time.monotonic()
            return self._seen

    def _look(self) -> dict[str, Any]:
        archive, going = self._table.archive, self._table.live.look()
        return {
            "archive": archive_seen(archive),
            "being-made": str(hash(tuple((run.run_id, run.pictures) for run in going))),
            "live": live_state(going),
            "runs": self._table.runs.state(),
            "imports": self._table.imports.state(),
        }


def archive_seen(archive: HeldArchive) -> str:
    """Return what is another text when records or packs of *archive* are others."""
    return str(hash(archive.signature()[:2]))


class _AtTheDoor(Response):
    """Counts whoever wants *stream* before anything is sent, once, however the stream ends."""

    def __init__(self, news: _News, stream: Response) -> None:
        super().__init__()
        self._news, self._stream = news, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the stream, or that there is no place."""
        address = (scope.get("client") or ("",))[0]
        if not self._news.enter(address):
            refused = PlainTextResponse("too many pages listen", 503, headers=_COME_AGAIN)
            await refused(scope, receive, send)
            return
        try:
            await self._stream(scope, receive, send)
        finally:
            self._news.leave(address)


def routes(table: LightTable) -> list[Route]:
    """Return the stream."""
    news = _News(table)

    async def stream(request: Request) -> AsyncIterator[bytes]:
        sent: dict[str, Any] = {}
        breath = time.monotonic()
        keys = request.query_params.getlist("wait")[:_MOST_QUESTIONS]
        listening = Listening(table.answers, keys)
        try:
            listening.begin()
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
                for key in keys:
                    doing = table.answers.doing(key)
                    if doing and sent.get(key) != doing:
                        sent[key] = doing
                        told = {"key": key, "doing": doing}
                        yield b"event: doing\ndata: " + _line(told) + b"\n\n"
                for key in listening.settled():
                    yield b"event: answer\ndata: " + _line({"key": key}) + b"\n\n"
                if time.monotonic() - breath > _BREATH:
                    yield b": still here\n\n"
                    breath = time.monotonic()
                await listening.rest(_EVERY)
        finally:
            listening.end()

    async def events(request: Request) -> Response:
        answer = StreamingResponse(stream(request), media_type="text/event-stream")
        return _AtTheDoor(news, answer)

    def memory(request: Request) -> Response:
        """Tell the memory of the server from that of the process that answers beside it."""
        sizes = {
            "server_mb": resident_megabytes(os.getpid()),
            "answering_mb": table.answering.megabytes(),
        }
        return json_answer({k: None if mb is None else round(mb, 1) for k, mb in sizes.items()})

    return [GuestRoute("/events", events), Route("/api/memory", memory)]


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value)
