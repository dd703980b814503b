"""packs: many records in a few Parquet files, written whole and verified before anything goes.

A pack is a folder: ``runs``, ``images``, ``loras``, ``prompts`` and ``documents`` (``.parquet``,
zstd, sorted by time) and ``manifest.json``; one of the first layout has no ``prompts``. It is made
under a hidden name, read back, and renamed; only then may the loose files that it holds be
deleted. A crash in between leaves both, and whoever reads counts each run once. Packs are never
changed, so any number of processes may read and pack at once.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from safelight.archive.columns import TABLES, Batch, columns_of, decoded, numpy_columns
from safelight.durable_file import flush_file, hidden_folder, replace_file, sync_folder
from safelight.errors import ArchiveError, RecordError
from safelight.learning.paused_collector import paused_collector

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "FIRST_LAYOUT",
    "Pack",
    "UnwrittenPack",
    "checked",
    "read_documents",
    "read_packs",
    "write_pack",
]

FIRST_LAYOUT = 1
"""Packs whose pictures have ``lower_prompt`` themselves, and no ``prompts``."""

_SCHEMA = 2
_COMPRESSION = dict.fromkeys(TABLES, "zstd, COMPRESSION_LEVEL 1") | {"prompts": "lz4"}
"""Prompts are read whole for every word that is looked for: twice the bytes, half the time."""

_TOGETHER = {"runs": 122_880, "images": 20_480, "loras": 122_880, "prompts": 122_880,
             "documents": 2048}  # fmt: skip
"""Rows that are compressed together: one document, or fifty pictures, are found without reading
all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One pack.

    Attributes:
        path: Its folder.
        records: How many it holds.
        first: Timestamp of the earliest of them.
        last: Timestamp of the latest.
        schema: Number of its layout.
    """

    path: Path
    records: int
    first: str
    last: str
    schema: int = _SCHEMA


class _Manifest(msgspec.Struct):
    schema: int
    records: int
    first: str
    last: str
    sizes: dict[str, int]


def read_packs(folder: Path) -> tuple[list[Pack], dict[Path, str]]:
    """Return the packs in *folder* by time, and path -> trouble for what is none.

    Nothing is opened but the manifests.
    """
    packs: list[Pack] = []
    trouble: dict[Path, str] = {}
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return [], {}
    for path in entries:
        if path.name.startswith("."):
            continue
        try:
            manifest = msgspec.json.decode((path / "manifest.json").read_bytes(), type=_Manifest)
        except (OSError, msgspec.DecodeError) as error:
            trouble[path] = f"is no pack: {error}"
            continue
        if manifest.schema > _SCHEMA:
            trouble[path] = f"is a pack of schema {manifest.schema}; this safelight knows {_SCHEMA}"
            continue
        if told := _torn(path, manifest):
            trouble[path] = told
            continue
        packs.append(
            Pack(
                path=path, records=manifest.records, first=manifest.first, last=manifest.last,
                schema=manifest.schema,
            )
        )  # fmt: skip
    return packs, trouble


def _tables(schema: int) -> tuple[str, ...]:
    return tuple(name for name in TABLES if schema > FIRST_LAYOUT or name != "prompts")


def _torn(pack: Path, manifest: _Manifest) -> str | None:
    """Return which file of a pack is not as large as it was written."""
    for table in _tables(manifest.schema):
        try:
            size = (pack / f"{table}.parquet").stat().st_size
        except OSError:
            return f"lacks {table}.parquet"
        if size != manifest.sizes.get(table):
            wanted = manifest.sizes.get(table, 0)
            return f"is torn: {table}.parquet has {size:,} bytes, not {wanted:,}"
    return None


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

    def add(self, document: bytes) -> None:
        """Add a record as its file has it; the same one twice is there once.

        Raises:
            RecordError: It is no record, or another one of a run that is here.
        """
        try:
            text = document.decode()
        except UnicodeDecodeError as error:
            raise RecordError(f"is no learning record: {error}") from error
        record = decoded(text)
        known = self._documents.setdefault(record.run_id, text)
        if known is text:
            self._batch.add(record)
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
    import duckdb

    runs = batch.runs
    (_, first), (_, last) = runs[0], runs[-1]
    try:
        with hidden_folder(folder) as hidden:
            with _connected() as connection:
                batch.create_tables(connection, read_once=True)
                documents = numpy_columns(TABLES["documents"], columns_of(texts))
                connection.register("batch_documents", documents)
                write_tables(connection, hidden)
                manifest: dict[str, Any] = {
                    "schema": _SCHEMA, "records": len(runs), "first": first, "last": last
                }  # fmt: skip
                manifest["sizes"] = {t: (hidden / f"{t}.parquet").stat().st_size for t in TABLES}
                content = json.dumps(manifest, sort_keys=True).encode()
                replace_file(hidden / "manifest.json", content)
                verify_tables(connection, hidden, batch.sizes())
            for path in hidden.iterdir():
                flush_file(path)
            sync_folder(hidden)
            name = f"{first.replace(':', '').replace('-', '')}_{secrets.token_hex(4)}"
            target = hidden.rename(folder / name)
            sync_folder(folder)
    except (OSError, duckdb.Error) as error:
        raise ArchiveError(f"the pack could not be written: {error}") from error
    return Pack(path=target, records=len(runs), first=first, last=last)


def write_tables(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write ``batch_TABLE`` of every table of a pack into *folder*."""
    for table in TABLES:
        connection.execute(
            f"COPY (SELECT {_columns(table)} FROM batch_{table})"
            f" TO '{_quoted(folder / table)}.parquet' (FORMAT parquet, ROW_GROUP_SIZE"
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
    found = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE read.run_id = given.run_id AND read.json ="
        f" given.json) FROM read_parquet('{_quoted(folder / 'documents')}.parquet') read"
        " POSITIONAL JOIN batch_documents given"
    ).fetchone()
    if found != (sizes["documents"], sizes["documents"]):
        rows, same = found or (0, 0)
        raise ArchiveError(
            f"the pack does not hold every run as it was: of {sizes['documents']} documents {rows}"
            f" read back, {same} to the letter; nothing is deleted"
        )
    for table, size in sizes.items():
        if table == "documents":
            continue
        rows = _read_through(connection, folder / f"{table}.parquet")
        if rows != size:
            raise ArchiveError(f"{table}.parquet holds {rows} rows, not {size}; nothing is deleted")


