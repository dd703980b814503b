r"""Where a ``|`` separates: not inside braces or brackets, which choose or edit, nor ``\|``."""

from __future__ import annotations

import re
from itertools import pairwise

__all__ = ["bars", "between_bars", "without_escapes"]

_TOKENS = re.compile(r"(?<![^\s,({|\[])\\\|\|/(?![^\s,)}|\]:])|\\.|[{}\[\]|]", re.DOTALL)
r"""``\||/`` is the name of a tag, raised hands."""

_PAIRS = {"}": "{", "]": "["}


def bars(text: str) -> list[int]:
    """Return the places of every ``|`` that separates parts of *text*."""
    found: list[int] = []
    opened: list[tuple[str, int]] = []
    open_now = {"{": 0, "[": 0}
    for token in _TOKENS.finditer(text):
        sign = token[0]
        if sign == "|":
            found.append(token.start())
        elif sign in _PAIRS.values():
            opened.append((sign, token.start()))
            open_now[sign] += 1
        elif sign in _PAIRS and open_now[_PAIRS[sign]]:
            begun = ""
            while begun != _PAIRS[sign]:  # what is open inside of it is no pair
                begun, start = opened.pop()
                open_now[begun] -= 1
            while found and found[-1] > start:
                found.pop()
    return found


def between_bars(text: str) -> list[str]:
    """Return what stands before, between and after them, without blanks around it."""
    places = [-1, *bars(text), len(text)]
    return [text[start + 1 : end].strip() for start, end in pairwise(places)]


def without_escapes(text: str) -> str:
    r"""Return *text* with ``|`` for every ``\|``."""
    return _TOKENS.sub(lambda token: "|" if token[0] == r"\|" else token[0], text)
