"""What tests ask of archives again and again."""

from __future__ import annotations

from safelight.archive import Archive, Fault
from safelight.archive.verification import verify_archive

__all__ = ["verified"]


def verified(archive: Archive) -> tuple[int, list[Fault]]:
    """Return how many records are whole, and what is not as it was written."""
    report = verify_archive(archive)
    assert len(report.faults) == report.fault_count
    return report.records, report.faults
