"""filter_tokens: the words, numbers, texts and signs of a condition, with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass

from safelight.errors import FilterError

__all__ = ["Token", "TokenReader", "album_condition", "plain_text", "quoted"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?=[\s'"<>=!(),]|$))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<tag><(?:lora|lyco|hypernet):[^<>]*>)
    | (?P<sign>(?:[=>]|!(?=[=<>])|<(?!(?:lora|lyco|hypernet):))+|\(|\)|,)
    | (?P<word>(?:[^\s'"<>=!(),]|!(?!=))
        (?:[^\s'"<>=!(),]|!(?!=)|(?<=\w)'(?=[^\W\d_]{1,2}(?![\w'])))*)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
"""A word may be anything that prompts have, such as ``1girl``, ``sci-fi`` and ``fox's``. Signs that
compare are read as far as they go: ``>>`` is one that there is not, and never two."""

_SIGNS = frozenset(("=", "!=", "<>", "<", "<=", ">", ">=", "(", ")", ","))
_OF_OTHER_LANGUAGES = {
    "==": "=", "===": "=", "!==": "!=", "=!": "!=", "=>": ">=", "=<": "<=", ">>": ">", "<<": "<",
    "&&": "and", "||": "or",
}  # fmt: skip
"""What people type -> what it is here."""

_MOST_QUOTED = 200


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a condition: its kind, how it is written, and where, from 0."""

    kind: str
    text: str
    place: int


class TokenReader:
    """Goes through the tokens of a condition.

    Args:
        text: The condition.

    Raises:
        FilterError: It holds what is no token.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0

    def _takes(self, word: str) -> bool:
        if self._sees(0, word):
            self._at += 1
            return True
        return False

    def _sees(self, ahead: int, word: str) -> bool:
        """Whether *word* stands *ahead* tokens from here."""
        place = self._at + ahead
        if place >= len(self._tokens):
            return False
        token = self._tokens[place]
        return token.kind != "text" and token.text.lower() == word

    def _kind(self, ahead: int) -> str:
        place = self._at + ahead
        return self._tokens[place].kind if place < len(self._tokens) else ""

    def _need(self, word: str) -> None:
        if not self._takes(word):
            raise self._fault(f"expected {word!r}", self._next(repr(word)))

    def _next(self, wanted: str) -> Token:
        if self._at >= len(self._tokens):
            raise FilterError(f"the filter ends where {wanted} is expected: {self._text!r}")
        self._at += 1
        return self._tokens[self._at - 1]

    def _fault(self, message: str, token: Token) -> FilterError:
        return FilterError(f"{message}, at {token.text!r} (character {token.place + 1})")


def _tokens(text: str) -> list[Token]:
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            raise FilterError(
                f"cannot read {text[start : start + 10]!r} (character {start + 1}); texts stand in"
                " quotes, a quote inside them is doubled"
            )
        kind = match.lastgroup or ""
        token = Token(kind, match[kind], match.start(kind))
        known = token.text in _SIGNS if kind == "sign" else token.text not in ("&&", "||")
        if not known:
            raise _no_sign(text, token)
        tokens.append(token)
        place = match.end()
    return tokens


def _no_sign(text: str, token: Token) -> FilterError:
    """Return the error that *token* of *text* is no sign here, with what was meant."""
    meant = _OF_OTHER_LANGUAGES.get(token.text)
    hint = "; a comparison is one of = != < <= > >="
    if meant is not None:
        end = token.place + len(token.text)
        mended = f"{text[: token.place]}{meant}{text[end:]}".strip()
        hint = f"; did you mean: {mended if len(mended) <= _MOST_QUOTED else meant}"
    return FilterError(f"there is no sign {token.text!r} (character {token.place + 1}){hint}")


def plain_text(token: Token) -> str:
    """Return what *token* says, without its quotes."""
    if token.kind != "text":
        return token.text
    quote = token.text[0]
    return token.text[1:-1].replace(quote * 2, quote)


def album_condition(name: str) -> str:
    """Return the condition for the pictures of album *name*."""
    return f"album = {quoted(name)}"


def quoted(value: object) -> str:
    """Return *value* as a text of the filter language; what :func:`plain_text` reads back."""
    return "'" + str(value).replace("'", "''") + "'"
