"""A run is drawn again as one run, by one config that says all of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from safelight.application.replaying import replays
from safelight.config import PipelineConfig
from safelight.learning import LearningRecord
from safelight.randomizer import plan_variants

_TXT2IMG = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["a {b|c} # d", "x", "[[s]]"]), "seed": st.integers(0, 3)},
    optional={
        "steps": st.integers(1, 3), "negative_prompt": st.sampled_from(["", "{low}"]),
        "batch_size": st.sampled_from([1, 2]), "sampler": st.sampled_from(["Euler", "Heun"]),
        "extra": st.fixed_dictionaries({"tiling": st.booleans()}),
    },
)  # fmt: skip
_UPSCALE = st.fixed_dictionaries({"scale": st.sampled_from([2, 4])})


@given(st.lists(
    st.fixed_dictionaries({"txt2img": _TXT2IMG}, optional={"upscale": _UPSCALE}),
    min_size=1, max_size=8,
))  # fmt: skip
def test_the_config_asks_for_what_each_variant_used(variants: list[dict[str, Any]]) -> None:
    record = LearningRecord.from_pipeline_context(variants[0], variants)
    asked: dict[int, dict[str, Any]] = {}
    for config, places in replays(record):
        plan = plan_variants(PipelineConfig.as_stated(config))
        assert plan.plan_size == len(places)
        asked |= {
            place: {stage: dict(knobs) for stage, knobs in variant.config.items()}
            for place, variant in zip(places, plan.variants, strict=True)
        }
    used = [record.variant_configs[place] for place in asked]
    assert list(asked.values()) == used
    assert all(variant in used for variant in record.variant_configs)
