"""Wildcard files: which values a wildcard stands for, and the SHA-256 of the files they came from.

The rules of the ``dynamicprompts`` library for names hold: ``*`` matches across folders, and a name
that matches nothing is searched for in every folder below. Files open only as
:class:`~safelight.allowed_files.AllowedFiles` has it; what is in them ``wildcard_values`` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import file_digest
from pathlib import Path

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.errors import FileRefused, TemplateError
from safelight.knobs import did_you_mean
from safelight.randomizer.wildcard_bounds import MOST_VALUES, FolderBounds, count_lines
from safelight.randomizer.wildcard_values import (
    Unreadable,
    ValuesRead,
    WildcardValue,
    decoded,
    read_lines,
    read_structured,
)

__all__ = ["WildcardFiles", "WildcardValue"]

_STRUCTURED = (".json", ".yaml")
_LONGEST_ASKED = 1_000


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the values of one wildcard are.

    Attributes:
        path: The file.
        values: What is in it, where it has been read already: not a text file.
    """

    path: Path
    values: ValuesRead | None = None


class WildcardFiles:
    """The wildcard files of one folder, read when they are asked for.

    Attributes:
        used: Wildcard name -> SHA-256 (hexadecimal) of the file, for every file asked for.
        warnings: What was left out of the files asked for.

    Args:
        folder: The folder; None is none.
        files: Which files may be named, and how they are opened.
    """

    def __init__(self, folder: Path | None, files: AllowedFiles = ANY_FILE) -> None:
        self.folder = folder
        self._files = files
        self.used: dict[str, str] = {}
        self.warnings: list[str] = []
        self._values: dict[str, tuple[WildcardValue, ...]] = {}
        self._unreadable: list[str] = []
        self._counted = 0

    @cached_property
    def _sources(self) -> Mapping[str, _Source]:
        if self.folder is None:
            return {}
        sources: dict[str, _Source] = {}
        try:
            bounds = FolderBounds(self.folder)
            for path in self._files.below(self.folder):
                bounds.count(path)
                inside = path.parent.relative_to(self.folder)
                if path.suffix == ".txt":
                    sources[(inside / path.stem).as_posix()] = _Source(path)
                elif path.suffix in _STRUCTURED:
                    for name, values in self._structured(path, bounds):
                        named = f"{inside.as_posix()}/{name}".removeprefix("./")
                        sources[named] = _Source(path, values)
        except FileRefused as error:
            message = f"randomizer.wildcards_dir: {str(self.folder)!r} {error}"
            raise TemplateError(message) from error
        return sources

    def _structured(self, path: Path, bounds: FolderBounds) -> Iterator[tuple[str, ValuesRead]]:
        """Yield what a .json or .yaml file holds; nothing, and note why, if it cannot be read."""
        with self._files.open(str(path)) as opened:
            bounds.count_structured(opened, path)
            opened.seek(0)
            content = opened.read()
        try:
            yield from read_structured(decoded(content, path), path)
        except Unreadable as error:
            self._unreadable.append(str(error))

    def has(self, name: str) -> bool:
        """Return whether there is a wildcard *name*, without reading it."""
        return len(name) <= _LONGEST_ASKED and bool(self._matches(name))

    def values(self, name: str) -> tuple[WildcardValue, ...]:
        """Return the values of wildcard *name* in order; empty when there is no such wildcard.

        Raises:
            TemplateError: The file is there and has no values.
        """
        if name not in self._values:
            matches = self._matches(name)
            values = self._sorted(matches)
            if matches and not values:
                raise TemplateError(
                    f"wildcard __{name}__ has no values: {', '.join(matches)} in {self.folder} "
                    f"is empty; put one value on each line{self._left_out_of(matches)}"
                )
            for match in matches:
                with self._files.open(str(self._sources[match].path)) as file:
                    self.used[match] = file_digest(file, "sha256").hexdigest()
            if "*" in name:
                self._warn(self._unreadable)
            self._values[name] = values
        return self._values[name]

    def files_of(self, name: str, text: str) -> tuple[Path, ...]:
        """Return the files that the value *text* of wildcard *name* may be from.

        They are those that have it as it is; where none has, because it is a template, all that
        the name stands for.
        """
        matches = self._matches(name)
        having = []
        if len(matches) > 1:
            having = [m for m in matches if any(v.text == text for v in self._read(m).values)]
        return tuple(dict.fromkeys(self._sources[match].path for match in having or matches))

    def _left_out_of(self, matches: Sequence[str]) -> str:
        """Return what was left out of files that have nothing else, to be appended."""
        said = [warning for warning in self.warnings for match in matches if match in warning]
        return "".join(f"; {warning}" for warning in dict.fromkeys(said))

    def _matches(self, name: str) -> list[str]:
        pattern = re.sub(r"[\\/]+", "/", name).strip("/")
        matching = [each for each in self._sources if fnmatchcase(each, pattern)]
        if not matching and not pattern.startswith("**"):
            matching = [each for each in self._sources if fnmatchcase(each, f"**/{pattern}")]
        return sorted(matching)

    def _sorted(self, matches: Sequence[str]) -> tuple[WildcardValue, ...]:
        values: dict[WildcardValue, None] = {}
        for match in matches:
            read = self._read(match)
            values |= dict.fromkeys(read.values)
            self._warn(f"wildcard __{match}__: {left}" for left in read.left_out)
        return tuple(sorted(values, key=lambda value: (value.text, value.weight)))

    def _warn(self, sentences: Iterable[str]) -> None:
        self.warnings += [each for each in sentences if each not in self.warnings]

    def _read(self, name: str) -> ValuesRead:
        """Return what wildcard *name* holds, counted before it is read.

        Raises:
            TemplateError: The values are too many, or the file is not UTF-8.
        """
        path, read = self._sources[name].path, self._sources[name].values
        if read is not None:
            self._count(len(read.values), name)
            return read
        with self._files.open(str(path)) as opened:
            self._count(count_lines(opened, str(path)), name)
            opened.seek(0)
            try:
                return read_lines(decoded(opened.read(), path), path)
            except Unreadable as error:
                raise TemplateError(f"wildcard __{name}__: {error}") from error

    def _count(self, values: int, name: str) -> None:
        self._counted += values
        if self._counted > MOST_VALUES:
            raise TemplateError(
                f"wildcard __{name}__: the wildcards of a plan may have {MOST_VALUES:,} values"
                " together; use shorter files"
            )

    def unknown(self, names: Mapping[str, str]) -> TemplateError:
        """Return the error for wildcards that no file has; *names* maps each to its prompt."""
        lines = [
            f"__{name}__ in {where}{did_you_mean(name, self._sources)}"
            for name, where in names.items()
        ]
        if self.folder is None:
            hint = "no folder is searched: set randomizer.wildcards_dir"
        elif not self.folder.is_dir():
            hint = f"the folder {self.folder} is missing"
        else:
            hint = f"searched {self.folder}"
        hint += "".join(f"; {each}" for each in self._unreadable)
        hint += "; __...__ is read as a wildcard, which randomizer.templates = false switches off"
        hint += ", and \\__ writes the characters"
        return TemplateError(f"unknown wildcard {' and '.join(lines)} ({hint})")
