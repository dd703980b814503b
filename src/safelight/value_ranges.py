"""Values of a sweep: lists and range texts such as ``10-30 (+5)`` or ``0.4..0.8 step 0.1``.

The spellings are those that people already type into AUTOMATIC1111's X/Y/Z plot and SwarmUI's
grids::

    20, 25, 30          three values
    1-5                 1, 2, 3, 4, 5
    10-30 (+5)          10, 15, 20, 25, 30
    1-10 [5]            five values, evenly spaced: 1, 3, 5, 7, 10
    0.4..0.8 step 0.1   0.4, 0.5, 0.6, 0.7, 0.8
    1, 3, .., 9         1, 3, 5, 7, 9

Arithmetic is exact (fractions), so 0.1-0.5 (+0.1) gives 0.3 and not 0.30000000000000004. Three
quirks of AUTOMATIC1111 are not copied: a descending range keeps its last values (``5-1 (-1)``
gives 5, 4, 3, 2, 1), a fractional range never passes its end, and floats carry no noise. A number
stays what was written: ``7`` is an integer, ``7.0`` is not.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, chain
from typing import Any, Literal, overload

__all__ = ["distinct", "scalars_of", "values_of"]

Kind = Literal["text", "integer", "number"]

_MOST_VALUES = 2**63 - 1
_LONGEST_PIECE = 200
"""Characters of a number or range: more would be beyond every number that a setting can have."""
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_SINGLE = re.compile(_NUMBER)
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*({_NUMBER})\s*\)|\[\s*(\d+)\s*\])?")
_DOTTED = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(?:step\s*({_NUMBER}))?")
_FILL = re.compile(r"\.\.\.?")


def values_of(spec: object, kind: Kind) -> Sequence[Any]:
    """Return the values that *spec* stands for, counted and indexed without being held.

    Args:
        spec: A list, whose elements are kept as they are, or a range text. Text for a knob of
            kind ``text`` is one CSV line, so ``"a, b"`` in double quotes keeps its comma.
        kind: What the knob holds; ``integer`` refuses every text that is not whole.

    Raises:
        ValueError: The text is no range, or leads nowhere; the message has the rule, the text
            and an example.
    """
    if isinstance(spec, (list, tuple)):
        return tuple(spec)
    if not isinstance(spec, str):
        raise ValueError(f"must be a list of values or a range text, got {spec!r}")
    pieces = [piece.strip() for piece in chain.from_iterable(_rows(spec))]
    if kind == "text":
        return tuple(pieces)
    long = next((piece for piece in pieces if len(piece) > _LONGEST_PIECE), None)
    if long is not None:
        raise ValueError(
            f"a number or range may have {_LONGEST_PIECE} characters, got {len(long):,}:"
            f" {_shown(long)}"
        )
    parts = _filled([piece for piece in pieces if piece], kind)
    if sum(map(_length, parts)) > _MOST_VALUES:
        raise ValueError(f"must stand for at most 2**63 - 1 values, got {_shown(spec)}")
    return parts[0] if len(parts) == 1 else _Chained(tuple(parts))


def scalars_of(text: str) -> Sequence[Any]:
    """Return the values of a setting of which no kind is known.

    Args:
        text: Numbers and ranges; else one CSV line, of which ``true``, ``false``, numbers and
            texts in double quotes are what they are in JSON, and all else is text.
    """
    try:
        return values_of(text, "number")
    except ValueError:
        return tuple(map(_scalar, values_of(text, "text")))


def _scalar(text: str) -> Any:
    try:
        value = None if text[:1] in "[{" else json.loads(text)
    except ValueError:
        return text
    is_value = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_value else text  # configs have no null


def distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return *values*, each once: 1.0 is 1, and true is not."""
    kept: dict[object, Any] = {}
    for value in values:
        kept.setdefault(_identity(value), value)
    return tuple(kept.values())


def _identity(value: Any) -> object:
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return isinstance(value, bool), value


def _rows(text: str) -> Iterator[list[str]]:
    import csv
    import io

    try:
        yield from csv.reader(io.StringIO(text), skipinitialspace=True)
    except csv.Error as error:
        raise ValueError(f"must be values with commas between them: {error}") from error


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _LONGEST_PIECE else f"{text[:_LONGEST_PIECE]!r}…"


@dataclass(frozen=True, slots=True)
class _Progression(Sequence[Any]):
    """``start + place * step`` for places 0 to *length* - 1, each turned by *convert*."""

    start: Fraction
    step: Fraction
    length: int
    convert: Callable[[Fraction], Any]

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        places = range(self.length)[place]
        if isinstance(places, range):
            first = self.start + self.step * places.start
            return _Progression(first, self.step * places.step, len(places), self.convert)
        return self.convert(self.start + self.step * places)


