"""Check a config whole: every broken rule is found, with its path, the rule and the value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from safelight.errors import ConfigError, ConfigFault
from safelight.knobs import (
    EXTRA,
    KNOBS,
    STAGES,
    Knob,
    KnobKind,
    Stage,
    did_you_mean,
    knob_fault,
)
from safelight.lora_tags import lora_of
from safelight.picture_names import (
    MOST_CELLS,
    SHEET_CELLS,
    SHEET_PIXELS,
    SHEET_SIDE,
    SHEET_SIDES,
    OutputConfig,
    pattern_faults,
)
from safelight.randomizer_config import (
    MatrixSlot,
    PromptMatrix,
    PromptSearchReplace,
    RandomizerConfig,
    SearchReplaceRule,
    SourceMode,
    TokenValues,
    WildcardTokens,
)
from safelight.value_ranges import values_of
from safelight.varied_names import dotted, extra_fault, first_drawing, lora_fault, plain_name

__all__ = ["BackendChoice", "ConfigParts", "check_config", "plain"]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """Which engine runs the config, and the engine's own options.

    Attributes:
        name: Entry point name: ``bundled``, ``fake``, ...
        options: Passed to the engine's factory as keywords; may hold secrets, so it never
            enters a record.
        listed: What the user's list of engines calls it; empty for one that is not in it.
        named: Files and folders that the list names for it.
    """

    name: str = "bundled"
    options: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    listed: str = ""
    named: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigParts:
    """What a checked config holds; attributes as in :class:`~safelight.config.PipelineConfig`."""

    stages: Mapping[Stage, Mapping[str, Any]]
    name: str
    backend: BackendChoice
    randomizer: RandomizerConfig
    metadata: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    output: OutputConfig = field(default=OutputConfig())


def check_config(data: Mapping[str, Any], source: str = "") -> ConfigParts:
    """Check *data*, and return copies of its parts.

    Args:
        data: What the file holds.
        source: Name of the file for the error message.

    Raises:
        ConfigError: One or more rules are broken; all of them are reported.
    """
    return _Reader(source).read(data)


def plain(value: Any) -> Any:
    """Return *value* with every mapping a fresh dict and every sequence a fresh list."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


_MISSING = object()
_STARTS = (*STAGES, "lora")
"""What the name of anything that varies begins with."""

_LONGEST_MESSAGE = 1000
_LEAST_LIMIT = -(2**31)
"""Less than 0 means all, too, in existing presets."""

Check = Callable[[object], str | None]


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else f"must be text, got {value!r}"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, got {value!r}"


def _at_least(minimum: int) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
            return None
        return f"must be an integer of at least {minimum}, got {value!r}"

    return check


def _between(least: int, most: int) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return None
        return f"must be an integer from {least} to {most}, got {value!r}"

    return check


def _limit(value: object) -> str | None:
    if _at_least(_LEAST_LIMIT)(value) is None:
        return None
    return f"must be an integer, 0 for all combinations, got {value!r}"


def _one_of(*names: str) -> Check:
    def check(value: object) -> str | None:
        if value in names:
            return None
        choices = ", ".join(names)
        near = did_you_mean(value, names) if isinstance(value, str) else ""
        return f"must be one of {choices}; got {value!r}{near}"

    return check


_MODE_ALIASES = {
    "grid": "fanout", "all": "fanout", "round_robin": "sequential", "per_prompt": "random",
}  # fmt: skip
"""Spellings of source modes in existing randomizer presets."""

_SOURCE_MODE = _one_of("fanout", "random", "sequential", "rotate")


