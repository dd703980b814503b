"""configs_again: the config of what was drawn once, to look at, change and run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from safelight.archive import Archive
from safelight.backends import backend_names
from safelight.errors import ArchiveError, RecordError
from safelight.knobs import KNOBS, STAGES
from safelight.learning import LearningRecord
from safelight.pipeline.continuation import stated_config
from safelight.pipeline.plan_account import FIRST_PART

__all__ = ["config_of_picture", "config_of_run", "engine_of"]

_ENGINE_OF_TOOL: Mapping[str, str] = {
    "a1111": "webui",
    "a1111-like": "webui",
    "forge": "webui",
    "forge-classic": "webui",
    "forge-neo": "webui",
    "reforge": "webui",
    "sd.cpp": "webui",
    "sdnext": "webui",
    "swarmui": "comfyui",
}
"""Who made an imported picture -> the engine that speaks to it."""


def engine_of(tool: object) -> str | None:
    """Return the engine that draws what *tool* drew; None when none that is installed does.

    Args:
        tool: An engine's name, or that of the tool that made an imported picture.
    """
    name = _ENGINE_OF_TOOL.get(str(tool), str(tool))
    return name if name in backend_names() else None


def config_of_run(record: LearningRecord, archive: Archive) -> dict[str, Any]:
    """Return the config of a run as it was stated, randomizer and engine included.

    What records of earlier versions do not hold is made of what they do: the base config, and the
    randomizer's settings as far as they are told.
    """
    for one in _first_and_own(record, archive):
        stated = one.plan.get("config")
        if isinstance(stated, str):
            with suppress(ValueError):
                config = json.loads(stated)
                if isinstance(config, dict):
                    return config
    with suppress(RecordError):
        noted = stated_config(record, archive.path)
        if noted is not None:
            return noted[0]
    config = {"name": record.name, **{k: dict(v) for k, v in record.base_config.items()}}
    randomizer = record.plan.get("randomizer")
    if isinstance(randomizer, Mapping) and "sha256" not in randomizer:
        config["randomizer"] = dict(randomizer)
    return _with_engine(config, record)


def config_of_picture(
    stages: Mapping[str, Mapping[str, Any]], record: LearningRecord | None, name: str = ""
) -> dict[str, Any]:
    """Return a config that draws one picture again.

    Args:
        stages: Stage -> effective knobs that led to it.
        record: Of its run; None while that goes on.
        name: Of the config.
    """
    config: dict[str, Any] = {"name": name}
    for stage in STAGES:
        if stage in stages:
            own = stages[stage]
            config[stage] = {
                k: v for k, v in own.items() if k in KNOBS and stage in KNOBS[k].stages
            }
    return config if record is None else _with_engine(config, record)


def _first_and_own(record: LearningRecord, archive: Archive) -> list[LearningRecord]:
    """Return the record whose account is that of the whole plan, if there is one, and *record*."""
    first = record.plan.get(FIRST_PART)
    with suppress(ArchiveError):
        return [*(archive.records([first]) if isinstance(first, str) else ()), record]
    return [record]


def _with_engine(config: dict[str, Any], record: LearningRecord) -> dict[str, Any]:
    engine = engine_of(record.backend.get("name", ""))
    return config if engine is None else {**config, "backend": engine}
