"""Which settings' pictures were gone on with, for ``safelight effects --parents``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

import click

from safelight.application.chosen_parents import chosen_parents
from safelight.archive import Archive
from safelight.cli.terminal import say, say_text
from safelight.knobs import did_you_mean

_MOST_LEVELS = 8


def show_parents(
    archive: Archive, condition: str, knobs: Sequence[str], *, every: bool, as_json: bool
) -> None:
    """Print the share of pictures that were gone on with by knob and value.

    Of *knobs*, of those of which something is likely, or of *every* one.
    """
    found = chosen_parents(archive, condition)
    names = dict.fromkeys(share.knob for share in found.shares)
    for knob in knobs:
        if knob not in names and found.shares:
            raise click.UsageError(f"no knob {knob!r} varied here{did_you_mean(knob, names)}")
    shares = [share for share in found.shares if not knobs or share.knob in knobs]
    if as_json:
        page = {**asdict(found), "shares": [asdict(share) for share in shares]}
        page["sentences"] = [share.summary for share in shares if share.likely]
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
        return
    if not found.chosen:
        say("no picture was chosen to make a later one from")
        return
    left_out = f"; {found.handed_on:,} that nobody chose are left out" if found.handed_on else ""
    say(f"{found.chosen:,} of {found.pictures:,} pictures were gone on with{left_out}")
    likely = {share.knob: share for share in shares if share.likely}
    for share in shares:
        if share.likely:
            say(share.summary)
    if not likely:
        say("Nothing is likely beyond luck.")
    shown = [share for share in shares if knobs or every or share.knob in likely]
    for knob, own in groupby(shown, key=lambda share: share.knob):
        levels = list(own)
        say(knob)
        for share in levels if knobs or every else levels[:_MOST_LEVELS]:
            say(f"  {share.level}: {share.figure}; {share.expected:.0%} expected")
        if not knobs and not every and len(levels) > _MOST_LEVELS:
            say(f"  and {len(levels) - _MOST_LEVELS:,} values; more with --knob")
    say(
        "A weak sign, which counts for no rating: somebody chose these, for whatever reason. In"
        " brackets 95 % of the share. Expected: if chosen as others of the same prompts. Likely:"
        " one budget of 5 % for all settings here."
    )
