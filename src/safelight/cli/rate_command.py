"""``safelight rate``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from safelight.archive import Archive
from safelight.cli.options import archive_option, as_click_error
from safelight.errors import SafelightError
from safelight.learning.ratings import Identity, RatingEvent
from safelight.pipeline.images import identify


@click.command("rate")
@click.argument("images", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@archive_option
@click.option("--stars", type=click.IntRange(0, 5), help="1 to 5; 0 clears.")
@click.option("--favourite/--no-favourite", default=None)
@click.option("--reject/--no-reject", default=None)
@click.option("--tag", "tags", multiple=True, help="Add a tag; may be repeated.")
@click.option("--note", help="A remark; an empty one clears it.")
@click.option("--rater", default="", help="Who says so.")
@click.option("--where", "condition", help="Rate every picture that meets this filter.")
@click.option(
    "--by",
    type=click.Choice(["fidelity"]),
    help="Let a program rate: how well pictures of the model in the box show their prompt.",
)
@click.option("--undo", help="Take back the rating event with this id.")
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
) -> None:
    """Say what a picture is worth.

    A rating belongs to the picture, not to its path: IMAGES may lie anywhere, and moving or
    renaming them loses nothing. For several at once: --where "model = 'x' and steps < 10".
    """
    if by is not None:
        from safelight.cli.fidelity_rating import rate_by_fidelity

        if images or rater or undo or tags or (stars, favourite, reject, note) != (None,) * 4:
            raise click.UsageError("--by rates by itself: give it --where, and nothing else")
        rate_by_fidelity(Archive(archive), condition or "")
        return
    said: list[tuple[str, bool | int | str]] = [
        (kind, value)
        for kind, value in (
            ("stars", stars), ("favourite", favourite), ("reject", reject), ("note", note)
        )
        if value is not None
    ]  # fmt: skip
    if not said and not tags and not undo:
        raise click.UsageError("say something: --stars, --favourite, --reject, --tag or --note")
    if not images and condition is None and not undo:
        raise click.UsageError("name pictures, or choose them with --where")
    try:
        found = Archive(archive)
        events = [RatingEvent.now("undo", undoes=undo, rater=rater)] if undo else []
        pictures = [*map(_identity_of, images)]
        pictures += _matching(found, condition) if condition is not None else []
        for picture in dict.fromkeys(pictures):
            events += _events(picture, said, tags, rater)
        with found.ratings() as store:
            store.add(*events)
    except SafelightError as error:
        raise as_click_error(error) from error
    for event in events[:10]:
        click.echo(
            f"{event.event_id}  {event.kind} {event.value if event.value is not None else ''}"
        )
    if len(events) > 10:
        click.echo(f"... {len(events):,} events in all")


def _events(
    picture: Identity,
    said: Sequence[tuple[str, bool | int | str]],
    tags: Sequence[str],
    rater: str,
) -> Iterator[RatingEvent]:
    for kind, value in said:
        yield RatingEvent.now(kind, picture, value=value, rater=rater)
    if tags:
        yield RatingEvent.now("tags", picture, added=tuple(tags), rater=rater)


def _identity_of(path: Path) -> Identity:
    identity = identify(path.read_bytes())
    return Identity(sha256=identity.sha256, pixel_sha256=identity.pixel_sha256)


def _matching(archive: Archive, condition: str) -> list[Identity]:
    answer = archive.query(condition, columns=["sha256", "pixel_sha256"], limit=None)
    return [Identity(sha256=row[0], pixel_sha256=row[1]) for row in answer.rows]
