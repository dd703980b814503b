"""jobs: a config that is ready to run: checked, planned, and known to its engine."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safelight.application.engine_list import NO_ENGINES, EngineList
from safelight.backends import create_backend
from safelight.config import PipelineConfig
from safelight.config_source import STANDARD_INPUT
from safelight.errors import BackendError, BackendUnavailable, ConfigError, SafelightError
from safelight.pipeline.backend import Backend, Closes
from safelight.pipeline.engine_choices import refuse_unknown_choices
from safelight.randomizer import RandomizerPlanResult, plan_variants

__all__ = ["Job", "engine_for", "engine_options", "ready_config", "ready_job", "secret_options"]


@dataclass(frozen=True, slots=True)
class Job:
    """A config with everything that it takes to run it.

    Attributes:
        config: What the file says.
        backend: The engine that it names.
        plan: What it amounts to.
        seed: The seed that the plan was made with.
        source: What to call the config in messages, its file for one.
        asked: Whether the engine was asked for what it has, and has what the config names.
    """

    config: PipelineConfig
    backend: Backend
    plan: RandomizerPlanResult
    seed: int
    source: str = ""
    asked: bool = False

    def close(self) -> None:
        """Let the engine go."""
        if isinstance(self.backend, Closes):
            self.backend.close()

    @property
    def title(self) -> str:
        """What to call it."""
        return self.config.name or "unnamed config"


def ready_job(
    path: Path,
    overrides: Sequence[str],
    seed: int | None,
    environ: Mapping[str, str],
    *,
    ask: bool = True,
    engines: EngineList = NO_ENGINES,
    text: bytes | None = None,
) -> Job:
    """Check everything about a config that can be checked without drawing.

    An engine that does not answer is no fault of the config: its run will say so.

    Args:
        path: The file.
        overrides: ``stage.knob=value`` texts.
        seed: Seed of the plan; a new one is drawn when it is None.
        environ: The environment, for what the config takes from there.
        ask: Whether to ask the engine that the config names what it has.
        engines: The user's list.
        text: What the config says, where it is in no file; relative names in it then start in the
            current folder.

    Raises:
        ConfigError: Something is at fault; the message names the file.
    """
    if text is None:
        config, source = PipelineConfig.from_file(path, overrides), str(path)
    else:
        config, source = PipelineConfig.from_text(text, overrides), STANDARD_INPUT
    return ready_config(config, source, seed, environ, ask=ask, engines=engines)


def ready_config(
    config: PipelineConfig,
    source: str,
    seed: int | None,
    environ: Mapping[str, str],
    *,
    ask: bool = True,
    backend: Backend | None = None,
    engines: EngineList = NO_ENGINES,
) -> Job:
    """Check everything about *config* that can be checked without drawing.

    Args:
        config: What is to be run.
        source: What to call it in messages.
        seed: Seed of the plan; a new one is drawn when it is None.
        environ: The environment, for what the config takes from there.
        ask: Whether to ask the engine that the config names what it has.
        backend: That engine, where it is there already.
        engines: The user's list.

    Raises:
        ConfigError: Something is at fault; the message names *source*.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        raise ConfigError(f"seed must be a whole number from 0, got {seed!r}", source=source)
    asked = False
    plan_seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    try:
        if not config.files.is_confined:  # a page's config has its engine by now
            config = replace(config, backend=engines.of_command(config.backend))
        if backend is None:
            backend = engine_for(config, environ)
        if missing := list(config.missing_pictures()):
            raise ConfigError(missing)
        plan = plan_variants(config, plan_seed)
        with suppress(BackendUnavailable):
            if ask:
                refuse_unknown_choices(backend, config, plan)
                asked = True
    except ConfigError as error:
        raise ConfigError(error.faults, source=source) from error
    except SafelightError as error:
        kind = "backend: " if isinstance(error, BackendError) else ""
        raise ConfigError(f"{kind}{error}", source=source) from error
    return Job(config, backend, plan, plan_seed, source, asked)


def engine_for(config: PipelineConfig, environ: Mapping[str, str]) -> Backend:
    """Return the engine of *config*, which names no engine of a list any more.

    Args:
        config: Whose.
        environ: The environment, for its secrets.

    Raises:
        ConfigError: A variable is not set.
        BackendError: There is no such engine, or it refuses its options.
    """
    options = secret_options(config.backend.options, environ)
    return create_backend(config.backend.name, options, folder=config.folder, files=config.files)


def engine_options(texts: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that ``key=value`` *texts* give an engine.

    A value is read as TOML (``verify=false``), and as plain text where it is none.

    Raises:
        ConfigError: One has no ``=``, or names an environment variable that is not set.
    """
    options: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--option must look like key=value, got {text!r}")
        try:
            options[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key.strip()] = value
    return dict(secret_options(options, environ))


def secret_options(options: Mapping[str, Any], environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return *options* with ``env:NAME`` replaced by that variable's value in *environ*.

    So a password need not stand in a file that people share. In a table of texts, such as
    headers, it may stand for each.

    Raises:
        ConfigError: The variable is not set.
    """
    return {key: _secret(key, value, environ) for key, value in options.items()}


def _secret(key: str, value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _secret(f"{key}.{name}", each, environ) for name, each in value.items()}
    if not isinstance(value, str) or not value.startswith("env:"):
        return value
    name = value.removeprefix("env:")
    if name not in environ:
        raise ConfigError(f"backend.{key} is {value!r}, but {name} is not set in the environment")
    return environ[name]
