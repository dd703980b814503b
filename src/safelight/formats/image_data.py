"""image_data: what a picture file shows, hashed without what it says.

Programs write ratings, keywords and comments into picture files; the coded image stays as it was,
byte for byte, and tells which picture it is. Both hashes come of one reading, and nothing is
decoded:

* PNG: header, palette, transparency, pixels and what animates them; ``IDAT`` may be cut otherwise.
* JPEG: the segments without ``APPn`` and comments, but for Adobe's ``APP14``, which decoding needs;
  and all from the first scan on.
* WebP: the coded image, and the canvas of an animation. ``VP8X`` only says what else is there.
* AVIF: the items that are neither EXIF nor XMP, where their boxes come first.

What says how the colours are meant (profiles, gamma) is no image data.

Of any other kind, and of a file that cannot be split so, the whole file is taken.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from safelight.formats.isobmff_items import MAX_META, boxes, item_extents, item_kinds
from safelight.formats.picture_kinds import LONGEST_BEGINNING, media_type
from safelight.formats.png_chunks import PNG_SIGNATURE

__all__ = ["PictureHashes", "hash_picture"]

_FIRST, _BUFFER = 2**16, 2**18
_MAX_PARTS = 1_000_000
_LONGEST_END = 2**16
_PNG = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT"))
_WEBP = frozenset((b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"))
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_ADOBE = 0xEE
_NO_ITEMS = frozenset((b"Exif", b"mime", b"uri "))
_IN_BOX = 1
_PNG_CHUNK = struct.Struct(">I4s").unpack_from


@dataclass(frozen=True, slots=True)
class PictureHashes:
    """Which picture a file is.

    Attributes:
        sha256: SHA-256 of the file's bytes, hex.
        image_sha256: SHA-256 of its image data without its texts, hex; of all its bytes where it
            could not be split.
        is_split: Whether it could.
        is_cut: The file ends before its picture does, as one that is still being written.
    """

    sha256: str
    image_sha256: str
    is_split: bool
    is_cut: bool = False


class _CannotBeSplit(Exception):
    """The file is not laid out as its kind is."""


def hash_picture(file: BinaryIO) -> PictureHashes:
    """Read a picture file once, from its start, and return both its hashes.

    Raises:
        OSError: It cannot be read.
    """
    file.seek(0)
    reading = _Reading(file)
    split = _SPLITTERS.get(media_type(reading.ahead(LONGEST_BEGINNING)) or "")
    is_cut = False
    try:
        if split is None:
            raise _CannotBeSplit
        is_cut = not split(reading)
    except _CannotBeSplit:
        split = None
    whole = reading.whole()
    image = whole if split is None else reading.image.hexdigest()
    return PictureHashes(whole, image, split is not None, is_cut)


class _Reading:
    """One way through a file: all of it is hashed, and what is image data once more.

    Attributes:
        image: The hash of the image data.
        buffer: What was read last.
        place: How far this is in it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        data = file.read(_FIRST)  # all of a small file, in memory that need not be asked for anew
        self._whole, self.image = hashlib.sha256(data), hashlib.sha256()
        self.buffer, self.place = memoryview(data), 0
        self._before = 0  # bytes of the file that came before the buffer

    @property
    def position(self) -> int:
        """How far this is in the file."""
        return self._before + self.place

    def ahead(self, count: int) -> bytes:
        """Return the next *count* bytes, fewer at the end of the file, and stay where they are."""
        while len(self.buffer) - self.place < count:
            if not self._fill(bytes(self.buffer[self.place :])):
                break
        return bytes(self.buffer[self.place : self.place + count])

    def _fill(self, rest: bytes = b"") -> bool:
        """Read on behind *rest*, what is left of before; return whether there was more."""
        data = self._file.read(_BUFFER)
        self._whole.update(data)
        self._before += len(self.buffer) - len(rest)
        self.buffer, self.place = memoryview(rest + data if rest else data), 0
        return bool(data)

    def take(self, count: int) -> bytes:
        """Return the next *count* bytes, few of them, fewer at the end of the file."""
        data = self.ahead(count)
        self.place += len(data)
        return data

    def skip(self, count: int, *, into_image: bool = False) -> int:
        """Go on by *count* bytes, which are image data or not; return how many there were."""
        left = count
        while left:
            part = self.buffer[self.place : self.place + left]
            if not part:
                if not self._fill():
                    break
                continue
            if into_image:
                self.image.update(part)
            self.place += len(part)
            left -= len(part)
        return count - left

    def take_rest(self) -> bytes:
        """Go on to the end of the file, all of it image data; return how it ends."""
        before = part = memoryview(b"")
        while True:
            if self.place < len(self.buffer):
                before, part = part, self.buffer[self.place :]
                self.image.update(part)
            if not self._fill():
                return bytes(before[-_LONGEST_END:]) + bytes(part[-_LONGEST_END:])

    def whole(self) -> str:
        """Read what is left, and return the hash of all bytes."""
        while data := self._file.read(_BUFFER):
            self._whole.update(data)
        return self._whole.hexdigest()


