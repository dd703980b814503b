"""told_settings: A1111's text put into a picture file, or all texts taken out of it.

Nothing is decoded: the coded image stays as it was, byte for byte (:mod:`.image_data`), and so does
what says how its colours are meant. PNG, JPEG and WebP can be taken apart so; others are refused.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping

from safelight.errors import ImageError
from safelight.formats.hidden_text import hidden_text
from safelight.formats.picture_kinds import media_type
from safelight.formats.png_chunks import PNG_SIGNATURE, with_texts

__all__ = ["with_settings", "without_texts"]

_PNG_KEPT = frozenset((
    b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT",
    b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"cICP",
))  # fmt: skip
_WEBP_KEPT = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
_WEBP_SAYS = 0x08 | 0x04
"""Flags of VP8X: there is EXIF, there is XMP."""

_WEBP_EXIF, _WEBP_ALPHA = 0x08, 0x10
_LONGEST_SEGMENT = 65_533
_PROFILE = b"ICC_PROFILE\0"


def with_settings(data: bytes, parameters: str) -> bytes:
    """Return a picture file with *parameters* where A1111 and Civitai look for it.

    PNG gets a text, JPEG and WebP an EXIF comment; what else they say stays.

    Raises:
        ImageError: It is of another kind, damaged, or says something else where that would stand.
    """
    writer = _WRITERS.get(media_type(data[:64]) or "")
    if writer is None:
        raise ImageError("settings can be written into PNG, JPEG and WebP only")
    return writer(data, parameters)


def without_texts(data: bytes) -> bytes:
    """Return a picture file that says nothing but what it shows.

    Raises:
        ImageError: It is none that can be taken apart, or has settings in its very pixels.
    """
    parts = _KEPT.get(media_type(data[:64]) or "")
    if parts is None:
        raise ImageError("texts can be taken out of PNG, JPEG and WebP only")
    if hidden_text(io.BytesIO(data)) is not None:
        raise ImageError("settings are hidden in its pixels, too, which are left untouched")
    return parts(data)


def _png_with(data: bytes, parameters: str) -> bytes:
    return with_texts(data, {"parameters": parameters})


def _png_kept(data: bytes) -> bytes:
    place, kept = len(PNG_SIGNATURE), [PNG_SIGNATURE]
    while True:
        if place + 12 > len(data):
            raise ImageError("the PNG file ends before its end chunk")
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind in _PNG_KEPT:
            kept.append(data[place : place + 12 + length])
        if kind == b"IEND":
            return b"".join(kept)
        place += 12 + length


def _exif(parameters: str) -> bytes:
    """Return an EXIF block whose only entry is a UserComment, in UTF-16 as A1111 writes it."""
    comment = b"UNICODE\0" + parameters.encode("utf-16-be", "replace")
    first = struct.pack(">HHHIII", 1, 0x8769, 4, 1, 26, 0)
    own = struct.pack(">HHHIII", 1, 0x9286, 7, len(comment), 44, 0)
    return b"MM\0*" + struct.pack(">I", 8) + first + own + comment


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield mark, start and end of each part of a JPEG; that of a scan ends with its pixels."""
    place = 2
    while True:
        while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] == b"\xff":
            place += 1
        if place + 2 > len(data) or data[place] != 0xFF:
            raise ImageError("the JPEG file is damaged, or ends before its picture does")
        mark = data[place + 1]
        if mark == 0xD9:
            yield mark, place, place + 2
            return
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        end = place + 2 + max(2, length)
        if mark == 0xDA:
            end = _end_of_scan(data, end)
        yield mark, place, end
        place = end


def _end_of_scan(data: bytes, place: int) -> int:
    while True:
        place = data.find(b"\xff", place)
        if place < 0 or place + 1 >= len(data):
            raise ImageError("the JPEG file ends before its picture does")
        if data[place + 1] not in (0x00, 0xFF, *range(0xD0, 0xD8)):
            return place
        place += 1 if data[place + 1] == 0xFF else 2


