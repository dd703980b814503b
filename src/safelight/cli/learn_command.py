"""``safelight learn``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.cli.options import (
    archive_option,
    archive_words,
    ask_for_large_plan,
    json_option,
    override_option,
    yes_option,
)
from safelight.errors import ConfigError

if TYPE_CHECKING:
    from safelight.cli.job import Job
    from safelight.learning import LearningOutcome, LearningPlan, LearningVariable
    from safelight.learning.plan_cost import PlanCost

_MOST_LOOKED_AT = 2000
_DESIGNS = ("single", "grid", "factorial", "lhs", "sobol")


@click.command("learn")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--knob",
    "knobs",
    multiple=True,
    required=True,
    metavar="KNOB=VALUES",
    help="What to vary, as --knob steps=4,8,16 or --knob img2img.cfg_scale='3-9 (+2)'.",
)
@click.option(
    "--design",
    type=click.Choice(_DESIGNS),
    help="Which combinations: one knob at a time, every one, a balanced fraction, or spread"
    " evenly.  [default: single for one knob, grid up to 24 combinations, else factorial]",
)
@click.option("--runs", type=click.IntRange(min=1), help="How many combinations.")
@click.option(
    "--prompts",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Most of the config's prompts to draw every combination with.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Pictures of every combination and prompt, with the same seeds for all.",
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
@yes_option
@json_option
def command(
    config: Path,
    knobs: tuple[str, ...],
    design: str | None,
    runs: int | None,
    prompts: int,
    seeds: int,
    overrides: tuple[str, ...],
    archive: Path,
    dry_run: bool,
    written: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Draw what it takes to find out what some knobs of CONFIG do.

    Every combination of values is drawn with the same prompts and the same seeds, so that
    pictures can be compared in pairs that differ in nothing else. What it costs is told before
    anything is drawn. Then: safelight rate --next, and safelight effects.
    """
    from safelight.cli.config_file import write_config
    from safelight.cli.job import ready_job
    from safelight.config import PipelineConfig

    job = ready_job(config, overrides, 0)
    try:
        plan = _plan(job, knobs, design, runs, prompts, seeds)
        whole = {**plan.as_config(), "backend": _backend(job), "name": _title(job, plan)}
        checked = PipelineConfig.from_mapping(whole, folder=job.config.folder, source=str(config))
        _refuse_unknown(job, checked)
        cost = _cost(plan, job.backend.name, archive)
        if dry_run or written is not None:
            if written is not None:
                write_config(written, whole, [_describe(plan), cost.sentence()])
            _show(plan, cost, written, as_json)
            return
        if not as_json:
            click.echo(f"{_describe(plan)}\n{cost.sentence()}", err=True)
        variants = plan.size * max(1, len(plan.prompts)) * plan.images_per_value
        ask_for_large_plan(variants, yes=yes)
        status = _run(job, plan, archive, as_json)
    finally:
        job.close()
    if status:
        raise SystemExit(status)


def _plan(
    job: Job,
    knobs: Sequence[str],
    design: str | None,
    runs: int | None,
    prompts: int,
    seeds: int,
) -> LearningPlan:
    """Return the plan; the config's own prompts, drawn where they have wildcards, are shared."""
    from safelight.learning import LearningPlan
    from safelight.learning.designs import grid_size

    stages = job.config.to_mapping()
    variables = [_variable(text, stages) for text in knobs]
    seed = next((knobs.get("seed", -1) for s, knobs in stages.items() if s != "upscale"), -1)
    first = next((stage for stage in job.config.stages if stage != "upscale"), None)
    texts: dict[str, None] = {}
    for variant in itertools.islice(job.plan.variants, _MOST_LOOKED_AT):
        prompt = None if first is None else dict(variant.config[first]).get("prompt")
        if isinstance(prompt, str):
            texts[prompt] = None
        if len(texts) == prompts:
            break
    if design is None:
        size = grid_size({v.path: v.values for v in variables})
        design = "lhs" if runs else "grid" if size <= 24 or len(variables) == 1 else "factorial"
    return LearningPlan.designed(
        stages,
        variables,
        design=design,  # type: ignore[arg-type]
        runs=runs,
        prompts=() if any(v.name == "prompt" for v in variables) else tuple(texts),
        images_per_value=seeds,
        first_seed=seed if isinstance(seed, int) and seed >= 0 else 1,
    )


