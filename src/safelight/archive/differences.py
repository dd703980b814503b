"""differences: what was not the same in two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from safelight.learning.learning_record import LearningRecord
from safelight.varied_names import dotted

__all__ = ["Difference", "differences", "environment_changes"]

_MISSING = "(not there)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that was not the same.

    Attributes:
        what: ``txt2img.steps``, ``backend.version``, ``environment.torch``, ...
        first: Its value in the first run.
        second: Its value in the second.
    """

    what: str
    first: Any
    second: Any


def differences(first: LearningRecord, second: LearningRecord) -> tuple[Difference, ...]:
    """Return what differs between two runs: knobs first, then engine and environment.

    Runs of one variant are compared by what was really used, others by what was asked for:
    what their plans varied differs within each of them, too.
    """
    alone = len(first.variant_configs) == len(second.variant_configs) == 1
    knobs = [
        dict(dotted(r.variant_configs[0] if alone else r.base_config)) for r in (first, second)
    ]
    differing = [*_between(knobs[0], knobs[1])]
    if not alone:
        plans = [
            {"mode": r.randomizer_mode, "plan_size": r.randomizer_plan_size, "seed": r.plan_seed}
            for r in (first, second)
        ]
        if _same_draws(first, second, {difference.what for difference in differing}):
            for plan in plans:
                del plan["seed"]
        differing += _between(dict(dotted(plans[0], "plan.")), dict(dotted(plans[1], "plan.")))
    for name in ("backend", "environment"):
        mine, other = (dict(dotted(getattr(r, name), f"{name}.")) for r in (first, second))
        differing += _between(mine, other)
    return tuple(differing)


def _same_draws(first: LearningRecord, second: LearningRecord, passed_over: set[str]) -> bool:
    """Return whether chance gave both runs the same variants: then its seed is no difference."""
    drawn = [
        [
            {what: value for what, value in dotted(config) if what not in passed_over}
            for config in record.variant_configs
        ]
        for record in (first, second)
    ]
    return drawn[0] == drawn[1]


def environment_changes(
    record: LearningRecord, backend: Mapping[str, Any], environment: Mapping[str, Any]
) -> tuple[Difference, ...]:
    """Return what has changed since *record* in what changes pixels besides the knobs.

    Args:
        record: The run.
        backend: Name and version of the engine now.
        environment: What it says of itself now; what it does not say is not compared.
    """
    before = {**_prefixed(record.backend, "backend."), **_prefixed(record.environment, "")}
    now = {**_prefixed(backend, "backend."), **_prefixed(environment, "")}
    shared = {name: value for name, value in before.items() if name in now}
    return tuple(_between(shared, {name: now[name] for name in shared}))


def _prefixed(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in values.items()}


def _between(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*first, *second]):
        value, other = first.get(name, _MISSING), second.get(name, _MISSING)
        if value != other:
            yield Difference(what=name, first=value, second=other)
