"""Ratings: append-only events about pictures, and what they add up to now.

An event is keyed by what a picture *is*, never by where it lies: the SHA-256 of the file's
bytes, the SHA-256 of its decoded pixels, or both. Two identities that share either hash are
one picture, and so on along the chain; a file that was moved, renamed, re-encoded without
loss or given metadata keeps its ratings.

Nothing is ever changed or deleted: taking something back is an event, too. Each process
writes a segment of its own, so that any number of processes and machines can write to one
folder without waiting for each other, and the union of two folders is a merge.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

import msgspec

from safelight.durable_file import AppendOnlyFile, sync_folder, write_new_file
from safelight.errors import StorageError
from safelight.learning.learning_record import utc_timestamp

__all__ = [
    "KINDS",
    "RATING_SCHEMA",
    "Identity",
    "Pictures",
    "Rating",
    "RatingEvent",
    "RatingStore",
    "Ratings",
    "current_ratings",
    "events_in_force",
    "new_event_id",
    "ratings_folder",
]

RATING_SCHEMA = 1
"""Number of the newest schema that this module writes."""

KINDS = ("stars", "reject", "favourite", "pick", "note", "tags", "undo")
"""What an event can say; others come from later versions and are carried along unread."""

_SUFFIX = ".jsonl"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


def ratings_folder(archive: Path) -> Path:
    """Return the folder of the rating segments."""
    return archive / "ratings"


def new_event_id() -> str:
    """Return a name that no other event has: 32 hex digits."""
    return uuid.uuid4().hex


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a picture is, wherever it lies: at least one of two hashes.

    Attributes:
        sha256: SHA-256 of the file's bytes, 64 lower-case hex digits; None when unknown.
        pixel_sha256: SHA-256 of the decoded pixels (``docs/records.md`` says which bytes).
    """

    sha256: str | None = None
    pixel_sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("an identity needs sha256 or pixel_sha256, got neither")
        for _, digest in self.keys:
            if not _DIGEST.fullmatch(digest):
                raise ValueError(f"a hash must be 64 lower-case hex digits, got {digest[:80]!r}")

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The known hashes, each with its kind; the hash of the bytes comes first."""
        named = (("bytes", self.sha256), ("pixels", self.pixel_sha256))
        return tuple((name, digest) for name, digest in named if digest is not None)


class RatingEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that somebody said about a picture, or about several.

    Attributes:
        event_id: Unique; an event that is met twice counts once.
        timestamp: When it was said: UTC, ISO 8601, ending in ``Z``.
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
    source: str = "safelight"
    schema: int = RATING_SCHEMA

    def __post_init__(self) -> None:
        if not self.event_id:
            raise ValueError("event_id must not be empty")
        if self.moment.utcoffset() != timedelta(0):
            raise ValueError(f"timestamp must be UTC and end in Z, got {self.timestamp!r}")
        if self.kind in KINDS:
            _check_kind(self)

    @property
    def moment(self) -> datetime:
        """The timestamp as an aware datetime."""
        return datetime.fromisoformat(self.timestamp)

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


# --- What the events add up to ---------------------------------------------------------------


class Pictures:
    """Which identities are one picture: those that share a hash, along any chain."""

    def __init__(self, identities: Iterable[Identity]) -> None:
        self._above: dict[tuple[str, str], tuple[str, str]] = {}
        for identity in identities:
            roots = [self._root(key) for key in identity.keys]
            for root in roots:
                self._above[root] = min(roots)

    def _root(self, key: tuple[str, str]) -> tuple[str, str]:
        above = self._above.setdefault(key, key)
        while above != key:
            self._above[key] = self._above[above]
            key, above = above, self._above[above]
        return key

    def key(self, identity: Identity) -> tuple[str, str]:
        """Return what is the same for all identities of one picture.

        The hash of the bytes decides; that of the pixels is asked when no one knows the bytes.
        """
        known = (key for key in identity.keys if key in self._above)
        first = next(known, None)
        return identity.keys[0] if first is None else self._root(first)

    def members(self) -> Mapping[tuple[str, str], tuple[tuple[str, str], ...]]:
        """Return the hashes of each picture, sorted, by its key."""
        found = defaultdict(list)
        for key in list(self._above):
            found[self._root(key)].append(key)
        return {root: tuple(sorted(keys)) for root, keys in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What is said about one picture now.

    Attributes:
        sha256s: Every byte hash by which it is known, sorted.
        pixel_sha256s: Every pixel hash by which it is known, sorted.
        stars: Mean of the raters' stars, 1 to 5; None when no one gave any.
        stars_by_rater: Each rater's stars.
        rejected: Somebody rejects it.
        favourite: It is somebody's favourite.
        tags: Everyone's, sorted.
        notes: Each rater's note.
        picks_won: Picks in which it won and another lost.
        picks_lost: Picks in which another won and it did not.
        picks_tied: Picks in which all that were shown won.
        raters: Who said something that counts, sorted.
    """

    sha256s: tuple[str, ...] = ()
    pixel_sha256s: tuple[str, ...] = ()
    stars: float | None = None
    stars_by_rater: Mapping[str, int] = field(default_factory=dict)
    rejected: bool = False
    favourite: bool = False
    tags: tuple[str, ...] = ()
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
            yield Identity(**{"sha256" if name == "bytes" else "pixel_sha256": digest})

    def __len__(self) -> int:
        return len(self._ratings)


