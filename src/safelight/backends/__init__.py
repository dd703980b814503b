"""Engines, found by entry point; the built-in ones enter by the same door as everybody's.

A package adds an engine with an entry point in the group ``safelight.backends`` that names a
factory, usually the class; options from the config are passed to it as keywords.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safelight.errors import BackendError, BackendNotInstalled, SafelightError
from safelight.knobs import did_you_mean
from safelight.pipeline.backend import Backend

__all__ = ["GROUP", "backend_names", "create_backend"]

GROUP = "safelight.backends"
"""The entry point group."""


def backend_names() -> tuple[str, ...]:
    """Return the names of the installed engines, sorted."""
    return tuple(sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)}))


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
    points = tuple(importlib.metadata.entry_points(group=GROUP, name=name))
    if not points:
        known = backend_names()
        hint = did_you_mean(name, known) or f"; installed: {', '.join(known)}"
        raise BackendError(f"there is no engine {name!r}{hint}")
    try:
        factory = points[0].load()
    except (ImportError, AttributeError) as error:
        package = points[0].dist.name if points[0].dist else name
        missing = getattr(error, "name", None) or "a package"
        raise BackendNotInstalled(
            f"the engine {name!r} cannot be loaded: {missing} is missing ({error});"
            f" install it with: pip install {package}[{name}]"
        ) from error
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
