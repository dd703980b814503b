"""jobs: one POST that takes long, watched from beside it, and interrupted only when it is ours.

A server of this family answers when the picture is done, so the POST waits in a thread of its
own; a second one asks how far it is. The caller's thread gets both and calls *on_step*. To
interrupt is global there: whatever runs is stopped. So a job counts as ours only if the server
says so by its task id, or if nothing ran when it was posted and what runs now is the first job
that was seen since, of a length that ours can have.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import httpx

from safelight.backends.engine_server import Answer, EngineServer
from safelight.backends.server_group import NotBegun
from safelight.backends.webui.dialects import Abilities
from safelight.backends.webui.refusals import refusal
from safelight.errors import BackendError, BackendUnavailable, ImageError
from safelight.pipeline.backend import StepCallback
from safelight.pipeline.images import as_png

__all__ = ["Job"]

_FIRST_LOOK = 0.25
"""Seconds until the server is first asked how far it is; doubled once."""
_PATIENCE = 30.0
"""Seconds that an interrupted job may take to come back."""
_QUICK = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What ``/sdapi/v1/progress`` says."""

    job: str = ""
    key: str = ""
    interrupted: bool = False
    step: int = 0
    steps: int = 0
    preview: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    step: int
    steps: int
    preview: bytes | None


