"""prompt_formats: the rows of a file of prompts, before anybody asks what their columns mean.

A line of ``lines`` that begins with ``--`` is read as AUTOMATIC1111's script "Prompts from file or
textbox" reads it. Nothing is passed over in silence: what is no row is a fault of its line, and
what may have been meant otherwise is told.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isinf
from typing import Any

from safelight.errors import shortened
from safelight.randomizer.wildcard_values import begins_comment
from safelight.randomizer_config import PromptFile, PromptFormat
from safelight.varied_names import dotted, same_word

__all__ = ["FileRow", "Findings", "rows_of", "shown"]

_LONGEST_SHOWN = 200
_MOST_TOLD = 12


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row: the line that it begins on, from 1, and its cells by the names of their columns."""

    line: int
    cells: Mapping[str, Any]


class Findings:
    """What is wrong with a file, and what is told of it; what is alike is told once, and counted.

    Attributes:
        head: The names of its columns, where it has a head.

    Args:
        file: What to call it.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self.head: tuple[str, ...] = ()
        self._faults: dict[tuple[str, str], list[Any]] = {}
        self._told: dict[tuple[str, str], list[Any]] = {}

    def fault(self, line: int, message: str, column: str = "") -> None:
        """Note that a rule is broken.

        Args:
            line: Where; 0 is the file as a whole.
            message: The rule, then ``, got`` and what is there instead.
            column: Which part of the line.
        """
        self._note(self._faults, line, message, column)

    def tell(self, line: int, message: str, column: str = "") -> None:
        """Note what may be meant otherwise; as :meth:`fault`."""
        self._note(self._told, line, message, column)

    def faults(self) -> list[str]:
        """Return a sentence for each rule that is broken, some dozen at most."""
        return list(self._sentences(self._faults, "faults"))

    def warnings(self) -> list[str]:
        """Return a sentence for each kind of thing that is told."""
        return list(self._sentences(self._told, "remarks"))

    def _note(
        self, notes: dict[tuple[str, str], list[Any]], line: int, message: str, column: str
    ) -> None:
        rule = message.partition(", got")[0]
        note = notes.setdefault((column, rule), [line, message, 0, 0])
        note[2] += 1
        if note[2] == 2:
            note[3] = line

    def _sentences(
        self, notes: Mapping[tuple[str, str], Sequence[Any]], what: str
    ) -> Iterator[str]:
        for (column, _), (line, message, times, second) in list(notes.items())[:_MOST_TOLD]:
            where = [self._file, *([f"line {line}"] if line else [])]
            where += [column] if column else []
            cut = message if len(message) <= 400 else f"{message[:_LONGEST_SHOWN]}…"
            more = f"; so in {times - 1:,} more, first in line {second}" if second else ""
            yield f"{', '.join(where)}: {cut}{more}"
        if len(notes) > _MOST_TOLD:
            left = sum(note[2] for note in list(notes.values())[_MOST_TOLD:])
            yield f"{self._file}: and {left:,} more {what}"


def shown(value: object) -> str:
    """Return *value* as a message quotes it."""
    return shortened(repr(value), _LONGEST_SHOWN)


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _lines(text: str, blanks: str | None = None) -> Iterator[tuple[int, str]]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ((number, line.strip(blanks)) for number, line in enumerate(lines, 1))


def _tell_of(number: int, line: str, found: Findings) -> None:
    """Tell of a line of text that may have been meant as something else than a prompt."""
    if line.startswith("#"):
        found.tell(number, "a line that begins with # and no blank after it is a prompt; put a"
                           f" blank there for a comment, got {shown(line)}")  # fmt: skip


# -- lines and packs -------------------------------------------------------------------------


def _read_lines(text: str, found: Findings) -> Iterator[FileRow]:
    for number, line in _lines(text):
        if not line or begins_comment(line):
            continue
        if line.startswith("--"):
            options = _options(number, line, found)
            if options is not None:
                yield FileRow(number, options)
            continue
        _tell_of(number, line, found)
        if line.startswith("neg:"):
            found.tell(number, 'a line of a pack, read as a prompt; set format = "pack" for blocks'
                               f" with a negative prompt, got {shown(line)}")  # fmt: skip
        if " --" in line:
            found.tell(number, "options are read where a line begins with -- only; begin it with"
                               f" --prompt, or leave them out, got {shown(line)}")  # fmt: skip
        yield FileRow(number, {"prompt": line})


def _options(number: int, line: str, found: Findings) -> dict[str, str] | None:
    """Return option -> its text; None when the line cannot be read.

    Source: ``scripts/prompts_from_file.py`` of AUTOMATIC1111: words in the manner of a shell; a
    prompt goes on to the next option, every other option has one word.
    """
    try:
        words = deque(shlex.split(line))
    except ValueError as error:
        found.fault(number, f"cannot be read, {error}; put a text with quotes into double quotes"
                            f" and a backslash before those in it, got {shown(line)}")  # fmt: skip
        return None
    if "".join(words).count("\\") < line.count("\\"):
        found.tell(number, "a backslash outside of quotes only says that the next sign is one, as"
                           " AUTOMATIC1111 has it; put the text into double quotes, got"
                           f" {shown(line)}")  # fmt: skip
    options: dict[str, str] = {}
    while words:
        option = words.popleft()
        if not option.startswith("--"):
            found.fault(number, f"an option must begin with --, got {shown(option)}")
            return None
        if not words:
            found.fault(number, f"an option must have a value, got {shown(option)}")
            return None
        value = [words.popleft()]
        while option in ("--prompt", "--negative_prompt") and words and words[0][:2] != "--":
            value.append(words.popleft())
        if option in options:
            found.fault(number, f"an option may be there once, got {shown(option)} twice")
        options[option] = " ".join(value)
    return {option[2:]: value for option, value in options.items()}


def _read_pack(text: str, found: Findings) -> Iterator[FileRow]:
    """Yield the blocks of StableNew's prompt packs."""
    numbered = [(n, line) for n, line in _lines(text) if not begins_comment(line)]
    for has_text, block in groupby(numbered, key=lambda each: each[1] != ""):
        if not has_text:
            continue
        lines = list(block)
        for number, line in lines:
            _tell_of(number, line, found)
            if line[:4] != "neg:" and same_word(line).startswith(("neg:", "negative")):
                found.tell(number, "is read as a part of the prompt; a negative begins with neg:,"
                                   f" got {shown(line)}")  # fmt: skip
        texts = {
            "prompt": " ".join(line for _, line in lines if not line.startswith("neg:")),
            "negative_prompt": " ".join(
                line[4:].strip() for _, line in lines if line.startswith("neg:")
            ).strip(),
        }
        yield FileRow(lines[0][0], {name: value for name, value in texts.items() if value})


