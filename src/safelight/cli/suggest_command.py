"""``safelight suggest``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.cli.options import archive_words, existing_archive_option, json_option
from safelight.cli.terminal import say, say_text

if TYPE_CHECKING:
    from safelight.application.suggestions import Evidence, Preset
    from safelight.learning.plans.plan_cost import PlanCost
    from safelight.learning.plans.suggest import Suggestions


@click.command("suggest")
@click.option("--model", help="The model to suggest settings for.  [default: the only rated one]")
@click.option("--lora", help="Learn only from pictures with this LoRA; its weight is a knob.")
@click.option("--where", "condition", default="", help="Learn only from pictures that meet this.")
@click.option("--prompt", "prompts", multiple=True, help="Draw this; may be repeated."
              "  [default: the two prompts that were rated most]")  # fmt: skip
@click.option("--n", "count", type=click.IntRange(1, 200), default=8, show_default=True,
              help="How many settings.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 100), default=2, show_default=True,
              help="Pictures of every setting and prompt.")  # fmt: skip
@click.option("--knob", "knobs", multiple=True, metavar="KNOB=VALUES",
              help="Vary this knob between these values, as --knob steps=4,40 or"
              " --knob sampler=Euler,Heun; may be repeated.")  # fmt: skip
@click.option("--rater", "raters", multiple=True, help="Only ratings by this rater; repeatable.")
@click.option("--write", "written", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the suggestions as a config for safelight run.")  # fmt: skip
@click.option("--preset", metavar="NAME",
              help="Keep the best known setting as presets/NAME.toml in the archive.")  # fmt: skip
@existing_archive_option
@json_option
def command(
    model: str | None,
    lora: str | None,
    condition: str,
    prompts: tuple[str, ...],
    count: int,
    seeds: int,
    knobs: tuple[str, ...],
    raters: tuple[str, ...],
    written: Path | None,
    preset: str | None,
    archive: Path,
    as_json: bool,
) -> None:
    """Suggest settings worth drawing, from what was rated, each with its evidence.

    Nothing is drawn: --write makes a config that you may look at and run. With too little
    evidence it says so, and the plan explores instead.
    """
    from safelight.application.suggestions import find_evidence, keep_preset
    from safelight.archive import Archive

    opened = Archive(archive)
    evidence = find_evidence(opened, model=model, lora=lora, condition=condition, raters=raters)
    if preset is not None:
        _print_preset(keep_preset(opened, evidence, preset, prompts), as_json)
    else:
        _suggest(evidence, prompts, count, seeds, knobs, written, archive, as_json)


def _print_preset(kept: Preset, as_json: bool) -> None:
    from safelight.application.suggestions import setting_text

    if as_json:
        page = {"preset": str(kept.path), **kept.evidence}
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
        return
    for line in (*kept.summary, setting_text(kept.setting)):
        say(line)
    say(f"kept as {kept.path}; use it with: safelight run '{kept.path}' --set txt2img.prompt=...")


def _suggest(
    evidence: Evidence,
    prompts: Sequence[str],
    count: int,
    seeds: int,
    knobs: Sequence[str],
    written: Path | None,
    archive: Path,
    as_json: bool,
) -> None:
    from safelight.application.config_text import write_config
    from safelight.application.suggestions import (
        comments_of,
        cost_of_suggestions,
        knob_to_vary,
        suggestion_config,
    )
    from safelight.learning.plans.suggest import suggest

    result = suggest(evidence.trials, count, knobs=[knob_to_vary(text) for text in knobs])
    settings = [suggestion.setting for suggestion in result.suggestions]
    config = suggestion_config(evidence, settings, result.fixed, prompts, seeds)
    cost = cost_of_suggestions(evidence, result, prompts, seeds)
    if written is not None:
        write_config(written, config, comments_of(evidence, result, cost))
    if as_json:
        page = _as_json(evidence, result, cost, config, written)
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
    else:
        _print(evidence, result, cost, written, archive)


def _print(
    evidence: Evidence, result: Suggestions, cost: PlanCost, written: Path | None, archive: Path
) -> None:
    from safelight.application.suggestions import gain_text, score_text, setting_text

    say(
        f"{evidence.title}: {result.pictures:,} rated pictures of {result.settings:,} settings,"
        f" rated by {evidence.rated_by}"
    )
    for note in result.notes:
        say(f"  {note}")
    if result.best is not None:
        say(f"best known  {setting_text(result.best.setting)}")
        say(f"            {score_text(result.best)}")
    say("worth trying" if not result.exploring else "to explore")
    for number, suggestion in enumerate(result.suggestions, start=1):
        say(f"{number:3}. {setting_text(suggestion.setting)}")
        say(f"     {suggestion.why}{gain_text(suggestion)}")
    if not result.suggestions:
        say("  nothing new: every setting between these values was tried")
    say(cost.sentence())
    if written is not None:
        say(f"written to {written}; nothing was drawn. Draw it with: safelight run"
                   f" {written}{archive_words(archive)}")  # fmt: skip
    else:
        say("nothing was drawn; --write next.toml makes a config of these")


def _as_json(
    evidence: Evidence,
    result: Suggestions,
    cost: PlanCost,
    config: Mapping[str, Any],
    written: Path | None,
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": evidence.model,
        "lora": evidence.lora,
        "rated_by": evidence.rated_by,
        **asdict(result),
        "cost": asdict(cost),
        "config": config,
        "written": None if written is None else str(written),
    }
