"""Samplers and schedules: AUTOMATIC1111's names into diffusers' scheduler objects, and back.

``from_config`` of diffusers drops options that a class does not have and says nothing, so
every option is compared with the class's own signature before it is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safelight.errors import BackendError
from safelight.sampler_names import SAMPLERS, SCHEDULERS, name_hint

__all__ = [
    "SAMPLER_NAMES",
    "SCHEDULE_NAMES",
    "Schedule",
    "is_flow",
    "make_schedule",
    "refuse_unfit",
]

SAMPLER_NAMES = tuple(name for name, names in SAMPLERS.items() if names.diffusers is not None)
SCHEDULE_NAMES = (
    "Automatic", *(name for name, names in SCHEDULERS.items() if names.diffusers is not None)
)  # fmt: skip

_SIGMA_FLAGS = (
    "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas",
)  # fmt: skip
_FLOW_SAMPLERS = {
    "FlowMatchEulerDiscreteScheduler": "Euler",
    "FlowMatchHeunDiscreteScheduler": "Heun",
}
_SHIFTED = ("DPMSolverMultistepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler")
"""Classes that leave out the last point of an even spacing."""
_DEAF = ("LCMScheduler",)
"""Classes that take a spacing and do not use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A scheduler object of diffusers, fresh for one pass, and what it is called.

    Attributes:
        scheduler: The object.
        effective: ``sampler`` and, where it has a name, ``scheduler``; of a flow also ``shift``,
            where it does not change with the size of the picture.
        warnings: What is only nearly as asked.
    """

    scheduler: Any
    effective: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def make_schedule(
    own: Any,
    sampler: str | None,
    schedule: str | None,
    *,
    shift: float | None = None,
    levels: bool = False,
) -> Schedule:
    """Return a fresh scheduler for a model.

    Args:
        own: The scheduler that the model came with; it is left as it is.
        sampler: In AUTOMATIC1111's spelling; None is the model's own.
        schedule: In AUTOMATIC1111's spelling; None is the model's own.
        shift: Of a flow, instead of the model's own; others have none.
        levels: Whether it will be given noise levels, which it must then take as they are.

    Raises:
        BackendError: A name is unknown, or the model or the class cannot do it.
    """
    _refuse_unknown("sampler", sampler, SAMPLER_NAMES)
    _refuse_unknown("scheduler", schedule, SCHEDULE_NAMES)
    if type(own).__name__.startswith("FlowMatch"):
        return _flow_schedule(own, sampler, schedule, 1.0 if levels else shift, levels=levels)
    if is_flow(type(own).__name__, own.config):
        return _flow_sigmas(own, sampler, schedule, shift)
    if "beta_start" not in own.config:
        return _only_its_own(own, sampler, schedule)
    cls, options = type(own), dict[str, Any]()
    if levels:
        options |= {name: False for name in _SIGMA_FLAGS if name in _parameters(cls)}
    if sampler is not None:
        cls, options = _class_of(sampler), _options_of(sampler)
    if schedule == "Automatic":
        automatic = SAMPLERS[sampler].scheduler if sampler is not None else None
        schedule = automatic if automatic in _possible(cls) else None
    if schedule is not None:
        if schedule not in _possible(cls):
            raise BackendError(_impossible(cls, sampler, schedule))
        options |= {name: False for name in _SIGMA_FLAGS if name in _parameters(cls)}
        options |= _options(cls, schedule)
    missing = [name for name in options if name not in _parameters(cls)]
    if missing:
        raise BackendError(f"sampler {sampler!r}: {cls.__name__} has no {', '.join(missing)}")
    try:
        scheduler = cls.from_config(own.config, **options)
    except (ImportError, ValueError, NotImplementedError) as error:
        raise BackendError(f"sampler {sampler!r} cannot be made: {error}") from error
    effective = {"sampler": _sampler_of(scheduler, sampler)}
    if name := _schedule_of(scheduler, schedule):
        effective["scheduler"] = name
    warnings = tuple(_warnings(cls.__name__, sampler, schedule))
    return Schedule(scheduler=scheduler, effective=effective, warnings=warnings)


def is_flow(cls: str, config: Mapping[str, Any]) -> bool:
    """Return whether a scheduler moves along a flow; others take away noise.

    Args:
        cls: Name of its class.
        config: Of the scheduler, as it is saved.
    """
    return (
        cls.startswith("FlowMatch")
        or bool(config.get("use_flow_sigmas"))
        or config.get("prediction_type") == "flow_prediction"
    )


def refuse_unfit(kind: str, taken: Collection[str], schedule: Schedule) -> None:
    """Refuse a scheduler that cannot take what the pipeline *kind* will hand it.

    Args:
        kind: The pipeline's class.
        taken: Arguments of its call.
        schedule: What it would be given.

    Raises:
        BackendError: The message names the samplers that fit.
    """
    wanted = "original_inference_steps"  # pipelines of latent consistency hand it on
    if wanted not in taken or wanted in _taken(type(schedule.scheduler)):
        return
    able = [name for name in SAMPLER_NAMES if wanted in _taken(_class_of(name))]
    raise BackendError(
        f"sampler {schedule.effective['sampler']!r} does not fit a {kind}, whose model was"
        f" distilled for its own; it can do: {', '.join(able)}"
    )


def _taken(cls: Any) -> Collection[str]:
    # Of a class whose own package is missing there is only the name.
    return inspect.signature(getattr(cls, "set_timesteps", cls.__init__)).parameters


def _flow_schedule(
    own: Any, sampler: str | None, schedule: str | None, shift: float | None, *, levels: bool
) -> Schedule:
    """Return the model's own scheduler: one made for noise does not fit a flow."""
    cls = type(own)
    name = _FLOW_SAMPLERS.get(cls.__name__, cls.__name__)
    if sampler not in (None, name):
        raise BackendError(f"sampler {sampler!r} does not fit a flow-matching model; it has {name}")
    flags = [n for n in ("Karras", "Exponential", "Beta") if _flag(n) in _parameters(cls)]
    _refuse_flow_schedule(schedule, flags)
    options = _shift_options(cls, "shift", shift)
    if levels:
        options |= {_flag(n): False for n in flags} | {"shift_terminal": None}
    if schedule in flags:
        options |= {_flag(n): n == schedule for n in flags}
    options = {n: value for n, value in options.items() if n in _parameters(cls)}
    scheduler = cls.from_config(own.config, **options)
    effective: dict[str, Any] = {"sampler": name}
    for flag in flags:
        if scheduler.config.get(_flag(flag)):
            effective["scheduler"] = flag
    if not levels:
        effective |= _fixed_shift(scheduler, "shift")
    return Schedule(scheduler=scheduler, effective=effective)


