"""Servers and engines that are closed when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from backends.openai_images.openai_server import ImagesServer
from safelight.backends.openai_images import OpenAiImagesBackend


@pytest.fixture
def serve() -> Iterator[Callable[..., ImagesServer]]:
    """Start servers of a kind; each ends with the test."""
    with ExitStack() as stack:

        def start(kind: str = "sd-server", **options: Any) -> ImagesServer:
            return stack.enter_context(ImagesServer(kind, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., OpenAiImagesBackend]]:
    """Make engines; each is closed with the test."""
    with ExitStack() as stack:

        def make(*servers: ImagesServer, **options: Any) -> OpenAiImagesBackend:
            addresses = [server.url for server in servers]
            where: dict[str, Any] = (
                {"url": addresses[0]} if len(addresses) == 1 else {"urls": addresses}
            )
            backend = OpenAiImagesBackend(**(where if addresses else {}), **options)
            stack.callback(backend.close)
            return backend

        yield make
