"""Contact sheets: many small pictures with their captions, as one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

LABEL_HEIGHT = 13
GAP = 4


def contact_sheet(
    images: NDArray[np.uint8], labels: Sequence[str], *, columns: int, scale: int = 1
) -> Image.Image:
    """Arrange *images* (count, side, side, 3) in rows, each above its label."""
    side = images.shape[1] * scale
    width, height = side + GAP, side + LABEL_HEIGHT + GAP
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        left, top = number % columns * width, number // columns * height
        image = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(image, (left, top))
        pen.text((left, top + side), label[: side // 6], fill="black")
    return sheet
