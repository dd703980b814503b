"""What it takes to go on with a run: its plan's config, from the file or from its journal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safelight.archive_layout import JOURNAL_NAME, run_folder
from safelight.cli.job import Job, ready_config, ready_job
from safelight.config import PipelineConfig
from safelight.errors import ConfigError, RecordError
from safelight.learning import LearningRecord
from safelight.learning.snapshot import plain_snapshot
from safelight.pipeline.journal import read_journal

__all__ = ["job_of_run", "resume_note"]


def resume_note(config: PipelineConfig) -> Mapping[str, Any] | None:
    """Return what a journal should carry so that the run can go on without its config file.

    None when the config holds a secret, which no journal may: ``env:NAME`` in its place does.
    """
    stated = {"config": config.stated}
    if not config.stated or plain_snapshot(stated) != stated:
        return None
    # As text, because a journal sorts keys, and the order of a sweep's axes is that of the plan.
    text = json.dumps(config.stated, ensure_ascii=False)
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
    journal = archive / run_folder(record.timestamp, record.run_id) / JOURNAL_NAME
    try:
        note = read_journal(journal)[0].get("resume")
    except RecordError as error:
        raise ConfigError(
            f"{error}; give the config as well: safelight run CONFIG --resume {record.run_id}"
        ) from error
    if not isinstance(note, dict):
        raise ConfigError(
            f"the journal of run {record.run_id} does not hold its config (perhaps it has a"
            f" secret); give it as well: safelight run CONFIG --resume {record.run_id}"
        )
    stated = note["config"]
    config = PipelineConfig.from_mapping(
        json.loads(stated) if isinstance(stated, str) else stated,
        folder=Path(note["folder"]),
        source=str(journal),
    )
    return ready_config(config, str(journal), record.plan_seed, ask=ask)
