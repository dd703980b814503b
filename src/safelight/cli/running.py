"""running: carry jobs out on a terminal: progress, reports, Ctrl-C, and the options for it."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click
import msgspec

from safelight.application.carrying_out import RunSettings, carry_out, recover
from safelight.application.engine_choice import EngineChoice
from safelight.application.going_on import resume_note
from safelight.application.jobs import Job
from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.cli.options import archive_words, config_words, engine_choice_options
from safelight.cli.run_log import RunLog, worker_shares
from safelight.cli.run_progress import progress_view
from safelight.cli.run_traces import RunTraces
from safelight.cli.terminal import say, say_text, say_wrapped, tell, tell_next
from safelight.config_check import PATIENCE, RETRIES
from safelight.errors import SafelightError
from safelight.learning import LearningRecord
from safelight.learning.learning_record import record_stem
from safelight.operating_system import STOP_SIGNALS
from safelight.pipeline import CancelToken, RunResult
from safelight.pipeline.continuation import Continuation
from safelight.pipeline.engine_pool import EnginePool

__all__ = ["EXIT_STATUS", "Request", "cancelled_by_interrupt", "run_job", "run_options"]

EXIT_STATUS = {"completed": 0, "failed": 1, "partial": 3, "cancelled": 130}
"""Exit status by how the run ended; 2 means that a config is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How the command line wants every config to be run."""

    archive: Archive
    settings: RunSettings
    as_json: bool
    log_json: bool
    push_to: str | None
    traces: RunTraces | None
    choice: EngineChoice


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of carrying jobs out; *command* gets them as ``request``."""

    @functools.wraps(command)
    def with_request(
        *,
        archive: Path,
        as_json: bool,
        strict: bool,
        again: bool,
        retries: int | None,
        patience: int | None,
        retry_unknown: bool,
        on: str,
        servers: tuple[str, ...],
        ray_actors: int | None,
        ray_gpus: float,
        ray_resources: tuple[str, ...],
        push_to: str | None,
        log_json: bool,
        traces: bool,
        no_record: bool = False,
        **others: Any,
    ) -> Any:
        request = Request(
            archive=Archive(archive), as_json=as_json, log_json=log_json, push_to=push_to,
            settings=RunSettings(
                record=not no_record, strict=strict, again=again,
                retries=retries, patience=patience, retry_unknown=retry_unknown or None,
            ),
            traces=RunTraces() if traces else None,
            choice=EngineChoice(
                on=on, servers=servers, actors=ray_actors, gpus=ray_gpus, resources=ray_resources
            ),
        )  # fmt: skip
        return command(request=request, **others)

    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option(
            "--strict", is_flag=True,
            help="Count a picture that was made otherwise than asked as failed.",
        ),
        click.option(
            "--again", is_flag=True, help="Draw anew also what the archive holds already."
        ),
        click.option(
            "--retries", type=click.IntRange(*RETRIES),
            help="How often a variant is tried again when an engine does not answer; else what"
            " the config says, or 4.",
        ),
        click.option(
            "--patience", metavar="SECONDS", type=click.IntRange(*PATIENCE),
            help="How long the last engine is waited for while nobody listens there; else what"
            " the config says, or 300.",
        ),
        click.option(
            "--retry-unknown", is_flag=True,
            help="Try again also what may have been drawn already: a connection that broke off"
            " after it was sent, a time-out.",
        ),
        engine_choice_options,
        click.option(
            "--push-to", metavar="URL",
            help="Put every run on an object store, such as s3://bucket/team.",
        ),
        click.option(
            "--log-json", is_flag=True, help="Tell what happens as JSON lines, not as a bar."
        ),
        click.option(
            "--traces", is_flag=True, help="Send OpenTelemetry spans, see OTEL_EXPORTER_OTLP_*."
        ),
    ]  # fmt: skip
    for option in reversed(options):
        with_request = option(with_request)
    return with_request


