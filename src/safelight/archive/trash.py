"""Trash: files that somebody discarded, moved aside on their own file system, and back again.

Each discard has a name, ``DATE/TIME-RANDOM``, a folder of that name in the trash of every folder it
takes from, and one account of lines in the archive's own trash. A line says what is about to be
done with a file, and a later one what became of it; so whatever was killed in between, the next who
opens the trash sees where each file is, and says so. Nothing is ever copied, and nothing replaced.

A file is moved only while its bytes are those that the archive knows: they are hashed just before,
and what was moved is looked at again, because another program may have put a new file there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from safelight.archive.answer import Fault
from safelight.archive_layout import TRASH
from safelight.durable_file import (
    AppendOnlyFile,
    held_file,
    make_folder,
    move_file,
    open_regular_file,
    read_regular_file,
    remove_file,
    sync_folder,
)
from safelight.errors import RequestError, StorageError
from safelight.line_checksums import line_state, with_checksum

__all__ = [
    "ArchivedFile", "DiscardedFile", "Moved", "OpenTrash", "Progress", "absolute",
    "discarded_files", "is_name_of_discard", "open_trash",
]  # fmt: skip

_TOGETHER = 64
"""Files whose lines are flushed at once."""

_LOCK = ".moving.tmp"
_ACCOUNT = ".jsonl"
_NAME = re.compile(r"\d{4}-\d\d-\d\d/\d{6}-[0-9a-f]{8}", re.ASCII)

Progress = Callable[[int, int], None]
"""Told how many of how many files are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """A picture's file, as the archive knows it.

    Attributes:
        place: Where, as records write it.
        path: The same as the system knows it.
        root: The folder in whose trash it goes, or in one below, when that is another file system.
        sha256: Of its bytes.
    """

    place: str
    path: Path
    root: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardedFile:
    """A file in the trash.

    Attributes:
        discard: The name of the discard that put it there.
        number: Of its lines in the account of that.
        place: Where it was, as records write it.
        path: The same as the system knows it.
        now: Where it is.
        sha256: Of its bytes.
        size: In bytes.
        modified: When it was written, in ns of 1970.
    """

    discard: str
    number: int
    place: str
    path: Path
    now: Path
    sha256: str
    size: int
    modified: int

    @property
    def day(self) -> str:
        """The date of its discard."""
        return self.discard.partition("/")[0]


@dataclass(slots=True, kw_only=True)
class Moved:
    """What was done with files.

    Attributes:
        name: Of the discard, where something was discarded.
        files: How many.
        size: Of them all, in bytes.
        left: Those that stay where they are, and why.
    """

    name: str = ""
    files: int = 0
    size: int = 0
    left: list[Fault] = field(default_factory=list)


