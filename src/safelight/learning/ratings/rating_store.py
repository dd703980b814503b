"""The folder of rating events: one segment per writer, so that nobody waits for a lock.

Segments grow by lines and are never changed; archives are united line by line
(:mod:`safelight.archive.transfer`). What scorers say stands in segments of its own: there is a
number for every picture and scorer, and who asks for ratings need not read them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Self, cast

import msgspec

from safelight.archive_layout import PART, ratings_folder
from safelight.durable_file import AppendOnlyFile, make_folder, open_regular_file
from safelight.errors import StorageError
from safelight.learning.ratings.large_sets import without_pictures
from safelight.learning.ratings.passed_over import PassedOver
from safelight.learning.ratings.picture_set import HashKeys
from safelight.learning.ratings.rating_event import (
    MANY,
    MOST_AFTER,
    Identity,
    RatingEvent,
    in_lines,
    is_large,
    resolved,
    time_order,
    unique_events,
)
from safelight.line_checksums import is_torn, line_state, with_checksum
from safelight.paused_collector import paused_collector
from safelight.timestamps import compact, utc_timestamp

__all__ = ["SUFFIX", "HighestAfter", "RatingStore", "Segments", "event_or_none", "ratings_folder"]

SUFFIX = ".jsonl"
"""Of segment files."""

_SCORES = ".scores"
"""Ends the stem of a segment with the numbers of scorers."""

_IMPORTED = "imported:"
"""How the source of what other programs said begins."""

_JUDGEMENTS = frozenset(("stars", "reject", "favourite", "pick"))

_COPIES = 2
"""Of a large set in one segment, before lines refer to it."""

_LOOK = 0.5
"""Seconds between two looks at what others wrote; a rater must not wait for many small looks."""

_log = logging.getLogger(__name__)


class Segments:
    """Reads what was added to a folder of segments since the last time.

    Attributes:
        trouble: Segment -> why it, or a part of it, was passed over.

    Args:
        folder: Of the segments; it need not be there yet.
        scores: Those of scorers, and none else; otherwise all others.
    """

    def __init__(self, folder: Path, *, scores: bool = False) -> None:
        self._folder, self._scores = folder, scores
        self._read: dict[str, tuple[int, int]] = {}
        self._damaged: Counter[str] = Counter()
        self.trouble: dict[Path, str] = {}

    def has_read(self, path: Path) -> None:
        """Pass over what *path* has now: whoever wrote it knows what it says."""
        status = path.stat()
        self._read[path.name] = (status.st_ino, status.st_size)

    def news(self) -> tuple[bool, Iterator[RatingEvent]]:
        """Return whether everything is read anew, as the first time, and the events.

        They are read as they are taken: one may be of very many pictures.

        Raises:
            StorageError: The segments cannot be listed.
        """
        anew = not self._read
        sizes = _sizes(self._folder, scores=self._scores)
        for name, (file, read) in self._read.items():
            now, size = sizes.get(name, (-1, 0))
            if now != file or size < read:  # somebody took it away or wrote it anew
                self._read, anew = {}, True
                self._damaged.clear()
                self.trouble.clear()
                break
        return anew, (event for name in sorted(sizes) for event in self._added(name, *sizes[name]))

    def _added(self, name: str, file: int, size: int) -> Iterator[RatingEvent]:
        read = self._read.get(name, (file, 0))[1]
        self._read[name] = (file, read)
        if size <= read:
            return
        rest = b""
        try:
            with open_regular_file(self._folder / name) as opened:
                opened.seek(read)
                while read + len(rest) < size and (rest := opened.readline(size - read)):
                    if not rest.endswith(b"\n"):
                        break  # it is being written, and is read again, whole
                    read += len(rest)
                    line, rest = rest.strip(), b""
                    event = event_or_none(line) if line else None
                    if event is not None:
                        yield event
                    elif line and not is_torn(line):
                        self._damaged[name] += 1
                    self._read[name] = (file, read)
        except OSError as error:
            self.trouble[self._folder / name] = f"cannot be read: {error}"
            return
        rest = rest.strip()
        event = event_or_none(rest) if rest else None
        if event is not None:
            yield event
        damaged = self._damaged[name] + bool(rest and event is None and not is_torn(rest))
        self.trouble.pop(self._folder / name, None)
        if damaged:
            self.trouble[self._folder / name] = _damaged_lines(damaged)


class HighestAfter:
    """For each picture the highest ``after`` of its events that were read.

    Attributes:
        of_any: The highest of all.
    """

    def __init__(self) -> None:
        self.of_any = self._of_whichever = 0
        self._highest: dict[tuple[str, str], int] = {}
        self._same: dict[tuple[str, str], tuple[str, str]] = {}
        self._large: dict[bytes, tuple[int, dict[str, HashKeys]]] = {}
        self._sets: dict[str, tuple[bytes, ...]] = {}

    def of(self, pictures: Iterable[Identity]) -> int:
        """Return it for all of *pictures*; 0 when nothing was read of them."""
        keys = [key for identity in pictures for key in identity.keys]
        known = (self._highest.get(self._root(key), 0) for key in keys)
        highest = max((self._of_whichever, *known))
        for after, tables in self._large.values():
            if after > highest and any(k in tables and tables[k].may_hold(d) for k, d in keys):
                highest = after
        return highest

    def take(self, event: RatingEvent) -> None:
        """Note *event*."""
        self.of_any = max(self.of_any, event.after)
        if is_large(event) and event.many is not None:
            columns = event.many.columns
            name = event.many.digest  # what is said of the same pictures needs no further table
            after, tables = self._large.get(name, (0, {}))
            tables = tables or {kind: HashKeys(column) for kind, column in columns.items()}
            self._large[name] = (max(after, event.after), tables)
            if all(part in self._sets for part in event.parts):
                parts = (digest for part in event.parts for digest in self._sets[part])
                self._sets[event.event_id] = (name, *parts)
            return
        if event.same_pictures:
            whole = (self._sets[each] for each in event.same_pictures if each in self._sets)
            names = next(whole, None)
            if names is None:  # it stands before, unless lines are lost or files were taken apart
                self._of_whichever = max(self._of_whichever, event.after)
            for name in names or ():
                after, tables = self._large[name]
                self._large[name] = (max(after, event.after), tables)
            return
        for identity in event.pictures:
            keys = identity.keys
            root = self._root(keys[0])
            highest = max(event.after, self._highest.get(root, 0))
            for key in keys[1:]:
                if (other := self._root(key)) != root:
                    highest = max(highest, self._highest.pop(other, 0))
                    self._same[other] = root
            self._highest[root] = highest

    def _root(self, key: tuple[str, str]) -> tuple[str, str]:
        while (above := self._same.get(key)) is not None:
            key = above
        return key


class RatingStore:
    """A folder of segments, each extended by one process only.

    Attributes:
        folder: Made when the first event comes; see :func:`ratings_folder`. It is for its owner
            alone, unless it is below *root*, an archive that may be shared.
        passed_over: Segment -> what of it the last :meth:`events` had to pass over, and why.

    Args:
        folder: As above.
        root: As above.
        scores: It is the store of what scorers say.
    """

    def __init__(
        self, folder: Path | str, *, root: Path | None = None, scores: bool = False
    ) -> None:
        self.folder = Path(folder)
        self._root, self._scores = root, scores
        self._segment: AppendOnlyFile | None = None
        self._owner = 0
        self._lock = threading.Lock()
        self.passed_over: dict[Path, str] = {}
        self._segments = Segments(self.folder, scores=scores)
        self._highest = HighestAfter()
        self._passed_over = PassedOver()
        self._look_again = 0.0
        self._by_time: dict[tuple[str, str], list[tuple[datetime, int]]] | None = None
        self._sets: set[str] = set()
        self._sets_here: Mapping[bytes, tuple[str, ...]] = {}
        self._judgements = 0

    def add(self, *events: RatingEvent) -> tuple[RatingEvent, ...]:
        """Write *events*, in one go; they are on the disk when this returns.

        Each gets its ``after``: it follows what this store has read about its picture, or the
        part of it that the event itself says its writer had read. What other programs said
        follows what was said before its time: nobody knows what they had read. What is said of
        more pictures than a line should hold is parted into several, which count together.

        Returns:
            The events as they were written, but for being parted.

        Raises:
            StorageError: They could not be written. A part of them may have been; adding the
                same events again is harmless.
        """
        if not events:
            return ()
        try:
            with self._lock:
                self._catch_up()
                written = tuple(map(self._in_order, events))
                if self._own_segment is not None and not self._own_segment.is_there:
                    self._close_segment()  # a tool that syncs or restores put another in its place
                here = self._sets_here if self._own_segment is not None else {}
                lines, here = _in_lines(written, here)
                if any(map(is_large, lines)):
                    # Without the last nothing is said, and one flush is for all of them. What
                    # cannot be written at all is found out before the first.
                    for event in written:
                        without_pictures(event).to_json()
                    for line in lines:
                        self._append(with_checksum(line.to_json()), flush=line is lines[-1])
                        if is_large(line):
                            self._highest.take(line)
                else:
                    self._append(b"\n".join([with_checksum(line.to_json()) for line in lines]))
                self._sets_here = here
                for event in written:
                    self._passed_over.take(event)
                    self._judgements += event.statement in _JUDGEMENTS
                with contextlib.suppress(OSError):
                    self._segments.has_read(cast("AppendOnlyFile", self._segment).path)
                self._sets |= {event.event_id for event in written if event.kind == MANY}
        except (OSError, UnicodeEncodeError) as error:
            raise StorageError(
                f"{len(events)} ratings could not be written to {self.folder}: {error};"
                " make room or rights there, and rate again"
            ) from error
        return written

    def has_set(self, event_id: str) -> bool:
        """Return whether the event *event_id*, which is about many pictures, is on the disk."""
        with self._lock:
            self._look_again = 0.0
            self._catch_up()
            return event_id in self._sets

    def event(self, event_id: str) -> RatingEvent | None:
        """Return the event of that id, None when there is none.

        Raises:
            StorageError: The segments cannot be listed.
        """
        wanted = event_id.encode()
        for name in _sizes(self.folder, scores=self._scores):
            with contextlib.suppress(OSError), open_regular_file(self.folder / name) as file:
                for line in file:
                    if wanted in line:
                        event = event_or_none(line.strip())
                        if event is not None and event.event_id == event_id:
                            return event
        return None

    @property
    def segment(self) -> Path | None:
        """The file that this store adds to; None before it has added anything."""
        return None if self._segment is None else self._segment.path

    def catch_up(self) -> None:
        """Read what others wrote, which the next :meth:`add` would have to do."""
        with self._lock:
            self._catch_up()

    def highest_after(self, *pictures: Identity) -> int:
        """Return the highest ``after`` of what is said about *pictures*: :meth:`add` adds to it."""
        with self._lock:
            self._catch_up()
            return self._highest.of(pictures)

    def was_passed_over(self, rater: str, picture: Identity) -> bool:
        """Return whether *rater* was shown *picture* and went on without a word.

        What is written here counts at once, what others write after half a second at most.
        """
        with self._lock:
            self._catch_up()
            return self._passed_over.has(rater, picture)

    def judgements(self) -> int:
        """Return how often somebody gave stars, a flag or a pick, until this moment.

        It grows with what is said, also where that takes the place of what was said before.
        """
        with self._lock:
            self._look_again = 0.0
            self._catch_up()
            return self._judgements

    def _catch_up(self) -> None:
        if time.monotonic() < self._look_again:
            return
        with paused_collector():
            try:
                anew, events = self._segments.news()
            except StorageError as error:  # what is written follows what was read before
                _log.warning("%s", error)
                return
            if anew:
                self._highest, self._passed_over = HighestAfter(), PassedOver()
                self._judgements, self._sets = 0, set()
            for event in events:
                self._highest.take(event)
                self._passed_over.take(event)
                self._judgements += event.statement in _JUDGEMENTS
                if event.kind == MANY:
                    self._sets.add(event.event_id)
        self._look_again = time.monotonic() + _LOOK

    def _in_order(self, event: RatingEvent) -> RatingEvent:
        if event.kind == "undo":
            return event
        if event.source.startswith(_IMPORTED):
            written = msgspec.structs.replace(event, after=self._highest_before(event))
            if not is_large(written):
                self._highest.take(written)  # it may join what was said of a picture by two hashes
            return written
        # Of many pictures it would take long to look at each; what follows everything follows that.
        highest = self._highest.of_any if is_large(event) else self._highest.of(event.pictures)
        following = min(highest + 1, MOST_AFTER)
        after = min(event.after, following) if event.after else following
        written = msgspec.structs.replace(event, after=after)
        if is_large(written):
            self._highest.of_any = after
        else:
            self._highest.take(written)  # the next of the same call follows it
        return written

    def _highest_before(self, event: RatingEvent) -> int:
        """Return the highest ``after`` of what was said about a picture until *event*'s time."""
        if self._by_time is None:
            self._by_time = defaultdict(list)
            for earlier in self.events():
                for identity in earlier.pictures:
                    for key in identity.keys:
                        self._by_time[key].append((earlier.moment, earlier.after))
        known = [self._by_time.get(k, ()) for picture in event.pictures for k in picture.keys]
        before = (after for moments in known for moment, after in moments if moment <= event.moment)
        return max(before, default=0)

    @property
    def _own_segment(self) -> AppendOnlyFile | None:
        return self._segment if self._owner == os.getpid() else None  # a fork shares none

    def _append(self, lines: bytes, *, flush: bool = True) -> None:
        segment = self._own_segment
        if segment is None:
            make_folder(self.folder, root=self._root)
            segment = AppendOnlyFile(self.folder / (_new_stem(scores=self._scores) + SUFFIX))
            self._segment, self._owner = segment, os.getpid()
        try:
            segment.append(lines, flush=flush)
        except OSError:  # it may end in half a line now, which the next would be glued to
            self._close_segment()
            raise

    def events(self) -> tuple[RatingEvent, ...]:
        """Return all events, oldest first, each id once, undone ones and undos included.

        What is no event, such as a line torn by a power cut, is passed over; see
        :attr:`passed_over`.

        Raises:
            StorageError: The segments cannot be listed.
        """
        self.passed_over = {}
        self._look_again = 0.0  # what is told from here on follows all that is returned
        with paused_collector():
            events = resolved(unique_events(self._all()))
            return tuple(sorted(events.values(), key=time_order))

    def _all(self) -> Iterator[RatingEvent]:
        """Yield every event in the segments."""
        for name in sorted(_sizes(self.folder, scores=self._scores)):
            path = self.folder / name
            lines = 0
            try:
                with open_regular_file(path) as file:
                    for raw in file:
                        line = raw.strip()
                        event = event_or_none(line) if line else None
                        if event is not None:
                            yield event
                        elif line and not is_torn(line):
                            lines += 1
            except OSError as error:
                self.passed_over[path] = f"cannot be read: {error}"
            if lines:
                self.passed_over[path] = _damaged_lines(lines)
            if path in self.passed_over:
                _log.warning("%s: %s; passed over", path, self.passed_over[path])

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


