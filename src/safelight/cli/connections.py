"""connections: how long and how many connections may keep the light table waiting.

Anybody who reaches the port may open connections, before any token is asked for, and every one
takes a file of the process. So a request has to arrive in time, an answer has to be read, and
where there are too many, the one that has kept the server waiting longest makes room for the new
one. The new one is never refused in its stead: all who come through one proxy, and all accounts
of this machine, have one address, and half a request of one of them must not lock out the others.
A request that is sent at once is complete long before 64 others have come.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from safelight.web.accounts import account_of

__all__ = ["Connection", "ConnectionLimits", "Door"]

_LEAST_READ = 16 * 1024
"""Bytes of an answer that have to be taken within the time for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What is waited for, and how long.

    Attributes:
        head_seconds: From the opening of a connection, or from the first byte of a further
            request on it, until the head of the request is complete.
        body_seconds: From there until its body is complete.
        answer_seconds: In which somebody who does not keep up with an answer must take 16 KiB.
        unfinished_each: Requests of one address that are not complete.
        unfinished: Requests that are not complete, of all addresses.
        unread: Answers that are not being taken as fast as they come; each may hold a file.
        unread_bytes: Bytes of all answers that wait to be taken.
        connections: Connections of any kind; the other files of the process are the archive's.
    """

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    answer_seconds: float = 30.0
    unfinished_each: int = 64
    unfinished: int = 512
    unread: int = 128
    unread_bytes: int = 128 * 1024 * 1024
    connections: int = 640


class _Phase(Enum):
    """What is waited for."""

    HEAD = "the head of a request"
    BODY = "its body"
    ANSWER = "our answer"
    IDLE = "a further request, of which nothing has come"


class _Line:
    """Connections in the order in which they came, address by address."""

    def __init__(self) -> None:
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        for those in self._by_address.values():
            yield from those

    def add(self, connection: Connection) -> None:
        """Put *connection* at the end, unless it is in the line already."""
        those = self._by_address.setdefault(connection.address, {})
        if connection not in those:
            those[connection] = None
            self._count += 1

    def discard(self, connection: Connection) -> None:
        """Take *connection* out."""
        those = self._by_address.get(connection.address, {})
        if connection in those:
            del those[connection]
            self._count -= 1
        if not those:
            self._by_address.pop(connection.address, None)

    def of(self, address: str) -> int:
        """Return how many of *address* there are."""
        return len(self._by_address.get(address, ()))

    def first(self, address: str | None = None) -> Connection | None:
        """Return the oldest of *address*, or of that which has most."""
        if address is None:
            if not self._by_address:
                return None
            address = max(self._by_address, key=self.of)
        return next(iter(self._by_address.get(address, ())), None)


class Door:
    """Knows who is in, and lets somebody go where there are too many.

    Args:
        limits: How many that are.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._unfinished, self._idle, self._unread = _Line(), _Line(), _Line()
        self._everybody = _Line()

    def enter(self, connection: Connection) -> None:
        """Let a new connection in, and another one go where it is one too many."""
        self._everybody.add(connection)
        if len(self._everybody) > self.limits.connections:
            # Whoever has been answered can come again; half a request has nothing to lose. Where
            # all are being answered, too, it is the oldest of the address that has most.
            lines = (self._idle, self._unfinished, self._unread, self._everybody)
            _let_go(next(line.first() for line in lines if len(line)))

    def note(self, connection: Connection, phase: _Phase) -> None:
        """Note what *connection* is waited for."""
        if phase is _Phase.IDLE:
            self._idle.add(connection)
        else:
            self._idle.discard(connection)
        if phase not in (_Phase.HEAD, _Phase.BODY):
            self._unfinished.discard(connection)
            return
        self._unfinished.add(connection)
        if self._unfinished.of(connection.address) > self.limits.unfinished_each:
            _let_go(self._unfinished.first(connection.address))
        elif len(self._unfinished) > self.limits.unfinished:
            _let_go(self._unfinished.first())

    def note_unread(self, connection: Connection) -> None:
        """Note that *connection* does not take its answer as fast as it comes."""
        self._unread.add(connection)
        if len(self._unread) > self.limits.unread:
            _let_go(self._unread.first())
        while sum(each.unread for each in self._unread) > self.limits.unread_bytes:
            _let_go(self._unread.first())

    def note_read(self, connection: Connection) -> None:
        """Note that *connection* has taken what waited for it."""
        self._unread.discard(connection)

    def leave(self, connection: Connection) -> None:
        """Forget *connection*."""
        for line in (self._everybody, self._unfinished, self._idle, self._unread):
            line.discard(connection)


def _let_go(connection: Connection | None) -> None:
    if connection is not None:
        connection.let_go()


class Connection(H11Protocol):
    """One connection that has to be done in time.

    The parser is h11 whatever else is installed: it alone bounds the length of a head.

    Args:
        door: Who is told.
        given: What uvicorn's own protocol is made with.
    """

    def __init__(self, *, door: Door, **given: Any) -> None:
        super().__init__(**given)
        self.address = ""
        self._door = door
        self._phase: _Phase | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    @property
    def unread(self) -> int:
        """Bytes of answers that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def let_go(self) -> None:
        """End it at once, whatever has come and whatever has not been taken."""
        self._door.leave(self)
        self._cancel_timers()
        self.transport.abort()

    # -- what asyncio and uvicorn tell ---------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the head of a request."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        account = functools.cache(functools.partial(account_of, self.client, self.server))
        self.app_state = {**self.app_state, "account": account}
        self._door.enter(self)
        self._note_phase()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._door.leave(self)
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and see what is missing now."""
        super().data_received(data)
        self._note_phase()

    def on_response_complete(self) -> None:
        """Wait for a further request."""
        super().on_response_complete()
        if self.unread and self._reading is None:  # even of a short answer nothing may be taken
            self._wait_for_reader()
        self._note_phase()

    def pause_writing(self) -> None:
        """Wait until the client has taken some of its answer."""
        super().pause_writing()
        if not self.transport.is_closing():
            self._cancel_reading()
            self._wait_for_reader()
            self._door.note_unread(self)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        super().resume_writing()
        self._door.note_read(self)
        self._cancel_reading()
        if self.unread and self.cycle.response_complete:
            self._wait_for_reader()

    # -- what is missing ------------------------------------------------------------------

    def _note_phase(self) -> None:
        if self.transport.is_closing():
            return
        before, self._phase = self._phase, self._missing()
        if before is self._phase:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        limits = self._door.limits
        if self._phase is _Phase.HEAD:
            self._deadline = self.loop.call_later(limits.head_seconds, self.let_go)
        elif self._phase is _Phase.BODY:
            self._deadline = self.loop.call_later(limits.body_seconds, self.let_go)
        self._door.note(self, self._phase)

    def _missing(self) -> _Phase:
        if self.conn.their_state is h11.SEND_BODY:
            return _Phase.BODY
        if self.cycle is not None and not self.cycle.response_complete:
            return _Phase.ANSWER
        begun = bool(self.conn.trailing_data[0])
        return _Phase.HEAD if begun or self.cycle is None else _Phase.IDLE

    def _wait_for_reader(self) -> None:
        left = self.unread
        self._reading = self.loop.call_later(
            self._door.limits.answer_seconds, self._expect_read, left
        )

    def _expect_read(self, left: int) -> None:
        self._reading = None
        if left - self.unread < min(left, _LEAST_READ):
            self.let_go()
        elif self.unread:
            self._wait_for_reader()

    def _cancel_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _cancel_timers(self) -> None:
        self._cancel_reading()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
