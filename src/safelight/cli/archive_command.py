"""``safelight archive``: keep an archive small and sound."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.application.killed_runs import finish_killed_runs
from safelight.archive import Archive
from safelight.cli.carried import carried_as_json, print_carried, print_differing
from safelight.cli.changed_readings import print_changes
from safelight.cli.grouped_help import NamedCommands
from safelight.cli.options import (
    archive_option,
    archive_words,
    check_archive,
    existing_archive_option,
    json_option,
)
from safelight.cli.terminal import progress_of, say, say_text, say_wrapped
from safelight.cli.trash_commands import discard, empty_trash, restore

if TYPE_CHECKING:
    from safelight.archive.transfer import Carried
    from safelight.archive.verification import Verification

_MOST = 20
"""Links that are named."""


@click.group("archive", cls=NamedCommands)
def command() -> None:
    """Pack, verify, recover, merge, read again, count and clean up an archive."""


for _own in (discard, restore, empty_trash):
    command.add_command(_own)


@command.command()
@existing_archive_option
@json_option
def pack(archive: Path, as_json: bool) -> None:
    """Move loose records into packs: smaller, and found faster."""
    with progress_of("packing", hidden=as_json) as show_progress:
        report = Archive(archive).pack(on_progress=show_progress)
    left = [{"path": str(fault.path), "told": fault.reason} for fault in report.left]
    if as_json:
        packs = [str(path) for path in report.packs]
        say_text(json.dumps({"records": report.records, "packs": packs, "left": left}))
        return
    say(f"{report.records:,} records packed")
    for fault in left:
        say_wrapped(f"  left as it is: {fault['path']}: {fault['told']}", hanging=4)


@command.command()
@click.option("--pictures", is_flag=True, help="Read every picture file, too.")
@click.option("--seal", is_flag=True, help="Give packs of earlier versions the hashes they lack.")
@existing_archive_option
@json_option
def verify(archive: Path, pictures: bool, seal: bool, as_json: bool) -> None:
    """Read everything, and tell what is damaged or foreign; nothing is changed.

    Records, packs, ratings, journals and logs are compared with the hashes and checksums that they
    carry, with --pictures also every picture with its record's. Exit status: 0 all is as it was
    written, 1 something is not.
    """
    from safelight.archive.verification import verify_archive

    with progress_of("verifying", hidden=as_json) as show_progress:
        report = verify_archive(
            Archive(archive), pictures=pictures, sealing=seal,
            on_progress=lambda _what, done, total: show_progress(done, total),
        )  # fmt: skip
    faults = [{"path": str(fault.path), "told": fault.reason} for fault in report.faults]
    if as_json:
        document = dataclasses.asdict(report) | {"whole": report.records, "faults": faults}
        say_text(json.dumps(document, ensure_ascii=False))
    else:
        _print_verification(report)
    if report.fault_count:
        raise SystemExit(1)


def _print_verification(report: Verification) -> None:
    say(f"{report.records:,} records are whole")
    if report.unchecked_records:
        of_packs = f", of {report.unsealed_packs:,} packs" if report.unsealed_packs else ""
        seal = "; --seal gives packs hashes from now on" if report.unsealed_packs else ""
        say(
            f"  {report.unchecked_records:,} of them are from before there were hashes{of_packs}:"
            f" they read, and no more can be said{seal}"
        )
    say(f"{report.lines:,} lines of ratings, journals and logs are whole")
    if report.unchecked_lines:
        say(
            f"  {report.unchecked_lines:,} of them are from before there were checksums: they read,"
            " and no more can be said"
        )
    if report.torn_lines:
        say(f"  {report.torn_lines:,} pieces of lines that a crash cut short; none was told")
    if report.pictures is not None:
        say(f"{report.pictures:,} pictures are those of their records")
    if report.pictures_away:
        say(f"  {report.pictures_away:,} imported pictures are not where they were")
    if report.discarded:
        say(f"  {report.discarded:,} pictures were discarded; see: safelight archive restore")
    if report.foreign:
        say(f"{report.foreign:,} files are of no known kind")
    if report.older_readings:
        say(f"{report.older_readings:,} older readings of imported pictures are kept, not counted")
    print_differing(report.differing, report.differing_count)
    for fault in report.faults:
        say_wrapped(f"  {fault.path}: {fault.reason}", hanging=6)
    if report.fault_count > len(report.faults):
        say(f"  ... and {report.fault_count - len(report.faults):,} more")
    if report.fault_count:
        say("what can be repaired, is by: safelight archive recover; or merge another copy")
    if report.damaged_pictures:
        say(
            "damaged pictures stay until: safelight archive recover --pictures; then merge another"
            " copy, or draw them again with: safelight run --resume RUN"
        )


@command.command()
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@archive_option
@click.option("--follow-links", is_flag=True, help="Copy also what links lead to outside of OTHER.")
@json_option
def merge(other: Path, archive: Path, follow_links: bool, as_json: bool) -> None:
    """Copy into this archive what the archive OTHER has and it lacks.

    Ratings and logs are united line by line, so merging again brings what was said since. Nothing
    of either is lost, whatever OTHER holds. Links that lead out of OTHER are left out and told:
    with --follow-links, for an OTHER of your own, what they lead to is copied, too. Exit status: 0
    everything of OTHER is here, 1 something could not be copied, or was left out.
    """
    from safelight.archive.folder_copy import merge_archives

    check_archive(other)
    with progress_of("merging", hidden=as_json) as show_progress:
        carried = merge_archives(
            archive, other, follow_links=follow_links, on_progress=show_progress
        )
    if as_json:
        say_text(carried_as_json({"copied": carried}))
    else:
        print_carried(carried, "copied")
        _print_links_out(carried)
    if carried.bad_count or carried.conflicts or carried.links_out_count:
        raise SystemExit(1)


def _print_links_out(carried: Carried) -> None:
    count = carried.links_out_count
    if not count:
        return
    what, whose = ("link leads", "it is") if count == 1 else ("links lead", "they are")
    was = "was" if count == 1 else "were"
    say(f"  {count:,} {what} out of OTHER and {was} left out; say --follow-links if {whose} yours:")
    for place in carried.links_out[:_MOST]:
        say(f"    {place}")
    if count > _MOST:
        say(f"    ... and {count - _MOST:,} more")


@command.command()
@click.option(
    "--pictures", is_flag=True, help="Read every picture, too, and set damaged ones aside."
)
@existing_archive_option
@json_option
def recover(pictures: bool, archive: Path, as_json: bool) -> None:
    """Finish what crashes interrupted, and repair what can be repaired.

    Killed runs get their record, lost records are made again from their journal or pictures,
    damaged packs are made again from their documents, and unfinished files of killed programs are
    removed. With --pictures, those that are not what their record says go to images/.damaged, so
    that merging another copy, or --resume, brings them back whole.
    """
    from safelight.application.keeping import mend

    with progress_of("reading pictures", hidden=as_json or not pictures) as show_progress:
        done = mend(Archive(archive), pictures=pictures, on_progress=show_progress)
    left = [{"path": str(fault.path), "told": fault.reason} for fault in done.left]
    packs = done.archive
    if as_json:
        answer = {
            "interrupted": done.interrupted, "doubled": packs.doubled, "rebuilt": done.rebuilt,
            "places": done.places, "pictures_aside": done.pictures_aside,
            "abandoned": packs.abandoned, "tables": packs.tables,
            "repaired": [str(path) for path in packs.repaired], "left": left,
        }  # fmt: skip
        say_text(json.dumps(answer))
        return
    say(f"{len(done.interrupted):,} killed runs got their record")
    say(f"{packs.doubled:,} loose records that a pack holds were removed")
    say(f"{len(done.rebuilt):,} lost records were made again from journals or pictures")
    say(f"{done.places:,} pictures are again where their records say")
    say(f"{packs.abandoned:,} unfinished files of killed programs were removed")
    if packs.tables:
        say(
            f"{packs.tables:,} folders of tables that were damaged or of no pack were removed; what"
            " packs lack, is made again by: safelight archive pack"
        )
    for path in packs.repaired:
        say(f"  made again from its records: {path}; it lies in packs/.damaged now")
    if pictures:
        say(f"{len(done.pictures_aside):,} damaged pictures were set aside")
    for place in done.pictures_aside[:20]:
        say(f"  {place}")
    for fault in left:
        say_wrapped(f"  left as it is: {fault['path']}: {fault['told']}", hanging=4)


@command.command()
@existing_archive_option
@json_option
def reread(archive: Path, as_json: bool) -> None:
    """Read imported pictures again, from the texts that their records keep; no file is needed.

    What a newer reader understands better counts from then on, everywhere; the older readings stay
    in the archive. Records keep up to 2 million characters of a picture: those that had more are
    counted, and read again by: safelight import FOLDER --again.
    """
    from safelight.imports.rereading import reread_archive

    with progress_of("reading again", hidden=as_json) as show_progress:
        done = reread_archive(Archive(archive), on_progress=show_progress)
    if as_json:
        say_text(json.dumps(dataclasses.asdict(done), ensure_ascii=False))
        return
    say(f"{done.pictures:,} imported pictures, {done.superseded:,} read anew")
    print_changes(done.changes)
    if done.left:
        say(
            f"  {done.left:,} had longer texts than records keep; read their files again with:"
            " safelight import FOLDER --again"
        )


@command.command()
@existing_archive_option
@json_option
def stats(archive: Path, as_json: bool) -> None:
    """Count runs and pictures, by engine, model and sampler."""
    finish_killed_runs(archive)
    opened = Archive(archive)
    totals = opened.sql(
        "SELECT count(*) FILTER (status != 'imported') AS runs, (SELECT count(*) FROM images) AS"
        " pictures, (SELECT count(*) FROM images WHERE status = 'imported') AS imported,"
        " sum(failures) AS failures, min(timestamp) AS first, max(timestamp) AS last FROM runs"
    )
    groups = opened.sql(
        "SELECT backend, model, sampler, count(*) AS pictures, round(avg(seconds), 3) AS"
        " seconds FROM images GROUP BY ALL ORDER BY pictures DESC, 1, 2, 3 LIMIT 30"
    )
    (total,) = totals.dicts()
    if as_json:
        left_out = [{"path": str(fault.path), "told": fault.reason} for fault in totals.left_out]
        document = {**total, "groups": list(groups.dicts()), "left_out": left_out}
        say_text(json.dumps(document, ensure_ascii=False))
        return
    _print(total, list(groups.dicts()))
    if total["pictures"]:
        say(f"what varied, and what to rate: safelight contents{archive_words(archive)}")


def _print(total: dict[str, Any], groups: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    from safelight.cli.rich_console import Console

    if not (total["runs"] or total["pictures"]):
        say("no runs yet")
        return
    imported = f" ({total['imported']:,} imported)" if total["imported"] else ""
    failures = "1 failure" if total["failures"] == 1 else f"{total['failures'] or 0:,} failures"
    runs = "1 run" if total["runs"] == 1 else f"{total['runs']:,} runs"
    say(
        f"{runs}, {total['pictures'] or 0:,} pictures{imported},"
        f" {failures}, {total['first'][:10]} to {total['last'][:10]}"
    )
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("backend", "model", "sampler", "pictures", "seconds"):
        is_number = name in ("pictures", "seconds")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for group in groups:
        told = {**group, "backend": group["backend"] or "nobody says"}
        told["seconds"] = group["seconds"] or None  # pictures of other tools say nothing of it
        table.add_row(*("" if value is None else str(value) for value in told.values()))
    Console().print(table)
