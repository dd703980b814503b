"""How jobs stand on a server, and how they are stopped.

Newer servers tell of one job in one question (``/api/jobs/ID``) and cancel it without touching
what began meanwhile (``/api/jobs/cancel``). Older ones have a queue and a history, and interrupt
what runs if it has the id that is named.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError

__all__ = ["Job", "JobList", "Standing", "job_list", "ran_graph"]

Job = Mapping[str, Any]
"""An entry of ComfyUI's history: ``prompt``, ``outputs``, ``status``."""

_STOP_TRIES = 5
_STOP_PAUSE = 0.1
_NO_SUCH_ROUTE = frozenset(range(400, 502)) - {401, 429}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one job stands.

    Attributes:
        state: ``absent`` when the server knows no such job.
        graph: What it was posted with, as far as this answer tells.
        entry: Its entry of the history, once it has ended.
    """

    state: Literal["absent", "waiting", "ended"]
    graph: Any = None
    entry: Job | None = None


class JobList(Protocol):
    """The jobs of one server."""

    def standing(self, prompt_id: str, *, over: bool = False) -> Standing:
        """Return how a job stands.

        Args:
            prompt_id: Which.
            over: Whether it is likely to have ended.

        Raises:
            BackendUnavailable: The server does not answer.
        """
        ...

    def waiting_graph(self, prompt_id: str) -> Any:
        """Return the graph of a job that waits or runs, None where there is none.

        Raises:
            BackendUnavailable: The server does not answer.
        """
        ...

    def posted_as(self, name: str) -> str | None:
        """Return the id of a job that waits or runs and that we call *name*.

        Raises:
            BackendUnavailable: The server does not answer.
        """
        ...

    def stop(self, prompt_ids: Sequence[str]) -> None:
        """Stop jobs, waiting or running, and no others.

        Raises:
            BackendError: The server does not answer, or refuses.
        """
        ...


def job_list(server: EngineServer) -> JobList:
    """Return the list of jobs that *server* has.

    Raises:
        BackendUnavailable: It does not answer.
    """
    # Every route of ComfyUI is there with /api before it, too; hosted ones are there only.
    routes = "/jobs" if urlsplit(server.url).path.endswith("/api") else "/api/jobs"
    answer = server.get(routes, params={"limit": 1}, accept=_NO_SUCH_ROUTE)
    old = QueueAndHistory(server)
    if answer.status != 200 or answer.content_type != "application/json":
        return old
    body = server.json(answer)
    is_list = isinstance(body, Mapping) and isinstance(body.get("jobs"), list)
    return JobRoutes(server, routes, old) if is_list else old


class QueueAndHistory:
    """The jobs of a server without a list of them."""

    def __init__(self, server: EngineServer) -> None:
        self._server = server

    def standing(self, prompt_id: str, *, over: bool = False) -> Standing:
        """Look into the queue and then the history: a job goes from there to here, never back."""
        entry = self._history(prompt_id) if over else None
        if entry is None and (graph := self.waiting_graph(prompt_id)) is not None:
            return Standing(state="waiting", graph=graph)
        entry = entry or self._history(prompt_id)
        if entry is None:
            return Standing(state="absent")
        return Standing(state="ended", graph=ran_graph(entry), entry=entry)

    def waiting_graph(self, prompt_id: str) -> Any:
        """Return the graph of a job that waits or runs, None where there is none."""
        running, pending = self._queue()
        return running.get(prompt_id, pending.get(prompt_id))

    def posted_as(self, name: str) -> str | None:
        """Look through the queue: what was posted with a job stands beside it there."""
        queue = self._answer()
        for item in (*_items(queue, "queue_running"), *_items(queue, "queue_pending")):
            beside = item[3] if len(item) > 3 and isinstance(item[3], Mapping) else {}
            if name in (str(item[1]), beside.get("safelight")):
                return str(item[1])
        return None

    def stop(self, prompt_ids: Sequence[str]) -> None:
        """Take jobs out of the queue, or interrupt them by their ids."""
        for _ in range(_STOP_TRIES):
            running, pending = self._queue()
            self.dequeue([job for job in prompt_ids if job in pending])
            for job in prompt_ids:
                if job in running:
                    self._server.ask("POST", "/interrupt", json={"prompt_id": job})
            if not any(job in running or job in pending for job in prompt_ids):
                return
            time.sleep(_STOP_PAUSE)

    def dequeue(self, prompt_ids: Sequence[str]) -> None:
        """Take jobs that wait out of the queue; one that runs goes on."""
        if prompt_ids:
            self._server.ask("POST", "/queue", json={"delete": list(prompt_ids)})

    def _history(self, prompt_id: str) -> Job | None:
        body = self._server.json(self._server.get(f"/history/{prompt_id}"))
        entry = body.get(prompt_id) if isinstance(body, dict) else None
        return entry if isinstance(entry, dict) else None

    def _queue(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the running and the pending jobs: id -> graph."""
        body = self._answer()
        running, pending = (
            {str(item[1]): item[2] for item in _items(body, key)}
            for key in ("queue_running", "queue_pending")
        )
        return running, pending

    def _answer(self) -> Mapping[str, Any]:
        body = self._server.json(self._server.get("/queue"))
        if not isinstance(body, dict) or "queue_running" not in body:
            raise BackendError(f"{self._server} answered /queue without a queue")
        return body


