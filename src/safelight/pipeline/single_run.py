"""SingleRun: one run, from its first variant to its learning record.

The engine never waits for the disk: finished pictures go to a saving thread, which writes
them whole, flushes them, and only then adds the variant's line to the journal. At most
:data:`_BACKLOG` variants are on their way, so memory stays flat.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from safelight.archive_layout import run_folder
from safelight.config import PipelineConfig
from safelight.durable_file import make_folder
from safelight.errors import (
    BackendUnavailable,
    GenerationCancelled,
    SafelightError,
    StorageError,
    sentence_of,
)
from safelight.knobs import Stage
from safelight.learning.learning_record import SCHEMA, ImageOutput, LearningRecord, new_run_id
from safelight.learning.snapshot import plain_snapshot
from safelight.picture_names import PictureNames
from safelight.pipeline.backend import BackendDescription, EngineSetup
from safelight.pipeline.continuation import PartLeft
from safelight.pipeline.dispatch import VariantQueue, WorkerShare, dispatch
from safelight.pipeline.drawn_before import DrawnBefore, PictureLibrary, outputs_are_whole
from safelight.pipeline.engine_pool import DrawingJob, EnginePool, TellsSetups
from safelight.pipeline.identity import Identities, named_files, setup_differences
from safelight.pipeline.input_files import InputFiles
from safelight.pipeline.journal import RunJournal, VariantEntry, fold, seconds_per_stage
from safelight.pipeline.picture_saver import DrawnVariant, PictureSaver, RunImage
from safelight.pipeline.progress import CancelToken, RunProgress
from safelight.pipeline.retry import NEVER, RetryPolicy
from safelight.pipeline.run_hooks import RunHooks
from safelight.pipeline.run_result import RunFailure, RunResult
from safelight.pipeline.variant_drawer import Step
from safelight.randomizer import RandomizerPlanResult, Variant
from safelight.version import __version__

__all__ = ["RunEnvironment", "RunSpec", "SingleRun"]

_BACKLOG = 4
"""Variants that may wait for the disk at once."""

_WEIGHTS = (".model", ".vae")
"""Knobs whose change makes an engine load something large."""

_LONGEST_FACT = 500
"""Characters of JSON."""

_log = logging.getLogger(__name__)
_Saved = tuple[VariantEntry, tuple[RunImage, ...], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a run is: a stretch of a plan.

    Attributes:
        config: What the user asked for.
        plan: What it amounts to.
        places: The variants of the plan that are this run's.
        whole: ``plan_id``, ``part`` and ``parts``.
        timestamp: When the run begins, UTC.
        continues: The run that this one goes on from.
        left: What earlier runs of the plan have left.
        resume: What it takes to go on with the plan when only the journal is left.
        account: Of the plan, or the name of the run that has it.
    """

    config: PipelineConfig
    plan: RandomizerPlanResult
    places: range
    whole: Mapping[str, Any]
    timestamp: str
    continues: str | None = None
    left: PartLeft | None = None
    resume: Mapping[str, Any] | None = None
    account: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnvironment:
    """Where and how runs are carried out; the same for every part of a plan.

    Attributes:
        pool: Where variants are drawn.
        archive: The archive folder, or None.
        cancel: Obeyed between and within stages.
        strict: Whether a picture that was made otherwise than asked for fails its variant.
        retry: What to do when an engine does not answer.
        library: What was drawn before and need not be drawn again.
    """

    pool: EnginePool
    archive: Path | None
    cancel: CancelToken
    strict: bool = False
    retry: RetryPolicy = NEVER
    library: PictureLibrary | None = None


