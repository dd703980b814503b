"""A learning plan varies what it names and nothing else, and ties each value to its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.controller import PipelineController
from safelight.errors import ConfigError, TemplateError
from safelight.learning import (
    LearningOutcome,
    LearningPlan,
    LearningRecord,
    LearningRunner,
    LearningVariable,
)
from safelight.pipeline import PipelineRunner, RunResult

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
        "images_per_value", "txt2img.stpes", "txt2img.cfg_scale", "txt2mig.steps",
        "upscale.scale", "upscale.scale",
    ]  # fmt: skip
    assert "did you mean 'steps'?" in str(caught.value)


def test_a_combination_that_cannot_run_is_noted_and_the_others_go_on() -> None:
    """A night's plan does not end at its first bad value."""
    outcomes: list[tuple[LearningOutcome, int, int]] = []
    runner = LearningRunner(
        recording_runner().run, on_outcome=lambda *arguments: outcomes.append(arguments)
    )
    plan = LearningPlan.single(BASE, stage="txt2img", variable="sampler", values=["Nope", "Heun"])
    result = runner.run(plan)
    assert "does not know 'Nope'" in (result.outcomes[0].error or "")
    assert result.outcomes[0].images == ()
    assert len(result.outcomes[1].images) == 1
    assert [(done, of) for _, done, of in outcomes] == [(1, 2), (2, 2)]


@dataclass(frozen=True)
class _Result:
    learning_record: LearningRecord | None


def test_a_cancelled_run_ends_the_plan() -> None:
    """Stop means stop, and what was learned so far is returned."""

    def run(config: Mapping[str, Any]) -> _Result:
        return _Result(LearningRecord.from_pipeline_context(config, [], status="cancelled"))

    plan = LearningPlan.single(BASE, stage="txt2img", variable="steps", values=[1, 2, 3])
    assert len(LearningRunner(run).run(plan).outcomes) == 1


def test_every_part_of_a_large_run_belongs_to_its_value() -> None:
    """A run of three parts has three records, and the pictures of all of them count."""
    runner = PipelineRunner(
        FakeBackend(), on_learning_record=lambda record: None, variants_per_run=2
    )
    plan = LearningPlan.single(
        BASE, stage="txt2img", variable="steps", values=[1, 2], images_per_value=5
    )
    for outcome in LearningRunner(runner.run).run(plan).outcomes:
        assert len({record.run_id for record in outcome.records}) == 3
        assert outcome.record is outcome.records[-1]
        assert [image.seed for image in outcome.images] == [0, 1, 2, 3, 4]


def test_an_outcome_without_records_has_no_record() -> None:
    """The convenience must not raise."""
    assert LearningOutcome(setting={}).record is None


def test_a_template_that_cannot_be_expanded_costs_only_its_own_combination() -> None:
    """Each value may bring a fault of its own; what the others led to is kept."""
    base = {"txt2img": BASE["txt2img"], "randomizer": {"mode": "fanout"}}
    plan = LearningPlan.single(
        base, stage="txt2img", variable="prompt", values=["a {cat", "a {cat|dog}"]
    )
    with pytest.raises(TemplateError):
        recording_runner().run(next(plan.configs())[1])
    first, second = LearningRunner(recording_runner().run).run(plan).outcomes
    assert first.error
    assert (first.images, len(second.images)) == ((), 2)


