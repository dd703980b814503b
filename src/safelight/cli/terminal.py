"""terminal: how every command prints. Nobody else writes to standard output or standard error.

What is printed here is escaped first (:mod:`safelight.escaped_output`), and only then styled:
sequences that steer a terminal are ours or are none. Tables and bars of rich are in
:mod:`.rich_console`, which takes as long to import as many a command does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from safelight.escaped_output import behind, escaped_line, escaped_text

__all__ = [
    "folded", "is_terminal", "progress_of", "say", "say_text", "say_wrapped", "tell", "tell_next",
    "unescaped",
]  # fmt: skip


def say(line: str = "", *, err: bool = False, styled: Callable[[str], str] | None = None) -> None:
    """Print one line: the ends of lines in it are shown escaped, like all that is no letter.

    Args:
        line: What to print.
        err: To standard error.
        styled: Given the escaped line, returns it with styles.
    """
    text = escaped_line(line)
    _write(text if styled is None else styled(text), err=err)


def tell(line: str = "") -> None:
    """Print one line to standard error."""
    say(line, err=True)


def say_wrapped(line: str, *, hanging: int = 0, err: bool = False) -> None:
    """Print one line, where somebody looks at it in as many as it takes there; no word is broken.

    Args:
        line: What to print.
        hanging: Blanks before all lines but the first.
        err: To standard error.
    """
    if not is_terminal(err=err):
        say(line, err=err)
        return
    for part in folded(escaped_line(line), hanging=hanging):
        say(part, err=err)


def folded(line: str, *, hanging: int = 0, beside: int = 0) -> list[str]:
    """Return *line* in lines that are no longer than the terminal is wide; no word is broken.

    Args:
        line: What is printed; blanks at its beginning stay.
        hanging: Blanks before all lines but the first, where those are fewer.
        beside: Columns that something else takes before the first.
    """
    import textwrap

    from safelight.cli.headed_table import terminal_width

    begin = len(line) - len(line.lstrip())
    first = " " * (beside + begin)
    lines = textwrap.wrap(
        line.strip(), terminal_width(), initial_indent=first,
        subsequent_indent=" " * max(begin, hanging), break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [lines[0][beside:], *lines[1:]] if lines else [line]


def tell_next(words: str) -> None:
    """Print to standard error what somebody may type next, without the program's name."""
    tell(f"next: safelight {words}")


def say_text(text: str, *, err: bool = False) -> None:
    """Print a text of several lines, such as JSON, which stays JSON."""
    _write(escaped_text(text), err=err)


def _write(text: str, *, err: bool) -> None:
    stream = unescaped(err=err)
    if stream is not None:
        stream.write(f"{text}\n")
        stream.flush()


def unescaped(*, err: bool = False) -> TextIO | None:
    """Return the stream that writes what it is given, for layout of our own and for files.

    None where there is none, as for a program without a console.
    """
    stream: TextIO | None = sys.stderr if err else sys.stdout
    return None if stream is None else behind(stream)


def is_terminal(*, err: bool = False) -> bool:
    """Return whether somebody looks at it."""
    stream = sys.stderr if err else sys.stdout
    return stream is not None and stream.isatty()


@contextmanager
def progress_of(label: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error, and give the function that moves it.

    Args:
        label: Ours: it is not escaped.
        hidden: Show nothing.
    """
    stream = unescaped(err=True)
    with click.progressbar(
        length=1, label=label, file=stream, hidden=hidden or stream is None
    ) as bar:

        def show_progress(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield show_progress