def _flow_sigmas(
    own: Any, sampler: str | None, schedule: str | None, shift: float | None
) -> Schedule:
    """Return a scheduler that was made for noise and can do a flow (Sana's DPM++).

    Karras and the like are asked before the flow in its code, and the picture is black.
    """
    cls, options = type(own), dict[str, Any]()
    able = [name for name in SAMPLER_NAMES if "use_flow_sigmas" in _parameters(_class_of(name))]
    if sampler is not None:
        if sampler not in able:
            raise BackendError(
                f"sampler {sampler!r} does not fit a flow-matching model of {cls.__name__};"
                f" it can do: {', '.join(able)}"
            )
        cls, options = _class_of(sampler), _options_of(sampler)
        options |= {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
        options |= {name: False for name in _SIGMA_FLAGS if name in _parameters(cls)}
    _refuse_flow_schedule(schedule, [])
    options |= _shift_options(cls, "flow_shift", shift)
    scheduler = cls.from_config(own.config, **options)
    effective = {
        "sampler": _sampler_of(scheduler, sampler),
        **_fixed_shift(scheduler, "flow_shift"),
    }
    warnings = tuple(_warnings(cls.__name__, sampler, None))
    return Schedule(scheduler=scheduler, effective=effective, warnings=warnings)


def _only_its_own(own: Any, sampler: str | None, schedule: str | None) -> Schedule:
    """Return the model's own scheduler, whose kind no other one shares (EDM, TrigFlow)."""
    name = type(own).__name__
    if sampler is not None:
        raise BackendError(f"sampler {sampler!r} does not fit this model, which needs its {name}")
    if schedule not in (None, "Automatic"):
        raise BackendError(f"scheduler {schedule!r} does not fit this model's {name}; leave it out")
    return Schedule(scheduler=type(own).from_config(own.config), effective={"sampler": name})


def _refuse_flow_schedule(schedule: str | None, able: Sequence[str]) -> None:
    if schedule not in (None, "Automatic", *able):
        raise BackendError(
            f"scheduler {schedule!r} does not fit a flow-matching model; leave it out"
            f" or use one of: {', '.join(['Automatic', *able])}"
        )


def _shift_options(cls: Any, name: str, shift: float | None) -> dict[str, Any]:
    if shift is None:
        return {}
    if shift <= 0:
        raise BackendError(f"shift must be above 0 in diffusers, got {shift:g}")
    # A dynamic shift comes from the picture's size, and the stated one would not be used.
    wanted = {name: shift, "use_dynamic_shifting": False}
    return {option: value for option, value in wanted.items() if option in _parameters(cls)}


def _fixed_shift(scheduler: Any, name: str) -> dict[str, Any]:
    config = scheduler.config
    moves = config.get("use_dynamic_shifting") or config.get(name) is None
    return {} if moves else {"shift": config[name]}


def _flag(schedule: str) -> str:
    return f"use_{schedule.lower()}_sigmas"


def _refuse_unknown(knob: str, name: str | None, known: Sequence[str]) -> None:
    if name is not None and name not in known:
        raise BackendError(f"diffusers has no {knob} {name!r}{name_hint(knob, name, known)}")


def _scheduler_class(name: str) -> Any:
    import diffusers

    return getattr(diffusers, name)


def _class_of(sampler: str) -> Any:
    wanted = SAMPLERS[sampler].diffusers
    assert wanted is not None
    return _scheduler_class(wanted.cls)


def _options_of(sampler: str) -> dict[str, Any]:
    wanted = SAMPLERS[sampler].diffusers
    assert wanted is not None
    return dict(wanted.options)


def _parameters(cls: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(cls.__init__).parameters


def _options(cls: Any, schedule: str) -> dict[str, Any]:
    """Return the options of *schedule*; a spacing beside sigmas only where the class has one."""
    wanted = dict(SCHEDULERS[schedule].diffusers or {})
    if any(name in wanted for name in _SIGMA_FLAGS) and "timestep_spacing" not in _parameters(cls):
        wanted.pop("timestep_spacing", None)
    return wanted


def _possible(cls: Any) -> list[str]:
    if cls.__name__ in _DEAF:
        return []
    has = _parameters(cls)
    names = (name for name in SCHEDULE_NAMES if name != "Automatic")
    return [name for name in names if all(option in has for option in _options(cls, name))]


def _impossible(cls: Any, sampler: str | None, schedule: str) -> str:
    whose = f"sampler {sampler!r}" if sampler else "the model's own sampler"
    able = ", ".join(_possible(cls)) or "none; leave scheduler out"
    return (
        f"scheduler {schedule!r} does not go with {whose} in diffusers"
        f" ({cls.__name__}); it can do: {able}"
    )


def _sampler_of(scheduler: Any, asked: str | None) -> str:
    """Return the canonical name of what *scheduler* does, its class's name where it has none."""
    matching = []
    for name in SAMPLER_NAMES:
        entry = SAMPLERS[name].diffusers
        assert entry is not None
        same = all(scheduler.config.get(key) == value for key, value in entry.options.items())
        if entry.cls == type(scheduler).__name__ and same:
            matching.append((name == asked, len(entry.options), name))
    return max(matching)[2] if matching else type(scheduler).__name__


def _schedule_of(scheduler: Any, asked: str | None) -> str | None:
    if type(scheduler).__name__ in _DEAF:
        return None
    config = scheduler.config
    matching = []
    for name in _possible(type(scheduler)):
        options = _options(type(scheduler), name)
        flags = {flag: bool(options.get(flag)) for flag in _SIGMA_FLAGS}
        same_flags = all(bool(config.get(flag)) == on for flag, on in flags.items())
        if same_flags and all(config.get(key) == value for key, value in options.items()):
            matching.append(name)
    if asked in matching:
        return asked
    # Of names for one thing, the one without "only nearly".
    exact = [name for name in matching if "diffusers" not in SCHEDULERS[name].approximate]
    return next(iter(exact or matching), None)


def _warnings(cls: str, sampler: str | None, schedule: str | None) -> list[str]:
    warnings = []
    if sampler is not None and (why := SAMPLERS[sampler].approximate.get("diffusers")):
        warnings.append(f"sampler {sampler!r} is only nearly AUTOMATIC1111's in diffusers: {why}")
    if schedule is not None and (why := SCHEDULERS[schedule].approximate.get("diffusers")):
        warnings.append(
            f"scheduler {schedule!r} is only nearly AUTOMATIC1111's in diffusers: {why}"
        )
    if cls in _SHIFTED and schedule in ("Normal", "Uniform", "DDIM"):
        warnings.append(
            f"scheduler {schedule!r} is only nearly AUTOMATIC1111's in diffusers:"
            f" {cls} spaces steps + 1 points and leaves out the last"
        )
    return warnings
