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
from contextlib import suppress
from typing import Any

from safelight.backends.comfyui.bound_graph import BoundGraph
from safelight.backends.comfyui.job_list import Job, JobList, job_list
from safelight.backends.comfyui.node_errors import execution_fault, node_faults, refusal
from safelight.backends.comfyui.progress_socket import Event, ProgressSocket
from safelight.backends.engine_server import Answer, EngineServer
from safelight.errors import BackendError, BackendUnavailable

__all__ = ["ComfyJobs", "JobTookTooLong"]

_NAMESPACE = uuid.UUID("6d1f3a52-6a0e-4f0b-9a5e-2f1c0f4a7c11")
_POLLS = (0.05, 0.1, 0.2, 0.4)
_SLOWEST_POLL = 0.5
_ON_ITS_WAY = 1.0
"""Seconds for which a job is looked for whose post was cut off."""
_UNASKED = 2.0
"""Seconds for which a job is not asked after while messages come, one of which tells its end."""


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
        self._jobs: JobList | None = None
        self._stopped: set[str] = set()
        self._taken: dict[str, bool] = {}  # whether the server has a job of that id, if it said so
        self._found: set[str] = set()  # whose messages are over, or go to somebody else

    def submit(
        self, graph: BoundGraph, job_id: str, number: int, name: Callable[[str], None]
    ) -> str:
        """Post *graph*, unless the server already has it, and return the job's id.

        Args:
            graph: What to run.
            job_id: The request's name; empty for one that nobody will look up again.
            number: Which picture of the request it is.
            name: Told every id that the job may have, before the server hears of it: whoever is
                interrupted meanwhile can stop it.

        Raises:
            BackendUnavailable: The server did not answer.
            BackendError: It refuses the graph.
        """
        if not job_id:
            return self._post(graph, str(uuid.uuid4()), name)
        attempt = 0
        while True:
            prompt_id = str(uuid.uuid5(_NAMESPACE, f"{job_id}/{number}/{attempt}"))
            if prompt_id in self._stopped:  # it may take a while to end, and ends without a picture
                attempt += 1
                continue
            state, ran = self._find(prompt_id)
            if state == "absent":
                return self._post(graph, prompt_id, name)
            if state != "failed" and _essence(ran) == _essence(graph.nodes):
                self._found.add(prompt_id)
                self._taken[prompt_id] = True
                name(prompt_id)
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
        began = asked = time.monotonic()
        polls, ended = 0, prompt_id in self._found
        while True:
            if ended or not socket.listens or time.monotonic() - asked > _UNASKED:
                if (entry := self._ended(prompt_id, told=ended)) is not None:
                    return entry
                asked = time.monotonic()
            pause = _POLLS[polls] if polls < len(_POLLS) else _SLOWEST_POLL
            polls += 1
            until = time.monotonic() + pause
            while (left := until - time.monotonic()) > 0:
                event = socket.next(left)
                if event is None or event.prompt_id != prompt_id:
                    continue
                if event.ended:
                    polls, ended = 0, True
                    break
                report(event)
            report(None)
            if time.monotonic() - began > self._timeout:
                raise JobTookTooLong(
                    f"{self._server} did not finish a job within {self._timeout:g} s;"
                    " it is taken back; raise the option timeout if it needs longer"
                )

    def stop(self, prompt_ids: Sequence[str]) -> None:
        """Take jobs out of the queue, or interrupt them; never anybody else's.

        A server that does not answer keeps them; nobody waits for that.
        """
        self._stopped.update(prompt_ids)
        with suppress(BackendError):
            arrived = [self._arrived(prompt_id) for prompt_id in prompt_ids]
            if there := [prompt_id for prompt_id in arrived if prompt_id is not None]:
                self._list().stop(there)

    def _arrived(self, prompt_id: str) -> str | None:
        """Return what the server calls a job; None for one whose post it never heard of.

        A post that was cut off may still be on its way, for as long as it takes to read it.
        """
        until = time.monotonic() + _ON_ITS_WAY
        while prompt_id not in self._taken:
            if called := self._list().posted_as(prompt_id):
                return called
            if time.monotonic() > until:
                return None
            time.sleep(_POLLS[1])
        return prompt_id if self._taken[prompt_id] else None

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

        return self._server.get("/view", params=query, explain=explain, follow=True).content

    # -- asking --------------------------------------------------------------------------

    def _post(self, graph: BoundGraph, prompt_id: str, name: Callable[[str], None]) -> str:
        name(prompt_id)
        body = {
            "prompt": graph.nodes,
            "client_id": self._client_id,
            "prompt_id": prompt_id,
            # Our name of it, for servers that give ids of their own; integrations/comfyui notes
            # what has none. The other says to ComfyUI who asks.
            "extra_data": {"safelight": prompt_id, "comfy_usage_source": "safelight"},
        }

        def refused(answer: Answer) -> str | None:
            if answer.status < 500 and answer.status != 429:
                self._taken[prompt_id] = False
            return refusal(answer, graph, self._listed)

        def post() -> Answer:
            return self._server.ask("POST", "/prompt", json=body, explain=refused)

        try:
            answer = post()
        except BackendUnavailable:
            # It may have been received: look before posting it again.
            there = self._find(prompt_id)[0] != "absent"
            called = prompt_id if there else self._list().posted_as(prompt_id)
            if called is None:
                answer = post()
            else:
                self._found.add(called)
                self._taken |= {prompt_id: False, called: True}
                name(called)
                return called
        accepted = self._server.json(answer)
        if not isinstance(accepted, dict) or not accepted.get("prompt_id"):
            raise BackendError(
                f"{self._server} answered /prompt without a prompt_id; is that the ComfyUI API?"
            )
        given = str(accepted["prompt_id"])
        self._taken |= {prompt_id: False, given: True}
        name(given)
        if faults := node_faults(accepted.get("node_errors"), graph, self._listed):
            self.stop([given])
            raise BackendError(f"{self._server} accepts the workflow only in part: {faults}")
        return given

    def _find(self, prompt_id: str) -> tuple[str, Any]:
        """Return how a job stands (``ended``, ``failed``, ``waiting``, ``absent``), its graph."""
        standing = self._list().standing(prompt_id)
        graph = standing.graph
        if standing.state == "waiting" and not graph:
            graph = self._list().waiting_graph(prompt_id)
            if graph is None:  # it has ended between the two questions
                standing = self._list().standing(prompt_id)
                graph = standing.graph
        failed = standing.entry is not None and self.fault(standing.entry)
        return "failed" if failed else standing.state, graph

    def _ended(self, prompt_id: str, *, told: bool) -> Job | None:
        """Return the history's entry of a job, None while it waits or runs.

        Args:
            prompt_id: Which.
            told: Whether a message said that it has ended.
        """
        standing = self._list().standing(prompt_id, over=told)
        if standing.state == "absent":
            raise BackendUnavailable(
                f"{self._server} has lost the job {prompt_id}: it is neither in the queue nor in"
                " the history; was the server restarted, or its queue cleared? Draw it again"
            )
        return standing.entry

    def _list(self) -> JobList:
        if self._jobs is None:
            self._jobs = job_list(self._server)
        return self._jobs


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
