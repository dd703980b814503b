"""schedulers: the scheduler object that samples as a canonical sampler and schedule say.

diffusers drops options that a class does not have without a word; here every option is held
against the class first, and what it cannot do is refused with what it can.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers

from safelight.errors import BackendError
from safelight.sampler_names import SAMPLERS, SCHEDULERS, name_hint

__all__ = ["ChosenScheduler", "choose_scheduler", "samplers", "schedulers"]

_NEEDS = {"LMSDiscreteScheduler": "scipy", "DPMSolverSDEScheduler": "torchsde"}
_FLAGS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
_FLOW = "FlowMatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenScheduler:
    """A scheduler object and what to call it.

    Attributes:
        scheduler: Of diffusers, ready to be given to a pipeline.
        sampler: What samples, in AUTOMATIC1111's spelling, or the class's name.
        schedule: The schedule type likewise; None where it has no name.
        warnings: Where it is only nearly what was asked for.
    """

    scheduler: Any
    sampler: str
    schedule: str | None
    warnings: tuple[str, ...] = ()


def samplers() -> tuple[str, ...]:
    """Return the canonical samplers that the installed diffusers can do."""
    return tuple(
        name
        for name, names in SAMPLERS.items()
        if names.diffusers is not None
        and hasattr(diffusers, names.diffusers.cls)
        and importlib.util.find_spec(_NEEDS.get(names.diffusers.cls, "diffusers")) is not None
    )


def schedulers() -> tuple[str, ...]:
    """Return the canonical schedule types that some class can do."""
    return ("Automatic", *(name for name, s in SCHEDULERS.items() if s.diffusers is not None))


def choose_scheduler(own: Any, sampler: str | None, schedule: str | None) -> ChosenScheduler:
    """Return the scheduler for a sampler and a schedule type, each of which may be left open.

    Args:
        own: The scheduler that the model came with.
        sampler: Canonical, or None for the model's own.
        schedule: Canonical, or None for the model's own spacing.

    Raises:
        BackendError: diffusers cannot do that, or not with this model.
    """
    if type(own).__name__.startswith(_FLOW):
        return _flow(own, sampler, schedule)
    if sampler is not None and sampler not in samplers():
        hint = name_hint("sampler", sampler, samplers())
        raise BackendError(f"diffusers has no sampler {sampler!r}{hint}")
    if sampler is None and schedule is None:
        return ChosenScheduler(
            scheduler=own, sampler=_sampler_of(own), schedule=_schedule_of(own.config)
        )
    name = sampler or _sampler_of(own)
    cls, options = _class_of(own, sampler)
    resolved = _resolved(name, schedule)
    asked = {} if resolved is None else _asked(cls, name, resolved)
    off = {flag: False for flag in _FLAGS if flag in _parameters(cls)} if resolved else {}
    made = cls.from_config(own.config, **{**off, **options, **asked})
    kept = all(made.config.get(key) == value for key, value in asked.items())
    return ChosenScheduler(
        scheduler=made,
        sampler=name,
        schedule=resolved if kept and resolved else _schedule_of(made.config),
        warnings=tuple(_approximations(name, resolved)),
    )


def _class_of(own: Any, sampler: str | None) -> tuple[Any, Mapping[str, Any]]:
    if sampler is None:
        return type(own), {}
    entry = SAMPLERS[sampler].diffusers
    assert entry is not None
    return getattr(diffusers, entry.cls), entry.options


def _resolved(sampler: str, schedule: str | None) -> str | None:
    if schedule is None:
        return None
    if schedule == "Automatic":
        return SAMPLERS[sampler].scheduler if sampler in SAMPLERS else None
    if schedule not in schedulers():
        hint = name_hint("scheduler", schedule, schedulers())
        raise BackendError(f"diffusers has no scheduler {schedule!r}{hint}")
    return schedule


def _asked(cls: Any, sampler: str, schedule: str) -> Mapping[str, Any]:
    """Return the options of *schedule*, all of which *cls* has."""
    options = SCHEDULERS[schedule].diffusers
    assert options is not None
    if not _fits(cls, options):
        able = [n for n, s in SCHEDULERS.items() if s.diffusers and _fits(cls, s.diffusers)]
        raise BackendError(
            f"scheduler {schedule!r} cannot be done with sampler {sampler!r} in diffusers"
            f" ({cls.__name__} has no such option); it can do: {', '.join(able) or 'its own only'}"
        )
    return options


def _fits(cls: Any, options: Mapping[str, Any]) -> bool:
    known = _parameters(cls)
    # A class that always spaces as asked needs no option for it: only flags must be there.
    return all(key in known for key in options)


def _parameters(cls: Any) -> Mapping[str, Any]:
    return inspect.signature(cls.__init__).parameters


def _approximations(sampler: str, schedule: str | None) -> list[str]:
    told = []
    for kind, name, table in (
        ("sampler", sampler, SAMPLERS),
        ("scheduler", schedule, SCHEDULERS),
    ):
        names = table.get(name) if name else None
        reason = names.approximate.get("diffusers") if names else None
        if reason:
            told.append(f"{kind} {name!r} is only nearly that in diffusers: {reason}")
    return told


def _flow(own: Any, sampler: str | None, schedule: str | None) -> ChosenScheduler:
    """Return the model's own scheduler: flow models are sampled along straight lines."""
    if sampler not in (None, "Euler"):
        raise BackendError(
            f"this model is a flow model, which diffusers samples with Euler; got sampler"
            f" {sampler!r}: leave it out"
        )
    if schedule not in (None, "Automatic"):
        raise BackendError(
            f"this model is a flow model with a schedule of its own; got scheduler {schedule!r}:"
            " leave it out"
        )
    return ChosenScheduler(scheduler=own, sampler="Euler", schedule=None)


def _sampler_of(scheduler: Any) -> str:
    """Return the canonical sampler that *scheduler* is, else the name of its class."""
    name = type(scheduler).__name__
    for canonical, names in SAMPLERS.items():
        entry = names.diffusers
        if entry is None or entry.cls != name:
            continue
        if all(scheduler.config.get(key) == value for key, value in entry.options.items()):
            return canonical
    return name


def _schedule_of(config: Mapping[str, Any]) -> str | None:
    """Return the canonical schedule type of a scheduler's config, None where it has no name."""
    for flag, name in zip(_FLAGS, ("Karras", "Exponential", "Beta"), strict=True):
        if config.get(flag):
            return name
    spacing = config.get("timestep_spacing")
    if spacing == "leading":
        return "DDIM" if config.get("steps_offset") == 1 else None
    return {"linspace": "Normal", "trailing": "Simple"}.get(str(spacing))
