"""wildcard_bounds: what a folder of wildcards may hold, seen before anything of it is read.

The ``dynamicprompts`` library reads every .json and .yaml file of the folder at once, and a text
file as soon as it is asked for. An alias of YAML stands for all that it names: nine lines of ten
aliases each are a thousand million values.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

from safelight.errors import TemplateError

__all__ = ["MOST_VALUES", "FolderBounds", "count_lines"]

MOST_VALUES = 500_000
"""Values of all wildcards of one plan."""

_MOST_FILES = 100_000
_LARGEST_TEXT = 16 * 2**20
_LARGEST_STRUCTURED = 4 * 2**20
"""Bytes of all .json and .yaml files together; YAML is read at a megabyte in ten seconds."""

_MOST_LINES = 250_000
_ANCHOR, _ALIAS = (
    re.compile(r"(?:^|[\s\[{,:-])&[^\s,\]}]"),
    re.compile(r"(?:^|[\s\[{,:-])\*[^\s,\]}]"),
)


class FolderBounds:
    """Counts what the library would read of a folder, and refuses what is too much.

    Args:
        folder: For messages.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = self._structured = 0

    def count(self, path: Path) -> None:
        """Count the file *path*.

        Raises:
            TemplateError: The folder holds too many.
        """
        self._files += 1
        if self._files > _MOST_FILES:
            raise TemplateError(
                f"{self._folder} holds more than {_MOST_FILES:,} files; name a folder of wildcards"
                f" alone: {path} is one too many"
            )

    def count_structured(self, file: BinaryIO, path: Path) -> None:
        """Count what a .json or .yaml file stands for.

        Raises:
            TemplateError: Such files are too large together, or one stands for too much.
        """
        self._structured += os.fstat(file.fileno()).st_size
        if self._structured > _LARGEST_STRUCTURED:
            raise TemplateError(
                f"the .json and .yaml files in {self._folder} have more than"
                f" {_LARGEST_STRUCTURED:,} bytes; put long lists into .txt files"
            )
        if path.suffix == ".yaml":
            _refuse_expanding(file.read(_LARGEST_STRUCTURED), path)


def count_lines(file: BinaryIO, name: str) -> int:
    """Return how many lines a text file has, at least.

    Args:
        file: The file.
        name: What to call it in messages.

    Raises:
        TemplateError: They are too many, or too long together.
        OSError: It cannot be read.
    """
    if (size := os.fstat(file.fileno()).st_size) > _LARGEST_TEXT:
        raise TemplateError(
            f"the wildcard file {name} may have {_LARGEST_TEXT:,} bytes, got {size:,}; split it"
        )
    lines = 1
    while block := file.read(2**16):
        lines += block.count(b"\n") + block.count(b"\r")
    if lines > 2 * _MOST_LINES:
        raise TemplateError(
            f"the wildcard file {name} may have {_MOST_LINES:,} lines, got {lines:,}; split it"
        )
    return lines


def _refuse_expanding(content: bytes, path: Path) -> None:
    """Refuse a file whose aliases stand for more values than a plan may have."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return  # the library will say so
    if not (_ANCHOR.search(text) and _ALIAS.search(text)):
        return
    try:
        count = _expanded(text)
    except RecursionError:
        count = MOST_VALUES + 1
    if count > MOST_VALUES:
        raise TemplateError(
            f"the aliases in {path} stand for more than {MOST_VALUES:,} values; write them out, or"
            " name another wildcard, as in __colors__"
        )


def _expanded(text: str) -> int:
    """Return how many nodes *text* comes to once every alias is written out; 0 if it is no YAML."""
    try:
        import yaml
    except ImportError:  # then no such file is read
        return 0

    sizes: dict[str, int] = {}
    open_ones: list[tuple[str | None, int]] = [(None, 0)]

    def add(size: int, anchor: str | None = None) -> None:
        if anchor is not None:
            sizes[anchor] = size
        above, so_far = open_ones[-1]
        open_ones[-1] = (above, so_far + size)

    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                add(sizes.get(event.anchor, 1))
            elif isinstance(event, yaml.ScalarEvent):
                add(1, event.anchor)
            elif isinstance(event, yaml.CollectionStartEvent):
                open_ones.append((event.anchor, 1))
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, size = open_ones.pop()
                add(size, anchor)
    except yaml.YAMLError:
        return 0
    return open_ones[0][1]