@dataclass(frozen=True, slots=True)
class _Chained(Sequence[Any]):
    """Several sequences one after the other."""

    parts: tuple[Sequence[Any], ...]
    ends: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ends = tuple(accumulate(map(_length, self.parts)))
        object.__setattr__(self, "ends", ends)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        places = range(len(self))[place]
        if isinstance(places, range):
            return tuple(self[each] for each in places)
        part = bisect_right(self.ends, places)
        return self.parts[part][places - (self.ends[part - 1] if part else 0)]


def _length(part: Sequence[Any]) -> int:
    return part.length if isinstance(part, _Progression) else len(part)


def _filled(pieces: Sequence[str], kind: Kind) -> list[Sequence[Any]]:
    """Read the pieces; ``..`` between two numbers goes on as the numbers before it do."""
    parts: list[Sequence[Any]] = []
    for place, piece in enumerate(pieces):
        if not _FILL.fullmatch(piece):
            parts.append(_piece(piece, kind))
            continue
        around = pieces[max(place - 2, 0) : place], pieces[place + 1 : place + 2]
        before = [Fraction(text) for text in around[0] if _SINGLE.fullmatch(text)]
        if not before or not around[1] or not _SINGLE.fullmatch(around[1][0]):
            raise ValueError(
                f"'..' must stand between two numbers, as in 1, 2, .., 10; got {piece!r}"
            )
        last, end = before[-1], Fraction(around[1][0])
        step = last - before[0] if len(before) == 2 else _unit(last, end)
        whole = all(not _fractional(text) for text in (*around[0], around[1][0]))
        here = ", ".join(pieces[max(place - 2, 0) : place + 2])
        line = _line(last, end, step, _converter(kind, whole, piece), here)
        stop = len(line) - 1 if last + step * (len(line) - 1) == end else len(line)
        parts.append(line[1:stop])
    return parts


def _piece(piece: str, kind: Kind) -> Sequence[Any]:
    if _SINGLE.fullmatch(piece):
        return (_converter(kind, not _fractional(piece), piece)(Fraction(piece)),)
    match = _RANGE.fullmatch(piece) or _DOTTED.fullmatch(piece)
    if match is None:
        raise ValueError(
            f"must be numbers and ranges such as 10-30 (+5), 1-10 [5] or 0.4..0.8 step 0.1; "
            f"got {piece!r}"
        )
    start, end = Fraction(match[1]), Fraction(match[2])
    count = match[4] if match.re is _RANGE else None
    if count is not None:
        return _spread(start, end, int(count), kind, piece)
    step = Fraction(match[3]) if match[3] else _unit(start, end)
    if match.re is _DOTTED and match[3] and end < start and step > 0:
        step = -step
    whole = not any(map(_fractional, filter(None, match.group(1, 2, 3))))
    cure = _turned(match[3], dotted=match.re is _DOTTED) if match[3] and step else ""
    return _line(start, end, step, _converter(kind, whole, piece), piece, cure)


def _turned(step: str, *, dotted: bool) -> str:
    """Return what to say about a written step that leads the other way."""
    size = step.lstrip("+-")
    sign = "+" if step.startswith("-") else "-"
    return f"; use step {size}" if dotted else f"; use ({sign}{size})"


def _line(
    start: Fraction,
    end: Fraction,
    step: Fraction,
    convert: Callable[[Fraction], Any],
    piece: str,
    cure: str = "",
) -> _Progression:
    if step == 0 or (end - start) * step < 0:
        raise ValueError(
            f"the step must lead from {float(start):g} to {float(end):g}, as in 10-30 (+5) or "
            f"30-10 (-5); got {piece!r}{cure}"
        )
    return _Progression(start, step, (end - start) // step + 1, convert)


def _spread(start: Fraction, end: Fraction, count: int, kind: Kind, piece: str) -> _Progression:
    """Return *count* values from *start* to *end*; integers are cut, as AUTOMATIC1111 does."""
    if count < 1:
        raise ValueError(f"a range must hold at least one value, as in 1-10 [5]; got {piece!r}")
    whole = not any(map(_fractional, piece.partition("[")[0].split("-")))
    convert = _converter(kind, whole, piece)
    step = (end - start) / (count - 1) if count > 1 else Fraction(0)
    return _Progression(start, step, count, int if kind == "integer" else convert)


def _unit(start: Fraction, end: Fraction) -> Fraction:
    return Fraction(1 if end >= start else -1)


def _fractional(text: str) -> bool:
    return "." in text


def _converter(kind: Kind, whole: bool, piece: str) -> Callable[[Fraction], Any]:
    if kind == "integer" and not whole:
        raise ValueError(f"must be integers, such as 20 or 10-30 (+5); got {piece!r}")
    return int if kind == "integer" else _whole_or_float if whole else float


def _whole_or_float(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)
