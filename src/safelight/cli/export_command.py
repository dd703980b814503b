"""``safelight export``."""

from __future__ import annotations

from pathlib import Path

import click

from safelight.application.exporting import (
    LAYOUTS,
    copy_pairs,
    mirror_ratings,
    write_pairs,
    write_table,
)
from safelight.archive import Archive
from safelight.cli.options import existing_archive_option
from safelight.cli.terminal import say


@click.command("export")
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("condition", default="")
@existing_archive_option
@click.option(
    "--pairs", type=click.Choice([*LAYOUTS, "kohya"]),
    help="Preference pairs in a trainer's layout.",
)  # fmt: skip
@click.option("--csv-raw", is_flag=True, help="Leave cells of .csv as they are, also formulas.")
@click.option("--xmp", is_flag=True, help="Also write stars and rejects to NAME.xmp by each file.")
def command(
    target: Path, condition: str, archive: Path, pairs: str | None, csv_raw: bool, xmp: bool
) -> None:
    """Write the pictures that meet CONDITION to TARGET: .jsonl, .csv or .parquet.

    In .csv, a text that a spreadsheet would take for a formula begins with an apostrophe.

    With --pairs, TARGET (.jsonl) gets preference pairs from ratings among those pictures, and a
    card beside it says how many, by whom and from when; for kohya, TARGET is a new folder of
    copies, w/ the winners and l/ the losers, with captions.

    With --xmp, photo programs see the ratings too: a sidecar beside each rated picture. One that
    another program wrote is left alone.
    """
    try:
        opened = Archive(archive)
        if xmp:
            written, left = mirror_ratings(opened, condition)
            say(f"{written:,} XMP sidecars written, {left:,} of other programs left alone")
        if pairs == "kohya":
            files, made, missing = copy_pairs(opened, condition, target)
            say(f"{files:,} pictures of {made:,} pairs copied to {target}")
            if missing:
                say(f"{missing:,} pictures are no longer where the archive knows them")
        elif pairs is None:
            count = write_table(opened, condition, target, raw=csv_raw)
            say(f"{count:,} pictures written to {target}")
        else:
            count, made = write_pairs(opened, condition, target, pairs)
            say(f"{count:,} rows from {made:,} pairs written to {target}")
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error}") from error
