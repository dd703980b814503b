"""completing: what the search field offers while somebody types.

A key asks the archive nothing: what it holds was counted before, for the facets of everything. When
that has changed it is counted anew behind the answer, which has what was there before.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.archive.answer import columns_of_view
from safelight.errors import SafelightError
from safelight.filter_completion import Known, complete
from safelight.web.facets import Facet, FacetValue
from safelight.web.held_archive import HeldArchive
from safelight.web.roles import GuestRoute, has_place, is_owner
from safelight.web.table import LightTable, json_answer, short_filter

__all__ = ["MOST_KNOWN", "known_from", "routes"]

MOST_KNOWN = 2_000
"""Values of one column that are offered."""

_NO_COLUMNS = frozenset({"lora", "rating", "favourite", "date", "size"})
"""Facets whose values are not those of a column of their name."""


def known_from(facets: Sequence[Facet], *, shows_places: bool) -> Known:
    """Return what *facets*, which are of everything, tell of an archive.

    Args:
        facets: As :func:`.count_facets` counts them.
        shows_places: Whether it may be told where files lie.
    """
    columns = dict(columns_of_view("images"))
    if shows_places:
        columns["folder"] = "VARCHAR"
    else:
        del columns["path"]
    columns["tag"] = "VARCHAR"
    values_of = {
        facet.name: [v for v in facet.values if shows_places or not has_place(v.clause)]
        for facet in facets
    }
    loras = values_of.get("lora", [])
    return Known(
        columns=columns,
        values={
            name: _counted(values)
            for name, values in values_of.items()
            if name in columns and name not in _NO_COLUMNS
        },
        loras=_counted(loras),
        weights={lora.value: _counted(lora.parts) for lora in loras},
    )


def _counted(values: Sequence[FacetValue]) -> list[tuple[str, int]]:
    return [(each.value, each.count) for each in values if each.value]


class _Snapshot:
    """What the archive held when it was last looked at.

    Attributes:
        is_there: Whether it was ever looked at.
    """

    def __init__(self, archive: HeldArchive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._signature: object = None
        self.is_there = False
        self._known = {owner: known_from((), shows_places=owner) for owner in (True, False)}

    def known(self, *, shows_places: bool) -> Known:
        """Return it at once; what is newer is there for the next who ask."""
        archive = self._archive
        signature = archive.signature()
        if signature != self._signature and not archive.is_loading and self._lock.acquire(False):
            threading.Thread(target=self._look, args=(signature,), daemon=True).start()
        return self._known[shows_places]

    def _look(self, signature: object) -> None:
        try:
            _, facets = self._archive.facets("", most=MOST_KNOWN)
            self._known = {owner: known_from(facets, shows_places=owner) for owner in (True, False)}
            self._signature = signature
        except SafelightError:  # what was known stays
            pass
        finally:
            self.is_there = True
            self._lock.release()


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks while somebody types."""
    snapshot = _Snapshot(table.archive)

    async def completed(request: Request) -> Response:
        text = short_filter(request.query_params.get("q", ""))
        known = snapshot.known(shows_places=is_owner(request))
        while not snapshot.is_there:  # without keeping a thread from those who read
            await asyncio.sleep(0.02)
            known = snapshot.known(shows_places=is_owner(request))
        completion = complete(text, known)
        listed: list[dict[str, Any]] = [
            {"clause": one.text, "kind": one.kind, "count": one.count}
            for one in completion.candidates
        ]
        return json_answer({"start": completion.start, "candidates": listed})

    return [GuestRoute("/api/complete", completed)]
