"""``safelight archive discard``, ``restore`` and ``empty-trash``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.archive import Archive
from safelight.cli.options import archive_words, existing_archive_option, json_option
from safelight.cli.terminal import progress_of, say, say_text, say_wrapped

if TYPE_CHECKING:
    from safelight.application.discarding import ToDiscard
    from safelight.archive import Fault
    from safelight.archive.trash import DiscardedFile, Moved

__all__ = ["discard", "empty_trash", "restore", "size_words"]

_MOST = 20
"""Files that are named."""

_yes_option = click.option("--yes", is_flag=True, help="Do it without asking.")
_dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, only.")


@click.command("discard")
@click.argument("condition", metavar="FILTER")
@existing_archive_option
@_yes_option
@_dry_run_option
@json_option
def discard(condition: str, archive: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Move the files of pictures that meet FILTER into the trash, from where they can be restored.

    They go to .safelight-trash/DATE on their own file system: by another name only, never by a
    copy. Only files whose bytes are those that the archive knows are moved, of its own pictures and
    in folders that were imported from. Records and ratings stay. Exit status: 0 all were moved, 1
    some were left, and told.
    """
    from safelight.application.discarding import discard as discarded
    from safelight.application.discarding import settle_trash, to_discard

    opened = Archive(archive)
    if not dry_run:
        settle_trash(opened)
    chosen = to_discard(opened, condition)
    if dry_run:
        _tell_choice(chosen, as_json=as_json)
        return
    if not as_json:
        _tell_choice(chosen, as_json=False)
    if not chosen.files:
        if as_json:
            say_text(json.dumps({"files": 0, "size": 0, "left": _told(chosen.left)}))
        raise SystemExit(1 if chosen.left else 0)
    _ask(f"Move {_files(len(chosen.files))} into the trash?", yes=yes)
    with progress_of("moving", hidden=as_json) as show_progress:
        moved = discarded(opened, chosen, datetime.now().astimezone(), on_progress=show_progress)
    _tell_moved(moved, "moved into the trash", as_json=as_json)
    if moved.files and not as_json:
        undo = f"safelight archive restore {moved.name}{archive_words(archive)}"
        say(f"undo it with: {undo}")
    raise SystemExit(1 if moved.left else 0)


@click.command("restore")
@click.argument("which", metavar="[DATE|DISCARD|FILE|FILTER]", default="")
@existing_archive_option
@_yes_option
@_dry_run_option
@json_option
def restore(which: str, archive: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Move files of the trash back to where they were: all, or those of a date, discard or filter.

    A single one by its name, or by where it was. Never over another file: what lies there now
    stays, and is told. With --dry-run it lists what is in the trash. Exit status: 0 all were
    restored, 1 some were left, and told.
    """
    from safelight.application.discarding import restore as restored

    moved = _with_trash(
        which, archive, "Restore {}?", restored, "restored", yes=yes, dry_run=dry_run,
        as_json=as_json,
    )  # fmt: skip
    raise SystemExit(1 if moved is not None and moved.left else 0)


@click.command("empty-trash")
@click.argument("which", metavar="[DATE|DISCARD|FILE|FILTER]", default="")
@existing_archive_option
@_yes_option
@_dry_run_option
@json_option
def empty_trash(which: str, archive: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Delete files of the trash for good: all, or those of a date, discard or filter.

    A single one by its name, or by where it was. Nothing else in safelight deletes a picture.
    Records and ratings stay. Exit status: 0 all were deleted, 1 some were left, and told.
    """
    from safelight.application.discarding import empty_trash as emptied

    moved = _with_trash(
        which, archive, "Delete {} for good? They cannot be restored then.", emptied,
        "deleted for good", yes=yes, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    raise SystemExit(1 if moved is not None and moved.left else 0)


def _with_trash(
    which: str,
    archive: Path,
    question: str,
    act: Any,
    done: str,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> Moved | None:
    from safelight.application.discarding import in_trash, settle_trash

    opened = Archive(archive)
    if not dry_run:
        settle_trash(opened)
    files = in_trash(opened, which)
    if dry_run or not files:
        _tell_trash(files, as_json=as_json)
        return None
    if not as_json:
        _tell_trash(files, as_json=False)
    _ask(question.format(_files(len(files))), yes=yes)
    with progress_of("moving", hidden=as_json) as show_progress:
        moved: Moved = act(opened, files, on_progress=show_progress)
    _tell_moved(moved, done, as_json=as_json)
    return moved


def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is nobody to ask: say --yes if that is meant")
    click.confirm(question, abort=True, err=True)


def _tell_choice(chosen: ToDiscard, *, as_json: bool) -> None:
    if as_json:
        counts = {
            "files": len(chosen.files), "size": chosen.size, "folders": dict(chosen.folders),
            "already": chosen.already, "used_again": chosen.used_again, "led_to": chosen.led_to,
            "linked": chosen.linked, "left": _told(chosen.left),
        }  # fmt: skip
        say_text(json.dumps(counts))
        return
    say(f"{_files(len(chosen.files))}, {size_words(chosen.size)}")
    for folder, count in chosen.folders.items():
        say(f"  {count:>8,} in {folder}")
    for count, words in (
        (chosen.already, "were discarded before"),
        (chosen.used_again, "of them are used by records of further runs, too"),
        (chosen.led_to, "of them led to other pictures, which stay"),
        (chosen.linked, "of them have another name on the disk, and free no room"),
    ):
        if count:
            say(f"  {count:>8,} {words}")
    _tell_left(chosen.left)


def _tell_trash(files: Sequence[DiscardedFile], *, as_json: bool) -> None:
    from safelight.application.discarding import trash_days

    days = trash_days(files)
    if as_json:
        listed = [{"day": day.day, "files": day.files, "size": day.size, "discards": day.discards}
                  for day in days]  # fmt: skip
        say_text(json.dumps({"days": listed}))
        return
    size = sum(file.size for file in files)
    say(f"{_files(len(files))} in the trash, {size_words(size)}" if files
        else "nothing of that is in the trash")  # fmt: skip
    for day in days:
        say(f"  {day.day}  {day.files:>8,}  {size_words(day.size)}")


def _tell_moved(moved: Moved, done: str, *, as_json: bool) -> None:
    if as_json:
        answer = {"discard": moved.name, "files": moved.files, "size": moved.size,
                  "left": _told(moved.left)}  # fmt: skip
        say_text(json.dumps(answer))
        return
    say(f"{_files(moved.files)} {done}, {size_words(moved.size)}")
    _tell_left(moved.left)


def _tell_left(left: Sequence[Fault]) -> None:
    for fault in left[:_MOST]:
        say_wrapped(f"  left: {fault.path}: {fault.reason}", hanging=6)
    if len(left) > _MOST:
        say(f"  ... and {len(left) - _MOST:,} more")


def _told(left: Sequence[Fault]) -> list[dict[str, str]]:
    return [{"path": str(fault.path), "told": fault.reason} for fault in left]


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def size_words(size: int) -> str:
    """Return a size in bytes as people say it: ``1.4 GB``."""
    number = float(size)
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"
