"""scorers: programs that give a picture a number; three are here, all others are entry points.

A package adds a scorer with an entry point in the group ``safelight.scorers`` that names a factory,
usually the class; options of the command are passed to it as keywords. What it says is kept as
its own, and never counts as a rating: see :mod:`.scoring`.
"""

from __future__ import annotations

import importlib
import inspect
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from safelight.errors import ScorerError, sentence_of
from safelight.formats.shrunk_pictures import shrunk
from safelight.knobs import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BUILT_IN",
    "GROUP",
    "PictureToScore",
    "Scorer",
    "create_scorer",
    "looks_back",
    "scorer_names",
]

GROUP = "safelight.scorers"
"""The entry point group."""

_BUILT_IN = {
    "exposure": "safelight.application.shipped_scorers:Exposure",
    "near_duplicate": "safelight.application.shipped_scorers:NearDuplicate",
    "sharpness": "safelight.application.shipped_scorers:Sharpness",
}

BUILT_IN = tuple(_BUILT_IN)
"""The names of the scorers of this package."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_LONGEST = 200
"""Characters of a version or a unit: they stand beside every number."""

_ANY_SIDE = 2**20
"""Pixels, more than any picture has: pictures are read as large as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureToScore:
    """One picture, and what it was to show.

    Attributes:
        sha256: Of its file, hexadecimal.
        prompt: What it was drawn for; empty where nobody knows.
        load: Reads the file.
        earlier: Pictures of the same prompt in the archive that were made before it, the oldest
            first; empty but for a scorer that says ``looks_back = True``.
    """

    sha256: str
    prompt: str
    load: Callable[[], bytes] = field(repr=False, compare=False)
    earlier: Sequence[PictureToScore] = field(default=(), repr=False, compare=False)

    def data(self) -> bytes:
        """Return the encoded file.

        Raises:
            OSError: It cannot be read.
        """
        return self.load()

    def pixels(self) -> NDArray[np.uint8]:
        """Return the picture, upright: sRGB as it is in the file, uint8[height, width, 3].

        Transparent parts lie on black. It is decoded anew each time, in bounded memory.

        Raises:
            OSError: The file cannot be read.
            ImageError: It is no picture, or takes too much to decode.
        """
        import numpy as np
        from PIL import Image

        picture = shrunk(io.BytesIO(self.data()), _ANY_SIDE)
        if picture.mode == "RGBA":
            black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
            picture = Image.alpha_composite(black, picture)
        return np.asarray(picture.convert("RGB"))


class Scorer(Protocol):
    """Something that gives pictures numbers.

    ``tests/application/scorer_contract.py`` checks what each promises: the same picture and prompt
    have the same number, whatever pictures they are handed in with. One call is made at a time.
    """

    name: str
    """As its entry point: a letter, then letters, digits, ``_`` and ``-``; 64 at most."""

    version: str
    """Changes whenever a number does: weights are part of it. Numbers of two are not compared."""

    unit: str
    """Of the number, and where it begins or ends; ``"1"`` for one without."""

    def score(self, pictures: Sequence[PictureToScore]) -> Sequence[float | None]:
        """Return a finite number for each of *pictures*, or None where it has none to give.

        What it raises costs one picture only: it is then asked for each alone.
        """
        ...


def looks_back(scorer: Scorer) -> bool:
    """Return whether *scorer* is to be told of earlier pictures of a prompt."""
    return bool(getattr(scorer, "looks_back", False))


def scorer_names() -> tuple[str, ...]:
    """Return the names of the installed scorers, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def create_scorer(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> Scorer:
    """Return the scorer *name*, made with *options*.

    Args:
        name: Its entry point.
        options: Keywords of its factory.

    Raises:
        ScorerError: There is none, it cannot be loaded or made, or is no scorer; it is named.
    """
    factory = _factory(name)
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        parameters = MappingProxyType({})
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    for option in () if takes_any else options:
        if option not in parameters:
            there = f"; it has: {', '.join(parameters) or 'none'}"
            hint = did_you_mean(option, parameters) or there
            raise ScorerError(f"the scorer {name!r} has no option {option!r}{hint}")
    try:
        scorer: Scorer = factory(**options)
    except Exception as error:
        raise ScorerError(f"the scorer {name!r} cannot be made: {sentence_of(error)}") from error
    _check(name, scorer)
    return scorer


def _check(name: str, scorer: Scorer) -> None:
    own = getattr(scorer, "name", None)
    if own != name or not _NAME.fullmatch(name):
        raise ScorerError(
            f"the scorer {name!r} must have that name, of letters, digits, _ and -, got {own!r}"
        )
    for what in ("version", "unit"):
        text = getattr(scorer, what, None)
        if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
            raise ScorerError(
                f"the scorer {name!r} must say its {what} in 1 to {_LONGEST} characters,"
                f" got {text!r}"
            )
    if not callable(getattr(scorer, "score", None)):
        raise ScorerError(f"the scorer {name!r} must have a method score")


def _factory(name: str) -> Any:
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    from importlib.metadata import entry_points

    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        known = scorer_names()
        hint = did_you_mean(name, known) or f"; installed: {', '.join(known)}"
        raise ScorerError(f"there is no scorer {name!r}{hint}")
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else name
        raise ScorerError(
            f"the scorer {name!r} of the package {package} cannot be loaded: {sentence_of(error)}"
        ) from error
