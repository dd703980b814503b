"""NodeClasses: what a server says of its node classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from safelight.backends.comfyui.editor_workflow import ApiWorkflow, api_workflow
from safelight.backends.engine_server import Answer, EngineServer
from safelight.errors import BackendError

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

    def values(self, kind: str, name: str) -> Sequence[str]:
        """Return the values that input *name* of the class *kind* takes, none if any."""
        spec = self.inputs(kind).get(name)
        return _combo(spec) if isinstance(spec, list) and spec else ()

    def gives_pictures(self, kind: str) -> bool:
        """Return whether nodes of *kind* end a graph, with a picture."""
        specs = self.inputs(kind).values()
        takes = any(isinstance(spec, list) and spec[:1] == ["IMAGE"] for spec in specs)
        return takes and self.about(kind).get("output_node") is True

    def converted(self, workflow: Mapping[str, Any], called: str) -> ApiWorkflow:
        """Return what the editor saved as this server runs it.

        Args:
            workflow: What the editor's *Save* wrote.
            called: What messages call it.

        Raises:
            BackendUnavailable: The server does not answer.
            BackendError: The workflow is faulty, or the server lacks classes of it.
        """
        info = self._read(self._server.get("/object_info"))
        if not info:
            raise BackendError(f"{self._server} answered /object_info without a node class")
        return api_workflow(workflow, info, called)

    def _read(self, answer: Answer) -> Mapping[str, Any]:
        return _mapping(self._server.json(answer))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _combo(spec: list[Any]) -> Sequence[str]:
    """Return the values of a combo in either of the shapes that servers send."""
    if isinstance(spec[0], list):
        return tuple(str(value) for value in spec[0])
    if spec[0] == "COMBO" and len(spec) > 1 and isinstance(spec[1], dict):
        return tuple(str(value) for value in spec[1].get("options") or ())
    return ()
