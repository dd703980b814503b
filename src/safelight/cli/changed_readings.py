"""What became of knobs when pictures were read again, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from safelight.cli.terminal import say

__all__ = ["print_changes"]


def print_changes(changes: Mapping[str, Mapping[str, int]]) -> None:
    """Print a line for each knob and what became of it: ``sampler now read in 214 pictures``."""
    for knob, counts in sorted(changes.items()):
        for how, count in sorted(counts.items()):
            say(f"  {knob} {how} in {count:,} picture{'s' * (count != 1)}")
