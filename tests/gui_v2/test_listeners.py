"""Pages that listen are counted before they are let in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.types import Message

from safelight.web import create_app


class _Page:
    """One page that wants to listen, without a port between."""

    def __init__(self, app: Starlette, address: str) -> None:
        self._app, self._address = app, address
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.answered = asyncio.Event()
        self.gone = asyncio.Event()

    async def listen(self) -> None:
        scope = {
            "type": "http", "method": "GET", "path": "/events", "query_string": b"",
            "headers": [(b"host", b"localhost")], "client": (self._address, 1), "scheme": "http",
            "root_path": "", "http_version": "1.1", "server": ("localhost", 80),
            "asgi": {"version": "3.0", "spec_version": "2.3"},
        }  # fmt: skip
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            self.answered.set()


def _run(what: Coroutine[Any, Any, None]) -> None:
    with ThreadPoolExecutor(1) as apart:  # the browser's driver keeps a loop in this thread
        apart.submit(asyncio.run, what).result()


async def _all_at_once(app: Starlette, addresses: list[str]) -> Counter[int]:
    """Let a page of each address listen, all before one was answered; then all go."""
    pages = [_Page(app, address) for address in addresses]
    listening = [asyncio.create_task(page.listen()) for page in pages]
    for page in pages:
        await page.answered.wait()
        page.gone.set()
    await asyncio.gather(*listening)
    assert all(page.headers[b"retry-after"] for page in pages if page.status == 503)
    return Counter(page.status for page in pages)


def test_pages_that_come_together_are_counted_one_by_one(tmp_path: Path) -> None:
    """Else a thousand that were opened at once would all find a place; and all give it back."""

    async def come_and_go() -> None:
        app = create_app(tmp_path)
        for _ in range(2):
            among_many = [f"10.0.{n % 10}.1" for n in range(1000)]
            assert await _all_at_once(app, among_many) == {200: 200, 503: 800}

    _run(come_and_go())


def test_one_address_leaves_places_for_others(tmp_path: Path) -> None:
    """A hundred pages behind one proxy listen; a thousand do not."""

    async def come_and_go() -> None:
        app = create_app(tmp_path)
        one = ["10.0.0.1"] * 300
        assert await _all_at_once(app, one) == {200: 128, 503: 172}
        assert await _all_at_once(app, [*one, *["10.0.0.2"] * 50]) == {200: 178, 503: 172}

    _run(come_and_go())


def test_who_goes_before_anything_is_sent_gives_the_place_back(tmp_path: Path) -> None:
    """A browser that turns back in the same moment has begun no stream."""

    async def turn_back() -> None:
        app = create_app(tmp_path)
        for _ in range(3):
            pages = [_Page(app, "10.0.0.1") for _ in range(100)]
            listening = [asyncio.create_task(page.listen()) for page in pages]
            await asyncio.sleep(0)
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        assert await _all_at_once(app, ["10.0.0.1"] * 128) == {200: 128}

    _run(turn_back())
