"""An import in small steps, for a process that will be killed."""

from __future__ import annotations

from pathlib import Path

from safelight.archive import Archive
from safelight.imports import folder_import


def run(folder: str, archive: str) -> None:
    folder_import._PER_PACK = 24
    folder_import._TOGETHER = 4
    folder_import._LOOSE = 8
    folder_import.import_folders([Path(folder)], Archive(Path(archive)))
