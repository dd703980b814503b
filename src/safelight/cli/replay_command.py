"""``safelight replay``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from safelight.application.carrying_out import RunSettings, carry_out
from safelight.application.configs_again import replayable
from safelight.application.jobs import engine_options, ready_config
from safelight.archive import Archive
from safelight.archive.differences import environment_changes
from safelight.backends import create_backend
from safelight.cli.options import archive_option, engine_option
from safelight.cli.terminal import say, tell
from safelight.config import PipelineConfig


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
        say(f"changed since: {change.what} {change.first!r} -> {change.second!r}")
    before = {(o.variant, o.stage): o.pixel_sha256 for o in record.outputs}
    same = 0
    for place, config in enumerate(record.variant_configs):
        job = ready_config(
            PipelineConfig.from_mapping(replayable(config)), f"variant {place}", None, os.environ,
            backend=backend,
        )  # fmt: skip
        for result, _ in carry_out(job, Archive(archive), RunSettings(again=True), on_message=tell):
            for image in result.images:
                output = image.output
                equal = before.get((place, output.stage)) == output.pixel_sha256
                same += equal
                word = "same pixels" if equal else "OTHER PIXELS"
                say(f"{word}: variant {place}, {output.stage}: {image.path}")
            for failure in result.failures:
                say(f"failed: variant {place} in {failure.stage}: {failure.error}")
    say(f"{same} of {len(record.outputs)} pictures are the same to the pixel")
    if same != len(record.outputs):
        raise SystemExit(1)
