"""EnginePool: where variants are drawn; the port between a run and one engine, several, or many.

A pool opens *lanes* for a run. A lane has workers; each draws one variant at a time. All that
they have to tell arrives in the caller's thread, in :meth:`Lanes.next_ended`, so that whoever
listens needs no locks. What is drawn next, by whom, and what becomes of a worker that falls
silent is decided in one place for every pool: :mod:`~safelight.pipeline.dispatch`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from safelight.errors import BackendError, BackendUnavailable, GenerationCancelled
from safelight.knobs import Stage
from safelight.pipeline.backend import (
    Backend,
    BackendDescription,
    Closes,
    EngineSetup,
    KnowsKnobs,
    ListsChoices,
    Named,
    TellsSetup,
)
from safelight.pipeline.input_files import InputFiles
from safelight.pipeline.picture_saver import DrawnVariant
from safelight.pipeline.progress import CancelToken
from safelight.pipeline.variant_drawer import Step, VariantDrawer

_SOON = 2.0
"""Seconds that the others have to answer once one engine did."""

_Answer = TypeVar("_Answer")

__all__ = ["DrawingJob", "Ended", "EnginePool", "Lanes", "LocalPool", "TellsSetups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingJob:
    """What a pool must know of a run.

    Attributes:
        run_id: Goes into the name of every request.
        files: The pictures that the config names.
        cancel: Obeyed at every step.
        on_step: Told of every step, in the thread that calls :meth:`Lanes.next_ended`.
        most: Most variants that the run can use at once.
    """

    run_id: str
    files: InputFiles
    cancel: CancelToken
    on_step: Callable[[DrawnVariant, Stage, Step], None]
    most: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A worker is done with a variant, well or badly.

    Attributes:
        worker: The worker, which is free again.
        drawn: The variant; ``unavailable`` says whether trying again may help.
        stopped: What ended it from outside: a cancellation, or what no run survives.
    """

    worker: str
    drawn: DrawnVariant
    stopped: BaseException | None = None


class Lanes(Protocol):
    """The workers of a pool while one run uses them; a context manager."""

    @property
    def workers(self) -> Sequence[str]:
        """The names of all workers; stable while the run lasts."""
        ...

    def ready(self, worker: str) -> bool:
        """Return whether *worker*, which draws nothing now, can begin at once. Never waits.

        Raises:
            BackendError: It never will.
        """
        ...

    def start(self, worker: str, drawn: DrawnVariant) -> None:
        """Let *worker*, which draws nothing now, draw *drawn*."""
        ...

    def next_ended(self, timeout: float | None) -> Ended | None:
        """Wait for a worker to end, telling of steps meanwhile.

        Args:
            timeout: Most seconds to wait; None waits for as long as somebody draws.

        Returns:
            What ended; None when the time is up or nobody draws.
        """
        ...

    def stop(self) -> None:
        """Make every worker stop at its next step."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class EnginePool(Protocol):
    """Where variants are drawn.

    Every pool promises, and ``tests/pipeline/pool_contract.py`` checks: a variant that was
    started ends exactly once; a worker that is lost costs the variant in hand and says so with
    ``unavailable``; steps are told in the caller's thread; a stop ends all within a step.
    """

    @property
    def name(self) -> str:
        """What learning records call the engine."""
        ...

    def describe(self) -> BackendDescription:
        """Return what is known of the engine.

        Raises:
            BackendUnavailable: No worker answers.
        """
        ...

    def open_lanes(self, job: DrawingJob) -> Lanes:
        """Return the workers for one run."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


@runtime_checkable
class TellsSetups(Protocol):
    """A pool that can say before it draws what the pictures of each worker depend on."""

    def setups(self, named: Named) -> Mapping[str, EngineSetup]:
        """Return worker -> its setup, for those that answer and can tell.

        Args:
            named: The files that the run's variants name.

        Raises:
            BackendUnavailable: No worker answers.
        """
        ...


