"""Where things are inside an archive folder.

::

    records/<timestamp>_<run_id>.json       one learning record per run
    images/<date>/<time>-<run_id>/          a run's images, contact sheet and journal.jsonl
    packs/<first timestamp>_<random>/       many records at once: tables of runs, images,
                                            settings, prompts and documents (Parquet), and
                                            manifest.json
    ratings/*.jsonl                         what people said about pictures
    ratings/*.scores.jsonl                  numbers that scorers gave them
    imports/*.jsonl                         which files were imported, where pictures were met, and
                                            how far the lines of tools were read
    presets/<name>.toml                     settings that are known to work
    searches.json                           searches that were given a name
    running/<run_id>                        present from a run's start until its record is safe
    .safelight-spool/                       lines that tools posted to the page, until they are read
    .thumbnails/<side>/                     small pictures of the page
    packs/.tables/<pack>-<hash>/            tables of today, made of a pack of an earlier version
    packs/.damaged/, images/.damaged/       what was damaged and has been replaced
    .safelight-trash/<date>/                what somebody discarded, and an account of it

Every file is of one kind: it never changes (records, packs, pictures), it grows by lines (ratings,
journals, logs of imports), or it is replaced as a whole (searches, presets, contact sheets). What
begins with a dot belongs to this machine: thumbnails, unfinished files, what imports have walked.
"""

from __future__ import annotations

import enum
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from safelight.durable_file import read_regular_file

__all__ = [
    "ARCHIVE_FOLDERS",
    "CONTACT_SHEET",
    "JOURNAL_NAME",
    "PART",
    "PICTURE_SUFFIXES",
    "RENEWED_TABLES",
    "SET_ASIDE",
    "TRASH",
    "FileKind",
    "files_below",
    "imports_folder",
    "kind_of",
    "marked_folder",
    "packs_folder",
    "picture_file",
    "pictures_folder",
    "posted_folder",
    "presets_folder",
    "ratings_folder",
    "records_folder",
    "run_folder",
    "running_folder",
    "searches_file",
    "thumbnails_folder",
    "version_file",
    "without_part",
]

ARCHIVE_FOLDERS = frozenset(
    ("records", "images", "packs", "ratings", "imports", "presets", "running", "searches.json")
)
"""What stands in an archive; a folder with none of it is none."""

JOURNAL_NAME = "journal.jsonl"
CONTACT_SHEET = "contact_sheet"
"""How the names of contact sheets begin."""

PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".apng", ".jxl", ".bmp", ".tiff")
)
SET_ASIDE = ".damaged"
"""Folder for what was damaged, beside packs and below pictures; nothing reads it."""

TRASH = ".safelight-trash"
"""Folder of what somebody discarded, in the archive, and in a folder that was imported from."""

RENEWED_TABLES = ".tables"
"""Folder beside packs for tables that were made of the documents of earlier ones."""

_PICTURES = "images"
_LINES = ".jsonl"


class FileKind(enum.Enum):
    """How a file of an archive may change."""

    UNCHANGING = "unchanging"
    GROWING = "growing by lines"
    REPLACED = "replaced as a whole"


PART = "~"
"""Comes before the hash in the name of a part beside a file that grows, and before time and hash
in that of an earlier version beside one that is replaced; no other name of ours has it."""


def without_part(place: PurePosixPath) -> PurePosixPath:
    """Return the file that *place* is a part or a version of; *place* itself when it is none."""
    stem = place.stem.partition(PART)[0]
    return place.with_name(f"{stem}{place.suffix}") if stem else place


def kind_of(place: PurePosixPath) -> FileKind | None:
    """Return the kind of the file at *place*, relative to the archive; None when it has none.

    Nothing is known of such a file: it is neither read nor carried anywhere. So it is with
    hidden ones and with the markers of runs.
    """
    whole = without_part(place)
    kind = _kind_of_whole(whole)
    return FileKind.UNCHANGING if kind is FileKind.REPLACED and whole != place else kind


def _kind_of_whole(place: PurePosixPath) -> FileKind | None:
    parts = place.parts
    if not parts or any(part.startswith(".") for part in parts):
        return None
    first, suffix = parts[0], place.suffix.lower()
    if first == _PICTURES and len(parts) > 1:
        if place.name == JOURNAL_NAME:
            return FileKind.GROWING
        if place.name.startswith(CONTACT_SHEET) or suffix == ".xmp":
            return FileKind.REPLACED
        return FileKind.UNCHANGING if suffix in PICTURE_SUFFIXES else None
    if len(parts) == 1:
        return FileKind.REPLACED if first == "searches.json" else None
    if first == "packs" and len(parts) == 3:
        is_pack = suffix == ".parquet" or place.name == "manifest.json"
        return FileKind.UNCHANGING if is_pack else None
    if len(parts) != 2:
        return None
    if first == "records":
        return FileKind.UNCHANGING if suffix == ".json" else None
    if first in ("ratings", "imports"):
        return FileKind.GROWING if suffix == _LINES else None
    if first == "presets":
        return FileKind.REPLACED if suffix == ".toml" else None
    return None


