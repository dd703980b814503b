"""engine_choices: what a config names against what its engine has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from safelight.config import PipelineConfig
from safelight.errors import BackendUnavailable, ConfigError, ConfigFault
from safelight.knobs import KNOBS, STAGES
from safelight.pipeline.backend import Backend, KnowsKnobs, KnowsSides, ListsChoices
from safelight.pipeline.engine_pool import EnginePool, LocalPool

if TYPE_CHECKING:
    from safelight.randomizer import RandomizerPlanResult

__all__ = ["refuse_unknown_choices", "unknown_choices", "unknown_in_draft"]

_MOST = 1000
"""Values of one swept side that are looked at."""


def refuse_unknown_choices(
    backend: Backend | EnginePool, config: PipelineConfig, plan: RandomizerPlanResult
) -> None:
    """Refuse what the engine cannot be asked for, before drawing.

    These are knobs that it has no place for, names that it does not list, and sizes that no model
    takes.

    Raises:
        ConfigError: A stated or swept value is none of those that it takes; all are told.
    """
    faults: list[ConfigFault] = []
    knows = backend.knows_knobs if isinstance(backend, LocalPool) else True
    if knows and isinstance(backend, KnowsKnobs):
        faults += _unplaced(backend, config, plan)
    try:
        if isinstance(backend, ListsChoices):
            faults += unknown_choices(backend.name, backend.choices(), config, plan)
    except BackendUnavailable:
        if not faults:
            raise
    if isinstance(backend, KnowsSides):
        faults += _uneven_sides(backend, config, plan)
    if faults:
        raise ConfigError(faults)


def unknown_choices(
    engine: str,
    choices: Mapping[str, Sequence[str]],
    config: PipelineConfig,
    plan: RandomizerPlanResult,
) -> list[ConfigFault]:
    """Return a fault for each stated or swept value that is not among *choices*.

    Args:
        engine: What to call it.
        choices: Knob -> the values that it has.
        config: Whose.
        plan: What it amounts to.
    """
    return list(_unknown(engine, choices, _stated_values(config, plan)))


def unknown_in_draft(
    engine: str, choices: Mapping[str, Sequence[str]], draft: Mapping[str, Any]
) -> list[ConfigFault]:
    """Return the same for a config that breaks rules, as far as its stages state texts.

    Args:
        engine: What to call it.
        choices: Knob -> the values that it has.
        draft: Its tree.
    """
    stated = [
        (f"{stage}.{name}", (value,))
        for stage in STAGES
        if isinstance(own := draft.get(stage), Mapping)
        for name, value in own.items()
        if isinstance(value, str)
    ]
    return list(_unknown(engine, choices, stated))


def _unknown(
    engine: str,
    choices: Mapping[str, Sequence[str]],
    stated: Iterable[tuple[str, Sequence[Any]]],
) -> Iterator[ConfigFault]:
    for path, values in stated:
        knob = path.partition(".")[2]
        known = choices.get(knob)
        for value in values if known is not None else ():
            if known is not None and value not in known:
                from safelight.sampler_names import name_hint  # only a fault needs its table

                hint = name_hint(knob, str(value), known)
                message = f"{engine} does not know {value!r}{hint}"
                yield ConfigFault(path=path, message=message)


def _unplaced(
    backend: KnowsKnobs, config: PipelineConfig, plan: RandomizerPlanResult
) -> Iterator[ConfigFault]:
    """Yield a fault for each knob that any variant may state and the engine has no place for."""
    if not plan.plan_size:
        return
    first = plan.variants[0].config
    for stage, knobs in first.items():
        stated = {name: value for name, value in knobs.items() if value is not None}
        for path, values in _varied_values(config, plan):
            at, _, name = path.partition(".")
            if at == stage and name in KNOBS and name not in stated:
                stated |= dict.fromkeys((name,), next(iter(values)))
        for name, why in backend.knob_faults(stage, stated).items():
            yield ConfigFault(path=f"{stage}.{name}", message=why)


def _varied_values(
    config: PipelineConfig, plan: RandomizerPlanResult
) -> Iterator[tuple[str, Iterable[Any]]]:
    """Yield ``stage.knob`` -> values, for what only some variants may state."""
    for table in config.randomizer.sub_sweeps:
        yield from ((path, values) for path, values in table.items() if values)
    for setting in config.randomizer.settings if config.randomizer.mode != "off" else ():
        yield from ((path, (value,)) for path, value in setting.items())
    if plan.prompt_file is not None:
        yield from ((path, values or ("",)) for path, values in plan.prompt_file.knobs.items())


def _uneven_sides(
    backend: KnowsSides, config: PipelineConfig, plan: RandomizerPlanResult
) -> Iterator[ConfigFault]:
    """Yield a fault for each side that none of the models takes which the config may draw with."""
    models: set[str | None] = {
        model
        for path, names in _stated_values(config, plan)
        if path.endswith(".model")
        for model in islice(names, _MOST)
    }
    if not _states_model_always(config, plan):
        models.add(None)
    multiples = {backend.side_multiple(model) for model in models}
    steps = sorted(step for step in multiples if step is not None)
    if None in multiples or not steps or len(models) >= _MOST:
        return
    rule = f"must be a multiple of {' or '.join(map(str, steps))} px for this model"
    for path, sides in _stated_values(config, plan, of=int):
        if not path.endswith((".width", ".height")):
            continue
        for side in islice(sides, _MOST):
            if all(side % step for step in steps):
                near = {n for step in steps for n in (side // step * step, -(-side // step) * step)}
                listed = " or ".join(map(str, sorted(near - {0})))
                yield ConfigFault(path=path, message=f"{rule}, got {side}; the nearest: {listed}")


def _states_model_always(config: PipelineConfig, plan: RandomizerPlanResult) -> bool:
    """Whether the first stage that draws has a model in every variant; the next inherits it."""
    drawing = [stage for stage in config.stages if stage != "upscale"]
    if not drawing or "model" in config.stages[drawing[0]]:
        return bool(drawing)
    path = f"{drawing[0]}.model"
    at_times = any(path in table for table in config.randomizer.sub_sweeps)
    return not at_times and any(axis.name == path for axis in plan.axes)


def _stated_values(
    config: PipelineConfig, plan: RandomizerPlanResult, *, of: type = str
) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield ``stage.knob`` -> the texts, or other values, that the config may ask for."""
    swept = {axis.name: axis.values for axis in plan.axes if axis.values is not None}
    at_times = {path for table in config.randomizer.sub_sweeps for path in table}
    for stage, knobs in config.stages.items():
        for name, value in knobs.items():
            path = f"{stage}.{name}"
            if (path not in swept or path in at_times) and isinstance(value, of):
                yield path, (value,)
    for path, values in swept.items():
        if isinstance(next(iter(values), None), of):  # they may be more than can be counted
            yield path, values
    if plan.prompt_file is not None:
        for path, values in plan.prompt_file.knobs.items():
            yield path, [value for value in values if isinstance(value, of)]
    for setting in config.randomizer.settings if config.randomizer.mode != "off" else ():
        yield from ((path, (value,)) for path, value in setting.items() if isinstance(value, of))
