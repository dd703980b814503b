"""Whole-or-absent files, locked append-only files, and folders: the only place that makes any.

It is also the only place that opens what an archive holds, which may come from anywhere: what is no
regular file, links followed, is refused without being waited for (:func:`open_regular_file`).

A reader sees a file whole or not at all, also after ``kill -9`` and after a power cut: the
bytes go to a temporary file in the same folder, are flushed to the disk, and only then get
their name; the folder is flushed last, so that the name itself survives.

Whoever writes a temporary file holds it locked, and the lock goes when its process goes: one that
can be locked belongs to nobody, and :func:`remove_abandoned` takes it away.

Whose they are: a folder that is made here is for its owner alone, a file takes the group of its
folder and what group and others may do there (in a folder of everybody's, such as ``/tmp``, it is
for its owner). Folders inside an archive or another root take after the one above them, so that an
archive that was made for a group stays the group's. No umask has a say in that: files are created
for their owner, and opened up afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from safelight.file_system import OWN_FILE, file_system

__all__ = [
    "TEMPORARY_SUFFIX",
    "AppendOnlyFile",
    "ContentError",
    "NotRegularFile",
    "OpenFolder",
    "copy_new_file",
    "flush_file",
    "held_file",
    "held_folder",
    "hidden_folder",
    "is_held",
    "make_folder",
    "move_file",
    "open_regular_file",
    "read_regular_file",
    "refuse_irregular",
    "remove_abandoned",
    "remove_file",
    "rename",
    "replace_file",
    "settle_file",
    "sync_folder",
    "write_new_file",
]

TEMPORARY_SUFFIX = ".tmp"
"""Files and folders that begin with a dot and end so are unfinished; readers pass over them."""

_BINARY = getattr(os, "O_BINARY", 0)
_system = file_system()
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
_READ = os.O_RDONLY | _BINARY | _system.wait_for_nobody
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BUFFER = 1 << 17
_CHUNK = 1 << 20
_A_DAY = 86_400
"""Seconds after which what cannot be locked at all is taken to be nobody's."""


class ContentError(Exception):
    """A file has another content than it must have."""


class NotRegularFile(OSError):
    """What has the name of a file is a pipe, a device or a socket, or holds more than it may."""


def open_regular_file(path: Path | str, *, follow: bool = True) -> io.BufferedReader:
    """Return *path*, open for reading; what comes after the size that it has now is not read.

    Args:
        path: Which.
        follow: Whether it may be a link.

    Raises:
        NotRegularFile: It is neither a file nor a link to one. It was not waited for, nor read.
        OSError: It cannot be opened.
    """
    handle, size = _opened(path, _READ if follow else _READ | _NO_LINK)
    return io.BufferedReader(_AsFarAs(handle, size), _BUFFER)


def read_regular_file(path: Path | str, *, most: int | None = None) -> bytes:
    """Return what is in *path*, as far as its size says when it is opened.

    Args:
        path: Which.
        most: Bytes that it may have, where more would be no such file.

    Raises:
        NotRegularFile: As :func:`open_regular_file`, or it has more than *most*.
        OSError: It cannot be read.
    """
    handle, size = _opened(path)
    try:
        if most is not None and size > most:
            raise NotRegularFile(f"has {size:,} bytes, of which {most:,} are allowed")
        data = os.read(handle, size)
        while len(data) < size and (more := os.read(handle, size - len(data))):
            data += more
    finally:
        os.close(handle)
    return data


def refuse_irregular(path: Path | str) -> os.stat_result:
    """Return what is known of the file *path*, before a library opens it by its name.

    Raises:
        NotRegularFile: It is neither a file nor a link to one.
        OSError: It cannot be looked at.
    """
    status = os.stat(path)  # noqa: PTH116 - texts come here, too
    _check_regular(status, path)
    return status


def _opened(path: Path | str, flags: int = _READ, mode: int = 0) -> tuple[int, int]:
    """Return a handle of the regular file *path*, and its size."""
    handle = os.open(path, flags, mode)
    try:
        status = os.fstat(handle)
        _check_regular(status, path)
        _system.let_wait(handle)
    except BaseException:
        os.close(handle)
        raise
    return handle, status.st_size


