"""``safelight replay``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from safelight.application.jobs import engine_options
from safelight.archive import Archive
from safelight.archive.differences import environment_changes
from safelight.archive_layout import records_folder
from safelight.backends import create_backend
from safelight.cli.options import archive_option, engine_option
from safelight.knobs import KNOBS
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner

__all__ = ["command", "replayable"]


@click.command("replay")
@click.argument("run")
@archive_option
@engine_option
def command(run: str, archive: Path, options: tuple[str, ...]) -> None:
    """Draw RUN again, with what was really used, and compare the pixels.

    What has changed since in engine and environment is told first. Options of the engine, such
    as its address, are in no record: give them with --option.
    """
    record = Archive(archive).record(run)
    given = engine_options(options, os.environ)
    backend = create_backend(str(record.backend.get("name", "")), given)
    description = backend.describe()
    now = {"name": description.name, "version": description.version}
    for change in environment_changes(record, now, description.environment):
        click.echo(f"changed since: {change.what} {change.first!r} -> {change.second!r}")
    before = {(o.variant, o.stage): o.pixel_sha256 for o in record.outputs}
    with LearningRecordWriter(records_folder(archive)) as writer:
        runner = PipelineRunner(backend, archive_dir=archive, learning_record_writer=writer)
        same = 0
        for place, config in enumerate(record.variant_configs):
            result = runner.run(replayable(config))
            for image in result.images:
                output = image.output
                equal = before.get((place, output.stage)) == output.pixel_sha256
                same += equal
                word = "same pixels" if equal else "OTHER PIXELS"
                click.echo(f"{word}: variant {place}, {output.stage}: {image.path}")
            for failure in result.failures:
                click.echo(f"failed: variant {place} in {failure.stage}: {failure.error}")
    click.echo(f"{same} of {len(record.outputs)} pictures are the same to the pixel")
    if same != len(record.outputs):
        raise SystemExit(1)


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
