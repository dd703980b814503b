"""picture_scores: the numbers that scorers gave to pictures, as they count now.

A scorer is a program; what it says is no rating, is kept in events of a kind of its own, and is
only ever put beside what people say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from safelight.learning.ratings.rating_event import (
    SCORE,
    Identity,
    Pictures,
    RatingEvent,
    events_in_force,
    time_order,
)
from safelight.paused_collector import paused_collector

__all__ = ["PictureScore", "PictureScores", "picture_scores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureScore:
    """One number of one picture.

    Attributes:
        scorer: Who gave it.
        version: Of the scorer.
        unit: Of the number.
        number: Finite.
        digests: Every hash by which the picture is known.
        event_id: Of the event, by which it is taken back.
    """

    scorer: str
    version: str
    unit: str
    number: float
    digests: tuple[str, ...]
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureScores:
    """All numbers that count, of each picture, scorer and version the last.

    Attributes:
        every: Of all versions, sorted by scorer and the order in which they count.
        newest: Scorer -> the version that spoke last, by the clock of who asked it. Numbers of
            different versions cannot be compared: questions are answered with this one's.
    """

    every: tuple[PictureScore, ...] = ()
    newest: Mapping[str, str] = field(default_factory=dict)

    @property
    def current(self) -> tuple[PictureScore, ...]:
        """Of each scorer's newest version."""
        return tuple([one for one in self.every if one.version == self.newest[one.scorer]])

    def of_each(self, pictures: Sequence[Sequence[str | None]]) -> list[tuple[PictureScore, ...]]:
        """Return the numbers of newest versions of each picture, which any of its hashes names."""
        wanted = {digest for picture in pictures for digest in picture if digest}
        by_digest: defaultdict[str, list[PictureScore]] = defaultdict(list)
        for one in self.current:
            for digest in wanted.intersection(one.digests):
                by_digest[digest].append(one)
        found = [[one for digest in picture if digest for one in by_digest[digest]]
                 for picture in pictures]  # fmt: skip
        return [tuple({one.event_id: one for one in own}.values()) for own in found]


def picture_scores(events: Iterable[RatingEvent], known: Iterable[Identity] = ()) -> PictureScores:
    """Return what scorers say of pictures now.

    Args:
        events: From any number of stores, in any order, also several times; what is neither a
            score nor undoes one is passed over.
        known: Identities with several hashes, from records, which join what is known by either.
    """
    with paused_collector():
        in_force = [event for event in events_in_force(events) if event.kind == SCORE]
        named = [event.image for event in in_force if event.image is not None]
        pictures = Pictures([*known, *named])
        last: dict[tuple[str, str, tuple[str, str]], RatingEvent] = {}
        for event, image in zip(in_force, named, strict=True):
            key = (event.rater, event.version, pictures.key(image))
            last.pop(key, None)
            last[key] = event
        members = pictures.members() if last else {}
        newest = {event.rater: event.version for event in sorted(in_force, key=time_order)}
        every = [
            PictureScore(
                scorer=scorer, version=version, unit=event.unit, number=float(event.number or 0.0),
                digests=tuple([digest for _, digest in members[key]]), event_id=event.event_id,
            )
            for (scorer, version, key), event in last.items()
        ]  # fmt: skip
        every.sort(key=lambda one: one.scorer)
        return PictureScores(every=tuple(every), newest=newest)