def read_documents(pack: Path) -> Iterator[tuple[str, bytes]]:
    """Yield run_id and canonical JSON of every record in *pack*.

    Raises:
        ArchiveError: The pack cannot be read.
    """
    import duckdb

    statement = f"SELECT run_id, json FROM read_parquet('{_quoted(pack / 'documents')}.parquet')"
    try:
        with _connected() as connection:
            connection.execute(statement)
            while rows := connection.fetchmany(_TOGETHER["documents"]):
                for run_id, text in rows:
                    yield run_id, text.encode()
    except duckdb.Error as error:
        raise ArchiveError(f"{pack.name} cannot be read: {error}") from error


def _read_through(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    """Read every value of a Parquet file; return how many rows it has."""
    row = connection.execute(
        f"SELECT count(*), bit_xor(hash(*COLUMNS(*))) FROM read_parquet('{_quoted(file)}')"
    ).fetchone()
    return int(row[0]) if row else 0


def checked(pack: Pack) -> str | None:
    """Return what is wrong with *pack*, None when every table of it reads whole."""
    try:
        records = 0
        for run_id, document in read_documents(pack.path):
            records += 1
            if decoded(document).run_id != run_id:
                return f"run {run_id} is another one inside"
        if records != pack.records:
            return f"holds {records} records, its manifest says {pack.records}"
        with _connected() as connection:
            for table in _tables(pack.schema):
                _read_through(connection, pack.path / f"{table}.parquet")
    except (ArchiveError, RecordError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever a torn file makes a reader say
        return f"cannot be read: {error}"
    return None


def _connected() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")  # several packs are written at once, see packing
    connection.execute("SET pandas_analyze_sample = 0")  # what is no array of numbers is text
    return connection


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
