"""``safelight find``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click

from safelight.application.killed_runs import finish_killed_runs
from safelight.archive import Answer, Archive
from safelight.archive.views import VIEWS
from safelight.cli.options import (
    archive_words,
    condition_argument,
    existing_archive_option,
    json_option,
)
from safelight.cli.terminal import (
    is_terminal,
    say,
    say_text,
    say_wrapped,
    tell_next,
    unescaped,
)
from safelight.escaped_output import escaped_line

_WIDEST = 100_000
_SHOWN = {
    "images": ("timestamp", "stage", "prompt", "model", "sampler", "steps", "cfg_scale", "seed",
               "path", "discarded"),
    "runs": ("timestamp", "run_id", "name", "status", "backend", "model", "sampler", "steps",
             "cfg_scale", "pictures"),
    "loras": ("run_id", "place", "name", "weight"),
    "settings": ("run_id", "place", "stage", "name", "number", "text"),
}  # fmt: skip


@click.command("find")
@condition_argument()
@existing_archive_option
@click.option("--view", type=click.Choice(VIEWS), default="images", show_default=True)
@click.option("--sort", default="", help="Column; -column from the largest down.  [newest first]")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--after", help="Where the page before said that the next one begins.")
@click.option("--columns", default="", help="Which to show, with commas between them.")
@click.option("--no-picture", is_flag=True,
              help="Find what other tools executed that ended without a picture: failed, stopped,"
              " or drawn before; CONDITION may speak of status and error, too.")  # fmt: skip
@click.option("--sql", is_flag=True, help="CONDITION is one SELECT over the views.")
@click.option("--csv", "as_csv", is_flag=True,
              help="Print CSV; a text that a spreadsheet would take for a formula begins with an"
              " apostrophe.")  # fmt: skip
@click.option("--csv-raw", is_flag=True, help="Print CSV with every text as it is.")
@json_option
def command(
    condition: str,
    archive: Path,
    view: str,
    sort: str,
    limit: int,
    after: str | None,
    columns: str,
    no_picture: bool,
    sql: bool,
    as_csv: bool,
    csv_raw: bool,
    as_json: bool,
) -> None:
    """Find pictures by what they were made with.

    CONDITION is words, conditions, or both, for example: lighthouse 'cfg_scale between 5 and 8'.
    A word is looked for in prompts, names of files, tags and notes.
    """
    chosen = [name.strip() for name in columns.split(",") if name.strip()]
    everything = as_json or as_csv or csv_raw
    finish_killed_runs(archive)
    opened = Archive(archive)
    if no_picture:
        if view != "images" or sort or columns or sql or as_csv or csv_raw:
            raise click.UsageError(
                "--no-picture lists executions, the newest first: of the other options only"
                " --limit, --after and --json go with it"
            )
        from safelight.application.blanks import Blanks
        from safelight.cli.shown_blanks import print_blanks

        blanks = Blanks(opened).find(condition, limit=limit, after=after)
        print_blanks(blanks, archive, as_json=as_json)
        return
    if sql:
        answer = opened.sql(condition)
    else:
        answer = opened.query(
            condition,
            view=view,
            columns=chosen or (() if everything else _SHOWN[view]),
            sort=sort or ("-timestamp" if view in ("runs", "images") else "run_id"),
            limit=limit,
            after=after,
        )
    if as_json:
        left_out = [{"path": str(fault.path), "told": fault.reason} for fault in answer.left_out]
        page = {"rows": list(answer.dicts()), "after": answer.after, "left_out": left_out}
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
    elif as_csv or csv_raw:
        _print_csv(answer, raw=csv_raw)
    elif view == "images" and not chosen and not sql:
        _print_pictures(answer, archive)
    elif view == "runs" and not chosen and not sql:
        _print_runs(answer, archive)
    else:
        _print_table(answer)


def _print_pictures(answer: Answer, archive: Path) -> None:
    """Print each picture's file on a line of its own, to be clicked on or piped, and its knobs."""
    for row in answer.dicts():
        path = row["path"]
        where = str(archive / path) if path else "(never written to a file)"
        say(f"{where} (discarded)" if row["discarded"] else where)
        moment = str(row["timestamp"])[:16].replace("T", " ")
        knobs = [
            row["prompt"], row["model"], row["sampler"],
            None if row["steps"] is None else f"{row['steps']} steps",
            None if row["cfg_scale"] is None else f"cfg {row['cfg_scale']:g}",
            None if row["seed"] is None else f"seed {row['seed']}", row["stage"], moment,
        ]  # fmt: skip
        say_wrapped("    " + " · ".join(str(knob) for knob in knobs if knob not in (None, "")))
    _end(answer)
    if answer.rows:
        tell_next(f"serve --open{archive_words(archive)}")


def _print_runs(answer: Answer, archive: Path) -> None:
    """Print of each run when it was and how it ended, and below it what drew."""
    for row in answer.dicts():
        moment = str(row["timestamp"])[:16].replace("T", " ")
        count = "1 picture" if row["pictures"] == 1 else f"{row['pictures']:,} pictures"
        head = (row["run_id"], moment, row["status"], count, row["name"])
        say_wrapped("  ".join(str(one) for one in head if one not in (None, "")), hanging=4)
        knobs = [
            row["backend"], row["model"], row["sampler"],
            None if row["steps"] is None else f"{row['steps']} steps",
            None if row["cfg_scale"] is None else f"cfg {row['cfg_scale']:g}",
        ]  # fmt: skip
        say_wrapped("    " + " · ".join(str(knob) for knob in knobs if knob not in (None, "")))
    _end(answer)
    if answer.rows:
        tell_next(f"show {next(answer.dicts())['run_id']}{archive_words(archive)}")


def _print_csv(answer: Answer, *, raw: bool) -> None:
    """Print CSV: whole for programs, for somebody who looks at it a line a row."""
    from safelight.formats.csv_table import write_csv

    stream = unescaped()
    if stream is not None and not is_terminal():
        write_csv(stream, answer.columns, answer.rows, raw=raw)
        return
    lines = io.StringIO(newline="")
    write_csv(
        lines,
        map(escaped_line, answer.columns),
        ([escaped_line(cell) if isinstance(cell, str) else cell for cell in row]
         for row in answer.rows),
        raw=raw,
    )  # fmt: skip
    for line in lines.getvalue().splitlines():
        say(line)


def _print_table(answer: Answer) -> None:
    from rich import box
    from rich.table import Table

    from safelight.cli.rich_console import Console

    console = Console()
    table = Table(box=box.SIMPLE_HEAD)
    for place, column in enumerate(answer.columns):
        values = [row[place] for row in answer.rows if row[place] is not None]
        numeric = all(isinstance(value, (int, float)) for value in values)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in answer.rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    wanted = console.measure(table, options=console.options.update_width(_WIDEST)).maximum
    if not console.is_terminal:  # whoever reads it there can do with long lines
        console.width = max(console.width, wanted)
    if answer.rows and wanted > console.width:
        _print_blocks(answer)
    elif answer.rows:
        console.print(table)
    _end(answer)


def _print_blocks(answer: Answer) -> None:
    """Print rows that are too long for a line of the terminal, each as a few lines, whole."""
    for row in answer.rows:
        told = [
            f"{column} {value}"
            for column, value in zip(answer.columns, row, strict=True)
            if value not in (None, "")
        ]
        say_wrapped(" · ".join(told), hanging=4)


def _end(answer: Answer) -> None:
    if not answer.rows:
        say("nothing found")
    if answer.after:
        say(f"more: --after {answer.after}", err=True)
