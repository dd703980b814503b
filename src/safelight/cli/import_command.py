"""``safelight import``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safelight.archive import Archive
from safelight.cli.options import archive_option, json_option
from safelight.cli.terminal import is_terminal, say, say_text

if TYPE_CHECKING:
    from safelight.imports.folder_import import ImportSummary

_OUTCOMES = ("full", "partly", "none")
_MOST_FAULTS = 20


@click.command("import")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@archive_option
@click.option(
    "--jobs", type=click.IntRange(min=1), default=None, show_default="one per core, at most 8",
    help="Processes that read.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Read also what is unchanged since the last import.")
@click.option("--rater", default="", help="Whose the ratings are that lie in the pictures.")
@json_option
def command(
    folders: tuple[Path, ...],
    archive: Path,
    jobs: int | None,
    again: bool,
    rater: str,
    as_json: bool,
) -> None:
    """Take in the pictures of other tools, with what they say about themselves.

    FOLDERS are searched with all that lies in them; picture files may be named as well. No
    file is changed, moved or deleted. A second import reads only what is new, and a picture
    that was moved or renamed stays the same picture, with its ratings.
    """
    from safelight.imports.folder_import import import_folders

    with _progress(hidden=as_json) as show_summary:
        summary = import_folders(
            folders, Archive(archive), jobs=jobs or min(8, os.cpu_count() or 1), again=again,
            rater=rater, on_progress=show_summary,
        )  # fmt: skip
    if as_json:
        say_text(json.dumps(summary.to_dict(), ensure_ascii=False))
    else:
        _print(summary, archive)


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[ImportSummary], None]]:
    """Show how far an import is; how many files there are is not known before the end."""
    if hidden or not is_terminal(err=True):
        yield lambda _summary: None
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    from safelight.cli.rich_console import Console, Progress

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking for pictures")

        def show_summary(summary: ImportSummary) -> None:
            line = f"{summary.files:,} pictures met, {summary.imported:,} imported"
            if summary.unchanged:
                line += f", {summary.unchanged:,} unchanged"
            bar.update(task, description=line)

        yield show_summary


def _print(summary: ImportSummary, archive: Path) -> None:
    rate = summary.files / summary.seconds if summary.seconds else 0
    say(f"{summary.files:,} pictures in {summary.seconds:.1f} s ({rate:,.0f} a second)")
    say(f"  {summary.imported:>8,} imported into {archive}")
    if summary.unchanged:
        say(f"  {summary.unchanged:>8,} unchanged since the last import")
    if summary.known:
        say(f"  {summary.known:>8,} known already: moved, renamed or copied")
    if summary.ratings:
        say(f"  {summary.ratings:>8,} ratings found in them")
    if summary.imported:
        _print_readers(summary)
    if summary.fault_count:
        say(f"{summary.fault_count:,} could not be read:")
        for fault in summary.faults[:_MOST_FAULTS]:
            say(f"  {fault.path}: {fault.reason}")
        if summary.fault_count > _MOST_FAULTS:
            say(f"  ... and {summary.fault_count - _MOST_FAULTS:,} more (--json has them)")


def _print_readers(summary: ImportSummary) -> None:
    from collections import Counter

    from rich.table import Table

    from safelight.cli.rich_console import Console

    table = Table(box=None, pad_edge=False)
    table.add_column("made by")
    for heading in ("fully", "partly", "not at all"):
        table.add_column(heading, justify="right")
    table.add_column("what is missing")
    for name, counts in sorted(summary.read.items(), key=lambda item: (not item[0], item[0])):
        missing = summary.missing.get(name, Counter[str]())
        lacking = ", ".join(f"{what} in {n:,}" for what, n in sorted(missing.items()))
        cells = [f"{counts[o]:,}" if counts[o] else "" for o in _OUTCOMES]
        table.add_row(name or "nobody says", *cells, lacking)
    totals = [sum(c[o] for c in summary.read.values()) for o in _OUTCOMES]
    table.add_section()
    table.add_row("all", *(f"{total:,}" for total in totals), "")
    Console(highlight=False, width=max(100, Console().width)).print(table)
