"""freed_memory: what was freed goes back to the system, in a process that lives long.

What is said of half a million pictures takes hundreds of megabytes for a second. The C library
keeps most of that for later, in each of the threads that had some; a server would seem to grow.
"""

from __future__ import annotations

import contextlib
import sys

__all__ = ["give_back_memory"]


def give_back_memory() -> None:
    """Return what is free to the system, where its C library can do that: some milliseconds."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError, OSError):  # not every C library is glibc
            ctypes.CDLL(None).malloc_trim(0)
