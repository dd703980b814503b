"""``safelight folders``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from safelight.application.allowed_folders import AllowedFolders
from safelight.cli.grouped_help import NamedCommands
from safelight.cli.options import json_option
from safelight.cli.terminal import say, say_text, say_wrapped, tell_next
from safelight.machine_folders import configuration_folder


@click.group("folders", cls=NamedCommands, invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the folders below which configs from the page may name files.

    Those are wildcards, input pictures and models, beside the archive's own pictures.
    """
    if context.invoked_subcommand is not None:
        return
    folders = _folders()
    listed = [str(folder) for folder in folders.read()]
    if as_json:
        say_text(json.dumps(listed, ensure_ascii=False, indent=2))
        return
    for folder in listed:
        say(folder)
    say_wrapped(f"the list is {folders.path}", hanging=2, err=True)
    tell_next("folders add DIR")


@command.command("add")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def add(folder: Path, as_json: bool) -> None:
    """Let configs from the page name files below FOLDER."""
    added = _folders().add(folder)
    if as_json:
        say_text(json.dumps({"added": str(added)}, ensure_ascii=False))
        return
    say(f"the page may name files below {added}")


@command.command("remove")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def remove(folder: Path, as_json: bool) -> None:
    """Take FOLDER out of the list."""
    _folders().remove(folder)
    if as_json:
        say_text(json.dumps({"removed": str(folder)}, ensure_ascii=False))
        return
    say(f"{folder} is not in the list any more")


def _folders() -> AllowedFolders:
    return AllowedFolders(configuration_folder())
