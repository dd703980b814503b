"""rating: say what pictures are worth."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from safelight.archive import Archive
from safelight.durable_file import read_regular_file
from safelight.errors import ArchiveError, ChosenOthers, RequestError
from safelight.formats.image_data import hash_picture
from safelight.learning.ratings import MANY, Identity, RatingEvent, RatingStore
from safelight.learning.ratings.rating_event import PART_OF_MANY
from safelight.pipeline.images import identify

__all__ = [
    "check_tags",
    "identity_of_file",
    "rate",
    "rate_chosen",
    "rating_called",
    "without_record",
]


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
        undo: The id of a rating to take back, or of a scorer's number, or how it begins.
        rater: Who says so.

    Returns:
        The events as they were written.

    Raises:
        RequestError: Nothing is said, or what cannot be.
        ArchiveError: There is no rating to undo, or several.
        StorageError: They could not be written.
    """
    values = _values(stars=stars, favourite=favourite, reject=reject, note=note)
    check_tags(tags)
    if not values and not tags and undo is None:
        raise RequestError("say something: stars, favourite, reject, note, tags, or undo")
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


def rate_chosen(
    archive: Archive,
    condition: str,
    *,
    store: RatingStore | None = None,
    snapshot: str | None = None,
    event_id: str | None = None,
    timestamp: str | None = None,
    stars: int | None = None,
    favourite: bool | None = None,
    reject: bool | None = None,
    note: str | None = None,
    tags: Sequence[str] = (),
    untag: Sequence[str] = (),
    albums: Sequence[str] = (),
    out_of: Sequence[str] = (),
    rater: str = "",
) -> tuple[RatingEvent, ...]:
    """Say the same of every picture that meets *condition*; it is on the disk when this returns.

    What is said is one event for each kind, however many pictures there are: it counts as a whole
    or not at all, and one undo takes it back.

    Args:
        archive: Where they are.
        condition: In the filter language.
        store: Where ratings go; one of its own when None.
        snapshot: :attr:`.ChosenPictures.snapshot` of when they were counted; any when None.
        event_id: Of the event, where one thing is said; said again, it changes nothing.
        timestamp: When it was said: UTC, ISO 8601; now when None.
        stars: 0 to 5; 0 takes them away.
        favourite: Whether they are favourites.
        reject: Whether they are rejected.
        note: What to remember about them.
        tags: To add.
        untag: Tags to take away.
        albums: To put them into.
        out_of: Albums to take them out of.
        rater: Who says so.

    Returns:
        The events; none where no picture meets the condition, or where *event_id* was known.

    Raises:
        ChosenOthers: They are not the pictures of *snapshot*.
        RequestError: Nothing is said, or what cannot be.
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
        StorageError: It could not be written, and counts for none of them.
    """
    check_tags(tags)
    if any(not tag.strip() for tag in untag):
        raise RequestError("a tag to take away must be a text that is not empty")
    said: list[tuple[str, dict[str, object]]] = [
        (kind, {"value": value})
        for kind, value in _values(
            stars=stars, favourite=favourite, reject=reject, note=note
        ).items()
    ]
    if tags or untag:
        said.append(("tags", {"added": tuple(tags), "removed": tuple(untag)}))
    if albums or out_of:
        said.append(("albums", {"added": tuple(albums), "removed": tuple(out_of)}))
    if not said or (event_id is not None and len(said) > 1):
        raise RequestError("say something of them: stars, favourite, reject, note, tags or albums")
    with contextlib.ExitStack() as closing:
        writing = store or closing.enter_context(archive.ratings())
        if event_id is not None and writing.has_set(event_id):
            return ()
        chosen = archive.chosen(condition)
        if snapshot is not None and chosen.snapshot != snapshot:
            raise ChosenOthers(chosen.count, chosen.snapshot)
        if chosen.pictures is None:
            return ()
        stated = {"event_id": event_id, "timestamp": timestamp}
        about: dict[str, object] = {n: value for n, value in stated.items() if value is not None}
        about |= {"many": chosen.pictures, "rater": rater}
        try:
            events = [
                RatingEvent.now(MANY, None, says=kind, **about, **more) for kind, more in said
            ]
        except ValueError as error:
            raise RequestError(str(error)) from error
        return writing.add(*events)


def _values(**given: int | bool | str | None) -> dict[str, bool | int | str]:
    return {kind: value for kind, value in given.items() if value is not None}


def check_tags(tags: Sequence[str]) -> None:
    """See that *tags* can be told apart where they stand side by side, with commas between.

    Raises:
        RequestError: One cannot.
    """
    for tag in tags:
        if not isinstance(tag, str) or not tag or tag != tag.strip() or not tag.isprintable():
            raise RequestError(
                "a tag must be a text of one line that is not empty, without blanks around it, got"
                f" {tag!r}"
            )
        if "," in tag:
            raise RequestError(f"a tag has no comma, got {tag!r}; give each tag by itself")


def _events(
    picture: Identity, values: dict[str, bool | int | str], tags: Sequence[str], rater: str
) -> Iterator[RatingEvent]:
    for kind, value in values.items():
        yield RatingEvent.now(kind, picture, value=value, rater=rater)
    if tags:
        yield RatingEvent.now("tags", picture, added=tuple(tags), rater=rater)


def rating_called(archive: Archive, begins: str) -> RatingEvent:
    """Return the rating whose id is *begins*, or the only one that begins so.

    A number that a scorer gave is found as well.

    Raises:
        ArchiveError: There is none, or more than one.
    """
    every = (*archive.ratings().events(), *archive.scores().events())
    events = [event for event in every if event.kind != PART_OF_MANY]
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
    data = read_regular_file(path)
    identity, hashes = identify(data), hash_picture(io.BytesIO(data))
    image = hashes.image_sha256 if hashes.is_split and not hashes.is_cut else None
    return Identity(sha256=identity.sha256, pixel_sha256=identity.pixel_sha256, image_sha256=image)


def without_record(archive: Archive, pictures: Sequence[Identity]) -> list[Identity]:
    """Return those of *pictures* that no record here knows; what is said of them waits for one.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    hashes = [digest for picture in pictures for _, digest in picture.keys]
    rows = archive.rows(
        "SELECT sha256, pixel_sha256, image_sha256 FROM run_images"
        " WHERE sha256 IN (SELECT unnest(?::VARCHAR[]))"
        " OR pixel_sha256 IN (SELECT unnest(?::VARCHAR[]))"
        " OR image_sha256 IN (SELECT unnest(?::VARCHAR[]))",
        [hashes] * 3,
        rated=False,
    )
    known = {digest for row in rows for digest in row}
    return [picture for picture in pictures if not known & {digest for _, digest in picture.keys}]
