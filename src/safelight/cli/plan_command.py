"""``safelight plan``."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from safelight.application.jobs import ready_job
from safelight.cli.options import json_option, override_option, seed_option
from safelight.config import PipelineConfig, plain
from safelight.randomizer import RandomizerPlanResult, Variant, repeated_variants


@click.command("plan")
@click.argument("config", type=click.Path(path_type=Path))
@override_option
@seed_option
@click.option(
    "--first",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many variants to show.",
)
@json_option
def command(
    config: Path, overrides: tuple[str, ...], seed: int | None, first: int, as_json: bool
) -> None:
    """Show what CONFIG would draw, without drawing it: the size and the first variants."""
    job = ready_job(config, overrides, seed, os.environ)
    variants = list(itertools.islice(job.plan.variants, first))
    if as_json:
        click.echo(json.dumps(plan_as_json(job.plan, variants), indent=2, ensure_ascii=False))
    else:
        print_plan(job.config, job.plan, variants)


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
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    stages = " -> ".join(config.stages)
    noun = "variant" if plan.plan_size == 1 else "variants"
    console.print(
        f"{plan.plan_size:,} {noun} through {stages} (mode {plan.mode}, seed {plan.seed})"
    )
    factors = [f"{axis.name} x {axis.size:,}" for axis in plan.axes if axis.size > 1]
    if factors:
        console.print(Text("  " + ", ".join(factors)))
    repeated = repeated_variants(plan)
    for warning in (*plan.warnings, *([repeated] if repeated else [])):
        console.print(Text(f"warning: {warning}"))
    if not variants:
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("#", justify="right")
    table.add_column("chosen", overflow="fold", max_width=60)
    table.add_column("prompt", overflow="fold")
    table.add_column("seed", justify="right")
    for variant in variants:
        drawing = variant.config.get("txt2img") or variant.config.get("img2img") or {}
        table.add_row(
            str(variant.index),
            Text(variant.label or ""),
            Text(str(drawing.get("prompt", ""))[:300]),
            str(drawing.get("seed", "")),
        )
    console.print(table)
    if len(variants) < plan.plan_size:
        console.print(f"... and {plan.plan_size - len(variants):,} more")