def run_job(
    job: Job,
    request: Request,
    cancel: CancelToken,
    continues: Continuation | None = None,
    *,
    on_part: Callable[[RunResult], object] | None = None,
) -> list[str]:
    """Carry *job* out, show how it goes, and say at the end what came of it.

    Args:
        job: What to draw.
        request: How.
        cancel: Set by whoever stops it.
        continues: What an earlier run of its plan has left.
        on_part: Given each part of the plan as it ends; prints the JSON, where that is wanted.

    Returns:
        How each part ended.
    """
    pool = request.choice.pool(job, os.environ)
    try:
        return _run_on(pool, job, request, cancel, continues, on_part)
    finally:
        if pool is not None:
            pool.close()


def _run_on(
    pool: EnginePool | None,
    job: Job,
    request: Request,
    cancel: CancelToken,
    continues: Continuation | None,
    on_part: Callable[[RunResult], object] | None,
) -> list[str]:
    archive = request.archive.path
    recover(request.archive, tell)
    size = job.plan.plan_size
    log = RunLog() if request.log_json else None
    if not request.as_json and log is None:
        noun = "variant" if size == 1 else f"variants, {job.plan.mode}"
        where = _where(request.choice)
        say_wrapped(f"{job.title}: {size:,} {noun}, on {job.backend.name}{where}", err=True)
    resume = resume_note(job.config)
    again = "safelight run " if resume is not None else f"safelight run {config_words(job.source)}"
    statuses: list[str] = []
    reports: list[str] = []
    beside: list[str] = []
    with log or progress_view(size) as view:
        traces = request.traces
        for result, sheet in carry_out(
            job, request.archive, request.settings, pool=pool, cancel=cancel,
            listeners=(view,) if traces is None else (view, traces),
            continues=continues, on_message=beside.append,
        ):  # fmt: skip
            statuses.append(result.status)
            if on_part is not None:
                on_part(result)
            for listener in (log, traces):
                if listener is not None:
                    listener.ended(result)
            if request.push_to:
                _push(request.push_to, archive, result)
            if request.as_json and on_part is None:
                _print([json.dumps(_as_json(result, archive, sheet), ensure_ascii=False)], say_text)
            elif not request.as_json:
                reports += _report(result, archive, sheet, again)
    if not statuses and not request.as_json:
        reports.append("nothing is missing: every variant was drawn")
    # Only now: a line printed while the bar stands would land in the middle of it.
    for line in beside:
        tell(line)
    _print(reports, functools.partial(say_wrapped, hanging=12))
    if reports and statuses and statuses[-1] == "completed":
        tell_next(f"serve --open{archive_words(archive)}")
    return statuses


def _push(url: str, archive: Path, result: RunResult) -> None:
    """Put a run on a store; trouble is told and harms nothing: ``sync`` puts it later."""
    from safelight.object_archive import open_store, push_run

    try:
        store = open_store(url)
        for record in result.records:
            push_run(archive, record, store)
    except SafelightError as error:
        tell(f"the run is not on the store yet: {error}; put it there with: safelight sync {url}")


def _where(choice: EngineChoice) -> str:
    if choice.servers:
        return f" at {_counted(len(choice.servers), 'server')}"
    return "" if choice.on == "local" else f" by {choice.on}"


@contextmanager
def cancelled_by_interrupt(cancel: CancelToken) -> Iterator[None]:
    """Turn the first Ctrl-C (or SIGTERM) into a cancel; the second one stops at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if cancel.cancelled:
            raise KeyboardInterrupt
        cancel.cancel()
        with suppress(Exception):  # a handler that raises would strike the engine
            tell()
            tell("stopping after this step; the record will be written (again to stop at once)")

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(lines: Sequence[str], printing: Callable[[str], None] = say) -> None:
    """Print to standard output; one that cannot be written to must not end a run."""
    try:
        for line in lines:
            printing(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):
            tell(f"standard output cannot be written to: {error}")


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
        lines.append(f"  pictures  {result.folder}{os.sep}")
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
