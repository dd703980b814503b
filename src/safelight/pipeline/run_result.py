"""RunResult: how a run ended and what it left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safelight.learning.learning_record import LearningRecord
from safelight.pipeline.dispatch import WorkerShare
from safelight.pipeline.picture_saver import RunImage

__all__ = ["RunFailure", "RunResult", "joined", "joined_shares"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailure:
    """One variant that did not get through all its stages.

    Attributes:
        variant: Its place in the plan, from 0.
        label: What was chosen for it, or None.
        stage: The stage that failed.
        error: What went wrong, in a sentence.
    """

    variant: int
    label: str | None
    stage: str
    error: str


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
        learning_records: Every record, when a plan took several runs; else empty.
        recording_failures: How often recording went wrong; the log says how.
        recoverable: Whether the next command can still write a record that is not safe yet.
        plan_size: Variants in the whole plan.
        part: This is part *part* of *parts* of the plan, from 1.
        parts: Runs that the plan takes.
        reused: Variants that were drawn before and only taken over.
        workers: Who drew -> what each did.
    """

    run_id: str
    status: str
    images: tuple[RunImage, ...] = ()
    failures: tuple[RunFailure, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    total_seconds: float = 0.0
    error: str | None = None
    folder: Path | None = None
    learning_record: LearningRecord | None = None
    learning_records: tuple[LearningRecord, ...] = ()
    recording_failures: int = 0
    recoverable: bool = False
    plan_size: int = 0
    part: int = 1
    parts: int = 1
    reused: int = 0
    workers: Mapping[str, WorkerShare] = field(default_factory=dict)

    @property
    def records(self) -> tuple[LearningRecord, ...]:
        """Every record that the hooks were given, whether one run or several made them."""
        single = () if self.learning_record is None else (self.learning_record,)
        return self.learning_records or single


def joined(results: Sequence[RunResult]) -> RunResult:
    """Return the runs of one plan as one result, named after the last.

    Fewer runs than the plan takes means that it was cancelled between two of them; none at all,
    that nothing was missing.
    """
    if not results:
        return RunResult(run_id="", status="completed")
    if results[0].parts == 1:
        return results[0]
    last = results[-1]
    stages = dict.fromkeys(stage for result in results for stage in result.seconds)
    return RunResult(
        run_id=last.run_id,
        status=_joined_status([result.status for result in results], last.parts),
        images=tuple(image for result in results for image in result.images),
        failures=tuple(failure for result in results for failure in result.failures),
        warnings=tuple(dict.fromkeys(w for result in results for w in result.warnings)),
        seconds={stage: sum(r.seconds.get(stage, 0.0) for r in results) for stage in stages},
        total_seconds=sum(result.total_seconds for result in results),
        error=next((result.error for result in results if result.error), None),
        folder=last.folder,
        learning_record=last.learning_record,
        learning_records=tuple(record for result in results for record in result.records),
        recording_failures=sum(result.recording_failures for result in results),
        recoverable=all(result.recoverable for result in results),
        plan_size=last.plan_size,
        part=last.part,
        parts=last.parts,
        reused=sum(result.reused for result in results),
        workers=joined_shares(result.workers for result in results),
    )


def joined_shares(runs: Iterable[Mapping[str, WorkerShare]]) -> dict[str, WorkerShare]:
    """Return what each worker did in all of *runs* together."""
    whole: dict[str, WorkerShare] = {}
    for shares in runs:
        for name, share in shares.items():
            sum_ = whole.setdefault(name, WorkerShare())
            sum_.variants += share.variants
            sum_.pictures += share.pictures
            sum_.seconds += share.seconds
            sum_.lost_seconds += share.lost_seconds
            sum_.silences += share.silences
            sum_.left_out = share.left_out
    return whole


def _joined_status(statuses: Sequence[str], parts: int) -> str:
    if "cancelled" in statuses or len(statuses) < parts:
        return "cancelled"
    return statuses[0] if len(set(statuses)) == 1 else "partial"
