"""Engines: the built-in ones by name, everybody's by entry point, all held to one contract.

A package adds an engine with an entry point in the group ``safelight.backends`` that names a
factory, usually the class; options from the config are passed to it as keywords. The built-in
ones are named the same way in a table here: to look up an entry point means to read what every
installed package says of itself, a tenth of the time of a whole ``safelight plan``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.errors import BackendError, BackendNotInstalled, FileRefused, SafelightError
from safelight.knobs import did_you_mean
from safelight.pipeline.backend import Backend, Closes

__all__ = [
    "BUILT_IN",
    "GROUP",
    "OptionKind",
    "backend_names",
    "create_backend",
    "engine_factory",
    "has_backend",
    "opened_backend",
    "option_kinds",
]

OptionKind = Literal["plain", "file", "model", "owner"]
"""What an option of an engine is: anything; a file or folder; a model, by its file or its name; or
something that only the owner of this machine may say: where requests go, and with which secrets."""

GROUP = "safelight.backends"
"""The entry point group."""

_BUILT_IN = {
    "bundled": "safelight.backends.bundled:BundledBackend",
    "comfyui": "safelight.backends.comfyui:ComfyuiBackend",
    "diffusers": "safelight.backends.diffusers_engine:DiffusersBackend",
    "fake": "safelight.backends.fake:FakeBackend",
    "openai-images": "safelight.backends.openai_images:OpenAiImagesBackend",
    "webui": "safelight.backends.webui:WebuiBackend",
}

BUILT_IN = tuple(_BUILT_IN)
"""The names of the engines of this package."""


def backend_names() -> tuple[str, ...]:
    """Return the names of the installed engines, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def has_backend(name: str) -> bool:
    """Return whether an engine of that *name* is installed."""
    return name in _BUILT_IN or name in backend_names()


@contextmanager
def opened_backend(
    name: str, options: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[Backend]:
    """Yield the engine *name* to be asked something; its connections are closed afterwards.

    Args:
        name: As :func:`create_backend`.
        options: As :func:`create_backend`.

    Raises:
        BackendError: As :func:`create_backend`.
    """
    backend = create_backend(name, options)
    try:
        yield backend
    finally:
        if isinstance(backend, Closes):
            backend.close()


def create_backend(
    name: str,
    options: Mapping[str, Any] = MappingProxyType({}),
    *,
    folder: Path | None = None,
    files: AllowedFiles = ANY_FILE,
) -> Backend:
    """Return the engine *name*, made with *options*.

    Args:
        name: Its entry point.
        options: Keywords of its factory.
        folder: Where relative paths start among the options that name files; None is the
            current folder.
        files: Which files the options and later the requests may name.

    Raises:
        BackendNotInstalled: Its package is missing; the message names the missing one.
        BackendError: There is no such engine, or it has no such option.
    """
    factory = engine_factory(name)
    _refuse_unknown_options(name, factory, options)
    kinds = _kinds_of(factory)
    options = {
        key: _placed(key, value, folder, files) if kinds.get(key) == "file" else value
        for key, value in options.items()
    }
    if _opens_files(factory):
        options = {**options, "files": files}
    try:
        backend: Backend = factory(**options)
    except SafelightError:
        raise
    except (TypeError, ValueError) as error:
        raise BackendError(f"the engine {name!r} refuses its options: {error}") from error
    return backend


def option_kinds(name: str) -> Mapping[str, OptionKind]:
    """Return option -> what it is, for the engine *name*; one that is not in it is not known.

    Engines say it in ``option_kinds``, or at least in ``path_options`` which of them name files.

    Raises:
        BackendNotInstalled: Its package is missing.
        BackendError: There is no such engine.
    """
    return _kinds_of(engine_factory(name))


def _kinds_of(factory: Any) -> Mapping[str, OptionKind]:
    kinds: Mapping[str, OptionKind] | None = getattr(factory, "option_kinds", None)
    return dict.fromkeys(getattr(factory, "path_options", ()), "file") if kinds is None else kinds


def _placed(key: str, value: Any, folder: Path | None, files: AllowedFiles) -> Any:
    if not isinstance(value, str) or (folder is None and not files.is_confined):
        return value
    try:
        return str(files.place(value, folder or Path()))
    except FileRefused as error:
        raise BackendError(f"{key} {value!r} {error}") from error


def _opens_files(factory: Any) -> bool:
    """Return whether an engine takes how files are opened: no option of a config, which says it."""
    return hasattr(factory, "option_kinds") and "files" in inspect.signature(factory).parameters


def engine_factory(name: str) -> Any:
    """Return what makes the engine *name*, usually its class.

    Raises:
        BackendNotInstalled: Its package is missing.
        BackendError: There is no such engine.
    """
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
    known = [each for each in parameters if each != "files" or not _opens_files(factory)]
    for option in options:
        if option not in known:
            hint = did_you_mean(option, known) or f"; it has: {', '.join(known)}"
            raise BackendError(f"the engine {name!r} has no option {option!r}{hint}")
