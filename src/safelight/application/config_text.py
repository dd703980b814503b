"""config_text: configs as the text that a person looks at, changes and runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safelight.durable_file import replace_file
from safelight.errors import StorageError

__all__ = ["comments_of", "toml_text", "write_config", "write_config_text"]

_SHORT_LIST = re.compile(r"\[\n((?: +[^\n]+,\n)+) *\]")
"""A list whose items stand one on each line; a text has no line break of its own there."""

_LONGEST_LIST = 80


def write_config(path: Path, config: Mapping[str, Any], comments: Sequence[str] = ()) -> None:
    """Write *config* as TOML, or as JSON when the name ends in ``.json``.

    Args:
        path: Where; what is there already stays.
        config: As ``PipelineConfig.from_mapping`` reads it.
        comments: Lines at the top of a TOML file.

    Raises:
        StorageError: There is such a file, or it cannot be written.
    """
    if path.suffix.lower() == ".json":
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
    else:
        text = toml_text(config, comments)
    write_config_text(path, text)


def write_config_text(path: Path, text: str) -> None:
    """Write the text of a config; a file that is there already stays.

    Raises:
        StorageError: There is such a file, or it cannot be written.
    """
    if path.exists():
        raise StorageError(f"{path} is there already and is not replaced; choose another name")
    try:
        replace_file(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def toml_text(config: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Return *config* as TOML; what is None is left out."""
    import tomli_w

    lines = [f"# {line}".rstrip() for comment in comments for line in comment.splitlines()]
    text = _SHORT_LIST.sub(_on_one_line, tomli_w.dumps(_stated(config), indent=2))
    return "\n".join([*lines, "", text]).lstrip("\n")


_TEXTS = re.compile(
    r"""\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""", re.DOTALL
)
"""The texts of TOML, in which a ``#`` begins no comment."""


def comments_of(text: str) -> tuple[tuple[str, ...], int]:
    """Return the comments at the top of a TOML text, and how many more there are in it.

    Args:
        text: Which can be read as TOML.
    """
    lines = text.splitlines()
    top: list[str] = []
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            break
        if line.strip():
            top.append(line.strip().removeprefix("#").strip())
    every = sum("#" in line for line in _TEXTS.sub("", text).splitlines())
    return tuple(top), max(0, every - len(top))


def _on_one_line(match: re.Match[str]) -> str:
    """Return a list of values on one line, where it fits there: tomli-w gives each its own."""
    items = [line.strip().removesuffix(",") for line in match[1].rstrip("\n").split("\n")]
    line = f"[{', '.join(items)}]"
    return match[0] if len(line) > _LONGEST_LIST or items[0][0] in "[{" else line


def _stated(value: Any) -> Any:
    """Return *value* without what is None, which TOML cannot say."""
    if isinstance(value, Mapping):
        return {key: _stated(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_stated(each) for each in value if each is not None]
    return value
