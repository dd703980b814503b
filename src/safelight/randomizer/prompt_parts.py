r"""AUTOMATIC1111's prompt matrix: ``base|part 1|part 2`` stands for the base with any of its parts.

Each part is an axis of two values, nothing and the part; the first turns fastest, so number i of
the prompts has the parts whose bits are in i. A ``|`` inside braces or brackets is a choice or
prompt editing and separates nothing, and neither does ``\|``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from safelight.config import PromptParts
from safelight.errors import PlanError
from safelight.randomizer.prompt_holes import Hole, PromptAxis, held_values
from safelight.randomizer.sweeps import short_text
from safelight.randomizer.text_spaces import Moment
from safelight.separating_bars import bars

__all__ = ["MOST_PARTS", "PartAxis", "divided", "part_axes"]

MOST_PARTS = 16
"""Parts of one prompt, which make 65,536 prompts."""

_OUTSIDE = " \t\r\n,"


@dataclass(frozen=True, slots=True)
class PartAxis(PromptAxis):
    """A part that is there or not.

    Attributes:
        at: Labels and choices before those of the parts, which are told in the prompt's order.
    """

    at: int = 0

    def note(self, moment: Moment, rank: int) -> None:
        """Note whether the part is there; those after it are noted already."""
        for hole, value in self.values(rank):
            moment.values[ord(hole.sign)] = value
            part = hole.chosen(value)
            if part:
                moment.labels.insert(self.at, f"+{short_text(part)}")
            choices = list(moment.choices.items())
            choices.insert(self.at, (hole.name, part))
            moment.choices = dict(choices)


@dataclass(frozen=True, slots=True)
class _PartHole(Hole):
    """Where a part stands, with what separates it."""

    def chosen(self, value: str) -> str:
        """Return the part without its separator."""
        return value and self.name.removeprefix("|")


def divided(prompt: str) -> tuple[str, list[str]]:
    """Return the base as it is, and the parts without blanks and commas around them."""
    places = [*bars(prompt), len(prompt)]
    parts = [prompt[start + 1 : end] for start, end in pairwise(places)]
    return prompt[: places[0]], [part.strip(_OUTSIDE) for part in parts]


def part_axes(
    parts: Sequence[str], signs: Sequence[str], matrix: PromptParts, at: int, where: str
) -> list[PartAxis]:
    """Return an axis for each of *parts*, outermost first: the last one.

    Args:
        parts: None twice.
        signs: At least as many private characters, those of outer loops first.
        matrix: How they are put into the prompt.
        at: Labels before theirs.
        where: ``stage.prompt``, for messages.

    Raises:
        PlanError: There are too many.
    """
    if len(parts) > MOST_PARTS:
        raise PlanError(
            f"{where}: a prompt may have {MOST_PARTS} parts, which make {2**MOST_PARTS:,} prompts;"
            f" got {len(parts):,}; use fewer, or write \\| where the character is meant"
        )
    axes = []
    for sign, part in zip(signs, reversed(parts), strict=False):
        filled = part + matrix.separator if matrix.place == "start" else matrix.separator + part
        values = held_values(part, ("", filled), repeats=False)
        hole = _PartHole(sign, f"|{part}", values)
        axes.append(PartAxis((hole,), 2, "fanout", 0, frozenset(sign), at=at))
    return axes
