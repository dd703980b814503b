"""filters: the small language of conditions, compiled to SQL with bound parameters.

``safelight find`` and pages look for pictures with it, plans leave out combinations.

::

    lighthouse "at night" stars >= 4
    cfg_scale between 5 and 8 and sampler = 'Euler a' and prompt has 'lighthouse'
    stars >= 4 and not (model in ('a', 'b') or steps < 10)
    denoising_strength is missing and lora.ink > 0.5
    lora = 'ink_v2' or lora('my style') between 0.4 and 0.8
    extra.tiling = 'true' or extra('Variation seed strength') > 0.2
    score.sharpness > 500
    tag = 'hands' and folder has 'lighthouse'
    album = 'best of may' or has album

Names are columns of the view; ``lora.NAME``, or ``lora('NAME')`` where a name has blanks, is the
weight of a LoRA, and ``extra.NAME`` any other recorded setting: a number or a text, as the value
that it is compared with. ``score.NAME`` is the number that the scorer NAME gave it.
``tag`` is any one of a picture's tags, and ``folder`` where its file lies.
``recorded('NAME')`` is what the view ``settings`` has under that name and
no knob: ``earlier.KNOB``, or an extra that was no value of its knob. A word or a text in quotes
that is compared with nothing is looked for, whatever the case, in a picture's prompt, its file's
name, its tags and its notes; conditions that stand side by side must all hold. What a user writes
reaches the database as parameters only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from safelight.errors import FilterError
from safelight.filter_tokens import Token, TokenReader, plain_text
from safelight.knobs import EXTRA, PLAIN_NUMBER, did_you_mean, knob_of_extra, loose_name
from safelight.lora_tags import LORA, LORA_ENDING

__all__ = [
    "FILE_NAME",
    "NO_OTHER_NAMES",
    "RATED_TEXTS",
    "SCORED",
    "SETTING_KEY",
    "Filter",
    "OtherNames",
    "compile_filter",
    "lower_file_name",
    "quoted",
]

_COMPARISONS = {"=": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CONNECTIONS = ("and", "or", "not")
_DEEPEST = 50
_MOST_CONDITIONS, _MOST_OF_SETTINGS = 150, 12
"""Conditions of one filter, enough for a whole prompt of words, and those that are about settings
beside knobs: each of these is a question of its own, and holds what it found."""

_SEARCHED = ("prompt", "name")
"""Where words are looked for: in the first of these that the view has."""

RATED_TEXTS = ("tags", "notes")
"""Columns of ``images`` that people write."""


def lower_file_name(path: str) -> str:
    """Return SQL for the name of the file at *path*, which is SQL, whichever system wrote it."""
    return f"lower(parse_filename({path}, false, 'both_slash'))"


FILE_NAME = lower_file_name("path")
"""The name of a picture's file."""

FOLDER = "parse_dirpath(path, 'both_slash')"
"""SQL for the folder of a picture's file."""

TAGS_BETWEEN = ", "
"""Stands between a picture's tags, where they are one text: a tag may be of several words."""

HAS_TAG = (
    f"coalesce(contains(tags, ?) AND list_contains(string_split(tags, '{TAGS_BETWEEN}'), ?), FALSE)"
)
"""SQL for pictures that have one tag, looked for fast first."""

_ALSO = {"note": "notes", "albums": "album"}
"""What people write for columns of ratings."""

_BESIDE_PROMPTS: Mapping[str, str] = {
    FILE_NAME: f"contains({FILE_NAME}, ?)",
    **{name: f"contains(lower({name}), ?)" for name in RATED_TEXTS},
}
"""Where words of pictures are looked for as well -> SQL for that."""

_SETTINGS = "(run_id, place) IN (SELECT run_id, place FROM settings WHERE {})"
"""Pictures of which a setting meets a condition."""

SCORED = "score."
"""Comes before the name of a scorer, where its number is meant."""

_SCORES = "(run_id, place) IN (SELECT run_id, place FROM scores WHERE {})"
"""Pictures of which a scorer's number meets a condition."""

