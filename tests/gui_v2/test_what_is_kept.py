"""What the light table keeps in memory has an end, however much is asked of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from safelight.archive import Answer, Archive
from safelight.config import PipelineConfig
from safelight.controller import PipelineController
from safelight.errors import ControllerError
from safelight.learning.learning_record import LearningRecord
from safelight.pipeline import CancelToken, RunResult
from safelight.web import create_app, held_archive, run_queue, table
from safelight.web.held_archive import HeldArchive
from safelight.web.run_queue import RunQueue

BASE = "http://127.0.0.1:7860"
CONFIG = {"txt2img": {"prompt": "x", "seed": 1}}


class _Patient:
    """A runner that does not end before it may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def run(self, config: Any, cancel: CancelToken) -> RunResult:
        self.may_end.wait(60)
        return RunResult(run_id="r", status="completed")


@pytest.fixture
def runner() -> _Patient:
    return _Patient()


def test_runs_that_wait_have_an_end(drawn: Path, runner: _Patient) -> None:
    """A thousand clicks, or one who sends them, must not fill the memory with configs."""
    controller = PipelineController(runner)
    with TestClient(create_app(drawn, controller), base_url=BASE) as client:
        answers = [client.post("/api/runs", json={"config": CONFIG}) for _ in range(200)]
        codes = [answer.status_code for answer in answers]
        assert 90 <= codes.count(202) <= 91  # one may have begun
        assert codes.count(409) == 200 - codes.count(202)
        assert "runs wait already; start this one when" in answers[-1].json()["error"]
        controller.cancel()
        runner.may_end.set()
        assert controller.wait(60)
        assert client.post("/api/runs", json={"config": CONFIG}).status_code == 202
        assert controller.wait(60)
        assert len(client.get("/api/runs").json()["runs"]) <= 100


def test_large_configs_wait_in_smaller_numbers(runner: _Patient) -> None:
    """What a config takes in memory goes by its length."""
    queue = RunQueue(PipelineController(runner))
    large = PipelineConfig.as_stated({"txt2img": {"prompt": "x" * (run_queue._MOST_TEXT // 3)}})
    queue.start(large, 1)
    queue.start(large, 1)
    with pytest.raises(ControllerError, match="wait already"):
        queue.start(large, 1)
    assert queue.controller is not None
    queue.controller.cancel()
    runner.may_end.set()
    assert queue.controller.wait(60)
    assert queue.start(large, 1).number == 3
    assert queue.controller.wait(60)


def test_of_runs_that_ended_only_what_is_shown_is_kept(runner: _Patient) -> None:
    """Their results name every picture."""
    runner.may_end.set()
    queue = RunQueue(PipelineController(runner))
    assert queue.controller is not None
    for _ in range(130):
        queue.start(PipelineConfig.as_stated(CONFIG), 1)
        assert queue.controller.wait(60)
    shown = queue.state()["runs"]
    assert [run["number"] for run in shown] == list(range(130, 30, -1))
    assert {run["status"] for run in shown} == {"completed"}
    assert not queue._runs
    assert queue.cancel(130)
    assert not queue.cancel(1)


def test_answers_that_are_kept_have_an_end(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt may have a megabyte, and a page five hundred of them."""
    monkeypatch.setattr(held_archive, "_MOST_KEPT", 60_000)
    archive = HeldArchive(drawn)
    whole = archive.query("", columns=["prompt"], limit=500)
    assert isinstance(whole, Answer)
    for number in range(100):
        archive.query(f"steps > {number}", columns=["prompt"], limit=500)
    assert 1 < len(archive._answers) < 61
    assert sum(kept.size for kept in archive._answers.values()) <= 60_000
    archive.close()


def test_a_page_of_pictures_has_an_end(tmp_path: Path) -> None:
    """Files may say megabytes of themselves, and their pictures are still found and shown."""
    config = {"txt2img": {"prompt": "fox " * 100_000, "model": "m" * 100_000}}
    records = [
        LearningRecord.from_pipeline_context(
            config, [config], run_id=f"{n:016x}",
            outputs=[{
                "variant": 0, "stage": "txt2img", "path": f"images/{n}.png", "width": 8,
                "height": 8, "sha256": f"{n:064x}", "pixel_sha256": f"{n + 9:064x}",
            }],
        )
        for n in range(5)
    ]  # fmt: skip
    Archive(tmp_path).add_pack([record.to_json().encode() for record in records])
    with TestClient(create_app(tmp_path), base_url=BASE) as client:
        told = client.get("/api/pictures", params={"q": "fox"})
        assert len(told.content) < 5 * 50_000
        rows = told.json()["rows"]
        assert [len(row["prompt"]) for row in rows] == [20_001] * 5
        assert len(client.get("/").content) < 5 * 50_000 + 20_000
        whole = client.get(f"/api/pictures/{rows[0]['sha256']}").json()
        assert len(whole["prompt"]) == 400_000


def test_records_that_are_kept_have_an_end(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One may name thousands of pictures."""
    app = create_app(drawn)
    kept = app.state.table
    ids = [row[0] for row in kept.archive.query("", view="runs", columns=["run_id"]).rows]
    assert len(ids) == 4
    for run_id in ids:
        assert kept.record(run_id) is kept.record(run_id)
    assert len(kept._records) == 4
    monkeypatch.setattr(table, "_PICTURES_KEPT", 6)
    for run_id in ids:
        kept.record(run_id)
    kept._records.clear()
    for run_id in ids:
        kept.record(run_id)
    assert sum(len(record.outputs) for _, record in kept._records.values()) <= 6
    kept.archive.close()
