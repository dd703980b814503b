"""shrunk_pictures: a small picture of any file that claims to be one, within a bounded memory.

Files come from anywhere, and a few hundred kilobytes can stand for gigabytes of pixels. So only the
kinds that are imported are read, by readers of their own; the header says what decoding will take
before anything is decoded; and what is decoded is made small strip by strip, never copied whole.
What takes much is decoded by one thread at a time.
"""

from __future__ import annotations

import functools
import io
import math
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, BinaryIO

from safelight.errors import ImageError
from safelight.formats.picture_kinds import LONGEST_BEGINNING, media_type
from safelight.formats.png_chunks import PNG_SIGNATURE

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MOST_DECODED", "known_formats", "shrunk"]

MOST_DECODED = 400_000_000
"""Bytes that decoding one picture may take: 100 megapixels of a PNG, in colour."""

_LARGE = 64_000_000
"""Bytes from which one is decoded at a time."""

_LARGEST_FILES = {
    "PNG": 256 * 2**20, "JPEG": 64 * 2**20, "WEBP": 32 * 2**20, "AVIF": 32 * 2**20,
    "GIF": 16 * 2**20,
}  # fmt: skip
"""Bytes of a file; those that their readers take whole, or pick apart in Python, have fewer."""

_BYTES_EACH = {"WEBP": 17, "AVIF": 12, "GIF": 2}
"""Bytes that readers take for every pixel, measured where more than the picture's own four."""

_NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2}
_MOST_CHUNKS = 100_000
_MOST_BESIDE = 32 * 2**20
"""Bytes of a PNG file that are not pixels."""

_MOST_SEGMENTS = 10_000
_MOST_SCANS = 100
"""Scans of a JPEG: each of them may be a few bytes long, and goes over the whole picture."""

_STRIP = 2**20
"""Pixels that are made small at a time."""

_BLOCK = 64 * 2**20
"""Bytes that Pillow asks for at a time. Parts of up to 32 MiB stay with the thread that has let
them go, so that every thread would keep what its largest picture took."""

_one_large = threading.Lock()


@functools.cache
def known_formats() -> tuple[str, ...]:
    """Return Pillow's names of the kinds of pictures that are read, as far as it has them."""
    from PIL import Image, WebPImagePlugin  # noqa: F401 - registers itself

    Image.core.set_block_size(_BLOCK)  # type: ignore[attr-defined] # Pillow's documented way

    with suppress(ImportError):  # Pillow before 11.3
        from PIL import AvifImagePlugin  # noqa: F401
    Image.preinit()
    return tuple(name for name in _LARGEST_FILES if name in Image.OPEN)


