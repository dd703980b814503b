"""What is shown on a terminal: texts from anywhere, in which nothing can steer it.

Prompts, names of files and models, notes, answers of servers and errors come from whoever made
them. A terminal obeys control characters in them: they clear the screen, forge lines, name the
window, turn the order of letters about. Here they are shown escaped, and nothing else is changed.

Two nets: a line is escaped where it is printed, its line ends too; and
:func:`escape_standard_streams` stands behind everything that is written, by whatever library.
"""

from __future__ import annotations

import io
import re
import sys
from typing import TextIO

__all__ = ["behind", "escape_standard_streams", "escaped_line", "escaped_text"]

_ALL_BUT_ENDS = (
    "\\x00-\\x09\\x0b-\\x1f"  # C0: escape, bell, backspace, return, ...
    "\\x7f-\\x9f"  # delete, and C1, which terminals take for an escape and a letter
    "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u206f"  # what turns letters about
    "\\u2028\\u2029"  # line ends of some
    "\\ud800-\\udfff"  # half characters: bytes of names that are no text
)
_IN_TEXT = re.compile(f"[{_ALL_BUT_ENDS}]")
_IN_LINE = re.compile(f"[\\n{_ALL_BUT_ENDS}]")
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escaped_line(text: str) -> str:
    r"""Return *text* as one line, control characters escaped: ``\n``, ``\x1b``, ``\u202e``."""
    return text if text.isprintable() else _IN_LINE.sub(_escape, text)


def escaped_text(text: str) -> str:
    r"""Return *text* with all control characters escaped but the ends of its lines.

    JSON stays what it is: it holds none of those that are escaped as ``\x1b`` here, and
    ``\u009b`` means the same there.
    """
    return text if text.isprintable() else _IN_TEXT.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 32 else f"\\u{code:04x}")


class _EscapedStream(io.TextIOBase):
    """Writes to a stream what :func:`escaped_text` makes of it.

    It has no ``buffer``: there is no way past it but :func:`behind`.
    """

    def __init__(self, stream: TextIO) -> None:
        self.behind = stream

    def write(self, text: str | bytes) -> int:  # bytes are what click completes
        told = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
        self.behind.write(escaped_text(told))
        return len(text)

    def flush(self) -> None:
        if not self.behind.closed:
            self.behind.flush()

    def isatty(self) -> bool:
        return self.behind.isatty()

    def fileno(self) -> int:
        return self.behind.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.behind.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.behind.errors


def escape_standard_streams() -> None:
    """Put an escaping stream before standard output and standard error, if there is none yet."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, _EscapedStream):
            continue
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks is shown escaped, too
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, _EscapedStream(stream))


def behind(stream: TextIO) -> TextIO:
    """Return what is behind an escaping *stream*, for layout of our own; else *stream* itself."""
    return stream.behind if isinstance(stream, _EscapedStream) else stream
