"""The process that imports a folder for a server: one import, told line by line, then its end.

It stands beside the server, so that ratings do not wait for it, and outlives neither it nor its
wish: when its standard input ends, because somebody cancelled or because the server is gone, it
reads no more, puts what it has read into the archive and ends. Killed, it loses nothing that the
next import would not find again (:mod:`safelight.imports.import_journal`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from safelight.archive import Archive
from safelight.errors import SafelightError, sentence_of
from safelight.imports.folder_import import ImportSummary, import_folders
from safelight.operating_system import ignore_interrupts, step_far_behind

__all__ = ["told_of"]

_NICENESS = 5
_EVERY = 0.25
_MOST_FAULTS = 20


def told_of(summary: ImportSummary) -> dict[str, Any]:
    """Return what is told of an import: what the command prints as JSON, with few faults."""
    told = summary.to_dict()
    told["faults"] = told["faults"][:_MOST_FAULTS]
    told["twin_places"] = told["twin_places"][:_MOST_FAULTS]
    return told


def _main() -> int:
    archive, jobs, *folders = sys.argv[1:]
    ignore_interrupts()
    step_far_behind(_NICENESS)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not come between
    stop = threading.Event()

    def wait_for_the_end() -> None:
        while os.read(0, 4096):
            pass
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()

    def tell(word: dict[str, Any]) -> None:
        with suppress(OSError):  # nobody listens any more
            out.write(msgspec.json.encode(word) + b"\n")
            out.flush()

    last = 0.0

    def show(summary: ImportSummary) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            tell({"so_far": told_of(summary)})

    try:
        summary = import_folders(
            folders, Archive(Path(archive)), jobs=int(jobs), on_progress=show, stop=stop.is_set
        )
    except (OSError, SafelightError) as error:
        tell({"error": sentence_of(error)})
        return 1
    tell({"summary": told_of(summary)})
    return 0


if __name__ == "__main__":
    sys.exit(_main())
