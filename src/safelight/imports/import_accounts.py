"""Accounts of imports: what each did, as one entry, however many pictures it took in.

Two lines in the archive's ``imports`` folder: one when an import begins to change something, one
when it ends. An import that was killed has the first one only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from safelight.archive_layout import imports_folder
from safelight.durable_file import open_regular_file
from safelight.line_checksums import line_state

__all__ = ["MOST_FAULTS_KEPT", "ImportAccount", "import_accounts"]

MOST_FAULTS_KEPT = 100
"""Faults that an account keeps; how many there were, it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportAccount:
    """What one import did.

    Attributes:
        began: When it began, ISO 8601.
        ended: When it ended; empty while it goes on, and for ever where it was killed.
        folders: What was to be imported, as records write paths.
        summary: Counts, and what could not be read; as ``safelight import --json`` prints them.
    """

    began: str
    ended: str = ""
    folders: tuple[str, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)

    def count(self, name: str) -> int:
        """Return the summary's count *name*; 0 where it has none."""
        value = self.summary.get(name, 0)
        return value if isinstance(value, int) else 0


_decoder = msgspec.json.Decoder(ImportAccount)


def import_accounts(archive: Path) -> list[ImportAccount]:
    """Return the accounts of all imports into *archive*, the newest first.

    Imports of versions before accounts were kept have none.
    """
    accounts = []
    for path in sorted(imports_folder(archive).glob("account-*.jsonl"), reverse=True):
        last: ImportAccount | None = None
        with contextlib.suppress(OSError), open_regular_file(path) as file:
            for line in file:
                with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
                    if line_state(line.rstrip()) != "damaged":
                        last = _decoder.decode(line)
        if last is not None:
            accounts.append(last)
    return accounts
