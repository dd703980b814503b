"""Base config and seed in, plan out: which variants of a config there are, without listing them."""

from __future__ import annotations

from safelight.randomizer.plan import (
    Axis,
    RandomizerPlanResult,
    Variant,
    repeated_variants,
)
from safelight.randomizer.planner import plan_variants

__all__ = [
    "Axis",
    "RandomizerPlanResult",
    "Variant",
    "plan_variants",
    "repeated_variants",
]
