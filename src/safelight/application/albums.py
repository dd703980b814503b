"""albums: named sets of pictures, made by events as ratings are.

An album is there as long as a picture is in it. It holds pictures, not paths: it survives moving
them, importing them again and merging archives. Renaming one and emptying one are single events
about all of its pictures, which one undo takes back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from safelight.application.rating import rate_chosen
from safelight.archive import Archive
from safelight.errors import RequestError
from safelight.filter_tokens import album_condition
from safelight.filters import TAGS_BETWEEN
from safelight.knobs import did_you_mean
from safelight.learning.ratings import MANY, Identity, PictureSet, RatingEvent

__all__ = [
    "Album",
    "add_to_album",
    "album_condition",
    "albums",
    "delete_album",
    "remove_from_album",
    "rename_album",
    "tags_in_use",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """A named set of pictures.

    Attributes:
        name: As it was given.
        pictures: How many of it are in the archive.
    """

    name: str
    pictures: int


def albums(archive: Archive) -> list[Album]:
    """Return the albums by name.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    counts = archive.names_said("album", "; ")
    return [Album(name=name, pictures=n) for name, n in sorted(counts.items(), key=_by_name)]


def tags_in_use(archive: Archive) -> list[str]:
    """Return the tags of all pictures, the most used first.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    return [tag for tag, _ in Counter(archive.names_said("tags", TAGS_BETWEEN)).most_common()]


def _by_name(item: tuple[str, int]) -> tuple[str, str]:
    return item[0].casefold(), item[0]


def add_to_album(
    archive: Archive,
    name: str,
    condition: str | None = None,
    pictures: Sequence[Identity] = (),
    *,
    rater: str = "",
) -> tuple[RatingEvent, ...]:
    """Put the pictures that meet *condition*, and *pictures*, into album *name*.

    Returns:
        The events; none when there are no such pictures.

    Raises:
        RequestError: That is no name for an album.
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
        StorageError: It could not be written.
    """
    return _say(archive, condition, pictures, (name,), (), rater)


def remove_from_album(
    archive: Archive,
    name: str,
    condition: str | None = None,
    pictures: Sequence[Identity] = (),
    *,
    rater: str = "",
) -> tuple[RatingEvent, ...]:
    """Take pictures out of album *name*; arguments and errors as of :func:`add_to_album`.

    Raises:
        RequestError: There is no such album.
    """
    _check_there(archive, name)
    if condition is not None:
        condition = f"{album_condition(name)} and ({condition or 'width >= 0'})"
    return _say(archive, condition, pictures, (), (name,), rater)


def rename_album(
    archive: Archive, name: str, new: str, *, rater: str = ""
) -> tuple[RatingEvent, ...]:
    """Give album *name* the name *new*.

    Raises:
        RequestError: There is no such album, there is one called *new*, or that is no name.
        ArchiveError: The archive cannot answer.
        StorageError: It could not be written.
    """
    if new in _check_there(archive, name):
        raise RequestError(f"there is an album {new!r} already; put the pictures into that one")
    return _say(archive, album_condition(name), (), (new,), (name,), rater)


def delete_album(archive: Archive, name: str, *, rater: str = "") -> tuple[RatingEvent, ...]:
    """Take all pictures out of album *name*, which is gone then; they stay where they are.

    Raises:
        RequestError: There is no such album.
        ArchiveError: The archive cannot answer.
        StorageError: It could not be written.
    """
    _check_there(archive, name)
    return _say(archive, album_condition(name), (), (), (name,), rater)


def _check_there(archive: Archive, name: str) -> list[str]:
    names = [album.name for album in albums(archive)]
    if name not in names:
        hint = did_you_mean(name, names) or f"; there are: {', '.join(names) or 'none'}"
        raise RequestError(f"there is no album {name!r}{hint}")
    return names


def _say(
    archive: Archive,
    condition: str | None,
    pictures: Sequence[Identity],
    added: Sequence[str],
    removed: Sequence[str],
    rater: str,
) -> tuple[RatingEvent, ...]:
    events: tuple[RatingEvent, ...] = ()
    if pictures:
        try:
            event = RatingEvent.now(
                MANY, says="albums", many=PictureSet.of(dict.fromkeys(pictures)),
                added=tuple(added), removed=tuple(removed), rater=rater,
            )  # fmt: skip
        except ValueError as error:
            raise RequestError(str(error)) from error
        with archive.ratings() as store:
            events = store.add(event)
    if condition is not None:
        events += rate_chosen(archive, condition, albums=added, out_of=removed, rater=rater)
    return events
