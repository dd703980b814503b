"""Job: a config that is ready to run: checked, planned, and known to its engine."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safelight.backends import create_backend
from safelight.config import PipelineConfig
from safelight.errors import BackendError, BackendUnavailable, ConfigError, SafelightError
from safelight.pipeline import Backend, refuse_unknown_choices
from safelight.randomizer import RandomizerPlanResult, plan_variants

__all__ = ["Job", "ready_job"]


@dataclass(frozen=True, slots=True)
class Job:
    """A config with everything that it takes to run it.

    Attributes:
        config: What the file says.
        backend: The engine that it names.
        plan: What it amounts to.
        seed: The seed that the plan was made with.
    """

    config: PipelineConfig
    backend: Backend
    plan: RandomizerPlanResult
    seed: int

    @property
    def title(self) -> str:
        """What to call it."""
        return self.config.name or "unnamed config"


def ready_job(path: Path, overrides: Sequence[str], seed: int | None) -> Job:
    """Check everything about a config that can be checked without drawing.

    An engine that does not answer is no fault of the config: its run will say so.

    Args:
        path: The file.
        overrides: ``stage.knob=value`` texts.
        seed: Seed of the plan; a new one is drawn when it is None.

    Raises:
        ConfigError: Something is at fault; the message names the file.
    """
    config = PipelineConfig.from_file(path, overrides)
    plan_seed = secrets.randbits(32) if seed is None else seed
    try:
        backend = create_backend(config.backend.name, config.backend.options)
        plan = plan_variants(config, plan_seed)
        with suppress(BackendUnavailable):
            refuse_unknown_choices(backend, config, plan)
    except ConfigError as error:
        raise ConfigError(error.faults, source=str(path)) from error
    except SafelightError as error:
        kind = "backend: " if isinstance(error, BackendError) else ""
        raise ConfigError(f"{kind}{error}", source=str(path)) from error
    return Job(config, backend, plan, plan_seed)
