"""spool_import: lines of spools -> records in an archive, each execution once.

A picture that a line names is the same picture that a walk meets, and its record says what the line
knew. An execution that left no picture of its own (it failed, was cancelled, drew what was there
already, or its files are not there) has a record under the line's name. Only when all of that is in
the archive is the line marked as read: who is killed in between reads it again, and finds it known.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safelight.archive import Archive
from safelight.archive_layout import picture_file, posted_folder
from safelight.imports.import_log import ImportLog
from safelight.imports.imported_picture import ImportedPicture, import_picture, record_of
from safelight.imports.own_runs import OwnRuns, may_be_our_own
from safelight.imports.picture_reader import read_told
from safelight.imports.readings_compared import about_import
from safelight.imports.spools import (
    SPOOL_FOLDER,
    Execution,
    LineFault,
    mark_as_read,
    new_lines,
    spool_files,
)
from safelight.imports.told_pictures import (
    failed_or_alone,
    run_of_line,
    told_picture,
    told_texts,
)
from safelight.imports.told_pixels import ToldPixels
from safelight.timestamps import epoch_seconds, utc_timestamp

__all__ = ["SpoolImport"]

_FEW, _TOGETHER = 16, 512
"""Executions that are put into the archive together at first, and later on: who is killed again and
again comes further each time."""

_LOOSE = 64
_PATIENCE = 20.0
"""Seconds after its end for which a line waits for files that were not there when it was written,
or for the account of a run of this archive that may have asked for it."""

_STILL = 0.5
"""Seconds for which such a file is not written any more until it is read."""

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(slots=True)
class _Waiting:
    """What was read and is not in the archive yet.

    Attributes:
        executions: With the folders in which their pictures may lie.
        until: File -> how far it was read.
    """

    executions: list[tuple[Execution, Sequence[str]]] = field(default_factory=list)
    until: dict[str, int] = field(default_factory=dict)


class SpoolImport:
    """Reads the lines of spools into one archive.

    Attributes:
        lines: How many were read.
        failed: New records of executions that failed.
        cancelled: The same of those that were cancelled.
        alone: The same of those that have come through and left no picture of their own.
        waiting: Files of spools of which some lines are left for later.

    Args:
        archive: Where the records go.
        log: Where it is noted how far spools were read.
        take: Called with each picture.
        keep: Called to have these in the archive; returns which executions' lines their new
            records tell of.
        before_writing: Called before the first record is written.
        fault: Told of (path, why) what could not be read.
    """

    def __init__(
        self,
        archive: Archive,
        log: ImportLog,
        *,
        rater: str,
        take: Callable[[ImportedPicture], None],
        keep: Callable[[], set[str]],
        before_writing: Callable[[], None],
        fault: Callable[[str, str], None],
    ) -> None:
        self.lines = self.failed = self.cancelled = self.alone = 0
        self.waiting: set[str] = set()
        self._archive, self._log, self._rater = archive, log, rater
        self._folder = os.path.abspath(archive.path)
        self._take, self._keep, self._fault = take, keep, fault
        self._before_writing = before_writing
        self._own_runs = OwnRuns(archive)
        self._pixels: ToldPixels | None = None  # not read where nothing is asked of them
        self._read: dict[str, int] = {}
        for line in log.lines("spools"):
            self._read[line.path] = max(line.size, self._read.get(line.path, 0))

    @property
    def pixels(self) -> ToldPixels:
        """What lines told of pictures in memory."""
        if self._pixels is None:
            self._pixels = ToldPixels(self._log)
        return self._pixels

    def has_news(self, spools: Iterable[str]) -> bool:
        """Return whether one of the *spools* holds more than was read."""
        for path in spool_files(spools):
            try:
                if os.stat(path).st_size != self._read.get(os.path.basename(path), 0):
                    return True
            except OSError:
                continue
        return False

    def take_in(
        self, spools: Iterable[str], below: Sequence[str],
        stop: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """Read what is new in *spools*.

        Args:
            spools: Folders or files.
            below: Folders in which pictures may lie that lines name, beside that of the spool.
            stop: Asked at every line whether to read no more.

        Raises:
            ArchiveError: The archive cannot be asked or written.
            OSError: It cannot be written.
        """
        waiting, together = _Waiting(), min(_FEW, _TOGETHER)
        for path in spool_files(spools):
            self.waiting.discard(path)
            start = self._read.get(os.path.basename(path), 0)
            within = (*below, self._home_of(path))
            for told, until in self._lines(path, start):
                if stop():
                    break
                if isinstance(told, Execution) and self._waits(told, within):
                    self.waiting.add(path)
                    break
                self.lines += 1
                waiting.until[path] = until
                if isinstance(told, LineFault):
                    self._fault(path, told.reason)
                else:
                    waiting.executions.append((told, within))
                if len(waiting.executions) >= together:
                    self._finish(waiting)
                    together = min(2 * together, _TOGETHER)
        self._finish(waiting)

    def _waits(self, execution: Execution, below: Sequence[str]) -> bool:
        """Return whether a line that has just been written is to be read a little later."""
        now = time.time()
        if not abs(now - epoch_seconds(execution.ended)) < _PATIENCE:
            return False
        for output in execution.outputs:
            if "bytes" not in output and (path := self._place(output, below)):
                try:
                    if now - os.stat(path).st_mtime < _STILL:
                        return True
                except OSError:
                    return True
        return (
            may_be_our_own(execution)
            and self._own_runs.go_on
            and not self._own_runs.asked_for([execution])
        )

    def _lines(self, path: str, start: int) -> Iterator[tuple[Execution | LineFault, int]]:
        """Yield what is new in a file, as far as it can be read."""
        try:
            if os.stat(path).st_size != start:
                yield from new_lines(path, start)
        except FileNotFoundError:
            return  # its tool has removed it
        except OSError as error:
            self._fault(path, error.strerror or str(error))

    def _finish(self, waiting: _Waiting) -> None:
        """Have what waits in the archive, and note how far files were read."""
        self._put(waiting.executions)
        if waiting.until:
            noted = [(os.path.basename(path), until) for path, until in waiting.until.items()]
            self._log.add_spools(noted)
            self._read.update(noted)
            for path, until in waiting.until.items():
                mark_as_read(path, until)
        waiting.executions.clear()
        waiting.until.clear()

    def _put(self, waiting: Sequence[tuple[Execution, Sequence[str]]]) -> None:
        """Have the records of some executions in the archive."""
        if not waiting:
            return
        # Not by name: whoever gives a job the name of another one's must not take it along.
        ours = {id(e) for e in self._own_runs.asked_for([execution for execution, _ in waiting])}
        waiting = [each for each in waiting if id(each[0]) not in ours]
        pictures: dict[str, list[str]] = {}
        for execution, below in waiting:
            for place in range(len(execution.outputs)):
                picture = self._picture(execution, place, below)
                if picture is not None and not picture.fault:
                    pictures.setdefault(execution.name, []).append(picture.sha256)
                    self._take(picture)
        told = self._keep()
        told |= self._told_before(
            [sha256 for name, sha256s in pictures.items() if name not in told for sha256 in sha256s]
        )
        alone = {run_of_line(e.name): e for e, _ in waiting
                 if e.status != "completed" or e.name not in told}  # fmt: skip
        for (run_id,) in self._archive.rows(
            "SELECT run_id FROM runs WHERE run_id IN (SELECT unnest(?::VARCHAR[]))",
            [list(alone)], rated=False,
        ) if alone else ():  # fmt: skip
            alone.pop(run_id, None)
        if not alone:
            return
        self._before_writing()
        self._keep_pixels(alone.values())
        documents = [self._document(execution) for execution in alone.values()]
        if len(documents) < _LOOSE:
            self._archive.add_loose(documents)
        else:
            self._archive.add_pack(documents)
        statuses = [execution.status for execution in alone.values()]
        self.failed += statuses.count("failed")
        self.cancelled += statuses.count("cancelled")
        self.alone += statuses.count("completed")

    def _picture(
        self, execution: Execution, place: int, below: Sequence[str]
    ) -> ImportedPicture | None:
        """Read a picture that a line names; None where it is none that may be looked at.

        Spools may come from anywhere: nothing outside of what was asked for is opened.
        """
        path = self._place(execution.outputs[place], below)
        if not path or not os.path.isfile(path):
            return None
        told = told_picture(execution, place)
        picture = import_picture(path, archive=self._folder, rater=self._rater, told=told)
        return picture if picture.told_by else None

    def _place(self, output: Mapping[str, Any], below: Sequence[str]) -> str:
        """Return the file that a line names, if it may be opened; empty otherwise."""
        named = output.get("path")
        if not isinstance(named, str) or "\0" in named or not os.path.isabs(named):
            return ""
        path = os.path.normpath(os.fspath(picture_file(Path(self._folder), named)))
        is_below = any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in below)
        return path if is_below else ""

    def _home_of(self, path: str) -> str:
        """Return the folder whose pictures a spool file tells of."""
        folder = os.path.dirname(os.path.abspath(path))
        home = os.path.dirname(folder) if os.path.basename(folder) == SPOOL_FOLDER else folder
        # What is posted may name what came with it, and none of the archive's other pictures.
        return home if home != self._folder else os.fspath(posted_folder(Path(home)))

    def _keep_pixels(self, executions: Iterable[Execution]) -> None:
        """Keep what is told of pictures that were in memory, for when they are saved."""
        pictures = []
        for execution in executions:
            for place, output in enumerate(execution.outputs):
                sha256, size = (
                    output.get("pixel_sha256"),
                    (output.get("width"), output.get("height")),
                )
                if isinstance(sha256, str) and _SHA256.fullmatch(sha256):
                    width, height = (side if type(side) is int else 0 for side in size)
                    pictures.append((sha256, width, height, told_picture(execution, place)))
        if pictures:
            self.pixels.add(pictures)

    def _told_before(self, sha256s: Sequence[str]) -> set[str]:
        """Return which executions' lines the archive's records of some pictures tell of."""
        if not sha256s:
            return set()
        rows = self._archive.rows(
            "SELECT DISTINCT run_id FROM run_images WHERE status = 'imported'"
            " AND sha256 IN (SELECT unnest(?::VARCHAR[]))",
            [list(sha256s)], rated=False,
        )  # fmt: skip
        spools = (
            about_import(record).get("spool")
            for record in self._archive.records(run_id for (run_id,) in rows)
        )
        return {str(spool["id"]) for spool in spools if isinstance(spool, dict) and "id" in spool}

    def _document(self, execution: Execution) -> bytes:
        reading = read_told(told_texts(execution))
        made = execution.began or execution.ended or utc_timestamp()
        record = record_of(reading, made, "", {}, run_of_line(execution.name))
        return failed_or_alone(execution, record).to_document()
