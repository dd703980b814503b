"""A run that did not get to its end goes on from the page."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import Page, expect

from archives import verified
from gui_v2.light_table import SWEEP, served
from safelight.application.carrying_out import EngineRunner
from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.learning import read_records
from safelight.pipeline import CancelToken, RunProgress


def _stopped_run(archive: Path) -> str:
    """Stop a run after its second variant; return its id."""
    runner = EngineRunner(archive, {})
    cancel = CancelToken()

    def stop(progress: RunProgress) -> None:
        if progress.event == "variant" and progress.variant >= 2:
            cancel.cancel()

    slow = {"name": "fake", "seconds_per_step": 0.02}
    result = runner.run({**SWEEP, "backend": slow}, cancel=cancel, on_progress=stop)
    runner.close()
    assert result.status == "cancelled"
    return result.run_id


def test_what_is_missing_is_drawn_and_what_is_there_is_not(tmp_path: Path, page: Page) -> None:
    archive = tmp_path / "archive"
    stopped = _stopped_run(archive)
    with served(archive) as address:
        page.goto(f"{address}/runs/{stopped}")
        page.get_by_role("button", name="Go on with this run").click()
        expect(page).to_have_url(f"{address}/runs")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            records = list(read_records(records_folder(archive)))
            if len(records) == 2:
                break
            time.sleep(0.1)
        first, second = records
        assert second.status == "completed"
        assert len(second.variant_configs) == 6
        origins = [about.get("drawn_by") for about in second.template["variants"]]
        assert origins.count(first.run_id) == len(first.variant_configs) >= 2
        page = page.context.new_page()  # the other one shows what happens, whenever it does
        page.goto(f"{address}/runs/{second.run_id}")
        expect(page.get_by_role("button", name="Go on with this run")).to_have_count(0)
    assert verified(Archive(archive)) == (2, [])
