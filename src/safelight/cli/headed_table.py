"""Sentences and a headed table in the layout of rich, without the 30 ms that importing rich takes.

``tests/cli/test_headed_table.py`` compares both, letter by letter. Rich itself stays for what
moves, progress for one.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

import click

__all__ = ["Column", "Line", "emphasized", "headed_table", "terminal_width", "wrapped"]

_USUAL_WIDTH = 80
_PADDING = 2
"""Columns of blanks of a cell: one on each side."""
_WORD = re.compile(r"\s*\S+\s*")
_EMPHASIZED = re.compile(r"(?<!\w)\d[\d,]*\b|[()]")
_CONTROL = dict.fromkeys((7, 8, 11, 12, 13))
"""Bell, backspace, vertical tab, form feed and carriage return would break the layout."""


class Column(NamedTuple):
    """How one column is shown.

    Attributes:
        heading: What stands above it.
        right: Whether cells are flush right.
        widest: Columns of the terminal that its text takes at most; 0 for as many as there are.
    """

    heading: str
    right: bool = False
    widest: int = 0


class Line(NamedTuple):
    """One of a table.

    Attributes:
        text: What stands in it.
        heading: Whether that is the headings.
    """

    text: str
    heading: bool = False

    def styled(self, text: str) -> str:
        """Return *text*, which is this line as it is printed, with styles."""
        return click.style(text, bold=True) if self.heading and _has_styles() else text


def terminal_width() -> int:
    """Return how many columns the terminal has: $COLUMNS, else what it says, else 80."""
    stated = os.environ.get("COLUMNS", "")
    if stated.isdigit() and int(stated):
        return int(stated)
    for stream in (0, 1, 2):
        try:
            columns = os.get_terminal_size(stream).columns
        except OSError:
            continue
        return columns or _USUAL_WIDTH
    return _USUAL_WIDTH


def emphasized(text: str) -> str:
    """Return *text* with its numbers set off, where it is printed with styles."""
    if not _has_styles():
        return text
    colour = None if os.environ.get("NO_COLOR") else "cyan"

    def styled(match: re.Match[str]) -> str:
        return click.style(match[0], fg=None if match[0] in "()" else colour, bold=True)

    return _EMPHASIZED.sub(styled, text)


def wrapped(text: str, width: int) -> list[str]:
    """Return *text* in lines of at most *width* columns; words longer than that are cut."""
    return [
        _without_excess(line[begin:end], width)
        for line in _lines(text)
        for begin, end in pairwise([0, *_breaks(line, width), len(line)])
    ]


def headed_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> Iterator[Line]:
    """Yield the lines of a table of *rows* under headings, at most *width* columns wide."""
    headings = [column.heading for column in columns]
    widths = _widths(columns, [headings, *rows], width - len(columns) - 1)
    blank = " " * (sum(widths) + len(columns) + 1)
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    yield Line(blank)
    for line in _row(columns, widths, headings):
        yield Line(line, heading=True)
    yield Line(f" {('─' if utf8 else '-') * (len(blank) - 2)} ")
    for row in rows:
        yield from map(Line, _row(columns, widths, row))
    yield Line(blank)


def _row(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> Iterator[str]:
    """Yield the lines that *row* takes."""
    cells = [wrapped(cell, width - _PADDING) for cell, width in zip(row, widths, strict=True)]
    for lines in zip_longest(*cells, fillvalue=""):
        parts = [
            _filled(line, width - _PADDING, right=column.right)
            for line, width, column in zip(lines, widths, columns, strict=True)
        ]
        yield " ".join(["", *(f" {part} " for part in parts), ""])


def _has_styles() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def _cells(text: str) -> int:
    """Return how many columns *text* takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # knows which letters take two columns, and which none

    return cell_len(text)


def _breaks(line: str, width: int) -> Iterator[int]:
    """Yield the places in *line* where a new one begins."""
    used = 0
    for match in _WORD.finditer(line):
        begin, word = match.start(), match[0]
        length = _cells(word.rstrip())
        if length <= width - used:
            used += _cells(word)
        elif length > width:
            pieces = _chopped(word, width)
            for piece in pieces:
                if begin:
                    yield begin
                begin += len(piece)
            used = _cells(pieces[-1])
        elif used and begin:
            yield begin
            used = _cells(word)


def _chopped(word: str, width: int) -> list[str]:
    if word.isascii():
        return [word[place : place + width] for place in range(0, len(word), width)]
    from rich.cells import chop_cells

    return chop_cells(word, width)


def _without_excess(line: str, width: int) -> str:
    """Return *line* without those blanks at its end that have no room."""
    excess = _cells(line) - width
    blanks = len(line) - len(line.rstrip())
    return line[: len(line) - min(excess, blanks)] if excess > 0 and blanks else line


def _filled(text: str, width: int, *, right: bool) -> str:
    text = text.rstrip() if right else text
    blanks = " " * (width - _cells(text))
    return blanks + text if right else text + blanks


def _lines(text: str) -> list[str]:
    return [line.expandtabs(8) for line in text.translate(_CONTROL).split("\n")]


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the width of each column; where there is too little room, the widest give first."""
    widths = []
    room = max(room, len(columns) * (_PADDING + 1))
    for place, column in enumerate(columns):
        widest = max(_cells(line) for row in rows for line in _lines(row[place]))
        widths.append(min(min(widest, column.widest or widest) + _PADDING, room))
    while (excess := sum(widths) - room) > 0:
        first = max(widths)
        most = min(excess, first - max((w for w in widths if w != first), default=0))
        giving = [place for place, width in enumerate(widths) if width == first]
        for others, place in zip(range(len(giving), 0, -1), giving, strict=True):
            given = min(most, round(excess / others))
            widths[place] -= given
            excess -= given
    return widths
