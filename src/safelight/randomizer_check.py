"""randomizer_check: every rule that the randomizer's table of a config can break."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast, get_args

from safelight.config_tables import (
    MISSING,
    Check,
    StagesReader,
    a_flag,
    a_text,
    at_least,
    one_of,
)
from safelight.randomizer_config import (
    MODE_ALIASES,
    Exclusion,
    MatrixSlot,
    PartsPlace,
    PromptFile,
    PromptFormat,
    PromptMatrix,
    PromptMode,
    PromptParts,
    PromptSearchReplace,
    RandomizerConfig,
    RandomizerMode,
    SearchReplaceRule,
    SeedPolicy,
    SourceMode,
    TokenValues,
    WildcardTokens,
)
from safelight.separating_bars import between_bars
from safelight.varied_check import VariedReader
from safelight.varied_names import dotted, meant_by, prompt_names_fault

__all__ = ["RandomizerReader"]

_COMMENT = re.compile(r"\s*#(?:[\s#]|\Z)")
"""Begins a line of a list of rules that is none, as in prompts; ``#tea => #coffee`` is a rule."""
_LEAST_LIMIT = -(2**31)
"""Less than 0 means all, too, in existing presets."""

_FORMATS: Mapping[str, PromptFormat] = {
    ".txt": "lines", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
"""What a file of prompts holds, by the end of its name."""

_FORMAT_NAMES = get_args(PromptFormat)
_SOURCE_MODE = one_of(*get_args(SourceMode))


def _file_name(value: object) -> str | None:
    return None if isinstance(value, str) and value else f"must name a file, got {value!r}"


def _limit(value: object) -> str | None:
    if at_least(_LEAST_LIMIT)(value) is None:
        return None
    return f"must be an integer, 0 for all combinations, got {value!r}"


def _part(value: object) -> str | None:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value) if isinstance(value, str) else None
    if match and 1 <= int(match[1]) <= int(match[2]):
        return None
    return f'must be which part of how many, such as "2/8", got {value!r}'


