"""RunHooks: everybody who wants to hear of a run; none of them can disturb it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from safelight.learning.learning_record import LearningRecord
from safelight.pipeline.progress import ProgressCallback, RunProgress

__all__ = ["LearningRecordSink", "RunHooks"]

_log = logging.getLogger(__name__)


class LearningRecordSink(Protocol):
    """Takes learning records; :class:`~safelight.learning.LearningRecordWriter` is one."""

    def write(self, record: LearningRecord) -> None:
        """Take *record*; whatever this raises is logged and changes nothing."""
        ...


class RunHooks:
    """Everybody who wants to hear of a run; none of them can disturb it.

    Attributes:
        failures: How often recording went wrong.
    """

    def __init__(
        self,
        writer: LearningRecordSink | None,
        on_record: Callable[[LearningRecord], object] | None,
        listeners: Sequence[ProgressCallback],
    ) -> None:
        self._writer = writer
        self._on_record = on_record
        self._listeners = list(listeners)
        self.failures = 0

    @property
    def wants_record(self) -> bool:
        """Whether anybody takes learning records."""
        return self._writer is not None or self._on_record is not None

    @property
    def has_writer(self) -> bool:
        """Whether records are written down."""
        return self._writer is not None

    @property
    def wants_progress(self) -> bool:
        """Whether anybody listens to progress."""
        return bool(self._listeners)

    def progress(self, progress: RunProgress) -> None:
        """Tell every listener; one that raises is logged and told no more."""
        for listener in list(self._listeners):
            try:
                listener(progress)
            except Exception:  # noqa: BLE001 - a listener must not disturb the run
                _log.exception("a progress callback raised and is not called again")
                self._listeners.remove(listener)

    def record(self, record: LearningRecord) -> bool:
        """Give the same *record* to writer and callback; return whether it is safe on disk."""
        written = True
        if self._writer is not None:
            failures_before = self._writer_failures()
            written = self._call(self._writer.write, record)
            missed = self._writer_failures() - failures_before
            self.failures += missed
            written = written and missed == 0
        if self._on_record is not None:
            self._call(self._on_record, record)
        return written

    def _call(self, hook: Callable[[LearningRecord], object], record: LearningRecord) -> bool:
        try:
            hook(record)
        except Exception:  # noqa: BLE001 - recording must never break a run
            _log.exception("a learning record hook raised; the run is not affected")
            self.failures += 1
            return False
        return True

    def _writer_failures(self) -> int:
        failures = getattr(self._writer, "failures", 0)
        return failures if isinstance(failures, int) else 0
