"""spools: what tools have left of their executions, line by line, and how far it was read.

A spool is a folder of files that grow by lines (``integrations/spool``; their form:
``docs/spool.schema.json``). How far each was read stands in the archive, by the file's name, which
is unique everywhere, so that it goes where the records go; beside the file it stands for the tool,
which removes what was read. The last line of a file may be half written: it waits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from safelight.durable_file import (
    NotRegularFile,
    open_regular_file,
    read_regular_file,
    replace_file,
)
from safelight.line_checksums import line_state
from safelight.timestamps import as_utc

__all__ = ["SPOOL_FOLDER", "SPOOL_SUFFIX", "Execution", "LineFault", "is_spool", "mark_as_read",
           "new_lines", "spool_files", "unread_files"]  # fmt: skip

SPOOL_FOLDER = ".safelight-spool"
SPOOL_SUFFIX = ".spool.jsonl"
_READ = ".read"
_FORM = 1
_LONGEST = 16 * 2**20
_LONGEST_NAME, _LONGEST_ERROR = 200, 8000
_MOST_OUTPUTS, _MOST_CACHED = 1000, 2000
_STATUSES = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution of a tool, as its line tells it.

    Attributes:
        name: Unique everywhere.
        tool: What ran.
        tool_version: Of it.
        status: ``completed``, ``failed`` or ``cancelled``.
        began: UTC, ISO 8601; empty when the line does not say.
        ended: The same.
        seconds: How long it took; None when the line does not say.
        error: Why it failed.
        graph: ComfyUI's API graph; empty where there is none.
        parameters: Name -> value, in the tool's words.
        infotexts: AUTOMATIC1111's texts: one for each of *outputs*, or one for all.
        outputs: ``path``, ``bytes`` and ``mtime_ns`` of files, ``pixel_sha256`` of others.
        cached: Nodes that did not run again.
        environment: What else changes pixels.
        left_out: Fields that were too long for a line.
    """

    name: str
    tool: str
    tool_version: str
    status: str
    began: str
    ended: str
    seconds: float | None
    error: str
    graph: Mapping[str, Any]
    parameters: Mapping[str, Any]
    infotexts: tuple[str, ...]
    outputs: tuple[Mapping[str, Any], ...]
    cached: tuple[str, ...]
    environment: Mapping[str, Any]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineFault:
    """A line that tells of no execution, and why."""

    reason: str


def is_spool(path: Path | str) -> bool:
    """Return whether *path* is called like a spool, or a file of one."""
    name = os.path.basename(os.fspath(path))
    return name == SPOOL_FOLDER or name.endswith(SPOOL_SUFFIX)


def spool_files(places: Iterable[str]) -> Iterator[str]:
    """Yield the files of some spools, each once: of folders those that lie right in them."""
    met: set[str] = set()
    for place in places:
        if place.endswith(SPOOL_SUFFIX):
            paths = [place]
        else:
            paths = []
            with contextlib.suppress(OSError), os.scandir(place) as entries:
                paths = sorted(e.path for e in entries if e.name.endswith(SPOOL_SUFFIX))
        for path in paths:
            if path not in met:
                met.add(path)
                yield path


def new_lines(path: str, start: int) -> Iterator[tuple[Execution | LineFault, int]]:
    """Yield what each whole line from *start* on tells, and where the next one begins.

    Raises:
        OSError: The file cannot be read.
    """
    with open_regular_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        place = file.seek(start if start <= size else 0)
        while line := file.readline(_LONGEST):
            place += len(line)
            is_long = not line.endswith(b"\n") and len(line) == _LONGEST
            while is_long and not line.endswith(b"\n"):
                line = file.readline(_LONGEST)
                if not line:
                    return
                place += len(line)
            if not line.endswith(b"\n"):
                return
            if is_long:
                yield LineFault(f"a line has more than {_LONGEST:,} bytes"), place
            else:
                yield _execution(line[:-1]), place


def mark_as_read(path: str, until: int) -> None:
    """Say beside a spool file how far it was read, where that can be said.

    Where it cannot, the tool keeps what was read, until it has too much of it.
    """
    with contextlib.suppress(OSError):
        replace_file(Path(path + _READ), msgspec.json.encode({"read": until}))


def unread_files(folder: Path) -> list[str]:
    """Return the files of a spool that hold more than its marks say was read."""
    unread = []
    for path in spool_files([os.fspath(folder)]):
        with contextlib.suppress(OSError):
            size, read = os.stat(path).st_size, 0
            with contextlib.suppress(
                FileNotFoundError, NotRegularFile, msgspec.MsgspecError, ValueError
            ):
                mark = msgspec.json.decode(
                    read_regular_file(Path(path + _READ)), type=dict[str, int]
                )
                read = mark.get("read", 0)
            if size > read:
                unread.append(path)
    return unread


def _execution(line: bytes) -> Execution | LineFault:
    """Return what a line tells; everything in it is checked, for anyone may have written it."""
    if line_state(line) != "whole":
        return LineFault("a line is not as it was written: its checksum is another one")
    try:
        told = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return LineFault(f"a line is no JSON object: {error}")
    if told.get("spool") != _FORM:
        form = str(told.get("spool"))[:20]
        return LineFault(f"a line has the form {form}, and {_FORM} is known: update safelight")
    name = told.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        return LineFault("a line has no id")
    if told.get("status") not in _STATUSES:
        return LineFault(f"a line has the status {str(told.get('status'))[:40]!r}")
    seconds: Any = told.get("seconds")
    is_number = type(seconds) in (int, float)
    return Execution(
        name=name,
        tool=_text(told.get("tool"))[:100],
        tool_version=_text(told.get("tool_version"))[:100],
        status=told["status"],
        began=as_utc(_text(told.get("began"))) or "",
        ended=as_utc(_text(told.get("ended"))) or "",
        seconds=seconds if is_number and seconds >= 0 else None,
        error=_text(told.get("error"))[:_LONGEST_ERROR],
        graph=_mapping(told.get("graph")),
        parameters=_mapping(told.get("parameters")),
        infotexts=tuple(filter(None, map(_text, _several(told.get("infotexts"))[:_MOST_OUTPUTS]))),
        outputs=tuple(map(_mapping, _several(told.get("outputs"))[:_MOST_OUTPUTS])),
        cached=tuple(map(_text, _several(told.get("cached"))[:_MOST_CACHED])),
        environment=_mapping(told.get("environment")),
        left_out=tuple(map(_text, _several(told.get("left_out"))[:20])),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _several(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []
