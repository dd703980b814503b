"""Continuation: what earlier runs of a plan have left, for a run that goes on from there.

Only the same plan goes on: what it draws is in the run's record, and whatever differs is told.
While a plan is carried out it is held, so that no two runs draw the same places at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safelight.archive_layout import JOURNAL_NAME, run_folder, running_folder
from safelight.config import PipelineConfig
from safelight.durable_file import (
    TEMPORARY_SUFFIX,
    held_file,
    is_held,
    make_folder,
    read_regular_file,
)
from safelight.errors import PlanError, RecordError, SafelightError
from safelight.knobs import STAGES
from safelight.learning.learning_record import LearningRecord
from safelight.learning.snapshot import plain_snapshot, plain_values
from safelight.pipeline.drawn_before import DrawnBefore, outputs_are_whole
from safelight.pipeline.journal import VariantEntry, journal_of, read_journal
from safelight.pipeline.plan_account import plan_differences
from safelight.randomizer import RandomizerPlanResult

__all__ = [
    "Continuation",
    "PartLeft",
    "finished_entries",
    "held_plan",
    "holder_of",
    "run_that_goes_on",
    "stated_config",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLeft:
    """What earlier runs have left of one part of a plan.

    Attributes:
        drawn: Place in the plan -> what was drawn there, whole.
        missing: Places in the plan that are to be drawn, in order.
        only_failed: Whether nothing else is to be drawn. Otherwise a place whose picture turns
            out to be damaged is drawn as well.
        environment: What the continued run says of its engine.
    """

    drawn: Mapping[int, DrawnBefore] = field(repr=False)
    missing: tuple[int, ...]
    only_failed: bool = False
    environment: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What earlier runs of a plan have left, for a run that goes on from there.

    Attributes:
        run_id: The run that is continued.
        plan_id: Of all runs of the plan.
        plan_seed: What the plan was drawn with.
        plan_size: Variants in the whole plan.
        base_config: Stage -> knobs before anything was varied.
        plan: The account of the plan; empty where the records are older than accounts.
        wildcard_files: Wildcard -> SHA-256 of its file, for records without an account.
        choices: Place in the plan -> what was chosen there, for records without an account.
        environment: What the continued run says of its engine.
        records_of: Returns the records of all runs of one part, from 1; asked part by part,
            so that a plan of a million variants is never held.
        archive: The archive folder; journals say more than records.
        only_failed: Whether to try again what failed only, and leave what was never tried.
    """

    run_id: str
    plan_id: str
    plan_seed: int
    plan_size: int
    base_config: Mapping[str, Any]
    plan: Mapping[str, Any] = field(repr=False)
    wildcard_files: Mapping[str, str] = field(repr=False)
    choices: Mapping[int, Mapping[str, Any]] = field(repr=False)
    environment: Mapping[str, Any] = field(repr=False)
    records_of: Callable[[int], Sequence[LearningRecord]] = field(repr=False)
    archive: Path
    only_failed: bool = False

    @staticmethod
    def of(
        run: LearningRecord,
        records_of: Callable[[int], Sequence[LearningRecord]],
        archive: Path,
        *,
        plan: Mapping[str, Any] | None = None,
        only_failed: bool = False,
    ) -> Continuation:
        """Return what *run* and the other runs of its plan have left.

        Args:
            run: The run that is continued.
            records_of: As the attribute.
            archive: The archive folder.
            plan: The account of the whole plan, where *run* only names the run that holds it.
            only_failed: As the attribute.

        Raises:
            RecordError: The record does not say what its plan was drawn with.
        """
        if run.plan_seed is None or run.plan_id is None:
            raise RecordError(
                f"run {run.run_id} does not say how its plan was drawn; run its config anew:"
                f" what is there already is reused"
            )
        return Continuation(
            run_id=run.run_id,
            plan_id=run.plan_id,
            plan_seed=run.plan_seed,
            plan_size=run.randomizer_plan_size,
            base_config=run.base_config,
            plan=run.plan if plan is None else plan,
            wildcard_files=run.template.get("wildcard_files") or {},
            choices=dict(_choices(run)),
            environment=run.environment,
            records_of=records_of,
            archive=archive,
            only_failed=only_failed,
        )

    def differences(
        self, config: PipelineConfig, plan: RandomizerPlanResult, account: Mapping[str, Any]
    ) -> list[str]:
        """Return in which ways *plan* is another one than that of the run; empty for the same.

        Args:
            config: What *plan* was made of.
            plan: The plan that is to go on.
            account: Its account.
        """
        sentences = list(_other_knobs(self.base_config, plain_snapshot(config.to_mapping())))
        sentences += plan_differences(self.plan, account)
        if not self.plan:
            sentences += self._other_variants(plan)
        if not sentences and plan.seed != self.plan_seed:
            sentences.append(f"its seed is {plan.seed}, and was {self.plan_seed}")
        if not sentences and plan.plan_size != self.plan_size:
            sentences.append(f"it has {plan.plan_size:,} variants, and had {self.plan_size:,}")
        return sentences

    def _other_variants(self, plan: RandomizerPlanResult) -> Iterator[str]:
        """Yield what older records show of another plan: changed wildcards, or other choices."""
        now = plan.wildcard_files
        for name, digest in self.wildcard_files.items():
            if now.get(name) != digest:
                yield f"wildcard {name} {'has other content' if name in now else 'is gone'}"
        for place, chosen in self.choices.items():
            if place >= plan.plan_size:
                return
            chooses = plain_values(plan.variants[place].choices)
            if chooses != chosen:
                yield f"variant #{place} chooses {chooses}, and chose {dict(chosen)}"
                return

    def left(self, part: int, places: range) -> PartLeft:
        """Return what is left of *part*, which has these *places* of the plan.

        Raises:
            SafelightError: A record cannot be read.
        """
        drawn: dict[int, DrawnBefore] = {}
        failed: set[int] = set()
        for record in sorted(self.records_of(part), key=lambda run: run.timestamp):
            for place, entry, by in finished_entries(record, self.archive):
                if entry.failures:
                    failed.add(place)
                elif entry.outputs:
                    drawn[place] = DrawnBefore(
                        run_id=by,
                        config=entry.config,
                        outputs=entry.outputs,
                        identity=entry.identity,
                    )
        missing = [place for place in places if place not in drawn]
        if not missing:  # else whoever takes them over reads them anyway
            missing = [p for p in places if not outputs_are_whole(self.archive, drawn[p].outputs)]
        if self.only_failed:
            missing = [place for place in missing if place in failed]
        return PartLeft(
            drawn=drawn,
            missing=tuple(missing),
            only_failed=self.only_failed,
            environment=self.environment,
        )


