"""lost_records: the record of a run, made again from its journal or its pictures.

Every picture that safelight writes carries a ``safelight`` chunk: run, variant, stage, parent and
the knobs that were really used. When a record is gone (a deleted folder, a broken disk) and the
pictures are not, the journal beside them tells the whole; without it they tell what ran, and what
only the record knew, failures and timings, stays lost.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from safelight.archive import Archive
from safelight.archive_layout import JOURNAL_NAME, pictures_folder, running_folder
from safelight.durable_file import (
    is_held,
    remove_file,
)
from safelight.errors import RecordError, SafelightError, sentence_of
from safelight.formats.bounded_json import json_object
from safelight.imports.imported_picture import shown_path
from safelight.imports.picture_reader import read_picture
from safelight.imports.picture_walk import walk_pictures
from safelight.imports.reading import Reading
from safelight.knobs import STAGES, primary_knobs
from safelight.learning.learning_record import ImageOutput, LearningRecord
from safelight.pipeline.journal import fold, journal_of, read_journal
from safelight.timestamps import utc_timestamp

__all__ = ["rebuild_lost_records"]

_log = logging.getLogger(__name__)
_MOST_VARIANTS = 100_000
_RUN_ID = re.compile(r"[0-9A-Za-z]{1,64}")


def rebuild_lost_records(archive: Archive) -> list[LearningRecord]:
    """Write a record for each run whose pictures are in the archive and whose record is not.

    Args:
        archive: Its ``images`` folder is searched; a run that is still going on is left alone.

    Returns:
        The records that were written: those of journals, else of status ``interrupted``.

    Raises:
        ArchiveError: The archive cannot be read.
    """
    known = {row[0] for row in archive.query(view="runs", columns=["run_id"], limit=None).rows}
    lost: dict[str, list[tuple[Mapping[str, Any], Reading, str]]] = {}
    for path, *_ in walk_pictures([pictures_folder(archive.path)]):
        try:
            reading = read_picture(Path(path))
        except (OSError, SafelightError):
            continue
        about = json_object(reading.raw.get("safelight", ""))
        run_id = about.get("run_id")
        if not isinstance(run_id, str) or run_id in known:
            continue
        if _goes_on(archive.path, run_id):
            known.add(run_id)
            continue
        place = shown_path(path, str(archive.path.absolute()))
        lost.setdefault(run_id, []).append((about, reading, place))
    made = [
        record
        for run_id, pictures in lost.items()
        if (record := _journalled(archive, run_id, pictures) or _record(run_id, pictures))
    ]
    with archive.writer() as writer:
        for record in made:
            writer.write(record)
            marker = _marker(archive.path, record.run_id)
            if marker is not None and record not in writer.pending:
                remove_file(marker, missing_ok=True)
    return made


def _journalled(
    archive: Archive, run_id: str, pictures: list[tuple[Mapping[str, Any], Reading, str]]
) -> LearningRecord | None:
    """Return what the journal beside the pictures says, which is more than they know."""
    for folder in dict.fromkeys(PurePosixPath(place).parent for _, _, place in pictures):
        journal = archive.path / folder / JOURNAL_NAME
        try:
            header, entries, ending = read_journal(journal)
            if header.get("run_id") == run_id:
                ended = ending or {"status": "interrupted"}
                return fold(header, entries, ended["status"], ended.get("error"))
        except (RecordError, KeyError, TypeError, ValueError) as error:
            _log.info("%s tells nothing of run %s: %s", journal, run_id, sentence_of(error))
    return None


def _marker(archive: Path, run_id: str) -> Path | None:
    """Return the marker of a run; None when its id, which a picture told, can have none."""
    return running_folder(archive) / run_id if _RUN_ID.fullmatch(run_id) else None


def _goes_on(archive: Path, run_id: str) -> bool:
    """Return whether a process holds the journal of a run."""
    marker = _marker(archive, run_id)
    try:
        return marker is not None and is_held(journal_of(archive, marker))
    except (OSError, ValueError, RecordError):  # no marker, or one that leads nowhere
        return False


def _record(
    run_id: str, pictures: list[tuple[Mapping[str, Any], Reading, str]]
) -> LearningRecord | None:
    variants: dict[int, dict[str, Any]] = {}
    outputs: list[ImageOutput] = []
    timestamps: list[str] = []
    engine: Any = None
    for about, reading, place in sorted(pictures, key=_order):
        number, stage, config = about.get("variant"), about.get("stage"), about.get("config")
        if not isinstance(number, int) or not 0 <= number < _MOST_VARIANTS or stage not in STAGES:
            continue
        if isinstance(config, dict):
            variants.setdefault(number, {}).update(
                {key: value for key, value in config.items() if isinstance(value, dict)}
            )
        if isinstance(about.get("timestamp"), str):
            timestamps.append(about["timestamp"])
        engine = engine or reading.own.get("engine")
        knobs = variants.get(number, {}).get(stage, {})
        seed = knobs.get("seed") if isinstance(knobs.get("seed"), int) else None
        parent = about.get("parent")
        outputs.append(ImageOutput(
            variant=number, stage=stage, sha256=reading.sha256, pixel_sha256="", path=place,
            width=reading.width, height=reading.height, seed=seed,
            parent=parent if isinstance(parent, str) else None,
        ))  # fmt: skip
    if not outputs:
        return None
    configs = [variants.get(number, {}) for number in range(max(o.variant for o in outputs) + 1)]
    primary = primary_knobs(configs)
    return LearningRecord(
        run_id=run_id,
        timestamp=min(timestamps, default=utc_timestamp()),
        base_config=next((config for config in configs if config), {}),
        variant_configs=list(configs),
        randomizer_mode="off",
        randomizer_plan_size=len(configs),
        primary_model=primary.model,
        primary_sampler=primary.sampler,
        primary_scheduler=primary.scheduler,
        primary_steps=primary.steps,
        primary_cfg_scale=primary.cfg_scale,
        status="interrupted",
        error="the record was lost; this one was made from the pictures of the run",
        outputs=tuple(outputs),
        backend=engine or {},
        metadata={"rebuilt_from": "pictures"},
    )


def _order(entry: tuple[Mapping[str, Any], Reading, str]) -> tuple[str, int, str]:
    about, _, place = entry
    stage = str(about.get("stage"))
    number = about.get("variant")
    rank = STAGES.index(stage) if stage in STAGES else len(STAGES)
    return f"{number if isinstance(number, int) else -1:09}", rank, place
