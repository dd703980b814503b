"""packs: many records in a few Parquet files, written whole and verified before anything goes.

A pack is a folder: ``runs``, ``images``, ``settings``, ``prompts`` and ``documents`` (``.parquet``,
zstd, sorted by time) and ``manifest.json``. One of an earlier version may lack a table or a column;
its documents have what they were made of (:func:`take_documents`). It is made
under a hidden name, read back, and renamed; only then may the loose files that it holds be
deleted. A crash in between leaves both, and whoever reads counts each run once. Packs are never
changed, so any number of processes may read and pack at once.

Its manifest has the SHA-256 of every file and of itself, so that rot is found by whoever looks
(:mod:`.pack_check`). A table that is damaged can be made again from the documents; a document can
only be had from another copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from safelight.archive.columns import (
    ROWS,
    TABLES,
    Batch,
    Decoded,
    columns_of,
    decoded,
    numpy_columns,
)
from safelight.archive_layout import RENEWED_TABLES
from safelight.durable_file import (
    TEMPORARY_SUFFIX,
    NotRegularFile,
    flush_file,
    hidden_folder,
    open_regular_file,
    read_regular_file,
    refuse_irregular,
    rename,
    replace_file,
    sync_folder,
)
from safelight.errors import ArchiveError, RecordError
from safelight.knobs import reading_rules
from safelight.paused_collector import paused_collector
from safelight.stopped_queries import stopped_as_asked
from safelight.timestamps import compact, utc_timestamp

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "MANIFEST",
    "Pack",
    "UnwrittenPack",
    "connected",
    "file_sha256",
    "forget_orphans",
    "forget_tables",
    "pack_name",
    "quoted",
    "read_documents",
    "read_pack",
    "read_packs",
    "read_through",
    "renew_tables",
    "renewed_tables",
    "runs_without_document",
    "take_documents",
    "whole_documents",
    "write_manifest",
    "write_pack",
]

_SCHEMA = 3
_COLUMNS = {table: tuple(columns) for table, columns in TABLES.items()}
_ROWS = hashlib.sha256(f"{ROWS} {reading_rules()}".encode()).hexdigest()[:16]
"""Names the rules by which records become rows: an alias that a knob gets is a change of them."""
_COMPRESSION = dict.fromkeys(TABLES, "zstd, COMPRESSION_LEVEL 1") | {"prompts": "lz4"}
"""Prompts are read whole for every word that is looked for: twice the bytes, half the time."""

_TOGETHER = {"runs": 122_880, "images": 20_480, "settings": 122_880, "prompts": 122_880,
             "documents": 2048}  # fmt: skip
"""Rows that are compressed together: one document, or fifty pictures, are found without reading
all."""


MANIFEST = "manifest.json"
_NO_FILE = "is no regular file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One pack.

    Attributes:
        path: Its folder.
        records: How many it holds.
        first: Timestamp of the earliest of them.
        last: Timestamp of the latest.
        files: The names of its Parquet files.
        sha256: File -> SHA-256 of it, hexadecimal; empty in packs of earlier versions.
        columns: Table -> its columns; empty in packs of earlier versions.
        digest: SHA-256 of its manifest, hexadecimal.
        tables: The folder of tables that have every column; None when only its documents have.
            Tables of today that were made of a pack of an earlier version
            (:func:`renew_tables`) lie beside it, in a folder named after what they were made of.
    """

    path: Path
    records: int
    first: str
    last: str
    files: tuple[str, ...] = tuple(f"{table}.parquet" for table in TABLES)
    sha256: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    digest: str = ""
    tables: Path | None = None


class _Manifest(msgspec.Struct):
    schema: int
    records: int
    first: str
    last: str
    sizes: dict[str, int]
    sha256: dict[str, str] = {}
    columns: dict[str, int | list[str]] = {}
    rows: str = ""
    digest: str = ""


