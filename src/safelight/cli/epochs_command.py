"""``safelight epochs``."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safelight.archive import Archive
from safelight.cli.import_command import import_progress
from safelight.cli.options import archive_option, archive_words, json_option
from safelight.cli.terminal import say, say_text, say_wrapped, tell

if TYPE_CHECKING:
    from safelight.application.epochs import Answer, Training

_PAGE = "http://127.0.0.1:7321"
_MOST_MISSING = 4
_FEWEST_PAIRS, _MOST_PAIRS = 10, 200
_MOST_FAULTS, _LONGEST = 5, 40


@click.command("epochs")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@archive_option
@click.option("--rater", "raters", multiple=True, help="Only ratings by this rater; repeatable.")
@click.option("--open", "opens", is_flag=True, help="Open their sheet in the page afterwards.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    folder: Path,
    archive: Path,
    raters: tuple[str, ...],
    opens: bool,
    as_json: bool,
) -> None:
    """Say which epoch of a training is best, from its sample pictures.

    FOLDER is where kohya's scripts, ai-toolkit or OneTrainer put samples, or the training's own.
    They are taken in as safelight import does. Prompts and seeds are the same in every epoch, so
    ratings compare epochs in pairs that differ in nothing else. Trainings that sample by steps
    are compared by steps.
    """
    from safelight.application.epochs import answer_of, trainings_in
    from safelight.imports.folder_import import import_folders

    kept = Archive(archive)
    with import_progress(hidden=as_json) as show_summary:
        summary = import_folders(
            [folder], kept, jobs=min(8, os.cpu_count() or 1), on_progress=show_summary
        )
    for fault in summary.faults[:_MOST_FAULTS]:
        tell(f"{fault.path} could not be read: {fault.reason}")
    trainings = trainings_in(kept, folder)
    if not trainings:
        raise click.ClickException(
            f"no sample of a training lies in {folder}: they are known by the names that kohya's"
            " scripts, ai-toolkit and OneTrainer give them (docs/imports.md)"
        )
    answers = [answer_of(kept, one, raters) for one in trainings]
    if as_json:
        found = [
            {**asdict(one), "sheet": _PAGE + one.sheet, "answer": asdict(answer)}
            for one, answer in zip(trainings, answers, strict=True)
        ]
        say_text(json.dumps({"trainings": found}, ensure_ascii=False, indent=2))
    else:
        for one, answer in zip(trainings, answers, strict=True):
            _print(one, answer, archive_words(archive))
    if opens:
        from safelight.cli.serve_command import command as serve_command

        if len(trainings) > 1:
            tell(f"of {len(trainings)} trainings the sheet of {trainings[0].name} opens")
        ctx.invoke(serve_command, archive=archive, opens=True, page=trainings[0].sheet)


def _print(one: Training, answer: Answer, where: str) -> None:
    def counted(count: int, noun: str) -> str:
        return f"{count:,} {noun}{'' if count == 1 else 's'}"

    seeds = counted(one.seeds, "seed") if one.seeds else "seeds that are not told"
    say(
        f"{one.name or 'a training without a name'}: {counted(one.pictures, 'picture')} of"
        f" {counted(len(one.prompts), 'prompt')} x {counted(len(one.states), one.unit)} x {seeds},"
        f" in {one.folder}"
    )
    if one.left_out:
        other = "step" if one.unit == "epoch" else "epoch"
        say_wrapped(
            f"  {counted(one.left_out, 'picture')} by {other}, which cannot be compared with these",
            hanging=4,
        )
    if one.missing:
        some = "; ".join(
            f"{one.unit} {lack.state} of {lack.prompt[:_LONGEST]!r}"
            + ("" if lack.seed is None else f" with seed {lack.seed}")
            for lack in one.missing[:_MOST_MISSING]
        )
        rest = len(one.missing) - _MOST_MISSING
        more = f"; and {rest:,} more" if rest > 0 else ""
        say_wrapped(f"  {counted(len(one.missing), 'picture')} missing: {some}{more}", hanging=4)
    say_wrapped(f"  {answer.sentence}", hanging=4)
    for better in answer.better:
        what = "pairs" if better.basis == "pairs" else "pictures"
        count = f", better in {better.won:,} of {better.pairs:,}"
        count += f", alike in {better.alike:,}" if better.alike else ""
        say(
            f"    {better.state} against {better.than}: {better.difference:+.2f}"
            f" [{better.low:+.2f}, {better.high:+.2f}], {better.n:,} {what}"
            + (count if better.basis == "pairs" and better.pairs else "")
        )
    if answer.rated:
        say(f"  {answer.rated:,} of them rated, by {answer.rated_by}")
    many = min(max(one.pairs, _FEWEST_PAIRS), _MOST_PAIRS)
    which = shlex.quote(one.condition)
    say(f"  rate   safelight rate --next --pairs --n {many} --where {which}{where}")
    say(f"  sheet  {_PAGE}{one.sheet}")
    say(f"         while safelight serve{where} runs; --open does both")
