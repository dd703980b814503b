"""suggestion_config: the config that draws what is suggested.

What models were drawn with may differ beyond what is varied: sizes, say, or knobs that only one
has. So each setting is drawn with what pictures of its model were drawn with. One config has one
engine and one chain of stages: models that need others are left out of it, and
:func:`left_out_models` says which.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safelight.application.configs_again import engine_of
from safelight.application.suggestions import Evidence, Origin
from safelight.config import PipelineConfig
from safelight.errors import ConfigError
from safelight.knobs import KNOBS
from safelight.learning.plans.space_of_trials import MODEL
from safelight.lora_tags import with_lora
from safelight.recorded_settings import LORA

__all__ = ["Wanted", "left_out_models", "prompts_of", "suggestion_config", "wanted_config"]

_BASE_PROMPT = "a red apple"
_MOST_PROMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One setting to be drawn.

    Attributes:
        setting: Knob -> value.
        prompts: With each of these.
        fixed: Weights of LoRAs that are not varied.
    """

    setting: Mapping[str, Any]
    prompts: Sequence[str]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def loras(self) -> dict[str, Any]:
        """The weights of its LoRAs."""
        every = {**self.fixed, **self.setting}
        return {name: weight for name, weight in every.items() if name.startswith(LORA)}


def prompts_of(evidence: Evidence, prompts: Sequence[str] = ()) -> list[str]:
    """Return *prompts*, or the two that were rated most."""
    return list(prompts or evidence.prompts[:_MOST_PROMPTS]) or [_BASE_PROMPT]


def suggestion_config(
    evidence: Evidence,
    settings: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, Any],
    prompts: Sequence[str],
    seeds: int,
    **more: Any,
) -> dict[str, Any]:
    """Return the config that draws *settings*, checked.

    Raises:
        ConfigError: It would not be one.
    """
    texts = prompts_of(evidence, prompts)
    wanted = [Wanted(setting=setting, prompts=texts, fixed=fixed) for setting in settings]
    return wanted_config(evidence, wanted, seeds, **more)


def left_out_models(evidence: Evidence, settings: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Return the models that a config of all *settings* leaves out, and which engine drew each."""
    kept = _shape_of_most(evidence, settings)
    return {
        str(setting.get(MODEL, evidence.model)): evidence.origin_of(setting).backend
        for setting in settings
        if _shape(evidence.origin_of(setting)) != kept
    }


def wanted_config(
    evidence: Evidence, wanted: Sequence[Wanted], seeds: int, **more: Any
) -> dict[str, Any]:
    """Return the config that draws *wanted*, checked; *more* goes into it.

    Raises:
        ConfigError: It would not be one.
    """
    kept = _shape_of_most(evidence, [each.setting for each in wanted])
    wanted = [each for each in wanted if _shape(evidence.origin_of(each.setting)) == kept]
    origins = [evidence.origin_of(each.setting) for each in wanted] or [evidence.origin]
    bases = [_stages(origin) for origin in origins]
    first = next((stage for stage in bases[0] if stage != "upscale"), None)
    if first is None:
        raise ConfigError("the rated pictures were only enlarged; name those that were drawn"
                          " with --where")  # fmt: skip
    base, own = _parted(bases)
    if evidence.model:
        base[first][MODEL] = evidence.model
    own_prompts = any(
        any(each.loras.values()) or any(name.startswith(LORA) for name in each.setting)
        or list(each.prompts) != list(wanted[0].prompts)
        for each in wanted
    )  # fmt: skip
    listed: list[dict[str, Any]] = []
    stages_of: list[Mapping[str, Mapping[str, Any]]] = []
    for each, stages, differing in zip(wanted, bases, own, strict=False):
        knobs = differing | {
            f"{_stage_of(name, stages)}.{name}": value
            for name, value in each.setting.items()
            if not name.startswith(LORA)
        }
        texts = [_with_loras(text, each.loras) for text in each.prompts] if own_prompts else ()
        entries = [{f"{first}.prompt": text, **knobs} for text in texts] or [knobs]
        listed += entries
        stages_of += [stages] * len(entries)
    if not own_prompts:
        shared = list(wanted[0].prompts) if wanted else prompts_of(evidence)
        base[first]["prompt"] = shared if len(shared) > 1 else shared[0]
    for stage, _, name in (path.partition(".") for path in _filled(listed, stages_of)):
        base[stage].pop(name, None)
    base[first]["seed"] = evidence.seed
    engine = engine_of(origins[0].backend)
    config: dict[str, Any] = {**({} if engine is None else {"backend": engine}), **more, **base}
    if len(listed) == 1:
        for path, value in listed[0].items():
            stage, _, name = path.partition(".")
            base[stage][name] = value
    config["randomizer"] = {"mode": "fanout", "templates": False, "seeds_per_variant": seeds}
    if len(listed) > 1:
        config["randomizer"]["settings"] = listed
    PipelineConfig.from_mapping(config)
    return config


def _stages(origin: Origin) -> dict[str, dict[str, Any]]:
    """Return the stages of *origin*, as they may be changed, without prompts."""
    stages = {
        stage: {name: value for name, value in knobs.items() if name != "prompt"}
        for stage, knobs in origin.base.items()
    }
    return stages or {"txt2img": {}}


def _parted(
    bases: Sequence[dict[str, dict[str, Any]]],
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Return what all *bases* agree in, and of each the rest: ``stage.knob`` -> value."""
    shared = {
        stage: {
            name: value
            for name, value in knobs.items()
            if all(name in base[stage] and base[stage][name] == value for base in bases)
        }
        for stage, knobs in bases[0].items()
    }
    rest = [
        {
            f"{stage}.{name}": value
            for stage, knobs in base.items()
            for name, value in knobs.items()
            if name not in shared[stage]
        }
        for base in bases
    ]
    return shared, rest


def _filled(
    listed: Sequence[dict[str, Any]], stages_of: Sequence[Mapping[str, Mapping[str, Any]]]
) -> set[str]:
    """Fill into each of *listed* what others state and it does not; return all that is stated."""
    varied = {path for entry in listed for path in entry}
    for entry, stages in zip(listed, stages_of, strict=True):
        for path in sorted(varied - entry.keys()):
            stage, _, name = path.partition(".")
            if name in stages[stage]:
                entry[path] = stages[stage][name]
    return varied


def _shape(origin: Origin) -> str:
    """Return what settings of one config have in common."""
    extras = {stage: knobs.get("extra") for stage, knobs in origin.base.items()}
    return json.dumps([engine_of(origin.backend) or origin.backend, extras], default=str)


def _shape_of_most(evidence: Evidence, settings: Sequence[Mapping[str, Any]]) -> str:
    shapes = Counter(_shape(evidence.origin_of(setting)) for setting in settings)
    return shapes.most_common(1)[0][0] if shapes else _shape(evidence.origin)


def _with_loras(prompt: str, weights: Mapping[str, Any]) -> str:
    for name, weight in weights.items():
        prompt = with_lora(prompt, name[len(LORA) :], weight)
    return prompt


def _stage_of(name: str, base: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the stage that decides *name*: the last one that states it, else the first it has.

    A model is that of the first stage that draws.
    """
    if name == MODEL:
        return next(stage for stage in base if stage != "upscale")
    stating = [stage for stage, knobs in base.items() if name in knobs]
    if stating:
        return stating[-1]
    knob = KNOBS.get(name)
    having = [stage for stage in base if knob is not None and stage in knob.stages]
    return having[0] if having else next(iter(base))
