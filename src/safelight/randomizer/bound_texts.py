"""Texts that are chosen once and stand in several places: ``${x=!{a|b}}${x} and ${x}``.

The value of the variable is an axis around the smallest part of the template that uses it, and a
:class:`Reference` in that part has the text that was chosen. Where the name of a wildcard is made
of it, what comes inside depends on the text: there is one branch for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product

from safelight.randomizer.spaces import Product, Union
from safelight.randomizer.text_spaces import (
    Choice,
    Joined,
    MergedNode,
    Moment,
    Moving,
    Node,
    Picks,
    Repeating,
    Slot,
)

__all__ = ["Bound", "Reference", "TextNeeded", "Unrolled", "bind", "every_text", "text_needed"]

_MOST_TEXTS = 1_000
_Finish = Callable[[Repeating], Node]


class Reference(Node):
    """A place where a variable stands whose value is chosen further out.

    Attributes:
        slot: What the choice is called.
        value: What there is to choose from.
    """

    def __init__(self, slot: Slot, value: Node) -> None:
        self.slot, self.value = slot, value
        self.needs = frozenset({self})
        self.moving = value.moving
        self.most_characters = value.most_characters

    def text(self, rank: int, turn: int, moment: Moment) -> str:  # noqa: ARG002
        """Return the text that was chosen."""
        moment.used.add(id(self))
        return moment.fixed[id(self)]

    def told(self, rank: int, turn: int, moment: Moment) -> str:
        """Return text number *rank* of the value, noted under the variable's name alone."""
        begin = len(moment.chosen)
        text = self.slot.note(moment, lambda: self.value.text(rank, turn, moment))
        if isinstance(self.value, (Choice, Picks, MergedNode)):
            del moment.chosen[begin + 1]  # which is the same once more
        return text


class Bound(Product, Repeating):
    """The value of a variable, around the part that uses it."""

    def __init__(self, reference: Reference, body: Node) -> None:
        super().__init__((reference.value, body))
        self.slot = reference.slot
        self._reference, self.body = reference, body
        self.moving = reference.value.moving or body.moving
        self.needs = (reference.value.needs | body.needs) - {reference}
        self.most_characters = body.most_characters
        self.steps = 1 + reference.value.steps + body.steps

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Choose the value, then return the text around it; what is not used is not noted."""
        first, within = divmod(rank, self.body.size)
        key, begin = id(self._reference), len(moment.chosen)
        moment.fixed[key] = self._reference.told(first, turn, moment)
        end = len(moment.chosen)
        moment.used.discard(key)
        text = self.body.text(within, turn, moment)
        if key not in moment.used:
            del moment.chosen[begin:end]
        return text

    def meaning(self, rank: int) -> object:
        """Return the text and how it came about, in which a value that is not used is no part."""
        moment = Moment(0, 0)
        text = self.text(rank, 0, moment)
        return text, *((each.slot, each.text) for each in moment.chosen)

    def surely_different(self) -> bool:
        """Return whether the value is in every text, as far as that is seen at once."""
        parts = self.body.nodes if isinstance(self.body, Joined) else (self.body,)
        others = [part for part in parts if part is not self._reference]
        return len(others) < len(parts) and all(part.settled for part in others)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the value, then the choices around it."""
        if self._reference.value.size > 1:
            yield self.slot.where + self.slot.name, self._reference.value
        yield from self.body.choices()

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the variable, what is inside its value, and the names around it."""
        yield self.slot.where + self.slot.name, self._reference.value.moving
        yield from self._reference.value.names()
        yield from self.body.names()


class Unrolled(Union, Node):
    """The values of a variable, each with a template of its own."""

    def __init__(self, reference: Reference, bodies: Sequence[Node]) -> None:
        value = reference.value
        chances = [value.chance(rank) for rank in range(value.size)]
        super().__init__(bodies, chances if any(chances) else None, nested=False)
        self._reference, self._bodies = reference, bodies
        self.moving = any(body.moving for body in bodies)
        self.needs = frozenset().union(*(body.needs for body in bodies))
        self.most_characters = max(body.most_characters for body in bodies)
        self.steps = 1 + value.steps + max(body.steps for body in bodies)

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Choose the value, then go on in what it leads to."""
        place, within = self.locate(rank)
        self._reference.told(place, turn, moment)
        return self._bodies[place].text(within, turn, moment)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the value, then the choices of every branch."""
        yield self._reference.slot.where + self._reference.slot.name, self._reference.value
        for body in self._bodies:
            yield from body.choices()

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the variable, what is inside its value, and the names of every branch."""
        slot = self._reference.slot
        yield slot.where + slot.name, self._reference.value.moving
        yield from self._reference.value.names()
        for body in self._bodies:
            yield from body.names()


class TextNeeded(Exception):
    """What comes inside depends on the text that *reference* has."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference.slot.name)
        self.reference = reference


def text_needed(node: Node) -> Reference | None:
    """Return the outermost variable without which nothing is known of *node*, if there is one.

    One that moves is none: then *node* moves, too.
    """
    for each in node.needs:
        if isinstance(each, Reference) and not each.value.moving:
            return text_needed(each.value) or each
    return None


def bind(reference: Reference, node: Node, finish: _Finish) -> Node:
    """Return *node* with the value of *reference* around whatever uses it, and around no more.

    Args:
        reference: The variable.
        node: What uses it, or does not.
        finish: Looks at each space that is made anew.
    """
    if reference not in node.needs:
        return node
    if type(node) is Joined:
        places = [place for place, part in enumerate(node.nodes) if reference in part.needs]
        first, end = places[0], places[-1] + 1
        if end - first < len(node.nodes):
            inside = node.nodes[first:end]
            part = bind(reference, inside[0] if len(inside) == 1 else Joined(inside), finish)
            return Joined([*node.nodes[:first], part, *node.nodes[end:]])
    if type(node) is Choice and any(reference not in option.needs for option in node.nodes):
        options = [bind(reference, option, finish) for option in node.nodes]
        return finish(Choice(node.slot, options, node.weights))
    return finish(Bound(reference, node))


def every_text(node: Node) -> Iterator[str]:
    """Yield every text that *node* can come to, whatever its moving parts do."""
    if isinstance(node, Moving):
        yield from every_text(node.node)
    elif isinstance(node, Reference):
        yield from every_text(node.value)
    elif isinstance(node, Bound):
        yield from every_text(node.body)
    elif isinstance(node, Choice):
        for option in node.nodes:
            yield from every_text(option)
    elif isinstance(node, Joined) and not node.settled:
        for parts in product(*(list(islice(every_text(part), _MOST_TEXTS)) for part in node.nodes)):
            yield "".join(parts)
    elif node.settled:
        scratch = Moment(0, 0)
        yield from (node.text(rank, 0, scratch) for rank in range(node.size))
