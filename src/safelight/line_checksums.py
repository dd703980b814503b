"""line_checksums: JSON lines that end in a checksum of themselves, so that rot is seen.

A line is a JSON object whose last member is ``"check"``: the CRC-32 of everything before it, in
eight hexadecimal digits. To whoever does not know it, it is one more field. CRC-32 sees every
change of up to 32 bits in a row, and all but one in four thousand million of the others.

Lines of earlier versions have no checksum: nothing can be said about them.
"""

from __future__ import annotations

import zlib
from typing import Literal

import msgspec

__all__ = ["LineState", "is_torn", "line_state", "with_checksum"]

LineState = Literal["whole", "unchecked", "damaged"]

_BEFORE, _AFTER = b',"check":"', b'"}'
_LENGTH = len(_BEFORE) + 8 + len(_AFTER)
_FEW = 3
"""Bytes by which the end of a line may differ from a checksum's and still be a damaged one."""


def with_checksum(line: bytes) -> bytes:
    """Return *line*, a JSON object with one member at least, with its checksum at the end."""
    return b"%b%b%08x%b" % (line[:-1], _BEFORE, zlib.crc32(line[:-1]), _AFTER)


def line_state(line: bytes) -> LineState:
    """Return what can be said about *line*, without its newline."""
    end = line[-_LENGTH:]
    before, digits, after = end[: len(_BEFORE)], end[len(_BEFORE) : -len(_AFTER)], line[-2:]
    if before == _BEFORE and after == _AFTER:
        return "whole" if digits == b"%08x" % zlib.crc32(line[:-_LENGTH]) else "damaged"
    if len(end) < _LENGTH:
        return "unchecked"
    wrong = sum(a != b for a, b in zip(before + after, _BEFORE + _AFTER, strict=True))
    return "damaged" if wrong <= _FEW else "unchecked"


def is_torn(line: bytes) -> bool:
    """Return whether *line* is a piece that a crash left of one that nobody was told of."""
    if line_state(line) != "unchecked" or line_state(line[:-1]) == "whole":
        return False  # what ends a whole line may be damaged as well
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return True
    return False
