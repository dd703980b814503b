"""``safelight rate``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from safelight.application.rating import identity_of_file, rate, rate_chosen, without_record
from safelight.archive import Archive
from safelight.cli.options import archive_option, archive_words
from safelight.cli.terminal import progress_of, say, say_text, tell, tell_next
from safelight.errors import ArchiveError
from safelight.learning.ratings import Identity, RatingEvent

_log = logging.getLogger(__name__)


@click.command("rate")
@click.argument("images", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@archive_option
@click.option("--stars", type=click.IntRange(0, 5), help="1 to 5; 0 clears.")
@click.option("--favourite/--no-favourite", default=None, help="Whether it is a favourite.")
@click.option("--reject/--no-reject", default=None, help="Whether it is rejected.")
@click.option("--tag", "tags", multiple=True, help="Add a tag; may be repeated.")
@click.option("--note", help="A remark; an empty one clears it.")
@click.option("--rater", default="", help="Who says so.")
@click.option("--where", "condition", help="Rate every picture that meets this filter.")
@click.option(
    "--by",
    type=click.Choice(["fidelity"]),
    help="Let a program rate: how well pictures of the model in the box show their prompt.",
)
@click.option("--undo", help="Take back the rating event whose id begins so.")
@click.option(
    "--over",
    "losers",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="IMAGES are better than this one; may be repeated.",
)
@click.option("--tie", is_flag=True, help="IMAGES are equally good.")
@click.option("--skip", is_flag=True, help="IMAGES were shown, and none was chosen.")
@click.option(
    "--next", "next_ones", is_flag=True, help="Rate what would teach most, settings hidden."
)
@click.option("--pairs", is_flag=True, help="With --next: choose between two, again and again.")
@click.option("--n", "count", type=click.IntRange(1, 200), default=10, show_default=True,
              help="With --next: how many pictures or pairs.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON; with --next: what to ask, and ask nothing.")  # fmt: skip
def command(
    images: tuple[Path, ...],
    archive: Path,
    stars: int | None,
    favourite: bool | None,
    reject: bool | None,
    tags: tuple[str, ...],
    note: str | None,
    rater: str,
    condition: str | None,
    by: str | None,
    undo: str | None,
    losers: tuple[Path, ...],
    tie: bool,
    skip: bool,
    next_ones: bool,
    pairs: bool,
    count: int,
    as_json: bool,
) -> None:
    """Say what a picture is worth.

    A rating belongs to the picture, not to its path: IMAGES may lie anywhere, and moving or
    renaming them loses nothing. For several at once: --where "model = 'x' and steps < 10".
    Of several, say which is best: safelight rate a.png --over b.png --over c.png. Let --next
    choose what to rate: it hides how pictures were made, and asks one by one.
    """
    silent = (stars, favourite, reject, note) == (None,) * 4 and not (tags or undo or by)
    if next_ones:
        from safelight.cli.next_rating import rate_next

        if images or losers or tie or skip or not silent:
            raise click.UsageError("--next chooses pictures and asks: give it --n, --pairs,"
                                   " --where, --rater or --json, and nothing else")  # fmt: skip
        rate_next(Archive(archive), count=count, pairs=pairs, rater=rater,
                  condition=condition or "", as_json=as_json)  # fmt: skip
        return
    if pairs:
        raise click.UsageError("--pairs belongs to --next")
    if losers or tie or skip:
        if not silent or condition is not None:
            raise click.UsageError("--over, --tie and --skip are a rating of their own: say"
                                   " nothing else with them")  # fmt: skip
        _pick(Archive(archive), images, losers, rater, tie=tie, skip=skip, as_json=as_json)
        return
    if by is not None:
        from safelight.application.fidelity_rating import RATER, SOURCE, rate_by_fidelity

        if images or rater or undo or tags or (stars, favourite, reject, note) != (None,) * 4:
            raise click.UsageError("--by rates by itself: give it --where, and nothing else")
        with progress_of("rating", hidden=as_json) as show_progress:
            outcomes = rate_by_fidelity(Archive(archive), condition or "", show_progress)
        if as_json:
            say_text(json.dumps({"rater": RATER, "source": SOURCE, **outcomes}, indent=2))
            return
        say(f"{outcomes['rated']:,} pictures rated by a program, as {RATER!r} ({SOURCE})")
        for reason in sorted(set(outcomes) - {"rated"}):
            say(f"{outcomes[reason]:,} passed over: {reason}")
        tell_next(f"effects{archive_words(archive)}")
        return
    values = (stars, favourite, reject, note)
    if values == (None,) * 4 and not tags and not undo:
        raise click.UsageError("say something: --stars, --favourite, --reject, --tag or --note")
    if not images and condition is None and not undo:
        raise click.UsageError("name pictures, or choose them with --where")
    opened = Archive(archive)
    named = [*map(identity_of_file, images)]
    events: tuple[RatingEvent, ...] = ()
    if named or undo:
        events = rate(
            opened, named, stars=stars, favourite=favourite, reject=reject, note=note, tags=tags,
            undo=undo, rater=rater,
        )  # fmt: skip
    if condition is not None and (values != (None,) * 4 or tags):
        events += rate_chosen(
            opened, condition, stars=stars, favourite=favourite, reject=reject, note=note,
            tags=tags, rater=rater,
        )  # fmt: skip
    if as_json:
        say_text(json.dumps(events_as_json(events), ensure_ascii=False, indent=2))
        _print_unknown(opened, images, named)
        return
    for event in events[:10]:
        say(f"{event.event_id}  {_words_of(event)}")
    if len(events) > 10:
        say(f"... {len(events):,} events in all")
    if not events:
        say(f"no picture meets {condition}: nothing was rated", err=True)
    _print_unknown(opened, images, named)
    if events:
        where = archive_words(archive)
        tell(f"take it back with: safelight rate --undo {events[0].event_id}{where}")
        tell_next(f"effects{where}")


def events_as_json(events: Sequence[RatingEvent]) -> list[dict[str, Any]]:
    """Return *events* as their files have them; of those about many pictures, how many."""
    told = []
    for event in events:
        fields: dict[str, Any] = json.loads(event.to_json())
        if event.many is not None:
            fields["many"] = len(event.many)
        told.append(fields)
    return told


def of_how_many(event: RatingEvent) -> str:
    """Return of how many pictures *event* says something, where it is an event about many."""
    if event.many is None:
        return ""
    count = len(event.many)
    return f": {count:,} picture{'' if count == 1 else 's'}"


def _words_of(event: RatingEvent) -> str:
    if event.kind == "undo":
        return f"undo of {event.undoes}"
    said = ", ".join(event.added) if event.statement == "tags" else event.value
    yes_or_no = {True: "yes", False: "no"}
    said = yes_or_no[said] if isinstance(said, bool) else said
    return f"{event.statement} {said}{of_how_many(event)}"


def _print_unknown(archive: Archive, images: Sequence[Path], pictures: Sequence[Identity]) -> None:
    """Say which of *images* no record of *archive* knows."""
    if not pictures:
        return
    try:
        gone = set(without_record(archive, pictures))
    except ArchiveError as error:  # the ratings are safe
        _log.warning("whether these pictures have records cannot be said: %s", error)
        return
    unknown = [path for path, picture in zip(images, pictures, strict=True) if picture in gone]
    if unknown:
        names = ", ".join(str(path) for path in unknown[:3]) + (", ..." if unknown[3:] else "")
        say(
            f"{len(unknown):,} of these are in no record here: what was said is kept, and counts"
            f" once they are imported: {names}",
            err=True,
        )


def _pick(
    archive: Archive,
    images: Sequence[Path],
    losers: Sequence[Path],
    rater: str,
    *,
    tie: bool,
    skip: bool,
    as_json: bool,
) -> None:
    if tie + skip + bool(losers) > 1:
        raise click.UsageError("choose one of --over, --tie and --skip")
    shown = [identity_of_file(path) for path in (*images, *losers)]
    if not images or len(shown) < 2:
        raise click.UsageError("a pick is between two pictures or more:"
                               " safelight rate a.png --over b.png")  # fmt: skip
    if len(set(shown)) < len(shown):
        raise click.UsageError("the same picture is there twice; a picture cannot beat itself")
    won = () if skip else tuple(range(len(images)))
    event = RatingEvent.now("pick", shown=tuple(shown), won=won, rater=rater)
    with archive.ratings() as store:
        store.add(event)
    if as_json:
        say_text(json.dumps(events_as_json([event]), ensure_ascii=False, indent=2))
        return
    what = "tie" if tie else "skip" if skip else f"{len(images)} over {len(losers)}"
    say(f"{event.event_id}  pick {what}")
