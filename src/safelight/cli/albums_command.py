"""``safelight albums``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from safelight.application.albums import (
    add_to_album,
    album_condition,
    albums,
    delete_album,
    remove_from_album,
    rename_album,
)
from safelight.application.rating import identity_of_file
from safelight.archive import Archive
from safelight.cli.grouped_help import NamedCommands
from safelight.cli.options import archive_option, archive_words, json_option
from safelight.cli.rate_command import events_as_json, of_how_many
from safelight.cli.terminal import say, say_text, tell
from safelight.learning.ratings import RatingEvent

_rater = click.option("--rater", default="", help="Who says so.")
_where = click.option("--where", "condition", help="Every picture that meets this filter.")
_images = click.argument(
    "images", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)


@click.group("albums", cls=NamedCommands, invoke_without_command=True)
@archive_option
@json_option
@click.pass_context
def command(context: click.Context, archive: Path, as_json: bool) -> None:
    """List the albums, and how many pictures are in each.

    An album is a name for pictures, wherever they lie. Look at one: safelight find "album = 'x'".
    """
    context.obj = archive
    if context.invoked_subcommand is not None:
        return
    listed = albums(Archive(archive))
    if as_json:
        say_text(json.dumps([asdict(album) for album in listed], ensure_ascii=False, indent=2))
        return
    for album in listed:
        say(f"{album.pictures:>8,}  {album.name}")
    if not listed:
        tell(f"there is no album; begin one with: safelight albums{archive_words(archive)}"
             " add NAME --where FILTER")  # fmt: skip


@command.command("add")
@click.argument("name")
@_images
@_where
@_rater
@json_option
@click.pass_obj
def add(
    archive: Path,
    name: str,
    images: tuple[Path, ...],
    condition: str | None,
    rater: str,
    as_json: bool,
) -> None:
    """Put IMAGES, or every picture that meets a filter, into album NAME."""
    where = f"into {name!r}"
    _change(add_to_album, archive, name, images, condition, rater, where, as_json=as_json)


@command.command("remove")
@click.argument("name")
@_images
@_where
@_rater
@json_option
@click.pass_obj
def remove(
    archive: Path,
    name: str,
    images: tuple[Path, ...],
    condition: str | None,
    rater: str,
    as_json: bool,
) -> None:
    """Take IMAGES, or every picture that meets a filter, out of album NAME."""
    where = f"out of {name!r}"
    _change(remove_from_album, archive, name, images, condition, rater, where, as_json=as_json)


@command.command("rename")
@click.argument("name")
@click.argument("new")
@_rater
@json_option
@click.pass_obj
def rename(archive: Path, name: str, new: str, rater: str, as_json: bool) -> None:
    """Give album NAME the name NEW."""
    events = rename_album(Archive(archive), name, new, rater=rater)
    _tell(archive, events, f"now in {new!r}", as_json=as_json)


@command.command("delete")
@click.argument("name")
@_rater
@json_option
@click.pass_obj
def delete(archive: Path, name: str, rater: str, as_json: bool) -> None:
    """Empty album NAME, which is gone then. Its pictures stay where they are."""
    events = delete_album(Archive(archive), name, rater=rater)
    _tell(archive, events, f"out of {name!r}", as_json=as_json)


@command.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show(archive: Path, name: str, as_json: bool) -> None:
    """List the files of album NAME."""
    answer = Archive(archive).query(album_condition(name), columns=["path"], limit=None)
    paths = [path for (path,) in answer.rows]
    if as_json:
        say_text(json.dumps(paths, ensure_ascii=False, indent=2))
        return
    for path in paths:
        say(path)
    if not paths:
        tell(f"no picture is in an album {name!r}")


def _change(
    change: Callable[..., tuple[RatingEvent, ...]],
    archive: Path,
    name: str,
    images: tuple[Path, ...],
    condition: str | None,
    rater: str,
    where: str,
    *,
    as_json: bool,
) -> None:
    if not images and condition is None:
        raise click.UsageError("name pictures, or choose them with --where")
    named = [identity_of_file(image) for image in images]
    events = change(Archive(archive), name, condition, named, rater=rater)
    _tell(archive, events, where, as_json=as_json)


def _tell(archive: Path, events: tuple[RatingEvent, ...], where: str, *, as_json: bool) -> None:
    if as_json:
        say_text(json.dumps(events_as_json(events), ensure_ascii=False, indent=2))
        return
    for event in events:
        say(f"{event.event_id}  {where}{of_how_many(event)}")
    if not events:
        say("no picture meets the filter: nothing was done", err=True)
        return
    words = archive_words(archive)
    tell(f"take it back with: safelight rate{words} --undo {events[-1].event_id}")
