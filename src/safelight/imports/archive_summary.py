"""archive_summary: what was read of all pictures that an archive has from other tools."""

from __future__ import annotations

from collections import Counter

from safelight.archive import Archive
from safelight.imports.folder_import import ImportSummary

__all__ = ["summary_of_archive"]

_DOUBTS = ("unresolved", "conflicting")


def summary_of_archive(archive: Archive) -> ImportSummary:
    """Return how many pictures of each tool an archive has, and what of them was not read.

    Raises:
        ArchiveError: The archive cannot be asked.
    """
    summary = ImportSummary()
    for name, outcome, *doubts, gone, count in archive.rows(
        "SELECT coalesce(backend, ''), coalesce(outcome, 'none'), unresolved, conflicting,"
        " count(*) FILTER (gone AND discarded IS NULL), count(*) FROM images"
        " WHERE status = 'imported' GROUP BY ALL",
        rated=False,
    ):
        summary.files += count
        summary.gone += gone
        summary.read.setdefault(name, Counter())[outcome] += count
        missing = summary.missing.setdefault(name, Counter())
        for status, knobs in zip(_DOUBTS, doubts, strict=True):
            for knob in knobs.split(", ") if knobs else ():
                missing[f"{knob} {status}"] += count
    summary.imported = summary.files
    return summary