def read_packs(folder: Path) -> tuple[list[Pack], dict[Path, str]]:
    """Return the packs in *folder* by time, and path -> trouble for what is none.

    Nothing is opened but the manifests.

    Raises:
        ArchiveError: The folder is there and cannot be listed.
    """
    packs: list[Pack] = []
    trouble: dict[Path, str] = {}
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return [], {}
    except OSError as error:
        raise ArchiveError(f"the packs cannot be listed: {error}") from error
    for path in entries:
        if path.name.startswith("."):
            continue
        try:
            packs.append(read_pack(path))
        except ArchiveError as error:
            trouble[path] = str(error)
        except OSError as error:
            trouble[path] = f"cannot be read: {error}"
    return packs, trouble


def read_pack(path: Path) -> Pack:
    """Return the pack in the folder *path*.

    Raises:
        ArchiveError: It is none, or one of its files is not as large as it was written.
        OSError: It cannot be looked at, whole or not.
    """
    try:
        text = read_regular_file(path / MANIFEST)
        manifest = msgspec.json.decode(text, type=_Manifest)
        digest = _digest_of(json.loads(text))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError) as error:
        raise ArchiveError(f"is no pack: {error}") from error
    if manifest.schema > _SCHEMA:
        raise ArchiveError(f"is a pack of schema {manifest.schema}; this safelight knows {_SCHEMA}")
    if (manifest.sha256 or manifest.digest) and digest != manifest.digest:
        raise ArchiveError(f"has a damaged {MANIFEST}")
    for table in dict.fromkeys((*manifest.sizes, *TABLES)):
        wanted = manifest.sizes.get(table)
        try:
            size = refuse_irregular(path / f"{table}.parquet").st_size
        except FileNotFoundError as error:
            if wanted is None:
                continue
            raise ArchiveError(f"lacks {table}.parquet") from error
        except (NotRegularFile, IsADirectoryError) as error:
            raise ArchiveError(f"{table}.parquet {_NO_FILE}") from error
        if wanted is not None and size != wanted:
            raise ArchiveError(f"is torn: {table}.parquet has {size:,} bytes, not {wanted:,}")
    columns = {t: names for t, names in manifest.columns.items() if isinstance(names, list)}
    current = manifest.rows == _ROWS and all(
        set(columns.get(table, ())) >= set(names) for table, names in _COLUMNS.items()
    )
    pack = Pack(
        path=path, records=manifest.records, first=manifest.first, last=manifest.last,
        files=tuple(f"{table}.parquet" for table in manifest.sizes), sha256=manifest.sha256,
        columns=columns, digest=hashlib.sha256(text).hexdigest(), tables=path if current else None,
    )  # fmt: skip
    if current or path.parent.name == RENEWED_TABLES:
        return pack
    try:
        return replace(pack, tables=read_pack(_renewed(pack)).tables)
    except (ArchiveError, OSError):
        return pack  # none were made yet, or they are no more as they were made


def _digest_of(manifest: dict[str, Any]) -> str:
    """Return SHA-256 of a manifest's canonical JSON without its digest."""
    content = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write *manifest* into a pack's folder, with a digest of itself."""
    sealed = {**manifest, "digest": _digest_of(manifest)}
    replace_file(folder / MANIFEST, json.dumps(sealed, sort_keys=True).encode())


def file_sha256(path: Path) -> str:
    """Return SHA-256 of a file, hexadecimal."""
    with open_regular_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_pack(folder: Path, documents: Sequence[bytes]) -> Pack:
    """Write *documents*, records as their files have them, as one pack.

    Raises:
        ArchiveError: It could not be written whole; nothing of it is left.
        RecordError: One of *documents* is no record, or another one of the same run.
    """
    unwritten = UnwrittenPack()
    with paused_collector():
        for document in documents:
            unwritten.add(document)
        return unwritten.write(folder)


