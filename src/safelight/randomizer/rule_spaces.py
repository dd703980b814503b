"""Spaces of what a prompt's texts come to: axes of rules, tokens and slots around templates.

Loops nest in the order of work, and in their middle is an :class:`Ending`: one template for each
text of the prompt. A variant goes from the outside in and notes the value of every axis; the
ending fills them into its texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from types import MappingProxyType
from typing import Protocol

from safelight.randomizer.plan import Axis
from safelight.randomizer.prompt_holes import PromptAxis
from safelight.randomizer.spaces import Line, Product, Space, Union
from safelight.randomizer.sweeps import LazyValues
from safelight.randomizer.text_spaces import Moment, Node

__all__ = ["Beside", "Branches", "Ending", "Factor", "Loop", "Noted", "Piece", "RuledSpace",
           "template_axes"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """One text of a prompt at its end.

    Attributes:
        where: ``stage.knob``.
        node: Its template.
        more: Characters that its holes may add.
        holed: Whether it has holes.
    """

    where: str
    node: Node
    more: int = 0
    holed: bool = False


class Factor(Protocol):
    """One of the spaces of which that of a prompt is the product."""

    size: int

    def step(self, turn: int) -> int:
        """Return the rank that *turn* leads to."""
        ...

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield what may be noted, and whether that depends on the variant's number as well."""
        ...

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the name and the space of every choice that is inside no other."""
        ...

    def note(self, rank: int, moment: Moment) -> None:
        """Note in *moment* what is chosen in combination *rank*."""
        ...


class Noted(Line):
    """The values of an axis, without the texts that they are in."""

    def __init__(self, axis: PromptAxis) -> None:
        super().__init__(axis.size)
        self._axis = axis

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of the axis."""
        return _names(self._axis)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield nothing: there is no template."""
        return iter(())

    def note(self, rank: int, moment: Moment) -> None:
        """Note the value."""
        self._axis.note(moment, rank)


def _names(axis: PromptAxis, *, move: bool = False) -> Iterator[tuple[str, bool]]:
    return ((hole.name, move) for hole in axis.holes if hole.sign in axis.shown)


class RuledSpace(Space):
    """A space of everything that one prompt's texts come to.

    Attributes:
        most_characters: Characters that the longest of its texts may have.
        met: Number of a source that moves on with the variants -> combinations in which it is met.
    """

    most_characters: int = 0
    met: Mapping[int, int] = MappingProxyType({})

    def met_before(self, rank: int, source: int) -> int:
        """Return in how many combinations before *rank* the source of that number is met."""
        raise NotImplementedError

    def fill(self, rank: int, turn: int, moment: Moment) -> None:
        """Put the texts of combination *rank* into *moment*, and what was chosen for them."""
        raise NotImplementedError

    def endings(self) -> Iterator[Ending]:
        """Yield every ending."""
        raise NotImplementedError

    def factors(self) -> Iterator[Factor]:
        """Yield the spaces of which this one is the product, the outermost first."""
        yield self

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield what may be noted, and whether that depends on the variant's number as well."""
        for ending in self.endings():
            yield from ending.names()

    def note(self, rank: int, moment: Moment) -> None:
        """Note in *moment* what is chosen in combination *rank*."""
        self.fill(rank, 0, moment)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the name and the space of every choice of a template that is inside no other."""
        for ending in self.endings():
            for piece in ending.pieces:
                yield from piece.node.choices()


def template_axes(prompts: Iterable[RuledSpace]) -> Iterator[Axis]:
    """Yield an axis for every choice of a template that is inside no other, each once."""
    seen: set[str] = set()
    for slot, choice in chain.from_iterable(prompt.choices() for prompt in prompts):
        if slot not in seen:
            seen.add(slot)
            values = _Texts(choice) if choice.settled else None
            yield Axis(name=slot, size=choice.size, values=values)


class _Texts(LazyValues):
    """The texts of one choice of a template."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.size)
        self._node = node

    def at(self, place: int) -> str:
        """Return text number *place*."""
        return self._node.text(place, 0, Moment(0, 0))


