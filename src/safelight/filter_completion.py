"""filter_completion: what a filter may go on with, for fields and shells that complete.

It knows only what it is told of an archive, and reads no further than to the cursor, where a
filter is seldom complete: so it looks at the last few tokens, and never fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from safelight.filter_tokens import quoted
from safelight.lora_tags import LORA

__all__ = ["Candidate", "Completion", "Known", "complete"]

_MOST = 12
_LOOKED_AT = 400
"""Characters before the cursor."""

_PART = re.compile(r"'(?:[^']|'')*'?|\"(?:[^\"]|\"\")*\"?|<=|>=|!=|<>|[=<>(),]|[^\s'\"<>=!(),]+|!")
_PLAIN = re.compile(r"\w[\w-]*")
_SIGNS = ("=", "!=", "<>", "<", "<=", ">", ">=", "has")
_FOR_TEXTS = ("= ", "!= ", "has ", "in (", "is missing")
_FOR_NUMBERS = ("= ", ">= ", "<= ", "between ", "is missing")
_NOT_SUGGESTED = frozenset({"sha256", "pixel_sha256", "image_sha256", "parent", "identity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an archive holds.

    Attributes:
        columns: Name -> SQL type of what may be compared.
        values: Column -> its values with how many pictures have them, the most first.
        loras: LoRAs likewise.
        weights: LoRA -> its weights.
    """

    columns: Mapping[str, str]
    values: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    loras: Sequence[tuple[str, int]] = ()
    weights: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may be put in: its text, what it is, and its pictures, None for no count."""

    text: str
    kind: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand from the character *start* on, to the cursor."""

    start: int
    candidates: tuple[Candidate, ...]


def complete(text: str, known: Known, *, most: int = _MOST) -> Completion:
    """Return what may come at the end of *text*, which is what stands before the cursor."""
    before = max(0, len(text) - _LOOKED_AT)
    found = list(_PART.finditer(text, before))
    begun = found.pop() if found and found[-1].end() == len(text) and _is_begun(found[-1]) else None
    typed, start = (begun[0], begun.start()) if begun else ("", len(text))
    place = _Place(known, [part[0] for part in found], typed)
    candidates: list[Candidate] = []
    for candidate in place.candidates():
        if candidate.text != typed and candidate not in candidates:
            candidates.append(candidate)
        if len(candidates) == most:
            break
    return Completion(start, tuple(candidates))


def _is_begun(part: re.Match[str]) -> bool:
    """Whether the token may go on: a word, or a text in quotes that is not closed."""
    text = part[0]
    if text[0] in "'\"":
        return len(text) == 1 or text[-1] != text[0]
    return text not in _SIGNS[:-1] and text not in "(),"


class _Place:
    """Where the cursor is: the *parts* before it, and what is *typed* of the next one."""

    def __init__(self, known: Known, parts: Sequence[str], typed: str) -> None:
        self._known, self._parts, self._typed = known, parts, typed
        self._bare = typed.lstrip("'\"").lower()

    def candidates(self) -> Iterator[Candidate]:
        column = self._compared()
        if column is not None:
            yield from self._values(column)
        elif self._typed[:1] in ("'", '"'):
            return
        elif self._ends("lora"):
            if self._typed == "":
                yield from self._signs("VARCHAR")
        elif self._ends_column() and not self._typed:
            yield from self._signs(self._known.columns[self._parts[-1]])
        elif self._typed:
            yield from self._begun_word()

    def _ends(self, *parts: str) -> bool:
        return [part.lower() for part in self._parts[-len(parts) :]] == list(parts)

    def _ends_column(self) -> bool:
        return bool(self._parts) and self._parts[-1] in self._known.columns

    def _compared(self) -> str | None:
        """Return what the next token is compared with; None when it is with nothing."""
        parts = self._parts
        if self._ends("lora", "("):
            return LORA
        if len(parts) > 1 and parts[-1].lower() in _SIGNS:
            if parts[-2] == ")" and len(parts) > 4 and parts[-5].lower() == "lora":
                return LORA + parts[-3].strip("'\"")
            return LORA if parts[-2].lower() == "lora" else parts[-2]
        opened = len(parts) - 1
        while opened > 1 and (parts[opened] == "," or _is_value(parts[opened])):
            opened -= 1
        if opened > 1 and parts[opened] == "(" and parts[opened - 1].lower() == "in":
            return parts[opened - 2]
        return None

    def _values(self, column: str) -> Iterator[Candidate]:
        known = self._known
        if column == LORA:
            values: Sequence[tuple[str, int]] = known.loras
            end = ")" if self._ends("lora", "(") else ""
            for name, count in self._fitting(values):
                yield Candidate(quoted(name) + end, "LoRA", count)
            return
        if column.lower().startswith(LORA):
            for weight, count in self._fitting(known.weights.get(column[len(LORA) :], ())):
                yield Candidate(weight, "weight", count)
            return
        name = "tag" if column == "tags" else column
        is_text = known.columns.get(column, "VARCHAR") == "VARCHAR"
        for value, count in self._fitting(known.values.get(name, ())):
            yield Candidate(quoted(value) if is_text else value, name, count)

    def _signs(self, kind: str) -> Iterator[Candidate]:
        for sign in _FOR_TEXTS if kind == "VARCHAR" else _FOR_NUMBERS:
            yield Candidate(sign, "comparison")

    def _begun_word(self) -> Iterator[Candidate]:
        """Yield columns, and what any of them may be, that have what is typed of a word."""
        known = self._known
        names = [name for name in (*known.columns, "lora") if name not in _NOT_SUGGESTED]
        yield from (Candidate(f"{name} ", "column") for name in names if self._begins(name))
        if self._bare.startswith(LORA):
            for name, count in known.loras:
                if name.lower().startswith(self._bare[len(LORA) :]):
                    named = LORA + name if _PLAIN.fullmatch(name) else f"lora({quoted(name)})"
                    yield Candidate(named, "LoRA", count)
            return
        if len(self._bare) < 2:
            return
        for name, count in self._fitting(known.loras):
            yield Candidate(f"lora = {quoted(name)}", "LoRA", count)
        for column, values in known.values.items():
            if known.columns.get(column, "VARCHAR") == "VARCHAR":
                for value, count in self._fitting(values):
                    yield Candidate(f"{column} = {quoted(value)}", column, count)

    def _begins(self, name: str) -> bool:
        return name.startswith(self._bare)

    def _fitting(self, values: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
        """Yield those of *values* that have what is typed: first those that begin with it."""
        inside = []
        for value, count in values:
            lower = value.lower()
            if lower.startswith(self._bare):
                yield value, count
            elif self._bare in lower:
                inside.append((value, count))
        yield from inside


def _is_value(part: str) -> bool:
    return part[0] in "'\"" or part[0].isdigit()
