"""``safelight learn``."""

from __future__ import annotations

import itertools
import json
import os
from contextlib import nullcontext
from pathlib import Path

import click

from safelight.application.config_text import write_config
from safelight.application.configs_again import with_whole_paths
from safelight.application.epochs import files_of, prompts_of
from safelight.application.jobs import Job, ready_config, ready_job
from safelight.application.learning_plans import (
    FEWEST_PROMPTS,
    Combinations,
    cost_of,
    describe_plan,
    epochs_plan,
    learning_config,
    learning_plan,
    plan_timings,
    scope_of_plan,
)
from safelight.cli.options import (
    archive_option,
    archive_words,
    ask_for_large_plan,
    config_text,
    engine_list,
    json_option,
    override_option,
    yes_option,
)
from safelight.cli.running import (
    EXIT_STATUS,
    Request,
    cancelled_by_interrupt,
    run_job,
    run_options,
)
from safelight.cli.terminal import say, say_text, say_wrapped, tell
from safelight.config import PipelineConfig
from safelight.learning import LearningPlan
from safelight.learning.plans.designs import DESIGNS, Design
from safelight.learning.plans.plan_cost import PlanCost
from safelight.lora_tags import lora_family
from safelight.pipeline import CancelToken

_MOST_SHOWN = 8


@click.command("learn")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--knob",
    "knobs",
    multiple=True,
    metavar="KNOB=VALUES",
    help="What to vary, as --knob steps=4,8,16 or --knob img2img.cfg_scale='3-9 (+2)'.",
)
@click.option(
    "--epochs",
    metavar="PATTERN",
    help="Instead: LoRAs of one training, by their files, as --epochs 'loras/ink-*.safetensors';"
    " one at a time, at weight 1.",
)
@click.option(
    "--prompt",
    "texts",
    multiple=True,
    help="With --epochs: draw with this prompt; repeatable.  [default: those of the training's"
    " samples, as far as they are imported, else the config's]",
)
@click.option(
    "--design",
    type=click.Choice(DESIGNS),
    help="Which combinations: one knob at a time, every one, a balanced fraction, or spread"
    " evenly.  [default: single for one knob, grid up to 24 combinations, else factorial]",
)
@click.option("--runs", type=click.IntRange(1, 1_000_000), help="How many combinations.")
@click.option(
    "--prompts",
    type=click.IntRange(1, 10_000),
    default=FEWEST_PROMPTS,
    show_default=True,
    help="Most of the config's prompts to draw every combination with.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 10_000),
    help="Pictures of every combination and prompt, with the same seeds for all."
    "  [default: 1 with 6 prompts or more, else 2]",
)
@override_option
@archive_option
@click.option("--dry-run", is_flag=True, help="Only show the plan and what it costs.")
@click.option(
    "--write",
    "written",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the plan as one config instead of running it.",
)
@run_options
@yes_option
@json_option
def command(
    request: Request,
    config: Path,
    knobs: tuple[str, ...],
    epochs: str | None,
    texts: tuple[str, ...],
    design: Design | None,
    runs: int | None,
    prompts: int,
    seeds: int | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    written: Path | None,
    yes: bool,
) -> None:
    """Draw what it takes to find out what some knobs of CONFIG do.

    Every combination of values is drawn with the same prompts and the same seeds, so that
    pictures can be compared in pairs that differ in nothing else; what the config sweeps is
    varied, too. What it costs is told before anything is drawn. It is a run like any other: what
    the archive holds is not drawn again, and safelight run --resume goes on with it. Then:
    safelight rate --next, and safelight effects.
    """
    if bool(knobs) == (epochs is not None):
        raise click.UsageError("say what to vary: --knob KNOB=VALUES, or --epochs PATTERN alone")
    if epochs is not None and (design or runs):
        raise click.UsageError("--epochs draws each file as often: leave --design and --runs out")
    if texts and epochs is None:
        raise click.UsageError("--prompt belongs to --epochs; else prompts are the config's")
    ask = not request.choice.servers
    stated = ready_job(
        config, overrides, 0, os.environ, ask=ask, engines=engine_list(), text=config_text(config)
    )
    try:
        if epochs is not None:
            plan = _epochs_plan(stated, epochs, texts, prompts, seeds, request)
        else:
            plan = learning_plan(
                stated, knobs, design=design, runs=runs, prompts=prompts, seeds=seeds
            )
        whole = learning_config(stated, plan)
        checked = PipelineConfig.as_stated(whole, folder=stated.config.folder, source=stated.source)
        job = ready_config(
            checked, stated.source, plan.first_seed, os.environ, ask=ask,
            backend=stated.backend, engines=engine_list(),
        )  # fmt: skip
        cost = cost_of(plan_timings(plan, job.backend.name), request.archive)
        if dry_run or written is not None:
            if written is not None:
                elsewhere = written.parent.resolve() != stated.config.folder.resolve()
                written_config = (
                    with_whole_paths(whole, stated.config.folder) if elsewhere else whole
                )
                write_config(written, written_config, _summary(plan, cost))
            _show(plan, cost, written, request.as_json)
            return
        if not request.as_json:
            for line in _summary(plan, cost):
                say_wrapped(line, hanging=2, err=True)
        ask_for_large_plan(job.plan.plan_size, yes=yes)
        status = _run(job, plan, request)
    finally:
        stated.close()
    if status:
        raise SystemExit(status)