class RandomizerReader(StagesReader):
    """Reads the randomizer's table."""

    def read(self, value: object) -> RandomizerConfig:
        """Return what the table *value* says."""
        if value is MISSING:
            return RandomizerConfig()
        table = self._table(value, "randomizer")
        if table is None:
            return RandomizerConfig()
        known = ("enabled", *RandomizerConfig.__slots__)
        self._refuse_unknown(table, known, "randomizer")

        def get(key: str, default: Any, check: Check) -> Any:
            return self._value(table, key, default, check, "randomizer")

        varied = VariedReader(self.faults, self.warnings, self._stages)
        modes = one_of(*get_args(RandomizerMode))
        enabled = get("enabled", True, a_flag)
        mode = get("mode", "fanout", modes)
        return RandomizerConfig(
            mode=mode if enabled else "off",
            seed=get("seed", None, at_least(0)),
            draws=get("draws", 8, at_least(1)),
            start=get("start", 0, at_least(0)),
            max_variants=get("max_variants", 0, at_least(0)),
            part=get("part", "", _part),
            seeds_per_variant=get("seeds_per_variant", 1, at_least(1)),
            seed_policy=get("seed_policy", "per_iteration", one_of(*get_args(SeedPolicy))),
            templates=self._templates(table),
            wildcards_dir=get("wildcards_dir", None, a_text),
            prompt_sr=self._search_replace(table.get("prompt_sr", {})),
            wildcards=self._wildcards(table.get("wildcards", {})),
            matrix=self._matrix(table.get("matrix", {})),
            prompt_matrix=self._prompt_matrix(table.get("prompt_matrix", MISSING)),
            sweep=(sweep := varied.sweep(table.get("sweep", {}))),
            settings=(settings := tuple(varied.settings(table.get("settings", []), sweep))),
            prompts=self._prompt_file(table["prompts"]) if "prompts" in table else None,
            sub_sweeps=tuple(varied.sub_sweeps(table.get("sub_sweeps", []), (sweep, *settings))),
            exclude=tuple(self._exclusions(table.get("exclude", []))),
        )

    def _prompt_file(self, value: object) -> PromptFile | None:
        path = "randomizer.prompts"
        table = self._table(value, path)
        if table is None:
            return None
        self._refuse_unknown(table, PromptFile.__slots__, path)
        if "file" not in table:
            self._fault(f"{path}.file", "is missing: the file that prompts come from")
        file = self._value(table, "file", "", _file_name, path)
        usual = _FORMATS.get(Path(file).suffix.lower())
        if file and usual is None and "format" not in table:
            self._fault(
                f"{path}.format",
                f"is missing, and the name does not say it: one of {', '.join(_FORMAT_NAMES)}",
            )
        file_format = self._value(table, "format", usual, one_of(*_FORMAT_NAMES), path)
        columns: dict[str, str] = {}
        for name, column in dotted(self._table(table.get("columns", {}), f"{path}.columns") or {}):
            where = f"{path}.columns.{name}"
            try:
                key = meant_by(name, self._stages) if self._stages else name
            except ValueError as error:
                self._fault(where, str(error))
                continue
            if message := a_text(column):
                self._fault(where, message)
            elif key in columns:
                self._fault(where, f"is another name of {key}, which is there already")
            columns[key] = str(column)
        if columns and file_format in ("lines", "pack"):
            self._fault(f"{path}.columns", f"has no effect: {file_format} has no columns")
        return PromptFile(file=file, format=file_format, columns=MappingProxyType(columns))

    def _source_mode(self, table: Mapping[str, Any], path: str) -> SourceMode:
        mode = table.get("mode", "fanout")
        if isinstance(mode, str):
            mode = MODE_ALIASES.get(mode.lower(), mode.lower())
        return cast("SourceMode", self._value({"mode": mode}, "mode", "fanout", _SOURCE_MODE, path))

    def _entries(
        self, table: Mapping[str, Any], key: str, path: str, names: tuple[str, str], separator: str
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (name, values) of a list of tables or ``name: a | b`` texts.

        An entry that lacks a side does nothing, as in the presets of other tools: it is left out,
        and told.
        """
        entries = table.get(key, [])
        if not isinstance(entries, (list, tuple)):
            self._fault(f"{path}.{key}", f"must be a list, got {entries!r}")
            return
        for place, entry in enumerate(entries):
            if isinstance(entry, str) and _COMMENT.match(entry):
                continue
            where = f"{path}.{key}[{place}]"
            read = (
                self._text_entry(entry, where, names, separator)
                if isinstance(entry, str)
                else self._table_entry(entry, where, names)
            )
            if read is None:
                continue
            name, values = read
            if name and values:
                yield name, values
            else:
                self.warnings.append(f"{where}: {_lacking(entry, names, separator, bool(name))}")

    def _text_entry(
        self, entry: str, where: str, names: tuple[str, str], separator: str
    ) -> tuple[str, tuple[str, ...]] | None:
        head, present, tail = entry.partition(separator)
        if not present:
            blank = "" if separator == ":" else " "
            self._fault(
                where, f"must look like '{names[0]}{blank}{separator} a | b', got {entry!r}"
            )
            return None
        name = head.strip()
        if separator == ":" and names[0] == "token":
            bare = name.strip("_")
            name = f"__{bare}__" if bare else ""
        parts = between_bars(tail)
        values = tuple(part for part in parts if part)
        if values and len(values) < len(parts):
            self.warnings.append(
                f"{where}: nothing stands beside a '|', which adds no value; to put nothing there,"
                f" write {{ {names[0]} = ..., {names[1]} = [...] }} with an empty text"
            )
        return name, values

    def _table_entry(
        self, entry: object, where: str, names: tuple[str, str]
    ) -> tuple[str, tuple[str, ...]] | None:
        fields = self._table(entry, where)
        if fields is None:
            return None
        label, values_key = names
        self._refuse_unknown(fields, names, where)
        name = self._value(fields, label, "", a_text, where)
        values = fields.get(values_key, [])
        if not isinstance(values, (list, tuple)) or not all(isinstance(v, str) for v in values):
            self._fault(f"{where}.{values_key}", f"must be a list of texts, got {values!r}")
            return None
        return name, tuple(values)

    def _templates(self, table: Mapping[str, Any]) -> bool | tuple[str, ...]:
        if isinstance(table.get("templates"), (list, tuple)):
            return self._prompt_names(table, "templates", "randomizer")
        return cast("bool", self._value(table, "templates", True, a_flag, "randomizer"))

    def _prompt_names(self, table: Mapping[str, Any], key: str, path: str) -> tuple[str, ...]:
        check = partial(prompt_names_fault, stages=self._stages)
        return tuple(self._value(table, key, (), check, path))

    def _search_replace(self, value: object) -> PromptSearchReplace:
        path = "randomizer.prompt_sr"
        table = self._table(value, path)
        if table is None:
            return PromptSearchReplace()
        self._refuse_unknown(table, PromptSearchReplace.__slots__, path)
        entries = self._entries(table, "rules", path, ("search", "replacements"), "=>")
        return PromptSearchReplace(
            rules=tuple(SearchReplaceRule(search=s, replacements=r) for s, r in entries),
            mode=self._source_mode(table, path),
            enabled=self._value(table, "enabled", True, a_flag, path),
            applies_to=self._prompt_names(table, "applies_to", path),
        )

    def _wildcards(self, value: object) -> WildcardTokens:
        path = "randomizer.wildcards"
        table = self._table(value, path)
        if table is None:
            return WildcardTokens()
        self._refuse_unknown(table, WildcardTokens.__slots__, path)
        entries = self._entries(table, "tokens", path, ("token", "values"), ":")
        return WildcardTokens(
            tokens=tuple(TokenValues(token=t, values=v) for t, v in entries),
            mode=self._source_mode(table, path),
            enabled=self._value(table, "enabled", True, a_flag, path),
            applies_to=self._prompt_names(table, "applies_to", path),
        )

    def _matrix(self, value: object) -> PromptMatrix:
        path = "randomizer.matrix"
        table = self._table(value, path)
        if table is None:
            return PromptMatrix()
        self._refuse_unknown(table, PromptMatrix.__slots__, path)
        entries = self._entries(table, "slots", path, ("name", "values"), ":")
        return PromptMatrix(
            slots=tuple(MatrixSlot(name=n, values=v) for n, v in entries),
            mode=self._source_mode(table, path),
            limit=max(0, self._value(table, "limit", 0, _limit, path)),
            base_prompt=self._value(table, "base_prompt", "", a_text, path),
            prompt_mode=self._value(
                table, "prompt_mode", "replace", one_of(*get_args(PromptMode)), path
            ),
            enabled=self._value(table, "enabled", True, a_flag, path),
            applies_to=self._prompt_names(table, "applies_to", path),
        )

    def _prompt_matrix(self, value: object) -> PromptParts:
        path = "randomizer.prompt_matrix"
        table = None if value is MISSING else self._table(value, path)
        if table is None:
            return PromptParts()
        self._refuse_unknown(table, PromptParts.__slots__, path)
        return PromptParts(
            enabled=self._value(table, "enabled", True, a_flag, path),
            place=self._value(table, "place", "end", one_of(*get_args(PartsPlace)), path),
            separator=self._value(table, "separator", ", ", a_text, path),
        )

    def _exclusions(self, value: object) -> Iterator[Exclusion]:
        path = "randomizer.exclude"
        if not isinstance(value, (list, tuple)):
            self._fault(path, f"must be a list of tables, got {value!r}")
            return
        for place, entry in enumerate(value):
            where = f"{path}[{place}]"
            table = self._table(entry, where)
            if table is None:
                continue
            self._refuse_unknown(table, Exclusion.__slots__, where)
            condition = self._value(table, "where", "", a_text, where)
            if isinstance(condition, str) and not condition.strip():
                self._fault(f"{where}.where", "must state which combinations are left out")
            yield Exclusion(where=condition)


def _lacking(entry: object, names: tuple[str, str], separator: str, has_name: bool) -> str:
    """Return what a rule lacks, and how to write what may have been meant."""
    label, values = names
    if not has_name:
        return f"has no {label}, so it does nothing; add one, or leave the entry out"
    if isinstance(entry, str):
        name = entry.partition(separator)[0].strip()
        return (
            f"nothing stands after {separator!r}, so it does nothing; to put nothing there, write"
            f' {{ {label} = "{name}", {values} = [""] }}'
        )
    return f'has no {values}, so it does nothing; to put nothing there, write {values} = [""]'
