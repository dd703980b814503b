"""pictures: from a picture's identity to its file and its thumbnail.

A request never names a path. The hash is looked up in the archive's records. A relative path
found there must lead, with links followed, to a file below the archive's pictures; a whole one,
which imported pictures have, to a picture file whose bytes have the very hash that was asked for.
Either must begin like a picture. A file is opened once, and what is open is looked at and served:
a record is not trusted to name a picture, nor is a name trusted to mean the same file twice.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from safelight.allowed_files import FilesUnder
from safelight.archive_layout import (
    JOURNAL_NAME,
    marked_folder,
    picture_file,
    pictures_folder,
    running_folder,
    thumbnails_folder,
)
from safelight.durable_file import make_folder, read_regular_file, write_new_file
from safelight.errors import FileRefused, ImageError, RecordError
from safelight.formats.picture_kinds import LONGEST_BEGINNING, media_type
from safelight.formats.shrunk_pictures import shrunk
from safelight.learning.learning_record import ImageOutput
from safelight.operating_system import step_back
from safelight.pipeline.journal import VariantEntry, read_journal
from safelight.web.held_archive import HeldArchive

__all__ = ["THUMBNAIL_SIDES", "OpenPicture", "Pictures", "is_digest"]

THUMBNAIL_SIDES = (192, 384, 768)
"""Longest sides in pixels that a thumbnail may have."""

_REMEMBERED = 100_000
_REST = 4
"""After a look through the journals of what is drawn now, so many times as long without one."""

_LONGEST_PATH = 4096
_LARGEST = 256 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".jfif", ".avif", ".gif", ".apng"))


def is_digest(text: str) -> bool:
    """Return whether *text* is a SHA-256 as records write it."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPicture:
    """A picture's file, open at its beginning; whoever has it closes it.

    Attributes:
        file: To be read.
        path: Where it is, with links followed.
        name: Its own name, as it was recorded; it ends like a picture's, so that nobody who saves
            it and opens it opens anything else.
        kind: Its media type, told by its content.
        status: Its size and time.
    """

    file: BufferedReader
    path: Path
    name: str
    kind: str
    status: os.stat_result


