"""Prompt search/replace rules, inline wildcard tokens and matrix slots as one space of prompts.

A rule does not replace text at once: it leaves a *hole*, one private character that stands for
all of the rule's values, so axes multiply without being listed. That is exact as long as no
later step could tell the values apart. Where one could (a later search text that may match
inside or across a hole, a slot or template syntax that a value may form), the hole is split: its
axis becomes one branch per value, in the same place of the loop order, and everything else
stays symbolic. More than 10,000 branches are refused.

All texts of a prompt (the prompts and negative prompts of every stage) go through together, joined
by a private character that nothing matches across, so a source has one value in all of them. The
work goes base prompt, rules, tokens, slots, templates; loops nest in that order, first listed
outermost. Replacement is plain text, case-sensitive, every occurrence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from types import MappingProxyType

from safelight.config import RandomizerConfig
from safelight.errors import PlanError
from safelight.knobs import loose_name
from safelight.randomizer.holed_templates import HoledTemplates
from safelight.randomizer.plan import Axis
from safelight.randomizer.plan_bounds import PlanWork, refuse_long
from safelight.randomizer.prompt_holes import (
    HOLE,
    RESERVED,
    SEPARATOR,
    Hole,
    PromptAxis,
    SplitNeeded,
    refuse_forming,
    refuse_touching,
    shown_prefix,
)
from safelight.randomizer.prompt_parts import PartAxis, divided, part_axes
from safelight.randomizer.prompt_sources import PromptSources, SweptText, acts_on
from safelight.randomizer.rule_spaces import Beside, Branches, Ending, Loop, Piece, RuledSpace
from safelight.randomizer.templates import Templates
from safelight.randomizer.text_spaces import Moment
from safelight.separating_bars import without_escapes

__all__ = ["SLOT", "PromptRules"]

SLOT = re.compile(rf"\[\[([^\[\]{SEPARATOR}]+)\]\]")
"""Where a slot stands."""

_BRACKETS = re.compile(r"\[\[|\]\]")
_MOST_STATES = 10_000

_Step = Callable[[str], RuledSpace]


class PromptRules:
    """Turns the texts of a prompt as written into the space of what the rules make of them.

    Attributes:
        sources: What acts on them.
        slots_apply_to: ``stage.knob`` of the texts that slots are filled in; empty for all.
        warnings: What the user should know about the rules as they met the prompts.
    """

    def __init__(
        self,
        config: RandomizerConfig,
        seed: int,
        templates: Templates | None,
        work: PlanWork | None = None,
        *,
        order: Sequence[str] = (),
        swept: Mapping[str, SweptText] = MappingProxyType({}),
    ) -> None:
        """Start with no prompts.

        Args:
            config: The sources.
            seed: The plan's seed.
            templates: Reads templates; None where no text is one.
            work: Counts what is done.
            order: ``stage.knob`` of all texts, in the order in which their choices nest; a base
                prompt belongs to the first.
            swept: Those that are swept -> the texts that stand there.

        Raises:
            PlanError: There are too many sources.
        """
        self._config, self._seed, self._order = config, seed, order
        self._first = order[0] if order else ""
        self._work = work or PlanWork()
        self._turn = self._states = 0
        self._written: Mapping[str, str] = {}
        self.sources = PromptSources(config, swept)
        self.slots_apply_to = config.matrix.applies_to
        self.warnings: list[str] = list(self.sources.warnings)
        self._swept = {axis.holes[0].sign: where for where, axis in self.sources.swept.items()}
        self._holes = {hole.sign: hole for hole in self.sources.holes}
        self._holes |= {axis.holes[0].sign: axis.holes[0] for axis in self.sources.swept.values()}
        chosen = config.templates if isinstance(config.templates, tuple) else ()
        self._templates = HoledTemplates(templates, chosen, self._holes, self._spend)
        self._met: set[str] = set()
        self._axes: dict[str, PromptAxis] = {}
        self._met_here: set[int] = set()
        self._met_earlier: Counter[int] = Counter()

    def space(self, texts: Mapping[str, str], turn: int) -> RuledSpace:
        """Return the space of what the rules make of one prompt of the pack.

        Args:
            texts: ``stage.knob`` -> text as written, which swept ones take the place of.
            turn: Its number in the pack, from 0; the prompts are asked for in their order, because
                ``sequential`` sources move on where they are met.

        Raises:
            PlanError: The rules act on each other in more than 10,000 ways, or make a prompt too
                long.
            TemplateError: A template cannot be read.
        """
        for where, text in texts.items():
            if RESERVED.search(text):
                raise PlanError(
                    f"{where}: the characters U+100000 to U+10FFFF must not be in a prompt"
                )
        self._turn, self._states, self._written = turn, 0, self._begun(texts)
        self._met_earlier.update(self._met_here)
        self._met_here.clear()
        if not (self._holes or self.listed):
            return self._ending(self._written.items())
        joined = SEPARATOR.join(self._based(text, where) for where, text in self._written.items())
        try:
            return self._looped(list(self.sources.swept.values()), joined, self._parted)
        except RecursionError as error:
            raise PlanError(
                f"{self._name}: too many rules, tokens and slots are in one prompt; use fewer"
            ) from error

    def _based(self, text: str, where: str) -> str:
        if where != self._first:
            return text
        based = self.sources.based(text, where)
        if based == text and self.based and self._config.matrix.prompt_mode != "replace":
            self._warn(f"{where}: has the base prompt already, which is not put there again")
        return based

    def _begun(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return the texts of a prompt in their order, each swept one a hole."""
        swept = {where: sign for sign, where in self._swept.items()}
        based = {self._first: ""} if self.based else {}
        begun = {**based, **texts, **swept}
        return {where: begun[where] for where in self._order if where in begun}

    @property
    def based(self) -> bool:
        """Whether there is a base prompt."""
        return self.sources.based("", self._first) != ""

    @property
    def listed(self) -> bool:
        """Whether there is any rule, token, slot, base prompt or prompt matrix."""
        sources = self.sources
        return bool(sources.rules or sources.slots or sources.part_signs or self.based)

    def shown_axes(self) -> Iterator[Axis]:
        """Yield the axes that were met and multiply."""
        for name, axis in self._axes.items():
            if axis.mode == "fanout":
                hole = axis.holes[0] if len(axis.holes) == 1 else None
                values = None if hole is None else tuple(map(hole.chosen, hole.values[: axis.size]))
                yield Axis(name=name, size=axis.size, values=values)

    def moving_axes(self) -> Iterator[PromptAxis]:
        """Yield those that were met, have several values and do not multiply."""
        return (axis for axis in self._axes.values() if axis.mode != "fanout" and axis.size > 1)

    def acts_in(self, text: str, where: str) -> bool:
        """Return whether *text* would be changed, if it stood in a prompt's place."""
        sources, matrix = self.sources, self._config.matrix
        return (
            self._templates.acts_in(text, where)
            or any(
                rule.search in text and acts_on(rule.applies_to, where) for rule in sources.rules
            )
            or (
                acts_on(matrix.applies_to, where)
                and any(loose_name(name) in sources.slots for name in SLOT.findall(text))
            )
        )

    def check(self) -> None:
        """Add a warning for every rule, token and slot that was in no prompt."""
        slots = self.sources.slots.values()
        for hole in self.sources.holes:
            if hole.sign not in self._met:
                name = hole.name.removesuffix("->")
                kind = "slot [[" + name + "]]" if hole in slots else repr(name)
                self.warnings.append(f"{kind} is in no prompt and changes nothing")
        if self.sources.part_signs and not self._met.intersection(self.sources.part_signs):
            self.warnings.append("randomizer.prompt_matrix: no prompt has parts, separated by '|'")

    # -- what one variant has -----------------------------------------------------------

    def reads(self, where: str) -> bool:
        """Return whether the text *where* is a template."""
        return self._templates.reads(where)

    def based_texts(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return *texts* in their order, with the base prompt in the first."""
        begun = {**({self._first: ""} if self.based else {}), **texts}
        return {
            where: self.sources.based(begun[where], where) if where == self._first else begun[where]
            for where in self._order
            if where in begun
        }

    def with_parts(self, texts: Mapping[str, str], values: Mapping[int, str]) -> dict[str, str]:
        """Return *texts* with those of their parts that a variant has.

        Args:
            texts: ``stage.knob`` -> text, with the base prompt.
            values: Hole -> what this variant puts in.
        """
        self._written = texts
        pieces = self._in_parts(SEPARATOR.join(texts.values()))[1]
        joined = SEPARATOR.join(pieces).translate(values)
        return dict(zip(texts, joined.split(SEPARATOR), strict=True))

    # -- the texts together -------------------------------------------------------------

    def _reached(self, text: str, applies_to: Sequence[str]) -> str:
        """Return those of the texts that a source acts on."""
        if not applies_to:
            return text
        return SEPARATOR.join(piece for where, piece in self._pieces(text) if where in applies_to)

    def _changed(self, text: str, applies_to: Sequence[str], change: Callable[[str], str]) -> str:
        """Return the texts with those changed that a source acts on."""
        if not applies_to:
            return change(text)
        return SEPARATOR.join(
            change(piece) if where in applies_to else piece for where, piece in self._pieces(text)
        )

    def _pieces(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield ``stage.knob`` and text; nothing where there is no text at all."""
        return zip(self._written, text.split(SEPARATOR), strict=False)

    @property
    def _name(self) -> str:
        """The first text of the prompt, for messages about all of them."""
        return next(iter(self._written), self._first)

    def _where(self, text: str, signs: frozenset[str]) -> str:
        """Return the first text in which one of *signs* is."""
        found = (where for where, piece in self._pieces(text) if signs & set(piece))
        return next(found, self._name)

    # -- the steps ----------------------------------------------------------------------

    def _parted(self, text: str) -> RuledSpace:
        """Divide positive prompts into their parts, then apply the rules."""
        if not self.sources.part_signs:
            return self._ruled(text, 0)
        axes, pieces = self._in_parts(text)
        return self._looped(axes, SEPARATOR.join(pieces), partial(self._ruled, place=0))

    def _in_parts(self, text: str) -> tuple[list[PartAxis], list[str]]:
        """Return an axis for each part, and the texts with a hole where each part may be."""
        signs, matrix = self.sources.part_signs, self._config.prompt_matrix
        found = {where: self._divided(where, piece) for where, piece in self._pieces(text)}
        parts = list(dict.fromkeys(part for _, listed in found.values() for part in listed))
        where = next((where for where, (_, listed) in found.items() if listed), self._name)
        axes = part_axes(parts, signs, matrix, len(self.sources.swept), where)
        self._holes.update((axis.holes[0].sign, axis.holes[0]) for axis in axes)
        sign_of = {part: axis.holes[0].sign for part, axis in zip(parts, axes[::-1], strict=True)}
        pieces = []
        for base, listed in found.values():
            holes = "".join(sign_of[part] for part in listed)
            pieces.append(holes + base if matrix.place == "start" else base + holes)
        return axes, pieces

    def _divided(self, where: str, piece: str) -> tuple[str, list[str]]:
        """Return the base and the parts of a text."""
        if not where.endswith(".prompt"):
            return piece, []
        if piece in self._swept:
            if any("|" in value for value in self._values(piece)):
                raise SplitNeeded(piece, "the parts of a prompt")
            return piece, []
        base, parts = divided(piece)
        if "" in parts:
            self._warn(f"{where}: nothing stands beside a '|', which adds no part")
        if not self._templates.reads(where):
            base, parts = without_escapes(base), list(map(without_escapes, parts))
        return base, [part for part in parts if part]

    def _ruled(self, text: str, place: int) -> RuledSpace:
        """Apply the rules from *place* on, then the matrix and the templates."""
        rules, holed = self.sources.rules, HOLE.search(text) is not None
        for number in range(place, len(rules)):
            rule = rules[number]
            seen = self._reached(text, rule.applies_to)
            self._spend(1 + len(seen) // 100)
            if holed:
                refuse_touching(rule.search, seen, self._values, self._spend)
            if rule.search in seen:
                replaced = partial(_replaced, search=rule.search, sign=rule.axis.holes[0].sign)
                with_hole = self._changed(text, rule.applies_to, replaced)
                return self._placed(rule.axis, with_hole, partial(self._ruled, place=number + 1))
        return self._slotted(text)

    def _slotted(self, text: str) -> RuledSpace:
        slots, applies_to = self.sources.slots, self._config.matrix.applies_to
        if not slots:
            return self._ended(text)
        seen = self._reached(text, applies_to)
        self._spend(len(slots) + len(seen) // 20)
        refuse_forming(_BRACKETS, seen, self._values, "[[slot]]", self._spend)
        spelled: dict[str, str] = {}
        for match in SLOT.finditer(seen):
            if hole := HOLE.search(match[1]):
                raise SplitNeeded(hole[0], f"the slot {match[0]!r}")
            spelled.setdefault(loose_name(match[1]), match[1])
        shown = {name: slots[name] for name in slots if name in spelled}
        self._tell_unknown_slots(seen, shown)
        text = self._changed(
            text,
            applies_to,
            lambda seen: SLOT.sub(
                lambda m: shown[name].sign if (name := loose_name(m[1])) in shown else m[0], seen
            ),
        )
        named = {
            name: Hole(hole.sign, f"[{spelled.get(name, hole.name)}]", hole.values)
            for name, hole in slots.items()
        }
        return self._looped(self._matrix_axes(named, set(shown)), text, self._ended)

    def _tell_unknown_slots(self, seen: str, shown: Mapping[str, Hole]) -> None:
        reached = [w for w in self._written if acts_on(self._config.matrix.applies_to, w)]
        for where, piece in zip(reached, seen.split(SEPARATOR), strict=False):
            for name in dict.fromkeys(SLOT.findall(piece)):
                if loose_name(name) not in shown:
                    self._warn(f"{where}: slot [[{name}]] has no values, left in place")

    def _matrix_axes(self, named: dict[str, Hole], shown: set[str]) -> list[PromptAxis]:
        """Return one axis per slot shown, or one for all where the slots go together."""
        matrix, holes = self._config.matrix, tuple(named.values())
        total = prod(len(hole.values) for hole in holes)
        cut = 0 < matrix.limit < total
        number = len(self.sources.rules)
        if matrix.mode == "fanout" and not cut:
            return [
                PromptAxis((hole,), len(hole.values), "fanout", number, frozenset(hole.sign))
                for name, hole in named.items()
                if name in shown
            ]
        if not shown:
            return []
        size = min(matrix.limit, total) if matrix.limit else total
        signs = frozenset(named[name].sign for name in shown)
        if matrix.mode == "fanout":
            self._warn(
                f"kept the first {size:,} of {total:,} matrix combinations "
                f"(randomizer.matrix.limit = {matrix.limit})"
            )
            size = shown_prefix([(hole.sign in signs, len(hole.values)) for hole in holes], size)
            holes = tuple(hole for hole in holes if hole.sign in signs)
        return [PromptAxis(holes, size, matrix.mode, number, signs)]

    def _looped(self, axes: Sequence[PromptAxis], text: str, rest: _Step) -> RuledSpace:
        """Put *axes* around what *rest* makes of *text*, the first one outermost."""
        if not axes:
            return rest(text)
        return self._placed(axes[0], text, lambda new: self._looped(axes[1:], new, rest))

    def _placed(self, axis: PromptAxis, text: str, rest: _Step) -> RuledSpace:
        """Put *axis* around what *rest* makes of *text*, split where the rest needs it."""
        self._spend(10)
        self._met |= axis.shown
        self._axes.setdefault(axis.name, axis)
        if axis.waits:
            self._met_here.add(axis.number)
        if axis.mode == "sequential":
            turn = self._met_earlier[axis.number] if axis.waits else self._turn
            rank = (self._config.start + turn) % axis.size
            return self._branches(axis, [rank], text, rest)
        try:
            body = rest(text)
        except SplitNeeded as split:
            if split.hole not in axis.shown:
                raise
            if axis.mode == "fanout":
                return self._branches(axis, range(axis.size), text, rest)
            self._warn(
                f"{self._where(text, axis.shown)}: the value of {axis.name.removesuffix('->')}"
                f" decides about {split.reason}, so it is chosen once per prompt"
            )
            moment = Moment(self._seed, self._turn, met=self._met_earlier.__getitem__)
            rank = axis.drawn(moment, self._config.start)
            return self._branches(axis, [rank], text, rest)
        if axis.mode == "fanout":
            return Loop(axis, body)
        return Beside(axis, body, self._config.start)

    def _branches(
        self, axis: PromptAxis, ranks: Sequence[int], text: str, rest: _Step
    ) -> RuledSpace:
        if len(ranks) > _MOST_STATES:
            raise _too_many(axis.name)
        bodies = []
        for rank in ranks:
            values = {ord(hole.sign): value for hole, value in axis.values(rank)}
            for where, piece in self._pieces(text):
                added = sum(piece.count(chr(sign)) * (len(v) - 1) for sign, v in values.items())
                if added > 0 and not axis.shown & self._swept.keys():
                    refuse_long(len(piece) + added, self._named(where, axis.name))
            filled = text.translate(values)
            self._spend(len(filled) // 20)
            bodies.append(rest(filled))
        return Branches(axis, ranks, bodies)

    # -- the end ------------------------------------------------------------------------

    def _ended(self, text: str) -> RuledSpace:
        """Return the templates of the texts; holes must be in plain text outside all braces."""
        self._states += 1
        if self._states > _MOST_STATES:
            raise _too_many(self._name)
        return self._ending(self._pieces(text))

    def _ending(self, pieces: Iterable[tuple[str, str]]) -> Ending:
        return Ending([self._piece(where, self._written[where], text) for where, text in pieces])

    def _piece(self, where: str, written: str, text: str) -> Piece:
        if text == written:
            text = written  # the one that is held already
        if where == self._first or text != written:
            self._spend(len(text))  # all of these texts are held
        more = self._templates.added(text)
        piece = Piece(
            where, self._templates.read(text, where, more), sum(more.values()), bool(more)
        )  # fmt: skip
        most = piece.node.most_characters + piece.more
        put_in = {sign: n for sign, n in more.items() if sign not in self._swept}
        if put_in or most > self._longest_written(written):
            name = where
            if put_in and max(put_in.values()) > piece.node.most_characters:
                name = self._named(where, self._holes[max(put_in, key=lambda s: put_in[s])].name)
            refuse_long(most, name)
        return piece

    def _longest_written(self, written: str) -> int:
        return self._holes[written].longest if written in self._swept else len(written)

    def _named(self, where: str, source: str) -> str:
        """Return what a message calls a rule, token or slot as it meets the text *where*."""
        return f"{where}: {source.removesuffix('->')[:80]!r}"

    def _spend(self, amount: int) -> None:
        self._work.spend(amount, f"{self._name}: rules, tokens and slots")

    def _values(self, sign: str) -> tuple[str, ...]:
        return self._holes[sign].values

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


def _replaced(text: str, search: str, sign: str) -> str:
    return text.replace(search, sign)


def _too_many(name: str) -> PlanError:
    return PlanError(
        f"the values of {name.removesuffix('->')} change what later rules, slots or templates "
        f"find, in more than {_MOST_STATES:,} ways; list the rules that write such text last, "
        "or give them fewer values"
    )
