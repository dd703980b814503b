"""Which settings fail, for ``safelight effects --failures``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

import click

from safelight.application.failed_settings import failed_settings
from safelight.archive import Archive
from safelight.cli.terminal import say, say_text, say_wrapped
from safelight.knobs import did_you_mean

_MOST_LEVELS = 8
_LONGEST_ERROR = 120


def show_failures(archive: Archive, knobs: Sequence[str], *, as_json: bool) -> None:
    """Print the share of variants that failed by knob and value, of *knobs* or of all."""
    found = failed_settings(archive)
    names = dict.fromkeys(share.knob for share in found.shares)
    for knob in knobs:
        if knob not in names and found.shares:
            raise click.UsageError(f"no knob {knob!r} among what failed{did_you_mean(knob, names)}")
    shares = [share for share in found.shares if not knobs or share.knob in knobs]
    if as_json:
        page = {**asdict(found), "shares": [asdict(share) for share in shares]}
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
        return
    if not found.failed:
        say("no variant failed")
        return
    say(f"{found.failed:,} of {found.begun:,} variants failed (of engines of which any did)")
    for knob, own in groupby(shares, key=lambda share: share.knob):
        levels = list(own)
        say(knob)
        for share in levels if knobs else levels[:_MOST_LEVELS]:
            sign = "  more than the others" if share.stands_out else ""
            say_wrapped(
                f"  {share.level}: {share.share:.0%} [{share.low:.0%}, {share.high:.0%}],"
                f" {share.failed:,} of {share.begun:,}{sign}",
                hanging=4,
            )
            if share.stands_out:
                say_wrapped(f"    mostly: {share.error[:_LONGEST_ERROR]}", hanging=6)
        if not knobs and len(levels) > _MOST_LEVELS:
            say(f"  and {len(levels) - _MOST_LEVELS:,} values; more with --knob")
    say_wrapped(
        "in brackets: 95 % of the share. One knob at a time: what went together may be the cause."
    )