def _check_regular(status: os.stat_result, path: Path | str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularFile("is no regular file; put one there, or take it away")


class _AsFarAs(io.FileIO):
    """A file that ends where it ended when it was opened."""

    def __init__(self, handle: int, size: int) -> None:
        super().__init__(handle, "rb")
        self._size = size

    def readinto(self, buffer: Any, /) -> int | None:
        view = memoryview(buffer).cast("B")
        return super().readinto(view[: max(0, self._size - self.tell())])

    def read(self, size: int | None = -1, /) -> Any:
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))

    def readall(self) -> bytes:
        return self.read() or b""


def write_new_file(
    folder: Path, stem: str, suffix: str, data: bytes, *, flush: bool = True
) -> Path:
    """Write *data* as ``stem + suffix`` in *folder*, or under ``stem-2`` and so on if taken.

    An existing file is never overwritten; when it holds the same bytes, nothing is written.
    Two processes cannot choose the same name: whoever wants a name first creates its
    temporary file exclusively.

    Args:
        folder: Must exist.
        stem: Wanted name without its suffix.
        suffix: For example ``.json``.
        data: The whole content.
        flush: Whether to flush the folder, too. Pass False when several files follow each
            other into one folder, and call :func:`sync_folder` after the last.

    Returns:
        The path that the file got.

    Raises:
        OSError: The file could not be written; nothing is left behind.
    """
    base = os.fspath(folder)
    number = 0
    while True:
        number += 1
        name = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
        final = f"{base}{os.sep}{name}"
        temporary = f"{base}{os.sep}.{name}{TEMPORARY_SUFFIX}"
        try:
            handle, guard = _claimed(temporary)
        except FileExistsError:
            continue
        try:
            if os.access(final, os.F_OK):
                os.close(handle)
                _system.remove(temporary)
                if not _holds(final, data):
                    continue
            else:
                _fill(handle, data)
                if not _named(temporary, final):
                    number -= 1
                    continue
        except BaseException:
            _remove(temporary)
            raise
        finally:
            if guard >= 0:
                os.close(guard)
        if flush:
            _sync(base)
        return Path(final)


def copy_new_file(
    source: Path | bytes | Iterator[bytes],
    target: Path,
    *,
    modified: int | None = None,
    sha256s: Collection[str] = (),
    flush: bool = True,
) -> str | None:
    """Copy *source* as *target*, with its time, unless there is something of that name.

    Where another process copies the same file at this moment, its end is waited for.

    Args:
        source: A file, what is in one, or the parts of that, which are asked for once.
        target: Where it goes; the folder must exist.
        modified: Its time, in ns of 1970; that of *source* when it is a file.
        sha256s: What its content may be, each hexadecimal; anything when none is given.
        flush: As in :func:`write_new_file`.

    Returns:
        SHA-256 of what was copied, hexadecimal; None when the name was taken.

    Raises:
        ContentError: Its content is another; nothing is left behind.
        OSError: It could not be copied; nothing is left behind.
    """
    temporary = os.fspath(target.with_name(f".{target.name}{TEMPORARY_SUFFIX}"))
    while not os.access(target, os.F_OK):
        try:
            handle, guard = _claimed(temporary)
        except FileExistsError:
            _system.outlast(temporary)
            continue
        digest = hashlib.sha256()
        try:
            if os.access(target, os.F_OK):
                os.close(handle)
                _system.remove(temporary)
                return None
            if isinstance(source, bytes):
                digest.update(source)
                _fill(handle, source)
            elif not isinstance(source, Path):
                _fill(handle, more=_hashed(source, digest))
            else:
                status = _copied(source, handle, digest)
                modified = status.st_mtime_ns if modified is None else modified
            if sha256s and digest.hexdigest() not in sha256s:
                wanted = " or ".join(sorted(sha256s))
                raise ContentError(f"its SHA-256 is {digest.hexdigest()}, not {wanted}")
            if modified is not None:
                os.utime(temporary, ns=(modified, modified))
            if not _named(temporary, target):
                continue
        except BaseException:
            _remove(temporary)
            raise
        finally:
            _let_go(guard)
        if flush:
            sync_folder(target.parent)
        return digest.hexdigest()
    return None


