"""config_source: what the text of a config says, TOML or JSON, and values put over it.

Which of the two a text is, its first sign says: only JSON begins with ``{``. Nothing of it is lost:
a key that JSON has twice is refused, and a value that is put over a config arrives sign by sign.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safelight.errors import ConfigError, ConfigFault
from safelight.knobs import KNOBS

__all__ = ["STANDARD_INPUT", "put_over", "read_source", "read_toml"]

STANDARD_INPUT = "standard input"
"""What a config that is in no file is called in messages."""

_MOST_DOTS = 100
_NAME = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\[^\n])*"|'[^'\n]*')"""
_LONG_KEY = re.compile(
    rf"(?<![A-Za-z0-9_-])(?>{_NAME})(?:[ \t]*\.[ \t]*(?>{_NAME})){{{_MOST_DOTS}}}"
)
_OVERRIDE = re.compile(
    rf"[ \t]*((?>{_NAME})(?:[ \t]*\.[ \t]*(?>{_NAME})){{0,{_MOST_DOTS - 1}}})[ \t]*=(.*)", re.DOTALL
)
_EXAMPLE = "an override must look like txt2img.steps=30"
_TEXTS = frozenset(
    [("name",), ("output", "name"), ("randomizer", "matrix", "base_prompt")]
    + [("randomizer", "prompts", key) for key in ("file", "format")]
    + [(stage, k.name) for k in KNOBS.values() if k.kind == "text" for stage in k.stages]
)
"""Where only text may stand, so that what is put there needs no quotes."""


