"""One picture does not wait for those who ask about hundreds."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from safelight.archive import Answer, Archive
from safelight.web import create_app, runs
from safelight.web.admission import Admission
from safelight.web.held_archive import HeldArchive
from safelight.web.sessions import Role
from safelight.web.table import read_body
from safelight.web.turns import Line


@pytest.mark.parametrize("path", ["/sheet", "/api/facets", "/api/plan"])
def test_a_picture_is_served_while_many_wait_for_slow_answers(
    path: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many these are: they have threads of their own."""
    app = create_app(archive)
    held: HeldArchive = app.state.table.archive
    held.hold()
    sha256 = held.query(columns=["sha256"], limit=1).rows[0][0]
    go_on = threading.Event()
    query = held.query

    def slow(*arguments: object, **options: object) -> Answer:
        assert go_on.wait(60)
        return query(*arguments, **options)  # type: ignore[arg-type]

    async def ask() -> tuple[int, list[int]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            assert (await client.get(f"/pictures/{sha256}")).status_code == 200
            monkeypatch.setattr(held, "query", slow)
            monkeypatch.setattr(held, "facets", lambda _, **__: (slow().columns and 0, ()))
            toml = '[txt2img]\nprompt = "x"'
            waiting = [
                asyncio.ensure_future(
                    client.post(path, json={"toml": toml}) if "plan" in path else client.get(path)
                )
                for _ in range(60)
            ]
            await asyncio.sleep(0)
            try:
                async with asyncio.timeout(30):
                    picture = await client.get(f"/pictures/{sha256}")
            finally:
                go_on.set()
            return picture.status_code, [(await each).status_code for each in waiting]

    with ThreadPoolExecutor(1) as thread:  # where no browser's loop runs
        picture, slow_ones = thread.submit(lambda: asyncio.run(ask())).result()
    assert picture == 200
    assert set(slow_ones) == {200}


def test_the_owner_is_answered_while_guests_wait(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many guests there are, whatever they ask, and however long that takes."""
    tokens = {Role.GUEST: "the guests' long token", Role.OWNER: "the owner's long token"}
    app = create_app(archive, admission=Admission(tokens=tokens))
    go_on = threading.Event()
    query, facets = Archive.query, HeldArchive._facets

    def slow_query(held: Archive, condition: str = "", **options: Any) -> Answer:
        assert "steps" not in condition or go_on.wait(60)
        return query(held, condition, **options)

    def slow_facets(held: HeldArchive, condition: str, most: int) -> Any:
        assert "steps" not in condition or go_on.wait(60)
        return facets(held, condition, most)

    monkeypatch.setattr(Archive, "query", slow_query)
    monkeypatch.setattr(HeldArchive, "_facets", slow_facets)

    async def ask() -> tuple[list[int], list[int]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:

            def get(path: str, role: Role) -> asyncio.Task[httpx.Response]:
                headers = {"authorization": f"Bearer {tokens[role]}"}
                return asyncio.create_task(client.get(path, headers=headers))

            waiting = [
                get(f"{path}?q=steps > {number}", Role.GUEST)
                for number in range(40)
                for path in ("/api/pictures", "/api/facets", "/", "/sheet")
            ]
            await asyncio.sleep(0)
            try:
                async with asyncio.timeout(30):
                    pages = [
                        await get(path, Role.OWNER)
                        for path in ("/", "/api/pictures", "/api/facets", "/sheet")
                    ]
            finally:
                go_on.set()
            return [page.status_code for page in pages], [
                (await each).status_code for each in waiting
            ]

    with ThreadPoolExecutor(1) as thread:  # where no browser's loop runs
        pages, guests = thread.submit(lambda: asyncio.run(ask())).result()
    assert set(pages) == {200}
    assert set(guests) == {200}


def test_who_is_gone_is_passed_over_and_a_line_has_an_end() -> None:
    """Whoever asks and hangs up, again and again, leaves no work and no heap of questions."""
    done: list[int] = []

    async def ask() -> None:
        line, gone = Line(1, longest=2), asyncio.Event()
        begun, may_end = asyncio.Event(), asyncio.Event()

        def request() -> Request:
            async def receive() -> Message:
                if not gone.is_set():
                    await asyncio.Event().wait()
                return {"type": "http.disconnect"}

            return Request({"type": "http"}, receive)

        async def work() -> None:
            begun.set()
            await may_end.wait()
            done.append(1)

        waiting = [asyncio.create_task(line.take(request(), work)) for _ in range(3)]
        await begun.wait()
        with pytest.raises(HTTPException, match="too many questions wait"):
            await line.take(request(), work)
        gone.set()
        may_end.set()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in told] == [type(None), HTTPException, HTTPException]

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(ask())).result()
    assert done == [1]


def test_configs_that_wait_are_not_read_yet(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of a megabyte takes thirty, and many may wait; a line of them has an end."""
    app = create_app(archive)
    go_on = threading.Event()
    read = 0

    def slow(body: bytes, form: type[Any]) -> Any:
        nonlocal read
        read += 1
        assert go_on.wait(60)
        return read_body(body, form)

    monkeypatch.setattr(runs, "read_body", slow)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            config = {"config": {"txt2img": {"prompt": "x"}}}
            waiting = [
                asyncio.create_task(client.post("/api/plan", json=config)) for _ in range(80)
            ]
            try:
                refused, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                assert {each.result().status_code for each in refused} == {503}
                assert read <= 2
            finally:
                go_on.set()
            return [(await each).status_code for each in waiting]

    with ThreadPoolExecutor(1) as thread:
        codes = thread.submit(lambda: asyncio.run(ask())).result()
    assert codes.count(200) >= 64
    assert codes.count(503) == 80 - codes.count(200)
