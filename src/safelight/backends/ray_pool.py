"""RayPool: variants drawn by actors of a Ray cluster; the extra ``ray``.

Each actor holds one engine and draws one variant at a time, so that a lost actor or node costs
the variant in hand. At most one variant per actor is under way: a plan is never queued up in the
cluster. Finished pictures come back to this process, which alone writes files, journal and
record. Pictures that a config names are read here and travel with the variant.
"""

from __future__ import annotations

import copyreg
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from safelight.backends import create_backend
from safelight.errors import (
    BackendError,
    BackendNotInstalled,
    BackendUnavailable,
    GenerationCancelled,
    SafelightError,
    sentence_of,
)
from safelight.knobs import FILE_KNOBS, Stage
from safelight.pipeline.backend import (
    BackendDescription,
    Closes,
    EngineSetup,
    Named,
    TellsSetup,
)
from safelight.pipeline.engine_pool import DrawingJob, Ended, Lanes
from safelight.pipeline.input_files import InputFiles
from safelight.pipeline.picture_saver import DrawnVariant
from safelight.pipeline.progress import CancelToken
from safelight.pipeline.stages import stages_of
from safelight.pipeline.variant_drawer import Step, VariantDrawer

__all__ = ["ActorResources", "RayPool"]

_POLL = 0.25
"""Seconds between two looks at steps and at the cancel switch."""