def _jpeg_with(data: bytes, parameters: str) -> bytes:
    body = b"Exif\0\0" + _exif(parameters)
    if len(body) > _LONGEST_SEGMENT:
        raise ImageError("the settings are too long for a JPEG file, which holds 64 KiB of them")
    place = 2
    for mark, start, end in _segments(data):
        if mark == 0xE1 and data[start + 4 : start + 10] == b"Exif\0\0":
            raise ImageError("it has other EXIF already, which is left as it is")
        if mark == 0xE0 and start == 2:
            place = end
        if mark == 0xDA:
            break
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    return data[:place] + segment + data[place:]


def _jpeg_kept(data: bytes) -> bytes:
    kept = [data[:2]]
    for mark, start, end in _segments(data):
        says = mark == 0xFE or (0xE0 <= mark <= 0xEF and mark not in (0xE0, 0xEE))
        is_profile = mark == 0xE2 and data[start + 4 : end].startswith(_PROFILE)
        if not says or is_profile:
            kept.append(data[start:end])
    return b"".join(kept)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = min(len(data), int.from_bytes(data[4:8], "little") + 8)
    place = 12
    while place + 8 <= end:
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        body = data[place + 8 : place + 8 + length]
        if len(body) < length:
            raise ImageError("the WebP file ends before its picture does")
        yield data[place : place + 4], body
        place += 8 + length + (length & 1)


def _webp(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(
        kind + len(own).to_bytes(4, "little") + own + b"\0" * (len(own) & 1) for kind, own in chunks
    )
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def _webp_with(data: bytes, parameters: str) -> bytes:
    chunks = list(_webp_chunks(data))
    if any(kind == b"EXIF" for kind, _ in chunks):
        raise ImageError("it has other EXIF already, which is left as it is")
    if not chunks:
        raise ImageError("the WebP file holds no picture")
    kind, first = chunks[0]
    if kind == b"VP8X" and len(first) >= 10:
        chunks[0] = kind, bytes([first[0] | _WEBP_EXIF]) + first[1:]
    else:
        chunks.insert(0, (b"VP8X", _canvas(kind, first)))
    xmp = [chunk for chunk in chunks if chunk[0] == b"XMP "]
    rest = [chunk for chunk in chunks if chunk[0] != b"XMP "]
    return _webp([*rest, (b"EXIF", _exif(parameters)), *xmp])


def _canvas(kind: bytes, body: bytes) -> bytes:
    """Return the body of VP8X for a file of one picture."""
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        width, height = bits & 0x3FFF, bits >> 14 & 0x3FFF  # both less one
        flags = _WEBP_EXIF | (_WEBP_ALPHA if bits >> 28 & 1 else 0)
    elif kind == b"VP8 " and len(body) >= 10 and body[3:6] == b"\x9d\x01\x2a":
        sides = struct.unpack_from("<HH", body, 6)
        width, height = ((side & 0x3FFF) - 1 for side in sides)
        flags = _WEBP_EXIF
    else:
        raise ImageError("the WebP file is damaged")
    sizes = width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return bytes([flags, 0, 0, 0]) + sizes


def _webp_kept(data: bytes) -> bytes:
    kept = []
    for kind, body in _webp_chunks(data):
        if kind == b"VP8X" and body:
            kept.append((kind, bytes([body[0] & ~_WEBP_SAYS]) + body[1:]))
        elif kind in _WEBP_KEPT:
            kept.append((kind, body))
    return _webp(kept)


_WRITERS: Mapping[str, Callable[[bytes, str], bytes]] = {
    "image/png": _png_with, "image/jpeg": _jpeg_with, "image/webp": _webp_with,
}  # fmt: skip
_KEPT: Mapping[str, Callable[[bytes], bytes]] = {
    "image/png": _png_kept, "image/jpeg": _jpeg_kept, "image/webp": _webp_kept,
}  # fmt: skip
