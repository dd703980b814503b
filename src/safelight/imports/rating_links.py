"""rating_links: what was said of a picture's bytes goes along when its file gets others.

Ratings of earlier versions name the bytes alone. Where the archive knows the image data of those
bytes an event says that both are one picture, the same event whoever writes it, so that every
copy of the ratings knows, and nothing that was said changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from safelight.archive import Archive
from safelight.learning.ratings import Identity, RatingEvent, RatingStore
from safelight.learning.ratings.rating_event import Pictures, precedence, same_picture

__all__ = ["link_ratings", "unrepeated"]


def link_ratings(
    archive: Archive, store: RatingStore, known: Mapping[str, str] | None = None
) -> int:
    """Join what was said of bytes alone to the image data that the archive knows of them.

    Args:
        archive: Whose pictures are known.
        store: Its ratings.
        known: SHA-256 of bytes -> of image data, beside what the archive knows.

    Returns:
        How many were joined.

    Raises:
        ArchiveError: The archive cannot be asked.
        StorageError: The ratings cannot be read or written.
    """
    if not store.folder.is_dir():
        return 0
    identities = [identity for event in store.events() for identity in _pictures(event)]
    linked = {identity.sha256 for identity in identities if identity.image_sha256 is not None}
    alone = {identity.sha256 for identity in identities if identity.sha256} - linked
    if not alone:
        return 0
    images = {**archive.image_sha256s(str(digest) for digest in alone), **(known or {})}
    links = [
        same_picture(digest, images[digest])
        for digest in sorted(map(str, alone))
        if digest in images
    ]
    store.add(*links)
    return len(links)


def unrepeated(store: RatingStore, said: Sequence[RatingEvent]) -> list[RatingEvent]:
    """Return those of *said*, which files say now, that their pictures' files had not said last."""
    events = store.events()
    pictures = Pictures(identity for event in (*events, *said) for identity in _pictures(event))
    last: dict[tuple[object, ...], RatingEvent] = {}
    for event in sorted((e for e in events if e.image is not None), key=precedence):
        last[_about(event, pictures)] = event
    return [
        event
        for event in said
        if (before := last.get(_about(event, pictures))) is None or before.value != event.value
    ]


def _about(event: RatingEvent, pictures: Pictures) -> tuple[object, ...]:
    picture = pictures.key(event.image) if event.image is not None else ()
    return picture, event.kind, event.rater, event.source


def _pictures(event: RatingEvent) -> Iterator[Identity]:
    yield from event.pictures
    yield from event.shown_beside
