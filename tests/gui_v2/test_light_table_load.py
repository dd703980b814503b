"""Many at the table at once lose nothing, and no request whatever makes the server fall over."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from gui_v2.crowd import visit
from gui_v2.light_table import served
from safelight.archive import Archive
from safelight.web import create_app


def test_no_request_is_too_strange(archive: Path) -> None:
    """Schemathesis makes requests out of the description, fitting ones and others."""
    app = create_app(archive, hosts=("testserver", "localhost", "127.0.0.1"))
    described = schemathesis.openapi.from_asgi("/api/openapi.json", app)
    operations: list[Any] = [each.ok() for each in described.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) > 12
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    for operation in operations:
        for mode in modes:

            @settings(max_examples=15, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                answer = case.call()
                assert answer.status_code < 500, (case.formatted_path, answer.text[:500])

            with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with a bare question
                ask()
    app.state.table.posted.close()


def test_fifty_readers_and_five_raters_lose_nothing(archive: Path) -> None:
    with served(archive) as address:
        crowd = visit(address, readers=50, raters=5, seconds=4)
    assert crowd.faults == []
    assert crowd.pages > 50
    kept = {event.event_id for event in Archive(archive).ratings().events()}
    assert len(crowd.acknowledged) == len(crowd.waited) > 5
    assert kept == set(crowd.acknowledged)
