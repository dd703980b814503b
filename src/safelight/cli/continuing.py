"""What it takes to go on with a run: its plan's config, from the file or from its journal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safelight.cli.job import Job, ready_config, ready_job
from safelight.config import PipelineConfig
from safelight.errors import ConfigError, RecordError
from safelight.learning import LearningRecord
from safelight.learning.snapshot import plain_snapshot, plain_values
from safelight.pipeline.continuation import stated_config

__all__ = ["job_of_run", "resume_note"]


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
    *,
    ask: bool = True,
) -> Job:
    """Return the job that *record* is a run of.

    Args:
        record: The run.
        archive: The archive folder.
        path: The config file; None takes the config from the run's journal.
        overrides: ``stage.knob=value`` texts, as they were given the first time.
        ask: Whether to ask the engine that the config names what it has.

    Raises:
        ConfigError: The config is at fault, or the journal does not hold it.
    """
    if path is not None:
        return ready_job(path, overrides, record.plan_seed, ask=ask)
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
    config = PipelineConfig.from_mapping(stated[0], folder=stated[1], source=source)
    return ready_config(replace(config, stated=stated[0]), source, record.plan_seed, ask=ask)
