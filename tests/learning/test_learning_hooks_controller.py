"""The controller passes records on, and is headless."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from safelight.controller import PipelineController
from safelight.learning import LearningRecord
from safelight.pipeline import CancelToken, LearningRecordSink, ProgressCallback, RunResult


def synthetic_record(run_id: str = "synthetic") -> LearningRecord:
    return LearningRecord.from_pipeline_context(
        {"txt2img": {"prompt": "a cat", "steps": 20}}, [], {"mode": "off"}, run_id=run_id
    )


class FakeRunner:
    """Emits a synthetic record instead of drawing."""

    def __init__(
        self,
        *,
        learning_record_writer: LearningRecordSink | None = None,
        on_learning_record: Callable[[LearningRecord], object] | None = None,
    ) -> None:
        self.writer = learning_record_writer
        self.on_learning_record = on_learning_record

    def run(
        self,
        config: Any,
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> RunResult:
        record = synthetic_record(config["name"])
        if self.writer is not None:
            self.writer.write(record)
        if self.on_learning_record is not None:
            self.on_learning_record(record)
        return RunResult(run_id=record.run_id, status="completed", learning_record=record)


class InMemoryWriter:
    def __init__(self) -> None:
        self.records: list[LearningRecord] = []

    def write(self, record: LearningRecord) -> None:
        self.records.append(record)


def test_an_injected_runners_record_reaches_the_callback() -> None:
    """The controller's own callback gets what the runner emits, once."""
    heard = list[LearningRecord]()
    controller = PipelineController(FakeRunner(), on_learning_record=heard.append)
    controller.run({"name": "one"})
    assert [record.run_id for record in heard] == ["one"]
    assert controller.last_learning_record is heard[0]


def test_a_factory_is_given_the_hooks() -> None:
    """Writer and callback travel through the controller to the runner, and nothing is doubled."""
    writer, heard = InMemoryWriter(), list[LearningRecord]()
    controller = PipelineController(
        runner_factory=FakeRunner,
        learning_record_writer=writer,
        on_learning_record=heard.append,
    )
    controller.run({"name": "one"})
    controller.run({"name": "two"})
    assert [record.run_id for record in heard] == ["one", "two"]
    assert writer.records == heard
    assert controller.last_learning_record is heard[1]


def test_a_callback_that_raises_reaches_nobody() -> None:
    """The run succeeds, the record is kept, the state is idle."""

    def broken(record: LearningRecord) -> None:
        raise RuntimeError("broken")

    controller = PipelineController(FakeRunner(), on_learning_record=broken)
    assert controller.run({"name": "one"}).status == "completed"
    assert controller.last_learning_record == synthetic_record("one") or (
        controller.last_learning_record is not None
        and controller.last_learning_record.run_id == "one"
    )
    assert controller.state == "idle"


def test_every_hook_is_optional() -> None:
    """Constructors stay as they were for everybody who wants no records."""
    controller = PipelineController(FakeRunner())
    assert controller.last_learning_record is None
    assert controller.run({"name": "one"}).run_id == "one"


def test_learning_pipeline_and_controller_load_no_gui() -> None:
    """A server without a screen runs them: proven in a fresh interpreter."""
    program = """
import sys
import safelight.learning, safelight.pipeline, safelight.controller
import safelight.learning.learning_runner
gui = {"tkinter", "_tkinter", "turtle", "PyQt5", "PyQt6", "PySide2", "PySide6", "wx", "gi",
       "kivy", "pygame", "matplotlib", "gradio", "streamlit", "safelight.web", "safelight.cli"}
print(sorted(name for name in sys.modules if name.partition(".")[0] in gui or name in gui))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
