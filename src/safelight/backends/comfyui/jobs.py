"""ComfyJobs: posts graphs, follows them to their end, and finds them again.

The id of a job is ours and made from the request's, before anything is posted. So a job whose
answer was lost is looked up instead of being posted twice, and a job that is in neither the
queue nor the history is known to be lost (a server that restarts forgets both), never taken
for done. Polling the history is the truth; the websocket only tells when to look.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from safelight.backends.comfyui.bound_graph import BoundGraph
from safelight.backends.comfyui.node_errors import execution_fault, node_faults, refusal
from safelight.backends.comfyui.progress_socket import Event, ProgressSocket
from safelight.backends.engine_server import Answer, EngineServer
from safelight.errors import BackendError, BackendUnavailable

__all__ = ["ComfyJobs", "Job", "JobTookTooLong", "ran_graph"]

_NAMESPACE = uuid.UUID("6d1f3a52-6a0e-4f0b-9a5e-2f1c0f4a7c11")
_POLLS = (0.05, 0.1, 0.2, 0.4)
_SLOWEST_POLL = 0.5
_STOP_TRIES = 5

Job = Mapping[str, Any]
"""An entry of ComfyUI's history: ``prompt``, ``outputs``, ``status``."""


class JobTookTooLong(BackendUnavailable):
    """A job is still waiting or running after the time that it may take."""


