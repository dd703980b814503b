"""What a wildcard file holds: values, each with its weight, and what was left out of it.

A .txt file has one value on each line. A line that begins with ``#`` is a comment, and blank lines
are none. A .json or .yaml file has lists of values by name, names inside names joined by ``/``; a
list alone is named after its file. Numbers, booleans and dates are texts as they are written. In
all of them ``3::red`` is the value ``red``, drawn three times as often.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.errors import SafelightError, shortened

__all__ = [
    "Unreadable",
    "ValuesRead",
    "WildcardValue",
    "begins_comment",
    "decoded",
    "read_lines",
    "read_structured",
]

_WEIGHT = re.compile(r"(\d+\.?\d*|\.\d+)::", re.ASCII)
_SPECIAL_BOMS = (b"\xff\xfe", b"\xfe\xff")
_BOM = "\ufeff"
_AS_WRITTEN = ("bool", "float", "int", "timestamp")
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class WildcardValue:
    """One value of a wildcard: a text, itself perhaps a template, and how often it is drawn."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ValuesRead:
    """The values of one wildcard in the order of its file, and sentences on what is none."""

    values: tuple[WildcardValue, ...]
    left_out: tuple[str, ...] = ()


class Unreadable(SafelightError):
    """A wildcard file cannot be read; the message has the file and the place."""


def decoded(content: bytes, path: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        Unreadable: It is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = "is UTF-16" if content.startswith(_SPECIAL_BOMS) else "is not UTF-8"
        raise Unreadable(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} {found}; save the file as"
            " UTF-8"
        ) from error


def begins_comment(line: str) -> bool:
    """Return whether *line* begins as comments do: ``#`` and a blank, ``##`` or ``#!``."""
    return line.startswith("#") and line[1:2].strip() in ("", "#", "!")


def read_lines(text: str, path: Path) -> ValuesRead:
    """Return the values of a text file."""
    values, unlikely = [], []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        value = line.lstrip(_BOM).strip()
        if value.startswith("#"):
            if not begins_comment(value):
                unlikely.append((number, value))
        elif value:
            weighted = _weighted(value)
            values.append(WildcardValue(weighted.text.lstrip(), weighted.weight))
    return ValuesRead(tuple(values), _comments_told(unlikely, path))


def _comments_told(unlikely: Sequence[tuple[int, str]], path: Path) -> tuple[str, ...]:
    """Return a sentence on comments that may have been meant as values, such as ``#FF5733``."""
    if not unlikely:
        return ()
    number, text = unlikely[0]
    more = f" and {len(unlikely) - 1:,} like it" if len(unlikely) > 1 else ""
    return (
        f"{path.name}, line {number}, {_shown(text)}{more}: a line that begins with # is a comment"
        " and no value; begin it with \\# for a value, or put a blank after the #",
    )


def read_structured(text: str, path: Path) -> Iterator[tuple[str, ValuesRead]]:
    """Yield name and values of each wildcard in a .json or .yaml file.

    Raises:
        Unreadable: It cannot be read.
    """
    try:
        data = _yaml(text) if path.suffix == ".yaml" else _json(text)
        found = _found(data, path)
    except Exception as error:  # whatever is in it, other files can be read
        said = " ".join(str(error).split())
        raise Unreadable(f"{path} cannot be read: {said}") from error
    yield from found


def _found(data: Any, path: Path) -> list[tuple[str, ValuesRead]]:
    if isinstance(data, Mapping):
        return list(_named(data, "", path))
    if isinstance(data, list) and (read := _listed(data, path)).values:
        return [(path.stem, read)]
    return []


def _json(text: str) -> Any:
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def _yaml(text: str) -> Any:
    import yaml

    as_written: Any = type("AsWritten", (yaml.SafeLoader,), {})
    for kind in _AS_WRITTEN:
        as_written.add_constructor(
            f"tag:yaml.org,2002:{kind}", lambda loader, node: loader.construct_scalar(node)
        )
    return yaml.load(text, as_written)  # noqa: S506 - a safe loader, with less than it has


def _named(data: Mapping[Any, Any], prefix: str, path: Path) -> Iterator[tuple[str, ValuesRead]]:
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _named(value, f"{name}/", path)
        elif value not in (None, "", []):
            listed = value if isinstance(value, list) else [value]
            yield name, _listed(listed, path)


def _listed(items: Sequence[Any], path: Path) -> ValuesRead:
    values, left_out = [], []
    for item in items:
        if value := _value_of(item):
            values.append(value)
        elif item is not None:
            left_out.append(item)
    if not left_out:
        return ValuesRead(tuple(values))
    more = f" and {len(left_out) - 1:,} more" if len(left_out) > 1 else ""
    return ValuesRead(
        tuple(values),
        (
            f"{path.name}: {_shown(left_out[0])}{more} is neither text nor number and was left"
            " out; write one text for each value",
        ),
    )


def _value_of(item: Any) -> WildcardValue | None:
    """Return the value that *item* of a list stands for, None when it stands for none."""
    if isinstance(item, bool):
        return WildcardValue(str(item).lower())
    if isinstance(item, str):
        return _weighted(item) if item else None
    if isinstance(item, Mapping):
        text = item.get("text") or item.get("content")
        try:
            weight = float(item.get("weight", 1))
        except (TypeError, ValueError):
            return None
        return WildcardValue(text, weight) if isinstance(text, str) and weight >= 0 else None
    return None


def _weighted(text: str) -> WildcardValue:
    match = _WEIGHT.match(text)
    return WildcardValue(text[match.end() :], float(match[1])) if match else WildcardValue(text)


def _shown(item: object) -> str:
    return repr(shortened(item if isinstance(item, str) else str(item), _LONGEST_SHOWN))