class UnwrittenPack:
    """Records that become a pack, each taken apart as it comes, so that none is held decoded."""

    def __init__(self) -> None:
        # No other pack numbers its prompts from here.
        self._batch = Batch(secrets.randbits(39) << 24)
        self._documents: dict[str, str] = {}

    def add(self, document: bytes, written: Callable[[], str] = utc_timestamp) -> None:
        """Add a record as its file has it; the same one twice is there once.

        Args:
            document: The file.
            written: Tells when it was written, for a record whose timestamp is no time.

        Raises:
            RecordError: It is no record, or another one of a run that is here.
        """
        try:
            text = document.decode()
        except UnicodeDecodeError as error:
            raise RecordError(f"is no learning record: {error}") from error
        record = decoded(document)
        known = self._documents.setdefault(record.run_id, text)
        if known is text:
            self._batch.add(record, written)
        elif known != text:
            raise RecordError(f"is another record of run {record.run_id}")

    def write(self, folder: Path) -> Pack:
        """Write the records, of which there is one at least, as a pack in *folder*.

        Raises:
            ArchiveError: It could not be written whole; nothing of it is left.
        """
        self._batch.sort()
        return _write(folder, self._batch, sorted(self._documents.items()))


def _write(folder: Path, batch: Batch, texts: Sequence[tuple[str, str]]) -> Pack:
    first, last = batch.runs[0].timestamp, batch.runs[-1].timestamp
    path = folder / f"{compact(first)}_{secrets.token_hex(4)}"
    _write_folder(path, batch, texts, {"first": first, "last": last})
    return read_pack(path)


def renew_tables(pack: Pack) -> None:
    """Make tables of today from the documents of a pack of an earlier version, beside it.

    They belong to this machine, as all that is hidden: the pack itself stays as it is, and they may
    be deleted at any time.

    Those that are there already, because somebody else was faster, stay: others read them.

    Raises:
        ArchiveError: A record of it is damaged, which tables of the others would hide, or they
            could not be written whole.
    """
    if _has_tables(pack):
        return
    batch = Batch(secrets.randbits(39) << 24)
    reason = take_documents(pack, batch)
    if reason is not None:
        raise ArchiveError(f"{reason}; repair it with: safelight archive recover")
    batch.sort()
    span = {"first": pack.first, "last": pack.last}

    def make_room() -> None:
        if not _has_tables(pack):
            forget_tables(pack)

    try:
        _write_folder(_renewed(pack), batch, None, span, make_room)
    except ArchiveError:
        if not _has_tables(pack):
            raise


def _has_tables(pack: Pack) -> bool:
    """Return whether *pack* has tables of today by now."""
    try:
        return read_pack(pack.path).tables is not None
    except OSError as error:
        raise ArchiveError(f"cannot be read: {error}") from error


def forget_tables(pack: Pack) -> None:
    """Delete what :func:`renew_tables` made."""
    _forget(_renewed(pack))


