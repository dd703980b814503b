"""Holes: one private character in a prompt stands for all values of a rule, token or slot.

A step that could tell the values of a hole apart raises :class:`SplitNeeded`, and whoever made
the hole tries again with one branch per value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from operator import itemgetter

from safelight.config import SourceMode
from safelight.errors import PlanError
from safelight.randomizer.draws import Dice
from safelight.randomizer.sweeps import short_text
from safelight.randomizer.text_spaces import Moment

__all__ = [
    "HOLE",
    "RESERVED",
    "SEPARATOR",
    "Hole",
    "PromptAxis",
    "SplitNeeded",
    "held_values",
    "hole_sign",
    "refuse_forming",
    "refuse_touching",
    "shown_prefix",
]

_FIRST_HOLE = 0x100000
_LAST_HOLE = 0x10FF00
HOLE = re.compile(f"([{chr(_FIRST_HOLE)}-{chr(_LAST_HOLE)}])")
RESERVED = re.compile(f"[{chr(_FIRST_HOLE)}-{chr(0x10FFFF)}]")
SEPARATOR = chr(0x10FF40)
"""Stands between the texts of a prompt, so that nothing is found across two of them."""

_FEW = 4
"""Partial matches that are followed at a place without being counted."""

_ESCAPED_COLON = r"\:"
"""Two characters of the only sign that has three."""

_EDGES = frozenset(["[", "]", "_", "$", "%", "\\", _ESCAPED_COLON])
"""What another text may make a sign of."""


class SplitNeeded(Exception):
    """A later step can tell the values of *hole* apart."""

    def __init__(self, hole: str, reason: str) -> None:
        super().__init__(reason)
        self.hole, self.reason = hole, reason


@dataclass(frozen=True, slots=True)
class Hole:
    """What one hole stands for.

    Attributes:
        sign: The private character.
        name: The name in ``choices``: ``search->``, ``__token__``, ``[slot]`` or, of a swept
            prompt, ``stage.knob``.
        values: The texts; without repeats where they multiply.
        short: What a label calls it, if not that.
        longest: Characters of the longest of the values.
    """

    sign: str
    name: str
    values: tuple[str, ...]
    short: str = ""
    longest: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "longest", max(map(len, self.values), default=0))

    def chosen(self, value: str) -> str:
        """Return what is told of *value*."""
        return value

    def label(self, value: str) -> str:
        """Return ``search->value``, ``token=value``, ``[slot]=value`` or ``knob=value``."""
        if self.short:
            return f"{self.short}={short_text(value)}"
        return f"{self.name}{value}" if self.name.endswith("->") else f"{self.name}={value}"


@dataclass(frozen=True, slots=True)
class PromptAxis:
    """Holes that change together: one for a rule, several for a cut matrix.

    Attributes:
        holes: The holes, outermost first.
        size: Combinations of their values, the first ones; some may be cut off.
        mode: ``fanout`` multiplies; other modes take one combination for each variant.
        number: Place among all axes, which keeps their draws apart.
        shown: Signs of the holes that are in the text.
        waits: Whether ``sequential`` and ``rotate`` move on only where the source is met; a matrix
            moves on with every prompt or variant.
    """

    holes: tuple[Hole, ...]
    size: int
    mode: SourceMode
    number: int
    shown: frozenset[str]
    waits: bool = False

    @property
    def name(self) -> str:
        """The names of the holes shown, as in ``choices``."""
        return " ".join(hole.name for hole in self.holes if hole.sign in self.shown)

    def values(self, rank: int) -> Iterator[tuple[Hole, str]]:
        """Yield each hole shown and its value in combination *rank*."""
        left = prod(len(hole.values) for hole in self.holes)
        for hole in self.holes:
            left //= len(hole.values)
            place, rank = divmod(rank, left)
            if hole.sign in self.shown:
                yield hole, hole.values[place % len(hole.values)]

    def note(self, moment: Moment, rank: int) -> None:
        """Note in *moment* that this axis has combination *rank*."""
        for hole, value in self.values(rank):
            moment.values[ord(hole.sign)] = value
            moment.labels.append(hole.label(value))
            moment.choices[hole.name] = hole.chosen(value)

    def drawn(self, moment: Moment, start: int) -> int:
        """Return the combination that a source which does not multiply takes now."""
        if self.mode == "rotate":
            counted = moment.met if self.waits else None
            turn = moment.turn if counted is None else counted(self.number)
            return (start + turn) % self.size
        return Dice(moment.seed, "source", self.number, moment.turn).below(self.size)


def hole_sign(number: int) -> str:
    """Return the private character of hole *number*."""
    if _FIRST_HOLE + number > _LAST_HOLE:
        raise PlanError(f"at most {_LAST_HOLE - _FIRST_HOLE + 1} rules, tokens and slots")
    return chr(_FIRST_HOLE + number)


def held_values(name: str, values: Sequence[str], *, repeats: bool) -> tuple[str, ...]:
    """Return *values*, each once unless *repeats*; they and *name* hold no private sign."""
    for text in (name, *values):
        if RESERVED.search(text):
            raise PlanError(f"the characters U+100000 to U+10FFFF are reserved, got {text!r}")
    return tuple(values if repeats else dict.fromkeys(values))


def refuse_touching(
    search: str,
    text: str,
    values: Callable[[str], tuple[str, ...]],
    spend: Callable[[int], None] = lambda _: None,
) -> None:
    """Split the innermost hole that a match of *search* may lie in, end in or reach across.

    All partial matches are followed through the pieces of the text, those through a hole for
    each of its values; a partial match is its length and the latest hole that it touches. What
    it takes is told to *spend* before it is done.
    """
    pieces = HOLE.split(text)
    if len(pieces) == 1:
        return
    spend(_steps_through(pieces, len(search), values))
    partial: set[tuple[int, str]] = set()
    for place, piece in enumerate(pieces):
        hole = piece if place % 2 else ""
        following: set[tuple[int, str]] = set()
        chunks = values(piece) if hole else (piece,)
        if len(partial) > _FEW:
            spend(len(chunks) * len(partial))
        for chunk in chunks:
            if hole and search in chunk:
                raise SplitNeeded(hole, f"whether {search!r} is found")
            for done, touched in partial:
                rest, latest = search[done:], max(touched, hole)
                if latest and chunk.startswith(rest):
                    raise SplitNeeded(latest, f"whether {search!r} is found")
                if len(chunk) < len(rest) and rest.startswith(chunk):
                    following.add((done + len(chunk), latest))
            for length in range(1, min(len(search), len(chunk) + 1)):
                if chunk.endswith(search[:length]):
                    following.add((length, hole))
        partial = following


def _steps_through(
    pieces: Sequence[str], longest: int, values: Callable[[str], tuple[str, ...]]
) -> int:
    """Return what it takes to look for partial matches in *pieces*, few at each place."""
    steps = 4 * len(pieces) + sum(map(len, pieces)) // 100
    for hole, count in Counter(pieces[1::2]).items():
        each = (3 + len(text) // 100 + min(longest, len(text)) // 4 for text in values(hole))
        steps += count * sum(each)
    return steps


def refuse_forming(
    pattern: re.Pattern[str],
    text: str,
    values: Callable[[str], tuple[str, ...]],
    what: str,
    spend: Callable[[int], None] = lambda _: None,
) -> None:
    """Split the outermost hole of which a value may form *pattern*, alone or beside others."""
    pieces = HOLE.split(text)
    if len(pieces) == 1:
        return
    holes = pieces[1::2]
    before = _neighbours(pieces, values, _tail)
    after = _neighbours(pieces[::-1], values, lambda text: text[:1])[::-1]
    # The outermost first: splitting one inside of it would be done again in each of its branches.
    cases = dict.fromkeys(zip(holes, before, after, strict=True))
    for hole, left, right in sorted(cases, key=itemgetter(0)):
        each = sum(1 + len(value) // 50 for value in values(hole))
        spend(each * len(left) * len(right))
        for value, one, other in product(values(hole), left, right):
            if pattern.search(one + value + other):
                raise SplitNeeded(hole, what)


def _neighbours(
    pieces: Sequence[str], values: Callable[[str], tuple[str, ...]], end: Callable[[str], str]
) -> list[frozenset[str]]:
    """Return the characters that may stand before each hole, through others that may be empty.

    Args:
        pieces: Of the text, in order or backwards, every second one a hole.
        values: Of a hole.
        end: Returns what of a text a hole after it meets.
    """
    found: list[frozenset[str]] = []
    edges: dict[str, frozenset[str]] = {}
    carried = frozenset({""})
    for place in range(1, len(pieces), 2):
        hole, beside = pieces[place], pieces[place - 1]
        here = frozenset({end(beside)}) if beside else carried
        found.append(here)
        if not pieces[place + 1] and place + 2 < len(pieces):
            if hole not in edges:
                ends = map(end, values(hole))
                edges[hole] = frozenset(text if text in _EDGES else "" for text in ends)
            carried = edges[hole] | (here if "" in values(hole) else frozenset())
    return found


def _tail(text: str) -> str:
    return text[-2:] if text.endswith(_ESCAPED_COLON) else text[-1:]


def shown_prefix(slots: Sequence[tuple[bool, int]], limit: int) -> int:
    """Return how many combinations of the slots shown are among the first *limit* of all.

    They are always the first ones of the slots shown: fixing the outer slots leaves either
    every inner combination or the first few.
    """
    shown = prod(size for is_shown, size in slots if is_shown)
    total = prod(size for _, size in slots)
    if limit >= total or not slots:
        return shown if slots else min(1, limit)
    (is_shown, size), rest = slots[0], slots[1:]
    full, inner = shown // (size if is_shown else 1), total // size
    if not is_shown:
        return full if limit >= inner else shown_prefix(rest, limit)
    whole, left = divmod(limit, inner)
    return whole * full + (shown_prefix(rest, left) if left else 0)
