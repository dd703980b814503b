"""packs: many records in a few Parquet files, written whole and verified before anything goes.

A pack is a folder: ``runs``, ``images``, ``loras`` and ``documents`` (``.parquet``, zstd, sorted by
time) and ``manifest.json``. It is made under a hidden name, read back, and renamed; only then may
the loose files that it holds be deleted. A crash in between leaves both, and whoever reads counts
each run once. Packs are never changed, so any number of processes may read and pack at once.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from safelight.archive.columns import TABLES, rows_of
from safelight.durable_file import replace_file, sync_folder
from safelight.errors import ArchiveError, RecordError

if TYPE_CHECKING:
    import duckdb

__all__ = ["Pack", "columnar", "empty_rows", "read_packs", "select_columns", "write_pack"]

_SCHEMA = 1
_DOCUMENTS_TOGETHER = 2048
"""Rows that are compressed together: one document is found without reading all."""

_ROWS_TOGETHER = 122_880


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One pack.

    Attributes:
        path: Its folder.
        records: How many it holds.
        first: Timestamp of the earliest of them.
        last: Timestamp of the latest.
    """

    path: Path
    records: int
    first: str
    last: str


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
        if told := _torn(path, manifest.sizes):
            trouble[path] = told
            continue
        packs.append(
            Pack(path=path, records=manifest.records, first=manifest.first, last=manifest.last)
        )
    return packs, trouble


def _torn(pack: Path, sizes: Mapping[str, int]) -> str | None:
    """Return which file of a pack is not as large as it was written."""
    for table in TABLES:
        try:
            size = (pack / f"{table}.parquet").stat().st_size
        except OSError:
            return f"lacks {table}.parquet"
        if size != sizes.get(table):
            return f"is torn: {table}.parquet has {size:,} bytes, not {sizes.get(table, 0):,}"
    return None


def empty_rows() -> dict[str, list[tuple[Any, ...]]]:
    """Return table -> no rows."""
    return {table: [] for table in TABLES}


def columnar(table: str, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Return column -> numpy array of *rows*, for DuckDB to read as a table."""
    import numpy as np

    columns: dict[str, Any] = {}
    values = zip(*rows, strict=True) if rows else ([] for _ in TABLES[table])
    for name, column in zip(TABLES[table], values, strict=True):
        array = np.empty(len(rows), object)
        array[:] = column
        columns[name] = array
    return columns


def select_columns(table: str, source: str) -> str:
    """Return SQL that reads *source* with every column of *table* in its type."""
    casts = ", ".join(
        f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in TABLES[table].items()
    )
    return f"SELECT {casts} FROM {source}"


def write_pack(folder: Path, documents: Sequence[bytes]) -> Pack:
    """Write *documents*, records as their files have them, as one pack.

    Raises:
        ArchiveError: It could not be written whole; nothing of it is left.
        RecordError: One of *documents* is no record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = empty_rows()
    with _without_collector():
        for document in documents:
            for table, row in rows_of(document):
                rows[table].append(row)
    runs = sorted(range(len(rows["runs"])), key=lambda place: rows["runs"][place][1])
    first, last = rows["runs"][runs[0]][1], rows["runs"][runs[-1]][1]
    hidden = folder / f".{secrets.token_hex(8)}.tmp"
    hidden.mkdir()
    try:
        _write_tables(hidden, rows)
        manifest: dict[str, Any] = {
            "schema": _SCHEMA, "records": len(documents), "first": first, "last": last
        }  # fmt: skip
        manifest["sizes"] = {t: (hidden / f"{t}.parquet").stat().st_size for t in TABLES}
        replace_file(hidden / "manifest.json", json.dumps(manifest, sort_keys=True).encode())
        _verify(hidden, documents)
        for path in hidden.iterdir():
            _flush(path)
        sync_folder(hidden)
        name = f"{first.replace(':', '').replace('-', '')}_{secrets.token_hex(4)}"
        target = hidden.rename(folder / name)
        sync_folder(folder)
    except BaseException as error:
        shutil.rmtree(hidden, ignore_errors=True)
        if isinstance(error, OSError):
            raise ArchiveError(f"the pack could not be written: {error}") from error
        raise
    return Pack(path=target, records=len(documents), first=first, last=last)


def _write_tables(folder: Path, rows: Mapping[str, list[tuple[Any, ...]]]) -> None:
    import duckdb

    order = {
        "runs": "timestamp, run_id", "images": "timestamp, run_id, place",
        "loras": "run_id, place", "documents": "run_id",
    }  # fmt: skip
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        for table, entries in rows.items():
            connection.register("given", columnar(table, entries))
            together = _DOCUMENTS_TOGETHER if table == "documents" else _ROWS_TOGETHER
            try:
                connection.execute(
                    f"COPY ({select_columns(table, 'given')} ORDER BY {order[table]})"
                    f" TO '{_quoted(folder / table)}.parquet'"
                    f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {together})"
                )
            except duckdb.Error as error:
                raise ArchiveError(f"the pack could not be written: {error}") from error
            connection.unregister("given")


def _verify(folder: Path, documents: Sequence[bytes]) -> None:
    """Read the pack back: every document must be there, to the letter."""
    found = read_documents(folder)
    for document in documents:
        run_id = msgspec.json.decode(document, type=_RunId).run_id
        if found.get(run_id) != document:
            raise ArchiveError(f"the pack does not hold run {run_id} as it was; nothing is deleted")


class _RunId(msgspec.Struct):
    run_id: str


def read_documents(pack: Path) -> dict[str, bytes]:
    """Return run_id -> canonical JSON of every record in *pack*.

    Raises:
        ArchiveError: The pack cannot be read.
    """
    import duckdb

    try:
        with duckdb.connect() as connection:
            rows = connection.execute(
                f"SELECT run_id, json FROM read_parquet('{_quoted(pack / 'documents')}.parquet')"
            ).fetchall()
    except duckdb.Error as error:
        raise ArchiveError(f"{pack.name} cannot be read: {error}") from error
    return {run_id: text.encode() for run_id, text in rows}


def checked(pack: Pack) -> str | None:
    """Return what is wrong with *pack*, None when every table of it reads whole."""
    try:
        documents = read_documents(pack.path)
        if len(documents) != pack.records:
            return f"holds {len(documents)} records, its manifest says {pack.records}"
        for run_id, document in documents.items():
            (row,) = (row for table, row in rows_of(document) if table == "runs")
            if row[0] != run_id:
                return f"run {run_id} is another one inside"
        with _connected() as connection:
            for table in TABLES:
                file = f"{_quoted(pack.path / table)}.parquet"
                connection.execute(f"SELECT * FROM read_parquet('{file}')").fetchall()
    except (ArchiveError, RecordError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever a torn file makes a reader say
        return f"cannot be read: {error}"
    return None


def _connected() -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Many small objects that all live on: collecting among them only costs time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