class _Reader:
    """Checks one mapping and builds the config, gathering every fault on the way."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.faults: list[ConfigFault] = []
        self.warnings: list[str] = []

    def read(self, data: Mapping[str, Any]) -> ConfigParts:
        known = (*STAGES, "name", "backend", "randomizer", "output", "metadata")
        self._refuse_unknown(data, known, "")
        stages: dict[Stage, Mapping[str, Any]] = {}
        for stage in STAGES:
            if stage in data:
                knobs = self._stage(stage, data[stage])
                if knobs is not None:
                    stages[stage] = MappingProxyType(knobs)
        if not any(stage in data for stage in STAGES):
            self._fault("", "has no stage; add at least one of [txt2img], [img2img], [upscale]")
        elif not stages and not self.faults:
            self._fault("", "every stage is disabled; enable at least one")
        name = self._value(data, "name", "", _text, "")
        backend = self._backend(data.get("backend", _MISSING))
        randomizer = self._randomizer(data.get("randomizer", _MISSING), stages)
        varied = dict.fromkeys((*randomizer.sweep, *(k for s in randomizer.settings for k in s)))
        self._check_inputs(stages, varied)
        self._check_companions(stages, varied)
        output = self._output(data.get("output", {}), stages)
        metadata = self._table(data.get("metadata", {}), "metadata") or {}
        if self.faults:
            raise ConfigError(self.faults, source=self.source)
        return ConfigParts(
            stages=MappingProxyType(stages),
            name=name,
            backend=backend,
            randomizer=randomizer,
            metadata=MappingProxyType(plain(metadata)),
            warnings=tuple(self.warnings),
            output=output,
        )

    # -- gathering ---------------------------------------------------------------------

    def _fault(self, path: str, message: str) -> None:
        if len(message) > _LONGEST_MESSAGE:  # a value of any size may stand in it
            message = f"{message[: _LONGEST_MESSAGE - 1]}…"
        self.faults.append(ConfigFault(path=path, message=message))

    def _table(self, value: object, path: str) -> Mapping[str, Any] | None:
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return value
        self._fault(path, f"must be a table, got {value!r}")
        return None

    def _refuse_unknown(self, table: Mapping[str, Any], known: Sequence[str], path: str) -> None:
        for key in table:
            if key not in known:
                kind = "key" if path else "stage or key"
                where = f"{path}.{key}" if path else str(key)
                hint = did_you_mean(str(key), known) or f"; known here: {', '.join(known)}"
                self._fault(where, f"is not a known {kind}{hint}")

    def _value(
        self, table: Mapping[str, Any], key: str, default: Any, check: Check, path: str
    ) -> Any:
        if key not in table:
            return default
        message = check(table[key])
        if message:
            self._fault(f"{path}.{key}" if path else key, message)
            return default
        return table[key]

    # -- stages ------------------------------------------------------------------------

    def _stage(self, stage: Stage, value: object) -> dict[str, Any] | None:
        table = self._table(value, stage)
        if table is None:
            return None
        own = [knob.name for knob in KNOBS.values() if stage in knob.stages]
        knobs: dict[str, Any] = {}
        for key, item in table.items():
            path = f"{stage}.{key}"
            if key == "enabled":
                continue
            if key == "extra":
                extra = self._table(item, path)
                if extra is not None:
                    knobs["extra"] = MappingProxyType(plain(extra))
            elif key not in own:
                self._unknown_knob(stage, key, own)
            elif key == "prompt" and isinstance(item, (list, tuple)):
                knobs[key] = self._prompts(item, path)
            else:
                message = knob_fault(KNOBS[key], item)
                if message:
                    self._fault(path, message)
                knobs[key] = item
        enabled = self._value(table, "enabled", True, _flag, stage)
        return knobs if enabled else None

    def _unknown_knob(self, stage: Stage, key: str, own: Sequence[str]) -> None:
        elsewhere = list(KNOBS[key].stages) if key in KNOBS else []
        if elsewhere:
            hint = f"; it belongs to {' and '.join(elsewhere)}"
        else:
            hint = did_you_mean(key, [*own, "enabled", "extra"])
            hint = hint or f"; a knob that only the engine knows goes under [{stage}.extra]"
        self._fault(f"{stage}.{key}", f"is not a knob of {stage}{hint}")

    def _prompts(self, items: Sequence[Any], path: str) -> tuple[str, ...]:
        if not items:
            self._fault(path, "must hold at least one prompt, got an empty list")
        for place, item in enumerate(items):
            if not isinstance(item, str):
                self._fault(f"{path}[{place}]", f"must be text, got {item!r}")
        return tuple(item for item in items if isinstance(item, str))

    def _check_inputs(
        self, stages: Mapping[Stage, Mapping[str, Any]], swept: Mapping[str, Any]
    ) -> None:
        """See that the first stage has a picture to start from, and that no other states one."""
        for place, (stage, knobs) in enumerate(stages.items()):
            stated = "init_image" in knobs or f"{stage}.init_image" in swept
            if place == 0 and stage != "txt2img" and not stated:
                self._fault(
                    f"{stage}.init_image",
                    f"is missing: {stage} runs first, so it needs the image file to start from",
                )
            elif place > 0 and stated:
                self._fault(
                    f"{stage}.init_image",
                    f"has no effect: {stage} starts from the picture of the stage before it;"
                    " leave it out, or disable the earlier stages",
                )

    def _check_companions(
        self, stages: Mapping[Stage, Mapping[str, Any]], swept: Mapping[str, Any]
    ) -> None:
        """See that no knob is stated without the one that gives it a meaning."""
        for stage, knobs in stages.items():
            named = (path.partition(".") for path in swept)
            stated = dict.fromkeys([*knobs, *(name for at, _, name in named if at == stage)])
            for knob in (KNOBS[name] for name in stated if name in KNOBS):
                if knob.needs and knob.needs not in stated:
                    message = f"has no effect without {stage}.{knob.needs}; set it too"
                    self._fault(f"{stage}.{knob.name}", message)

    # -- backend -----------------------------------------------------------------------

    def _backend(self, value: object) -> BackendChoice:
        if value is _MISSING:
            return BackendChoice()
        if isinstance(value, str):
            if not value:
                self._fault("backend", "must name an engine, got an empty text")
            return BackendChoice(name=value)
        if not isinstance(value, Mapping):
            self._fault(
                "backend", f"must name an engine, or be a table with its name, got {value!r}"
            )
            return BackendChoice()
        table = self._table(value, "backend")
        if table is None:
            return BackendChoice()
        name = self._value(table, "name", "bundled", _text, "backend")
        options = {key: plain(item) for key, item in table.items() if key != "name"}
        return BackendChoice(name=name, options=MappingProxyType(options))

    # -- output ------------------------------------------------------------------------

    def _output(self, value: object, stages: Mapping[Stage, Any]) -> OutputConfig:
        table = self._table(value, "output")
        if table is None:
            return OutputConfig()
        self._refuse_unknown(table, OutputConfig.__slots__, "output")
        name = self._value(table, "name", "", _text, "output")
        if isinstance(table.get("name"), str):
            for message in pattern_faults(name, stages):
                self._fault("output.name", message)
        side = self._value(table, "sheet_side", SHEET_SIDE, _between(*SHEET_SIDES), "output")
        usual = min(MOST_CELLS, SHEET_PIXELS // side**2)
        cells = self._value(table, "sheet_cells", usual, _between(*SHEET_CELLS), "output")
        if cells * side**2 > SHEET_PIXELS:
            self._fault(
                "output.sheet_cells",
                f"must be {SHEET_PIXELS // side**2:,} at most where pictures have {side} px, got"
                f" {cells:,}: a sheet is held in memory",
            )
        return OutputConfig(
            name=name,
            sheet=self._value(table, "sheet", True, _flag, "output"),
            sheet_cells=cells,
            sheet_side=side,
        )

    # -- randomizer --------------------------------------------------------------------

    def _randomizer(
        self, value: object, stages: Mapping[Stage, Mapping[str, Any]]
    ) -> RandomizerConfig:
        if value is _MISSING:
            return RandomizerConfig()
        table = self._table(value, "randomizer")
        if table is None:
            return RandomizerConfig()
        known = ("enabled", *RandomizerConfig.__slots__)
        self._refuse_unknown(table, known, "randomizer")

        def get(key: str, default: Any, check: Check) -> Any:
            return self._value(table, key, default, check, "randomizer")

        modes = _one_of("off", "fanout", "random", "sequential", "rotate")
        enabled = get("enabled", True, _flag)
        mode = get("mode", "fanout", modes)
        return RandomizerConfig(
            mode=mode if enabled else "off",
            seed=get("seed", None, _at_least(0)),
            draws=get("draws", 8, _at_least(1)),
            start=get("start", 0, _at_least(0)),
            max_variants=get("max_variants", 0, _at_least(0)),
            seeds_per_variant=get("seeds_per_variant", 1, _at_least(1)),
            seed_policy=get("seed_policy", "per_iteration", _one_of("per_iteration", "per_prompt")),
            templates=get("templates", True, _flag),
            wildcards_dir=get("wildcards_dir", None, _text),
            prompt_sr=self._search_replace(table.get("prompt_sr", {})),
            wildcards=self._wildcards(table.get("wildcards", {})),
            matrix=self._matrix(table.get("matrix", {})),
            sweep=(sweep := self._sweep(table.get("sweep", {}), stages)),
            settings=tuple(self._settings(table.get("settings", []), stages, sweep)),
        )

    def _source_mode(self, table: Mapping[str, Any], path: str) -> SourceMode:
        mode = table.get("mode", "fanout")
        if isinstance(mode, str):
            mode = _MODE_ALIASES.get(mode.lower(), mode.lower())
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
        parts = [part.strip() for part in tail.split("|")]
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
        name = self._value(fields, label, "", _text, where)
        values = fields.get(values_key, [])
        if not isinstance(values, (list, tuple)) or not all(isinstance(v, str) for v in values):
            self._fault(f"{where}.{values_key}", f"must be a list of texts, got {values!r}")
            return None
        return name, tuple(values)

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
            enabled=self._value(table, "enabled", True, _flag, path),
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
            enabled=self._value(table, "enabled", True, _flag, path),
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
            base_prompt=self._value(table, "base_prompt", "", _text, path),
            prompt_mode=self._value(
                table, "prompt_mode", "replace", _one_of("replace", "append", "prepend"), path
            ),
            enabled=self._value(table, "enabled", True, _flag, path),
        )

    def _sweep(
        self, value: object, stages: Mapping[Stage, Mapping[str, Any]]
    ) -> Mapping[str, str | tuple[Any, ...]]:
        table = self._table(value, "randomizer.sweep")
        sweep: dict[str, str | tuple[Any, ...]] = {}
        names: dict[str, str] = {}
        for written, spec in dotted(table or {}):
            path = f"randomizer.sweep.{written}"
            key = plain_name(written)
            stage, _, name = key.partition(".")
            lora = lora_of(key, "")
            again = _again("is swept already{}", key, names, stages)
            names[plain_name(key, first_drawing(stages))] = key
            if again:
                self._fault(path, again)
            elif lora and lora[0] in ("", *STAGES):
                self._swept(
                    sweep, key, spec, path, "number", partial(lora_fault, key, stages=stages)
                )
            elif stage not in STAGES:
                self._fault(path, f"must be named stage.knob{did_you_mean(stage, _STARTS)}")
            elif stage not in stages:
                self._fault(path, f"sweeps a knob of {stage}, which does not run")
            elif name.startswith(EXTRA):
                self._swept_extra(sweep, key, spec, path)
            elif name not in KNOBS or stage not in KNOBS[name].stages:
                own = [k.name for k in KNOBS.values() if stage in k.stages]
                self._fault(path, f"{name!r} is not a knob of {stage}{did_you_mean(name, own)}")
            else:
                self._swept(sweep, key, spec, path, KNOBS[name].kind, partial(_every, KNOBS[name]))
        return MappingProxyType(sweep)

    def _settings(
        self, value: object, stages: Mapping[Stage, Mapping[str, Any]], sweep: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        if not isinstance(value, (list, tuple)):
            self._fault("randomizer.settings", f"must be a list of tables, got {value!r}")
            return
        first = first_drawing(stages)
        swept = {plain_name(key, first): key for key in sweep}
        for place, entry in enumerate(value):
            path = f"randomizer.settings[{place}]"
            table = self._table(entry, path)
            if table is None:
                continue
            setting: dict[str, Any] = {}
            names: dict[str, str] = {}
            for written, item in _settings_of(table):
                key = plain_name(written)
                message = (
                    _setting_fault(key, item, stages)
                    or _again("is in this setting already{}", key, names, stages)
                    or _again("is in a setting, and swept{}, too", key, swept, stages)
                )
                if message:
                    self._fault(f"{path}.{written}", message)
                names[plain_name(key, first)] = key
                setting[key] = plain(item)
            if not setting:
                self._fault(path, "must set at least one stage.knob, got an empty table")
            yield MappingProxyType(setting)

    def _swept_extra(self, sweep: dict[str, Any], key: str, spec: object, path: str) -> None:
        if isinstance(spec, (list, tuple)) and spec:
            sweep[key] = tuple(spec)
        else:
            self._fault(path, f"must be a list of values, got {spec!r}")

    def _swept(
        self,
        sweep: dict[str, Any],
        key: str,
        spec: object,
        path: str,
        kind: KnobKind,
        fault: Callable[[Any], str | None],
    ) -> None:
        """Take the values of *spec*, of which *fault* says why one may not be."""
        try:
            values = values_of(spec, kind)
        except ValueError as error:
            self._fault(path, str(error))
            return
        if not len(values):
            self._fault(path, f"must hold at least one value, got {spec!r}")
            return
        for value in _ends(values):
            if message := fault(value):
                self._fault(path, message)
                return
        sweep[key] = spec if isinstance(spec, str) else tuple(cast("Sequence[Any]", spec))


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


def _settings_of(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield ``stage.knob`` -> value, whether keys are quoted or not; what is quoted stays whole."""
    for key, value in table.items():
        if isinstance(value, Mapping) and key in _STARTS:
            yield from dotted({key: value})
        else:
            yield key, value


