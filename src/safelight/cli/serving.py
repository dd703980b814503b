"""What the light table is served with: a server that lets listeners go."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from dataclasses import replace
from types import FrameType
from typing import Any, cast

import uvicorn

from safelight.cli.connections import Connection, ConnectionLimits, Door
from safelight.operating_system import most_open_files

__all__ = ["TableServer"]

_ACCEPTED = 0.01
"""Seconds after which a connection that was accepted is known to the server."""

_AT_ONCE = 16
"""Connections that asyncio accepts before it does anything else: it must not run out of files
before one of them could be let go, nor must a request be pushed out before it could be read."""

_WAITING = 1024
"""Connections that the system keeps until they are accepted."""

_OTHER_FILES = 384
"""Files left for all but connections: the archive's, and one for every answer that is a file."""

_FEWEST = 32


class TableServer(uvicorn.Server):
    """Ends the streams that pages listen to, and leaves no connection behind.

    Args:
        config: Uvicorn's.
        limits: How long and how many connections it waits for; where the process may open few
            files, there are fewer.
    """

    def __init__(self, config: uvicorn.Config, limits: ConnectionLimits | None = None) -> None:
        super().__init__(config)
        self._door = Door(_within_files(limits or ConnectionLimits()))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; it ends in seconds, and who asks twice must not cut that short."""
        if not self.should_exit:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        config = self.config
        protocol = functools.partial(Connection, door=self._door)
        config.http_protocol_class = cast("type[asyncio.Protocol]", protocol)
        config.ws_protocol_class = None  # there are none, and they would leave by another door
        config.backlog = _AT_ONCE
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_WAITING)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        app: Any = self.config.app
        app.state.table.closing.set()
        # For some turns of the loop a connection that was just accepted is not among uvicorn's,
        # which would wait for it in vain, and asyncio loses it when the server is closed in them.
        self._accept_no_more()
        await asyncio.sleep(_ACCEPTED)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):  # who does not read its answer
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)

    def _accept_no_more(self) -> None:
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listening in server.sockets:
                with contextlib.suppress(NotImplementedError, RuntimeError):  # not every loop's way
                    loop.remove_reader(listening.fileno())


def _within_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Return *limits* with no more connections than the process may have files for."""
    files = most_open_files()
    if files is None:
        return limits
    return replace(limits, connections=min(limits.connections, max(files - _OTHER_FILES, _FEWEST)))
