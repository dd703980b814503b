"""transfer: one rule for carrying archives about, between folders and to and from stores.

What a file is decides how it is carried (:class:`~safelight.archive_layout.FileKind`):

* One that never changes is copied when it is not there. Packs are copied as a whole, checked
  against the hashes of their manifest; one that is damaged here is taken from the other side.
* One that grows is united line by line: nobody's lines are lost, whoever came first. Where it
  cannot be extended (somebody holds it, or a store's objects never change), what is missing
  goes into a part of its own beside it, ``NAME~HASH``; a file and its parts are one.
* One that is replaced as a whole stays the newest; the other is kept beside it, with its time.
* What is of no known kind is not carried, and counted.

What can be seen comes last: pictures before the records that name them. One that is not what its
record says is left behind, so that a whole copy can still come. A file or an object that
is damaged, or has a name that leads anywhere, costs itself only. Everything is flushed before it
is told as done, so that who deletes the other side then loses nothing.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from safelight.archive.packs import MANIFEST
from safelight.archive_layout import CONTACT_SHEET, PART, FileKind, kind_of, without_part
from safelight.durable_file import open_regular_file
from safelight.errors import ArchiveError, RecordError, StorageError, sentence_of
from safelight.learning.learning_record import read_document
from safelight.line_checksums import line_state
from safelight.timestamps import compact, read_compact, utc_timestamp

__all__ = [
    "ArchiveCopy",
    "Carried",
    "Entry",
    "ItsOwnFault",
    "NotItsPicture",
    "PackState",
    "Vanished",
    "Version",
    "carry",
    "check_files",
    "oddity_of",
    "part_key",
    "version_key",
    "version_of",
]

PackState = Literal["absent", "whole", "damaged"]

_MOST_LISTED = 100
"""Names of each kind; the others are counted."""

_PATIENCE = 20
"""Files that may fail one after the other before the whole is given up."""

_ROUNDS = 3
"""How often both sides are listed when files went while others were carried: packing moves them."""

_MORE_NAMES = range(2, 10)
_HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_ODD = re.compile(r'[\x00-\x1f\\:*?"<>|]')
_LONGEST_NAME = 255
_LONGEST_KEY = 1024
"""Bytes of a whole key: what object stores take."""


class Vanished(StorageError):
    """A file is not where it was a moment ago."""


class ItsOwnFault(StorageError):
    """A file, or its name, is at fault itself; that says nothing of what comes after it."""


class NotItsPicture(ItsOwnFault):
    """A picture is another than its records say."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a copy of an archive: its size in bytes, and when it changed, in ns of 1970."""

    size: int
    modified: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a file that is replaced as a whole holds on one side.

    Attributes:
        digest: The first twelve digits of its SHA-256.
        modified: When it was written, in ns of 1970.
        load: Returns its content.
    """

    digest: str
    modified: int
    load: Callable[[], bytes] = field(repr=False)


class ArchiveCopy(Protocol):
    """Where an archive is: a folder, or an object store. Keys are relative, with ``/``.

    Every method raises StorageError when the disk or the store is in the way.
    """

    has_markers: bool
    """Whether runs are drawn there, so that those that were killed are recovered there."""

    def entries(self) -> Mapping[str, Entry]:
        """Return every file that is not hidden."""
        ...

    def unlisted(self) -> Sequence[tuple[str, str]]:
        """Return what :meth:`entries` could not look into, and why."""
        ...

    def links_out(self) -> Sequence[str]:
        """Return the links that :meth:`entries` left out, because they lead elsewhere."""
        ...

    def going_on(self) -> frozenset[str]:
        """Return the folders of runs that are being drawn now; they are left for later."""
        ...

    def read(self, key: str) -> bytes:
        """Return what *key* holds; raises :class:`Vanished` when it is not there."""
        ...

    def file(self, key: str) -> Path | None:
        """Return the file of *key*, where there is one, so that it need not be held in memory."""
        ...

    def picture_sha256s(self, key: str) -> frozenset[str]:
        """Return what the records here say of the picture *key*, hexadecimal; often nothing."""
        ...

    def add(
        self, key: str, content: Path | bytes, modified: int, *, sha256s: Collection[str] = ()
    ) -> bool:
        """Add a file that is not there, whole or not at all; return False when there is one.

        Raises:
            NotItsPicture: Its SHA-256 is none of *sha256s*, of which there are some.
        """
        ...

    def add_pack(self, name: str, manifest: bytes, files: Mapping[str, Path | bytes]) -> bool:
        """Add a pack, which becomes visible when it is whole; return False when there is one.

        Its files must be what *manifest* says.
        """
        ...

    def pack_state(self, name: str, sizes: Mapping[str, int]) -> PackState:
        """Return how the pack *name* is here; *sizes* are those of its files on the other side."""
        ...

    def set_pack_aside(self, name: str) -> bool:
        """Make room for a whole pack in place of a damaged one; return False where one cannot."""
        ...

    def extend(self, key: str, lines: Sequence[bytes]) -> None:
        """Add whole lines to a file that grows, or to a part beside it."""
        ...

    def current(self, key: str, names: Sequence[str]) -> Version | None:
        """Return what a file that is replaced as a whole holds; *names*: it and its versions."""
        ...

    def keep(self, key: str, data: bytes, modified: int) -> bool:
        """Keep a version beside a file that is replaced; return False when it is there."""
        ...

    def replace(self, key: str, data: bytes, modified: int) -> bool:
        """Make *data* the current version; return False when it was."""
        ...

    def flush(self) -> None:
        """Make sure that everything is on the disk."""
        ...


@dataclass(slots=True, kw_only=True)
class Carried:
    """What was carried.

    Attributes:
        files: That were copied, extended or replaced.
        bytes: That were written.
        lines: That were added to files that grow.
        conflicts: Files that hold something else on the other side; both were left as they are.
        differing: Runs of which the target now has records that differ, sentences, the first
            hundred.
        differing_count: How many there are.
        bad: What could not be carried, and why, the first hundred.
        bad_count: How much that was.
        unknown: Files of no known kind, the first hundred.
        unknown_count: How many there are.
        going_on: Runs that are being drawn now and were left for later.
        links_out: Links that lead out of the archive that was copied from, and were left out, the
            first hundred.
        links_out_count: How many there are.
    """

    files: int = 0
    bytes: int = 0
    lines: int = 0
    conflicts: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    differing_count: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)
    bad_count: int = 0
    unknown: list[str] = field(default_factory=list)
    unknown_count: int = 0
    going_on: int = 0
    links_out: list[str] = field(default_factory=list)
    links_out_count: int = 0


def carry(
    source: ArchiveCopy,
    target: ArchiveCopy,
    *,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Carried:
    """Carry everything that *target* lacks from *source*; nothing is lost on either side.

    Args:
        source: Where from; it is only read.
        target: Where to.
        on_progress: Told how many of how many files were looked at.

    Raises:
        StorageError: A side cannot be listed or written to; what was carried is whole, and
            carrying again goes on.
    """
    done = Carried()
    for left in reversed(range(_ROUNDS)):
        transfer = _Transfer(source, target, on_progress, done, last=left == 0)
        if not transfer.carry_out():
            break
    return done


class _Transfer:
    """One round: both sides are listed, and what differs is carried."""

    def __init__(
        self,
        source: ArchiveCopy,
        target: ArchiveCopy,
        on_progress: Callable[[int, int], None],
        done: Carried,
        *,
        last: bool,
    ) -> None:
        self._source, self._target, self._on_progress = source, target, on_progress
        self._there, self._here = source.entries(), target.entries()
        going_on = source.going_on()
        self._busy = going_on | target.going_on()
        self._done, self._last = done, last
        done.going_on = len(going_on)
        done.unknown, done.unknown_count, done.conflicts = [], 0, []
        done.bad, done.bad_count = [], 0
        links = source.links_out()
        done.links_out, done.links_out_count = list(links[:_MOST_LISTED]), len(links)
        for key, reason in source.unlisted():
            self._bad(key, reason)
        self._families: dict[str, list[str]] = {}
        for key in self._here:
            if not oddity_of(key):
                whole = str(without_part(PurePosixPath(key)))
                self._families.setdefault(whole, []).append(key)
        self._failing = 0
        self._vanished = False
        self._records_readable = True

    def carry_out(self) -> bool:
        """Carry; return whether something was gone in between, so that another round helps."""
        unseen, visible = self._work()
        total, number = len(unseen) + len(visible), 0
        for work in (unseen, visible):
            for key, act in work:
                self._try(key, act)
                number += 1
                self._on_progress(number, total)
            self._target.flush()
        return self._vanished

    def _work(self) -> tuple[list[_Work], list[_Work]]:
        """Return what is to be done, and what only then: that makes other things visible."""
        unseen: list[_Work] = []
        visible: list[_Work] = []
        families: dict[tuple[FileKind, str], list[str]] = {}
        packs: dict[str, dict[str, str]] = {}
        for key in sorted(self._there):
            if reason := oddity_of(key):
                self._bad(key, reason)
                continue
            place = PurePosixPath(key)
            if any(key.startswith(f"{folder}/") for folder in self._busy):
                continue
            kind = kind_of(place)
            if place.parts[0] == "running":
                if self._carries_marker(place.name):
                    visible.append((key, partial(self._add, key)))
            elif kind is None:
                self._done.unknown_count += 1
                self._done.unknown += [key] if len(self._done.unknown) < _MOST_LISTED else []
            elif kind is FileKind.GROWING or kind_of(without_part(place)) is FileKind.REPLACED:
                family = str(without_part(place))
                whole_kind = kind_of(without_part(place)) or kind
                families.setdefault((whole_kind, family), []).append(key)
            elif place.parts[0] == "packs":
                packs.setdefault(place.parts[1], {})[place.name] = key
            elif place.parts[0] == "records":
                visible.append((key, partial(self._add_record, key)))
            else:
                unseen.append((key, partial(self._add, key)))
        for (kind, key), names in families.items():
            act = self._unite if kind is FileKind.GROWING else self._replace
            unseen.append((key, partial(act, key, names)))
        for name, files in packs.items():
            unseen.append((f"packs/{name}", partial(self._add_pack, name, files)))
        return unseen, visible

    def _carries_marker(self, run_id: str) -> bool:
        """Whether a run was killed there and nobody has made its record: then it is made here."""
        both = self._source.has_markers and self._target.has_markers
        return both and not any(folder.endswith(f"-{run_id}") for folder in self._busy)

    def _try(self, key: str, act: Callable[[], None]) -> None:
        """Carry one file; one that is in the way of nothing but itself stops nobody.

        Raises:
            StorageError: There is no room, or nothing works any more.
        """
        try:
            act()
        except Vanished as error:
            self._vanished = True
            if self._last:
                self._bad(key, str(error))
        except (ItsOwnFault, UnicodeError) as error:
            self._bad(key, str(error))
        except (StorageError, ArchiveError, OSError, ValueError, RecursionError) as error:
            self._failing += 1
            self._bad(key, sentence_of(error))
            cause = error.__cause__ if isinstance(error, StorageError) else error
            if self._failing >= _PATIENCE or (
                isinstance(cause, OSError) and cause.errno in _HOPELESS
            ):
                raise StorageError(
                    f"{key} could not be carried: {sentence_of(error)}; what was carried is whole,"
                    " and carrying again goes on"
                ) from error
        else:
            self._failing = 0

    def _bad(self, key: str, reason: str) -> None:
        self._done.bad_count += 1
        if len(self._done.bad) < _MOST_LISTED:
            self._done.bad.append((key, reason))

    def _wrote(self, size: int) -> None:
        self._done.files += 1
        self._done.bytes += size

    def _content(self, key: str) -> Path | bytes:
        file = self._source.file(key)
        return self._source.read(key) if file is None else file

    # -- what never changes ---------------------------------------------------------------

    def _add(self, key: str) -> None:
        entry, known = self._there[key], self._here.get(key)
        if known is None:
            content = self._content(key)
            if self._target.add(key, content, entry.modified, sha256s=self._sha256s_of(key)):
                self._wrote(entry.size)
        elif known.size != entry.size:
            self._done.conflicts.append(key)

    def _sha256s_of(self, key: str) -> frozenset[str]:
        """Return what a picture must be; nothing where the records cannot be asked."""
        if not key.startswith("images/") or not self._records_readable:
            return frozenset()
        try:
            return self._source.picture_sha256s(key)
        except StorageError as error:
            self._records_readable = False
            self._bad("records", f"{sentence_of(error)}; pictures are carried unread")
            return frozenset()

    def _add_record(self, key: str) -> None:
        """Add a record; beside one of its name that says something else, or is damaged.

        Which of several records of a run counts is decided when they are read.
        """
        data = self._source.read(key)
        named = str(without_part(PurePosixPath(key)))
        if named in self._here and self._target.read(named) == data:
            return
        try:
            read_document(data)
        except RecordError as error:
            self._bad(key, str(error))
            return
        beside = part_key(named, data)
        names = (key, beside, *(_beside(named, f"{_digest(data)}-{n}") for n in _MORE_NAMES))
        for name in names:  # the first that is free; one that is damaged keeps its name
            if name not in self._here:
                if self._target.add(name, data, self._there[key].modified):
                    self._wrote(len(data))
                return
            if self._target.read(name) == data:
                return
        raise StorageError(f"{len(names)} files of its name are damaged; delete some of them")

    def _add_pack(self, name: str, files: Mapping[str, str]) -> None:
        sizes = {file: self._there[key].size for file, key in files.items()}
        state = self._target.pack_state(name, sizes)
        if state == "whole":
            return
        if MANIFEST not in files:
            raise ItsOwnFault(f"lacks its {MANIFEST}")
        manifest = self._source.read(files[MANIFEST])
        tables = {file: self._content(key) for file, key in files.items() if file != MANIFEST}
        if state == "damaged":
            check_files(manifest, tables)
            if not self._target.set_pack_aside(name):
                self._done.conflicts.append(f"packs/{name}")
                return
        if self._target.add_pack(name, manifest, tables):
            self._done.files += len(files)
            self._done.bytes += sum(sizes.values())

    # -- what grows -----------------------------------------------------------------------

    def _unite(self, key: str, names: Sequence[str]) -> None:
        """Carry the lines that the other side lacks of a file that grows and its parts."""
        ours = self._families.get(key, [])
        sizes = [
            sum(entries[name].size for name in some)
            for entries, some in ((self._there, names), (self._here, ours))
        ]
        # One writer's lines only become more: as many bytes are the same lines. Ratings that can
        # be had for nothing are compared all the same, because rot keeps its size.
        near = all(copy.file(key) is not None for copy in (self._source, self._target))
        if sizes[0] == sizes[1] and not (near and key.startswith("ratings/")):
            return
        known = self._lines(self._target, ours, report_damage=False)
        lines = [
            line
            for line in self._lines(self._source, names, report_damage=True)
            if line not in known
        ]
        if lines:
            self._target.extend(key, lines)
            self._done.lines += len(lines)
            self._wrote(sum(len(line) + 1 for line in lines))

    def _lines(
        self, copy: ArchiveCopy, names: Sequence[str], *, report_damage: bool
    ) -> dict[bytes, None]:
        """Return the whole lines of some files, each once, in order."""
        lines: dict[bytes, None] = {}
        damaged = 0
        for name in sorted(names, key=lambda name: (PART in name, name)):
            for line in _whole_lines(copy.read(name)):
                if line_state(line) == "damaged":
                    damaged += 1
                elif _is_object(line):
                    lines[line] = None
        if damaged and report_damage:
            self._bad(names[0], f"{damaged:,} lines are not what was written; they are left out")
        return lines

    # -- what is replaced as a whole --------------------------------------------------------

    def _replace(self, key: str, names: Sequence[str]) -> None:
        """Carry the newest version; the one that it takes the place of is kept beside it."""
        theirs = self._source.current(key, names)
        ours = self._target.current(key, self._families.get(key, []))
        if self._source.has_markers:  # what was kept beside it there is kept beside it here
            for name in names:
                if name != key:
                    self._add(name)
        if theirs is None or (ours is not None and ours.digest == theirs.digest):
            return
        data = theirs.load()
        kept = not PurePosixPath(key).name.startswith(CONTACT_SHEET)
        newer = ours is None or (theirs.modified, theirs.digest) > (ours.modified, ours.digest)
        if kept and ours is not None:
            newer_one = (ours.load(), ours.modified) if newer else (data, theirs.modified)
            if self._target.keep(key, *newer_one):
                self._wrote(len(newer_one[0]))
        if newer and self._target.replace(key, data, theirs.modified):
            self._wrote(len(data))


_Work = tuple[str, Callable[[], None]]


def check_files(manifest: bytes, files: Mapping[str, Path | bytes]) -> None:
    """Check that *files* are what the manifest of their pack says.

    Raises:
        ItsOwnFault: They are not; the message says which.
    """
    try:
        written = json.loads(manifest)
        hashes = {str(name): str(digest) for name, digest in written.get("sha256", {}).items()}
        sizes = {f"{table}.parquet": int(size) for table, size in written["sizes"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ItsOwnFault(f"has a damaged {MANIFEST}: {error!r}") from error
    for name in {**sizes, **hashes}:
        content = files.get(name)
        if content is None:
            raise ItsOwnFault(f"lacks {name}")
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size != sizes.get(name, size):
            raise ItsOwnFault(f"{name} has {size:,} bytes, not {sizes[name]:,}")
        if name in hashes and _sha256(content) != hashes[name]:
            raise ItsOwnFault(f"{name} is not what was written: its SHA-256 differs")


def _sha256(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with open_regular_file(content) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def part_key(key: str, data: bytes) -> str:
    """Return the name of a part of a file, made of what it holds."""
    return _beside(key, _digest(data))


def version_key(key: str, data: bytes, modified: int) -> str:
    """Return the name of one version of a file that is replaced as a whole."""
    moment = datetime.fromtimestamp(modified // 10**9, UTC)
    return _beside(key, f"{compact(utc_timestamp(moment))}-{_digest(data)}")


def version_of(name: str) -> tuple[str, int] | None:
    """Return digest and time, in ns of 1970, of what :func:`version_key` named; else None."""
    version = PurePosixPath(name).stem.partition(PART)[2]
    moment, digest = read_compact(version), version.rpartition("-")[2]
    if moment is None or not re.fullmatch(r"[0-9a-f]{12}", digest):
        return None
    return digest, round(datetime.fromisoformat(moment).timestamp()) * 10**9


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _beside(key: str, part: str) -> str:
    place = PurePosixPath(key)
    return str(place.with_name(f"{place.stem}{PART}{part}{place.suffix}"))


def oddity_of(key: str) -> str | None:
    """Return why *key* can be no file of an archive; None when it can."""
    parts = key.split("/")
    if any(part == "" or part.startswith(".") for part in parts):
        return "its name leads out of the archive, or is hidden"
    if _ODD.search(key):
        return "its name has signs that not every disk takes"
    if any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for part in parts):
        return f"its name is longer than {_LONGEST_NAME} bytes"
    if len(key.encode("utf-8", "surrogatepass")) > _LONGEST_KEY:
        return f"its place is longer than {_LONGEST_KEY} bytes"
    if any("\ud800" <= sign <= "\udbff" for sign in key):
        return "its name has half a character"
    return None


def _whole_lines(data: bytes) -> Iterator[bytes]:
    """Yield the lines of *data*; one without its end counts if its checksum says it is whole."""
    whole, _, rest = data.rpartition(b"\n")
    for line in whole.split(b"\n"):
        if line.strip():
            yield line
    if line_state(rest) == "whole":
        yield rest


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
