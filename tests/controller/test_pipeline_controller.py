"""The controller queues, cancels and reports, and survives whatever a run does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.controller import ControllerState, PipelineController, RunTicket
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


@pytest.fixture(autouse=True)
def _threads_do_not_outlive_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that hangs fails its test, and does not hang the test session."""
    monkeypatch.setattr(threading, "Thread", partial(threading.Thread, daemon=True))


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
    assert runner.began.acquire(timeout=60)
    assert (controller.state, ticket.done) == ("running", False)
    runner.gate.set()
    assert ticket.result(5).status == "completed"
    assert controller.wait(60)
    assert states == ["running", "idle"]


class ShowingRunner:
    """Reports steps, only some with a picture, and says what the controller shows after each."""

    def __init__(self, shown: Callable[[], bytes | None]) -> None:
        self.shown = shown
        self.seen: list[bytes | None] = []

    def run(
        self,
        config: Any,
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> RunResult:
        assert on_progress is not None
        for variant, preview in ((1, None), (1, b"a"), (1, None), (1, b"b"), (2, None), (2, b"c")):
            on_progress(
                RunProgress(run_id="r", event="step", variant=variant, variants=2, preview=preview)
            )
            self.seen.append(self.shown())
        return RunResult(run_id="r", status="completed")


def test_the_picture_so_far_stays_until_there_is_a_newer_one() -> None:
    """Engines give one every few steps; in between it is not gone, nor shown of the next."""
    runner = ShowingRunner(lambda: controller.preview)
    controller = PipelineController(runner)
    controller.start({}).result(5)
    assert runner.seen == [None, b"a", b"a", b"b", None, b"c"]
    assert controller.wait(60)
    assert controller.preview is None


def test_a_second_start_is_queued_and_runs_after_the_first() -> None:
    """Nobody has to wait by hand for an engine to be free."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    tickets = [controller.start({"name": name}) for name in ("one", "two", "three")]
    assert runner.began.acquire(timeout=60)
    assert (controller.queued, runner.order) == (2, ["one"])
    runner.gate.set()
    assert [ticket.result(5).run_id for ticket in tickets] == ["one", "two", "three"]
    assert runner.order == ["one", "two", "three"]


def test_cancel_stops_the_current_run_and_the_waiting_ones() -> None:
    """Stop means stop."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    tickets = [controller.start({"name": name}) for name in ("one", "two")]
    assert runner.began.acquire(timeout=60)
    controller.cancel()
    assert [ticket.result(5).status for ticket in tickets] == ["cancelled", "cancelled"]
    assert controller.wait(60)
    assert controller.state == "idle"


def test_cancelling_only_the_current_run_leaves_the_queue() -> None:
    """Skipping one bad config must not cost the others."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    first, second = (controller.start({"name": name}) for name in ("one", "two"))
    assert runner.began.acquire(timeout=60)
    controller.cancel(queued=False)
    assert first.result(5).status == "cancelled"
    assert runner.began.acquire(timeout=60)
    runner.gate.set()
    assert second.result(5).status == "completed"


def test_stopping_is_a_state() -> None:
    """Between the wish to stop and the end of the step, a user sees that he was heard."""
    states = list[ControllerState]()
    runner = GatedRunner()
    controller = PipelineController(runner, on_state=states.append)
    ticket = controller.start({"name": "one"})
    assert runner.began.acquire(timeout=60)
    controller.cancel()
    ticket.result(5)
    assert controller.wait(60)
    assert states == ["running", "stopping", "idle"]


def test_a_run_that_cannot_begin_fails_and_the_next_one_works() -> None:
    """The error goes to whoever asked, and the controller lives on."""
    controller = PipelineController(PipelineRunner(FakeBackend()))
    with pytest.raises(ConfigError, match="stpes"):
        controller.start({"txt2img": {"prompt": "a", "stpes": 3}}).result(5)
    assert controller.wait(60)
    assert (controller.state, type(controller.last_error)) == ("failed", ConfigError)
    assert controller.start(CONFIG).result(5).status == "completed"
    assert controller.wait(60)
    assert (controller.state, type(controller.last_error)) == ("idle", type(None))


def test_progress_is_kept_and_forwarded_and_may_raise() -> None:
    """A broken listener reaches nobody but the log."""
    heard = list[RunProgress]()

    def listen(progress: RunProgress) -> None:
        heard.append(progress)
        raise RuntimeError("broken")

    controller = PipelineController(PipelineRunner(FakeBackend()), on_progress=listen)
    assert controller.start(CONFIG).result(5).status == "completed"
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


def test_run_returns_the_result() -> None:
    """The plain call, for scripts that have nothing else to do meanwhile."""
    results = list[RunResult]()
    controller = PipelineController(PipelineRunner(FakeBackend()))
    caller = threading.Thread(target=lambda: results.append(controller.run(CONFIG)))
    caller.start()
    caller.join(5)
    assert [result.status for result in results] == ["completed"]


def test_start_is_running_when_it_returns() -> None:
    """Whoever starts a run and looks at once must not be told that nothing goes on."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    for _ in range(50):
        runner.gate.clear()
        ticket = controller.start({"name": "one"})
        states = [controller.state]
        runner.gate.set()
        assert ticket.result(5).status == "completed"
        assert [*states, controller.state] == ["running", "idle"]


def test_the_state_does_not_flap_between_queued_runs() -> None:
    """A button that follows the state would blink; even a failure waits for the last run."""
    states = list[ControllerState]()
    runner = PipelineRunner(FakeBackend())
    gate = threading.Event()

    def hold(progress: RunProgress) -> None:
        gate.wait(60)

    controller = PipelineController(runner, on_state=states.append, on_progress=hold)
    tickets = [controller.start(config) for config in (CONFIG, {"txt2img": {"stpes": 1}}, CONFIG)]
    gate.set()
    with pytest.raises(ConfigError):
        tickets[1].result(5)
    assert [ticket.result(5).status for ticket in tickets[::2]] == ["completed", "completed"]
    assert controller.wait(60)
    assert states == ["running", "idle"]
    assert controller.last_error is None


def test_a_skipped_run_is_followed_by_a_running_one() -> None:
    """``stopping`` belongs to the run that stops, not to the next one."""
    states = list[ControllerState]()
    runner = GatedRunner()
    controller = PipelineController(runner, on_state=states.append)
    first, second = (controller.start({"name": name}) for name in ("one", "two"))
    assert runner.began.acquire(timeout=60)
    first.cancel()
    assert first.result(5).status == "cancelled"
    runner.gate.set()
    assert second.result(5).status == "completed"
    assert states == ["running", "stopping", "running", "idle"]


def test_cancelled_waiting_runs_end_at_once_and_never_reach_the_runner() -> None:
    """A run that has not begun leaves no record and no folder."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    tickets = [controller.start({"name": name}) for name in ("one", "two", "three")]
    assert runner.began.acquire(timeout=60)
    controller.cancel()
    for ticket in tickets[1:]:
        assert ticket.done
        assert ticket.result(5) == RunResult(run_id="", status="cancelled")
    assert controller.queued == 0
    assert tickets[0].result(5).run_id == "one"
    assert controller.wait(60)
    assert runner.order == ["one"]


def test_a_waiting_ticket_can_be_withdrawn_alone() -> None:
    """The run that goes on and those behind it are not touched."""
    runner = GatedRunner()
    controller = PipelineController(runner)
    first, second, third = (controller.start({"name": name}) for name in ("one", "two", "three"))
    assert runner.began.acquire(timeout=60)
    second.cancel()
    assert (second.done, controller.queued, controller.state) == (True, 1, "running")
    assert second.result(5) == RunResult(run_id="", status="cancelled")
    second.cancel()
    runner.gate.set()
    assert [first.result(5).run_id, third.result(5).run_id] == ["one", "three"]
    assert runner.order == ["one", "three"]


WAITS: list[Callable[[PipelineController, RunTicket], object]] = [
    lambda controller, ticket: controller.run(CONFIG),
    lambda controller, ticket: controller.wait(),
    lambda controller, ticket: ticket.result(),
]


@pytest.mark.parametrize("wait", WAITS, ids=["run", "wait", "result"])
def test_a_callback_that_waits_is_refused(
    wait: Callable[[PipelineController, RunTicket], object],
) -> None:
    """The controller's thread would wait for itself for ever."""
    errors = list[BaseException]()
    started = threading.Event()
    tickets = list[RunTicket]()

    def listen(state: ControllerState) -> None:
        assert started.wait(60)
        try:
            wait(controller, tickets[0])
        except ControllerError as error:
            errors.append(error)

    controller = PipelineController(PipelineRunner(FakeBackend()), on_state=listen)
    tickets.append(controller.start(CONFIG))
    started.set()
    assert tickets[0].result(5).status == "completed"
    assert controller.wait(60)
    assert ["use start()" in str(error) for error in errors] == [True, True]


def test_a_callback_may_start_the_next_run() -> None:
    """What the refused ones are told to do works."""
    tickets = list[RunTicket]()

    def listen(state: ControllerState) -> None:
        if state == "idle" and not tickets:
            tickets.append(controller.start(CONFIG))

    controller = PipelineController(PipelineRunner(FakeBackend()), on_state=listen)
    controller.start(CONFIG).result(5)
    assert controller.wait(60)
    assert tickets[0].result(5).status == "completed"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_callback_cannot_end_the_controllers_thread(kind: type[BaseException]) -> None:
    """``sys.exit()`` in a listener must not leave runs that nobody carries out."""

    def leave(state: ControllerState) -> None:
        raise kind

    controller = PipelineController(PipelineRunner(FakeBackend()), on_state=leave)
    for _ in range(2):
        assert controller.start(CONFIG).result(5).status == "completed"
    assert controller.wait(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_early_fails_its_runs_and_the_next_start_works() -> None:
    """Even a logger that exits leaves nobody waiting."""

    class Exits(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit

    def broken(state: ControllerState) -> None:
        assert queued.wait(60)
        raise RuntimeError("broken")

    queued = threading.Event()
    handler = Exits()
    logger = logging.getLogger("safelight.controller.pipeline_controller")
    logger.addHandler(handler)
    try:
        controller = PipelineController(PipelineRunner(FakeBackend()), on_state=broken)
        tickets = [controller.start(CONFIG) for _ in range(2)]
        queued.set()
        for ticket in tickets:
            with pytest.raises(ControllerError, match="ended before this run"):
                ticket.result(5)
        assert controller.wait(60)
        assert controller.state == "failed"
        for thread in threading.enumerate():
            if thread.name == "safelight-controller":
                thread.join(5)  # its last words belong to this test
    finally:
        logger.removeHandler(handler)
    assert controller.start(CONFIG).result(5).status == "completed"
