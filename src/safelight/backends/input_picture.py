"""input_picture: the picture that a request starts from, decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.errors import BackendError, ImageError
from safelight.pipeline.images import open_rgb

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["input_picture"]


def input_picture(data: bytes) -> Image.Image:
    """Return the RGB picture in an image file.

    Raises:
        BackendError: The bytes are no image, or a damaged one.
    """
    try:
        return open_rgb(data)
    except ImageError as error:
        raise BackendError(f"the input picture cannot be read: {error}") from error
