"""Spaces of texts: what a rank of a template means, and what a variant notes of its choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice, product
from typing import Any

from safelight.errors import TemplateError
from safelight.randomizer.draws import Dice
from safelight.randomizer.plan_bounds import LONGEST_PROMPT, refuse_long
from safelight.randomizer.spaces import Merged, Product, Selection, Space, Union, without_repeats

__all__ = [
    "Choice",
    "Chosen",
    "Dependent",
    "Joined",
    "Literal",
    "Moment",
    "Moving",
    "Node",
    "Picks",
    "Slot",
    "Wrapped",
    "every_text",
    "steps_to_compare",
    "without_equal_texts",
]

_MOST_MERGED = 10_000
_MOST_COMPARED = 10_000_000
"""Characters of all texts of a choice, or steps to make them, up to which repeats are merged."""

_MOST_TEXTS = 1_000


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
        values: Hole -> text for what prompt rules put in.
        labels: What prompt rules did, for the variant's label.
        choices: What prompt rules did, by name.
    """

    seed: int
    turn: int
    chosen: list[Chosen] = field(default_factory=list)
    depth: int = 0
    fixed: dict[int, str] = field(default_factory=dict)
    values: dict[int, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)


class Node(Space):
    """A space of texts.

    Attributes:
        moving: Whether a text depends on the variant's number as well as on the rank.
        most_characters: Characters that a text may have, of all texts together the most; some
            that are counted may not be there (where choices exclude each other).
        steps: Nodes that are asked for one text, at the most.
    """

    moving: bool = False
    most_characters: int = 0
    steps: int = 1

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return text number *rank*, noting in *moment* what was chosen."""
        raise NotImplementedError

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the name and the space of every choice that is inside no other."""
        return iter(())


class Literal(Node):
    """One text."""

    def __init__(self, literal: str) -> None:
        self.literal = literal
        self.most_characters = len(literal)

    def text(self, rank: int, turn: int, moment: Moment) -> str:  # noqa: ARG002
        """Return the text."""
        return self.literal


class Joined(Product, Node):
    """Texts in a row."""

    def __init__(self, parts: Sequence[Node]) -> None:
        super().__init__(parts)
        self.nodes = tuple(parts)
        self.moving = any(part.moving for part in parts)
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


class Wrapped(Joined):
    """A wrapper around an inner text, which goes where the wrapper has an ellipsis."""

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the wrapper with the inner text at its ellipsis, or at its end."""
        from dynamicprompts.commands.wrap_command import WRAP_MARKER_RE

        ranks = self.split(rank)
        wrapper, inner = (n.text(r, turn, moment) for n, r in zip(self.nodes, ranks, strict=True))
        match = WRAP_MARKER_RE.search(wrapper)
        if match is None:
            return wrapper + inner
        return wrapper[: match.start()] + inner + wrapper[match.end() :]


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
        return chosen.text


class Choice(Union, Node):
    """One of several texts."""

    def __init__(self, slot: Slot, options: Sequence[Node], weights: Sequence[float]) -> None:
        super().__init__(options, weights, nested=True)
        self.slot, self.nodes = slot, tuple(options)
        self.moving = any(option.moving for option in options)
        self.most_characters = max(option.most_characters for option in options)
        self.steps = 1 + max(option.steps for option in options)

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the text of the option chosen, and note it."""
        place, within = self.locate(rank)
        later = turn // len(self.nodes)
        return self.slot.note(moment, lambda: self.nodes[place].text(within, later, moment))

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield this choice."""
        yield self.slot.where + self.slot.name, self


class Picks(Selection, Node):
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
        self.moving = any(option.moving for option in options)
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
        return self.slot.note(moment, lambda: self.join(self.texts(rank, turn, moment)))

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield this choice."""
        yield self.slot.where + self.slot.name, self


