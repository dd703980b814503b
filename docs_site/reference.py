"""reference: the pages of the documentation that are made from the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

import safelight
from safelight.application.open_archive import OpenArchive, Suggested
from safelight.archive.answer import columns_of_view
from safelight.archive.views import VIEWS
from safelight.cli import main
from safelight.config_schema import config_schema
from safelight.controller import PipelineController
from safelight.learning.learning_record import (
    ImageOutput,
    LearningRecord,
    LearningRecordWriter,
    Mismatch,
    VariantFailure,
)
from safelight.learning.learning_runner import LearningRunner
from safelight.pipeline import PipelineRunner
from safelight.web.description import description

__all__ = ["PAGES", "pages"]

_WIDTH = 80
_CLASSES: tuple[type, ...] = (
    OpenArchive, Suggested, PipelineRunner, PipelineController, LearningRunner,
    LearningRecordWriter, LearningRecord,
)  # fmt: skip
_RECORD: tuple[type, ...] = (LearningRecord, ImageOutput, Mismatch, VariantFailure)


def pages() -> dict[str, str]:
    """Return name -> markdown of every page."""
    return {name: "\n".join(make()) + "\n" for name, make in PAGES.items()}


def _commands() -> Iterator[str]:
    yield from ["# The commands", "", "What `safelight COMMAND --help` prints."]
    context = click.Context(main, info_name="safelight", max_content_width=_WIDTH)
    yield from _help(main, context, 2)


def _help(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    context.terminal_width = _WIDTH
    yield from ["", f"{'#' * level} {context.command_path}", "", "```text"]
    yield from [command.get_help(context).rstrip(), "```"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            inner_context = click.Context(inner, info_name=name, parent=context)
            yield from _help(inner, inner_context, min(level + 1, 3) if level > 2 else level)


def _config() -> Iterator[str]:
    yield from ["# Every key of a config", ""]
    yield "Made from the [JSON Schema](../safelight.schema.json) that `safelight schema` prints;"
    yield "[Configs](../config.md) explains them."
    schema = config_schema()
    for name, part in schema["properties"].items():
        yield from ["", f"## {name}", "", part.get("description", "")]
        rows = list(_keys(part, schema, "", 0))
        if rows:
            yield from ["", "| key | value | meaning |", "|---|---|---|", *rows]


def _keys(
    part: Mapping[str, Any], schema: Mapping[str, Any], before: str, depth: int
) -> Iterator[str]:
    table = _table(part, schema)
    for key, meaning in table.get("properties", {}).items():
        told = _resolved(meaning, schema)
        text = meaning.get("description") or told.get("description", "")
        yield f"| `{before}{key}` | {_kind(told, schema)} | {_cell(text)} |"
        if depth < 2 and "$ref" not in meaning:
            yield from _keys(told, schema, f"{before}{key}.", depth + 1)


def _resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else part


def _table(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a choice that has keys of its own."""
    part = _resolved(part, schema)
    choices = [part, *(_resolved(each, schema) for each in part.get("anyOf", ()))]
    return next((each for each in choices if "properties" in each), {})


def _kind(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    part = _resolved(part, schema)
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_kind(each, schema) for each in part["anyOf"]))
    kind = str(part.get("type", "any value"))
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    return f"{kind}, from {low}" if low is not None else kind


def _python() -> Iterator[str]:
    yield from ["# The Python interface", ""]
    yield "[In Python](../python.md) shows how they go together."
    for name in ("open", "run"):
        yield from _callable(getattr(safelight, name), f"safelight.{name}", 2)
    for cls in _CLASSES:
        yield from ["", f"## {cls.__module__}.{cls.__name__}", "", *_docstring(cls)]
        if cls not in _RECORD:
            yield from ["", "```python", f"{cls.__name__}{_signature(cls)}", "```"]
        for name, member in vars(cls).items():
            function = getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(function):
                yield from _callable(function, name, 3)


def _callable(function: Any, name: str, level: int) -> Iterator[str]:
    short = name.rpartition(".")[2]
    yield from ["", f"{'#' * level} {name}", "", "```python", f"{short}{_signature(function)}"]
    yield from ["```", "", *_docstring(function)]


class _Written:
    """An annotation that shows as it stands in the code, without quotes around it."""

    def __init__(self, text: object) -> None:
        self._text = text

    def __repr__(self) -> str:
        return str(self._text)


def _signature(of: Any) -> str:
    signature = inspect.signature(of)
    text = str(signature.replace(
        parameters=[
            each if each.annotation is each.empty
            else each.replace(annotation=_Written(each.annotation))
            for each in signature.parameters.values()
            if each.name != "self"
        ],
        return_annotation=signature.empty if signature.return_annotation is signature.empty
        else _Written(signature.return_annotation),
    ))  # fmt: skip
    return text if len(text) < _WIDTH else re.sub(r", (?=\w+(: |=)|\*)", ",\n    ", text)


def _docstring(of: Any) -> Iterator[str]:
    """Yield a docstring: its sections as text in the form in which they are written."""
    text = inspect.getdoc(of) or ""
    section = re.search(r"\n\n(?:Args|Attributes|Returns|Raises):\n", text)
    end = section.start() if section else len(text)
    yield _as_markdown(text[:end])
    if section:
        yield from ["", "```text", _as_markdown(text[end:].strip()).replace("`", ""), "```"]


def _as_markdown(prose: str) -> str:
    """Return *prose* with the marks of docstrings as those of pages."""
    prose = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", prose).replace("``", "`")
    return re.sub(r"(?m)::$((?:\n(?: {4}.*)?)+)", r":\n\1", prose)


def _record() -> Iterator[str]:
    yield from ["# The fields of a record", "", "[Learning records](../records.md) explains them."]
    for cls in _RECORD:
        yield from ["", f"## {cls.__name__}", "", *_docstring(cls)]


def _views() -> Iterator[str]:
    yield from ["# The columns of an archive", ""]
    yield "What `safelight find`, `--sql` and the page's filter may ask for;"
    yield "[the archive](../archive.md) explains the filter language."
    for view in VIEWS:
        yield from ["", f"## {view}", "", "| column | kind |", "|---|---|"]
        yield from (f"| `{name}` | {kind} |" for name, kind in columns_of_view(view).items())


def _http() -> Iterator[str]:
    yield from ["# The HTTP interface", ""]
    yield "What the light table's own page uses, as OpenAPI at `/api/openapi.json` of a table that"
    yield "is open; [who may ask](../light-table.md)."
    told = description()
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            if method not in ("get", "post", "put", "delete", "patch"):
                continue
            yield from ["", f"## {method.upper()} {path}", ""]
            yield operation.get("summary", "") + "  "
            yield operation.get("description", "")
            given = [*methods.get("parameters", ()), *operation.get("parameters", ())]
            rows = [
                f"| `{each['name']}` | {each['in']} | {_cell(each.get('description', ''))} |"
                for each in given
            ]
            if rows:
                yield from ["", "| parameter | in | meaning |", "|---|---|---|", *rows]
            yield from ["", "| status | answer |", "|---|---|"]
            for status, answer in operation.get("responses", {}).items():
                yield f"| {status} | {_cell(answer.get('description', ''))} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


PAGES = {
    "commands.md": _commands,
    "config.md": _config,
    "python.md": _python,
    "record.md": _record,
    "columns.md": _views,
    "http.md": _http,
}
"""Name of a page below ``reference/`` -> what writes it."""
