"""An archive on an object store (S3 and its like), which many drivers share.

A store knows no rename: a file is there whole or not at all once its *conditional put* (only if
the name is free) has returned, and it never changes. So what grows or is replaced in a folder is
there in parts and versions, see :mod:`safelight.archive.transfer`: drivers never meet.

The archive folder of a driver stays what it is, and is what runs write to: a store that cannot be
reached delays nothing. :func:`push_archive` and :func:`pull_archive` make the two equal by the same
rule as ``archive merge`` does between folders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from safelight.archive.folder_copy import FolderCopy, checked
from safelight.archive.packs import MANIFEST
from safelight.archive.transfer import (
    Carried,
    Entry,
    NotItsPicture,
    PackState,
    Vanished,
    Version,
    carry,
    check_files,
    part_key,
    version_key,
    version_of,
)
from safelight.archive_layout import kind_of
from safelight.durable_file import make_folder, read_regular_file, settle_file
from safelight.errors import StorageError, sentence_of
from safelight.learning.learning_record import LearningRecord, record_stem

__all__ = ["ObjectStore", "StoreCopy", "open_store", "pull_archive", "push_archive", "push_run"]


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

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield every key with its size and time.

        Raises:
            StorageError: They cannot be listed.
        """
        ...


def push_archive(archive: Path, store: ObjectStore, **options: Any) -> Carried:
    """Put what the store lacks of the archive folder; options as those of :func:`.carry`.

    Raises:
        StorageError: As :func:`.carry`.
    """
    return carry(FolderCopy(archive), StoreCopy(store), **options)


def pull_archive(archive: Path, store: ObjectStore, **options: Any) -> Carried:
    """Fetch what the archive folder lacks; options as those of :func:`.carry`.

    Raises:
        StorageError: As :func:`.carry`.
    """
    return checked(carry(StoreCopy(store), FolderCopy(archive), **options), archive)


def push_run(archive: Path, record: LearningRecord, store: ObjectStore) -> int:
    """Put one run's pictures and then its record; return how many files. Asks about nothing else.

    Raises:
        StorageError: The store or the disk is in the way; what was put is whole, and
            pushing again goes on.
    """
    names = [o.path for o in record.outputs if o.path and kind_of(PurePosixPath(o.path))]
    stem = record_stem(record.timestamp, record.run_id)
    put = 0
    for key in (*dict.fromkeys(names), f"records/{stem}.json"):
        try:
            data = read_regular_file(archive / key)
        except FileNotFoundError:
            continue  # packed or removed in the meantime
        except OSError as error:
            raise StorageError(f"{archive / key} cannot be read: {error}") from error
        put += store.put_new(key, data)
    return put


