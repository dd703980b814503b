"""Nobody can keep the light table from others by opening connections and sending half of it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from gui_v2.light_table import running_server
from safelight.cli import serving
from safelight.cli.connections import ConnectionLimits
from safelight.cli.serving import TableServer
from safelight.web import create_app

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-half: "
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"
SOON = 0.2
NEVER = 3600.0
LARGE = 32 * 1024 * 1024


class _Large:
    """An application whose answers are large, or short or never complete when asked to be."""

    def __init__(self) -> None:
        async def answer(request: Request) -> Response:
            await request.body()
            if "never" in request.query_params:
                return StreamingResponse(_never_complete())
            short = "short" in request.query_params
            return PlainTextResponse("short" if short else b"x" * LARGE)

        self.app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
        self.app.state.table = type("Table", (), {"closing": threading.Event()})()


async def _never_complete() -> AsyncIterator[str]:
    yield "begun"
    await asyncio.Event().wait()


def _server(limits: ConnectionLimits) -> TableServer:
    config = uvicorn.Config(
        _Large().app, log_level="error", lifespan="off", timeout_graceful_shutdown=1
    )
    return TableServer(config, limits)


def _served(limits: ConnectionLimits) -> contextlib.AbstractContextManager[tuple[str, int]]:
    return running_server(_server(limits))


@contextlib.contextmanager
def _connections(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        guests = []
        for _ in range(count):
            guest = stack.enter_context(socket.create_connection(address, timeout=30))
            guest.settimeout(30)
            guests.append(guest)
        yield guests


def _ended(guest: socket.socket) -> bool:
    """Wait until the server ends the connection; what it sends before is thrown away."""
    try:
        while guest.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def _is_open(guest: socket.socket) -> bool:
    guest.settimeout(0.05)
    try:
        return bool(guest.recv(1))
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def _answer(address: tuple[str, int], path: str = "/?short") -> int:
    asked = http.client.HTTPConnection(*address, timeout=30)
    try:
        asked.request("GET", path, headers={"Host": "localhost"})
        answer = asked.getresponse()
        answer.read()
        return answer.status
    finally:
        asked.close()


def _only(**limits: float) -> ConnectionLimits:
    """Return limits of which only those that are given are ever reached."""
    patient = {"head_seconds": NEVER, "body_seconds": NEVER, "answer_seconds": NEVER}
    return ConnectionLimits(**{**patient, **limits})  # type: ignore[arg-type]


@pytest.mark.parametrize("sent", [b"", b"G", HALF], ids=["nothing", "a letter", "half a head"])
def test_a_head_that_does_not_come_is_not_waited_for(sent: bytes) -> None:
    """Else whoever reaches the port could hold every file of the process for ever."""
    with _served(_only(head_seconds=SOON)) as address, _connections(address, 1) as (guest,):
        guest.sendall(sent)
        assert _ended(guest)


def test_dribbling_does_not_prolong_a_head() -> None:
    """The time counts from its beginning, not from the last byte."""
    with _served(_only(head_seconds=SOON)) as address, _connections(address, 1) as (guest,):
        guest.sendall(HALF)
        with pytest.raises(ConnectionError):
            _dribble(guest)


def _dribble(guest: socket.socket) -> None:
    while True:
        guest.sendall(b"x")


def test_a_further_head_has_to_come_in_time_too() -> None:
    """The time that a connection may rest ends with the first byte of a request."""
    with _served(_only(head_seconds=SOON)) as address, _connections(address, 1) as (guest,):
        guest.sendall(WHOLE.replace(b"/ ", b"/?short ") + HALF)
        assert _ended(guest)


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """Neither while somebody reads it nor after it was answered."""
    with _served(_only(body_seconds=SOON)) as address, _connections(address, 1) as (guest,):
        guest.sendall(POST)
        assert _ended(guest)


@pytest.mark.parametrize("closes", [b"", b"Connection: close\r\n"], ids=["stays", "closes"])
def test_who_does_not_read_an_answer_is_let_go(closes: bytes) -> None:
    """An answer that nobody takes holds its memory, and a file where it is one."""
    server = _server(_only(answer_seconds=SOON))
    with running_server(server) as address, _connections(address, 1) as (guest,):
        guest.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\n" + closes + b"\r\n"))
        assert guest.recv(1)
        deadline = time.monotonic() + 30
        while server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not server.server_state.connections
        assert len(_all(guest)) < LARGE


def test_who_reads_slowly_gets_it_all() -> None:
    """Slow is not the same as not at all."""
    with _served(_only(answer_seconds=5)) as address, _connections(address, 1) as (guest,):
        guest.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert len(_all(guest, at_once=1 << 14)) > LARGE


def _all(guest: socket.socket, at_once: int = 1 << 20) -> bytes:
    taken = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := guest.recv(at_once):
            taken += data
    return bytes(taken)


def test_half_requests_of_one_address_push_each_other_out() -> None:
    """The oldest goes: it has kept the server waiting longest, and is no page's."""
    with (
        _served(_only(unfinished_each=4)) as address,
        _connections(address, 4) as early,
        contextlib.ExitStack() as stack,
    ):
        for guest in early:
            guest.sendall(HALF)
        late = stack.enter_context(_connections(address, 3))
        for guest in late:
            guest.sendall(HALF)
        assert all(_ended(guest) for guest in early[:3])
        assert all(_is_open(guest) for guest in (early[3], *late))


