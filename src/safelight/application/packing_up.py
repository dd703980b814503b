"""packing_up: loose records become packs when there are many, by whoever has added to them."""

from __future__ import annotations

from collections.abc import Callable

from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.errors import SafelightError

__all__ = ["PACK_FROM", "pack_if_many"]

PACK_FROM = 1000


def pack_if_many(archive: Archive, on_message: Callable[[str], object]) -> None:
    """Pack the loose records when they have become many; trouble is told and harms nothing."""
    folder = records_folder(archive.path)
    try:
        if not folder.is_dir() or sum(1 for _ in folder.iterdir()) < PACK_FROM:
            return
        report = archive.pack(at_least=PACK_FROM)
    except (SafelightError, OSError) as error:
        on_message(f"the records were not packed: {error}")
        return
    if report.records:
        on_message(f"{report.records:,} records packed")
