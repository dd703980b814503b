"""run_copies: several records of one run: which of them counts, and whether they differ.

A copy of an archive that was made while a run went on, and recovered there, holds the run as
``interrupted``; merged back, there are two records of it. An imported picture that was read again,
by a reader that knows better or because its file says something else now, has a record of each
reading.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from safelight.errors import RecordError
from safelight.learning.learning_record import LearningRecord, read_document

__all__ = ["IMPORTED", "NOT_READ", "RANK_IN_SQL", "Rank", "ReadingNumber", "comparable_content",
           "number_of_reading", "rank_of", "that_count"]  # fmt: skip

ReadingNumber = tuple[int, int]
"""Of a picture that was imported: the number of the reader, and how many readings of the picture
its writer knew, when this one said something else than the last."""

IMPORTED = "imported"
"""Status of a record that was made from a picture of another tool."""

NOT_READ: ReadingNumber = (0, 0)
Rank = tuple[bool, ReadingNumber, int, bool, str]
_MOST = 2**31


def rank_of(
    status: str, pictures: int, digest: str | None, reading: ReadingNumber = NOT_READ
) -> Rank:
    """Return by what one of several records of a run counts: the highest.

    A run that ended knows more than one that was taken for killed; of two such the one that came
    further does. Of an imported picture the newest reader's reading counts, and of several the
    last. Between equal ones the digest decides, so that it is the same one in every archive that
    has both, packed or not.
    """
    return status != "interrupted", reading, pictures, status == "completed", digest or ""


RANK_IN_SQL = (
    "status <> 'interrupted' DESC, reader DESC, reading DESC, pictures DESC,"
    " status = 'completed' DESC, coalesce(digest, '') DESC"
)
"""The same order for tables of records: the first counts."""


def number_of_reading(reader: Any, reading: Any) -> ReadingNumber:
    """Return the number of a reading from what a record's ``metadata.import`` has of it."""
    return _whole(reader), _whole(reading)


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < _MOST else 0


def that_count(documents: Iterable[tuple[str, bytes]]) -> dict[str, LearningRecord]:
    """Return run_id -> the one of its whole records that counts; of equal ones the first."""
    counting: dict[str, LearningRecord] = {}
    for run_id, document in documents:
        with contextlib.suppress(RecordError):
            record = read_document(document)
            if run_id not in counting or _rank(record) > _rank(counting[run_id]):
                counting[run_id] = record
    return counting


def comparable_content(record: LearningRecord, document: bytes) -> object:
    """Return what is equal for records that do not contradict each other about their run.

    Readings of a picture do not, whatever they say: the last one is meant to say something else.
    """
    return b"" if record.status == IMPORTED else hashlib.sha256(document).digest()


def _rank(record: LearningRecord) -> Rank:
    imported = record.metadata.get("import") if record.status == IMPORTED else None
    own = imported if isinstance(imported, Mapping) else {}
    reading = number_of_reading(own.get("reader"), own.get("reading"))
    return rank_of(record.status, len(record.outputs), record.digest, reading)
