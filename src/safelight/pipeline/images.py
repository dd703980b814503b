"""Image files: their identity, and the texts that tell how they were made.

An engine's PNG is never decoded and encoded again to add metadata: chunks are spliced in
behind the header, so what the engine wrote, pixels and chunks alike, stays as it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.errors import ImageError
from safelight.formats.png_chunks import png_texts, with_texts
from safelight.formats.shrunk_pictures import known_formats

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "ImageIdentity",
    "PixelIdentity",
    "embed_metadata",
    "encode_png",
    "identify",
    "identify_pixels",
    "open_rgb",
]

_FOREIGN_KEYS = ("parameters", "prompt", "workflow")
"""Text keys that say the engine described the picture itself; adding A1111 text beside
ComfyUI's graph makes ComfyUI open a rebuilt graph instead of the stored one."""


_BAND = 65_536
"""Pixels that are turned into samples at once: so many stay in a processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelIdentity:
    r"""What makes a picture the same picture, whatever its file says beside it.

    Attributes:
        pixel_sha256: SHA-256 over ``"{width}x{height} RGB\n"`` (``RGBA`` where the picture
            has transparency) in ASCII, then the rows of 8-bit samples from the top left.
        width: In pixels.
        height: In pixels.
        colour: The samples that every pixel has, where all have the same; else None.
    """

    pixel_sha256: str
    width: int
    height: int
    colour: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIdentity(PixelIdentity):
    """What makes an image the same image wherever its file goes.

    Attributes:
        sha256: SHA-256 of the file's bytes, hex.
    """

    sha256: str


def identify(data: bytes) -> ImageIdentity:
    """Decode an image file and return its identity.

    Raises:
        ImageError: The bytes are no image, or a damaged one.
    """
    pixels = identify_pixels(data)
    return ImageIdentity(
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_sha256=pixels.pixel_sha256,
        width=pixels.width,
        height=pixels.height,
        colour=pixels.colour,
    )


def identify_pixels(data: bytes) -> PixelIdentity:
    """Decode an image file and return the identity of its picture, band by band.

    Raises:
        ImageError: The bytes are no image, or a damaged one.
    """
    with _opened(data) as image:
        image.load()
        mode = "RGBA" if image.has_transparency_data else "RGB"
        width, height = image.size
        digest = hashlib.sha256(f"{width}x{height} {mode}\n".encode("ascii"))
        rows = max(1, _BAND // width)
        colour: bytes | None = b""
        for top in range(0, height, rows):
            band = image.crop((0, top, width, min(top + rows, height)))
            samples = (band if band.mode == mode else band.convert(mode)).tobytes()
            digest.update(samples)
            colour = _one_colour(samples, len(mode), colour)
    return PixelIdentity(
        pixel_sha256=digest.hexdigest(),
        width=width,
        height=height,
        colour=tuple(colour) if colour else None,
    )


def _one_colour(samples: bytes, channels: int, before: bytes | None) -> bytes | None:
    """Return the one pixel that *samples* repeat; None when they, or those *before*, differ."""
    first = samples[:channels]
    if before is None or before not in (b"", first) or samples[-channels:] != first:
        return None
    return first if samples == first * (len(samples) // channels) else None


def open_rgb(data: bytes) -> Image.Image:
    """Decode an image file and return it as an RGB picture.

    Raises:
        ImageError: The bytes are no image, or a damaged one.
    """
    with _opened(data) as image:
        return image.convert("RGB")


def as_png(data: bytes) -> tuple[bytes, str]:
    """Return an image file as a PNG file with the same channels, and what it was before.

    Raises:
        ImageError: The bytes are no image, or a damaged one.
    """
    buffer = io.BytesIO()
    with _opened(data) as image:
        image.save(buffer, "PNG")
        return buffer.getvalue(), image.format or "an unknown format"


_ALSO_GIVEN = ("BMP", "TIFF")
"""Kinds of pictures that people begin with, beside those that engines write. Pillow has readers
for many more, one of which starts a program."""


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open an image file; what Pillow says of a bad one comes as an ImageError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=(*known_formats(), *_ALSO_GIVEN)) as image:
            yield image
    except UnidentifiedImageError:
        raise ImageError(f"these {len(data)} bytes are not an image") from None
    except (OSError, ValueError, SyntaxError, zlib.error, Image.DecompressionBombError) as error:
        raise ImageError(f"the image cannot be decoded: {error}") from error


def encode_png(pixels: Any) -> bytes:
    """Return a PNG file of *pixels*.

    Args:
        pixels: uint8 array of shape (height, width, 3).
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def embed_metadata(png: bytes, parameters: str, safelight: Mapping[str, Any]) -> bytes:
    """Return *png* with one ``safelight`` chunk and, where the engine left none, A1111 text.

    Args:
        png: The engine's file.
        parameters: A1111 infotext; left out when the engine wrote its own metadata.
        safelight: Plain JSON: schema, run_id, variant, stage, parent.

    Raises:
        ImageError: *png* is not a PNG file.
    """
    present = png_texts(png).keys()
    texts = {"safelight": json.dumps(safelight, sort_keys=True, ensure_ascii=False)}
    if not present & set(_FOREIGN_KEYS):
        texts = {"parameters": parameters, **texts}
    return with_texts(png, {key: text for key, text in texts.items() if key not in present})
