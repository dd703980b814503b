"""grids: files that show several pictures, and are no sample of what was recorded of them."""

from __future__ import annotations

from safelight.archive.archive import Archive
from safelight.knobs import EXTRA
from safelight.recorded_settings import GRID

__all__ = ["OF_GRIDS", "grid_files"]

OF_GRIDS = f"SELECT run_id, place FROM settings WHERE name = '{EXTRA}{GRID}'"
"""SQL over the views: the places of all grids."""


def grid_files(archive: Archive) -> frozenset[str]:
    """Return the SHA-256 of every file of *archive* that shows several pictures.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    rows = archive.rows(
        f"SELECT sha256 FROM plain_run_images WHERE (run_id, place) IN ({OF_GRIDS})", rated=False
    )
    return frozenset(digest for (digest,) in rows if digest)
