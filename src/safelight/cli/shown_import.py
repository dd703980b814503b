"""An imported picture, or any picture file, as ``safelight show`` prints it."""

from __future__ import annotations

from pathlib import Path

from safelight.application.picture_settings import (
    PictureSettings,
    Setting,
    read_picture_file,
    settings_in_archive,
    settings_of,
)
from safelight.archive import Archive
from safelight.cli.rich_console import Console, cell, lines_in_cell
from safelight.learning import LearningRecord

__all__ = ["LEARNED", "print_import", "print_settings_table", "record_of_file"]

_MOST_REST = 30
LEARNED = {
    "read": "",
    "defaulted": "left out, which means this for its tool",
    "unresolved": "not told in a way that can be followed",
    "conflicting": "two places disagree",
}
"""How a setting is known -> what is said of that, on the page as well."""

_OUTCOMES = {
    "full": "fully: it could be drawn again",
    "partly": "partly",
    "none": "nothing: the file does not say how it was made",
}


def record_of_file(path: Path) -> LearningRecord:
    """Return the record that *path* would become if it were imported; nothing is kept.

    Raises:
        ImageError: It cannot be read as a picture.
    """
    record = read_picture_file(path).record
    assert record is not None  # a file is read as an import would, which makes one
    return record


def print_import(record: LearningRecord, archive: Path) -> None:
    """Print what is known of a picture in the order people read it, and how it was learned.

    Args:
        record: Of one picture: what an import made of it, or would.
        archive: Where the record of the run that made it is looked for.
    """
    from rich.table import Table

    console, told = Console(), settings_of(record)
    run = record.run_id
    if told.sha256 and archive.is_dir():
        known = settings_in_archive(Archive(archive), told.sha256)
        if known is not None and known.record is not None:
            told, run = known, known.record.run_id
    head = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    head.add_column(no_wrap=True)
    head.add_column(overflow="fold")
    rows = {
        "picture": next((output.path or "" for output in record.outputs), ""),
        "run": run,
        "made by": f"{told.tool} {told.version}".strip() or "nobody says",
        "file changed": record.timestamp,
        "size": f"{told.width}x{told.height}",
        "read": _OUTCOMES.get(told.outcome, ""),
        "not read": ", ".join(told.unread),
        "prompt": told.words,
        "negative": told.negative,
    }
    for name, value in rows.items():
        if value:
            head.add_row(cell(name, "bold"), lines_in_cell(value.splitlines()))
    console.print(head)
    print_settings_table(console, told)
    for warning in told.warnings:
        console.print(cell(f"warning: {warning}"))


def print_settings_table(console: Console, told: PictureSettings) -> None:
    """Print each setting, its value and how it was learned."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("setting", "value", "how it is known"):
        table.add_column(column, overflow="fold")
    shown = [*told.settings, *told.rest[:_MOST_REST]]
    for place, one in enumerate(shown, 1):
        learned = LEARNED.get(one.status, one.status)
        is_last = place == len(told.settings) < len(shown)
        table.add_row(cell(one.name), lines_in_cell(_lines(one)), learned, end_section=is_last)
    if table.rows:
        console.print(table)
    if len(told.rest) > _MOST_REST:
        more = len(told.rest) - _MOST_REST
        console.print(f"... and {more:,} more settings (--json shows all)")


def _lines(one: Setting) -> list[str]:
    spelled = f" ({one.native})" if one.native else ""
    asked = [] if one.asked is None else [f"asked for: {one.asked or 'nothing'}"]
    return [
        *(one.value + spelled).splitlines(), *asked, *(f"or: {other}" for other in one.others)
    ]  # fmt: skip
