"""learn: what knobs do to ratings, and what to try next."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.web.table import LightTable

__all__ = ["routes"]


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about effects."""

    def learn(request: Request) -> Response:
        rated = table.archive.query("stars is not missing", columns=["run_id"], limit=1000).rows
        return table.page(request, "learn", rated=len(rated))

    return [Route("/learn", learn)]
