"""AVIF files: size, EXIF and XMP, found through the boxes that say where the items lie.

Source: ISO/IEC 14496-12 for ``meta``, ``iinf`` and ``iloc``; HEIF for ``ispe``.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from safelight.errors import ImageError
from safelight.formats.exif import exif_texts
from safelight.formats.file_texts import MAX_TEXT_BYTES, FileTexts, decoded
from safelight.formats.isobmff_items import MAX_META, boxes, item_extents, item_kinds

__all__ = ["read_avif"]

_MAX_BOXES = 10_000


def read_avif(file: BinaryIO) -> FileTexts:
    """Return what an AVIF file says in words.

    Raises:
        ImageError: It has no ``meta`` box of a usable size.
    """
    metadata = FileTexts()
    meta = _meta(file)
    if meta is None:
        raise ImageError("the file has no usable meta box, so it is no AVIF picture")
    about = dict(boxes(meta[4:]))
    for kind, body in boxes(dict(boxes(about.get(b"iprp", b""))).get(b"ipco", b"")):
        if kind == b"ispe" and len(body) >= 12:
            width, height = struct.unpack_from(">II", body, 4)
            if width * height > metadata.width * metadata.height:
                metadata.width, metadata.height = width, height
    first = {extent.item: extent for extent in reversed(item_extents(about.get(b"iloc", b"")))}
    for item, kind in item_kinds(about.get(b"iinf", b"")):
        if kind not in (b"Exif", b"mime") or item not in first:
            continue
        _, _, start, length = first[item]
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
        if kind == b"meta" and 12 <= size <= MAX_META:
            file.seek(place + skip)
            return file.read(size - skip)
        if size < 8 or size > 2**62:
            return None
        place += size
    return None
