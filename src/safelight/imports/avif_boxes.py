"""AVIF files: size, EXIF and XMP, found through the boxes that say where the items lie.

Source: ISO/IEC 14496-12 for ``meta``, ``iinf`` and ``iloc``; HEIF for ``ispe``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from safelight.errors import ImageError
from safelight.formats.exif import exif_texts
from safelight.formats.file_texts import MAX_TEXT_BYTES, FileTexts, decoded

__all__ = ["read_avif"]

_MAX_BOXES = 10_000
_MAX_META = 4 * 2**20


def read_avif(file: BinaryIO) -> FileTexts:
    """Return what an AVIF file says in words.

    Raises:
        ImageError: It has no ``meta`` box of a usable size.
    """
    metadata = FileTexts()
    meta = _meta(file)
    if meta is None:
        raise ImageError("the file has no usable meta box, so it is no AVIF picture")
    boxes = dict(_boxes(meta[4:]))
    for kind, body in _boxes(dict(_boxes(boxes.get(b"iprp", b""))).get(b"ipco", b"")):
        if kind == b"ispe" and len(body) >= 12:
            width, height = struct.unpack_from(">II", body, 4)
            if width * height > metadata.width * metadata.height:
                metadata.width, metadata.height = width, height
    places = _places(boxes.get(b"iloc", b""))
    for item, kind in _items(boxes.get(b"iinf", b"")):
        if kind not in (b"Exif", b"mime") or item not in places:
            continue
        start, length = places[item]
        if not 4 < length <= MAX_TEXT_BYTES:
            continue
        file.seek(start)
        body = file.read(length)
        if kind == b"Exif" and len(body) > 4:
            exif_texts(metadata, body[4 + int.from_bytes(body[:4], "big") :])
        elif kind == b"mime":
            metadata.add("xmp", decoded(body))
    return metadata


def _meta(file: BinaryIO) -> bytes | None:
    place = 0
    for _ in range(_MAX_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return None
        size, kind = struct.unpack_from(">I4s", head)
        skip = 8
        if size == 1 and len(head) == 16:
            (size,), skip = struct.unpack_from(">Q", head, 8), 16
        if kind == b"meta" and 12 <= size <= _MAX_META:
            file.seek(place + skip)
            return file.read(size - skip)
        if size < 8 or size > 2**62:
            return None
        place += size
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    for _ in range(_MAX_BOXES):
        if place + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, place)
        if size < 8:
            return
        yield kind, data[place + 8 : place + size]
        place += size


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (item, kind) of an ``iinf`` box."""
    if len(data) < 6:
        return
    for kind, body in _boxes(data[6 if data[0] == 0 else 8 :]):
        if kind == b"infe" and len(body) >= 14:
            wide = body[0] == 3
            yield (
                int.from_bytes(body[4 : 8 if wide else 6], "big"),
                body[10 if wide else 8 : 14 if wide else 12],
            )


def _places(data: bytes) -> dict[int, tuple[int, int]]:
    """Return item -> (offset, length) of an ``iloc`` box, first extents only."""
    if len(data) < 8 or data[0] > 2:
        return {}
    version, sizes = data[0], int.from_bytes(data[4:6], "big")
    offset_size, length_size = sizes >> 12, sizes >> 8 & 15
    base_size, index_size = sizes >> 4 & 15, sizes & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, place = int.from_bytes(data[6 : 6 + wide], "big"), 6 + wide
    places: dict[int, tuple[int, int]] = {}
    for _ in range(min(count, _MAX_BOXES)):
        item = int.from_bytes(data[place : place + wide], "big")
        place += wide + (2 if version else 0) + 2
        base = int.from_bytes(data[place : place + base_size], "big")
        place += base_size
        extents = int.from_bytes(data[place : place + 2], "big")
        place += 2 + index_size
        offset = int.from_bytes(data[place : place + offset_size], "big")
        length = int.from_bytes(
            data[place + offset_size : place + offset_size + length_size], "big"
        )
        if place >= len(data):
            break
        places[item] = (min(base + offset, 2**62), length)
        place += extents * (index_size + offset_size + length_size) - index_size
    return places
