"""ImportQueue: imports of folders that go on beside whoever asked for them, one after the other.

Each is done by a process of its own (:mod:`.import_worker`), so that it keeps nobody waiting who
looks or rates, and whatever ends it, the next import of the same folder goes on.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from safelight.errors import RequestError
from safelight.timestamps import utc_timestamp

__all__ = ["ImportQueue", "QueuedImport"]

_MOST_WAITING, _KEPT = 20, 20
_MOST_JOBS = 8
_GOODBYE = 20.0
"""Seconds for an import to put what it has read into the archive when the server ends."""

Status = Literal["waiting", "running", "stopping", "done", "stopped", "failed"]


@dataclass(slots=True, kw_only=True)
class QueuedImport:
    """One import that was asked for.

    Attributes:
        number: Its name here.
        folders: Folders, or picture files.
        asked_at: UTC, ISO 8601.
        expected: Pictures that it will meet, as far as they were counted; 0 when they were not.
        status: How it is doing.
        summary: Counts and faults until now, as ``safelight import --json`` prints them.
        error: Why it failed; empty otherwise.
    """

    number: int
    folders: tuple[str, ...]
    asked_at: str
    expected: int = 0
    status: Status = "waiting"
    summary: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    def end(self, error: str) -> None:
        """Note that it ended, and why it failed where it did."""
        stopped = self.status == "stopping" or self.summary.get("stopped")
        self.status = "failed" if error else "stopped" if stopped else "done"
        self.error = error

    @property
    def is_open(self) -> bool:
        """Whether it waits, or goes on."""
        return self.status in ("waiting", "running", "stopping")


class ImportQueue:
    """Imports into one archive.

    Args:
        archive: Its folder.
        on_end: Called after each import, from the thread that waits for it.
    """

    def __init__(self, archive: Path, on_end: Callable[[], None] = lambda: None) -> None:
        self._archive, self._on_end = archive.absolute(), on_end
        self._imports: list[QueuedImport] = []
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self, folders: tuple[str, ...], *, expected: int = 0) -> QueuedImport:
        """Import *folders* behind those that wait; what waits already is not asked for twice.

        Args:
            folders: Folders, or picture files.
            expected: Pictures in them, as far as they were counted.

        Raises:
            RequestError: Too many wait, or this is closed.
        """
        with self._changed:
            for one in self._imports:
                if one.folders == folders and one.status in ("waiting", "running"):
                    return one
            if self._closed or sum(one.is_open for one in self._imports) >= _MOST_WAITING:
                raise RequestError(
                    f"{_MOST_WAITING} imports wait already; ask again when some of them have ended"
                )
            asked = QueuedImport(
                number=next(self._numbers), folders=folders, asked_at=utc_timestamp(),
                expected=expected,
            )  # fmt: skip
            ended = [one for one in self._imports if not one.is_open]
            forgotten = ended[: max(0, len(ended) + 1 - _KEPT)]
            self._imports = [*(o for o in self._imports if o not in forgotten), asked]
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="imports", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return asked

    def stop(self, number: int) -> bool:
        """Let import *number* read no more; what it has read stays. Return whether there is one."""
        with self._changed:
            one = next((one for one in self._imports if one.number == number), None)
            if one is None:
                return False
            if one.status == "waiting":
                one.status = "stopped"
            elif one.status == "running":
                one.status = "stopping"
                self._say_goodbye()
            self._changed.notify_all()
        return True

    def state(self) -> list[dict[str, Any]]:
        """Return all of them in plain values, the newest first."""
        with self._changed:
            return [
                {"number": one.number, "folders": list(one.folders), "asked_at": one.asked_at,
                 "expected": one.expected, "is_open": one.is_open, "status": one.status,
                 "summary": dict(one.summary), "error": one.error}
                for one in reversed(self._imports)
            ]  # fmt: skip

    def wait(self, number: int, seconds: float) -> bool:
        """Wait until import *number* has ended; return whether it has."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(o.number == number and o.is_open for o in self._imports), seconds
            )

    @property
    def process_id(self) -> int | None:
        """The process that imports; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def close(self) -> None:
        """End what goes on, with what was read kept, and begin nothing more."""
        with self._changed:
            self._closed = True
            for one in self._imports:
                if one.is_open:
                    one.status = "stopped" if one.status == "waiting" else "stopping"
            self._say_goodbye()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_GOODBYE)
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()  # what it has read is in its journal

    def _say_goodbye(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next() is not None)
                one = self._next()
                if self._closed or one is None:
                    return
                one.status = "running"
            error = self._imported(one)
            with self._changed:
                self._process = None
                one.end(error)
                self._changed.notify_all()
            self._on_end()

    def _next(self) -> QueuedImport | None:
        return next((one for one in self._imports if one.status == "waiting"), None)

    def _imported(self, one: QueuedImport) -> str:
        """Carry *one* out; return why it failed, or nothing."""
        with tempfile.TemporaryFile("w+b") as errors:
            try:
                process = self._started(one, errors)
            except OSError as error:
                return f"the process that imports cannot be started: {error}"
            with self._changed:
                self._process = process
                if one.status == "stopping":
                    self._say_goodbye()
            assert process.stdout is not None
            reason = ""
            with process.stdout as lines:
                for line in lines:
                    with suppress(msgspec.DecodeError):
                        told = msgspec.json.decode(line, type=dict[str, Any])
                        reason = told.get("error", reason)
                        with self._changed:
                            one.summary = told.get("so_far") or told.get("summary") or one.summary
            code = process.wait()
            with self._changed:
                self._say_goodbye()
            if reason or code == 0:
                return str(reason)
            errors.seek(0)
            last = errors.read()[-2000:].decode(errors="replace").strip().splitlines()[-1:]
            return (
                f"the process that imports ended with {code}{': ' + last[0] if last else ''};"
                " nothing that was read is lost: import the folder again to go on"
            )

    def _started(self, one: QueuedImport, errors: Any) -> subprocess.Popen[bytes]:
        source = str(Path(__file__).parents[2])
        search = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH", ""))))
        jobs = max(1, min(_MOST_JOBS, (os.cpu_count() or 2) - 1))
        return subprocess.Popen(  # noqa: S603 - our own program
            # -P: what lies in the folder that somebody serves from is no module of ours.
            [sys.executable, "-P", "-m", "safelight.web.import_worker",
             str(self._archive), str(jobs), *one.folders],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            env={**os.environ, "PYTHONPATH": search},
        )  # fmt: skip
