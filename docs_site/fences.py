"""fences: the commands that a page of the documentation shows, and what becomes of them.

The opening line of a fenced block says it in its second word::

    ```sh run       carried out by the tests, in order, in an empty folder
    ```sh fake      carried out with the engine "fake" in the place of the one that is named
    ```sh           read as the command line reads it, so that every command and option is there

A block of another language with ``title="NAME"`` is a file of that name for the blocks after it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from safelight.cli import main

__all__ = ["CLASSES", "Fence", "commands_of", "fault_of", "fences_of", "plain_fences"]

CLASSES = ("run", "fake", "parsed")
_OPENING = re.compile(r"^(?P<indent> *)```(?P<language>\w+)(?P<rest>[^\n`]*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_SHELL = ("sh", "bash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One fenced block.

    Attributes:
        place: ``page.md:12``, its opening line.
        language: The first word of its opening line.
        kind: ``run``, ``fake`` or ``parsed`` of commands; ``file`` of what has a title; else empty.
        title: The file that it is.
        text: What stands in it, without the indent of the fence.
    """

    place: str
    language: str
    kind: str
    title: str
    text: str


def fences_of(page: Path) -> Iterator[Fence]:
    """Yield the fenced blocks of *page* in order.

    Raises:
        ValueError: One of commands has a word that is no class.
    """
    lines = iter(enumerate(page.read_text("utf-8").split("\n"), start=1))
    for number, line in lines:
        if not (opening := _OPENING.match(line)):
            continue
        indent, place = opening["indent"], f"{page.name}:{number}"
        body: list[str] = []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            body.append(inner.removeprefix(indent))
        title = _TITLE.search(opening["rest"])
        yield Fence(
            place=place,
            language=opening["language"],
            kind=_kind(opening["language"], opening["rest"], place),
            title=title[1] if title else "",
            text="\n".join(body) + "\n",
        )


def _kind(language: str, rest: str, place: str) -> str:
    if language not in _SHELL:
        return "file" if _TITLE.search(rest) else ""
    word = rest.strip() or "parsed"
    if word not in CLASSES:
        raise ValueError(f"{place}: commands are one of {', '.join(CLASSES)}, not {word!r}")
    return word


def plain_fences(markdown: str) -> str:
    """Return *markdown* without the classes, which readers of the page need not see."""
    shell = "|".join(_SHELL)
    return re.sub(rf"^( *```(?:{shell})) (?:{'|'.join(CLASSES)})$", r"\1", markdown, flags=re.M)


def commands_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each ``safelight`` command in lines of a shell.

    A variable before it is left out, and so is what stands before and behind a pipe or ``&&``.
    """
    for line in text.replace("\\\n", " ").split("\n"):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;<>"):
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words and words[0] == "safelight":
                    yield words[1:]
                words = []
            else:
                words.append(word)


def fault_of(words: list[str]) -> str:
    """Return what the command line would refuse in *words* before it did anything, or nothing.

    Files need not be there, and values that a reader fills in need not fit.
    """
    command: click.Command = main
    try:
        context = click.Context(command, info_name="safelight")
        while True:
            given, rest, _ = command.make_parser(context).parse_args(list(words))
            for parameter in command.get_params(context):
                value = given.get(parameter.name or "")
                missing = value is None or parameter.value_is_missing(value)
                if parameter.required and missing and not given.get("help"):
                    return f"{context.command_path}: {parameter.human_readable_name} is missing"
            if not isinstance(command, click.Group):
                return f"{context.command_path}: {' '.join(rest)} is too much" if rest else ""
            if not rest:
                return ""
            name, inner, words = command.resolve_command(context, list(rest))
            if inner is None:
                return f"{context.command_path} has no command {name!r}"
            command, context = inner, click.Context(inner, info_name=name, parent=context)
    except click.UsageError as error:
        return f"{context.command_path}: {error.format_message()}"