def _epochs_plan(
    job: Job,
    pattern: str,
    texts: tuple[str, ...],
    prompts: int,
    seeds: int | None,
    request: Request,
) -> LearningPlan:
    """Return the plan of the files that *pattern* means, with prompts of the training's samples."""
    loras, seed = files_of(pattern), None
    if not texts:
        texts, seed = prompts_of(request.archive, lora_family(loras[0]).name)
        if texts and not request.as_json:
            tell(f"with the prompts of the training's samples, {len(texts):,} of them")
    return epochs_plan(
        job, loras, texts=texts, prompts=prompts, seeds=seeds, first_seed=seed
    )  # fmt: skip


def _summary(plan: LearningPlan, cost: PlanCost) -> list[str]:
    return [line for line in (describe_plan(plan), scope_of_plan(plan), cost.sentence()) if line]


def _show(plan: LearningPlan, cost: PlanCost, written: Path | None, as_json: bool) -> None:
    if as_json:
        sizes = (knobs.get("batch_size") for knobs in plan.base_config.values())
        varied = (v.values for v in plan.variables if v.name == "batch_size")
        every = [*sizes, *itertools.chain.from_iterable(varied)]
        batch = max((size for size in every if isinstance(size, int)), default=1)
        page = {
            "combinations": [setting for setting, _ in itertools.islice(plan.configs(), 1000)],
            "runs": plan.size,
            "prompts": list(plan.prompts),
            "seeds": [plan.first_seed + n * batch for n in range(plan.images_per_value)],
            "scope": scope_of_plan(plan),
            "pictures": cost.pictures,
            "seconds": cost.seconds,
            "seconds_low": cost.low,
            "seconds_high": cost.high,
            "timings": cost.timings,
            "written": None if written is None else str(written),
        }
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
        return
    for line in _summary(plan, cost):
        say_wrapped(line, hanging=2)
    for setting, _ in itertools.islice(plan.configs(), 12):
        say_wrapped(
            "  " + ", ".join(f"{path}={value}" for path, value in setting.items()), hanging=4
        )
    if plan.size > 12:
        say(f"  ... and {plan.size - 12:,} more")
    if written is not None:
        say(f"written to {written}; draw it with: safelight run {written}")
    else:
        tell("nothing was drawn; without --dry-run it is")


def _run(job: Job, plan: LearningPlan, request: Request) -> int:
    """Carry the plan out, and return the exit status."""
    cancel = CancelToken()
    outcomes = Combinations(plan, job)
    with request.traces or nullcontext(), cancelled_by_interrupt(cancel):
        statuses = run_job(job, request, cancel, on_part=outcomes.add)
    if request.as_json:
        page = [
            {
                "setting": dict(outcome.setting), "run_ids": outcome.run_ids,
                "pictures": outcome.pictures,
                "error": "; ".join(outcome.errors) or outcomes.error, "errors": outcome.errors,
            }
            for outcome in outcomes
        ]  # fmt: skip
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
    else:
        _report(outcomes, request.archive.path)
    if cancel.cancelled:
        statuses.append("cancelled")
    return max((EXIT_STATUS[status] for status in statuses), default=0)


def _report(outcomes: Combinations, archive: Path) -> None:
    """Print which combinations lack pictures and why, and what to do next."""
    good = [outcome for outcome in outcomes if outcome.pictures]
    failed = [outcome for outcome in outcomes if outcome.errors]
    for outcome in failed[:_MOST_SHOWN]:
        setting = ", ".join(f"{path.partition('.')[2]}={v}" for path, v in outcome.setting.items())
        say_wrapped(f"  {setting}: {len(outcome.errors):,} failed: {outcome.errors[0]}", hanging=4)
    if len(failed) > _MOST_SHOWN:
        say(f"  ... and {len(failed) - _MOST_SHOWN:,} more combinations with failures")
    pictures = sum(outcome.pictures for outcome in good)
    where = archive_words(archive)
    if not good:
        say("nothing was drawn, so there is nothing to rate")
        return
    say(f"{pictures:,} pictures of {len(good):,} combinations are in {archive}")
    say(f"rate them with: safelight rate --next{where}")
    say(f"then: safelight effects{where}")
