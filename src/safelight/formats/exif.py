"""EXIF: the few tags in which image generators write text, read without a library.

Source: TIFF 6.0 for the directories, EXIF 2.32 for UserComment's character codes.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator

from safelight.formats.bounded_json import json_object
from safelight.formats.file_texts import FileTexts, decoded

__all__ = ["exif_texts", "user_comment"]

_NAMES = {
    0x010D: "exif:DocumentName",
    0x010E: "exif:ImageDescription",
    0x010F: "exif:Make",
    0x0110: "exif:Model",
    0x0131: "exif:Software",
    0x013B: "exif:Artist",
    0x9286: "exif:UserComment",
    0x9C9C: "exif:XPComment",
}
_EXIF_DIRECTORY = 0x8769
_RATINGS = {0x4746: "Rating", 0x4749: "RatingPercent"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 13: 4}
_TEXT_KINDS = frozenset((1, 2, 7))
_MAX_ENTRIES = 2000
_GRAPH = re.compile(r"\s*(prompt|workflow)\s*:\s*(?=\{)", re.IGNORECASE)


def exif_texts(metadata: FileTexts, data: bytes) -> None:
    """Add the texts of an EXIF block, with or without its ``Exif`` mark, to *metadata*."""
    data = data.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        metadata.warn("the EXIF block is damaged")
        return
    pending, seen = [struct.unpack_from(f"{order}I", data, 4)[0]], set[int]()
    while pending and len(seen) < 16:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        for tag, kind, start, end in _entries(data, order, place):
            if tag == _EXIF_DIRECTORY and end - start == 4:
                pending.append(struct.unpack_from(f"{order}I", data, start)[0])
            elif tag in _RATINGS and kind == 3 and end - start >= 2:
                metadata.ratings.setdefault(
                    _RATINGS[tag], struct.unpack_from(f"{order}H", data, start)[0]
                )
            elif kind in _TEXT_KINDS and (tag in _NAMES or 0x0100 <= tag <= 0x010F):
                # Thousands of entries may name the same large stretch.
                _add(metadata, tag, data[start : min(end, start + metadata.allowance)])


def _entries(data: bytes, order: str, place: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, kind, and where the value begins and ends, of each entry of a directory."""
    if place + 2 > len(data):
        return
    count = min(struct.unpack_from(f"{order}H", data, place)[0], _MAX_ENTRIES)
    for start in range(place + 2, place + 2 + 12 * count, 12):
        if start + 12 > len(data):
            break
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, start)
        size = _SIZES.get(kind, 0) * length
        if size == 0:
            continue
        offset = start + 8
        if size > 4:
            (offset,) = struct.unpack_from(f"{order}I", data, offset)
        # One writer counts UserComment one byte too short; the cut text is still worth having.
        yield tag, kind, offset, max(offset, min(offset + size, len(data)))


def _add(metadata: FileTexts, tag: int, value: bytes) -> None:
    if tag == 0x9286:
        text = user_comment(value)
    elif tag == 0x9C9C:
        text = value.decode("utf-16-le", "replace")
    else:
        text = decoded(value.rstrip(b"\0"))
    text = text.strip("\0")
    if graph := _GRAPH.match(text):
        metadata.add(graph[1].lower(), text[graph.end() :])
        return
    if (
        tag == 0x9286
        and text.startswith("{")
        and '"workflow"' in text
        and _add_graphs(metadata, text)
    ):
        return
    metadata.add(_NAMES.get(tag, f"exif:0x{tag:04x}"), text)


def _add_graphs(metadata: FileTexts, text: str) -> bool:
    """Take ``{"prompt": graph, "workflow": graph}``, as some ComfyUI save nodes write it."""
    value = json_object(text)
    if not isinstance(value.get("prompt"), dict | str) or "sui_image_params" in value:
        return False
    for key in ("prompt", "workflow"):
        graph = value.get(key)
        if isinstance(graph, dict):
            metadata.add(key, json.dumps(graph, ensure_ascii=False))
        elif isinstance(graph, str) and graph.lstrip().startswith("{"):
            metadata.add(key, graph)
    return "prompt" in metadata.texts


def user_comment(value: bytes) -> str:
    """Decode a UserComment: UTF-16 of either order, ASCII, or UTF-8 behind zeros or nothing."""
    code, body = value[:8], value[8:]
    if code == b"UNICODE\0":
        return _utf16(body)
    if code in (b"ASCII\0\0\0", b"\0" * 8, b"JIS\0\0\0\0\0"):
        return decoded(body).strip("\0")
    return decoded(value).strip("\0")


def _utf16(body: bytes) -> str:
    """Decode in the byte order that gives more ASCII; the standard's silence left both in use."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", "replace")
    sample = body[:8192]
    big, little = sample[0::2].count(0), sample[1::2].count(0)
    if big == little == 0 and b":" in sample and sample.isascii():
        return decoded(body)
    body = body[: len(body) // 2 * 2]
    return body.decode("utf-16-le" if little > big else "utf-16-be", "replace")
