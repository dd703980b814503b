"""The rules, tokens and slots of a config as axes, each with a private character for its values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from safelight.config import (
    PromptMatrix,
    PromptSearchReplace,
    RandomizerConfig,
    SourceMode,
    WildcardTokens,
)
from safelight.errors import PlanError
from safelight.knobs import loose_name
from safelight.randomizer.plan_bounds import LONGEST_SEARCH, MOST_SOURCES
from safelight.randomizer.prompt_holes import Hole, PromptAxis, held_values, hole_sign
from safelight.randomizer.prompt_parts import MOST_PARTS
from safelight.separating_bars import bars

__all__ = ["PromptSources", "Rule", "SweptText", "acts_on"]


@dataclass(frozen=True, slots=True)
class SweptText:
    """Texts that stand in a prompt's place, each for itself.

    Attributes:
        values: The texts.
        short: What a label calls it.
    """

    values: Sequence[str]
    short: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A search/replace rule or a token.

    Attributes:
        search: What it looks for.
        axis: Its values.
        applies_to: ``stage.knob`` of the texts that it acts on; empty for all.
    """

    search: str
    axis: PromptAxis
    applies_to: tuple[str, ...]


class PromptSources:
    """What acts on the prompts of a plan.

    Attributes:
        swept: ``stage.knob`` -> axis of the texts that stand there.
        part_signs: Private characters for the parts of a prompt.
        rules: Rules, then tokens, in the order of work.
        slots: Plain name -> matrix slot.
        warnings: What the user should know about the lists themselves.
    """

    def __init__(self, config: RandomizerConfig, swept: Mapping[str, SweptText]) -> None:
        """List the sources of *config* that are enabled.

        Args:
            config: Which and what they do.
            swept: ``stage.knob`` -> texts that stand there.

        Raises:
            PlanError: There are too many, or they look for very long texts.
        """
        self._config = config
        self.warnings: list[str] = []
        self._refuse_many()
        self.swept = {
            where: _swept_axis(where, text, number, repeats=self._repeats("fanout"))
            for number, (where, text) in enumerate(swept.items())
        }
        self.part_signs = (
            [hole_sign(len(swept) + number) for number in range(MOST_PARTS)]
            if config.prompt_matrix.enabled
            else []
        )
        self._begin = len(swept) + len(self.part_signs)
        self.rules = self._listed_rules()
        self.slots = self._listed_slots(config.matrix, len(self.rules))

    def _sign(self, number: int) -> str:
        """Return the private character of a rule, token or slot; inner loops have later ones."""
        return hole_sign(self._begin + number)

    def _repeats(self, mode: SourceMode) -> bool:
        """Return whether the values of a source of that mode have turns, equal ones as well."""
        return mode != "fanout" or not self._config.multiplies

    @property
    def holes(self) -> list[Hole]:
        """Those of all rules, tokens and slots."""
        rules = [hole for rule in self.rules for hole in rule.axis.holes]
        return [*rules, *self.slots.values()]

    def based(self, prompt: str, where: str) -> str:
        """Return *prompt* with the matrix's base prompt put in its place, after or before it."""
        matrix = self._config.matrix
        first_bar = next(iter(bars(prompt)), None) if self.part_signs else None
        if first_bar is not None and matrix.prompt_mode != "replace":
            return self._based(prompt[:first_bar], where) + prompt[first_bar:]
        return self._based(prompt, where)

    def _based(self, prompt: str, where: str) -> str:
        matrix = self._config.matrix
        base = matrix.base_prompt
        if not (matrix.enabled and base and acts_on(matrix.applies_to, where)):
            return prompt
        if matrix.prompt_mode == "replace":
            return base
        if not prompt.strip():
            return base
        if _has_phrase(prompt.lower(), base.lower()):
            return prompt
        return f"{prompt}, {base}" if matrix.prompt_mode == "append" else f"{base}, {prompt}"

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

    def _listed_rules(self) -> list[Rule]:
        rules, tokens = self._config.prompt_sr, self._config.wildcards
        listed: list[tuple[str, str, tuple[str, ...], PromptSearchReplace | WildcardTokens]] = []
        if rules.enabled:
            listed += [(rule.search, "->", rule.replacements, rules) for rule in rules.rules]
        if tokens.enabled:
            listed += [(token.token, "", token.values, tokens) for token in tokens.tokens]
        made = []
        for number, (search, arrow, values, source) in enumerate(listed):
            kept = held_values(search, values, repeats=self._repeats(source.mode))
            hole = Hole(self._sign(number), search + arrow, kept)
            size, shown = len(hole.values), frozenset(hole.sign)
            axis = PromptAxis((hole,), size, source.mode, number, shown, waits=True)
            made.append(Rule(search, axis, source.applies_to))
        return made

    def _listed_slots(self, matrix: PromptMatrix, first: int) -> dict[str, Hole]:
        slots: dict[str, Hole] = {}
        if matrix.enabled:
            for number, slot in enumerate(matrix.slots, first):
                repeats = self._repeats(matrix.mode)
                values = held_values(slot.name, slot.values, repeats=repeats)
                hole = Hole(self._sign(number), slot.name, values)
                first_hole = slots.setdefault(loose_name(slot.name), hole)
                if first_hole is not hole:
                    self.warnings.append(
                        f"randomizer.matrix.slots: the slot {slot.name!r} was ignored, because "
                        f"{first_hole.name!r} has the same name (case, blanks, - and _ do not "
                        "count); rename it, or put the values of both into one"
                    )
        return slots


def _swept_axis(where: str, text: SweptText, number: int, *, repeats: bool) -> PromptAxis:
    values = held_values(where, text.values, repeats=repeats)
    hole = Hole(hole_sign(number), where, values, text.short)
    return PromptAxis((hole,), len(values), "fanout", number, frozenset(hole.sign))


def _has_phrase(text: str, phrase: str) -> bool:
    """Return whether *phrase* is in *text*, and not as a part of other words."""
    before = r"(?<!\w)" if re.match(r"\w", phrase) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", phrase) else ""
    return re.search(before + re.escape(phrase) + after, text) is not None


def acts_on(applies_to: Collection[str], where: str) -> bool:
    """Return whether a source with *applies_to* acts on the text *where*."""
    return not applies_to or where in applies_to
