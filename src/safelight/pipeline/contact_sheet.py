"""contact_sheet: one PNG with every picture of a plan, labelled with what was chosen."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safelight.errors import ImageError
from safelight.formats.shrunk_pictures import shrunk
from safelight.picture_names import MOST_CELLS, SHEET_SIDE

if TYPE_CHECKING:
    from PIL import Image, ImageFont

__all__ = ["MOST_CELLS", "Heading", "SheetCell", "contact_sheet"]

_CELL = 160
_GAP = 8
_MARGIN = 16
_TEXT_SIZE = 13
_TITLE_SIZE = 18
_LINE = 17
_LABEL_LINES, _HEAD_LINES = 3, 6
_LONGEST_LINE = 2_000
"""Characters that are measured."""

_ROW_HEAD = 150
"""Pixels that the headings of one level of rows take at most."""
_PAPER, _INK, _FAINT, _BLANK = (250, 249, 246), (28, 28, 30), (120, 118, 112), (236, 233, 226)
_RULE = (214, 210, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetCell:
    """One picture of the sheet.

    Attributes:
        image: The encoded image file, or None for a variant that failed.
        label: What stands below it.
        is_empty: Whether there is no such variant, so that nothing stands there.
    """

    image: bytes | None = None
    label: str = ""
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above some columns, or beside some rows.

    Attributes:
        text: What it says.
        span: Over how many of them.
    """

    text: str
    span: int = 1


def contact_sheet(
    cells: Sequence[SheetCell],
    *,
    title: str = "",
    columns: int | None = None,
    column_names: Sequence[str] = (),
    row_names: Sequence[str] = (),
    column_heads: Sequence[Sequence[Heading]] = (),
    row_heads: Sequence[Sequence[Heading]] = (),
    pictures: int | None = None,
    most: int = MOST_CELLS,
    side: int = SHEET_SIDE,
) -> bytes:
    """Return a PNG file with *cells* side by side, row by row.

    Small pictures are enlarged by whole factors without smoothing, so that what is seen is
    what was drawn; large ones are made smaller.

    Args:
        cells: The pictures, at least one; only the first *most* are shown.
        title: Stands at the top.
        columns: Pictures per row; about as many as rows when not given.
        column_names: Stand above the columns.
        row_names: Stand left of the rows.
        column_heads: The same in several levels, the outermost first, in place of *column_names*.
        row_heads: The same of rows.
        pictures: How many there are in all, when *cells* are not all of them.
        most: How many are shown; a sheet of very many could not be looked at.
        side: The longer side of a large picture, in pixels.
    """
    shown = cells[:most]
    total = max(pictures or 0, len(cells))
    if len(shown) < total:
        title = f"{title}  (the first {len(shown):,} of {total:,})".strip()
    above = column_heads or ([[Heading(name) for name in column_names]] if column_names else [])
    beside = row_heads or ([[Heading(name) for name in row_names]] if row_names else [])
    return _Sheet(shown, columns, title, above, beside, side).png()


