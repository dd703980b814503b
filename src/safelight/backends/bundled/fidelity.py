"""FidelityScorer: how surely a picture shows what its prompt names, judged by a small classifier.

An automatic measure for demonstrations, benchmarks and evidence about the bundled model; it is
always labelled as automatic and never mixed with people's ratings. The classifier was trained
on the same artwork as the model, but never saw the model or its loss. It measures whether the
picture can be told from all other concepts of its list. It does not measure beauty, and neither
colour, background nor style; it was taught to look through blur, so a second figure beside it,
the detail, says how blurred or grainy a picture is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safelight.backends.bundled import MODEL_FOLDER
from safelight.backends.bundled.model_facts import read_facts
from safelight.backends.bundled.text_to_image_model import open_session, run_session, split_words
from safelight.pipeline.images import open_rgb

__all__ = ["Fidelity", "FidelityScorer", "fine_detail"]


_FACTS: Mapping[str, type] = {
    "classes": list,
    "concepts": list,
    "detail": dict,
    "image_size": int,
    "passed_over": list,
    "stop_words": list,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What the classifier says of one picture.

    Attributes:
        wanted: The concept that the prompt names.
        log_probability: Of the wanted concept: at most 0, the higher the surer.
        first: The concept that the classifier holds for the likeliest; ``nothing`` is one.
        detail: Binary logarithm of the picture's fine detail over that of the artwork of the
            wanted concept: 0 is as much, -1 half as much (blurred), above 0 more (grain).
    """

    wanted: str
    log_probability: float
    first: str
    detail: float

    @property
    def hit(self) -> bool:
        """Whether the wanted concept came first (top-1)."""
        return self.first == self.wanted


class FidelityScorer:
    """Scores pictures of the bundled model.

    Args:
        model_dir: Folder with ``judge.json`` and ``judge.onnx``.

    Raises:
        BackendError: A file is missing or damaged.
    """

    def __init__(self, model_dir: Path | str | None = None) -> None:
        folder = Path(model_dir) if model_dir is not None else MODEL_FOLDER
        facts = read_facts(folder / "judge.json", _FACTS)
        self._stop_words = frozenset(facts["stop_words"])
        self._passed_over = frozenset(facts["passed_over"])
        self._classes: tuple[str, ...] = tuple(facts["classes"])
        self._session = open_session(folder / "judge.onnx")
        self._side: int = facts["image_size"]
        self._detail: Mapping[str, float] = facts["detail"]
        self._titles: Mapping[tuple[str, ...], str] = {
            self._words(title): concept["name"]
            for concept in facts["concepts"]
            for title in (concept["name"], *concept["synonyms"])
        }

    def wanted(self, prompt: str) -> str | None:
        """Return the concept that *prompt* names, the one with the longest title, or None."""
        words = self._words(prompt)
        if len(words) >= 3 and words[-1] == "background" and words[-3] == "on":
            words = words[:-3]
        titles = [title for title in self._titles if _runs_in(title, words)]
        if not titles:
            plain = tuple(word for word in words if word not in self._passed_over)
            titles = [t for t in self._titles if plain and self._without_colours(t) == plain]
        return self._titles[max(titles, key=len)] if titles else None

    def score(self, image: bytes, prompt: str) -> Fidelity | None:
        """Return how surely *image* shows what *prompt* names; None when it names no concept.

        Args:
            image: An encoded image file; its largest square is judged at the model's size.
            prompt: The prompt that the picture was drawn for.

        Raises:
            ImageError: *image* cannot be decoded.
        """
        wanted = self.wanted(prompt)
        if wanted is None:
            return None
        pixels = self._pixels(image)
        pictures = np.moveaxis(pixels[None].astype(np.float32) / 255, -1, 1)
        (scores,) = run_session(self._session, {self._session.get_inputs()[0].name: pictures})
        return Fidelity(
            wanted=wanted,
            log_probability=float(scores[0][self._classes.index(wanted)]),
            first=self._classes[int(np.argmax(scores[0]))],
            detail=float(np.log2(max(fine_detail(pixels), 1e-6) / self._detail[wanted])),
        )

    def _words(self, text: str) -> tuple[str, ...]:
        return tuple(word for word in split_words(text) if word not in self._stop_words)

    def _without_colours(self, title: Iterable[str]) -> tuple[str, ...]:
        return tuple(word for word in title if word not in self._passed_over)

    def _pixels(self, image: bytes) -> NDArray[np.uint8]:
        from PIL import Image, ImageOps

        picture = open_rgb(image)
        if picture.size != (self._side, self._side):
            picture = ImageOps.fit(picture, (self._side, self._side), Image.Resampling.BOX)
        return np.asarray(picture)


def fine_detail(pixels: NDArray[np.uint8]) -> float:
    """Return the root mean square of the four-neighbour Laplacian, in steps of 8-bit colour.

    Args:
        pixels: RGB, shape (height, width, 3), at least 3 x 3.
    """
    p = pixels.astype(np.float64)
    neighbours = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return float(np.sqrt(((4 * p[1:-1, 1:-1] - neighbours) ** 2).mean()))


def _runs_in(title: tuple[str, ...], words: tuple[str, ...]) -> bool:
    last = len(words) - len(title)
    return any(words[at : at + len(title)] == title for at in range(last + 1))
