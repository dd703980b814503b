"""Pictures and masks as they are sent to the server."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from safelight.backends.input_picture import input_picture
from safelight.errors import BackendError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["encoded_picture", "mask_picture"]


def encoded_picture(picture: Image.Image) -> bytes:
    """Return *picture* as a PNG file without any metadata."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def mask_picture(data: bytes, size: tuple[int, int], blur: int | None) -> bytes:
    """Return the PNG file of a mask, softened, for whichever loader reads it.

    White is redrawn. Grey levels stand in red, green and blue, and inverted in alpha, because
    LoadImage takes a mask from what is transparent and LoadImageMask from the channel it is told.

    Raises:
        BackendError: It is no picture, or not as large as the input.
    """
    from PIL import Image, ImageChops, ImageFilter

    grey = input_picture(data).convert("L")
    if grey.size != size:
        raise BackendError(
            f"mask must be as large as the input, {size[0]} x {size[1]} px,"
            f" got {grey.width} x {grey.height}"
        )
    if blur:
        grey = grey.filter(ImageFilter.GaussianBlur(blur))
    return encoded_picture(Image.merge("RGBA", (grey, grey, grey, ImageChops.invert(grey))))
