"""effect_plot: effects as dots with intervals, one row per level, its n beside it; PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Literal

from safelight.learning.evidence.effects import MATTERS, Comparison, Effects, KnobEffect

if TYPE_CHECKING:
    from PIL import ImageFont

__all__ = ["Drawing", "draw_effects"]

PAPER, INK, FAINT, RULE = "#fbfaf7", "#1d1d1f", "#77746c", "#e3dfd5"
BETTER, WORSE, OPEN = "#0f7b6c", "#c2452d", "#a39f94"

_WIDTH, _MARGIN, _ROW, _HEAD = 980, 28, 24, 32
_LABELS, _AXIS, _FIGURES = 236, 410, 142  # widths of label, axis and figure columns
_MOST_ROWS, _MOST_LEVELS = 70, 12
_TEXT, _SMALL, _TITLE = 13, 11.5, 19
_SCALE, _SMOOTH = 2, 2

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class _Line:
    x: float
    y: float
    x2: float
    y2: float
    colour: str
    width: float


@dataclass(frozen=True, slots=True)
class _Dot:
    x: float
    y: float
    radius: float
    fill: str
    rim: str


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    width: float
    height: float
    fill: str


@dataclass(frozen=True, slots=True)
class _Text:
    x: float
    y: float
    text: str
    size: float
    colour: str
    anchor: Anchor
    bold: bool


@dataclass(slots=True)
class Drawing:
    """Lines, dots and texts on paper, in the order in which they are put there.

    Attributes:
        width: In points; a PNG has twice as many pixels.
        height: In points.
    """

    width: int
    height: int = 0
    shapes: list[_Line | _Dot | _Box | _Text] = field(default_factory=list)

    def line(self, x: float, y: float, x2: float, y2: float, colour: str, width: float = 1) -> None:
        """Draw a line."""
        self.shapes.append(_Line(x, y, x2, y2, colour, width))

    def dot(self, x: float, y: float, radius: float, fill: str, rim: str) -> None:
        """Draw a dot around (x, y)."""
        self.shapes.append(_Dot(x, y, radius, fill, rim))

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Fill a rectangle."""
        self.shapes.append(_Box(x, y, width, height, fill))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = _TEXT,
        colour: str = INK,
        anchor: Anchor = "start",
        bold: bool = False,
        room: float = 0,
    ) -> None:
        """Write *text*, its middle at height y; in *room*, if that is given, without its middle."""
        if room:
            text = _cut(text, size, room)
        self.shapes.append(_Text(x, y, text, size, colour, anchor, bold))

    def svg(self) -> bytes:
        """Return an SVG file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}"'
            f' viewBox="0 0 {self.width} {self.height}"'
            ' font-family="Inter, Helvetica Neue, Helvetica, Arial, sans-serif">'
        )
        paper = f'<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>'
        return "\n".join([head, paper, *map(_svg_of, self.shapes), "</svg>", ""]).encode()

    def png(self) -> bytes:
        """Return a PNG file."""
        from PIL import Image, ImageDraw

        scale = _SCALE * _SMOOTH
        image = Image.new("RGB", (self.width * scale, self.height * scale), PAPER)
        pen = ImageDraw.Draw(image)
        for s in self.shapes:
            if isinstance(s, _Line):
                points = [(s.x * scale, s.y * scale), (s.x2 * scale, s.y2 * scale)]
                pen.line(points, fill=s.colour, width=max(round(s.width * scale), 1))
            elif isinstance(s, _Box):
                corner = ((s.x + s.width) * scale - 1, (s.y + s.height) * scale - 1)
                pen.rectangle([(s.x * scale, s.y * scale), corner], fill=s.fill)
            elif isinstance(s, _Dot):
                box = [(s.x - s.radius) * scale, (s.y - s.radius) * scale,
                       (s.x + s.radius) * scale, (s.y + s.radius) * scale]  # fmt: skip
                pen.ellipse(box, fill=s.fill, outline=s.rim, width=round(1.6 * scale))
            else:
                anchor = {"start": "lm", "middle": "mm", "end": "rm"}[s.anchor]
                stroke = round(0.3 * scale) if s.bold else 0
                place = (s.x * scale, s.y * scale)
                font = _font(s.size * scale)
                pen.text(
                    place, s.text, fill=s.colour, font=font, anchor=anchor, stroke_width=stroke
                )
        size = (self.width * _SCALE, self.height * _SCALE)
        out = io.BytesIO()
        image.resize(size, Image.Resampling.BOX).save(out, "PNG", optimize=True)
        return out.getvalue()


def draw_effects(effects: Effects, *, title: str, rated_by: str) -> Drawing:
    """Return the plot of all knobs that have anything to show.

    Args:
        effects: What is known.
        title: Stands at the top.
        rated_by: Whose taste it is, for the line below the title.
    """
    drawing = Drawing(_WIDTH)
    rows, left_out = _rows(effects)
    axis = _Axis([c for _, c in rows if c is not None])
    drawing.text(_MARGIN, 34, title, size=_TITLE, bold=True, room=_WIDTH - 2 * _MARGIN)
    under = (
        f"{effects.pictures:,} rated pictures, {effects.ratings:,} ratings by {rated_by},"
        f" {effects.prompts:,} prompts"
    )
    drawing.text(_MARGIN, 58, under, colour=FAINT, room=_WIDTH - 2 * _MARGIN)
    top = y = 92.0
    if effects.reason or not rows:
        reason = effects.reason or "no knob varied in the rated pictures: nothing to compare"
        drawing.text(_MARGIN, y, reason, room=_WIDTH - 2 * _MARGIN)
        drawing.height = round(y + 40)
        return drawing
    tall = sum(_HEAD if c is None or len(_shown(k)) == 1 else _ROW for k, c in rows)
    bottom = top + tall
    axis.draw(drawing, top, bottom)
    for shown, comparison in rows:
        if comparison is None:
            y += _HEAD
            _draw_knob(drawing, shown, y - _ROW / 2, "")
            continue
        alone = len(_shown(shown)) == 1
        y += _ROW + (_HEAD - _ROW if alone else 0)
        if alone:
            _draw_knob(drawing, shown, y - _ROW / 2, comparison.level)
        else:
            name = comparison.level
            if comparison.against != shown.comparisons[0].against:
                name += f" against {comparison.against}"
            drawing.text(_MARGIN + 14, y - _ROW / 2, name, room=_LABELS - 30)
        _draw_row(drawing, axis, comparison, y - _ROW / 2)
    y = _draw_key(drawing, axis, y + 44, [c for _, c in rows if c is not None], left_out)
    for interaction in effects.interactions[:4]:
        y += _ROW
        drawing.dot(_MARGIN + 5, y, 4, INK, INK)
        drawing.text(_MARGIN + 18, y, interaction.summary, room=_WIDTH - 2 * _MARGIN - 18)
    drawing.height = round(y + _MARGIN)
    return drawing


def _rows(effects: Effects) -> tuple[list[tuple[KnobEffect, Comparison | None]], int]:
    """Return a heading per knob and a row per level, and how many rows there is no room for."""
    rows: list[tuple[KnobEffect, Comparison | None]] = []
    left_out = 0
    for knob in effects.knobs:
        shown = _shown(knob)
        left_out += len(knob.comparisons) - len(shown)
        if len(rows) + len(shown) + 1 > _MOST_ROWS:
            left_out += len(shown)
            continue
        if len(shown) > 1:
            rows.append((knob, None))
        rows += [(knob, comparison) for comparison in shown]
    return rows, left_out


def _shown(knob: KnobEffect) -> Sequence[Comparison]:
    if all(comparison.status == "few" for comparison in knob.comparisons):
        return ()
    if len(knob.comparisons) <= _MOST_LEVELS:
        return knob.comparisons
    order = {"clear": 0, "likely": 1, "confounded": 2}
    return sorted(
        (comparison for comparison in knob.comparisons if comparison.status != "few"),
        key=lambda c: (order.get(c.status, 3), -abs(c.expected or 0)),
    )[:_MOST_LEVELS]


class _Axis:
    """Score differences as places on the paper."""

    def __init__(self, comparisons: Sequence[Comparison]) -> None:
        ends = [abs(x) for c in comparisons for x in (c.low, c.high) if x is not None]
        # One hopelessly wide interval must not flatten all others.
        dots = [abs(c.difference) for c in comparisons if c.difference is not None]
        typical = sorted(ends)[int(0.9 * (len(ends) - 1))] if ends else 1.0
        widest = max(ends, default=1.0)
        self.reach = max(widest if widest < 1.6 * typical else typical, *dots, 0.5) * 1.06
        self.step = next(s for s in (0.25, 0.5, 1.0, 2.0, 5.0, 1e9) if self.reach / s <= 4)

    def place(self, value: float) -> float:
        """Return the x of *value*, at the edge when it is beyond."""
        middle = _MARGIN + _LABELS + _AXIS / 2
        part = min(max(value / self.reach, -1.0), 1.0)
        return middle + part * _AXIS / 2

    def draw(self, drawing: Drawing, top: float, bottom: float) -> None:
        """Draw the grid with its numbers."""
        for number in self._ticks():
            x = self.place(number)
            drawing.line(x, top, x, bottom + 8, FAINT if number == 0 else RULE, 1)
            label = "0" if number == 0 else f"{number:+.4g}"
            drawing.text(x, bottom + 20, label, size=_SMALL, colour=FAINT, anchor="middle")

    def _ticks(self) -> Iterator[float]:
        count = int(self.reach / self.step)
        yield from (self.step * number for number in range(-count, count + 1))


def _draw_knob(drawing: Drawing, knob: KnobEffect, y: float, level: str) -> None:
    """Write a knob's name, and what is compared where there is room."""
    drawing.text(_MARGIN, y, knob.knob, bold=True, room=_LABELS - 24)
    against = knob.comparisons[0].against
    caption = f"{level} against {against}" if level else f"against {against}"
    x = _MARGIN + _LABELS - 12
    room = _LABELS - _wide(knob.knob, _TEXT) - 30
    if room > 50 and level != "with":
        drawing.text(x, y, caption, size=_SMALL, colour=FAINT, anchor="end", room=room)


