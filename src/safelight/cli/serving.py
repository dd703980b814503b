"""What the light table is served with: a server that lets listeners go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn

__all__ = ["TableServer"]

_ACCEPTED = 0.01
"""Seconds after which a connection that was accepted is known to the server."""


class TableServer(uvicorn.Server):
    """Ends the streams that pages listen to, and leaves no connection behind."""

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