def absolute(path: Path) -> Path:
    """Return *path* from the root on, without ``..``, and with the links that are in it."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links


def is_name_of_discard(text: str) -> bool:
    """Return whether *text* is what a discard is called."""
    return _NAME.fullmatch(text) is not None


def discarded_files(archive: Path) -> list[DiscardedFile]:
    """Return what is in the trash by its accounts, the newest discard first."""
    archive = absolute(archive)
    return [
        entry.file
        for account in reversed(_accounts(archive))
        for entry in _entries(archive, account)
        if entry.is_in_trash or (entry.is_unsettled and os.path.lexists(entry.file.now))
    ]


@contextlib.contextmanager
def open_trash(
    archive: Path,
    on_discarded: Callable[[Iterable[DiscardedFile]], None],
    on_restored: Callable[[Iterable[DiscardedFile]], None],
) -> Iterator[OpenTrash]:
    """Give the trash of *archive*, held against everybody else, with what was cut short settled.

    Args:
        archive: The folder.
        on_discarded: Notes that files are not where they were; before they are told as moved.
        on_restored: Notes that they are there again.

    Raises:
        RequestError: Somebody else is moving files.
        StorageError: The trash cannot be read or written.
    """
    archive = absolute(archive)
    trash = archive / TRASH
    about = f"process {os.getpid()}".encode()
    try:
        _make_plain_folder(trash, archive)
        with held_file(trash / _LOCK, about):
            opened = OpenTrash(archive, on_discarded, on_restored)
            opened.settle()
            yield opened
    except BlockingIOError as error:
        raise RequestError(
            f"pictures of this archive are being moved by {error}; wait for its end, then ask again"
        ) from error
    except OSError as error:
        raise StorageError(
            f"the trash {trash} cannot be written: {error.strerror or error}; no file is lost, and"
            " doing it again goes on"
        ) from error


class OpenTrash:
    """The trash, while nobody else moves anything; :func:`open_trash` gives it."""

    def __init__(
        self,
        archive: Path,
        on_discarded: Callable[[Iterable[DiscardedFile]], None],
        on_restored: Callable[[Iterable[DiscardedFile]], None],
    ) -> None:
        self._archive = archive
        self._on_discarded, self._on_restored = on_discarded, on_restored

    def settle(self) -> None:
        """Say of every file of which it was not said any more what became of it.

        Raises:
            OSError: That cannot be written.
        """
        for account in _accounts(self._archive):
            unsettled = [e for e in _entries(self._archive, account) if e.is_unsettled]
            if not unsettled:
                continue
            with self._account(account) as lines:
                lines.append(b"")  # what a crash cut short is not to spoil what follows
                self._conclude(lines, [(entry, _outcome(entry)) for entry in unsettled])

    def discard(
        self,
        files: Iterable[ArchivedFile],
        now: datetime,
        *,
        total: int = 0,
        on_progress: Progress = lambda *_: None,
    ) -> Moved:
        """Move *files* into the trash, as far as they are what the archive knows.

        Args:
            files: Which.
            now: Names the discard; nothing depends on its being right.
            total: How many they are.
            on_progress: Told how far it is.

        Raises:
            OSError: An account cannot be written; what was moved can be restored.
        """
        name = f"{now.date().isoformat()}/{now:%H%M%S}-{secrets.token_hex(4)}"
        moved = Moved(name=name)
        folder = self._archive / TRASH / name.partition("/")[0]
        _make_plain_folder(folder, self._archive)
        number = 0
        with contextlib.ExitStack() as open_files:
            lines: AppendOnlyFile | None = None
            for some in _batches(files):
                ready: list[_Entry] = []
                for file in some:
                    try:
                        ready.append(self._looked_at(name, number + len(ready), file))
                    except (OSError, ValueError) as error:
                        moved.left.append(Fault(path=file.path, reason=_reason(error)))
                if ready:
                    if lines is None:
                        account = self._archive / TRASH / f"{name}{_ACCOUNT}"
                        lines = open_files.enter_context(AppendOnlyFile(account))
                    self._write(lines, [entry.first_line(self._archive) for entry in ready])
                    outcomes = [(e, self._try(_move_into_trash, e, moved, "kept")) for e in ready]
                    self._conclude(lines, outcomes)
                number += len(some)
                on_progress(number, max(total, number))
            if lines is not None:
                _tidy(self._archive, lines.path)
        return moved

    def restore(
        self, files: Sequence[DiscardedFile], *, on_progress: Progress = lambda *_: None
    ) -> Moved:
        """Move *files* back to where they were; what lies there now stays.

        Raises:
            OSError: An account cannot be written; every file is at either place.
        """
        return self._each(files, "restoring", _move_back, "moved", on_progress)

    def delete(
        self, files: Sequence[DiscardedFile], *, on_progress: Progress = lambda *_: None
    ) -> Moved:
        """Delete *files* for good, as far as they are what was put there.

        Raises:
            OSError: An account cannot be written.
        """
        return self._each(files, "deleting", _delete, "moved", on_progress)

    def _each(
        self,
        files: Sequence[DiscardedFile],
        state: str,
        act: Callable[[_Entry], str],
        otherwise: str,
        on_progress: Progress,
    ) -> Moved:
        moved, done = Moved(), 0
        accounts: dict[str, list[DiscardedFile]] = {}
        for file in files:
            accounts.setdefault(file.discard, []).append(file)
        for name, own in accounts.items():
            account = self._archive / TRASH / f"{name}{_ACCOUNT}"
            there = {entry.file.number: entry for entry in _entries(self._archive, account)}
            with self._account(account) as lines:
                for some in _batches(own):
                    known = [there[file.number] for file in some if file.number in there]
                    entries = [entry for entry in known if entry.is_in_trash]
                    self._write(lines, [{"n": e.file.number, "state": state} for e in entries])
                    outcomes = [(e, self._try(act, e, moved, otherwise)) for e in entries]
                    self._conclude(lines, outcomes)
                    done += len(some)
                    on_progress(done, len(files))
            _tidy(self._archive, account)
        return moved

    def _account(self, path: Path) -> AppendOnlyFile:
        return AppendOnlyFile(path, create=False)

    def _try(
        self, act: Callable[[_Entry], str], entry: _Entry, moved: Moved, otherwise: str
    ) -> str:
        try:
            outcome = act(entry)
        except OSError as error:
            where = entry.file.path if otherwise == "kept" else entry.file.now
            moved.left.append(Fault(path=where, reason=_reason(error)))
            return otherwise
        moved.files += 1
        moved.size += entry.file.size
        return outcome

    def _write(self, lines: AppendOnlyFile, said: Sequence[dict[str, Any]]) -> None:
        if said:
            lines.append(b"\n".join(with_checksum(json.dumps(line).encode()) for line in said))

    def _conclude(self, lines: AppendOnlyFile, outcomes: Sequence[tuple[_Entry, str]]) -> None:
        """Flush what was done, note it, and only then say that it was done."""
        for folder in {path.parent for e, _ in outcomes for path in (e.file.path, e.file.now)}:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                sync_folder(folder)
        went = [e.file for e, now in outcomes if now == "moved" and e.state == "moving"]
        came = [e.file for e, now in outcomes if now == "restored"]
        if went:
            self._on_discarded(went)
        if came:
            self._on_restored(came)
        self._write(lines, [{"n": e.file.number, "state": now} for e, now in outcomes])

    def _looked_at(self, name: str, number: int, file: ArchivedFile) -> _Entry:
        """Return what is to be said of *file*, which is what the archive knows.

        Raises:
            OSError: It is not, or cannot be read.
            ValueError: Its path can be none.
        """
        known = _state_of(file.path)
        with open_regular_file(file.path, follow=False) as opened:
            status = os.fstat(opened.fileno())
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise OSError("has changed since the archive took it in")
        if not os.path.samestat(status, known):
            raise OSError("is being changed by another program")
        base = _base_of(file, known)
        relative = file.path.relative_to(base)
        target = base / TRASH / name / relative
        return _Entry(
            file=DiscardedFile(
                discard=name, number=number, place=file.place, path=file.path, now=target,
                sha256=file.sha256, size=status.st_size, modified=status.st_mtime_ns,
            ),
            state="moving", base=base, status=status,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What an account says of a file last."""

    file: DiscardedFile
    state: str
    base: Path | None = None
    status: os.stat_result | None = None

    @property
    def is_in_trash(self) -> bool:
        return self.state == "moved"

    @property
    def is_unsettled(self) -> bool:
        return self.state in ("moving", "restoring", "deleting")

    def first_line(self, archive: Path) -> dict[str, Any]:
        file = self.file
        return {
            "n": file.number, "state": self.state, "place": file.place,
            "from": _named_in(archive, file.path), "to": _named_in(archive, file.now),
            "sha256": file.sha256, "size": file.size, "modified": file.modified,
        }  # fmt: skip


