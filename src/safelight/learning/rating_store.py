"""The folder of rating events: one segment per writer, so that nobody waits for a lock."""

from __future__ import annotations

import logging
import os
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from safelight.durable_file import AppendOnlyFile, make_folder, write_new_file
from safelight.errors import StorageError
from safelight.learning.learning_record import utc_timestamp
from safelight.learning.paused_collector import paused_collector
from safelight.learning.rating_event import RatingEvent, time_order, unique_events

__all__ = ["SUFFIX", "RatingStore", "event_or_none", "ratings_folder"]

SUFFIX = ".jsonl"
"""Of segment files."""
_log = logging.getLogger(__name__)


def ratings_folder(archive: Path) -> Path:
    """Return the folder of the rating segments."""
    return archive / "ratings"


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
            make_folder(self.folder)
            self._segment = AppendOnlyFile(self.folder / (_new_stem() + SUFFIX))
            self._owner = os.getpid()
        try:
            self._segment.append(lines)
        except OSError:  # it may end in half a line now, which the next would be glued to
            self._close_segment()
            raise

    def events(self) -> tuple[RatingEvent, ...]:
        """Return all events, oldest first, each id once, undone ones and undos included.

        What is no event, such as a line torn by a power cut, is passed over with a log line.
        """
        with paused_collector():
            decoded = (event for _, event in self._lines() if event is not None)
            return tuple(sorted(unique_events(decoded).values(), key=time_order))

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
                make_folder(self.folder)
                write_new_file(self.folder, _new_stem(), SUFFIX, b"\n".join(lines) + b"\n")
            except OSError as error:
                raise StorageError(
                    f"ratings of {other.folder} could not be written to {self.folder}: {error}"
                ) from error
        return len(lines)

    def _lines(self) -> Iterator[tuple[bytes, RatingEvent | None]]:
        """Yield every JSON object in the segments, with the event that it is, if it is one."""
        names = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
        for name in names:
            if name.endswith(SUFFIX) and not name.startswith("."):
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
                event = event_or_none(line)
                if event is None:
                    passed_over += 1
                if event is not None or _is_object(line):
                    yield line, event
    except OSError as error:
        _log.warning("ratings in %s cannot be read and are passed over: %s", path, error)
    if passed_over:
        _log.warning("%s: %d lines are no rating and are passed over", path, passed_over)


def event_or_none(line: bytes) -> RatingEvent | None:
    """Return the event that *line* of a segment is, None when it is none."""
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