def _png(reading: _Reading) -> bool:
    """Read the chunks; several of one kind in a row are one, however they were cut."""
    update, before, length_of_run = reading.image.update, b"", 0
    buffer, place = reading.buffer, len(PNG_SIGNATURE)
    for _ in range(_MAX_PARTS):
        if place + 8 > len(buffer):
            reading.skip(place - reading.place)
            if len(reading.ahead(8)) < 8:
                return False
            buffer, place = reading.buffer, reading.place
        length, kind = _PNG_CHUNK(buffer, place)
        is_image = kind in _PNG
        if kind == before == b"IDAT":
            length_of_run += length
        elif is_image or kind == b"IEND":
            if before:
                update(length_of_run.to_bytes(8, "big"))
            if not is_image:
                return True
            update(kind)
            before, length_of_run = kind, length
        start, place = place + 8, place + 8 + length
        if is_image:
            update(buffer[start:place])
            if (left := place - len(buffer)) > 0:
                reading.place = len(buffer)
                if reading.skip(left, into_image=True) < left:
                    return False
                buffer, place = reading.buffer, reading.place
        place += 4
    raise _CannotBeSplit


def _jpeg(reading: _Reading) -> bool:
    reading.take(2)
    for _ in range(_MAX_PARTS):
        mark = reading.take(2)
        if len(mark) < 2:
            return False
        if mark[0] != 0xFF:
            raise _CannotBeSplit
        while mark[1] == 0xFF:
            fill = reading.take(1)
            if not fill:
                return False
            mark = b"\xff" + fill
        if mark[1] in _NO_LENGTH:
            continue
        if mark[1] == 0xD9:
            return True
        length = int.from_bytes(reading.ahead(2), "big")
        says = (0xE0 <= mark[1] <= 0xEF and mark[1] != _ADOBE) or mark[1] == 0xFE
        if not says:
            reading.image.update(mark)
        if mark[1] == 0xDA:  # a picture ends with a mark, whatever lies behind it
            return reading.take_rest().rfind(b"\xff\xd9") >= 0  # nearly always at the very end
        if reading.skip(max(2, length), into_image=not says) < length:
            return False
    raise _CannotBeSplit


def _webp(reading: _Reading) -> bool:
    end = int.from_bytes(reading.take(12)[4:8], "little") + 8
    canvas = b""
    for _ in range(_MAX_PARTS):
        start = reading.take(8)
        if len(start) < 8:
            return not start and reading.position >= end
        kind, length = start[:4], int.from_bytes(start[4:], "little")
        padded = length + (length & 1)
        if kind == b"VP8X" and length >= 10:
            canvas = reading.take(10)[4:]
            reading.skip(padded - 10)
            continue
        is_image = kind in _WEBP
        if kind == b"ANIM":
            reading.image.update(canvas)
        if is_image:
            reading.image.update(start)
        there = reading.skip(length, into_image=is_image)
        if there < length:
            return False
        reading.skip(padded - length)
    raise _CannotBeSplit


def _avif(reading: _Reading) -> bool:
    """Read the boxes up to ``meta``, which says where the items are, and then those."""
    for _ in range(_MAX_PARTS):
        head = reading.ahead(16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if kind == b"meta" and 12 <= size <= MAX_META:
            break
        if len(head) < 16 or size < 8 or kind == b"moov":
            raise _CannotBeSplit  # nothing, no usable length, or a film
        reading.skip(size)
    about = dict(boxes(reading.take(size)[12:]))
    kinds = dict(item_kinds(about.get(b"iinf", b"")))
    extents = item_extents(about.get(b"iloc", b""))
    extents = [extent for extent in extents if kinds.get(extent.item) not in _NO_ITEMS]
    # First the few that lie in the box itself, then the others as they come.
    for item, method, start, length in sorted(extents, key=lambda e: (-e.method, e.start)):
        reading.image.update(kinds.get(item, b"") + length.to_bytes(8, "big"))
        if method == _IN_BOX:
            reading.image.update(about.get(b"idat", b"")[start : start + length])
            continue
        if method or not length or start < reading.position:
            raise _CannotBeSplit
        reading.skip(start - reading.position)
        if reading.skip(length, into_image=True) < length:
            return False
    if not extents:
        raise _CannotBeSplit
    return True


_SPLITTERS: dict[str, Callable[[_Reading], bool]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/webp": _webp,
    "image/avif": _avif,
}
"""Media type -> what puts the image data of such a file into the hash, and returns whether the
picture was there to its end."""