def _move_into_trash(entry: _Entry) -> str:
    """Move a file; bring it back when it is another one than was looked at."""
    file, base = entry.file, entry.base
    assert base is not None
    assert entry.status is not None
    _make_plain_folder(base / TRASH / file.day, base)
    make_folder(file.now.parent, root=base)
    move_file(file.path, file.now)
    now, then = os.lstat(file.now), entry.status
    as_it_was = (then.st_size, then.st_mtime_ns)
    if os.path.samestat(now, then) and (now.st_size, now.st_mtime_ns) == as_it_was:
        return "moved"
    try:
        move_file(file.now, file.path)
    except OSError:  # its name is taken again; it is kept here, and never deleted as the picture
        return "moved"
    raise OSError("was changed by another program at that moment")


def _move_back(entry: _Entry) -> str:
    file = entry.file
    _state_of(file.now)
    parts = file.now.parts
    make_folder(file.path.parent, root=Path(*parts[: parts.index(TRASH)]))
    try:
        move_file(file.now, file.path)
    except FileExistsError:
        raise OSError(f"another file is at {file.path} now; move that away first") from None
    return "restored"


def _delete(entry: _Entry) -> str:
    file = entry.file
    status = _state_of(file.now)
    if (status.st_size, status.st_mtime_ns) != (file.size, file.modified):
        with open_regular_file(file.now, follow=False) as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise OSError("is another file than was put here")
    remove_file(file.now)
    return "deleted"


