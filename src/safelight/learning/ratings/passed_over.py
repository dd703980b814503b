"""PassedOver: which pictures somebody was shown and said nothing about, kept up as events come."""

from __future__ import annotations

from collections.abc import Iterable

from safelight.learning.ratings.rating_event import Identity, RatingEvent, events_in_force

__all__ = ["PassedOver"]


class PassedOver:
    """What ``seen`` events say, without those that were taken back.

    Args:
        events: To begin with.
    """

    def __init__(self, events: Iterable[RatingEvent] = ()) -> None:
        self._events: dict[str, RatingEvent] = {}
        self._by_rater: dict[str, frozenset[tuple[str, str]]] | None = None
        for event in events:
            self.take(event)

    def take(self, event: RatingEvent) -> None:
        """Note *event*; what says nothing about this is passed over."""
        if event.kind in ("seen", "undo") and event.event_id not in self._events:
            self._events[event.event_id] = event
            self._by_rater = None

    def has(self, rater: str, picture: Identity) -> bool:
        """Return whether *rater* passed *picture* over, by any of its hashes."""
        if self._by_rater is None:
            keys: dict[str, set[tuple[str, str]]] = {}
            for event in events_in_force(self._events.values()):
                mine = keys.setdefault(event.rater, set())
                mine.update(key for identity in event.pictures for key in identity.keys)
            self._by_rater = {name: frozenset(mine) for name, mine in keys.items()}
        return not self._by_rater.get(rater, frozenset()).isdisjoint(picture.keys)
