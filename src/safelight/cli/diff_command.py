"""``safelight diff``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from safelight.archive import Archive
from safelight.archive.differences import differences
from safelight.cli.options import existing_archive_option, json_option


@click.command("diff")
@click.argument("first")
@click.argument("second")
@existing_archive_option
@json_option
def command(first: str, second: str, archive: Path, as_json: bool) -> None:
    """Show what differs between two runs, and whether exactly one thing does.

    FIRST and SECOND are run ids, or the beginnings of some, or ``last``.
    """
    found = Archive(archive)
    told = differences(found.record(first), found.record(second))
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(told), ensure_ascii=False, default=str))
        return
    width = max((len(difference.what) for difference in told), default=0)
    for difference in told:
        click.echo(f"{difference.what:{width}}  {difference.first!r} -> {difference.second!r}")
    if not told:
        click.echo("nothing differs but the runs themselves")
    elif len(told) == 1:
        click.echo(f"exactly one thing differs: {told[0].what}")
    else:
        click.echo(f"{len(told)} things differ, so neither run is evidence about one of them")
