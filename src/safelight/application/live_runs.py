"""live_runs: the runs that go on in an archive now, whoever started them, and how they are doing.

A terminal, another process or a rig that writes into the archive's folder: each keeps a journal
beside its pictures. Journals are read as they grow, so that a look costs what was added.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from safelight.application.killed_runs import finish_killed_runs
from safelight.archive.running_runs import RUNNING, GrowingJournal, running_names
from safelight.archive_layout import running_folder
from safelight.durable_file import is_held
from safelight.errors import FileRefused, RecordError
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput
from safelight.pipeline.continuation import holder_of
from safelight.pipeline.journal import VariantEntry, fold, journal_of, read_journal

__all__ = ["LiveRun", "LiveRuns", "MadeNow", "record_so_far"]

_NEWEST = 40
_LOOK = 0.4
"""Seconds for which what was seen is not looked at again, however many ask."""

_LOOK_AT_LOCK = 2.0
"""Seconds between two looks at whether somebody still draws; a run that ends needs a moment."""

_RECENT = 300.0
"""Seconds of a run by which its speed is told."""

_SILENT = 600.0
"""Seconds after which a machine that cannot be asked is said to be silent."""

_entries = msgspec.json.Decoder(VariantEntry)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeNow:
    """A picture of a run that goes on.

    Attributes:
        run_id: Its run.
        entry: Its variant.
        output: Which of the variant's pictures it is.
    """

    run_id: str
    entry: VariantEntry
    output: ImageOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run that goes on, as it was at the last look.

    Attributes:
        run_id: Its name.
        name: That of its config.
        began: UTC, ISO 8601.
        engine: What draws.
        state: ``drawing``; ``silent`` when nothing came for ten minutes from a machine that cannot
            be asked; ``stopped`` when nobody draws any more and its record is about to be made.
        variants: How many the plan has.
        done: How many of them are through, those of earlier parts included.
        pictures: How many it has made.
        failed: Variants that failed.
        last_failure: Why the last of them did.
        per_minute: Variants in a minute, lately; None when that cannot be told yet.
        seconds_left: Until the end, at that speed.
        host: The machine that draws, as far as it is known.
        process: Its process there.
        newest: The last pictures, the newest first.
    """

    run_id: str
    name: str
    began: str
    engine: str
    state: Literal["drawing", "silent", "stopped"]
    variants: int
    done: int
    pictures: int
    failed: int
    last_failure: str
    per_minute: float | None
    seconds_left: float | None
    host: str
    process: int | None
    newest: tuple[MadeNow, ...]


