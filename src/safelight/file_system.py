"""What systems do differently with files: locks, names of what is open, flushes, who may read.

:mod:`safelight.durable_file` alone uses it, and holds what is the same everywhere. On Windows
nothing here has been run by us: it follows Microsoft's documentation, and its tests give it a
stand-in of the lock, and a system that refuses what Windows refuses.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["OWN_FILE", "ByteLocks", "FileSystem", "WindowsFiles", "file_system"]

OWN_FILE, _OWN_FOLDER = 0o600, 0o700
_INHERITING = 0o777
"""On Windows, a folder that is made so gets the rights of the one above it."""

_EVERYBODYS = stat.S_ISVTX | stat.S_IWOTH
"""What is set for a folder where everybody may write, and nobody touches what is another's."""

_TO_WAIT_FOR_NOBODY = (
    getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)
)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _TO_WAIT_FOR_NOBODY
_NOT_THAT_WAY = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_A_MINUTE = 60
"""Seconds after which a file that nobody has open, but that has no name yet, is nobody's."""


class FileSystem(Protocol):
    """The calls that are not the same on every system.

    Attributes:
        wait_for_nobody: Flags for :func:`os.open`: to open a pipe must not wait for its writer.
        to_flush: Flags with which a file is opened that is to be flushed.
        removes_open: Whether what is open can be removed, and be told abandoned by its lock.
    """

    wait_for_nobody: int
    to_flush: int
    removes_open: bool

    def lock(self, handle: int) -> None:
        """Lock a file until its handle is closed or its process ends.

        Raises:
            BlockingIOError: Somebody else has locked it.
            OSError: It cannot be locked.
        """
        ...

    def guard(self, handle: int) -> int:
        """Return a second handle that holds the lock until the file has its name, or -1."""
        ...

    def guard_of_folder(self, folder: str) -> int:
        """Return a handle that holds *folder* locked, or -1; whoever holds it is waited for."""
        ...

    def outlast(self, temporary: str) -> None:
        """Wait until whoever writes *temporary* is done or dead, and remove what is left of it.

        Raises:
            OSError: That cannot be told.
        """
        ...

    def open_folder(self, folder: str) -> int | None:
        """Return a handle by which the names in *folder* are flushed; None where there is none.

        Raises:
            OSError: It cannot be opened.
        """
        ...

    def let_wait(self, handle: int) -> None:
        """Undo :attr:`wait_for_nobody` for what turned out to be a file."""
        ...

    def make_folder(self, folder: str, *, inherits: bool) -> None:
        """Make a folder, for its owner alone or to take after what it is in."""
        ...

    def take_after(self, folder: str, made: int | str) -> None:
        """Give what was *made* in *folder* its group, and let others do what they may there.

        Where the group cannot be given, the one that it has gets no more than everybody. That
        nothing can be given, on file systems that keep neither, harms nothing.

        Args:
            folder: Its path; empty for the current one.
            made: A handle of a file, or a path.
        """
        ...

    def rename(self, source: str, target: str) -> None:
        """Call :func:`os.rename`."""
        ...

    def replace(self, source: str, target: str) -> None:
        """Call :func:`os.replace`."""
        ...

    def remove(self, path: str) -> None:
        """Call :func:`os.unlink`."""
        ...

    def rename_if_free(self, source: str, target: str) -> bool:
        """Rename in one step that replaces nothing; False where that cannot be done.

        Raises:
            OSError: It could be done, and was refused.
        """
        ...


class ByteLocks(Protocol):
    """What of :mod:`msvcrt` is needed."""

    LK_NBLCK: int

    def locking(self, handle: int, mode: int, count: int, /) -> object:
        """Lock *count* bytes from where the file is read next."""
        ...


