"""tiles: enlarge a picture part by part, so that memory stays bounded however large it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.errors import BackendError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Enlarge", "enlarged_in_tiles"]

_TILE = 128
_MARGIN = 16
"""Pixels of a part, and of the surroundings that the network sees with it: memory stays
below 2 GB however large the picture is, and seams stay out of sight."""

Enlarge = Callable[[Any], Any]
"""uint8 RGB (height, width, 3) -> the same, a whole number of times as large."""


def enlarged_in_tiles(
    picture: Image.Image,
    scale: float,
    networks: Mapping[int, Callable[[], Enlarge]],
    on_tile: Callable[[int, int], None] | None,
) -> Image.Image:
    """Return *picture*, an RGB one, at least *scale* times as large on both sides.

    At a *scale* below 1 nothing is done: a network has only one direction.

    Args:
        picture: What to enlarge.
        scale: By how much.
        networks: Factor -> what loads a network that enlarges by it.
        on_tile: Called after each part with its number, from 1, and how many there are.

    Raises:
        BackendError: A network does not enlarge by its factor.
    """
    import numpy as np
    from PIL import Image

    factors = _factors(scale, networks)
    areas = [math.prod(factors[:place]) for place in range(len(factors))]
    count = sum(len(_tiles(picture.width * side, picture.height * side)) for side in areas)
    pixels = np.asarray(picture)
    done = 0
    for factor in factors:
        enlarge = networks[factor]()
        height, width, _ = pixels.shape
        result = np.empty((height * factor, width * factor, 3), np.uint8)
        for tile in _tiles(width, height):
            tile.paste(enlarge, pixels, result, factor)
            done += 1
            if on_tile is not None:
                on_tile(done, count)
        pixels = result
    if not factors and on_tile is not None:
        on_tile(1, 1)
    return Image.fromarray(pixels)


def _factors(scale: float, networks: Mapping[int, object]) -> list[int]:
    """Return the factors to apply one after the other, the fewest that reach *scale*."""
    largest = max(networks)
    factors: list[int] = []
    while scale >= 1 and (not factors or math.prod(factors) < scale):
        left = scale / math.prod(factors)
        factors.append(min((f for f in networks if f >= left), default=largest))
    return factors


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A part of a picture, and what the network sees around it; pixels, ends excluded."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    def paste(self, enlarge: Enlarge, pixels: Any, result: Any, factor: int) -> None:
        """Enlarge this part of *pixels* into its place in *result*."""
        x, y = max(0, self.left - _MARGIN), max(0, self.top - _MARGIN)
        seen = pixels[
            y : min(self.height, self.bottom + _MARGIN), x : min(self.width, self.right + _MARGIN)
        ]
        enlarged = enlarge(seen)
        inner = enlarged[
            (self.top - y) * factor : (self.bottom - y) * factor,
            (self.left - x) * factor : (self.right - x) * factor,
        ]
        rows, columns = (self.bottom - self.top) * factor, (self.right - self.left) * factor
        if inner.shape[:2] != (rows, columns):
            raise BackendError(
                f"the upscaler's network does not enlarge by {factor}, as its file's name says"
            )
        result[
            self.top * factor : self.bottom * factor, self.left * factor : self.right * factor
        ] = inner


def _tiles(width: int, height: int) -> list[_Tile]:
    def spans(length: int) -> Iterator[tuple[int, int]]:
        for start in range(0, length, _TILE):
            yield start, min(length, start + _TILE)

    return [
        _Tile(left=left, top=top, right=right, bottom=bottom, width=width, height=height)
        for top, bottom in spans(height)
        for left, right in spans(width)
    ]
