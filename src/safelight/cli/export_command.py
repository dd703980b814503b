"""``safelight export``."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from safelight.archive import Answer, Archive
from safelight.cli.options import existing_archive_option
from safelight.durable_file import replace_file
from safelight.learning.preference_export import (
    PreferencePair,
    RatedPicture,
    card_markdown,
    hpd_test_rows,
    hpd_train_rows,
    image_reward_rows,
    kohya_layout,
    pickapic_rows,
    preference_card,
    preference_pairs,
    write_jsonl,
)
from safelight.learning.ratings import Identity
from safelight.learning.xmp_mirror import is_own_packet, xmp_packet

LAYOUTS: Mapping[str, Callable[[Iterable[PreferencePair]], Iterator[dict[str, Any]]]] = {
    "pickapic": pickapic_rows,
    "hpd-train": hpd_train_rows,
    "hpd-test": hpd_test_rows,
    "imagereward": image_reward_rows,
}


@click.command("export")
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("condition", default="")
@existing_archive_option
@click.option(
    "--pairs", type=click.Choice([*LAYOUTS, "kohya"]),
    help="Preference pairs in a trainer's layout.",
)  # fmt: skip
@click.option("--xmp", is_flag=True, help="Also write stars and rejects to NAME.xmp by each file.")
def command(target: Path, condition: str, archive: Path, pairs: str | None, xmp: bool) -> None:
    """Write the pictures that meet CONDITION to TARGET: .jsonl, .csv or .parquet.

    With --pairs, TARGET (.jsonl) gets preference pairs from ratings among those pictures, and a
    card beside it says how many, by whom and from when; for kohya, TARGET is a new folder of
    copies, w/ the winners and l/ the losers, with captions.

    With --xmp, photo programs see the ratings too: a sidecar beside each rated picture. One that
    another program wrote is left alone.
    """
    try:
        found = Archive(archive)
        if xmp:
            written, left = _mirror(found, condition)
            click.echo(f"{written:,} XMP sidecars written, {left:,} of other programs left alone")
        if pairs == "kohya":
            _copy_pairs(target, found, condition)
            return
        if pairs is None:
            answer = found.query(condition, limit=None)
            _write(target, answer)
            click.echo(f"{len(answer.rows):,} pictures written to {target}")
            return
        made = list(preference_pairs(found.ratings().events(), _pictures(found, condition)))
        rows = list(LAYOUTS[pairs](made))
        write_jsonl(target, rows)
        card = preference_card(made, query=condition or "everything", layout=pairs)
        replace_file(target.with_suffix(".md"), card_markdown(card).encode())
        click.echo(f"{len(rows):,} rows from {len(made):,} pairs written to {target}")
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error}") from error


def _copy_pairs(target: Path, archive: Archive, condition: str) -> None:
    """Copy the pictures of pairs into a new folder, in kohya's layout."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise click.UsageError(f"TARGET must be a new or empty folder, got {target}")
    made = list(preference_pairs(archive.ratings().events(), _pictures(archive, condition)))
    missing = 0
    files = 0
    for copy in kohya_layout(made):
        place = target / copy.target
        place.parent.mkdir(parents=True, exist_ok=True)
        if copy.source is None:
            replace_file(place, (copy.text or "").encode())
            continue
        try:
            shutil.copyfile(copy.source, place)
            files += 1
        except FileNotFoundError:
            missing += 1
    card = preference_card(made, query=condition or "everything", layout="kohya")
    target.mkdir(parents=True, exist_ok=True)
    replace_file(target / "card.md", card_markdown(card).encode())
    click.echo(f"{files:,} pictures of {len(made):,} pairs copied to {target}")
    if missing:
        click.echo(f"{missing:,} pictures are no longer where the archive knows them")


def _mirror(archive: Archive, condition: str) -> tuple[int, int]:
    """Write a sidecar beside each rated picture; return how many, and how many were left."""
    written = left = 0
    columns = ["path", "stars", "rejected"]
    for row in archive.query(condition, columns=columns, limit=None).dicts():
        said = xmp_packet(row["stars"], rejected=bool(row["rejected"]))
        if row["path"] is None or said is None:
            continue
        picture = archive.path / row["path"]
        sidecar = picture.with_name(f"{picture.name}.xmp")
        if not os.path.isfile(picture):  # noqa: PTH113 - one that may not be looked at, too
            continue
        if sidecar.exists() and not is_own_packet(sidecar.read_bytes()):
            left += 1
            continue
        replace_file(sidecar, said)
        written += 1
    return written, left


def _pictures(archive: Archive, condition: str) -> Iterator[RatedPicture]:
    columns = ["sha256", "pixel_sha256", "path", "prompt", "width", "height"]
    for row in archive.query(condition, columns=columns, limit=None).dicts():
        if row["path"] is None:
            continue
        yield RatedPicture(
            identity=Identity(sha256=row["sha256"], pixel_sha256=row["pixel_sha256"]),
            path=str(archive.path / row["path"]),
            prompt=row["prompt"] or "",
            width=row["width"],
            height=row["height"],
        )


def _write(target: Path, answer: Answer) -> None:
    kind = target.suffix.lower()
    if kind == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) for row in answer.dicts())
        replace_file(target, "".join(f"{line}\n" for line in lines).encode())
    elif kind == ".csv":
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
        replace_file(target, text.getvalue().encode())
    elif kind == ".parquet":
        replace_file(target, answer.parquet())
    else:
        raise click.UsageError(f"TARGET must end in .jsonl, .csv or .parquet, got {target.name!r}")
