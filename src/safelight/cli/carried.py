"""How the command line shows what was carried from one archive to another."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from safelight.archive.transfer import Carried

__all__ = ["carried_as_json", "print_carried", "print_differing", "progress_of"]

_MOST = 20


@contextmanager
def progress_of(label: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error, and give the function that moves it."""
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=hidden) as bar:

        def show_progress(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield show_progress


def print_carried(carried: Carried, word: str) -> None:
    """Print what was carried, and what was not and why."""
    lines = f", {carried.lines:,} lines of ratings and logs" if carried.lines else ""
    click.echo(f"{carried.files:,} files {word}{lines}, {carried.bytes / 2**20:,.1f} MiB")
    if carried.going_on:
        click.echo(f"  {carried.going_on:,} runs are going on and were left for later")
    if carried.unknown_count:
        some = ", ".join(carried.unknown[:3])
        click.echo(f"  {carried.unknown_count:,} files of no known kind were not carried: {some}")
    for name in carried.conflicts[:_MOST]:
        click.echo(f"  differs on the other side, both left as they are: {name}")
    print_differing(carried.differing, carried.differing_count)
    for name, reason in carried.bad[:_MOST]:
        click.echo(f"  not carried: {_shown(name)}: {reason}")
    more = carried.bad_count - len(carried.bad[:_MOST])
    if more > 0:
        click.echo(f"  ... and {more:,} more that were not carried")


def print_differing(runs: Sequence[str], count: int) -> None:
    """Print the runs that have several records, and how many more there are."""
    for sentence in runs[:_MOST]:
        click.echo(f"  {sentence}")
    if count > len(runs[:_MOST]):
        click.echo(f"  ... and {count - len(runs[:_MOST]):,} more runs have records that differ")


def _shown(name: str) -> str:
    return name.encode("unicode_escape").decode()[:200]


def carried_as_json(carried: Mapping[str, Carried]) -> str:
    """Return it for programs."""
    return json.dumps({word: dataclasses.asdict(counts) for word, counts in carried.items()})
