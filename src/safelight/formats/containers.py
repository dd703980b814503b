"""Where text lives in an image file: PNG, JPEG, WebP, AVIF, GIF, and the sidecar beside it.

The kind is told by the first bytes, never by the name. Pixels are neither read nor decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from safelight.durable_file import read_regular_file
from safelight.errors import ImageError
from safelight.formats.avif_boxes import read_avif
from safelight.formats.content_credentials import (
    MOST_CREDENTIALS,
    credentials_told,
    jumbf_of_segments,
)
from safelight.formats.exif import exif_texts
from safelight.formats.file_texts import MAX_TEXT_BYTES, FileTexts, decoded
from safelight.formats.png_chunks import PNG_SIGNATURE, read_png

__all__ = ["file_texts", "sidecar_texts"]

_MAX_PARTS = 100_000
_MAX_SIDECAR = 2**20
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_NO_SIZE = frozenset({0xC4, 0xC8, 0xCC})


def file_texts(file: BinaryIO) -> FileTexts:
    """Return the texts and the size of an image file.

    Raises:
        ImageError: The file is empty, no image of a known kind, or has no readable header.
    """
    file.seek(0)
    start = file.read(16)
    if not start:
        raise ImageError("the file is empty")
    if start.startswith(PNG_SIGNATURE):
        return read_png(file)
    if start.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(file)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _read_webp(file)
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return _read_gif(file)
    if start[4:8] == b"ftyp":
        return read_avif(file)
    raise ImageError(
        f"not a PNG, JPEG, WebP, AVIF or GIF file: it begins with {start[:8].hex(' ')}"
    )


def sidecar_texts(path: Path) -> Iterator[str]:
    """Yield the texts of the ``.txt`` and ``.json`` files beside a picture, none too large.

    First those of its whole name (``a.png.txt``), then those of its stem (``a.txt``).
    """
    for name in (f"{path.name}.txt", f"{path.name}.json", f"{path.stem}.txt", f"{path.stem}.json"):
        sidecar = path.with_name(name)
        try:
            if not sidecar.is_file() or sidecar.stat().st_size > _MAX_SIDECAR:
                continue
            text = decoded(read_regular_file(sidecar)).removeprefix("\ufeff")
        except (OSError, ValueError):
            continue
        if text:
            yield text


def _read_jpeg(file: BinaryIO) -> FileTexts:
    metadata = FileTexts()
    segments: list[bytes] = []
    file.seek(2)
    for _ in range(_MAX_PARTS):
        mark = file.read(2)
        if len(mark) < 2 or mark[0] != 0xFF:
            metadata.warnings.append("the JPEG file ends before its pixels")
            break
        if mark[1] == 0xFF:
            file.seek(-1, 1)
            continue
        if mark[1] in _NO_LENGTH:
            continue
        if mark[1] in (0xD9, 0xDA):
            break
        length = int.from_bytes(file.read(2), "big")
        body = file.read(max(0, length - 2))
        _take_segment(metadata, mark[1], body)
        if mark[1] == 0xEB and body.startswith(b"JP") and len(segments) * 2**16 < MOST_CREDENTIALS:
            segments.append(body)
    if any(b"c2pa" in segment for segment in segments):  # JUMBF holds other things, too
        metadata.warnings.append(credentials_told(jumbf_of_segments(segments)))
    return metadata


def _take_segment(metadata: FileTexts, kind: int, body: bytes) -> None:
    if kind == 0xE1 and body.startswith(b"Exif\0\0"):
        exif_texts(metadata, body)
    elif kind == 0xE1 and body.startswith(_XMP):
        metadata.add("xmp", decoded(body[len(_XMP) :]))
    elif kind == 0xFE:
        metadata.add("comment", decoded(body))
    elif 0xC0 <= kind <= 0xCF and kind not in _NO_SIZE and len(body) >= 5:
        metadata.height, metadata.width = struct.unpack_from(">HH", body, 1)


def _read_webp(file: BinaryIO) -> FileTexts:
    metadata = FileTexts()
    file.seek(12)
    for _ in range(_MAX_PARTS):
        start = file.read(8)
        if len(start) < 8:
            break
        kind, length = struct.unpack("<4sI", start)
        padded = length + (length & 1)
        if kind in (b"EXIF", b"XMP ") and length <= MAX_TEXT_BYTES:
            body = file.read(padded)[:length]
            if kind == b"EXIF":
                exif_texts(metadata, body)
            else:
                metadata.add("xmp", decoded(body))
            continue
        if kind == b"C2PA" and length <= MOST_CREDENTIALS:
            metadata.warnings.append(credentials_told(file.read(padded)))
            continue
        head = file.read(min(padded, 10))
        if not metadata.width:
            metadata.width, metadata.height = _webp_size(kind, head)
        file.seek(padded - len(head), 1)
    return metadata


def _webp_size(kind: bytes, head: bytes) -> tuple[int, int]:
    if len(head) < 10:
        return 0, 0
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _read_gif(file: BinaryIO) -> FileTexts:
    metadata = FileTexts()
    file.seek(6)
    head = file.read(7)
    if len(head) < 7:
        raise ImageError("the GIF file ends inside its header")
    metadata.width, metadata.height = struct.unpack_from("<HH", head)
    file.seek(3 * 2 ** ((head[4] & 7) + 1) if head[4] & 0x80 else 0, 1)
    for _ in range(_MAX_PARTS):
        mark = file.read(1)
        if mark == b"!":
            kind = file.read(1)
            text = _gif_blocks(file, keep=kind == b"\xfe")
            if text:
                metadata.add("comment", decoded(text))
        elif mark == b",":
            place = file.read(9)
            local = place[8] if len(place) == 9 else 0
            file.seek((3 * 2 ** ((local & 7) + 1) if local & 0x80 else 0) + 1, 1)
            _gif_blocks(file, keep=False)
        else:
            break
    return metadata


def _gif_blocks(file: BinaryIO, *, keep: bool) -> bytes:
    kept: list[bytes] = []
    for _ in range(_MAX_PARTS):
        length = file.read(1)
        if length in (b"", b"\0"):
            break
        if keep:
            kept.append(file.read(length[0]))
        else:
            file.seek(length[0], 1)
    return b"".join(kept)