def test_a_page_is_served_while_others_send_halves() -> None:
    """All accounts of this machine have one address: halves must not lock its owner out."""
    with _served(_only(unfinished_each=4)) as address, _connections(address, 40) as halves:
        for guest in halves:
            with contextlib.suppress(ConnectionError):
                guest.sendall(HALF)
        assert _answer(address) == 200


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is this machine on Linux only")
def test_halves_of_all_addresses_are_bounded() -> None:
    """Whoever has most of them gives one up."""
    with _served(_only(unfinished=3)) as address, contextlib.ExitStack() as stack:
        host, port = address
        lone = socket.socket()
        stack.enter_context(lone)
        lone.bind(("127.0.0.2", 0))
        lone.connect((host, port))
        lone.sendall(HALF)
        many = stack.enter_context(_connections(address, 3))
        for guest in many:
            guest.sendall(HALF)
        assert _ended(many[0])
        assert _is_open(lone)


def test_there_is_an_end_to_connections_of_every_kind() -> None:
    """Those that rest go first: who was on them can come again."""
    with _served(_only(connections=5)) as address, contextlib.ExitStack() as stack:
        resting = stack.enter_context(_connections(address, 5))
        for guest in resting:
            guest.sendall(WHOLE.replace(b"/ ", b"/?short "))
            assert guest.recv(1 << 16)
        assert _answer(address) == 200
        assert _ended(resting[0])


def test_a_page_is_served_while_every_connection_waits_for_its_answer() -> None:
    """Whoever asks for what takes long, from the same address, must not lock the owner out."""
    with _served(_only(connections=5)) as address, _connections(address, 5) as waiting:
        for guest in waiting:
            guest.sendall(WHOLE.replace(b"/ ", b"/?never "))
            assert guest.recv(1 << 16)
        assert _answer(address) == 200
        assert _ended(waiting[0])


def test_answers_that_nobody_takes_are_bounded_in_bytes() -> None:
    """A few requests with large answers must not fill the memory."""
    with _served(_only(unread_bytes=3 * LARGE)) as address, _connections(address, 8) as guests:
        for guest in guests:
            guest.sendall(WHOLE)
        assert _answer(address) == 200
        assert sum(len(_all(guest)) > LARGE for guest in guests) <= 4


def test_a_process_that_may_open_few_files_takes_fewer_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The archive has to be read while every connection is taken."""
    resource = pytest.importorskip("resource")
    counts: Sequence[tuple[int, int]] = [(1024, 640), (512, 128), (64, 32), (10**6, 640)]
    for files, connections in counts:
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert serving._within_files(ConnectionLimits()).connections == connections


def test_the_table_takes_no_websockets(tmp_path: Path) -> None:
    """They would leave by another door."""
    config = uvicorn.Config(create_app(tmp_path), log_level="error", lifespan="on")
    with (
        running_server(TableServer(config)) as address,
        _connections(address, 1) as (guest,),
    ):
        guest.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n"
        )
        assert guest.recv(1 << 16).startswith(b"HTTP/1.1 200")
