"""Engines: the built-in ones by name, everybody's by entry point, all held to one contract.

A package adds an engine with an entry point in the group ``safelight.backends`` that names a
factory, usually the class; options from the config are passed to it as keywords. The built-in
ones are named the same way in a table here: to look up an entry point means to read what every
installed package says of itself, a tenth of the time of a whole ``safelight plan``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safelight.errors import BackendError, BackendNotInstalled, SafelightError
from safelight.knobs import did_you_mean
from safelight.pipeline.backend import Backend

__all__ = ["GROUP", "backend_names", "create_backend", "has_backend"]

GROUP = "safelight.backends"
"""The entry point group."""

_BUILT_IN = {
    "bundled": "safelight.backends.bundled:BundledBackend",
    "comfyui": "safelight.backends.comfyui:ComfyuiBackend",
    "diffusers": "safelight.backends.diffusers_engine:DiffusersBackend",
    "fake": "safelight.backends.fake:FakeBackend",
    "webui": "safelight.backends.webui:WebuiBackend",
}


def backend_names() -> tuple[str, ...]:
    """Return the names of the installed engines, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def has_backend(name: str) -> bool:
    """Return whether an engine of that *name* is installed."""
    return name in _BUILT_IN or name in backend_names()


def create_backend(
    name: str,
    options: Mapping[str, Any] = MappingProxyType({}),
    *,
    folder: Path | None = None,
) -> Backend:
    """Return the engine *name*, made with *options*.

    Args:
        name: Its entry point.
        options: Keywords of its factory.
        folder: Where relative paths start among the options that the factory's
            ``path_options`` names; None is the current folder.

    Raises:
        BackendNotInstalled: Its package is missing; the message names the missing one.
        BackendError: There is no such engine, or it has no such option.
    """
    factory = _factory(name)
    _refuse_unknown_options(name, factory, options)
    paths = getattr(factory, "path_options", ()) if folder is not None else ()
    options = {
        key: str(folder / value) if key in paths and folder and isinstance(value, str) else value
        for key, value in options.items()
    }
    try:
        backend: Backend = factory(**options)
    except SafelightError:
        raise
    except (TypeError, ValueError) as error:
        raise BackendError(f"the engine {name!r} refuses its options: {error}") from error
    return backend


def _factory(name: str) -> Any:
    load, package = (_built_in, "safelight") if name in _BUILT_IN else _plugin(name)
    try:
        return load(name)
    except (ImportError, AttributeError) as error:
        missing = getattr(error, "name", None) or "a package"
        raise BackendNotInstalled(
            f"the engine {name!r} cannot be loaded: {missing} is missing ({error});"
            f" install it with: pip install {package}[{name}]"
        ) from error


def _built_in(name: str) -> Any:
    module, _, attribute = _BUILT_IN[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _plugin(name: str) -> tuple[Callable[[str], Any], str]:
    """Return what loads the engine *name* of another package, and that package."""
    from importlib.metadata import entry_points

    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        known = backend_names()
        hint = did_you_mean(name, known) or f"; installed: {', '.join(known)}"
        raise BackendError(f"there is no engine {name!r}{hint}")
    return lambda _name: point.load(), point.dist.name if point.dist else name


def _refuse_unknown_options(name: str, factory: Any, options: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            hint = did_you_mean(option, parameters) or f"; it has: {', '.join(parameters)}"
            raise BackendError(f"the engine {name!r} has no option {option!r}{hint}")
