"""discarding: pictures into the trash, back out of it, and the trash emptied.

Records and ratings stay whatever becomes of files: what somebody said of a picture is evidence like
any other. Only files that the archive knows byte for byte are moved, of its own pictures and in
folders that it imported from.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath

from safelight.application.asked_pictures import asked_pictures
from safelight.archive import Archive, Fault
from safelight.archive.transfer import oddity_of
from safelight.archive.trash import (
    ArchivedFile,
    DiscardedFile,
    Moved,
    OpenTrash,
    Progress,
    absolute,
    discarded_files,
    is_name_of_discard,
    open_trash,
)
from safelight.archive_layout import TRASH, imports_folder, picture_file, pictures_folder
from safelight.imports.import_accounts import import_accounts
from safelight.imports.import_log import ImportLog

__all__ = [
    "ToDiscard", "TrashDay", "discard", "empty_trash", "in_trash", "restore", "settle_trash",
    "to_discard", "trash_days",
]  # fmt: skip

_DAY = len("2026-01-31")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDiscard:
    """What a discard would move, before anything is.

    Attributes:
        files: Those that may be moved; their bytes are looked at when they are.
        size: Of them all, in bytes.
        folders: Folder in whose trash they go -> how many.
        left: Files that are not moved, and why.
        already: Pictures that were discarded before.
        used_again: Files that records of further runs name.
        led_to: Files from which other pictures were made that stay.
        linked: Files that have another name on the disk, and take as much room as before.
    """

    files: tuple[ArchivedFile, ...]
    size: int
    folders: Mapping[str, int]
    left: tuple[Fault, ...] = ()
    already: int = 0
    used_again: int = 0
    led_to: int = 0
    linked: int = 0

    @property
    def snapshot(self) -> str:
        """What is another when other files, or files of another size, would be moved."""
        digest = hashlib.sha256(str(self.size).encode())
        for file in sorted(f"{file.sha256} {file.place}" for file in self.files):
            digest.update(file.encode("utf-8", "backslashreplace"))
        return digest.hexdigest()[:32]


@dataclass(slots=True, kw_only=True)
class TrashDay:
    """What was discarded on a day and is in the trash.

    Attributes:
        day: The date.
        files: How many.
        size: Of them all, in bytes.
        discards: Names of the discards, the newest first.
    """

    day: str
    files: int = 0
    size: int = 0
    discards: list[str] = field(default_factory=list)


def to_discard(
    archive: Archive, condition: str = "", *, sha256s: Sequence[str] | None = None
) -> ToDiscard:
    """Return what would be moved of the pictures that meet *condition*, or are those of *sha256s*.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    rows = asked_pictures(archive, ["sha256", "path", "discarded"], condition, sha256s)
    folders = _Folders(archive.path)
    files: dict[str, ArchivedFile] = {}
    counts, left = Counter[str](), list[Fault]()
    size = already = linked = 0
    for row in rows:
        place, sha256 = row["path"], row["sha256"]
        if not place or not sha256:
            continue
        path = absolute(picture_file(archive.path, place))
        try:
            status = os.lstat(path)
        except (OSError, ValueError):
            if row["discarded"]:
                already += 1
            else:
                left.append(Fault(path=path, reason="is not there"))
            continue
        root = folders.root_of(place, path)
        if isinstance(root, str):
            left.append(Fault(path=path, reason=root))
        elif place not in files:
            files[place] = ArchivedFile(place=place, path=path, root=root, sha256=sha256)
            size += status.st_size
            linked += status.st_nlink > 1
            counts[os.fspath(root)] += 1
    return ToDiscard(
        files=tuple(files.values()), size=size, folders=dict(counts.most_common()),
        left=tuple(left), already=already, linked=linked,
        used_again=_used_again(archive, list(files)),
        led_to=_led_to(archive, [file.sha256 for file in files.values()]),
    )  # fmt: skip


def discard(
    archive: Archive,
    chosen: ToDiscard,
    now: datetime,
    *,
    on_progress: Progress = lambda *_: None,
) -> Moved:
    """Move what was *chosen* into the trash; what has changed since stays, and is told.

    Args:
        archive: Whose pictures.
        chosen: Of :func:`to_discard`.
        now: Names the discard.
        on_progress: Told how far it is.

    Raises:
        RequestError: Somebody else is moving pictures.
        StorageError: The trash cannot be written; what was moved can be restored.
    """
    with _open(archive) as trash:
        moved = trash.discard(chosen.files, now, total=len(chosen.files), on_progress=on_progress)
    return replace(moved, left=[*chosen.left, *moved.left])


def in_trash(archive: Archive, which: str = "") -> list[DiscardedFile]:
    """Return what is in the trash, the newest discard first.

    Args:
        archive: Whose.
        which: A date, the name of a discard, a file by its name or where it was, the SHA-256 of
            a picture, or a filter that their pictures meet; all if empty.

    Raises:
        FilterError: It is none of these.
        ArchiveError: The archive cannot answer.
    """
    files = discarded_files(archive.path)
    if not which:
        return files
    if _is_day(which):
        return [file for file in files if file.day == which]
    if is_name_of_discard(which):
        return [file for file in files if file.discard == which]
    if named := [file for file in files if _is_named(file, which)]:
        return named
    meant = {row["sha256"] for row in asked_pictures(archive, ["sha256"], which)}
    return [file for file in files if file.sha256 in meant]


