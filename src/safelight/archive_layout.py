"""Where things are inside an archive folder.

::

    records/<timestamp>_<run_id>.json       one learning record per run
    images/<date>/<time>-<run_id>/          a run's images, contact sheet and journal.jsonl
    packs/<first timestamp>_<random>/       many records at once: runs, images, loras and
                                            documents (Parquet), and manifest.json
    imports/*.jsonl                         which files were imported, and where pictures were met
    running/<run_id>                        present from a run's start until its record is safe
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

__all__ = [
    "JOURNAL_NAME",
    "imports_folder",
    "packs_folder",
    "records_folder",
    "run_folder",
    "running_folder",
]

JOURNAL_NAME = "journal.jsonl"


def records_folder(archive: Path) -> Path:
    """Return the folder of the records."""
    return archive / "records"


def packs_folder(archive: Path) -> Path:
    """Return the folder of the packs."""
    return archive / "packs"


def imports_folder(archive: Path) -> Path:
    """Return the folder that says which files were imported."""
    return archive / "imports"


def running_folder(archive: Path) -> Path:
    """Return the folder with one marker per run whose record is not safe yet."""
    return archive / "running"


def run_folder(timestamp: str, run_id: str) -> PurePosixPath:
    """Return where a run's images are, relative to the archive."""
    time = timestamp[11:19].replace(":", "")
    return PurePosixPath("images", timestamp[:10], f"{time}-{run_id}")
