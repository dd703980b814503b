"""Pictures that go into a pipeline and come out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.backends.input_picture import input_picture
from safelight.pipeline.images import encode_png

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["composite", "fitted", "grey", "png", "softened"]


def fitted(
    picture: Image.Image, width: int | None, height: int | None, *, multiple: int = 8
) -> Image.Image:
    """Return *picture* in the size that was asked for, or in its own, cut to multiples.

    Args:
        picture: Of any size.
        width: In pixels; None is its own.
        height: In pixels; None is its own.
        multiple: What its own sides are cut to, in pixels.
    """
    from PIL import Image

    own = (max(multiple, side // multiple * multiple) for side in picture.size)
    size = tuple(asked or side for asked, side in zip((width, height), own, strict=True))
    if picture.size == size:
        return picture
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def grey(mask: bytes, size: tuple[int, int]) -> Image.Image:
    """Return a mask as large as its picture."""
    return input_picture(mask).convert("L").resize(size)


def softened(mask: Image.Image, blur: int) -> Image.Image:
    """Return *mask* with its edge softened over *blur* pixels."""
    from PIL import ImageFilter

    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask


def composite(drawn: Image.Image, given: Image.Image, mask: Image.Image) -> Image.Image:
    """Return *drawn* where *mask* is white, *given* where it is black: to the very pixel."""
    from PIL import Image

    return Image.composite(drawn.resize(given.size), given, mask)


def png(picture: Image.Image) -> bytes:
    """Return the encoded file."""
    import numpy as np

    return encode_png(np.asarray(picture.convert("RGB")))
