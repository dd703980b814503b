"""A learning plan varies what it names and nothing else, and ties each value to its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.errors import ConfigError
from safelight.learning import (
    LearningOutcome,
    LearningPlan,
    LearningRecord,
    LearningRunner,
    LearningVariable,
)
from safelight.pipeline import PipelineRunner

BASE: dict[str, Any] = {
    "txt2img": {"prompt": "a {cat} in a hat", "steps": 2, "width": 64, "height": 64}
}


def recording_runner() -> PipelineRunner:
    return PipelineRunner(FakeBackend(), on_learning_record=lambda record: None)


def test_each_value_is_tied_to_its_record_and_its_images() -> None:
    """Three values, two pictures each, the same two seeds for every value."""
    plan = LearningPlan.single(
        BASE,
        stage="txt2img",
        variable="cfg_scale",
        values=[3, 7, 11.5],
        images_per_value=2,
        first_seed=100,
    )
    result = LearningRunner(recording_runner().run).run(plan)
    assert [outcome.setting for outcome in result.outcomes] == [
        {"txt2img.cfg_scale": 3},
        {"txt2img.cfg_scale": 7},
        {"txt2img.cfg_scale": 11.5},
    ]
    for outcome in result.outcomes:
        assert outcome.record is not None
        wanted = outcome.setting["txt2img.cfg_scale"]
        assert [v["txt2img"]["cfg_scale"] for v in outcome.record.variant_configs] == [wanted] * 2
        assert [image.seed for image in outcome.images] == [100, 101]
        prompts = {v["txt2img"]["prompt"] for v in outcome.record.variant_configs}
        assert prompts == {"a {cat} in a hat"}
    assert result.of(cfg_scale=7) == (result.outcomes[1],)


def test_several_variables_make_every_combination() -> None:
    """The first variable is the outermost loop."""
    plan = LearningPlan(
        base_config=BASE,
        variables=(
            LearningVariable(stage="txt2img", name="steps", values=(1, 2)),
            LearningVariable(stage="txt2img", name="sampler", values=("Euler", "Heun")),
        ),
    )
    assert plan.size == 4
    result = LearningRunner(recording_runner().run).run(plan)
    assert [tuple(outcome.setting.values()) for outcome in result.outcomes] == [
        (1, "Euler"), (1, "Heun"), (2, "Euler"), (2, "Heun"),
    ]  # fmt: skip
    assert len(result.of(steps=1)) == 2


def test_a_base_with_a_randomizer_is_varied_as_a_whole() -> None:
    """Every value then sees the same variants of the base."""
    base = {
        "txt2img": {**BASE["txt2img"], "prompt": "a {cat|dog}"},
        "randomizer": {"mode": "fanout"},
    }
    plan = LearningPlan.single(
        base, stage="txt2img", variable="steps", values=[1, 2], images_per_value=2
    )
    result = LearningRunner(recording_runner().run).run(plan)
    assert [len(outcome.images) for outcome in result.outcomes] == [4, 4]
    assert "seeds_per_variant" not in base["randomizer"]


def test_every_fault_of_a_plan_is_reported() -> None:
    """As with configs: all at once, with near names."""
    with pytest.raises(ConfigError) as caught:
        LearningPlan(
            base_config=BASE,
            variables=(
                LearningVariable(stage="txt2img", name="stpes", values=(1,)),
                LearningVariable(stage="txt2img", name="cfg_scale", values=(1, "seven")),
                LearningVariable(stage="txt2mig", name="steps", values=(1,)),  # type: ignore[arg-type]
                LearningVariable(stage="upscale", name="scale", values=()),
            ),
            images_per_value=0,
        )
    assert [fault.path for fault in caught.value.faults] == [
        "images_per_value", "txt2img.stpes", "txt2img.cfg_scale", "txt2mig.steps", "upscale.scale",
    ]  # fmt: skip
    assert "did you mean 'steps'?" in str(caught.value)


def test_a_combination_that_cannot_run_is_noted_and_the_others_go_on() -> None:
    """A night's plan does not end at its first bad value."""
    told: list[tuple[LearningOutcome, int, int]] = []
    runner = LearningRunner(
        recording_runner().run, on_outcome=lambda *arguments: told.append(arguments)
    )
    plan = LearningPlan.single(BASE, stage="txt2img", variable="sampler", values=["Nope", "Heun"])
    result = runner.run(plan)
    assert "does not know 'Nope'" in (result.outcomes[0].error or "")
    assert result.outcomes[0].images == ()
    assert len(result.outcomes[1].images) == 1
    assert [(done, of) for _, done, of in told] == [(1, 2), (2, 2)]


@dataclass(frozen=True)
class _Result:
    learning_record: LearningRecord | None


def test_a_cancelled_run_ends_the_plan() -> None:
    """Stop means stop, and what was learned so far is returned."""

    def run(config: Mapping[str, Any]) -> _Result:
        return _Result(LearningRecord.from_pipeline_context(config, [], status="cancelled"))

    plan = LearningPlan.single(BASE, stage="txt2img", variable="steps", values=[1, 2, 3])
    assert len(LearningRunner(run).run(plan).outcomes) == 1