def _draw_row(drawing: Drawing, axis: _Axis, comparison: Comparison, y: float) -> None:
    end = _MARGIN + _LABELS + _AXIS
    if comparison.difference is None or comparison.low is None or comparison.high is None:
        note = (
            "; ".join(comparison.notes)
            or f"not enough evidence; about {comparison.more} more ratings"
        )
        start = axis.place(0) + 8
        drawing.box(start - 4, y - 9, end - start, 18, PAPER)
        drawing.text(start, y, note, size=_SMALL, colour=FAINT, room=_WIDTH - _MARGIN - start - 60)
        drawing.text(
            _WIDTH - _MARGIN, y, f"n = {comparison.n}", size=_SMALL, colour=FAINT, anchor="end"
        )
        return
    clear = comparison.status == "clear"
    colour, fill, _ = _mark(comparison)
    left, right = axis.place(comparison.low), axis.place(comparison.high)
    drawing.line(left, y, right, y, colour, 2.6 if clear else 2)
    for x, value in ((left, comparison.low), (right, comparison.high)):
        inside = abs(value) <= axis.reach
        drawing.line(x, y - (4 if inside else 0), x, y + (4 if inside else 0), colour, 2)
    if comparison.expected is not None:
        x = axis.place(comparison.expected)
        drawing.line(x, y - 8, x, y + 8, colour, 1)
    drawing.dot(axis.place(comparison.difference), y, 5, fill, colour)
    figure = f"{comparison.difference:+.2f}  [{comparison.low:+.2f}, {comparison.high:+.2f}]"
    ink = INK if comparison.told else FAINT
    drawing.text(end + _FIGURES, y, figure, size=_SMALL, colour=ink, anchor="end")
    unit = "pairs" if comparison.basis == "pairs" else "pictures"
    drawing.text(
        _WIDTH - _MARGIN, y, f"n = {comparison.n:,} {unit}", size=_SMALL,
        colour=FAINT, anchor="end",
    )  # fmt: skip