def shrunk(file: BinaryIO, side: int) -> Image.Image:
    """Return the picture in *file*, upright, in RGB or RGBA, and no larger than *side* pixels.

    Args:
        file: Any file; of an animation the first picture is taken.
        side: Longest side in pixels; a smaller picture stays as it is.

    Raises:
        ImageError: It is no picture of a known kind, damaged, or takes too much to decode.
    """
    try:
        buffered = _looked_through(file)
        with _opened(file) as opened:
            header = math.prod(opened.size)
            opened.draft("RGB", (side, side))
            cost = _cost(opened, header if buffered else 0)
            if cost > MOST_DECODED:
                width, height = opened.size
                raise ImageError(
                    f"{width:,} x {height:,} pixels of a {opened.format} file would take"
                    f" {cost / 1e6:,.0f} MB to be decoded; {MOST_DECODED / 1e6:,.0f} MB are allowed"
                )
            with _one_large if cost > _LARGE else nullcontext():
                small = _made_small(opened, max(1, max(opened.size) // (2 * side)))
            small = _upright(small, opened)
    except ImageError:
        raise
    except Exception as error:  # what Pillow raises for broken files is no closed list
        raise ImageError(f"it cannot be read: {error or type(error).__name__}") from error
    if max(small.size) > side:
        from PIL import Image

        small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Image.Image]:
    from PIL import Image

    file.seek(0)
    with Image.open(file, formats=known_formats()) as opened:
        yield opened


def _cost(opened: Image.Image, buffered: int) -> int:
    """Return the bytes that decoding takes; *buffered* pixels of a JPEG are held twice."""
    each = _BYTES_EACH.get(opened.format or "") or _NARROW.get(opened.mode, 4)
    return math.prod(opened.size) * each + math.ceil(buffered * 2 * _samples(opened))


def _samples(opened: Image.Image) -> float:
    """Return how many numbers a JPEG has for every pixel: colours have fewer than brightness."""
    layers: Sequence[tuple[int, int, int, int]] = getattr(opened, "layer", ())
    if not layers:
        return len(opened.getbands())
    widest, highest = max(layer[1] for layer in layers), max(layer[2] for layer in layers)
    return sum(layer[1] * layer[2] for layer in layers) / (widest * highest)


def _made_small(opened: Image.Image, factor: int) -> Image.Image:
    """Return the picture with *factor* pixels made one, each way."""
    from PIL import Image

    opened.load()
    mode = "RGBA" if "A" in opened.getbands() else "RGB"
    if factor == 1:
        return opened.convert(mode)
    width, height = opened.size
    small = Image.new(mode, (math.ceil(width / factor), math.ceil(height / factor)))
    rows = factor * max(1, _STRIP // (width * factor))
    for top in range(0, height, rows):
        strip = opened.crop((0, top, width, min(top + rows, height))).convert(mode)
        small.paste(strip.reduce(factor), (0, top // factor))
    return small


def _upright(small: Image.Image, opened: Image.Image) -> Image.Image:
    """Return *small* turned as the file says."""
    from PIL import Image
    from PIL.ExifTags import Base

    ways = Image.Transpose
    turned = {
        2: ways.FLIP_LEFT_RIGHT, 3: ways.ROTATE_180, 4: ways.FLIP_TOP_BOTTOM, 5: ways.TRANSPOSE,
        6: ways.ROTATE_270, 7: ways.TRANSVERSE, 8: ways.ROTATE_90,
    }.get(opened.getexif().get(Base.Orientation, 1))  # fmt: skip
    return small if turned is None else small.transpose(turned)


def _looked_through(file: BinaryIO) -> bool:
    """Refuse what costs much before a header was read; return whether a JPEG is decoded at once.

    Raises:
        ImageError: The file is too large, or has too many parts.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    kind = _kind(file.read(LONGEST_BEGINNING))
    if size > _LARGEST_FILES[kind]:
        raise ImageError(
            f"a {kind} file may have {_LARGEST_FILES[kind]:,} bytes to be shown small, got {size:,}"
        )
    if kind == "PNG":
        _look_through_png(file)
    return kind == "JPEG" and _look_through_jpeg(file)


def _kind(start: bytes) -> str:
    """Return Pillow's name of what begins with *start*: the media type's, in capitals."""
    known = media_type(start)
    if known is None:
        raise ImageError(
            f"not a PNG, JPEG, WebP, AVIF or GIF file: it begins with {start[:8].hex(' ')}"
        )
    return known.removeprefix("image/").upper()


def _look_through_png(file: BinaryIO) -> None:
    file.seek(len(PNG_SIGNATURE))
    beside = 0
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind not in (b"IDAT", b"fdAT"):
            beside += length
        if beside > _MOST_BESIDE:
            raise ImageError(f"a PNG file may have {_MOST_BESIDE:,} bytes that are not pixels")
        file.seek(length + 4, io.SEEK_CUR)
    raise ImageError(f"a PNG file may have {_MOST_CHUNKS:,} chunks")


def _look_through_jpeg(file: BinaryIO) -> bool:
    """Return whether all of a JPEG is held while it is decoded: it comes in several scans."""
    components = 0
    file.seek(2)
    for _ in range(_MOST_SEGMENTS):
        mark = file.read(2)
        if len(mark) < 2 or mark[0] != 0xFF or mark[1] == 0xD9:
            raise ImageError("the JPEG file ends before its pixels")
        if mark[1] == 0xFF:
            file.seek(-1, io.SEEK_CUR)
            continue
        if mark[1] == 0x01 or 0xD0 <= mark[1] <= 0xD8:
            continue
        length = int.from_bytes(file.read(2), "big")
        body = file.read(max(0, length - 2))
        if mark[1] == 0xDA:
            return _scans(file, most=_MOST_SCANS) > 0 or body[:1] != bytes((components,))
        if 0xC0 <= mark[1] <= 0xCF and mark[1] not in (0xC4, 0xC8, 0xCC):
            components = body[5] if len(body) > 5 else 0
    raise ImageError(f"a JPEG file may have {_MOST_SEGMENTS:,} segments before its pixels")


def _scans(file: BinaryIO, *, most: int) -> int:
    """Return how many further scans there are; inside of one, ``FF`` is followed by zero."""
    found, last = 0, b""
    while block := file.read(2**20):
        found += (last + block).count(b"\xff\xda")
        last = block[-1:]
        if found > most:
            raise ImageError(f"a JPEG file may have {most} scans")
    return found