class _Sheet:
    """Where everything stands on a sheet, and the sheet itself."""

    def __init__(
        self,
        cells: Sequence[SheetCell],
        columns: int | None,
        title: str,
        above: Sequence[Sequence[Heading]],
        beside: Sequence[Sequence[Heading]],
        side: int,
    ) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self._text = ImageFont.load_default(_TEXT_SIZE)
        self._large = ImageFont.load_default(_TITLE_SIZE)
        self._above, self._beside = above, beside
        least = min(_CELL, side)
        drawn = [None if c.image is None else _picture(c.image, least, side) for c in cells]
        self._width = max((picture.width for picture in drawn if picture), default=least)
        self._height = max((picture.height for picture in drawn if picture), default=least)
        self._pictures = [
            None if cell.is_empty else picture or _crossed_out(self._width, self._height)
            for cell, picture in zip(cells, drawn, strict=True)
        ]
        self._labels = [_wrapped(cell.label, self._text, self._width) for cell in cells]
        self._columns = min(len(cells), columns or math.ceil(math.sqrt(len(cells))))
        self._rows = math.ceil(len(cells) / self._columns)
        self._head_widths = [self._head_width(level) for level in beside]
        self._left = _MARGIN + sum(width + _GAP for width in self._head_widths)
        sheet_width = self._x(self._columns) - _GAP + _MARGIN
        self._titles = _wrapped(title, self._large, sheet_width - 2 * _MARGIN, most=4)
        self._head_lines = [self._column_lines(level) for level in above]
        heads = sum(self._level_height(lines) for lines in self._head_lines)
        self._heads_top = _MARGIN + len(self._titles) * (_TITLE_SIZE + 6)
        self._top = self._heads_top + (heads + _GAP if above else 0)
        lines = max(map(len, self._labels))
        self._row_height = self._height + lines * _LINE + _GAP + (4 if lines else 0)
        inner = self._beside[-1] if self._beside else ()
        beside_lines = [self._row_lines(head, self._head_widths[-1]) for head in inner]
        self._row_height = max(
            self._row_height, max(map(len, beside_lines), default=0) * _LINE + _GAP
        )
        size = (sheet_width, self._y(self._rows) + _MARGIN)
        self._sheet = Image.new("RGB", size, _PAPER)
        self._draw = ImageDraw.Draw(self._sheet)

    def png(self) -> bytes:
        """Return the sheet as a file."""
        self._write(self._titles, _MARGIN, _MARGIN, self._large, _INK, _TITLE_SIZE + 6)
        self._write_column_heads()
        self._write_row_heads()
        for number, (picture, lines) in enumerate(zip(self._pictures, self._labels, strict=True)):
            if picture is None:
                continue
            x, y = self._x(number % self._columns), self._y(number // self._columns)
            across = (self._width - picture.width) // 2
            self._sheet.paste(picture, (x + across, y + self._height - picture.height))
            self._write(lines, x, y + self._height + 3, self._text, _FAINT)
        buffer = io.BytesIO()
        self._sheet.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def _x(self, column: int) -> int:
        return self._left + column * (self._width + _GAP)

    def _y(self, row: int) -> int:
        return self._top + row * self._row_height

    # -- headings --------------------------------------------------------------------------

    def _head_width(self, level: Sequence[Heading]) -> int:
        return min(_ROW_HEAD, max(math.ceil(self._text.getlength(head.text)) for head in level))

    def _row_lines(self, head: Heading, width: int, most: int = _LABEL_LINES) -> list[str]:
        return _wrapped(head.text, self._text, width, most=most)

    def _column_lines(self, level: Sequence[Heading]) -> list[list[str]]:
        step = self._width + _GAP
        return [
            _wrapped(head.text, self._text, head.span * step - _GAP, most=_HEAD_LINES)
            for head in level
        ]

    @staticmethod
    def _level_height(lines: Sequence[Sequence[str]]) -> int:
        return max(map(len, lines), default=0) * _LINE + 4

    def _write_column_heads(self) -> None:
        y = self._heads_top
        for level, lines in zip(self._above, self._head_lines, strict=True):
            height, column = self._level_height(lines), 0
            for head, text in zip(level, lines, strict=True):
                if column >= self._columns:
                    break
                bottom = y + height - 4 - len(text) * _LINE
                self._write(text, self._x(column), bottom, self._text, _INK)
                if len(self._above) > 1 and head.span > 1:
                    ends = self._x(min(column + head.span, self._columns)) - _GAP
                    under = y + height - 2
                    self._draw.line((self._x(column), under, ends, under), fill=_RULE)
                column += head.span
            y += height

    def _write_row_heads(self) -> None:
        x = _MARGIN
        for depth, level in enumerate(self._beside):
            row, width = 0, self._head_widths[depth]
            for head in level:
                if row >= self._rows:
                    break
                span = min(head.span, self._rows - row)
                most = max(_LABEL_LINES, (span * self._row_height - _GAP) // _LINE)
                lines = self._row_lines(head, width, most)
                y = self._y(row)
                if depth < len(self._beside) - 1:
                    if row:
                        across = self._sheet.width - _MARGIN
                        self._draw.line((x, y - _GAP // 2, across, y - _GAP // 2), fill=_RULE)
                else:
                    y += max(0, (self._height - len(lines) * _LINE) // 2)
                self._write(lines, x, y, self._text, _INK)
                row += head.span
            x += width + _GAP

    def _write(
        self,
        lines: Sequence[str],
        x: int,
        y: int,
        font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
        fill: tuple[int, int, int],
        line_height: int = _LINE,
    ) -> None:
        for number, line in enumerate(lines):
            self._draw.text((x, y + number * line_height), line, fill=fill, font=font)


def _crossed_out(width: int, height: int) -> Image.Image:
    from PIL import Image, ImageDraw

    blank = Image.new("RGB", (width, height), _BLANK)
    draw = ImageDraw.Draw(blank)
    draw.line((0, 0, width, height), fill=_FAINT)
    draw.line((0, height, width, 0), fill=_FAINT)
    return blank


def _picture(data: bytes, least: int, largest: int) -> Image.Image | None:
    """Return the picture as large as a cell may be; None, which is crossed out, if it cannot be."""
    from PIL import Image

    try:
        picture = shrunk(io.BytesIO(data), largest).convert("RGB")
    except ImageError:
        return None
    longest = max(picture.size)
    if longest < least:
        factor = max(1, least // longest)
        size = (picture.width * factor, picture.height * factor)
        return picture.resize(size, Image.Resampling.NEAREST)
    return picture


def _wrapped(
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
    most: int = _LABEL_LINES,
) -> list[str]:
    """Break *text* into at most *most* lines that fit *width* pixels; an ellipsis ends a cut.

    A word that fits no line goes on in the next one: names of files differ in their middle.
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) <= most:
            lines += itertools.islice(_pieces(word, font, width), most + 1)
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], _ended(lines[most - 1], font, width)]


def _pieces(
    word: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> Iterator[str]:
    """Yield *word* in pieces that fit *width*, cut after a sign that joins words where one is."""
    while word and font.getlength(word) > width:
        fits = max(1, _most_that_fits(word, _start, font, width))
        joint = max(word.rfind(sign, fits // 2, fits) for sign in "-_./,") + 1
        yield word[: joint or fits]
        word = word[joint or fits :]
    if word:
        yield word


def _most_that_fits(
    line: str,
    part: Callable[[str, int], str],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> int:
    """Return of how many characters of *line* that *part* fits; a line may be very long."""
    fits, too_long = 0, min(len(line), _LONGEST_LINE)
    while too_long - fits > 1:
        kept = (fits + too_long) // 2
        if font.getlength(part(line, kept)) <= width:
            fits = kept
        else:
            too_long = kept
    return fits


def _start(line: str, kept: int) -> str:
    return line[:kept]


def _ended(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"