def _mark(comparison: Comparison) -> tuple[str, str, str]:
    """Return the rim and the fill of a comparison's dot, and what they mean."""
    if comparison.told:
        is_better = (comparison.difference or 0) > 0
        colour, word = (BETTER, "better") if is_better else (WORSE, "worse")
        clear = comparison.status == "clear"
        return colour, colour if clear else PAPER, f"{'clearly' if clear else 'likely'} {word}"
    if comparison.status == "depends":
        return INK, INK, "depends on another setting"
    if comparison.status == "small":
        return OPEN, OPEN, f"surely less than {MATTERS:g}"
    return OPEN, PAPER, "not enough evidence"


def _draw_key(
    drawing: Drawing, axis: _Axis, y: float, drawn: Sequence[Comparison], left_out: int
) -> float:
    """Explain the marks that are *drawn*, and no others; return the last line's y."""
    middle = axis.place(0)
    caption = "difference in score with its 95 % interval; 1 is the spread of all rated pictures"
    drawing.text(middle, y, caption, size=_SMALL, colour=FAINT, anchor="middle")
    y += 30
    x = float(_MARGIN)
    known = [c for c in drawn if c.difference is not None]
    for rim, fill, name in dict.fromkeys(_mark(c) for c in known):
        if x + 30 + _wide(name, _SMALL) > _WIDTH - _MARGIN:
            x, y = float(_MARGIN), y + _ROW
        drawing.line(x, y, x + 22, y, rim, 2.2)
        drawing.dot(x + 11, y, 5, fill, rim)
        drawing.text(x + 30, y, name, size=_SMALL, colour=FAINT)
        x += 44 + _wide(name, _SMALL)
    expectation = "what to expect of new pictures"
    if any(c.expected is not None for c in known):
        if x + 12 + _wide(expectation, _SMALL) > _WIDTH - _MARGIN:
            x, y = float(_MARGIN), y + _ROW
        drawing.line(x + 4, y - 7, x + 4, y + 7, OPEN, 1)
        drawing.text(x + 12, y, expectation, size=_SMALL, colour=FAINT)
    if left_out:
        y += _ROW
        drawing.text(
            _WIDTH - _MARGIN, y, f"{left_out} more levels in the table", size=_SMALL,
            colour=FAINT, anchor="end",
        )  # fmt: skip
    return y