_LORA_CALLED = " = ".join(f"regexp_replace(lower({x}), '{LORA_ENDING}', '')" for x in ("name", "?"))
_CALLED = "lower(name) = lower(?)"
SETTING_KEY = (
    f"CASE WHEN starts_with(name, '{LORA}')"
    f" THEN regexp_replace(lower(name), '^({LORA}.*){LORA_ENDING}', '\\1')"
    " ELSE lower(name) END"
)
"""SQL for that by which the setting called ``name`` is told from others here."""

_ANY_LORA = f"starts_with(name, '{LORA}')"
_SETTING_TEXT = "coalesce(text, CAST(number AS VARCHAR))"
_KINDS = {
    "lora": "a LoRA, in quotes", "extra": "a setting, in quotes",
    "recorded": "a setting, in quotes", "score": "a scorer, in quotes",
}  # fmt: skip
_NUMBERS = {LORA: "the weight of a LoRA", SCORED: "what a scorer says"}
"""What is always a number -> what a message calls it."""

_LISTED = {
    "album": "(contains({0}, ?) AND list_contains(string_split({0}, '; '), ?))"
}  # fmt: skip
"""Columns that hold several names -> SQL for having one of them, looked for fast first."""

_SAID = ("album", "tags", "notes")
"""Columns of which ``has COLUMN`` says that there is any."""

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
        scorers: Every scorer that is named.
        parts: What must all hold, as it was written.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    columns: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()
    scorers: frozenset[str] = frozenset()
    parts: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherNames:
    """What columns are called beside their names.

    Attributes:
        aliases: Name -> column.
        forms: Word -> name -> column, for what is written ``word('name')``.
        refused: Name -> why nothing can be said of it.
        noun: What a message calls a column.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    forms: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    noun: str = "column"


NO_OTHER_NAMES = OtherNames()


def quoted(name: str) -> str:
    """Return *name* as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def compile_filter(
    text: str,
    columns: Mapping[str, str],
    searched: Mapping[str, str] | None = None,
    equal: Mapping[str, str] | None = None,
    settings: str = _SETTINGS,
    names: OtherNames = NO_OTHER_NAMES,
    scores: str = _SCORES,
) -> Filter:
    """Return the condition that *text* states; an empty text is no condition.

    Args:
        text: In the language of the module's description.
        columns: Name -> SQL type of every column that may be named.
        searched: Column -> SQL for ``has``, with a ``?`` wherever the lower-cased text goes;
            :data:`FILE_NAME` -> SQL for a word in it; :data:`FOLDER` -> SQL for that.
        equal: Column -> SQL for ``=``, with a ``?`` wherever the value goes.
        settings: SQL for pictures of which a setting meets a condition, ``{}`` in it.
        names: What the columns are called beside their names.
        scores: As *settings*, for numbers of scorers.

    Raises:
        FilterError: *text* cannot be read, or names a column that there is not; the message
            says where.
    """
    if not text.strip():
        return Filter(sql="TRUE")
    parser = _Parser(text, columns, searched or {}, equal or {}, settings, names, scores)
    sql = parser.condition(0)
    parser.end()
    return Filter(
        sql=sql,
        parameters=tuple(parser.parameters),
        columns=frozenset(parser.named),
        settings=frozenset(parser.settings),
        scorers=frozenset(parser.scorers),
        parts=parser.parts,
    )


