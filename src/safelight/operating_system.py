"""What only some systems let a process do or know, each with what happens on the others.

Elsewhere nobody asks which system this is; :mod:`safelight.file_system` does for files. Nothing
here raises: what a system cannot do is left undone, and what it does not tell is None.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

__all__ = [
    "STOP_SIGNALS",
    "account",
    "bound_memory",
    "claim_address",
    "end_with_parent",
    "give_back_memory",
    "ignore_interrupts",
    "last_touched",
    "machine_megabytes",
    "most_open_files",
    "path_of_open",
    "quoted",
    "resident_megabytes",
    "step_back",
    "step_far_behind",
]

STOP_SIGNALS = tuple(
    number
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGBREAK", None))
    if number is not None
)
"""What asks a process to stop: Control-C, the system, and Control-Break on Windows."""

_BEHIND_REQUESTS = 5
"""Niceness of threads that nobody waits for."""

_AT_PARENTS_DEATH = 1
"""Linux's number for it."""

_DISPENSABLE = b"800"
"""Of 1,000: how gladly Linux ends a process when memory runs out, before it ends its parent."""


def ignore_interrupts() -> None:
    """Leave Control-C to the process that started this one, and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def step_back() -> None:
    """Let this process's other threads go before the one that calls; on Linux only.

    Threads and programs that it starts inherit that.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            behind = max(_BEHIND_REQUESTS, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, behind)


def step_far_behind(niceness: int, *, dispensable: bool = False) -> None:
    """Let every other process of the machine go first; on Windows all stay equal.

    Args:
        niceness: How far behind, 0 to 19.
        dispensable: Whether it is to be ended before others when memory runs out: on Linux.
    """
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.nice(niceness)
    if sys.platform == "linux" and dispensable:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with contextlib.suppress(OSError):
            setting = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            try:
                os.write(setting, _DISPENSABLE)
            finally:
                os.close(setting)


def end_with_parent() -> None:
    """Let Linux end this process with the thread that started it, even one that is stuck.

    Elsewhere only a process that listens to its input sees that the parent has gone.
    """
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(_AT_PARENTS_DEATH, signal.SIGKILL)


def bound_memory(megabytes: int) -> None:
    """Bound what this process may allocate; not on Windows, and macOS does not keep it."""
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, hard))


def give_back_memory() -> None:
    """Return what was freed to the system, where its C library can do that: some milliseconds.

    What is said of half a million pictures takes hundreds of megabytes for a second. The C library
    keeps most of that for later, in each of the threads that had some; a server would seem to grow.
    """
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError, OSError):  # not every C library is glibc
            ctypes.CDLL(None).malloc_trim(0)


def claim_address(listening: socket.socket) -> None:
    """Let *listening* have an address at once that a server which ended had, and nobody beside it.

    What lets one have it at once on other systems lets every program listen beside it on Windows,
    which gives it at once anyway.
    """
    import socket

    if sys.platform == "win32":
        option = socket.SO_EXCLUSIVEADDRUSE
    else:
        option = socket.SO_REUSEADDR
    listening.setsockopt(socket.SOL_SOCKET, option, 1)


def machine_megabytes() -> int | None:
    """Return the memory of this machine; None on Windows."""
    pages = None
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError):
            pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None if pages is None else pages >> 20


def resident_megabytes(process: int) -> float | None:
    """Return the memory that a process has now; None where there is no ``/proc``."""
    taken = None
    if sys.platform != "win32":
        with contextlib.suppress(OSError, IndexError):
            pages = Path(f"/proc/{process}/statm").read_text("ascii").split()[1]
            taken = int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return taken


def most_open_files() -> int | None:
    """Return how many files this process may have open; None where there is no bound."""
    most = None
    if sys.platform != "win32":
        import resource

        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = None if files == resource.RLIM_INFINITY else files
    return most


def account() -> int | None:
    """Return the user id that this process acts as; None on Windows, which has none."""
    own = None
    if sys.platform != "win32":
        own = os.geteuid()
    return own


def last_touched(written: int, changed: int) -> int:
    """Return when a file was last touched by anybody, of what its status tells.

    Args:
        written: ``st_mtime_ns``, which programs may set to what they like.
        changed: ``st_ctime_ns``: when anything of it was changed; on Windows, when it was made.
    """
    return changed if sys.platform != "win32" else max(written, changed)


def quoted(word: str) -> str:
    """Return *word* as this system's command line needs it."""
    if sys.platform == "win32":
        import subprocess

        text = subprocess.list2cmdline([word])
    else:
        import shlex

        text = shlex.quote(word)
    return text


def path_of_open(handle: int) -> str | None:
    """Return where the file that is open lies, with every link followed; on Linux only.

    Raises:
        OSError: It cannot be told of this one.
    """
    if sys.platform == "linux":
        with_links = f"/proc/self/fd/{handle}"
        if os.path.lexists(with_links):
            return os.readlink(with_links)  # noqa: PTH115 - no file of ours
    return None
