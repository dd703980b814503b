"""``safelight diff``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from safelight.archive import Archive
from safelight.archive.differences import differences
from safelight.cli.options import existing_archive_option, json_option
from safelight.cli.terminal import say, say_text, say_wrapped


@click.command("diff")
@click.argument("first")
@click.argument("second")
@existing_archive_option
@json_option
def command(first: str, second: str, archive: Path, as_json: bool) -> None:
    """Show what differs between two runs, and whether exactly one thing does.

    FIRST and SECOND are run ids, or the beginnings of some, or last.
    """
    opened = Archive(archive)
    differing = differences(opened.record(first), opened.record(second))
    if as_json:
        say_text(json.dumps(msgspec.to_builtins(differing), ensure_ascii=False, default=str))
        return
    width = max((len(difference.what) for difference in differing), default=0)
    for difference in differing:
        words = f"{difference.what:{width}}  {difference.first!r} -> {difference.second!r}"
        say_wrapped(words, hanging=min(width + 2, 24))
    if not differing:
        say("nothing differs but the runs themselves")
    elif len(differing) == 1:
        say(f"exactly one thing differs: {differing[0].what}")
    else:
        say(f"{len(differing)} things differ, so neither run is evidence about one of them")
