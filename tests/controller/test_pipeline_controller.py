"""The controller queues, cancels and reports, and survives whatever a run does."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.controller import ControllerState, PipelineController
from safelight.errors import ConfigError, ControllerError
from safelight.pipeline import (
    CancelToken,
    PipelineRunner,
    ProgressCallback,
    RunProgress,
    RunResult,
)

CONFIG: dict[str, Any] = {
    "txt2img": {"prompt": "a cat", "steps": 3, "seed": 1, "width": 64, "height": 64}
}


class GatedRunner:
    """Waits in every run until it is let through or cancelled."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.order: list[str] = []

    def run(
        self,
        config: Any,
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> RunResult:
        assert cancel is not None
        self.order.append(config["name"])
        self.began.release()
        while not self.gate.wait(0.005):
            if cancel.cancelled:
                return RunResult(run_id=config["name"], status="cancelled")
        status = "cancelled" if cancel.cancelled else "completed"
        return RunResult(run_id=config["name"], status=status)


def test_a_run_in_the_background_goes_from_idle_to_running_to_idle() -> None:
    """Whoever watches the state sees each change once."""
    states = list[ControllerState]()
    runner = GatedRunner()
    controller = PipelineController(runner, on_state=states.append)
    assert controller.state == "idle"
    ticket = controller.start({"name": "one"})
    runner.began.acquire()
    assert (controller.state, ticket.done) == ("running", False)
    runner.gate.set()
    assert ticket.result(5).status == "completed"
    assert controller.wait(5)
    assert states == ["running", "idle"]


def test_a_second_start_is_queued_and_runs_after_the_first() -> None:
    """Nobody has to wait by hand for an engine to be free."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    tickets = [controller.start({"name": name}) for name in ("one", "two", "three")]
    runner.began.acquire()
    assert (controller.queued, runner.order) == (2, ["one"])
    runner.gate.set()
    assert [ticket.result(5).run_id for ticket in tickets] == ["one", "two", "three"]
    assert runner.order == ["one", "two", "three"]


def test_cancel_stops_the_current_run_and_the_waiting_ones() -> None:
    """Stop means stop."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    tickets = [controller.start({"name": name}) for name in ("one", "two")]
    runner.began.acquire()
    controller.cancel()
    assert [ticket.result(5).status for ticket in tickets] == ["cancelled", "cancelled"]
    assert controller.wait(5)
    assert controller.state == "idle"


def test_cancelling_only_the_current_run_leaves_the_queue() -> None:
    """Skipping one bad config must not cost the others."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    first, second = (controller.start({"name": name}) for name in ("one", "two"))
    runner.began.acquire()
    controller.cancel(queued=False)
    assert first.result(5).status == "cancelled"
    runner.began.acquire()
    runner.gate.set()
    assert second.result(5).status == "completed"


def test_stopping_is_a_state() -> None:
    """Between the wish to stop and the end of the step, a user sees that he was heard."""
    states = list[ControllerState]()
    runner = GatedRunner()
    controller = PipelineController(runner, on_state=states.append)
    ticket = controller.start({"name": "one"})
    runner.began.acquire()
    controller.cancel()
    ticket.result(5)
    controller.wait(5)
    assert states == ["running", "stopping", "idle"]


def test_a_run_that_cannot_begin_fails_and_the_next_one_works() -> None:
    """The error goes to whoever asked, and the controller lives on."""
    controller = PipelineController(PipelineRunner(FakeBackend()))
    with pytest.raises(ConfigError, match="stpes"):
        controller.run({"txt2img": {"prompt": "a", "stpes": 3}})
    controller.wait(5)
    assert (controller.state, type(controller.last_error)) == ("failed", ConfigError)
    assert controller.run(CONFIG).status == "completed"
    controller.wait(5)
    assert (controller.state, type(controller.last_error)) == ("idle", type(None))


def test_progress_is_kept_and_forwarded_and_may_raise() -> None:
    """A broken listener reaches nobody but the log."""
    heard = list[RunProgress]()

    def listen(progress: RunProgress) -> None:
        heard.append(progress)
        raise RuntimeError("broken")

    controller = PipelineController(PipelineRunner(FakeBackend()), on_progress=listen)
    assert controller.run(CONFIG).status == "completed"
    assert [(p.event, p.step) for p in heard] == [
        ("step", 1), ("step", 2), ("step", 3), ("variant", 0),
    ]  # fmt: skip
    assert controller.progress is heard[-1]


def test_the_controller_needs_one_runner() -> None:
    """None, or two, is a mistake that is said at once."""
    with pytest.raises(ControllerError, match="no runner"):
        PipelineController().start(CONFIG)
    runner = PipelineRunner(FakeBackend())
    with pytest.raises(ControllerError, match="not both"):
        PipelineController(runner, runner_factory=lambda **hooks: runner)
