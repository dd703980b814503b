"""running_runs: what runs that go on now have made so far, read from their journals as they grow.

Any process and machine may draw into an archive. Each run has a marker in ``running/`` and a
journal beside its pictures, a line for each finished variant; of a journal only what has been added
is read, and so much at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from safelight.allowed_files import FilesUnder
from safelight.archive.columns import Decoded
from safelight.archive_layout import JOURNAL_NAME, marked_folder, pictures_folder, running_folder
from safelight.errors import FileRefused
from safelight.line_checksums import line_state

__all__ = ["RUNNING", "GrowingJournal", "RunningRun", "running_names"]

RUNNING = "running"
"""Status of pictures whose run goes on."""

_MOST_RUNS = 200
_MOST_BYTES = 4 * 2**20
"""Of one journal at a time; the rest comes with the next look."""

_NO_VARIANT = (b'{"error":', b'{"status":')


def running_names(archive: Path) -> tuple[str, ...]:
    """Return the ids of the runs that have a marker, of very many the newest two hundred."""
    try:
        with os.scandir(running_folder(archive)) as entries:
            marks = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return ()
    if len(marks) > _MOST_RUNS:  # what was killed long ago may never have been cleared away
        marks = sorted(marks, key=_changed, reverse=True)[:_MOST_RUNS]
    return tuple(sorted(entry.name for entry in marks))


def _changed(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except OSError:  # it has ended meanwhile
        return 0.0


class GrowingJournal:
    """The lines of one journal, each given once.

    Attributes:
        size: Bytes that were there at the last look.
        changed: When it had grown last, seconds since 1970 by its file system's clock.
        lags: Whether there was more than is read at a time.

    Args:
        archive: The archive folder.
        run_id: The run, after which its marker is called.
    """

    def __init__(self, archive: Path, run_id: str) -> None:
        self._archive, self._run_id = archive, run_id
        self._place = ""
        self._read = 0
        self.size, self.changed, self.lags = -1, 0.0, False

    @property
    def path(self) -> Path:
        """Where it is; only known once it was looked at."""
        return self._archive / self._place

    def new_lines(self) -> list[bytes]:
        """Return the whole lines that came since the last time; none that is damaged.

        Raises:
            OSError: It cannot be read.
            FileRefused: The marker leads out of the archive's pictures.
            ValueError: The marker is no text, or leads out of the archive.
        """
        if not self._place:
            marker = running_folder(self._archive) / self._run_id
            self._place = (marked_folder(marker) / JOURNAL_NAME).as_posix()
        files = FilesUnder((pictures_folder(self._archive),))
        with files.open(self._place, self._archive) as file:
            status = os.fstat(file.fileno())
            self.size, self.changed, self.lags = status.st_size, status.st_mtime, False
            if status.st_size <= self._read:
                return []
            file.seek(self._read)
            text = file.read(_MOST_BYTES)
        self.lags = len(text) == _MOST_BYTES
        whole = text.rfind(b"\n") + 1
        if not whole and len(text) == _MOST_BYTES:
            whole = len(text)  # no line of ours is that long: it is passed over, bit by bit
        self._read += whole
        return [line for line in text[:whole].split(b"\n") if line and _is_sound(line)]


def _is_sound(line: bytes) -> bool:
    return line_state(line) != "damaged"


class _Line(msgspec.Struct, gc=False):
    """What is asked for of a finished variant."""

    config: dict[str, dict[str, Any]]
    outputs: list[msgspec.Raw] = []
    identity: str | None = None
    drawn_by: str | None = None


_line_decoder = msgspec.json.Decoder(_Line)
_record_decoder = msgspec.json.Decoder(Decoded)


class RunningRun:
    """One run that goes on, as records of what it has made since the last look.

    Attributes:
        pictures: How many it had made before.
        variants: How many of its variants were told before.

    Args:
        archive: The archive folder.
        run_id: The run.
    """

    def __init__(self, archive: Path, run_id: str) -> None:
        self._journal = GrowingJournal(archive, run_id)
        self._run_id = run_id
        self._header: dict[str, Any] | None = None
        self.pictures = self.variants = 0

    def news(self) -> Decoded | None:
        """Return the variants that came since the last time as a record; None when none came.

        Its pictures are :attr:`pictures` and its variants :attr:`variants` places behind the run's
        first.
        """
        try:
            lines = self._journal.new_lines()
            if self._header is None and lines:
                self._header = msgspec.json.decode(lines.pop(0), type=dict[str, Any])
        except (OSError, FileRefused, msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if self._header is None or self._header.get("run_id") != self._run_id:
            return None
        return self._record(line for line in lines if not line.startswith(_NO_VARIANT))

    @property
    def lags(self) -> bool:
        """Whether there was more than is read at a time."""
        return self._journal.lags

    def took(self, record: Decoded) -> None:
        """Count what *record*, which :meth:`news` returned, has."""
        self.pictures += len(record.outputs)
        self.variants += len(record.variant_configs)

    def _record(self, lines: Iterable[bytes]) -> Decoded | None:
        configs, outputs, variants = list[Any](), list[Any](), list[Any]()
        for line in lines:
            try:
                variant = _line_decoder.decode(line)
                made = [msgspec.json.decode(raw, type=dict[str, Any]) for raw in variant.outputs]
            except (msgspec.MsgspecError, ValueError, RecursionError):
                continue  # whoever makes the record says so
            outputs += [{**one, "variant": len(configs)} for one in made]
            configs.append(variant.config)
            variants.append({"identity": variant.identity, "drawn_by": variant.drawn_by})
        if not configs:
            return None
        known = self._header or {}
        told = {
            "run_id": self._run_id, "timestamp": known.get("timestamp"), "name": known.get("name"),
            "backend": known.get("backend"), "plan_id": known.get("plan_id"), "status": RUNNING,
            "variant_configs": configs, "outputs": outputs, "template": {"variants": variants},
        }  # fmt: skip
        text = msgspec.json.encode({key: value for key, value in told.items() if value is not None})
        try:
            return _record_decoder.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            return None
