"""PipelineConfig: read a config (TOML, JSON or a mapping), check it, and give it a canonical form.

A config is checked whole: every broken rule is reported at once, each with its dotted path
in the file, the rule and the value. Nothing is coerced and nothing is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.config_check import BackendChoice, RetryConfig, check_config
from safelight.config_source import STANDARD_INPUT, put_over, read_source, read_toml
from safelight.config_tables import plain
from safelight.errors import ConfigError, ConfigFault, FileRefused
from safelight.knobs import FILE_KNOBS, INHERITED_BY_IMG2IMG, Stage
from safelight.picture_names import OutputConfig
from safelight.randomizer_config import (
    Exclusion,
    MatrixSlot,
    PromptMatrix,
    PromptParts,
    PromptSearchReplace,
    RandomizerConfig,
    RandomizerMode,
    SearchReplaceRule,
    SourceMode,
    TokenValues,
    WildcardTokens,
)
from safelight.value_ranges import values_of

__all__ = [
    "BackendChoice",
    "Exclusion",
    "MatrixSlot",
    "OutputConfig",
    "PipelineConfig",
    "PromptMatrix",
    "PromptParts",
    "PromptSearchReplace",
    "RandomizerConfig",
    "RandomizerMode",
    "RetryConfig",
    "SearchReplaceRule",
    "SourceMode",
    "TokenValues",
    "WildcardTokens",
    "inherited_by_img2img",
    "plain",
    "read_toml",
]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """What the user asked for, checked.

    Attributes:
        stages: Stage -> knobs in running order, enabled stages only; a prompt may be a tuple
            of prompts. ``extra`` holds the knobs that only the engine knows, untouched.
        name: What the user calls it; may be empty.
        backend: The engine and its options.
        randomizer: How variants are made.
        metadata: The user's own; goes into the record as it is.
        folder: The folder that relative paths in the config start from.
        stated: What its file or page says, overrides included; empty when nobody wrote it down.
        continues: The run whose plan it goes on with; empty for a new one.
        files: Which files it may name, and how they are opened.
        warnings: What in it does nothing, in sentences.
        output: What its files are called, and whether there is a sheet of them.
        retry: What is done when its engine does not answer.
    """

    stages: Mapping[Stage, Mapping[str, Any]]
    name: str = ""
    backend: BackendChoice = field(default_factory=BackendChoice)
    randomizer: RandomizerConfig = field(default_factory=RandomizerConfig)
    metadata: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    folder: Path = Path()
    stated: Mapping[str, Any] = field(default_factory=lambda: _EMPTY, repr=False, compare=False)
    continues: str = field(default="", compare=False)
    files: AllowedFiles = field(default=ANY_FILE, repr=False, compare=False)
    warnings: tuple[str, ...] = field(default=(), repr=False, compare=False)
    output: OutputConfig = field(default=OutputConfig())
    retry: RetryConfig = field(default=RetryConfig())

    @staticmethod
    def from_mapping(
        data: Mapping[str, Any], *, folder: Path = Path(), source: str = ""
    ) -> PipelineConfig:
        """Check *data* and return it as a config.

        Args:
            data: What the file holds; it is copied, later changes do not reach the config.
            folder: Where relative paths start.
            source: Name of the file for the error message.

        Raises:
            ConfigError: One or more rules are broken; all of them are reported.
        """
        parts = check_config(data, source)
        return PipelineConfig(
            stages=parts.stages,
            name=parts.name,
            backend=parts.backend,
            randomizer=parts.randomizer,
            metadata=parts.metadata,
            folder=folder,
            warnings=parts.warnings,
            output=parts.output,
            retry=parts.retry,
        )

    @staticmethod
    def as_stated(
        data: Mapping[str, Any], *, folder: Path = Path(), source: str = "", continues: str = ""
    ) -> PipelineConfig:
        """Check *data* and return it as a config that also holds what was :attr:`stated`.

        Args:
            data: As in :meth:`from_mapping`; it is kept as it is.
            folder: As there.
            source: As there.
            continues: The run whose plan it goes on with.

        Raises:
            ConfigError: As :meth:`from_mapping`.
        """
        config = PipelineConfig.from_mapping(data, folder=folder, source=source)
        return replace(config, stated=data, continues=continues)

    @staticmethod
    def from_file(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
        """Read a TOML file, or a JSON file, which begins with ``{``.

        Args:
            path: The file.
            overrides: ``stage.knob=value`` texts that go over what the file says.

        Raises:
            ConfigError: The file is missing, unreadable, not TOML or JSON, breaks rules, or names
                an ``init_image`` or ``mask`` that is not there.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ConfigError("no such file; check the path", source=str(path)) from None
        except OSError as error:
            raise ConfigError(f"cannot be read: {error}", source=str(path)) from error
        return PipelineConfig._of_text(
            data, overrides, path.parent, str(path), is_json=path.suffix.lower() == ".json"
        )

    @staticmethod
    def from_text(
        data: bytes,
        overrides: Sequence[str] = (),
        *,
        folder: Path = Path(),
        source: str = STANDARD_INPUT,
    ) -> PipelineConfig:
        """Read a config that is in no file, TOML or JSON.

        Args:
            data: What it says, UTF-8.
            overrides: As in :meth:`from_file`.
            folder: Where relative paths start.
            source: What to call it in messages.

        Raises:
            ConfigError: As :meth:`from_file`.
        """
        return PipelineConfig._of_text(data, overrides, folder, source)

    @staticmethod
    def _of_text(
        data: bytes, overrides: Sequence[str], folder: Path, source: str, is_json: bool = False
    ) -> PipelineConfig:
        stated = read_source(data, source=source, is_json=is_json)
        put_over(stated, overrides)
        config = PipelineConfig.as_stated(stated, folder=folder, source=source)
        if missing := list(config.missing_pictures()):
            raise ConfigError(missing, source=source)
        return config

    def named_pictures(self) -> Iterator[tuple[str, str]]:
        """Yield (path in the config, name) of every picture that it names, each once."""
        seen: set[str] = set()
        for path, name in self._every_picture():
            if name not in seen:
                seen.add(name)
                yield path, name

    def _every_picture(self) -> Iterator[tuple[str, str]]:
        for stage, knobs in self.stages.items():
            yield from ((f"{stage}.{knob}", knobs[knob]) for knob in FILE_KNOBS if knob in knobs)
        tables = {"sweep": self.randomizer.sweep}
        tables |= {f"sub_sweeps[{n}]": each for n, each in enumerate(self.randomizer.sub_sweeps)}
        for name, table in tables.items():
            for path, values in table.items():
                if path.partition(".")[2] in FILE_KNOBS:
                    named = (str(value) for value in values_of(values, "text"))
                    yield from ((f"randomizer.{name}.{path}", each) for each in named)
        for place, setting in enumerate(self.randomizer.settings):
            for path, value in setting.items():
                if path.partition(".")[2] in FILE_KNOBS:
                    yield f"randomizer.settings[{place}].{path}", str(value)

    def missing_pictures(self) -> Iterator[ConfigFault]:
        """Yield a fault for every picture that it names and that is not there.

        None is opened: whoever draws reads it. What may not be named is no fault of this kind.
        """
        for path, name in self.named_pictures():
            if path.startswith("randomizer.") and self.randomizer.mode == "off":
                continue
            try:
                place = self.files.place(name, self.folder)
            except FileRefused:
                continue
            if not os.path.isfile(place):  # noqa: PTH113 - a name of any length is no error
                yield ConfigFault(path=path, message=f"no such file: {place}")

    def to_mapping(self) -> dict[str, Any]:
        """Return the stages as plain, freshly made dicts: the record's ``base_config``."""
        return {stage: plain(knobs) for stage, knobs in self.stages.items()}


def inherited_by_img2img(stages: Mapping[Stage, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the knobs that img2img takes from txt2img because it does not state its own."""
    drawn, redrawn = stages.get("txt2img", _EMPTY), stages.get("img2img", _EMPTY)
    return {
        name: drawn[name] for name in INHERITED_BY_IMG2IMG if name in drawn and name not in redrawn
    }
