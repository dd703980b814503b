"""No seed is drawn twice, however batches and several seeds come together."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.config import PipelineConfig
from safelight.errors import PlanError
from safelight.randomizer import plan_variants, repeated_variants


def plan(randomizer: dict[str, Any], **knobs: Any) -> Any:
    config = {
        "txt2img": {"prompt": "a", "seed": 5, **knobs},
        "randomizer": {"mode": "fanout", **randomizer},
    }
    return plan_variants(PipelineConfig.from_mapping(config), 1)


def seeds_of(variant: Any) -> range:
    knobs = variant.config["txt2img"]
    return range(knobs["seed"], knobs["seed"] + knobs.get("batch_size", 1))


def test_a_batch_takes_its_seeds_and_the_next_begins_after_it() -> None:
    """Three batches of three are nine pictures, not five."""
    made = plan({"seeds_per_variant": 3}, batch_size=3)
    assert [list(seeds_of(v)) for v in made.variants] == [[5, 6, 7], [8, 9, 10], [11, 12, 13]]
    (axis,) = made.axes
    assert list(axis.values) == [5, 8, 11]
    assert [v.label for v in made.variants] == ["seed=5", "seed=8", "seed=11"]


@given(
    each=st.integers(1, 5), batch=st.integers(1, 6), steps=st.integers(1, 4),
    policy=st.sampled_from(["per_iteration", "per_prompt"]),
    batches=st.lists(st.integers(1, 6), max_size=3, unique=True),
)  # fmt: skip
def test_no_setting_meets_a_seed_twice(
    each: int, batch: int, steps: int, policy: str, batches: list[int]
) -> None:
    """Equal in everything but the place in its batch is equal."""
    sweep: dict[str, Any] = {"txt2img.steps": list(range(1, steps + 1))}
    if batches:
        sweep["txt2img.batch_size"] = batches
    made = plan(
        {"seeds_per_variant": each, "seed_policy": policy, "sweep": sweep}, batch_size=batch
    )
    drawn = [
        (variant.config["txt2img"]["steps"], variant.config["txt2img"]["batch_size"], seed)
        for variant in made.variants
        for seed in seeds_of(variant)
    ]
    assert len(set(drawn)) == len(drawn)
    if policy == "per_prompt":
        seeds = list(chain.from_iterable(map(seeds_of, made.variants)))
        assert len(set(seeds)) == len(seeds), "each combination has seeds of its own"
    elif not batches:
        by_steps: dict[int, list[int]] = {}
        for variant in made.variants:
            knobs = variant.config["txt2img"]
            by_steps.setdefault(knobs["steps"], []).append(knobs["seed"])
        assert len({tuple(seeds) for seeds in by_steps.values()}) == 1, "compared on the same seeds"


def test_swept_seeds_that_batches_would_draw_twice_are_refused() -> None:
    """With how far apart they must be."""
    with pytest.raises(PlanError, match=r"over 5 and 6, .*batch_size is 3: .*at least 3 apart"):
        plan({"sweep": {"txt2img.seed": [9, 5, 6]}}, batch_size=3)
    made = plan({"sweep": {"txt2img.seed": [5, 8, 11]}}, batch_size=3)
    assert made.plan_size == 3
    assert plan({"sweep": {"txt2img.seed": [5, 6]}}).plan_size == 2


def test_equal_variants_are_told_beforehand() -> None:
    """Two ways to the same prompt are one picture."""
    rules = {"prompt_sr": {"rules": ["cat => cat | dog | bird", "dog => dog | cat | bird"]}}
    made = plan(rules, prompt="a cat and a dog")
    repeats = repeated_variants(made)
    different = {str(v.config) for v in made.variants}
    repeated = made.plan_size - len(different)
    assert repeated > 1
    assert repeats == (
        f"{repeated} of {made.plan_size} variants are equal to earlier ones: each is drawn once"
    )
    assert repeated_variants(made, most=made.plan_size - 1) is None
    assert repeated_variants(plan({"seeds_per_variant": 4})) is None
