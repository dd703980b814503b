"""PipelineConfig: read a config (TOML, JSON or a mapping), check it, and give it a canonical form.

A config is checked whole: every broken rule is reported at once, each with its dotted path
in the file, the rule and the value. Nothing is coerced and nothing is dropped.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.config_check import BackendChoice, check_config, plain
from safelight.errors import ConfigError, ConfigFault
from safelight.knobs import FILE_KNOBS, INHERITED_BY_IMG2IMG, Stage
from safelight.randomizer_config import (
    MatrixSlot,
    PromptMatrix,
    PromptSearchReplace,
    RandomizerConfig,
    RandomizerMode,
    SearchReplaceRule,
    SourceMode,
    TokenValues,
    WildcardTokens,
)

__all__ = [
    "BackendChoice",
    "MatrixSlot",
    "PipelineConfig",
    "PromptMatrix",
    "PromptSearchReplace",
    "RandomizerConfig",
    "RandomizerMode",
    "SearchReplaceRule",
    "SourceMode",
    "TokenValues",
    "WildcardTokens",
    "inherited_by_img2img",
    "plain",
    "read_toml",
]

_EMPTY: Mapping[str, Any] = MappingProxyType({})
_MOST_DOTS = 100
_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY = re.compile(
    rf"(?<![A-Za-z0-9_-])(?>{_NAME})(?:[ \t]*\.[ \t]*(?>{_NAME})){{{_MOST_DOTS}}}"
)


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
        """Read a TOML file, or a JSON file when its name ends in ``.json``.

        Args:
            path: The file.
            overrides: ``stage.knob=value`` texts that go over what the file says.

        Raises:
            ConfigError: The file is missing, unreadable, not TOML or JSON, breaks rules, or names
                an ``init_image`` or ``mask`` that is not there.
        """
        data = _load(path)
        _override(data, overrides)
        config = PipelineConfig.as_stated(data, folder=path.parent, source=str(path))
        missing = [
            ConfigFault(path=f"{stage}.{knob}", message=f"no such file: {config.folder / name}")
            for stage, knobs in config.stages.items()
            for knob in FILE_KNOBS
            if (name := knobs.get(knob)) and not (config.folder / name).is_file()
        ]
        if missing:
            raise ConfigError(missing, source=str(path))
        return config

    def to_mapping(self) -> dict[str, Any]:
        """Return the stages as plain, freshly made dicts: the record's ``base_config``."""
        return {stage: plain(knobs) for stage, knobs in self.stages.items()}


def inherited_by_img2img(stages: Mapping[Stage, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the knobs that img2img takes from txt2img because it does not state its own."""
    drawn, redrawn = stages.get("txt2img", _EMPTY), stages.get("img2img", _EMPTY)
    return {
        name: drawn[name] for name in INHERITED_BY_IMG2IMG if name in drawn and name not in redrawn
    }


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError("no such file; check the path", source=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", source=str(path)) from error
    if not text.strip():
        raise ConfigError(
            "the file is empty; it needs at least one stage, such as [txt2img]", source=str(path)
        )
    if path.suffix.lower() == ".json":
        try:
            data = json.loads(text)
        except RecursionError as error:
            raise ConfigError("is not JSON: it nests too deep", source=str(path)) from error
        except ValueError as error:
            raise ConfigError(f"is not JSON: {error}", source=str(path)) from error
        if not isinstance(data, dict):
            raise ConfigError("a JSON config must be an object", source=str(path))
        return data
    return read_toml(text, source=str(path))


def read_toml(text: str, *, source: str = "") -> dict[str, Any]:
    """Return what a config in TOML says.

    Args:
        text: The config.
        source: File name for messages.

    Raises:
        ConfigError: It is not TOML, or nests too deep.
    """
    if (key := _LONG_KEY.search(text)) is not None:  # takes its length squared to be read
        raise ConfigError(
            f"a key may have {_MOST_DOTS} parts, and {key[0][:40]!r}… has more", source=source
        )
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError("is not TOML: it nests too deep", source=source) from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise ConfigError(f"is not TOML: {error}", source=source) from error


def _override(data: dict[str, Any], overrides: Sequence[str]) -> None:
    """Put ``a.b=value`` texts over *data*; a value that is not TOML is taken as plain text."""
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"an override must look like txt2img.steps=30, got {override!r}")
        try:
            addition = tomllib.loads(f"{key}={text}")
        except (ValueError, RecursionError):
            try:
                addition = tomllib.loads(f"{key}={json.dumps(text)}")
            except (ValueError, RecursionError):
                raise ConfigError(
                    f"an override must look like txt2img.steps=30, got {override!r}"
                ) from None
        _merge(data, addition)


def _merge(data: dict[str, Any], addition: Mapping[str, Any]) -> None:
    for key, value in addition.items():
        present = data.get(key)
        if isinstance(value, dict) and isinstance(present, dict):
            _merge(present, value)
        else:
            data[key] = value
