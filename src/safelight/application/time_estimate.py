"""time_estimate: how long a plan takes, told by what the same engine took before.

A picture's seconds are a fixed part and a part that grows with its steps and pixels. The line is
fitted to what was recorded; where all of that had the same steps and size, nothing tells the fixed
part, and all of it is taken to grow.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from safelight.archive import Archive
from safelight.config import PipelineConfig
from safelight.filter_tokens import quoted
from safelight.randomizer import RandomizerPlanResult

__all__ = ["TimeEstimate", "estimate_time"]

_RECENT, _FEW, _LOOKED_AT = 400, 5, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeEstimate:
    """How long a plan will take.

    Attributes:
        seconds: All of it; None when nothing tells.
        told_by: How many pictures tell it.
    """

    seconds: float | None
    told_by: int


@dataclass(frozen=True, slots=True)
class _Usual:
    steps: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Line:
    fixed: float
    per_work: float


def estimate_time(
    archive: Archive, config: PipelineConfig, plan: RandomizerPlanResult
) -> TimeEstimate:
    """Return how long *plan* takes on the engine of *config*.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    rows = archive.query(
        f"backend = {quoted(config.backend.name)} and seconds > 0",
        columns=["stage", "seconds", "steps", "width", "height", "model"],
        limit=_RECENT,
    ).rows
    lines: dict[str, _Line] = {}
    usual: dict[str, _Usual] = {}
    told_by = 0
    for stage, knobs in config.stages.items():
        own = [row for row in rows if row[0] == stage]
        same = [row for row in own if row[5] == knobs.get("model")]
        own = same if len(same) >= _FEW else own
        if not own:
            return TimeEstimate(seconds=None, told_by=0)
        told_by += len(own)
        # What a config leaves to the engine is what that took before.
        usual[stage] = _Usual(
            *(median([v for row in own if _is_one(v := row[at])] or [1]) for at in (2, 3, 4))
        )
        lines[stage] = _line([(_work(stage, usual[stage], s, w, h), t) for _, t, s, w, h, _ in own])
    looked_at = list(itertools.islice(plan.variants, _LOOKED_AT))
    if not looked_at:
        return TimeEstimate(seconds=None, told_by=0)
    each = [
        sum(
            lines[stage].fixed + lines[stage].per_work * _work_of(stage, usual[stage], knobs)
            for stage, knobs in variant.config.items()
            if stage in lines
        )
        for variant in looked_at
    ]
    return TimeEstimate(seconds=sum(each) / len(each) * plan.plan_size, told_by=told_by)


def _work_of(stage: str, usual: _Usual, knobs: Mapping[str, Any]) -> float:
    return _work(stage, usual, knobs.get("steps"), knobs.get("width"), knobs.get("height"))


def _work(stage: str, usual: _Usual, steps: object, width: object, height: object) -> float:
    if stage == "upscale":
        return 1.0
    sides = _number(width, usual.width) * _number(height, usual.height)
    return _number(steps, usual.steps) * sides / 1e6


def _is_one(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _number(value: object, usual: float) -> float:
    return float(value) if isinstance(value, (int, float)) and _is_one(value) else usual


def _line(told: Sequence[tuple[float, float]]) -> _Line:
    """Return the line through the medians of what has the least and the most work.

    Medians, because the first picture of a model waits for its weights.
    """
    works = sorted({work for work, _ in told})
    middle = works[len(works) // 2]
    low = [pair for pair in told if pair[0] < middle] or [p for p in told if p[0] == works[0]]
    high = [pair for pair in told if pair[0] >= middle]
    (x0, y0), (x1, y1) = (
        (median(w for w, _ in part), median(s for _, s in part)) for part in (low, high)
    )
    whole = median(seconds / work for work, seconds in told)
    if x1 <= x0 or y1 <= y0:
        return _Line(0.0, whole)
    slope = (y1 - y0) / (x1 - x0)
    fixed = y0 - slope * x0
    return _Line(fixed, slope) if fixed >= 0 else _Line(0.0, whole)
