"""What tests ask of archives again and again."""

from __future__ import annotations

from safelight.archive import Archive, Fault
from safelight.archive.verification import verify_archive

__all__ = ["verified"]


def verified(archive: Archive) -> tuple[int, list[Fault]]:
    """Return how many records are whole, and what is not as it was written."""
    found = verify_archive(archive)
    assert len(found.faults) == found.fault_count
    return found.records, found.faults
