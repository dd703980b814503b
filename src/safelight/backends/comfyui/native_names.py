"""Our names for samplers, schedules and resizing methods, and ComfyUI's for the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from safelight.errors import BackendError
from safelight.formats.comfyui_nodes import LATENT_METHODS, PIXEL_METHODS
from safelight.sampler_names import SAMPLERS, SCHEDULERS, SamplerName, SchedulerName

__all__ = [
    "LATENT_METHODS",
    "PIXEL_METHODS",
    "canonical_names",
    "named_by_us",
    "native_name",
    "resolved_scheduler",
]

_TABLES: Mapping[str, Mapping[str, SamplerName | SchedulerName]] = {
    "sampler": SAMPLERS,
    "scheduler": SCHEDULERS,
}


def resolved_scheduler(scheduler: str, sampler: str | None) -> str:
    """Return what *scheduler* means for *sampler*: ``Automatic`` depends on it."""
    if scheduler != "Automatic":
        return scheduler
    return SAMPLERS.get(sampler or "", SamplerName()).scheduler


def native_name(knob: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Return ComfyUI's name for a sampler or scheduler, and warnings about the difference.

    A name that our table lacks is passed on: the server may know it, and refuses it otherwise.

    Raises:
        BackendError: ComfyUI has no such thing under any name.
    """
    entry = _TABLES[knob].get(name)
    if entry is None:
        return name, ()
    if entry.comfyui is None:
        raise BackendError(
            f"{knob} {name!r} has no equal among ComfyUI's {knob}s; choose another,"
            " or map a workflow of your own that does it"
        )
    why = entry.approximate.get("comfyui")
    warning = f"The {knob} {name!r} is only nearly the same in ComfyUI: {why}."
    return entry.comfyui, (warning,) if why else ()


def named_by_us(knob: str, value: Any) -> Any:
    """Return our name for ComfyUI's *value* of a sampler or scheduler; others stay.

    But for ``clip_skip``, of which ComfyUI counts layers from the end, below zero.
    """
    if knob == "clip_skip" and isinstance(value, int):
        return abs(value)
    for canonical, entry in _TABLES.get(knob, {}).items():
        if entry.comfyui == value:
            return canonical
    return value


def canonical_names(knob: str, native: Iterable[str]) -> tuple[str, ...]:
    """Return every name by which the server's samplers or schedulers can be asked for."""
    native = tuple(native)
    table = _TABLES[knob]
    ours = [name for name, entry in table.items() if entry.comfyui in native]
    covered = {entry.comfyui for entry in table.values()}
    if knob == "scheduler":
        ours.insert(0, "Automatic")
    return (*ours, *(name for name in native if name not in covered))
