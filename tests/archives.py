"""What tests ask of archives again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safelight.archive import Archive, Fault
from safelight.archive.verification import verify_archive
from safelight.web.held_archive import HeldArchive

__all__ = ["held_in_memory", "verified", "wait_until_held"]


def verified(archive: Archive) -> tuple[int, list[Fault]]:
    """Return how many records are whole, and what is not as it was written."""
    report = verify_archive(archive)
    assert len(report.faults) == report.fault_count
    return report.records, report.faults


def wait_until_held(held: HeldArchive) -> None:
    """Wait until *held* has its pictures in memory."""
    held.query("")
    while held.is_loading:
        time.sleep(0.01)


@contextmanager
def held_in_memory(folder: Path) -> Iterator[HeldArchive]:
    """Give the archive in *folder* as the page holds it, its pictures in memory."""
    held = HeldArchive(folder)
    try:
        wait_until_held(held)
        yield held
    finally:
        held.close()
