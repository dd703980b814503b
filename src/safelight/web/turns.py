"""turns: who is answered when many ask at once.

What is asked is worked out by a few threads, and whoever comes first has the next one that is
free. So guests have some of them only, however many guests there are and however much they ask:
the owner always finds one. A connection that is gone leaves its question in the line; it is passed
over when its turn comes, and a line has an end.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from safelight.web.guard import role_of
from safelight.web.sessions import Role

__all__ = ["THREADS", "Line", "Turns"]

THREADS = 6
"""More would only take the processor from each other, and from raters."""

_OF_GUESTS = 2
SLOW, _SLOW_OF_GUESTS = 2, 1
"""Questions about hundreds of pictures at a time, in threads of their own, that one picture does
not wait for them."""

_PLANNED, _MOST_PLANS = 2, 64
"""Plans that are made at a time, as each may take some seconds and 200 MB, and that wait."""

_LONGEST = 640
"""Questions that wait in one line: as many as there are connections."""

_COME_AGAIN = {"Retry-After": "5"}
T = TypeVar("T")


class Line:
    """Those who wait until one of a few places is free.

    Args:
        places: How many there are.
        longest: How many may wait.
    """

    def __init__(self, places: int, longest: int = _LONGEST) -> None:
        self._places = CapacityLimiter(places)
        self._longest = longest

    async def take(self, request: Request, work: Callable[[], Awaitable[T]]) -> T:
        """Return what *work* does when it is *request*'s turn.

        Raises:
            HTTPException: 503, too many wait, or nobody waits for the answer any more.
        """
        if self._places.statistics().tasks_waiting >= self._longest:
            raise HTTPException(503, "too many questions wait; ask again in a moment", _COME_AGAIN)
        async with self._places:
            if await request.is_disconnected():
                raise HTTPException(503, "nobody waits for this answer", _COME_AGAIN)
            return await work()


class Turns:
    """The lines of one light table."""

    def __init__(self) -> None:
        self._owners, self._guests = Line(THREADS), Line(_OF_GUESTS)
        self._owners_slow, self._guests_slow = Line(SLOW), Line(_SLOW_OF_GUESTS)
        self._plans = Line(_PLANNED, longest=_MOST_PLANS)
        self._apart = CapacityLimiter(math.inf)

    async def take(self, request: Request, work: Callable[[Request], T]) -> T:
        """Return what *work* does in a thread, when it is *request*'s turn."""
        line = self._owners if role_of(request.scope) is Role.OWNER else self._guests
        return await line.take(request, lambda: run_in_threadpool(work, request))

    async def take_slow(self, request: Request, work: Callable[[], T]) -> T:
        """Return what *work*, which is about hundreds of pictures, does in a thread apart."""
        is_owner = role_of(request.scope) is Role.OWNER
        line = self._owners_slow if is_owner else self._guests_slow
        return await line.take(request, lambda: to_thread.run_sync(work, limiter=self._apart))

    async def take_plan(self, request: Request, work: Callable[[], T]) -> T:
        """Return what *work*, which makes a plan, does in a thread apart."""
        return await self._plans.take(
            request, lambda: to_thread.run_sync(work, limiter=self._apart)
        )
