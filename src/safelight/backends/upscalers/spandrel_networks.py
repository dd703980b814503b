"""Super-resolution networks in the files that people pass around (.pth, .safetensors).

Read by spandrel, on torch, where it is installed (``pip install "safelight[spandrel]"``); it
knows the architecture from the weights.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends.upscalers.tiles import Enlarge, enlarged_in_tiles
from safelight.errors import BackendError, FileRefused

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SpandrelUpscaler", "find_network_files"]

_ENDINGS = (".pth", ".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpandrelUpscaler:
    """One file.

    Attributes:
        path: Where it is.
    """

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that it is read from."""
        return (self.path,)

    def enlarge(
        self, picture: Image.Image, scale: float, on_tile: Callable[[int, int], None] | None
    ) -> Image.Image:
        """Return *picture*, an RGB one, at least *scale* times as large on both sides.

        Raises:
            BackendError: The file is no network that enlarges RGB pictures.
        """
        network = _loaded(self.path)
        enlarge: Enlarge = partial(_enlarged, network)
        return enlarged_in_tiles(picture, scale, {int(network.scale): lambda: enlarge}, on_tile)


def find_network_files(
    folder: Path | None, files: AllowedFiles = ANY_FILE
) -> dict[str, SpandrelUpscaler]:
    """Return name -> upscaler of the files in *folder*; empty where spandrel is missing.

    Args:
        folder: The user's own networks.
        files: Which of them may be used.
    """
    if folder is None or not folder.is_dir():
        return {}
    if any(importlib.util.find_spec(package) is None for package in ("spandrel", "torch")):
        return {}
    upscalers = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _ENDINGS:
            with suppress(FileRefused):
                upscalers[path.stem] = SpandrelUpscaler(path=files.model(str(path)))
    return upscalers


def _loaded(path: Path) -> Any:
    import spandrel
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        network = spandrel.ModelLoader(device).load_from_file(path)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackendError(f"the upscaler {path.name} cannot be loaded: {first}") from error
    fits = isinstance(network, spandrel.ImageModelDescriptor)
    if not fits or network.input_channels != 3 or network.output_channels != 3:
        raise BackendError(f"the upscaler {path.name} does not enlarge RGB pictures")
    if int(network.scale) < 2:
        raise BackendError(f"the upscaler {path.name} enlarges by {network.scale}, so not at all")
    return network.eval()


def _enlarged(network: Any, pixels: Any) -> Any:
    import numpy as np
    import torch

    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
    with torch.inference_mode():
        answer = network(torch.from_numpy(planes).to(network.device)).cpu().numpy()[0]
    return np.clip(np.rint(answer.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8)