def events_in_force(events: Iterable[RatingEvent]) -> tuple[RatingEvent, ...]:
    """Return what still counts, oldest first: each id once, nothing undone, no undo itself.

    Of two events with one id (an import made twice) the earlier counts. An undo whose own
    undo is in force does nothing; undos that take back each other in a ring do nothing.
    """
    by_id = _unique(events)
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
    return tuple(sorted(alive, key=_order))


def current_ratings(events: Iterable[RatingEvent], known: Iterable[Identity] = ()) -> Ratings:
    """Return what is said about each picture now, whatever the order of *events*.

    Per rater and kind the last event counts, by timestamp and then by ``event_id``; tags by
    themselves; each pick is evidence of its own.

    Args:
        events: From any number of stores, in any order, also several times.
        known: Identities with both hashes, from records: they join a rating by bytes with
            one by pixels. Undone events join, too.
    """
    events = tuple(_unique(events).values())
    pictures = Pictures([*known, *(one for event in events for one in _identities(event))])
    tallies: dict[tuple[str, str], _Tally] = defaultdict(_Tally)
    for event in events_in_force(events):
        if event.kind == "pick":
            _count_pick(event, pictures, tallies)
        elif event.kind in KINDS and event.image is not None:
            tallies[pictures.key(event.image)].say(event)
    members = pictures.members()
    return Ratings(pictures, {key: tally.rating(members[key]) for key, tally in tallies.items()})


def _order(event: RatingEvent) -> tuple[datetime, str]:
    return (event.moment, event.event_id)


def _unique(events: Iterable[RatingEvent]) -> dict[str, RatingEvent]:
    found: dict[str, RatingEvent] = {}
    for event in events:
        other = found.setdefault(event.event_id, event)
        if other != event:
            found[event.event_id] = min(other, event, key=lambda e: (e.moment, repr(e)))
    return found


def _identities(event: RatingEvent) -> Iterator[Identity]:
    if event.image is not None:
        yield event.image
    yield from event.shown
    yield from event.shown_beside


def _count_pick(
    event: RatingEvent, pictures: Pictures, tallies: Mapping[tuple[str, str], _Tally]
) -> None:
    if not event.won:
        return
    keys = [pictures.key(one) for one in event.shown]
    won = {keys[place] for place in event.won}
    lost = {key for place, key in enumerate(keys) if place not in event.won}
    for key in (won | lost) - (won & lost):  # a picture shown twice cannot beat itself
        tally = tallies[key]
        tally.raters.add(event.rater)
        outcome = "lost" if key in lost else "won" if lost else "tied"
        tally.picks[outcome] += 1