def _in_lines(
    events: Iterable[RatingEvent], before: Mapping[bytes, tuple[str, ...]]
) -> tuple[list[RatingEvent], Mapping[bytes, tuple[str, ...]]]:
    """Return *events* as they are written, and all large sets that their segment has then.

    Pictures that the segment has twice are not written again: a line that rots costs nothing but
    what it says itself. Those of another segment are: so does a file that is lost, or was not
    carried along.

    Args:
        events: To be written together.
        before: Digest of each large set that the segment has -> the events that have it.
    """
    lines, sets = list[RatingEvent](), dict(before)
    for event in events:
        if event.many is None or not is_large(event):
            lines += in_lines(event)
            continue
        having = sets.get(event.many.digest, ())
        if len(having) < _COPIES or event.event_id in having:
            lines += in_lines(event)
            sets[event.many.digest] = tuple(dict.fromkeys((*having, event.event_id)))
        else:
            lines.append(msgspec.structs.replace(event, many=None, same_pictures=having))
    return lines, sets


def _damaged_lines(count: int) -> str:
    noun = "line is" if count == 1 else "lines are"
    return f"{count:,} {noun} no rating, or damaged"


def _new_stem(*, scores: bool) -> str:
    return f"{compact(utc_timestamp())}_{uuid.uuid4().hex[:12]}{_SCORES if scores else ''}"


def _is_of_scores(name: str) -> bool:
    return name.removesuffix(SUFFIX).partition(PART)[0].endswith(_SCORES)


def _sizes(folder: Path, *, scores: bool) -> dict[str, tuple[int, int]]:
    """Return name -> (which file it is, its size) of the segments.

    Raises:
        StorageError: They cannot be listed.
    """
    sizes = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if not name.endswith(SUFFIX) or name.startswith(".") or entry.is_dir():
                    continue
                if _is_of_scores(name) is not scores:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    # What is no file has no size; whoever reads it then is told what it is.
                    sizes[name] = (status.st_ino, status.st_size if entry.is_file() else 1)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"the ratings in {folder} cannot be listed: {error}") from error
    return sizes


def event_or_none(line: bytes) -> RatingEvent | None:
    """Return the event that *line* of a segment is, None when it is none or is damaged."""
    if line_state(line) == "damaged":
        return None
    try:
        return RatingEvent.from_json(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