def _outcome(entry: _Entry) -> str:
    """Return what became of a file that was being moved when everything stopped."""
    if os.path.lexists(entry.file.now):
        return "moved"
    if entry.state == "deleting":
        return "deleted"
    there = os.path.lexists(entry.file.path)
    if entry.state == "restoring":
        return "restored" if there else "lost"
    return "kept" if there else "lost"


def _state_of(path: Path) -> os.stat_result:
    """Return the state of a file that is none of these: a link, a pipe, a device.

    Raises:
        OSError: It is, or is not there.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        raise OSError("is not there") from None
    if stat.S_ISLNK(status.st_mode):
        raise OSError("is a link; what it leads to would stay")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("is no regular file")
    return status


def _base_of(file: ArchivedFile, status: os.stat_result) -> Path:
    """Return the topmost folder from *file*'s root down that is on its file system."""
    above = [*reversed(file.path.relative_to(file.root).parents)]
    for relative in above:
        base = file.root / relative
        if base.stat().st_dev == status.st_dev:
            return base
    raise OSError(errno.EXDEV, "")


def _make_plain_folder(path: Path, root: Path) -> None:
    """Make a folder of the trash; one that is a link would lead who knows where.

    Raises:
        OSError: It is a link, or cannot be made.
    """
    trash = root / TRASH
    make_folder(path, root=root)
    for folder in (trash, path):
        if folder.is_symlink():
            raise OSError(f"{folder} is a link; take it away, or put a folder there")


def _accounts(archive: Path) -> list[Path]:
    """Return the accounts of all discards, by their names."""
    found = [
        path for path in (archive / TRASH).glob(f"*/*{_ACCOUNT}")
        if is_name_of_discard(f"{path.parent.name}/{path.stem}")
    ]  # fmt: skip
    return sorted(found)


def _entries(archive: Path, account: Path) -> list[_Entry]:
    """Return what an account says last of each of its files; torn and damaged lines say nothing."""
    name = f"{account.parent.name}/{account.stem}"
    entries: dict[int, _Entry] = {}
    try:
        data = read_regular_file(account)
    except OSError:
        return []
    for raw in data.split(b"\n"):
        if line_state(raw) != "whole":
            continue
        with contextlib.suppress(ValueError, KeyError, TypeError):
            line = json.loads(raw)
            number, state = int(line["n"]), str(line["state"])
            if "from" in line:
                file = DiscardedFile(
                    discard=name, number=number, place=str(line["place"]),
                    path=archive / line["from"], now=archive / line["to"],
                    sha256=str(line["sha256"]), size=int(line["size"]),
                    modified=int(line["modified"]),
                )  # fmt: skip
                if TRASH in file.now.parts and not {"..", ""} & set(file.now.parts):
                    entries[number] = _Entry(file=file, state=state)
            elif number in entries:
                entries[number] = _Entry(file=entries[number].file, state=state)
    return list(entries.values())


def _tidy(archive: Path, account: Path) -> None:
    """Take away what is left of a discard that nothing is in any more: folders and the account."""
    entries = _entries(archive, account)
    name = f"{account.parent.name}/{account.stem}"
    for folder in {e.file.now.parent for e in entries if not e.is_in_trash}:
        while TRASH in folder.parts:
            try:
                folder.rmdir()
            except OSError:  # something is in it
                break
            folder = folder.parent
    if entries and not any(e.is_in_trash or e.is_unsettled for e in entries):
        remove_file(account, missing_ok=True)
        with contextlib.suppress(OSError):
            (archive / TRASH / name).parent.rmdir()


def _named_in(archive: Path, path: Path) -> str:
    """Return *path* from the archive on, where it is in it: archives are moved as a whole."""
    with contextlib.suppress(ValueError):
        path = path.relative_to(archive)
    return os.fspath(path)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EXDEV:
        return "is on another file system than its folder; files are never copied"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be moved: {error.strerror or error}"
    return str(error)


def _batches(files: Iterable[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    for file in files:
        some.append(file)
        if len(some) == _TOGETHER:
            yield some
            some = []
    if some:
        yield some
