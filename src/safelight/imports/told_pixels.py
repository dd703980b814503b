"""told_pixels: pictures that lines told of while they were in memory only, known by their pixels.

A script of diffusers has its pictures in memory when its line is written, and saves them later,
without a word about how they were made. What the line said is kept in the archive
(``imports/pixels-*.jsonl``) until a file of the same pixels is met that says nothing itself.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from safelight.durable_file import read_regular_file
from safelight.errors import ImageError
from safelight.imports.import_log import ImportLog
from safelight.imports.imported_picture import ImportedPicture
from safelight.imports.told_pictures import ToldPicture
from safelight.learning.learning_record import LearningRecord
from safelight.pipeline.images import identify_pixels

__all__ = ["ToldPixels"]

_LOSSY = (".jpg", ".jpeg", ".jfif", ".gif", ".avif")
_MOST_BYTES = 256 * 2**20
_HELD = 1000
_OF_HASH = 16


class _Line(msgspec.Struct):
    sha256: str
    told: msgspec.Raw
    width: int = 0
    height: int = 0


_lines = msgspec.json.Decoder(_Line)
_told = msgspec.json.Decoder(ToldPicture)


class ToldPixels:
    """What lines told of pictures in memory, of one archive.

    Args:
        log: That of an import: it reads those of all, and is written to.
    """

    def __init__(self, log: ImportLog) -> None:
        self._log = log
        self._known: set[str] = set()
        self._sizes: set[tuple[int, int]] = set()
        self._last: OrderedDict[str, msgspec.Raw] = OrderedDict()
        for line in self._all():
            self._note(line)

    def _all(self) -> Iterator[_Line]:
        for text in self._log.texts("pixels"):
            with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
                yield _lines.decode(text)

    def _note(self, line: _Line) -> None:
        self._known.add(line.sha256[:_OF_HASH])
        self._sizes.add((line.width, line.height))
        self._last[line.sha256] = line.told
        while len(self._last) > _HELD:
            self._last.popitem(last=False)

    def add(self, pictures: Sequence[tuple[str, int, int, ToldPicture]]) -> None:
        """Keep what lines told of pictures: the hash of the pixels, width, height, what was told.

        Raises:
            OSError: It cannot be kept.
        """
        lines = [
            _Line(sha256, msgspec.Raw(msgspec.json.encode(told)), width, height)
            for sha256, width, height, told in pictures
        ]
        self._log.add_pixels(lines)
        for line in lines:
            self._note(line)

    def told_of(self, picture: ImportedPicture) -> ToldPicture | None:
        """Return what a line told of a picture that was read and says nothing; None without one."""
        if (
            not self._known
            or picture.fault
            or not picture.image_sha256
            or picture.path.lower().endswith(_LOSSY)
        ):
            return None
        (output,) = LearningRecord.from_json(picture.document).outputs
        if (output.width, output.height) not in self._sizes:
            return None
        try:
            data = read_regular_file(Path(os.path.abspath(picture.path)), most=_MOST_BYTES)
            sha256 = identify_pixels(data).pixel_sha256
        except (OSError, ImageError):
            return None
        if sha256[:_OF_HASH] not in self._known:
            return None
        told = self._last.get(sha256) or next(
            (line.told for line in self._all() if line.sha256 == sha256), None
        )
        if told is None:
            return None
        with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
            return replace(_told.decode(told), size=picture.size, written=picture.modified)
        return None
