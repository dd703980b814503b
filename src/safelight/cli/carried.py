"""How the command line shows what was carried from one archive to another."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from safelight.archive.transfer import Carried
from safelight.cli.terminal import say

__all__ = ["carried_as_json", "print_carried", "print_differing"]

_MOST = 20


def print_carried(carried: Carried, word: str) -> None:
    """Print what was carried, and what was not and why."""
    lines = f", {carried.lines:,} lines of ratings and logs" if carried.lines else ""
    say(f"{carried.files:,} files {word}{lines}, {carried.bytes / 2**20:,.1f} MiB")
    if carried.going_on:
        say(f"  {carried.going_on:,} runs are going on and were left for later")
    if carried.unknown_count:
        some = ", ".join(carried.unknown[:3])
        say(f"  {carried.unknown_count:,} files of no known kind were not carried: {some}")
    for name in carried.conflicts[:_MOST]:
        say(f"  differs on the other side, both left as they are: {name}")
    print_differing(carried.differing, carried.differing_count)
    for name, reason in carried.bad[:_MOST]:
        say(f"  not carried: {name[:200]}: {reason}")
    more = carried.bad_count - len(carried.bad[:_MOST])
    if more > 0:
        say(f"  ... and {more:,} more that were not carried")


def print_differing(runs: Sequence[str], count: int) -> None:
    """Print the runs that have several records, and how many more there are."""
    for sentence in runs[:_MOST]:
        say(f"  {sentence}")
    if count > len(runs[:_MOST]):
        say(f"  ... and {count - len(runs[:_MOST]):,} more runs have records that differ")


def carried_as_json(carried: Mapping[str, Carried]) -> str:
    """Return it for programs."""
    return json.dumps({word: dataclasses.asdict(counts) for word, counts in carried.items()})
