"""rich_console: rich's tables and bars, with nothing in a cell that could steer a terminal.

Strings that are printed, or stand in a cell, are one line and never markup. The console looks at
all that leaves it, too: what a text from elsewhere brought is escaped there at the latest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import console, progress
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from safelight.cli.terminal import unescaped
from safelight.escaped_output import escape_standard_streams, escaped_line, escaped_text

__all__ = ["Console", "Progress", "cell", "lines_in_cell"]


class Console(console.Console):
    """Prints to standard output, or to standard error.

    Args:
        stderr: To standard error.
        options: Those of rich.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(file=unescaped(err=stderr), markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return *text*, escaped, as something that can be shown."""
        return super().render_str(
            escaped_line(text), **{**options, "markup": False, "emoji": False}
        )

    def render(
        self, renderable: console.RenderableType, options: console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the pieces of *renderable*, texts escaped."""
        for piece in super().render(renderable, options):
            if piece.control or piece.text.isprintable():
                yield piece
            else:
                yield Segment(escaped_text(piece.text), piece.style)


class Progress(progress.Progress):
    """A bar above which others may print: also what they print meanwhile is escaped."""

    def start(self) -> None:
        """Show it; rich puts streams of its own in the place of ours."""
        super().start()
        escape_standard_streams()


def cell(text: str, style: str | Style = "") -> Text:
    """Return *text* as one line in a style."""
    return Text(escaped_line(text), style)


def lines_in_cell(texts: Iterable[str]) -> Text:
    """Return *texts* below each other, where nothing stands on their left that they could forge."""
    return Text("\n".join(map(escaped_text, texts)))
