"""Wildcard files: which values a wildcard stands for, and the SHA-256 of the files they came from.

The ``dynamicprompts`` library reads the files (.txt, .json, .yaml, nested folders); its rules for
names hold: ``*`` matches across folders, and a name that matches nothing is searched for in every
folder below. It is given no path that it could open itself, but files that open only as
:class:`~safelight.allowed_files.AllowedFiles` has it.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.errors import FileRefused, TemplateError
from safelight.knobs import did_you_mean
from safelight.randomizer.wildcard_bounds import MOST_VALUES, FolderBounds, count_lines

if TYPE_CHECKING:
    from dynamicprompts.wildcards.collection import WildcardCollection

__all__ = ["WildcardFiles", "WildcardValue"]

_log = logging.getLogger(__name__)
_STRUCTURED = (".json", ".yaml")


@dataclass(frozen=True, slots=True)
class WildcardValue:
    """One value of a wildcard: a text, itself perhaps a template, and how often it is drawn."""

    text: str
    weight: float = 1.0


class _AllowedFile:
    """A file as the library sees it: what it asks of a path, and nothing else."""

    def __init__(self, path: Path, files: AllowedFiles) -> None:
        self.path = path
        self._files = files
        self.suffix = path.suffix

    def __str__(self) -> str:
        return str(self.path)

    def with_suffix(self, suffix: str) -> Path:
        return self.path.with_suffix(suffix)

    def open(self, *, encoding: str, errors: str = "strict") -> TextIO:
        return io.TextIOWrapper(self.content(), encoding=encoding, errors=errors)

    def content(self) -> io.BufferedReader:
        return self._files.open(str(self.path))

    def read_text(self, encoding: str) -> str:
        with self.open(encoding=encoding) as file:
            return file.read()

    def sha256(self) -> str:
        with self.content() as file:
            return file_digest(file, "sha256").hexdigest()


class WildcardFiles:
    """The wildcard files of one folder, read when they are asked for.

    Attributes:
        used: Wildcard name -> SHA-256 (hexadecimal) of the file, for every file asked for.
        warnings: What the library could not read.

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
        self._sources: dict[str, _AllowedFile] = {}
        self._counted = 0

    @cached_property
    def _collections(self) -> Mapping[str, WildcardCollection]:
        if self.folder is None:
            return {}
        collections: dict[str, WildcardCollection] = {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                bounds = FolderBounds(self.folder)
                for path in self._files.below(self.folder):
                    file = _AllowedFile(path, self._files)
                    bounds.count(path)
                    if file.suffix in _STRUCTURED:
                        with file.content() as opened:
                            bounds.count_structured(opened, path)
                    inside = path.parent.relative_to(self.folder)
                    for name, collection in _collections_in(file, inside):
                        collections[name], self._sources[name] = collection, file
            except FileRefused as error:
                message = f"randomizer.wildcards_dir: {str(self.folder)!r} {error}"
                raise TemplateError(message) from error
        self.warnings += sorted({f"{self.folder}: {warning.message}" for warning in caught})
        return collections

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
                    "is empty; put one value on each line"
                )
            for match in matches:
                self.used[match] = self._sources[match].sha256()
            self._values[name] = values
        return self._values[name]

    def _matches(self, name: str) -> list[str]:
        pattern = name.replace("\\", "/").strip("/")
        matching = [each for each in self._collections if fnmatchcase(each, pattern)]
        if not matching and not pattern.startswith("**"):
            matching = [each for each in self._collections if fnmatchcase(each, f"**/{pattern}")]
        return sorted(matching)

    def _sorted(self, matches: Sequence[str]) -> tuple[WildcardValue, ...]:
        values: dict[WildcardValue, None] = {}
        for match in matches:
            self._count(match)
            for item in self._collections[match].get_values():
                values[WildcardValue(str(item), getattr(item, "weight", 1.0))] = None
        return tuple(sorted(values, key=lambda value: (value.text, value.weight)))

    def _count(self, name: str) -> None:
        """Count the values of wildcard *name* before they are read.

        Raises:
            TemplateError: They are too many.
        """
        if (file := self._sources[name]).suffix == ".txt":
            with file.content() as opened:
                self._counted += count_lines(opened, str(file))
        else:
            self._counted += sum(1 for _ in self._collections[name].get_values())
        if self._counted > MOST_VALUES:
            raise TemplateError(
                f"wildcard __{name}__: the wildcards of a plan may have {MOST_VALUES:,} values"
                " together; use shorter files"
            )

    def unknown(self, names: Mapping[str, str]) -> TemplateError:
        """Return the error for wildcards that no file has; *names* maps each to its prompt."""
        lines = [
            f"__{name}__ in {where}{did_you_mean(name, self._collections)}"
            for name, where in names.items()
        ]
        if self.folder is None:
            hint = "no folder is searched: set randomizer.wildcards_dir"
        elif not self.folder.is_dir():
            hint = f"the folder {self.folder} is missing"
        else:
            hint = f"searched {self.folder}"
        hint += "; __...__ is read as a wildcard, which randomizer.templates = false switches off"
        return TemplateError(f"unknown wildcard {' and '.join(lines)} ({hint})")


def _collections_in(file: _AllowedFile, inside: Path) -> Iterator[tuple[str, WildcardCollection]]:
    """Yield name -> values of one file; names begin with the folders that it is *inside* of."""
    seen: Any = file  # by the library, as a path
    if file.suffix == ".txt":
        from dynamicprompts.wildcards.collection import WildcardTextFile

        yield (inside / file.path.stem).as_posix(), WildcardTextFile(seen)
    elif file.suffix in _STRUCTURED:
        from dynamicprompts.wildcards.collection.structured import parse_structured_file

        try:
            for name, collection in parse_structured_file(seen):
                yield f"{inside.as_posix()}/{name}".removeprefix("./"), collection
        except Exception as error:  # noqa: BLE001 - whatever is in it, the others can be read
            _log.warning("the wildcard file %s cannot be read: %s", file, error)
