"""Template text -> the syntax tree of the ``dynamicprompts`` library.

The library's parser takes a tenth of a second to import and about half a millisecond for every
option, so templates that hold nothing but texts, ``{a|2::b}`` and plain ``__names__`` are read
here, into the same tree. A text without any template syntax never meets a parser, and the library
is not even imported for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from safelight.errors import TemplateError

if TYPE_CHECKING:
    from dynamicprompts.commands import Command

__all__ = ["count_signs", "has_syntax", "needs_library", "parse_template", "unshielded"]

_SYNTAX = re.compile(r"[{#]|__|\$[{$]|%\{")
_BEYOND = re.compile(r"[#$%~!@/]|__")
"""What makes a text between signs and wildcards a matter for the library."""
_REAL = r"[+-]?(?:\d+\.\d*|\.\d+)|\d+"
_WEIGHT = re.compile(rf"[ \t\r\n]*({_REAL})::")
_WILDCARD = r"(?<!_)__[A-Za-z0-9]+(?:[-_/][A-Za-z0-9]+)*__(?!_)"
_ANY_SIGN = re.compile(r"[{|}$%~!@]|__|//|/\*")
_SIGNS = re.compile(rf"([{{|}}]|{_WILDCARD})")
_BLANKS = " \t\r\n"
_LONE = re.compile(r"(?<!\$)\$(?![{$])|%(?!\{)")
_SHIELDS = {"$": "\U0010fffc", "%": "\U0010fffd"}
_WILDCARD_MARK = "__"
_UNSHIELD = str.maketrans({shield: sign for sign, shield in _SHIELDS.items()})


def has_syntax(text: str) -> bool:
    """Return whether *text* holds anything that a template parser would act on."""
    return _SYNTAX.search(text) is not None


def needs_library(text: str) -> bool:
    """Return whether only the library reads *text*, which takes it a millisecond for a sign."""
    return not _PlainTemplate(text).simple


def count_signs(text: str) -> int:
    """Return how many signs of templates are in *text*."""
    return len(_ANY_SIGN.findall(text))


def unshielded(text: str) -> str:
    """Return a literal of the tree with its lone ``$`` and ``%`` as they were written."""
    return text.translate(_UNSHIELD)


def parse_template(text: str, where: str) -> Command:
    """Return the library's syntax tree of *text*, with lone ``$`` and ``%`` shielded.

    Raises:
        TemplateError: The text cannot be read; the message has the place.
    """
    tree = _PlainTemplate(text).tree()
    if tree is not None:
        return tree
    from dynamicprompts.parser.parse import parse
    from pyparsing import ParseBaseException

    try:
        return parse(_LONE.sub(lambda match: _SHIELDS[match[0]], text))
    except ParseBaseException as error:
        raise _unreadable(text, where, error.loc, marks=_marks_are_to_blame(text)) from error
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise _unreadable(text, where, 0, marks=_marks_are_to_blame(text)) from error
    except RecursionError as error:
        raise TemplateError(f"{where}: the template is nested too deeply") from error


def _marks_are_to_blame(text: str) -> bool:
    """Return whether *text* could be read if its ``__`` were plain text."""
    if _WILDCARD_MARK not in text:
        return False
    try:
        parse_template(text.replace(_WILDCARD_MARK, "--"), "")
    except TemplateError:
        return False
    return True


def _unreadable(text: str, where: str, place: int, *, marks: bool) -> TemplateError:
    if marks:
        place = max(place, text.find(_WILDCARD_MARK, place))
        return TemplateError(
            f"{where}: the template cannot be read at character {place + 1}, "
            f"{text[place : place + 40]!r}; __...__ is read as a wildcard, and one of them has no "
            "end or no name (randomizer.templates = false switches that off)"
        )
    return TemplateError(
        f"{where}: the template cannot be read at character {place + 1}, "
        f"{text[place : place + 40]!r}; check that every {{ has its }} and every __name__ its "
        "end (randomizer.templates = false takes the text as it is)"
    )


class _PlainTemplate:
    """Reads texts, ``__names__`` and ``{a|2::b}``, nested; leading blanks of an option go.

    Attributes:
        simple: Whether there is nothing else in the text, braces that do not match apart.
    """

    def __init__(self, text: str) -> None:
        self._pieces = _SIGNS.split(text)  # texts, and between them signs and wildcards
        self.simple = not any(map(_BEYOND.search, self._pieces[::2]))
        self._place = 0

    def tree(self) -> Command | None:
        """Return the tree, or None when there is more in the text, or a brace is not closed."""
        try:
            return self._sequence(inside=False) if self.simple else None
        except (IndexError, RecursionError):
            return None

    def _sequence(self, *, inside: bool) -> Command:
        from dynamicprompts.commands import LiteralCommand, SequenceCommand, WildcardCommand

        tokens: list[Command] = []
        text = ""
        while inside or self._place < len(self._pieces):
            piece = self._pieces[self._place]
            if inside and piece in ("|", "}"):
                break
            self._place += 1
            wildcard = self._place % 2 == 0 and piece.startswith(_WILDCARD_MARK)
            if piece != "{" and not wildcard:
                text += piece
                continue
            if text:
                tokens.append(LiteralCommand(text))
                text = ""
            name = piece.removeprefix(_WILDCARD_MARK).removesuffix(_WILDCARD_MARK)
            tokens.append(WildcardCommand(name) if wildcard else self._variants())
        if text:
            tokens.append(LiteralCommand(text))
        return tokens[0] if len(tokens) == 1 else SequenceCommand(tokens)

    def _variants(self) -> Command:
        from dynamicprompts.commands import VariantCommand, VariantOption

        options = []
        more = True
        while more:
            weight = self._weight()
            options.append(VariantOption(self._sequence(inside=True), weight))
            more = self._pieces[self._place] == "|"
            self._place += 1
        return VariantCommand(options)

    def _weight(self) -> float:
        """Return an option's weight, 1 without one, and take it and leading blanks off its text."""
        piece = self._pieces[self._place]
        match = _WEIGHT.match(piece)
        self._pieces[self._place] = piece[match.end() :] if match else piece.lstrip(_BLANKS)
        return float(match[1]) if match else 1.0
