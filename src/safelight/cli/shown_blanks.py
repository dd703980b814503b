"""Executions that ended without a picture, as ``find --no-picture`` and ``show`` print them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safelight.application.blanks import Blank, BlankPage, count_words
from safelight.cli.options import archive_words
from safelight.cli.terminal import say, say_text, say_wrapped, tell_next

__all__ = ["print_blank", "print_blanks"]


def print_blanks(page: BlankPage, archive: Path, *, as_json: bool) -> None:
    """Print the executions of *page*, the newest first: when, how it ended, why, and of what."""
    if as_json:
        told = {
            "rows": [_plain(blank) for blank in page.blanks], "after": page.after,
            "count": page.count, "by_status": dict(page.by_status),
        }  # fmt: skip
        say_text(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for blank in page.blanks:
        moment = blank.began[:16].replace("T", " ")
        say(f"{blank.run_id}  {moment}  {blank.ended}, {blank.tool}")
        if blank.why:
            say_wrapped(f"    {blank.why}", hanging=4)
        say_wrapped("    " + " · ".join((blank.words, *blank.facts)), hanging=4)
    if not page.blanks:
        say("nothing found")
        return
    what = "execution" if page.count == 1 else "executions"
    say(f"{page.count:,} {what} ended without a picture: {count_words(page.by_status)}")
    if page.after:
        say(f"more: --after {page.after}", err=True)
    tell_next(f"show {page.blanks[0].run_id}{archive_words(archive)}")


def print_blank(blank: Blank) -> None:
    """Print all that is known of one execution, in the order people read it."""
    from rich.table import Table

    from safelight.cli.rich_console import Console, cell, lines_in_cell
    from safelight.cli.shown_import import print_settings_table

    console, told = Console(), blank.settings
    head = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    head.add_column(no_wrap=True)
    head.add_column(overflow="fold")
    where = f"{blank.node_kind}, node {blank.node}" if blank.node_kind else blank.node
    rows = {
        "execution": blank.run_id,
        "ended": blank.ended if blank.status == "failed" or not blank.why
        else f"{blank.ended}: {blank.why}",
        "error": blank.error if blank.status == "failed" else "",
        "where": where,
        "began": blank.began,
        "took": f"{blank.seconds:.1f} s" if blank.seconds else "",
        "made by": f"{blank.tool} {blank.version}".strip(),
        "pictures": "\n".join(one.path or "(in memory only)" for one in blank.pictures),
        "prompt": told.words,
        "negative": told.negative,
    }  # fmt: skip
    for name, value in rows.items():
        if value:
            head.add_row(cell(name, "bold"), lines_in_cell(value.splitlines()))
    console.print(head)
    print_settings_table(console, told)


def _plain(blank: Blank) -> dict[str, Any]:
    """Return what a program is told of one."""
    settings = (*blank.settings.settings, *blank.settings.rest)
    return {
        "run_id": blank.run_id, "timestamp": blank.began, "seconds": blank.seconds,
        "status": blank.status, "ended": blank.ended, "why": blank.why,
        "tool": str(blank.record.backend.get("name") or ""),
        "tool_version": blank.version, "error": blank.error, "node": blank.node,
        "node_kind": blank.node_kind, "prompt": blank.settings.prompt,
        "negative_prompt": blank.settings.negative,
        "settings": {one.name: one.value for one in settings},
        "pictures": [one.path for one in blank.pictures],
    }  # fmt: skip
