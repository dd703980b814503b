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
from safelight.learning.ratings.rating_event import Identity, RatingEvent, unique_events
from safelight.learning.ratings.rating_store import Segments
from safelight.paused_collector import paused_collector

__all__ = ["FollowedRatings", "RatingChange"]

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingChange:
    """What is different from the last time.

    Attributes:
        hashes: Of the pictures whose ratings may have changed; None when all may have.
        ratings: What is said about those pictures now; nothing about those that are missing.
    """

    hashes: frozenset[str] | None
    ratings: tuple[Rating, ...]


class FollowedRatings:
    """Follows the segments in one folder of ratings.

    What it tells adds up to what :func:`.current_ratings.current_ratings` says of all events.

    Args:
        folder: Of the segments; it need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._segments = Segments(folder)
        self._forget()

    def _forget(self) -> None:
        self._events: dict[str, RatingEvent] = {}
        self._about: defaultdict[Key, set[str]] = defaultdict(set)
        self._undos: defaultdict[str, set[str]] = defaultdict(set)

    @property
    def trouble(self) -> Mapping[Path, str]:
        """Segment -> why it, or a part of it, is passed over."""
        return self._segments.trouble

    def news(self) -> RatingChange:
        """Return what changed since the last call; on the first, everything.

        Raises:
            StorageError: The segments cannot be listed.
        """
        with paused_collector():
            whole, added = self._segments.news()
            if whole:
                self._forget()
                self._take(added)
                everything = current_ratings(self._events.values())
                return RatingChange(hashes=None, ratings=tuple(everything.values()))
            touched = self._picture_of(self._take(added))
            about = self._with_undos({event_id for key in touched for event_id in self._about[key]})
            ratings_now = current_ratings(self._events[name] for name in about)
            known = dict(_by_key(ratings_now))
        hashes = frozenset(digest for _, digest in touched)
        # A pick is about several pictures: of those that nothing new was said about, not all
        # events were looked at.
        ratings = {id(known[key]): known[key] for key in touched if key in known}
        return RatingChange(hashes=hashes, ratings=tuple(ratings.values()))

    def _take(self, added: Iterable[RatingEvent]) -> set[Key]:
        """Note *added*; return the hashes of the pictures that they are about."""
        touched: set[Key] = set()
        for event in added:
            known = self._events.get(event.event_id)
            if known == event:
                continue
            if known is not None:  # two say different things under one id: one of them counts
                touched |= set(self._hashes_of(known))
                event = unique_events([known, event])[event.event_id]
            self._events[event.event_id] = event
            for identity in _identities(event):
                for key in identity.keys:
                    self._about[key].add(event.event_id)
            if event.kind == "undo" and event.undoes:
                self._undos[event.undoes].add(event.event_id)
            touched |= set(self._hashes_of(event))
        return touched

    def _hashes_of(self, event: RatingEvent) -> Iterator[Key]:
        """Yield the hashes that *event* is about; those that are undone for an undo."""
        seen: set[str] = set()
        while event.kind == "undo" and event.undoes in self._events and event.undoes not in seen:
            seen.add(event.undoes)
            event = self._events[event.undoes]
        for identity in _identities(event):
            yield from identity.keys

    def _picture_of(self, keys: set[Key]) -> set[Key]:
        """Return *keys* with all other hashes of the same pictures."""
        hashes, ahead = set(keys), list(keys)
        while ahead:
            key = ahead.pop()
            for name in self._about[key]:
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


def _identities(event: RatingEvent) -> Iterator[Identity]:
    if event.image is not None:
        yield event.image
    yield from event.shown
    yield from event.shown_beside
