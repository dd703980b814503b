"""HoledTemplates: templates that have holes in plain text, and what the holes may not decide.

A template with holes is read once for all their values. That is right as long as no value could
change what is a sign, a choice or JSON; otherwise :class:`.SplitNeeded` names the hole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from safelight.errors import TemplateError
from safelight.randomizer.prompt_holes import HOLE, Hole, SplitNeeded, refuse_forming
from safelight.randomizer.prompt_sources import acts_on
from safelight.randomizer.template_signs import BLANKS, NAME_SPAN, has_syntax, is_json, is_template
from safelight.randomizer.templates import Templates
from safelight.randomizer.text_spaces import Literal, Node

__all__ = ["HoledTemplates"]

_FORMS_SYNTAX = re.compile(r"[{#$%]|__|\\[\\{}|:_@~!]")
_IN_JSON = re.compile(r'"|\{\s*\}')
_BEGINS_JSON = re.compile(rf'\{{(?:\s|{HOLE.pattern})*(?:["}}]|\Z)|\[')
_BRACKET = re.compile(r"[\[\]{}]")
_SPOILS_JSON = re.compile(r'["\\\x00-\x1f]')
_LINE_END = re.compile(r"\n")
_UNPAIRED = re.compile(r"\A[^<]*>|<[^>]*\Z")


class HoledTemplates:
    """Reads texts with holes.

    Args:
        templates: Reads texts without holes; None where no text is a template.
        applies_to: ``stage.knob`` of the texts that are templates; empty for all.
        holes: Sign -> hole, as they are now.
        spend: Is told what it takes.
    """

    def __init__(
        self,
        templates: Templates | None,
        applies_to: Collection[str],
        holes: Mapping[str, Hole],
        spend: Callable[[int], None],
    ) -> None:
        self._templates, self._applies_to = templates, applies_to
        self._holes, self._spend = holes, spend

    def added(self, text: str) -> dict[str, int]:
        """Return how many characters each hole of *text* may add to it, by its sign."""
        signs = HOLE.findall(text) if self._holes else ()
        if not signs:
            return {}
        counts = Counter(signs)
        return {sign: count * (self._holes[sign].longest - 1) for sign, count in counts.items()}

    def read(self, text: str, where: str, holes: Collection[str]) -> Node:
        """Return the space of *text*, in which the signs *holes* stay.

        Raises:
            SplitNeeded: A value of one may decide what the text is.
            TemplateError: It cannot be read.
        """
        templates = self._reader(where)
        if templates is None:
            return Literal(text)
        if holes:
            refuse_forming(_FORMS_SYNTAX, text, self._values, "template syntax", self._spend)
        if holes and has_syntax(text):
            if not self._stays_json(text, holes):
                self._refuse_inside(templates, text, where)
            if "__" in text:
                self._refuse_within_names(text)
            if "#" in text:
                refuse_forming(_LINE_END, text, self._values, "a comment", self._spend)
        return templates.read(text, where)

    def acts_in(self, text: str, where: str) -> bool:
        """Return whether *text* is a template where it stands at *where*."""
        return self.reads(where) and is_template(text)

    def reads(self, where: str) -> bool:
        """Return whether the text at *where* is a template."""
        return self._reader(where) is not None

    def _reader(self, where: str) -> Templates | None:
        return self._templates if acts_on(self._applies_to, where) else None

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
        within = text.strip(BLANKS + "".join(signs))
        first, last = text.strip(BLANKS)[:1], text.strip(BLANKS)[-1:]
        opens = first in signs and any(_BRACKET.search(value) for value in self._values(first))
        closes = last in signs and any(_BRACKET.search(value) for value in self._values(last))
        return (opens or _BEGINS_JSON.match(within) is not None) and (closes or within[-1:] in "]}")

    def _refuse_within_names(self, text: str) -> None:
        """Split a hole that decides whether ``__`` is in the name of a ``<...>``."""
        for span in NAME_SPAN.finditer(text):
            if "__" in span[0] and (hole := HOLE.search(span[0])):
                raise SplitNeeded(hole[0], "a name in <...>")
        refuse_forming(_UNPAIRED, text, self._values, "a name in <...>", self._spend)

    def _refuse_inside(self, templates: Templates, text: str, where: str) -> None:
        """Split the first hole that the parser sees elsewhere than in plain text."""
        holes = HOLE.findall(text)
        try:
            command = templates.parse(text, where)
        except TemplateError as error:
            raise SplitNeeded(holes[-1], "template syntax") from error
        tokens = getattr(command, "tokens", [command])
        plain = "".join(getattr(token, "literal", "") for token in tokens)
        for hole in dict.fromkeys(holes):
            if plain.count(hole) != text.count(hole):
                raise SplitNeeded(hole, "template syntax")

    def _values(self, sign: str) -> tuple[str, ...]:
        return self._holes[sign].values
