"""contact_sheet: one PNG with every picture of a plan, labelled with what was chosen."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safelight.errors import ImageError
from safelight.formats.shrunk_pictures import shrunk

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

__all__ = ["MOST_CELLS", "SheetCell", "contact_sheet"]

MOST_CELLS = 400
"""A sheet of more cells could not be looked at; the rest is left out, and the title says so."""

_CELL = 160
_LARGEST_CELL = 256
_GAP = 8
_MARGIN = 16
_TEXT_SIZE = 13
_TITLE_SIZE = 18
_LINE = 17
_LABEL_LINES = 3
_PAPER, _INK, _FAINT, _BLANK = (250, 249, 246), (28, 28, 30), (120, 118, 112), (236, 233, 226)


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetCell:
    """One picture of the sheet.

    Attributes:
        image: The encoded image file, or None for a variant that failed.
        label: What stands below it.
    """

    image: bytes | None
    label: str = ""


def contact_sheet(
    cells: Sequence[SheetCell],
    *,
    title: str = "",
    columns: int | None = None,
    column_names: Sequence[str] = (),
    row_names: Sequence[str] = (),
    pictures: int | None = None,
) -> bytes:
    """Return a PNG file with *cells* side by side, row by row.

    Small pictures are enlarged by whole factors without smoothing, so that what is seen is
    what was drawn; large ones are made smaller.

    Args:
        cells: The pictures, at least one; only the first :data:`MOST_CELLS` are shown.
        title: Stands at the top.
        columns: Pictures per row; about as many as rows when not given.
        column_names: Stand above the columns.
        row_names: Stand left of the rows.
        pictures: How many there are in all, when *cells* are not all of them.
    """
    from PIL import Image, ImageDraw, ImageFont

    shown = cells[:MOST_CELLS]
    total = max(pictures or 0, len(cells))
    if len(shown) < total:
        title = f"{title}  (the first {len(shown):,} of {total:,})".strip()
    drawn = [None if cell.image is None else _picture(cell.image) for cell in shown]
    width = max((picture.width for picture in drawn if picture), default=_CELL)
    height = max((picture.height for picture in drawn if picture), default=_CELL)
    thumbnails = [picture or _crossed_out(width, height) for picture in drawn]
    columns = columns or math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    text, heading = ImageFont.load_default(_TEXT_SIZE), ImageFont.load_default(_TITLE_SIZE)
    labels = [_wrapped(cell.label, text, width) for cell in shown]
    left = _MARGIN + (max(int(text.getlength(n)) for n in row_names) + _GAP if row_names else 0)
    sheet_width = left + columns * (width + _GAP) - _GAP + _MARGIN
    titles = _wrapped(title, heading, sheet_width - 2 * _MARGIN, most=4)
    above = [_wrapped(name, text, width, most=2) for name in column_names[:columns]]
    heads = max(map(len, above), default=0)
    top = _MARGIN + len(titles) * (_TITLE_SIZE + 6) + (heads * _LINE + _GAP if above else 0)
    row_height = height + max(map(len, labels)) * _LINE + _GAP + 4
    sheet = Image.new("RGB", (sheet_width, top + rows * row_height + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write_lines(draw, titles, (_MARGIN, _MARGIN), heading, _INK, _TITLE_SIZE + 6)
    for column, lines in enumerate(above):
        place = (left + column * (width + _GAP), top - len(lines) * _LINE - _GAP // 2)
        _write_lines(draw, lines, place, text, _INK, _LINE)
    for row, name in enumerate(row_names[:rows]):
        draw.text((_MARGIN, top + row * row_height + height // 2), name, fill=_INK, font=text)
    for number, (picture, lines) in enumerate(zip(thumbnails, labels, strict=True)):
        x = left + number % columns * (width + _GAP)
        y = top + number // columns * row_height
        sheet.paste(picture, (x + (width - picture.width) // 2, y + height - picture.height))
        _write_lines(draw, lines, (x, y + height + 3), text, _FAINT, _LINE)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _crossed_out(width: int, height: int) -> Image.Image:
    from PIL import Image, ImageDraw

    blank = Image.new("RGB", (width, height), _BLANK)
    draw = ImageDraw.Draw(blank)
    draw.line((0, 0, width, height), fill=_FAINT)
    draw.line((0, height, width, 0), fill=_FAINT)
    return blank


def _picture(data: bytes) -> Image.Image | None:
    """Return the picture as large as a cell may be; None, which is crossed out, if it cannot be."""
    from PIL import Image

    try:
        picture = shrunk(io.BytesIO(data), _LARGEST_CELL).convert("RGB")
    except ImageError:
        return None
    longest = max(picture.size)
    if longest < _CELL:
        factor = max(1, _CELL // longest)
        size = (picture.width * factor, picture.height * factor)
        return picture.resize(size, Image.Resampling.NEAREST)
    return picture


def _wrapped(
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
    most: int = _LABEL_LINES,
) -> list[str]:
    """Break *text* into at most *most* lines that fit *width* pixels; an ellipsis ends a cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] += "…"
    return [_cut(line, font, width) for line in kept]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"


def _write_lines(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    place: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    fill: tuple[int, int, int],
    line_height: int,
) -> None:
    for number, line in enumerate(lines):
        draw.text((place[0], place[1] + number * line_height), line, fill=fill, font=font)