class WindowsFiles:
    """Windows: what is open can neither be renamed nor removed, and folders cannot be flushed.

    Indexers, virus scanners and readers of our own have files open for moments: whoever wants to
    rename or remove one tries for a second.

    Args:
        locks: :mod:`msvcrt`.
        rest: Sleeps for so many seconds.
    """

    wait_for_nobody = 0
    to_flush = os.O_RDWR | getattr(os, "O_BINARY", 0)  # what is open to be read is not flushed
    removes_open = False

    _BEHIND = 2**40
    """Which byte is locked: one far behind any content, as nobody may read what is locked."""

    _TRIES = 10

    def __init__(self, locks: ByteLocks, rest: Callable[[float], None] = time.sleep) -> None:
        self._locks = locks
        self._rest = rest

    def lock(self, handle: int) -> None:
        """Lock one byte, and stay where the file was to be read or written next."""
        place = os.lseek(handle, 0, os.SEEK_CUR)
        os.lseek(handle, self._BEHIND, os.SEEK_SET)
        try:
            self._locks.locking(handle, self._locks.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(str(error)) from error
        finally:
            os.lseek(handle, place, os.SEEK_SET)

    def guard(self, handle: int) -> int:
        """Return none: a file that is open could not be renamed."""
        return -1

    def guard_of_folder(self, folder: str) -> int:
        """Return none: folders cannot be opened."""
        return -1

    def outlast(self, temporary: str) -> None:
        """Remove it once it is a minute old and nobody has it open; else refuse, after a while."""
        for number in range(self._TRIES):
            try:
                age = time.time() - os.stat(temporary).st_mtime  # noqa: PTH116 - texts come here
                if age > _A_MINUTE:
                    os.unlink(temporary)  # noqa: PTH108 - as above
                    return
            except FileNotFoundError:
                return
            except PermissionError:
                pass
            self._rest(2**number / 1024)
        raise BlockingIOError(
            errno.EAGAIN, "is being written by another process; try again in a minute", temporary
        )

    def open_folder(self, folder: str) -> int | None:
        """Return none; that *folder* is missing is told all the same."""
        os.stat(folder or ".")  # noqa: PTH116 - as above
        return None

    def let_wait(self, handle: int) -> None:
        """Do nothing: nothing is opened in another way there."""

    def make_folder(self, folder: str, *, inherits: bool) -> None:
        """Make it; newer Pythons give one of mode 0o700 an access list for its owner alone."""
        os.mkdir(folder, _INHERITING if inherits else _OWN_FOLDER)  # noqa: PTH102 - as above

    def take_after(self, folder: str, made: int | str) -> None:
        """Do nothing: there, what is made takes after what it is in by itself."""

    def rename(self, source: str, target: str) -> None:
        """Rename, once nobody has it open any more."""
        self._patiently(lambda: os.rename(source, target))  # noqa: PTH104 - as above

    def replace(self, source: str, target: str) -> None:
        """Rename over *target*, once nobody has that open any more."""
        self._patiently(lambda: os.replace(source, target))  # noqa: PTH105 - as above

    def remove(self, path: str) -> None:
        """Remove, once nobody has it open any more."""
        self._patiently(lambda: os.unlink(path))  # noqa: PTH108 - as above

    def rename_if_free(self, source: str, target: str) -> bool:
        """Rename: there that never replaces anything."""
        self.rename(source, target)
        return True

    def _patiently(self, step: Callable[[], None]) -> None:
        for number in range(self._TRIES):
            try:
                return step()
            except PermissionError:
                self._rest(2**number / 1024)
        return step()


if sys.platform == "win32":
    import msvcrt

    _of_this_system: FileSystem = WindowsFiles(msvcrt)
else:
    import fcntl

    class PosixFiles:
        """Linux, macOS and their kin: ``flock``, modes and groups, folders that are flushed."""

        wait_for_nobody = _TO_WAIT_FOR_NOBODY
        to_flush = os.O_RDONLY | _TO_WAIT_FOR_NOBODY
        removes_open = True

        def lock(self, handle: int) -> None:
            """Lock the whole file."""
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def guard(self, handle: int) -> int:
            """Return a copy of *handle*, locked."""
            guard = -1
            try:
                guard = os.dup(handle)
                fcntl.flock(guard, fcntl.LOCK_EX)
            except OSError:  # no more handles, or a file system without locks
                pass
            return guard

        def guard_of_folder(self, folder: str) -> int:
            """Return a handle of it, locked where folders can be."""
            guard = -1
            with contextlib.suppress(OSError):
                guard = os.open(folder, _FOLDER)
                fcntl.flock(guard, fcntl.LOCK_EX)
            return guard

        def outlast(self, temporary: str) -> None:
            """Wait for its lock."""
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(temporary, self.to_flush)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    if os.fstat(handle).st_ino == os.stat(temporary).st_ino:  # noqa: PTH116
                        os.unlink(temporary)  # noqa: PTH108 - texts come here
                finally:
                    os.close(handle)

        def open_folder(self, folder: str) -> int | None:
            """Open it."""
            return os.open(folder, _FOLDER)

        def let_wait(self, handle: int) -> None:
            """Let reads wait."""
            os.set_blocking(handle, True)

        def make_folder(self, folder: str, *, inherits: bool) -> None:
            """Make it for its owner alone: :meth:`take_after` opens it up."""
            os.mkdir(folder, _OWN_FOLDER)  # noqa: PTH102 - as above

        def take_after(self, folder: str, made: int | str) -> None:
            """Set mode and group where they are others; no umask has a say in that."""
            try:
                above, status = os.stat(folder or "."), os.stat(made)  # noqa: PTH116 - as above
                own, had = above.st_mode & 0o7777, status.st_mode & 0o7777
                if own & _EVERYBODYS == _EVERYBODYS:
                    return
                if status.st_gid != above.st_gid:
                    try:
                        os.chown(made, -1, above.st_gid)
                    except OSError:
                        own &= ~0o070 | (own & 0o007) << 3
                if stat.S_ISDIR(status.st_mode):
                    mode = _OWN_FOLDER | own & (stat.S_ISGID | stat.S_ISVTX | 0o077)
                else:
                    mode = OWN_FILE | own & 0o066
                if mode != had:
                    os.chmod(made, mode)  # noqa: PTH101 - as above
            except OSError:
                return

        def rename(self, source: str, target: str) -> None:
            """Rename."""
            os.rename(source, target)  # noqa: PTH104 - as above

        def replace(self, source: str, target: str) -> None:
            """Rename over *target*."""
            os.replace(source, target)  # noqa: PTH105 - as above

        def remove(self, path: str) -> None:
            """Remove."""
            os.unlink(path)  # noqa: PTH108 - as above

        def rename_if_free(self, source: str, target: str) -> bool:
            """Ask for it by the systems' own names, where the file system can do that."""
            if sys.platform == "linux":
                name, before, replace_nothing = "renameat2", (-100,), 1  # from the current folder
            elif sys.platform == "darwin":
                name, before, replace_nothing = "renamex_np", (), 4
            else:
                return False
            rename = getattr(ctypes.CDLL(None, use_errno=True), name, None)
            if rename is None:
                return False
            paths = (*before, os.fsencode(source), *before, os.fsencode(target))
            if rename(*paths, ctypes.c_uint(replace_nothing)) == 0:
                return True
            number = ctypes.get_errno()
            if number in _NOT_THAT_WAY:
                return False
            raise OSError(number, os.strerror(number), source, None, target)

    _of_this_system = PosixFiles()


def file_system() -> FileSystem:
    """Return that of the system that this runs on."""
    return _of_this_system