def _read_pack_table(text: str, found: Findings) -> Iterator[FileRow]:
    """Yield the rows of StableNew's tables without a head: prompt, tab, negative."""
    for number, line in _lines(text, " "):
        if not line.strip() or begins_comment(line):
            continue
        _tell_of(number, line, found)
        prompt, _, negative = line.partition("\t")
        texts = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
        yield FileRow(number, {name: value for name, value in texts.items() if value})


# -- tables ----------------------------------------------------------------------------------


def _read_csv(text: str, found: Findings) -> Iterator[FileRow]:
    return _read_table(text, ",", found)


def _read_tsv(text: str, found: Findings) -> Iterator[FileRow]:
    return _read_table(text, "\t", found)


def _read_table(text: str, separator: str, found: Findings) -> Iterator[FileRow]:
    rows = _table_rows(text, separator, found)
    line, head = next(rows, (1, []))
    names = [name.strip() for name in head]
    found.head = tuple(names)
    for name in _twice(filter(None, names)):
        found.fault(line, f"a column may be there once, got {shown(name)} twice")
    if len(names) == 1 and ";" in names[0]:
        found.fault(line, 'columns are apart by commas, and in a .tsv file by tabs, got ";"')
        return
    for line, cells in rows:
        if len(cells) > len(names):
            found.fault(line, f"a row may have {len(names)} cells, as many as the head; put a text"
                              " with a separator into double quotes, without a blank before them,"
                              f" got {len(cells)}")  # fmt: skip
        elif len(cells) < len(names):
            found.tell(line, f"has fewer cells than the head, {len(names)}; those that lack are"
                             f" taken as empty, got {len(cells)}")  # fmt: skip
        if any(cell and not name for name, cell in zip(names, cells, strict=False)):
            found.tell(line, "a cell of a column without a name is not used")
        named = zip(names, cells, strict=False)
        yield FileRow(line, {name: cell for name, cell in named if name and cell.strip()})


def _table_rows(text: str, separator: str, found: Findings) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that a row begins on, and its cells; rows without any text are none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            found.fault(line, f"cannot be read, {error}; a text with quotes in it stands in double"
                              " quotes, and each of its own is doubled")  # fmt: skip
            return
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


# -- JSON ------------------------------------------------------------------------------------


def _read_jsonl(text: str, found: Findings) -> Iterator[FileRow]:
    for number, line in _lines(text):
        if not line:
            continue
        try:
            value = json.loads(line, object_pairs_hook=_object, parse_constant=_no_constant,
                               parse_float=_finite)  # fmt: skip
            cells = _object(list(dotted(value))) if isinstance(value, dict) else None
        except (ValueError, RecursionError) as error:
            reason = "it nests too deep" if isinstance(error, RecursionError) else error
            found.fault(number, f"cannot be read as JSON, {reason}")
            continue
        if cells is None:
            found.fault(number, f"must be one JSON object on the line, got {shown(value)}")
            continue
        yield FileRow(number, {name: cell for name, cell in cells.items() if cell is not None})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if twice := _twice(key for key, _ in pairs):
        raise ValueError(f"the key {shown(twice[0])} is there twice")
    return read


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{shown(text)} is too large a number")
    return number


_READS: Mapping[PromptFormat, Callable[[str, Findings], Iterator[FileRow]]] = {
    "lines": _read_lines, "pack": _read_pack, "csv": _read_csv, "tsv": _read_tsv,
    "jsonl": _read_jsonl,
}  # fmt: skip


def rows_of(text: str, source: PromptFile, found: Findings) -> Iterator[FileRow]:
    """Yield the rows of a file.

    Args:
        text: What is in it.
        source: Its name and format.
        found: Where to note what is wrong.
    """
    if source.format == "pack" and source.file.lower().endswith(".tsv"):
        return _read_pack_table(text, found)
    return _READS[source.format](text, found)
