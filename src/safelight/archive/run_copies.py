"""run_copies: several records of one run: which of them counts, and whether they differ.

A copy of an archive that was made while a run went on, and recovered there, holds the run as
``interrupted``; merged back, there are two records of it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable

from safelight.errors import RecordError
from safelight.learning.learning_record import LearningRecord, read_document

__all__ = ["Rank", "comparable_content", "rank_of", "that_count"]

Rank = tuple[bool, int, bool, str]


def rank_of(status: str, pictures: int, digest: str | None) -> Rank:
    """Return by what one of several records of a run counts: the highest.

    A run that ended knows more than one that was taken for killed; of two such the one that came
    further does. Between equal ones the digest decides, so that it is the same one in every
    archive that has both, packed or not.
    """
    return status != "interrupted", pictures, status == "completed", digest or ""


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
    """Return what is equal for records that say the same of their run.

    Imports of the same pictures from two places do, although they tell other places and times.
    """
    if record.status == "imported":
        return tuple(sorted(output.sha256 for output in record.outputs))
    return hashlib.sha256(document).digest()


def _rank(record: LearningRecord) -> Rank:
    return rank_of(record.status, len(record.outputs), record.digest)
