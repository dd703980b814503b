"""``safelight suggest``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.cli.options import archive_words, existing_archive_option, json_option
from safelight.cli.settings_told import form_option, print_settings
from safelight.cli.terminal import say, say_text, say_wrapped, tell, tell_next
from safelight.operating_system import quoted

if TYPE_CHECKING:
    from safelight.application.nearest_files import NearFile
    from safelight.application.presets import Preset
    from safelight.application.settings_texts import Form
    from safelight.application.suggested_kinds import ToTry
    from safelight.application.suggestions import Evidence
    from safelight.archive import Archive
    from safelight.learning.plans.plan_cost import PlanCost
    from safelight.learning.plans.suggested import Suggestions

    _Nearest = Sequence[Sequence[NearFile]]


@click.command("suggest")
@click.option("--model", help="The model to suggest settings for.  [default: any that was rated,"
              " each suggestion names its own]")  # fmt: skip
@click.option("--lora", help="Learn only from pictures with this LoRA; its weight is a knob.")
@click.option("--where", "condition", default="", help="Learn only from pictures that meet this.")
@click.option("--kinds", is_flag=True, help="Suggest for each kind of pictures for which something"
              " else is good, with prompts of that kind.")  # fmt: skip
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
@form_option("With --preset: also print it so; --write puts it into a file instead.")
@existing_archive_option
@json_option
def command(
    model: str | None,
    lora: str | None,
    condition: str,
    kinds: bool,
    prompts: tuple[str, ...],
    count: int,
    seeds: int,
    knobs: tuple[str, ...],
    raters: tuple[str, ...],
    written: Path | None,
    preset: str | None,
    form: Form | None,
    archive: Path,
    as_json: bool,
) -> None:
    """Suggest settings worth drawing, from what was rated, each with its evidence.

    Nothing is drawn: --write makes a config that you may look at and run. With too little
    evidence it says so, and the plan explores instead.
    """
    from safelight.application.suggested_kinds import suggested
    from safelight.application.suggestions import find_evidence, knob_to_vary
    from safelight.archive import Archive

    if preset is not None and kinds:
        raise click.UsageError("--preset is of one kind: name its pictures with --where")
    if form is not None and preset is None:
        raise click.UsageError("--as is how a preset is told: name it with --preset")
    opened = Archive(archive)

    def evidence_for(those: str) -> Evidence:
        return find_evidence(opened, model=model, lora=lora, condition=those, raters=raters)

    evidence = evidence_for(condition)
    if preset is not None:
        from safelight.application.presets import keep_preset

        kept = keep_preset(opened, evidence, preset, prompts)
        if form is not None:
            print_settings(kept.path, archive, form, written, as_json=as_json)
            tell(f"kept as {kept.path}")
            return
        _print_preset(kept, as_json)
        return
    vary = [knob_to_vary(text) for text in knobs]
    found = suggested(evidence, evidence_for, count, vary, kinds=kinds)
    _show(opened, evidence, found, prompts, seeds, written, as_json=as_json, kinds=kinds)


def _print_preset(kept: Preset, as_json: bool) -> None:
    from safelight.application.suggestions import setting_text

    if as_json:
        page = {"preset": str(kept.path), **kept.evidence}
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
        return
    for line in (*kept.summary, setting_text(kept.setting)):
        say_wrapped(line)
    say(f"kept as {kept.path}; use it with:")
    say(f"  safelight run {quoted(str(kept.path))} --set txt2img.prompt=...")


def _show(
    archive: Archive,
    evidence: Evidence,
    found: ToTry,
    prompts: Sequence[str],
    seeds: int,
    written: Path | None,
    *,
    as_json: bool,
    kinds: bool,
) -> None:
    from safelight.application.config_text import write_config
    from safelight.application.nearest_files import nearest_files
    from safelight.application.suggested_texts import comments_of, cost_of

    config = found.config(evidence, prompts, seeds)
    cost = cost_of(evidence, found, prompts, seeds)
    if written is not None:
        write_config(written, config, comments_of(evidence, found, cost))
    nearest = {
        id(result): nearest_files(own, result.suggestions)
        for own, result in [(evidence, found.suggestions), *found.by_evidence(evidence)]
    }
    if as_json:
        page = _as_json(evidence, found, cost, config, written, nearest)
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
    else:
        _print(evidence, found, cost, written, archive.path, nearest, kinds=kinds)


def _print(
    evidence: Evidence,
    found: ToTry,
    cost: PlanCost,
    written: Path | None,
    archive: Path,
    nearest: Mapping[int, _Nearest],
    *,
    kinds: bool,
) -> None:
    from safelight.application.suggested_texts import left_out_text

    for sentence in found.depends:
        say_wrapped(sentence)
    if found.depends and not kinds:
        say("What follows is for all prompts together; --kinds suggests for each kind.")
    elif kinds and not found.kinds:
        say("No kind of pictures is known for which something else is good.")
    elif not found.looked:
        say_wrapped(f"Whether that depends on the kind of pictures was not looked for among"
            f" {len(evidence.trials):,} pictures; --kinds does.")  # fmt: skip
    for kind in found.kinds:
        say(f"for {kind.kind.name}")
        _print_suggestions(kind.evidence, kind.suggestions, nearest[id(kind.suggestions)])
    if not found.kinds:
        _print_suggestions(evidence, found.suggestions, nearest[id(found.suggestions)])
    say_wrapped(cost.sentence())
    for line in left_out_text(evidence, found):
        say_wrapped(line)
    if written is not None:
        say(f"written to {written}; nothing was drawn. Draw it with:")
        say(f"  safelight run {written}{archive_words(archive)}")
    else:
        say("nothing was drawn; --write next.toml makes a config of these")
    if not found.suggestions.pictures:
        tell_next(f"rate --next{archive_words(archive)}")


def _print_suggestions(evidence: Evidence, result: Suggestions, nearest: _Nearest) -> None:
    from safelight.application.contenders_text import contenders_text
    from safelight.application.suggestions import gain_text, score_text, setting_text

    said = f"{result.pictures:,} rated pictures of {result.settings:,} settings, rated by"
    rated = f"{said} {evidence.rated_by}" if result.pictures else "nothing is rated yet"
    say_wrapped(f"{evidence.title}: {rated}", hanging=2)
    for note in result.notes:
        say_wrapped(f"  {note}", hanging=4)
    if result.best is not None:
        say_wrapped(f"{result.best.title:11} {setting_text(result.best.setting)}", hanging=12)
        say_wrapped(f"            {score_text(result.best)}")
        for line in contenders_text(result.contenders, evidence.seconds):
            say_wrapped(f"            {line}")
    say("worth trying" if not result.exploring else "to explore")
    for number, (suggestion, near) in enumerate(
        zip(result.suggestions, nearest, strict=True), start=1
    ):
        say_wrapped(f"{number:3}. {setting_text(suggestion.setting)}", hanging=5)
        say_wrapped(f"     {suggestion.why}{gain_text(suggestion, result.best)}")
        if near:
            say_wrapped(f"     nearest: {near[0].name} ({near[0].differs})")
    if not result.suggestions:
        say("  nothing new: every setting between these values was tried")


def _as_json(
    evidence: Evidence,
    found: ToTry,
    cost: PlanCost,
    config: Mapping[str, Any],
    written: Path | None,
    nearest: Mapping[int, _Nearest],
) -> dict[str, Any]:
    from dataclasses import asdict

    def with_nearest(result: Suggestions) -> dict[str, Any]:
        page = asdict(result)
        for one, near in zip(page["suggestions"], nearest[id(result)], strict=True):
            one["nearest"] = [asdict(file) for file in near]
        return page

    return {
        "model": evidence.model,
        "models": evidence.models,
        "lora": evidence.lora,
        "rated_by": evidence.rated_by,
        "depends": found.depends,
        **with_nearest(found.suggestions),
        "kinds": [
            {**asdict(kind.kind), "models": kind.evidence.models, **with_nearest(kind.suggestions)}
            for kind in found.kinds
        ],
        "cost": asdict(cost),
        "seconds": {
            knob.knob: {str(value): taken for value, taken in evidence.seconds[knob.knob].items()}
            for knob in found.suggestions.contenders
            if knob.knob in evidence.seconds
        },
        "config": config,
        "written": None if written is None else str(written),
    }