def _variable(text: str, stages: Mapping[str, Any]) -> LearningVariable:
    from safelight.knobs import KNOBS, did_you_mean
    from safelight.learning import LearningPlan

    name, found, values = text.partition("=")
    name = name.strip()
    if not found or not name or not values.strip():
        raise ConfigError(f"--knob must look like steps=4,8,16, got {text!r}")
    stage, dot, knob = name.rpartition(".")
    if not dot:
        if knob not in KNOBS:
            raise ConfigError(f"--knob: there is no knob {knob!r}{did_you_mean(knob, KNOBS)}")
        having = [each for each in stages if each in KNOBS[knob].stages]
        if not having:
            needed = " or ".join(KNOBS[knob].stages)
            raise ConfigError(f"--knob: {knob} belongs to {needed}, which the config does not run")
        stage = having[0]
    if knob in ("prompt", "seed"):
        raise ConfigError(f"--knob: the {knob}s are shared by everything that is compared;"
                          " choose others in the config")  # fmt: skip
    plan = LearningPlan.single(stages, stage=stage, variable=knob, values=values)  # type: ignore[arg-type]
    (variable,) = plan.variables
    kept = tuple(dict.fromkeys(variable.values))
    return type(variable)(stage=variable.stage, name=variable.name, values=kept)


def _backend(job: Job) -> str | dict[str, Any]:
    options = dict(job.config.backend.options)
    return {"name": job.config.backend.name, **options} if options else job.config.backend.name


def _title(job: Job, plan: LearningPlan) -> str:
    varied = ", ".join(variable.name for variable in plan.variables)
    return f"{job.config.name + ': ' if job.config.name else ''}what {varied} do"


def _refuse_unknown(job: Job, config: Any) -> None:
    """Refuse what the engine does not know, before anything is drawn."""
    from contextlib import suppress

    from safelight.errors import BackendUnavailable
    from safelight.pipeline import refuse_unknown_choices
    from safelight.randomizer import plan_variants

    with suppress(BackendUnavailable):
        refuse_unknown_choices(job.backend, config, plan_variants(config, 0))


def _cost(plan: LearningPlan, backend: str, archive: Path) -> PlanCost:
    from safelight.archive import Archive
    from safelight.learning.plan_cost import TIMING_COLUMNS, Timing, plan_cost, timings_of

    rows: Sequence[Sequence[Any]] = ()
    if archive.is_dir():
        rows = Archive(archive).query(columns=TIMING_COLUMNS, limit=100_000).rows
    each = max(1, len(plan.prompts)) * plan.images_per_value
    planned = []
    for _, config in plan.configs():
        for stage in ("txt2img", "img2img", "upscale"):
            knobs = config.get(stage)
            if isinstance(knobs, Mapping) and knobs.get("enabled", True):
                kept = {name: knobs.get(name) for name in TIMING_COLUMNS[1:-1]}
                planned += [Timing(backend=backend, **kept)] * each
    return plan_cost(planned, timings_of(rows))


def _describe(plan: LearningPlan) -> str:
    prompts = max(1, len(plan.prompts))
    varied = ", ".join(f"{v.path} ({len(v.values)} values)" for v in plan.variables)
    return (
        f"{plan.size:,} combinations of {varied}, each with {prompts} prompt"
        f"{'' if prompts == 1 else 's'} and {plan.images_per_value} seed"
        f"{'' if plan.images_per_value == 1 else 's'}"
    )