class StoreCopy:
    """An archive on a store.

    Args:
        store: Where.
    """

    has_markers = False

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._entries: dict[str, Entry] = {}

    def entries(self) -> Mapping[str, Entry]:
        """Return every object."""
        self._entries = dict(self._store.entries())
        return self._entries

    def unlisted(self) -> Sequence[tuple[str, str]]:
        """A store is listed as a whole or not at all."""
        return ()

    def links_out(self) -> Sequence[str]:
        """A store has none."""
        return ()

    def going_on(self) -> frozenset[str]:
        """Nothing is drawn on a store."""
        return frozenset()

    def read(self, key: str) -> bytes:
        """Return what an object holds, whole: one never changes, so its size is known."""
        data = self._store.get(key)
        entry = self._entries.get(key)
        if entry is not None and len(data) != entry.size:
            raise StorageError(f"{len(data):,} bytes of {entry.size:,} came; sync again")
        return data

    def file(self, key: str) -> Path | None:  # noqa: ARG002
        """There are no files."""
        return None

    def picture_sha256s(self, key: str) -> frozenset[str]:  # noqa: ARG002
        """Whoever put a picture has looked at it, and its size is that of the listing."""
        return frozenset()

    def add(
        self,
        key: str,
        content: Path | bytes,
        modified: int,  # noqa: ARG002
        *,
        sha256s: Collection[str] = (),
    ) -> bool:
        """Put an object that is not there."""
        data = _bytes(content)
        if sha256s and hashlib.sha256(data).hexdigest() not in sha256s:
            raise NotItsPicture("is not the picture of its record: its SHA-256 differs")
        return self._store.put_new(key, data)

    def add_pack(self, name: str, manifest: bytes, files: Mapping[str, Path | bytes]) -> bool:
        """Put the files of a pack, and last the manifest, which makes it one."""
        held = {file: _bytes(content) for file, content in files.items()}
        check_files(manifest, held)
        for file, data in held.items():
            key = f"packs/{name}/{file}"
            if not self._store.put_new(key, data) and self._store.get(key) != data:
                raise StorageError(f"{file} holds something else on the store; both stay")
        return self._store.put_new(f"packs/{name}/{MANIFEST}", manifest)

    def pack_state(self, name: str, sizes: Mapping[str, int]) -> PackState:
        """Return how a pack is there, by the sizes of its files."""
        there = {file: self._entries.get(f"packs/{name}/{file}") for file in sizes}
        if any(entry is not None and entry.size != sizes[f] for f, entry in there.items()):
            return "damaged"
        return "whole" if all(there.values()) else "absent"

    def set_pack_aside(self, name: str) -> bool:  # noqa: ARG002
        """Nothing is ever moved on a store."""
        return False

    def extend(self, key: str, lines: Sequence[bytes]) -> None:
        """Put a part with *lines*; the first of them has the name of the file."""
        data = b"\n".join(lines) + b"\n"
        if key in self._entries or not self._store.put_new(key, data):
            self._store.put_new(part_key(key, data), data)

    def current(self, key: str, names: Sequence[str]) -> Version | None:
        """Return the newest version; that of before versions has the time of its object."""
        versions: list[Version] = []
        for name in names:
            load = partial(self.read, name)
            digest_and_time = version_of(name)
            if digest_and_time is not None:
                versions.append(
                    Version(digest=digest_and_time[0], modified=digest_and_time[1], load=load)
                )
            elif name == key:
                digest = hashlib.sha256(load()).hexdigest()[:12]
                modified = self._entries[name].modified
                versions.append(Version(digest=digest, modified=modified, load=load))
        return max(versions, key=lambda each: (each.modified, each.digest), default=None)

    def keep(self, key: str, data: bytes, modified: int) -> bool:
        """Put a version."""
        return self._store.put_new(version_key(key, data, modified), data)

    def replace(self, key: str, data: bytes, modified: int) -> bool:
        """Put a version: the newest is the current one."""
        return self.keep(key, data, modified)

    def flush(self) -> None:
        """What was put is safe."""


def _bytes(content: Path | bytes) -> bytes:
    if isinstance(content, bytes):
        return content
    try:
        return read_regular_file(content)
    except FileNotFoundError as error:
        raise Vanished(f"is not there any more: {error}") from error
    except OSError as error:
        raise StorageError(f"{content} cannot be read: {error}") from error


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
    if "://" not in url:
        raise StorageError(
            f"{url!r} is no address of a store: write s3://bucket/folder, or file:///folder"
        )
    folder = Path(url2pathname(urlsplit(url).path)) if url.startswith("file://") else None
    if folder is not None and not folder.is_dir():
        raise StorageError(f"there is no folder {folder}; a store in one begins with an empty one")
    try:
        return _Obstore(obstore, obstore.store.from_url(url), url, folder)
    except Exception as error:  # obstore has no root of its own errors
        raise StorageError(f"{url!r} cannot be opened: {_first_line(error)}") from error


class _Obstore:
    """A store behind the package obstore; in *folder* when it is one on this machine."""

    def __init__(self, obstore: Any, store: Any, url: str, folder: Path | None) -> None:
        self._obstore, self._store, self._url, self._folder = obstore, store, url, folder

    def put_new(self, key: str, data: bytes) -> bool:
        file = None if self._folder is None else self._folder / key
        try:
            if file is not None:
                make_folder(file.parent, root=self._folder, flush=False)
            self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except self._obstore.exceptions.AlreadyExistsError:
            return False
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise StorageError(f"{self._url}/{key}: {_first_line(error)}") from error
        if file is not None:
            settle_file(file)
        return True

    def get(self, key: str) -> bytes:
        try:
            return bytes(self._obstore.get(self._store, key).bytes())
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise StorageError(f"{self._url}/{key}: {_first_line(error)}") from error

    def entries(self) -> Iterator[tuple[str, Entry]]:
        try:
            for page in self._obstore.list(self._store):
                for entry in page:
                    modified = round(entry["last_modified"].timestamp() * 10**9)
                    yield str(entry["path"]), Entry(int(entry["size"]), modified)
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise StorageError(f"{self._url}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return sentence_of(error).splitlines()[0]
