"""``safelight plan``."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from safelight.application.jobs import Job, ready_job
from safelight.cli.headed_table import (
    Column,
    emphasized,
    headed_table,
    terminal_width,
    wrapped,
)
from safelight.cli.options import (
    config_text,
    engine_list,
    json_option,
    override_option,
    part_option,
    seed_option,
    with_part,
)
from safelight.cli.terminal import say, say_text, tell_next
from safelight.config import PipelineConfig, plain
from safelight.escaped_output import escaped_line
from safelight.operating_system import quoted
from safelight.randomizer import RandomizerPlanResult, Variant, repeated_variants


@click.command("plan")
@click.argument("config", type=click.Path(path_type=Path))
@override_option
@part_option
@seed_option
@click.option(
    "--first",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many variants to show.",
)
@click.option(
    "--explain",
    type=click.IntRange(min=0),
    metavar="N",
    help="Show of variant N alone which source put which words and values where.",
)
@json_option
def command(
    config: Path,
    overrides: tuple[str, ...],
    part: str | None,
    seed: int | None,
    first: int,
    explain: int | None,
    as_json: bool,
) -> None:
    """Show what CONFIG would draw, without drawing it: the size and the first variants.

    A CONFIG of - is read from standard input, TOML or JSON. What is drawn is drawn anew each time,
    unless --seed or the config has a seed.
    """
    job = ready_job(
        config,
        with_part(overrides, part),
        seed,
        os.environ,
        engines=engine_list(),
        text=config_text(config),
    )
    if explain is not None:
        _explain(job, explain, as_json)
        return
    variants = list(itertools.islice(job.plan.variants, first))
    if as_json:
        say_text(json.dumps(plan_as_json(job.plan, variants), indent=2, ensure_ascii=False))
    else:
        print_plan(job.config, job.plan, variants)
        given = [f"--set {quoted(one)}" for one in overrides]
        given += [f"--part {quoted(part)}"] if part is not None else []
        given += [f"--seed {seed}"] if seed is not None else []
        tell_next(" ".join(["run", quoted(str(config)), *given]))


def _explain(job: Job, index: int, as_json: bool) -> None:
    if index >= job.plan.plan_size:
        raise click.BadParameter(
            f"the plan has variants 0 to {job.plan.plan_size - 1:,}, got {index:,}",
            param_hint="--explain",
        )
    from safelight.cli.explained_variant import explanation_as_json, print_explanation
    from safelight.randomizer.explanation import explain_variant

    explanation = explain_variant(job.config, job.seed, index)
    if as_json:
        shown = explanation_as_json(explanation)
        say_text(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        print_explanation(explanation, terminal_width())


def plan_as_json(plan: RandomizerPlanResult, variants: Sequence[Variant]) -> dict[str, Any]:
    """Return what ``--json`` prints of a plan."""
    shown = [
        {
            "index": variant.index,
            "label": variant.label,
            "choices": plain(variant.choices),
            "config": plain(variant.config),
        }
        for variant in variants
    ]
    return {**plan.to_metadata(), "repeated": repeated_variants(plan), "variants": shown}


def print_plan(
    config: PipelineConfig, plan: RandomizerPlanResult, variants: Sequence[Variant]
) -> None:
    """Print the size, how it comes about, and a table of *variants*."""
    width = terminal_width()
    stages = " -> ".join(config.stages)
    noun = "variant" if plan.plan_size == 1 else "variants"
    size = f"{plan.plan_size:,} {noun} through {stages} (mode {plan.mode}, seed {plan.seed})"
    for line in wrapped(size, width):
        say(line, styled=emphasized)
    factors = [f"{axis.name} x {axis.size:,}" for axis in plan.axes if axis.size > 1]
    if factors:
        _say_wrapped("  " + ", ".join(factors), width)
    if plan.prompt_file is not None:
        read = plan.prompt_file
        _say_wrapped(f"  {read.prompts:,} prompts from {read.file}, SHA-256 {read.sha256}", width)
    if plan.left_out:
        _say_wrapped("  " + left_out(plan), width)
    repeated = repeated_variants(plan)
    for warning in (*plan.warnings, *([repeated] if repeated else [])):
        _say_wrapped(f"warning: {warning}", width)
    if not variants:
        return
    columns = [Column("#", right=True), Column("chosen", widest=60), Column("prompt"),
               Column("seed", right=True)]  # fmt: skip
    for row in headed_table(columns, list(map(_row, variants)), width):
        say(row.text, styled=row.styled)
    if len(variants) < plan.plan_size:
        say(f"... and {plan.plan_size - len(variants):,} more", styled=emphasized)


def left_out(plan: RandomizerPlanResult) -> str:
    """Return how much conditions leave out, in words."""
    what = "turn" if plan.mode == "sequential" else "combination"
    return f"{plan.left_out:,} {what}{'' if plan.left_out == 1 else 's'} left out"


def _row(variant: Variant) -> tuple[str, ...]:
    """Return its cells, each one line: what is in them is laid out by its length."""
    drawing = variant.config.get("txt2img") or variant.config.get("img2img") or {}
    prompt = str(drawing.get("prompt", ""))[:300]
    cells = (str(variant.index), variant.label or "", prompt, str(drawing.get("seed", "")))
    return tuple(map(escaped_line, cells))


def _say_wrapped(text: str, width: int) -> None:
    for line in wrapped(escaped_line(text), width):
        say(line)
