"""Spaces of texts: what a rank of a template means, and what a variant notes of its choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

from safelight.errors import TemplateError
from safelight.randomizer.draws import Dice
from safelight.randomizer.plan_bounds import LONGEST_PROMPT, refuse_long
from safelight.randomizer.spaces import Merged, Product, Selection, Space, Union, without_repeats
from safelight.randomizer.traced_text import Marks, unmarked

__all__ = [
    "Choice",
    "Chosen",
    "Dependent",
    "Joined",
    "Literal",
    "Moment",
    "Moving",
    "Named",
    "Node",
    "Picks",
    "Repeating",
    "Slot",
    "Wrapped",
    "numbered",
    "steps_to_compare",
    "without_repeated",
]

_MOST_MERGED = 10_000
_MOST_COMPARED = 10_000_000
"""Characters of all texts of a choice, or steps to make them, up to which repeats are merged."""


@dataclass(slots=True)
class Chosen:
    """One choice that was made: which slot of which prompt, the text, and how deep inside."""

    where: str
    slot: str
    text: str
    depth: int


@dataclass(slots=True)
class Moment:
    """One variant in the making.

    Attributes:
        seed: The plan's seed.
        turn: The number of the combination in the plan, which ``@`` follows.
        chosen: Every choice made so far, outer ones before those inside.
        fixed: What variables stand for here, by identity.
        used: Those that the text has used.
        values: Hole -> text for what prompt rules put in.
        labels: What prompt rules did, for the variant's label.
        choices: What prompt rules did, by name.
        filled: ``stage.knob`` -> rank and turn of the template that prompt rules lead to.
        marks: Where sources mark what they put in; None where nobody asks.
        texts: ``stage.knob`` -> what it came to.
        met: Number of a prompt rule -> how often it was met before; None where it is not counted.
    """

    seed: int
    turn: int
    chosen: list[Chosen] = field(default_factory=list)
    depth: int = 0
    fixed: dict[int, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    values: dict[int, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)
    filled: dict[str, tuple[int, int]] = field(default_factory=dict)
    marks: Marks | None = None
    texts: dict[str, str] = field(default_factory=dict)
    met: Callable[[int], int] | None = None


class Node(Space):
    """A space of texts.

    Attributes:
        moving: Whether a text depends on the variant's number as well as on the rank.
        needs: Variables that have a value only in a place around this one.
        most_characters: Characters that a text may have, of all texts together the most; some
            that are counted may not be there (where choices exclude each other).
        steps: Nodes that are asked for one text, at the most.
    """

    moving: bool = False
    needs: frozenset[Node] = frozenset()
    most_characters: int = 0
    steps: int = 1

    @property
    def settled(self) -> bool:
        """Whether a text depends on nothing but the rank."""
        return not (self.moving or self.needs)

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return text number *rank*, noting in *moment* what was chosen."""
        raise NotImplementedError

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the name and the space of every choice that is inside no other."""
        return iter(())

    def factors(self) -> Iterator[Node]:
        """Yield the spaces of which this one is the product, the outermost first."""
        yield self

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield what a text may note, and whether that depends on the variant's number as well."""
        return iter(())

    def note(self, rank: int, moment: Moment) -> None:
        """Note in *moment* what is chosen for text number *rank*."""
        self.text(rank, 0, moment)


class Literal(Node):
    """One text."""

    def __init__(self, literal: str) -> None:
        self.literal = literal
        self.most_characters = len(literal)

    def text(self, rank: int, turn: int, moment: Moment) -> str:  # noqa: ARG002
        """Return the text."""
        return self.literal


def numbered(names: Sequence[str]) -> Sequence[str]:
    """Return *names* with `` #2`` after one that comes the second time."""
    if len(set(names)) == len(names):
        return names
    times: Counter[str] = Counter()
    told = []
    for name in names:
        times[name] += 1
        told.append(name if times[name] == 1 else f"{name} #{times[name]}")
    return told


def _depending(parts: Sequence[Node]) -> tuple[bool, frozenset[Node]]:
    return any(part.moving for part in parts), frozenset().union(*(part.needs for part in parts))


