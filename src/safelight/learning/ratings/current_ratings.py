"""Ratings: append-only events about pictures, and what they add up to now.

An event is keyed by what a picture *is*, never by where it lies: the SHA-256 of the file's
bytes, of its image data, of its decoded pixels, or several. Identities that share one of them are
one picture, and so on along the chain; a file that was moved, renamed, re-encoded without
loss or given metadata keeps its ratings.

Nothing is ever changed or deleted: taking something back is an event, too. Each process
writes a segment of its own, so that any number of processes and machines can write to one
folder without waiting for each other, and the union of two folders is a merge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from safelight.learning.ratings.picture_set import COLUMNS
from safelight.learning.ratings.rating_event import (
    KINDS,
    Identity,
    Pictures,
    RatingEvent,
    events_in_force,
    pictures_of,
    unique_events,
)
from safelight.paused_collector import paused_collector

__all__ = ["Rating", "Ratings", "current_ratings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What is said about one picture now.

    Attributes:
        sha256s: Every byte hash by which it is known, sorted.
        pixel_sha256s: Every pixel hash by which it is known, sorted.
        image_sha256s: Every hash of image data by which it is known, sorted.
        stars: Mean of the raters' stars, 1 to 5; None when no one gave any.
        stars_by_rater: Each rater's stars.
        rejected: Somebody rejects it.
        favourite: It is somebody's favourite.
        tags: Everyone's, sorted.
        albums: That it is in, sorted. Of what different people say of one the last counts.
        notes: Each rater's note.
        picks_won: Picks in which it won and another lost.
        picks_lost: Picks in which another won and it did not.
        picks_tied: Picks in which all that were shown won.
        raters: Who said something that counts, sorted.
    """

    sha256s: tuple[str, ...] = ()
    pixel_sha256s: tuple[str, ...] = ()
    image_sha256s: tuple[str, ...] = ()
    stars: float | None = None
    stars_by_rater: Mapping[str, int] = field(default_factory=dict)
    rejected: bool = False
    favourite: bool = False
    tags: tuple[str, ...] = ()
    albums: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    picks_won: int = 0
    picks_lost: int = 0
    picks_tied: int = 0
    raters: tuple[str, ...] = ()


class Ratings(Mapping[Identity, Rating]):
    """Rating of each picture; any identity of a picture finds it, iteration gives one each."""

    def __init__(self, pictures: Pictures, ratings: Mapping[tuple[str, str], Rating]) -> None:
        self._pictures = pictures
        self._ratings = ratings

    def __getitem__(self, identity: Identity) -> Rating:
        try:
            return self._ratings[self._pictures.key(identity)]
        except KeyError:
            raise KeyError(identity) from None

    def __iter__(self) -> Iterator[Identity]:
        for name, digest in self._ratings:
            yield Identity(**{COLUMNS[name]: digest})

    def __len__(self) -> int:
        return len(self._ratings)


def current_ratings(events: Iterable[RatingEvent], known: Iterable[Identity] = ()) -> Ratings:
    """Return what is said about each picture now, whatever the order of *events*.

    Per rater and kind the event counts whose writer had read most, then the latest, see
    :func:`.rating_event.precedence`; tags by themselves; each pick is evidence of its own.

    Args:
        events: From any number of stores, in any order, also several times.
        known: Identities with both hashes, from records: they join a rating by bytes with
            one by pixels. Undone events join, too.
    """
    with paused_collector():
        events = tuple(unique_events(events).values())
        pictures = Pictures(
            [
                *known,
                *pictures_of(events),
                *(identity for event in events for identity in event.shown_beside),
            ]
        )
        tallies: dict[tuple[str, str], _Tally] = defaultdict(_Tally)
        for event in events_in_force(events):
            if event.kind == "pick":
                _count_pick(event, pictures, tallies)
            elif event.kind in KINDS and event.image is not None:
                tallies[pictures.key(event.image)].add(event)
        members = pictures.members()
        return Ratings(
            pictures, {key: tally.rating(members[key]) for key, tally in tallies.items()}
        )


def _count_pick(
    event: RatingEvent, pictures: Pictures, tallies: Mapping[tuple[str, str], _Tally]
) -> None:
    if not event.won:
        return
    keys = [pictures.key(identity) for identity in event.shown]
    won = {keys[place] for place in event.won}
    lost = {key for place, key in enumerate(keys) if place not in event.won}
    for key in (won | lost) - (won & lost):  # a picture shown twice cannot beat itself
        tally = tallies[key]
        tally.raters.add(event.rater)
        outcome = "lost" if key in lost else "won" if lost else "tied"
        tally.picks[outcome] = tally.picks.get(outcome, 0) + 1


class _Tally:
    """What was said about one picture, gathered in the order in which it counts."""

    __slots__ = ("albums", "last", "picks", "raters", "tags")

    def __init__(self) -> None:
        self.last: dict[str, dict[str, bool | int | str | None]] = {}
        self.tags: dict[str, set[str]] = {}
        self.albums: set[str] = set()
        self.picks: dict[str, int] = {}
        self.raters: set[str] = set()

    def add(self, event: RatingEvent) -> None:
        self.raters.add(event.rater)
        if event.kind == "tags":
            tags = self.tags.setdefault(event.rater, set())
            tags.difference_update(event.removed)
            tags.update(event.added)
        elif event.kind == "albums":
            self.albums.difference_update(event.removed)
            self.albums.update(event.added)
        else:
            self.last.setdefault(event.kind, {})[event.rater] = event.value

    def rating(self, members: Iterable[tuple[str, str]]) -> Rating:
        members = tuple(members)
        stars = {rater: int(value) for rater, value in self._last("stars") if value}
        return Rating(
            sha256s=tuple([digest for name, digest in members if name == "bytes"]),
            pixel_sha256s=tuple([digest for name, digest in members if name == "pixels"]),
            image_sha256s=tuple([digest for name, digest in members if name == "image"]),
            stars=sum(stars.values()) / len(stars) if stars else None,
            stars_by_rater=stars,
            rejected=any(value for _, value in self._last("reject")),
            favourite=any(value for _, value in self._last("favourite")),
            tags=tuple(sorted(set().union(*self.tags.values()))) if self.tags else (),
            albums=tuple(sorted(self.albums)),
            notes={rater: str(text) for rater, text in self._last("note") if text},
            picks_won=self.picks.get("won", 0),
            picks_lost=self.picks.get("lost", 0),
            picks_tied=self.picks.get("tied", 0),
            raters=tuple(sorted(self.raters)),
        )

    def _last(self, kind: str) -> Iterable[tuple[str, bool | int | str | None]]:
        values = self.last.get(kind)
        return values.items() if values else ()
