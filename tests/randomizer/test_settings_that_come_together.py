"""Settings: knob values that come together, as one source of variants."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from randomizer.small_plans import plan_of
from safelight.config import PipelineConfig
from safelight.config_schema import config_schema
from safelight.errors import ConfigError
from safelight.randomizer import plan_variants

TWO = [
    {"txt2img.steps": 8, "txt2img.sampler": "Heun"},
    {"txt2img.steps": 8, "txt2img.sampler": "Euler"},
]


def config(settings: Any, **txt2img: Any) -> dict[str, Any]:
    return {
        "txt2img": {"seed": 3, **txt2img},
        "randomizer": {"settings": settings, "seeds_per_variant": 2, "seed": 1},
    }


def test_settings_multiply_with_prompts_and_seeds_but_not_with_each_other() -> None:
    """Equal values in one knob do not fall together, as they would in a sweep."""
    plan = plan_variants(PipelineConfig.from_mapping(config(TWO, prompt=["a", "b"])))
    assert plan.plan_size == 8
    assert plan.warnings == ()
    drawn = [v.config["txt2img"] for v in plan.variants]
    assert [(d["prompt"], d["sampler"], d["seed"]) for d in drawn[:4]] == [
        ("a", "Heun", 3), ("a", "Heun", 4), ("a", "Euler", 3), ("a", "Euler", 4)
    ]  # fmt: skip
    assert all(d["steps"] == 8 for d in drawn)
    assert plan.variants[0].label == "prompt=a; steps=8; sampler=Heun; seed=3"
    assert plan.variants[0].choices["txt2img.sampler"] == "Heun"
    (axis,) = (axis for axis in plan.axes if axis.name == "settings")
    assert axis.values == ("steps=8, sampler=Heun", "steps=8, sampler=Euler")


def test_a_setting_may_leave_a_knob_as_it_is() -> None:
    """What it does not name is the base's."""
    settings = [{"txt2img.steps": 9}, {"txt2img.cfg_scale": 2.0}]
    plan = plan_variants(PipelineConfig.from_mapping(config(settings, steps=5, prompt="a")))
    drawn = [v.config["txt2img"] for v in plan.variants]
    assert [(d["steps"], d.get("cfg_scale")) for d in drawn[::2]] == [(9, None), (5, 2.0)]


def test_a_prompt_may_be_part_of_a_setting_where_its_stage_states_none() -> None:
    """So a LoRA's weight can come together with other knobs; it is taken as it is."""
    settings = [{"txt2img.prompt": "a {fox} <lora:ink:0.5>", "txt2img.steps": 9}]
    plan = plan_variants(PipelineConfig.from_mapping(config(settings)))
    assert plan.variants[0].config["txt2img"]["prompt"] == "a {fox} <lora:ink:0.5>"


