"""``safelight run``."""

from __future__ import annotations

import itertools
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click
import msgspec

from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.cli.archived_pictures import ArchivedPictures, continuation_of
from safelight.cli.continuing import job_of_run, resume_note
from safelight.cli.engine_choice import EngineChoice, engine_choice_options
from safelight.cli.job import Job, ready_job
from safelight.cli.options import (
    archive_option,
    archive_words,
    ask_for_large_plan,
    json_option,
    override_option,
    seed_option,
    yes_option,
)
from safelight.cli.plan_command import plan_as_json, print_plan
from safelight.cli.run_log import RunLog, worker_shares
from safelight.cli.run_progress import progress_view
from safelight.cli.run_traces import RunTraces
from safelight.errors import SafelightError
from safelight.learning import LearningRecord, LearningRecordWriter
from safelight.learning.learning_record import record_stem
from safelight.pipeline import (
    CancelToken,
    PipelineRunner,
    RunResult,
    recover_interrupted_runs,
)
from safelight.pipeline.continuation import Continuation
from safelight.pipeline.engine_pool import EnginePool
from safelight.pipeline.retry import RetryPolicy
from safelight.pipeline.run_sheet import write_contact_sheet

EXIT_STATUS = {"completed": 0, "failed": 1, "partial": 3, "cancelled": 130}
"""Exit status by how the run ended; 2 means that a config is at fault."""

PACK_FROM = 1000
"""Loose records from which packing is worth while."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command("run")
@click.argument("configs", metavar="[CONFIG]...", nargs=-1, type=click.Path(path_type=Path))
@override_option
@archive_option
@seed_option
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option("--no-record", is_flag=True, help="Write no learning record.")
@click.option(
    "--strict", is_flag=True, help="Count a picture that was made otherwise than asked as failed."
)
@click.option("--resume", metavar="RUN", help="Go on with a run that did not get to its end.")
@click.option("--retry-failed", metavar="RUN", help="Try again what failed in a run.")
@click.option("--again", is_flag=True, help="Draw anew also what the archive holds already.")
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=4,
    show_default=True,
    help="How often a variant is tried again when an engine does not answer.",
)
@engine_choice_options
@click.option(
    "--push-to", metavar="URL", help="Put every run on an object store, such as s3://bucket/team."
)
@click.option("--log-json", is_flag=True, help="Tell what happens as JSON lines, not as a bar.")
@click.option("--traces", is_flag=True, help="Send OpenTelemetry spans, see OTEL_EXPORTER_OTLP_*.")
@yes_option
@json_option
def command(
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    archive: Path,
    seed: int | None,
    dry_run: bool,
    no_record: bool,
    strict: bool,
    resume: str | None,
    retry_failed: str | None,
    again: bool,
    retries: int,
    on: str,
    servers: tuple[str, ...],
    ray_actors: int | None,
    ray_gpus: float,
    ray_resources: tuple[str, ...],
    push_to: str | None,
    log_json: bool,
    traces: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Draw what each CONFIG asks for, and record what ran.

    What the archive holds already, equal in every knob, is not drawn again. Every config is
    checked before the first one runs. Ctrl-C stops after the current step, with the record
    written; a second Ctrl-C stops at once; --resume goes on. Exit status: 0 all drawn,
    1 nothing drawn, 2 a config is at fault, 3 some variants failed, 130 stopped.
    """
    statuses: list[str] = []
    jobs: list[Job] = []
    cancel = CancelToken()
    run = resume or retry_failed
    _refuse_odd_requests(configs, seed, resume, retry_failed)
    try:
        how = _How(
            archive=archive, record=not no_record, strict=strict, retries=retries, again=again,
            as_json=as_json, log_json=log_json, push_to=push_to,
            traces=RunTraces() if traces else None,
            choice=EngineChoice(
                on=on, servers=servers, actors=ray_actors, gpus=ray_gpus, resources=ray_resources
            ),
        )  # fmt: skip
        continues = None
        if run is not None:
            _recover(archive)
            continues = continuation_of(Archive(archive), run, only_failed=retry_failed is not None)
            record = Archive(archive).record(run)
            jobs = [
                job_of_run(
                    record, archive, configs[0] if configs else None, overrides, ask=not servers
                )
            ]
        else:
            jobs = [ready_job(path, overrides, seed, ask=not servers) for path in configs]
        if dry_run:
            for job in jobs:
                _show_plan(job, as_json)
            return
        for job in jobs:
            ask_for_large_plan(job.plan.plan_size, yes=yes or run is not None)
        with how.traces or nullcontext(), cancelled_by_interrupt(cancel):
            for job in jobs:
                if not cancel.cancelled:
                    statuses += _run(job, how, cancel, continues)
    except KeyboardInterrupt:
        _say(f"stopped at once; what was drawn is told by: safelight show --archive {archive}")
        raise SystemExit(EXIT_STATUS["cancelled"]) from None
    finally:
        for job in jobs:
            job.close()
    if cancel.cancelled:
        statuses.append("cancelled")
    worst = max((EXIT_STATUS[status] for status in statuses), default=0)
    if worst:
        raise SystemExit(worst)


