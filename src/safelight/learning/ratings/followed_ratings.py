"""FollowedRatings: what is said about each picture now, kept up while people go on rating.

Reading all events takes as long as there are many; who asks several times a second reads only
what was added since, and works out anew only the pictures that it is about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safelight.learning.ratings.current_ratings import Rating, current_ratings
from safelight.learning.ratings.large_sets import AlikeRated, LargeSets
from safelight.learning.ratings.rating_event import (
    LONG_AGO,
    MANY,
    SAME,
    Identity,
    RatingEvent,
    is_large,
    unique_events,
)
from safelight.learning.ratings.rating_store import Segments
from safelight.paused_collector import paused_collector

__all__ = ["NOTHING_SAID", "FollowedRatings", "RatingChange"]

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingChange:
    """What is different from the last time.

    Attributes:
        hashes: Of the pictures whose ratings may have changed; None when all may have.
        ratings: What is said about those pictures now; nothing about those that are missing.
        alike: The same for very many pictures at once; their hashes are not among *hashes*.
    """

    hashes: frozenset[str] | None
    ratings: tuple[Rating, ...]
    alike: tuple[AlikeRated, ...] = ()


NOTHING_SAID = RatingChange(hashes=None, ratings=())
"""Where nobody said anything."""


class _Contradiction(Exception):
    """Two events under one id say different things, one of them of very many pictures."""


class FollowedRatings:
    """Follows the segments in one folder of ratings.

    What it tells adds up to what :func:`.current_ratings.current_ratings` says of all events.

    Args:
        folder: Of the segments; it need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segments = Segments(folder)
        self._forget()

    def _forget(self) -> None:
        self._events: dict[str, RatingEvent] = {}
        self._about: defaultdict[Key, set[str]] = defaultdict(set)
        self._undos: defaultdict[str, set[str]] = defaultdict(set)
        self._large = LargeSets()
        self._changed: set[str] = set()

    @property
    def trouble(self) -> Mapping[Path, str]:
        """Segment -> why it, or a part of it, is passed over."""
        return self._segments.trouble

    def undos(self) -> list[RatingEvent]:
        """Return what takes something back, of all that was read."""
        return [self._events[name] for names in self._undos.values() for name in names]

    def news(self) -> RatingChange:
        """Return what changed since the last call; on the first, everything.

        Raises:
            StorageError: The segments cannot be listed.
        """
        with paused_collector():
            whole, added = self._segments.news()
            if whole:
                self._forget()
            try:
                touched = self._take(added)
            except _Contradiction:
                # What sets knew of their pictures before cannot be taken out of what is known.
                self._segments = Segments(self._folder)
                whole, added = self._segments.news()
                self._forget()
                self._take(unique_events(added).values())
            if whole:
                said = [e for e in self._events.values() if e not in self._large]
                everything = current_ratings([*said, *self._large.about(self._about)])
                return RatingChange(
                    hashes=None, ratings=tuple(everything.values()), alike=self._alike()
                )
            touched |= self._large.known_by_themselves(self._changed, self._about)
            touched = self._picture_of(touched)
            about = {event_id for key in touched for event_id in self._about.get(key, ())}
            large = self._large.about(touched)
            about = self._with_undos(about | {event.event_id for event in large})
            events = (self._events[name] for name in about)
            ratings_now = current_ratings([*(e for e in events if e not in self._large), *large])
            known = dict(_by_key(ratings_now))
            hashes = frozenset(digest for _, digest in touched)
            # A pick is about several pictures: of those that nothing new was said about, not all
            # events were looked at.
            ratings = {id(known[key]): known[key] for key in touched if key in known}
            return RatingChange(hashes=hashes, ratings=tuple(ratings.values()), alike=self._alike())

    def _alike(self) -> tuple[AlikeRated, ...]:
        changed, self._changed = self._changed, set()

        def undos(names: Iterable[str]) -> list[RatingEvent]:
            return [self._events[name] for name in self._with_undos(set(names)) - set(names)]

        return tuple(self._large.alike(changed, self._about, undos))

    def _take(self, added: Iterable[RatingEvent]) -> set[Key]:
        """Note *added*; return the hashes of the pictures that they are about.

        Raises:
            _Contradiction: Two events under one id say different things, one of very many pictures.
        """
        touched: set[Key] = set()
        for event in added:
            known = self._events.get(event.event_id)
            if known == event or (known is not None and self._large.is_known(event)):
                continue
            if known is not None:  # two say different things under one id: one of them counts
                if is_large(event) or known in self._large:
                    raise _Contradiction
                touched |= set(self._hashes_of(known))
                if known.undoes is not None:
                    self._undos[known.undoes].discard(known.event_id)
                event = unique_events([known, event])[event.event_id]
            self._events[event.event_id] = event
            if is_large(event):
                taken = self._large.take(event)
                self._events[event.event_id] = taken.event
                self._changed |= taken.changed
                touched |= self._look_at(taken.odd)
                continue
            for identity in _identities(event):
                for key in identity.keys:
                    self._about[key].add(event.event_id)
            if event.kind == "undo" and event.undoes:
                self._undos[event.undoes].add(event.event_id)
            touched |= set(self._hashes_of(event))
        return touched

    def _look_at(self, pictures: Iterable[Identity]) -> set[Key]:
        """Look at *pictures* one by one from now on; return their hashes."""
        for identity in pictures:
            name = f"{SAME} {identity.keys}"
            self._events[name] = RatingEvent(
                event_id=name, timestamp=LONG_AGO, kind=SAME, image=identity
            )
            for key in identity.keys:
                self._about[key].add(name)
        return {key for identity in pictures for key in identity.keys}

    def _hashes_of(self, event: RatingEvent) -> Iterator[Key]:
        """Yield the hashes that *event* is about; those that are undone for an undo."""
        seen: set[str] = set()
        while event.kind == "undo" and event.undoes in self._events and event.undoes not in seen:
            seen.add(event.undoes)
            event = self._events[event.undoes]
        if event in self._large:
            self._changed |= {event.event_id} if event.kind == MANY else set()
            return
        for identity in _identities(event):
            yield from identity.keys

    def _picture_of(self, keys: set[Key]) -> set[Key]:
        """Return *keys* with all other hashes of the same pictures."""
        hashes, fresh = set(keys), set(keys)
        while fresh:
            near = self._near(fresh | self._large.known_by_themselves(None, fresh))
            fresh = near - hashes
            hashes |= fresh
        return hashes

    def _near(self, keys: set[Key]) -> set[Key]:
        """Return *keys* with what events that are looked at one by one say is the same picture."""
        hashes, ahead = set(keys), list(keys)
        while ahead:
            key = ahead.pop()
            for name in self._about.get(key, ()):
                for identity in _identities(self._events[name]):
                    if key in identity.keys:
                        more = set(identity.keys) - hashes
                        hashes |= more
                        ahead += more
        return hashes

    def _with_undos(self, names: set[str]) -> set[str]:
        event_ids, ahead = set(names), list(names)
        while ahead:
            more = self._undos.get(ahead.pop(), set()) - event_ids
            event_ids |= more
            ahead += more
        return event_ids


def _by_key(ratings: Mapping[Identity, Rating]) -> Iterator[tuple[Key, Rating]]:
    for rating in ratings.values():
        for digest in rating.sha256s:
            yield ("bytes", digest), rating
        for digest in rating.pixel_sha256s:
            yield ("pixels", digest), rating
        for digest in rating.image_sha256s:
            yield ("image", digest), rating


def _identities(event: RatingEvent) -> Iterator[Identity]:
    yield from event.pictures
    yield from event.shown_beside