class Ending(Product, RuledSpace):
    """The end of the rules: templates whose holes are filled with what was chosen."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        super().__init__([piece.node for piece in pieces])
        self.pieces = tuple(pieces)
        self.most_characters = max(
            (piece.node.most_characters + piece.more for piece in pieces), default=0
        )

    def fill(self, rank: int, turn: int, moment: Moment) -> None:
        """Put every text into *moment*."""
        for piece, within in zip(self.pieces, self.split(rank), strict=True):
            moment.filled[piece.where] = within, turn
            text = piece.node.text(within, turn, moment)
            moment.texts[piece.where] = text.translate(moment.values) if piece.holed else text

    def met_before(self, rank: int, source: int) -> int:  # noqa: ARG002
        """Return 0: there is no source any more."""
        return 0

    def endings(self) -> Iterator[Ending]:
        """Yield this one."""
        yield self

    def factors(self) -> Iterator[Factor]:
        """Yield the factors of every template."""
        for piece in self.pieces:
            yield from piece.node.factors()

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of every template."""
        for piece in self.pieces:
            yield from piece.node.names()


class Loop(Product, RuledSpace):
    """An axis around the rest."""

    def __init__(self, axis: PromptAxis, body: RuledSpace) -> None:
        super().__init__((Line(axis.size), body))
        self._axis, self._body = axis, body
        self.most_characters = body.most_characters
        if body.met:
            self.met = {source: axis.size * count for source, count in body.met.items()}

    def fill(self, rank: int, turn: int, moment: Moment) -> None:
        """Note the value of the axis and go on inside."""
        value, within = divmod(rank, self._body.size)
        self._axis.note(moment, value)
        self._body.fill(within, turn, moment)

    def met_before(self, rank: int, source: int) -> int:
        """Count whole rounds of the axis, then inside."""
        value, within = divmod(rank, self._body.size)
        return value * self._body.met.get(source, 0) + self._body.met_before(within, source)

    def endings(self) -> Iterator[Ending]:
        """Yield those inside."""
        return self._body.endings()

    def factors(self) -> Iterator[Factor]:
        """Yield the axis, then the factors inside."""
        yield Noted(self._axis)
        yield from self._body.factors()

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of the axis, and those inside."""
        yield from _names(self._axis)
        yield from self._body.names()


class Beside(Product, RuledSpace):
    """A source that does not multiply, around the rest."""

    def __init__(self, axis: PromptAxis, body: RuledSpace, start: int) -> None:
        super().__init__((body,))
        self._axis, self._body, self._start = axis, body, start
        self.most_characters = body.most_characters
        self.met = {**body.met, axis.number: body.size} if axis.waits else body.met

    def fill(self, rank: int, turn: int, moment: Moment) -> None:
        """Note what the source takes now and go on inside."""
        self._axis.note(moment, self._axis.drawn(moment, self._start))
        self._body.fill(rank, turn, moment)

    def met_before(self, rank: int, source: int) -> int:
        """Count all combinations for its own source."""
        own = self._axis.waits and source == self._axis.number
        return rank if own else self._body.met_before(rank, source)

    def endings(self) -> Iterator[Ending]:
        """Yield those inside."""
        return self._body.endings()

    def factors(self) -> Iterator[Factor]:
        """Yield the factors inside."""
        return self._body.factors()

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of the source, which move, and those inside."""
        yield from _names(self._axis, move=True)
        yield from self._body.names()


class Branches(Union, RuledSpace):
    """An axis whose values lead to different rests."""

    def __init__(
        self, axis: PromptAxis, ranks: Sequence[int], bodies: Sequence[RuledSpace]
    ) -> None:
        super().__init__(bodies, nested=False)
        self._axis, self._ranks, self._bodies = axis, ranks, bodies
        self.most_characters = max(body.most_characters for body in bodies)
        self._sums: dict[int, list[int]] = {}
        if sources := {source for body in bodies for source in body.met}:
            self.met = {s: sum(body.met.get(s, 0) for body in bodies) for s in sorted(sources)}

    def fill(self, rank: int, turn: int, moment: Moment) -> None:
        """Note the value that leads to this branch and go on in it."""
        place, within = self.locate(rank)
        self._axis.note(moment, self._ranks[place])
        self._bodies[place].fill(within, turn, moment)

    def met_before(self, rank: int, source: int) -> int:
        """Count the branches before, then inside."""
        if source not in self._sums:
            met = (body.met.get(source, 0) for body in self._bodies)
            self._sums[source] = list(accumulate(met, initial=0))
        place, within = self.locate(rank)
        return self._sums[source][place] + self._bodies[place].met_before(within, source)

    def endings(self) -> Iterator[Ending]:
        """Yield those of every branch."""
        for body in self._bodies:
            yield from body.endings()

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of the axis, and those of every branch."""
        yield from _names(self._axis)
        for body in self._bodies:
            yield from body.names()
