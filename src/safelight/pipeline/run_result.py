"""RunResult: how a run ended and what it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safelight.learning.learning_record import LearningRecord, VariantFailure
from safelight.pipeline.picture_saver import RunImage

__all__ = ["RunResult", "joined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended and what it left.

    Attributes:
        run_id: Unique name of the run.
        status: ``completed``, ``partial`` (some variants failed), ``failed`` (none got
            through) or ``cancelled``.
        images: Every picture of every stage, in order.
        failures: Variants that failed, with their stage and error.
        warnings: What the user should know, each once.
        seconds: Stage -> seconds in the engine.
        total_seconds: From start to end.
        error: Why the run as a whole ended early, or None.
        folder: Where the pictures are; None when the runner has no archive folder.
        learning_record: The record that the hooks were given; None without hooks.
        recording_failures: How often recording went wrong; the log says how.
        plan_size: Variants in the whole plan.
    """

    run_id: str
    status: str
    images: tuple[RunImage, ...] = ()
    failures: tuple[VariantFailure, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    total_seconds: float = 0.0
    error: str | None = None
    folder: Path | None = None
    learning_record: LearningRecord | None = None
    recording_failures: int = 0
    plan_size: int = 0


def joined(results: Sequence[RunResult]) -> RunResult:
    """Return the runs of one plan as one result, named after the last."""
    last = results[-1]
    stages = dict.fromkeys(stage for result in results for stage in result.seconds)
    return RunResult(
        run_id=last.run_id,
        status=_joined_status([result.status for result in results]),
        images=tuple(image for result in results for image in result.images),
        failures=tuple(failure for result in results for failure in result.failures),
        warnings=tuple(dict.fromkeys(w for result in results for w in result.warnings)),
        seconds={stage: sum(r.seconds.get(stage, 0.0) for r in results) for stage in stages},
        total_seconds=sum(result.total_seconds for result in results),
        error=next((result.error for result in results if result.error), None),
        folder=last.folder,
        learning_record=last.learning_record,
        recording_failures=sum(result.recording_failures for result in results),
        plan_size=last.plan_size,
    )


def _joined_status(statuses: Sequence[str]) -> str:
    if "cancelled" in statuses:
        return "cancelled"
    return statuses[0] if len(set(statuses)) == 1 else "partial"
