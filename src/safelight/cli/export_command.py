"""``safelight export``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from safelight.archive import Answer, Archive
from safelight.cli.options import archive_option, as_click_error
from safelight.durable_file import replace_file
from safelight.errors import SafelightError
from safelight.learning.preference_export import (
    PreferencePair,
    RatedPicture,
    card_markdown,
    hpd_test_rows,
    hpd_train_rows,
    image_reward_rows,
    pickapic_rows,
    preference_card,
    preference_pairs,
    write_jsonl,
)
from safelight.learning.ratings import Identity

LAYOUTS: Mapping[str, Callable[[Iterable[PreferencePair]], Iterator[dict[str, Any]]]] = {
    "pickapic": pickapic_rows,
    "hpd-train": hpd_train_rows,
    "hpd-test": hpd_test_rows,
    "imagereward": image_reward_rows,
}


@click.command("export")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("condition", default="")
@archive_option
@click.option(
    "--pairs", type=click.Choice(list(LAYOUTS)), help="Preference pairs in a trainer's layout."
)
def command(target: Path, condition: str, archive: Path, pairs: str | None) -> None:
    """Write the pictures that meet CONDITION to TARGET: .jsonl, .csv or .parquet.

    With --pairs, TARGET (.jsonl) gets preference pairs from ratings among those pictures, and a
    card beside it says how many, by whom and from when.
    """
    try:
        found = Archive(archive)
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
    except SafelightError as error:
        raise as_click_error(error) from error
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error}") from error


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
