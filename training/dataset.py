"""Batches of normalised pictures and encoded captions, drawn from a prepared folder.

A batch depends on (seed, step) and on nothing else, so a resumed training sees exactly what
an uninterrupted one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.captions import (
    BACKGROUNDS,
    COLOURS,
    CaptionSettings,
    Concept,
    Vocabulary,
    draw_caption,
)
from training.prepare import Floats, over, read_json, to_bytes

SIGMA_DATA = 0.5
"""Standard deviation of a normalised picture, per channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSettings:
    """How often a picture is altered; probabilities.

    Attributes:
        colour: The main colour is replaced, and the caption says by which.
        background: A flat colour replaces the white background, and the caption says which.
    """

    colour: float = 0.12
    background: float = 0.05


@dataclass(frozen=True, slots=True)
class Normalisation:
    """The map between RGB from 0 to 255 and what the network sees."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def encode(self, rgb: Floats) -> NDArray[np.float32]:
        """Map (..., side, side, 3) to (..., 3, side, side) of deviation SIGMA_DATA."""
        scaled = (rgb / 127.5 - 1 - np.asarray(self.mean)) / np.asarray(self.std) * SIGMA_DATA
        return np.ascontiguousarray(np.moveaxis(scaled, -1, -3), dtype=np.float32)

    def decode(self, pictures: Floats) -> NDArray[np.uint8]:
        """Invert :meth:`encode`, rounded and clipped to bytes."""
        scaled = np.moveaxis(pictures, -3, -1) / SIGMA_DATA * np.asarray(self.std)
        rgb = (scaled + np.asarray(self.mean) + 1) * 127.5
        return to_bytes(rgb)


class Dataset:
    """What ``python -m training.prepare`` wrote.

    Attributes:
        concepts: Every concept, in the order of the concept list.
        vocabulary: Every word a caption can contain.
        normalisation: Computed over the pictures on white.
        entries: Per picture its ``concept``, ``style`` and ``can_recolour``.
    """

    def __init__(self, folder: Path) -> None:
        facts = read_json(folder / "dataset.json")
        self.image_size: int = facts["image_size"]
        self.normalisation = Normalisation(tuple(facts["mean"]), tuple(facts["std"]))
        self.vocabulary = Vocabulary(tuple(facts["vocabulary"]))
        self.concepts = tuple(
            Concept(name=concept["name"], synonyms=tuple(concept["synonyms"]))
            for concept in facts["concepts"]
        )
        self.entries: list[dict[str, str | bool]] = facts["pictures"]
        self.artwork: NDArray[np.uint8] = np.load(folder / "artwork.npy")
        self.recoloured: NDArray[np.uint8] = np.load(folder / "recoloured.npy", mmap_mode="r")
        self._concept_of = {concept.name: concept for concept in self.concepts}

    def batch(
        self,
        size: int,
        rng: np.random.Generator,
        captions: CaptionSettings,
        pictures: PictureSettings,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw *size* pictures with captions.

        Returns:
            pictures: Normalised (size, 3, side, side).
            tokens: Encoded captions (size, MAX_TOKENS).
        """
        rgb = np.empty((size, self.image_size, self.image_size, 3), np.float32)
        tokens = []
        for place, number in enumerate(rng.integers(len(self.entries), size=size)):
            entry = self.entries[number]
            colour = background = None
            picture = self.artwork[number]
            if entry["can_recolour"] and rng.random() < pictures.colour:
                shade = int(rng.integers(len(COLOURS)))
                colour, picture = COLOURS[shade], np.asarray(self.recoloured[number, shade])
            if rng.random() < pictures.background:
                background = tuple(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
            rgb[place] = over(picture, BACKGROUNDS[background]) if background else over(picture)
            words = draw_caption(
                self._concept_of[str(entry["concept"])],
                style=str(entry["style"]),
                colour=colour,
                background=background,
                settings=captions,
                rng=rng,
            )
            tokens.append(self.vocabulary.encode(words))
        return self.normalisation.encode(rgb), np.asarray(tokens, np.int64)
