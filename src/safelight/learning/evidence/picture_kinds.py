"""picture_kinds: kinds of pictures beside settings, for which a difference may be another one.

Words of prompts, and what people made of pictures: tags, albums, and searches that they saved.
A further sort is an entry of :data:`SORTS`, and :mod:`safelight.application.people_kinds` says
which pictures are of it. This module needs no arithmetic; :mod:`.usable_kinds` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ALBUM", "SEARCH", "SORTS", "TAG", "WORD", "KindSort", "PictureKind", "sort_of"]

WORD, TAG, ALBUM, SEARCH = "word:", "tag:", "album:", "search:"
"""Beginnings of how kinds are named where they stand as a knob does."""


@dataclass(frozen=True, slots=True)
class KindSort:
    """A sort of kinds, in words.

    Attributes:
        begins: How the names of such kinds begin.
        noun: What the pictures are called.
        having: Those of the kind, ``{}`` for its name.
        lacking: The others.
        on: What a difference depends on.
    """

    begins: str
    noun: str
    having: str
    lacking: str
    on: str

    def source(self, name: str) -> str:
        """Return what a difference between pictures of the kind *name* and others depends on."""
        return self.on.format(repr(name.removeprefix(self.begins)))

    def parts(self, name: str) -> tuple[str, str]:
        """Return what the others and those of the kind *name* are called, after the noun."""
        plain = repr(name.removeprefix(self.begins))
        return self.lacking.format(plain), self.having.format(plain)


SORTS: Sequence[KindSort] = (
    KindSort(WORD, "prompts", "with {}", "without {}", "the prompt"),
    KindSort(TAG, "pictures", "tagged {}", "not tagged {}", "the tag {}"),
    KindSort(ALBUM, "pictures", "in the album {}", "not in the album {}", "the album {}"),
    KindSort(SEARCH, "pictures", "found by {}", "not found by {}", "the saved search {}"),
)


def sort_of(name: str) -> KindSort | None:
    """Return the sort of the kind *name*; None of a knob."""
    return next((sort for sort in SORTS if name.startswith(sort.begins)), None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureKind:
    """Some of the pictures.

    Attributes:
        name: As a knob stands, ``tag:portrait``.
        has: Which rows are of it, bool[n].
        parts: What the others and those of it are called.
        conditions: The same in the filter language; empty where no filter says it.
    """

    name: str
    has: NDArray[np.bool_]
    parts: tuple[str, str]
    conditions: tuple[str, str] = ("", "")

    @staticmethod
    def of(name: str, has: NDArray[np.bool_], condition: str = "") -> PictureKind:
        """Return the kind *name*; *condition* finds its pictures."""
        sort = sort_of(name)
        assert sort is not None
        conditions = (f"not {condition}", condition) if condition else ("", "")
        return PictureKind(name=name, has=has, parts=sort.parts(name), conditions=conditions)

    def of_rows(self, rows: NDArray[np.int64]) -> PictureKind:
        """Return the same of some rows."""
        return PictureKind(
            name=self.name, has=self.has[rows], parts=self.parts, conditions=self.conditions
        )
