"""recovery: finish what crashes interrupted, and make of damaged packs what can be made of them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safelight.archive.answer import Fault
from safelight.archive.archive import Archive
from safelight.archive.loose_records import loose_names
from safelight.archive.pack_check import (
    PackCheck,
    check_pack,
    damaged_tables,
    rescued_documents,
    set_aside,
)
from safelight.archive.packs import (
    Pack,
    connected,
    forget_orphans,
    quoted,
    read_documents,
    read_pack,
    read_packs,
    write_pack,
)
from safelight.archive.verification import damaged_pictures
from safelight.archive_layout import (
    SET_ASIDE,
    packs_folder,
    pictures_folder,
    records_folder,
)
from safelight.durable_file import (
    TEMPORARY_SUFFIX,
    read_regular_file,
    remove_abandoned,
    remove_file,
)
from safelight.errors import ArchiveError, RecordError
from safelight.learning.learning_record import read_document

__all__ = ["Recovery", "recover_archive", "set_pictures_aside"]


@dataclass(slots=True, kw_only=True)
class Recovery:
    """What was done.

    Attributes:
        doubled: Loose records that a pack holds to the letter, and that were removed.
        abandoned: Unfinished files of killed writers that were removed.
        repaired: Damaged packs whose records are in a new pack now; they lie in ``packs/.damaged``.
        tables: Tables made anew of packs of earlier versions that were removed, because they were
            damaged or their pack is gone.
        left: What was left as it is, and why.
    """

    doubled: int = 0
    abandoned: int = 0
    tables: int = 0
    repaired: list[Path] = field(default_factory=list)
    left: list[Fault] = field(default_factory=list)


def recover_archive(archive: Archive) -> Recovery:
    """Finish what a crash interrupted, and repair damaged packs from their own documents.

    Raises:
        ArchiveError: Something cannot be written.
    """
    done = Recovery()
    try:
        done.abandoned = _remove_abandoned(archive.path)
        done.tables = _remove_damaged_tables(packs_folder(archive.path))
        _repair_packs(archive.path, done)
        done.tables += forget_orphans(packs_folder(archive.path))
        _remove_doubled(archive.path, done)
    except OSError as error:
        raise ArchiveError(f"{archive.path} cannot be recovered: {error}") from error
    return done


def _remove_abandoned(archive: Path) -> int:
    removed = 0
    for folder, below, files in os.walk(archive):
        # What is unfinished is not walked into.
        unfinished = [n for n in below if n.startswith(".") and n.endswith(TEMPORARY_SUFFIX)]
        if unfinished or any(n.startswith(".") and n.endswith(TEMPORARY_SUFFIX) for n in files):
            removed += remove_abandoned(Path(folder))
        below[:] = [name for name in below if name not in unfinished]
    return removed


def _remove_damaged_tables(packs: Path) -> int:
    damaged = damaged_tables(packs)
    for tables in damaged:
        shutil.rmtree(tables, ignore_errors=True)
    return len(damaged)


def set_pictures_aside(
    archive: Archive, on_progress: Callable[[str, int, int], None] = lambda *_: None
) -> tuple[list[str], list[Fault]]:
    """Move pictures that are not those of their records out of the way of whole ones.

    They lie in ``images/.damaged`` then, or in ``.damaged`` beside them where their folder is on
    another disk; nothing is deleted. Merging another copy brings them back whole, and so does
    drawing them again.

    Returns:
        The places of those, and what could not be moved, and why.

    Raises:
        ArchiveError: The archive cannot be read.
    """
    aside: list[str] = []
    left: list[Fault] = []
    pictures = pictures_folder(archive.path)
    for place in damaged_pictures(archive, on_progress):
        path = archive.path / place
        below = path.relative_to(pictures)
        try:
            try:
                set_aside(path, pictures / SET_ASIDE / below)
            except ArchiveError as error:
                cause = error.__cause__
                if not isinstance(cause, OSError) or cause.errno != errno.EXDEV:
                    raise
                set_aside(path, path.parent / SET_ASIDE / path.name)
        except ArchiveError as error:
            left.append(Fault(path=path, reason=str(error)))
        else:
            aside.append(place)
    return aside, left


def _repair_packs(archive: Path, done: Recovery) -> None:
    packs, trouble = read_packs(packs_folder(archive))
    for pack in packs:
        check = check_pack(pack)
        if _must_be_made_again(pack, check):
            trouble[pack.path] = "; ".join(check.faults)
        elif check.documents:  # what is asked for most is whole: it stays where it is
            reason = "; ".join(check.faults)
            done.left.append(
                Fault(path=pack.path, reason=f"{reason}; merge another copy of the archive")
            )
    held = _run_ids([pack for pack in packs if pack.path not in trouble]) if trouble else set()
    for path, reason in trouble.items():
        if not _is_damaged(path):
            done.left.append(Fault(path=path, reason=reason))
            continue
        documents = rescued_documents(path) if path.is_dir() else {}
        if not documents:
            done.left.append(Fault(path=path, reason=reason))
            continue
        # A crash may have come between the new pack and the move of the old one.
        missing = [document for run_id, document in documents.items() if run_id not in held]
        if missing:
            write_pack(packs_folder(archive), missing)
        set_aside(path, path.parent / SET_ASIDE / path.name)
        done.repaired.append(path)


def _must_be_made_again(pack: Pack, check: PackCheck) -> bool:
    """Return whether questions lack something of *pack*."""
    return bool(check.tables) or (check.documents and pack.tables is None)


def _is_damaged(path: Path) -> bool:
    """Return whether *path* is a pack that is not whole; not of one that cannot be read now."""
    try:
        pack = read_pack(path)
        return _must_be_made_again(pack, check_pack(pack))
    except ArchiveError:
        return True
    except OSError:
        return False


def _run_ids(packs: Sequence[Pack]) -> set[str]:
    """Return the runs that *packs* hold, by their tables, which are whole."""
    run_ids: set[str] = set()
    with connected() as connection:
        for pack in packs:
            file = quoted(pack.path / "runs.parquet")
            rows = connection.execute(f"SELECT run_id FROM read_parquet('{file}')").fetchall()
            run_ids.update(run_id for (run_id,) in rows)
    return run_ids


def _remove_doubled(archive: Path, done: Recovery) -> None:
    folder = records_folder(archive)
    loose: dict[str, list[Path]] = {}
    for name in loose_names(folder):
        try:
            run_id = read_document(read_regular_file(folder / name)).run_id
            loose.setdefault(run_id, []).append(folder / name)
        except (OSError, RecordError):
            continue  # told by verify
    packs, _ = read_packs(packs_folder(archive)) if loose else ([], {})
    for pack in packs:
        try:
            for run_id, document in read_documents(pack.path):
                for path in loose.get(run_id, ()):
                    if path.exists() and read_regular_file(path) == document:
                        remove_file(path, missing_ok=True)
                        done.doubled += 1
        except ArchiveError as error:
            done.left.append(Fault(path=pack.path, reason=str(error)))
