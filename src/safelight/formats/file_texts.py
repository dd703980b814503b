"""FileTexts: the words in an image file, gathered by the container readers."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["MAX_TEXT_BYTES", "MOST_WARNINGS", "FileTexts", "decoded"]

MAX_TEXT_BYTES = 64 * 2**20
"""Of all texts of one file together, inflated."""

MOST_WARNINGS = 50
"""Sentences about one file that are kept."""


@dataclass(slots=True)
class FileTexts:
    """Texts of one file and where they stood.

    Attributes:
        texts: Place -> text: a PNG chunk's key, or ``exif:UserComment``, ``comment``, ``xmp``.
        width: In pixels; 0 when the header does not say.
        height: In pixels; 0 when the header does not say.
        allowance: Bytes of text that may still be taken.
        ratings: EXIF's ``Rating`` (stars) and ``RatingPercent``, where they are.
        warnings: What was odd.
    """

    texts: dict[str, str] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    allowance: int = MAX_TEXT_BYTES
    ratings: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, place: str, text: str) -> None:
        """Keep a text; the first one of a place wins, and none goes past the allowance.

        One that is not kept counts, too: it was read, and may have been inflated.
        """
        if len(place) + len(text) > self.allowance:
            self.warn(f"the text {place[:80]!r} is too large and was refused")
            return
        self.allowance -= len(place) + len(text)
        text = text.strip("\0")
        if place in self.texts:
            if text and self.texts[place] != text:
                self.warn(f"{place[:80]!r} stands twice in the file; the first was read")
        elif text:
            self.texts[place] = text

    def warn(self, sentence: str) -> None:
        """Say what was odd, once, and not of thousands of texts."""
        if len(self.warnings) < MOST_WARNINGS and sentence not in self.warnings:
            self.warnings.append(sentence)


def decoded(data: bytes) -> str:
    """Decode UTF-8, else Latin-1: many writers break PNG's rule that text is Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
