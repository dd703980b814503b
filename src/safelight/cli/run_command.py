"""``safelight run``."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click

from safelight.application.carrying_out import recover
from safelight.application.going_on import continuation_of, job_of_run
from safelight.application.jobs import Job, ready_job
from safelight.cli.options import (
    archive_option,
    ask_for_large_plan,
    config_text,
    engine_list,
    json_option,
    override_option,
    part_option,
    seed_option,
    with_part,
    yes_option,
)
from safelight.cli.plan_command import plan_as_json, print_plan
from safelight.cli.running import (
    EXIT_STATUS,
    Request,
    cancelled_by_interrupt,
    run_job,
    run_options,
)
from safelight.cli.terminal import say_text, tell
from safelight.pipeline import CancelToken


@click.command("run")
@click.argument("configs", metavar="[CONFIG]...", nargs=-1, type=click.Path(path_type=Path))
@override_option
@part_option
@archive_option
@seed_option
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option("--no-record", is_flag=True, help="Write no learning record.")
@click.option("--resume", metavar="RUN", help="Go on with a run that did not get to its end.")
@click.option("--retry-failed", metavar="RUN", help="Try again what failed in a run.")
@run_options
@yes_option
@json_option
def command(
    request: Request,
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    part: str | None,
    seed: int | None,
    dry_run: bool,
    resume: str | None,
    retry_failed: str | None,
    yes: bool,
) -> None:
    """Draw what each CONFIG asks for, and record what ran.

    A CONFIG of - is read from standard input, TOML or JSON. What the archive holds already, equal
    in every knob, is not drawn again. Every config is checked before the first one runs. Ctrl-C
    stops after the current step, with the record written; a second Ctrl-C stops at once; --resume
    goes on. Exit status: 0 all drawn, 1 nothing drawn, 2 a config is at fault, 3 some variants
    failed, 130 stopped.
    """
    statuses: list[str] = []
    jobs: list[Job] = []
    cancel = CancelToken()
    run = resume or retry_failed
    _refuse_odd_requests(configs, seed, part, resume, retry_failed)
    archive, ask, engines = request.archive, not request.choice.servers, engine_list()
    try:
        continues = None
        if run is not None:
            recover(archive, tell)
            continues = continuation_of(archive, run, only_failed=retry_failed is not None)
            config = configs[0] if configs else None
            record = archive.record(run)
            jobs = [
                job_of_run(
                    record, archive.path, config, overrides, os.environ, ask=ask, engines=engines,
                    text=None if config is None else config_text(config),
                )
            ]  # fmt: skip
        else:
            jobs = [
                ready_job(
                    path, with_part(overrides, part), seed, os.environ, ask=ask, engines=engines,
                    text=config_text(path),
                )
                for path in configs
            ]  # fmt: skip
        if dry_run:
            for job in jobs:
                _show_plan(job, request.as_json)
            return
        for job in jobs:
            ask_for_large_plan(job.plan.plan_size, yes=yes or run is not None)
        with request.traces or nullcontext(), cancelled_by_interrupt(cancel):
            for job in jobs:
                if not cancel.cancelled:
                    statuses += run_job(job, request, cancel, continues)
    except KeyboardInterrupt:
        tell(f"stopped at once; what was drawn is told by: safelight show --archive {archive.path}")
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
        say_text(json.dumps(plan_as_json(job.plan, first), ensure_ascii=False))
    else:
        print_plan(job.config, job.plan, first)


def _refuse_odd_requests(
    configs: Sequence[Path],
    seed: int | None,
    part: str | None,
    resume: str | None,
    retry_failed: str | None,
) -> None:
    if resume and retry_failed:
        raise click.UsageError("--resume tries again what failed, too: give one of the two")
    if not configs and not (resume or retry_failed):
        raise click.UsageError("Missing argument 'CONFIG...'.")
    if sum(str(path) == "-" for path in configs) > 1:
        raise click.UsageError("standard input holds one config: give - once")
    if (resume or retry_failed) and part is not None:
        raise click.UsageError("a run goes on with the part that it began with: leave out --part")
    if (resume or retry_failed) and (len(configs) > 1 or seed is not None):
        raise click.UsageError("one run goes on at a time, with the seed that it began with")
