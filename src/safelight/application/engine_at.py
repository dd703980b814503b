"""engine_at: which engine's server listens at an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError, BackendLoginRefused, BackendUnavailable

__all__ = ["engine_at"]

_TELLTALES = {"comfyui": "/system_stats", "webui": "/sdapi/v1/samplers"}
"""Engine -> a question that only its servers answer with JSON."""


def engine_at(url: str, options: Mapping[str, Any]) -> str:
    """Return which engine's server listens at *url*.

    Args:
        url: An address, a login in it or not.
        options: ``user``, ``password``, ``verify`` and ``headers``, where they are needed.

    Raises:
        BackendError: Nobody answers, or none of ours does.
    """
    known = {
        key: options[key] for key in ("user", "password", "verify", "headers") if key in options
    }
    server = EngineServer("the engine", url, **known)
    try:
        for name, path in _TELLTALES.items():
            try:
                server.json(server.ask("GET", path))
            except (BackendUnavailable, BackendLoginRefused):
                raise
            except BackendError:
                continue
            return name
    finally:
        server.close()
    paths = " and ".join(_TELLTALES.values())
    raise BackendError(f"{url.rpartition('@')[2]} is no engine that safelight knows: {paths} fail")
