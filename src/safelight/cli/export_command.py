"""``safelight export``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from safelight.application.dataset_folder import write_dataset
from safelight.application.exporting import (
    LAYOUTS,
    copy_pairs,
    mirror_ratings,
    write_labels,
    write_pairs,
    write_table,
)
from safelight.application.handing_over import HandOver, hand_over, to_hand_over
from safelight.archive import Archive
from safelight.cli.options import condition_argument, existing_archive_option, json_option
from safelight.cli.terminal import say, say_text, say_wrapped

_MOST = 20
"""Files that are named."""


@click.command("export")
@click.argument("target", type=click.Path(path_type=Path))
@condition_argument()
@existing_archive_option
@click.option(
    "--pairs", type=click.Choice([*LAYOUTS, "kohya", "hf"]),
    help="Preference pairs in a trainer's layout.",
)  # fmt: skip
@click.option("--rated", type=click.Choice(["kto", "hf"]),
              help="Single rated pictures, good or bad, in a trainer's layout.")  # fmt: skip
@click.option("--csv-raw", is_flag=True, help="Leave cells of .csv as they are, also formulas.")
@click.option("--xmp", is_flag=True, help="Also write stars and rejects to NAME.xmp by each file.")
@click.option("--strip", is_flag=True, help="Take every text that tells settings out of the files.")
@click.option("--names", default="", metavar="PATTERN", help="Names, as {prompt:40}-{seed}.")
@click.option("--sheet", is_flag=True, help="Add a contact sheet.")
@click.option("--page", is_flag=True, help="Add a page of all pictures in one file.")
@json_option
def command(
    target: Path,
    condition: str,
    archive: Path,
    pairs: str | None,
    rated: str | None,
    csv_raw: bool,
    xmp: bool,
    strip: bool,
    names: str,
    sheet: bool,
    page: bool,
    as_json: bool,
) -> None:
    """Write the pictures that meet CONDITION to TARGET.

    A folder or a .zip gets the files themselves, with their settings inside as A1111 and Civitai
    read them, or with --strip without any; the image data stays the same. A .jsonl, .csv or
    .parquet gets what is known of them.

    In .csv, a text that a spreadsheet would take for a formula begins with an apostrophe.

    With --pairs, TARGET (.jsonl) gets preference pairs from ratings among those pictures, and a
    card beside it says how many, by whom and from when; for kohya, TARGET is a new folder of
    copies, w/ the winners and l/ the losers, with captions.

    With --rated kto, TARGET (.jsonl) gets a row of each rated picture: prompt, image and label,
    true where stars lie above the middle of their rater, or it is a favourite, false where they lie
    below, or it is a reject. What is contradicted is left out and counted.

    With hf for either, TARGET is a new folder with the files inside, which load_dataset of Hugging
    Face's datasets reads.

    With --xmp, photo programs see the ratings too: a sidecar beside each rated picture. One that
    another program wrote is left alone.
    """
    done: dict[str, Any] = {"target": str(target)}
    told: list[str] = []
    try:
        if pairs and rated:
            raise click.UsageError("--pairs and --rated are two exports: give one of them")
        opened = Archive(archive)
        if pairs is None and rated is None and target.suffix.lower() in ("", ".zip"):
            how = HandOver(strip=strip, names=names, sheet=sheet, page=page)
            _hand_over(opened, condition, target, how, as_json=as_json)
            return
        if strip or names or sheet or page:
            raise click.UsageError("--strip, --names, --sheet and --page need a folder or a .zip")
        if xmp:
            written, left = mirror_ratings(opened, condition)
            done |= {"sidecars": written, "sidecars_left_alone": left}
            told.append(f"{written:,} XMP sidecars written, {left:,} of other programs left alone")
        if pairs == "kohya":
            files, made, missing = copy_pairs(opened, condition, target)
            done |= {"pictures": files, "pairs": made, "missing": missing}
            told.append(f"{files:,} pictures of {made:,} pairs copied to {target}")
            if missing:
                told.append(f"{missing:,} pictures are no longer where the archive knows them")
        elif "hf" in (pairs, rated):
            folder = write_dataset(opened, condition, target, "pairs" if pairs else "pictures")
            done |= asdict(folder)
            what = "pairs" if pairs else "rated pictures"
            told.append(
                f"{folder.rows:,} {what} with {folder.pictures:,} files written to {target}"
            )
            if folder.missing:
                told.append(f"{folder.missing:,} pictures are no longer what the archive knows")
        elif rated is not None:
            labels = write_labels(opened, condition, target)
            done |= {"rows": len(labels.labels), "middle": labels.middle,
                     "contradicting": labels.contradicting}  # fmt: skip
            told.append(f"{len(labels.labels):,} good and bad pictures written to {target}")
            told.append(f"left out: {labels.middle:,} in the middle of a rater's stars,"
                        f" {labels.contradicting:,} contradicted")  # fmt: skip
        elif pairs is None:
            count = write_table(opened, condition, target, raw=csv_raw)
            done["pictures"] = count
            told.append(f"{count:,} pictures written to {target}")
        else:
            count, made = write_pairs(opened, condition, target, pairs)
            done |= {"rows": count, "pairs": made}
            told.append(f"{count:,} rows from {made:,} pairs written to {target}")
            if made and not count:
                told.append("ties have no row in this layout, and all pairs are ties")
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error}") from error
    if as_json:
        told = [json.dumps(done, ensure_ascii=False)]
    for line in told:
        say_text(line) if as_json else say(line)


def _hand_over(
    archive: Archive, condition: str, target: Path, how: HandOver, *, as_json: bool
) -> None:
    chosen = to_hand_over(archive, condition)
    if chosen.rows:
        hand_over(archive, chosen, target, how)
    if as_json:
        left = [{"path": str(fault.path), "told": fault.reason} for fault in chosen.left]
        done = {
            "target": str(target), "pictures": chosen.files, "as_they_were": chosen.as_they_were,
            "without_settings": dict(chosen.without_settings), "on_page": chosen.on_page,
            "left": left,
        }  # fmt: skip
        say_text(json.dumps(done, ensure_ascii=False))
        if chosen.left:
            raise SystemExit(1)
        return
    if not chosen.rows:
        say("nothing found")
        return
    say(f"{chosen.files:,} pictures written to {target}")
    if chosen.as_they_were:
        say(
            f"  {chosen.as_they_were:>8,} said themselves how they were made, and stay as they were"
        )
    for reason, count in chosen.without_settings.items():
        say(f"  {count:>8,} without their settings: {reason}")
    if 0 < chosen.on_page < chosen.files:
        say(f"  {chosen.on_page:>8,} of them are on the page")
    for fault in chosen.left[:_MOST]:
        say_wrapped(f"  left: {fault.path}: {fault.reason}", hanging=6)
    if len(chosen.left) > _MOST:
        say(f"  ... and {len(chosen.left) - _MOST:,} more")
    if chosen.left:
        raise SystemExit(1)
