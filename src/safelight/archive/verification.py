"""verification: read everything in an archive, and say what is not as it was written.

Records and packs carry hashes, lines carry checksums, and records know the hash of every picture.
What earlier versions wrote carries none: of that can only be said that it reads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from safelight.archive.answer import Fault
from safelight.archive.archive import Archive
from safelight.archive.columns import decoded
from safelight.archive.pack_check import check_pack, damaged_tables, seal
from safelight.archive.packs import read_packs
from safelight.archive.transfer import oddity_of
from safelight.archive.views import Views
from safelight.archive_layout import FileKind, files_below, kind_of, packs_folder, records_folder
from safelight.durable_file import open_regular_file, read_regular_file
from safelight.errors import ArchiveError, RecordError
from safelight.learning.learning_record import check_digest, read_document
from safelight.line_checksums import is_torn, line_state

if TYPE_CHECKING:
    import duckdb

__all__ = ["Verification", "damaged_pictures", "verify_archive"]

_AT_ONCE = 4
"""Threads that hash pictures: half of it is waiting for the disk."""

_TOGETHER = 256
_MOST_FAULTS = 1000


@dataclass(slots=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
        records: That are whole.
        unchecked_records: Of these, without a hash: they read, and no more can be said.
        packs: That were read.
        unsealed_packs: Of these, without hashes; ``--seal`` gives them some.
        lines: Of ratings, journals and import logs, that are whole.
        unchecked_lines: Of these, without a checksum.
        torn_lines: Pieces that a crash left of lines that nobody was told of.
        pictures: Whose files are whole; None when they were not looked at.
        damaged_pictures: Whose files hold something else.
        pictures_away: Imported ones that are not where they were imported from.
        discarded: Pictures that somebody discarded; their files are not looked for.
        foreign: Files of no known kind.
        differing: Runs that have several records which differ, and which one counts, the first
            hundred: no damage, as nothing is lost.
        differing_count: How many there are.
        older_readings: Records of imported pictures that were read again since: no damage either.
        faults: What is damaged or missing, the first thousand.
        fault_count: How many there are.
    """

    records: int = 0
    unchecked_records: int = 0
    packs: int = 0
    unsealed_packs: int = 0
    lines: int = 0
    unchecked_lines: int = 0
    torn_lines: int = 0
    pictures: int | None = None
    damaged_pictures: int = 0
    pictures_away: int = 0
    discarded: int = 0
    foreign: int = 0
    differing: list[str] = field(default_factory=list)
    differing_count: int = 0
    older_readings: int = 0
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0

    def add_fault(self, path: Path, reason: str) -> None:
        """Note that something is not as it was written."""
        self.fault_count += 1
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(Fault(path=path, reason=reason))


