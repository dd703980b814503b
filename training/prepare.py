"""Turn emoji artwork into the training set: pictures, recoloured pictures, names, vocabulary.

Reads three npm packages from ``DIR/npm/node_modules`` (``npm install`` them there first; the
versions are in training/README.md): two artwork families as SVG, and short names. Writes to
DIR:

- ``artwork.npy``: uint8 (pictures, 64, 64, 4), straight alpha.
- ``recoloured.npy``: uint8 (pictures, colours, 64, 64, 4); see :func:`recolour`.
- ``dataset.json``: one entry per picture, the concepts, the vocabulary, mean and deviation.

Usage: ``python -m training.prepare --data DIR``
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from training.captions import (
    COLOURS,
    STYLES,
    Vocabulary,
    read_concepts,
)

IMAGE_SIZE = 64
RENDER_SIZE = 256
"""Pixels a side of the SVG rendering, a multiple of IMAGE_SIZE."""

PACKAGES: Mapping[str, str] = {"noto": "noto", "fluent": "fluent-emoji-flat"}
"""Style word to package name under ``@iconify-json``."""

HUES: Mapping[str, float] = {
    "red": 0, "orange": 28, "yellow": 50, "green": 125, "cyan": 185,
    "blue": 218, "purple": 278, "pink": 335, "brown": 22,
}  # fmt: skip
"""Degrees on the colour circle; black, gray and white have none."""

VARIATION_SELECTOR = 0xFE0F

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


def read_json(path: Path) -> Any:
    """Parse the JSON file at *path*."""
    return json.loads(path.read_text(encoding="utf-8"))


class Artwork:
    """One family of emoji drawings, looked up by the emoji itself."""

    def __init__(self, folder: Path) -> None:
        self._icons = read_json(folder / "icons.json")
        self._names = {
            "-".join(point for point in points.split("-") if point != "fe0f"): name
            for points, name in read_json(folder / "chars.json").items()
        }

    def svg(self, emoji: str) -> str | None:
        """Return the drawing of *emoji* as an SVG document, None if the family lacks it."""
        points = "-".join(f"{ord(sign):x}" for sign in emoji if ord(sign) != VARIATION_SELECTOR)
        name = self._names.get(points)
        if name is not None and name not in self._icons["icons"]:
            name = self._icons.get("aliases", {}).get(name, {}).get("parent")
        if name is None or name not in self._icons["icons"]:
            return None
        icon = self._icons["icons"][name]
        width = icon.get("width", self._icons.get("width"))
        height = icon.get("height", self._icons.get("height"))
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        )


def render(svg: str, size: int = IMAGE_SIZE) -> Pixels:
    """Draw *svg* and shrink it by averaging, colours weighted by opacity; (size, size, 4)."""
    data = resvg_py.svg_to_bytes(
        svg_string=svg, width=RENDER_SIZE, height=RENDER_SIZE, skip_system_fonts=True
    )
    image = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    if image.size != (RENDER_SIZE, RENDER_SIZE):
        image = image.resize((RENDER_SIZE, RENDER_SIZE), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.float32)
    factor = RENDER_SIZE // size
    opacity = pixels[..., 3:] / 255
    weighted = np.concatenate([pixels[..., :3] * opacity, opacity], -1)
    small = weighted.reshape(size, factor, size, factor, 4).mean((1, 3))
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-4)
    return to_bytes(np.concatenate([colour, small[..., 3:] * 255], -1))


def to_bytes(values: Floats) -> Pixels:
    """Round to whole numbers from 0 to 255."""
    return values.round().clip(0, 255).astype(np.uint8)


def hue_saturation_value(rgb: Floats) -> tuple[Floats, Floats, Floats]:
    """Convert RGB from 0 to 1 into hue in degrees, saturation and value from 0 to 1."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value, low = rgb.max(-1), rgb.min(-1)
    spread = value - low + 1e-8
    sector = np.where(
        value == red,
        (green - blue) / spread % 6,
        np.where(value == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    return sector * 60, (value - low) / np.maximum(value, 1e-6), value


def rgb_of(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """Invert :func:`hue_saturation_value`."""
    sector = hue % 360 / 60
    chroma = value * saturation

    def channel(offset: int) -> Floats:
        place = (sector + offset) % 6
        result: Floats = value - chroma * np.clip(np.minimum(place, 4 - place), 0, 1)
        return result

    return np.stack([channel(5), channel(3), channel(1)], -1)


def hue_distance(hue: Floats, centre: float) -> Floats:
    """Signed degrees from *centre* to *hue*, -180 to 180."""
    return (hue - centre + 180) % 360 - 180


def dominant_hue(hue: Floats, weight: Floats) -> float:
    """Return the hue in degrees that most *weight* is near to."""
    histogram = np.bincount((hue // 10).astype(int).ravel() % 36, weight.ravel(), 36)
    smooth = sum(np.roll(histogram, shift) * (1 - abs(shift) / 4) for shift in range(-3, 4))
    return float((np.argmax(smooth) + 0.5) * 10)


def recolour(picture: Pixels) -> Pixels | None:
    """Give the main colour of *picture* every colour of :data:`COLOURS`.

    The main colour is the dominant hue, or gray where gray covers more than a third.

    Returns:
        uint8 (colours, side, side, 4), or None if no colour covers enough of the picture.
    """
    opacity = picture[..., 3] / 255.0
    rgb = picture[..., :3] / 255.0
    hue, saturation, value = hue_saturation_value(rgb)
    vivid = opacity * saturation * value * ((saturation > 0.22) & (value > 0.15))
    centre = dominant_hue(hue, vivid)
    near = np.clip((42 - np.abs(hue_distance(hue, centre))) / 8, 0, 1)
    region = near * np.clip((saturation - 0.12) / 0.12, 0, 1)
    visible = max(float(opacity.sum()), 1.0)
    tints_gray = False
    if (region * opacity).sum() / visible <= 0.22:
        region = (
            np.clip((0.22 - saturation) / 0.08, 0, 1)
            * np.clip((0.97 - value) / 0.05, 0, 1)
            * np.clip((value - 0.12) / 0.1, 0, 1)
        )
        if (region * opacity).sum() / visible <= 0.35:
            return None
        tints_gray = True
    results = []
    for colour in COLOURS:
        new = _tint(colour, hue, saturation, value, centre, tints_gray)
        mixed = rgb * (1 - region[..., None]) + new * region[..., None]
        results.append(np.concatenate([to_bytes(mixed * 255), picture[..., 3:]], -1))
    return np.stack(results)


def _tint(
    colour: str, hue: Floats, saturation: Floats, value: Floats, centre: float, tints_gray: bool
) -> Floats:
    """Return RGB of the whole picture in *colour*, its shading kept; factors chosen by eye."""
    if colour == "white":
        return rgb_of(hue, saturation * 0.06, 0.80 + 0.18 * value)
    if colour == "black":
        return rgb_of(hue, saturation * 0.1, value * 0.28)
    if colour == "gray":
        return rgb_of(hue, saturation * 0.05, value * 0.72)
    if tints_gray:
        new_hue = np.full_like(hue, HUES[colour])
        new_saturation = np.full_like(saturation, 0.6)
    else:
        new_hue = HUES[colour] + hue_distance(hue, centre) * 0.5
        boost = 1.0 if colour in ("yellow", "orange", "pink") else 1.1
        new_saturation = np.clip(saturation * boost, 0, 1)
    if colour == "brown":
        return rgb_of(new_hue, new_saturation * 0.75, value * 0.6)
    if colour == "pink":
        return rgb_of(new_hue, new_saturation * 0.5, value**0.6)
    if colour in ("red", "green", "blue", "purple"):
        return rgb_of(new_hue, new_saturation, value * 0.92)
    return rgb_of(new_hue, new_saturation, value)


def over(picture: Pixels, background: Sequence[int] = (255, 255, 255)) -> Floats:
    """Lay *picture* over one colour; float32 RGB from 0 to 255."""
    opacity = picture[..., 3:].astype(np.float32) / 255
    return picture[..., :3] * opacity + np.asarray(background, np.float32) * (1 - opacity)


def prepare(data: Path) -> None:
    """Write the training set into *data*.

    Raises:
        ValueError: The concept list has a name that no emoji or no artwork family has.
    """
    modules = data / "npm" / "node_modules"
    here = Path(__file__).parent
    emoji_of = {
        entry["name"]: emoji
        for emoji, entry in read_json(modules / "unicode-emoji-json/data-by-emoji.json").items()
    }
    concepts = read_concepts(here / "concepts.toml")
    if unknown := [concept.name for concept in concepts if concept.name not in emoji_of]:
        raise ValueError(f"no emoji is named: {', '.join(unknown)}")
    pictures: list[Pixels] = []
    entries: list[dict[str, str]] = []
    for style in STYLES:
        artwork = Artwork(modules / "@iconify-json" / PACKAGES[style])
        for concept in concepts:
            if (svg := artwork.svg(emoji_of[concept.name])) is not None:
                pictures.append(render(svg))
                entries.append({"concept": concept.name, "style": style})
    if missing := {c.name for c in concepts}.difference(e["concept"] for e in entries):
        raise ValueError(f"no artwork for: {', '.join(sorted(missing))}")

    recoloured = np.zeros((len(pictures), len(COLOURS), *pictures[0].shape), np.uint8)
    can_recolour = []
    for number, picture in enumerate(pictures):
        variants = recolour(picture)
        can_recolour.append(variants is not None)
        if variants is not None:
            recoloured[number] = variants

    scaled = np.stack([over(picture) for picture in pictures]) / 127.5 - 1
    np.save(data / "artwork.npy", np.stack(pictures))
    np.save(data / "recoloured.npy", recoloured)
    dataset = {
        "image_size": IMAGE_SIZE,
        "mean": scaled.mean((0, 1, 2)).tolist(),
        "std": scaled.std((0, 1, 2)).tolist(),
        "vocabulary": Vocabulary.of_concepts(concepts).words,
        "concepts": [asdict(concept) for concept in concepts],
        "pictures": [
            {**entry, "can_recolour": able}
            for entry, able in zip(entries, can_recolour, strict=True)
        ],
    }
    (data / "dataset.json").write_text(json.dumps(dataset, indent=1), encoding="utf-8")
    print(
        f"{len(concepts)} concepts, {len(pictures)} pictures ({sum(can_recolour)} recoloured), "
        f"{len(dataset['vocabulary'])} words"
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder to read and write.")
    prepare(parser.parse_args().data)


if __name__ == "__main__":
    main()
