"""config_file: configs that the command line writes for a person to look at and run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safelight.durable_file import replace_file
from safelight.errors import StorageError

__all__ = ["toml_text", "write_config"]


def write_config(path: Path, config: Mapping[str, Any], comments: Sequence[str] = ()) -> None:
    """Write *config* as TOML, or as JSON when the name ends in ``.json``.

    Args:
        path: Where; what is there already stays.
        config: As ``PipelineConfig.from_mapping`` reads it.
        comments: Lines at the top of a TOML file.

    Raises:
        StorageError: There is such a file, or it cannot be written.
    """
    if path.exists():
        raise StorageError(f"{path} is there already and is not replaced; choose another name")
    if path.suffix.lower() == ".json":
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
    else:
        text = toml_text(config, comments)
    try:
        replace_file(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def toml_text(config: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Return *config* as TOML; what is None is left out."""
    lines = [f"# {line}".rstrip() for comment in comments for line in comment.splitlines()]
    if lines:
        lines.append("")
    lines += _table(config, "")
    return "\n".join(lines).strip("\n") + "\n"


def _table(table: Mapping[str, Any], path: str) -> Iterator[str]:
    later: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, Mapping) or _is_list_of_tables(value):
            later.append((key, value))
        elif value is not None:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in later:
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, Mapping):
            yield from ("", f"[{name}]")
            yield from _table(value, name)
        else:
            for entry in value:
                yield from ("", f"[[{name}]]")
                yield from _table(entry, name)


def _is_list_of_tables(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(entry, Mapping) for entry in value)
    )


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON text is a TOML text, but for the one control character that JSON lets pass.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
