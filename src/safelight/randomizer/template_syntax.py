"""Template text -> the syntax tree of the ``dynamicprompts`` library.

Which characters are signs is decided in ``template_signs``; what is none is shielded there, and
never meets a parser. The library's parser takes a tenth of a second to import and about half a
millisecond for every option, so templates that hold nothing but texts, ``{a|2::b}`` and plain
``__names__`` are read here, into the same tree. A text without any template syntax is not read at
all, and the library is not even imported for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from safelight.errors import TemplateError
from safelight.randomizer.template_signs import BLANKS, SignsRead, is_shielded, read_signs

if TYPE_CHECKING:
    from dynamicprompts.commands import Command

__all__ = ["count_signs", "needs_library", "parse_template"]

_BEYOND = re.compile(r"[#$%~!@/]|__")
"""What makes a text between signs and wildcards a matter for the library."""
_REAL = r"[+-]?(?:\d+\.\d*|\.\d+)|\d+"
_WEIGHT = re.compile(rf"[ \t\r\n]*({_REAL})::")
_WILDCARD = r"(?<!_)__[A-Za-z0-9]+(?:[-_/][A-Za-z0-9]+)*__(?!_)"
_ANY_SIGN = re.compile(r"[{|}$%~!@#]|__|//|/\*")
_SIGNS = re.compile(rf"([{{|}}]|{_WILDCARD})")
_WILDCARD_MARK = "__"


def needs_library(text: str) -> bool:
    """Return whether only the library reads *text*, which takes it a millisecond for a sign.

    Args:
        text: With what is no sign shielded.
    """
    return not _PlainTemplate(text).simple


def count_signs(text: str) -> int:
    """Return how many signs of templates are in *text*."""
    return len(_ANY_SIGN.findall(text))


def parse_template(text: str, where: str, signs: SignsRead | None = None) -> Command:
    """Return the library's syntax tree of *text*; what is no sign in it is shielded.

    Args:
        text: As written.
        where: For messages.
        signs: *text* with its signs told apart, where that is done already.

    Raises:
        TemplateError: The text cannot be read; the message has the place.
    """
    signs = signs or read_signs(text)
    if is_shielded(text):
        raise TemplateError(f"{where}: the characters U+10FF80 to U+10FFFF must not be in a prompt")
    tree = _PlainTemplate(signs.text).tree()
    if tree is not None:
        return tree
    from dynamicprompts.parser.parse import parse
    from pyparsing import ParseBaseException

    try:
        return parse(signs.text)
    except ParseBaseException as error:
        raise _unreadable(text, where, signs, error.loc) from error
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise _unreadable(text, where, signs, 0) from error
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


def _unreadable(text: str, where: str, signs: SignsRead, place: int) -> TemplateError:
    place = signs.place(place)
    marks = _marks_are_to_blame(text)
    if marks:
        place = max(place, text.find(_WILDCARD_MARK, place))
    said = (
        f"{where}: the template cannot be read at character {place + 1}, "
        f"{text[place : place + 40]!r}; "
    )
    comment = next((note for note in signs.notes if note.kind == "comment"), None)
    if comment is not None:
        said += (
            f"what follows # at character {comment.place + 1} is a comment, write \\# for the"
            " character; "
        )
    if marks:
        return TemplateError(
            f"{said}__...__ is read as a wildcard, and one of them has no end or no name; write"
            " \\__ for the characters (randomizer.templates = false switches that off)"
        )
    return TemplateError(
        f"{said}check that every {{ has its }} and every __name__ its end; write \\{{ for a brace"
        " (randomizer.templates = false takes the text as it is)"
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
        self._pieces[self._place] = piece[match.end() :] if match else piece.lstrip(BLANKS)
        return float(match[1]) if match else 1.0
