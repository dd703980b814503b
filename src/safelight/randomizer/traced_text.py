"""Texts of which every character knows what put it there.

Where a text is made by code that knows only texts, *marks* go through it: private characters that
stand around what a source puts in. Taken out again, they leave the text and what each part is from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Marks", "Span", "TracedText", "has_marks", "unmarked"]

_FIRST, _LAST = 0x10FF10, 0x10FF7F  # between the holes of rules and the shields of signs
_OPEN, _MIDDLE, _CLOSE = map(chr, range(_FIRST, _FIRST + 3))
_ZERO = _FIRST + 0x10
_ANY = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")
_MARK = re.compile(f"{_OPEN}([{chr(_ZERO)}-{chr(_ZERO + 9)}]+){_MIDDLE}|({_CLOSE})")
_DIGITS = {ord(str(digit)): _ZERO + digit for digit in range(10)}
_WRITTEN = {code: str(digit) for digit, code in enumerate(range(_ZERO, _ZERO + 10))}


def has_marks(text: str) -> bool:
    """Return whether *text* holds a character that marks are made of."""
    return _ANY.search(text) is not None


def unmarked(text: str) -> str:
    """Return *text* without its marks."""
    return _MARK.sub("", text)


@dataclass(slots=True)
class Marks:
    """The sources of one text, numbered in the order in which they were met."""

    names: list[str] = field(default_factory=list)

    def number(self, name: str) -> int:
        """Return a number for one more use of the source *name*."""
        self.names.append(name)
        return len(self.names) - 1

    def around(self, text: str, name: str) -> str:
        """Return *text* marked as put there by the source *name*; nothing stays nothing."""
        return marked(text, self.number(name)) if text else text


def marked(text: str, number: int) -> str:
    """Return *text* between the marks of source *number*."""
    return f"{_OPEN}{str(number).translate(_DIGITS)}{_MIDDLE}{text}{_CLOSE}"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text that one source put there.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        number: The source; None for what is as written.
        inside: What other sources put into it, in order, if any; they cover all of it.
    """

    start: int
    end: int
    number: int | None
    inside: tuple[Span, ...] = ()


class TracedText:
    """A text, and for each character the sources that put it there, outermost first."""

    def __init__(self, text: str, sources: Sequence[tuple[int, ...]] | None = None) -> None:
        self.text = text
        self.sources: list[tuple[int, ...]] = list(sources or [()] * len(text))

    @classmethod
    def of_marked(cls, text: str) -> TracedText:
        """Take the marks out of *text*.

        Raises:
            ValueError: They do not stand inside each other.
        """
        plain: list[str] = []
        sources: list[tuple[int, ...]] = []
        around: list[int] = []
        begin = 0
        for match in _MARK.finditer(text):
            plain.append(text[begin : match.start()])
            sources += [tuple(around)] * (match.start() - begin)
            begin = match.end()
            if not match[2]:
                around.append(int(match[1].translate(_WRITTEN)))
            elif around:
                around.pop()
            else:
                raise ValueError("a mark closes what was not opened")
        if around:
            raise ValueError("a mark is not closed")
        plain.append(text[begin:])
        sources += [()] * (len(text) - begin)
        return cls("".join(plain), sources)

    def put(self, start: int, end: int, text: str, number: int) -> None:
        """Put *text* in place of a part; it stands inside whatever all of that part stood in."""
        around = _shared(self.sources[start:end] or self._beside(start))
        self.sources[start:end] = [(*around, number)] * len(text)
        self.text = self.text[:start] + text + self.text[end:]

    def _beside(self, place: int) -> list[tuple[int, ...]]:
        """Return the sources on both sides of *place*; none where there is but one side."""
        return self.sources[place - 1 : place + 1] if 0 < place < len(self.text) else []

    def become(self, text: str, number: int) -> None:
        """Put in whatever makes *text* of it, between the same beginning and the same end."""
        start = _alike(self.text, text)
        left = min(len(self.text), len(text)) - start
        ends = min(left, _alike(self.text[::-1], text[::-1]))
        self.put(start, len(self.text) - ends, text[start : len(text) - ends], number)

    def spans(self) -> tuple[Span, ...]:
        """Return the parts, which cover all of the text."""
        return tuple(self._spans(0, len(self.text), 0))

    def _spans(self, begin: int, end: int, depth: int) -> Iterator[Span]:
        while begin < end:
            number = self._number(begin, depth)
            until = begin + 1
            while until < end and self._number(until, depth) == number:
                until += 1
            inside: tuple[Span, ...] = ()
            if number is not None:
                inside = tuple(self._spans(begin, until, depth + 1))
            whole = len(inside) == 1 and inside[0].number is None
            yield Span(begin, until, number, () if whole else inside)
            begin = until

    def _number(self, place: int, depth: int) -> int | None:
        around = self.sources[place]
        return around[depth] if depth < len(around) else None

    def ranges(self) -> dict[int, tuple[int, int]]:
        """Return where each source begins and ends."""
        found: dict[int, tuple[int, int]] = {}
        for place, around in enumerate(self.sources):
            for number in around:
                found[number] = found.get(number, (place, 0))[0], place + 1
        return found

    def marked(self, ranges: Sequence[tuple[int, int, int]]) -> str:
        """Return the text with marks around each (start, end, number), which do not cross."""
        opened: dict[int, list[tuple[int, int]]] = {}
        closed: dict[int, int] = {}
        for start, end, number in ranges:
            opened.setdefault(start, []).append((-end, number))
            closed[end] = closed.get(end, 0) + 1
        pieces = []
        begin = 0
        for place in sorted(opened.keys() | closed.keys()):
            pieces += [self.text[begin:place], _CLOSE * closed.get(place, 0)]
            for _, number in sorted(opened.get(place, ())):
                pieces.append(f"{_OPEN}{str(number).translate(_DIGITS)}{_MIDDLE}")
            begin = place
        return "".join([*pieces, self.text[begin:]])


def _shared(several: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the sources that all of *several* begin with."""
    if not several:
        return ()
    low, high = min(several), max(several)
    return low[: _alike(low, high)]


def _alike(first: Sequence[object], second: Sequence[object]) -> int:
    """Return how many elements both begin with."""
    most = min(len(first), len(second))
    return next((place for place in range(most) if first[place] != second[place]), most)
