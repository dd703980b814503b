"""ObjectArchive: an archive on an object store (S3 and its like), which many drivers share.

A store knows no rename: a file is there whole or not at all once its *conditional put* (only if
the name is free) has returned. Names are unique wherever they were made, so drivers never meet;
if two ever did, the first stays and the second is told. Pictures go before the record that
names them: whoever sees a record can fetch its pictures.

The archive folder of a driver stays what it is, and is what runs write to: a store that cannot be
reached delays nothing. :meth:`ObjectArchive.push` and :meth:`~ObjectArchive.pull` make the two
equal, file by file, as ``archive merge`` does between folders.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safelight.archive_layout import running_folder
from safelight.durable_file import write_new_file
from safelight.errors import StorageError, sentence_of
from safelight.learning.learning_record import LearningRecord, record_stem

__all__ = ["Moved", "ObjectArchive", "ObjectStore", "open_store"]

_LAST = ("manifest.json", "records")
"""What makes other files visible, and therefore goes after them."""

_log = logging.getLogger(__name__)


class ObjectStore(Protocol):
    """Where objects are: names with ``/`` between their parts, contents that never change."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Put *data*, whole, unless *key* is taken; return whether it was free.

        Raises:
            StorageError: It could not be put; perhaps it was, so try again.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return what *key* holds.

        Raises:
            StorageError: It cannot be read.
        """
        ...

    def keys(self) -> Iterator[str]:
        """Yield every key.

        Raises:
            StorageError: They cannot be listed.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a push or pull did.

    Attributes:
        files: That were copied.
        bytes: That they have together.
        conflicts: Names that hold something else on the other side; both were left as they are.
    """

    files: int = 0
    bytes: int = 0
    conflicts: tuple[str, ...] = ()


class ObjectArchive:
    """An archive on a store.

    Args:
        store: Where.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def push_run(self, archive: Path, record: LearningRecord) -> Moved:
        """Put one run's pictures and then its record; asks nothing about the rest.

        Raises:
            StorageError: The store or the disk is in the way; what was put is whole, and
                pushing again goes on.
        """
        stem = record_stem(record.timestamp, record.run_id)
        names = [output.path for output in record.outputs if output.path]
        keys = [*dict.fromkeys(names), f"records/{stem}.json"]
        return self._put(archive, keys)

    def push(self, archive: Path) -> Moved:
        """Put what the store lacks; runs that are still going on are left for later.

        Raises:
            StorageError: See :meth:`push_run`.
        """
        there = set(self._store.keys())
        return self._put(archive, [key for key in _finished(archive) if key not in there])

    def pull(self, archive: Path) -> Moved:
        """Fetch what *archive* lacks.

        Raises:
            StorageError: See :meth:`push_run`.
        """
        files = size = 0
        for key in _in_order(self._store.keys()):
            path = archive / key
            if path.exists() or not _harmless(key):
                continue
            data = self._store.get(key)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_new_file(path.parent, path.stem, path.suffix, data)
            except OSError as error:
                raise StorageError(f"{path} cannot be written: {error}") from error
            files, size = files + 1, size + len(data)
        return Moved(files=files, bytes=size)

    def _put(self, archive: Path, keys: Sequence[str]) -> Moved:
        files = size = 0
        conflicts = []
        for key in _in_order(keys):
            try:
                data = (archive / key).read_bytes()
            except FileNotFoundError:
                continue  # packed or removed in the meantime
            except OSError as error:
                raise StorageError(f"{archive / key} cannot be read: {error}") from error
            if self._store.put_new(key, data):
                files, size = files + 1, size + len(data)
            elif self._store.get(key) != data:
                conflicts.append(key)
                _log.warning("%s holds something else on the store; both stay", key)
        return Moved(files=files, bytes=size, conflicts=tuple(conflicts))


def _finished(archive: Path) -> Iterator[str]:
    """Yield the files of an archive that will not change any more."""
    open_runs = tuple(path.name for path in _entries(running_folder(archive)))
    for path in sorted(archive.rglob("*")):
        place = path.relative_to(archive)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or place.parts[0] == "running" or not path.is_file():
            continue
        if open_runs and any(part.endswith(open_runs) for part in place.parts[:-1]):
            continue
        yield place.as_posix()


def _entries(folder: Path) -> Iterable[Path]:
    return list(folder.iterdir()) if folder.is_dir() else ()


def _in_order(keys: Iterable[str]) -> list[str]:
    """Return *keys* so that what makes others visible comes last."""
    return sorted(keys, key=lambda key: (key.startswith(_LAST[1]), key.endswith(_LAST[0]), key))


def _harmless(key: str) -> bool:
    """Return whether *key* names a file inside the archive, and no hidden one."""
    parts = key.split("/")
    return not any(part in ("", "..") or part.startswith(".") or "\\" in part for part in parts)


def open_store(url: str) -> ObjectStore:
    """Return the store at *url*: ``s3://bucket/folder``, ``gs://``, ``az://`` or ``file:///``.

    Who may use it is told by the environment, as its own tools take it (``AWS_ACCESS_KEY_ID``,
    ``AWS_ENDPOINT`` for others than Amazon, ...).

    Raises:
        StorageError: The package is missing, or *url* is none.
    """
    try:
        import obstore
    except ImportError as error:
        raise StorageError(
            "object stores need a package; install it with: pip install safelight[s3]"
        ) from error
    try:
        return _Obstore(obstore, obstore.store.from_url(url), url)
    except Exception as error:  # obstore has no root of its own errors
        raise StorageError(f"{url!r} cannot be opened: {_first_line(error)}") from error


class _Obstore:
    """A store behind the package obstore."""

    def __init__(self, obstore: Any, store: Any, url: str) -> None:
        self._obstore, self._store, self._url = obstore, store, url

    def put_new(self, key: str, data: bytes) -> bool:
        try:
            self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except self._obstore.exceptions.AlreadyExistsError:
            return False
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise StorageError(f"{self._url}/{key}: {_first_line(error)}") from error
        return True

    def get(self, key: str) -> bytes:
        try:
            return bytes(self._obstore.get(self._store, key).bytes())
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise StorageError(f"{self._url}/{key}: {_first_line(error)}") from error

    def keys(self) -> Iterator[str]:
        try:
            for page in self._obstore.list(self._store):
                for entry in page:
                    yield str(entry["path"])
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise StorageError(f"{self._url}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return sentence_of(error).splitlines()[0]
