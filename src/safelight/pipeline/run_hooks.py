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
        writers: Sequence[LearningRecordSink],
        on_records: Sequence[Callable[[LearningRecord], object]],
        listeners: Sequence[ProgressCallback],
    ) -> None:
        self._writers = tuple({id(writer): writer for writer in writers}.values())
        self._on_records = tuple(on_records)
        self._listeners = list(listeners)
        self.failures = 0

    @property
    def wants_record(self) -> bool:
        """Whether anybody takes learning records."""
        return bool(self._writers or self._on_records)

    @property
    def has_writer(self) -> bool:
        """Whether records are written down."""
        return bool(self._writers)

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
        """Give the same *record* to writers and callbacks; return whether it is safe on disk."""
        written = True
        for writer in self._writers:
            failures_before = _failures_of(writer)
            taken = self._call(writer.write, record)
            missed = _failures_of(writer) - failures_before
            self.failures += missed
            written = written and taken and missed == 0
        for on_record in self._on_records:
            self._call(on_record, record)
        return written

    def _call(self, hook: Callable[[LearningRecord], object], record: LearningRecord) -> bool:
        try:
            hook(record)
        except Exception:  # noqa: BLE001 - recording must never break a run
            _log.exception("a learning record hook raised; the run is not affected")
            self.failures += 1
            return False
        return True


def _failures_of(writer: LearningRecordSink) -> int:
    failures = getattr(writer, "failures", 0)
    return failures if isinstance(failures, int) else 0