def _show(plan: LearningPlan, cost: PlanCost, written: Path | None, as_json: bool) -> None:
    if as_json:
        sizes = (knobs.get("batch_size") for knobs in plan.base_config.values())
        batch = max((size for size in sizes if isinstance(size, int)), default=1)
        page = {
            "combinations": [setting for setting, _ in itertools.islice(plan.configs(), 1000)],
            "runs": plan.size,
            "prompts": list(plan.prompts),
            "seeds": [plan.first_seed + n * batch for n in range(plan.images_per_value)],
            "pictures": cost.pictures,
            "seconds": cost.seconds,
            "seconds_low": cost.low,
            "seconds_high": cost.high,
            "timings": cost.timings,
            "written": None if written is None else str(written),
        }
        click.echo(json.dumps(page, ensure_ascii=False, indent=2))
        return
    click.echo(_describe(plan))
    click.echo(cost.sentence())
    for setting, _ in itertools.islice(plan.configs(), 12):
        click.echo("  " + ", ".join(f"{path}={value}" for path, value in setting.items()))
    if plan.size > 12:
        click.echo(f"  ... and {plan.size - 12:,} more")
    if written is not None:
        click.echo(f"written to {written}; draw it with: safelight run {written}")


def _run(job: Job, plan: LearningPlan, archive: Path, as_json: bool) -> int:
    """Carry the plan out, and return the exit status."""
    from safelight.archive_layout import records_folder
    from safelight.cli.run_command import EXIT_STATUS, cancelled_by_interrupt
    from safelight.config import PipelineConfig
    from safelight.learning import LearningRecordWriter, LearningRunner
    from safelight.pipeline import CancelToken, PipelineRunner, recover_interrupted_runs

    cancel = CancelToken()
    with LearningRecordWriter(records_folder(archive)) as writer:
        for recovered in recover_interrupted_runs(archive, writer):
            click.echo(f"recovered run {recovered.run_id}: {recovered.status}", err=True)
        runner = PipelineRunner(job.backend, archive_dir=archive, learning_record_writer=writer)

        def run(config: dict[str, Any]) -> Any:
            named = {**config, "name": _title(job, plan), "backend": _backend(job)}
            checked = PipelineConfig.from_mapping(named, folder=job.config.folder)
            return runner.run(checked, seed=plan.first_seed, cancel=cancel)

        def told(outcome: LearningOutcome, done: int, size: int) -> None:
            if not as_json:
                click.echo(f"{done:,} of {size:,}  {_outcome_line(outcome)}", err=True)

        with cancelled_by_interrupt(cancel):
            result = LearningRunner(run, on_outcome=told).run(plan)
    good = [outcome for outcome in result.outcomes if outcome.images]
    if as_json:
        page = [
            {
                "setting": dict(outcome.setting),
                "run_ids": [record.run_id for record in outcome.records],
                "pictures": len(outcome.images),
                "error": outcome.error or next((r.error for r in outcome.records if r.error), None),
            }
            for outcome in result.outcomes
        ]
        click.echo(json.dumps(page, ensure_ascii=False, indent=2))
    else:
        pictures = sum(len(outcome.images) for outcome in good)
        click.echo(f"{pictures:,} pictures of {len(good):,} combinations are in {archive}")
        where = archive_words(archive)
        click.echo(f"rate them with: safelight rate --next{where}; then: safelight effects{where}")
    if cancel.cancelled:
        return EXIT_STATUS["cancelled"]
    if len(good) < plan.size or any(o.error for o in result.outcomes):
        return EXIT_STATUS["partial" if good else "failed"]
    return 0


def _outcome_line(outcome: LearningOutcome) -> str:
    setting = ", ".join(f"{path.partition('.')[2]}={v}" for path, v in outcome.setting.items())
    error = outcome.error or next((r.error for r in outcome.records if r.error), None)
    pictures = len(outcome.images)
    said = f"{pictures} picture{'' if pictures == 1 else 's'}"
    return f"{setting}: {said}{'; ' + error if error else ''}"
