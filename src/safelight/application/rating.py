"""rating: say what pictures are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from safelight.archive import Archive
from safelight.durable_file import read_regular_file
from safelight.errors import ArchiveError, RequestError
from safelight.learning.ratings import Identity, RatingEvent
from safelight.pipeline.images import identify

__all__ = ["identity_of_file", "matching", "rate", "rating_called", "without_record"]


def rate(
    archive: Archive,
    pictures: Sequence[Identity],
    *,
    stars: int | None = None,
    favourite: bool | None = None,
    reject: bool | None = None,
    note: str | None = None,
    tags: Sequence[str] = (),
    undo: str | None = None,
    rater: str = "",
) -> tuple[RatingEvent, ...]:
    """Write what is said of each of *pictures*; it is on the disk when this returns.

    Args:
        archive: Where ratings are kept.
        pictures: Which; each is rated once.
        stars: 0 to 5; 0 takes them away.
        favourite: Whether it is one.
        reject: Whether it is rejected.
        note: What to remember about it.
        tags: To add.
        undo: The id of a rating to take back, or how it begins.
        rater: Who says so.

    Returns:
        The events as they were written.

    Raises:
        RequestError: Nothing is said, or what cannot be.
        ArchiveError: There is no rating to undo, or several.
        StorageError: They could not be written.
    """
    given = {"stars": stars, "favourite": favourite, "reject": reject, "note": note}
    values = {kind: value for kind, value in given.items() if value is not None}
    if not values and not tags and undo is None:
        raise RequestError("say something: stars, favourite, reject, note, tags, or undo")
    if any(not isinstance(tag, str) or not tag.strip() for tag in tags):
        raise RequestError(f"a tag must be a text that is not empty, got {tags!r}")
    events: list[RatingEvent] = []
    if undo is not None:
        taken = rating_called(archive, undo)
        events.append(RatingEvent.now("undo", undoes=taken.event_id, rater=rater))
    try:
        for picture in dict.fromkeys(pictures):
            events += _events(picture, values, tags, rater)
    except ValueError as error:
        raise RequestError(str(error)) from error
    with archive.ratings() as store:
        return store.add(*events)


def _events(
    picture: Identity, values: dict[str, bool | int | str], tags: Sequence[str], rater: str
) -> Iterator[RatingEvent]:
    for kind, value in values.items():
        yield RatingEvent.now(kind, picture, value=value, rater=rater)
    if tags:
        yield RatingEvent.now("tags", picture, added=tuple(tags), rater=rater)


def rating_called(archive: Archive, begins: str) -> RatingEvent:
    """Return the rating whose id is *begins*, or the only one that begins so.

    Raises:
        ArchiveError: There is none, or more than one.
    """
    events = archive.ratings().events()
    candidates = [event for event in events if event.event_id == begins] or [
        event for event in events if event.event_id.startswith(begins)
    ]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ArchiveError(
            f"no rating here has an id that begins with {begins!r}; each rating prints its own"
        )
    raise ArchiveError(f"{len(candidates):,} ratings have ids that begin with {begins!r}")


def identity_of_file(path: Path) -> Identity:
    """Return by what the picture in *path* is known.

    Raises:
        OSError: It cannot be read.
        ImageError: It is no picture.
    """
    identity = identify(read_regular_file(path))
    return Identity(sha256=identity.sha256, pixel_sha256=identity.pixel_sha256)


def matching(archive: Archive, condition: str) -> list[Identity]:
    """Return the pictures that meet *condition*, in the filter language."""
    answer = archive.query(condition, columns=["sha256", "pixel_sha256"], limit=None)
    return [Identity(sha256=row[0], pixel_sha256=row[1]) for row in answer.rows]


def without_record(archive: Archive, pictures: Sequence[Identity]) -> list[Identity]:
    """Return those of *pictures* that no record here knows; what is said of them waits for one.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    hashes = [digest for picture in pictures for _, digest in picture.keys]
    rows = archive.rows(
        "SELECT sha256, pixel_sha256 FROM run_images WHERE sha256 IN (SELECT"
        " unnest(?::VARCHAR[])) OR pixel_sha256 IN (SELECT unnest(?::VARCHAR[]))",
        [hashes, hashes],
        rated=False,
    )
    known = {digest for row in rows for digest in row}
    return [picture for picture in pictures if not known & {digest for _, digest in picture.keys}]
