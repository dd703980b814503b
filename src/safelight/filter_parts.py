"""filter_parts: what must all hold of a filter, put in and taken out piece by piece.

::

    lighthouse dusk and steps > 20    ->   lighthouse | dusk | steps > 20
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safelight.filters import compile_filter

__all__ = ["FilterParts"]

_NO_WORD = frozenset("<>=(.")
_LANGUAGE = frozenset({"has", "in", "is", "between", "missing"})
"""Words that compare what stands before them, where they can."""


@dataclass(frozen=True, slots=True)
class FilterParts:
    """What must all hold.

    Attributes:
        parts: As they are written; a filter with an ``or`` is one part.
        is_choice: Whether it is one with an ``or``.
    """

    parts: tuple[str, ...]
    is_choice: bool = False

    @staticmethod
    def of(text: str, columns: Mapping[str, str]) -> FilterParts:
        """Return the parts of the filter *text*.

        Raises:
            FilterError: It cannot be read.
        """
        parts = compile_filter(text, columns, scores="").parts
        another = f"{text} and a"
        choice = len(parts) == 1 and len(compile_filter(another, columns, scores="").parts) == 1
        return FilterParts(parts, choice)

    def without(self, place: int) -> str:
        """Return the filter without the part at *place*."""
        return _joined([*self.parts[:place], *self.parts[place + 1 :]])

    def toggled(self, clause: str) -> tuple[bool, str]:
        """Return whether *clause* is one of them, and the filter with it put in or out."""
        if clause in self.parts:
            return True, self.without(self.parts.index(clause))
        before = [f"({self.parts[0]})"] if self.is_choice else self.parts
        return False, _joined([*before, clause])


def _joined(parts: Sequence[str]) -> str:
    text = ""
    for number, part in enumerate(parts):
        words = number and _is_word(part) and _is_word(parts[number - 1])
        text += (" " if words else " and ") * bool(number) + part
    return text


def _is_word(part: str) -> bool:
    if part[0] in "'\"":
        return True
    return " " not in part and not _NO_WORD & set(part) and part.lower() not in _LANGUAGE
