"""png_chunks: size and texts of PNG files, before and after the pixels, which are never decoded."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import BinaryIO

from safelight.errors import ImageError
from safelight.formats.content_credentials import MOST_CREDENTIALS, credentials_told
from safelight.formats.exif import exif_texts
from safelight.formats.file_texts import MAX_TEXT_BYTES, FileTexts, decoded

__all__ = ["PNG_SIGNATURE", "png_texts", "read_png", "with_texts"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 250_000
_MOST_INFLATED = 1032
"""Bytes that deflate makes of one at the most."""

_HEADER_END = len(PNG_SIGNATURE) + 25


def read_png(file: BinaryIO, allowance: int = MAX_TEXT_BYTES) -> FileTexts:
    """Return what a PNG file says in words; one that ends early gives what came before.

    Args:
        file: The file.
        allowance: Bytes of text that are taken; a chunk of more is passed over.

    Raises:
        ImageError: The header is missing or damaged.
    """
    metadata = FileTexts(allowance=allowance)
    file.seek(len(PNG_SIGNATURE))
    header = file.read(25)
    if len(header) < 25 or header[4:8] != b"IHDR":
        raise ImageError("a PNG file must begin with its header chunk, and this one does not")
    metadata.width, metadata.height = struct.unpack_from(">II", header, 8)
    for _ in range(_MAX_CHUNKS):
        start = file.read(8)
        if len(start) < 8:
            metadata.warn("the PNG file ends before its end chunk")
            break
        length, kind = struct.unpack(">I4s", start)
        if kind == b"IEND":
            break
        if kind not in _READERS:
            if kind == b"caBX":
                place = file.tell()
                metadata.warn(credentials_told(file.read(min(length, MOST_CREDENTIALS))))
                file.seek(place)
            file.seek(length + 4, 1)
            continue
        if length > allowance:
            metadata.warn(f"a text chunk of {length} bytes was skipped")
            file.seek(length + 4, 1)
            continue
        body = file.read(length)
        if len(body) < length:
            metadata.warn("the PNG file ends inside a text chunk")
            break
        file.seek(4, 1)
        _READERS[kind](metadata, body)
    return metadata


def png_texts(png: bytes) -> dict[str, str]:
    """Return key -> text of a PNG file, the first of each key.

    Raises:
        ImageError: *png* is not a PNG file.
    """
    if not png.startswith(PNG_SIGNATURE):
        raise ImageError("not a PNG file")
    return read_png(io.BytesIO(png)).texts


def with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """Return *png* with *texts* behind its header; all else stays as it was, byte for byte.

    Args:
        png: A PNG file, whose header :func:`png_texts` has seen.
        texts: Key, in ASCII -> text.
    """
    added = b"".join(_text_chunk(key, text) for key, text in texts.items())
    return png[:_HEADER_END] + added + png[_HEADER_END:]


def _text_chunk(key: str, text: str) -> bytes:
    try:
        # tEXt cannot tell Latin-1 from UTF-8, and readers guess: ASCII is the only safe use.
        kind, body = b"tEXt", key.encode("ascii") + b"\0" + text.encode("ascii")
    except UnicodeEncodeError:
        kind = b"iTXt"
        body = key.encode("ascii") + b"\0\0\0\0\0" + text.encode("utf-8", "backslashreplace")
    crc = zlib.crc32(body, zlib.crc32(kind))
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def _plain(metadata: FileTexts, body: bytes) -> None:
    key, zero, text = body.partition(b"\0")
    if zero:
        metadata.add(key.decode("latin-1"), decoded(text))


def _compressed(metadata: FileTexts, body: bytes) -> None:
    key, zero, rest = body.partition(b"\0")
    name = key.decode("latin-1")
    if zero and (text := _inflated(metadata, name, rest[1:])) is not None:
        metadata.add(name, decoded(text))


def _international(metadata: FileTexts, body: bytes) -> None:
    key, zero, rest = body.partition(b"\0")
    parts = rest[2:].split(b"\0", 2)
    if not zero or len(parts) < 3:
        return
    name, text = key.decode("latin-1"), parts[2]
    if rest[:1] == b"\1":
        inflated = _inflated(metadata, name, text)
        if inflated is None:
            return
        text = inflated
    metadata.add(name, text.decode("utf-8", "replace"))


def _exif(metadata: FileTexts, body: bytes) -> None:
    exif_texts(metadata, body)


def _comfy(metadata: FileTexts, body: bytes) -> None:
    """ComfyUI's own chunk in animated PNGs."""
    _plain(metadata, body)


def _inflated(metadata: FileTexts, name: str, data: bytes) -> bytes | None:
    """Inflate at most what is left of the file's allowance, so that no bomb goes off."""
    allowance = metadata.allowance
    try:
        text = zlib.decompressobj().decompress(data, allowance + 1)
    except zlib.error:  # perhaps after much that came to nothing
        metadata.allowance = max(0, allowance - _MOST_INFLATED * len(data))
        metadata.warn(f"the text chunk {name[:80]!r} cannot be inflated")
        return None
    if len(text) > allowance:
        metadata.allowance = 0
        metadata.warn(f"the text chunk {name[:80]!r} is too large and was refused")
        return None
    return text


_READERS = {
    b"tEXt": _plain,
    b"zTXt": _compressed,
    b"iTXt": _international,
    b"eXIf": _exif,
    b"comf": _comfy,
}
