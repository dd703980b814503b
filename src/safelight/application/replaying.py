"""replaying: a run again, with what was really used, as one run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from safelight.application.configs_again import replayable
from safelight.learning.learning_record import LearningRecord
from safelight.varied_names import dotted

__all__ = ["Replay", "replays"]

_TOGETHER = 250
"""Variants of one run, so that its config stays readable."""

_MOST_KNOBS = 900
"""Knobs of all sub-sweeps of one run; a plan takes 1,000."""

Replay = tuple[Mapping[str, Any], Sequence[int]]
"""A config, and for each of its variants which of the record's it draws again."""


def replays(record: LearningRecord) -> Iterator[Replay]:
    """Yield the configs that draw *record* again: one, but for very many variants.

    What all variants have in common is stated; the rest are sub-sweeps of one value each. Variants
    that used the same are drawn once. Prompts stand as they were drawn.
    """
    groups: dict[tuple[str, ...], dict[str, int]] = {}
    for place, used in enumerate(record.variant_configs):
        stages = {k: v for k, v in replayable(used).items() if k != "randomizer"}
        text = json.dumps(stages, sort_keys=True, default=str)
        groups.setdefault(tuple(stages), {}).setdefault(text, place)
    for different in groups.values():
        places, size = list(different.values()), _TOGETHER
        while places:
            some = places[:size]
            config = _config([replayable(record.variant_configs[place]) for place in some])
            tables = config["randomizer"].get("sub_sweeps", ())
            if len(some) > 1 and sum(map(len, tables)) > _MOST_KNOBS:
                size = max(size // 2, 1)
                continue
            yield config, some
            places = places[len(some) :]


def _config(variants: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    stages = [name for name in variants[0] if name != "randomizer"]
    if len(variants) == 1:
        return {**variants[0]}
    flat = [
        {name: value for stage in stages for name, value in dotted(one[stage], f"{stage}.")}
        for one in variants
    ]
    first = flat[0]
    common = {
        name for name in first if all(one.get(name) == first[name] and name in one for one in flat)
    }
    if any(one.keys() == common for one in flat):  # each sub-sweep has one knob at least
        common -= {min(common, key=lambda name: (name.endswith("prompt"), name))}
    config: dict[str, Any] = {stage: {} for stage in stages}
    for name in common:
        stage, *path, knob = name.split(".")
        table = config[stage]
        for step in path:
            table = table.setdefault(step, {})
        table[knob] = first[name]
    tables = [{k: [v] for k, v in one.items() if k not in common} for one in flat]
    return {
        **config,
        "randomizer": {"mode": "fanout", "templates": False, "sub_sweeps": tables},
    }
