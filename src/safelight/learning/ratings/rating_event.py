"""Rating events: what somebody said about a picture, and which of it still counts."""

from __future__ import annotations

import copy
import hashlib
import math
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from safelight.learning.ratings.identity import Identity, Pictures
from safelight.learning.ratings.picture_set import PictureSet, join_sets
from safelight.timestamps import utc_timestamp

__all__ = [
    "AUTOMATIC",
    "KINDS",
    "LARGE",
    "LONG_AGO",
    "MANY",
    "MOST_AFTER",
    "PART_OF_MANY",
    "PER_LINE",
    "RATING_SCHEMA",
    "SAID_OF_MANY",
    "SAME",
    "SCORE",
    "Identity",
    "Pictures",
    "RatingEvent",
    "all_pictures",
    "count_pictures",
    "events_in_force",
    "in_lines",
    "is_large",
    "new_event_id",
    "pictures_of",
    "precedence",
    "resolved",
    "same_picture",
    "time_order",
    "unique_events",
]

RATING_SCHEMA = 1
"""Number of the newest schema that this module writes."""

SAME = "same"
"""Kind of an event that says nothing about a picture but that its two hashes are one picture."""

SCORE = "score"
"""Kind of an event in which a program says a number of a picture: no rating, and never one."""

AUTOMATIC = "automatic:"
"""Beginning of the source of what a program said."""

KINDS = ("stars", "reject", "favourite", "pick", "note", "tags", "undo", "seen", "albums")
"""What an event can say; others come from later versions and are carried along unread."""

MANY = "many"
"""Kind of an event that says one thing, of the kind :attr:`RatingEvent.says`, of many pictures."""

PART_OF_MANY = "part"
"""Kind of an event that holds pictures of one of kind :data:`MANY`, and counts with that only."""

SAID_OF_MANY = ("stars", "reject", "favourite", "note", "tags", "albums")
"""What can be said of many pictures at once."""

PER_LINE = 50_000
"""Pictures of one line, some two to six megabytes: larger sets are parted, so that whoever reads
or carries lines never holds a whole one, and a bit that rots costs a part."""

LARGE = 2000
"""Pictures; of smaller sets each picture is looked at."""

MOST_AFTER = 2**53 - 1
"""The largest number that JavaScript, too, can count to."""


def new_event_id() -> str:
    """Return a name that no other event has: 32 hex digits."""
    return uuid.uuid4().hex


class RatingEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One thing that somebody said about a picture, or about several.

    Attributes:
        event_id: Unique; an event that is met twice counts once.
        timestamp: When it was said: UTC, ISO 8601, ending in ``Z``. Clocks may be wrong, so that
            it decides only between events of which neither followed the other.
        kind: One of :data:`KINDS`, :data:`SAME`, :data:`SCORE`, :data:`MANY`,
            :data:`PART_OF_MANY`, or one of a later version.
        image: The picture; None for ``pick``, ``seen``, ``undo``, ``many`` and ``part``.
        value: ``stars``: 1 to 5, and 0 clears; ``reject`` and ``favourite``: true or false;
            ``note``: the text, and an empty one clears; otherwise None.
        added: Tags given, for ``tags``; albums that it is put into, for ``albums``.
        removed: Tags taken away, or albums that it is taken out of.
        says: For ``many``: what is said of each of its pictures, one of :data:`SAID_OF_MANY`.
        many: For ``many`` and ``part``: the pictures.
        parts: For ``many``: the events of kind ``part`` that hold more of its pictures. They are
            written before it, so that nothing is said of any before all are on the disk.
        same_pictures: For ``many``: the events of that kind whose pictures these are, each of which
            has them itself; ``many`` is None then. Ten things that are said of half a million
            pictures are two sets of them and ten lines: a line that is lost takes no other along.
        shown: For ``pick``: the pictures to choose from, at least two. For ``seen``: those that
            were looked at and left without a judgement, at least one.
        won: For ``pick``: places of the winners in *shown*, from 0. Several winners tie with
            each other and beat the rest; all of them is a tie; none is "skip".
        undoes: For ``undo``: the event that no longer counts, which may itself be an undo.
        shown_beside: Pictures that were on the screen at the same time.
        rater: Who said it; empty when nobody gave a name.
        after: 1 + the highest ``after`` of this picture's events that its writer had read; 0 in
            events of earlier versions. The higher counts, whatever the clocks say.
        client_timestamp: What the clock of a browser said that was too far ahead to be taken;
            empty otherwise.
        source: ``safelight``, ``imported:xmp`` and the like, or ``automatic:NAME``.
        number: For ``score``: what the scorer *rater* says, finite. Not in ``value``, which readers
            of earlier versions take for damaged where it is a fraction.
        version: For ``score``: of the scorer; numbers of different ones are not compared.
        unit: For ``score``: of the number.
        schema: Number of the schema that the event was written with.

    Raises:
        ValueError: The parts do not fit the kind.
    """

    event_id: str
    timestamp: str
    kind: str
    image: Identity | None = None
    value: bool | int | str | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    shown: tuple[Identity, ...] = ()
    won: tuple[int, ...] = ()
    undoes: str | None = None
    shown_beside: tuple[Identity, ...] = ()
    rater: str = ""
    after: int = 0
    client_timestamp: str = ""
    source: str = "safelight"
    number: float | None = None
    version: str = ""
    unit: str = ""
    says: str = ""
    many: PictureSet | None = None
    parts: tuple[str, ...] = ()
    same_pictures: tuple[str, ...] = ()
    schema: int = RATING_SCHEMA

    def __post_init__(self) -> None:
        if not self.event_id:
            raise ValueError("event_id must not be empty")
        if self.moment.utcoffset() != timedelta(0):
            raise ValueError(f"timestamp must be UTC and end in Z, got {self.timestamp!r}")
        if not 0 <= self.after <= MOST_AFTER:
            raise ValueError(f"after must lie in 0 to 2**53 - 1, got {self.after}")
        if self.kind in KINDS:
            _check_kind(self)
        elif self.kind == SCORE:
            _check_score(self)
        elif self.kind in (MANY, PART_OF_MANY):
            _check_many(self)

    @property
    def moment(self) -> datetime:
        """The timestamp as an aware datetime."""
        return datetime.fromisoformat(self.timestamp)

    @property
    def pictures(self) -> tuple[Identity, ...]:
        """The pictures that it says something about; none for ``undo``."""
        if self.many is not None:
            return tuple(self.many.identities())
        return self.shown if self.image is None else (self.image,)

    @property
    def statement(self) -> str:
        """What kind of thing it says, of however many pictures."""
        return self.says if self.kind == MANY else self.kind

    @staticmethod
    def now(kind: str, image: Identity | None = None, **fields: object) -> RatingEvent:
        """Return an event of this moment with a fresh id; *fields* are the attributes.

        Raises:
            ValueError: The parts do not fit the kind.
        """
        made = {"event_id": new_event_id(), "timestamp": utc_timestamp(), **fields}
        return RatingEvent(kind=kind, image=image, **made)  # type: ignore[arg-type]

    def to_json(self) -> bytes:
        """Return the line of a segment, without its newline.

        Raises:
            UnicodeEncodeError: A text holds half a character.
        """
        return _encoder.encode(self)

    @staticmethod
    def from_json(line: bytes | str) -> RatingEvent:
        """Read one line; fields of later schemas are passed over.

        Raises:
            msgspec.MsgspecError: *line* is not a rating event.
            ValueError: *line* is not UTF-8.
        """
        return _decoder.decode(line)


def is_large(event: RatingEvent) -> bool:
    """Return whether *event* is about so many pictures that they are not looked at one by one."""
    if event.kind == PART_OF_MANY or event.parts or event.same_pictures:
        return True
    return event.kind == MANY and event.many is not None and len(event.many) > LARGE


def _holds_large(event: RatingEvent) -> bool:
    return event.many is not None and is_large(event)


def same_picture(sha256: str, image_sha256: str) -> RatingEvent:
    """Return an event that joins what is said of a file's bytes to its image data.

    It is the same one whoever writes it, and whenever.
    """
    named = hashlib.sha256(f"{SAME}\0{sha256}\0{image_sha256}".encode()).hexdigest()
    return RatingEvent(
        event_id=named[:32], timestamp=LONG_AGO, kind=SAME, source="imported:image",
        image=Identity(sha256=sha256, image_sha256=image_sha256),
    )  # fmt: skip


LONG_AGO = "1970-01-01T00:00:00.000000Z"
"""Time of an event that has none."""

_Sets = dict[tuple[int, tuple[str, ...]], tuple[Identity, ...]]
_ANY = Identity(sha256="0" * 64)
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(RatingEvent)


def _check_kind(event: RatingEvent) -> None:
    kind, value = event.kind, event.value
    if (event.image is None) is not (kind in ("pick", "seen", "undo")):
        raise ValueError(f"{kind} must {'not ' if event.image else ''}name an image of its own")
    if kind == "stars" and (type(value) is not int or not 0 <= value <= 5):
        raise ValueError(f"stars must be 1 to 5, or 0 to clear them, got {value!r}")
    if kind in ("reject", "favourite") and type(value) is not bool:
        raise ValueError(f"{kind} must be true or false, got {value!r}")
    if kind == "note" and type(value) is not str:
        raise ValueError(f"a note must be a text, got {value!r}")
    if kind == "undo" and not event.undoes:
        raise ValueError("undo must name the event that it takes back")
    if kind == "pick" and len(event.shown) < 2:
        raise ValueError(f"a pick needs at least 2 pictures, got {len(event.shown)}")
    if kind == "seen" and not event.shown:
        raise ValueError("seen must name the pictures that were shown, got none")
    if kind == "albums":
        _check_albums(event.added + event.removed)
    if len(set(event.won)) < len(event.won) or not set(event.won) <= set(range(len(event.shown))):
        raise ValueError(f"won must be places in the {len(event.shown)} shown, got {event.won}")


def _check_albums(names: tuple[str, ...]) -> None:
    for name in names:
        if not name or name != name.strip() or ";" in name or not name.isprintable():
            raise ValueError(
                "the name of an album is one line without blanks around it and without ';', got"
                f" {name[:80]!r}"
            )


def _check_many(event: RatingEvent) -> None:
    if event.image is not None or (event.many is None) is not bool(event.same_pictures):
        raise ValueError(f"{event.kind} must name its pictures in many, or in same_pictures")
    if event.kind == PART_OF_MANY:
        if event.many is None:
            raise ValueError("a part must name its pictures in many")
        return
    if event.says not in SAID_OF_MANY:
        raise ValueError(
            f"of many pictures can be said {', '.join(SAID_OF_MANY)}, got {event.says[:80]!r}"
        )
    _of_one(event, _ANY if event.many is None else next(event.many.first().identities(), None))


def _check_score(event: RatingEvent) -> None:
    if event.image is None:
        raise ValueError("a score must name an image of its own")
    if event.number is None or not math.isfinite(event.number):
        raise ValueError(f"a score must be a finite number, got {event.number!r}")
    if not event.rater or not event.version or event.source != AUTOMATIC + event.rater:
        raise ValueError(
            f"a score must name its scorer, its version and the source {AUTOMATIC}SCORER, got"
            f" {event.rater!r}, {event.version!r}, {event.source!r}"
        )


def events_in_force(events: Iterable[RatingEvent]) -> tuple[RatingEvent, ...]:
    """Return what still counts, each id once, nothing undone, no undo itself.

    Of several events about one picture the last is in force, see :func:`precedence`.

    Of two events with one id (an import made twice) the earlier counts. An undo whose own
    undo is in force does nothing; undos that take back each other in a ring do nothing.
    """
    by_id = unique_events(events)
    undoers: dict[str, int] = defaultdict(int)
    for event in by_id.values():
        if event.kind == "undo" and event.undoes in by_id:
            undoers[event.undoes] += 1
    ready = [name for name in by_id if not undoers[name]]
    dead: set[str] = set()
    for name in ready:  # grows: an event is ready when all that could undo it are settled
        target = by_id[name].undoes
        if by_id[name].kind != "undo" or target is None or target not in by_id:
            continue
        if name not in dead:
            dead.add(target)
        undoers[target] -= 1
        if not undoers[target]:
            ready.append(target)
    alive = (by_id[name] for name in ready if name not in dead and by_id[name].kind != "undo")
    in_order = sorted(alive, key=precedence)
    sets: _Sets = {}
    return tuple([one for event in in_order for one in _of_each(event, by_id, sets)])


def _of_each(
    event: RatingEvent, by_id: Mapping[str, RatingEvent], sets: _Sets
) -> Iterator[RatingEvent]:
    """Yield what *event* says of each picture, where it says it of many; a part says nothing.

    Args:
        event: It.
        by_id: All that are there.
        sets: Pictures of those that came before, which of the same set are not made again.
    """
    if event.kind != MANY:
        if event.kind != PART_OF_MANY:
            yield event
        return
    if event.many is None:
        return
    name = (id(event.many), event.parts)
    if name not in sets:
        sets[name] = tuple(all_pictures(event, by_id).identities())
    checked = _of_one(event, _ANY)
    for identity in sets[name]:  # all else is the same, and there are hundreds of thousands
        one = copy.copy(checked)
        msgspec.structs.force_setattr(one, "image", identity)
        yield one


def pictures_of(events: Iterable[RatingEvent]) -> Iterator[Identity]:
    """Yield the pictures that *events* say something about; those of one set once."""
    sets = set[int]()
    for event in events:
        if event.many is None or id(event.many) not in sets:
            yield from event.pictures
        sets.add(id(event.many))


def resolved(events: Mapping[str, RatingEvent]) -> dict[str, RatingEvent]:
    """Return *events*, by their ids, each with its own pictures.

    Of the others that have them, the one counts of which most is there. Where none is, nothing is
    said of any.
    """
    found = dict(events)
    copies: dict[bytes, RatingEvent] = {}
    for name, event in events.items():
        if event.kind == MANY and event.many is not None:
            content = b"".join(many.digest for many in _pieces(event, events))
            first = copies.setdefault(content, event)
            if first is not event:  # once in memory, however often it is written
                found[name] = msgspec.structs.replace(event, many=first.many, parts=first.parts)
    for name, event in events.items():
        there = [found[each] for each in event.same_pictures if each in events]
        holding = [other for other in there if other.kind == MANY and _holds_large(other)]
        if holding:
            other = max(holding, key=lambda each: (count_pictures(each, events), each.event_id))
            found[name] = msgspec.structs.replace(
                event, many=other.many, parts=other.parts, same_pictures=()
            )
    return found


def _of_one(event: RatingEvent, picture: Identity | None) -> RatingEvent:
    return RatingEvent(
        event_id=event.event_id, timestamp=event.timestamp, kind=event.says, image=picture,
        value=event.value, added=event.added, removed=event.removed, rater=event.rater,
        after=event.after, client_timestamp=event.client_timestamp, source=event.source,
    )  # fmt: skip


def all_pictures(event: RatingEvent, by_id: Mapping[str, RatingEvent]) -> PictureSet:
    """Return the pictures of *event*, which is about many, and of those of its parts in *by_id*."""
    return join_sets(_pieces(event, by_id))


def count_pictures(event: RatingEvent, by_id: Mapping[str, RatingEvent]) -> int:
    """Return how many :func:`all_pictures` has; 0 where its pictures are not there."""
    return sum(map(len, _pieces(event, by_id)))


def _pieces(event: RatingEvent, by_id: Mapping[str, RatingEvent]) -> list[PictureSet]:
    parts = [part.many for name in event.parts
             if (part := by_id.get(name)) is not None and part.kind == PART_OF_MANY]  # fmt: skip
    return [many for many in (*parts, event.many) if many is not None]


def in_lines(event: RatingEvent) -> tuple[RatingEvent, ...]:
    """Return *event*, which is about many pictures, as the events that are written of it.

    Those that hold a part come first: without the last, which says it, they say nothing.
    """
    if event.many is None:
        return (event,)
    *before, last = event.many.parts(PER_LINE)
    parts = tuple(
        RatingEvent(
            event_id=new_event_id(), timestamp=event.timestamp, kind=PART_OF_MANY, many=many,
            rater=event.rater, after=event.after,
        )
        for many in before
    )  # fmt: skip
    names = tuple(part.event_id for part in parts)
    return (*parts, msgspec.structs.replace(event, many=last, parts=names))


def precedence(event: RatingEvent) -> tuple[int, datetime, str]:
    """Return by what is told which event about a picture is in force: the highest is.

    What its writer had read comes first, so that no clock, however wrong, wins for ever; time
    and id decide between those who did not know of each other.
    """
    return (event.after, event.moment, event.event_id)


def time_order(event: RatingEvent) -> tuple[datetime, str]:
    """Return by what events are sorted: their moment, then their id."""
    return (event.moment, event.event_id)


def unique_events(events: Iterable[RatingEvent]) -> dict[str, RatingEvent]:
    """Return each id's event; of different ones with one id, the earlier."""
    unique: dict[str, RatingEvent] = {}
    for event in events:
        other = unique.setdefault(event.event_id, event)
        if other is not event and other != event:
            unique[event.event_id] = min(other, event, key=lambda e: (*precedence(e), repr(e)))
    return unique
