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

    watcher = Watcher(
        folders, Archive(archive), poll=poll, jobs=jobs or min(8, os.cpu_count() or 1), rater=rater
    )
    before = signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
    if beside:
        _end_with_standard_input(watcher)
    shown = ", ".join(map(str, folders))
    tell(f"watching {shown} for {archive}, {watcher.how}  (Ctrl-C ends it)")
    try:
        watcher.run(_say_json if as_json else _say)
    except KeyboardInterrupt:
        tell("stopped; the same command goes on from here")
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_standard_input(watcher: Watcher) -> None:
    """End when whoever started this is gone, and leave Control-C to them."""
    ignore_interrupts()
    step_far_behind(_NICENESS)

    def wait_for_the_end() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        watcher.stop()

    threading.Thread(target=wait_for_the_end, daemon=True).start()


def _say_json(batch: WatchedBatch) -> None:
    say_text(json.dumps(batch.to_dict(), ensure_ascii=False))


def _say(batch: WatchedBatch) -> None:
    if batch.news:
        say(batch.news)
        return
    summary = batch.summary
    counts = (
        (summary.imported, "new pictures" if summary.imported != 1 else "new picture"),
        (summary.superseded, "say more now"), (summary.failed, "failed"),
        (summary.cancelled, "cancelled"), (summary.alone, "without a new picture"),
        (summary.gone, "gone"), (summary.fault_count, "could not be read"),
    )  # fmt: skip
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    if batch.is_first:
        known = f"{summary.unchanged + summary.known:,} known"
        say(f"there already: {f'{told}, {known}' if told else known}")
    elif told:
        say(f"{told}{f': {batch.newest}' if batch.newest else ''}")
    for fault in summary.faults[:_MOST_FAULTS]:
        say(f"  {fault.path}: {fault.reason}")
