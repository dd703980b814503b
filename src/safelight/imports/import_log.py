"""import_log: which files were imported, and where known pictures lie now.

Five kinds of append-only files in the archive's ``imports`` folder, a new one for each import,
a JSON object a line. ``seen-*`` spares the next import of the same tree the reading; ``places-*``
tells where a picture that was already known was met again, or is gone from; ``spools-*``, how far
the lines of tools were read (:mod:`.spools`), ``pixels-*``, what these said of pictures in memory
(:mod:`.told_pixels`). None holds anything
that a fresh import would not find again, so a lost or torn file costs time only. ``account-*`` says
what the import did (:mod:`.import_accounts`).
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from safelight.durable_file import AppendOnlyFile, make_folder, open_regular_file
from safelight.line_checksums import line_state, with_checksum

__all__ = ["ImportLog", "LogLine", "SeenFiles", "path_key"]


class LogLine(msgspec.Struct):
    """A file that was met: its place as records hold it, and of which picture it is."""

    path: str
    size: int = 0
    modified: int = 0
    changed: int = 0
    sha256: str = ""

    @property
    def file(self) -> tuple[str, int, int, int]:
        """Place, bytes and both times: what tells that a file is as it was."""
        return self.path, self.size, self.modified, self.changed


_decoder = msgspec.json.Decoder(LogLine)


class SeenFiles:
    """Files of earlier imports, eight bytes each.

    Lines of earlier versions do not say when a file was changed, only when it was written.
    """

    def __init__(self, lines: Iterable[tuple[str, int, int, int]]) -> None:
        import numpy as np

        keys = np.fromiter((_key(*line) for line in lines), dtype=np.uint64)
        self._keys = np.unique(keys)

    def __contains__(self, file: tuple[str, int, int, int]) -> bool:
        return self._holds(_key(*file)) or self._holds(_key(*file[:3], 0))

    def _holds(self, key: int) -> bool:
        import numpy as np

        place = int(np.searchsorted(self._keys, np.uint64(key)))
        return place < len(self._keys) and int(self._keys[place]) == key

    def __len__(self) -> int:
        return len(self._keys)


def path_key(path: str) -> int:
    """Return eight bytes of a place, as records hold it."""
    text = path.encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _key(path: str, size: int, modified: int, changed: int) -> int:
    """Eight bytes of a file's name, size and times; two share one in 10**13 pairs of pairs."""
    when = f"{modified}\0{changed}" if changed else f"{modified}"
    text = f"{path}\0{size}\0{when}".encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


_MOMENT = "%Y%m%dT%H%M%S.%f"


def _moment_after(folder: Path) -> str:
    """Return now, or what comes after the last log of *folder* where a clock was ahead then.

    The newest line counts, and a clock that was put right must not make it an older one.
    """
    last = max((path.name.split("-", 1)[-1] for path in folder.glob("*-*.jsonl")), default="")
    now = datetime.now(UTC)
    with contextlib.suppress(ValueError, OverflowError):
        before = datetime.strptime(last.partition("_")[0], _MOMENT).replace(tzinfo=UTC)
        now = max(now, before + timedelta(microseconds=1))
    return now.strftime(_MOMENT)


class ImportLog:
    """Reads the logs of all imports and writes that of one.

    Attributes:
        stem: What names the files of this import.

    Args:
        folder: ``imports`` in the archive; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.stem = f"{_moment_after(folder)}_{secrets.token_hex(4)}"
        self._open: dict[str, AppendOnlyFile] = {}

    def seen(self) -> SeenFiles:
        """Return the files that need not be read again."""
        return SeenFiles(line.file for line in self.lines("seen"))

    @property
    def files(self) -> list[Path]:
        """What was written of this import."""
        return [file.path for file in self._open.values()]

    def lines(self, kind: str) -> Iterator[LogLine]:
        """Yield the whole lines of all logs of a kind: ``seen``, ``places`` or ``spools``."""
        for line in self.texts(kind):
            with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
                yield _decoder.decode(line)

    def texts(self, kind: str) -> Iterator[bytes]:
        """Yield the lines of all logs of a kind that are not damaged, as they stand there."""
        for path in sorted(self._folder.glob(f"{kind}-*.jsonl")):
            with contextlib.suppress(OSError), open_regular_file(path) as file:
                for line in file:
                    if line_state(line.rstrip()) != "damaged":
                        yield line

    def add_seen(self, entries: Iterable[tuple[str, int, int, int, str]]) -> None:
        """Say that files (shown path, size, modified, changed, sha256) are in the archive."""
        self._append("seen", [
            {"path": path, "size": size, "modified": modified, "changed": changed, "sha256": sha256}
            for path, size, modified, changed, sha256 in entries
        ])  # fmt: skip

    def add_places(self, entries: Iterable[tuple[str, str]]) -> None:
        """Say where known pictures (sha256, shown path) were met."""
        self._append("places", [{"path": path, "sha256": sha} for sha, path in entries])

    def add_gone(self, entries: Iterable[tuple[str, str]]) -> None:
        """Say which pictures (sha256, shown path) are not there any more."""
        self._append(
            "places", [{"path": path, "sha256": sha, "gone": True} for sha, path in entries]
        )

    def add_discarded(self, entries: Iterable[tuple[str, str]]) -> None:
        """Say which pictures (sha256, shown path) somebody put into the trash."""
        self._append("places", [
            {"path": path, "sha256": sha, "gone": True, "discarded": True} for sha, path in entries
        ])  # fmt: skip

    def add_spools(self, entries: Iterable[tuple[str, int]]) -> None:
        """Say until which byte spool files (name, byte) are in the archive."""
        self._append("spools", [{"path": name, "size": until} for name, until in entries])

    def add_pixels(self, entries: Sequence[msgspec.Struct]) -> None:
        """Say what lines told of pictures in memory; see :mod:`.told_pixels`."""
        self._append("pixels", entries)

    def add_account(self, account: dict[str, Any]) -> None:
        """Say what this import did until now; see :mod:`.import_accounts`."""
        self._append("account", [account])

    def _append(self, kind: str, entries: Sequence[dict[str, Any] | msgspec.Struct]) -> None:
        if not entries:
            return
        file = self._open.get(kind)
        if file is None:
            make_folder(self._folder, root=self._folder.parent)
            file = self._open[kind] = AppendOnlyFile(self._folder / f"{kind}-{self.stem}.jsonl")
        file.append(b"\n".join(with_checksum(msgspec.json.encode(entry)) for entry in entries))

    def close(self) -> None:
        """Close what is open."""
        for file in self._open.values():
            file.close()
        self._open.clear()
