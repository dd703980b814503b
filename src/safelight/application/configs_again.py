"""configs_again: the config of what was drawn once, to look at, change and run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.archive import Archive
from safelight.backends import has_backend
from safelight.errors import ArchiveError, FileRefused, RecordError
from safelight.knobs import FILE_KNOBS, KNOBS, STAGES, knobs_and_extras
from safelight.learning import LearningRecord

__all__ = [
    "config_of_picture",
    "config_of_run",
    "engine_of",
    "replayable",
    "stages_of_picture",
    "with_whole_paths",
]

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
    return name if has_backend(name) else None


def config_of_run(
    record: LearningRecord, archive: Archive, files: AllowedFiles = ANY_FILE
) -> dict[str, Any]:
    """Return the config of a run as it was stated, randomizer and engine included.

    What records of earlier versions do not hold is made of what they do: the base config, and the
    randomizer's settings as far as they are told.

    Args:
        record: Of the run.
        archive: That it is in.
        files: Which may be named; only of these is it told where they are.
    """
    from safelight.pipeline.continuation import stated_config

    noted: tuple[dict[str, Any], Path] | None = None
    with suppress(RecordError):
        noted = stated_config(record, archive.path)
    if noted is not None:
        return with_whole_paths(*noted, files)
    for run in _first_and_own(record, archive):
        stated = run.plan.get("config")
        if isinstance(stated, str):
            with suppress(ValueError):
                config = json.loads(stated)
                if isinstance(config, dict):
                    return config
    config = {"name": record.name, **{k: dict(v) for k, v in record.base_config.items()}}
    randomizer = record.plan.get("randomizer")
    if isinstance(randomizer, Mapping) and "sha256" not in randomizer:
        config["randomizer"] = dict(randomizer)
    return _with_engine(config, record)


def with_whole_paths(
    config: Mapping[str, Any], folder: Path, files: AllowedFiles = ANY_FILE
) -> dict[str, Any]:
    """Return *config* with the files that it names relative to *folder* named wholly.

    So that it draws the same from any folder. What is not there stays as it is written, and so
    does what *files* refuses.
    """
    # Only here: whoever asks what drew a picture checks no config, and it takes 15 ms to import.
    from safelight.config_schema import FILE_SETTINGS

    def whole(value: Any) -> Any:
        if isinstance(value, str) and value:
            with suppress(FileRefused, OSError, ValueError):
                place = files.place(value, folder)
                return str(place.resolve()) if place.exists() else value
        return value

    def settings(prefix: str, table: Mapping[str, Any]) -> dict[str, Any]:
        return {
            k: settings(f"{prefix}{k}.", v) if isinstance(v, Mapping)
            else whole(v) if f"{prefix}{k}" in FILE_SETTINGS else v
            for k, v in table.items()
        }  # fmt: skip

    whole_config: dict[str, Any] = dict(config)
    for stage in STAGES:
        if isinstance(own := whole_config.get(stage), Mapping):
            whole_config[stage] = {k: whole(v) if k in FILE_KNOBS else v for k, v in own.items()}
    if isinstance(randomizer := whole_config.get("randomizer"), Mapping):
        whole_config["randomizer"] = settings("randomizer.", randomizer)
    if isinstance(backend := whole_config.get("backend"), Mapping):
        whole_config["backend"] = {k: v if k == "name" else whole(v) for k, v in backend.items()}
    return whole_config


def stages_of_picture(
    config: Mapping[str, Any], last: str, record: LearningRecord | None = None
) -> dict[str, dict[str, Any]]:
    """Return stage -> knobs that led to a picture of stage *last*.

    Extras that a knob stands for are that knob. An import's settings beyond our knobs are the
    ``extra`` of its stage.

    Args:
        config: A variant's, effective.
        last: The stage that made it.
        record: Of its run; None while that goes on.
    """
    recorded: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        own = config.get(stage)
        if isinstance(own, Mapping):
            more = _imported_extra(record) if stage == last else {}
            knobs, extras = knobs_and_extras({**own, "extra": {**more, **_table(own, "extra")}})
            rest = {name: value for name, value in own.items() if name not in ("extra", *KNOBS)}
            recorded[stage] = {**knobs, **rest, **({"extra": extras} if extras else {})}
        if stage == last:
            break
    return recorded


def _imported_extra(record: LearningRecord | None) -> Mapping[str, Any]:
    if record is None or record.status != "imported":
        return {}
    return _table(_table(record.metadata, "import"), "extra")


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}


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
    # What another tool calls its settings no engine of ours may understand.
    own_words = record is None or record.status != "imported"
    for stage in STAGES:
        if stage in stages:
            own = stages[stage]
            config[stage] = {
                k: v
                for k, v in own.items()
                if (k in KNOBS and stage in KNOBS[k].stages) or (k == "extra" and own_words)
            }
    return config if record is None else _with_engine(config, record)


def _first_and_own(record: LearningRecord, archive: Archive) -> list[LearningRecord]:
    """Return the record whose account is that of the whole plan, if there is one, and *record*."""
    from safelight.pipeline.plan_account import FIRST_PART

    first = record.plan.get(FIRST_PART)
    with suppress(ArchiveError):
        return [*(archive.records([first]) if isinstance(first, str) else ()), record]
    return [record]


def _with_engine(config: dict[str, Any], record: LearningRecord) -> dict[str, Any]:
    engine = engine_of(record.backend.get("name", ""))
    return config if engine is None else {**config, "backend": engine}


def replayable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config that asks for exactly what *config* says was used."""
    stages: dict[str, Any] = {}
    for stage, knobs in config.items():
        own = {
            name: value
            for name, value in knobs.items()
            if name == "extra" or (name in KNOBS and stage in KNOBS[name].stages)
        }
        stages[stage] = {k: v for k, v in own.items() if v is not None}
    # Prompts are as they were drawn: a brace in one is a brace now.
    return {**stages, "randomizer": {"mode": "off", "templates": False}}
