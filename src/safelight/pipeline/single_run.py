"""SingleRun: one run, from its first variant to its learning record.

The engine never waits for the disk: finished pictures go to a saving thread, which writes
them whole, flushes them, and only then adds the variant's line to the journal. At most
:data:`_BACKLOG` variants are on their way, so memory stays flat.
"""

from __future__ import annotations

import itertools
import logging
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from safelight import __version__
from safelight.archive_layout import run_folder
from safelight.config import PipelineConfig
from safelight.errors import GenerationCancelled, SafelightError, StorageError, sentence_of
from safelight.knobs import Stage
from safelight.learning.learning_record import (
    SCHEMA,
    LearningRecord,
    new_run_id,
)
from safelight.learning.snapshot import plain_snapshot
from safelight.pipeline.backend import Backend
from safelight.pipeline.journal import RunJournal, VariantEntry, fold, seconds_per_stage
from safelight.pipeline.picture_saver import DrawnVariant, PictureSaver, RunImage
from safelight.pipeline.progress import CancelToken, RunProgress
from safelight.pipeline.run_hooks import RunHooks
from safelight.pipeline.run_result import RunFailure, RunResult
from safelight.pipeline.variant_drawer import Lanes, Moved, Step, VariantDrawer
from safelight.randomizer import RandomizerPlanResult, Variant

__all__ = ["SingleRun"]

_BACKLOG = 4
"""Variants that may wait for the disk at once."""

_WEIGHTS = (".model", ".vae")
"""Knobs whose change makes an engine load something large."""

_log = logging.getLogger(__name__)
_Saved = tuple[VariantEntry, tuple[RunImage, ...]]