WRONG = [
    ({}, "must be a list of tables"),
    ([3], "must be a table"),
    ([{}], "at least one stage.knob"),
    ([{"steps": 3}], "must be named"),
    ([{"txt2img.stpes": 3}], "did you mean 'steps'"),
    ([{"upscale.scale": 2.0}], "which does not run"),
    ([{"txt2img.steps": 0}], "must be an integer from 1"),
    ([{"txt2img.seed": 4}], "cannot be part of a setting"),
    ([{"txt2img.prompt": "x"}], "and stated in txt2img, too"),
    ([{"txt2img.hires_steps": 4}], "has no effect without txt2img.hires_scale"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG)
def test_a_setting_that_breaks_a_rule_is_told_with_its_place(settings: Any, message: str) -> None:
    """The schema refuses it, too."""
    data = config(settings, prompt="a")
    with pytest.raises(ConfigError, match=message):
        PipelineConfig.from_mapping(data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, config_schema())


@pytest.mark.parametrize(
    "data",
    [
        config(TWO, prompt="a"),
        config([{"txt2img.prompt": "x"}]),
        config([]),
        config([{"txt2img.hires_scale": 2, "txt2img.hires_steps": 4}]),
    ],
)
def test_what_is_allowed_is_allowed_by_the_schema(data: dict[str, Any]) -> None:
    """An editor must not mark a good file."""
    PipelineConfig.from_mapping(data)
    jsonschema.validate(data, config_schema())


@pytest.mark.parametrize(
    ("stated", "randomizer", "message"),
    [
        ({"a": 1}, {"sweep": {"txt2img.extra.a.b": [1]}}, "cannot be put into txt2img.extra.a,"
         " which must be a table for that, got 1; change it, or leave one of them out"),
        ({"a": 1}, {"settings": [{"txt2img.extra.a.b.c": 1}]}, "cannot be put into"),
        ({"a": {"b": [2]}}, {"sweep": {"txt2img.extra.a.b.c": [1]}}, "extra.a.b, which must be a"),
        ({}, {"sweep": {"txt2img.extra.a": [1], "txt2img.extra.a.b": [1]}},
         "lies in txt2img.extra.a, which is varied as a whole; leave one of them out"),
        ({}, {"sweep": {"txt2img": {"extra": {"a": {"b": [1]}}}, "txt2img.extra.a": [1]}},
         "holds txt2img.extra.a.b, which is varied by itself; leave one of them out"),
        ({}, {"settings": [{"txt2img.extra.a.b": 1, "txt2img.extra.a": 1}]}, "holds txt2img"),
        ({}, {"settings": [{"txt2img.extra.a.b": 1}], "sweep": {"txt2img.extra.a": [1]}},
         "lies in txt2img.extra.a"),
    ],
)  # fmt: skip
def test_what_only_the_engine_knows_is_a_value_or_a_table(
    stated: dict[str, Any], randomizer: dict[str, Any], message: str
) -> None:
    """Both at once cannot be sent."""
    data = {"txt2img": {"prompt": "a", "extra": stated}, "randomizer": randomizer}
    with pytest.raises(ConfigError, match=message):
        PipelineConfig.from_mapping(data)


def test_a_table_of_the_engine_is_varied_in_part_or_as_a_whole() -> None:
    stated = {"a": {"b": 1, "c": 2}, "d": 3}
    sweep = {"txt2img.extra.a.b": [4], "txt2img.extra.ab": [5], "txt2img.extra.d": [6]}
    data = {"txt2img": {"extra": stated}, "randomizer": {"sweep": sweep}}
    (variant,) = plan_variants(PipelineConfig.from_mapping(data)).variants
    assert variant.config["txt2img"]["extra"] == {"a": {"b": 4, "c": 2}, "ab": 5, "d": 6}
    data["randomizer"] = {"settings": [{"txt2img.extra.a": 1}, {"txt2img.extra.a.b": 2}]}
    whole, part = plan_variants(PipelineConfig.from_mapping(data)).variants
    assert whole.config["txt2img"]["extra"] == {"a": 1, "d": 3}
    assert part.config["txt2img"]["extra"] == {"a": {"b": 2, "c": 2}, "d": 3}


def test_a_knob_that_is_swept_twice_is_told() -> None:
    """In a table and by its whole name: one of the two would win without a word."""
    data = config([], prompt="a")
    data["randomizer"]["sweep"] = {"txt2img.steps": [4], "txt2img": {"steps": [5]}}
    with pytest.raises(ConfigError, match=r"txt2img.steps: is swept already; leave one of them"):
        PipelineConfig.from_mapping(data)


def test_a_knob_is_not_swept_and_set_at_once() -> None:
    """One of the two would win without a word."""
    data = config(TWO, prompt="a")
    data["randomizer"]["sweep"] = {"txt2img.steps": [4]}
    with pytest.raises(ConfigError, match="and swept, too"):
        PipelineConfig.from_mapping(data)


def test_lists_of_unequal_length_that_step_together_are_told() -> None:
    """Three widths and two heights would otherwise end in a picture of a size nobody asked for."""
    sweep = {"txt2img.width": [512, 640, 1024], "txt2img.height": [512, 768]}
    (warning,) = plan_of("a", mode="sequential", sweep=sweep).warnings
    assert "txt2img.width has 3, txt2img.height has 2 values" in warning
    equal = {**sweep, "txt2img.height": [512, 640, 768], "txt2img.steps": [4]}
    assert not plan_of("a", mode="sequential", sweep=equal).warnings
    assert not plan_of("a", mode="fanout", sweep=sweep).warnings
