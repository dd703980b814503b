"""PipelineController: queue, start, cancel and watch runs; headless.

Runs go one after the other through one background thread, which lives only while there is
work. Callbacks are called in that thread; whatever they raise reaches nobody but the log.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from safelight.config import PipelineConfig
from safelight.errors import ControllerError
from safelight.learning.learning_record import LearningRecord
from safelight.pipeline import (
    CancelToken,
    LearningRecordSink,
    ProgressCallback,
    RunProgress,
    RunResult,
)

__all__ = ["ControllerState", "PipelineController", "RunTicket", "Runner", "RunnerFactory"]

ControllerState = Literal["idle", "running", "stopping", "failed"]
Config = PipelineConfig | Mapping[str, Any]

_log = logging.getLogger(__name__)


@runtime_checkable
class Runner(Protocol):
    """Carries out one config; :class:`~safelight.pipeline.PipelineRunner` is one."""

    def run(
        self,
        config: Config,
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> RunResult:
        """Carry out *config*; its record, if it made one, is in the result."""
        ...


class RunnerFactory(Protocol):
    """Makes a runner whose records go to the controller."""

    def __call__(
        self,
        *,
        learning_record_writer: LearningRecordSink | None,
        on_learning_record: Callable[[LearningRecord], object],
    ) -> Runner:
        """Return a runner that gives every record to both."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RunTicket:
    """A run that was asked for.

    Attributes:
        config: What is to be run.
    """

    config: Config
    _future: Future[RunResult] = field(default_factory=Future, repr=False)
    _cancel: CancelToken = field(default_factory=CancelToken, repr=False)

    @property
    def done(self) -> bool:
        """Whether the run has ended, however it did."""
        return self._future.done()

    def cancel(self) -> None:
        """Ask this run to stop; one that has not begun will end as soon as it does."""
        self._cancel.cancel()

    def result(self, timeout: float | None = None) -> RunResult:
        """Wait for the run and return its result.

        Args:
            timeout: Most seconds to wait; None waits for ever.

        Raises:
            TimeoutError: The run is still going on.
            SafelightError: The run could not begin; see :meth:`PipelineRunner.run`.
        """
        return self._future.result(timeout)


class PipelineController:
    """Runs configs in the background, one at a time.

    Args:
        runner: Carries out the configs. Its records are taken from its results, so the
            writer given here is used for them only if the runner has not one of its own.
        runner_factory: Makes the runner, with the controller's hooks, when it is first
            needed; exactly one of *runner* and *runner_factory* is given, or neither until
            the first run.
        learning_record_writer: Handed to the factory.
        on_learning_record: Called with every record.
        on_progress: Called with every progress of the current run.
        on_state: Called with the new state whenever it changes.
    """

    def __init__(
        self,
        runner: Runner | None = None,
        *,
        runner_factory: RunnerFactory | None = None,
        learning_record_writer: LearningRecordSink | None = None,
        on_learning_record: Callable[[LearningRecord], object] | None = None,
        on_progress: ProgressCallback | None = None,
        on_state: Callable[[ControllerState], object] | None = None,
    ) -> None:
        if runner is not None and runner_factory is not None:
            raise ControllerError("give the controller a runner or a runner_factory, not both")
        self._runner = runner
        self._factory = runner_factory
        self._writer = learning_record_writer
        self._on_record = on_learning_record
        self._on_progress = on_progress
        self._on_state = on_state
        self._changed = threading.Condition()
        self._queue: deque[RunTicket] = deque()
        self._current: RunTicket | None = None
        self._thread: threading.Thread | None = None
        self._state: ControllerState = "idle"
        self._progress: RunProgress | None = None
        self._record: LearningRecord | None = None
        self._error: BaseException | None = None

    # -- asking --------------------------------------------------------------------------

    @property
    def state(self) -> ControllerState:
        """``idle``, ``running``, ``stopping`` (a cancel is on its way) or ``failed``.

        ``failed`` means that the last run could not begin or fell over; the next run
        clears it.
        """
        return self._state

    @property
    def progress(self) -> RunProgress | None:
        """The newest progress of the current or last run."""
        return self._progress

    @property
    def last_learning_record(self) -> LearningRecord | None:
        """The newest record, of whichever run."""
        return self._record

    @property
    def last_error(self) -> BaseException | None:
        """Why the state is ``failed``."""
        return self._error

    @property
    def queued(self) -> int:
        """Runs that wait for the current one."""
        return len(self._queue)

    # -- doing ---------------------------------------------------------------------------

    def run(self, config: Config) -> RunResult:
        """Carry out *config*, after whatever is queued, and return its result.

        Raises:
            ControllerError: There is no runner.
            SafelightError: The run could not begin; see :meth:`PipelineRunner.run`.
        """
        return self.start(config).result()

    def start(self, config: Config) -> RunTicket:
        """Begin *config* in the background, or queue it behind the run that is going on.

        Raises:
            ControllerError: There is no runner.
        """
        if self._runner is None and self._factory is None:
            raise ControllerError(
                "the controller has no runner; give it runner= or runner_factory= when it is made"
            )
        ticket = RunTicket(config)
        with self._changed:
            self._queue.append(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="safelight-controller")
                self._thread.start()
        return ticket

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits; return whether that is so.

        Args:
            timeout: Most seconds to wait; None waits for ever.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def cancel(self, *, queued: bool = True) -> None:
        """Ask the current run to stop and, unless *queued* is False, the waiting ones, too.

        Every run that had begun ends with its record written.
        """
        with self._changed:
            waiting = list(self._queue) if queued else []
            for ticket in [*([self._current] if self._current else []), *waiting]:
                ticket.cancel()
            changed = self._current is not None and self._set_state("stopping")
        if changed:
            _call(self._on_state, "stopping")

    # -- the background thread -------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._queue:
                    self._thread = None
                    self._changed.notify_all()
                    return
                ticket = self._current = self._queue.popleft()
                begun: ControllerState = "stopping" if ticket._cancel.cancelled else "running"
                changed = self._set_state(begun)
            if changed:
                _call(self._on_state, begun)
            error: BaseException | None = None
            try:
                result = self._made_runner().run(
                    ticket.config, cancel=ticket._cancel, on_progress=self._note_progress
                )
                if result.learning_record is not None:
                    self._note_record(result.learning_record)
            except BaseException as problem:  # noqa: BLE001 - kept for whoever waits
                error = problem
            with self._changed:
                self._current = None
                self._error = error
                ended: ControllerState = "failed" if error else "idle"
                self._set_state(ended)
            _call(self._on_state, ended)
            if error:
                ticket._future.set_exception(error)
            else:
                ticket._future.set_result(result)

    def _made_runner(self) -> Runner:
        if self._runner is None:
            assert self._factory is not None
            self._runner = self._factory(
                learning_record_writer=self._writer, on_learning_record=self._note_record
            )
        return self._runner

    def _note_record(self, record: LearningRecord) -> None:
        """Keep *record* and forward it once, whether hook or result brought it first."""
        if record is self._record:
            return
        self._record = record
        _call(self._on_record, record)

    def _note_progress(self, progress: RunProgress) -> None:
        self._progress = progress
        _call(self._on_progress, progress)

    def _set_state(self, state: ControllerState) -> bool:
        """Enter *state*, with the lock held; return whether it is another one than before."""
        changed = state != self._state
        self._state = state
        return changed


def _call(hook: Callable[[Any], object] | None, value: object) -> None:
    if hook is None:
        return
    try:
        hook(value)
    except Exception:  # noqa: BLE001 - a listener must not disturb what it listens to
        _log.exception("a controller callback raised; the run is not affected")
