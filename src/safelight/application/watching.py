"""watching: pictures and executions become records as they come, whoever makes them.

The file system tells what changed where it can (``watchfiles``, an extra), and is asked now and
then where it cannot: on network folders, and where the extra is not installed. A file is taken when
it has lain still between two looks and its picture ends; what comes to be known twice, by a notice,
a look and an import, is one picture all the same. Nothing is remembered here that the archive does
not hold: whoever is killed begins with an import, which meets what came meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safelight.application.packing_up import pack_if_many
from safelight.archive import Archive
from safelight.errors import SafelightError, sentence_of
from safelight.imports.folder_import import (
    ComingPictures,
    ImportFault,
    ImportSummary,
    import_folders,
)
from safelight.imports.import_accounts import import_accounts
from safelight.imports.picture_walk import is_entered, is_looked_at
from safelight.imports.spools import SPOOL_FOLDER, SPOOL_SUFFIX
from safelight.imports.tree_looks import TreeLooks

__all__ = ["WatchBeside", "WatchedBatch", "Watcher"]

_log = logging.getLogger(__name__)

_LOOK = 0.3
"""Seconds between two looks at a file that may still be written."""

_PATIENCE = 20.0
"""Seconds for which a file lies still that ends before its picture does, until it is taken."""

_BEAT = 2.0
"""Seconds between two looks at whether the folders themselves are there."""

_POLL = 1.0
"""Seconds between two looks at folders that the file system does not tell of."""

_SWEEP, _SWEEP_SHARE, _POLL_SHARE = 60.0, 5000.0, 3000.0
"""Seconds between two whole looks, at least, and how many times as long as they take: in case a
notice was lost, and where there are none."""

_LATER = 1.0
"""Seconds between two looks at lines that wait for their pictures."""

_REST = 5.0
"""Seconds until an archive that could not be written is tried again, and until a process that has
ended is started again."""

_LONGEST_REST = 300.0
"""The same of one that ends each time; each rest is twice as long as the one before."""

_GOODBYE = 20.0
"""Seconds for the process beside a server to put what it has read into the archive."""

_ACCOUNTS = 20
"""Imports whose faults are not told again."""

_TOGETHER = 4096
_KEPT = 20_000
_PACK_EVERY = 200
_STEP_MS, _DEBOUNCE_MS = 200, 600


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedBatch:
    """What came at once.

    Attributes:
        summary: What became of it.
        newest: The file among what came that was written last; empty where none came.
        is_first: It is what was there when the watching began.
        news: What is to be told besides: a folder that is not there, an archive that is full.
        told_before: Those of its faults that an earlier import, or watch, has told already.
    """

    summary: ImportSummary = field(default_factory=ImportSummary)
    newest: str = ""
    is_first: bool = False
    news: str = ""
    told_before: frozenset[ImportFault] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        told = {key: value for key, value in self.summary.to_dict().items() if value}
        told |= {"newest": self.newest, "first": self.is_first, "news": self.news,
                 "told_before": len(self.told_before)}  # fmt: skip
        return {key: value for key, value in told.items() if value}


@dataclass(slots=True)
class _Coming:
    """A file that may still be written."""

    size: int = -1
    written: int = 0
    due: float = 0.0
    still_since: float = 0.0
    is_cut: bool = False


class Watcher:
    """Watches folders, and takes what comes to them into an archive.

    Attributes:
        how: In words, how it learns of what comes.

    Args:
        folders: Which; one that is not there yet is waited for.
        archive: Where the records go.
        poll: Seconds between two looks, for folders whose changes are not told, as those of a
            network; None lets the file system tell them if it can.
        jobs: Processes that read where many come at once.
        rater: Whose the ratings found in pictures are.
    """

    def __init__(
        self, folders: Sequence[Path | str], archive: Archive, *, poll: float | None = None,
        jobs: int = 1, rater: str = "",
    ) -> None:  # fmt: skip
        self._folders = [os.path.abspath(folder) for folder in folders]
        self._archive, self._poll = archive, poll
        self._home = os.path.abspath(archive.path)
        self._jobs, self._rater = jobs, rater
        self._stopping = threading.Event()
        self._inbox: queue.SimpleQueue[set[str] | None] = queue.SimpleQueue()
        self._notices: _Notices | None = None
        self._looks = TreeLooks(self._folders, self._home)
        self._coming: dict[str, _Coming] = {}
        self._spools: set[str] = set()
        self._later: float | None = None
        self._taken: dict[str, tuple[int, int]] = {}
        self._order: deque[str] = deque()
        self._there: dict[str, object] = {}
        self._unpacked = 0
        self._not_before = 0.0
        self._whole_due = 0.0
        self._trouble = ""
        self.how = self._begin_notices()

    def stop(self) -> None:
        """Let :meth:`run` return; what was read is in the archive then."""
        self._stopping.set()
        self._inbox.put(None)

    def run(self, on_batch: Callable[[WatchedBatch], None]) -> None:
        """Take in what is there, and then what comes, until :meth:`stop` is called.

        Args:
            on_batch: Told of each batch, from this thread.

        Raises:
            StorageError: What is there cannot be taken in: the archive cannot be written.
            ArchiveError: The same, told by the archive.
            RequestError: No process that reads can be started.
        """
        try:
            self._there = {folder: _identity(folder) for folder in self._folders}
            began = time.monotonic()
            for _ in self._looks.look(stop=self._stopping.is_set):
                pass  # what is there now, the import meets
            self._rest_until_whole(began)
            self._import([f for f in self._folders if self._there[f]], on_batch, is_first=True)
            coming = ComingPictures(
                self._folders, self._archive, jobs=self._jobs, rater=self._rater,
                stop=self._stopping.is_set,
            )  # fmt: skip
            try:
                self._follow(coming, on_batch)
            finally:
                coming.close()
        finally:
            self._end_notices()

    # -- what has come -------------------------------------------------------------------

    def _follow(self, coming: ComingPictures, on_batch: Callable[[WatchedBatch], None]) -> None:
        self._spools |= {s for s in self._looks.spools if coming.has_news([s])}  # that wait
        now = time.monotonic()
        beat = now + _BEAT
        poll = now + (self._poll or _POLL)
        while not self._stopping.is_set():
            waits = [beat, *(one.due for one in self._coming.values())]
            waits += [poll] if self._notices is None else [self._whole_due]
            waits += [] if self._later is None else [self._later]
            due = min(waits)
            if self._spools:
                due = 0.0
            self._receive(max(due, self._not_before) - time.monotonic())
            now = time.monotonic()
            if now >= beat:
                for news in self._beat(on_batch):
                    on_batch(WatchedBatch(news=news))
                beat = time.monotonic() + _BEAT
            is_whole = now >= self._whole_due
            if is_whole or (self._notices is None and now >= poll):
                began = time.monotonic()
                for path, size, written, _ in self._looks.look(
                    whole=is_whole, stop=self._stopping.is_set
                ):
                    if self._taken.get(path) != (size, written):
                        self._notice(path)
                self._spools |= {s for s in self._looks.spools if coming.has_news([s])}
                if is_whole:
                    self._rest_until_whole(began)
                took = time.monotonic() - began
                poll = time.monotonic() + max(self._poll or _POLL, 0 if is_whole else 10 * took)
            if self._later is not None and now >= self._later:
                self._later = None
                self._spools |= coming.waiting
            if now >= self._not_before:
                self._take(coming, on_batch)

    def _rest_until_whole(self, began: float) -> None:
        """Decide when the next whole look is due, by how long the one took that *began* then."""
        now = time.monotonic()
        share = _POLL_SHARE if self._notices is None else _SWEEP_SHARE
        self._whole_due = now + max(_SWEEP, share * (now - began))

    def _receive(self, seconds: float) -> None:
        """Wait for notices, *seconds* at most, and note what they name."""
        with contextlib.suppress(queue.Empty):
            paths = self._inbox.get(timeout=max(0.0, seconds))
            while True:
                for path in paths or ():
                    self._notice_any(path)
                paths = self._inbox.get_nowait()

    def _notice_any(self, path: str) -> None:
        """Note a path that something happened to."""
        is_spool = path.endswith(SPOOL_SUFFIX) or os.path.basename(path) == SPOOL_FOLDER
        if path == self._home or path.startswith(self._home + os.sep):
            if is_spool and os.path.dirname(path) in self._folders:  # that of the page
                self._spools.add(path)
            return
        if is_spool:
            self._spools.add(path)  # of a folder that is new there may be no other notice
            return
        root = next((f for f in self._folders if path.startswith(f.rstrip(os.sep) + os.sep)), None)
        within = path[len(root) :] if root is not None else ""
        if not all(map(is_entered, within.split(os.sep))):
            return
        if is_looked_at(os.path.basename(path)):
            self._notice(path)
        elif os.path.isdir(path):  # with what is in it, of which there may be no notice
            for folder, below, names in os.walk(path):
                if SPOOL_FOLDER in below:
                    self._spools.add(os.path.join(folder, SPOOL_FOLDER))
                below[:] = [name for name in below if is_entered(name)]
                for name in names:
                    if is_looked_at(name):
                        self._notice(os.path.join(folder, name))
                    elif name.endswith(SPOOL_SUFFIX):
                        self._spools.add(os.path.join(folder, name))

    def _notice(self, path: str) -> None:
        if path not in self._coming:
            self._coming[path] = _Coming()

    def _ready(self) -> Iterator[str]:
        """Yield the files that lie still: of one size and time at two looks."""
        now = time.monotonic()
        for path, one in list(self._coming.items()):
            if one.due > now:
                continue
            try:
                status = os.stat(path)
            except OSError:
                del self._coming[path]
                continue
            same = (status.st_size, status.st_mtime_ns) == (one.size, one.written)
            if not same or not one.size:
                one.size, one.written = status.st_size, status.st_mtime_ns
                one.still_since = now if not same else one.still_since
                one.is_cut = False
                if now - one.still_since > _PATIENCE:  # and nothing in it
                    del self._coming[path]
            elif self._taken.get(path) == (one.size, one.written):
                del self._coming[path]  # there are several notices of each file
                continue
            elif one.is_cut and now - one.still_since < _PATIENCE:
                pass
            else:
                yield path
                continue
            one.due = now + _LOOK

    def _take(self, coming: ComingPictures, on_batch: Callable[[WatchedBatch], None]) -> None:
        ready = [path for path, _ in zip(self._ready(), range(_TOGETHER), strict=False)]
        spools = sorted(self._spools)
        if not (ready or spools):
            return
        began = time.monotonic()
        cut = {path for path in ready if self._coming[path].is_cut}
        try:
            summary, unfinished = coming.take(ready, spools, cut=cut)
        except (SafelightError, OSError) as error:
            self._not_before = time.monotonic() + _REST
            if (told := sentence_of(error)) != self._trouble:
                self._trouble = told
                on_batch(WatchedBatch(news=f"{told}; what came is tried again"))
            return
        self._trouble = ""
        self._spools.difference_update(spools)
        if coming.waiting and self._later is None:
            self._later = time.monotonic() + _LATER
        for path in ready:
            one = self._coming[path]
            if path in unfinished:
                one.is_cut, one.due = True, time.monotonic() + _LOOK
            else:
                del self._coming[path]
                self._remember(path, (one.size, one.written))
        for path, file in coming.told_files.items():
            self._remember(path, file)
        summary.seconds = time.monotonic() - began
        came = (summary.imported, summary.superseded, summary.lines, summary.known)
        if any((*came, summary.fault_count)):
            whole = {path: self._taken[path] for path in ready if path not in unfinished}
            whole |= coming.told_files
            newest = max(whole, key=lambda path: whole[path][1], default="")
            on_batch(WatchedBatch(summary=summary, newest=newest))
        self._pack(summary, on_batch)

    def _remember(self, path: str, file: tuple[int, int]) -> None:
        """Remember the last files, which notices and looks name once more."""
        if path not in self._taken:
            self._order.append(path)
        self._taken[path] = file
        while len(self._order) > _KEPT:
            self._taken.pop(self._order.popleft(), None)

    def _pack(self, summary: ImportSummary, on_batch: Callable[[WatchedBatch], None]) -> None:
        self._unpacked += summary.imported + summary.superseded + summary.lines
        if self._unpacked >= _PACK_EVERY:
            self._unpacked = 0
            pack_if_many(self._archive, lambda told: on_batch(WatchedBatch(news=told)))

    def _import(
        self, folders: Sequence[str], on_batch: Callable[[WatchedBatch], None], *,
        is_first: bool = False,
    ) -> None:  # fmt: skip
        earlier = _faults_of(self._archive)
        summary = import_folders(
            folders, self._archive, jobs=self._jobs, rater=self._rater, stop=self._stopping.is_set
        )
        told = frozenset(summary.faults) & earlier
        on_batch(WatchedBatch(summary=summary, is_first=is_first, told_before=told))
        self._pack(summary, on_batch)

    # -- whether the folders are there -----------------------------------------------------

    def _beat(self, on_batch: Callable[[WatchedBatch], None]) -> Iterator[str]:
        """Look whether each folder is there; yield what is to be told of that."""
        back = []
        for folder in self._folders:
            now = _identity(folder)
            if now != self._there[folder]:
                self._there[folder] = now
                yield f"{folder} is {'there again' if now else 'not there; it is waited for'}"
                back += [folder] if now else []
        if back:
            if self._notices is not None:
                self._end_notices()
                self.how = self._begin_notices()
            try:
                self._import(back, on_batch)
            except (SafelightError, OSError) as error:
                yield sentence_of(error)

    # -- what the file system tells --------------------------------------------------------

    def _begin_notices(self) -> str:
        """Let the file system tell, if it can; return how this learns of what comes."""
        every = f"by looking every {self._poll or _POLL:g} s"
        if self._poll is not None:
            return every
        try:
            from watchfiles.main import RustNotify
        except ImportError:
            return f"{every} (pip install 'safelight[watch]' lets the file system tell)"
        folders = [folder for folder in self._folders if os.path.isdir(folder)]
        try:
            self._notices = _Notices(RustNotify(folders, False, False, 0, True, True), self._inbox)
        except Exception as error:  # noqa: BLE001 - whatever the library cannot do here
            return f"{every}, as the file system cannot tell: {sentence_of(error)}"
        self._notices.start()
        return "by notices of the file system"

    def _end_notices(self) -> None:
        if self._notices is not None:
            self._notices.end()
            self._notices = None


class _Notices(threading.Thread):
    """A thread that waits for the file system, and passes the paths on."""

    def __init__(self, told: Any, inbox: queue.SimpleQueue[set[str] | None]) -> None:
        super().__init__(name="notices", daemon=True)
        self._told, self._inbox = told, inbox
        self._ending = threading.Event()

    def end(self) -> None:
        """Wait for nothing any more."""
        self._ending.set()
        self.join(10)

    def run(self) -> None:
        """Pass on what changes."""
        with self._told:
            while not self._ending.is_set():
                changes = self._told.watch(_DEBOUNCE_MS, _STEP_MS, 0, self._ending)
                if isinstance(changes, set):
                    self._inbox.put({path for _, path in changes})


def _faults_of(archive: Archive) -> frozenset[ImportFault]:
    """Return what the last imports could not read, as they told it."""
    accounts = import_accounts(archive.path)[:_ACCOUNTS]
    faults = (fault for account in accounts for fault in account.summary.get("faults", ()))
    return frozenset(ImportFault(each.get("path", ""), each.get("told", "")) for each in faults)


def _identity(folder: str) -> object:
    """Return which folder lies at a place; None where there is none."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class WatchBeside:
    """A process that watches beside a server, so that nobody who looks or rates waits for it.

    It ends with the server, however that ends: when nobody holds its standard input any more. If it
    ends before that, it is said, and it is started again.

    Args:
        folders: Which.
        archive: Where the records go.
        environ: Its environment.
        poll: As that of :class:`Watcher`.
        output: Where what it tells is written.
    """

    def __init__(
        self, folders: Iterable[Path | str], archive: Path, environ: Mapping[str, str], *,
        poll: float | None = None, output: int = 2,
    ) -> None:  # fmt: skip
        source = str(Path(__file__).parents[2])
        search = os.pathsep.join(filter(None, (source, environ.get("PYTHONPATH", ""))))
        words = ["--archive", str(archive.absolute()), "--beside"]
        words += [] if poll is None else ["--poll", str(poll)]
        # -P: what lies in the folder that somebody serves from is no module of ours.
        self._command = [sys.executable, "-P", "-m", "safelight", "watch", *words, "--",
                         *(os.path.abspath(folder) for folder in folders)]  # fmt: skip
        self._environ = {**environ, "PYTHONPATH": search}
        self._output = output
        self._closing = threading.Event()
        self._process = self._started()
        self._thread = threading.Thread(target=self._attend, name="beside", daemon=True)
        self._thread.start()

    @property
    def process_id(self) -> int:
        """The process that watches."""
        return self._process.pid

    def close(self) -> None:
        """Let it put what it has read into the archive, and end."""
        self._closing.set()
        self._say_goodbye()
        self._thread.join(_GOODBYE)
        if self._process.poll() is None:
            self._process.kill()  # what it has read is in its journal
            self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own program
            self._command, stdin=subprocess.PIPE, stdout=self._output, stderr=self._output,
            env=self._environ,
        )  # fmt: skip

    def _attend(self) -> None:
        rest = _REST
        while True:
            began = time.monotonic()
            why = f"ended with {self._process.wait()}"
            if self._closing.is_set():
                return
            self._say_goodbye()
            if time.monotonic() - began > _LONGEST_REST:
                rest = _REST
            while why:
                _log.warning("the process that watches %s; it is started in %g s", why, rest)
                if self._closing.wait(rest):
                    return
                rest = min(2 * rest, _LONGEST_REST)
                try:
                    self._process, why = self._started(), ""
                except OSError as error:
                    why = f"could not be started: {error}"
            if self._closing.is_set():
                self._say_goodbye()

    def _say_goodbye(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
