"""RunQueue: the runs that were started from the page, and how they are doing."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from safelight.application.live_runs import LiveRun
from safelight.config import PipelineConfig
from safelight.controller import PipelineController, RunTicket
from safelight.errors import ControllerError, sentence_of
from safelight.learning.learning_record import utc_timestamp

__all__ = ["QueuedRun", "RunQueue", "live_state"]

_KEPT = 100
_NEWEST = 12
_LONGEST_REASON = 1000
_MOST_WAITING = 90
_MOST_TEXT = 8 * 2**20
"""Characters of the configs of all runs that wait or go on; in memory they take far more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRun:
    """One run that was asked for here.

    Attributes:
        number: Its name on this page.
        title: The config's name.
        plan_size: Variants that it makes.
        asked_at: UTC, ISO 8601.
        ticket: The controller's.
        size: Characters of its config.
    """

    number: int
    title: str
    plan_size: int
    asked_at: str
    ticket: RunTicket = field(repr=False)
    size: int = 0


class RunQueue:
    """Starts, watches and cancels runs through the controller.

    Attributes:
        controller: None where nothing can be run.
    """

    def __init__(self, controller: PipelineController | None) -> None:
        self.controller = controller
        self._runs: list[QueuedRun] = []
        self._ended: dict[int, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def start(self, config: PipelineConfig, plan_size: int) -> QueuedRun:
        """Start *config*, or queue it behind what runs.

        Raises:
            ControllerError: Nothing can be run here, or too many runs wait already.
        """
        if self.controller is None:
            raise ControllerError("this page has no engine; start it with: safelight serve")
        size = len(repr(config.stated))
        with self._lock:
            self._forget_ended()
            waiting = self.controller.queued
            if waiting >= _MOST_WAITING or sum(run.size for run in self._runs) + size > _MOST_TEXT:
                raise ControllerError(
                    f"{waiting} runs wait already; start this one when some of them have ended, or"
                    " cancel some"
                )
            run = QueuedRun(
                number=next(self._numbers),
                title=config.name or "unnamed config",
                plan_size=plan_size,
                asked_at=utc_timestamp(),
                ticket=self.controller.start(config),
                size=size,
            )
            self._runs = [*self._runs, run]
        return run

    def _forget_ended(self) -> None:
        """Keep of runs that have ended what is shown of them: their results name every picture."""
        for run in self._runs:
            if run.ticket.done:
                self._ended[run.number] = _state_of(run)
        self._runs = [run for run in self._runs if run.number not in self._ended]
        for number in sorted(self._ended)[: -_KEPT + len(self._runs)]:
            del self._ended[number]

    def cancel(self, number: int) -> bool:
        """Ask run *number* to stop; return whether there is such a run."""
        for run in self._runs:
            if run.number == number:
                run.ticket.cancel()
                return True
        return number in self._ended

    def preview(self) -> bytes | None:
        """Return a PNG of the picture that is being drawn, when the engine gives one."""
        return None if self.controller is None else self.controller.preview

    def state(self) -> dict[str, Any]:
        """Return everything that the page shows, in plain values."""
        if self.controller is None:
            return {"state": "none", "runs": [], "progress": None}
        progress = self.controller.progress
        with self._lock:
            self._forget_ended()
            waiting, runs = self._runs, [self._ended[number] for number in sorted(self._ended)]
        going = False
        for run in waiting:
            state = _state_of(run)
            if state["status"] == "waiting" and not going:
                going = True
                state["status"] = "stopping" if self.controller.state == "stopping" else "running"
            runs.append(state)
        now = None
        if progress is not None and going:
            now = {
                "run_id": progress.run_id, "event": progress.event, "variant": progress.variant,
                "variants": progress.variants, "label": progress.label, "stage": progress.stage,
                "step": progress.step, "steps": progress.steps, "message": progress.message,
                "preview": self.controller.preview is not None,
            }  # fmt: skip
        runs.sort(key=lambda state: state["number"], reverse=True)
        return {"state": self.controller.state, "runs": runs, "progress": now}


def live_state(runs: Sequence[LiveRun]) -> list[dict[str, Any]]:
    """Return what the page shows of runs that go on, whoever started them, in plain values."""
    return [
        {
            "run_id": run.run_id, "title": run.name or "unnamed config", "began": run.began,
            "engine": run.engine, "state": run.state, "variants": run.variants, "done": run.done,
            "pictures": run.pictures, "failed": run.failed,
            "last_failure": run.last_failure[:_LONGEST_REASON],
            "per_minute": None if run.per_minute is None else float(f"{run.per_minute:.3g}"),
            "seconds_left": None if run.seconds_left is None else round(run.seconds_left),
            "host": run.host, "process": run.process,
            "newest": [
                {"sha256": made.output.sha256, "label": made.entry.label or ""}
                for made in run.newest[:_NEWEST]
            ],
        }
        for run in runs
    ]  # fmt: skip


def _state_of(run: QueuedRun) -> dict[str, Any]:
    state: dict[str, Any] = {
        "number": run.number, "title": run.title, "plan_size": run.plan_size,
        "asked_at": run.asked_at, "status": "waiting", "error": None, "run_id": None,
        "failures": [],
    }  # fmt: skip
    if not run.ticket.done:
        return state
    try:
        result = run.ticket.result(0)
    except Exception as error:  # noqa: BLE001 - whatever ended the run is its reason
        return {**state, "status": "failed", "error": sentence_of(error)}
    return {
        **state, "status": result.status, "error": result.error, "run_id": result.run_id or None,
        "failures": [
            f"Picture {f.variant + 1}, {f.stage}: {f.error}" for f in result.failures[:20]
        ],
    }  # fmt: skip