class JobRoutes:
    """The jobs of a server with a list of them.

    Args:
        server: Which.
        routes: Where the list is.
        old: Its queue, for what the list does not tell or do.
    """

    def __init__(self, server: EngineServer, routes: str, old: QueueAndHistory) -> None:
        self._server = server
        self._routes = routes
        self._old = old

    def standing(self, prompt_id: str, *, over: bool = False) -> Standing:
        """Ask for the one job."""
        del over  # one question tells
        answer = self._server.get(f"{self._routes}/{prompt_id}", accept=(404,))
        job = self._server.json(answer) if answer.status != 404 else None
        if not isinstance(job, Mapping):
            return Standing(state="absent")
        if job.get("status") in ("completed", "failed", "cancelled"):
            entry = _entry(prompt_id, job)
            return Standing(state="ended", graph=ran_graph(entry), entry=entry)
        return Standing(state="waiting", graph=_graph(job))

    def waiting_graph(self, prompt_id: str) -> Any:
        """Look into the queue: the first such lists have no graphs of what waits."""
        return self._old.waiting_graph(prompt_id)

    def posted_as(self, name: str) -> str | None:
        """Look through the queue."""
        return self._old.posted_as(name)

    def stop(self, prompt_ids: Sequence[str]) -> None:
        """Cancel jobs at once where the server can, else as older ones do."""
        body = {"job_ids": list(prompt_ids)}
        path = f"{self._routes}/cancel"
        answer = self._server.ask("POST", path, json=body, accept=_NO_SUCH_ROUTE)
        if 200 <= answer.status < 300:
            for _ in range(_STOP_TRIES):  # what is cancelled in mid-step ends with the step
                if all(self.standing(job).state != "waiting" for job in prompt_ids):
                    return
                time.sleep(_STOP_PAUSE)
        elif self._is_hosted():  # where an interrupt stops whatever the same user runs
            self._old.dequeue(prompt_ids)
        else:
            self._old.stop(prompt_ids)

    def _is_hosted(self) -> bool:
        stats = self._server.json(self._server.get("/system_stats"))
        system = stats.get("system") if isinstance(stats, Mapping) else None
        return isinstance(system, Mapping) and "cloud_version" in system


def _items(queue: Mapping[str, Any], key: str) -> list[list[Any]]:
    """Return a queue's items: number, id, graph, and what was posted beside it."""
    return [item for item in queue.get(key) or () if isinstance(item, list) and len(item) > 2]


def ran_graph(job: Job) -> Mapping[str, Any]:
    """Return the graph that the server says it ran."""
    prompt = job.get("prompt")
    ran = prompt[2] if isinstance(prompt, list) and len(prompt) > 2 else None
    return ran if isinstance(ran, dict) else {}


def _graph(job: Mapping[str, Any]) -> Mapping[str, Any]:
    workflow = job.get("workflow")
    graph = workflow.get("prompt", workflow) if isinstance(workflow, Mapping) else None
    return graph if isinstance(graph, dict) else {}


def _entry(prompt_id: str, job: Mapping[str, Any]) -> Job:
    """Return a job that has ended as the history has it."""
    status = job.get("execution_status")
    status = dict(status) if isinstance(status, Mapping) else {}
    told = status.get("messages")
    messages = list(told) if isinstance(told, list) else []
    error = job.get("execution_error")
    if job["status"] == "failed" and isinstance(error, Mapping):
        messages.append(["execution_error", error])
    if job["status"] == "cancelled":
        messages.append(["execution_interrupted", {}])
    status["status_str"] = "success" if job["status"] == "completed" else "error"
    return {
        "prompt": [0, prompt_id, _graph(job)],
        "outputs": job.get("outputs") or {},
        "status": {**status, "messages": messages},
    }
