"""server_group: several servers of one kind that one engine draws on, whichever is free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from safelight.errors import BackendUnavailable, BackendUnreachable
from safelight.pipeline.backend import Generation

__all__ = ["NotBegun", "ServerGroup", "one_or_all", "shared_choices"]

_SET_ASIDE = 60.0
"""Seconds for which a server that did not answer is passed over while others do."""

_Server = TypeVar("_Server")
_Answer = TypeVar("_Answer")


class NotBegun(BackendUnreachable):
    """The job certainly does not run on that server: another one may draw it."""


class ServerGroup(Generic[_Server]):
    """Gives every request to a server that is free; safe for as many threads as there are.

    Attributes:
        servers: All of them.
        lanes: How many requests are carried out at a time, at most.

    Args:
        servers: At least one.
        at_once: Requests that each is given at a time.
    """

    def __init__(self, servers: Sequence[_Server], *, at_once: int = 1) -> None:
        self.servers = tuple(servers)
        self._free = [*self.servers] * at_once
        self.lanes = len(self._free)
        self._aside: dict[int, float] = {}
        self._changed = threading.Condition()

    def draw(self, ask: Callable[[_Server], Generation]) -> Generation:
        """Return what *ask* returns of a free server.

        A server that did not begin is set aside for a minute, and another one is asked.

        Raises:
            NotBegun: None of them began.
        """
        tried: list[_Server] = []
        while True:
            server = self._take(tried)
            try:
                return ask(server)
            except NotBegun:
                tried.append(server)
                self._aside[id(server)] = time.monotonic() + _SET_ASIDE
                if len(tried) == len(self.servers):
                    raise
            finally:
                self._give_back(server)

    def answers(self, ask: Callable[[_Server], _Answer]) -> list[tuple[_Server, _Answer]]:
        """Return what every server that answers says.

        Raises:
            BackendUnavailable: None of them answers.
        """
        answers, silent = [], None
        for server in self.servers:
            try:
                answers.append((server, ask(server)))
            except BackendUnavailable as error:
                silent = error
        if not answers and silent is not None:
            raise silent
        return answers

    def _take(self, tried: Sequence[_Server]) -> _Server:
        """Wait for a free server, one in service before one that was set aside."""
        with self._changed:
            while True:
                now = time.monotonic()
                open_to = [server for server in self.servers if server not in tried]
                well = [server for server in open_to if self._aside.get(id(server), 0.0) <= now]
                chosen = next((server for server in well or open_to if server in self._free), None)
                if chosen is not None:
                    self._free.remove(chosen)
                    return chosen
                self._changed.wait(1.0)

    def _give_back(self, server: _Server) -> None:
        with self._changed:
            self._free.append(server)
            self._changed.notify_all()


def shared_choices(lists: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Return what every server has of what each lists, knob -> values in the first one's order."""
    return {
        knob: tuple(v for v in values if all(v in other[knob] for other in lists))
        for knob, values in lists[0].items()
        if all(knob in other for other in lists)
    }


def one_or_all(values: list[str]) -> str | list[str]:
    """Return what servers agree in, or all that they say."""
    return values[0] if len(values) == 1 else values
