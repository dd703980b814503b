"""filters: the small language of ``safelight find``, compiled to SQL with bound parameters.

::

    lighthouse "at night" stars >= 4
    cfg_scale between 5 and 8 and sampler = 'Euler a' and prompt has 'lighthouse'
    stars >= 4 and not (model in ('a', 'b') or steps < 10)
    denoising_strength is missing and lora.ink > 0.5
    lora = 'ink_v2' or lora('my style') between 0.4 and 0.8
    extra.tiling = 'true' or extra('Variation seed strength') > 0.2

Names are columns of the view; ``lora.NAME``, or ``lora('NAME')`` where a name has blanks, is the
weight of a LoRA, and ``extra.NAME`` any other recorded setting: a number or a text, as the value
that it is compared with. ``recorded('NAME')`` is what the view ``settings`` has under that name and
no knob: ``earlier.KNOB``, or an extra that was no value of its knob. A word or a text in quotes
that is compared with nothing is looked for in prompts; conditions that stand side by side must
all hold. What a user writes reaches the database as parameters only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safelight.errors import FilterError
from safelight.knobs import PLAIN_NUMBER, did_you_mean, knob_of_extra
from safelight.lora_tags import LORA_ENDING
from safelight.recorded_settings import EXTRA, LORA

__all__ = ["SETTING_KEY", "Filter", "compile_filter"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?=[\s'"<>=!(),]|$))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<tag><(?:lora|lyco|hypernet):[^<>]*>)
    | (?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,)
    | (?P<word>(?:[^\s'"<>=!(),]|!(?!=))
        (?:[^\s'"<>=!(),]|!(?!=)|(?<=\w)'(?=[^\W\d_]{1,2}(?![\w'])))*)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
"""A word may be anything that prompts have, such as ``1girl``, ``sci-fi`` and ``fox's``."""

