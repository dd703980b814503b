"""``safelight schema``."""

from __future__ import annotations

import json

import click

from safelight.cli.terminal import say_text
from safelight.config_schema import config_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a config, for editors.

    Write it beside your configs and begin each TOML file with
    ``#:schema ./safelight.schema.json``.
    """
    say_text(json.dumps(config_schema(), indent=2, ensure_ascii=False))