class MergedNode(Merged, Node):
    """A choice without repeated texts."""

    def __init__(self, node: Node, merged: Merged) -> None:
        self.__dict__.update(merged.__dict__)
        self.node = node
        self.most_characters, self.steps = node.most_characters, node.steps

    def text(self, rank: int, turn: int, moment: Moment) -> str:
        """Return the text of the first rank that has it."""
        return self.node.text(self.kept[rank], turn, moment)

    def choices(self) -> Iterator[tuple[str, Node]]:
        """Yield the choice, counted without repeats."""
        for name, _ in self.node.choices():
            yield name, self


class Moving(Node):
    """A choice that goes with the variant instead of multiplying: drawn, stepping or first."""

    moving = True

    def __init__(self, node: Node, how: str, key: str, *, once: bool = False) -> None:
        self.node, self._how, self._key, self._once = node, how, key, once
        self.most_characters, self.steps = node.most_characters, 1 + node.steps

    def text(self, rank: int, turn: int, moment: Moment) -> str:  # noqa: ARG002
        """Return the text that this variant has."""
        if self._once and id(self) in moment.fixed:
            return moment.fixed[id(self)]
        text = _moved(self.node, self._how, self._key, turn, moment)
        moment.fixed[id(self)] = text
        return text


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
        self.most_characters = max((node.most_characters for node in known), default=0)
        self.steps = 1 + path.steps + max((node.steps for node in known), default=0)

    def text(self, rank: int, turn: int, moment: Moment) -> str:  # noqa: ARG002
        """Return a value of the wildcard that this variant names.

        Raises:
            TemplateError: It is none of those that are known, and longer than they.
        """
        name = self._path.text(0, turn, moment)
        node = self._find(name)
        if node.most_characters > self.most_characters:
            refuse_long(LONGEST_PROMPT + node.most_characters, f"__{name}__", TemplateError)
        return _moved(node, self._how, self._key, turn, moment)


def _moved(node: Node, how: str, key: str, turn: int, moment: Moment) -> str:
    if how == "cycle":
        rank = node.step(turn)
    elif how == "first":
        rank = 0
    else:
        rank = node.sample(Dice(moment.seed, "template", key, moment.turn))
    return node.text(rank, turn, moment)


def steps_to_compare(node: Choice | Picks) -> int:
    """Return what it takes to look for repeated texts; 0 when nobody looks."""
    if node.moving or node.size > _MOST_MERGED or _plainly_different(node):
        return 0
    steps = node.size * max(node.most_characters // 20, node.steps)
    held = node.size * node.most_characters
    return steps if max(steps, held) <= _MOST_COMPARED else 0


def without_equal_texts(node: Choice | Picks) -> Node:
    """Return *node* without repeated texts, as far as its size allows to look."""
    if not steps_to_compare(node):
        return node
    scratch = Moment(0, 0)

    def meaning(rank: int) -> str | None:
        if isinstance(node, Choice):
            return node.text(rank, 0, scratch)
        texts = node.texts(rank, 0, scratch)
        return node.join(texts) if len(set(texts)) == len(texts) else None

    space = without_repeats(node, meaning)
    if not isinstance(space, Merged):
        return node
    if not space.size:
        raise TemplateError(f"{node.slot.where}: {node.slot.name} has no outcome without repeats")
    return MergedNode(node, space)


def _plainly_different(node: Choice | Picks) -> bool:
    texts = [option.literal for option in node.nodes if isinstance(option, Literal)]
    if len(texts) < len(node.nodes):
        return False
    return isinstance(node, Choice) or (
        bool(node.separator) and not any(not t or node.separator in t for t in texts)
    )


def every_text(node: Node) -> Any:
    """Yield every text that *node* can come to, whatever its moving parts do."""
    if isinstance(node, Moving):
        yield from every_text(node.node)
    elif isinstance(node, Choice):
        for option in node.nodes:
            yield from every_text(option)
    elif isinstance(node, Joined) and node.moving:
        for parts in product(*(list(islice(every_text(part), _MOST_TEXTS)) for part in node.nodes)):
            yield "".join(parts)
    elif not node.moving:
        scratch = Moment(0, 0)
        yield from (node.text(rank, 0, scratch) for rank in range(node.size))
