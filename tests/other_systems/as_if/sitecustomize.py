"""Makes every Python that finds this on its path look like another system to safelight.

``AS_IF`` names the system, ``win32`` or ``darwin``, and ``AS_IF_BELOW`` the folder whose files
behave like it. The modules of safelight, and no others, see another ``sys.platform`` and another
``os``, and cannot import what is not there. On Windows what is open can be neither renamed nor
removed, nothing is renamed over a file, folders cannot be opened, what is open to be read cannot be
flushed, and some names are refused; :mod:`msvcrt` is a stand-in. All that is by Microsoft's
documentation: it shows that these paths go through, and not that Windows agrees.
"""

# mypy: ignore-errors
import builtins
import contextlib
import errno
import os
import re
import sys
import types

_SYSTEM = os.environ["AS_IF"]
_BELOW = os.path.realpath(os.environ["AS_IF_BELOW"]) + os.sep

_ONLY_LINUX = {"sched_setscheduler", "SCHED_BATCH", "sched_param", "sched_getaffinity", "listxattr",
               "posix_fadvise", "copy_file_range", "memfd_create"}  # fmt: skip
_ONLY_POSIX = _ONLY_LINUX | {
    "O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC",
    "PRIO_PROCESS", "chown", "chroot", "fchdir", "fchmod", "fchown", "fork", "getegid", "geteuid",
    "getgid", "getgroups", "getloadavg", "getpgid", "getpriority", "getsid", "getuid", "killpg",
    "lchown", "lockf", "major", "mkfifo", "nice", "pread", "pwrite", "sched_yield", "sendfile",
    "set_blocking", "setpriority", "setsid", "setuid", "statvfs", "sync", "sysconf", "umask",
    "uname", "wait", "writev",
}  # fmt: skip
_NO_MODULES = frozenset(("spwd",))
if _SYSTEM == "win32":
    _NO_MODULES |= {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog",
                    "readline", "crypt", "nis"}  # fmt: skip


class _Seen(types.ModuleType):
    """A module as the other system has it."""

    def __init__(self, real, hidden=frozenset(), **other):
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _hidden=hidden, **other)

    def __getattr__(self, name):
        if name in self._hidden:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} here")
        return getattr(self._real, name)

    def __setattr__(self, name, value):
        setattr(self._real, name, value)


def _locking(handle, mode, count):
    import fcntl

    assert (mode, count) == (2, 1)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error


_msvcrt = types.ModuleType("msvcrt")
_msvcrt.locking, _msvcrt.LK_NBLCK = _locking, 2
_SEEN = {
    "sys": _Seen(sys, platform=_SYSTEM),
    "os": _Seen(os, _ONLY_POSIX if _SYSTEM == "win32" else _ONLY_LINUX),
}
if _SYSTEM == "win32":
    _SEEN["msvcrt"] = _msvcrt
_import = builtins.__import__


def _import_there(name, globals=None, locals=None, fromlist=(), level=0):  # noqa: A002
    package = (globals or {}).get("__package__") or ""
    if package.partition(".")[0] == "safelight":
        if name in _NO_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} here", name=name)
        if name in _SEEN:
            return _SEEN[name]
    return _import(name, globals, locals, fromlist, level)


builtins.__import__ = _import_there

if _SYSTEM == "win32":
    import fcntl
    import shutil

    _REFUSED_NAME = re.compile(
        r'.*[<>:"|?*\\\x00-\x1f].*|.*[. ]|(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?', re.I | re.S
    )

    def _is_ours(path):
        return isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(_BELOW)

    def _named(path):
        for name in os.path.abspath(path)[len(_BELOW) :].split(os.sep):
            if _REFUSED_NAME.fullmatch(name):
                raise OSError(errno.EINVAL, "Invalid argument", os.fspath(path))
        folder, name = os.path.split(os.path.abspath(path))
        with contextlib.suppress(OSError):
            others = {other.casefold(): other for other in os.listdir(folder)}
            other = others.get(name.casefold(), name)
            if other != name:
                raise AssertionError(f"{path} is {other} where capitals do not count")

    def _refuse_open(*paths):
        wanted = {os.path.abspath(path) for path in paths}
        for handle in os.listdir("/proc/self/fd"):
            try:
                place = os.readlink(f"/proc/self/fd/{handle}")
            except OSError:
                continue
            if any(place == path or place.startswith(path + os.sep) for path in wanted):
                raise PermissionError(errno.EACCES, f"is open here as {handle}: {place}")

    def _wrap(name, before):
        real = getattr(os, name)

        def there(*arguments, **options):
            if _is_ours(arguments[0]):
                before(*arguments, **options)
            return real(*arguments, **options)

        setattr(os, name, there)

    def _before_rename(source, target, **_):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "File exists", os.fspath(target))
        _named(target)
        _refuse_open(source)

    def _before_replace(source, target, **_):
        _named(target)
        if os.path.isdir(target):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(target))
        _refuse_open(source, target)

    def _before_open(path, flags, mode=0o777, **_):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        if flags & os.O_CREAT:
            _named(path)

    def _fsync(handle, real=os.fsync):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(handle)

    _wrap("rename", _before_rename)
    _wrap("replace", _before_replace)
    _wrap("open", _before_open)
    _wrap("mkdir", lambda path, mode=0o777, **_: _named(path))
    for _call in ("unlink", "remove", "rmdir"):
        _wrap(_call, lambda path, **_: _refuse_open(path))
    os.fsync = _fsync
    shutil._use_fd_functions = False
