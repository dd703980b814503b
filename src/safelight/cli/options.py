"""Options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from safelight.randomizer_config import LARGE_PLAN

__all__ = [
    "archive_option",
    "ask_for_large_plan",
    "engine_option",
    "json_option",
    "override_option",
    "seed_option",
    "yes_option",
]


archive_option = click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="SAFELIGHT_ARCHIVE",
    default=Path("safelight"),
    show_default="./safelight",
    show_envvar=True,
    help="Folder that holds records and images.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
override_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Put a value over the config's, as --set txt2img.steps=30; may be repeated.",
)
engine_option = click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the engine, as --option url=http://127.0.0.1:8188; may be repeated.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of everything the plan draws; a new one is drawn without it.",
)
yes_option = click.option(
    "--yes", is_flag=True, help=f"Draw also a plan of more than {LARGE_PLAN:,} variants unasked."
)


def ask_for_large_plan(size: int, *, yes: bool) -> None:
    """Ask whether a plan of *size* variants is meant to be drawn, when it is a large one.

    Raises:
        click.Abort: It is not.
        click.UsageError: There is nobody to ask.
    """
    if size <= LARGE_PLAN or yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(
            f"the plan has {size:,} variants, which is more than {LARGE_PLAN:,}: say --yes if that"
            " is meant, or set randomizer.max_variants"
        )
    click.confirm(f"The plan has {size:,} variants. Draw them all?", abort=True, err=True)
