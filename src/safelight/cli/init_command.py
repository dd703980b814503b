"""``safelight init``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.archive_layout import imports_folder
from safelight.cli.options import archive_option, archive_words, engine_list, json_option
from safelight.cli.terminal import say, say_text, say_wrapped, tell
from safelight.operating_system import quoted

if TYPE_CHECKING:
    from safelight.application.engine_list import ListedEngine
    from safelight.application.first_steps import FoundEngine, FoundFolder
    from safelight.imports.folder_import import ImportSummary

_CONFIG = Path("safelight.toml")


@click.command("init")
@archive_option
@click.option("--yes", is_flag=True,
              help="Ask nothing, and import the pictures of every tool that is found.")  # fmt: skip
@click.option("--no-import", is_flag=True, help="Import no pictures, and do not ask.")
@json_option
def command(archive: Path, yes: bool, no_import: bool, as_json: bool) -> None:
    """Set up for this machine: find engines and pictures, and write a first config.

    It asks this machine alone whether A1111, Forge or ComfyUI listen at their usual ports, puts
    what it finds into your list of engines, looks for the folders of known tools, asks before it
    reads any picture, and writes safelight.toml into this folder unless one is there. Without a
    terminal it asks nothing and reads no picture.
    """
    from safelight.application.config_text import write_config
    from safelight.application.first_steps import (
        ASKED_PORTS,
        find_engines,
        find_folders,
        first_config,
        keep_engine,
        next_commands,
    )

    if yes and no_import:
        raise click.UsageError("--yes imports pictures, and --no-import imports none: give one")
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not (yes or no_import or as_json)
    if not as_json:
        tell(f"asking this machine for engines, at ports {', '.join(map(str, ASKED_PORTS))}")
    engines = engine_list()
    listed: dict[str, ListedEngine] = {}
    found = find_engines()
    for one in found:
        if one.backend:
            listed[one.url] = keep_engine(engines, one.url, one.backend)
    if not as_json:
        _print_engines(found, listed)
        tell("looking for folders of pictures")
    folders = find_folders(Path.home(), os.environ, archive, counts=asks or yes)
    if not as_json:
        _print_folders(folders)
    chosen = [one for one in folders if _is_wanted(one, asks=asks, yes=yes)]
    summary = _imported(chosen, archive, as_json=as_json)
    first = next((one for one in found if one.url in listed), None)
    engine = None if first is None else listed[first.url]
    is_new = not os.path.lexists(_CONFIG)
    if is_new:
        config, comments = first_config(
            engine,
            () if first is None else first.models,
            on_processor=first is not None and first.on_processor,
        )
        write_config(_CONFIG, config, comments)
    left = next((one.path for one in folders if one.is_of_tool), None)
    steps = [
        (f"safelight {one.words}{archive_words(archive) if one.takes_archive else ''}", one.why)
        for one in next_commands(
            imported=bool(summary and summary.files) or imports_folder(archive).is_dir(),
            engine=None if engine is None else engine.name,
            folder=None if left is None else quoted(str(left)), config=str(_CONFIG),
        )
    ]  # fmt: skip
    if as_json:
        document = {
            "engines": [
                asdict(one) | {"name": listed[one.url].name if one.url in listed else None}
                for one in found
            ],
            "folders": [asdict(one) | {"path": str(one.path)} for one in folders],
            "import": None if summary is None else summary.to_dict(),
            "config": str(_CONFIG), "config_written": is_new,
            "next": [words for words, _ in steps],
        }  # fmt: skip
        say_text(json.dumps(document, ensure_ascii=False, indent=2))
        return
    told = "a first config; change it as you like" if is_new else "was there, and stays as it is"
    say(f"config   {_CONFIG}: {told}")
    say()
    say("next")
    for words, why in steps:
        say(f"  {words}")
        say(f"      {why}")


def _print_engines(found: Sequence[FoundEngine], listed: dict[str, ListedEngine]) -> None:
    for one in found:
        if one.url in listed:
            name = listed[one.url].name
            slow = ", without a graphics card" if one.on_processor else ""
            told = f'{one.backend} at {one.url}{slow}; configs name it: backend = "{name}"'
            say_wrapped(f"engine   {told}", hanging=9)
        else:
            say_wrapped(f"port     {one.url} {one.told}", hanging=9)
    if not listed:
        say("engine   none listens here; the model in the box draws without one")


def _print_folders(folders: Sequence[FoundFolder]) -> None:
    for one in folders:
        count = "" if one.pictures is None else f", {_counted(one)}"
        say_wrapped(f"folder   {one.name}{count}: {one.path}", hanging=9)
    if not folders:
        say_wrapped("folder   no pictures at the usual places; safelight import FOLDER takes in any"
                    " other", hanging=9)  # fmt: skip


def _is_wanted(folder: FoundFolder, *, asks: bool, yes: bool) -> bool:
    """Return whether the pictures of *folder* are to be taken in."""
    if not asks:
        return yes and folder.is_of_tool
    tell()
    tell(
        f"{folder.path} ({folder.name}) has {_counted(folder)}. Importing reads what they say about"
    )
    tell("themselves; none is changed, moved or copied.")
    return click.confirm("Import them?", default=folder.is_of_tool, err=True)


def _counted(folder: FoundFolder) -> str:
    more = "" if folder.is_whole else " or more"
    return f"{folder.pictures:,} picture{'' if folder.pictures == 1 else 's'}{more}"


def _imported(
    folders: Sequence[FoundFolder], archive: Path, *, as_json: bool
) -> ImportSummary | None:
    from safelight.archive import Archive
    from safelight.cli.import_command import import_progress
    from safelight.imports.folder_import import import_folders

    if not folders:
        return None
    paths: list[Any] = [one.path for one in folders]
    with import_progress(hidden=as_json) as show_progress:
        summary = import_folders(
            paths, Archive(archive), jobs=min(8, os.cpu_count() or 1), on_progress=show_progress
        )
    if not as_json:
        known = summary.files - summary.imported - summary.fault_count
        say_wrapped(f"pictures {summary.imported:,} imported into {archive}, {known:,} known"
                    f" already, {summary.fault_count:,} could not be read", hanging=9)  # fmt: skip
    return summary