def read_source(data: bytes, *, source: str = "", is_json: bool = False) -> dict[str, Any]:
    """Return what a config says.

    Args:
        data: Its text, UTF-8.
        source: What to call it in messages.
        is_json: Whether it is JSON, whatever it begins with.

    Raises:
        ConfigError: It is empty, no text, neither TOML nor JSON, or has a key twice.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot be read: {error}", source=source) from error
    if not text.strip():
        message = "the file is empty; it needs at least one stage, such as [txt2img]"
        raise ConfigError(message, source=source)
    if is_json or text.lstrip().startswith("{"):
        return _read_json(text, source)
    return read_toml(text, source=source)


def read_toml(text: str, *, source: str = "") -> dict[str, Any]:
    """Return what a config in TOML says.

    Args:
        text: The config.
        source: File name for messages.

    Raises:
        ConfigError: It is not TOML, or nests too deep.
    """
    if (key := _LONG_KEY.search(text)) is not None:  # takes its length squared to be read
        raise ConfigError(
            f"a key may have {_MOST_DOTS} parts, and {key[0][:40]!r}… has more", source=source
        )
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError("is not TOML: it nests too deep", source=source) from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise ConfigError(f"is not TOML: {error}", source=source) from error


# -- JSON ------------------------------------------------------------------------------------


def _read_json(text: str, source: str) -> dict[str, Any]:
    is_whole = True

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_whole
        read = dict(pairs)
        is_whole = is_whole and len(read) == len(pairs)
        return read

    try:
        data = json.loads(text, object_pairs_hook=table)
    except RecursionError as error:
        raise ConfigError("is not JSON: it nests too deep", source=source) from error
    except ValueError as error:
        raise ConfigError(f"is not JSON: {error}", source=source) from error
    if not isinstance(data, dict):
        raise ConfigError("a JSON config must be an object", source=source)
    if not is_whole:
        faults = [
            ConfigFault(
                path=path,
                message=f"is there {len(places)} times, in {_listed(text, places)}; leave one",
            )
            for path, places in _repeated_keys(text)
        ]
        raise ConfigError(faults, source=source)
    return data


@dataclass(slots=True)
class _Level:
    """An object or an array that is being read.

    Attributes:
        is_object: Which of the two.
        place: In an array, of the element.
        key: In an object, of the value.
        awaits_key: Whether the next text is a key.
        starts: Key -> where it begins, as often as it comes.
    """

    is_object: bool
    place: int = 0
    key: str = ""
    awaits_key: bool = True
    starts: dict[str, list[int]] = field(default_factory=dict)


_JSON_SIGN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]')


def _repeated_keys(text: str) -> Iterator[tuple[str, list[int]]]:
    """Yield (path, where it begins) of every key that an object in *text*, right JSON, repeats."""
    levels: list[_Level] = []
    for sign in _JSON_SIGN.finditer(text):
        match sign[0]:
            case "{" | "[":
                levels.append(_Level(sign[0] == "{"))
            case "}" | "]":
                ended = levels.pop()
                for key, starts in ended.starts.items():
                    if len(starts) > 1:
                        yield f"{_path(levels)}.{key}".lstrip("."), starts
            case ",":
                levels[-1].awaits_key = True
                levels[-1].place += 1
            case ":":
                levels[-1].awaits_key = False
            case quoted if levels[-1].is_object and levels[-1].awaits_key:
                levels[-1].key = key = json.loads(quoted)
                levels[-1].starts.setdefault(key, []).append(sign.start())


def _path(levels: Sequence[_Level]) -> str:
    steps = (f".{level.key}" if level.is_object else f"[{level.place}]" for level in levels)
    return "".join(steps).removeprefix(".")


def _listed(text: str, places: Sequence[int]) -> str:
    lines = [
        f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"
        for at in places[:10]
    ]
    return " and ".join(lines) + (" and elsewhere" if len(places) > len(lines) else "")


# -- values that are put over it ---------------------------------------------------------------


def put_over(data: dict[str, Any], overrides: Sequence[str]) -> None:
    """Put ``a.b=value`` texts over *data*, in their order.

    A value that is one of TOML, from its first sign to its last, is that; any other is plain text,
    and so is whatever is no text or list of texts where only text may stand. What is said of the
    ``backend`` by its parts leaves its name as it is.

    Args:
        data: What a config says; it is changed.
        overrides: The texts.

    Raises:
        ConfigError: One has no key before a ``=``, or holds what is no text.
    """
    for override in overrides:
        _refuse_broken(override)
        found = _OVERRIDE.match(override)
        try:
            steps = [] if found is None else _steps(found[1])
        except ValueError:
            steps = []
        if found is None or not steps:
            raise ConfigError(f"{_EXAMPLE}, got {override!r}")
        value = found[2] if _is_plain(steps, found[2]) else _toml_value(found[2])
        _merge_at(data, steps, _as_its_kind(steps, value, found[2]))


def _refuse_broken(override: str) -> None:
    try:
        override.encode()
    except UnicodeEncodeError:
        shown = override.encode("utf-8", "backslashreplace").decode()
        raise ConfigError(f"an override must be UTF-8, got {shown!r}") from None


def _steps(key: str) -> list[str]:
    """Return the parts of a dotted key.

    Raises:
        ValueError: It is none of TOML.
    """
    steps, table = [], tomllib.loads(f"{key} = 0")
    while True:
        ((step, inner),) = table.items()
        steps.append(step)
        if not isinstance(inner, dict):
            return steps
        table = inner


def _is_plain(steps: Sequence[str], text: str) -> bool:
    """Return whether *text* needs no look at TOML, which a long prompt would take long for."""
    return tuple(steps) in _TEXTS and text.lstrip()[:1] not in ('"', "'", "[")


def _toml_value(text: str) -> Any:
    """Return the one value of TOML that *text* is, or *text* itself.

    It is read in the middle of a table on one line, so that a comment, another key or another line
    after the value makes it plain text instead of being dropped.
    """
    try:
        table = tomllib.loads(f"table = {{value = {text}, end = 0}}")
    except (ValueError, RecursionError):
        return text
    inner = table.get("table")
    is_one = len(table) == 1 and isinstance(inner, dict) and list(inner) == ["value", "end"]
    return inner["value"] if is_one and isinstance(inner, dict) else text


def _as_its_kind(steps: Sequence[str], value: Any, text: str) -> Any:
    if tuple(steps) not in _TEXTS or isinstance(value, str):
        return value
    is_texts = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    return value if is_texts else text


def _merge_at(data: dict[str, Any], steps: Sequence[str], value: Any) -> None:
    """Put *value* where *steps* lead; tables are merged, and made where there are none."""
    if steps[0] == "backend":
        value = _with_engine(data, steps, value)
    for place, step in enumerate(steps[:-1]):
        # The file may have written the rest as one key in quotes, as sweeps are.
        rest = ".".join(steps[place:])
        if rest in data:
            _merge(data, {rest: value})
            return
        below = data.get(step)
        if not isinstance(below, dict):
            below = data[step] = {}
        data = below
    _merge(data, {steps[-1]: value})


def _with_engine(data: dict[str, Any], steps: Sequence[str], value: Any) -> Any:
    """Return *value*, with the backend of *data* made a table where only a part of it is put."""
    engine = data.get("backend")
    is_part = len(steps) > 1 or isinstance(value, dict)
    if isinstance(engine, str) and is_part:
        data["backend"] = {"name": engine}
    elif isinstance(engine, dict) and isinstance(value, str) and not is_part:
        return engine if engine.get("name") == value else value
    return value


def _merge(data: dict[str, Any], addition: Mapping[str, Any]) -> None:
    for key, value in addition.items():
        present = data.get(key)
        if isinstance(value, dict) and isinstance(present, dict):
            if present is not value:
                _merge(present, value)
        else:
            data[key] = value
