"""pictures: from a picture's identity to its file and its thumbnail.

A request never names a path. The hash is looked up in the archive's records. A relative path
found there must lead to a file inside the archive; a whole one, which imported pictures have,
to a picture file whose bytes have the very hash that was asked for.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from safelight.archive_layout import JOURNAL_NAME, running_folder, thumbnails_folder
from safelight.durable_file import write_new_file
from safelight.errors import ImageError, RecordError
from safelight.formats.shrunk_pictures import shrunk
from safelight.learning.learning_record import ImageOutput
from safelight.pipeline.journal import VariantEntry, read_journal
from safelight.web.held_archive import HeldArchive, step_back

__all__ = ["THUMBNAIL_SIDES", "Pictures", "is_digest"]

THUMBNAIL_SIDES = (192, 384, 768)
"""Longest sides in pixels that a thumbnail may have."""

_REMEMBERED = 100_000
_LARGEST = 256 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KINDS = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
    ".jfif": "image/jpeg", ".avif": "image/avif", ".gif": "image/gif", ".apng": "image/png",
}  # fmt: skip


def is_digest(text: str) -> bool:
    """Return whether *text* is a SHA-256 as records write it."""
    return _DIGEST.fullmatch(text) is not None


class Pictures:
    """Finds picture files of one archive by the SHA-256 of their bytes.

    Args:
        archive: Whose.
    """

    def __init__(self, archive: HeldArchive) -> None:
        self._archive = archive
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._whole: OrderedDict[str, tuple[str, int, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._makers = ThreadPoolExecutor(2, "thumbnails", initializer=step_back)

    def remember(self, places: Iterable[tuple[str, str | None]]) -> None:
        """Keep (sha256, path) of rows that were shown, whose files are asked for next."""
        with self._lock:
            for digest, path in places:
                if path is not None:
                    self._paths[digest] = path
                    self._paths.move_to_end(digest)
            while len(self._paths) > _REMEMBERED:
                self._paths.popitem(last=False)

    def file(self, digest: str) -> Path | None:
        """Return the picture's file, or None when the archive has none."""
        if not is_digest(digest):
            return None
        path = self._paths.get(digest) or self._looked_up(digest)
        if path is None:
            return None
        return self._outside(path, digest) if Path(path).is_absolute() else self._inside(path)

    def kind(self, file: Path) -> str:
        """Return the media type of *file*, by its name."""
        return _KINDS.get(file.suffix.lower(), "application/octet-stream")

    def kept_thumbnail(self, digest: str, side: int) -> bytes | None:
        """Return the thumbnail that was made before, None when there is none."""
        if not is_digest(digest) or side not in THUMBNAIL_SIDES:
            return None
        try:
            return (self._thumbnails(digest, side) / f"{digest}.webp").read_bytes()
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
        file = self.file(digest) if kept is None else None
        if file is None:
            return kept
        small = self._makers.submit(_shrunk, file, side).result()
        folder = self._thumbnails(digest, side)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_new_file(folder, digest, ".webp", small, flush=False)
        except OSError:
            pass  # a full or read-only disk costs time, not the picture
        return small

    def being_made(self) -> list[tuple[str, VariantEntry, ImageOutput]]:
        """Return (run_id, variant, picture) of the runs that go on now, oldest first."""
        pictures = []
        running = running_folder(self._archive.path)
        try:
            names = sorted(path.name for path in running.iterdir() if path.name[0] != ".")
        except OSError:
            return []
        for name in names:
            try:
                journal = Path((running / name).read_text("utf-8")) / JOURNAL_NAME
                inside = self._inside(journal.as_posix())
                entries = read_journal(inside)[1] if inside else []
            except (OSError, RecordError, UnicodeDecodeError):
                continue
            pictures += [(name, entry, output) for entry in entries for output in entry.outputs]
        self.remember((output.sha256, output.path) for _, _, output in pictures)
        return pictures

    def _looked_up(self, digest: str) -> str | None:
        condition = f"sha256 = '{digest}' and path is not missing"
        rows = self._archive.query(condition, columns=["path"], limit=1).rows
        if not rows:
            made = {output.sha256: output.path for _, _, output in self.being_made()}
            return made.get(digest)
        self.remember([(digest, rows[0][0])])
        return str(rows[0][0])

    def _inside(self, path: str) -> Path | None:
        """Return the file at *path* below the archive; a record is not trusted to name one."""
        root = self._archive.path.resolve()
        try:
            file = (root / path).resolve(strict=True)
        except (OSError, ValueError):
            return None
        return file if file.is_relative_to(root) and file.is_file() else None

    def _outside(self, path: str, digest: str) -> Path | None:
        """Return an imported picture's file when it still is that picture, byte for byte."""
        file = Path(path)
        try:
            if file.suffix.lower() not in _KINDS or not file.is_file():
                return None
            status = file.stat()
            seen = (path, status.st_size, status.st_mtime_ns)
            if self._whole.get(digest) == seen:
                return file
            if status.st_size > _LARGEST:
                return None
            with file.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != digest:
                    return None
        except (OSError, ValueError):
            return None
        with self._lock:
            self._whole[digest] = seen
            while len(self._whole) > _REMEMBERED:
                self._whole.popitem(last=False)
        return file


def _shrunk(file: Path, side: int) -> bytes:
    written = io.BytesIO()
    try:
        with file.open("rb") as opened:
            shrunk(opened, side).save(written, "WEBP", quality=82, method=2)
    except (OSError, ImageError) as error:
        raise ImageError(f"{file.name} cannot be shown small: {error}") from error
    return written.getvalue()
