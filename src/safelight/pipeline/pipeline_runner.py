"""PipelineRunner: carry out a config's plan on one engine, and leave one record per run.

Recording is optional and cannot touch the run: whatever the writer, the callback or the
journal do, the result and the pictures are the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safelight.config import PipelineConfig
from safelight.errors import PlanError
from safelight.learning.learning_record import LearningRecord, new_run_id, utc_timestamp
from safelight.pipeline.backend import Backend, ListsChoices
from safelight.pipeline.continuation import Continuation, held_plan
from safelight.pipeline.drawn_before import PictureLibrary
from safelight.pipeline.engine_choices import refuse_unknown_choices
from safelight.pipeline.engine_pool import EnginePool, LocalPool
from safelight.pipeline.input_files import InputFiles
from safelight.pipeline.plan_account import FIRST_PART, plan_account
from safelight.pipeline.progress import CancelToken, ProgressCallback
from safelight.pipeline.retry import NEVER, RetryPolicy
from safelight.pipeline.run_hooks import LearningRecordSink, RunHooks
from safelight.pipeline.run_result import RunResult, joined
from safelight.pipeline.single_run import RunEnvironment, RunSpec, SingleRun
from safelight.randomizer import RandomizerPlanResult, plan_variants

__all__ = [
    "VARIANTS_PER_RUN",
    "LearningRecordSink",
    "PipelineRunner",
]

VARIANTS_PER_RUN = 1000
"""A larger plan is carried out as several runs, so that a record stays readable."""


class PipelineRunner:
    """Runs configs on one engine.

    Args:
        backend: The engine.
        archive_dir: The archive folder; None keeps the pictures in the result instead.
        learning_record_writer: Takes the record of every run.
        on_learning_record: Called with the same record.
        on_progress: Called on every step, variant and failure, in the caller's thread.
        clock: The time, aware; the machine's clock when not given.
        variants_per_run: Most variants of one run.
        strict: Count a variant as failed when a picture was made otherwise than asked for;
            its pictures are kept.
        pool: Where variants are drawn; *backend* itself when not given.
        retry: What to do when an engine does not answer; not given, nothing is tried twice.
        library: What was drawn before and need not be drawn again; needs an archive folder.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        archive_dir: Path | str | None = None,
        learning_record_writer: LearningRecordSink | None = None,
        on_learning_record: Callable[[LearningRecord], object] | None = None,
        on_progress: ProgressCallback | None = None,
        clock: Callable[[], datetime] | None = None,
        variants_per_run: int = VARIANTS_PER_RUN,
        strict: bool = False,
        pool: EnginePool | None = None,
        retry: RetryPolicy = NEVER,
        library: PictureLibrary | None = None,
    ) -> None:
        self._backend = backend
        self._pool = pool or LocalPool([backend])
        self._retry = retry
        self._library = library
        self._archive = Path(archive_dir) if archive_dir is not None else None
        self._writer = learning_record_writer
        self._on_record = on_learning_record
        self._on_progress = on_progress
        self._clock = clock or (lambda: datetime.now(UTC))
        self._per_run = variants_per_run
        self._strict = strict

    def run(
        self,
        config: PipelineConfig | Mapping[str, Any],
        *,
        seed: int | None = None,
        cancel: CancelToken | None = None,
        on_progress: ProgressCallback | None = None,
        learning_record_writer: LearningRecordSink | None = None,
        on_learning_record: Callable[[LearningRecord], object] | None = None,
        continues: Continuation | None = None,
        resume: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Carry out *config* and return what came of it.

        A plan that takes several runs comes back as one result, with the status of all and
        the record of the last; for very large plans iterate over :meth:`runs` instead.

        Args:
            config: A checked config, or a mapping such as ``{"txt2img": {"prompt": "a cat"}}``.
            seed: Seed of everything that the plan draws, unless the config has its own.
            cancel: Set it from another thread to stop.
            on_progress: Called besides the runner's own.
            learning_record_writer: Takes records besides the runner's own.
            on_learning_record: Called besides the runner's own.
            continues: As in :meth:`runs`; where nothing is missing, the result has no pictures.
            resume: As in :meth:`runs`.

        Raises:
            ConfigError: The config, or a value that the engine does not know, is at fault.
            TemplateError: A prompt template cannot be expanded.
            PlanError: The plan cannot be made.
        """
        return joined(list(
            self.runs(
                config, seed=seed, cancel=cancel, on_progress=on_progress,
                learning_record_writer=learning_record_writer,
                on_learning_record=on_learning_record, continues=continues, resume=resume,
            )
        ))  # fmt: skip

    def runs(
        self,
        config: PipelineConfig | Mapping[str, Any],
        *,
        seed: int | None = None,
        cancel: CancelToken | None = None,
        on_progress: ProgressCallback | None = None,
        learning_record_writer: LearningRecordSink | None = None,
        on_learning_record: Callable[[LearningRecord], object] | None = None,
        continues: Continuation | None = None,
        resume: Mapping[str, Any] | None = None,
        plan: RandomizerPlanResult | None = None,
        asked: bool = False,
    ) -> Iterator[RunResult]:
        """Carry out *config* run by run; arguments and errors as in :meth:`run`.

        Args:
            config: As in :meth:`run`.
            seed: As in :meth:`run`.
            cancel: As in :meth:`run`.
            on_progress: As in :meth:`run`.
            learning_record_writer: As in :meth:`run`.
            on_learning_record: As in :meth:`run`.
            continues: Go on from what earlier runs of this plan have left: parts that lack
                nothing are passed over, of the others only what is missing is drawn.
            resume: Plain values that journals carry, for whoever goes on with the plan later.
            plan: What *config* amounts to with *seed*, where that is known already.
            asked: Whether the engine is known to have what the config names.

        Raises:
            PlanError: *continues* is about another plan.
        """
        if not isinstance(config, PipelineConfig):
            config = PipelineConfig.from_mapping(config)
        if continues is not None:
            seed = continues.plan_seed
        if plan is None:
            plan = plan_variants(config, secrets.randbits(32) if seed is None else seed)
        account = plan_account(config, plan, InputFiles(config.folder, files=config.files))
        if continues is not None:
            _refuse_another_plan(config, plan, account, continues)
        elif not asked:
            shared = isinstance(self._pool, ListsChoices)
            refuse_unknown_choices(self._pool if shared else self._backend, config, plan)
        cancel = cancel or CancelToken()
        plan_id = continues.plan_id if continues else new_run_id()
        starts = range(0, plan.plan_size, self._per_run)
        listeners = [hook for hook in (self._on_progress, on_progress) if hook]
        writers = [
            writer for writer in (self._writer, learning_record_writer) if writer is not None
        ]
        on_records = [hook for hook in (self._on_record, on_learning_record) if hook]
        environment = RunEnvironment(
            pool=self._pool, archive=self._archive, cancel=cancel, strict=self._strict,
            retry=self._retry, library=self._library,
        )  # fmt: skip
        with held_plan(self._archive, plan_id, utc_timestamp(self._clock())):
            for part, start in enumerate(starts, start=1):
                places = range(start, min(start + self._per_run, plan.plan_size))
                left = None if continues is None else continues.left(part, places)
                if left is not None and not left.missing:
                    continue
                spec = RunSpec(
                    config=config, plan=plan, places=places,
                    whole={"plan_id": plan_id, "part": part, "parts": len(starts)},
                    timestamp=utc_timestamp(self._clock()), left=left, resume=resume,
                    continues=continues.run_id if continues else None, account=account,
                )  # fmt: skip
                run = SingleRun(spec, environment, RunHooks(writers, on_records, listeners))
                account = account if FIRST_PART in account else {FIRST_PART: run.run_id}
                yield run.carry_out()
                if cancel.cancelled:
                    return


def _refuse_another_plan(
    config: PipelineConfig,
    plan: RandomizerPlanResult,
    account: Mapping[str, Any],
    continues: Continuation,
) -> None:
    if differences := continues.differences(config, plan, account):
        listed = "".join(f"\n  {difference}" for difference in differences[:20])
        raise PlanError(
            f"the config is not that of run {continues.run_id}:{listed}\nrun it without --resume:"
            " what is there already is reused"
        )
