"""Sub-sweeps: small sweeps of one plan that come one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from randomizer.small_plans import labels_of, plan_of
from safelight.backends.fake import FakeBackend
from safelight.config import PipelineConfig
from safelight.config_schema import config_schema
from safelight.errors import ConfigError, PlanError
from safelight.pipeline.engine_choices import refuse_unknown_choices
from safelight.randomizer import Axis, plan_variants
from safelight.randomizer.short_labels import ShortLabels

TWO = [
    {"txt2img.steps": "10-30 (+10)", "txt2img.eta": [0, 1]},
    {"txt2img": {"cfg_scale": [3, 7]}},
]
KNOBS = {
    "txt2img.steps": st.sampled_from(["1-3", [4, 9], [5]]),
    "txt2img.cfg_scale": st.sampled_from([[1, 7.5], "2-4", [3]]),
    "txt2img.eta": st.sampled_from([[0], [0, 1]]),
    "txt2img.extra.clip": st.sampled_from([["a"], ["a", "b"]]),
    "lora.ink": st.sampled_from([[0.5], [0, 1]]),
}
tables = st.lists(
    st.fixed_dictionaries({}, optional=KNOBS).filter(bool), min_size=1, max_size=3
)  # fmt: skip


@given(tables)
def test_sub_sweeps_come_one_after_the_other(listed: list[dict[str, Any]]) -> None:
    """Each is what a plan with that sweep alone is, and combines with all else."""
    plan = plan_of(["{a|b} x", "c"], sub_sweeps=listed, knobs={"steps": 20})
    alone = [
        variant
        for prompt in ("a x", "b x", "c")
        for table in listed
        for variant in plan_of(prompt, sweep=table, knobs={"steps": 20}).variants
    ]
    assert plan.plan_size == len(alone)
    assert [variant.config for variant in plan.variants] == [variant.config for variant in alone]
    for variant, other in zip(plan.variants, alone, strict=True):
        assert other.choices.items() <= variant.choices.items()
        assert (other.label or "") == (variant.label or "")[-len(other.label or "") or None :]


def test_a_knob_of_no_sub_sweep_keeps_what_is_stated() -> None:
    """So two series around one setting are one plan."""
    plan = plan_of("a", sub_sweeps=TWO, knobs={"steps": 5, "cfg_scale": 2})
    assert labels_of(plan) == [
        "steps=10; eta=0", "steps=10; eta=1", "steps=20; eta=0", "steps=20; eta=1",
        "steps=30; eta=0", "steps=30; eta=1", "cfg_scale=3", "cfg_scale=7",
    ]  # fmt: skip
    drawn = [variant.config["txt2img"] for variant in plan.variants]
    assert [(d["steps"], d["cfg_scale"], d.get("eta")) for d in drawn[5:]] == [
        (30, 2, 1), (5, 3, None), (5, 7, None)
    ]  # fmt: skip
    short = ShortLabels([variant.choices for variant in plan.variants])
    assert (short.of(4), short.of(7)) == ("steps 30 · eta 0", "cfg 7")


def test_a_knob_of_several_sub_sweeps_is_one_axis() -> None:
    """Its values are those that it has in any of them."""
    plan = plan_of("a", sub_sweeps=[{"txt2img.steps": [1, 2]}, {"txt2img.steps": "2-4"}])
    assert plan.axes == (Axis(name="txt2img.steps", size=4, values=(1, 2, 3, 4)),)
    assert plan.plan_size == 5


def test_sub_sweeps_of_any_size_are_counted_at_once() -> None:
    """Nothing is listed."""
    listed = [{"txt2img.seed": "1-1000000000", "txt2img.steps": "1-1000"}, {"txt2img.seed": "1-9"}]
    plan = plan_of("a", sub_sweeps=[*listed, {"txt2img.extra.n": list(range(10))}])
    assert plan.plan_size == 10**12 + 19
    assert plan.variants[10**12 + 3].choices == {"txt2img.seed": 4}


def test_a_sub_sweep_without_a_seed_has_that_of_the_config() -> None:
    """The seed that another one sweeps is its own."""
    listed = [{"txt2img.seed": [7, 8]}, {"txt2img.steps": [3]}]
    plan = plan_of("a", sub_sweeps=listed, seeds_per_variant=2)
    assert [v.config["txt2img"]["seed"] for v in plan.variants] == [7, 8, 1]
    assert plan.warnings == ("txt2img.seed is swept, so randomizer.seeds_per_variant is not used",)


def test_batches_of_a_sub_sweep_take_seeds_in_a_row_as_well() -> None:
    """So none is drawn twice."""
    listed: list[dict[str, Any]] = [{"txt2img.batch_size": [2, 4]}, {"txt2img.steps": [3]}]
    plan = plan_of("a", sub_sweeps=listed, seeds_per_variant=2)
    assert [v.config["txt2img"]["seed"] for v in plan.variants] == [1, 5] * 3
    with pytest.raises(PlanError, match="put swept seeds at least 4 apart"):
        plan_of("a", sub_sweeps=[{"txt2img.seed": [7, 8]}, listed[0]])


def test_in_random_mode_each_is_drawn_as_often_and_all_come() -> None:
    """A short sub-sweep is a choice like a long one."""
    options: dict[str, Any] = {
        "mode": "random",
        "sub_sweeps": [{"txt2img.steps": "1-20"}, {"txt2img.eta": [1]}],
    }
    plan = plan_of("a", draws=21, **options)
    assert len({variant.label for variant in plan.variants}) == 21
    first = [plan_of("a", seed=s, draws=1, **options).variants[0].label for s in range(200)]
    assert 60 < first.count("eta=1") < 140


def test_in_sequential_mode_they_step_in_turn() -> None:
    """One after the other, every value of each; the knobs of one together, as in sweeps."""
    plan = plan_of("a", mode="sequential", sub_sweeps=TWO, sweep={"txt2img.width": [64, 72]})
    assert [label.partition("; ")[2] for label in map(str, labels_of(plan))] == [
        "steps=10; eta=0", "steps=20; eta=1", "steps=30; eta=0", "cfg_scale=3", "cfg_scale=7"
    ]  # fmt: skip
    widths = [variant.config["txt2img"]["width"] for variant in plan.variants]
    assert widths == [64, 72, 64, 72, 64]


def test_the_number_of_knobs_is_bounded() -> None:
    """Of all sub-sweeps together; LoRAs are counted where they come together."""
    one_each = [{f"lora.l{n}": [0.5]} for n in range(300)]
    assert plan_of("a", sub_sweeps=one_each).plan_size == 300
    with pytest.raises(PlanError, match="at most 100 LoRAs can be swept, got 101"):
        plan_of("a", sub_sweeps=[{f"lora.l{n}": [0.5] for n in range(101)}])
    with pytest.raises(PlanError, match="at most 1,000 knobs can be swept, got 1,0"):
        plan_of("a", sub_sweeps=[{f"txt2img.extra.l{n}": [5]} for n in range(1001)])


WRONG: list[tuple[Any, str]] = [
    ({}, "must be a list of tables"),
    ([3], r"randomizer.sub_sweeps\[0\]: must be a table"),
    ([{}], "at least one stage.knob, got an empty table"),
    ([{"steps": [3]}], "must be named"),
    ([{"txt2img.stpes": [3]}], "did you mean 'steps'"),
    ([{"txt2img.steps": [3]}, {"txt2img.steps": [0]}], r"sub_sweeps\[1\].txt2img.steps: every"),
    ([{"txt2img.steps": 3}], "got 3"),
    ([{"upscale.scale": [2.0]}], "which does not run"),
    ([{"txt2img.prompt": ["x"]}], "in a sub-sweep, and stated in txt2img, too"),
    ([{"txt2img.hires_steps": [4]}, {"txt2img.hires_scale": [2]}],
     "hires_steps: has no effect without txt2img.hires_scale"),
    ([{"upscale.init_image": ["a.png"]}], "which does not run"),
]  # fmt: skip


@pytest.mark.parametrize(("listed", "message"), WRONG)
def test_a_sub_sweep_that_breaks_a_rule_is_told_with_its_place(listed: Any, message: str) -> None:
    """The schema refuses it, too, but for what one sub-sweep lacks and another has."""
    data = {"txt2img": {"prompt": "a"}, "randomizer": {"sub_sweeps": listed}}
    with pytest.raises(ConfigError, match=message):
        PipelineConfig.from_mapping(data)
    if "hires" not in message:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data, config_schema())


@pytest.mark.parametrize("beside", [{"sweep": {"lora.ink": [1]}}, {"settings": [{"lora.ink": 1}]}])
def test_a_knob_is_in_a_sub_sweep_or_beside_them(beside: dict[str, Any]) -> None:
    """One of the two would win without a word."""
    options = {**beside, "sub_sweeps": [{"txt2img.lora.ink": [0.5]}]}
    with pytest.raises(ConfigError, match="randomizer.settings as 'lora.ink', too; leave one"):
        plan_of("a", **options)


def test_what_stands_beside_sub_sweeps_has_a_meaning_where_one_gives_it_one() -> None:
    data = {
        "txt2img": {"hires_steps": 4},
        "randomizer": {"sub_sweeps": [{"txt2img.hires_scale": [2]}, {"txt2img.eta": [0]}]},
    }
    PipelineConfig.from_mapping(data)
    jsonschema.validate(data, config_schema())


def test_the_first_stage_has_a_picture_in_every_sub_sweep(tmp_path: Path) -> None:
    """And the pictures that they name are there."""
    one, both = [{"img2img.init_image": ["a.png"]}, {"img2img.steps": [3]}], ["a.png", "b.png"]
    with pytest.raises(ConfigError, match="image file to start from; some sub-sweep has none"):
        PipelineConfig.from_mapping({"img2img": {}, "randomizer": {"sub_sweeps": one}})
    listed = [{"img2img.init_image": [each]} for each in both]
    config = PipelineConfig.from_mapping(
        {"img2img": {}, "randomizer": {"sub_sweeps": listed}}, folder=tmp_path
    )
    assert plan_variants(config).plan_size == 2
    (tmp_path / "a.png").touch()
    assert [fault.path for fault in config.missing_pictures()] == [
        "randomizer.sub_sweeps[1].img2img.init_image"
    ]


def test_the_engine_is_asked_about_what_is_stated_and_what_is_swept() -> None:
    """Of a knob that only some sub-sweeps vary, both are drawn."""
    stage = {"prompt": "a", "sampler": "Nope"}
    listed = [{"txt2img.sampler": ["Heun", "Never"]}, {"txt2img.steps": [1]}]
    config = PipelineConfig.from_mapping({"txt2img": stage, "randomizer": {"sub_sweeps": listed}})
    with pytest.raises(ConfigError) as caught:
        refuse_unknown_choices(FakeBackend(), config, plan_variants(config))
    assert [fault.message.split("'")[1] for fault in caught.value.faults] == ["Nope", "Never"]


def test_in_mode_off_they_are_not_used() -> None:
    """Which is told."""
    (warning,) = plan_of("a", mode="off", sub_sweeps=TWO).warnings
    assert "its sources were not used" in warning


def test_a_prompt_that_would_be_worked_on_elsewhere_is_told() -> None:
    """A template in a sub-sweep is drawn as it is written."""
    listed = [{"txt2img.steps": [3]}, {"txt2img.prompt": ["a", "a {x|y}"]}]
    data = {"txt2img": {"seed": 1}, "randomizer": {"sub_sweeps": listed}}
    plan = plan_variants(PipelineConfig.from_mapping(data))
    assert plan.variants[2].config["txt2img"]["prompt"] == "a {x|y}"
    (warning,) = plan.warnings
    assert warning.startswith("randomizer.sub_sweeps[1]: txt2img.prompt is taken as it is")
