"""``safelight run``."""

from __future__ import annotations

import itertools
import json
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
import msgspec

from safelight.archive_layout import records_folder
from safelight.backends import create_backend
from safelight.cli.options import (
    archive_option,
    as_click_error,
    json_option,
    override_option,
    seed_option,
)
from safelight.cli.plan_command import plan_as_json, print_plan
from safelight.cli.run_progress import progress_view
from safelight.config import PipelineConfig
from safelight.errors import SafelightError
from safelight.learning import LearningRecord, LearningRecordWriter
from safelight.learning.learning_record import record_stem
from safelight.pipeline import CancelToken, PipelineRunner, RunResult, recover_interrupted_runs
from safelight.pipeline.run_sheet import write_contact_sheet
from safelight.randomizer import plan_variants

EXIT_STATUS = {"completed": 0, "failed": 1, "partial": 3, "cancelled": 130}
"""Exit status by how the run ended; 2 means that a config is at fault."""


@click.command("run")
@click.argument(
    "configs", metavar="CONFIG...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@override_option
@archive_option
@seed_option
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option("--no-record", is_flag=True, help="Write no learning record.")
@json_option
def command(
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    archive: Path,
    seed: int | None,
    dry_run: bool,
    no_record: bool,
    as_json: bool,
) -> None:
    """Draw what each CONFIG asks for, and record what ran.

    Ctrl-C stops after the current step, with the record written; a second Ctrl-C stops at
    once. Exit status: 0 all drawn, 1 nothing drawn, 2 a config is at fault, 3 some variants
    failed, 130 stopped.
    """
    statuses = []
    try:
        # Every config is checked before the first one runs.
        checked = [PipelineConfig.from_file(path, overrides) for path in configs]
        for config in checked:
            plan_seed = secrets.randbits(32) if seed is None else seed
            if dry_run:
                _dry_run(config, plan_seed, as_json)
                continue
            statuses += _run(config, plan_seed, archive, record=not no_record, as_json=as_json)
            if statuses[-1:] == ["cancelled"]:
                break
    except SafelightError as error:
        raise as_click_error(error) from error
    worst = max((EXIT_STATUS[status] for status in statuses), default=0)
    if worst:
        raise SystemExit(worst)


def _dry_run(config: PipelineConfig, seed: int, as_json: bool) -> None:
    plan = plan_variants(config, seed)
    first = list(itertools.islice(plan.variants, 10))
    if as_json:
        click.echo(json.dumps(plan_as_json(plan, first), ensure_ascii=False))
    else:
        print_plan(config, plan, first)


def _run(
    config: PipelineConfig, seed: int, archive: Path, *, record: bool, as_json: bool
) -> list[str]:
    backend = create_backend(config.backend.name, config.backend.options)
    plan = plan_variants(config, seed)
    writer = LearningRecordWriter(records_folder(archive))
    for recovered in recover_interrupted_runs(archive, writer):
        _say(f"recovered run {recovered.run_id}: {recovered.status}")
    runner = PipelineRunner(
        backend, archive_dir=archive, learning_record_writer=writer if record else None
    )
    statuses, reports = [], list[str]()
    cancel = CancelToken()
    if not as_json:
        noun = "variant" if plan.plan_size == 1 else f"variants, {plan.mode}"
        _say(f"{config.name or 'unnamed config'}: {plan.plan_size:,} {noun}, on {backend.name}")
    with writer, _cancelled_by_interrupt(cancel), progress_view(plan.plan_size) as view:
        for result in runner.runs(config, seed=seed, cancel=cancel, on_progress=view):
            sheet = write_contact_sheet(result, config, plan)
            statuses.append(result.status)
            if as_json:
                click.echo(json.dumps(_as_json(result, archive, sheet), ensure_ascii=False))
            else:
                reports += _report(result, archive, sheet)
    # Only now: a line printed while the bar stands would land in the middle of it.
    for line in reports:
        click.echo(line)
    return statuses


@contextmanager
def _cancelled_by_interrupt(cancel: CancelToken) -> Iterator[None]:
    """Turn the first Ctrl-C (or SIGTERM) into a cancel; the second one stops at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if cancel.cancelled:
            raise KeyboardInterrupt
        _say("\nstopping after this step; the record will be written (again to stop at once)")
        cancel.cancel()

    before = {number: signal.signal(number, on_signal) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _record_path(archive: Path, record: LearningRecord | None) -> Path | None:
    if record is None:
        return None
    path = records_folder(archive) / f"{record_stem(record.timestamp, record.run_id)}.json"
    return path if path.exists() else None


def _report(result: RunResult, archive: Path, sheet: Path | None) -> list[str]:
    """Return the lines that say how a run ended, and where everything is."""
    drawn = len(result.images)
    pictures = "1 picture" if drawn == 1 else f"{drawn:,} pictures"
    failed = f", {len(result.failures):,} variants failed" if result.failures else ""
    lines = [f"{result.status}: {pictures} in {result.total_seconds:.1f} s{failed}"]
    if result.error:
        lines.append(f"  error     {result.error}")
    lines += [f"  failed    #{f.variant} in {f.stage}: {f.error}" for f in result.failures[:5]]
    lines += [f"  warning   {warning}" for warning in result.warnings[:10]]
    if len(result.failures) > 5 or len(result.warnings) > 10:
        lines.append(f"  more      safelight show {result.run_id}")
    if len(result.images) == 1 and result.images[0].path:
        lines.append(f"  picture   {result.images[0].path}")
    elif result.folder is not None and result.images:
        lines.append(f"  pictures  {result.folder}{_separator()}")
    if sheet is not None:
        lines.append(f"  sheet     {sheet}")
    record = _record_path(archive, result.learning_record)
    if record is not None:
        lines += [f"  record    {record}", f"  look      safelight show {result.run_id}"]
    elif result.learning_record is not None:
        lines.append("  record    NOT WRITTEN; the next safelight command tries again")
    return lines


def _separator() -> str:
    return "\\" if sys.platform == "win32" else "/"


def _as_json(result: RunResult, archive: Path, sheet: Path | None) -> dict[str, Any]:
    record = _record_path(archive, result.learning_record)
    return {
        "run_id": result.run_id,
        "status": result.status,
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
    }
