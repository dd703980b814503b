"""hidden_text: text in the lowest bits of a PNG's pixels ("stealth" metadata).

NovelAI, and extensions of the web UIs, repeat what their PNG says in words in the pixels, where it
outlives sites that drop chunks. The bits go down the columns from the left: a signature, the
length in bits, the text. One bit of a pixel is the alpha's, or three are those of red, green and
blue. Whether there is a signature is told by the first rows; nothing else is decoded for it.

Source: ``modules/stealth_infotext.py`` of reForge, and NovelAI's published reader.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from safelight.formats.file_texts import decoded
from safelight.formats.png_chunks import PNG_SIGNATURE

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["HIDDEN_PLACES", "hidden_text"]

_ALPHA, _COLOURS = ("stealth_pnginfo", "stealth_pngcomp"), ("stealth_rgbinfo", "stealth_rgbcomp")
HIDDEN_PLACES = (*_ALPHA, *_COLOURS)
"""Signatures, which also name the place of the text in a file."""

_SIGNATURE_BITS = 15 * 8
_HEAD_BITS = _SIGNATURE_BITS + 32
_SAMPLES = {2: 3, 6: 4}
"""PNG's kinds of colour that can hold it -> samples of a pixel."""

_MOST_PIXELS = 32_000_000
_LONGEST_SIDE = 65_535
_LONGEST_TEXT = 4 * 2**20
_MOST_CHUNKS = 100_000
_BLOCK = 2**16


def hidden_text(file: BinaryIO) -> tuple[str, str] | None:
    """Return the signature and the text hidden in a PNG's pixels; None when there is none.

    Whatever is wrong with the file, nothing is raised but what reading it raises.

    Args:
        file: Any file; only of a PNG in 8-bit colour, not interlaced, anything is decoded.

    Raises:
        OSError: The file cannot be read.
    """
    file.seek(0)
    start = file.read(33)
    if len(start) < 33 or not start.startswith(PNG_SIGNATURE) or start[12:16] != b"IHDR":
        return None
    width, height, depth, colour, packing, filtering, interlaced = struct.unpack_from(
        ">IIBBBBB", start, 16
    )
    samples = _SAMPLES.get(colour)
    if samples is None or depth != 8 or packing or filtering or interlaced:
        return None
    if width * height > _MOST_PIXELS or not 0 < height <= _LONGEST_SIDE >= width:
        return None
    signature = _signature(file, width, height, samples)
    if signature is None:
        return None
    try:
        text = _text(file, signature)
    except Exception:  # noqa: BLE001 - what Pillow raises for broken files is no closed list
        return None
    return None if text is None else (signature, text)


def _signature(file: BinaryIO, width: int, height: int, samples: int) -> str | None:
    """Return the signature, told from the left edge of the first rows."""
    pixels = _SIGNATURE_BITS if samples == 4 else _SIGNATURE_BITS // 3
    rows, columns = min(height, pixels), -(-pixels // height)
    if columns > width:
        return None
    edge = _left_edge(_rows(file, width * samples, rows), samples, columns)
    if len(edge) < rows:
        return None
    downwards = [row[x * samples : (x + 1) * samples] for x in range(columns) for row in edge]
    alpha = _packed([pixel[3] & 1 for pixel in downwards if samples == 4])
    colours = _packed([sample & 1 for pixel in downwards[:40] for sample in pixel[:3]])
    for bits, known in ((alpha, _ALPHA), (colours, _COLOURS)):
        if (name := bits.decode("latin-1")) in known:
            return name
    return None


def _packed(bits: list[int]) -> bytes:
    """Return the bytes of a signature's bits, the highest first."""
    number = int("".join(map(str, bits[:_SIGNATURE_BITS])) or "0", 2)
    return number.to_bytes(_SIGNATURE_BITS // 8, "big")


def _rows(file: BinaryIO, length: int, count: int) -> Iterator[bytes]:
    """Yield the first *count* rows as they are stored: the filter's number, then the samples."""
    inflate, row = zlib.decompressobj(), b""
    for data in _pixel_data(file):
        while True:
            try:
                piece = inflate.decompress(data, length + 1 - len(row))
            except zlib.error:
                return
            row, data = row + piece, inflate.unconsumed_tail
            if not piece:
                break
            if len(row) > length:
                yield row
                row, count = b"", count - 1
                if not count:
                    return


def _pixel_data(file: BinaryIO) -> Iterator[bytes]:
    file.seek(len(PNG_SIGNATURE) + 25)
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind != b"IDAT":
            file.seek(length + 4, 1)
            continue
        while length and (block := file.read(min(length, _BLOCK))):
            length -= len(block)
            yield block
        file.seek(4, 1)


def _left_edge(rows: Iterator[bytes], samples: int, columns: int) -> list[list[int]]:
    """Return the first *columns* pixels of each row, which depend on nothing to their right."""
    edge: list[list[int]] = []
    above = [0] * (columns * samples)
    for row in rows:
        line: list[int] = []
        for place in range(columns * samples):
            left = line[place - samples] if place >= samples else 0
            corner = above[place - samples] if place >= samples else 0
            line.append((row[place + 1] + _predicted(row[0], left, above[place], corner)) & 255)
        edge.append(line)
        above = line
    return edge


def _predicted(filtering: int, left: int, up: int, corner: int) -> int:
    """Return what PNG's filter says a sample will be (PNG specification, section 9)."""
    if filtering == 4:
        estimate = left + up - corner
        return min((left, up, corner), key=lambda sample: abs(estimate - sample))
    return {1: left, 2: up, 3: (left + up) // 2}.get(filtering, 0)


def _text(file: BinaryIO, signature: str) -> str | None:
    from PIL import Image

    file.seek(0)
    with Image.open(file, formats=("PNG",)) as image:
        image.load()
        count = int.from_bytes(_bits(image, signature, 0, _HEAD_BITS)[-4:], "big")
        data = _bits(image, signature, _HEAD_BITS, min(count, 8 * _LONGEST_TEXT) // 8 * 8)
    if not data or len(data) < count // 8:
        return None
    if signature.endswith("comp"):
        inflate = zlib.decompressobj(wbits=47)  # gzip, and zlib as some write it
        data = inflate.decompress(data, _LONGEST_TEXT + 1)
    return decoded(data) if len(data) <= _LONGEST_TEXT else None


def _bits(image: Image.Image, signature: str, start: int, count: int) -> bytes:
    """Return bits of the columns, packed, from the bit *start*; fewer where the picture ends."""
    import numpy as np

    each = 1 if signature in _ALPHA else 3
    height = image.height
    first, last = start // each // height, -(-(start + count) // each // height)
    columns = np.asarray(image.crop((first, 0, min(last, image.width), height)))
    chosen = columns[:, :, 3:] if each == 1 else columns[:, :, :3]
    bits = (chosen.transpose(1, 0, 2) & 1).reshape(-1)[start - first * height * each :][:count]
    return np.packbits(bits[: len(bits) // 8 * 8]).tobytes()
