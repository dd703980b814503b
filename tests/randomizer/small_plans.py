"""Plans of one-prompt configs, short to write in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safelight.config import PipelineConfig
from safelight.randomizer import RandomizerPlanResult, plan_variants

DATA = Path(__file__).parents[1] / "data" / "randomizer"
WILDCARDS = "wildcards"


def plan_of(
    prompt: str | list[str], seed: int = 0, knobs: dict[str, Any] | None = None, **options: Any
) -> RandomizerPlanResult:
    """Return the plan of a txt2img config with seed 1; *options* go under ``randomizer``."""
    stage = {"prompt": prompt, "seed": 1, **(knobs or {})}
    config = {"txt2img": stage, "randomizer": {"mode": "fanout", **options}}
    return plan_variants(PipelineConfig.from_mapping(config, folder=DATA), seed)


def prompts_of(plan: RandomizerPlanResult, most: int | None = None) -> list[str]:
    """Return the prompts of the plan's variants, or of the first *most* of them."""
    return [variant.config["txt2img"]["prompt"] for variant in plan.variants[:most]]


def labels_of(plan: RandomizerPlanResult) -> list[str | None]:
    """Return the labels of the plan's variants."""
    return [variant.label for variant in plan.variants]
