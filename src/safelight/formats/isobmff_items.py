"""isobmff_items: boxes of HEIF files such as AVIF, and where they say that the items lie.

Source: ISO/IEC 14496-12 for ``meta``, ``iinf``, ``iloc`` and ``idat``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["MAX_META", "Extent", "boxes", "item_extents", "item_kinds"]

MAX_META = 4 * 2**20
"""Bytes of a ``meta`` box that is looked into."""

_MAX_BOXES = 10_000


class Extent(NamedTuple):
    """A part of an item.

    Attributes:
        item: Its number.
        method: Where: 0 in the file, 1 in the ``idat`` box, 2 in another item.
        start: From there, in bytes.
        length: In bytes.
    """

    item: int
    method: int
    start: int
    length: int


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) of the boxes in *data*."""
    place = 0
    for _ in range(_MAX_BOXES):
        if place + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, place)
        if size < 8:
            return
        yield kind, data[place + 8 : place + size]
        place += size


def item_kinds(iinf: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (item, kind) of an ``iinf`` box."""
    if len(iinf) < 6:
        return
    for kind, body in boxes(iinf[6 if iinf[0] == 0 else 8 :]):
        if kind == b"infe" and len(body) >= 14:
            wide = body[0] == 3
            yield (
                int.from_bytes(body[4 : 8 if wide else 6], "big"),
                body[10 if wide else 8 : 14 if wide else 12],
            )


def item_extents(iloc: bytes) -> list[Extent]:
    """Return where an ``iloc`` box says that the items lie, in its order."""
    if len(iloc) < 8 or iloc[0] > 2:
        return []
    version, sizes = iloc[0], int.from_bytes(iloc[4:6], "big")
    offset_size, length_size = sizes >> 12, sizes >> 8 & 15
    base_size, index_size = sizes >> 4 & 15, sizes & 15 if version else 0
    wide = 4 if version == 2 else 2
    place = 6

    def number(size: int) -> int:
        nonlocal place
        place += size
        return int.from_bytes(iloc[place - size : place], "big")

    extents: list[Extent] = []
    for _ in range(min(number(wide), _MAX_BOXES)):
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)  # which file; there is only this one
        base = number(base_size)
        for _ in range(min(number(2), _MAX_BOXES)):
            number(index_size)
            start, length = base + number(offset_size), number(length_size)
            if place > len(iloc) or len(extents) >= _MAX_BOXES:
                return extents
            extents.append(Extent(item, method, min(start, 2**62), length))
    return extents
