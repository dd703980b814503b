"""Servers and engines that are closed when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from backends.webui.replay_server import DialectName, ReplayServer
from safelight.backends.webui import WebuiBackend


@pytest.fixture
def serve() -> Iterator[Callable[..., ReplayServer]]:
    """Start servers of a kind; each ends with the test."""
    with ExitStack() as stack:

        def start(dialect: DialectName = "forge", **options: Any) -> ReplayServer:
            return stack.enter_context(ReplayServer(dialect, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., WebuiBackend]]:
    """Make engines; each is closed with the test."""
    with ExitStack() as stack:

        def make(*servers: ReplayServer, **options: Any) -> WebuiBackend:
            addresses = [server.url for server in servers]
            where: dict[str, Any] = (
                {"url": addresses[0]} if len(addresses) == 1 else {"urls": addresses}
            )
            backend = WebuiBackend(**(where if addresses else {}), **options)
            stack.callback(backend.close)
            return backend

        yield make
