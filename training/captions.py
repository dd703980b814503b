"""Captions for the training pictures, and the vocabulary that turns them into numbers.

A caption is a bag of plain words. The decision that matters here: a concept's everyday
synonyms are drawn as often as its official name, because a word seen in one caption out of
ten is a word the model does not know ("car" is officially "automobile").
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COLOURS = (
    "red", "orange", "yellow", "green", "cyan", "blue",
    "purple", "pink", "brown", "black", "gray", "white",
)  # fmt: skip
"""Words that recolour a picture's main hue."""

BACKGROUNDS: Mapping[str, tuple[int, int, int]] = {
    "red": (244, 120, 110),
    "orange": (255, 190, 110),
    "yellow": (255, 240, 140),
    "green": (160, 225, 150),
    "cyan": (140, 235, 240),
    "blue": (130, 185, 250),
    "purple": (200, 160, 240),
    "pink": (255, 190, 215),
    "brown": (170, 125, 90),
    "black": (25, 25, 30),
    "gray": (170, 170, 175),
}
"""RGB behind the picture for "on <word> background"; without it the background is white."""

STYLES = ("noto", "fluent")
"""One word per artwork family."""

PADDING, BEGIN = 0, 1
"""Token ids: an empty place, and the start of every caption. BEGIN alone is "no caption"."""

SPECIAL_WORDS = ("<pad>", "<bos>")
MAX_TOKENS = 12
STOP_WORDS = frozenset(
    {"a", "an", "and", "emoji", "icon", "in", "of", "sign", "style", "symbol", "the", "with"}
)


def caption_words(text: str) -> tuple[str, ...]:
    """Split *text* into the words the model may know: lower case, no stop words, "gray"."""
    plain = re.sub(r"['’]", "", text.lower()).replace("grey", "gray")
    return tuple(
        word for word in re.sub(r"[^a-z0-9]+", " ", plain).split() if word not in STOP_WORDS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """One thing the model can draw, and every way a caption may call it.

    Attributes:
        name: Unicode short name, for example ``"automobile"``.
        synonyms: Everyday words, drawn as often as the name.
    """

    name: str
    synonyms: tuple[str, ...] = ()

    @property
    def titles(self) -> tuple[str, ...]:
        """The name and the synonyms."""
        return (self.name, *self.synonyms)


def read_concepts(path: Path) -> tuple[Concept, ...]:
    """Read the hand-made concept list, in file order.

    Raises:
        ValueError: A title means two concepts, or has no words once stop words are gone.
    """
    sections = tomllib.loads(path.read_text(encoding="utf-8"))
    concepts = tuple(
        Concept(name=name, synonyms=tuple(synonyms))
        for section in sections.values()
        for name, synonyms in section.items()
    )
    owner: dict[tuple[str, ...], str] = {}
    faults: list[str] = []
    for concept in concepts:
        for title in concept.titles:
            words = caption_words(title)
            if not words:
                faults.append(f"{title!r} has no words")
            elif owner.setdefault(words, concept.name) != concept.name:
                faults.append(f"{title!r} names both {owner[words]!r} and {concept.name!r}")
    if faults:
        raise ValueError("concept list: " + "; ".join(faults))
    return concepts


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The known words in id order; the first two are ``<pad>`` and ``<bos>``."""

    words: tuple[str, ...]

    @classmethod
    def of_concepts(cls, concepts: Iterable[Concept]) -> Vocabulary:
        """Collect every word a caption about *concepts* can contain."""
        fixed = (*SPECIAL_WORDS, "on", "background", *STYLES, *COLOURS)
        words = {
            word
            for concept in concepts
            for title in concept.titles
            for word in caption_words(title)
        }
        return cls((*fixed, *sorted(words.difference(fixed))))

    def encode(self, words: Sequence[str]) -> list[int]:
        """Return MAX_TOKENS ids: BEGIN, the known *words* in order, padding; unknown ones go."""
        index = {word: number for number, word in enumerate(self.words)}
        known = [index[word] for word in words if word in index]
        ids = [BEGIN, *known][:MAX_TOKENS]
        return ids + [PADDING] * (MAX_TOKENS - len(ids))


def wanted_concept(prompt: str, concepts: Sequence[Concept]) -> Concept | None:
    """Return the concept that *prompt* asks for by one of its titles, None if there is none.

    Style words and "on <colour> background" say nothing about the concept; a colour word does
    only where a title has it ("red heart").
    """
    words = [word for word in caption_words(prompt) if word not in STYLES]
    if len(words) >= 3 and words[-1] == "background" and words[-3] == "on":
        words = words[:-3]
    owner = {caption_words(title): concept for concept in concepts for title in concept.titles}
    plain = tuple(word for word in words if word not in COLOURS)
    if concept := owner.get(tuple(words)) or owner.get(plain):
        return concept
    colourless = {
        tuple(word for word in title if word not in COLOURS): concept
        for title, concept in owner.items()
    }
    return colourless.get(plain) if plain else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSettings:
    """How often each kind of caption is drawn; probabilities.

    Attributes:
        style: The style word is added.
        no_caption: The caption is dropped, so that the model also learns the unconditional
            score (Ho and Salimans 2022, arXiv:2207.12598).
    """

    style: float = 0.5
    no_caption: float = 0.10


def draw_caption(
    concept: Concept,
    *,
    style: str,
    colour: str | None,
    background: str | None,
    settings: CaptionSettings,
    rng: np.random.Generator,
) -> tuple[str, ...]:
    """Draw one caption for a picture; the empty caption stands for "anything".

    Half of the captions use the name, half one of the synonyms. A recoloured picture
    never carries another colour word: "blue apple", not "blue red apple".
    """
    if rng.random() < settings.no_caption:
        return ()
    if concept.synonyms and rng.random() < 0.5:
        title = concept.synonyms[rng.integers(len(concept.synonyms))]
    else:
        title = concept.name
    words = caption_words(title)
    if colour is not None:
        words = (colour, *(word for word in words if word not in COLOURS))
    if rng.random() < settings.style:
        words = (*words, style)
    if background is not None:
        words = (*words, "on", background, "background")
    return words
