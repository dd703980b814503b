"""engine_choices: what a config names against what its engine has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from safelight.config import PipelineConfig
from safelight.errors import ConfigError, ConfigFault
from safelight.knobs import STAGES
from safelight.pipeline.backend import Backend, ListsChoices

if TYPE_CHECKING:
    from safelight.pipeline.engine_pool import EnginePool
    from safelight.randomizer import RandomizerPlanResult

__all__ = ["refuse_unknown_choices", "unknown_choices", "unknown_in_draft"]


def refuse_unknown_choices(
    backend: Backend | EnginePool, config: PipelineConfig, plan: RandomizerPlanResult
) -> None:
    """Refuse names that the engine does not list, before anything is drawn.

    Raises:
        ConfigError: A stated or swept value is not among the engine's choices; all are told.
    """
    if not isinstance(backend, ListsChoices):
        return
    if faults := unknown_choices(backend.name, backend.choices(), config, plan):
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


def _stated_values(
    config: PipelineConfig, plan: RandomizerPlanResult
) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield ``stage.knob`` -> the texts that the config may ask for."""
    swept = {axis.name: axis.values for axis in plan.axes if axis.values is not None}
    at_times = {path for table in config.randomizer.sub_sweeps for path in table}
    for stage, knobs in config.stages.items():
        for name, value in knobs.items():
            path = f"{stage}.{name}"
            if (path not in swept or path in at_times) and isinstance(value, str):
                yield path, (value,)
    for path, values in swept.items():
        if isinstance(next(iter(values), None), str):  # they may be more than can be counted
            yield path, values
    if plan.prompt_file is not None:
        yield from plan.prompt_file.knobs.items()
    for setting in config.randomizer.settings if config.randomizer.mode != "off" else ():
        yield from ((path, (value,)) for path, value in setting.items() if isinstance(value, str))
