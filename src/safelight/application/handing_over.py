"""handing_over: picture files for somebody else, with their settings inside or without any.

Pictures come one after the other and are never all in memory, whether they go into a folder, into
a .zip, or to a browser. What is handed over is the file that the archive knows, byte for byte, but
for the texts that are put in or taken out; the coded image stays as it is.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from safelight.application.asked_pictures import asked_pictures
from safelight.application.configs_again import stages_of_picture
from safelight.archive import Archive, Fault
from safelight.archive_layout import CONTACT_SHEET, picture_file
from safelight.durable_file import copy_new_file, make_folder, read_regular_file
from safelight.errors import ArchiveError, ImageError, RequestError
from safelight.escaped_output import escaped_line
from safelight.formats.containers import file_texts
from safelight.formats.infotext import parameters_text
from safelight.formats.picture_kinds import media_type
from safelight.formats.shrunk_pictures import shrunk
from safelight.formats.told_settings import with_settings, without_texts
from safelight.knobs import KNOBS, STAGES
from safelight.learning.learning_record import LearningRecord
from safelight.picture_names import MOST_CELLS, PictureNames, pattern_faults
from safelight.pipeline.contact_sheet import SheetCell, contact_sheet
from safelight.timestamps import as_utc

__all__ = [
    "MOST_ON_PAGE", "PAGE", "Carried", "HandOver", "ToHandOver", "hand_over", "handed_over",
    "picture_bytes", "picture_suffix", "to_hand_over", "zipped",
]  # fmt: skip

MOST_ON_PAGE = 2_000
"""Pictures on a page; they are in the file itself, which somebody is to open."""

PAGE = "pictures.html"
_TOGETHER = 32
_LARGEST = 256 * 2**20
_SMALL, _ON_SHEET = 320, 256
"""Longest sides in pixels, on the page and on the sheet."""

_OWN_NAME, _NUMBER = "{file:100}", "{index:5}"
"""What files are called when nothing is said of it; their own names may tell settings."""

_SUFFIXES = {"image/jpeg": ".jpg"}
_NEVER = (1980, 1, 1, 0, 0, 0)
_DESCRIBES = frozenset((
    "parameters", "prompt", "workflow", "exif:UserComment", "comment", "invokeai_metadata",
    "sd-metadata", "Dream", "Description", "Comment",
))  # fmt: skip
_COLUMNS = (
    "sha256", "path", "run_id", "stage", "variant", "timestamp", "name", "width", "height", "gone",
)  # fmt: skip
_KNOBS = tuple(name for name, knob in KNOBS.items() if knob.has_column)

Carried = tuple[str, bytes]
"""A file's name, and what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """How pictures are handed over.

    Attributes:
        strip: Take out every text that tells settings, rather than put it in.
        names: Pattern of the names, as ``[output]`` has it; when empty, their own names, or
            numbers where nothing is to be told.
        sheet: Whether a contact sheet comes with them.
        page: Whether a page of them all comes with them, in one file.

    Raises:
        RequestError: The pattern can be none.
    """

    strip: bool = False
    names: str = ""
    sheet: bool = False
    page: bool = False

    def __post_init__(self) -> None:
        faults = list(pattern_faults(self.names, STAGES)) if self.names else []
        if faults:
            raise RequestError(f"the pattern of names {self.names!r} {'; '.join(faults)}")


@dataclass(slots=True, kw_only=True)
class ToHandOver:
    """Which pictures are handed over, and as they go, what became of them.

    Attributes:
        rows: What is known of each.
        size: Of their files now, in bytes.
        files: How many went.
        as_they_were: Of these, how many say by themselves how they were made, and were not changed.
        without_settings: Of these, how many cannot hold settings, and why.
        left: Files that did not go, and why.
        on_page: How many are on the page, where not all are.
    """

    rows: Sequence[Mapping[str, Any]]
    size: int
    files: int = 0
    as_they_were: int = 0
    without_settings: dict[str, int] = field(default_factory=dict)
    left: list[Fault] = field(default_factory=list)
    on_page: int = 0


def to_hand_over(
    archive: Archive, condition: str = "", *, sha256s: Sequence[str] | None = None
) -> ToHandOver:
    """Return the pictures that meet *condition*, or are those of *sha256s*, and have a file.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    columns = list(dict.fromkeys((*_COLUMNS, *_KNOBS)))
    rows, size = list[Mapping[str, Any]](), 0
    for row in asked_pictures(archive, columns, condition, sha256s):
        if row["path"] and not row["gone"]:
            try:
                size += picture_file(archive.path, row["path"]).stat().st_size
            except (OSError, ValueError):
                continue
            rows.append(row)
    return ToHandOver(rows=rows, size=size)