def faults_of(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        LearningPlan(**fields)
    return [(fault.path, fault.message) for fault in caught.value.faults]


STEPS = (LearningVariable(stage="txt2img", name="steps", values=(1, 2)),)


@pytest.mark.parametrize(
    ("randomizer", "path"),
    [
        ({"mode": "off"}, "base_config.randomizer.mode"),
        ({"enabled": False}, "base_config.randomizer.enabled"),
        ({"sweep": {"txt2img.seed": [1, 2]}}, "base_config.randomizer.sweep.txt2img.seed"),
        ({"sweep": {"txt2img": {"seed": "1-2"}}}, "base_config.randomizer.sweep.txt2img.seed"),
        ("fanout", "base_config.randomizer"),
    ],
    ids=str,
)
def test_a_base_that_would_ignore_images_per_value_is_refused(randomizer: Any, path: str) -> None:
    """Else a plan that asks for four pictures per value quietly makes one."""
    base = {**BASE, "randomizer": randomizer}
    faults = faults_of(base_config=base, variables=STEPS, images_per_value=4)
    assert [place for place, _ in faults] == [path]
    if isinstance(randomizer, dict):
        LearningPlan(base_config=base, variables=STEPS)


def test_a_varied_seed_leaves_no_room_for_several_images() -> None:
    """The seeds of the images would be the values of the variable."""
    seeds = (LearningVariable(stage="txt2img", name="seed", values=(1, 2)),)
    faults = faults_of(base_config=BASE, variables=seeds, images_per_value=2)
    assert [place for place, _ in faults] == ["txt2img.seed"]
    LearningPlan(base_config=BASE, variables=seeds)


def test_a_variable_that_the_base_sweeps_is_refused() -> None:
    """The sweep would put its own values in place of the variable's."""
    swept = {"txt2img": {"steps": "1-3"}}
    for source in ({"sweep": swept}, {"sub_sweeps": [{"txt2img.eta": [0]}, swept]}):
        base = {**BASE, "randomizer": source}
        ((path, message),) = faults_of(base_config=base, variables=STEPS)
        assert path == "txt2img.steps"
        assert "swept by the base" in message


@pytest.mark.parametrize("extra", [{}, {"upscale": {"scale": 2, "enabled": False}}], ids=str)
def test_a_variable_of_a_stage_that_does_not_run_is_refused(extra: dict[str, Any]) -> None:
    """Every value would lead to the same pictures, or to a stage that nobody asked for."""
    variable = LearningVariable(stage="upscale", name="scale", values=(2, 3))
    ((path, message),) = faults_of(base_config={**BASE, **extra}, variables=(variable,))
    assert path == "upscale.scale"
    assert "does not run" in message


def test_seeds_go_to_the_stage_that_draws() -> None:
    """A stage that is switched off draws nothing, so its seed says nothing."""
    base = {
        "txt2img": {**BASE["txt2img"], "enabled": False},
        "img2img": {"prompt": "a", "init_image": "a.png"},
    }
    plan = LearningPlan.single(base, stage="img2img", variable="steps", values=[1], first_seed=7)
    config = next(plan.configs())[1]
    assert (config["img2img"]["seed"], config["txt2img"].get("seed")) == (7, None)


@pytest.mark.parametrize(
    ("variable", "text", "values"),
    [
        ("steps", "10-30 (+10)", (10, 20, 30)),
        ("cfg_scale", "4..5 step 0.5", (4.0, 4.5, 5.0)),
        ("sampler", "Euler, Heun", ("Euler", "Heun")),
    ],
)
def test_values_may_be_a_range_text(variable: str, text: str, values: tuple[Any, ...]) -> None:
    """As in sweeps, and never the letters of the text."""
    plan = LearningPlan.single(BASE, stage="txt2img", variable=variable, values=text)
    assert plan.variables[0].values == values


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("steps", "many", "must be numbers and ranges"),
        ("steps", "1-1000000000", "at most 10,000 values, got 1,000,000,000"),
        ("steps", "0-2", "every value must be an integer from 1"),
        ("stpes", "1-2", "did you mean 'steps'?"),
    ],
)
def test_a_range_text_that_is_none_is_refused(variable: str, text: str, message: str) -> None:
    """With the rule and an example, as in configs."""
    with pytest.raises(ConfigError, match="txt2img") as caught:
        LearningPlan.single(BASE, stage="txt2img", variable=variable, values=text)
    assert message in str(caught.value)
    assert len(caught.value.faults) == 1


def test_a_text_is_no_tuple_of_values() -> None:
    """Its letters would be taken for samplers."""
    variable = LearningVariable(stage="txt2img", name="sampler", values="Euler")  # type: ignore[arg-type]
    ((path, message),) = faults_of(base_config=BASE, variables=(variable,))
    assert path == "txt2img.sampler"
    assert "must be a tuple of values, got 'Euler'" in message


def test_a_run_that_made_pictures_and_no_record_says_what_to_do() -> None:
    """Without a hook the pictures are lost to learning; nobody should find that out later."""
    plan = LearningPlan.single(BASE, stage="txt2img", variable="steps", values=[1])
    runner = PipelineRunner(FakeBackend())
    (outcome,) = LearningRunner(lambda config: runner.run(config)).run(plan).outcomes
    assert outcome.records == ()
    assert outcome.error is not None
    assert "the run made no record; give whatever runs a learning_record_writer" in outcome.error


def test_a_runner_without_hooks_makes_records_all_the_same() -> None:
    """What is drawn in order to learn is recorded: the plan asks for it."""
    plan = LearningPlan.single(BASE, stage="txt2img", variable="steps", values=[1, 2])
    for run in (
        PipelineRunner(FakeBackend()).run,
        PipelineController(PipelineRunner(FakeBackend())).run,
    ):
        outcomes = LearningRunner(run).run(plan).outcomes
        assert [outcome.error for outcome in outcomes] == [None, None]
        assert [outcome.record.primary_steps for outcome in outcomes if outcome.record] == [1, 2]


