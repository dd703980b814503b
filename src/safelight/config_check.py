"""Check a config whole: every broken rule is found, with its path, the rule and the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safelight.config_tables import MISSING, TableReader, a_flag, a_text, between, plain
from safelight.errors import ConfigError, FilterError
from safelight.knobs import KNOBS, PROMPT_KNOBS, STAGES, Stage, did_you_mean, knob_fault
from safelight.picture_names import (
    MOST_CELLS,
    SHEET_CELLS,
    SHEET_PIXELS,
    SHEET_SIDE,
    SHEET_SIDES,
    OutputConfig,
    pattern_faults,
)
from safelight.randomizer_check import RandomizerReader
from safelight.randomizer_config import RandomizerConfig
from safelight.varied_names import first_drawing, unpaired

__all__ = ["BackendChoice", "ConfigParts", "check_config"]

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


RETRIES, PATIENCE = (0, 100), (0, 86_400)
"""The least and the most of each; a day is for who waits for a colleague."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """What is done when an engine does not answer; None is the usual.

    Attributes:
        retries: How often a variant is tried again.
        patience: Seconds that the last engine of a run is waited for while it is not there.
        unknown: Whether that is tried again, too, which may have been drawn already.
    """

    retries: int | None = None
    patience: int | None = None
    unknown: bool | None = None


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
    retry: RetryConfig = field(default=RetryConfig())


def check_config(data: Mapping[str, Any], source: str = "") -> ConfigParts:
    """Check *data*, and return copies of its parts.

    Args:
        data: What the file holds.
        source: Name of the file for the error message.

    Raises:
        ConfigError: One or more rules are broken; all of them are reported.
    """
    return _Reader(source).read(data)


class _Reader(TableReader):
    """Checks one mapping and builds the config."""

    def __init__(self, source: str) -> None:
        super().__init__([], [])
        self.source = source

    def read(self, data: Mapping[str, Any]) -> ConfigParts:
        known = (*STAGES, "name", "backend", "randomizer", "output", "retry", "metadata")
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
        name = self._value(data, "name", "", a_text, "")
        backend = self._backend(data.get("backend", MISSING))
        reader = RandomizerReader(self.faults, self.warnings, stages)
        randomizer = reader.read(data.get("randomizer", MISSING))
        from_file = randomizer.prompts is not None and randomizer.mode != "off"
        self._check_inputs(stages, randomizer, from_file)
        if not from_file:  # which may name what is lacking, and whoever reads it looks
            self._check_companions(stages, randomizer)
        self._check_conditions(stages, randomizer)
        self._check_prompt_lists(stages, randomizer)
        output = self._output(data.get("output", {}), stages)
        retry = self._retry(data.get("retry", {}))
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
            retry=retry,
        )

    # -- gathering ---------------------------------------------------------------------

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
            elif key in PROMPT_KNOBS and isinstance(item, (list, tuple)):
                knobs[key] = self._prompts(item, path)
            else:
                message = knob_fault(KNOBS[key], item)
                if message:
                    self._fault(path, message)
                knobs[key] = item
        enabled = self._value(table, "enabled", True, a_flag, stage)
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

    def _check_prompt_lists(
        self, stages: Mapping[Stage, Mapping[str, Any]], randomizer: RandomizerConfig
    ) -> None:
        """See that lists of prompts and of negative prompts have as many texts."""
        lengths = {
            f"{stage}.{knob}": len(knobs[knob])
            for stage, knobs in stages.items()
            for knob in PROMPT_KNOBS
            if isinstance(knobs.get(knob), tuple)
        }
        swept = f"{first_drawing(stages)}.prompt"
        if randomizer.mode != "off" and isinstance(randomizer.sweep.get(swept), tuple):
            lengths[swept] = len(randomizer.sweep[swept])
        if found := unpaired(lengths):
            self._fault(*found)

    def _check_inputs(
        self,
        stages: Mapping[Stage, Mapping[str, Any]],
        randomizer: RandomizerConfig,
        from_file: bool,
    ) -> None:
        """See that the first stage has a picture to start from, and that no other states one.

        With *from_file*, a file of prompts may name it, and whoever reads that looks.
        """
        varied, every = randomizer.varied(), randomizer.always_varied()
        for place, (stage, knobs) in enumerate(stages.items()):
            key = f"{stage}.init_image"
            stated = "init_image" in knobs or key in varied
            always = "init_image" in knobs or key in every
            if place == 0 and stage != "txt2img" and not always and not from_file:
                some = "; some sub-sweep has none" if stated else ""
                self._fault(
                    key,
                    f"is missing: {stage} runs first, so it needs the image file to start from"
                    f"{some}",
                )
            elif place > 0 and stated:
                self._fault(
                    f"{stage}.init_image",
                    f"has no effect: {stage} starts from the picture of the stage before it;"
                    " leave it out, or disable the earlier stages",
                )

    def _check_companions(
        self, stages: Mapping[Stage, Mapping[str, Any]], randomizer: RandomizerConfig
    ) -> None:
        """See that no knob is stated without the one that gives it a meaning."""
        always = {f"{stage}.{name}" for stage, knobs in stages.items() for name in knobs}
        always |= {
            *randomizer.sweep,
            *(name for setting in randomizer.settings for name in setting),
        }
        within = {name for table in randomizer.sub_sweeps for name in table}
        # What stands beside sub-sweeps has a meaning where some of them gives it one.
        cases = [(always, always | within)]
        cases += [({*table}, {*always, *table}) for table in randomizer.sub_sweeps]
        for stage in stages:
            for knob in (knob for knob in KNOBS.values() if knob.needs):
                path, needed = f"{stage}.{knob.name}", f"{stage}.{knob.needs}"
                if any(path in own and needed not in beside for own, beside in cases):
                    self._fault(path, f"has no effect without {needed}; set it too")

    def _check_conditions(
        self, stages: Mapping[Stage, Mapping[str, Any]], randomizer: RandomizerConfig
    ) -> None:
        """See that conditions can be read, but for those on what templates choose."""
        if not randomizer.exclude:
            return
        # Few configs have conditions, and all would wait for the language that they are in.
        from safelight.condition_names import condition_names, names_a_template

        names = condition_names(stages, randomizer)
        for place, text in enumerate(each.where for each in randomizer.exclude):
            if text.strip() and not names_a_template(text):
                try:
                    names.compile(text)
                except FilterError as error:
                    self._fault(f"randomizer.exclude[{place}].where", str(error))

    # -- backend -----------------------------------------------------------------------

    def _backend(self, value: object) -> BackendChoice:
        if value is MISSING:
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
        name = self._value(table, "name", "bundled", a_text, "backend")
        options = {key: plain(item) for key, item in table.items() if key != "name"}
        return BackendChoice(name=name, options=MappingProxyType(options))

    # -- retry -------------------------------------------------------------------------

    def _retry(self, value: object) -> RetryConfig:
        table = self._table(value, "retry")
        if table is None:
            return RetryConfig()
        self._refuse_unknown(table, RetryConfig.__slots__, "retry")
        return RetryConfig(
            retries=self._value(table, "retries", None, between(*RETRIES), "retry"),
            patience=self._value(table, "patience", None, between(*PATIENCE), "retry"),
            unknown=self._value(table, "unknown", None, a_flag, "retry"),
        )

    # -- output ------------------------------------------------------------------------

    def _output(self, value: object, stages: Mapping[Stage, Any]) -> OutputConfig:
        table = self._table(value, "output")
        if table is None:
            return OutputConfig()
        self._refuse_unknown(table, OutputConfig.__slots__, "output")
        name = self._value(table, "name", "", a_text, "output")
        if isinstance(table.get("name"), str):
            for message in pattern_faults(name, stages):
                self._fault("output.name", message)
        side = self._value(table, "sheet_side", SHEET_SIDE, between(*SHEET_SIDES), "output")
        usual = min(MOST_CELLS, SHEET_PIXELS // side**2)
        cells = self._value(table, "sheet_cells", usual, between(*SHEET_CELLS), "output")
        if cells * side**2 > SHEET_PIXELS:
            self._fault(
                "output.sheet_cells",
                f"must be {SHEET_PIXELS // side**2:,} at most where pictures have {side} px, got"
                f" {cells:,}: a sheet is held in memory",
            )
        return OutputConfig(
            name=name,
            sheet=self._value(table, "sheet", True, a_flag, "output"),
            sheet_cells=cells,
            sheet_side=side,
        )