class ComfyJobs:
    """The jobs of one client on one server.

    Args:
        server: Where.
        client_id: Ours alone: who shares one gets the messages of the other.
        timeout: Seconds that one job may take.
        listed: Returns the values that a node's input takes.
    """

    def __init__(
        self,
        server: EngineServer,
        client_id: str,
        timeout: float,
        listed: Callable[[str, str], Sequence[str]],
    ) -> None:
        self._server = server
        self._client_id = client_id
        self._timeout = timeout
        self._listed = listed

    def submit(self, graph: BoundGraph, job_id: str, number: int) -> str:
        """Post *graph*, unless the server already has it, and return the job's id.

        Args:
            graph: What to run.
            job_id: The request's name; empty for one that nobody will look up again.
            number: Which picture of the request it is.

        Raises:
            BackendUnavailable: The server did not answer.
            BackendError: It refuses the graph.
        """
        if not job_id:
            return self._post(graph, str(uuid.uuid4()))
        attempt = 0
        while True:
            prompt_id = str(uuid.uuid5(_NAMESPACE, f"{job_id}/{number}/{attempt}"))
            state, ran = self._find(prompt_id)
            if state == "absent":
                return self._post(graph, prompt_id)
            if state != "failed" and _essence(ran) == _essence(graph.nodes):
                return prompt_id
            attempt += 1

    def wait(
        self, prompt_id: str, socket: ProgressSocket, report: Callable[[Event | None], None]
    ) -> Job:
        """Return the history's entry of a job once it has ended.

        Args:
            prompt_id: The job.
            socket: Tells when to look.
            report: Told of every message about the job, and None now and then without one;
                what it raises stops the waiting, not the job.

        Raises:
            JobTookTooLong: It has not ended in time; it may still be stopped.
            BackendUnavailable: The server lost the job, or does not answer.
        """
        began, polls = time.monotonic(), 0
        while (entry := self._ended(prompt_id)) is None:
            pause = _POLLS[polls] if polls < len(_POLLS) else _SLOWEST_POLL
            polls += 1
            until = time.monotonic() + pause
            while (left := until - time.monotonic()) > 0:
                event = socket.next(left)
                if event is None or event.prompt_id != prompt_id:
                    continue
                if event.ended:
                    break
                report(event)
            report(None)
            if time.monotonic() - began > self._timeout:
                raise JobTookTooLong(
                    f"{self._server} did not finish a job within {self._timeout:g} s;"
                    " it is taken back; raise the option timeout if it needs longer"
                )
        return entry

    def stop(self, prompt_ids: Sequence[str]) -> None:
        """Take jobs out of the queue, or interrupt them; never anybody else's.

        A server that does not answer keeps them; nobody waits for that.
        """
        try:
            for _ in range(_STOP_TRIES):
                running, pending = self._queue()
                if mine := [job for job in prompt_ids if job in pending]:
                    self._server.ask("POST", "/queue", json={"delete": mine})
                for job in prompt_ids:
                    if job in running:
                        self._server.ask("POST", "/interrupt", json={"prompt_id": job})
                if not any(job in running or job in pending for job in prompt_ids):
                    return
                time.sleep(_POLLS[1])
        except BackendError:
            return

    def fault(self, job: Job) -> str | None:
        """Return why *job* failed, None when it did not."""
        status = job.get("status") or {}
        fault = execution_fault(status.get("messages"))
        if fault is None and status.get("status_str") == "error":
            return "the job failed, and the server does not say why"
        return fault

    def pictures(self, job: Job, graph: BoundGraph) -> list[bytes]:
        """Fetch the files that *job* left at the graph's output, untouched.

        Raises:
            BackendError: There is none, or one is gone.
        """
        output = (job.get("outputs") or {}).get(graph.output) or {}
        files = [file for file in output.get("images") or () if isinstance(file, Mapping)]
        cached = graph.output in _cached(job)
        if not files:
            raise BackendError(f"{self._server}: {_no_picture(graph, cached)}")
        return [self._fetch(file, cached) for file in files]

    def _fetch(self, file: Mapping[str, Any], cached: bool) -> bytes:
        query = {key: str(file.get(key, "")) for key in ("filename", "subfolder", "type")}

        def explain(answer: Answer) -> str | None:
            if answer.status != 404:
                return None
            if cached:
                return (
                    f"the graph is unchanged, so it was served from the cache, whose file"
                    f" {query['filename']} has been deleted; POST /free with"
                    ' {"free_memory": true}, or restart ComfyUI, and draw again'
                )
            return f"{query['filename']} is gone"

        return self._server.get("/view", params=query, explain=explain).content

    # -- asking --------------------------------------------------------------------------

    def _post(self, graph: BoundGraph, prompt_id: str) -> str:
        body = {
            "prompt": graph.nodes,
            "client_id": self._client_id,
            "prompt_id": prompt_id,
            "extra_data": {"safelight": True},  # integrations/comfyui notes what is not ours
        }

        def post() -> Answer:
            return self._server.ask(
                "POST",
                "/prompt",
                json=body,
                explain=lambda answer: refusal(answer, graph, self._listed),
            )

        try:
            answer = post()
        except BackendUnavailable:
            # It may have been received: look before posting it again.
            if self._find(prompt_id)[0] != "absent":
                return prompt_id
            answer = post()
        accepted = self._server.json(answer)
        if not isinstance(accepted, dict) or not accepted.get("prompt_id"):
            raise BackendError(
                f"{self._server} answered /prompt without a prompt_id; is that the ComfyUI API?"
            )
        given = str(accepted["prompt_id"])
        if faults := node_faults(accepted.get("node_errors"), graph, self._listed):
            self.stop([given])
            raise BackendError(f"{self._server} accepts the workflow only in part: {faults}")
        return given

    def _find(self, prompt_id: str) -> tuple[str, Any]:
        """Return how a job stands (``ended``, ``failed``, ``queued``, ``absent``), its graph."""
        for look in range(2):
            entry = self._history(prompt_id)
            if entry is not None:
                return "failed" if self.fault(entry) else "ended", ran_graph(entry)
            if look == 0:
                running, pending = self._queue()
                if prompt_id in running or prompt_id in pending:
                    return "queued", running.get(prompt_id, pending.get(prompt_id))
        return "absent", None

    def _ended(self, prompt_id: str) -> Job | None:
        """Return the history's entry of a job, None while it waits or runs."""
        entry = self._history(prompt_id)
        if entry is not None:
            return entry
        running, pending = self._queue()
        if prompt_id in running or prompt_id in pending:
            return None
        entry = self._history(prompt_id)  # it may have ended between the two questions
        if entry is None:
            raise BackendUnavailable(
                f"{self._server} has lost the job {prompt_id}: it is neither in the queue nor in"
                " the history; was the server restarted, or its queue cleared? Draw it again"
            )
        return entry

    def _history(self, prompt_id: str) -> Job | None:
        body = self._server.json(self._server.get(f"/history/{prompt_id}"))
        entry = body.get(prompt_id) if isinstance(body, dict) else None
        return entry if isinstance(entry, dict) else None

    def _queue(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the running and the pending jobs: id -> graph."""
        body = self._server.json(self._server.get("/queue"))
        if not isinstance(body, dict) or "queue_running" not in body:
            raise BackendError(f"{self._server} answered /queue without a queue")
        running, pending = (
            {str(item[1]): item[2] for item in body.get(key) or () if len(item) > 2}
            for key in ("queue_running", "queue_pending")
        )
        return running, pending


def ran_graph(job: Job) -> Mapping[str, Any]:
    """Return the graph that the server says it ran."""
    prompt = job.get("prompt")
    ran = prompt[2] if isinstance(prompt, list) and len(prompt) > 2 else None
    return ran if isinstance(ran, dict) else {}


def _essence(nodes: object) -> Any:
    """Return what a graph does, without what servers and editors note in it."""
    if not isinstance(nodes, Mapping):
        return None
    return {name: (node.get("class_type"), node.get("inputs")) for name, node in nodes.items()}


def _cached(job: Job) -> Sequence[str]:
    messages = (job.get("status") or {}).get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list) and len(message) == 2 and message[0] == "execution_cached":
            nodes = message[1].get("nodes")
            return nodes if isinstance(nodes, list) else ()
    return ()


def _no_picture(graph: BoundGraph, cached: bool) -> str:
    node = f"node {graph.output} ({graph.class_of(graph.output)})"
    if cached:
        return (
            f"{node} left no picture, because the graph is unchanged and was served from the"
            ' cache; change the seed, POST /free with {"free_memory": true}, or restart ComfyUI'
        )
    return (
        f"{node} left no picture; take one from a SaveImage or PreviewImage node"
        " (SaveImageWebsocket leaves none)"
    )