def hand_over(archive: Archive, chosen: ToHandOver, target: Path, how: HandOver) -> None:
    """Write pictures to *target*, a new or empty folder, or a new file that ends in ``.zip``.

    Raises:
        RequestError: There is something.
        OSError: It cannot be written.
    """
    carried = handed_over(archive, chosen, how)
    if target.suffix.lower() == ".zip":
        if os.path.lexists(target):
            raise RequestError(
                f"{escaped_line(str(target))} is there already; name another, or take it away"
            )
        copy_new_file(zipped(carried, chosen, how), target)
        return
    if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(
            f"TARGET must be a .zip or a new or empty folder, got {escaped_line(str(target))}"
        )
    make_folder(target)
    for name, data in carried:
        copy_new_file(data, target / name, flush=False)


def handed_over(
    archive: Archive,
    chosen: ToHandOver,
    how: HandOver,
    *,
    shown: Callable[[str], str] = str,
) -> Iterator[Carried]:
    """Yield name and content of each file, one after the other; what happened is in *chosen*.

    Args:
        archive: Whose pictures.
        chosen: Of :func:`to_hand_over`.
        how: What is done with them.
        shown: What is told of a text, for who may not be told all of it.
    """
    names = PictureNames(how.names or (_NUMBER if how.strip else _OWN_NAME))
    sheet = _Sheet() if how.sheet else None
    page = _Page(with_settings=not how.strip) if how.page else None
    number = 0
    for start in range(0, len(chosen.rows), _TOGETHER):
        some = chosen.rows[start : start + _TOGETHER]
        records = {} if how.strip else _records(archive, some)
        for row in some:
            path = picture_file(archive.path, row["path"])
            text = shown(_settings(records.get(row["run_id"]), row))
            try:
                data = picture_bytes(path, row["sha256"])
                told = without_texts(data) if how.strip else _told(data, text, chosen)
            except (OSError, ImageError, ValueError) as error:
                chosen.left.append(Fault(path=path, reason=str(error)))
                continue
            name = names.name(number, row["stage"] or "picture", row["seed"], _named(row))
            name += picture_suffix(data)
            number += 1
            chosen.files += 1
            for view in (sheet, page):
                if view is not None:
                    view.add(name, data, text)
            yield name, told
    if sheet is not None and sheet.cells:
        yield f"{CONTACT_SHEET}.png", sheet.png(number)
    if page is not None and number:
        chosen.on_page = min(number, MOST_ON_PAGE)
        yield PAGE, page.html(number)


def zipped(carried: Iterable[Carried], chosen: ToHandOver, how: HandOver) -> Iterator[bytes]:
    """Yield the parts of a .zip of *carried*, whose pictures are of *chosen*; nothing is squeezed.

    Their times are those of the records, unless nothing is to be told.
    """
    times = iter([] if how.strip else [row["timestamp"] for row in chosen.rows])
    out = _Parts()
    with zipfile.ZipFile(cast("IO[bytes]", out), "w") as file:
        for name, data in carried:
            info = zipfile.ZipInfo(name, _moment(next(times, "")))
            file.writestr(info, data)
            yield out.taken()
    yield out.taken()


