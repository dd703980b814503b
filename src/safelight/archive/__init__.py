"""The archive: records and packs as one thing that answers questions."""

from safelight.archive.archive import PACK_FROM, Answer, Archive, Fault, PackReport

__all__ = ["PACK_FROM", "Answer", "Archive", "Fault", "PackReport"]