def test_a_wrapper_that_takes_anything_is_given_nothing_it_does_not_name() -> None:
    """It hands on what it gets, to something that may not know it."""
    controller = recording_runner()

    def run(config: Any) -> RunResult:
        return controller.run(config)

    def wrapper(config: Any, **options: Any) -> RunResult:
        return run(config, **options)

    variable = LearningVariable(stage="txt2img", name="steps", values=(1, 2))
    plan = LearningPlan(base_config=BASE, variables=(variable,))
    outcomes = LearningRunner(wrapper).run(plan).outcomes
    assert [len(outcome.records) for outcome in outcomes] == [1, 1]


def test_a_cancelled_run_without_a_record_ends_the_plan() -> None:
    """A run that is withdrawn before it begins has no record, and yet stop means stop."""
    plan = LearningPlan.single(BASE, stage="txt2img", variable="steps", values=[1, 2, 3])
    runner = LearningRunner(lambda config: RunResult(run_id="", status="cancelled"))
    (outcome,) = runner.run(plan).outcomes
    assert (outcome.record, outcome.error) == (None, None)


VARIABLES = [
    LearningVariable(stage="txt2img", name="steps", values=(2, 3)),
    LearningVariable(stage="txt2img", name="cfg_scale", values=(3, 7)),
    LearningVariable(stage="txt2img", name="sampler", values=("Euler", "Heun")),
]


def test_a_designed_plan_takes_half_of_the_grid_with_shared_prompts_and_seeds() -> None:
    """Four runs for three knobs of two values, each with the same two prompts and seeds."""
    plan = LearningPlan.designed(
        BASE, VARIABLES, design="factorial", prompts=["a fox", "a boat"],
        images_per_value=2, first_seed=5,
    )  # fmt: skip
    assert plan.size == 4
    result = LearningRunner(recording_runner().run).run(plan)
    for outcome in result.outcomes:
        assert outcome.record is not None
        drawn = [config["txt2img"] for config in outcome.record.variant_configs]
        assert [(d["prompt"], d["seed"]) for d in drawn] == [
            ("a fox", 5), ("a fox", 6), ("a boat", 5), ("a boat", 6)
        ]  # fmt: skip
        assert drawn[0]["steps"] == outcome.setting["txt2img.steps"]


def test_a_plan_as_one_config_draws_the_same_pictures() -> None:
    """A person may look at it, change it, and run it."""
    plan = LearningPlan.designed(
        BASE, VARIABLES, design="factorial", prompts=["a {fox}", "a boat"], images_per_value=2
    )
    runner = recording_runner()
    whole = runner.run(plan.as_config()).learning_record
    apart = LearningRunner(runner.run).run(plan)
    assert whole is not None

    def drawn(configs: Any) -> set[tuple[tuple[str, Any], ...]]:
        return {tuple(sorted(config["txt2img"].items())) for config in configs}

    every = [c for o in apart.outcomes if o.record for c in o.record.variant_configs]
    assert len(every) == 16
    assert drawn(whole.variant_configs) == drawn(every)


def test_what_a_designed_plan_cannot_be_is_told() -> None:
    """Prompts beside a randomizer that makes its own, and settings of other knobs."""
    base = {**BASE, "randomizer": {"mode": "fanout"}}
    with pytest.raises(ConfigError, match="beside a randomizer table"):
        LearningPlan.designed(base, VARIABLES, prompts=["x"])
    with pytest.raises(ConfigError, match="must set txt2img.cfg_scale"):
        LearningPlan(base_config=BASE, variables=tuple(VARIABLES), settings=({"txt2img.steps": 3},))
    with pytest.raises(ConfigError, match="cannot be written as one config"):
        LearningPlan(base_config=base, variables=tuple(VARIABLES)).as_config()


@pytest.mark.parametrize(
    ("names", "sweep", "message"),
    [
        (["lora.ink", "lora. ink"], {}, "txt2img.lora.ink: is varied twice"),
        (["lora.ink"], {"lora": {"ink": [1]}}, "swept by the base, too"),
        (["lora.v1.2"], {"txt2img": {"lora": {"v1": {"2": [1]}}}}, "swept by the base, too"),
        (["extra.a.b"], {"txt2img.extra.a": [1]}, "lies in txt2img.extra.a"),
        (["extra.a", "extra.a.b"], {}, "lies in txt2img.extra.a"),
    ],
)
def test_what_is_varied_is_named_once(
    names: list[str], sweep: dict[str, Any], message: str
) -> None:
    """However it is written; else one of the two would win without a word."""
    variables = [LearningVariable(stage="txt2img", name=name, values=(1, 2)) for name in names]
    with pytest.raises(ConfigError, match=message):
        LearningPlan.designed({**BASE, "randomizer": {"sweep": sweep}}, variables)
