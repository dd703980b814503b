"""FolderCopy: an archive in a folder, as something to carry from and to."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from safelight.archive.archive import Archive
from safelight.archive.pack_check import check_pack, set_aside
from safelight.archive.packs import MANIFEST, read_pack
from safelight.archive.places import read_places
from safelight.archive.transfer import (
    Carried,
    Entry,
    ItsOwnFault,
    NotItsPicture,
    PackState,
    Vanished,
    Version,
    carry,
    check_files,
    part_key,
    version_key,
)
from safelight.archive_layout import (
    JOURNAL_NAME,
    PART,
    SET_ASIDE,
    files_below,
    imports_folder,
    marked_folder,
    packs_folder,
    running_folder,
)
from safelight.durable_file import (
    AppendOnlyFile,
    ContentError,
    copy_new_file,
    held_folder,
    hidden_folder,
    is_held,
    make_folder,
    read_regular_file,
    rename,
    replace_file,
    sync_folder,
    write_new_file,
)
from safelight.errors import ArchiveError, StorageError

__all__ = ["FolderCopy", "checked", "merge_archives"]

_OF_ITS_NAME = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ}
"""What the disk says of a name that cannot be there beside those that are."""


def merge_archives(
    target: Path, source: Path, *, follow_links: bool = False, **options: object
) -> Carried:
    """Carry into the archive folder *target* what *source* has and it lacks.

    Args:
        target: The archive that grows.
        source: The other one, which is only read.
        follow_links: Whether to copy also what links of *source* lead to that is not in it. An
            archive may come from anybody, and its links lead to what is this user's.
        **options: Those of :func:`.transfer.carry`.

    Raises:
        StorageError: As :func:`.transfer.carry`.
    """
    from_there = FolderCopy(source, follow_links=follow_links)
    return checked(carry(from_there, FolderCopy(target), **options), target)  # type: ignore[arg-type]


def checked(carried: Carried, target: Path) -> Carried:
    """Return *carried* with the runs of which *target* now has records that differ."""
    try:
        carried.differing, carried.differing_count = Archive(target).differing_runs()
    except ArchiveError as error:
        raise StorageError(f"what was carried is whole, but cannot be asked: {error}") from error
    return carried


class FolderCopy:
    """An archive in a folder.

    Args:
        path: The folder; it need not be there yet.
        follow_links: Whether links that lead out of it are part of it: pictures may lie on another
            disk.
    """

    has_markers = True

    def __init__(self, path: Path, *, follow_links: bool = True) -> None:
        self.path = path
        self._follows_links = follow_links
        self._links_out: list[str] = []
        self._unflushed: set[Path] = set()
        self._unlisted: list[tuple[str, str]] = []
        self._pictures: dict[str, bytes] | None = None

    def entries(self) -> Mapping[str, Entry]:
        """Return every file that is not hidden."""
        self._unlisted, self._links_out = [], []
        entries: dict[str, Entry] = {}
        for key, entry in files_below(
            self.path,
            lambda *fault: self._unlisted.append(fault),
            None if self._follows_links else self._links_out.append,
        ):
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            entries[key] = Entry(status.st_size, status.st_mtime_ns)
        for place, reason in self._unlisted:
            if not place:
                raise StorageError(f"{self.path} {reason}")
        return entries

    def unlisted(self) -> Sequence[tuple[str, str]]:
        """Return the folders that could not be listed, and why."""
        return self._unlisted

    def links_out(self) -> Sequence[str]:
        """Return the links that lead out of the folder, where these are not followed."""
        return self._links_out

    def going_on(self) -> frozenset[str]:
        """Return the folders of runs whose journal a process holds."""
        folders = set()
        try:
            markers = list(running_folder(self.path).iterdir())
        except OSError:
            return frozenset()
        for marker in markers:
            try:
                place = marked_folder(marker)
                if is_held(self.path / place / JOURNAL_NAME):
                    folders.add(str(place))
            except (OSError, ValueError):
                continue
        return frozenset(folders)

    def read(self, key: str) -> bytes:
        """Return what *key* holds."""
        try:
            return read_regular_file(self.path / key)
        except FileNotFoundError as error:
            raise Vanished(f"is not there any more: {error}") from error
        except OSError as error:
            raise StorageError(f"cannot be read: {error}") from error

    def file(self, key: str) -> Path | None:
        """Return the file of *key*."""
        return self.path / key

    def picture_sha256s(self, key: str) -> frozenset[str]:
        """Return what the records say; they are all asked when the first picture is."""
        if self._pictures is None:
            try:
                self._pictures = recorded_sha256s(Archive(self.path))
            except ArchiveError as error:
                raise StorageError(f"cannot be asked: {error}") from error
        digests = self._pictures.get(key, b"")
        size = hashlib.sha256().digest_size
        return frozenset(digests[at : at + size].hex() for at in range(0, len(digests), size))

    def add(
        self, key: str, content: Path | bytes, modified: int, *, sha256s: Collection[str] = ()
    ) -> bool:
        """Add a file that is not there; its name is flushed by :meth:`flush`.

        What was discarded here does not come back from somewhere else.
        """
        if key in self._discarded:
            return False
        target = self.path / key
        try:
            make_folder(target.parent, root=self.path)
            self._unflushed.add(target.parent)
            copied = copy_new_file(content, target, modified=modified, sha256s=sha256s, flush=False)
            if copied is None and target.is_dir():
                raise ItsOwnFault(f"{target} is a folder, and in its way")
            return copied is not None
        except ContentError as error:
            raise NotItsPicture(f"is not the picture of its record: {error}") from error
        except FileNotFoundError as error:
            raise Vanished(f"is not there any more: {error}") from error
        except OSError as error:
            if error.errno in _OF_ITS_NAME:
                raise ItsOwnFault(f"{target} cannot be written: {error}") from error
            raise StorageError(f"{target} cannot be written: {error}") from error

    @functools.cached_property
    def _discarded(self) -> frozenset[str]:
        places = read_places(imports_folder(self.path))
        return frozenset(places.gone[sha256] for sha256 in places.discarded)

    def add_pack(self, name: str, manifest: bytes, files: Mapping[str, Path | bytes]) -> bool:
        """Add a pack under a hidden name, and give it its own when it is whole."""
        folder = packs_folder(self.path)
        try:
            with hidden_folder(folder) as hidden:
                for file, content in files.items():
                    copy_new_file(content, hidden / file, flush=False)
                check_files(manifest, {file: hidden / file for file in files})
                replace_file(hidden / MANIFEST, manifest)
                if faults := check_pack(read_pack(hidden), only_hashes=True).faults:
                    raise ItsOwnFault("; ".join(faults))
                added = True
                try:
                    rename(hidden, folder / name)
                except OSError:
                    if not (folder / name).exists():
                        raise
                    added = False  # another merge was faster
                sync_folder(folder)
        except ArchiveError as error:
            raise StorageError(str(error)) from error
        except FileNotFoundError as error:
            raise Vanished(f"is not there any more: {error}") from error
        except OSError as error:
            raise StorageError(f"the pack {name} cannot be written: {error}") from error
        return added

    def pack_state(self, name: str, sizes: Mapping[str, int]) -> PackState:  # noqa: ARG002
        """Return how the pack *name* is here, by its hashes."""
        path = packs_folder(self.path) / name
        if not path.exists():
            return "absent"
        try:
            pack = read_pack(path)
        except ArchiveError:
            return "damaged"
        return "damaged" if check_pack(pack, only_hashes=True).faults else "whole"

    def set_pack_aside(self, name: str) -> bool:
        """Move a damaged pack out of the way."""
        try:
            folder = packs_folder(self.path)
            set_aside(folder / name, folder / SET_ASIDE / name)
        except ArchiveError as error:
            raise StorageError(str(error)) from error
        return True

    def extend(self, key: str, lines: Sequence[bytes]) -> None:
        """Add lines to a file, or to a part beside it while somebody holds it."""
        path = self.path / key
        try:
            make_folder(path.parent, root=self.path)
            with held_folder(path.parent):  # one merge at a time: each sees what the others added
                known = _lines_of_family(path)
                missing = [line for line in lines if line not in known]
                if missing:
                    self._extend(path, key, missing)
        except OSError as error:
            raise StorageError(f"{path} cannot be extended: {error}") from error

    def _extend(self, path: Path, key: str, lines: Sequence[bytes]) -> None:
        data = b"\n".join(lines)
        try:
            with AppendOnlyFile(path) as file:
                there = read_regular_file(path)
                torn = b"\n" if there and not there.endswith(b"\n") else b""
                file.append(torn + data)
        except BlockingIOError:  # it is being written, and goes on so
            part = self.path / part_key(key, data + b"\n")
            write_new_file(part.parent, part.stem, part.suffix, data + b"\n")

    def current(self, key: str, names: Sequence[str]) -> Version | None:
        """Return what the file holds."""
        if key not in names:
            return None
        data = self.read(key)
        try:
            modified = (self.path / key).stat().st_mtime_ns
        except OSError as error:
            raise StorageError(f"cannot be read: {error}") from error
        digest = hashlib.sha256(data).hexdigest()[:12]
        return Version(digest=digest, modified=modified, load=lambda: data)

    def keep(self, key: str, data: bytes, modified: int) -> bool:
        """Keep a version in a file beside it."""
        return self.add(version_key(key, data, modified), data, modified)

    def replace(self, key: str, data: bytes, modified: int) -> bool:
        """Replace the file."""
        target = self.path / key
        try:
            make_folder(target.parent, root=self.path)
            replace_file(target, data)
            os.utime(target, ns=(modified, modified))
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error}") from error
        return True

    def flush(self) -> None:
        """Flush the names of what was added."""
        try:
            while self._unflushed:
                sync_folder(self._unflushed.pop())
        except OSError as error:
            raise StorageError(f"{self.path} cannot be flushed: {error}") from error


def recorded_sha256s(archive: Archive) -> dict[str, bytes]:
    """Return path below ``images`` -> the SHA-256s that any record says of it, one after another.

    Raises:
        ArchiveError: The archive cannot be asked.
    """
    rows = archive.rows(
        "SELECT path, string_agg(DISTINCT lower(sha256), '') FROM run_images"
        " WHERE path[1:7] = 'images/' AND regexp_full_match(lower(sha256), '[0-9a-f]{64}')"
        " GROUP BY path",
        rated=False,
    )
    sha256s = {path: bytes.fromhex(digests) for path, digests in rows}
    for path, hashes in archive.hashes_in_copies().items():
        sha256s[path] = sha256s.get(path, b"") + bytes.fromhex("".join(hashes))
    return sha256s


def _lines_of_family(path: Path) -> set[bytes]:
    """Return the lines of a file and of its parts."""
    known: set[bytes] = set()
    for file in (path, *path.parent.glob(f"{glob.escape(path.stem)}{PART}*{path.suffix}")):
        with contextlib.suppress(FileNotFoundError):
            known.update(read_regular_file(file).split(b"\n"))
    return known
