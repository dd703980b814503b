"""The archive: records and packs as one thing that answers questions."""

from safelight.archive.archive import Answer, Archive, Fault, PackReport

__all__ = ["Answer", "Archive", "Fault", "PackReport"]