def files_below(
    folder: Path,
    on_fault: Callable[[str, str], None] = lambda *_: None,
    on_link_out: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield (place relative to *folder*, entry) of every file below it that is not hidden.

    They come by name, and what lies behind links to folders last: pictures may lie on another
    disk. A folder is entered by each link to it, but links behind links only where they lead to
    what has no other name.

    Args:
        folder: Where.
        on_fault: Told the place of what cannot be looked into, and why.
        on_link_out: Told the place of each link to what is not below *folder*, which is then passed
            over; where it is None, such links are followed.
    """
    root = os.path.realpath(folder)
    pending: list[_Folder] = [("", folder, 0, frozenset())]
    links: deque[_Folder] = deque()
    entered: set[str] = set()
    while pending or links:
        prefix, path, behind, above = pending.pop() if pending else links.popleft()
        below: list[_Folder] = []
        try:
            real = os.path.realpath(path)
            if real in above or (behind > 1 and real in entered):
                on_fault(prefix, "is a link to a folder that has another name here")
                continue
            entered.add(real)
            with os.scandir(path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            on_fault(prefix, f"cannot be listed: {error}")
            continue
        for entry in listed:
            if entry.name.startswith("."):
                continue
            try:
                is_folder, is_file, is_link = entry.is_dir(), entry.is_file(), _is_link(entry)
            except OSError as error:
                on_fault(f"{prefix}{entry.name}", f"cannot be looked at: {error}")
                continue
            if on_link_out and (is_folder or is_file) and is_link and _leads_out(entry, root):
                on_link_out(f"{prefix}{entry.name}")
            elif is_folder:
                group = links if is_link else below
                inside = above | {real}
                group.append(
                    (f"{prefix}{entry.name}/", path / entry.name, behind + is_link, inside)
                )
            elif is_file:
                yield f"{prefix}{entry.name}", entry
            else:
                on_fault(f"{prefix}{entry.name}", _no_file(entry, is_link=is_link))
        pending += reversed(below)


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Return whether *entry* is a link, or a junction, which is one of Windows to a folder."""
    if sys.version_info >= (3, 12) and entry.is_junction():
        return True
    return entry.is_symlink()


def _leads_out(entry: os.DirEntry[str], root: str) -> bool:
    return not Path(os.path.realpath(entry)).is_relative_to(root)


def _no_file(entry: os.DirEntry[str], *, is_link: bool) -> str:
    if not is_link:
        return "is no regular file"
    return "leads to no regular file" if os.path.exists(entry) else "leads nowhere"  # noqa: PTH110


_Folder = tuple[str, Path, int, frozenset[str]]
"""Its place, its path, behind how many links it lies, and the folders above it."""


def records_folder(archive: Path) -> Path:
    """Return the folder of the records."""
    return archive / "records"


def pictures_folder(archive: Path) -> Path:
    """Return the folder of the pictures, by day and run."""
    return archive / _PICTURES


def posted_folder(archive: Path) -> Path:
    """Return the folder of pictures that tools sent to the page with a line of a spool."""
    return pictures_folder(archive) / "posted"


def thumbnails_folder(archive: Path) -> Path:
    """Return the folder of the page's small pictures."""
    return archive / ".thumbnails"


def packs_folder(archive: Path) -> Path:
    """Return the folder of the packs."""
    return archive / "packs"


def imports_folder(archive: Path) -> Path:
    """Return the folder that says which files were imported."""
    return archive / "imports"


def ratings_folder(archive: Path) -> Path:
    """Return the folder of what people said about pictures."""
    return archive / "ratings"


def presets_folder(archive: Path) -> Path:
    """Return the folder of settings that are known to work."""
    return archive / "presets"


def searches_file(archive: Path) -> Path:
    """Return the file of searches that were given a name."""
    return archive / "searches.json"


def version_file(archive: Path) -> Path:
    """Return the file that says which version opened the archive last, on this machine."""
    return archive / ".version"


def running_folder(archive: Path) -> Path:
    """Return the folder with one marker per run whose record is not safe yet."""
    return archive / "running"


_LONGEST_MARKER = 4096
"""Bytes; what it says is a folder's place."""


def marked_folder(marker: Path) -> PurePosixPath:
    """Return where a run draws, relative to the archive, as its *marker* says: anywhere.

    Raises:
        OSError: It cannot be read, or is no marker.
        ValueError: It is no text, or leads out of the archive on this system or another.
    """
    place = PurePosixPath(read_regular_file(marker, most=_LONGEST_MARKER).decode())
    elsewhere = PureWindowsPath(place)
    if elsewhere.drive or elsewhere.root or ".." in elsewhere.parts:
        raise ValueError(f"its marker leads out of the archive: {place}")
    return place


_NO_TEXT = re.compile(rb"\\x([89a-f][0-9a-f])")


def picture_file(archive: Path, place: str) -> Path:
    r"""Return the file of a picture that a record has at *place*.

    Bytes of its name that are no UTF-8 stand there as ``\xff``: where no file has that very name,
    the one with these bytes is meant.
    """
    path = archive / place
    if "\\x" not in place or os.path.lexists(path):
        return path
    name = _NO_TEXT.sub(lambda byte: bytes.fromhex(byte[1].decode()), place.encode())
    named = archive / os.fsdecode(name)
    return named if os.path.lexists(named) else path


_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_-]")


def run_folder(timestamp: str, run_id: str) -> PurePosixPath:
    """Return where a run's images are, relative to the archive and never outside of it."""
    day, time = timestamp[:10], timestamp[11:19].replace(":", "")
    name = _NOT_IN_NAME.sub("-", f"{time}-{run_id}")[:200]
    return PurePosixPath(_PICTURES, day if _DAY.fullmatch(day) else "undated", name)
