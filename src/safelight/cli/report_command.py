"""``safelight report``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from safelight.archive import Archive
from safelight.cli.options import condition_argument, existing_archive_option, json_option
from safelight.cli.terminal import say_text, say_wrapped, tell


@click.command("report")
@condition_argument()
@click.option("--write", "target", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="The page, such as report.html.")  # fmt: skip
@click.option("--title", default="", help="Stands at the top.  [default: the condition]")
@click.option("--rater", "raters", multiple=True, help="Only ratings by this rater; repeatable.")
@existing_archive_option
@json_option
def command(
    condition: str, target: Path, title: str, raters: tuple[str, ...], archive: Path, as_json: bool
) -> None:
    """Write what ratings say as one page in one file, for somebody else to read.

    Pictures, sentences, intervals, raters and the method are all in it; it opens without a server
    and fetches nothing. CONDITION, in the language of safelight find, chooses the pictures.
    """
    from safelight.application.reporting import made_report, moment_text, report_page
    from safelight.durable_file import replace_file

    made = moment_text(datetime.now(UTC))
    report = made_report(
        Archive(archive), condition, title=title, made=made, raters=raters, doing=tell
    )
    page = report_page(report)
    try:
        replace_file(target, page)
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error}") from error
    if as_json:
        told = {
            "written": str(target), "bytes": len(page), "pictures": len(report.pictures),
            "rated_pictures": report.effects.pictures, "ratings": report.effects.ratings,
            "sentences": [sentence.text for sentence in report.effects.sentences],
        }  # fmt: skip
        say_text(json.dumps(told, ensure_ascii=False))
        return
    say_wrapped(f"{target}: {report.effects.pictures:,} rated pictures, {len(report.pictures):,}"
                f" of them on the page, {len(page) / 2**20:.1f} MiB; open it in a"
                " browser")  # fmt: skip
