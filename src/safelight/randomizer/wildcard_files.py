"""Wildcard files: which values a wildcard stands for, and the SHA-256 of the files they came from.

The ``dynamicprompts`` library finds and reads the files (.txt, .json, .yaml, nested folders);
its rules for names hold: ``*`` matches across folders, and a name that matches nothing is
searched for in every folder below.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from safelight.errors import TemplateError
from safelight.knobs import did_you_mean

if TYPE_CHECKING:
    from dynamicprompts.wildcards.collection import WildcardCollection

__all__ = ["WildcardFiles", "WildcardValue"]


@dataclass(frozen=True, slots=True)
class WildcardValue:
    """One value of a wildcard: a text, itself perhaps a template, and how often it is drawn."""

    text: str
    weight: float = 1.0


class WildcardFiles:
    """The wildcard files of one folder, read when they are asked for.

    Attributes:
        used: Wildcard name -> SHA-256 (hexadecimal) of the file, for every file asked for.
        warnings: What the library could not read.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.used: dict[str, str] = {}
        self.warnings: list[str] = []
        self._values: dict[str, tuple[WildcardValue, ...]] = {}

    @cached_property
    def _collections(self) -> Mapping[str, WildcardCollection]:
        if self.folder is None or not self.folder.is_dir():
            return {}
        from dynamicprompts.wildcards import WildcardManager

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tree = WildcardManager(self.folder).tree
        self.warnings += sorted({f"{self.folder}: {warning.message}" for warning in caught})
        return tree.map

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
                self.used[match] = self._digest(match)
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
            for item in self._collections[match].get_values():
                values[WildcardValue(str(item), getattr(item, "weight", 1.0))] = None
        return tuple(sorted(values, key=lambda value: (value.text, value.weight)))

    def _digest(self, name: str) -> str:
        source = getattr(self._collections[name], "source", None)
        path = source[0] if isinstance(source, tuple) else source
        if path is None:
            assert self.folder is not None
            path = self.folder / f"{name}.txt"
        with Path(path).open("rb") as file:
            return file_digest(file, "sha256").hexdigest()

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
