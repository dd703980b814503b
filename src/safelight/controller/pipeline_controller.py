"""PipelineController: queue, start, cancel and watch runs; headless.

Runs go one after the other through one background thread, which lives only while there is
work. Callbacks are called in that thread, except that a cancel tells of its ``stopping`` in
the thread that asked for it; whatever they raise reaches nobody but the log. A callback may
start and cancel runs, but not wait for one: the thread would wait for itself.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from safelight.config import PipelineConfig
from safelight.errors import ControllerError
from safelight.learning.learning_record import LearningRecord
from safelight.learning.plans.keyword_arguments import accepted
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
    """Carries out one config; :class:`~safelight.pipeline.PipelineRunner` is one.

    Its ``run`` takes the config and, by name, whichever it names of ``cancel`` (a
    :class:`CancelToken`), ``on_progress``, ``learning_record_writer`` and ``on_learning_record``.
    Hooks that it does not name are put where the runner has an attribute of that name with None.
    What it returns is the result of :meth:`RunTicket.result`; of a :class:`RunResult`, a record,
    or whatever has a ``learning_record``, the records are taken from there, too.
    """

    @property
    def run(self) -> Callable[..., Any]:
        """Carry out a config, the first argument."""
        ...


RunnerFactory = Callable[..., Runner]
"""Makes a runner; it is given, by name, whichever it names of ``learning_record_writer`` and
``on_learning_record``."""


@dataclass(frozen=True, slots=True, eq=False)
class RunTicket:
    """A run that was asked for.

    Attributes:
        config: What is to be run.
    """

    config: Config
    _controller: PipelineController = field(repr=False)
    _future: Future[RunResult] = field(default_factory=Future, repr=False)
    _cancel: CancelToken = field(default_factory=CancelToken, repr=False)

    @property
    def done(self) -> bool:
        """Whether the run has ended, however it did."""
        return self._future.done()

    def cancel(self) -> None:
        """Ask this run to stop; one that has not begun ends at once, and leaves nothing."""
        self._controller._stop((self,))

    def result(self, timeout: float | None = None) -> RunResult:
        """Wait for the run and return its result.

        Args:
            timeout: Most seconds to wait; None waits for ever.

        Raises:
            TimeoutError: The run is still going on.
            ControllerError: Called from a callback of the controller before the run ended.
            SafelightError: The run could not begin; see :meth:`PipelineRunner.run`.
        """
        if not self.done:
            self._controller._refuse_to_wait("result()")
        return self._future.result(timeout)


class PipelineController:
    """Runs configs in the background, one at a time.

    Args:
        runner: Carries out the configs. A ``PipelineRunner`` needs no hook of its own: it is
            given the controller's with every run.
        runner_factory: Makes the runner, with the controller's hooks, when it is first
            needed; give this or *runner*, not both.
        learning_record_writer: Takes every record once: from the runner where it can be handed
            to it, else from the controller.
        on_learning_record: Called with every record, once, all parts of a large plan
            included.
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
        self._handed: set[str] = set()
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
        self._preview: bytes | None = None
        self._record: LearningRecord | None = None
        self._forwarded: set[str] = set()
        self._writes = False
        self._error: BaseException | None = None
        self._unannounced: deque[ControllerState] = deque()
        self._announcing = False

    # -- asking --------------------------------------------------------------------------

    @property
    def state(self) -> ControllerState:
        """``idle``, ``running``, ``stopping`` (a cancel is on its way) or ``failed``.

        ``running`` holds from :meth:`start` until nothing runs or waits. ``failed`` means
        that the last run could not begin or fell over; the next run clears it.
        """
        return self._state

    @property
    def progress(self) -> RunProgress | None:
        """The newest progress of the current run, or of the last one until another begins."""
        return self._progress

    @property
    def preview(self) -> bytes | None:
        """A PNG of the picture that is being drawn, the newest that the engine gave of it."""
        return self._preview

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
            ControllerError: There is no runner, or a callback of the controller asked.
            SafelightError: The run could not begin; see :meth:`PipelineRunner.run`.
        """
        self._refuse_to_wait("run()")
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
        ticket = RunTicket(config, self)
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="safelight-controller")
                thread.start()  # waits for the lock, so it finds the ticket
                self._thread = thread
            self._queue.append(ticket)
            if self._state in ("idle", "failed"):
                self._enter("running")
        return ticket

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits; return whether that is so.

        Args:
            timeout: Most seconds to wait; None waits for ever.

        Raises:
            ControllerError: Called from a callback of the controller.
        """
        self._refuse_to_wait("wait()")
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def cancel(self, *, queued: bool = True) -> None:
        """Ask the current run to stop and, unless *queued* is False, the waiting ones, too.

        A run that had begun ends with its record written; one that waited ends at once and
        leaves nothing.
        """
        with self._changed:
            running = () if self._current is None else (self._current,)
            waiting = tuple(self._queue) if queued else ()
        self._stop((*running, *waiting))

    def _stop(self, tickets: Sequence[RunTicket]) -> None:
        with self._changed:
            withdrawn = [ticket for ticket in tickets if ticket in self._queue]
            for ticket in withdrawn:
                self._queue.remove(ticket)
            for ticket in tickets:
                ticket._cancel.cancel()
            if self._current in tickets:
                self._enter("stopping")
        for ticket in withdrawn:
            ticket._future.set_result(RunResult(run_id="", status="cancelled"))
        self._announce()

    def _refuse_to_wait(self, what: str) -> None:
        if threading.current_thread() is self._thread:
            raise ControllerError(
                f"{what} was called from a callback of the controller; use start() there, "
                f"because waiting would stop the thread that is waited for"
            )

    # -- the background thread -------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (ticket := self._next()) is not None:
                self._carry_out(ticket)
        finally:
            self._leave()

    def _next(self) -> RunTicket | None:
        """Take the next ticket out of the queue; None, when there is none, ends the thread."""
        while True:
            with self._changed:
                if self._queue:
                    ticket = self._current = self._queue.popleft()
                    self._forwarded.clear()
                    self._error = self._progress = None
                    self._enter("running")
                    break
                if self._state in ("idle", "failed"):
                    self._thread = None
                    self._changed.notify_all()
                    return None
                self._enter("idle")  # whatever waited was withdrawn
            self._announce()
        self._announce()
        return ticket

    def _carry_out(self, ticket: RunTicket) -> None:
        ended: Any
        try:
            runner = self._made_runner()
            run = runner.run
            offered = {"cancel": ticket._cancel, "on_progress": self._note_progress, **self._hooks}
            offered = {n: v for n, v in offered.items() if n not in self._handed}
            # A run that takes anything may do nothing with a writer: then the controller writes.
            taken = accepted(run, offered, named={"learning_record_writer"})
            for name in self._hooks.keys() - taken.keys() - self._handed:
                if getattr(runner, name, self) is None:
                    setattr(runner, name, self._hooks[name])
                    self._handed.add(name)
            self._writes = "learning_record_writer" not in {*self._handed, *taken}
            ended = run(ticket.config, **taken)
            for record in _records_of(ended):
                self._note_record(record)
        except BaseException as problem:  # noqa: BLE001 - kept for whoever waits
            ended = problem
        failed = isinstance(ended, BaseException)
        with self._changed:
            self._current = self._preview = None
            self._error = ended if isinstance(ended, BaseException) else None
            self._enter("running" if self._queue else "failed" if failed else "idle")
        try:
            self._announce()
        finally:
            if isinstance(ended, BaseException):
                ticket._future.set_exception(ended)
            else:
                ticket._future.set_result(ended)

    def _leave(self) -> None:
        """Leave nobody waiting when the thread ends before its work does."""
        with self._changed:
            if threading.current_thread() is not self._thread:
                return
            error = ControllerError(
                "the controller's thread ended before this run did; start it again"
            )
            running = [] if self._current is None else [self._current]
            tickets = [*running, *self._queue]
            self._queue.clear()
            self._current = self._thread = None
            self._error = self._error or error
            self._enter("failed")
            self._changed.notify_all()
        for ticket in tickets:
            ticket._future.set_exception(error)

    def _made_runner(self) -> Runner:
        if self._runner is None:
            assert self._factory is not None
            taken = accepted(self._factory, self._hooks)
            self._runner = self._factory(**taken)
            self._handed = set(taken)
        return self._runner

    @property
    def _hooks(self) -> dict[str, Any]:
        return {
            "learning_record_writer": self._writer, "on_learning_record": self._note_record,
        }  # fmt: skip

    def _note_record(self, record: LearningRecord) -> None:
        """Keep *record* and forward it once, whether hook or result brought it first."""
        if record.run_id in self._forwarded:
            return
        self._forwarded.add(record.run_id)
        self._record = record
        if self._writes and self._writer is not None:
            _call(self._writer.write, record)
        _call(self._on_record, record)

    def _note_progress(self, progress: RunProgress) -> None:
        before, self._progress = self._progress, progress
        if progress.preview is not None:  # an engine gives one when it has a new one
            self._preview = progress.preview
        elif before is None or (before.run_id, before.variant) != (
            progress.run_id, progress.variant
        ):  # fmt: skip
            self._preview = None
        _call(self._on_progress, progress)

    def _enter(self, state: ControllerState) -> None:
        """Enter *state*, with the lock held; :meth:`_announce` tells of it once it is released."""
        if state != self._state:
            self._state = state
            self._unannounced.append(state)

    def _announce(self) -> None:
        """Tell of every new state, in order; a thread that tells already tells these, too."""
        while True:
            with self._changed:
                if self._announcing or not self._unannounced:
                    return
                self._announcing = True
                state = self._unannounced.popleft()
            try:
                _call(self._on_state, state)
            finally:
                with self._changed:
                    self._announcing = False


def _records_of(ended: object) -> Sequence[LearningRecord]:
    """Return the records in what a run returned, whatever that is."""
    if isinstance(ended, RunResult):
        return ended.records
    record = ended if isinstance(ended, LearningRecord) else getattr(ended, "learning_record", None)
    return (record,) if isinstance(record, LearningRecord) else ()


def _call(hook: Callable[[Any], object] | None, value: object) -> None:
    if hook is None:
        return
    try:
        hook(value)
    except BaseException:  # noqa: BLE001 - not even SystemExit may end the controller's thread
        _log.exception("a controller callback raised; the run is not affected")
