"""own_runs: executions that a tool tells of and that a run of the same archive had asked it for.

Most tools are told the name of a job, and leave ours out of their spools. SD.Next takes no names:
what it says of our jobs is known by the pixels of what it drew, or by prompt, seed and steps and no
other value in what else both tell, while a run went on. A run has a record of its own, so that such
a line needs none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from safelight.archive import Archive
from safelight.archive.running_runs import RunningRun, running_names
from safelight.archive_layout import JOURNAL_NAME, run_folder
from safelight.imports.picture_reader import read_told
from safelight.imports.spools import Execution
from safelight.imports.told_pictures import OF_LINES, told_texts
from safelight.sampler_names import SAMPLERS
from safelight.timestamps import epoch_seconds, utc_timestamp

__all__ = ["OwnRuns", "may_be_our_own"]

_WITHOUT_NAMES = frozenset({"sdnext"})
"""Tools that cannot be told what a job is called."""

_LONGEST_RUN = 7 * 24 * 3600
_SLACK = 5.0
"""Seconds by which clocks, and the end of a job there and here, may differ."""

_SAME = ("prompt", "seed", "steps")
_NOT_OTHERS = ("negative_prompt", "cfg_scale", "width", "height")
"""Knobs that are no others where both tell them: somebody else may draw the like in its page."""


def may_be_our_own(execution: Execution) -> bool:
    """Return whether a run of ours may have asked for *execution*: it has left no file."""
    if any("path" in output for output in execution.outputs):
        return False
    return execution.tool in _WITHOUT_NAMES or any(
        "pixel_sha256" in output for output in execution.outputs
    )


@dataclass(frozen=True, slots=True)
class _OwnRun:
    """A run of the archive: when it went on, and what it drew and was asked for."""

    began: float
    ended: float
    pixels: frozenset[str]
    configs: Sequence[Mapping[str, Any]]

    def asked_for(self, execution: Execution) -> bool:
        """Return whether *execution* is one of this run's jobs."""
        began, ended = (epoch_seconds(moment) for moment in (execution.began, execution.ended))
        if not (self.began - _SLACK <= began and ended <= self.ended + _SLACK):
            return False
        told = [output.get("pixel_sha256") for output in execution.outputs]
        if told and all(pixels in self.pixels for pixels in told):
            return True
        return execution.tool in _WITHOUT_NAMES and all(
            self._was_asked(execution, place) for place in range(max(1, len(execution.outputs)))
        )

    def _was_asked(self, execution: Execution, place: int) -> bool:
        for knobs in read_told(told_texts(execution, place)).config.values():
            if None not in [knobs.get(name) for name in _SAME] and any(
                _is_alike(knobs, stage, drawn=execution.status == "completed")
                for config in self.configs
                for stage in config.values()
            ):
                return True
        return False


def _is_alike(told: Mapping[str, Any], ours: Mapping[str, Any], *, drawn: bool) -> bool:
    """Return whether a job that *told* tells of may be that of a stage of ours."""
    samplers = [knobs.get("sampler") for knobs in (told, ours)]
    if drawn and all(name in SAMPLERS for name in samplers) and samplers[0] != samplers[1]:
        return False  # what failed may have been asked for by the name of one that is nearly it
    return all(told.get(name) == ours.get(name) for name in _SAME) and all(
        told[name] == ours[name] for name in _NOT_OTHERS if name in told and name in ours
    )


class OwnRuns:
    """The runs of an archive, ended and going on.

    Args:
        archive: Whose.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    @property
    def go_on(self) -> bool:
        """Whether one goes on now, or was killed and not recovered yet."""
        return bool(running_names(self._archive.path))

    def asked_for(self, executions: Sequence[Execution]) -> list[Execution]:
        """Return those of *executions* that runs of the archive had asked for.

        Raises:
            ArchiveError: The archive cannot be asked.
        """
        doubtful = [execution for execution in executions if may_be_our_own(execution)]
        if not doubtful:
            return []
        first = min(epoch_seconds(execution.began) for execution in doubtful)
        last = max(epoch_seconds(execution.ended) for execution in doubtful)
        runs = [*self._going_on(), *self._ended(first, last)]
        return [e for e in doubtful if any(run.asked_for(e) for run in runs)]

    def _going_on(self) -> Iterator[_OwnRun]:
        for run_id in running_names(self._archive.path):
            run = RunningRun(self._archive.path, run_id)
            outputs, configs, began = set[str](), list[Mapping[str, Any]](), ""
            while (news := run.news()) is not None:
                outputs |= {output.pixel_sha256 for output in news.outputs}
                configs += news.variant_configs
                began = news.timestamp
                if not run.lags:
                    break
            if configs:
                yield _OwnRun(epoch_seconds(began), time.time(), frozenset(outputs), configs)

    def _ended(self, first: float, last: float) -> Iterator[_OwnRun]:
        """Yield the runs that have ended and went on at some time from *first* to *last*."""
        span = [
            utc_timestamp(datetime.fromtimestamp(max(0.0, moment), UTC))
            for moment in (first - _LONGEST_RUN, last + _SLACK)
        ]
        rows = self._archive.rows(
            "SELECT run_id, timestamp FROM runs WHERE status <> 'imported'"
            " AND timestamp BETWEEN ? AND ? AND NOT starts_with(run_id, ?)",
            [*span, OF_LINES], rated=False,
        )  # fmt: skip
        ends = {run_id: self._end_of(run_id, timestamp) for run_id, timestamp in rows}
        then = [run_id for run_id, end in ends.items() if end is None or end >= first - _SLACK]
        for record in self._archive.records(then):
            began = epoch_seconds(record.timestamp)
            end = ends[record.run_id]
            yield _OwnRun(
                began, began + sum(record.seconds.values()) if end is None else end,
                frozenset(output.pixel_sha256 for output in record.outputs),
                list(record.variant_configs),
            )  # fmt: skip

    def _end_of(self, run_id: str, timestamp: str) -> float | None:
        """Return when a run's journal was written last; None where it is not there any more."""
        try:
            folder = self._archive.path / run_folder(timestamp, run_id)
            return (folder / JOURNAL_NAME).stat().st_mtime
        except OSError:
            return None