def _forget(tables: Path) -> None:
    """Delete a folder of tables, which is gone at once for whoever looks."""
    hidden = tables.with_name(f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    with contextlib.suppress(OSError):
        rename(tables, hidden)
        tables = hidden
    shutil.rmtree(tables, ignore_errors=True)


def renewed_tables(folder: Path) -> list[Path]:
    """Return all that :func:`renew_tables` made in *folder*, of packs that are there or not."""
    try:
        return sorted(p for p in (folder / RENEWED_TABLES).iterdir() if not p.name.startswith("."))
    except OSError:
        return []  # none were made


def forget_orphans(folder: Path) -> int:
    """Delete tables made anew of packs that are gone from *folder*; return how many there were."""
    forgotten = 0
    for tables in renewed_tables(folder):  # their packs were there before them
        name, _, digest = tables.name.rpartition("-")
        try:
            orphan = not name or read_pack(folder / name).digest[:16] != digest
        except (ArchiveError, OSError):
            orphan = not (folder / name).exists()  # damaged, it may come back whole
        if orphan:
            _forget(tables)
            forgotten += 1
    return forgotten


def pack_name(file: str) -> str:
    """Return the name of the pack that a file of tables, as DuckDB names it, belongs to."""
    *_, parent, folder, _ = file.replace("\\", "/").split("/")
    return folder.rpartition("-")[0] if parent == RENEWED_TABLES else folder


def _renewed(pack: Pack) -> Path:
    return pack.path.parent / RENEWED_TABLES / f"{pack.path.name}-{pack.digest[:16]}"


def _write_folder(
    path: Path,
    batch: Batch,
    texts: Sequence[tuple[str, str]] | None,
    more: Mapping[str, str],
    make_room: Callable[[], None] = lambda: None,
) -> None:
    """Write *batch* as a folder with a manifest, with *texts* as its documents if there are any.

    When all is written *make_room* is called, and then it gets its name.
    """
    import duckdb

    sizes = batch.sizes()
    if texts is None:
        del sizes["documents"]
    try:
        with hidden_folder(path.parent) as hidden:
            with connected() as connection:
                batch.create_tables(connection, read_once=True)
                if texts is not None:
                    documents = numpy_columns(TABLES["documents"], columns_of(texts))
                    connection.register("batch_documents", documents)
                write_tables(connection, hidden, tuple(sizes))
                verify_tables(connection, hidden, sizes)
            for file in hidden.iterdir():
                flush_file(file)
            write_manifest(hidden, {
                "schema": _SCHEMA, "records": len(batch.runs), **more, "columns": _COLUMNS,
                "rows": _ROWS,
                "sizes": {t: (hidden / f"{t}.parquet").stat().st_size for t in sizes},
                "sha256": {f"{t}.parquet": file_sha256(hidden / f"{t}.parquet") for t in sizes},
            })  # fmt: skip
            make_room()
            rename(hidden, path)
            sync_folder(path.parent)
    except (OSError, duckdb.Error) as error:
        raise ArchiveError(f"the pack could not be written: {error}") from error


def write_tables(
    connection: duckdb.DuckDBPyConnection, folder: Path, tables: Iterable[str]
) -> None:
    """Write ``batch_TABLE`` of each of *tables* into *folder*."""
    for table in tables:
        connection.execute(
            f"COPY (SELECT {_columns(table)} FROM batch_{table})"
            f" TO '{quoted(folder / table)}.parquet' (FORMAT parquet, ROW_GROUP_SIZE"
            f" {_TOGETHER[table]}, COMPRESSION {_COMPRESSION[table]})"
        )


def _columns(table: str) -> str:
    """Return SQL for every column of *table* in its type."""
    return ", ".join(
        f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in TABLES[table].items()
    )


def verify_tables(
    connection: duckdb.DuckDBPyConnection, folder: Path, sizes: Mapping[str, int]
) -> None:
    """Read *folder* back: every document must be there, to the letter, and every row.

    Args:
        connection: Where ``batch_documents`` is what was to be written, in its order.
        folder: The files.
        sizes: How many rows each table must have.

    Raises:
        ArchiveError: They hold something else.
    """
    for table, size in sizes.items():
        if table == "documents":
            _verify_documents(connection, folder, size)
            continue
        rows = read_through(connection, folder / f"{table}.parquet")
        if rows != size:
            raise ArchiveError(f"{table}.parquet holds {rows} rows, not {size}; nothing is deleted")


def _verify_documents(connection: duckdb.DuckDBPyConnection, folder: Path, size: int) -> None:
    counted = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE read.run_id = given.run_id AND read.json ="
        f" given.json) FROM read_parquet('{quoted(folder / 'documents')}.parquet') read"
        " POSITIONAL JOIN batch_documents given"
    ).fetchone()
    if counted != (size, size):
        rows, same = counted or (0, 0)
        raise ArchiveError(
            f"the pack does not hold every run as it was: of {size} documents {rows}"
            f" read back, {same} to the letter; nothing is deleted"
        )


def read_documents(pack: Path) -> Iterator[tuple[str, bytes]]:
    """Yield run_id and canonical JSON of every record in *pack*.

    Raises:
        ArchiveError: The pack cannot be read.
    """
    import duckdb

    statement = f"SELECT run_id, json FROM read_parquet('{quoted(pack / 'documents')}.parquet')"
    try:
        refuse_irregular(pack / "documents.parquet")
        with connected() as connection:
            connection.execute(statement)
            while rows := connection.fetchmany(_TOGETHER["documents"]):
                for run_id, text in rows:
                    yield run_id, text.encode()
    except (OSError, duckdb.Error) as error:
        raise ArchiveError(f"{pack.name} cannot be read: {error}") from error


