"""filters: the small language of ``safelight find``, compiled to SQL with bound parameters.

::

    cfg_scale between 5 and 8 and sampler = 'Euler a' and prompt has 'lighthouse'
    stars >= 4 and not (model in ('a', 'b') or steps < 10)
    denoising_strength is missing and lora has 'ink'

Names are columns of the view; what a user writes reaches the database as parameters only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safelight.errors import FilterError
from safelight.knobs import did_you_mean

__all__ = ["Filter", "compile_filter"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,)
    | (?P<word>[A-Za-z_][\w.]*)
    )""",
    re.VERBOSE,
)
_COMPARISONS = {"=": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_KEYWORDS = ("and", "or", "not", "between", "in", "has", "is", "missing")
_DEEPEST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A condition.

    Attributes:
        sql: With a ``?`` for every value.
        parameters: The values, in order.
        columns: Every column that is named.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    columns: frozenset[str] = frozenset()


def compile_filter(
    text: str,
    columns: Mapping[str, str],
    searched: Mapping[str, str] | None = None,
    equal: Mapping[str, str] | None = None,
) -> Filter:
    """Return the condition that *text* states; an empty text is no condition.

    Args:
        text: In the language of the module's description.
        columns: Name -> SQL type of every column that may be named.
        searched: Column -> SQL for ``has``, with a ``?`` wherever the lower-cased text goes.
        equal: Column -> SQL for ``=``, with a ``?`` wherever the value goes.

    Raises:
        FilterError: *text* cannot be read, or names a column that there is not; the message
            says where.
    """
    if not text.strip():
        return Filter(sql="TRUE")
    parser = _Parser(text, columns, searched or {}, equal or {})
    sql = parser.condition(0)
    parser.end()
    return Filter(sql=sql, parameters=tuple(parser.parameters), columns=frozenset(parser.named))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


class _Parser:
    def __init__(
        self,
        text: str,
        columns: Mapping[str, str],
        searched: Mapping[str, str],
        equal: Mapping[str, str],
    ) -> None:
        self._text, self._columns, self._searched, self._equal = text, columns, searched, equal
        self._tokens = _tokens(text)
        self._at = 0
        self.parameters: list[Any] = []
        self.named: set[str] = set()

    def condition(self, depth: int) -> str:
        """Read ``a or b``, the weakest of the connections."""
        if depth > _DEEPEST:
            raise FilterError(f"a filter may nest {_DEEPEST} deep at most")
        parts = [self._both(depth)]
        while self._takes("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else "(" + " OR ".join(parts) + ")"

    def end(self) -> None:
        """See that nothing is left."""
        if self._at < len(self._tokens):
            raise self._fault("expected 'and', 'or' or the end", self._tokens[self._at])

    def _both(self, depth: int) -> str:
        parts = [self._one(depth)]
        while self._takes("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else "(" + " AND ".join(parts) + ")"

    def _one(self, depth: int) -> str:
        if self._takes("not"):
            if depth > _DEEPEST:
                raise FilterError(f"a filter may nest {_DEEPEST} deep at most")
            return f"(NOT coalesce({self._one(depth + 1)}, FALSE))"
        if self._takes("("):
            inner = self.condition(depth + 1)
            self._need(")")
            return inner
        return self._comparison()

    def _comparison(self) -> str:
        token = self._next("a column")
        name = token.text
        if token.kind != "word" or name.lower() in _KEYWORDS:
            raise self._fault("expected a column", token)
        if name not in self._columns:
            hint = did_you_mean(name, self._columns) or f"; there are: {', '.join(self._columns)}"
            raise self._fault(f"there is no column {name!r}{hint}", token)
        self.named.add(name)
        sign = self._next("a comparison such as = or has")
        word = sign.text.lower()
        if word == "=" and name in self._equal:
            self._value(name)
            sql = self._equal[name]
            self.parameters += self.parameters[-1:] * (sql.count("?") - 1)
            return sql
        if word in _COMPARISONS:
            return f'"{name}" {_COMPARISONS[word]} {self._value(name)}'
        if word == "between":
            low = self._value(name)
            self._need("and")
            return f'"{name}" BETWEEN {low} AND {self._value(name)}'
        if word == "in":
            return f'"{name}" IN ({", ".join(self._list(name))})'
        if word == "has":
            return self._has(name, sign)
        if word == "is":
            negated = self._takes("not")
            self._need("missing")
            return f'"{name}" IS {"NOT " if negated else ""}NULL'
        raise self._fault("expected =, !=, <, <=, >, >=, between, in, has or is", sign)

    def _has(self, name: str, sign: _Token) -> str:
        if self._columns[name] != "VARCHAR":
            raise self._fault(f"'has' looks into texts, and {name} is a number", sign)
        token = self._next("a text in quotes")
        if token.kind not in ("text", "word", "number"):
            raise self._fault("expected a text in quotes", token)
        sql = self._searched.get(name, f'contains(lower("{name}"), ?)')
        self.parameters += [_plain_text(token).lower()] * sql.count("?")
        return sql

    def _list(self, name: str) -> list[str]:
        self._need("(")
        values = [self._value(name)]
        while self._takes(","):
            values.append(self._value(name))
        self._need(")")
        return values

    def _value(self, name: str) -> str:
        token = self._next("a value")
        is_text = self._columns[name] == "VARCHAR"
        if is_text and token.kind == "text":
            self.parameters.append(_plain_text(token))
        elif self._columns[name] == "BOOLEAN" and token.text.lower() in ("true", "false"):
            self.parameters.append(token.text.lower() == "true")
        elif not is_text and token.kind == "number":
            number = float(token.text)
            whole = re.fullmatch(r"[+-]?\d+", token.text)
            self.parameters.append(int(token.text) if whole else number)
        else:
            wanted = "a text in quotes" if is_text else "a number"
            raise self._fault(f"{name} is compared with {wanted}", token)
        return "?"

    # -- tokens --------------------------------------------------------------------------

    def _takes(self, word: str) -> bool:
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind != "text" and token.text.lower() == word:
                self._at += 1
                return True
        return False

    def _need(self, word: str) -> None:
        if not self._takes(word):
            raise self._fault(f"expected {word!r}", self._next(repr(word)))

    def _next(self, wanted: str) -> _Token:
        if self._at >= len(self._tokens):
            raise FilterError(f"the filter ends where {wanted} is expected: {self._text!r}")
        self._at += 1
        return self._tokens[self._at - 1]

    def _fault(self, message: str, token: _Token) -> FilterError:
        return FilterError(f"{message}, at {token.text!r} (character {token.place + 1})")


def _tokens(text: str) -> list[_Token]:
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
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        place = match.end()
    return tokens


def _plain_text(token: _Token) -> str:
    if token.kind != "text":
        return token.text
    quote = token.text[0]
    return token.text[1:-1].replace(quote * 2, quote)
