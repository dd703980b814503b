"""The archive: records and packs as one thing that answers questions."""

from safelight.archive.answer import Answer, Fault
from safelight.archive.archive import Archive, PackReport

__all__ = ["Answer", "Archive", "Fault", "PackReport"]