_COMPARISONS = {"=": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CONNECTIONS = ("and", "or", "not")
_DEEPEST = 50
_MOST_CONDITIONS, _MOST_OF_SETTINGS = 150, 12
"""Conditions of one filter, enough for a whole prompt of words, and those that are about settings
beside knobs: each of these is a question of its own, and holds what it found."""

_SEARCHED = ("prompt", "name")
"""Where words are looked for: in the first of these that the view has."""

_SETTINGS = "(run_id, place) IN (SELECT run_id, place FROM settings WHERE {})"
"""Pictures of which a setting meets a condition."""

_LORA_CALLED = " = ".join(f"regexp_replace(lower({x}), '{LORA_ENDING}', '')" for x in ("name", "?"))
_CALLED = "lower(name) = lower(?)"
SETTING_KEY = (
    f"CASE WHEN starts_with(name, '{LORA}') THEN regexp_replace(lower(name), '{LORA_ENDING}', '')"
    " ELSE lower(name) END"
)
"""SQL for that by which the setting called ``name`` is told from others here."""

_ANY_LORA = f"starts_with(name, '{LORA}')"
_SETTING_TEXT = "coalesce(text, CAST(number AS VARCHAR))"
_KINDS = {
    "lora": "a LoRA, in quotes", "extra": "a setting, in quotes", "recorded": "a setting, in quotes"
}  # fmt: skip
_OFTEN_ASKED = ("prompt", "model", "sampler", "steps", "cfg_scale", "seed", "stars", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A condition.

    Attributes:
        sql: With a ``?`` for every value.
        parameters: The values, in order.
        columns: Every column that is named.
        settings: Every setting beside knobs and LoRAs that is named, as it was recorded:
            ``extra.NAME``.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    columns: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()


def compile_filter(
    text: str,
    columns: Mapping[str, str],
    searched: Mapping[str, str] | None = None,
    equal: Mapping[str, str] | None = None,
    settings: str = _SETTINGS,
) -> Filter:
    """Return the condition that *text* states; an empty text is no condition.

    Args:
        text: In the language of the module's description.
        columns: Name -> SQL type of every column that may be named.
        searched: Column -> SQL for ``has``, with a ``?`` wherever the lower-cased text goes.
        equal: Column -> SQL for ``=``, with a ``?`` wherever the value goes.
        settings: SQL for pictures of which a setting meets a condition, ``{}`` in it.

    Raises:
        FilterError: *text* cannot be read, or names a column that there is not; the message
            says where.
    """
    if not text.strip():
        return Filter(sql="TRUE")
    parser = _Parser(text, columns, searched or {}, equal or {}, settings)
    sql = parser.condition(0)
    parser.end()
    return Filter(
        sql=sql,
        parameters=tuple(parser.parameters),
        columns=frozenset(parser.named),
        settings=frozenset(parser.settings),
    )


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
        settings: str,
    ) -> None:
        self._text, self._columns, self._searched, self._equal = text, columns, searched, equal
        self._settings = settings if "sha256" in columns else ""
        self._tokens = _tokens(text)
        self._at = 0
        self._compared = False
        self._conditions = self._of_settings = 0
        self.parameters: list[Any] = []
        self.named: set[str] = set()
        self.settings: set[str] = set()

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
        """Read ``a and b``; what stands side by side must hold as well."""
        parts = [self._operand(depth)]
        while self._takes("and") or self._another():
            parts.append(self._operand(depth))
        return parts[0] if len(parts) == 1 else "(" + " AND ".join(parts) + ")"

    def _another(self) -> bool:
        """Whether a condition follows without ``and``; a comma may stand before it."""
        before = self._tokens[self._at - 1]
        while self._sees(0, ","):
            self._at += 1
        if self._at >= len(self._tokens) or self._sees(0, ")") or self._sees(0, "or"):
            return False
        token = self._tokens[self._at]
        # ``steps = 10 20`` is more likely a slip than a search for "20".
        return not (self._compared and token.kind == before.kind == "number")

    def _operand(self, depth: int) -> str:
        self._compared = False
        if self._takes("not"):
            if depth > _DEEPEST:
                raise FilterError(f"a filter may nest {_DEEPEST} deep at most")
            return f"(NOT coalesce({self._operand(depth + 1)}, FALSE))"
        if self._takes("("):
            inner = self.condition(depth + 1)
            self._need(")")
            return inner
        token = self._next("a word or a column")
        self._conditions += 1
        if self._conditions > _MOST_CONDITIONS:
            raise FilterError(
                f"a filter may have {_MOST_CONDITIONS} conditions at most; leave out some"
            )
        if token.kind == "sign" or (token.kind == "word" and token.text.lower() in _CONNECTIONS):
            raise self._fault("expected a word or a column", token)
        if token.kind == "word" and self._settings and self._begins_setting(token.text.lower()):
            self._compared = True
            self._of_settings += 1
            if self._of_settings > _MOST_OF_SETTINGS:
                raise FilterError(
                    f"a filter may have {_MOST_OF_SETTINGS} conditions at most that are about LoRAs"
                    " and extras; leave out some, or name several values with in (...)"
                )
            return self._about_setting(token)
        if token.kind == "word" and self._is_compared(token.text):
            self._compared = True
            return self._comparison(token)
        return self._looked_for(token)

    def _is_compared(self, name: str) -> bool:
        """Whether what follows *name* compares it: many words of the language are English, too."""
        if any(self._sees(0, sign) for sign in _COMPARISONS):
            return True
        if self._sees(0, "in"):
            return self._sees(1, "(")
        if self._sees(0, "is"):
            return self._sees(1, "missing") or (self._sees(1, "not") and self._sees(2, "missing"))
        known = name in self._columns
        if self._sees(0, "has"):
            return known or self._kind(1) == "text"
        if self._sees(0, "between"):
            return known or self._kind(1) == "number"
        return False

    def _begins_setting(self, name: str) -> bool:
        """Whether *name*, in lower case, or what follows it, names a setting beside knobs."""
        if name == "recorded":
            return self._sees(0, "(") and self._kind(1) == "text"
        if name in ("lora", "extra"):
            return self._sees(0, "(") or (
                name == "lora" and (self._is_compared(name) or self._sees(0, "has"))
            )
        return any(name.startswith(kind) and name != kind for kind in (EXTRA, LORA))

    def _about_setting(self, token: _Token) -> str:
        """Read ``extra.NAME``, ``lora.NAME``, ``extra('NAME')`` and what it is compared with."""
        kind, _, name = token.text.partition(".")
        is_named = bool(name) or self._takes("(")
        if is_named and not name:
            name = self._name_in_quotes(self._next(f"the name of {_KINDS[kind.lower()]}"))
            self._need(")")
        if not is_named:
            return self._any_lora(token)
        if kind.lower() != "lora":
            self.settings.add(f"{EXTRA if kind.lower() == 'extra' else ''}{name}")
        if kind.lower() == "recorded":
            return self._compared_setting(_CALLED, name, name)
        if kind.lower() == "lora":
            return self._compared_setting(_LORA_CALLED, LORA + name, f"lora.{name}")
        knob = knob_of_extra(name)
        if knob is None or knob not in self._columns:
            return self._compared_setting(_CALLED, EXTRA + name, f"extra.{name}")
        return self._about_extra_of_a_knob(token, name, knob)

    def _about_extra_of_a_knob(self, token: _Token, name: str, knob: str) -> str:
        """Read a condition on an extra that a knob stands for, wherever its value was fit for that.

        Where it was not, it is still a setting: both are looked at.
        """
        start, given = self._at, len(self.parameters)
        missing = self._sees(0, "is") and not self._sees(1, "not")
        setting = self._compared_setting(_CALLED, EXTRA + name, f"extra.{name}")
        end, own = self._at, self.parameters[given:]
        self._at, self.parameters[given:] = start, []
        self.named.add(knob)
        try:
            compared = self._is_compared(knob) or self._sees(0, "has")
            column = (
                self._comparison(_Token(token.kind, knob, token.place))
                if compared
                else f'"{knob}" IS NOT NULL'
            )
        except FilterError:  # a value that is none of the knob
            self._at, self.parameters[given:] = end, own
            return setting
        self._at = end
        self.parameters += own
        return f"({column} {'AND' if missing else 'OR'} {setting})"

    def _compared_setting(self, which: str, value: str, name: str) -> str:
        """Read what the setting for which *which* holds is compared with; it is there, if none."""
        self.parameters.append(value)
        if not (self._is_compared(name) or self._sees(0, "has") or self._sees(0, "between")):
            return self._settings.format(which)
        sign = self._next("a comparison such as > or between")
        word = sign.text.lower()
        if word == "is":
            negated = self._takes("not")
            self._need("missing")
            return ("" if negated else "NOT ") + self._settings.format(which)
        if word == "has":
            if name.startswith(LORA):
                raise self._fault(f"the weight of {name} is a number", sign)
            token = self._next("a text in quotes")
            if token.kind == "sign":
                raise self._fault("expected a text in quotes", token)
            self.parameters.append(_plain_text(token))
            return self._settings.format(f"{which} AND contains(lower({_SETTING_TEXT}), lower(?))")
        if word == "in":
            self._need("(")
            values = [self._setting_value(name, "=")]
            while self._takes(","):
                values.append(self._setting_value(name, "="))
            self._need(")")
            return self._settings.format(f"{which} AND ({' OR '.join(values)})")
        if word == "between":
            low = self._setting_value(name, ">=")
            self._need("and")
            return self._settings.format(f"{which} AND {low} AND {self._setting_value(name, '<=')}")
        value = self._setting_value(name, _COMPARISONS[word])
        return self._settings.format(f"{which} AND {value}")

    def _setting_value(self, name: str, sign: str) -> str:
        """Read a value; settings are of no kind, so that the value says which is meant."""
        token = self._next("a value")
        if token.kind == "number":
            self.parameters.append(float(token.text))
            return f"number {sign} ?"
        if token.kind == "sign" or name.startswith(LORA):
            what = "the weight of a LoRA is a number"
            if not name.startswith(LORA):
                what = f"{name} is compared with a number, or a text in quotes"
            raise self._fault(what, token)
        text = _plain_text(token)
        self.parameters.append(text)
        if sign not in ("=", "<>") or not PLAIN_NUMBER.fullmatch(text):
            return f"{_SETTING_TEXT} {sign} ?"
        # A text that is a number may be kept as one.
        self.parameters.append(float(text))
        same = "coalesce(text = ?, number = ?)"
        return same if sign == "=" else f"NOT {same}"

    def _any_lora(self, token: _Token) -> str:
        sign = self._next("a comparison such as = or has").text.lower()
        if sign == "is":
            negated = self._takes("not")
            self._need("missing")
            return ("" if negated else "NOT ") + self._settings.format(_ANY_LORA)
        if sign not in ("=", "!=", "<>", "has"):
            raise self._fault("write lora = 'NAME', or lora.NAME > 0.5", token)
        name = self._name_in_quotes(self._next("the name of a LoRA, in quotes"))
        self.parameters.append(name if sign == "has" else LORA + name)
        has_lora = self._settings.format(
            f"{_ANY_LORA} AND contains(lower(substr(name, {len(LORA) + 1})), lower(?))"
            if sign == "has"
            else _LORA_CALLED
        )
        return f"NOT {has_lora}" if sign in ("!=", "<>") else has_lora

    def _name_in_quotes(self, token: _Token) -> str:
        if token.kind == "sign":
            raise self._fault("expected a name in quotes", token)
        return _plain_text(token)

    def _looked_for(self, token: _Token) -> str:
        name = next((name for name in _SEARCHED if name in self._columns), None)
        if name is None:
            raise self._fault("expected a column", token)
        self.named.add(name)
        return self._contains(name, token)

    def _comparison(self, token: _Token) -> str:
        name = token.text
        if name not in self._columns:
            often = [column for column in _OFTEN_ASKED if column in self._columns]
            hint = did_you_mean(name, self._columns) or (
                f"; often asked: {', '.join(often or self._columns)};"
                f' to look for it in prompts, put it in quotes: "{name}"'
            )
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
        negated = self._takes("not")
        self._need("missing")
        return f'"{name}" IS {"NOT " if negated else ""}NULL'

    def _has(self, name: str, sign: _Token) -> str:
        if self._columns[name] != "VARCHAR":
            raise self._fault(f"'has' looks into texts, and {name} is a number", sign)
        token = self._next("a text in quotes")
        if token.kind == "sign":
            raise self._fault("expected a text in quotes", token)
        return self._contains(name, token)

    def _contains(self, name: str, token: _Token) -> str:
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
            # Beyond 19 digits a column holds nothing, and Python reads no 5,000 of them.
            whole = re.fullmatch(r"[+-]?\d{1,20}", token.text)
            number = int(token.text) if whole else float(token.text)
            self.parameters.append(number if abs(number) < 2**64 else float(number))
        else:
            wanted = f"a text in quotes: {name} = 'Euler a'" if is_text else "a number"
            raise self._fault(f"{name} is compared with {wanted}", token)
        return "?"

    # -- tokens --------------------------------------------------------------------------

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
