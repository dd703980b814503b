"""``safelight import``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safelight.application.next_step import next_step
from safelight.archive import Archive
from safelight.archive_layout import TRASH
from safelight.cli.changed_readings import print_changes
from safelight.cli.contents_command import print_what_came
from safelight.cli.options import archive_option, archive_words, check_archive, json_option
from safelight.cli.terminal import is_terminal, say, say_text, say_wrapped, tell, tell_next

if TYPE_CHECKING:
    from safelight.imports.folder_import import ImportSummary
    from safelight.imports.invokeai_queue import QueueSummary

_NO_END = "has not ended: it goes on, or was killed; importing again is safe"
_OUTCOMES = ("full", "partly", "none")
_MOST_FAULTS, _MOST_FAULTS_SHOWN = 20, 3


@click.command("import")
@click.argument("folders", nargs=-1, type=click.Path(exists=True, path_type=Path))
@archive_option
@click.option(
    "--jobs", type=click.IntRange(min=1), default=None, show_default="one per core, at most 8",
    help="Processes that read.",
)  # fmt: skip
@click.option(
    "--again", is_flag=True,
    help="Read also what is unchanged since the last import; what is read better counts.",
)  # fmt: skip
@click.option(
    "--summary", "only_summary", is_flag=True,
    help="Import nothing; print what was read of the pictures that the archive has.",
)  # fmt: skip
@click.option(
    "--history", is_flag=True, help="Import nothing; list the imports into the archive.",
)  # fmt: skip
@click.option("--rater", default="", help="Whose the ratings are that lie in the pictures.")
@click.option(
    "--invokeai", type=click.Path(exists=True, path_type=Path), default=None,
    help="InvokeAI's folder or its invokeai.db: what failed or was cancelled in its queue.",
)  # fmt: skip
@json_option
def command(
    folders: tuple[Path, ...],
    archive: Path,
    jobs: int | None,
    again: bool,
    only_summary: bool,
    history: bool,
    rater: str,
    invokeai: Path | None,
    as_json: bool,
) -> None:
    """Take in the pictures of other tools, with what they say about themselves.

    FOLDERS are searched with all that lies in them; picture files may be named as well. No
    file is changed, moved or deleted. A second import reads only what is new, and a picture
    that was moved or renamed stays the same picture, with its ratings.
    """
    from safelight.imports.folder_import import import_folders

    if bool(folders or invokeai is not None) + only_summary + history != 1:
        raise click.UsageError(
            "name folders or pictures, or --invokeai with its database; or ask for --summary or"
            " --history alone"
        )
    if only_summary or history:
        check_archive(archive)
        (_show_history if history else _show_summary)(archive, as_json=as_json)
        return
    kept = Archive(archive)
    queue = None
    if invokeai is not None:
        from safelight.imports.invokeai_queue import import_queue

        queue = import_queue(invokeai, kept)
    summary = None
    try:
        with import_progress(hidden=as_json) as show_summary:
            if folders:
                summary = import_folders(
                    folders, kept, jobs=jobs or min(8, os.cpu_count() or 1), again=again,
                    rater=rater, on_progress=show_summary,
                )  # fmt: skip
    except KeyboardInterrupt:
        tell("what was read until now is in the archive; the same command goes on from here")
        raise
    if as_json:
        told = {} if summary is None else summary.to_dict()
        told |= {} if queue is None else {"invokeai": queue.to_dict()}
        if summary is not None and summary.imported:
            from safelight.archive.contents import contents_of

            contents = contents_of(kept)
            told |= {"contents": asdict(contents), "next": asdict(next_step(contents))}
        say_text(json.dumps(told, ensure_ascii=False))
        return
    if summary is not None:
        _print(summary, archive)
        if summary.imported:
            print_what_came(kept, archive)
        elif summary.files:
            tell_next(f"contents{archive_words(archive)}")
        elif summary.lines:
            tell_next(f"find --no-picture{archive_words(archive)}")
        else:
            tell("no picture is there; safelight init looks at the usual places")
    if queue is not None:
        _print_queue(queue, archive)


def _print_queue(queue: QueueSummary, archive: Path) -> None:
    counts = f"{queue.failed:,} failed and {queue.cancelled:,} cancelled runs"
    say_wrapped(f"InvokeAI's queue: {counts} into {archive}", hanging=4)
    if queue.known:
        say(f"  {queue.known:>8,} known already")
    if queue.unread:
        say(f"  {queue.unread:>8,} of them without settings: their graph has no metadata")
    for warning in queue.warnings:
        say(f"  {warning}")


def _show_summary(archive: Path, *, as_json: bool) -> None:
    from safelight.imports.archive_summary import summary_of_archive

    summary = summary_of_archive(Archive(archive))
    if as_json:
        say_text(json.dumps(summary.to_dict(), ensure_ascii=False))
        return
    say(f"{summary.files:,} pictures of other tools in {archive}")
    if summary.gone:
        say(f"  {summary.gone:>8,} are not where they were")
    if summary.files:
        _print_readers(summary)


def _show_history(archive: Path, *, as_json: bool) -> None:
    from safelight.imports.import_accounts import import_accounts

    accounts = import_accounts(archive)
    if as_json:
        say_text(json.dumps([asdict(account) for account in accounts], ensure_ascii=False))
        return
    if not accounts:
        say("no imports")
    for account in accounts:
        counts = [
            f"{account.count(name):,} {word}"
            for name, word in (
                ("imported", "imported"), ("superseded", "read better"), ("known", "known already"),
                ("gone", "gone"), ("fault_count", "could not be read"),
            )
            if account.count(name)
        ]  # fmt: skip
        told = ", ".join(counts) if account.ended else _NO_END
        say_wrapped(
            f"{account.began[:16].replace('T', ' ')}  {', '.join(account.folders)}: {told}",
            hanging=4,
        )
        for fault in list(account.summary.get("faults", ()))[:_MOST_FAULTS_SHOWN]:
            say_wrapped(f"    {fault['path']}: {fault['told']}", hanging=8)


@contextmanager
def import_progress(*, hidden: bool) -> Iterator[Callable[[ImportSummary], None]]:
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
    for place in summary.passed_over:
        if TRASH in Path(place).parts:
            say_wrapped(f"{place} was passed over: it holds what was discarded", hanging=4)
            continue
        say_wrapped(
            f"{place} is the archive itself and was passed over: it has a record of all in it",
            hanging=4,
        )
    rate = summary.files / summary.seconds if summary.seconds else 0
    say(f"{summary.files:,} pictures in {summary.seconds:.1f} s ({rate:,.0f} a second)")
    say(f"  {summary.imported:>8,} imported into {archive}")
    if summary.unchanged:
        say(f"  {summary.unchanged:>8,} unchanged since the last import")
    if summary.known:
        say_wrapped(
            f"  {summary.known:>8,} known already: as before, moved, renamed or copied", hanging=11
        )
    if summary.superseded:
        say_wrapped(
            f"  {summary.superseded:>8,} known pictures say something else now:", hanging=11
        )
        print_changes(summary.changes)
    if summary.twins:
        say_wrapped(
            f"  {summary.twins:>8,} of the new ones have the image of another with other settings:",
            hanging=11,
        )
        for place in summary.twin_places[:_MOST_FAULTS]:
            say(f"  {place}")
        if summary.twins > (told := len(summary.twin_places[:_MOST_FAULTS])):
            say(f"  ... and {summary.twins - told:,} more")
    if summary.taken_in:
        say(f"  {summary.taken_in:>8,} had been read by an import that was killed")
    if summary.gone:
        say(f"  {summary.gone:>8,} are not where they were; their records and ratings stay")
    if summary.lines:
        what = "execution" if summary.lines == 1 else "executions"
        say(f"  {summary.lines:>8,} {what} told by tools: {_ends(summary)}")
    if summary.ratings:
        say(f"  {summary.ratings:>8,} ratings found in them")
    if summary.other_kinds:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in sorted(summary.other_kinds.items()))
        say_wrapped(f"  files of other kinds, which are not read: {kinds}", hanging=4)
    if summary.imported:
        _print_readers(summary)
    if summary.fault_count:
        say(f"{summary.fault_count:,} could not be read:")
        for fault in summary.faults[:_MOST_FAULTS]:
            say_wrapped(f"  {fault.path}: {fault.reason}", hanging=6)
        if summary.fault_count > _MOST_FAULTS:
            say(f"  ... and {summary.fault_count - _MOST_FAULTS:,} more (--json has them)")


def _ends(summary: ImportSummary) -> str:
    """Return how executions that left no picture of their own have ended."""
    counts = ((summary.failed, "failed"), (summary.cancelled, "cancelled"),
              (summary.alone, "left no picture file of their own"))  # fmt: skip
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    return told or "all left pictures"


def _print_readers(summary: ImportSummary) -> None:
    from collections import Counter

    from rich.table import Table

    from safelight.cli.rich_console import Console

    table = Table(box=None, pad_edge=False)
    table.add_column("made by", overflow="fold")
    for heading in ("fully", "partly", "not at all"):
        table.add_column(heading, justify="right")
    table.add_column("what is missing", overflow="fold")
    for name, counts in sorted(summary.read.items(), key=lambda item: (not item[0], item[0])):
        missing = summary.missing.get(name, Counter[str]())
        lacking = ", ".join(f"{what} in {n:,}" for what, n in sorted(missing.items()))
        cells = [f"{counts[o]:,}" if counts[o] else "" for o in _OUTCOMES]
        table.add_row(name or "nobody says", *cells, lacking)
    totals = [sum(c[o] for c in summary.read.values()) for o in _OUTCOMES]
    table.add_section()
    table.add_row("all", *(f"{total:,}" for total in totals), "")
    Console(highlight=False).print(table)
    if any(summary.missing.values()):
        say_wrapped("unresolved: not told in a way that can be followed; conflicting: two places in"
                    " the file disagree")  # fmt: skip