class Joined(Product, Node):
    """Texts in a row."""

    def __init__(self, parts: Sequence[Node]) -> None:
        super().__init__(parts)
        self.nodes = tuple(parts)
        self.moving, self.needs = _depending(parts)
        self.most_characters = sum(part.most_characters for part in parts)
        self.steps = 1 + sum(part.steps for part in parts)

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the texts of all parts, joined."""
        ranks = self.split(rank)
        return "".join(
            [node.text(r, turn, moment) for node, r in zip(self.nodes, ranks, strict=True)]
        )

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the choices of every part."""
        for node in self.nodes:
            yield from node.choices()

    def factors(self) -> Iterator[Node]:
        """Yield the factors of every part."""
        for node in self.nodes:
            yield from node.factors()

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of every part."""
        for node in self.nodes:
            yield from node.names()


def _as_unmarked(make: Callable[[Sequence[str]], str], texts: Sequence[str]) -> str:
    """Return what *make* makes of *texts*, without marks where they get in its way."""
    made, plain = make(texts), make(list(map(unmarked, texts)))
    return made if unmarked(made) == plain else plain


class Wrapped(Joined):
    """A wrapper around an inner text, which goes where the wrapper has an ellipsis."""

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the wrapper with the inner text at its ellipsis, or at its end."""
        from dynamicprompts.commands.wrap_command import WRAP_MARKER_RE

        ranks = self.split(rank)
        texts = [n.text(r, turn, moment) for n, r in zip(self.nodes, ranks, strict=True)]

        def wrap(texts: Sequence[str]) -> str:
            wrapper, inner = texts
            match = WRAP_MARKER_RE.search(wrapper)
            if match is None:
                return wrapper + inner
            return wrapper[: match.start()] + inner + wrapper[match.end() :]

        return _as_unmarked(wrap, texts) if moment.marks else wrap(texts)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a choice stands: the prompt, and its name within it."""

    where: str
    name: str

    def note(self, moment: Moment, make: Callable[[], str]) -> str:
        """Note the text that *make* returns, before the choices made inside it."""
        chosen = Chosen(self.where, self.name, "", moment.depth)
        moment.chosen.append(chosen)
        moment.depth += 1
        chosen.text = make()
        moment.depth -= 1
        return self.mark(moment, chosen.text) if moment.marks else chosen.text

    def mark(self, moment: Moment, text: str) -> str:
        """Return *text*, marked where somebody asks what put it there."""
        return moment.marks.around(text, self.where + self.name) if moment.marks else text


class Named(Joined):
    """What a variable stands for that is written out where it is used."""

    def __init__(self, slot: Slot, node: Node) -> None:
        super().__init__((node,))
        self._slot = slot

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the text."""
        return self._slot.mark(moment, super().text(rank, turn, moment))


class Repeating(Node):
    """A space in which several ranks may mean the same."""

    slot: Slot

    def meaning(self, rank: int) -> object:
        """Return what tells *rank* from others; None for one that must not come."""
        raise NotImplementedError

    def surely_different(self) -> bool:
        """Return whether no two ranks mean the same, as far as that is seen at once."""
        raise NotImplementedError


class Choice(Union, Repeating):
    """One of several texts."""

    def __init__(self, slot: Slot, options: Sequence[Node], weights: Sequence[float]) -> None:
        super().__init__(options, weights, nested=True)
        self.slot, self.nodes, self.weights = slot, tuple(options), tuple(weights)
        self.moving, self.needs = _depending(options)
        self.most_characters = max(option.most_characters for option in options)
        self.steps = 1 + max(option.steps for option in options)

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the text of the option chosen, and note it."""
        place, within = self.locate(rank)
        later = turn // len(self.nodes)
        return self.slot.note(moment, lambda: self.nodes[place].text(within, later, moment))

    def meaning(self, rank: int) -> object:
        """Return what tells a rank from others: its text."""
        return self.text(rank, 0, Moment(0, 0))

    def surely_different(self) -> bool:
        """Return whether no two ranks mean the same, as far as that is seen at once."""
        return all(isinstance(option, Literal) for option in self.nodes)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield this choice."""
        yield self.slot.where + self.slot.name, self

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield this choice, and those inside it."""
        return _names_of(self)


class Picks(Selection, Repeating):
    """Several of several texts, with a separator between them."""

    def __init__(
        self,
        slot: Slot,
        options: Sequence[Node],
        weights: Sequence[float],
        bounds: tuple[int, int],
        separator: str,
    ) -> None:
        super().__init__(options, weights, *bounds)
        self.slot, self.nodes, self.separator = slot, tuple(options), separator
        self.moving, self.needs = _depending(options)
        most = bounds[1]
        self.most_characters = sum(nlargest(most, (each.most_characters for each in options)))
        self.most_characters += (most - 1) * len(separator)
        self.steps = 1 + sum(nlargest(most, (each.steps for each in options)))

    def texts(self, rank: int, turn: int, moment: Moment) -> list[str]:
        """Return the texts that are joined."""
        places, ranks = self.locate(rank)
        later = turn // sum(self._orders)
        return [
            self.nodes[place].text(within, later, moment)
            for place, within in zip(places, ranks, strict=True)
        ]

    def join(self, texts: Sequence[str]) -> str:
        """Join as the library does: an empty text at an end takes its separator with it."""
        if len(texts) == 1:
            return texts[0]
        joined = self.separator.join(texts)
        return joined.removeprefix(self.separator).removesuffix(self.separator)

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the texts of the options picked, joined, and note them."""

        def make() -> str:
            texts = self.texts(rank, turn, moment)
            return _as_unmarked(self.join, texts) if moment.marks else self.join(texts)

        return self.slot.note(moment, make)

    def meaning(self, rank: int) -> object:
        """Return the text; None where a text is in it twice."""
        texts = self.texts(rank, 0, Moment(0, 0))
        return self.join(texts) if len(set(texts)) == len(texts) else None

    def surely_different(self) -> bool:
        """Return whether no two ranks mean the same, as far as that is seen at once."""
        texts = [option.literal for option in self.nodes if isinstance(option, Literal)]
        return (
            len(texts) == len(self.nodes)
            and bool(self.separator)
            and not any(not text or self.separator in text for text in texts)
        )

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield this choice."""
        yield self.slot.where + self.slot.name, self

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield this choice, and those inside it."""
        return _names_of(self)