class SingleRun:
    """One run: a stretch of a plan on one engine.

    Args:
        backend: The engine.
        config: What the user asked for.
        plan: What it amounts to.
        places: The variants of the plan that are this run's.
        whole: ``plan_id``, ``part`` and ``parts``.
        timestamp: When the run begins, UTC.
        archive: The archive folder, or None.
        hooks: Who wants to hear of it.
        cancel: Obeyed between and within stages.
        strict: Whether a picture that was made otherwise than asked for fails its variant.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        config: PipelineConfig,
        plan: RandomizerPlanResult,
        places: range,
        whole: Mapping[str, Any],
        timestamp: str,
        archive: Path | None,
        hooks: RunHooks,
        cancel: CancelToken,
        strict: bool = False,
    ) -> None:
        self._strict = strict
        self._backend = backend
        self._config = config
        self._plan = plan
        self._places = places
        self._whole = whole
        self._timestamp = timestamp
        self._archive = archive
        self._hooks = hooks
        self._cancel = cancel
        self._run_id = new_run_id()
        self._journal = RunJournal(self._header())
        self._folder: Path | None = None
        self._images: list[RunImage] = []
        self._waiting: deque[Future[_Saved]] = deque()
        self._unsafe = False

    def carry_out(self) -> RunResult:
        """Run to the end, whatever it is, and return how it ended.

        Raises:
            BaseException: Only what no run can survive (KeyboardInterrupt, SystemExit); the
                record is written first.
        """
        began = time.perf_counter()
        status, error = "", None
        try:
            self._describe()
            saver = self._open_folder()
            self._draw_all(saver)
            self._describe_again()
        except GenerationCancelled:
            status = "cancelled"
        except SafelightError as problem:
            status, error = "failed", sentence_of(problem)
        except Exception as problem:  # noqa: BLE001 - logged, and told by the record
            _log.exception("run %s ended early", self._run_id)
            status, error = "failed", sentence_of(problem)
        except BaseException as problem:
            self._finish("cancelled", type(problem).__name__)
            raise
        status = status or self._status()
        record = self._finish(status, error)
        return self._result(status, error, record, time.perf_counter() - began)

    # -- what the run is -----------------------------------------------------------------

    def _header(self) -> dict[str, Any]:
        plan = self._plan
        header: dict[str, Any] = plain_snapshot(
            {
                "schema": SCHEMA,
                "run_id": self._run_id,
                "timestamp": self._timestamp,
                "name": self._config.name,
                "base_config": self._config.to_mapping(),
                "randomizer_mode": plan.mode,
                "randomizer_plan_size": plan.plan_size,
                "plan_seed": plan.seed,
                "first_variant": self._places.start,
                "warnings": list(plan.warnings),
                "backend": {"name": self._backend.name},
                "metadata": self._config.metadata,
                **self._whole,
            }
        )
        return header

    def _describe(self) -> None:
        """Add to the header what is only known once engine and plan are asked."""
        description = self._backend.describe()
        self._journal.header |= plain_snapshot(
            {
                "backend": {"name": description.name, "version": description.version},
                "environment": {
                    **description.environment,
                    "safelight": __version__,
                    "python": platform.python_version(),
                    "platform": f"{platform.system()} {platform.machine()}",
                },
                "template": {"wildcard_files": dict(self._plan.wildcard_files)},
            }
        )

    def _describe_again(self) -> None:
        """Ask once more an engine that knows its version only from its first picture."""
        if not self._journal.header["backend"].get("version"):
            try:
                self._describe()
            except Exception as error:  # noqa: BLE001 - the pictures are there, and their record
                _log.info("%s does not say its version: %s", self._backend.name, error)

    def _open_folder(self) -> PictureSaver:
        if self._archive is None:
            return PictureSaver(self._run_id, self._timestamp, None, "", strict=self._strict)
        relative = run_folder(self._timestamp, self._run_id)
        folder = self._archive / relative
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise StorageError(f"the folder for the pictures cannot be made: {error}") from error
        self._folder = folder
        self._journal.open_file(self._archive, folder, recorded=self._hooks.has_writer)
        return PictureSaver(
            self._run_id, self._timestamp, folder, str(relative), strict=self._strict
        )

    # -- drawing -------------------------------------------------------------------------

    def _draw_all(self, saver: PictureSaver) -> None:
        drawer = VariantDrawer(self._backend, self._config.folder, self._run_id, self._cancel)
        wanted = getattr(self._backend, "lanes", 1)
        lanes = min(wanted if isinstance(wanted, int) else 1, len(self._places))
        with ThreadPoolExecutor(1, thread_name_prefix="safelight-save") as thread:

            def save(drawn: DrawnVariant) -> None:
                if drawn.pictures or drawn.failure:
                    self._waiting.append(thread.submit(self._save, saver, drawn))

            try:
                if lanes > 1:
                    self._draw_in_lanes(lanes, drawer, save)
                else:
                    self._draw_in_turn(drawer, save)
            finally:
                self._collect(most=0)

    def _draw_in_turn(self, drawer: VariantDrawer, save: Callable[[DrawnVariant], None]) -> None:
        for drawn in self._variants():
            self._cancel.check()
            variant = drawn.variant

            def on_step(stage: Stage, progress: Step, variant: Variant = variant) -> None:
                self._tell("step", variant, stage=stage, **progress)
                self._collect(most=_BACKLOG)
                self._cancel.check()

            try:
                drawer.draw(drawn, on_step)
            finally:
                save(drawn)
            self._collect(most=_BACKLOG - 1)

    def _draw_in_lanes(
        self, lanes: int, drawer: VariantDrawer, save: Callable[[DrawnVariant], None]
    ) -> None:
        """Draw several variants at a time; progress is still told in the caller's thread."""
        stopped: BaseException | None = None
        with Lanes(lanes, drawer, self._cancel) as pool:
            variants = self._variants()
            for drawn in itertools.islice(variants, lanes):
                pool.start(drawn)
            while pool.busy:
                try:
                    news = pool.next_news()
                except BaseException as problem:  # noqa: BLE001 - raised again below
                    stopped = stopped or problem
                    pool.stop()
                    continue
                if isinstance(news, Moved):
                    self._tell("step", news.drawn.variant, stage=news.stage, **news.progress)
                    self._collect(most=_BACKLOG)
                    continue
                save(news.drawn)
                self._collect(most=_BACKLOG - 1)
                stopped = stopped or news.stopped
                if stopped is None and not self._cancel.cancelled:
                    for drawn in itertools.islice(variants, 1):
                        pool.start(drawn)
        if stopped is not None:
            raise stopped
        self._cancel.check()

    def _variants(self) -> Iterator[DrawnVariant]:
        """Yield the variants as they are best drawn: those of one model together.

        Loading other weights costs an engine seconds; the order of the account is the plan's.
        """
        positions: Iterable[int] = range(len(self._places))
        if any(axis.name.endswith(_WEIGHTS) and axis.size > 1 for axis in self._plan.axes):
            seen: dict[tuple[Any, ...], int] = {}
            positions = sorted(
                positions, key=lambda place: seen.setdefault(self._weights(place), len(seen))
            )
        for position in positions:
            yield DrawnVariant(
                variant=self._plan.variants[self._places[position]], position=position
            )

    def _weights(self, position: int) -> tuple[Any, ...]:
        config = self._plan.variants[self._places[position]].config
        return tuple(knobs.get(name) for knobs in config.values() for name in ("model", "vae"))

    def _collect(self, most: int) -> None:
        """Take in what the saving thread has finished; wait until at most *most* are under way."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            self._take_in(self._waiting.popleft())

    # -- saving --------------------------------------------------------------------------

    def _save(self, saver: PictureSaver, drawn: DrawnVariant) -> _Saved:
        """Make one variant safe: pictures first, journal line after; in the saving thread."""
        entry, images = saver.save(drawn)
        self._journal.add(entry)
        return entry, images

    def _take_in(self, saved: Future[_Saved]) -> None:
        entry, images = saved.result()
        self._images.extend(images)
        variant = self._plan.variants[self._places[entry.position]]
        if entry.failures:
            failure = entry.failures[0]
            self._tell("failure", variant, stage=failure.stage, message=failure.error)
        elif entry.finished:
            self._tell("variant", variant)

    def _tell(
        self, event: Literal["step", "variant", "failure"], variant: Variant, **details: Any
    ) -> None:
        if self._hooks.wants_progress:
            self._hooks.progress(
                RunProgress(
                    run_id=self._run_id,
                    event=event,
                    variant=variant.index + 1,
                    variants=self._plan.plan_size,
                    label=variant.label,
                    **details,
                )
            )

    # -- ending --------------------------------------------------------------------------

    def _status(self) -> str:
        entries = self._journal.entries
        failed = sum(1 for entry in entries if entry.failures)
        if not failed:
            return "completed"
        return "failed" if failed == len(entries) else "partial"

    def _finish(self, status: str, error: str | None) -> LearningRecord | None:
        self._journal.end(status, error)
        if not self._hooks.wants_record:
            return None
        try:
            record = fold(self._journal.header, self._journal.entries, status, error)
        except Exception:  # noqa: BLE001 - recording must never break a run
            _log.exception("the learning record of run %s cannot be built", self._run_id)
            self._hooks.failures += 1
            self._unsafe = True
            return None
        self._unsafe = not self._hooks.record(record)
        if not self._unsafe:
            self._journal.record_is_safe()
        return record

    def _result(
        self, status: str, error: str | None, record: LearningRecord | None, total: float
    ) -> RunResult:
        entries = self._journal.entries
        return RunResult(
            run_id=self._run_id,
            status=status,
            images=tuple(sorted(self._images, key=lambda image: image.variant)),
            failures=tuple(
                RunFailure(
                    variant=self._places[entry.position],
                    label=entry.label,
                    stage=failure.stage,
                    error=failure.error,
                )
                for entry in sorted(entries, key=lambda entry: entry.position)
                for failure in entry.failures
            ),
            warnings=self._warnings(),
            seconds=seconds_per_stage(entries),
            total_seconds=total,
            error=error,
            folder=self._folder,
            learning_record=record,
            recording_failures=self._hooks.failures,
            recoverable=self._journal.recoverable,
            plan_size=self._plan.plan_size,
            part=self._whole["part"],
            parts=self._whole["parts"],
        )

    def _warnings(self) -> tuple[str, ...]:
        entries = self._journal.entries
        found = [*self._journal.header["warnings"]]
        found += [warning for entry in entries for warning in entry.warnings]
        found += [
            f"asked for {m.knob} = {m.requested!r}, the engine used {m.effective!r}"
            for entry in entries
            for output in entry.outputs
            for m in output.mismatches
        ]
        if self._journal.trouble:
            found.append(self._journal.trouble)
        if self._unsafe:
            found.append("the learning record is not safe on disk yet; the log says why")
        elif self._hooks.failures:
            found.append("a learning record callback raised; the log says why")
        return tuple(dict.fromkeys(found))
