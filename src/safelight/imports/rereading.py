"""rereading: imported pictures read again from the texts that their records keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from safelight.archive import Archive
from safelight.errors import ImageError
from safelight.formats.file_texts import FileTexts
from safelight.formats.hidden_text import HIDDEN_PLACES
from safelight.imports.imported_picture import LEFT_OUT, READER, record_of
from safelight.imports.picture_reader import TOLD, read_texts
from safelight.imports.readings_compared import (
    about_import,
    changes_between,
    says_the_same,
    superseding,
)
from safelight.learning.learning_record import LearningRecord

__all__ = ["Rereading", "reread_archive"]

_TOGETHER = 1000
_PER_PACK = 16_384
_LOOSE = 64
_OF_TRAININGS = {"Training step", "Training epoch"}
_OF_THE_FILE = ("file", "image_sha256", "image_is", "file_warnings")
_FILE_WARNINGS = ("the PNG file", "the JPEG file", "the EXIF block", "a text chunk",
                  "the text chunk", "content credentials")  # fmt: skip
"""How warnings about the file itself begin, in records of before they were kept apart."""


@dataclass(slots=True, kw_only=True)
class Rereading:
    """What reading again did.

    Attributes:
        pictures: Imported ones that there are.
        superseded: Of these, with a new record.
        changes: Knob -> what became of it -> pictures.
        left: Whose records keep not all of their texts, as those of trainings, which the files
            beside them told of; they were left as they are.
    """

    pictures: int = 0
    superseded: int = 0
    changes: dict[str, dict[str, int]] = field(default_factory=dict)
    left: int = 0


def reread_archive(
    archive: Archive, on_progress: Callable[[int, int], None] = lambda *_: None
) -> Rereading:
    """Read every imported picture again; write a record where that says something else.

    Also where the reader is newer than the last. Nothing is changed: the new record counts.

    Raises:
        ArchiveError: The archive cannot be asked or written.
    """
    done = Rereading()
    rows = archive.rows("SELECT run_id FROM runs WHERE status = 'imported'", rated=False)
    run_ids = sorted(run_id for (run_id,) in rows)
    done.pictures = len(run_ids)
    documents: list[bytes] = []
    for start in range(0, len(run_ids), _TOGETHER):
        for record in archive.records(run_ids[start : start + _TOGETHER]):
            new = _read_again(record, done)
            if new is not None:
                documents.append(new.to_document())
                for knob, how in changes_between(record, new):
                    counts = done.changes.setdefault(knob, {})
                    counts[how] = counts.get(how, 0) + 1
        if len(documents) >= _PER_PACK:
            archive.add_pack(documents)
            done.superseded += len(documents)
            documents.clear()
        on_progress(min(start + _TOGETHER, len(run_ids)), len(run_ids))
    if documents:
        add = archive.add_loose if len(documents) < _LOOSE else archive.add_pack
        add(documents)
    done.superseded += len(documents)
    return done


def _read_again(record: LearningRecord, done: Rereading) -> LearningRecord | None:
    """Return the record of a new reading; None when it would say the same."""
    about = about_import(record)
    reader, raw = about.get("reader"), about.get("raw", {})
    known = isinstance(raw, Mapping) and all(isinstance(text, str) for text in raw.values())
    if not known or len(record.outputs) != 1 or type(reader) is not int or reader > READER:
        return None
    extra = about.get("extra")
    if LEFT_OUT in raw or (isinstance(extra, Mapping) and _OF_TRAININGS & extra.keys()):
        done.left += 1
        return None
    new = _record(record, about, {str(key): str(text) for key, text in raw.items()})
    if new is None:
        return None
    new = superseding(new, record)
    return None if reader == READER and says_the_same(new, record) else new


def _record(
    record: LearningRecord, about: Mapping[str, Any], raw: dict[str, str]
) -> LearningRecord | None:
    (output,) = record.outputs
    sidecars = [raw.pop("sidecar")] if "sidecar" in raw else []
    told = [raw.pop(TOLD)] if TOLD in raw else []
    hidden = next(((key, raw.pop(key)) for key in HIDDEN_PLACES if key in raw), None)
    name = about.get("file", {}).get("name", "") if isinstance(about.get("file"), Mapping) else ""
    warnings = about.get("file_warnings")
    if not isinstance(warnings, (list, tuple)):
        warnings = [text for text in record.warnings if text.startswith(_FILE_WARNINGS)]
    texts = FileTexts(
        texts=raw, width=output.width, height=output.height, warnings=list(map(str, warnings))
    )
    try:
        reading = read_texts(
            texts,
            output.sha256,
            sidecars=sidecars,
            told=told,
            name=str(name),
            hidden=lambda: hidden,
        )
    except ImageError:
        return None  # its size was read otherwise
    of_file = {name: about[name] for name in _OF_THE_FILE if name in about}
    return record_of(
        reading, record.timestamp, output.path or "",
        {**of_file, "file_warnings": list(map(str, warnings))}, record.run_id,
    )  # fmt: skip