def _is_named(file: DiscardedFile, which: str) -> bool:
    names = (file.place, os.fspath(file.path), os.fspath(file.now), file.path.name, file.sha256)
    return which in names or absolute(Path(which)) == file.path


def trash_days(files: Iterable[DiscardedFile]) -> list[TrashDay]:
    """Return what is in the trash by date, in the order of *files*."""
    days: dict[str, TrashDay] = {}
    for file in files:
        day = days.setdefault(file.day, TrashDay(day=file.day))
        day.files += 1
        day.size += file.size
        if file.discard not in day.discards:
            day.discards.append(file.discard)
    return list(days.values())


def restore(
    archive: Archive,
    files: Sequence[DiscardedFile],
    *,
    on_progress: Progress = lambda *_: None,
) -> Moved:
    """Move *files* of the trash back to where they were; never over another file.

    Raises:
        RequestError: Somebody else is moving pictures.
        StorageError: The trash cannot be written; every file is at either place.
    """
    with _open(archive) as trash:
        return trash.restore(files, on_progress=on_progress)


def empty_trash(
    archive: Archive,
    files: Sequence[DiscardedFile],
    *,
    on_progress: Progress = lambda *_: None,
) -> Moved:
    """Delete *files* of the trash: nothing else in safelight deletes a picture.

    Raises:
        RequestError: Somebody else is moving pictures.
        StorageError: The trash cannot be written.
    """
    with _open(archive) as trash:
        return trash.delete(files, on_progress=on_progress)


def settle_trash(archive: Archive) -> None:
    """Finish what a killed discard, restore or emptying left half told.

    Raises:
        RequestError: Somebody else is moving pictures.
        StorageError: The trash cannot be written.
    """
    if (archive.path / TRASH).is_dir():
        with _open(archive):
            pass


@contextlib.contextmanager
def _open(archive: Archive) -> Iterator[OpenTrash]:
    log = ImportLog(imports_folder(archive.path))
    try:
        with open_trash(
            archive.path,
            lambda files: log.add_discarded((file.sha256, file.place) for file in files),
            lambda files: log.add_places((file.sha256, file.place) for file in files),
        ) as trash:
            yield trash
    finally:
        log.close()


def _used_again(archive: Archive, places: list[str]) -> int:
    ((count,),) = archive.rows(
        "SELECT count(*) FROM (SELECT path FROM run_images WHERE path IN"
        " (SELECT unnest(?::VARCHAR[])) GROUP BY path HAVING count(DISTINCT run_id) > 1)",
        [places],
        rated=False,
    )
    return int(count)


def _led_to(archive: Archive, sha256s: list[str]) -> int:
    ((count,),) = archive.rows(
        "WITH chosen AS (SELECT unnest(?::VARCHAR[]) AS sha256) SELECT count(DISTINCT parent)"
        " FROM images WHERE parent IN (FROM chosen) AND sha256 NOT IN (FROM chosen)",
        [sha256s],
        rated=False,
    )
    return int(count)


def _is_day(text: str) -> bool:
    if len(text) != _DAY:
        return False
    try:
        datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        return False
    return True


class _Folders:
    """Which folders pictures may be taken out of."""

    def __init__(self, archive: Path) -> None:
        self._archive = absolute(archive)
        self._own = self._real(self._archive, pictures_folder(self._archive))
        imported = (
            absolute(picture_file(archive, folder))
            for account in import_accounts(archive)
            for folder in account.folders
        )
        self._imported = [path for path in dict.fromkeys(imported) if path.is_dir()]
        self._found: dict[tuple[bool, Path], Path | str] = {}

    @staticmethod
    def _real(*paths: Path) -> tuple[Path, ...]:
        return tuple(Path(os.path.realpath(path)) for path in paths)

    def root_of(self, place: str, path: Path) -> Path | str:
        """Return the folder in whose trash a picture goes, or why it is left alone."""
        is_own = PurePosixPath(place).parts[:1] == ("images",) and not oddity_of(place)
        key = is_own, path.parent
        if key not in self._found:
            self._found[key] = self._looked_up(path.parent, is_own=is_own)
        return self._found[key]

    def _looked_up(self, folder: Path, *, is_own: bool) -> Path | str:
        real = Path(os.path.realpath(folder))
        if is_own:
            if any(real.is_relative_to(own) for own in self._own):
                return self._archive
            return "lies behind a link that leads out of the archive"
        above = [root for root in self._imported if folder.is_relative_to(root)]
        if not above:
            return (
                "lies in no folder that this archive imported from;"
                " import its folder once more, then discard it"
            )
        if not any(real.is_relative_to(root) for root in self._real(*self._imported)):
            return "lies behind a link that leads out of the folders that were imported"
        return above[-1]
