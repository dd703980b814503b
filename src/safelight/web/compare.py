"""compare: two to four pictures side by side."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.web.look import known_picture
from safelight.web.roles import GuestRoute
from safelight.web.table import LightTable

__all__ = ["routes"]


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks when it compares."""

    def compare(request: Request) -> Response:
        digests = [d for d in request.query_params.get("pictures", "").split(",") if d][:4]
        rows = [known_picture(table, digest).row for digest in digests]
        return table.page(
            request, "compare", rows=rows, digests=digests,
            slider=request.query_params.get("as") == "slider" and len(rows) == 2,
        )  # fmt: skip

    return [GuestRoute("/compare", compare)]
