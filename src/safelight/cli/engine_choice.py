"""Where a run's variants are drawn: the options of ``run`` that choose, and the pool they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from safelight.cli.job import Job, secret_options
from safelight.errors import ConfigError

if TYPE_CHECKING:
    from safelight.pipeline.engine_pool import EnginePool

__all__ = ["EngineChoice", "engine_choice_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """What the command line says of where variants are drawn.

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

    def pool(self, job: Job) -> EnginePool | None:
        """Return the pool for *job*; None is its own engine alone.

        Raises:
            ConfigError: The choice is none.
            SafelightError: The pool cannot be had.
        """
        where, _, address = self.on.partition(":")
        if where == "ray":
            if self.servers:
                raise ConfigError("--server is for --on local; on Ray every actor has an engine")
            return self._ray_pool(job, address)
        if self.on != "local":
            raise ConfigError(f"--on must be local, ray or ray:ADDRESS, got {self.on!r}")
        if self.actors is not None or self.gpus or self.resources:
            raise ConfigError("--ray-actors, --ray-gpus and --ray-resource need --on ray")
        return self._servers(job) if self.servers else None

    def _servers(self, job: Job) -> EnginePool:
        from safelight.backends import create_backend
        from safelight.pipeline.engine_pool import LocalPool

        config = job.config
        options = secret_options(config.backend.options)
        backends = [
            create_backend(config.backend.name, {**options, "url": url}, folder=config.folder)
            for url in self.servers
        ]
        return LocalPool(backends, [_without_login(url) for url in self.servers])

    def _ray_pool(self, job: Job, address: str) -> EnginePool:
        from safelight.backends.ray_pool import ActorResources, RayPool

        return RayPool(
            job.config.backend.name,
            secret_options(job.config.backend.options),
            folder=job.config.folder,
            address=address or None,
            actors=self.actors,
            resources=ActorResources(gpus=self.gpus, custom=_amounts(self.resources)),
        )


def engine_choice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that :class:`EngineChoice` holds to a command."""
    options = [
        click.option(
            "--on", default="local", show_default=True, metavar="local|ray[:ADDRESS]",
            help="Where variants are drawn.",
        ),
        click.option(
            "--server", "servers", multiple=True, metavar="URL",
            help="A server of the config's engine; give several to share the work.",
        ),
        click.option(
            "--ray-actors", type=click.IntRange(min=1), metavar="N",
            help="Engines on Ray; as many as fit when not given.",
        ),
        click.option(
            "--ray-gpus", type=click.FloatRange(min=0), default=0.0, metavar="GPUS",
            help="GPUs of each, also a part of one, such as 0.5.",
        ),
        click.option(
            "--ray-resource", "ray_resources", multiple=True, metavar="NAME=AMOUNT",
            help="Another resource that each needs; may be repeated.",
        ),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _amounts(texts: Sequence[str]) -> dict[str, float]:
    amounts = {}
    for text in texts:
        name, found, amount = text.partition("=")
        number = -1.0
        with suppress(ValueError):
            number = float(amount)
        if not (found and name and number > 0):
            raise ConfigError(f"--ray-resource must look like name=1, got {text!r}")
        amounts[name] = number
    return amounts


def _without_login(url: str) -> str:
    scheme, found, rest = url.partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"
