"""One picture does not wait for those who ask about hundreds."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from safelight.archive import Answer
from safelight.web import create_app
from safelight.web.held_archive import HeldArchive


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
            monkeypatch.setattr(held, "facets", lambda q: (slow().columns and 0, ()))
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
