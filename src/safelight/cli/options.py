"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = [
    "archive_option",
    "engine_option",
    "json_option",
    "override_option",
    "seed_option",
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
