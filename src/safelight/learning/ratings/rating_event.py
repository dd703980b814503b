"""Rating events: what somebody said about a picture, and which of it still counts."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from safelight.timestamps import utc_timestamp

__all__ = [
    "KINDS",
    "MOST_AFTER",
    "RATING_SCHEMA",
    "Identity",
    "Pictures",
    "RatingEvent",
    "events_in_force",
    "new_event_id",
    "precedence",
    "time_order",
    "unique_events",
]

RATING_SCHEMA = 1
"""Number of the newest schema that this module writes."""

KINDS = ("stars", "reject", "favourite", "pick", "note", "tags", "undo")
"""What an event can say; others come from later versions and are carried along unread."""

MOST_AFTER = 2**53 - 1
"""The largest number that JavaScript, too, can count to."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def new_event_id() -> str:
    """Return a name that no other event has: 32 hex digits."""
    return uuid.uuid4().hex


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a picture is, wherever it lies: at least one of two hashes.

    Attributes:
        sha256: SHA-256 of the file's bytes, 64 lower-case hex digits; None when unknown.
        pixel_sha256: SHA-256 of the decoded pixels (``docs/records.md`` says which bytes).
    """

    sha256: str | None = None
    pixel_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is None and self.pixel_sha256 is None:
            raise ValueError("an identity needs sha256 or pixel_sha256, got neither")
        for digest in (self.sha256, self.pixel_sha256):
            if digest is not None and not _DIGEST.fullmatch(digest):
                raise ValueError(f"a hash must be 64 lower-case hex digits, got {digest[:80]!r}")

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The known hashes, each with its kind; the hash of the bytes comes first."""
        if self.pixel_sha256 is None:
            return (("bytes", self.sha256),) if self.sha256 is not None else ()
        if self.sha256 is None:
            return (("pixels", self.pixel_sha256),)
        return (("bytes", self.sha256), ("pixels", self.pixel_sha256))


class RatingEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One thing that somebody said about a picture, or about several.

    Attributes:
        event_id: Unique; an event that is met twice counts once.
        timestamp: When it was said: UTC, ISO 8601, ending in ``Z``. Clocks may be wrong, so that
            it decides only between events of which neither followed the other.
        kind: One of :data:`KINDS`, or one of a later version.
        image: The picture; None for ``pick`` and ``undo``.
        value: ``stars``: 1 to 5, and 0 clears; ``reject`` and ``favourite``: true or false;
            ``note``: the text, and an empty one clears; otherwise None.
        added: Tags given, for ``tags``.
        removed: Tags taken away, for ``tags``.
        shown: For ``pick``: the pictures to choose from, at least two.
        won: For ``pick``: places of the winners in *shown*, from 0. Several winners tie with
            each other and beat the rest; all of them is a tie; none is "skip".
        undoes: For ``undo``: the event that no longer counts, which may itself be an undo.
        shown_beside: Pictures that were on the screen at the same time.
        rater: Who said it; empty when nobody gave a name.
        after: 1 + the highest ``after`` of this picture's events that its writer had read; 0 in
            events of earlier versions. The higher counts, whatever the clocks say.
        client_timestamp: What the clock of a browser said that was too far ahead to be taken;
            empty otherwise.
        source: ``safelight``, or ``imported:xmp`` and the like.
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

    @property
    def moment(self) -> datetime:
        """The timestamp as an aware datetime."""
        return datetime.fromisoformat(self.timestamp)

    @property
    def pictures(self) -> tuple[Identity, ...]:
        """The pictures that it says something about; none for ``undo``."""
        return self.shown if self.image is None else (self.image,)

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


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(RatingEvent)


def _check_kind(event: RatingEvent) -> None:
    kind, value = event.kind, event.value
    if (event.image is None) is not (kind in ("pick", "undo")):
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
    if len(set(event.won)) < len(event.won) or not set(event.won) <= set(range(len(event.shown))):
        raise ValueError(f"won must be places in the {len(event.shown)} shown, got {event.won}")


class Pictures:
    """Which identities are one picture: those that share a hash, along any chain."""

    def __init__(self, identities: Iterable[Identity]) -> None:
        self._above: dict[tuple[str, str], tuple[str, str]] = {}
        for identity in identities:
            keys = identity.keys
            if len(keys) == 1:
                self._above.setdefault(keys[0], keys[0])
                continue
            first, second = self._root(keys[0]), self._root(keys[1])
            self._above[first] = self._above[second] = min(first, second)

    def _root(self, key: tuple[str, str]) -> tuple[str, str]:
        above = self._above.setdefault(key, key)
        while above is not key and above != key:
            self._above[key] = self._above[above]
            key, above = above, self._above[above]
        return key

    def key(self, identity: Identity) -> tuple[str, str]:
        """Return what is the same for all identities of one picture.

        The hash of the bytes decides; that of the pixels is asked when no one knows the bytes.
        """
        keys = identity.keys
        for key in keys:
            if key in self._above:
                return self._root(key)
        return keys[0]

    def members(self) -> Mapping[tuple[str, str], tuple[tuple[str, str], ...]]:
        """Return the hashes of each picture, sorted, by its key."""
        keys_of = defaultdict(list)
        for key in list(self._above):
            keys_of[self._root(key)].append(key)
        return {root: tuple(sorted(keys)) for root, keys in keys_of.items()}


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
    return tuple(sorted(alive, key=precedence))


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