_HELD_FILES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorResources:
    """What each actor asks of the cluster.

    Attributes:
        gpus: GPUs, also a fraction of one: 0.5 puts two actors on each.
        cpus: CPUs; None is 1 for an actor without a GPU, else 0.
        custom: Further resources, as the cluster names them.
    """

    gpus: float = 0.0
    cpus: float | None = None
    custom: Mapping[str, float] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Return them as Ray takes them."""
        cpus = self.cpus if self.cpus is not None else float(not self.gpus and not self.custom)
        return {"num_cpus": cpus, "num_gpus": self.gpus, "resources": dict(self.custom)}

    def fitting(self, cluster: Mapping[str, float]) -> int:
        """Return how many such actors a cluster of these resources holds, at least 1."""
        options = self.options()
        needs = {"CPU": options["num_cpus"], "GPU": options["num_gpus"], **options["resources"]}
        fits = [int(cluster.get(name, 0) / need + 1e-9) for name, need in needs.items() if need]
        return max(1, min(fits, default=1))


class RayPool:
    """Actors of a Ray cluster, one engine each.

    Args:
        engine: The engine's entry point; it must be installed on every node.
        options: Its options.
        folder: Where relative paths among the options start, on every node.
        address: Of the cluster, ``host:port`` or ``auto``; None starts one on this machine.
        actors: How many; None is as many as the cluster has room for.
        resources: What each of them needs.
        patience: Seconds to wait for the first actor.

    Raises:
        BackendNotInstalled: Ray is missing.
        BackendUnavailable: The cluster cannot be reached.
    """

    def __init__(
        self,
        engine: str,
        options: Mapping[str, Any] = MappingProxyType({}),
        *,
        folder: Path | None = None,
        address: str | None = None,
        actors: int | None = None,
        resources: ActorResources | None = None,
        patience: float = 120.0,
    ) -> None:
        self._ray = _imported_ray()
        _teach_pickle()
        self._engine = engine
        self._patience = patience
        self._started = _connect(self._ray, address)
        needs = resources or ActorResources()
        number = actors or needs.fitting(self._ray.cluster_resources())
        kind = self._ray.remote(concurrency_groups={"control": 1})(_Worker).options(
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            **needs.options(),
        )
        home = None if folder is None else str(folder.resolve())
        self._actors = {
            f"actor {n}": kind.remote(engine, dict(options), home) for n in range(1, number + 1)
        }
        self._pings = {name: actor.describe.remote() for name, actor in self._actors.items()}
        self._descriptions: dict[str, BackendDescription] = {}

    @property
    def name(self) -> str:
        """What learning records call the engine."""
        return next((description.name for description in self._descriptions.values()), self._engine)

    def describe(self) -> BackendDescription:
        """Return the description of the first actor that is there.

        Raises:
            BackendUnavailable: None came up in time.
            BackendError: None can come up.
        """
        until = time.monotonic() + self._patience
        trouble: BackendError | None = None
        while True:
            for name in self._actors:
                try:
                    if self.ready(name):
                        return self._descriptions[name]
                except BackendError as error:
                    trouble = error
            if trouble is not None and all(name not in self._pings for name in self._actors):
                raise trouble
            if time.monotonic() > until:
                raise BackendUnavailable(
                    f"no actor came up within {self._patience:g} s; the cluster has"
                    f" {dict(self._ray.available_resources())} left"
                )
            self._ray.wait(list(self._pings.values()), num_returns=1, timeout=_POLL)

    def ready(self, name: str) -> bool:
        """Return whether the actor *name* is up.

        Raises:
            BackendError: It never will be.
        """
        ping = self._pings.get(name)
        if ping is None:
            if name in self._descriptions:
                return True
            raise BackendError(f"{name} has no engine")
        if not self._ray.wait([ping], num_returns=1, timeout=0)[0]:
            return False
        try:
            described = BackendDescription(**self._ray.get(ping))
        except self._ray.exceptions.ActorDiedError as error:
            del self._pings[name]
            raise BackendError(f"{name} cannot begin: {_cause(error)}") from error
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, SafelightError) else error
            self._ask_again(name)
            if isinstance(cause, BackendUnavailable):
                return False
            del self._pings[name]
            raise BackendError(f"{name} cannot begin: {_cause(cause)}") from error
        except self._ray.exceptions.RayError:
            self._ask_again(name)
            return False
        others = {
            description.version
            for description in self._descriptions.values()
            if description.version
        }
        del self._pings[name]
        if described.version and others and described.version not in others:
            raise BackendError(
                f"{name} has version {described.version} of {described.name}, the others"
                f" {', '.join(sorted(others))}; equal settings must give equal pictures"
            )
        self._descriptions[name] = described
        return True

    def setups(self, named: Named) -> Mapping[str, EngineSetup]:
        """Return actor -> what its pictures depend on, for those that are up and can tell."""
        asked = {}
        for name in self._actors:
            with suppress(BackendError):
                if self.ready(name):
                    names = {kind: list(each) for kind, each in named.items()}
                    asked[name] = self._actors[name].setup.remote(names)
        if asked:
            self._ray.wait(list(asked.values()), num_returns=len(asked), timeout=self._patience)
        setups = {}
        for name, answer in asked.items():
            if self._ray.wait([answer], timeout=0)[0]:
                with suppress(self._ray.exceptions.RayError):
                    if (setup := self._ray.get(answer)) is not None:
                        setups[name] = setup
        return setups

    def open_lanes(self, job: DrawingJob) -> Lanes:
        """Return the actors for one run."""
        return _RayLanes(self, job)

    def close(self) -> None:
        """Let the actors go, and the cluster when it was started here."""
        for actor in self._actors.values():
            with suppress(Exception):
                self._ray.kill(actor)
        self._actors.clear()
        if self._started:
            self._ray.shutdown()

    def lost(self, name: str) -> None:
        """Note that the actor *name* was lost; Ray begins it again where there is room."""
        self._ask_again(name)

    def _ask_again(self, name: str) -> None:
        self._descriptions.pop(name, None)
        self._pings[name] = self._actors[name].describe.remote()


class _RayLanes:
    """The actors of a pool while one run uses them."""

    def __init__(self, pool: RayPool, job: DrawingJob) -> None:
        self._pool = pool
        self._ray = pool._ray
        self._actors = pool._actors
        self._job = job
        self.workers: Sequence[str] = tuple(self._actors)
        self._running: dict[Any, tuple[str, DrawnVariant]] = {}
        self._asked: dict[str, Any] = {}
        self._reported: dict[str, Any] = {}
        self._files: dict[str, Any] = {}
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._running:
            self.stop()

    def ready(self, worker: str) -> bool:
        return self._pool.ready(worker)

    def start(self, worker: str, drawn: DrawnVariant) -> None:
        try:
            names, contents = self._contents(drawn)
        except SafelightError:  # drawing it where the file is missing will say so
            names, contents = [], []
        reference = self._actors[worker].draw.remote(self._job.run_id, drawn, names, *contents)
        self._running[reference] = (worker, drawn)

    def next_ended(self, timeout: float | None) -> Ended | None:
        if not self._running:
            if timeout:
                self._job.cancel.wait(timeout)
            return None
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _POLL if until is None else min(_POLL, max(0.0, until - time.monotonic()))
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=left)
            if done:
                return self._ended(done[0])
            if self._job.cancel.cancelled:
                self.stop()
            self._report_steps()
            if until is not None and time.monotonic() >= until:
                return None

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        for worker, _ in self._running.values():
            self._control(worker).stop.remote(self._job.run_id)

    def _ended(self, reference: Any) -> Ended:
        worker, sent = self._running.pop(reference)
        self._asked.pop(worker, None)
        self._reported.pop(worker, None)
        try:
            drawn, stopped = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            sent.tries += 1
            sent.fail(stages_of(sent.variant.config)[0], sentence_of(error.cause or error))
            return Ended(worker=worker, drawn=sent)
        except self._ray.exceptions.RayError as error:
            self._pool.lost(worker)
            stage = stages_of(sent.variant.config)[0]
            reason = f"{worker} was lost ({type(error).__name__})"
            return Ended(
                worker=worker,
                drawn=replace(sent, tries=sent.tries + 1, unavailable=(stage, reason)),
            )
        if stopped:
            return Ended(worker=worker, drawn=drawn, stopped=GenerationCancelled(stopped))
        return Ended(worker=worker, drawn=drawn)

    def _report_steps(self) -> None:
        for worker, drawn in list(self._running.values()):
            asked = self._asked.get(worker)
            if asked is None:
                self._asked[worker] = self._control(worker).step.remote()
                continue
            if not self._ray.wait([asked], num_returns=1, timeout=0)[0]:
                continue
            del self._asked[worker]
            with suppress(self._ray.exceptions.RayError):
                step = self._ray.get(asked)
                if (
                    step is not None
                    and step[0] == drawn.position
                    and step != self._reported.get(worker)
                ):
                    self._reported[worker] = step
                    self._job.on_step(drawn, step[1], step[2])

    def _control(self, worker: str) -> _Control:
        return _Control(self._actors[worker])

    def _contents(self, drawn: DrawnVariant) -> tuple[list[str], list[Any]]:
        """Return the names of the pictures that *drawn* needs, and where the cluster has them."""
        names = []
        for knobs in drawn.variant.config.values():
            for knob in FILE_KNOBS:
                data = self._job.files.read(knob, knobs)
                if data is None:
                    continue
                names.append(knobs[knob])
                if knobs[knob] not in self._files:
                    while len(self._files) >= _HELD_FILES:
                        del self._files[next(iter(self._files))]
                    self._files[knobs[knob]] = self._ray.put(data)
        return names, [self._files[name] for name in names]


class _Control:
    """The methods of an actor that answer while it draws."""

    def __init__(self, actor: Any) -> None:
        self.step = actor.step.options(concurrency_group="control")
        self.stop = actor.stop.options(concurrency_group="control")


class _Worker:
    """One engine in a process of its own, somewhere in the cluster."""

    def __init__(self, engine: str, options: Mapping[str, Any], folder: str | None) -> None:
        _teach_pickle()
        home = None if folder is None else Path(folder)
        self._backend = create_backend(engine, options, folder=home)
        self._step: tuple[int, Stage, Step] | None = None
        self._stopped: set[str] = set()
        self._lock = threading.Lock()

    def describe(self) -> dict[str, Any]:
        """Return the fields of the engine's description."""
        description = self._backend.describe()
        environment = dict(description.environment)
        return {
            "name": description.name,
            "version": description.version,
            "environment": environment,
        }

    def setup(self, named: Named) -> EngineSetup | None:
        """Return what the engine's pictures depend on; None when it cannot tell."""
        return self._backend.setup(named) if isinstance(self._backend, TellsSetup) else None

    def draw(
        self, run_id: str, drawn: DrawnVariant, names: Sequence[str], *contents: bytes
    ) -> tuple[DrawnVariant, str]:
        """Return *drawn*, filled, and why it was stopped, or empty."""
        files = InputFiles(Path(), dict(zip(names, contents, strict=True)))
        drawer = VariantDrawer(self._backend, files, run_id, CancelToken())

        def on_step(stage: Stage, progress: Step) -> None:
            self._step = (drawn.position, stage, progress)
            if run_id in self._stopped:
                raise GenerationCancelled("the run was cancelled")

        try:
            drawer.draw(drawn, on_step)
        except GenerationCancelled as stopped:
            drawn.finished = False
            return drawn, sentence_of(stopped)
        finally:
            self._step = None
        return drawn, ""

    def step(self) -> tuple[int, Stage, Step] | None:
        """Return how far the variant in hand is."""
        return self._step

    def stop(self, run_id: str) -> None:
        """Make *run_id* stop at its next step."""
        with self._lock:
            self._stopped = {run_id}

    def close(self) -> None:
        """Let the engine go."""
        if isinstance(self._backend, Closes):
            self._backend.close()


def _imported_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise BackendNotInstalled(
            "running on Ray needs its package; install it with: pip install safelight[ray]"
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> bool:
    """Connect to the cluster; return whether that was for us to do."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody's business but the user's
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address=address or "local",  # else Ray takes whatever ran here last, dead or alive
            log_to_driver=False,
            logging_level="ERROR",
            **({} if address else {"include_dashboard": False}),
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = f"at {address}" if address else "on this machine"
        raise BackendUnavailable(f"Ray cannot be used {where}: {sentence_of(error)}") from error
    finally:
        for number, handler in handlers.items():  # Ray takes SIGTERM for itself
            if in_main and handler is not None:
                signal.signal(number, handler)
    return True


def _teach_pickle() -> None:
    """Let read-only mappings, which requests hold, travel between processes."""
    copyreg.pickle(MappingProxyType, _unmade)


def _unmade(mapping: MappingProxyType[Any, Any]) -> tuple[Any, tuple[dict[Any, Any]]]:
    return MappingProxyType, (dict(mapping),)


def _cause(error: BaseException) -> str:
    """Return the last line of what Ray says: the error itself, without its traceback."""
    lines = [line.strip() for line in sentence_of(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
