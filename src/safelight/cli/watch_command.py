"""``safelight watch``."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safelight.cli.options import archive_option, json_option
from safelight.cli.terminal import say, say_text, tell
from safelight.operating_system import ignore_interrupts, step_far_behind

if TYPE_CHECKING:
    from safelight.application.watching import WatchedBatch, Watcher

_NICENESS = 5
_MOST_FAULTS = 3


@click.command("watch")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@archive_option
@click.option(
    "--poll", type=click.FloatRange(min=0.1), default=None, metavar="SECONDS",
    help="Look every so often, for folders of a network, whose changes are not told.",
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(min=1), default=None, show_default="one per core, at most 8",
    help="Processes that read where many pictures come at once.",
)  # fmt: skip
@click.option("--rater", default="", help="Whose the ratings are that lie in the pictures.")
@click.option("--beside", is_flag=True, hidden=True)
@json_option
def command(
    folders: tuple[Path, ...],
    archive: Path,
    poll: float | None,
    jobs: int | None,
    rater: str,
    beside: bool,
    as_json: bool,
) -> None:
    """Take in the pictures of other tools as they come, and what tools tell of their runs.

    FOLDERS are watched with all that lies in them: those to which ComfyUI, Forge, a trainer or a
    script write. What is there already is taken in first. Ctrl-C ends it; started again, it goes
    on with what came meanwhile. Nothing is changed, moved or deleted.
    """
    from safelight.application.watching import Watcher
    from safelight.archive import Archive
    from safelight.imports.spools import SPOOL_FOLDER

    watcher = Watcher(
        folders, Archive(archive), poll=poll, jobs=jobs or min(8, os.cpu_count() or 1), rater=rater
    )
    before = signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
    if beside:
        _end_with_standard_input(watcher)
    shown = ", ".join(str(each) for each in folders if each.name != SPOOL_FOLDER or not beside)
    if not beside:
        tell(f"watching {shown} for {archive}, {watcher.how}  (Ctrl-C ends it)")
    elif shown:
        tell(f"watching {shown}, {watcher.how}")
    try:
        watcher.run(_say_json if as_json else _say if shown else _say_of_page)
    except KeyboardInterrupt:
        tell("stopped; the same command goes on from here")
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_standard_input(watcher: Watcher) -> None:
    """End when whoever started this is gone, and leave Control-C to them."""
    ignore_interrupts()
    step_far_behind(_NICENESS)

    def wait_for_the_end() -> None:
        # Not by sys.stdin: a process that ends while somebody reads there ends in an abort.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        watcher.stop()

    threading.Thread(target=wait_for_the_end, daemon=True).start()


def _say_json(batch: WatchedBatch) -> None:
    say_text(json.dumps(batch.to_dict(), ensure_ascii=False))


def _say_of_page(batch: WatchedBatch) -> None:
    """Say what tools have posted to the page, if there is something."""
    if not batch.is_first or batch.summary.lines:
        _say(batch)


def _say(batch: WatchedBatch) -> None:
    if batch.news:
        say(batch.news)
        return
    summary, old = batch.summary, len(batch.told_before)
    known = summary.unchanged + summary.known if batch.is_first else summary.known
    counts = (
        (summary.imported, "new pictures" if summary.imported != 1 else "new picture"),
        (summary.superseded, "read better"), (summary.failed, "failed"),
        (summary.cancelled, "cancelled"), (summary.alone, "without a new picture"),
        (summary.gone, "gone"), (known, "known" if batch.is_first else "in the archive already"),
        (summary.fault_count - old, "could not be read"), (old, "still cannot be read"),
    )  # fmt: skip
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    if batch.is_first:
        say(f"there already: {told or 'no pictures'}")
    elif told:
        say(f"{told}{f': {batch.newest}' if batch.newest else ''}")
    new = [fault for fault in summary.faults if fault not in batch.told_before]
    for fault in new[:_MOST_FAULTS]:
        say(f"  {fault.path}: {fault.reason}")
    if len(new) > _MOST_FAULTS:
        say(f"  and {len(new) - _MOST_FAULTS:,} more; safelight import tells each")
