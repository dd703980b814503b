"""The server of the light table leaves no connection open when it ends."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from safelight.archive import Archive
from safelight.cli.serving import TableServer
from safelight.web import create_app


@pytest.mark.parametrize("turns", range(6))
def test_who_comes_while_it_ends_is_not_kept(tmp_path: Path, turns: int) -> None:
    """A browser opens connections ahead; asyncio takes one up over several turns."""
    with _listening() as listening, socket.socket() as guest:
        guest.settimeout(10)
        server = _server(tmp_path)

        async def end_while_it_comes() -> None:
            await server.startup([listening])
            guest.connect(listening.getsockname())
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.shutdown([listening])

        _run(server, end_while_it_comes())
        assert _is_let_go(guest)


def test_who_never_reads_the_answer_is_not_waited_for(tmp_path: Path) -> None:
    """What is left of an answer must not keep its connection."""
    with _listening() as listening, socket.socket() as guest:
        guest.settimeout(10)
        guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server = _server(tmp_path)

        async def end_before_it_reads() -> None:
            await server.startup([listening])
            guest.connect(listening.getsockname())
            guest.sendall(b"GET /static/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
            await asyncio.sleep(0.5)
            await server.shutdown([listening])

        _run(server, end_before_it_reads())
        assert _is_let_go(guest)


def _is_let_go(guest: socket.socket) -> bool:
    try:
        while guest.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def _listening() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


def _server(folder: Path) -> TableServer:
    app = create_app(Archive(folder))
    config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
    server = TableServer(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    return server


def _run(server: TableServer, ended: Coroutine[Any, Any, None]) -> None:
    """What it left open is told by the collector, which makes it a failure here."""
    with ThreadPoolExecutor(1) as apart:  # the browser's driver keeps a loop in this thread
        apart.submit(asyncio.run, ended).result()
    assert not server.server_state.connections
    gc.collect()