class Job:
    """One request on its way through one server.

    Args:
        server: Where it goes.
        abilities: What that server has.
        path: From the server's root.
        body: What is posted.
        task_id: Names the job there, where it can be named.
        longest: Most steps that one of its passes may have; 0 when unknown.
        timeout: Seconds it may take.
        previews: Whether to fetch half-done pictures.
    """

    def __init__(
        self,
        server: EngineServer,
        abilities: Abilities,
        *,
        path: str,
        body: dict[str, Any],
        task_id: str = "",
        longest: int = 0,
        timeout: float = 600.0,
        previews: bool = True,
    ) -> None:
        self._server, self._abilities = server, abilities
        self._path, self._body, self._task_id = path, body, task_id
        self._longest, self._timeout, self._previews = longest, timeout, previews
        self._events: SimpleQueue[_Step | Answer | BaseException] = SimpleQueue()
        self._finished = threading.Event()
        self._idle_before = False
        self._key = ""
        self._cut_short = False
        self._left = False
        self._status = 0
        self._last = (0, 1)

    @property
    def last_step(self) -> tuple[int, int]:
        """The last (step, steps) that was reported; (0, 1) when none was."""
        return self._last

    def carry_out(self, on_step: StepCallback) -> Answer:
        """Post the job, report its steps, and return the answer.

        Raises:
            NotBegun: The server did not take the job.
            BackendUnavailable: It fell silent; the message says what is known of the job.
            BackendError: It refused.
            GenerationCancelled: *on_step* asked to stop; the job was interrupted if it was ours.
        """
        if self._abilities.has_progress:
            self._idle_before = not self._look_before().job
        self._start(self._post)
        if self._abilities.has_progress:
            self._start(self._watch)
        deadline = time.monotonic() + self._timeout + _QUICK
        try:
            while True:
                event = self._next_event(deadline)
                if not isinstance(event, _Step):
                    break
                self._report(event, on_step)
        except BaseException as stop:
            self._left = True
            stop.add_note(self._stop())
            raise
        if isinstance(event, Answer):
            self._refuse_if_cut_short(event)
            return event
        raise self._explained(event) from event.__cause__

    def _start(self, work: Any) -> None:
        threading.Thread(target=work, name=f"safelight {work.__name__}", daemon=True).start()

    def _next_event(self, deadline: float) -> _Step | Answer | BaseException:
        try:
            return self._events.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            late = BackendUnavailable(f"{self._server} did not answer {self._path} in time")
            late.__cause__ = httpx.ReadTimeout("the answer trickles in too slowly")
            return late

    def _report(self, event: _Step, on_step: StepCallback) -> None:
        before, of = self._last
        steps = max(event.steps, of, event.step)
        step = max(event.step, before)
        if step < 1 or (step == before and event.preview is None):
            return
        self._last = (step, steps)
        on_step(step, steps, event.preview)

    def _post(self) -> None:
        try:
            answer: Answer | BaseException = self._server.ask(
                "POST", self._path, json=self._body, timeout=self._timeout, explain=self._refusal
            )
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            answer = error
        self._finished.set()
        self._events.put(answer)

    def _refusal(self, answer: Answer) -> str | None:
        self._status = answer.status
        return refusal(answer)

    def _refuse_if_cut_short(self, answer: Answer) -> None:
        """An interrupted job comes back with 200, half-done, and says nothing of it."""
        if self._abilities.has_progress and not self._cut_short:
            stamp = re.search(rb'job_timestamp\\?": *\\?"(\w+)', answer.content[-65536:])
            try:
                state = self._look(preview=False)
            except BackendError:
                return
            same = stamp is not None and state.key == stamp[1].decode()
            self._cut_short = state.interrupted and same
        if self._cut_short:
            raise BackendUnavailable(
                f"{self._server}: another client interrupted the job, so its picture is half-done"
                " and was thrown away; draw it again"
            )

    def _watch(self) -> None:
        pause, shown = _FIRST_LOOK, b""
        while not self._finished.wait(pause) and not self._left:
            pause = 2 * _FIRST_LOOK
            try:
                state = self._look(preview=self._previews)
                ours = self._is_ours(state)
            except BackendError:
                continue  # busy with drawing; the POST decides
            if not ours:
                continue
            self._cut_short = self._cut_short or state.interrupted
            fresh = state.preview if state.preview != shown else None
            shown = state.preview or shown
            self._events.put(_Step(step=state.step, steps=state.steps, preview=fresh))

    def _look_before(self) -> _State:
        try:
            return self._look(preview=False)
        except BackendUnavailable as error:
            raise NotBegun(str(error)) from error.__cause__

    def _look(self, *, preview: bool) -> _State:
        params = {"skip_current_image": "false" if preview else "true"}
        answer = self._server.ask("GET", "/sdapi/v1/progress", params=params, timeout=_QUICK)
        body = self._server.json(answer)
        state = body.get("state") if isinstance(body, dict) else None
        if not isinstance(state, dict):
            raise BackendError(f"{self._server} says nothing of its progress")
        steps, jobs = _count(state.get("sampling_steps")), max(1, _count(state.get("job_count")))
        done = min(_count(state.get("job_no")), jobs - 1)
        return _State(
            job=str(state.get("job") or ""),
            key=str(state.get("job_timestamp") or ""),
            interrupted=state.get("interrupted") is True,
            step=min(done * steps + _count(state.get("sampling_step")), jobs * steps),
            steps=jobs * steps,
            preview=_png(body.get("current_image")) if preview else None,
        )

    def _is_ours(self, state: _State) -> bool:
        if not self._idle_before and self._abilities.has_tasks:
            return self._task() == "active"
        if not self._idle_before or not state.job:
            return False
        self._key = self._key or state.key
        fits = not self._longest or state.steps <= 2 * (2 * self._longest + 2)
        return state.key == self._key and fits

    def _task(self) -> str:
        """Return what the server knows of our task id: active, queued, completed or nothing."""
        question = {"id_task": self._task_id, "id_live_preview": -1, "live_preview": False}
        answer = self._server.ask("POST", "/internal/progress", json=question, timeout=_QUICK)
        body = self._server.json(answer)
        flags = ("active", "queued", "completed")
        return next((f for f in flags if isinstance(body, dict) and body.get(f) is True), "")

    def _stop(self, *, given_up: bool = False) -> str:
        """Interrupt the job if it is ours; return what became of it, a whole sentence.

        Args:
            given_up: Nobody waits for the answer any more, so its coming tells nothing.
        """
        if not self._abilities.has_progress:
            return f"{self._server} cannot be interrupted: it draws the picture to its end."
        until = time.monotonic() + 2.0
        while given_up or not self._finished.is_set():
            try:
                if self._runs_now():
                    self._server.ask("POST", "/sdapi/v1/interrupt", timeout=_QUICK)
                    self._finished.wait(_PATIENCE)
                    return f"The job on {self._server} was interrupted."
            except BackendError as error:
                return f"The job could not be interrupted: {error}."
            if time.monotonic() > until:
                return (
                    f"{self._server} was not interrupted: it draws something that may be"
                    " another client's."
                )
            time.sleep(0.1)
        return f"The job on {self._server} had ended."

    def _runs_now(self) -> bool:
        task = self._task() if self._abilities.has_tasks else ""
        return task == "active" if task else self._is_ours(self._look(preview=False))

    def _explained(self, error: BaseException) -> BaseException:
        """Return *error* with what a look at the server says of the job."""
        cause = error.__cause__
        if not isinstance(error, BackendUnavailable):
            return error
        if isinstance(cause, httpx.ReadTimeout):
            return BackendUnavailable(
                f"{self._server} drew for longer than timeout = {self._timeout:g} s, which the"
                f" backend's table sets. {self._stop(given_up=True)}"
            )
        if isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout)) or self._status == 503:
            return NotBegun(str(error))
        return BackendUnavailable(f"{error}; {self._afterwards()}")

    def _afterwards(self) -> str:
        again = "a picture that was under way cannot be fetched over this interface"
        try:
            if not self._abilities.has_progress:
                self._server.ask("GET", "/sdapi/v1/options", timeout=_QUICK)
                return f"it answers again, and may still be drawing; {again}"
            task = self._task() if self._abilities.has_tasks else ""
            if task == "active":  # what is drawn in vain keeps the next try waiting
                return f"it drew on, and {again}. {self._stop(given_up=True)}"
            if task == "queued":
                return f"the job waits in its queue and will be drawn, but {again}"
            if task == "completed":
                return "it has finished the job, but gave its picture out in the lost answer only"
            state = self._look(preview=False)
        except BackendUnavailable:
            return "now it does not answer at all, so the job ended with it; start it again"
        except BackendError as error:
            return f"what became of the job is unknown ({error})"
        if not state.job:
            return (
                "it answers again and draws nothing, so the job is gone; drawing it again is safe"
            )
        return (
            f"it still draws (step {state.step} of {state.steps}), perhaps this very job; {again}"
        )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _png(image: Any) -> bytes | None:
    """Return a half-done picture as PNG; nothing where there is none, or a damaged one."""
    if not isinstance(image, str) or not image:
        return None
    try:
        data = base64.b64decode(image.rpartition(",")[2], validate=True)
        return data if data.startswith(b"\x89PNG") else as_png(data)[0]
    except (ValueError, ImageError):
        return None
