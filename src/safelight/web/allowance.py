"""allowance: how much guests may have kept for good.

What people say is never thrown away, so whoever may say something could fill disk and memory with
it, and they would stay full. An allowance grows slowly, up to a bound: people who rate never come
near it, and who is refused has it kept in the browser and says it again later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Allowance"]


class Allowance:
    """So many bytes at once, and so many more every second.

    Args:
        most: Bytes at first, and at most.
        a_second: Bytes that come back every second.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, most: int, a_second: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._a_second, self._clock = most, a_second, clock
        self._left, self._at = float(most), clock()
        self._lock = threading.Lock()

    def take(self, amount: int) -> float:
        """Take *amount*; return the seconds until it is there, 0 when it was and is taken."""
        with self._lock:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._at) * self._a_second)
            self._at = now
            if amount <= self._left:
                self._left -= amount
                return 0.0
            return (amount - self._left) / self._a_second