class _Parser(TokenReader):
    def __init__(
        self,
        text: str,
        columns: Mapping[str, str],
        searched: Mapping[str, str],
        equal: Mapping[str, str],
        settings: str,
        names: OtherNames,
        scores: str,
    ) -> None:
        super().__init__(text)
        rated = "sha256" in columns  # pictures are, whatever else is
        self._names = replace(names, aliases={**_ALSO, **names.aliases}) if rated else names
        self._searched, self._equal = searched, equal
        self._settings = settings if "sha256" in columns else ""
        self._sql_of: dict[str, str] = {}
        if "sha256" in columns and "path" in columns:
            self._sql_of["folder"] = searched.get(FOLDER, FOLDER)
        self._columns = {**columns, **dict.fromkeys(self._sql_of, "VARCHAR")}
        self._scores = scores
        self._compared = False
        self._conditions = self._of_settings = 0
        self.parameters: list[Any] = []
        self.named: set[str] = set()
        self.settings: set[str] = set()
        self.scorers: set[str] = set()
        self.parts: tuple[str, ...] = ()

    def condition(self, depth: int) -> str:
        """Read ``a or b``, the weakest of the connections."""
        if depth > _DEEPEST:
            raise FilterError(f"a filter may nest {_DEEPEST} deep at most")
        parts = [self._both(depth)]
        while self._takes("or"):
            parts.append(self._both(depth))
            self.parts = (self._text.strip(),)
        return parts[0] if len(parts) == 1 else "(" + " OR ".join(parts) + ")"

    def end(self) -> None:
        """See that nothing is left."""
        if self._at < len(self._tokens):
            raise self._fault("expected 'and', 'or' or the end", self._tokens[self._at])

    def _both(self, depth: int) -> str:
        """Read ``a and b``; what stands side by side must hold as well."""
        start, written = self._at, list[str]()
        parts = [self._operand(depth)]
        written.append(self._written(start))
        while self._takes("and") or self._another():
            start = self._at
            parts.append(self._operand(depth))
            written.append(self._written(start))
        if depth == 0:
            self.parts = tuple(written)
        return parts[0] if len(parts) == 1 else "(" + " AND ".join(parts) + ")"

    def _written(self, start: int) -> str:
        """Return what was read from the token *start* on, as it is written."""
        last = self._tokens[self._at - 1]
        return self._text[self._tokens[start].place : last.place + len(last.text)]

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
        if token.text.lower() == "has" and (said := self._any_of()):
            return f"{quoted(said)} IS NOT NULL"
        if token.kind == "word" and self._begins_form(token.text.lower()):
            self._compared = True
            return self._about_formed(token)
        if token.kind == "word" and self._is_compared(token.text):
            self._compared = True
            return self._comparison(token)
        return self._looked_for(token)

    def _any_of(self) -> str | None:
        """Read the column of ``has COLUMN``, and return it; None if none follows."""
        spelled = [(each, self._names.aliases.get(each, each)) for each in (*_SAID, *_ALSO)]
        seen = (name for each, name in spelled if name in self._columns and self._sees(0, each))
        name = next(seen, None)
        if name is None or any(self._sees(1, sign) for sign in _COMPARISONS):
            return None
        self._at += 1
        self._compared = True
        self.named.add(name)
        return name

    def _begins_form(self, word: str) -> bool:
        return word in self._names.forms and self._sees(0, "(") and self._kind(1) == "text"

    def _about_formed(self, token: Token) -> str:
        """Read ``slot('NAME')`` and what it is compared with; it is there, if nothing."""
        word = token.text.lower()
        self._need("(")
        written = self._next("a name in quotes")
        name, known = plain_text(written), self._names.forms[word]
        column = known.get(name, known.get(loose_name(name)))
        if column is None:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
            raise self._fault(f"there is no {word} {name!r}{hint}", written)
        self._need(")")
        if self._is_compared(column) or self._sees(0, "has") or self._sees(0, "between"):
            return self._comparison(Token(token.kind, column, token.place))
        self.named.add(column)
        return f"{quoted(column)} IS NOT NULL"

    def _is_compared(self, name: str) -> bool:
        """Whether what follows *name* compares it: many words of the language are English, too."""
        if any(self._sees(0, sign) for sign in _COMPARISONS):
            return True
        if self._sees(0, "in"):
            return self._sees(1, "(")
        if self._sees(0, "is"):
            return self._sees(1, "missing") or (self._sees(1, "not") and self._sees(2, "missing"))
        known = name in self._columns or name in self._names.aliases
        if self._sees(0, "has"):
            return known or self._kind(1) == "text"
        if self._sees(0, "between"):
            return known or self._kind(1) == "number"
        return False

    def _begins_setting(self, name: str) -> bool:
        """Whether *name*, in lower case, or what follows it, names a setting beside knobs."""
        if name in ("recorded", "score"):
            return self._sees(0, "(") and self._kind(1) == "text"
        if name in ("lora", "extra"):
            return self._sees(0, "(") or (
                name == "lora" and (self._is_compared(name) or self._sees(0, "has"))
            )
        return any(name.startswith(kind) and name != kind for kind in (EXTRA, LORA, SCORED))

    def _about_setting(self, token: Token) -> str:
        """Read ``extra.NAME``, ``lora.NAME``, ``extra('NAME')`` and what it is compared with."""
        kind, _, name = token.text.partition(".")
        is_named = bool(name) or self._takes("(")
        if is_named and not name:
            name = self._name_in_quotes(self._next(f"the name of {_KINDS[kind.lower()]}"))
            self._need(")")
        if not is_named:
            return self._any_lora(token)
        if kind.lower() == "score":
            self.scorers.add(name)
            return self._compared_setting(_CALLED, name, SCORED + name, self._scores)
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

    def _about_extra_of_a_knob(self, token: Token, name: str, knob: str) -> str:
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
                self._comparison(Token(token.kind, knob, token.place))
                if compared
                else f'"{knob}" IS NOT NULL'
            )
        except FilterError:  # a value that is none of the knob
            self._at, self.parameters[given:] = end, own
            return setting
        self._at = end
        self.parameters += own
        return f"({column} {'AND' if missing else 'OR'} {setting})"

    def _compared_setting(self, which: str, value: str, name: str, form: str = "") -> str:
        """Read what the setting for which *which* holds is compared with; it is there, if none."""
        form = form or self._settings
        self.parameters.append(value)
        if not (self._is_compared(name) or self._sees(0, "has") or self._sees(0, "between")):
            return form.format(which)
        sign = self._next("a comparison such as > or between")
        word = sign.text.lower()
        if word == "is":
            negated = self._takes("not")
            self._need("missing")
            return ("" if negated else "NOT ") + form.format(which)
        if word == "has":
            if number := self._always_a_number(name):
                raise self._fault(f"{number} is a number", sign)
            token = self._next("a text in quotes")
            if token.kind == "sign":
                raise self._fault("expected a text in quotes", token)
            self.parameters.append(plain_text(token))
            return form.format(f"{which} AND contains(lower({_SETTING_TEXT}), lower(?))")
        if word == "in":
            self._need("(")
            values = [self._setting_value(name, "=")]
            while self._takes(","):
                values.append(self._setting_value(name, "="))
            self._need(")")
            return form.format(f"{which} AND ({' OR '.join(values)})")
        if word == "between":
            low = self._setting_value(name, ">=")
            self._need("and")
            return form.format(f"{which} AND {low} AND {self._setting_value(name, '<=')}")
        value = self._setting_value(name, _COMPARISONS[word])
        return form.format(f"{which} AND {value}")

    def _setting_value(self, name: str, sign: str) -> str:
        """Read a value; settings are of no kind, so that the value says which is meant."""
        token = self._next("a value")
        if token.kind == "number":
            self.parameters.append(float(token.text))
            return f"number {sign} ?"
        number = self._always_a_number(name)
        if token.kind == "sign" or number:
            what = f"{number} is a number"
            raise self._fault(
                what if number else f"{name} is compared with a number, or a text in quotes", token
            )
        text = plain_text(token)
        self.parameters.append(text)
        if sign not in ("=", "<>") or not PLAIN_NUMBER.fullmatch(text):
            return f"{_SETTING_TEXT} {sign} ?"
        # A text that is a number may be kept as one.
        self.parameters.append(float(text))
        same = "coalesce(text = ?, number = ?)"
        return same if sign == "=" else f"NOT {same}"

    @staticmethod
    def _always_a_number(name: str) -> str:
        return next((what for kind, what in _NUMBERS.items() if name.startswith(kind)), "")

    def _any_lora(self, token: Token) -> str:
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

    def _name_in_quotes(self, token: Token) -> str:
        if token.kind == "sign":
            raise self._fault("expected a name in quotes", token)
        return plain_text(token)

    def _looked_for(self, token: Token) -> str:
        spelled = {each: self._names.aliases.get(each, each) for each in _SEARCHED}
        name = next((each for each in spelled.values() if each in self._columns), None)
        if name is None:
            raise self._fault(f"expected a {self._names.noun}", token)
        self.named.add(name)
        found = [self._contains(name, token)]
        if "sha256" in self._columns:
            for place, usual in _BESIDE_PROMPTS.items():
                if place in RATED_TEXTS and place not in self._searched:
                    self.named.add(place)
                sql = self._searched.get(place, usual)
                self.parameters += [plain_text(token).lower()] * sql.count("?")
                found.append(sql)
        return found[0] if len(found) == 1 else f"({' OR '.join(found)})"

    def _about_tag(self) -> str:
        """Read what any one of a picture's tags is."""
        sign = self._next("a comparison such as =")
        word = sign.text.lower()
        self.named.add("tags")
        if word in ("in", "=", "!=", "<>"):
            before = len(self.parameters)
            count = len(self._list("tags")) if word == "in" else len([self._value("tags")])
            self.parameters[before:] = [v for v in self.parameters[before:] for _ in (0, 1)]
            one_of = f"({' OR '.join([HAS_TAG] * count)})"
            return f"NOT {one_of}" if word in ("!=", "<>") else one_of
        if word == "is":
            negated = self._takes("not")
            self._need("missing")
            return f"tags IS {'NOT ' if negated else ''}NULL"
        raise self._fault("write tag = 'NAME', or tags has 'PART OF A NAME'", sign)

    def _comparison(self, token: Token) -> str:
        name = self._names.aliases.get(token.text, token.text)
        if name == "tag" and "tags" in self._columns and "sha256" in self._columns:
            return self._about_tag()
        if name not in self._columns:
            raise self._unknown(token)
        self.named.add(name)
        column = self._column(name)
        sign = self._next("a comparison such as = or has")
        word = sign.text.lower()
        if name in _LISTED:
            return self._listed(name, word, sign)
        if word == "=" and name in self._equal:
            self._value(name)
            sql = self._equal[name]
            self.parameters += self.parameters[-1:] * (sql.count("?") - 1)
            return sql
        if word in _COMPARISONS:
            return f"{column} {_COMPARISONS[word]} {self._value(name)}"
        if word == "between":
            low = self._value(name)
            self._need("and")
            return f"{column} BETWEEN {low} AND {self._value(name)}"
        if word == "in":
            return f"{column} IN ({', '.join(self._list(name))})"
        if word == "has":
            return self._has(name, sign)
        return self._missing(name)

    def _listed(self, name: str, word: str, sign: Token) -> str:
        """Read what a column of several names is compared with, each name for itself."""
        if word == "has":
            return self._has(name, sign)
        if word == "is":
            return self._missing(name)
        if word not in ("=", "!=", "<>", "in"):
            raise self._fault(f"write {name} = 'NAME', {name} in (...) or {name} has 'TEXT'", sign)
        before = len(self.parameters)
        count = len(self._list(name)) if word == "in" else len([self._value(name)])
        self.parameters[before:] = [v for v in self.parameters[before:] for _ in (0, 1)]
        one_of = " OR ".join([_LISTED[name].format(quoted(name))] * count)
        if word in ("!=", "<>"):
            return f"NOT coalesce({one_of}, FALSE)"
        return f"({one_of})"

    def _missing(self, name: str) -> str:
        negated = self._takes("not")
        self._need("missing")
        return f"{self._column(name)} IS {'NOT ' if negated else ''}NULL"

    def _column(self, name: str) -> str:
        return self._sql_of.get(name) or quoted(name)

    def _unknown(self, token: Token) -> FilterError:
        """Return the error that there is nothing of the name that *token* is."""
        name = token.text
        if name in self._names.refused:
            return self._fault(self._names.refused[name], token)
        known = [*self._columns, *self._names.aliases]
        often = [column for column in _OFTEN_ASKED if column in known]
        hint = did_you_mean(name, known) or (
            f"; often asked: {', '.join(often or self._columns)};"
            f' to look for the word, put it in quotes: "{name}"'
        )
        return self._fault(f"there is no {self._names.noun} {name!r}{hint}", token)

    def _has(self, name: str, sign: Token) -> str:
        if self._columns[name] != "VARCHAR":
            raise self._fault(f"'has' looks into texts, and {name} is a number", sign)
        token = self._next("a text in quotes")
        if token.kind == "sign":
            raise self._fault("expected a text in quotes", token)
        return self._contains(name, token)

    def _contains(self, name: str, token: Token) -> str:
        sql = self._searched.get(name, f"contains(lower({self._column(name)}), ?)")
        self.parameters += [plain_text(token).lower()] * sql.count("?")
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
            self.parameters.append(plain_text(token))
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