def _show_plan(job: Job, as_json: bool) -> None:
    first = list(itertools.islice(job.plan.variants, 10))
    if as_json:
        click.echo(json.dumps(plan_as_json(job.plan, first), ensure_ascii=False))
    else:
        print_plan(job.config, job.plan, first)


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How the command line wants every config to be run."""

    archive: Path
    record: bool
    strict: bool
    retries: int
    again: bool
    as_json: bool
    log_json: bool
    push_to: str | None
    traces: RunTraces | None
    choice: EngineChoice


def _refuse_odd_requests(
    configs: Sequence[Path], seed: int | None, resume: str | None, retry_failed: str | None
) -> None:
    if resume and retry_failed:
        raise click.UsageError("--resume tries again what failed, too: give one of the two")
    if not configs and not (resume or retry_failed):
        raise click.UsageError("Missing argument 'CONFIG...'.")
    if (resume or retry_failed) and (len(configs) > 1 or seed is not None):
        raise click.UsageError("one run goes on at a time, with the seed that it began with")


def _recover(archive: Path) -> None:
    with LearningRecordWriter(records_folder(archive)) as writer:
        for recovered in recover_interrupted_runs(archive, writer):
            _say(f"recovered run {recovered.run_id}: {recovered.status}")


def _run(job: Job, how: _How, cancel: CancelToken, continues: Continuation | None) -> list[str]:
    pool = how.choice.pool(job)
    try:
        return _run_on(pool, job, how, cancel, continues)
    finally:
        if pool is not None:
            pool.close()


def _run_on(
    pool: EnginePool | None,
    job: Job,
    how: _How,
    cancel: CancelToken,
    continues: Continuation | None,
) -> list[str]:
    archive = how.archive
    _recover(archive)
    writer = LearningRecordWriter(records_folder(archive))
    runner = PipelineRunner(
        job.backend,
        archive_dir=archive,
        learning_record_writer=writer if how.record else None,
        on_progress=how.traces,
        strict=how.strict,
        pool=pool,
        retry=RetryPolicy(retries=how.retries),
        library=None if how.again else ArchivedPictures(Archive(archive)),
    )
    size = job.plan.plan_size
    log = RunLog() if how.log_json else None
    if not how.as_json and log is None:
        noun = "variant" if size == 1 else f"variants, {job.plan.mode}"
        _say(f"{job.title}: {size:,} {noun}, on {job.backend.name}{_where(how.choice)}")
    resume = resume_note(job.config)
    again = "safelight run " if resume is not None else f"safelight run {job.source} "
    statuses, reports = [], list[str]()
    with writer, log or progress_view(size) as view:
        for result in runner.runs(
            job.config,
            seed=job.seed,
            cancel=cancel,
            on_progress=view,
            continues=continues,
            resume=resume,
        ):
            sheet = write_contact_sheet(result, job.config, job.plan)
            statuses.append(result.status)
            for listener in (log, how.traces):
                if listener is not None:
                    listener.ended(result)
            if how.push_to:
                _push(how.push_to, archive, result)
            if how.as_json:
                _print([json.dumps(_as_json(result, archive, sheet), ensure_ascii=False)])
            else:
                reports += _report(result, archive, sheet, again)
    if not statuses and not how.as_json:
        reports.append("nothing is missing: every variant was drawn")
    _pack_if_many(archive)
    # Only now: a line printed while the bar stands would land in the middle of it.
    _print(reports)
    return statuses


def _push(url: str, archive: Path, result: RunResult) -> None:
    """Put a run on a store; trouble is told and harms nothing: ``sync`` puts it later."""
    from safelight.object_archive import open_store, push_run

    try:
        store = open_store(url)
        for record in result.records:
            push_run(archive, record, store)
    except SafelightError as error:
        _say(f"the run is not on the store yet: {error}; put it there with: safelight sync {url}")


def _where(choice: EngineChoice) -> str:
    if choice.servers:
        return f" at {_counted(len(choice.servers), 'server')}"
    return "" if choice.on == "local" else f" by {choice.on}"


def _pack_if_many(archive: Path) -> None:
    """Pack the loose records when they have become many; trouble is told and harms nothing."""
    folder = records_folder(archive)
    if not folder.is_dir() or sum(1 for _ in folder.iterdir()) < PACK_FROM:
        return
    try:
        report = Archive(archive).pack(at_least=PACK_FROM)
    except (SafelightError, OSError) as error:
        _say(f"the records were not packed: {error}")
        return
    if report.records:
        _say(f"{report.records:,} records packed")


@contextmanager
def cancelled_by_interrupt(cancel: CancelToken) -> Iterator[None]:
    """Turn the first Ctrl-C (or SIGTERM) into a cancel; the second one stops at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if cancel.cancelled:
            raise KeyboardInterrupt
        cancel.cancel()
        with suppress(Exception):  # a handler that raises would strike the engine
            _say("\nstopping after this step; the record will be written (again to stop at once)")

    before = {number: signal.signal(number, on_signal) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(lines: Sequence[str]) -> None:
    """Print to standard output; one that cannot be written to must not end a run."""
    try:
        for line in lines:
            click.echo(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):
            _say(f"standard output cannot be written to: {error}")


def _record_path(archive: Path, record: LearningRecord | None) -> Path | None:
    if record is None:
        return None
    path = records_folder(archive) / f"{record_stem(record.timestamp, record.run_id)}.json"
    return path if path.exists() else None


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _report(result: RunResult, archive: Path, sheet: Path | None, again: str) -> list[str]:
    """Return the lines that say how a run ended, and where everything is.

    *again* is how a command begins that goes on with it.
    """
    where = archive_words(archive)
    part = f" (part {result.part} of {result.parts})" if result.parts > 1 else ""
    failed = f", {_counted(len(result.failures), 'variant')} failed" if result.failures else ""
    pictures = _counted(len(result.images), "picture")
    reused = f", {_counted(result.reused, 'variant')} drawn before" if result.reused else ""
    lines = [f"{result.status}{part}: {pictures} in {result.total_seconds:.1f} s{reused}{failed}"]
    if result.error:
        lines.append(f"  error     {result.error}")
    lines += [f"  failed    #{f.variant} in {f.stage}: {f.error}" for f in result.failures[:5]]
    lines += [f"  warning   {warning}" for warning in result.warnings[:10]]
    if len(result.failures) > 5 or len(result.warnings) > 10:
        lines.append(f"  more      safelight show {result.run_id}{where}")
    if len(result.images) == 1 and result.images[0].path:
        lines.append(f"  picture   {result.images[0].path}")
    elif result.folder is not None and result.images:
        lines.append(f"  pictures  {result.folder}{_separator()}")
    lines += _workers(result)
    if sheet is not None:
        lines.append(f"  sheet     {sheet}")
    record = _record_path(archive, result.learning_record)
    if record is not None:
        lines += [f"  record    {record}", f"  look      safelight show {result.run_id}{where}"]
    elif result.learning_record is not None and result.recoverable:
        lines.append("  record    NOT WRITTEN; the next safelight command tries again")
    elif result.learning_record is not None:
        lines.append("  record    LOST, the log says why; choose another --archive")
    if record is not None and result.status in ("partial", "cancelled"):
        lines.append(f"  go on     {again}--resume {result.run_id}{where}")
    return lines


def _workers(result: RunResult) -> list[str]:
    """Return a line for each of several workers, and for one that cost time."""
    lines = []
    for name, share in result.workers.items():
        if len(result.workers) == 1 and not share.lost_seconds:
            continue
        speed = f"{share.pictures / share.seconds:.2f} a second" if share.seconds else "idle"
        lost = f", {share.lost_seconds:.1f} s lost" if share.lost_seconds else ""
        out = ", left out" if share.left_out else ""
        lines.append(
            f"  worker    {name}: {_counted(share.pictures, 'picture')}, {speed}{lost}{out}"
        )
    return lines[:20]


def _separator() -> str:
    return "\\" if sys.platform == "win32" else "/"


def _as_json(result: RunResult, archive: Path, sheet: Path | None) -> dict[str, Any]:
    record = _record_path(archive, result.learning_record)
    return {
        "run_id": result.run_id,
        "status": result.status,
        "part": result.part,
        "parts": result.parts,
        "error": result.error,
        "images": [
            {"variant": image.variant, "label": image.label, "path": str(image.path)}
            | {"stage": image.output.stage, "sha256": image.output.sha256}
            for image in result.images
        ],
        "failures": msgspec.to_builtins(result.failures),
        "warnings": list(result.warnings),
        "seconds": dict(result.seconds),
        "total_seconds": round(result.total_seconds, 3),
        "folder": None if result.folder is None else str(result.folder),
        "contact_sheet": None if sheet is None else str(sheet),
        "record": None if record is None else str(record),
        "recording_failures": result.recording_failures,
        "reused": result.reused,
        "workers": dict(worker_shares(result)),
    }
