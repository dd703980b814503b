"""The weight of a LoRA is varied as a knob is: in sweeps and in settings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from randomizer.small_plans import plan_of, prompts_of
from safelight.config import PipelineConfig
from safelight.errors import ConfigError
from safelight.lora_tags import split_loras, with_lora
from safelight.randomizer import plan_variants


def test_a_weight_is_swept_where_the_prompt_names_the_lora_and_where_it_does_not() -> None:
    plan = plan_of("a <lora:ink:0.2>, b", sweep={"lora.ink": [0.5, 1]})
    assert prompts_of(plan) == ["a <lora:ink:0.5>, b", "a <lora:ink:1>, b"]
    plan = plan_of("a", sweep={"lora.my style v1.2": "0-1 (+0.5)"})
    assert prompts_of(plan) == ["a", "a <lora:my style v1.2:0.5>", "a <lora:my style v1.2:1>"]
    assert [axis.name for axis in plan.axes] == ["lora.my style v1.2"]
    assert plan.variants[1].label == "lora.my style v1.2=0.5"
    assert plan.variants[1].choices == {"lora.my style v1.2": 0.5}


def test_at_weight_zero_the_prompt_is_the_one_without_it() -> None:
    """So that it is the same picture, and is not drawn twice."""
    (nothing, _) = prompts_of(plan_of("a, <lora:ink>, b", sweep={"lora.ink": [0, 1]}))
    assert nothing == "a, b"


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        (0.1234567, "0.1234567"), (0.12345671, "0.12345671"), (1e-07, "0.0000001"), (1.0, "1"),
        (-0.5, "-0.5"), (100, "100"),
    ],
)  # fmt: skip
def test_a_weight_is_written_exactly_and_without_an_exponent(weight: float, text: str) -> None:
    """Two weights are two pictures, and engines read plain numbers."""
    assert with_lora("a", "ink", weight) == f"a <lora:ink:{text}>"


@pytest.mark.parametrize(
    ("tag", "then"),
    [
        ("<lora:ink:0.5:0.8>", "<lora:ink:0.5:0.3>"),
        ("<lora:ink:te=0.5:unet=1>", "<lora:ink:0.5:0.3>"),
        ("<lora:ink:unet=1:lbw=A>", "<lora:ink:1:0.3:lbw=A>"),
        ("<lora:ink:much:1>", "<lora:ink:0.3>"),
        ("<lora: ink :1>", "<lora:ink:0.3>"),
    ],
)
def test_what_else_a_tag_says_stays_as_it_is(tag: str, then: str) -> None:
    """The weight on the text encoder, where it is apart, and what extensions put there."""
    assert with_lora(f"a {tag}", "ink", 0.3) == f"a {then}"
    assert with_lora(f"a {tag}", "ink", 0) == "a"


@pytest.mark.parametrize(
    ("prompt", "without"),
    [
        ("a,, b  c, <lora:ink>, d", "a,, b  c, d"),
        ("a  b <lora:ink>, c ,, d,", "a  b, c ,, d,"),
        ("<lora:ink>, a , b", "a , b"),
        ("a <lora:ink> b\n\n  c", "a b\n\n  c"),
        ("a, b, <lora:ink>", "a, b"),
        ("a\n<lora:ink>, b", "a\nb"),
    ],
)
def test_at_weight_zero_all_else_stays_as_it_is(prompt: str, without: str) -> None:
    """Two pictures that differ in more than the LoRA would tell nothing of it."""
    assert with_lora(prompt, "ink", 0) == without


def test_weights_are_set_once_the_prompt_is_decided() -> None:
    """After templates and lists, and before img2img takes the prompt over."""
    config = {
        "txt2img": {"prompt": "a {red|blue} fox", "seed": 1},
        "img2img": {"denoising_strength": 0.5},
        "randomizer": {"sweep": {"lora": {"ink": [0.5]}}},
    }
    plan = plan_variants(PipelineConfig.from_mapping(config))
    configs = [variant.config for variant in plan.variants]
    assert [c["txt2img"]["prompt"] for c in configs] == [
        "a red fox <lora:ink:0.5>", "a blue fox <lora:ink:0.5>",
    ]  # fmt: skip
    assert all(c["img2img"]["prompt"] == c["txt2img"]["prompt"] for c in configs)
    config["img2img"] |= {"prompt": "more"}  # type: ignore[operator]
    config["randomizer"] = {"sweep": {"img2img.lora.ink": [0.5]}}
    (first, _) = plan_variants(PipelineConfig.from_mapping(config)).variants
    assert first.config["txt2img"]["prompt"] == "a red fox"
    assert first.config["img2img"]["prompt"] == "more <lora:ink:0.5>"


@pytest.mark.parametrize(
    ("sweep", "drawn", "redrawn"),
    [
        ({"img2img.lora.ink": [0.5]}, "a fox", "a fox <lora:ink:0.5>"),
        ({"img2img.lora.ink": [0]}, "a fox", "a fox"),
        (
            {"img2img.lora.ink": [0.5], "lora.dry": [1]},
            "a fox <lora:dry:1>", "a fox <lora:dry:1> <lora:ink:0.5>",
        ),
        ({"img2img.lora.ink": [0], "txt2img.lora.ink": [1]}, "a fox <lora:ink:1>", "a fox"),
    ],
)  # fmt: skip
def test_a_weight_of_img2img_is_set_in_the_prompt_that_it_inherits(
    sweep: dict[str, Any], drawn: str, redrawn: str
) -> None:
    """A stage that states no prompt is redrawn with the one it was drawn with."""
    config = {
        "txt2img": {"prompt": "a {fox}", "seed": 1},
        "img2img": {"denoising_strength": 0.5},
        "randomizer": {"sweep": sweep},
    }
    (variant,) = plan_variants(PipelineConfig.from_mapping(config)).variants
    assert variant.config["txt2img"]["prompt"] == drawn
    assert variant.config["img2img"]["prompt"] == redrawn


def test_where_nothing_states_a_prompt_weight_zero_makes_none() -> None:
    config = {"txt2img": {"seed": 1}, "randomizer": {"sweep": {"lora.ink": [0, 1]}}}
    nothing, some = plan_variants(PipelineConfig.from_mapping(config)).variants
    assert "prompt" not in nothing.config["txt2img"]
    assert some.config["txt2img"]["prompt"] == "<lora:ink:1>"


def test_blanks_around_a_name_are_none_of_it() -> None:
    plan = plan_of("a <lora:ink:1>", sweep={"lora. ink": [0.5]}, settings=[{"lora.b ": 1}])
    assert prompts_of(plan) == ["a <lora:ink:0.5> <lora:b:1>"]
    assert plan.variants[0].choices == {"lora.ink": 0.5, "lora.b": 1}


def test_settings_hold_weights_and_what_only_the_engine_knows() -> None:
    settings = [{"lora.ink": 0.5, "txt2img.extra.deep.er": 2}, {"txt2img.lora.ink": 1}]
    plan = plan_of("a", settings=settings)
    assert prompts_of(plan) == ["a <lora:ink:0.5>", "a <lora:ink:1>"]
    assert plan.variants[0].config["txt2img"]["extra"] == {"deep": {"er": 2}}


@pytest.mark.parametrize(
    ("randomizer", "message"),
    [
        ({"sweep": {"lora.ink": ["a"]}}, "every weight must be a number from -100 to 100"),
        ({"sweep": {"lora.ink": [True]}}, "every weight must be a number"),
        ({"sweep": {"lora.ink": "101-103"}}, "every weight must be a number from -100 to 100"),
        ({"sweep": {"lora.a:b": [1]}}, "must name a LoRA, as its tag in a prompt does, got 'a:b'"),
        ({"sweep": {"upscale.lora.a": [1]}}, "belongs to txt2img or img2img"),
        ({"settings": [{"lora.ink": "a"}]}, "every weight must be a number"),
        ({"settings": [{"lora.ink": 1}], "sweep": {"lora.ink": [1]}}, "swept, too"),
        ({"sweep": {"lora. ": [1]}}, "must name a LoRA"),
        (
            {"sweep": {"lora.ink": [1], "txt2img.lora.ink": [2]}},
            r"sweep.txt2img.lora.ink: is swept already as 'lora.ink'; leave one of them out",
        ),
        ({"sweep": {"lora.ink": [1], "lora": {" ink": [2]}}}, "is swept already; leave one"),
        (
            {"settings": [{"txt2img.lora.ink": 1}], "sweep": {"lora.ink": [1]}},
            "is in a setting, and swept as 'lora.ink', too; leave one of them out",
        ),
        (
            {"settings": [{"txt2img.lora.ink": 1, "lora. ink": 0.5}]},
            r"settings\[0\].lora. ink: is in this setting already as 'txt2img.lora.ink'",
        ),
        ({"sweep": {"txt2mig.lora.ink": [1]}}, "must be named stage.knob; did you mean 'txt2img'"),
        ({"sweep": {"foo": {"lora": {"ink": [1]}}}}, "must be named stage.knob"),
        ({"sweep": {"lroa.ink": [1]}}, "did you mean 'lora'"),
        ({"settings": [{"imgimg.lora.ink": 1}]}, "did you mean 'img2img'"),
    ],
)  # fmt: skip
def test_faults_are_told(randomizer: dict[str, Any], message: str) -> None:
    config = {"txt2img": {"prompt": "a"}, "upscale": {"scale": 2}, "randomizer": randomizer}
    with pytest.raises(ConfigError, match=message):
        PipelineConfig.from_mapping(config)


_names = st.text(alphabet="abc v1.2", min_size=1, max_size=8).map(str.strip).filter(bool)
_weights = st.floats(-3, 3)


@given(st.text(alphabet="abc, <lora:ink:1>()", max_size=40), _names, _weights)
def test_the_prompt_then_has_it_at_that_weight_and_all_else_as_before(
    prompt: str, name: str, weight: float
) -> None:
    others = [lora for lora in split_loras(prompt)[1] if lora.name != name]
    loras = split_loras(with_lora(prompt, name, weight))[1]
    assert [lora for lora in loras if lora.name != name] == others
    assert [lora.unet for lora in loras if lora.name == name] == ([weight] if weight else [])


_pieces = st.sampled_from([
    "a", "b c", ",", " ", "  ", ", ", "\n", "(", ")", "<lora:ink>", "<lora:ink:0.2:0.7>",
    "<lora:other:1>",
])  # fmt: skip


@given(st.lists(_pieces, max_size=9).map("".join), _weights)
def test_without_its_tags_a_prompt_is_the_same_at_every_weight(prompt: str, weight: float) -> None:
    """So engines, and evidence, see pictures that differ in the LoRA alone."""
    if set(split_loras(prompt)[0]) & set("abc"):
        nothing, some = (split_loras(with_lora(prompt, "ink", w))[0] for w in (0, weight))
        assert nothing == some
