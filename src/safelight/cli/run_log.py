"""RunLog: what a run does, as JSON lines on standard error, for machines that watch.

Every line is an object with ``time`` (UTC) and ``event``: ``variant``, ``failure`` and ``retry``
as they happen, ``run`` when a run has ended, and ``log`` for what the program's logger says.
A ``variant`` is told when its pictures and its journal line are safe on the disk; when only its
pictures are, because the disk is full, ``recorded`` is false.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from safelight.cli.terminal import say_text
from safelight.learning.learning_record import utc_timestamp
from safelight.pipeline import RunProgress, RunResult

__all__ = ["RunLog", "worker_shares"]


class RunLog(logging.Handler):
    """Writes the lines; a progress view, and a context manager around a run."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._logger = logging.getLogger("safelight")
        self._level = self._logger.level

    def __call__(self, progress: RunProgress) -> None:
        """Tell of *progress*, unless it is a mere step."""
        if progress.event == "step":
            return
        details = {"stage": progress.stage, "message": progress.message, "worker": progress.worker}
        self.write_event(
            progress.event,
            run_id=progress.run_id,
            variant=progress.variant - 1,
            label=progress.label,
            **{name: value for name, value in details.items() if value},
            **({} if progress.recorded else {"recorded": False}),
        )

    def ended(self, result: RunResult) -> None:
        """Tell how a run ended."""
        seconds = max(result.total_seconds, 1e-9)
        self.write_event(
            "run",
            run_id=result.run_id,
            status=result.status,
            error=result.error,
            pictures=len(result.images),
            reused=result.reused,
            failures=len(result.failures),
            seconds=round(result.total_seconds, 3),
            pictures_per_second=round(len(result.images) / seconds, 3),
            workers=worker_shares(result),
            recording_failures=result.recording_failures,
        )

    def write_event(self, event: str, **details: Any) -> None:
        """Write one line; a standard error that is gone must not end a run."""
        line = json.dumps(
            {"time": utc_timestamp(), "event": event, **details}, ensure_ascii=False, default=str
        )
        with suppress(OSError, ValueError):
            say_text(line, err=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write what the program's logger says."""
        message = record.getMessage()
        self.write_event("log", level=record.levelname.lower(), logger=record.name, message=message)

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        return self

    def __exit__(self, *details: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)
        self._logger.propagate = True


def worker_shares(result: RunResult) -> Mapping[str, Mapping[str, Any]]:
    """Return worker -> what it did, plain values."""
    return {
        name: {
            "variants": share.variants,
            "pictures": share.pictures,
            "seconds": round(share.seconds, 3),
            "pictures_per_second": round(share.pictures / share.seconds, 3) if share.seconds else 0,
            "lost_seconds": round(share.lost_seconds, 3),
            "silences": share.silences,
            **({"left_out": share.left_out} if share.left_out else {}),
        }
        for name, share in result.workers.items()
    }
