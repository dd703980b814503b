"""shipped_scorers: three numbers that are computed from pixels; none of them is taste.

They need no weights. Each says its formula, its unit and where it comes from; a version changes
when a number does.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from safelight.application.scorers import PictureToScore
from safelight.errors import ImageError
from safelight.formats.shrunk_pictures import shrunk

__all__ = ["Exposure", "NearDuplicate", "Sharpness"]


class Sharpness:
    """How much fine detail there is: low for blur, high for edges and for grain alike.

    With the luma L = 0.299 R + 0.587 G + 0.114 B of the pixel (y, x), 0 to 255 and not rounded, and
    over all pixels but the outermost::

        D(y, x)   = L(y-1, x) + L(y+1, x) + L(y, x-1) + L(y, x+1) - 4 L(y, x)
        sharpness = mean of D^2 - (mean of D)^2

    The unit is squared steps of 8-bit grey, from 0 on. It is per pixel: an enlarged picture has
    less, and pictures of different sizes compare badly.

    Source: Pech-Pacheco et al. 2000, *Diatom autofocusing in brightfield microscopy*, "variance of
    Laplacian"; luma of ITU-R BT.601.
    """

    name = "sharpness"
    version = "1"
    unit = "squared steps of 8-bit grey, from 0"

    def score(self, pictures: Sequence[PictureToScore]) -> list[float | None]:
        """Return it; None for a picture less than 3 pixels wide or high."""
        return [self._of(picture.pixels()) for picture in pictures]

    @staticmethod
    def _of(pixels: NDArray[np.uint8]) -> float | None:
        if min(pixels.shape[:2]) < 3:
            return None
        luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
        around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
        return float(np.var(around - 4 * luma[1:-1, 1:-1], dtype=np.float64))


_DARKEST = 1 / 255 / 12.92
"""Linear light of the darkest grey but black that 8 bits tell."""


class Exposure:
    """How bright the picture is on the whole, against middle grey.

    With each channel C = c / 255 made linear, and over all pixels::

        C_lin    = C / 12.92                      where C <= 0.04045
                   ((C + 0.055) / 1.055)^2.4      elsewhere
        Y        = 0.2126 R_lin + 0.7152 G_lin + 0.0722 B_lin
        exposure = log2(max(mean of Y, 1 / 255 / 12.92) / 0.18)

    The unit is stops (EV): 0 is middle grey, +1 twice its light, and all white is +2.47. Black
    counts as the darkest grey that 8 bits tell, -9.21. Colour profiles are not looked at.

    Source: sRGB, IEC 61966-2-1; luminance, ITU-R BT.709; that 18 % is the middle, Adams 1948, *The
    Negative*, zone V.
    """

    name = "exposure"
    version = "1"
    unit = "stops from middle grey"

    def __init__(self) -> None:
        values = np.arange(256) / 255
        self._linear = np.where(
            values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
        )

    def score(self, pictures: Sequence[PictureToScore]) -> list[float]:
        """Return it."""
        return [self._of(picture.pixels()) for picture in pictures]

    def _of(self, pixels: NDArray[np.uint8]) -> float:
        means = [
            float(np.bincount(pixels[..., channel].ravel(), minlength=256) @ self._linear)
            / (pixels.shape[0] * pixels.shape[1])
            for channel in range(3)
        ]
        light = 0.2126 * means[0] + 0.7152 * means[1] + 0.0722 * means[2]
        return float(np.log2(max(light, _DARKEST) / 0.18))


_COLUMNS, _ROWS = 9, 8
_ONES = np.array([bin(value).count("1") for value in range(256)], np.uint8)


class NearDuplicate:
    """How far a picture is from the nearest one of its prompt that was made before it.

    The picture is made grey (luma, 8 bits) and 9 x 8 pixels small (box filter: each is the mean of
    what it covers). Each of the 64 pairs of neighbours in a row is a bit::

        bit(y, x) = 1 where grey(y, x) < grey(y, x + 1), y = 0 to 7, x = 0 to 7
        distance  = least number of bits that differ, over all earlier pictures of the prompt

    The unit is bits, 0 to 64: 0 is alike at this size, and pictures that have nothing to do with
    each other lie around 32. The first picture of a prompt has no number, nor has one without a
    prompt. Colour is not looked at, and one without texture is near any other without. Earlier ones
    that cannot be read are passed over.

    Source: Krawetz 2013, *Kind of Like That*, "dHash".
    """

    name = "near_duplicate"
    version = "1"
    unit = "bits of 64 that differ"
    looks_back = True

    def __init__(self) -> None:
        self._known: dict[str, NDArray[np.uint8] | None] = {}

    def score(self, pictures: Sequence[PictureToScore]) -> list[float | None]:
        """Return it; None for the first of a prompt."""
        return [self._of(picture) for picture in pictures]

    def _of(self, picture: PictureToScore) -> float | None:
        own = self._known[picture.sha256] = _difference_hash(picture.data())
        earlier = [known for each in picture.earlier if (known := self._hash(each)) is not None]
        if not earlier:
            return None
        return float(_ONES[np.bitwise_xor(np.stack(earlier), own)].sum(axis=1, dtype=int).min())

    def _hash(self, picture: PictureToScore) -> NDArray[np.uint8] | None:
        if picture.sha256 not in self._known:
            try:
                self._known[picture.sha256] = _difference_hash(picture.data())
            except (OSError, ImageError):
                self._known[picture.sha256] = None
        return self._known[picture.sha256]


def _difference_hash(data: bytes) -> NDArray[np.uint8]:
    """Return the 64 bits, uint8[8]."""
    from PIL import Image

    grey = shrunk(io.BytesIO(data), 2**20).convert("L")
    small = np.asarray(grey.resize((_COLUMNS, _ROWS), Image.Resampling.BOX))
    return np.packbits(small[:, :-1] < small[:, 1:])
