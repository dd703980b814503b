"""doors: the ways in for who has no pictures here yet: an engine's address, and a first sheet."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.engine_at import engine_at
from safelight.application.examples import FIRST_EXAMPLE
from safelight.application.first_steps import keep_engine
from safelight.config import read_toml
from safelight.durable_file import read_regular_file
from safelight.errors import BackendError, BackendLoginRefused, BackendUnavailable
from safelight.randomizer import plan_variants
from safelight.web.places import short_text
from safelight.web.table import LightTable, body_of, json_answer

__all__ = ["routes"]


class _Address(msgspec.Struct):
    """Where a web UI or ComfyUI listens."""

    url: str


def routes(table: LightTable) -> list[Route]:
    """Return what the doors of an empty archive lead to."""
    engines = table.configs.engines

    def connected(given: _Address) -> dict[str, Any]:
        url = short_text(given.url.strip(), "an address")
        url = url if "://" in url else f"http://{url}"
        try:
            backend = engine_at(url, {})
        except (BackendUnavailable, BackendLoginRefused):
            raise
        except BackendError as error:
            raise BackendError(
                f"{error}; A1111 and Forge answer when they are started with --api"
            ) from error
        there = keep_engine(engines, url, backend)
        return {"name": there.name, "backend": backend}

    async def connect(request: Request) -> Response:
        given = await body_of(request, _Address)
        return json_answer(await run_in_threadpool(connected, given), 201)

    async def demo(request: Request) -> Response:
        def begin() -> dict[str, Any]:
            config = table.configs.read(read_toml(read_regular_file(FIRST_EXAMPLE).decode()))
            run = table.runs.start(config, plan_variants(config, 0).plan_size)
            return {"number": run.number, "title": run.title, "plan_size": run.plan_size}

        return json_answer(await table.turns.take_plan(request, begin), 202)

    return [
        Route("/api/engines/connect", connect, methods=["POST"]),
        Route("/api/demo", demo, methods=["POST"]),
    ]