def _svg_of(s: _Line | _Dot | _Box | _Text) -> str:
    if isinstance(s, _Line):
        return (
            f'<line x1="{s.x:.1f}" y1="{s.y:.1f}" x2="{s.x2:.1f}" y2="{s.y2:.1f}"'
            f' stroke="{s.colour}" stroke-width="{s.width:g}"/>'
        )
    if isinstance(s, _Dot):
        return (
            f'<circle cx="{s.x:.1f}" cy="{s.y:.1f}" r="{s.radius:g}" fill="{s.fill}"'
            f' stroke="{s.rim}" stroke-width="1.6"/>'
        )
    if isinstance(s, _Box):
        return (
            f'<rect x="{s.x:.1f}" y="{s.y:.1f}" width="{s.width:.1f}" height="{s.height:.1f}"'
            f' fill="{s.fill}"/>'
        )
    weight = ' font-weight="600"' if s.bold else ""
    clean = "".join(c if c.isprintable() else " " for c in s.text)
    return (
        f'<text x="{s.x:.1f}" y="{s.y:.1f}" font-size="{s.size:g}" fill="{s.colour}"'
        f' text-anchor="{s.anchor}" dominant-baseline="central"{weight}>{escape(clean)}</text>'
    )


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _wide(text: str, size: float) -> float:
    return float(_font(size * 4).getlength(text)) / 4


def _cut(text: str, size: float, room: float) -> str:
    """Return *text* with its middle left out where it has not the room: versions are at the end."""
    if _wide(text, size) <= room:
        return text
    kept = len(text) - 1
    while kept > 1 and _wide(text, size) * (kept + 1) / len(text) > room:
        kept -= 1
    while kept > 0 and _wide(_without_middle(text, kept), size) > room:
        kept -= 1
    return _without_middle(text, kept)


def _without_middle(text: str, kept: int) -> str:
    tail = kept // 2
    return f"{text[: kept - tail]}…{text[len(text) - tail :]}"