class LocalPool:
    """One engine, or several that draw the same, reached from this process.

    Args:
        backends: The engines, at least one; all of one kind.
        names: What to call them; needed where there are several.
    """

    def __init__(self, backends: Sequence[Backend], names: Sequence[str] = ()) -> None:
        if not backends:
            raise BackendError("a pool needs at least one engine")
        self._backends = list(backends)
        self._names = list(names) or [backend.name for backend in backends]
        if len(set(self._names)) < len(backends):
            self._names = [f"{name} {n}" for n, name in enumerate(self._names, start=1)]
        self._asked: Counter[int] = Counter()

    @property
    def name(self) -> str:
        """The name of the first; they are of one kind."""
        return self._backends[0].name

    def describe(self) -> BackendDescription:
        """Return the description of one that answers.

        All are asked at once; one that hangs keeps nobody waiting.

        Raises:
            BackendUnavailable: None answers.
            BackendError: Two of them are not the same version.
        """
        descriptions = self._ask(lambda backend: backend.describe())
        versions = {
            description.version: name for name, description in descriptions if description.version
        }
        if len(versions) > 1:
            running = ", ".join(f"{name} is {version}" for version, name in versions.items())
            raise BackendError(
                f"the engines of a pool must be of one version, so that equal settings give"
                f" equal pictures: {running}; use one version, or run them apart"
            )
        return next(
            (description for _, description in descriptions if description.version),
            descriptions[0][1],
        )

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return what one that answers has; nothing where engines do not tell.

        Raises:
            BackendUnavailable: None answers.
        """
        choices = self._ask(
            lambda backend: backend.choices() if isinstance(backend, ListsChoices) else {}
        )
        return choices[0][1]

    @property
    def knows_knobs(self) -> bool:
        """Whether any of them knows beforehand what it has no place for."""
        return any(isinstance(backend, KnowsKnobs) for backend in self._backends)

    def knob_faults(self, stage: str, knobs: Mapping[str, Any]) -> Mapping[str, str]:
        """Return which knobs one that answers has no place for; they are of one kind.

        Raises:
            BackendUnavailable: None answers.
        """
        faults = self._ask(
            lambda backend: (
                backend.knob_faults(stage, knobs) if isinstance(backend, KnowsKnobs) else {}
            )
        )
        return faults[0][1]

    def setups(self, named: Named) -> Mapping[str, EngineSetup]:
        """Return worker -> what its pictures depend on, for those that answer and can tell.

        Raises:
            BackendUnavailable: None answers.
        """
        answers = self._ask(
            lambda backend: backend.setup(named) if isinstance(backend, TellsSetup) else None
        )
        setups = dict(answers)
        return {
            worker: setup
            for worker, number in self._workers().items()
            if (setup := setups.get(self._names[number])) is not None
        }

    def _ask(self, question: Callable[[Backend], _Answer]) -> list[tuple[str, _Answer]]:
        """Return (name, answer) of those that answer soon, in the order of the pool."""
        if len(self._backends) == 1:
            return [(self._names[0], question(self._backends[0]))]
        replies: queue.SimpleQueue[tuple[int, _Answer | Exception]] = queue.SimpleQueue()

        def ask(number: int) -> None:
            try:
                replies.put((number, question(self._backends[number])))
            except Exception as error:  # noqa: BLE001 - raised again by whoever asked
                replies.put((number, error))
            finally:
                self._asked[number] -= 1

        for number in range(len(self._backends)):
            self._asked[number] += 1
            name = f"safelight-ask {self._names[number]}"
            threading.Thread(target=ask, args=(number,), name=name, daemon=True).start()
        answers: dict[int, _Answer] = {}
        silent: BackendUnavailable | None = None
        for _ in self._backends:
            try:
                number, answer = replies.get(timeout=_SOON if answers else None)
            except queue.Empty:
                break  # whoever hangs gets nothing to draw until it has answered
            if isinstance(answer, BackendUnavailable):
                silent = answer
            elif isinstance(answer, Exception):
                raise answer
            else:
                answers[number] = answer
        if not answers:
            raise silent or BackendUnavailable("no engine answers")
        return [(self._names[number], answers[number]) for number in sorted(answers)]

    def open_lanes(self, job: DrawingJob) -> Lanes:
        """Return one worker per engine, more where an engine draws several at once."""
        numbers = self._workers()
        workers = {worker: self._backends[number] for worker, number in numbers.items()}

        def hears(worker: str) -> bool:
            return self._asked[numbers[worker]] <= 0

        if len(workers) == 1 or job.most == 1:
            return _InTurn(workers, job, hears)
        return _Threads(workers, job, hears)

    def _workers(self) -> dict[str, int]:
        """Return worker -> the number of its engine."""
        workers: dict[str, int] = {}
        for number, (name, backend) in enumerate(zip(self._names, self._backends, strict=True)):
            wanted: Any = getattr(backend, "lanes", 1)
            lanes = wanted if isinstance(wanted, int) and wanted > 1 else 1
            names = [name] if lanes == 1 else [f"{name} lane {n}" for n in range(1, lanes + 1)]
            workers |= dict.fromkeys(names, number)
        return workers

    def close(self) -> None:
        """Let go of every engine that holds something."""
        for backend in self._backends:
            if isinstance(backend, Closes):
                backend.close()


class _InTurn:
    """Draws in the caller's thread, where an engine of one lane has always been called."""

    def __init__(
        self, workers: dict[str, Backend], job: DrawingJob, hears: Callable[[str], bool]
    ) -> None:
        self.workers = tuple(workers)
        self._hears = hears
        self._job = job
        self._drawers = _drawers(workers, job)
        self._started: deque[tuple[str, DrawnVariant]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        return None

    def ready(self, worker: str) -> bool:
        return not self._started and self._hears(worker)

    def start(self, worker: str, drawn: DrawnVariant) -> None:
        self._started.append((worker, drawn))

    def next_ended(self, timeout: float | None) -> Ended | None:
        if not self._started:
            if timeout:
                self._job.cancel.wait(timeout)
            return None
        worker, drawn = self._started.popleft()

        def on_step(stage: Stage, progress: Step) -> None:
            self._job.on_step(drawn, stage, progress)
            self._job.cancel.check()

        try:
            self._drawers[worker].draw(drawn, on_step)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever hears of it
            drawn.finished = False
            return Ended(worker=worker, drawn=drawn, stopped=error)
        return Ended(worker=worker, drawn=drawn)

    def stop(self) -> None:
        """Nothing goes on in the meantime."""


class _Threads:
    """Draws in a thread for each worker."""

    def __init__(
        self, workers: dict[str, Backend], job: DrawingJob, hears: Callable[[str], bool]
    ) -> None:
        self.workers = tuple(workers)
        self._hears = hears
        self._job = job
        self._drawers = _drawers(workers, job)
        self._news: queue.SimpleQueue[Ended | tuple[DrawnVariant, Stage, Step]] = (
            queue.SimpleQueue()
        )
        self._inboxes: dict[str, queue.SimpleQueue[DrawnVariant | None]] = {}
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self._busy = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()
        for inbox in self._inboxes.values():
            inbox.put(None)
        for thread in self._threads:
            thread.join()

    def ready(self, worker: str) -> bool:
        return self._hears(worker)

    def start(self, worker: str, drawn: DrawnVariant) -> None:
        self._busy += 1
        if worker not in self._inboxes:
            self._inboxes[worker] = queue.SimpleQueue()
            thread = threading.Thread(
                target=self._work, args=(worker,), name=f"safelight-lane {worker}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        self._inboxes[worker].put(drawn)

    def next_ended(self, timeout: float | None) -> Ended | None:
        if not self._busy:
            if timeout:
                self._job.cancel.wait(timeout)
            return None
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                news = self._news.get(timeout=left)
            except queue.Empty:
                return None
            if isinstance(news, Ended):
                self._busy -= 1
                return news
            self._job.on_step(*news)

    def stop(self) -> None:
        self._stopped.set()

    def _work(self, worker: str) -> None:
        while (drawn := self._inboxes[worker].get()) is not None:
            self._news.put(self._draw(worker, drawn))

    def _draw(self, worker: str, drawn: DrawnVariant) -> Ended:
        def on_step(stage: Stage, progress: Step) -> None:
            self._news.put((drawn, stage, progress))
            self._job.cancel.check()
            if self._stopped.is_set():
                raise GenerationCancelled("the run was stopped")

        try:
            self._drawers[worker].draw(drawn, on_step)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever hears of it
            drawn.finished = False
            return Ended(worker=worker, drawn=drawn, stopped=error)
        return Ended(worker=worker, drawn=drawn)


def _drawers(workers: dict[str, Backend], job: DrawingJob) -> dict[str, VariantDrawer]:
    return {
        name: VariantDrawer(backend, job.files, job.run_id, job.cancel)
        for name, backend in workers.items()
    }
