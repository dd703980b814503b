"""``safelight sync``."""

from __future__ import annotations

from pathlib import Path

import click

from safelight.cli.options import archive_option, as_click_error
from safelight.errors import SafelightError


@click.command("sync")
@click.argument("url")
@click.option("--push/--no-push", default=True, help="Put what the store lacks.")
@click.option("--pull/--no-pull", default=True, help="Fetch what the archive lacks.")
@archive_option
def command(url: str, push: bool, pull: bool, archive: Path) -> None:
    """Make this archive and the one on an object store equal.

    URL is s3://bucket/folder, gs://, az:// or file:///; who may use it is told by the
    environment (AWS_ACCESS_KEY_ID and so on). Nothing is overwritten or deleted on either side.
    """
    from safelight.object_archive import ObjectArchive, open_store

    try:
        shared = ObjectArchive(open_store(url))
        for wanted, move, word in ((push, shared.push, "put"), (pull, shared.pull, "fetched")):
            if wanted:
                moved = move(archive)
                click.echo(f"{moved.files:,} files {word}, {moved.bytes / 2**20:,.1f} MiB")
                for name in moved.conflicts[:20]:
                    click.echo(f"  differs there, left as it is: {name}")
    except SafelightError as error:
        raise as_click_error(error) from error
