"""Archives of pictures that a test made itself, and scorers that do as it wants."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from safelight.application.scorers import PictureToScore
from safelight.archive import Archive
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput
from safelight.pipeline.images import identify

__all__ = ["MeanRed", "archive_of", "flat", "png_of", "textured"]


def flat(red: int, side: int = 16) -> NDArray[np.uint8]:
    """Return a picture of one colour."""
    return np.full((side, side, 3), (red, 10, 20), np.uint8)


def textured(seed: int, side: int = 16) -> NDArray[np.uint8]:
    """Return noise."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """Return the file of a picture."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def archive_of(
    folder: Path, pictures: Sequence[tuple[str, NDArray[np.uint8]]], model: str = "m"
) -> Archive:
    """Return an archive of (prompt, picture), made one after the other: ``images/0.png`` first."""
    archive = Archive(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with archive.writer() as writer:
        for number, (prompt, pixels) in enumerate(pictures):
            data = png_of(pixels)
            (folder / "images" / f"{number}.png").write_bytes(data)
            known = identify(data)
            config = {"txt2img": {"prompt": prompt, "model": model, "steps": 1}}
            output = ImageOutput(
                variant=0, stage="txt2img", sha256=known.sha256,
                pixel_sha256=known.pixel_sha256, width=pixels.shape[1], height=pixels.shape[0],
                path=f"images/{number}.png",
            )  # fmt: skip
            writer.write(
                LearningRecord.from_pipeline_context(
                    config, [config], outputs=(output,), run_id=f"run{number}",
                    timestamp=f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000000Z",
                )
            )  # fmt: skip
    return archive


class MeanRed:
    """The mean of the red channel; *before* is called with each batch first."""

    name = "mean_red"
    unit = "steps of 8-bit red"

    def __init__(
        self,
        before: Callable[[Sequence[PictureToScore]], object] = lambda _: None,
        version: str = "1",
    ) -> None:
        self.version = version
        self.batches: list[int] = []
        self._before = before

    def score(self, pictures: Sequence[PictureToScore]) -> list[float]:
        """Return it."""
        self.batches.append(len(pictures))
        self._before(pictures)
        return [float(picture.pixels()[..., 0].mean()) for picture in pictures]
