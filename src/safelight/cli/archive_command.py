"""``safelight archive``: keep an archive small and sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from safelight.archive import Archive
from safelight.cli.options import archive_option, as_click_error, json_option
from safelight.errors import SafelightError


@click.group("archive")
def command() -> None:
    """Pack, verify, recover, merge and count an archive."""


@command.command()
@archive_option
@json_option
def pack(archive: Path, as_json: bool) -> None:
    """Move loose records into packs: smaller, and found faster."""
    try:
        with click.progressbar(length=1, label="packing", file=None, hidden=as_json) as bar:

            def tell(done: int, total: int) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            report = Archive(archive).pack(on_progress=tell)
    except SafelightError as error:
        raise as_click_error(error) from error
    left = [{"path": str(fault.path), "told": fault.told} for fault in report.left]
    if as_json:
        packs = [str(path) for path in report.packs]
        click.echo(json.dumps({"records": report.records, "packs": packs, "left": left}))
        return
    click.echo(f"{report.records:,} records packed")
    for fault in left:
        click.echo(f"  left as it is: {fault['path']}: {fault['told']}")


@command.command()
@archive_option
@json_option
def verify(archive: Path, as_json: bool) -> None:
    """Read everything, and tell what is damaged or foreign; nothing is changed."""
    whole, faults = Archive(archive).verify()
    told = [{"path": str(fault.path), "told": fault.told} for fault in faults]
    if as_json:
        click.echo(json.dumps({"whole": whole, "faults": told}, ensure_ascii=False))
    else:
        click.echo(f"{whole:,} records are whole")
        for fault in told:
            click.echo(f"  {fault['path']}: {fault['told']}")
    if faults:
        raise SystemExit(1)


@command.command()
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@archive_option
def merge(other: Path, archive: Path) -> None:
    """Copy into this archive what the archive OTHER has and it lacks."""
    copied = Archive(archive).merge(Archive(other))
    click.echo(f"{copied:,} files copied")


@command.command()
@archive_option
@json_option
def recover(archive: Path, as_json: bool) -> None:
    """Finish what crashes interrupted, and make lost records again from their pictures."""
    from safelight.imports.lost_records import rebuild_lost_records
    from safelight.pipeline import recover_interrupted_runs

    try:
        found = Archive(archive)
        with found.writer() as writer:
            runs = [record.run_id for record in recover_interrupted_runs(archive, writer)]
        report = found.recover()
        rebuilt = [record.run_id for record in rebuild_lost_records(found)]
    except SafelightError as error:
        raise as_click_error(error) from error
    left = [{"path": str(fault.path), "told": fault.told} for fault in report.left]
    if as_json:
        answer = {"interrupted": runs, "doubled": report.records, "rebuilt": rebuilt, "left": left}
        click.echo(json.dumps(answer))
        return
    click.echo(f"{len(runs):,} killed runs got their record")
    click.echo(f"{report.records:,} loose records that a pack holds were removed")
    click.echo(f"{len(rebuilt):,} lost records were made again from pictures")
    for fault in left:
        click.echo(f"  left as it is: {fault['path']}: {fault['told']}")


@command.command()
@archive_option
@json_option
def stats(archive: Path, as_json: bool) -> None:
    """Count runs and pictures, by engine, model and sampler."""
    try:
        found = Archive(archive)
        totals = found.sql(
            "SELECT count(*) AS runs, sum(pictures) AS pictures, sum(failures) AS failures,"
            " min(timestamp) AS first, max(timestamp) AS last FROM runs"
        )
        groups = found.sql(
            "SELECT backend, model, sampler, count(*) AS pictures, round(avg(seconds), 3) AS"
            " seconds FROM images GROUP BY ALL ORDER BY pictures DESC, 1, 2, 3 LIMIT 30"
        )
    except SafelightError as error:
        raise as_click_error(error) from error
    (total,) = totals.dicts()
    if as_json:
        click.echo(json.dumps({**total, "groups": list(groups.dicts())}, ensure_ascii=False))
        return
    _print(total, list(groups.dicts()))


def _print(total: dict[str, Any], groups: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not total["runs"]:
        click.echo("no runs yet")
        return
    click.echo(
        f"{total['runs']:,} runs, {total['pictures'] or 0:,} pictures,"
        f" {total['failures'] or 0:,} failures, {total['first'][:10]} to {total['last'][:10]}"
    )
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("backend", "model", "sampler", "pictures", "seconds"):
        table.add_column(name, justify="right" if name in ("pictures", "seconds") else "left")
    for group in groups:
        table.add_row(*("" if value is None else str(value) for value in group.values()))
    Console().print(table)