def _every(knob: Knob, value: object) -> str | None:
    """Return why *value* may not be among those of *knob*, or None."""
    message = knob_fault(knob, value)
    return message and f"every value {message}"


def _setting_fault(
    key: str, value: object, stages: Mapping[Stage, Mapping[str, Any]]
) -> str | None:
    """Return why ``stage.knob`` *key* may not be *value* in a setting, or None."""
    stage, _, name = key.partition(".")
    lora = lora_of(key, "")
    if lora and lora[0] in ("", *STAGES):
        return lora_fault(key, value, stages)
    if stage not in STAGES:
        return f"must be named stage.knob{did_you_mean(stage, _STARTS)}"
    if stage not in stages:
        return f"sets a knob of {stage}, which does not run"
    if name.startswith(EXTRA):
        return None
    if name not in KNOBS or stage not in KNOBS[name].stages:
        own = [k.name for k in KNOBS.values() if stage in k.stages]
        return f"{name!r} is not a knob of {stage}{did_you_mean(name, own)}"
    if name == "seed":
        return "cannot be part of a setting; every setting has the same seeds"
    if name == "prompt" and "prompt" in stages[stage]:
        return f"is in a setting, and stated in {stage}, too; leave one of them out"
    return knob_fault(KNOBS[name], value)


def _again(
    told: str, key: str, names: Mapping[str, str], stages: Mapping[Stage, Mapping[str, Any]]
) -> str | None:
    """Return why *key* cannot be varied beside *names*, or at all where it lies; None if it can.

    Args:
        told: What is told when it is one of them, with room for how that is written.
        key: As :func:`plain_name` has it.
        names: Name with its stage -> as it is written.
        stages: As stated.
    """
    same = names.get(plain_name(key, first_drawing(stages)))
    if same is not None:
        written = "" if same == key else f" as {same!r}"
        return f"{told.format(written)}; leave one of them out"
    return extra_fault(key, names, stages)


def _ends(values: Sequence[Any]) -> Iterator[Any]:
    """Yield every value of a short sequence, and a spread of a long range."""
    if len(values) <= 10_000:
        yield from values
    else:
        stride = len(values) // 1000
        yield from (values[place] for place in range(0, len(values), stride))
        yield values[-1]
