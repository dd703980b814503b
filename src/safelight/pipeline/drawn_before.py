"""What was drawn before: a variant's identity, and where an equal one is found.

Two variants are the same when every knob, every picture they start from, the engine and the
model that it takes by default are the same. The engine's version is compared beside it, because
some engines tell theirs only with their first picture: an unknown version differs from none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from safelight.archive_layout import JOURNAL_NAME, run_folder
from safelight.errors import RecordError
from safelight.learning.learning_record import ImageOutput, LearningRecord
from safelight.learning.snapshot import plain_values
from safelight.pipeline.backend import BackendDescription
from safelight.pipeline.input_files import FILE_KNOBS, InputFiles
from safelight.pipeline.journal import VariantEntry, read_journal

__all__ = [
    "Continuation",
    "DrawnBefore",
    "PartLeft",
    "PictureLibrary",
    "finished_entries",
    "outputs_are_whole",
    "stated_config",
    "variant_identity",
]

_MODEL_FACTS = ("model_sha256", "loaded_model")
"""What an engine's environment says of the model that it takes when none is asked for."""

_encoder = msgspec.json.Encoder(order="sorted")


def variant_identity(
    config: Mapping[Any, Mapping[str, Any]], engine: BackendDescription, files: InputFiles
) -> str:
    """Return what makes a variant the same as another one: 32 hex digits.

    Args:
        config: Stage -> knobs, fully decided.
        engine: Its name counts, and the model that it has loaded where *config* names none.
        files: Where the pictures that *config* names are; their content counts, not their name.

    Raises:
        StorageError: A picture cannot be read.
    """
    stages: dict[str, dict[str, Any]] = {}
    for stage, knobs in config.items():
        own = {name: value for name, value in knobs.items() if value is not None}
        stages[stage] = own | {n: files.sha256(n, knobs) for n in FILE_KNOBS if n in own}
    settings: dict[str, Any] = {"engine": engine.name, "stages": _canonical(plain_values(stages))}
    if not all("model" in knobs for stage, knobs in stages.items() if stage != "upscale"):
        facts = {name: engine.environment.get(name) for name in _MODEL_FACTS}
        settings["model"] = plain_values({k: v for k, v in facts.items() if v})
    return hashlib.sha256(_encoder.encode(settings)).hexdigest()[:32]


def _canonical(value: Any) -> Any:
    """Return *value* with whole floats as integers: a cfg_scale of 7 and of 7.0 are one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBefore:
    """A variant that some run has drawn, every stage of it.

    Attributes:
        run_id: The run that drew it.
        config: Stage -> effective knobs.
        outputs: Its pictures.
        identity: Of the variant; empty in accounts that are older than identities.
    """

    run_id: str
    config: Mapping[str, Mapping[str, Any]]
    outputs: tuple[ImageOutput, ...]
    identity: str = ""


class PictureLibrary(Protocol):
    """Knows what was drawn before; an archive is one."""

    def find(
        self, identities: Sequence[str], engine: BackendDescription
    ) -> Mapping[str, DrawnBefore]:
        """Return identity -> a variant that was drawn whole, for those that are known.

        Args:
            identities: What is looked for.
            engine: Its version must agree where both are known.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLeft:
    """What earlier runs have left of one part of a plan.

    Attributes:
        drawn: Place in the plan -> what was drawn there, whole.
        missing: Places in the plan that are to be drawn, in order.
        only_failed: Whether nothing else is to be drawn. Otherwise a place whose picture turns
            out to be of another variant, or damaged, is drawn as well.
    """

    drawn: Mapping[int, DrawnBefore] = field(repr=False)
    missing: tuple[int, ...]
    only_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What earlier runs of a plan have left, for a run that goes on from there.

    Attributes:
        run_id: The run that is continued.
        plan_id: Of all runs of the plan.
        plan_seed: What the plan was drawn with.
        plan_size: Variants in the whole plan.
        base_config: Stage -> knobs before anything was varied.
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
    records_of: Callable[[int], Sequence[LearningRecord]] = field(repr=False)
    archive: Path
    only_failed: bool = False

    @staticmethod
    def of(
        run: LearningRecord,
        records_of: Callable[[int], Sequence[LearningRecord]],
        archive: Path,
        *,
        only_failed: bool = False,
    ) -> Continuation:
        """Return what *run* and the other runs of its plan have left.

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
            records_of=records_of,
            archive=archive,
            only_failed=only_failed,
        )

    def left(self, part: int, places: range) -> PartLeft:
        """Return what is left of *part*, which has these *places* of the plan.

        Raises:
            SafelightError: A record cannot be read.
        """
        drawn: dict[int, DrawnBefore] = {}
        failed: set[int] = set()
        for record in sorted(self.records_of(part), key=lambda one: one.timestamp):
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
        if self.only_failed:
            missing = [place for place in missing if place in failed]
        return PartLeft(drawn=drawn, missing=tuple(missing), only_failed=self.only_failed)


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
    found = []
    about = record.template.get("variants")
    variants = about if isinstance(about, list) else []
    for number, config in enumerate(record.variant_configs):
        told = variants[number] if number < len(variants) else {}
        told = told if isinstance(told, dict) else {}
        entry = VariantEntry(
            position=number,
            config={stage: dict(knobs) for stage, knobs in config.items()},
            outputs=tuple(o for o in record.outputs if o.variant == number),
            failures=tuple(f for f in record.failures if f.variant == number),
            identity=str(told.get("identity") or ""),
        )
        place = told.get("place", record.first_variant + number)
        found.append((int(place), entry, str(told.get("drawn_by") or record.run_id)))
    if record.status in ("cancelled", "interrupted") and found and not found[-1][1].failures:
        last = found[-1]
        stages = {output.stage for output in last[1].outputs}
        if not set(last[1].config) <= stages:
            found.pop()  # cut off between two stages
    return found


def outputs_are_whole(archive: Path, outputs: Sequence[ImageOutput]) -> bool:
    """Return whether every one of *outputs* is in its file, byte for byte."""
    for output in outputs:
        if output.path is None:
            return False
        try:
            data = (archive / output.path).read_bytes()
        except OSError:
            return False
        if hashlib.sha256(data).hexdigest() != output.sha256:
            return False
    return bool(outputs)