def replace_file(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write *data* as *path*, replacing what is there in one step.

    Args:
        path: The file.
        data: What is to be in it.
        private: Whether it is for its owner only, whatever its folder is.

    Raises:
        OSError: The file could not be written; the old content stays.
    """
    done = False
    while not done:
        token = secrets.token_hex(4)
        temporary = os.fspath(path.with_name(f".{path.name}.{token}{TEMPORARY_SUFFIX}"))
        handle, guard = _claimed(temporary, private=private)
        try:
            _fill(handle, data)
            done = _named(temporary, path, _system.replace)
        except BaseException:
            _remove(temporary)
            raise
        finally:
            _let_go(guard)
    sync_folder(path.parent)


def make_folder(
    path: Path, *, root: Path | None = None, new: bool = False, flush: bool = True
) -> None:
    """Make *path* and what is missing above it, and flush the name of each.

    Args:
        path: Which.
        root: What is made below it takes mode and group of the folder that it is in; it itself,
            what is above it, and all when there is none, is for its owner alone.
        new: *path* must not be there.
        flush: Whether to flush names; what can be made again at any time needs none.

    Raises:
        FileExistsError: *new*, and it is there.
        OSError: It cannot be made, or something else has its name.
    """
    missing = []
    above = path
    while not above.is_dir():
        missing.append(above)
        above = above.parent
    if new and not missing:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
    for folder in reversed(missing):
        try:
            inherits = root is not None and root in folder.parents
            _system.make_folder(os.fspath(folder), inherits=inherits)
        except FileExistsError:
            if not folder.is_dir() or (new and folder == path):
                raise
        else:
            if inherits:
                _system.take_after(os.fspath(folder.parent), os.fspath(folder))
        if flush:
            sync_folder(folder.parent)


def move_file(source: Path, target: Path) -> None:
    """Give *source* another name on its own file system, never over what has that name.

    Where the system cannot rename without replacing (an NFS share, say), it is looked beforehand.
    Whoever needs the names on the disk flushes both folders.

    Raises:
        FileExistsError: Something has that name.
        OSError: It cannot be moved, or *target* is on another file system; it is where it was.
    """
    if _system.rename_if_free(os.fspath(source), os.fspath(target)):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
    rename(source, target)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name on its own file system, over a file that has it.

    Where what is open cannot be renamed, whoever has it open is waited for, for a second.

    Raises:
        OSError: It cannot be.
    """
    _system.rename(os.fspath(source), os.fspath(target))


def remove_file(path: Path | str, *, missing_ok: bool = False) -> None:
    """Remove a file, which is waited for like in :func:`rename`.

    Raises:
        FileNotFoundError: It is not there, and *missing_ok* is False.
        OSError: It cannot be removed.
    """
    with contextlib.suppress(*([FileNotFoundError] if missing_ok else [])):
        _system.remove(os.fspath(path))


def settle_file(path: Path) -> None:
    """Give what another library has written to *path* the group and mode that its folder has."""
    _system.take_after(os.fspath(path.parent), os.fspath(path))


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Hold *folder* against everybody else who does; wait for whoever does now.

    It keeps nobody from reading or writing there, and does nothing where folders cannot be locked.
    """
    guard = _system.guard_of_folder(os.fspath(folder))
    try:
        yield
    finally:
        _let_go(guard)


@contextlib.contextmanager
def held_file(path: Path, about: bytes) -> Iterator[None]:
    """Hold *path* against everybody else who wants to; it is there only meanwhile.

    Args:
        path: Named like an unfinished file, which it is: whoever dies leaves one to be removed.
        about: What it says to those who come later.

    Raises:
        BlockingIOError: Somebody holds it; the message is what they say of themselves.
        OSError: It cannot be made.
    """
    while True:
        flags = os.O_RDWR | os.O_CREAT | _BINARY | _system.wait_for_nobody
        handle = _opened(path, flags, OWN_FILE)[0]
        try:
            _system.take_after(os.fspath(path.parent), handle)
            _system.lock(handle)
            if _is_still(handle, path):
                break
        except BlockingIOError:
            holder = os.read(handle, 4096).decode("utf-8", "replace")
            os.close(handle)
            raise BlockingIOError(holder) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # whoever held it removed it
    try:
        os.ftruncate(handle, 0)
        _write_all(handle, about)
        yield
    finally:
        if not _system.removes_open:
            os.close(handle)
        _remove(os.fspath(path))
        if _system.removes_open:
            os.close(handle)


@contextlib.contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """Give a new folder of a hidden name in *parent*, held until it has got another name.

    What is still there under that name at the end is removed. It takes after *parent*, and that,
    where it is missing, after what it is in.

    Raises:
        OSError: It cannot be made.
    """
    make_folder(parent, root=parent.parent)
    while True:
        folder = parent / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        _system.make_folder(os.fspath(folder), inherits=True)
        guard = _system.guard_of_folder(os.fspath(folder))
        _system.take_after(os.fspath(parent), os.fspath(folder))
        if folder.is_dir():  # nobody took it for abandoned before it was locked
            break
        _let_go(guard)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _let_go(guard)


def remove_abandoned(folder: Path) -> int:
    """Remove what killed writers left unfinished in *folder*; return how many things went.

    What somebody still writes, in this process or another, is left alone.
    """
    removed = 0
    try:
        names = [
            name
            for name in os.listdir(folder)
            if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)
        ]
    except OSError:
        return 0
    for name in names:
        path = folder / name
        with contextlib.suppress(OSError), _locked_if_free(path) as free:
            if not free:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                _system.remove(os.fspath(path))
            removed += 1
    return removed


def is_held(path: Path) -> bool:
    """Return whether a process holds *path* as its :class:`AppendOnlyFile`.

    Raises:
        OSError: It cannot be looked at.
    """
    handle = _opened(path)[0]
    try:
        _system.lock(handle)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def sync_folder(folder: Path) -> None:
    """Flush the names in *folder* to the disk.

    Raises:
        OSError: The disk reported trouble.
    """
    _sync(os.fspath(folder))


class OpenFolder:
    """A folder held open, so that its names can be flushed when no more files may be opened.

    Args:
        path: Which; where it cannot be held open, it is opened for each flush.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        with contextlib.suppress(OSError):
            self._handle = _system.open_folder(os.fspath(path))

    def flush(self) -> None:
        """Flush the names in it to the disk.

        Raises:
            OSError: The disk reported trouble.
        """
        if self._handle is None:
            sync_folder(self._path)
        else:
            os.fsync(self._handle)

    def close(self) -> None:
        """Let go of it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def flush_file(path: Path) -> None:
    """Flush what another library has written to *path*, and :func:`settle_file` it.

    Raises:
        OSError: The disk reported trouble.
    """
    handle = os.open(path, _system.to_flush)
    try:
        _system.take_after(os.fspath(path.parent), handle)
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync(folder: str) -> None:
    handle = _system.open_folder(folder)
    if handle is None:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _holds(path: str, data: bytes) -> bool:
    try:
        return read_regular_file(path) == data
    except OSError:  # no file, or not ours to read: taken all the same
        return False


def _copied(source: Path, handle: int, digest: hashlib._Hash) -> os.stat_result:
    """Copy *source* to *handle*, flush it, and close it whatever happens."""
    try:
        with open_regular_file(source) as given:
            while chunk := given.read(_CHUNK):
                digest.update(chunk)
                _write_all(handle, chunk)
            status = os.fstat(given.fileno())
        os.fsync(handle)
    finally:
        os.close(handle)
    return status


def _claimed(temporary: str, *, private: bool = False) -> tuple[int, int]:
    """Create *temporary* exclusively; return its handle, and one that holds its lock.

    Raises:
        FileExistsError: There is one; perhaps its writer is dead.
    """
    handle = os.open(temporary, _NEW_FILE, OWN_FILE)
    guard = _system.guard(handle)
    if not private:
        _system.take_after(os.path.dirname(temporary), handle)  # noqa: PTH120 - as above
    return handle, guard


def _named(
    temporary: str, final: Path | str, rename: Callable[[str, str], None] = _system.rename
) -> bool:
    """Give *temporary* its name; False when somebody took it for abandoned.

    That is possible in the moment before it is locked, and then everything begins anew.
    """
    try:
        rename(temporary, os.fspath(final))
    except FileNotFoundError:
        if os.path.exists(os.path.dirname(temporary)):  # noqa: PTH110, PTH120 - as above
            return False
        raise
    return True


def _let_go(guard: int) -> None:
    if guard >= 0:
        os.close(guard)


def _fill(handle: int, *parts: bytes, more: Iterable[bytes] = ()) -> None:
    """Write *parts* and *more* to *handle*, flush it to the disk, and close it whatever happens."""
    try:
        for part in itertools.chain(parts, more):
            _write_all(handle, part)
        os.fsync(handle)
    finally:
        os.close(handle)


def _hashed(parts: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for part in parts:
        digest.update(part)
        yield part


def _write_all(handle: int, data: bytes) -> None:
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def _remove(temporary: str) -> None:
    with contextlib.suppress(OSError):
        _system.remove(temporary)


class AppendOnlyFile:
    """A file of lines that one process extends and holds locked while it lives.

    The lock goes when the process goes, however it goes: a file that can be locked belongs
    to nobody. A half-written last line is possible after a power cut; readers pass over it.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open *path*, or create it and flush its name, and lock it.

        Raises:
            BlockingIOError: Another process holds it.
            FileNotFoundError: It is missing, and *create* is False.
            NotRegularFile: Something else has its name.
            OSError: It cannot be opened.
        """
        self.path = path
        is_new = create and not os.access(path, os.F_OK)
        flags = os.O_RDWR | os.O_APPEND | _BINARY | (os.O_CREAT if create else 0)
        self._handle = _opened(path, flags | _system.wait_for_nobody, OWN_FILE)[0]
        try:
            _system.lock(self._handle)
            if is_new:
                _system.take_after(os.fspath(path.parent), self._handle)
                sync_folder(path.parent)
        except BaseException:
            os.close(self._handle)
            raise

    @property
    def is_there(self) -> bool:
        """Whether the file still has its name: one that was replaced or removed takes no lines.

        Raises:
            OSError: That cannot be told.
        """
        return _is_still(self._handle, self.path)

    def append(self, line: bytes, *, flush: bool = True) -> None:
        """Add *line* and a newline in one write, and flush it to the disk.

        Raises:
            OSError: The line may be missing or torn; what came before it is safe.
        """
        _write_all(self._handle, line + b"\n")
        if flush:
            os.fsync(self._handle)

    def close(self) -> None:
        """Unlock and close; closing twice is harmless."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def remove(self) -> None:
        """Remove it, before anybody else can lock it where what is open can be removed; close it.

        Raises:
            OSError: It is there still; it is closed all the same.
        """
        if not _system.removes_open:
            self.close()
        try:
            remove_file(self.path, missing_ok=True)
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


@contextlib.contextmanager
def _locked_if_free(path: Path) -> Iterator[bool]:
    """Give whether nobody holds *path*, and hold it meanwhile."""
    if not _system.removes_open:  # to open it, for its lock, would keep it there
        yield time.time() - path.stat().st_mtime > _A_DAY
        return
    handle = os.open(path, _READ)
    try:
        try:
            _system.lock(handle)
        except BlockingIOError:
            yield False
        except OSError:  # a file system without locks
            yield time.time() - path.stat().st_mtime > _A_DAY
        else:
            yield _is_still(handle, path)
    finally:
        os.close(handle)


def _is_still(handle: int, path: Path) -> bool:
    """Return whether *path* is still the file that was opened under that name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))  # noqa: PTH116 - as above
    except FileNotFoundError:
        return False