def _choices(run: LearningRecord) -> Iterator[tuple[int, Mapping[str, Any]]]:
    about = run.template.get("variants")
    for number, variant in enumerate(about if isinstance(about, list) else []):
        if isinstance(variant, dict) and isinstance(variant.get("choices"), dict):
            yield int(variant.get("place", run.first_variant + number)), variant["choices"]


def _other_knobs(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for stage in dict.fromkeys((*before, *now)):
        first, second = before.get(stage, {}), now.get(stage, {})
        for knob in dict.fromkeys((*first, *second)):
            if first.get(knob) != second.get(knob):
                yield f"{stage}.{knob} is {second.get(knob)!r}, and was {first.get(knob)!r}"


@contextlib.contextmanager
def held_plan(archive: Path | None, plan_id: str, since: str) -> Iterator[None]:
    """Hold a plan for as long as it is carried out; nothing is held where nothing can be.

    Args:
        archive: The archive folder, or None.
        plan_id: The plan.
        since: When that began, for whoever comes later.

    Raises:
        PlanError: Somebody carries it out already; the message says who.
    """
    about = {"process": os.getpid(), "host": platform.node(), "since": since}
    with contextlib.ExitStack() as stack:
        if archive is not None:
            try:
                make_folder(running_folder(archive), root=archive)
                stack.enter_context(
                    held_file(_holding(archive, plan_id), json.dumps(about).encode())
                )
            except BlockingIOError as holder:
                raise PlanError(f"this plan goes on already{_who(str(holder))}") from None
            except OSError as error:
                _log.info("plan %s is not held: %s", plan_id, error)
        yield


def run_that_goes_on(archive: Path, run: str) -> str | None:
    """Return who carries out the run whose id begins with *run*; None when nobody does."""
    with contextlib.suppress(OSError):
        for marker in running_folder(archive).iterdir():
            with contextlib.suppress(SafelightError, OSError, ValueError):
                if marker.name.startswith(".") or not marker.name.startswith(run):
                    continue
                journal = journal_of(archive, marker)
                if is_held(journal):
                    plan_id = str(read_journal(journal)[0].get("plan_id", ""))
                    holder = ""
                    with contextlib.suppress(OSError):
                        said = read_regular_file(_holding(archive, plan_id), most=_LONGEST_HOLDER)
                        holder = said.decode("utf-8", "replace")
                    return f"run {marker.name} goes on{_who(holder)}"
    return None


_LONGEST_HOLDER = 4096


def holder_of(archive: Path, plan_id: str) -> dict[str, Any]:
    """Return ``process``, ``host`` and ``since`` of who carries out a plan; empty if not known."""
    try:
        said = json.loads(read_regular_file(_holding(archive, plan_id), most=_LONGEST_HOLDER))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _holding(archive: Path, plan_id: str) -> Path:
    return running_folder(archive) / f".plan-{plan_id}{TEMPORARY_SUFFIX}"


def _who(holder: str) -> str:
    """Return who holds a plan, in words, from what its file says."""
    try:
        about = json.loads(holder)
        who = f": process {about['process']} on {about['host']}, since {about['since']}"
    except (ValueError, KeyError, TypeError):
        who = ""
    return f"{who}; wait for its end, or stop it and go on from there"


def stated_config(record: LearningRecord, archive: Path) -> tuple[dict[str, Any], Path] | None:
    """Return the config that a run's journal carries, and the folder that it was read from.

    None when it carries none: the run was started without one, or its config holds a secret.

    Raises:
        RecordError: The journal is gone.
    """
    journal = archive / run_folder(record.timestamp, record.run_id) / JOURNAL_NAME
    note = read_journal(journal)[0].get("resume")
    if not isinstance(note, dict) or not isinstance(note.get("folder"), str):
        return None
    stated = note.get("config")
    try:
        config = json.loads(stated) if isinstance(stated, str) else stated
    except ValueError:
        return None
    return (config, Path(note["folder"])) if isinstance(config, dict) else None


def finished_entries(
    record: LearningRecord, archive: Path | None
) -> list[tuple[int, VariantEntry, str]]:
    """Return (place in the plan, what became of it, who drew it) for each variant of a run.

    Its journal says it best; where that is gone, the record does.
    """
    if archive is not None:
        journal = archive / run_folder(record.timestamp, record.run_id) / JOURNAL_NAME
        try:
            _, entries, _ = read_journal(journal)
        except RecordError:
            pass
        else:
            whole = [entry for entry in entries if entry.finished]
            return [
                (record.first_variant + e.position, e, e.drawn_by or record.run_id) for e in whole
            ]
    finished = []
    about = record.template.get("variants")
    variants = about if isinstance(about, list) else []
    for number, config in enumerate(record.variant_configs):
        variant = variants[number] if number < len(variants) else {}
        variant = variant if isinstance(variant, dict) else {}
        entry = VariantEntry(
            position=number,
            config={stage: dict(knobs) for stage, knobs in config.items()},
            outputs=tuple(o for o in record.outputs if o.variant == number),
            failures=tuple(f for f in record.failures if f.variant == number),
            identity=str(variant.get("identity") or ""),
        )
        place = variant.get("place", record.first_variant + number)
        finished.append((int(place), entry, str(variant.get("drawn_by") or record.run_id)))
    if record.status in ("cancelled", "interrupted"):
        # Those that were in hand were cut off between two stages, or two pictures of one.
        return [each for each in finished if each[1].failures or _is_whole(each[1])]
    return finished


def _is_whole(entry: VariantEntry) -> bool:
    """Return whether *entry* has all pictures: each stage draws its own of each one before it."""
    drawn, wanted = Counter(output.stage for output in entry.outputs), 1
    for stage in STAGES:
        if stage not in entry.config:
            continue
        size = entry.config[stage].get("batch_size")
        wanted *= size if type(size) is int and size > 0 else 1
        if drawn[stage] < wanted:
            return False
    return True
