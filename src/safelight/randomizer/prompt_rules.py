"""Prompt search/replace rules, inline wildcard tokens and matrix slots as one space of prompts.

A rule does not replace text at once: it leaves a *hole*, one private character that stands for
all of the rule's values, so axes multiply without being listed. That is exact as long as no
later step could tell the values apart. Where one could (a later search text that may match
inside or across a hole, a slot or template syntax that a value may form), the hole is split: its
axis becomes one branch per value, in the same place of the loop order, and everything else
stays symbolic. More than 10,000 branches are refused.

The work goes base prompt, rules, tokens, slots, template; loops nest in that order, first listed
outermost. Replacement is plain text, case-sensitive, every occurrence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from math import prod

from safelight.config import PromptMatrix, RandomizerConfig
from safelight.errors import PlanError, TemplateError
from safelight.randomizer.plan import Axis
from safelight.randomizer.plan_bounds import (
    LONGEST_SEARCH,
    MOST_SOURCES,
    PlanWork,
    refuse_long,
)
from safelight.randomizer.prompt_holes import (
    HOLE,
    RESERVED,
    Beside,
    Branches,
    Filled,
    Hole,
    Loop,
    PromptAxis,
    SplitNeeded,
    distinct_values,
    hole_sign,
    refuse_forming,
    refuse_touching,
    shown_prefix,
)
from safelight.randomizer.template_signs import (
    NAME_SPAN,
    has_syntax,
    is_json,
)
from safelight.randomizer.templates import Templates
from safelight.randomizer.text_spaces import Literal, Moment, Node

__all__ = ["PromptRules"]

_SLOT = re.compile(r"\[\[([^\[\]]+)\]\]")
_BRACKETS = re.compile(r"\[\[|\]\]")
_FORMS_SYNTAX = re.compile(r"[{#$%]|__|\\[\\{}|:_@~!]")
_IN_JSON = re.compile(r'"|\{\s*\}')
_BEGINS_JSON = re.compile(rf'\{{(?:\s|{HOLE.pattern})*(?:["}}]|\Z)|\[')
_BRACKET = re.compile(r"[\[\]{}]")
_BLANKS = " \t\r\n"
_SPOILS_JSON = re.compile(r'["\\\x00-\x1f]')
_LINE_END = re.compile(r"\n")
_UNPAIRED = re.compile(r"\A[^<]*>|<[^>]*\Z")
_MOST_STATES = 10_000

_Step = Callable[[str], Node]


class PromptRules:
    """Turns a prompt as written into the space of prompts that the rules make of it.

    Attributes:
        warnings: What the user should know about the rules as they met the prompts.
    """

    def __init__(
        self,
        config: RandomizerConfig,
        seed: int,
        templates: Templates | None,
        work: PlanWork | None = None,
    ) -> None:
        self._config, self._seed, self._templates = config, seed, templates
        self._work = work or PlanWork()
        self._turn = 0
        self._where = self._written = ""
        self._states = 0
        self.warnings: list[str] = []
        self._refuse_many()
        self._rules = self._listed_rules()
        self._slots = self._listed_slots(config.matrix, len(self._rules))
        self._holes = {hole.sign: hole for _, axis in self._rules for hole in axis.holes}
        self._holes |= {hole.sign: hole for hole in self._slots.values()}
        self._longest = {
            sign: max(map(len, hole.values), default=0) for sign, hole in self._holes.items()
        }
        self._met: set[str] = set()
        self._axes: dict[str, PromptAxis] = {}

    def _refuse_many(self) -> None:
        rules, tokens, slots = (
            self._config.prompt_sr.rules, self._config.wildcards.tokens, self._config.matrix.slots
        )  # fmt: skip
        count = len(rules) + len(tokens) + len(slots)
        if count > MOST_SOURCES:
            raise PlanError(
                f"at most {MOST_SOURCES:,} rules, tokens and slots can be tried, got {count:,}"
            )
        for text in (*(rule.search for rule in rules), *(token.token for token in tokens)):
            if len(text) > LONGEST_SEARCH:
                raise PlanError(
                    f"a rule or token may look for {LONGEST_SEARCH:,} characters, got"
                    f" {len(text):,}: {text[:40]!r}…"
                )

    def _listed_rules(self) -> list[tuple[str, PromptAxis]]:
        """Return (search text, axis) of every rule and token, in the order of work."""
        sources = self._config.prompt_sr, self._config.wildcards
        listed = [
            (rule.search, "->", rule.replacements, sources[0].mode)
            for rule in sources[0].rules
            if sources[0].enabled
        ]
        listed += [
            (token.token, "", token.values, sources[1].mode)
            for token in sources[1].tokens
            if sources[1].enabled
        ]
        rules = []
        for number, (search, arrow, values, mode) in enumerate(listed):
            hole = Hole(hole_sign(number), search + arrow, distinct_values((search, *values))[1])
            axis = PromptAxis((hole,), len(hole.values), mode, number, frozenset(hole.sign))
            rules.append((search, axis))
        return rules

    def _listed_slots(self, matrix: PromptMatrix, first: int) -> dict[str, Hole]:
        slots: dict[str, Hole] = {}
        if matrix.enabled:
            for number, slot in enumerate(matrix.slots, first):
                values = distinct_values((slot.name, *slot.values))[1]
                hole = Hole(hole_sign(number), slot.name, values)
                first_hole = slots.setdefault(_plain(slot.name), hole)
                if first_hole is not hole:
                    self._warn(
                        f"randomizer.matrix.slots: the slot {slot.name!r} was ignored, because "
                        f"{first_hole.name!r} has the same name (case, blanks, - and _ do not "
                        "count); rename it, or put the values of both into one"
                    )
        return slots

    def based(self, prompt: str) -> str:
        """Return *prompt* with the matrix's base prompt put in its place, after or before it."""
        matrix = self._config.matrix
        base = matrix.base_prompt
        if not (matrix.enabled and base):
            return prompt
        if matrix.prompt_mode == "replace":
            return base
        if base.lower() in prompt.lower():
            return prompt
        return f"{prompt}, {base}" if matrix.prompt_mode == "append" else f"{base}, {prompt}"

    def space(self, prompt: str, turn: int, where: str) -> Node:
        """Return the space of prompts that the rules make of *prompt*.

        Args:
            prompt: The prompt as written.
            turn: Its number in the pack, from 0, which ``sequential`` sources follow.
            where: ``stage.prompt``, for messages.

        Raises:
            PlanError: The rules act on each other in more than 10,000 ways, or make a prompt too
                long.
            TemplateError: A template cannot be read.
        """
        if RESERVED.search(prompt):
            raise PlanError(f"{where}: the characters U+100000 to U+10FFFF must not be in a prompt")
        self._turn, self._where, self._states = turn, where, 0
        self._written = prompt
        try:
            return self._ruled(self.based(prompt), 0)
        except RecursionError as error:
            raise PlanError(
                f"{where}: too many rules, tokens and slots are in one prompt; use fewer"
            ) from error

    @property
    def listed(self) -> bool:
        """Whether there is any rule, token, slot or base prompt."""
        return bool(self._rules or self._slots or self.based(""))

    def shown_axes(self) -> Iterator[Axis]:
        """Yield the axes that were met and multiply."""
        for name, axis in self._axes.items():
            if axis.mode == "fanout":
                values = axis.holes[0].values if len(axis.holes) == 1 else None
                yield Axis(name=name, size=axis.size, values=values and values[: axis.size])

    def check(self) -> None:
        """Add a warning for every rule, token and slot that was in no prompt."""
        holes = [hole for _, axis in self._rules for hole in axis.holes]
        for hole in (*holes, *self._slots.values()):
            if hole.sign not in self._met:
                name = hole.name.removesuffix("->")
                kind = "slot [[" + name + "]]" if hole in self._slots.values() else repr(name)
                self.warnings.append(f"{kind} is in no prompt and changes nothing")

    # -- the steps ----------------------------------------------------------------------

    def _ruled(self, text: str, place: int) -> Node:
        """Apply the rules from *place* on, then the matrix and the template."""
        for number in range(place, len(self._rules)):
            search, axis = self._rules[number]
            self._spend(1 + len(text) // 100)
            refuse_touching(search, text, self._values, self._spend)
            if search in text:
                holed = text.replace(search, axis.holes[0].sign)
                return self._placed(axis, holed, partial(self._ruled, place=number + 1))
        return self._slotted(text)

    def _slotted(self, text: str) -> Node:
        if not self._slots:
            return self._ended(text)
        self._spend(len(self._slots) + len(text) // 20)
        refuse_forming(_BRACKETS, text, self._values, "[[slot]]", self._spend)
        spelled: dict[str, str] = {}
        for match in _SLOT.finditer(text):
            if hole := HOLE.search(match[1]):
                raise SplitNeeded(hole[0], f"the slot {match[0]!r}")
            spelled.setdefault(_plain(match[1]), match[1])
        shown = {name: self._slots[name] for name in self._slots if name in spelled}
        for name in spelled:
            if name not in shown:
                self._warn(f"{self._where}: slot [[{spelled[name]}]] has no values, left in place")
        text = _SLOT.sub(
            lambda m: shown[_plain(m[1])].sign if _plain(m[1]) in shown else m[0], text
        )
        named = {
            name: Hole(hole.sign, f"[{spelled.get(name, hole.name)}]", hole.values)
            for name, hole in self._slots.items()
        }
        return self._looped(self._matrix_axes(named, set(shown)), text)

    def _matrix_axes(self, named: dict[str, Hole], shown: set[str]) -> list[PromptAxis]:
        """Return one axis per slot shown, or one for all where the slots go together."""
        matrix, holes = self._config.matrix, tuple(named.values())
        total = prod(len(hole.values) for hole in holes)
        cut = 0 < matrix.limit < total
        number = len(self._rules)
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

    def _looped(self, axes: Sequence[PromptAxis], text: str) -> Node:
        if not axes:
            return self._ended(text)
        return self._placed(axes[0], text, lambda new: self._looped(axes[1:], new))

    def _placed(self, axis: PromptAxis, text: str, rest: _Step) -> Node:
        """Put *axis* around what *rest* makes of *text*, split where the rest needs it."""
        self._spend(10)
        self._met |= axis.shown
        self._axes.setdefault(axis.name, axis)
        if axis.mode == "sequential":
            rank = (self._config.start + self._turn) % axis.size
            return self._branches(axis, [rank], text, rest)
        try:
            body = rest(text)
        except SplitNeeded as split:
            if split.hole not in axis.shown:
                raise
            if axis.mode == "fanout":
                return self._branches(axis, range(axis.size), text, rest)
            self._warn(
                f"{self._where}: the value of {axis.name.removesuffix('->')} decides about "
                f"{split.reason}, so it is chosen once per prompt"
            )
            rank = axis.drawn(Moment(self._seed, self._turn), self._config.start)
            return self._branches(axis, [rank], text, rest)
        if axis.mode == "fanout":
            return Loop(axis, body)
        return Beside(axis, body, self._config.start)

    def _branches(self, axis: PromptAxis, ranks: Sequence[int], text: str, rest: _Step) -> Node:
        if len(ranks) > _MOST_STATES:
            raise _too_many(axis.name)
        bodies = []
        for rank in ranks:
            values = {ord(hole.sign): value for hole, value in axis.values(rank)}
            added = sum(text.count(chr(sign)) * (len(v) - 1) for sign, v in values.items())
            refuse_long(len(text) + added, self._named(axis.name))
            self._spend((len(text) + added) // 20)
            bodies.append(rest(text.translate(values)))
        return Branches(axis, ranks, bodies)

    # -- the end ------------------------------------------------------------------------

    def _ended(self, text: str) -> Node:
        """Return the template of *text*; its holes must be in plain text outside all braces."""
        self._states += 1
        if self._states > _MOST_STATES:
            raise _too_many(self._where)
        self._spend(len(text))  # all of these texts are held
        more = self._added(text)
        if self._templates is None:
            return self._filled(Literal(text), more)
        refuse_forming(_FORMS_SYNTAX, text, self._values, "template syntax", self._spend)
        if has_syntax(text) and more:
            if not self._stays_json(text, more):
                self._refuse_inside(text)
            if "__" in text:
                self._refuse_within_names(text)
            if "#" in text:
                refuse_forming(_LINE_END, text, self._values, "a comment", self._spend)
        return self._filled(self._templates.read(text, self._where), more)

    def _stays_json(self, text: str, signs: Collection[str]) -> bool:
        """Return whether *text* is JSON whatever its holes are filled with, which may decide it."""
        if not self._may_be_json(text, signs):
            return False
        for sign in signs:
            if not is_json(text) or any(map(_SPOILS_JSON.search, self._values(sign))):
                raise SplitNeeded(sign, "whether the prompt is JSON")
        return True

    def _may_be_json(self, text: str, signs: Collection[str]) -> bool:
        """Return whether *text* might be JSON, once its holes are filled with something."""
        values = "".join("".join(self._values(sign)) for sign in signs)
        if not _IN_JSON.search(text) and '"' not in values:
            return False
        within = text.strip(_BLANKS + "".join(signs))
        first, last = text.strip(_BLANKS)[:1], text.strip(_BLANKS)[-1:]
        opens = first in signs and any(_BRACKET.search(value) for value in self._values(first))
        closes = last in signs and any(_BRACKET.search(value) for value in self._values(last))
        return (opens or _BEGINS_JSON.match(within) is not None) and (closes or within[-1:] in "]}")

    def _refuse_within_names(self, text: str) -> None:
        """Split a hole that decides whether ``__`` is in the name of a ``<...>``."""
        for span in NAME_SPAN.finditer(text):
            if "__" in span[0] and (hole := HOLE.search(span[0])):
                raise SplitNeeded(hole[0], "a name in <...>")
        refuse_forming(_UNPAIRED, text, self._values, "a name in <...>", self._spend)

    def _added(self, text: str) -> dict[str, int]:
        """Return how many characters each hole of *text* may add to it, by its sign."""
        counts = Counter(HOLE.findall(text))
        return {sign: count * (self._longest[sign] - 1) for sign, count in counts.items()}

    def _filled(self, body: Node, more: dict[str, int]) -> Node:
        filled = Filled(body, sum(more.values()))
        name = self._where
        if more and max(more.values()) > body.most_characters:
            name = self._named(self._holes[max(more, key=lambda sign: more[sign])].name)
        if more or filled.most_characters > len(self._written):
            refuse_long(filled.most_characters, name)
        return filled

    def _named(self, source: str) -> str:
        """Return what a message calls a rule, token or slot as it meets this prompt."""
        return f"{self._where}: {source.removesuffix('->')[:80]!r}"

    def _spend(self, amount: int) -> None:
        self._work.spend(amount, f"{self._where}: rules, tokens and slots")

    def _refuse_inside(self, text: str) -> None:
        """Split the first hole that the parser sees elsewhere than in plain text."""
        holes = HOLE.findall(text)
        if self._templates is None:
            return
        try:
            command = self._templates.parse(text, self._where)
        except TemplateError as error:
            raise SplitNeeded(holes[-1], "template syntax") from error
        tokens = getattr(command, "tokens", [command])
        plain = "".join(getattr(token, "literal", "") for token in tokens)
        for hole in dict.fromkeys(holes):
            if plain.count(hole) != text.count(hole):
                raise SplitNeeded(hole, "template syntax")

    def _values(self, sign: str) -> tuple[str, ...]:
        return self._holes[sign].values

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _too_many(name: str) -> PlanError:
    return PlanError(
        f"the values of {name.removesuffix('->')} change what later rules, slots or templates "
        f"find, in more than {_MOST_STATES:,} ways; list the rules that write such text last, "
        "or give them fewer values"
    )
