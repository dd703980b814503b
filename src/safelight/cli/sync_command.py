"""``safelight sync``."""

from __future__ import annotations

from pathlib import Path

import click

from safelight.cli.carried import carried_as_json, print_carried
from safelight.cli.options import archive_option, json_option
from safelight.cli.terminal import progress_of, say_text


@click.command("sync")
@click.argument("url")
@click.option("--push/--no-push", default=True, help="Put what the store lacks.")
@click.option("--pull/--no-pull", default=True, help="Fetch what the archive lacks.")
@archive_option
@json_option
def command(url: str, push: bool, pull: bool, archive: Path, as_json: bool) -> None:
    """Make this archive and the one on an object store equal.

    URL is s3://bucket/folder, gs://, az:// or file:///; who may use it is told by the
    environment (AWS_ACCESS_KEY_ID and so on). Nothing is overwritten or deleted on either side.
    Exit status: 0 all is on both sides, 1 something could not be carried.
    """
    from safelight.application.keeping import sync_with
    from safelight.archive import Archive

    moved = {}
    for word, carried in sync_with(
        Archive(archive), url, push=push, pull=pull,
        showing=lambda word: progress_of(word, hidden=as_json),
    ):  # fmt: skip
        moved[word] = carried
        if not as_json:
            print_carried(carried, word)
    if as_json:
        say_text(carried_as_json(moved))
    if any(side.bad_count or side.conflicts for side in moved.values()):
        raise SystemExit(1)
