"""Holes: one private character in a prompt stands for all values of a rule, token or slot.

A step that could tell the values of a hole apart raises :class:`SplitNeeded`, and whoever made
the hole tries again with one branch per value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from safelight.config import SourceMode
from safelight.errors import PlanError
from safelight.randomizer.draws import Dice
from safelight.randomizer.spaces import Line, Product, Union
from safelight.randomizer.text_spaces import Moment, Node

__all__ = [
    "HOLE",
    "RESERVED",
    "Beside",
    "Branches",
    "Filled",
    "Hole",
    "Loop",
    "PromptAxis",
    "SplitNeeded",
    "distinct_values",
    "hole_sign",
    "refuse_forming",
    "refuse_touching",
    "shown_prefix",
]

_FIRST_HOLE = 0x100000
_LAST_HOLE = 0x10FF00
HOLE = re.compile(f"([{chr(_FIRST_HOLE)}-{chr(_LAST_HOLE)}])")
RESERVED = re.compile(f"[{chr(_FIRST_HOLE)}-{chr(0x10FFFF)}]")
_FEW = 4
"""Partial matches that are followed at a place without being counted."""

_EDGES = "[]_$%\\"
"""Half of a two-character sign; the empty value counts, too, because its neighbours meet."""


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
        name: The name in ``choices``: ``search->``, ``__token__`` or ``[slot]``.
        values: The texts, without repeats.
    """

    sign: str
    name: str
    values: tuple[str, ...]

    def label(self, value: str) -> str:
        """Return ``search->value``, ``token=value`` or ``[slot]=value``."""
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
    """

    holes: tuple[Hole, ...]
    size: int
    mode: SourceMode
    number: int
    shown: frozenset[str]

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

    def drawn(self, moment: Moment, start: int) -> int:
        """Return the combination that a source which does not multiply takes now."""
        if self.mode == "rotate":
            return (start + moment.turn) % self.size
        return Dice(moment.seed, "source", self.number, moment.turn).below(self.size)


def _note(moment: Moment, axis: PromptAxis, rank: int) -> None:
    for hole, value in axis.values(rank):
        moment.values[ord(hole.sign)] = value
        moment.labels.append(hole.label(value))
        moment.choices[hole.name] = value


class Filled(Product, Node):
    """The end of the rules: a template whose holes are filled with what was chosen.

    Args:
        body: The template.
        more: Characters that the holes may add.
    """

    def __init__(self, body: Node, more: int = 0) -> None:
        super().__init__((body,))
        self._body = body
        self.most_characters, self.steps = body.most_characters + more, 1 + body.steps
        self.moving = body.moving

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the text with its holes filled."""
        return self._body.text(rank, turn, moment).translate(moment.values)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the choices of the template."""
        return self._body.choices()


class Loop(Product, Node):
    """An axis around the rest."""

    def __init__(self, axis: PromptAxis, body: Node) -> None:
        super().__init__((Line(axis.size), body))
        self._axis, self._body = axis, body
        self.most_characters, self.steps = body.most_characters, 1 + body.steps
        self.moving = body.moving

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Fill the holes of the axis and go on inside."""
        value, within = divmod(rank, self._body.size)
        _note(moment, self._axis, value)
        return self._body.text(within, turn, moment)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the choices inside."""
        return self._body.choices()


class Beside(Product, Node):
    """A source that does not multiply, around the rest."""

    def __init__(self, axis: PromptAxis, body: Node, start: int) -> None:
        super().__init__((body,))
        self._axis, self._body, self._start = axis, body, start
        self.most_characters, self.steps = body.most_characters, 1 + body.steps
        self.moving = body.moving

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Fill the holes with what the source takes now and go on inside."""
        _note(moment, self._axis, self._axis.drawn(moment, self._start))
        return self._body.text(rank, turn, moment)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the choices inside."""
        return self._body.choices()


class Branches(Union, Node):
    """An axis whose values lead to different rests."""

    def __init__(self, axis: PromptAxis, ranks: Sequence[int], bodies: Sequence[Node]) -> None:
        super().__init__(bodies, nested=False)
        self._axis, self._ranks, self._bodies = axis, ranks, bodies
        self.most_characters = max(body.most_characters for body in bodies)
        self.steps = 1 + max(body.steps for body in bodies)
        self.moving = any(body.moving for body in bodies)

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Note the value that leads to this branch and go on in it."""
        place, within = self.locate(rank)
        _note(moment, self._axis, self._ranks[place])
        return self._bodies[place].text(within, turn, moment)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the choices of every branch."""
        for body in self._bodies:
            yield from body.choices()


def hole_sign(number: int) -> str:
    """Return the private character of hole *number*."""
    if _FIRST_HOLE + number > _LAST_HOLE:
        raise PlanError(f"at most {_LAST_HOLE - _FIRST_HOLE + 1} rules, tokens and slots")
    return chr(_FIRST_HOLE + number)


def distinct_values(texts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the name and its values without repeats; both must be free of private signs."""
    for text in texts:
        if RESERVED.search(text):
            raise PlanError(f"the characters U+100000 to U+10FFFF are reserved, got {text!r}")
    return texts[0], tuple(dict.fromkeys(texts[1:]))


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
    """Split the first hole of which a value may form *pattern*, alone or with its neighbours."""
    pieces = HOLE.split(text)
    looked_at = set()
    for place in range(1, len(pieces), 2):
        before, after = pieces[place - 1][-1:], pieces[place + 1][:1]
        left_hole = not before and place > 1
        right_hole = not after and place < len(pieces) - 2
        case = (pieces[place], before, after, left_hole, right_hole)
        if case in looked_at:
            continue
        looked_at.add(case)
        spend(sum(1 + len(value) // 50 for value in values(pieces[place])))
        for value in values(pieces[place]):
            forms = pattern.search(before + value + after)
            joins = (left_hole and value[:1] in _EDGES) or (right_hole and value[-1:] in _EDGES)
            if forms or joins:
                raise SplitNeeded(pieces[place], what)


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