class Pictures:
    """Finds picture files of one archive by the SHA-256 of their bytes.

    Args:
        archive: Whose.
    """

    def __init__(self, archive: HeldArchive) -> None:
        self._archive = archive
        self._rests_until = 0.0
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._whole: OrderedDict[str, tuple[str, int, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._makers = ThreadPoolExecutor(2, "thumbnails", initializer=step_back)

    def remember(self, places: Iterable[tuple[str, str | None]]) -> None:
        """Keep (sha256, path) of rows that were shown, whose files are asked for next."""
        with self._lock:
            for digest, path in places:
                if path is not None and len(path) <= _LONGEST_PATH:
                    self._paths[digest] = path
                    self._paths.move_to_end(digest)
            while len(self._paths) > _REMEMBERED:
                self._paths.popitem(last=False)

    def file(self, digest: str) -> Path | None:
        """Return where the picture's file is, or None when the archive has none."""
        opened = self.opened(digest)
        if opened is None:
            return None
        opened.file.close()
        return opened.path

    def opened(self, digest: str) -> OpenPicture | None:
        """Return the picture's file, open, or None when the archive has none."""
        if not is_digest(digest):
            return None
        path = self._paths.get(digest) or self._looked_up(digest)
        if path is None:
            return None
        try:
            opened = self._outside(path) if Path(path).is_absolute() else self._inside(path)
            if opened is None or (Path(path).is_absolute() and not self._is_still(opened, digest)):
                return None
        except (OSError, ValueError):
            return None
        return opened

    def kept_thumbnail(self, digest: str, side: int) -> bytes | None:
        """Return the thumbnail that was made before, None when there is none."""
        if not is_digest(digest) or side not in THUMBNAIL_SIDES:
            return None
        try:
            return read_regular_file(self._thumbnails(digest, side) / f"{digest}.webp")
        except OSError:
            return None

    def _thumbnails(self, digest: str, side: int) -> Path:
        return thumbnails_folder(self._archive.path) / str(side) / digest[:2]

    def thumbnail(self, digest: str, side: int) -> bytes | None:
        """Return a WebP no larger than *side* pixels, made when it is first asked for.

        Raises:
            ImageError: The file is no picture that can be read.
        """
        if not is_digest(digest) or side not in THUMBNAIL_SIDES:
            return None
        kept = self.kept_thumbnail(digest, side)
        opened = self.opened(digest) if kept is None else None
        if opened is None:
            return kept
        small = self._makers.submit(_shrunk, opened, side).result()
        folder = self._thumbnails(digest, side)
        try:
            make_folder(folder, root=self._archive.path, flush=False)
            write_new_file(folder, digest, ".webp", small, flush=False)
        except OSError:
            pass  # a full or read-only disk costs time, not the picture
        return small

    def being_made(self) -> list[tuple[str, VariantEntry, ImageOutput]]:
        """Return (run_id, variant, picture) of the runs that go on now, oldest first."""
        pictures = []
        running = running_folder(self._archive.path)
        files = FilesUnder((pictures_folder(self._archive.path),))
        try:
            names = sorted(path.name for path in running.iterdir() if path.name[0] != ".")
        except OSError:
            return []
        for name in names:
            try:
                journal = marked_folder(running / name) / JOURNAL_NAME
                files.open(journal.as_posix(), self._archive.path).close()
                place = files.place(journal.as_posix(), self._archive.path)
                entries = read_journal(place)[1]
            except (OSError, FileRefused, RecordError, ValueError):
                continue
            pictures += [(name, entry, output) for entry in entries for output in entry.outputs]
        self.remember((output.sha256, output.path) for _, _, output in pictures)
        return pictures

    def _looked_up(self, digest: str) -> str | None:
        condition = f"sha256 = '{digest}' and path is not missing"
        rows = self._archive.query(condition, columns=["path"], limit=1).rows
        if not rows:
            # Whoever asks for pictures that are nowhere must not keep journals being read.
            began = time.monotonic()
            if began < self._rests_until:
                return None
            made = {output.sha256: output.path for _, _, output in self.being_made()}
            ended = time.monotonic()
            self._rests_until = ended + _REST * (ended - began)
            return made.get(digest)
        self.remember([(digest, rows[0][0])])
        return str(rows[0][0])

    def _inside(self, path: str) -> OpenPicture | None:
        """Return the picture at *path* below the archive's pictures."""
        files = FilesUnder((pictures_folder(self._archive.path),))
        return _picture(files, path, self._archive.path)

    def _outside(self, path: str) -> OpenPicture | None:
        """Return the picture at *path*, wherever that is."""
        path = str(picture_file(self._archive.path, path))
        if Path(path).suffix.lower() not in _SUFFIXES:
            return None
        return _picture(FilesUnder((Path(Path(path).anchor),)), path, Path())

    def _is_still(self, opened: OpenPicture, digest: str) -> bool:
        """Return whether an imported picture still is that picture, byte for byte; else close it.

        Raises:
            OSError: It cannot be read.
        """
        status = opened.status
        seen = (str(opened.path), status.st_size, status.st_mtime_ns)
        if self._whole.get(digest) == seen:
            return True
        try:
            is_same = (
                status.st_size <= _LARGEST
                and hashlib.file_digest(opened.file, "sha256").hexdigest() == digest
            )
            opened.file.seek(0)
        except OSError:
            opened.file.close()
            raise
        if not is_same:
            opened.file.close()
            return False
        with self._lock:
            self._whole[digest] = seen
            while len(self._whole) > _REMEMBERED:
                self._whole.popitem(last=False)
        return True


def _picture(files: FilesUnder, path: str, folder: Path) -> OpenPicture | None:
    """Return the file *path*, open, where it may be named and begins like a picture."""
    try:
        place = files.place(path, folder)
        file = files.open(path, folder)
    except FileRefused:
        return None
    try:
        kind = media_type(file.read(LONGEST_BEGINNING))
        file.seek(0)
        status = os.fstat(file.fileno())
    except OSError:
        file.close()
        raise
    if kind is None:
        file.close()
        return None
    name = Path(path).name
    if Path(name).suffix.lower() not in _SUFFIXES:
        name = f"{name}.{kind.partition('/')[2]}"
    return OpenPicture(file=file, path=place, name=name, kind=kind, status=status)


def _shrunk(opened: OpenPicture, side: int) -> bytes:
    written = io.BytesIO()
    try:
        with opened.file as file:
            shrunk(file, side).save(written, "WEBP", quality=82, method=2)
    except (OSError, ImageError) as error:
        raise ImageError(f"{opened.name} cannot be shown small: {error}") from error
    return written.getvalue()
