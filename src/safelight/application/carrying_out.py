"""carrying_out: draw what a config asks for into an archive, and keep the archive in order.

Whoever starts runs does it here: what was killed gets its record first, what the archive holds is
not drawn again, an engine that does not answer is asked again, every part gets its contact sheet,
and the records are packed when they have become many.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.application.archived_pictures import ArchivedPictures
from safelight.application.going_on import continuation_of, resume_note
from safelight.application.jobs import Job, engine_for, ready_config
from safelight.application.packing_up import pack_if_many
from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.backends import option_kinds
from safelight.config import PipelineConfig, RetryConfig
from safelight.learning import LearningRecordWriter
from safelight.pipeline import (
    Backend,
    CancelToken,
    PipelineRunner,
    ProgressCallback,
    RunResult,
    recover_interrupted_runs,
)
from safelight.pipeline.continuation import Continuation
from safelight.pipeline.engine_pool import EnginePool
from safelight.pipeline.retry import RetryPolicy
from safelight.pipeline.run_result import joined
from safelight.pipeline.run_sheet import write_contact_sheet

__all__ = ["EngineRunner", "RunSettings", "carry_out", "recover"]


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How runs are carried out, whatever they draw.

    Attributes:
        record: Whether they leave a learning record.
        strict: Whether a picture that was made otherwise than asked counts as failed.
        again: Whether what the archive holds already is drawn anew.
        retries: How often a variant is tried again when an engine does not answer; None is what
            the config says.
        patience: Seconds that the last engine is waited for while nobody listens there; None alike.
        retry_unknown: Whether that is tried again, too, which may have been drawn already; None
            alike.
    """

    record: bool = True
    strict: bool = False
    again: bool = False
    retries: int | None = None
    patience: int | None = None
    retry_unknown: bool | None = None


def recover(archive: Archive, on_message: Callable[[str], object] = _log.info) -> None:
    """Give runs that were killed their record.

    Args:
        archive: Where they were drawn into.
        on_message: Told of each, in a sentence.
    """
    with archive.writer() as writer:
        for recovered in recover_interrupted_runs(archive.path, writer):
            on_message(f"recovered run {recovered.run_id}: {recovered.status}")


def carry_out(
    job: Job,
    archive: Archive,
    settings: RunSettings = RunSettings(),
    *,
    pool: EnginePool | None = None,
    writer: LearningRecordWriter | None = None,
    listeners: tuple[ProgressCallback, ...] = (),
    cancel: CancelToken | None = None,
    continues: Continuation | None = None,
    on_message: Callable[[str], object] = _log.info,
) -> Iterator[tuple[RunResult, Path | None]]:
    """Draw what *job* asks for; yield each part of the plan as it ends, and its contact sheet.

    Args:
        job: What to draw, with which engine.
        archive: Where pictures and records go.
        settings: How.
        pool: Draws in place of the job's own engine.
        writer: Of records, when it goes on being used; one of its own otherwise.
        listeners: Told of progress.
        cancel: Set it from another thread to stop.
        continues: What an earlier run of this plan has left.
        on_message: Told in a sentence of what happens beside: recovered runs, packed records.

    Raises:
        ConfigError: A value that the engine does not know.
        PlanError: *continues* is about another plan.
    """
    recover(archive, on_message)
    with nullcontext(writer) if writer is not None else archive.writer() as written:
        runner = PipelineRunner(
            job.backend,
            archive_dir=archive.path,
            learning_record_writer=written if settings.record else None,
            strict=settings.strict,
            pool=pool,
            retry=_retry_policy(settings, job.config.retry),
            library=None if settings.again else ArchivedPictures(archive),
        )
        for result in runner.runs(
            job.config,
            seed=job.seed,
            plan=job.plan,
            asked=job.asked and pool is None,
            cancel=cancel,
            on_progress=_all_of(listeners),
            continues=continues,
            resume=resume_note(job.config),
        ):
            yield result, write_contact_sheet(result, job.config, job.plan)
    pack_if_many(archive, on_message)


def _all_of(listeners: tuple[ProgressCallback, ...]) -> ProgressCallback | None:
    def call_all(progress: Any) -> None:
        for listener in listeners:
            listener(progress)

    return call_all if listeners else None


class EngineRunner:
    """Runs config after config, each on the engine that it names; the last engine stays ready.

    Args:
        archive: Where pictures and records go.
        environ: The environment, for secrets that the engines of configs take from there.
    """

    def __init__(self, archive: Path, environ: Mapping[str, str]) -> None:
        self._archive = Archive(archive)
        self._environ = environ
        self._lock = threading.Lock()
        self._made_of: tuple[Any, ...] = ()
        self._backend: Backend | None = None
        self._writer = LearningRecordWriter(records_folder(archive), root=archive)
        recover_interrupted_runs(archive, self._writer)

    def run(
        self,
        config: PipelineConfig | Mapping[str, Any],
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> RunResult:
        """Carry out *config*.

        Raises:
            SafelightError: It could not begin.
        """
        if not isinstance(config, PipelineConfig):
            config = PipelineConfig.as_stated(config)
        continues = None
        if config.continues:
            continues = continuation_of(self._archive, config.continues, only_failed=False)
        job = ready_config(
            config, config.name or "the config", None if continues is None else continues.plan_seed,
            self._environ, backend=self._engine(config),
        )  # fmt: skip
        results = [
            result
            for result, _ in carry_out(
                job, self._archive, writer=self._writer, cancel=cancel, continues=continues,
                listeners=() if on_progress is None else (on_progress,),
            )
        ]  # fmt: skip
        return joined(results)

    def _engine(self, config: PipelineConfig) -> Backend:
        chosen = config.backend
        named = json.dumps([chosen.name, dict(chosen.options)], default=str, sort_keys=True)
        kinds = option_kinds(chosen.name)
        names_files = any(kinds.get(option) == "file" for option in chosen.options)
        made_of = (named, config.files, config.folder if names_files else None)
        with self._lock:
            if self._backend is None or made_of != self._made_of:
                self._let_go()
                self._backend, self._made_of = engine_for(config, self._environ), made_of
            return self._backend

    def _let_go(self) -> None:
        close = getattr(self._backend, "close", None)
        if close is not None:
            close()
        self._backend = None

    def close(self) -> None:
        """Let the engine go, and write what is still to be written."""
        with self._lock:
            self._let_go()
        self._writer.close()


def _retry_policy(settings: RunSettings, stated: RetryConfig) -> RetryPolicy:
    retries = stated.retries if settings.retries is None else settings.retries
    patience = stated.patience if settings.patience is None else settings.patience
    unknown = stated.unknown if settings.retry_unknown is None else settings.retry_unknown
    usual = RetryPolicy()
    return RetryPolicy(
        retries=usual.retries if retries is None else retries,
        patience=usual.patience if patience is None else patience,
        unknown=usual.unknown if unknown is None else unknown,
    )
