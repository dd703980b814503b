"""``safelight contents``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safelight.application.killed_runs import finish_killed_runs
from safelight.application.next_step import next_step, question_text
from safelight.archive import Archive
from safelight.cli.options import (
    archive_words,
    condition_argument,
    existing_archive_option,
    json_option,
)
from safelight.cli.terminal import say, say_text, say_wrapped
from safelight.errors import shortened

if TYPE_CHECKING:
    from safelight.archive.contents import Contents, Counts

_LONGEST, _LONGEST_NAME, _WIDEST_SETTING = 40, 100, 24
_MOST_QUESTIONS = 8


@click.command("contents")
@condition_argument()
@existing_archive_option
@json_option
def command(condition: str, archive: Path, as_json: bool) -> None:
    """Show what is in an archive: who made it, when, with which models, and what varied.

    CONDITION, in the language of safelight find, chooses pictures. Nothing need be rated.
    """
    from safelight.archive.contents import contents_of

    finish_killed_runs(archive)
    contents = contents_of(Archive(archive), condition)
    if as_json:
        told = {**asdict(contents), "next": asdict(next_step(contents))}
        say_text(json.dumps(told, ensure_ascii=False))
    else:
        print_contents(contents, archive)


def print_contents(contents: Contents, archive: Path) -> None:
    """Print what is in *archive*, what ratings could tell, and what to do next."""
    from rich import box
    from rich.table import Table

    from safelight.cli.rich_console import Console, cell

    if not contents.pictures:
        say("no pictures")
        _tell_discarded(contents, archive)
        return
    console = Console()
    pictures = "1 picture" if contents.pictures == 1 else f"{contents.pictures:,} pictures"
    say(f"{pictures}, {contents.first[:10]} to {contents.last[:10]}; {contents.rated:,} rated")
    _tell_discarded(contents, archive)
    head = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    head.add_column(no_wrap=True)
    head.add_column(overflow="fold")
    for name, counts in (
        ("made by", contents.made_by), ("families", contents.families),
        ("models", contents.models), ("LoRAs", contents.loras),
        ("months", contents.months), ("imports read", contents.outcomes),
        ("in doubt", contents.doubts),
    ):  # fmt: skip
        if counts.listed and (name != "families" or any(one.name for one in counts.listed)):
            head.add_row(cell(name, "bold"), cell(_told(counts, most=12, whole=True)))
    console.print(head)
    table = Table(box=box.SIMPLE_HEAD, title="What varied", title_justify="left")
    # A LoRA's long name folds, so that it does not leave a letter a line to the values.
    widest = min(max((len(one.knob) for one in contents.varied), default=0), _WIDEST_SETTING)
    table.add_column("setting", overflow="fold", min_width=widest, max_width=widest)
    for heading in ("values", "groups", "pictures"):
        table.add_column(heading, justify="right")
    table.add_column("used most", overflow="fold")
    for one in contents.varied:
        table.add_row(
            cell(one.knob), f"{one.values.different:,}", f"{one.groups:,}", f"{one.pictures:,}",
            cell(_told(one.values, most=3)),
        )  # fmt: skip
    if not contents.varied:
        say("Nothing varied.")
        print_next_step(contents, archive)
        return
    console.print(table)
    say_wrapped(
        "A group is of pictures that are alike in all but this setting: what ratings teach most"
        " from."
    )
    if contents.questions:
        say("What ratings could tell:")
    for knob, question in contents.questions[:_MOST_QUESTIONS]:
        done = f", {question.rated:,} rated" if question.rated else ""
        wanted = f"; about {question.ratings} ratings" if question.ratings else "; rated enough"
        say_wrapped(f"  {question_text(knob, question)[:-1]}{done}{wanted}", hanging=4)
    print_next_step(contents, archive)


def _tell_discarded(contents: Contents, archive: Path) -> None:
    if contents.discarded:
        words = "1 more was" if contents.discarded == 1 else f"{contents.discarded:,} more were"
        say(f"{words} discarded; see: safelight archive restore --dry-run{archive_words(archive)}")


def print_what_came(kept: Archive, archive: Path) -> None:
    """Print in a few lines what is in *kept* after an import, and what to do next."""
    from safelight.archive.contents import contents_of

    contents = contents_of(kept)
    say(f"in all, {contents.pictures:,} pictures, {contents.first[:10]} to {contents.last[:10]}")
    for name, counts in (("families", contents.families), ("LoRAs", contents.loras)):
        if any(one.name for one in counts.listed):
            say_wrapped(f"  {name}: {_told(counts, most=6)}", hanging=4)
    varied = [f"{one.knob} ({one.values.different:,})" for one in contents.varied[:8]]
    if varied:
        more = f"; all: safelight contents{archive_words(archive)}"
        say_wrapped(f"  what varied: {', '.join(varied)}{more}", hanging=4)
    print_next_step(contents, archive)


def print_next_step(contents: Contents, archive: Path) -> None:
    """Print what to do next, as a command."""
    step, where = next_step(contents), archive_words(archive)
    rate = "rate --next --pairs" if step.pairs else "rate --next"
    command = {"import": "import FOLDER", "rate": rate, "learn": "effects"}[step.act]
    say_wrapped(step.sentence)
    say(f"next: safelight {command}{where}")


def _told(counts: Counts, most: int, *, whole: bool = False) -> str:
    """Return ``comfyui ×59, sdnext ×21 and 9 more``; names that are *whole* are not cut."""
    longest = _LONGEST_NAME if whole else _LONGEST
    shown = [f"{_short(one.name, longest)} ×{one.pictures:,}" for one in counts.listed[:most]]
    more = counts.different - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _short(name: str, longest: int) -> str:
    return shortened(" ".join(name.split()), longest) or "(none)"
