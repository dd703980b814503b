"""``safelight score``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.application.scorers import create_scorer, scorer_names
from safelight.archive import Archive
from safelight.cli.options import archive_option, check_archive, condition_argument, json_option
from safelight.cli.terminal import progress_of, say, say_text, say_wrapped, tell
from safelight.errors import ScorerError

if TYPE_CHECKING:
    from safelight.application.scorer_comparison import ScorerComparison
    from safelight.application.scorers import Scorer
    from safelight.application.scoring import Scored
    from safelight.learning.evidence.scorer_agreement import RankAgreement

_NOTHING, _SOME, _INTERRUPTED = 1, 3, 130
_BATCH = 16
_MOST_MODELS = 12
_WIDEST_NAME = 24


@click.command("score")
@click.argument("name", default="", metavar="[NAME]")
@condition_argument(metavar="[FILTER]...")
@archive_option
@click.option("--compare", is_flag=True, help="Score nothing: compare with what people say.")
@click.option("--again", is_flag=True, help="Also pictures that have a number of this version.")
@click.option("--batch", type=click.IntRange(1, 4096), default=_BATCH, show_default=True,
              help="Pictures that the scorer gets at once.")  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE",
              help="An option of the scorer, as --option weights=mine.onnx; may be"
              " repeated.")  # fmt: skip
@json_option
def command(
    name: str,
    condition: str,
    archive: Path,
    compare: bool,
    again: bool,
    batch: int,
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Let the scorer NAME give a number to every picture that meets FILTER and has none.

    Without NAME: show which scorers are installed. Numbers are kept beside ratings, and never
    mixed with them: safelight find "score.sharpness > 500" asks for them. --compare tells how far
    they have the order that people's ratings have, within prompts.

    Exit status: 0 all have a number that can, 3 some failed, 1 all that were tried, 130 stopped.
    """
    if not name:
        if condition or compare or again or options:
            raise click.UsageError("name a scorer; safelight score shows which there are")
        _show_all(as_json)
        return
    if compare:
        from safelight.application.scorer_comparison import compare_scorer

        if again or options:
            raise click.UsageError("--compare scores nothing: give it FILTER, and nothing else")
        _print_comparison(compare_scorer(Archive(check_archive(archive)), name, condition), as_json)
        return
    from safelight.application.jobs import engine_options

    scorer = create_scorer(name, engine_options(options, os.environ))
    opened = Archive(check_archive(archive))
    done = _carried_out(opened, scorer, condition, batch=batch, again=again, as_json=as_json)
    _print_scored(done, scorer, as_json)
    if done.failed:
        raise click.exceptions.Exit(_SOME if done.scored or done.before else _NOTHING)


def _carried_out(
    archive: Archive, scorer: Scorer, condition: str, *, batch: int, again: bool, as_json: bool
) -> Scored:
    from safelight.application.scoring import score_pictures

    reached, total = 0, 0
    try:
        with progress_of("scoring", hidden=as_json) as show_progress:

            def on_progress(done: int, of: int) -> None:
                nonlocal reached, total
                reached, total = done, of
                show_progress(done, of)

            return score_pictures(
                archive, scorer, condition, batch=batch, again=again, on_progress=on_progress
            )
    except KeyboardInterrupt:
        tell(f"stopped: {reached:,} of {total:,} pictures are done, and what they were given is"
             " kept; the same command goes on")  # fmt: skip
        raise click.exceptions.Exit(_INTERRUPTED) from None


def _show_all(as_json: bool) -> None:
    states = {name: _state(name) for name in scorer_names()}
    if as_json:
        say_text(json.dumps(states, ensure_ascii=False, indent=2))
        return
    width = max(map(len, states))
    for name, state in states.items():
        told = state.get("error") or "{version}  {unit}".format_map(state)
        say_wrapped(f"{name:{width}}  {told}", hanging=width + 2)


def _state(name: str) -> dict[str, Any]:
    try:
        scorer = create_scorer(name)
    except ScorerError as error:
        return {"error": str(error)}
    return {"version": scorer.version, "unit": scorer.unit}


def _print_scored(done: Scored, scorer: Scorer, as_json: bool) -> None:
    if as_json:
        about = {"scorer": scorer.name, "version": scorer.version, "unit": scorer.unit}
        told = [{"path": path, "told": reason} for path, reason in done.told]
        say_text(json.dumps(about | asdict(done) | {"told": told}, ensure_ascii=False, indent=2))
        return
    say(f"{done.scored:,} pictures scored by {scorer.name} {scorer.version}, in {scorer.unit}")
    if done.before:
        say(f"{done.before:,} had a number of it before")
    if done.without:
        say(f"{done.without:,} passed over: it has no number for them")
    for reason, count in sorted(done.failed.items()):
        say(f"{count:,} failed: {reason}")
    for path, reason in done.told:
        tell(f"{path}: {reason}")


def _print_comparison(found: ScorerComparison, as_json: bool) -> None:
    if as_json:
        document = asdict(found)
        document["agreement"]["by_model"] = [
            {"model": model, **asdict(one)} for model, one in found.agreement.by_model
        ]
        say_text(json.dumps(document, ensure_ascii=False, indent=2))
        return
    say_wrapped(f"{found.scorer} {found.version}, in {found.unit}: {found.scored:,} pictures have a"
                f" number, {found.rated:,} of them people's ratings, too")  # fmt: skip
    say_wrapped(
        "the same order within prompts? Kendall's tau-b: 1 the same, 0 as by chance, -1 opposite"
    )
    lines = [("all", found.agreement.overall), *found.agreement.by_model[:_MOST_MODELS]]
    width = min(max(len(name) for name, _ in lines), _WIDEST_NAME)
    for name, one in lines:
        if len(name) > width:
            say(f"  {name}")
        shown = "" if len(name) > width else name
        say_wrapped(f"  {shown:{width}}  {_tau_words(one)}", hanging=width + 4)
    if (more := len(found.agreement.by_model) - _MOST_MODELS) > 0:
        say(f"  and {more:,} more models (--json shows all)")


def _tau_words(one: RankAgreement) -> str:
    n = f"n = {one.pictures:,} pictures of {one.prompts:,} prompts"
    if one.tau is None:
        return f"not enough evidence: no prompt has pictures in an order; {n}"
    if one.low is None or one.high is None:
        return f"{one.tau:+.2f}, no interval: it takes 6 prompts; {n}"
    return f"{one.tau:+.2f} [{one.low:+.2f}, {one.high:+.2f}]; {n}"