class _Tally:
    """What was said about one picture, gathered oldest first."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, bool | int | str | None]] = defaultdict(dict)
        self.tags: dict[str, set[str]] = defaultdict(set)
        self.picks: dict[str, int] = defaultdict(int)
        self.raters: set[str] = set()

    def say(self, event: RatingEvent) -> None:
        self.raters.add(event.rater)
        if event.kind == "tags":
            tags = self.tags[event.rater]
            tags.difference_update(event.removed)
            tags.update(event.added)
        else:
            self.last[event.kind][event.rater] = event.value

    def rating(self, members: Iterable[tuple[str, str]]) -> Rating:
        members = tuple(members)
        stars = {rater: int(value) for rater, value in self.last["stars"].items() if value}
        return Rating(
            sha256s=tuple(digest for name, digest in members if name == "bytes"),
            pixel_sha256s=tuple(digest for name, digest in members if name == "pixels"),
            stars=sum(stars.values()) / len(stars) if stars else None,
            stars_by_rater=stars,
            rejected=any(self.last["reject"].values()),
            favourite=any(self.last["favourite"].values()),
            tags=tuple(sorted(set().union(*self.tags.values()))),
            notes={rater: str(text) for rater, text in self.last["note"].items() if text},
            picks_won=self.picks["won"],
            picks_lost=self.picks["lost"],
            picks_tied=self.picks["tied"],
            raters=tuple(sorted(self.raters)),
        )


# --- The store -------------------------------------------------------------------------------


class RatingStore:
    """A folder of segments, each extended by one process only.

    Attributes:
        folder: Made when the first event comes; see :func:`ratings_folder`.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._segment: AppendOnlyFile | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def add(self, *events: RatingEvent) -> None:
        """Write *events*, in one go; they are on the disk when this returns.

        Raises:
            StorageError: They could not be written. A part of them may have been; adding the
                same events again is harmless.
        """
        if not events:
            return
        try:
            lines = b"\n".join(event.to_json() for event in events)
            with self._lock:
                self._append(lines)
        except (OSError, UnicodeEncodeError) as error:
            raise StorageError(
                f"{len(events)} ratings could not be written to {self.folder}: {error};"
                " make room or rights there, and rate again"
            ) from error

    def _append(self, lines: bytes) -> None:
        if self._segment is None or self._owner != os.getpid():  # a fork shares no segment
            self.folder.mkdir(parents=True, exist_ok=True)
            self._segment = AppendOnlyFile(self.folder / (_new_stem() + _SUFFIX))
            self._owner = os.getpid()
            sync_folder(self.folder)
        try:
            self._segment.append(lines)
        except OSError:  # it may end in half a line now, which the next would be glued to
            self._close_segment()
            raise

    def events(self) -> tuple[RatingEvent, ...]:
        """Return all events, oldest first, each id once, undone ones and undos included.

        What is no event, such as a line torn by a power cut, is passed over with a log line.
        """
        decoded = (event for _, event in self._lines() if event is not None)
        return tuple(sorted(_unique(decoded).values(), key=_order))

    def merge(self, other: RatingStore) -> int:
        """Take in what only *other* has, as one new segment, and return how many lines.

        Lines of later schemas are taken as they are; *other* is not changed.

        Raises:
            StorageError: Nothing was taken in.
        """
        mine = {line for line, _ in self._lines()}
        lines = dict.fromkeys(line for line, _ in other._lines() if line not in mine)
        if lines:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_new_file(self.folder, _new_stem(), _SUFFIX, b"\n".join(lines) + b"\n")
            except OSError as error:
                raise StorageError(
                    f"ratings of {other.folder} could not be written to {self.folder}: {error}"
                ) from error
        return len(lines)

    def _lines(self) -> Iterator[tuple[bytes, RatingEvent | None]]:
        """Yield every JSON object in the segments, with the event that it is, if it is one."""
        names = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
        for name in names:
            if name.endswith(_SUFFIX) and not name.startswith("."):
                yield from _segment_lines(self.folder / name)

    def close(self) -> None:
        """Let go of the segment; closing twice is harmless, and adding opens a new one."""
        with self._lock:
            self._close_segment()

    def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _new_stem() -> str:
    moment = re.sub(r"[-:]", "", utc_timestamp())
    return f"{moment}_{uuid.uuid4().hex[:12]}"


def _segment_lines(path: Path) -> Iterator[tuple[bytes, RatingEvent | None]]:
    passed_over = 0
    try:
        with path.open("rb") as file:
            for raw in file:
                line = raw.strip()
                if not line:
                    continue
                event = _event_or_none(line)
                if event is None:
                    passed_over += 1
                if event is not None or _is_object(line):
                    yield line, event
    except OSError as error:
        _log.warning("ratings in %s cannot be read and are passed over: %s", path, error)
    if passed_over:
        _log.warning("%s: %d lines are no rating and are passed over", path, passed_over)


def _event_or_none(line: bytes) -> RatingEvent | None:
    try:
        return RatingEvent.from_json(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _is_object(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True
