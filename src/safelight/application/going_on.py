"""going_on: what it takes to go on with a run: what is left of its plan, and its config."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safelight.application.engine_list import NO_ENGINES, EngineList
from safelight.application.jobs import Job, ready_config, ready_job
from safelight.archive import Archive
from safelight.config import PipelineConfig, plain
from safelight.config_source import put_over
from safelight.errors import ArchiveError, ConfigError, RecordError
from safelight.learning import LearningRecord
from safelight.learning.snapshot import plain_snapshot, plain_values
from safelight.pipeline.continuation import Continuation, run_that_goes_on, stated_config
from safelight.pipeline.plan_account import FIRST_PART

__all__ = ["continuation_of", "job_of_run", "resume_note"]


def resume_note(config: PipelineConfig) -> Mapping[str, Any] | None:
    """Return what a journal should carry so that the run can go on without its config file.

    None when the config holds a secret, which no journal may: ``env:NAME`` in its place does.
    """
    if not config.stated:
        return None
    stated = plain_values(config.stated)  # a date, say, is text from here on
    if plain_snapshot(config.stated) != stated:
        return None
    # As text, because a journal sorts keys, and the order of a sweep's axes is that of the plan.
    text = json.dumps(stated, ensure_ascii=False)
    return {"config": text, "folder": str(config.folder.resolve())}


def job_of_run(
    record: LearningRecord,
    archive: Path,
    path: Path | None,
    overrides: Sequence[str],
    environ: Mapping[str, str],
    *,
    ask: bool = True,
    engines: EngineList = NO_ENGINES,
    text: bytes | None = None,
) -> Job:
    """Return the job that *record* is a run of.

    Args:
        record: The run.
        archive: The archive folder.
        path: The config file; None takes the config from the run's journal.
        overrides: ``stage.knob=value`` texts. Over a file, as they were given the first time; the
            journal has those, and what differs in the engine only may be put over it.
        environ: The environment, for what the config takes from there.
        ask: Whether to ask the engine that the config names what it has.
        engines: The user's list; of a config out of the journal it alone says where requests go.
        text: What the config says, where *path* is no file.

    Raises:
        ConfigError: The config is at fault, or the journal does not hold it.
    """
    if path is not None:
        return ready_job(
            path, overrides, record.plan_seed, environ, ask=ask, engines=engines, text=text
        )
    try:
        stated = stated_config(record, archive)
    except RecordError as error:
        raise ConfigError(
            f"{error}; give the config as well: safelight run CONFIG --resume {record.run_id}"
        ) from error
    if stated is None:
        raise ConfigError(
            f"the journal of run {record.run_id} does not hold its config (perhaps it has a"
            f" secret); give it as well: safelight run CONFIG --resume {record.run_id}"
        )
    source = f"the journal of run {record.run_id}"
    said = plain(stated[0])
    put_over(said, overrides)
    config = PipelineConfig.as_stated(said, folder=stated[1], source=source)
    try:
        config = replace(config, backend=engines.as_listed(config.backend))
    except ConfigError as error:
        raise ConfigError(
            f"{error}; or give the config as well: safelight run CONFIG --resume {record.run_id}",
            source=source,
        ) from error
    return ready_config(config, source, record.plan_seed, environ, ask=ask, engines=engines)


def continuation_of(archive: Archive, run: str, *, only_failed: bool) -> Continuation:
    """Return what is left of the plan that RUN belongs to.

    Args:
        archive: The archive.
        run: A run id, the beginning of one, or ``last``.
        only_failed: Whether to try again what failed only.

    Raises:
        ArchiveError: There is no such run, or it goes on at this moment.
        RecordError: It does not say how its plan was drawn.
    """
    try:
        record = archive.record(run)
    except ArchiveError:
        going = run_that_goes_on(archive.path, "" if run == "last" else run)
        if going is None:
            raise
        raise ArchiveError(going) from None
    whole = str(record.plan.get(FIRST_PART, ""))
    accounts = [part.plan for part in archive.records([whole])] if whole else []
    return Continuation.of(
        record, _by_part(archive, record), archive.path,
        plan=next(iter(accounts), {}) if whole else None, only_failed=only_failed,
    )  # fmt: skip


def _by_part(archive: Archive, run: LearningRecord) -> Callable[[int], Sequence[LearningRecord]]:
    parts: dict[int, list[str]] = {}
    rows = archive.rows("SELECT run_id, part FROM runs WHERE plan_id = ?", [run.plan_id])
    for run_id, part in rows:
        parts.setdefault(part, []).append(run_id)
    return lambda part: archive.records(parts.get(part, ()))
