"""NodeClasses: what a server says of its node classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from safelight.backends.engine_server import Answer, EngineServer

__all__ = ["NodeClasses"]

_NOT_THERE = (404, 405)


class NodeClasses:
    """The node classes of one server, asked for one by one.

    A hosted server may know the whole list only, megabytes of it: there it is asked for once.
    """

    def __init__(self, server: EngineServer) -> None:
        self._server = server
        self._all: Mapping[str, Any] | None = None

    def about(self, kind: str) -> Mapping[str, Any]:
        """Return what the server says of the class *kind*; nothing when it has none.

        Raises:
            BackendUnavailable: It does not answer.
            BackendError: It answers something else.
        """
        if self._all is None:
            path = f"/object_info/{quote(kind, safe='')}"
            answer = self._server.get(path, accept=_NOT_THERE)
            if answer.status not in _NOT_THERE:
                return _mapping(self._read(answer).get(kind))
            self._all = self._read(self._server.get("/object_info"))
        return _mapping(self._all.get(kind))

    def inputs(self, kind: str) -> Mapping[str, Any]:
        """Return input -> its specification, ``[type, options]``, required ones first."""
        groups = _mapping(self.about(kind).get("input"))
        return {**_mapping(groups.get("required")), **_mapping(groups.get("optional"))}

    def _read(self, answer: Answer) -> Mapping[str, Any]:
        return _mapping(self._server.json(answer))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
