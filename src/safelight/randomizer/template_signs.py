r"""Which characters of a prompt are signs of a template and which are text, decided in one place.

A text is gone through once. What is text although a parser would take it for a sign is
*shielded*: replaced by a private character, which becomes the sign again when the text is done.
Whatever is decided here holds for prompts and for the values of wildcard files alike:

* A backslash before ``{ } | # $``, before ``__`` or ``::``, and before the ``@ ~ !`` that begins a
  brace group, makes that the characters themselves. Two backslashes there are one, and the sign is
  a sign. Every other backslash is text: ``\(`` and ``\[`` belong to the engine.
* ``#`` begins a comment where a blank follows it and no letter or digit stands before it, and at
  the beginning of every line but the first. ``#tea``, ``#FF5733`` and ``C# code`` are text.
* ``__`` inside ``<lora:...>`` is a part of a name, unless ``__x__`` is a whole option of braces.
* ``|`` inside square brackets of one option is prompt editing and separates no options.
* ``//`` and ``/*`` are text, and so are a ``$`` or ``%`` that begin nothing.
* A whole text that is a JSON object or list is no template.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

from safelight.errors import shortened

__all__ = [
    "BLANKS",
    "NAME_SPAN",
    "Note",
    "SignsRead",
    "has_syntax",
    "is_json",
    "is_shielded",
    "is_template",
    "looks_like_json",
    "read_signs",
    "separator_text",
    "template_sign_in_json",
    "unshielded",
]

BLANKS = " \t\r\n"
"""What the syntax takes for blank."""

_SYNTAX = re.compile(r"[{#]|__|\$[{$]|%\{|\\(?:[}|$]|::)")
_FIRST_SHIELD = 0x10FF80
_SHIELDED = re.compile(f"[{chr(_FIRST_SHIELD)}-{chr(0x10FFFF)}]")
_UNSHIELD = {_FIRST_SHIELD + code: chr(code) for code in range(0x80)}

_TOKENS = re.compile(
    r"""(?P<tag>(?<![^\s,({|\[])\\\|\|/(?![^\s,)}|\]:]))
    |(?P<escape>(?<!\\)\\++(?=[{}|\#$\[\]]|__|::))
    |(?P<open>\$\{|%\{|\{)
    |(?P<sign>[}|\[\]\#%]|\$\$|\$|__|//|/\*)""",
    re.VERBOSE,
)
r"""``\||/`` is the name of a tag, raised hands."""

_NAME = re.compile(r"<(?:[^\s<>:|{}]+:[^<>\n]*|[^\s<>]+)>")
NAME_SPAN = re.compile(r"<[^<>\n]*>")
"""What may be a name once everything is put in."""

_WHOLE_OPTION = re.compile(r"__[^{}|<>]+?__(?=[|}])")
_OPTION_BEGINS = re.compile(r"(?:[{|][ \t]*[~@!]?|::|\$\$)\Z")
_BOUNDS = re.compile(r"\{\s*[~@!]?(?:\d+-\d+|-\d+|\d+-|(?P<exact>\d+))\$\$")
_SEPARATOR = re.compile(r"(?P<separator>(?:[^${}\\]|\\[\s\S])+)\$\$")
_PLAIN_SEPARATOR = re.compile(r"[ -~]+")
_SEPARATOR_MARK = "~x~"
_ESCAPED = re.compile(r"(?<!\\)(\\++)(?=[{}|#$]|__|::)")
_NOT_SAMPLING = re.compile(r"(\s*)\\([@~!])")
_WILDCARD = re.compile(r"__[^_{}|]+(?:_[^_{}|]+)*__")
_MEANT_IN_JSON = re.compile(r"__[\w*-]+(?:[/_][\w*-]+)*__|\{[^{}\"]*\|[^{}\"]*\}|\$\{|%\{")
_LONGEST_EXCERPT = 40
_HOLES = re.compile(f"[{chr(0x100000)}-{chr(0x10FF00)}]")

NoteKind = Literal["comment", "no choice", "editing", "separator", "name"]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader of a prompt may not expect.

    Attributes:
        kind: What it is.
        place: Where it begins, from 0.
        text: What stands there.
    """

    kind: NoteKind
    place: int
    text: str

    @property
    def shown(self) -> str:
        """The text, short, for a sentence."""
        return repr(shortened(_HOLES.sub("…", self.text), _LONGEST_EXCERPT))


@dataclass(frozen=True, slots=True)
class SignsRead:
    """A text in which every sign is a sign.

    Attributes:
        text: The text, what is no sign shielded.
        notes: What was noticed, in the order of the text.
        places: Places of *text* at which a stretch begins that is as written.
        written: The same places in what was written.
    """

    text: str
    notes: tuple[Note, ...]
    places: tuple[int, ...]
    written: tuple[int, ...]

    def place(self, place: int) -> int:
        """Return where *place* of the text was in what was written."""
        number = bisect_right(self.places, place) - 1
        return self.written[number] + place - self.places[number] if number >= 0 else place


def has_syntax(text: str) -> bool:
    """Return whether *text* holds anything that may be a sign of a template."""
    return _SYNTAX.search(text) is not None


def is_template(text: str) -> bool:
    """Return whether *text* would be read as a template, and become anything but itself."""
    if not has_syntax(text) or is_json(text):
        return False
    signs = read_signs(text).text
    return has_syntax(signs) or unshielded(signs) != text


def is_shielded(text: str) -> bool:
    """Return whether *text* holds a character that stands for a shielded sign."""
    return _SHIELDED.search(text) is not None


def unshielded(text: str) -> str:
    """Return *text* with every shielded sign as it was written."""
    return text.translate(_UNSHIELD)


def separator_text(separator: str) -> str:
    """Return the separator that the parser found as it is put between options."""
    if separator.startswith(_SEPARATOR_MARK):
        return bytes.fromhex(separator[len(_SEPARATOR_MARK) :]).decode("utf-8", "surrogatepass")
    return unshielded(separator)


def looks_like_json(text: str) -> bool:
    """Return whether *text* begins and ends as a JSON object or list does."""
    text = text.strip()
    return text[:1] + text[-1:] in ("{}", "[]")


def is_json(text: str) -> bool:
    """Return whether the whole of *text* is a JSON object or list."""
    if not looks_like_json(text):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def template_sign_in_json(text: str) -> tuple[int, str] | None:
    """Return the first thing in a JSON text that may have been meant as a template, and where."""
    match = _MEANT_IN_JSON.search(text)
    return (match.start(), match[0]) if match else None


def read_signs(text: str) -> SignsRead:
    """Decide about every character of *text*."""
    return _Reader(text).read()


@dataclass(slots=True)
class _Group:
    """Braces that are open.

    Attributes:
        sign: ``{``, ``${`` or ``%{``.
        start: Its place.
        begin: Where its first option begins.
        takes_none: Whether it takes 0 of its options.
        bars: Number of a piece -> place, for each ``|`` between options.
        brackets: For each ``[`` that is open, how many ``bars`` there were, and its place.
        live: Whether anything in it chooses, or stands for another text.
    """

    sign: str
    start: int
    begin: int
    takes_none: bool = False
    bars: list[tuple[int, int]] = field(default_factory=list)
    brackets: list[tuple[int, int]] = field(default_factory=list)
    live: bool = False


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces: list[str] = []
        self._length = 0
        self._places: list[int] = []
        self._written: list[int] = []
        self._notes: list[Note] = []
        self._choiceless: list[Note] = []
        self._groups: list[_Group] = []
        self._names = list(_NAME.finditer(text)) if "<" in text else []
        self._name = 0
        self._names_noted: set[int] = set()

    def read(self) -> SignsRead:
        at = 0
        while match := _TOKENS.search(self._text, at):
            self._put(self._text[at : match.start()], at)
            at = self._token(match)
        self._put(self._text[at:], at)
        notes = sorted((*self._notes, *self._choiceless), key=lambda note: note.place)
        return SignsRead(
            "".join(self._pieces), tuple(notes), tuple(self._places), tuple(self._written)
        )

    # -- what is put out ----------------------------------------------------------------

    def _put(self, text: str, place: int) -> None:
        if text:
            self._pieces.append(text)
            self._places.append(self._length)
            self._written.append(place)
            self._length += len(text)

    def _shield(self, text: str, place: int) -> None:
        self._put("".join(chr(_FIRST_SHIELD + ord(sign)) for sign in text), place)

    # -- one token each; each returns where to go on ------------------------------------

    def _token(self, match: re.Match[str]) -> int:
        place, sign = match.start(), match[0]
        if match["tag"]:
            self._shield(sign, place)
        elif match["escape"]:
            return self._escaped(place, len(sign))
        elif match["open"]:
            return self._opened(sign, place)
        else:
            return self._signed(sign, place)
        return match.end()

    def _escaped(self, place: int, count: int) -> int:
        end = place + count
        if self._text[end] in "[]":  # the engine's own escapes
            self._put(self._text[place : end + count % 2], place)
            return end + count % 2
        self._put("\\" * (count // 2), place)
        if count % 2 == 0:
            return end
        length = 1 if self._text[end] in "{}|#$" else 2
        self._shield(self._text[end : end + length], end)
        return end + length

    def _signed(self, sign: str, place: int) -> int:
        end = place + len(sign)
        group = self._groups[-1] if self._groups else None
        if sign == "#":
            return self._hash(place)
        if sign == "__":
            return self._marked(place)
        if sign in ("%", "$", "//", "/*") or (sign == "$$" and group is None):
            if sign == "$$" and self._text.startswith("{", end):
                sign, end = "$", place + 1  # before a variable
            self._shield(sign, place)
            return end
        if group is not None:
            self._in_group(group, sign, place)
        self._put(sign, place)
        return end

    def _in_group(self, group: _Group, sign: str, place: int) -> None:
        if sign == "|":
            group.bars.append((len(self._pieces), place))
        elif sign == "[":
            group.brackets.append((len(group.bars), place))
        elif sign == "]" and group.brackets:
            self._bracket_closed(group, place)
        elif sign == "$$":
            group.brackets.clear()
        elif sign == "}":
            self._groups.pop()
            self._closed(group, place)

    def _bracket_closed(self, group: _Group, place: int) -> None:
        """Take every ``|`` since the bracket for text."""
        first, start = group.brackets.pop()
        if group.bars[first:]:
            self._notes.append(self._note("editing", start, place + 1))
        for piece, _ in group.bars[first:]:
            self._pieces[piece] = chr(_FIRST_SHIELD + ord("|"))
        del group.bars[first:]

    def _note(self, kind: NoteKind, start: int, end: int) -> Note:
        return Note(kind, start, self._text[start : min(end, start + 2 * _LONGEST_EXCERPT)])

    def _hash(self, place: int) -> int:
        if not self._is_comment(place):
            self._shield("#", place)
            return place + 1
        end = self._text.find("\n", place)
        end = len(self._text) if end < 0 else end
        self._notes.append(self._note("comment", place, end))
        if end < len(self._text):
            self._put(self._text[place:end], place)
        elif self._pieces:
            self._end_before_comment()
        return end

    def _end_before_comment(self) -> None:
        """Leave out the blanks after a sign, as the library does where a comment follows."""
        last = self._pieces[-1]
        if not last.strip(BLANKS):
            before = "".join(self._pieces[-2:-1])
            if not before or before.endswith(("}", "__")):
                self._length -= len(self._pieces.pop())

    def _is_comment(self, place: int) -> bool:
        text = self._text
        if self._within_name(place) is not None:
            return False
        begin = place
        while begin and text[begin - 1] in " \t\r":
            begin -= 1
        if begin and text[begin - 1] == "\n":
            return True
        after = text[place + 1 : place + 2]
        before = text[place - 1 : place]
        return (not after or after.isspace() or after == "#") and not before.isalnum()

    def _marked(self, place: int) -> int:
        name = self._within_name(place)
        if name is not None:
            whole = _WHOLE_OPTION.match(self._text, place)
            inside = self._groups and self._groups[-1].start > name.start()
            if not (
                whole
                and inside
                and _OPTION_BEGINS.search(self._text, max(name.start(), place - 40), place)
            ):
                self._noted_name(name)
                self._shield("__", place)
                return place + 2
            self._groups[-1].live = True
            self._put(whole[0], place)
            return whole.end()
        if self._groups:
            self._groups[-1].live = True
        self._put("__", place)
        return place + 2

    def _noted_name(self, name: re.Match[str]) -> None:
        if name.start() in self._names_noted:
            return
        self._names_noted.add(name.start())
        for wildcard in _WILDCARD.finditer(name[0]):
            self._notes.append(Note("name", name.start() + wildcard.start(), wildcard[0]))

    def _within_name(self, place: int) -> re.Match[str] | None:
        """Return the ``<...>`` around *place*, which only grows from call to call."""
        while self._name < len(self._names) and self._names[self._name].end() <= place:
            self._name += 1
        if self._name < len(self._names) and self._names[self._name].start() < place:
            return self._names[self._name]
        return None

    # -- braces -------------------------------------------------------------------------

    def _opened(self, sign: str, place: int) -> int:
        end = place + len(sign)
        group = _Group(sign, place, end)
        self._groups.append(group)
        if sign == "{":
            if bounds := _BOUNDS.match(self._text, place):
                group.takes_none = bounds["exact"] is not None and int(bounds["exact"]) == 0
                return self._bounded(group, bounds)
            if plain := _NOT_SAMPLING.match(self._text, end):
                self._put(sign + plain[1], place)
                self._shield(plain[2], plain.start(2))
                return plain.end()
        self._put(sign, place)
        return end

    def _bounded(self, group: _Group, bounds: re.Match[str]) -> int:
        """Go past ``{2$$ and $$``, whose separator is text whatever is in it."""
        self._put(bounds[0], bounds.start())
        found = _SEPARATOR.match(self._text, bounds.end())
        if found is None:
            group.begin = bounds.end()
            return group.begin
        separator, start = found["separator"], found.start()
        for wildcard in _WILDCARD.finditer(separator):
            self._notes.append(Note("separator", start + wildcard.start(), wildcard[0]))
        said = _ESCAPED.sub(lambda run: "\\" * (len(run[1]) // 2), separator)
        plain = _PLAIN_SEPARATOR.fullmatch(said) and not re.search(r"[${}#/]", said)
        if not plain or said.startswith(_SEPARATOR_MARK):
            said = _SEPARATOR_MARK + said.encode("utf-8", "surrogatepass").hex()
        self._put(f"{said}$$", start)
        group.begin = found.end()
        return group.begin

    def _closed(self, group: _Group, place: int) -> None:
        """Note braces that offer no choice; whatever else is in braces makes those around live."""
        chooses = group.sign != "{" or group.live
        if chooses or not (group.takes_none or self._one_option(group, place)):
            if self._groups:
                self._groups[-1].live = True
            return
        while self._choiceless and self._choiceless[-1].place > group.start:
            self._choiceless.pop()
        self._choiceless.append(self._note("no choice", group.start, place + 1))

    def _one_option(self, group: _Group, end: int) -> bool:
        if not group.bars:
            return True
        begins = [group.begin, *(bar + 1 for _, bar in group.bars)]
        ends = [*(bar for _, bar in group.bars), end]
        pairs = zip(begins, ends, strict=True)
        return len({self._text[begin:end].strip() for begin, end in pairs}) == 1
