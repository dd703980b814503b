"""pack_check: what is wrong with a pack, and what can still be had of it.

Nothing is deleted: a damaged pack that something whole has taken the place of is set aside.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from safelight.archive.columns import decoded
from safelight.archive.packs import (
    MANIFEST,
    Pack,
    connected,
    file_sha256,
    forget_tables,
    read_documents,
    read_pack,
    read_through,
    renewed_tables,
    runs_without_document,
    whole_documents,
    write_manifest,
)
from safelight.archive_layout import SET_ASIDE
from safelight.durable_file import (
    make_folder,
    read_regular_file,
    rename,
    sync_folder,
)
from safelight.errors import ArchiveError, RecordError, sentence_of

__all__ = [
    "PackCheck",
    "check_pack",
    "damaged_tables",
    "lacks_memory",
    "readable_tables",
    "rescued_documents",
    "seal",
    "set_aside",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackCheck:
    """What is wrong with a pack; nothing, when there are no faults.

    Attributes:
        faults: Sentences that go on from its name.
        tables: Tables that are damaged, ``documents`` not among them.
        documents: Whether documents are damaged.
        lost: Runs whose document is damaged, as far as that can be said.
        sealed: Whether its manifest has the hashes of its files.
    """

    faults: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    documents: bool = False
    lost: tuple[str, ...] = ()
    sealed: bool = True


def check_pack(pack: Pack, *, only_hashes: bool = False) -> PackCheck:
    """Read everything in *pack*, and compare it with what its manifest says.

    Args:
        pack: Which.
        only_hashes: What has its hash was verified when it was written, and is not decoded.
    """
    damaged: dict[str, str] = {}
    for name in pack.files:
        table = name.removesuffix(".parquet")
        try:
            if pack.sha256 and file_sha256(pack.path / name) != pack.sha256.get(name):
                damaged[table] = f"{name} is not what was written: its SHA-256 differs"
            elif table != "documents" and not (only_hashes and pack.sha256):
                with connected() as connection:
                    read_through(connection, pack.path / name)
        except Exception as error:  # noqa: BLE001 - whatever a torn file makes a reader say
            damaged[table] = f"{name} cannot be read: {_first_line(error)}"
    lost: tuple[str, ...] = ()
    reason = damaged.get("documents")
    if reason is None and not (only_hashes and pack.sha256):
        reason = _wrong_with_documents(pack)
    if reason is not None:
        damaged["documents"] = reason
        lost = runs_without_document(pack, rescued_documents(pack.path))
        if lost:
            some = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
            damaged["documents"] += f"; {len(lost):,} records are damaged: {some}"
    faults = [damaged[t] for name in pack.files if (t := name.removesuffix(".parquet")) in damaged]
    return PackCheck(
        faults=tuple(faults),
        tables=tuple(table for table in damaged if table != "documents"),
        documents="documents" in damaged,
        lost=lost,
        sealed=bool(pack.sha256),
    )


def _wrong_with_documents(pack: Pack) -> str | None:
    try:
        records = 0
        for run_id, document in read_documents(pack.path):
            records += 1
            if decoded(document).run_id != run_id:
                return f"run {run_id} is another one inside"
        if records != pack.records:
            return f"holds {records} records, its manifest says {pack.records}"
    except (ArchiveError, RecordError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - as above
        return f"documents.parquet cannot be read: {_first_line(error)}"
    return None


def readable_tables(pack: Pack) -> str | None:
    """Return why the tables of *pack* cannot be asked; None when they can, or can be had otherwise.

    Tables that were made of its documents and are damaged are deleted.
    """
    if pack.tables is None:
        return None  # of its documents each question takes what is whole
    if pack.tables != pack.path:
        if _wrong_with_tables(pack.tables) is not None:
            forget_tables(pack)
        return None
    for name in pack.files:
        if name != "documents.parquet":
            try:
                with connected() as connection:
                    read_through(connection, pack.path / name)
                if pack.sha256 and file_sha256(pack.path / name) != pack.sha256.get(name):
                    return f"{name} is not what was written: its SHA-256 differs"
            except Exception as error:  # noqa: BLE001 - as above
                if lacks_memory(error):
                    return None
                return f"{name} cannot be read: {_first_line(error)}"
    return None


def lacks_memory(error: BaseException | None) -> bool:
    """Return whether memory ran out at the bottom of *error*, which is no file's fault."""
    import duckdb

    while error is not None:
        if isinstance(error, (MemoryError, duckdb.OutOfMemoryException)):
            return True
        error = error.__cause__ or error.__context__
    return False


def damaged_tables(folder: Path) -> dict[Path, str]:
    """Return path -> what is wrong with it, of tables made anew beside the packs in *folder*.

    Nothing is lost by them: they can be deleted, and made again of their pack.
    """
    wrong = {tables: _wrong_with_tables(tables) for tables in renewed_tables(folder)}
    return {tables: reason for tables, reason in wrong.items() if reason is not None}


def _wrong_with_tables(tables: Path) -> str | None:
    """Return why *tables*, made by :func:`.packs.renew_tables`, are not as they were made."""
    try:
        for name, digest in read_pack(tables).sha256.items():
            if file_sha256(tables / name) != digest:
                return f"{name} is not what was made of its pack: its SHA-256 differs"
    except ArchiveError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error}"
    return None


def set_aside(damaged: Path, target: Path) -> None:
    """Move what is damaged out of the way, for what takes its place; nothing is deleted.

    Args:
        damaged: A pack, or a picture.
        target: Where it goes, below a folder :data:`.archive_layout.SET_ASIDE`; its name gets an
            end of chance.

    Raises:
        ArchiveError: It cannot be moved.
    """
    try:
        aside = next(folder for folder in target.parents if folder.name == SET_ASIDE)
        make_folder(target.parent, root=aside.parent)
        with contextlib.suppress(FileNotFoundError):  # somebody else recovers, too
            rename(damaged, target.with_name(f"{target.name}-{secrets.token_hex(4)}"))
        sync_folder(target.parent)
        sync_folder(damaged.parent)
    except OSError as error:
        raise ArchiveError(f"{damaged} cannot be set aside: {error}") from error


def _first_line(error: BaseException) -> str:
    return sentence_of(error).splitlines()[0]


def rescued_documents(pack: Path) -> dict[str, bytes]:
    """Return run_id -> document of what can still be read of a damaged pack, and is whole."""
    return {record.run_id: document for record, document in whole_documents(pack)}


def seal(pack: Pack) -> None:
    """Give a pack of an earlier version, which must be whole, the hashes of its files.

    Raises:
        ArchiveError: The manifest cannot be written.
    """
    try:
        manifest = json.loads(read_regular_file(pack.path / MANIFEST))
        manifest["sha256"] = {name: file_sha256(pack.path / name) for name in pack.files}
        write_manifest(pack.path, manifest)
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{pack.path.name} cannot be sealed: {error}") from error