class SingleRun:
    """One run, carried out.

    Args:
        spec: What it is.
        environment: Where, and how.
        hooks: Who wants to hear of it.
    """

    def __init__(self, spec: RunSpec, environment: RunEnvironment, hooks: RunHooks) -> None:
        self._spec, self._environment, self._hooks = spec, environment, hooks
        self._pool, self._archive = environment.pool, environment.archive
        self._variants: dict[int, Variant] = {}
        self._engine: BackendDescription | None = None
        self._files = InputFiles(spec.config.folder, files=spec.config.files)
        self._identities: Identities | None = None
        self._facts: dict[str, Any] = {}
        self._shares: dict[str, WorkerShare] = {}
        self._reused = 0
        self._twins = 0
        self._drawn_already: dict[str, VariantEntry] = {}
        self._settings_of: dict[int, str] = {}
        self._run_id = new_run_id()
        self._journal = RunJournal(self._header())
        self._folder: Path | None = None
        self._images: list[RunImage] = []
        self._waiting: deque[Future[_Saved]] = deque()
        self._unsafe = False

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self._run_id

    def carry_out(self) -> RunResult:
        """Run to the end, whatever it is, and return how it ended.

        Raises:
            BaseException: Only what no run can survive (KeyboardInterrupt, SystemExit); the
                record is written first.
        """
        began = time.perf_counter()
        status, error = "", None
        try:
            self._describe()
            self._identify()
            with closing(self._open_folder()) as saver:
                self._draw_all(saver)
            self._describe_again()
        except GenerationCancelled:
            status = "cancelled"
        except BackendUnavailable as problem:
            drawn = any(not entry.failures for entry in self._journal.entries)
            status, error = "partial" if drawn else "failed", sentence_of(problem)
        except SafelightError as problem:
            status, error = "failed", sentence_of(problem)
        except Exception as problem:  # noqa: BLE001 - logged, and told by the record
            _log.exception("run %s ended early", self._run_id)
            status, error = "failed", sentence_of(problem)
        except BaseException as problem:
            self._finish("cancelled", type(problem).__name__)
            raise
        status = status or self._status()
        record = self._finish(status, error)
        return self._result(status, error, record, time.perf_counter() - began)

    # -- what the run is -----------------------------------------------------------------

    def _header(self) -> dict[str, Any]:
        plan = self._spec.plan
        header: dict[str, Any] = plain_snapshot(
            {
                "schema": SCHEMA,
                "run_id": self._run_id,
                "timestamp": self._spec.timestamp,
                "name": self._spec.config.name,
                "base_config": self._spec.config.to_mapping(),
                "randomizer_mode": plan.mode,
                "randomizer_plan_size": plan.plan_size,
                "plan_seed": plan.seed,
                "first_variant": self._spec.places.start,
                "warnings": list(plan.warnings),
                "backend": {"name": self._pool.name},
                "metadata": self._spec.config.metadata,
                "plan": self._spec.account,
                **self._spec.whole,
            }
        )
        if self._spec.resume is not None:
            header["resume"] = self._spec.resume
        return header

    def _describe(self) -> None:
        """Add to the header what is only known once engine and plan are asked."""
        self._engine = self._pool.describe()
        self._describe_in_header(self._engine)

    def _describe_in_header(self, description: BackendDescription) -> None:
        template: dict[str, Any] = {"wildcard_files": dict(self._spec.plan.wildcard_files)}
        if self._spec.continues is not None:
            template["continues"] = self._spec.continues
        self._journal.header |= plain_snapshot(
            {
                "backend": {"name": description.name, "version": description.version},
                "environment": {
                    **description.environment,
                    **self._facts,
                    "safelight": __version__,
                    "python": platform.python_version(),
                    "platform": f"{platform.system()} {platform.machine()}",
                },
                "template": template,
            }
        )

    def _identify(self) -> None:
        """Find out what pictures depend on besides knobs, for telling what was drawn before."""
        assert self._engine is not None
        setups = self._ask_setups()
        self._identities = Identities(self._engine, setups, self._ask_setups, self._files)
        self._facts = _recorded_facts(setups)
        self._describe_in_header(self._engine)
        for difference in setup_differences(setups):
            self._warn(f"the engines of the pool differ: {difference}")
        for change in self._changes():
            self._warn(f"the engine is not as it was for run {self._spec.continues}: {change}")
        wanted = self._environment.library is not None and self._archive is not None
        if wanted and (self._identities.untold or not setups):
            what = ", ".join(self._identities.untold) or "what its pictures depend on"
            self._warn(
                f"nothing that was drawn before is reused: {self._pool.name} does not tell {what}"
            )

    def _ask_setups(self) -> Mapping[str, EngineSetup]:
        if self._archive is None or not isinstance(self._pool, TellsSetups):
            return {}
        variants = map(self._variant, range(len(self._spec.places)))
        try:
            return self._pool.setups(named_files(variant.config for variant in variants))
        except Exception as problem:  # noqa: BLE001 - it costs a picture drawn twice, no run
            _log.warning("%s does not tell its setup: %s", self._pool.name, sentence_of(problem))
            return {}

    def _changes(self) -> Iterator[str]:
        """Yield in what the engine is not as it was when the continued run began."""
        before = self._spec.left.environment if self._spec.left is not None else {}
        for name, value in self._facts.items():
            if name in before and before[name] != value:
                yield f"{name} is {value!r}, and was {before[name]!r}"

    def _warn(self, message: str) -> None:
        _log.warning("%s", message)
        self._journal.header["warnings"].append(message)

    def _describe_again(self) -> None:
        """Ask once more an engine that knows its version only from its first picture."""
        if not self._journal.header["backend"].get("version"):
            try:
                self._describe()
            except Exception as error:  # noqa: BLE001 - the pictures are there, and their record
                _log.info("%s does not say its version: %s", self._pool.name, error)

    def _open_folder(self) -> PictureSaver:
        engine = self._journal.header["backend"]
        if self._archive is None:
            return PictureSaver(
                self._run_id, self._spec.timestamp, None, "", strict=self._environment.strict,
                engine=engine,
            )  # fmt: skip
        relative = run_folder(self._spec.timestamp, self._run_id)
        folder = self._archive / relative
        try:
            make_folder(folder, root=self._archive, new=True)
        except OSError as error:
            raise StorageError(f"the folder for the pictures cannot be made: {error}") from error
        self._folder = folder
        self._journal.open_file(self._archive, folder, recorded=self._hooks.has_writer)
        return PictureSaver(
            self._run_id,
            self._spec.timestamp,
            folder,
            str(relative),
            strict=self._environment.strict,
            names=self._names(),
            engine=engine,
        )

    def _names(self) -> PictureNames:
        day, time_of_day = self._spec.timestamp[:10], self._spec.timestamp[11:19].replace(":", "")
        config = self._spec.config
        about = {"name": config.name, "date": day, "time": time_of_day, "run": self._run_id}
        return PictureNames(config.output.name, about)

    # -- drawing -------------------------------------------------------------------------

    def _draw_all(self, saver: PictureSaver) -> None:
        missing = self._take_over()
        while missing:
            firsts = self._without_twins(missing)
            self._draw(saver, firsts)
            # The twins of those that failed are drawn themselves.
            missing = [
                position
                for position in missing
                if position not in firsts and not self._twin(position)
            ]
        if self._twins:
            self._journal.header["warnings"].append(_twins_message(self._twins))
        for message in saver.oddities():
            self._warn(message)

    def _draw(self, saver: PictureSaver, positions: Sequence[int]) -> None:
        job = DrawingJob(
            run_id=self._run_id,
            files=self._files,
            cancel=self._environment.cancel,
            on_step=self._on_step,
            most=len(positions),
        )
        with ThreadPoolExecutor(1, thread_name_prefix="safelight-save") as thread:

            def save(drawn: DrawnVariant) -> None:
                if drawn.pictures or drawn.failure:
                    drawn.identity = self._identity(drawn)
                    self._waiting.append(thread.submit(self._save, saver, drawn))
                self._collect(most=_BACKLOG - 1)

            try:
                with self._pool.open_lanes(job) as lanes:
                    dispatch(
                        lanes,
                        self._queue(positions),
                        retry=self._environment.retry,
                        cancel=self._environment.cancel,
                        shares=self._shares,
                        on_ended=save,
                        on_retry=self._report_retry,
                    )
            finally:
                self._collect(most=0)

    def _queue(self, missing: Sequence[int]) -> VariantQueue:
        """Return the variants to draw, those of one model together.

        Loading other weights costs an engine seconds; the order of the account is the plan's.
        """
        plan = self._spec.plan
        varied = [axis.name for axis in plan.axes if axis.size > 1]
        varied += plan.prompt_file.knobs if plan.prompt_file else ()
        several = any(name.endswith(_WEIGHTS) for name in varied)
        return VariantQueue(missing, self._weights if several else None, self._drawn)

    def _weights(self, position: int) -> tuple[Any, ...]:
        config = self._variant(position).config
        return tuple(knobs.get(name) for knobs in config.values() for name in ("model", "vae"))

    def _variant(self, position: int) -> Variant:
        """Return the variant at *position*; each is made once, a run has 1,000 at most."""
        if position not in self._variants:
            self._variants[position] = self._spec.plan.variants[self._spec.places[position]]
        return self._variants[position]

    def _drawn(self, position: int) -> DrawnVariant:
        variant = self._variant(position)
        return DrawnVariant(variant=variant, position=position)

    def _identity(self, drawn: DrawnVariant) -> str:
        if self._identities is None or self._archive is None:
            return ""
        settings = self._settings(drawn.position)
        # One that two engines drew is none of theirs, but where these are alike.
        found = {
            self._identities.of(drawn.variant.config, worker, settings)
            for worker in drawn.drawn_on or {drawn.worker}
        }
        return found.pop() if len(found) == 1 else ""

    def _settings(self, position: int) -> str:
        """Return what is equal for equal variants; empty where that cannot be told."""
        assert self._identities is not None
        if position not in self._settings_of:
            config = self._variant(position).config
            self._settings_of[position] = self._identities.settings(config)
        return self._settings_of[position]

    def _without_twins(self, positions: Sequence[int]) -> list[int]:
        """Return the first of those that are equal; one drawn already stands for all its twins."""
        firsts: dict[str, int] = {}
        for position in positions:
            settings = self._settings(position)
            if settings not in self._drawn_already or not settings:
                firsts.setdefault(settings or f"#{position}", position)
        return list(firsts.values())

    def _twin(self, position: int) -> bool:
        """Enter *position* with the pictures of its twin; return whether there is one."""
        before = self._drawn_already.get(self._settings(position))
        if before is None:
            return False
        drawn = self._drawn(position)
        entry = _reused_entry(
            drawn,
            DrawnBefore(
                run_id=before.drawn_by or self._run_id,
                config=before.config,
                outputs=before.outputs,
                identity=before.identity,
            ),
        )
        twins = [i for i in self._images if i.variant == self._spec.places[before.position]]
        images = tuple(
            replace(image, variant=drawn.variant.index, label=drawn.variant.label)
            for image in twins
        )
        self._twins += 1
        self._note(entry, images, self._journal.add(entry, flush=False))
        return True

    def _on_step(self, drawn: DrawnVariant, stage: Stage, progress: Step) -> None:
        self._report("step", drawn.variant, stage=stage, worker=drawn.worker, **progress)
        self._collect(most=_BACKLOG)

    def _report_retry(self, drawn: DrawnVariant, message: str) -> None:
        _log.info("variant %d: %s", drawn.variant.index, message)
        stage = drawn.unavailable[0] if drawn.unavailable else ""
        self._report("retry", drawn.variant, stage=stage, message=message, worker=drawn.worker)

    # -- what is there already ------------------------------------------------------------

    def _take_over(self) -> list[int]:
        """Put what was drawn before into the account; return the positions that are missing."""
        everything = range(len(self._spec.places))
        if self._archive is None or (self._environment.library is None and self._spec.left is None):
            return list(everything)
        wanted = set(everything)
        if self._spec.left is not None and self._spec.left.only_failed:
            wanted = {place - self._spec.places.start for place in self._spec.left.missing}
        made = {position: self._drawn(position) for position in everything}
        known = self._known(made)
        missing = []
        for position, drawn in made.items():
            before = known.get(position)
            if before is not None and self._may_reuse(before):
                entry = _reused_entry(drawn, before)
                images = tuple(_reused_image(o, drawn, self._archive) for o in entry.outputs)
                self._reused += 1
                self._note(entry, images, self._journal.add(entry, flush=False))
            elif position in wanted or before is not None:
                missing.append(position)
        return missing

    def _known(self, made: Mapping[int, DrawnVariant]) -> dict[int, DrawnBefore]:
        """Return position -> what was drawn there before, by the plan or by anybody."""
        known: dict[int, DrawnBefore] = {}
        if self._spec.left is not None:  # of the same plan: whoever goes on takes what it drew
            for position, drawn in made.items():
                if (before := self._spec.left.drawn.get(drawn.variant.index)) is not None:
                    known[position] = before
        if self._environment.library is None or self._engine is None or self._identities is None:
            return known
        if not (wanted := self._wanted(position for position in made if position not in known)):
            return known
        try:
            asked = dict.fromkeys(
                identity for identities in wanted.values() for identity in identities
            )
            drawn_before = self._environment.library.find(list(asked), self._engine)
        except Exception as problem:  # noqa: BLE001 - a damaged archive costs a picture, no run
            _log.warning("what was drawn before cannot be found: %s", sentence_of(problem))
            return known
        for position, (*identities, earlier) in wanted.items():
            config = made[position].variant.config
            for identity in identities:
                if identity in drawn_before:
                    known.setdefault(position, drawn_before[identity])
            older = drawn_before.get(earlier)
            if older is not None and self._identities.held_by(older.environment, config):
                known.setdefault(position, replace(older, identity=identities[0]))
        return known

    def _wanted(self, positions: Iterable[int]) -> dict[int, list[str]]:
        """Return position -> its identities on these engines, and the one of the first rule."""
        assert self._identities is not None
        wanted = {}
        for position in positions:
            config = self._variant(position).config
            if identities := self._identities.everywhere(config, self._settings(position)):
                wanted[position] = [*identities, self._identities.earlier(config)]
        return wanted

    def _may_reuse(self, before: DrawnBefore) -> bool:
        if self._environment.strict and any(output.mismatches for output in before.outputs):
            return False
        return self._archive is not None and outputs_are_whole(self._archive, before.outputs)

    def _collect(self, most: int) -> None:
        """Take in what the saving thread has finished; wait until at most *most* are under way."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            self._take_in(self._waiting.popleft())

    # -- saving --------------------------------------------------------------------------

    def _save(self, saver: PictureSaver, drawn: DrawnVariant) -> _Saved:
        """Make one variant safe: pictures first, journal line after; in the saving thread."""
        entry, images = saver.save(drawn)
        return entry, images, self._journal.add(entry)

    def _take_in(self, saved: Future[_Saved]) -> None:
        self._note(*saved.result())

    def _note(self, entry: VariantEntry, images: tuple[RunImage, ...], safe: bool) -> None:
        self._images.extend(images)
        if entry.finished and entry.outputs and not entry.failures:
            self._drawn_already.setdefault(self._settings(entry.position), entry)
        variant = self._variant(entry.position)
        if entry.failures:
            failure = entry.failures[0]
            self._report("failure", variant, stage=failure.stage, message=failure.error)
        elif entry.finished:
            self._report("variant", variant, recorded=safe)

    def _report(
        self,
        event: Literal["step", "variant", "failure", "retry"],
        variant: Variant,
        **details: Any,
    ) -> None:
        if self._hooks.wants_progress:
            self._hooks.progress(
                RunProgress(
                    run_id=self._run_id,
                    event=event,
                    variant=variant.index + 1,
                    variants=self._spec.plan.plan_size,
                    label=variant.label,
                    **details,
                )
            )

    # -- ending --------------------------------------------------------------------------

    def _status(self) -> str:
        entries = self._journal.entries
        failed = sum(1 for entry in entries if entry.failures)
        if not failed:
            return "completed"
        return "failed" if failed == len(entries) else "partial"

    def _finish(self, status: str, error: str | None) -> LearningRecord | None:
        self._journal.end(status, error)
        if not self._hooks.wants_record:
            return None
        try:
            record = fold(self._journal.header, self._journal.entries, status, error)
        except Exception:  # noqa: BLE001 - recording must never break a run
            _log.exception("the learning record of run %s cannot be built", self._run_id)
            self._hooks.failures += 1
            self._unsafe = True
            return None
        self._unsafe = not self._hooks.record(record)
        if not self._unsafe:
            self._journal.record_is_safe()
        return record

    def _result(
        self, status: str, error: str | None, record: LearningRecord | None, total: float
    ) -> RunResult:
        entries = self._journal.entries
        return RunResult(
            run_id=self._run_id,
            status=status,
            images=tuple(sorted(self._images, key=lambda image: image.variant)),
            failures=tuple(
                RunFailure(
                    variant=self._spec.places[entry.position],
                    label=entry.label,
                    stage=failure.stage,
                    error=failure.error,
                )
                for entry in sorted(entries, key=lambda entry: entry.position)
                for failure in entry.failures
            ),
            warnings=self._warnings(),
            seconds=seconds_per_stage(entries),
            total_seconds=total,
            error=error,
            folder=self._folder,
            learning_record=record,
            recording_failures=self._hooks.failures,
            recoverable=self._journal.recoverable,
            plan_size=self._spec.plan.plan_size,
            part=self._spec.whole["part"],
            parts=self._spec.whole["parts"],
            reused=self._reused,
            workers=dict(self._shares),
        )

    def _warnings(self) -> tuple[str, ...]:
        entries = self._journal.entries
        warnings = [*self._journal.header["warnings"]]
        warnings += [warning for entry in entries for warning in entry.warnings]
        warnings += [
            f"asked for {m.knob} = {m.requested!r}, the engine used {m.effective!r}"
            for entry in entries
            for output in entry.outputs
            for m in output.mismatches
        ]
        if self._journal.trouble:
            warnings.append(self._journal.trouble)
        if self._unsafe:
            warnings.append("the learning record is not safe on disk yet; the log says why")
        elif self._hooks.failures:
            warnings.append("a learning record callback raised; the log says why")
        return tuple(dict.fromkeys(warnings))


def _twins_message(number: int) -> str:
    if number == 1:
        return "1 variant is equal to another one of the plan: they were drawn once"
    return f"{number:,} variants are equal to others of the plan: they were drawn once"


def _recorded_facts(setups: Mapping[str, EngineSetup]) -> dict[str, Any]:
    """Return the facts of all workers as a record has them: what is long as its hash."""
    facts: dict[str, Any] = {}
    for name in dict.fromkeys(name for setup in setups.values() for name in setup.facts):
        values = [plain_snapshot({name: s.facts[name]})[name] for s in setups.values()
                  if name in s.facts]  # fmt: skip
        kept = list({json.dumps(value, sort_keys=True): value for value in values}.items())
        short = [
            value if len(text) <= _LONGEST_FACT
            else f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
            for text, value in kept
        ]  # fmt: skip
        facts[name] = short[0] if len(short) == 1 else short
    return facts


def _reused_entry(drawn: DrawnVariant, before: DrawnBefore) -> VariantEntry:
    """Return the journal entry of a variant that *before* has drawn."""
    variant = drawn.variant
    about = plain_snapshot(
        {"choices": variant.choices, "templates": variant.templates, "config": before.config}
    )
    return VariantEntry(
        position=drawn.position,
        config=about["config"],
        label=variant.label,
        choices=about["choices"],
        templates=about["templates"],
        outputs=tuple(
            msgspec.structs.replace(output, variant=drawn.position) for output in before.outputs
        ),
        identity=before.identity,
        drawn_by=before.run_id,
    )


def _reused_image(output: ImageOutput, drawn: DrawnVariant, archive: Path) -> RunImage:
    assert output.path is not None
    return RunImage(
        variant=drawn.variant.index,
        label=drawn.variant.label,
        output=output,
        path=archive / output.path,
    )
