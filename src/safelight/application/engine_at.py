"""engine_at: which engine's server listens at an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError, BackendLoginRefused, BackendUnavailable

__all__ = ["engine_at"]

_TELLTALES: Mapping[str, tuple[str, type]] = {
    "comfyui": ("/system_stats", dict),
    "webui": ("/sdapi/v1/samplers", list),
    "openai-images": ("/v1/models", dict),
}
"""Engine -> a question that only its servers answer, and with what. sd-server is a web UI, too, and
that way in can ask for more, so it comes first."""


def engine_at(url: str, options: Mapping[str, Any], *, patience: float = 10.0) -> str:
    """Return which engine's server listens at *url*.

    Args:
        url: An address, a login in it or not.
        options: ``user``, ``password``, ``api_key``, ``headers`` and ``verify``, where they are
            needed.
        patience: Seconds that one question may take.

    Raises:
        BackendError: Nobody answers, or none of ours does.
    """
    known = {key: options[key] for key in ("user", "password", "verify") if key in options}
    key = options.get("api_key")
    bearer = {"Authorization": f"Bearer {key}"} if key else {}
    server = EngineServer(
        "the engine",
        url.rstrip("/").removesuffix("/v1"),
        headers={**options.get("headers", {}), **bearer},
        timeout=patience,
        **known,
    )
    try:
        for name, (path, _) in _TELLTALES.items():
            try:
                answer = server.json(server.ask("GET", path))
            except (BackendUnavailable, BackendLoginRefused):
                raise
            except BackendError:
                continue
            if _fits(name, answer):
                return name
    finally:
        server.close()
    asked = ", ".join(path for path, _ in _TELLTALES.values())
    raise BackendError(f"{url.rpartition('@')[2]} is no engine that safelight knows: {asked} fail")


def _fits(name: str, answer: object) -> bool:
    """Return whether it is *name* that answers so: there are servers that answer anything."""
    _, kind = _TELLTALES[name]
    if name == "comfyui":
        return isinstance(answer, dict) and isinstance(answer.get("system"), dict)
    if name == "openai-images":
        return isinstance(answer, dict) and isinstance(answer.get("data"), list)
    return isinstance(answer, kind)