def _names_of(node: Choice | Picks) -> Iterator[tuple[str, bool]]:
    yield node.slot.where + node.slot.name, node.moving
    for option in node.nodes:
        if not isinstance(option, Literal):
            yield from option.names()


class MergedNode(Merged, Node):
    """A space without what means the same as something earlier."""

    def __init__(self, node: Node, merged: Merged) -> None:
        self.__dict__.update(merged.__dict__)
        self.node = node
        self.most_characters, self.steps = node.most_characters, node.steps

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the text of the first rank that has it."""
        return self.node.text(self.kept[rank], turn, moment)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the choices; one that is all of this is counted without repeats."""
        for name, choice in self.node.choices():
            yield name, self if choice is self.node else choice

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of the choice."""
        return self.node.names()


class Moving(Node):
    """A choice that goes with the variant instead of multiplying: drawn or stepping."""

    moving = True

    def __init__(self, node: Node, how: str, key: str) -> None:
        self.node, self._how, self._key = node, how, key
        self.needs = node.needs
        self.most_characters, self.steps = node.most_characters, 1 + node.steps

    def text(self, rank: int, turn: int, moment: Moment) -> str:  # noqa: ARG002
        """Return the text that this variant has."""
        return _moved(self.node, self._how, self._key, turn, moment)

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of the choice, which all move."""
        return ((name, True) for name, _ in self.node.names())


class Dependent(Node):
    """A wildcard whose name depends on a moving choice; goes with the variant, too."""

    moving = True

    def __init__(
        self,
        path: Node,
        find: Callable[[str], Node],
        how: str,
        key: str,
        known: Sequence[Node] = (),
    ) -> None:
        self._path, self._find, self._how, self._key = path, find, how, key
        self.needs = _depending([path, *known])[1]
        self.most_characters = max((node.most_characters for node in known), default=0)
        self.steps = 1 + path.steps + max((node.steps for node in known), default=0)

    def text(self, rank: int, turn: int, moment: Moment) -> str:  # noqa: ARG002
        """Return a value of the wildcard that this variant names.

        Raises:
            TemplateError: It is none of those that are known, and longer than they.
        """
        name = unmarked(self._path.text(0, turn, moment))
        node = self._find(name)
        if node.most_characters > self.most_characters:
            refuse_long(LONGEST_PROMPT + node.most_characters, f"__{name}__", TemplateError)
        return _moved(node, self._how, self._key, turn, moment)


def _moved(node: Node, how: str, key: str, turn: int, moment: Moment) -> str:
    if how == "cycle":
        rank = node.step(turn)
    else:
        rank = node.sample(Dice(moment.seed, "template", key, moment.turn))
    return node.text(rank, turn, moment)


def steps_to_compare(node: Repeating) -> int:
    """Return what it takes to look for repeats; 0 when nobody looks."""
    if not node.settled or node.size > _MOST_MERGED or node.surely_different():
        return 0
    steps = node.size * max(node.most_characters // 20, node.steps)
    held = node.size * node.most_characters
    return steps if max(steps, held) <= _MOST_COMPARED else 0


def without_repeated(node: Repeating) -> Node:
    """Return *node* without ranks that mean the same, as far as its size allows to look."""
    if not steps_to_compare(node):
        return node
    space = without_repeats(node, node.meaning)
    if not isinstance(space, Merged):
        return node
    if not space.size:
        raise TemplateError(f"{node.slot.where}: {node.slot.name} has no outcome without repeats")
    return MergedNode(node, space)
