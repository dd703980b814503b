"""``safelight show``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from safelight.application.killed_runs import finish_killed_runs
from safelight.archive import Archive
from safelight.cli.options import archive_option, check_archive, json_option
from safelight.cli.settings_told import form_option, print_settings
from safelight.cli.terminal import say, say_text, say_wrapped
from safelight.escaped_output import escaped_line
from safelight.learning import LearningRecord
from safelight.learning.ratings import PictureScores
from safelight.randomizer.short_labels import ShortLabels

if TYPE_CHECKING:
    from safelight.application.settings_texts import Form

_MOST_SCORES = 30


@click.command("show")
@click.argument("run", default="last")
@archive_option
@form_option("Print the settings of a picture, or of a preset, so that another tool takes them.")
@json_option
def command(run: str, archive: Path, form: Form | None, as_json: bool) -> None:
    """Show the learning record of RUN, or what a picture file says of itself.

    RUN is a run id, the beginning of one, or last for the newest run. A name with a dot or a
    slash is a picture's: any tool's picture is read, and nothing is kept of it. With --as, it may
    be that of a preset or of another config that draws one picture.
    """
    if form is not None:
        if not _is_file_name(run):
            raise click.UsageError(f"--as is of one picture or preset: name its file, got {run!r}")
        print_settings(Path(run), archive, form, as_json=as_json)
        return
    from safelight.cli.shown_import import print_import, record_of_file

    if _is_file_name(run):
        record = record_of_file(Path(run))
    else:
        check_archive(archive)
        finish_killed_runs(archive)
        record = Archive(archive).record(run)
    if as_json:
        say_text(record.to_json())
        return
    from safelight.application.blanks import blank_of

    if (blank := blank_of(Archive(archive), record)) is not None:
        from safelight.cli.shown_blanks import print_blank

        print_blank(blank)
        return
    scores = Archive(archive).picture_scores()
    if record.status == "imported":
        print_import(record, archive)
    else:
        print_record(record, archive)
    print_scores(record, scores)


def _is_file_name(run: str) -> bool:
    return "." in run or "/" in run or os.sep in run


def _prompts(record: LearningRecord, negative: bool) -> list[str]:
    """Return the prompts as they were written, or those that say what not to draw."""
    prompts = record.template.get("prompts", {})
    return [
        str(text)
        for name, written in prompts.items()
        if str(name).endswith("negative_prompt") is negative
        for text in (written if isinstance(written, list) else [written])
    ]


def _folders(record: LearningRecord) -> list[str]:
    """Return the folders of the pictures, which are several where a run took some over."""
    paths = (PurePosixPath(output.path) for output in record.outputs if output.path)
    return list(dict.fromkeys(str(path.parent) for path in paths))


def _labels(record: LearningRecord) -> list[str]:
    """Return of each variant what tells it from the others, what differs first."""
    about = record.template.get("variants", [])
    choices = [variant.get("choices") for variant in about]
    if not all(isinstance(one, dict) for one in choices):
        return [str(variant.get("label") or "") for variant in about]
    labels = ShortLabels(choices)
    return [labels.of(place) for place in range(len(choices))]


def _place(record: LearningRecord, variant: int) -> int:
    """Return the place in the plan of one of ``variant_configs``."""
    about = record.template.get("variants", [])
    place = about[variant].get("place") if variant < len(about) else None
    return place if isinstance(place, int) else record.first_variant + variant


def _axes(plan: Mapping[str, Any]) -> Iterator[str]:
    axes = plan.get("axes")
    for axis in axes if isinstance(axes, list) else ():
        if not isinstance(axis, dict):
            continue
        values = axis.get("values") or ()
        shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
        yield f"{axis.get('name')}: {shown or str(axis.get('size')) + ' values'}"


def _left_out(plan: Mapping[str, Any]) -> str:
    count = plan.get("left_out")
    return f"; {count:,} left out by conditions" if isinstance(count, int) else ""


def print_scores(record: LearningRecord, scores: PictureScores) -> None:
    """Print what scorers say of the pictures of *record*, and the ids that take it back."""
    lines = [
        f"#{_place(record, output.variant)} {one.scorer} {one.number:.4g}, in {one.unit}"
        f" (version {one.version}; {one.event_id[:8]})"
        for output, own in zip(
            record.outputs,
            scores.of_each([(each.sha256, each.pixel_sha256) for each in record.outputs]),
            strict=True,
        )
        for one in own
    ]
    if lines:
        say("scores by programs:")
    for line in lines[:_MOST_SCORES]:
        say_wrapped(f"  {line}", hanging=4)
    if len(lines) > _MOST_SCORES:
        say(f"  and {len(lines) - _MOST_SCORES:,} more: safelight find --columns path,score.NAME")


def print_record(record: LearningRecord, archive: Path) -> None:
    """Print *record* for a person."""
    from rich import box
    from rich.table import Table

    from safelight.cli.rich_console import Console, cell, lines_in_cell

    console = Console()
    head = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    head.add_column(no_wrap=True)
    head.add_column(overflow="fold")
    ran, ran_any = len(record.variant_configs), bool(record.outputs)
    engine = " ".join(str(record.backend.get(key, "")) for key in ("name", "version")).strip()
    count = record.randomizer_plan_size
    size = "1 variant" if count == 1 else f"{count:,} variants"
    folders = _folders(record)
    rows: dict[str, str | list[str]] = {
        "run": f"{record.run_id}  {record.name}".rstrip(),
        "status": record.status + (f": {record.error}" if record.error else ""),
        "began": record.timestamp,
        "engine": engine,
        "plan": f"{record.randomizer_mode}, {size}; {ran:,} ran{_left_out(record.plan)}",
        "varies": list(map(escaped_line, itertools.islice(_axes(record.plan), 20))),
        "goes on": str(record.template.get("continues") or ""),
        "part": f"{record.part} of {record.parts}" if record.parts > 1 else "",
        "plan seed": "" if record.plan_seed is None else str(record.plan_seed),
        "model": record.primary_model,
        "sampler": " / ".join(n for n in (record.primary_sampler, record.primary_scheduler) if n),
        "steps, cfg": f"{record.primary_steps}, {record.primary_cfg_scale}" if ran_any else "",
        "pictures": [str(archive / folder) for folder in folders[:5]]
        + ([f"and {len(folders) - 5:,} more folders"] if len(folders) > 5 else []),
        "seconds": ", ".join(f"{stage} {spent:.2f}" for stage, spent in record.seconds.items()),
        "prompt": _prompts(record, negative=False),
        "negative": _prompts(record, negative=True),
    }
    for name, value in rows.items():
        if value:
            shown = lines_in_cell(value) if isinstance(value, list) else cell(value)
            head.add_row(cell(name, "bold"), shown)
    console.print(head)
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("#", "chosen", "stage", "size", "seed", "file"):
        table.add_column(column, overflow="fold")
    about = record.template.get("variants", [])
    labels = _labels(record)
    reused = sorted({str(variant["drawn_by"]) for variant in about if variant.get("drawn_by")})
    if reused:
        console.print(cell(f"drawn before, by: {', '.join(reused[:5])}"))
    for output in record.outputs[:50]:
        label = labels[output.variant] if output.variant < len(labels) else ""
        path = PurePosixPath(output.path or "")
        table.add_row(
            str(_place(record, output.variant)),
            cell(label),
            output.stage,
            f"{output.width}x{output.height}",
            "" if output.seed is None else str(output.seed),
            cell("/".join(path.parts[-2 if len(folders) > 1 else -1 :])),
        )
    if record.outputs:
        console.print(table)
    if len(record.outputs) > 50:
        console.print(f"... and {len(record.outputs) - 50:,} more images (--json shows all)")
    for output in record.outputs:
        for m in output.mismatches:
            number = _place(record, output.variant)
            console.print(
                cell(f"mismatch in #{number}: {m.knob} was {m.requested!r}, used {m.effective!r}")
            )
    for failure in record.failures:
        number = _place(record, failure.variant)
        console.print(cell(f"failed: #{number} in {failure.stage}: {failure.error}"))
    for warning in record.warnings:
        console.print(cell(f"warning: {warning}"))