class LiveRuns:
    """Follows the runs that go on in one archive; looks at the disk twice a second at most.

    Args:
        archive: The archive folder.
        clock: Monotonic seconds.
        now: Seconds since 1970.
        host: This machine's name, by which runs of others are told.
    """

    def __init__(
        self,
        archive: Path,
        *,
        host: str = "",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._archive, self._host = archive, host
        self._clock, self._now = clock, now
        self._followed: dict[str, _Followed] = {}
        self._looking = threading.Lock()
        self._seen: tuple[LiveRun, ...] = ()
        self._seen_at = -math.inf

    def look(self) -> tuple[LiveRun, ...]:
        """Return the runs that go on, the newest first; one that was killed gets its record."""
        with self._looking:
            if self._clock() - self._seen_at >= _LOOK:
                self._seen = self._looked()
                self._seen_at = self._clock()
            return self._seen

    def _looked(self) -> tuple[LiveRun, ...]:
        names = running_names(self._archive)
        for gone in self._followed.keys() - set(names):
            del self._followed[gone]
        for name in names:
            if name not in self._followed:
                self._followed[name] = _Followed(self._archive, name, self._host)
        clock, now = self._clock(), self._now()
        runs = [run for one in self._followed.values() if (run := one.look(clock, now))]
        if any(one.is_over for one in self._followed.values()):
            finish_killed_runs(self._archive)
            for one in self._followed.values():
                one.is_over = False  # what cannot be recorded is not tried at every look
        return tuple(sorted(runs, key=lambda run: (run.began, run.run_id), reverse=True))


class _Followed:
    """One run, and what was read of its journal so far."""

    def __init__(self, archive: Path, run_id: str, host: str) -> None:
        self._archive, self._run_id, self._here = archive, run_id, host
        self._journal = GrowingJournal(archive, run_id)
        self._header: dict[str, Any] | None = None
        self._holder: dict[str, Any] = {}
        self._newest: deque[MadeNow] = deque(maxlen=_NEWEST)
        self._speeds: deque[tuple[float, int]] = deque()
        self._done = self._drawn = self._pictures = self._failed = 0
        self._last_failure = ""
        self._looked_at_lock = 0.0
        self._unheld_since: float | None = None
        self._is_tried = False
        self.is_over = False

    def look(self, clock: float, now: float) -> LiveRun | None:
        """Read what has come; return how the run is doing, None while that is not known."""
        try:
            lines = self._journal.new_lines()
        except (OSError, FileRefused, ValueError):
            return None
        if self._header is None and not self._begin(lines):
            return None
        for line in lines:
            with suppress(msgspec.MsgspecError, ValueError, RecursionError):
                self._add(_entries.decode(line))
        self._look_at_lock(clock)
        return self._told(now)

    def _begin(self, lines: list[bytes]) -> bool:
        if not lines:
            return False
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            self._header = msgspec.json.decode(lines.pop(0), type=dict[str, Any])
        if self._header is None or self._header.get("run_id") != self._run_id:
            self._header = None
            return False
        self._holder = holder_of(self._archive, str(self._header.get("plan_id", "")))
        return True

    def _add(self, entry: VariantEntry) -> None:
        self._done += 1
        self._drawn += entry.drawn_by is None
        self._pictures += len(entry.outputs)
        for output in entry.outputs:
            self._newest.appendleft(MadeNow(run_id=self._run_id, entry=entry, output=output))
        if entry.failures:
            self._failed += 1
            self._last_failure = entry.failures[-1].error

    def _look_at_lock(self, clock: float) -> None:
        """Notice that nobody draws any more: twice in a row, for who ends writes a record first."""
        if clock - self._looked_at_lock < _LOOK_AT_LOCK:
            return
        self._looked_at_lock = clock
        held = True
        with suppress(OSError):
            held = is_held(self._journal.path) or not self._is_here()
        if held:
            self._unheld_since, self._is_tried = None, False
        elif self._unheld_since is None:
            self._unheld_since = clock
        elif not self._is_tried:
            self.is_over = self._is_tried = True

    def _is_here(self) -> bool:
        """Return whether this machine sees who holds the journal: locks may not reach others."""
        return self._holder.get("host") in (None, self._here)

    def _told(self, now: float) -> LiveRun:
        header = self._header or {}
        variants = _whole(header.get("randomizer_plan_size"))
        done = min(_whole(header.get("first_variant")) + self._done, max(variants, self._done))
        each = self._seconds_each(header)
        quiet = now - self._journal.changed
        state: Literal["drawing", "silent", "stopped"] = "drawing"
        if self._unheld_since is not None:
            state = "stopped"
        elif not self._is_here() and quiet > _SILENT:
            state = "silent"
        going = state == "drawing" and each is not None
        process = self._holder.get("process")
        return LiveRun(
            run_id=self._run_id,
            name=str(header.get("name") or ""),
            began=str(header.get("timestamp") or ""),
            engine=str((header.get("backend") or {}).get("name", "")),
            state=state,
            variants=variants,
            done=done,
            pictures=self._pictures,
            failed=self._failed,
            last_failure=self._last_failure,
            per_minute=60 / each if going and each else None,
            seconds_left=(variants - done) * each if going and each is not None else None,
            host=str(self._holder.get("host") or ""),
            process=process if isinstance(process, int) else None,
            newest=tuple(self._newest),
        )

    def _seconds_each(self, header: dict[str, Any]) -> float | None:
        """Return how long a variant takes by the journal's own clock; what is reused costs none."""
        if not self._speeds:
            began = _seconds(header.get("timestamp"))
            if began is None:
                return None
            self._speeds.append((began, 0))
        changed, drawn = self._journal.changed, self._drawn
        if drawn != self._speeds[-1][1]:
            self._speeds.append((changed, drawn))
        while len(self._speeds) > 2 and self._speeds[1][0] < changed - _RECENT:
            self._speeds.popleft()
        (first, before), (last, after) = self._speeds[0], self._speeds[-1]
        return (last - first) / (after - before) if after > before and last > first else None


def record_so_far(archive: Path, run_id: str) -> LearningRecord:
    """Return what the record of a run that goes on would be now; its status is ``running``.

    Raises:
        RecordError: Its journal cannot be read.
        OSError: Its marker cannot.
        ValueError: Its marker is no text, or leads out of the archive.
    """
    header, entries, _ = read_journal(journal_of(archive, running_folder(archive) / run_id))
    if header.get("run_id") != run_id:
        raise RecordError(f"the marker of run {run_id} leads to the journal of another run")
    return fold(header, entries, RUNNING, None)


def _whole(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _seconds(timestamp: object) -> float | None:
    with suppress(TypeError, ValueError):
        told = datetime.fromisoformat(str(timestamp))
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    return None