def whole_documents(
    pack: Path, where: str = "TRUE", parameters: Sequence[Any] = ()
) -> Iterator[tuple[Decoded, bytes]]:
    """Yield every record of a pack that can be read and is whole, and its document.

    Args:
        pack: A folder, whatever became of it.
        where: SQL over the columns of documents.
        parameters: The values of *where*.
    """
    import duckdb

    file = f"'{quoted(pack / 'documents')}.parquet'"
    each = _TOGETHER["documents"]
    with connected() as connection:
        try:
            refuse_irregular(pack / "documents.parquet")
            (rows,) = connection.execute(
                f"SELECT num_rows FROM parquet_file_metadata({file})"
            ).fetchall()[0]
        except (OSError, duckdb.Error, IndexError):
            return
        # Part by part as they were compressed: one that is damaged costs itself only.
        for start in range(0, rows, each):
            try:
                texts = connection.execute(
                    f"SELECT json FROM read_parquet({file}, file_row_number = true)"
                    f" WHERE file_row_number BETWEEN {start} AND {start + each - 1} AND {where}",
                    list(parameters),
                ).fetchall()
            except (duckdb.Error, UnicodeDecodeError):
                continue
            for (text,) in texts:
                document = str(text).encode("utf-8", "surrogatepass")
                with contextlib.suppress(RecordError):
                    yield decoded(document), document


def take_documents(pack: Pack, batch: Batch) -> str | None:
    """Add the records of *pack* to *batch*, for a pack whose tables lack a column.

    Returns:
        What cannot be had of it because it is damaged, as a sentence that goes on from its name;
        None when all of it was.
    """
    read: set[str] = set()
    count = 0
    with paused_collector():
        for record, _ in whole_documents(pack.path):
            batch.add(record, lambda: pack.last)
            read.add(record.run_id)
            count += 1
    lost = pack.records - count
    if lost <= 0:
        return None
    if not count:
        return f"cannot be read: none of its {pack.records:,} records is whole"
    runs = runs_without_document(pack, read)
    which = ": " + ", ".join(runs[:5]) + (", ..." if len(runs) > 5 else "") if runs else ""
    return f"holds {lost:,} damaged record{'s' * (lost > 1)} of {pack.records:,}{which}"


def runs_without_document(pack: Pack, read: Collection[str]) -> tuple[str, ...]:
    """Return the runs that the tables of *pack* know beside those whose document was *read*."""
    try:
        refuse_irregular(pack.path / "runs.parquet")
        with connected() as connection:
            rows = connection.execute(
                f"SELECT run_id FROM read_parquet('{quoted(pack.path / 'runs')}.parquet')"
            ).fetchall()
    except Exception:  # noqa: BLE001 - whatever a torn file makes a reader say: nobody knows
        return ()
    return tuple(sorted({run_id for (run_id,) in rows} - set(read)))


def read_through(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    """Read every value of a Parquet file; return how many rows it has."""
    refuse_irregular(file)
    row = connection.execute(
        f"SELECT count(*), bit_xor(hash(*COLUMNS(*))) FROM read_parquet('{quoted(file)}')"
    ).fetchone()
    return int(row[0]) if row else 0


@contextlib.contextmanager
def connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a database for the files of one pack."""
    import duckdb

    with stopped_as_asked(), duckdb.connect() as connection:
        connection.execute("SET threads = 1")  # several packs are written at once, see packing
        connection.execute("SET pandas_analyze_sample = 0")  # what is no array of numbers is text
        # What writing a table took is given back, not kept for the next one beside what that takes.
        connection.execute("SET allocator_bulk_deallocation_flush_threshold = '64KB'")
        yield connection


def quoted(path: Path) -> str:
    """Return *path* as it may stand between the quotes of SQL."""
    return str(path).replace("'", "''")
