"""known_pictures: whether a picture that was read is one that the archive has, and which.

Same bytes are the same picture. Same image data is, too, where settings are the same, wherever it
lies; and where it lies in the same place, whatever its file says now: then its record is
superseded. The same image data with other settings in another place is a twin. A file that was
met half written has no image data yet: what comes in its place supersedes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from safelight.archive import Archive
from safelight.archive.columns import decoded, run_of
from safelight.archive_layout import picture_file
from safelight.imports.import_log import path_key
from safelight.imports.imported_picture import READER, ImportedPicture
from safelight.imports.readings_compared import (
    about_import,
    changes_between,
    is_told,
    says_the_same,
    superseding,
)
from safelight.learning.learning_record import LearningRecord

__all__ = ["KnownPictures", "Settled", "settle"]

What = Literal["new", "twin", "known", "superseding"]


class KnownPictures:
    """The pictures in an archive, eight bytes a hash: flat in memory.

    Attributes:
        unsure: Keys of the places of pictures whose image data is not known yet: of those that an
            earlier version imported, and of files that were cut.
        places: Keys of the places of all imported pictures that are not gone.
        some_gone: Whether any imported picture is gone from its place.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._keys: tuple[Any, ...] = ()
        self._new: set[int] = set()
        self.unsure: set[int] = set()
        self.places: set[int] = set()
        self.some_gone = False
        for path, is_gone, is_unsure in archive.rows(
            "SELECT path, coalesce(gone, FALSE), image_sha256 IS NULL FROM images"
            " WHERE status = 'imported' AND path IS NOT NULL",
            rated=False,
        ):
            key = path_key(path)
            if is_gone:
                self.some_gone = True
            else:
                self.places.add(key)
            if is_unsure:
                self.unsure.add(key)

    def add(self, picture: ImportedPicture) -> bool:
        """Take a picture in; False when it may be one that was there."""
        keys = {int(digest[:16], 16) for digest in (picture.sha256, picture.image_sha256) if digest}
        known = any(key in self._new or self._holds(key) for key in keys)
        self._new |= keys
        return not known and path_key(picture.path) not in self.unsure

    def _holds(self, key: int) -> bool:
        import numpy as np

        if not self._keys:  # not when all is unchanged
            self._keys = tuple(map(self._archive.picture_keys, ("sha256", "image_sha256")))
        for keys in self._keys:
            place = int(np.searchsorted(keys, np.uint64(key)))
            if place < len(keys) and int(keys[place]) == key:
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Which picture a file is.

    Attributes:
        picture: What was read; its record is that of the picture that it supersedes, if any.
        what: ``new``, ``twin``: new, with the image data of another one; ``known``;
            ``superseding``: the record of a known picture says something else now.
        sha256: By which the archive knows the picture, where it does.
        is_gone: The archive's place of it holds nothing any more.
        changes: (Knob, what became of it) where it supersedes a reading.
    """

    picture: ImportedPicture
    what: What
    sha256: str = ""
    is_gone: bool = False
    changes: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, eq=False)
class _Row:
    run_id: str
    status: str
    sha256: str
    image: str | None
    path: str | None
    settings: int | None
    reader: int
    gone: bool
    old: LearningRecord | None = field(default=None)


def settle(
    archive: Archive, pictures: Sequence[ImportedPicture], decided: set[object], *, again: bool
) -> Iterator[Settled | ImportedPicture]:
    """Yield what each of *pictures* is; one that has to wait for another one of them as it is.

    Args:
        archive: Whose pictures are known.
        pictures: What was read, with places as records hold them.
        decided: By what those are known that were settled and are not in the archive yet; filled.
        again: Whether a reading that says something else supersedes the one before it.

    Raises:
        ArchiveError: The archive cannot be asked.
    """
    settings = [run_of(decoded(picture.document)).picture_key for picture in pictures]
    known = _Known(archive, pictures, [key for key in settings if key is not None])
    for picture, key in zip(pictures, settings, strict=True):
        same = known.by_bytes.get(picture.sha256, ())
        here = [row for row in known.by_path.get(picture.path, ()) if row not in same]
        keys = {picture.sha256, picture.path, key, *(row.run_id for row in (*same, *here))} - {None}
        if keys & decided:
            yield picture
            continue
        new = LearningRecord.from_json(picture.document)
        settled = _settled(archive, picture, new, same, here, again=again)
        if settled is None and key in known.by_settings:
            row = known.by_settings[key]
            settled = Settled(picture=picture, what="known", sha256=row.sha256)
            if _is_gone(archive, row):  # moved and given other texts: its bytes are these now
                settled = _supersede(picture, new, _record(archive, row), row)
        elif settled is None:
            image = picture.image_sha256
            is_twin = image in known.images or (image != "" and image in decided)
            settled = Settled(picture=picture, what="twin" if is_twin else "new")
        if settled.what != "known":
            decided |= {*keys, picture.image_sha256} - {""}
        yield settled


def _settled(
    archive: Archive,
    picture: ImportedPicture,
    new: LearningRecord,
    same: Sequence[_Row],
    here: Sequence[_Row],
    *,
    again: bool,
) -> Settled | None:
    """Return what a file is by its bytes or its place; None when neither tells."""
    for row in sorted(same, key=lambda row: row.status == "imported"):
        gone = _is_gone(archive, row)
        if row.status == "imported":
            old = _record(archive, row)
            told, tells = (about_import(each).get("outcome") != "none" for each in (old, new))
            at_home = row.path == picture.path or gone
            lacks = row.image is None and bool(picture.image_sha256)
            better = again and (
                row.reader < READER
                or (at_home and not says_the_same(old, superseding(new, old)))
            )  # fmt: skip
            adds = is_told(new) and not is_told(old) and (tells or not told)
            only_told = is_told(old) and told and not tells  # by a line, which is not at hand now
            # The same bytes say more where a text lies beside them.
            if (
                adds
                or (tells and not told)
                or ((lacks or better) and not only_told and (tells or at_home or not told))
            ):
                return _supersede(picture, new, old, row)
        return Settled(picture=picture, what="known", sha256=row.sha256, is_gone=gone)
    for row in here:
        if row.image is not None and row.image == picture.image_sha256:
            return _supersede(picture, new, _record(archive, row), row)
        if row.image is None:
            old = _record(archive, row)
            was_cut = dict(about_import(old).get("file") or {}).get("cut") is True
            if was_cut or _has_same_settings(old, new):
                return _supersede(picture, new, old, row)
    return None


def _supersede(
    picture: ImportedPicture, new: LearningRecord, old: LearningRecord, row: _Row
) -> Settled:
    record = superseding(new, old)
    return Settled(
        picture=replace(picture, document=record.to_document()), what="superseding",
        sha256=row.sha256, changes=tuple(changes_between(old, record)),
    )  # fmt: skip


def _has_same_settings(one: LearningRecord, other: LearningRecord) -> bool:
    """Return whether two readings, of which one has no image data, are of one picture."""
    sizes = [[(o.width, o.height) for o in record.outputs] for record in (one, other)]
    configs = [list(record.variant_configs) for record in (one, other)]
    return configs[0] == configs[1] and any(configs[0]) and sizes[0] == sizes[1]


def _is_gone(archive: Archive, row: _Row) -> bool:
    if row.path is None:
        return False
    return row.gone or not os.path.isfile(picture_file(archive.path, row.path))


def _record(archive: Archive, row: _Row) -> LearningRecord:
    return row.old or archive.record(row.run_id)


class _Known:
    """What an archive has of some pictures.

    Attributes:
        by_bytes: SHA-256 -> the pictures of these bytes.
        by_path: Place -> the imported pictures there.
        by_settings: Key of image data and settings -> a picture that has them.
        images: The hashes of image data that are known.
    """

    def __init__(
        self, archive: Archive, pictures: Sequence[ImportedPicture], settings: Sequence[int]
    ) -> None:
        digests = sorted({picture.sha256 for picture in pictures})
        images = sorted({picture.image_sha256 for picture in pictures} - {""})
        found: list[tuple[Any, ...]] = archive.rows(
            "SELECT i.run_id, i.status, i.sha256, i.image_sha256, i.path, r.picture_key,"
            " coalesce(r.reader, 0), coalesce(i.gone, FALSE) FROM run_images i"
            " JOIN runs r ON r.run_id = i.run_id"
            " WHERE i.sha256 IN (SELECT unnest(?::VARCHAR[]))"
            " OR (i.status = 'imported' AND i.path IN (SELECT unnest(?::VARCHAR[])))"
            " OR r.picture_key IN (SELECT unnest(?::UBIGINT[]))",
            [digests, sorted({picture.path for picture in pictures}), list(settings)],
            rated=False,
        )
        rows = [_Row(*row) for row in sorted(found, key=lambda row: (row[0], row[2]))]
        self.by_bytes: dict[str, list[_Row]] = {}
        self.by_path: dict[str, list[_Row]] = {}
        self.by_settings: dict[int | None, _Row] = {}
        for row in rows:
            self.by_bytes.setdefault(row.sha256, []).append(row)
            if row.status == "imported":
                self.by_path.setdefault(row.path or "", []).append(row)
            if row.settings is not None:
                self.by_settings.setdefault(row.settings, row)
        records = {record.run_id: record for record in archive.records(
            row.run_id for row in rows if row.status == "imported")}  # fmt: skip
        for row in rows:
            row.old = records.get(row.run_id)
        self.images: set[object] = {image for (image,) in archive.rows(
            "SELECT DISTINCT image_sha256 FROM images"
            " WHERE image_sha256 IN (SELECT unnest(?::VARCHAR[]))",
            [images],
            rated=False,
        )}  # fmt: skip
