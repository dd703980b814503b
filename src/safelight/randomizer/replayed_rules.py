"""What rules, tokens and slots do to one prompt, step by step, on text that knows its sources.

A plan works on all of their values at once (``prompt_holes``); of one variant all values are known,
and what comes of them is the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from safelight.errors import SafelightError
from safelight.knobs import loose_name
from safelight.randomizer.prompt_holes import PromptAxis
from safelight.randomizer.prompt_rules import SLOT, PromptRules
from safelight.randomizer.prompt_sources import acts_on
from safelight.randomizer.traced_text import Marks, Span, TracedText, has_marks, unmarked
from safelight.separating_bars import bars

__all__ = ["BASE", "PARTS", "TEMPLATE", "Replay", "explained_text"]

BASE = "base prompt"
"""What its source is called."""

PARTS = "parts"
"""What the source of the parts of a prompt matrix is called."""

TEMPLATE = "template"
"""What the source of a text is called of which no more is known."""

_NOT_THE_SAME = (SafelightError, ValueError, IndexError)
"""What comes of a template in which marks have made other choices."""

_WORDS = re.compile(r"[^{}|$_:#%@~!\\\[\]<>]+")
"""What a template can have marks around, wherever it stands."""


class Replay:
    """What the rules made of the texts of one prompt in one variant.

    Args:
        rules: The rules.
        written: ``stage.knob`` -> text as written.
        values: Hole -> what this variant puts in.
    """

    def __init__(
        self, rules: PromptRules, written: Mapping[str, str], values: Mapping[int, str]
    ) -> None:
        self._sources, self._rules, self._values = rules.sources, rules, values
        swept = {where: self._value(axis) or "" for where, axis in self._sources.swept.items()}
        self._begun = rules.based_texts({**written, **swept})
        self._written, self._swept = {**written, **swept}, swept

    def _value(self, axis: PromptAxis) -> str | None:
        return self._values.get(ord(axis.holes[0].sign))

    def of(self, where: str, marks: Marks) -> TracedText:
        """Return the template that they make of the text *where*.

        Args:
            where: ``stage.knob``.
            marks: Numbers what is put in.
        """
        written = self._written.get(where, "")
        traced = TracedText(written)
        if where in self._swept:
            traced = TracedText(written, [(marks.number(where),)] * len(written))
        traced = _based(traced, self._begun.get(where, written), marks)
        if self._sources.part_signs:
            _part(traced, self._rules.with_parts(self._begun, self._values)[where], marks)
        for rule in self._sources.rules:
            value = self._value(rule.axis) if acts_on(rule.applies_to, where) else None
            if value is not None:
                name, found = rule.axis.holes[0].name, re.escape(rule.search)
                for match in reversed(list(re.finditer(found, traced.text))):
                    traced.put(match.start(), match.end(), value, marks.number(name))
        return self._slotted(traced, where, marks)

    def _slotted(self, traced: TracedText, where: str, marks: Marks) -> TracedText:
        if not acts_on(self._rules.slots_apply_to, where):
            return traced
        for match in reversed(list(SLOT.finditer(traced.text))):
            slot = self._sources.slots.get(loose_name(match[1]))
            value = None if slot is None else self._values.get(ord(slot.sign))
            if value is not None:
                traced.put(match.start(), match.end(), value, marks.number(f"[{match[1]}]"))
        return traced


def _based(traced: TracedText, based: str, marks: Marks) -> TracedText:
    written = traced.text
    if based.startswith(written) and written:
        traced.put(len(written), len(written), based[len(written) :], marks.number(BASE))
    elif based.endswith(written) and written:
        traced.put(0, 0, based[: len(based) - len(written)], marks.number(BASE))
    elif based != written:
        traced.become(based, marks.number(BASE))
    return traced


def _part(traced: TracedText, parted: str, marks: Marks) -> None:
    """Put the parts that a variant has beside the base, in place of all that are written."""
    number = marks.number(PARTS)
    end = next(iter(bars(traced.text)), len(traced.text))
    base = traced.text[:end]
    if parted.startswith(base):
        traced.put(end, len(traced.text), parted[end:], number)
    elif parted.endswith(base):
        traced.put(end, len(traced.text), "", number)
        traced.put(0, 0, parted[: len(parted) - end], number)
    else:
        traced.become(parted, number)


def explained_text(
    templates: Sequence[TracedText], expected: str, render: Callable[[str], str], marks: Marks
) -> TracedText:
    """Return *expected* with its sources.

    Args:
        templates: What it may have come from, the likely one first.
        expected: The text.
        render: Returns what comes of a template, marked.
        marks: Numbers the sources.
    """
    for template in templates:
        if has_marks(expected) or not _leads_to(expected, template.text, render):
            continue
        traced, lost = _kept_marks(template, expected, render)
        if lost:
            names = " and ".join(dict.fromkeys(marks.names[number] for number in sorted(lost)))
            number = marks.number(names)
            traced.sources = [(number, *around) for around in traced.sources]
        return traced
    if expected == templates[-1].text:
        return TracedText(expected)
    return TracedText(expected, [(marks.number(TEMPLATE),)] * len(expected))


def _leads_to(expected: str, template: str, render: Callable[[str], str]) -> bool:
    try:
        return unmarked(render(template)) == expected
    except _NOT_THE_SAME:
        return False


def _kept_marks(
    traced: TracedText, expected: str, render: Callable[[str], str]
) -> tuple[TracedText, set[int]]:
    """Return *expected* with its sources, and the numbers of those of which no mark was left.

    Marks around what makes up a sign of a template would make another text of it; then there are
    marks around the words in it alone, as far as those have none.

    Args:
        traced: A template.
        expected: What comes of it.
        render: Returns what comes of a template with marks in it.
    """
    made = TracedText(expected)

    def works(ranges: list[tuple[int, int, int]]) -> bool:
        nonlocal made
        text = traced.marked(ranges)
        try:
            rendered = render(text)
            if unmarked(rendered) != expected:
                return False
            made = TracedText.of_marked(rendered)
        except _NOT_THE_SAME:
            return False
        return True

    wanted = [(start, end, number) for number, (start, end) in traced.ranges().items()]
    kept = _most(wanted, [], works)
    left = {number for _, _, number in wanted} - {number for _, _, number in kept}
    words = [
        (span.start + word.start(), span.start + word.end(), number)
        for span, number in _innermost(traced.spans())
        if number in left
        for word in _WORDS.finditer(traced.text[span.start : span.end])
    ]
    kept = _most(words, kept, works)
    if not works(kept):
        return TracedText(expected), {number for _, _, number in wanted}
    return made, left - {number for _, _, number in kept}


def _innermost(spans: tuple[Span, ...], around: int | None = None) -> Iterator[tuple[Span, int]]:
    """Yield every part that holds no other one, with its source."""
    for span in spans:
        number = around if span.number is None else span.number
        if span.inside:
            yield from _innermost(span.inside, number)
        elif number is not None:
            yield span, number


def _most(
    more: list[tuple[int, int, int]],
    kept: list[tuple[int, int, int]],
    works: Callable[[list[tuple[int, int, int]]], bool],
) -> list[tuple[int, int, int]]:
    """Return *kept* and as many of *more* as work together with it, found by halves."""
    if not more or works([*kept, *more]):
        return [*kept, *more]
    if len(more) == 1:
        return kept
    half = len(more) // 2
    return _most(more[half:], _most(more[:half], kept, works), works)
