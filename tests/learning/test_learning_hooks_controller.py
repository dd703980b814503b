"""The controller passes records on, and is headless."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from safelight.backends.fake import FakeBackend
from safelight.controller import PipelineController
from safelight.learning import LearningRecord
from safelight.pipeline import (
    CancelToken,
    LearningRecordSink,
    PipelineRunner,
    ProgressCallback,
    RunResult,
)


@pytest.fixture(autouse=True)
def _threads_do_not_outlive_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that hangs fails its test, and does not hang the test session."""
    monkeypatch.setattr(threading, "Thread", partial(threading.Thread, daemon=True))


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
    controller.start({"name": "one"}).result(5)
    assert [record.run_id for record in heard] == ["one"]
    assert controller.last_learning_record is heard[0]


THREE_PARTS: dict[str, Any] = {
    "txt2img": {"prompt": ["a", "b", "c"], "steps": 1, "width": 64, "height": 64},
    "randomizer": {"mode": "fanout"},
}


def parts_runner(**hooks: Any) -> PipelineRunner:
    return PipelineRunner(FakeBackend(), variants_per_run=1, **hooks)


def test_every_part_of_an_injected_runners_plan_reaches_callback_and_writer() -> None:
    """A plan of three runs has three records, not one."""
    writer, heard = InMemoryWriter(), list[LearningRecord]()
    controller = PipelineController(
        parts_runner(on_learning_record=lambda record: None),
        learning_record_writer=writer,
        on_learning_record=heard.append,
    )
    result = controller.start(THREE_PARTS).result(5)
    assert len({record.run_id for record in heard}) == 3
    assert writer.records == heard == list(result.records)
    assert controller.last_learning_record is heard[-1]


def test_every_part_of_a_factorys_plan_is_forwarded_and_written_once() -> None:
    """Hook and result both bring the records; the runner has the writer already."""
    writer, heard = InMemoryWriter(), list[LearningRecord]()
    controller = PipelineController(
        runner_factory=parts_runner,
        learning_record_writer=writer,
        on_learning_record=heard.append,
    )
    controller.start(THREE_PARTS).result(5)
    assert len({record.run_id for record in heard}) == 3
    assert [record.run_id for record in writer.records] == [record.run_id for record in heard]


def test_a_writer_that_raises_does_not_disturb_an_injected_runners_run() -> None:
    """The callback still gets every record, and the run its result."""

    class Broken:
        def write(self, record: LearningRecord) -> None:
            raise OSError("disk full")

    heard = list[LearningRecord]()
    controller = PipelineController(
        FakeRunner(), learning_record_writer=Broken(), on_learning_record=heard.append
    )
    assert controller.start({"name": "one"}).result(5).status == "completed"
    assert [record.run_id for record in heard] == ["one"]
    assert controller.state == "idle"


def test_a_factory_is_given_the_hooks() -> None:
    """Writer and callback travel through the controller to the runner, and nothing is doubled."""
    writer, heard = InMemoryWriter(), list[LearningRecord]()
    controller = PipelineController(
        runner_factory=FakeRunner,
        learning_record_writer=writer,
        on_learning_record=heard.append,
    )
    controller.start({"name": "one"}).result(5)
    controller.start({"name": "two"}).result(5)
    assert [record.run_id for record in heard] == ["one", "two"]
    assert writer.records == heard
    assert controller.last_learning_record is heard[1]


def test_a_callback_that_raises_reaches_nobody() -> None:
    """The run succeeds, the record is kept, the state is idle."""

    def broken(record: LearningRecord) -> None:
        raise RuntimeError("broken")

    controller = PipelineController(FakeRunner(), on_learning_record=broken)
    assert controller.start({"name": "one"}).result(5).status == "completed"
    assert controller.last_learning_record == synthetic_record("one") or (
        controller.last_learning_record is not None
        and controller.last_learning_record.run_id == "one"
    )
    assert controller.state == "idle"


def test_a_runner_without_hooks_is_given_the_controllers() -> None:
    """Whoever gives the controller a writer gets records, whatever the runner was made with."""
    writer, heard, own = InMemoryWriter(), list[LearningRecord](), list[LearningRecord]()
    for hooks in ({}, {"on_learning_record": own.append}):
        writer.records.clear()
        heard.clear()
        controller = PipelineController(
            parts_runner(**hooks), learning_record_writer=writer, on_learning_record=heard.append
        )
        result = controller.start(THREE_PARTS).result(5)
        assert len({record.run_id for record in heard}) == 3
        assert writer.records == heard == list(result.records)
    assert own == heard
    alone = PipelineController(parts_runner())
    assert alone.start(THREE_PARTS).result(5).records
    assert alone.last_learning_record is not None


class Attributes:
    """A runner with hooks that anybody may set, and a run that takes nothing but the config."""

    on_learning_record: Callable[[LearningRecord], object] | None = None
    returns: Any = None

    def run(self, config: Any) -> Any:
        if self.on_learning_record is not None:
            self.on_learning_record(synthetic_record(config["name"]))
        return self.returns


class OnlyKeywords:
    def run(self, config: Any, **more: Any) -> Any:
        more["on_learning_record"](synthetic_record(config["name"]))
        return {"status": "fine"}


class OnlyCallback:
    def run(self, config: Any, on_learning_record: Callable[[LearningRecord], object]) -> Any:
        on_learning_record(synthetic_record(config["name"]))
        return Mock()


class OnlyResult:
    def run(self, config: Any) -> Any:
        return synthetic_record(config["name"])


class LikeAResult:
    def run(self, config: Any, cancel: CancelToken) -> Any:
        return SimpleNamespace(learning_record=synthetic_record(config["name"]), cancel=cancel)


@pytest.mark.parametrize("made", [Attributes, OnlyKeywords, OnlyCallback, OnlyResult, LikeAResult])
@pytest.mark.parametrize("by_factory", [False, True])
def test_a_runner_emits_its_record_however_it_can(
    made: Callable[[], Any], by_factory: bool
) -> None:
    """What run returns is nobody's business but the caller's: None, a dict, a Mock, a record."""
    writer, heard = InMemoryWriter(), list[LearningRecord]()
    given: dict[str, Any] = {"runner_factory": made} if by_factory else {"runner": made()}
    controller = PipelineController(
        **given, learning_record_writer=writer, on_learning_record=heard.append
    )
    for name in ("one", "two"):
        controller.start({"name": name}).result(5)
    assert [record.run_id for record in heard] == ["one", "two"]
    assert writer.records == heard
    assert controller.last_learning_record is heard[1]
    assert controller.state == "idle"


def test_what_a_runner_returns_is_handed_on() -> None:
    runner = Attributes()
    for answer in (None, {"a": 1}, Mock()):
        runner.returns = answer
        assert PipelineController(runner).start({"name": "x"}).result(5) is answer


def test_every_hook_is_optional() -> None:
    """Constructors stay as they were for everybody who wants no records."""
    controller = PipelineController(FakeRunner())
    assert controller.last_learning_record is None
    assert controller.start({"name": "one"}).result(5).run_id == "one"


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
