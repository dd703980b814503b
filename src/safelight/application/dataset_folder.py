"""dataset_folder: rated pictures as a folder that Hugging Face's ``datasets`` reads, files inside.

The layout is that of an image folder: the files and ``metadata.jsonl`` in ``train/``, whose columns
that end in ``file_name`` become pictures, and a card in ``README.md``. A picture is there once,
however many pairs it is in, byte for byte; one whose file is not what the archive knows is left
out with its rows, as a row without its file would stop the reader.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safelight.application.exporting import exportable_pictures
from safelight.application.handing_over import picture_bytes, picture_suffix
from safelight.archive import Archive
from safelight.durable_file import copy_new_file, make_folder, replace_file
from safelight.errors import RequestError
from safelight.escaped_output import escaped_line
from safelight.learning.ratings.picture_labels import (
    label_card,
    label_card_markdown,
    picture_labels,
)
from safelight.learning.ratings.preference_export import (
    RatedPicture,
    card_markdown,
    preference_card,
    preference_pairs,
    write_jsonl,
)

__all__ = ["DatasetFolder", "write_dataset"]

_SPLIT = "train"
_SAID = ("stars", "favourite", "rejected", "picks_won", "picks_lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFolder:
    """What was written.

    Attributes:
        rows: Of the metadata: pairs, or pictures.
        pictures: Files.
        missing: Pictures whose files are not what the archive knows, or not there.
    """

    rows: int
    pictures: int
    missing: int


def write_dataset(
    archive: Archive, condition: str, target: Path, of: Literal["pairs", "pictures"]
) -> DatasetFolder:
    """Write what was rated among the pictures that meet *condition* into a new folder.

    Args:
        archive: Whose ratings and pictures.
        condition: In the filter language.
        target: A new or empty folder.
        of: ``pairs`` gives ``chosen`` and ``rejected`` of each, without ties; ``pictures`` one
            ``image`` with its ratings and a ``label``, true (good), false (bad) or none.

    Raises:
        RequestError: *target* is there, and not an empty folder.
        OSError: It cannot be written.
    """
    if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(f"TARGET must be a new or empty folder, got {escaped_line(str(target))}")
    make_folder(target / _SPLIT)
    copied = _Copied(target / _SPLIT)
    write = _pairs if of == "pairs" else _pictures
    rows, card = write(archive, condition, copied.name)
    write_jsonl(target / _SPLIT / "metadata.jsonl", rows)
    head = f"---\npretty_name: Rated pictures ({of})\ntags: [text-to-image, preferences]\n---\n\n"
    replace_file(target / "README.md", (head + card).encode())
    there = sum(name is not None for name in copied.names.values())
    return DatasetFolder(rows=len(rows), pictures=there, missing=len(copied.names) - there)


class _Copied:
    """The files of the folder: each picture is copied when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names: dict[str, str | None] = {}

    def name(self, picture: RatedPicture) -> str | None:
        """Return what the file of *picture* is called in the folder; None when there is none."""
        digest = picture.identity.sha256 or ""
        if digest not in self.names:
            self.names[digest] = self._copy(Path(picture.path), digest)
        return self.names[digest]

    def _copy(self, source: Path, digest: str) -> str | None:
        try:
            data = picture_bytes(source, digest)
        except (OSError, ValueError):
            return None  # counted, and told
        name = digest + picture_suffix(data)
        copy_new_file(data, self._folder / name, flush=False)
        return name


_Named = Callable[[RatedPicture], str | None]


def _pairs(archive: Archive, condition: str, name: _Named) -> tuple[list[dict[str, Any]], str]:
    made = list(
        preference_pairs(archive.ratings().events(), exportable_pictures(archive, condition))
    )
    rows = []
    for pair in made:
        if pair.tie:
            continue
        chosen, rejected = name(pair.winner), name(pair.loser)
        if chosen and rejected:
            rows.append({
                "chosen_file_name": chosen, "rejected_file_name": rejected, "prompt": pair.prompt,
                "origin": pair.origin, "created_at": pair.timestamp,
            })  # fmt: skip
    card = preference_card(made, query=condition or "everything", layout="hf")
    return rows, card_markdown(card)


def _pictures(archive: Archive, condition: str, name: _Named) -> tuple[list[dict[str, Any]], str]:
    pictures = list(exportable_pictures(archive, condition))
    labels = picture_labels(archive.ratings().events(), pictures)
    good = {one.picture.identity.sha256: one.good for one in labels.labels}
    said = dict(_said(archive, condition))
    rows = []
    for digest, picture in {each.identity.sha256: each for each in pictures}.items():
        if digest in said and (file := name(picture)):
            rows.append({
                "file_name": file, "prompt": picture.prompt, "label": good.get(digest),
                **said[digest],
            })  # fmt: skip
    card = label_card(labels, query=condition or "everything", layout="hf")
    return rows, label_card_markdown(card)


def _said(archive: Archive, condition: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the hash of each rated picture, and what was said of it."""
    for row in archive.query(condition, columns=["sha256", *_SAID], limit=None).dicts():
        said = {
            "stars": row["stars"], "favourite": bool(row["favourite"]),
            "rejected": bool(row["rejected"]), "picks_won": row["picks_won"] or 0,
            "picks_lost": row["picks_lost"] or 0,
        }  # fmt: skip
        if any(said.values()):
            yield row["sha256"], said
