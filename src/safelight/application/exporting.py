"""exporting: pictures' data, preference pairs and ratings, as files that other programs read."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safelight.archive import Archive
from safelight.archive.grids import grid_files
from safelight.archive_layout import picture_file
from safelight.durable_file import (
    NotRegularFile,
    copy_new_file,
    make_folder,
    read_regular_file,
    replace_file,
)
from safelight.errors import RequestError
from safelight.escaped_output import escaped_line
from safelight.formats.csv_table import write_csv
from safelight.learning.ratings import Identity
from safelight.learning.ratings.picture_labels import (
    PictureLabels,
    kto_rows,
    label_card,
    label_card_markdown,
    picture_labels,
)
from safelight.learning.ratings.preference_export import (
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
from safelight.learning.ratings.xmp_mirror import is_own_packet, xmp_packet

__all__ = [
    "LAYOUTS",
    "copy_pairs",
    "exportable_pictures",
    "mirror_ratings",
    "write_labels",
    "write_pairs",
    "write_table",
]  # fmt: skip

LAYOUTS: Mapping[str, Callable[[Iterable[PreferencePair]], Iterator[dict[str, Any]]]] = {
    "pickapic": pickapic_rows,
    "hpd-train": hpd_train_rows,
    "hpd-test": hpd_test_rows,
    "imagereward": image_reward_rows,
}
"""Name of a trainer's layout -> its rows."""


def write_table(archive: Archive, condition: str, target: Path, *, raw: bool = False) -> int:
    """Write what is known of the pictures that meet *condition*; return how many they are.

    Args:
        archive: Whose pictures.
        condition: In the filter language.
        target: A file whose name ends in ``.jsonl``, ``.csv`` or ``.parquet``.
        raw: Leave cells of CSV that a spreadsheet takes for formulas as they are.

    Raises:
        RequestError: It ends otherwise.
        OSError: It cannot be written.
    """
    kind = target.suffix.lower()
    if kind not in (".jsonl", ".csv", ".parquet"):
        raise RequestError(f"TARGET must end in .jsonl, .csv or .parquet, got {target.name!r}")
    answer = archive.query(condition, limit=None)
    if kind == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) for row in answer.dicts())
        replace_file(target, "".join(f"{line}\n" for line in lines).encode())
    elif kind == ".csv":
        text = io.StringIO(newline="")
        write_csv(text, answer.columns, answer.rows, raw=raw)
        replace_file(target, text.getvalue().encode())
    else:
        replace_file(target, answer.parquet())
    return len(answer.rows)


def write_pairs(archive: Archive, condition: str, target: Path, layout: str) -> tuple[int, int]:
    """Write preference pairs as *layout* has them, and a card beside; return rows and pairs.

    Args:
        archive: Whose ratings and pictures.
        condition: Only pictures that meet this.
        target: The file of rows; the card has its name and ``.md``.
        layout: One of :data:`LAYOUTS`.

    Raises:
        OSError: They cannot be written.
    """
    made = list(
        preference_pairs(archive.ratings().events(), exportable_pictures(archive, condition))
    )
    rows = list(LAYOUTS[layout](made))
    write_jsonl(target, rows)
    card = preference_card(made, query=condition or "everything", layout=layout)
    replace_file(target.with_suffix(".md"), card_markdown(card).encode())
    return len(rows), len(made)


def copy_pairs(archive: Archive, condition: str, target: Path) -> tuple[int, int, int]:
    """Copy the pictures of pairs into a new folder, in kohya's layout.

    Returns:
        Pictures that were copied, pairs, and pictures that are not where the archive knows them.

    Raises:
        RequestError: *target* is there, and not an empty folder.
        OSError: It cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(f"TARGET must be a new or empty folder, got {escaped_line(str(target))}")
    made = list(
        preference_pairs(archive.ratings().events(), exportable_pictures(archive, condition))
    )
    missing = files = 0
    for copy in kohya_layout(made):
        place = target / copy.target
        make_folder(place.parent, root=target)
        if copy.source is None:
            replace_file(place, (copy.text or "").encode())
            continue
        try:
            copy_new_file(Path(copy.source), place, flush=False)
            files += 1
        except FileNotFoundError:
            missing += 1
    card = preference_card(made, query=condition or "everything", layout="kohya")
    make_folder(target)
    replace_file(target / "card.md", card_markdown(card).encode())
    return files, len(made), missing


def write_labels(archive: Archive, condition: str, target: Path) -> PictureLabels:
    """Write which single pictures are good and which bad, for KTO, and a card beside.

    Args:
        archive: Whose ratings and pictures.
        condition: Only pictures that meet this.
        target: The file of rows; the card has its name and ``.md``.

    Raises:
        StorageError: The rows cannot be written.
        OSError: The card cannot be.
    """
    labels = picture_labels(archive.ratings().events(), exportable_pictures(archive, condition))
    write_jsonl(target, kto_rows(labels))
    card = label_card(labels, query=condition or "everything", layout="kto")
    replace_file(target.with_suffix(".md"), label_card_markdown(card).encode())
    return labels


def mirror_ratings(archive: Archive, condition: str) -> tuple[int, int]:
    """Write a sidecar beside each rated picture, for photo programs.

    Returns:
        How many, and how many were left alone as other programs wrote them.

    Raises:
        OSError: One cannot be written.
    """
    written = left = 0
    columns = ["path", "stars", "rejected", "gone"]
    for row in archive.query(condition, columns=columns, limit=None).dicts():
        packet = xmp_packet(row["stars"], rejected=bool(row["rejected"]))
        if row["path"] is None or row["gone"] or packet is None:
            continue
        picture = picture_file(archive.path, row["path"])
        sidecar = picture.with_name(f"{picture.name}.xmp")
        if not os.path.isfile(picture):  # noqa: PTH113 - one that may not be looked at, too
            continue
        try:
            is_ours = is_own_packet(read_regular_file(sidecar))
        except FileNotFoundError:
            is_ours = True
        except NotRegularFile:
            is_ours = False
        if not is_ours:
            left += 1
            continue
        replace_file(sidecar, packet)
        written += 1
    return written, left


def exportable_pictures(archive: Archive, condition: str) -> Iterator[RatedPicture]:
    """Yield the pictures that meet *condition* and lie where the archive knows them, no grids."""
    grids = grid_files(archive)
    columns = ["sha256", "pixel_sha256", "path", "prompt", "width", "height", "gone"]
    for row in archive.query(condition, columns=columns, limit=None).dicts():
        # In the place of a picture that is gone another one may lie.
        if row["path"] is None or row["gone"] or row["sha256"] in grids:
            continue
        yield RatedPicture(
            identity=Identity(sha256=row["sha256"], pixel_sha256=row["pixel_sha256"]),
            path=str(picture_file(archive.path, row["path"])),
            prompt=row["prompt"] or "",
            width=row["width"],
            height=row["height"],
        )