def verify_archive(
    archive: Archive,
    *,
    pictures: bool = False,
    sealing: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Verification:
    """Read everything; nothing is changed or deleted.

    Args:
        archive: Which.
        pictures: Whether to read the picture files, too.
        sealing: Whether to give packs of earlier versions, when they are whole, the hashes of
            their files.
        on_progress: Told what is read, how much of it is done, and of how much.

    Raises:
        ArchiveError: The pictures cannot be asked for.
    """
    report = Verification()
    _verify_packs(archive.path, report, sealing, on_progress)
    _verify_loose(archive.path, report)
    try:
        report.differing, report.differing_count = archive.differing_runs()
        report.older_readings = archive.older_readings()
    except ArchiveError as error:
        report.add_fault(archive.path, str(error))
    _verify_lines(archive.path, report)
    if pictures:
        report.pictures = 0
        ((report.discarded,),) = archive.rows(
            "SELECT count(*) FROM images WHERE discarded", rated=False
        )
        _read_pictures(archive, partial(_note, report, archive.path), on_progress)
    return report


def _verify_packs(
    archive: Path, report: Verification, sealing: bool, on_progress: Callable[[str, int, int], None]
) -> None:
    try:
        packs, trouble = read_packs(packs_folder(archive))
    except ArchiveError as error:
        report.add_fault(packs_folder(archive), str(error))
        return
    for path, reason in trouble.items():
        report.add_fault(path, reason)
    for number, pack in enumerate(packs):
        on_progress("packs", number, len(packs))
        check = check_pack(pack)
        report.packs += 1
        if not check.documents:
            report.records += pack.records
        elif check.lost:
            report.records += pack.records - len(check.lost)
        for reason in check.faults:
            report.add_fault(pack.path, reason)
        if check.sealed:
            continue
        if sealing and not check.faults:
            try:
                seal(pack)
                continue
            except ArchiveError as error:
                report.add_fault(pack.path, str(error))
        report.unsealed_packs += 1
        report.unchecked_records += pack.records
    for path, reason in damaged_tables(packs_folder(archive)).items():
        report.add_fault(path, f"{reason}; safelight archive recover removes these tables")
    on_progress("packs", len(packs), len(packs))


def _verify_loose(archive: Path, report: Verification) -> None:
    folder = records_folder(archive)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        report.add_fault(folder, f"cannot be listed: {error}")
        return
    for name in names:
        if name.startswith("."):
            continue
        path = folder / name
        try:
            document = read_regular_file(path)
            record = read_document(document)
            decoded(document)  # what questions need of it
            was_checked = check_digest(document, record.digest)
        except FileNotFoundError:
            continue  # packed meanwhile
        except (OSError, RecordError) as error:
            report.add_fault(path, str(error))
            continue
        report.records += 1
        report.unchecked_records += not was_checked


def _verify_lines(archive: Path, report: Verification) -> None:
    faults: list[tuple[str, str]] = []
    for key, entry in files_below(archive, lambda *fault: faults.append(fault)):
        place, path = PurePosixPath(key), Path(entry.path)
        kind = kind_of(place)
        if kind is None and place.parts[0] not in ("running", "packs", "records"):
            report.foreign += 1
        if kind is FileKind.GROWING:
            try:
                _verify_file_of_lines(path, report)
            except OSError as error:
                report.add_fault(path, f"cannot be read: {error}")
    told = {fault.path for fault in report.faults}
    for key, reason in faults:
        if archive / key not in told:
            report.add_fault(archive / key, reason)


def _verify_file_of_lines(path: Path, report: Verification) -> None:
    with open_regular_file(path) as file:
        for number, raw in enumerate(file, start=1):
            line = raw.rstrip(b"\r\n")
            if not line.strip():
                continue
            if is_torn(line):
                report.torn_lines += 1
                continue
            state = line_state(line)
            if state == "damaged" or line_state(line[:-1]) == "whole":
                report.add_fault(path, f"line {number} is not what was written")
                continue
            report.lines += 1
            report.unchecked_lines += state == "unchecked"


def damaged_pictures(
    archive: Archive, on_progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[str]:
    """Read every picture in the archive's folder; return the places of those that are damaged.

    Raises:
        ArchiveError: The pictures cannot be asked for.
    """
    paths = []

    def note(path: str, reason: str | None) -> None:
        if reason == _OTHER and path.startswith("images/") and not oddity_of(path):
            paths.append(path)

    _read_pictures(archive, note, on_progress)
    return paths


def _read_pictures(
    archive: Archive,
    note: Callable[[str, str | None], None],
    on_progress: Callable[[str, int, int], None],
) -> None:
    """Tell *note* of every picture's path, and what is wrong with it, if anything."""
    ((total,),) = archive.rows("SELECT count(*) FROM images WHERE path IS NOT NULL", rated=False)
    done = 0
    copies = archive.hashes_in_copies()
    for (path,) in archive.rows("SELECT DISTINCT path FROM run_images WHERE discarded",
                                rated=False):  # fmt: skip
        copies.pop(path, None)

    def look(pool: ThreadPoolExecutor, known: Sequence[tuple[str, Collection[str]]]) -> None:
        nonlocal done
        checks = pool.map(lambda picture: (picture[0], _wrong_with(archive.path, *picture)), known)
        for path, reason in checks:
            note(path, reason)
        done += len(known)
        on_progress("pictures", done, max(total, done))

    def read(connection: duckdb.DuckDBPyConnection, views: Views) -> None:
        views.show()
        connection.execute(
            "SELECT path, list(DISTINCT lower(sha256)) FROM run_images WHERE path IS NOT NULL"
            " AND regexp_full_match(lower(sha256), '[0-9a-f]{64}') AND discarded IS NULL"
            " GROUP BY path ORDER BY path"
        )
        with ThreadPoolExecutor(_AT_ONCE, "pictures") as pool:
            while rows := connection.fetchmany(_TOGETHER):
                known = [(path, {*sha256s, *copies.pop(path, ())}) for path, sha256s in rows]
                look(pool, known)
            look(pool, list(copies.items()))

    archive.asked(read, rated=False)


def _note(report: Verification, archive: Path, path: str, reason: str | None) -> None:
    if reason is None:
        report.pictures = (report.pictures or 0) + 1
    elif reason == _AWAY and Path(path).is_absolute():
        report.pictures_away += 1
    else:
        report.damaged_pictures += reason == _OTHER
        report.add_fault(archive / path, reason)


_OTHER = "is not the picture of its record: its SHA-256 differs"
_AWAY = "is not there"


def _wrong_with(archive: Path, path: str, sha256s: Collection[str]) -> str | None:
    """Return what is wrong with a picture's file; None when it is what a record of it says."""
    try:
        with open_regular_file(archive / path) as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() in sha256s
    except FileNotFoundError:
        return _AWAY
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    return None if same else _OTHER
