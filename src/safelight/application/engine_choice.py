"""EngineChoice: where a run's variants are drawn, and the pool that this means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safelight.application.jobs import Job, secret_options
from safelight.errors import ConfigError

if TYPE_CHECKING:
    from safelight.pipeline.engine_pool import EnginePool

__all__ = ["EngineChoice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """Where variants are drawn.

    Attributes:
        on: ``local``, ``ray`` or ``ray:ADDRESS``.
        servers: Addresses of servers that share the work instead of the config's one.
        actors: How many on Ray; None is as many as fit.
        gpus: GPUs of each actor.
        resources: ``NAME=AMOUNT`` texts.
    """

    on: str = "local"
    servers: tuple[str, ...] = ()
    actors: int | None = None
    gpus: float = 0.0
    resources: tuple[str, ...] = field(default=())

    def pool(self, job: Job, environ: Mapping[str, str]) -> EnginePool | None:
        """Return the pool for *job*; None is its own engine alone.

        Args:
            job: Whose engine.
            environ: The environment, for what the config takes from there.

        Raises:
            ConfigError: The choice is none.
            SafelightError: The pool cannot be had.
        """
        where, _, address = self.on.partition(":")
        if where == "ray":
            if self.servers:
                raise ConfigError("--server is for --on local; on Ray every actor has an engine")
            return self._ray_pool(job, address, environ)
        if self.on != "local":
            raise ConfigError(f"--on must be local, ray or ray:ADDRESS, got {self.on!r}")
        if self.actors is not None or self.gpus or self.resources:
            raise ConfigError("--ray-actors, --ray-gpus and --ray-resource need --on ray")
        return self._servers(job, environ) if self.servers else None

    def _servers(self, job: Job, environ: Mapping[str, str]) -> EnginePool:
        from safelight.backends import create_backend
        from safelight.pipeline.engine_pool import LocalPool

        config = job.config
        options = secret_options(config.backend.options, environ)
        backends = [
            create_backend(config.backend.name, {**options, "url": url}, folder=config.folder)
            for url in self.servers
        ]
        return LocalPool(backends, [_without_login(url) for url in self.servers])

    def _ray_pool(self, job: Job, address: str, environ: Mapping[str, str]) -> EnginePool:
        from safelight.backends.ray_pool import ActorResources, RayPool

        return RayPool(
            job.config.backend.name,
            secret_options(job.config.backend.options, environ),
            folder=job.config.folder,
            address=address or None,
            actors=self.actors,
            resources=ActorResources(gpus=self.gpus, custom=_amounts(self.resources)),
        )


def _amounts(texts: Sequence[str]) -> dict[str, float]:
    amounts = {}
    for text in texts:
        name, separator, amount = text.partition("=")
        number = -1.0
        with suppress(ValueError):
            number = float(amount)
        if not (separator and name and number > 0):
            raise ConfigError(f"--ray-resource must look like name=1, got {text!r}")
        amounts[name] = number
    return amounts


def _without_login(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
