"""``safelight replay``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from safelight.application.carrying_out import RunSettings, carry_out
from safelight.application.jobs import engine_options, ready_config
from safelight.application.replaying import replays
from safelight.archive import Archive
from safelight.archive.differences import environment_changes
from safelight.backends import create_backend
from safelight.cli.options import archive_option, engine_option, json_option
from safelight.cli.terminal import say, say_text, say_wrapped, tell
from safelight.config import PipelineConfig
from safelight.errors import ConfigError
from safelight.learning.learning_record import ImageOutput


@click.command("replay")
@click.argument("run")
@archive_option
@engine_option
@json_option
def command(run: str, archive: Path, options: tuple[str, ...], as_json: bool) -> None:
    """Draw RUN again, with what was really used, and compare the pixels.

    What has changed since in engine and environment is told first. Options of the engine, such
    as its address, are in no record: give them with --option.
    """
    record = Archive(archive).record(run)
    given = engine_options(options, os.environ)
    backend = create_backend(str(record.backend.get("name", "")), given)
    description = backend.describe()
    now = {"name": description.name, "version": description.version}
    changes = environment_changes(record, now, description.environment)
    for change in () if as_json else changes:
        say_wrapped(f"changed since: {change.what} {change.first!r} -> {change.second!r}")
    before = _pixels((o.variant, o) for o in record.outputs)
    same = 0
    pictures: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for config, places in replays(record):
        try:
            checked = PipelineConfig.as_stated(config)
        except ConfigError as error:
            raise click.ClickException(f"what the run used cannot be asked for: {error}") from error
        job = ready_config(checked, f"replay of {record.run_id}", None, os.environ, backend=backend)
        for result, _ in carry_out(job, Archive(archive), RunSettings(again=True), on_message=tell):
            again = _pixels((places[image.variant], image.output) for image in result.images)
            for image in result.images:
                key = places[image.variant], image.output.stage
                known = before.get(key, ())
                equal = again[key].pop(0) in known
                same += equal
                pictures.append({"variant": key[0], "stage": key[1], "path": str(image.path),
                                 "same_pixels": equal})  # fmt: skip
                word = "same pixels" if equal else "OTHER PIXELS"
                if not as_json:
                    word = word if known else "drawn now, and not by that run"
                    say_wrapped(f"{word}: variant {key[0]}, {key[1]}: {image.path}", hanging=4)
            for failure in result.failures:
                place = places[failure.variant]
                failures.append({"variant": place, "stage": failure.stage, "told": failure.error})
                if not as_json:
                    say_wrapped(f"failed: variant {place} in {failure.stage}: {failure.error}")
    if as_json:
        told = {
            "run": record.run_id, "changed": [asdict(change) for change in changes],
            "pictures": pictures, "failures": failures, "same": same, "of": len(record.outputs),
        }  # fmt: skip
        say_text(json.dumps(told, ensure_ascii=False, indent=2, default=str))
    else:
        of = f"{len(record.outputs):,} picture{'' if len(record.outputs) == 1 else 's'}"
        say(f"{same:,} of {of} that it drew came out the same to the pixel")
    if same != len(record.outputs):
        raise SystemExit(1)


def _pixels(outputs: Iterable[tuple[int, ImageOutput]]) -> dict[tuple[int, str], list[str]]:
    """Return (variant, stage) -> hashes of the pixels of its pictures, in order."""
    pixels: dict[tuple[int, str], list[str]] = {}
    for variant, output in outputs:
        pixels.setdefault((variant, output.stage), []).append(output.pixel_sha256)
    return pixels