class _Parts:
    """What a .zip is written to: it keeps what nobody has taken yet."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def write(self, data: bytes) -> int:
        self._kept += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def taken(self) -> bytes:
        data, self._kept = bytes(self._kept), bytearray()
        return data


def _moment(timestamp: str) -> tuple[int, int, int, int, int, int]:
    moment = as_utc(timestamp) or ""
    try:
        when = tuple(int(moment[a:b]) for a, b in
                     ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19)))  # fmt: skip
    except ValueError:
        return _NEVER
    year = when[0]
    return when if 1980 <= year <= 2107 else _NEVER  # type: ignore[return-value]


def picture_bytes(path: Path, sha256: str) -> bytes:
    """Return a picture's file, which is what the archive knows.

    Raises:
        OSError: It is not, or cannot be read.
    """
    data = read_regular_file(path, most=_LARGEST)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise OSError("has changed since the archive took it in")
    if media_type(data[:64]) is None:
        raise OSError("is no picture")
    return data


def _told(data: bytes, text: str, chosen: ToHandOver) -> bytes:
    if _DESCRIBES & file_texts(io.BytesIO(data)).texts.keys():
        chosen.as_they_were += 1
        return data
    try:
        if not text:
            raise ImageError("nobody knows how they were made")
        return with_settings(data, text)
    except ImageError as error:
        reason = str(error)
        chosen.without_settings[reason] = chosen.without_settings.get(reason, 0) + 1
        return data


def _records(archive: Archive, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, LearningRecord]:
    try:
        return {r.run_id: r for r in archive.records(dict.fromkeys(r["run_id"] for r in rows))}
    except ArchiveError:
        return {}


def _settings(record: LearningRecord | None, row: Mapping[str, Any]) -> str:
    """Return A1111's text of a picture; empty when nothing is known."""
    if record is None or not 0 <= (row["variant"] or 0) < len(record.variant_configs):
        return ""
    config = record.variant_configs[row["variant"] or 0]
    stages = stages_of_picture(config, row["stage"] or "", record)
    if not any(stages.values()):
        return ""
    return parameters_text(stages, row["width"] or 0, row["height"] or 0)


def _named(row: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    moment = str(row["timestamp"])
    return {"": {
        **{name: row[name] for name in _KNOBS}, "name": row["name"], "run": row["run_id"],
        "date": moment[:10], "time": moment[11:19].replace(":", ""),
        "file": PurePosixPath(row["path"]).stem,
    }}  # fmt: skip


def picture_suffix(data: bytes) -> str:
    """Return how the name of a picture with these bytes ends, as ``.png``."""
    kind = media_type(data[:64]) or ""
    return _SUFFIXES.get(kind, f".{kind.partition('/')[2]}")


def _small(data: bytes, side: int, kind: str) -> bytes | None:
    written = io.BytesIO()
    try:
        shrunk(io.BytesIO(data), side).save(written, kind)
    except (OSError, ImageError):
        return None
    return written.getvalue()


class _Sheet:
    """A contact sheet in the making: small pictures, as many as one has."""

    def __init__(self) -> None:
        self.cells: list[SheetCell] = []

    def add(self, name: str, data: bytes, text: str) -> None:
        del text  # it stands on the page
        if len(self.cells) < MOST_CELLS:
            self.cells.append(SheetCell(image=_small(data, _ON_SHEET, "PNG"), label=name))

    def png(self, total: int) -> bytes:
        return contact_sheet(self.cells, pictures=total)


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title><style>
body {{ margin: 24px; background: #171513; color: #eae6df; font: 14px/1.4 system-ui, sans-serif }}
main {{ display: grid; gap: 24px; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)) }}
figure {{ margin: 0 }} img {{ max-width: 100%; border-radius: 6px }}
figcaption {{ overflow-wrap: anywhere }}
pre {{ white-space: pre-wrap; color: #b3aca1; font-size: 12px; max-height: 12em; overflow: auto }}
a {{ color: inherit }}
</style></head><body><h1>{title}</h1><main>
"""


class _Page:
    """A page in the making: one file that needs nothing else."""

    def __init__(self, *, with_settings: bool) -> None:
        self._parts: list[str] = []
        self._with_settings = with_settings

    def add(self, name: str, data: bytes, text: str) -> None:
        if len(self._parts) >= MOST_ON_PAGE:
            return
        small = base64.b64encode(_small(data, _SMALL, "WEBP") or b"").decode()
        shown = html.escape(name)
        image = f'<img alt="{shown}" src="data:image/webp;base64,{small}">' if small else ""
        told = f"<pre>{html.escape(text)}</pre>" if text and self._with_settings else ""
        caption = f"<figcaption>{shown}{told}</figcaption>"
        self._parts.append(f'<figure><a href="{shown}">{image}</a>{caption}</figure>\n')

    def html(self, total: int) -> bytes:
        title = "1 picture" if total == 1 else f"{total:,} pictures"
        if total > len(self._parts):
            title += f", the first {len(self._parts):,} of them here"
        page = [_HEAD.format(title=title), *self._parts, "</main></body></html>\n"]
        return "".join(page).encode("utf-8", "replace")
