"""The prompt matrix: a base with any of its parts, as AUTOMATIC1111's script makes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from randomizer.small_plans import labels_of, plan_of, prompts_of
from safelight.config import PipelineConfig
from safelight.errors import PlanError
from safelight.randomizer import plan_variants
from safelight.randomizer.prompt_parts import divided
from safelight.randomizer.short_labels import ShortLabels
from safelight.separating_bars import bars

PARTS: dict[str, Any] = {"prompt_matrix": {}}


def test_number_i_has_the_parts_whose_bits_are_in_i() -> None:
    """The first part turns fastest; labels and choices name the parts in the prompt's order."""
    plan = plan_of("a|b|c", **PARTS)
    assert prompts_of(plan) == ["a", "a, b", "a, c", "a, b, c"]
    assert labels_of(plan) == [None, "+b", "+c", "+b; +c"]
    assert [variant.choices for variant in plan.variants] == [
        {"|b": "", "|c": ""}, {"|b": "b", "|c": ""}, {"|b": "", "|c": "c"}, {"|b": "b", "|c": "c"},
    ]  # fmt: skip
    assert [(axis.name, axis.size, axis.values) for axis in plan.axes] == [
        ("|c", 2, ("", "c")), ("|b", 2, ("", "b")),
    ]  # fmt: skip
    short = ShortLabels([variant.choices for variant in plan.variants])
    assert [short.of(place) for place in range(3)] == ["no b · no c", "b · no c", "no b · c"]


def test_without_the_table_a_bar_is_a_character() -> None:
    """Engines have uses of their own for it."""
    assert prompts_of(plan_of("a|b")) == ["a|b"]
    assert prompts_of(plan_of("a|b", prompt_matrix={"enabled": False})) == ["a|b"]


@pytest.mark.parametrize(
    ("prompt", "base", "parts"),
    [
        ("{a|b} c|d", "{a|b} c", ["d"]),
        ("[a|b]|[c|{d|e}]", "[a|b]", ["[c|{d|e}]"]),
        ("a [|b", "a [", ["b"]),
        ("a ] {|b}|c", "a ] {|b}", ["c"]),
        (r"a\|b|c", r"a\|b", ["c"]),
        (r"a\\|b", r"a\\", ["b"]),
        (r"1girl, \||/, smile|x", r"1girl, \||/, smile", ["x"]),
        (r"a \[|b\]", r"a \[", [r"b\]"]),
        ("a| , b ,|", "a", ["b", ""]),
    ],
)
def test_a_bar_in_braces_or_brackets_separates_nothing(
    prompt: str, base: str, parts: list[str]
) -> None:
    """It is a choice or prompt editing; half a pair holds nothing together."""
    assert divided(prompt) == (base, parts)


@given(st.text(alphabet="ab|[]{}\\", max_size=12))
def test_a_division_loses_nothing(prompt: str) -> None:
    """Base and parts are the prompt, and every place is that of a bar."""
    places = bars(prompt)
    assert places == sorted(set(places))
    assert all(prompt[place] == "|" for place in places)


def test_a_bar_that_is_escaped_is_a_character() -> None:
    """Whether templates are on, which read the same escape, or off."""
    for templates in (True, False):
        plan = plan_of(r"a\|b|c\|d", templates=templates, **PARTS)
        assert prompts_of(plan) == ["a|b", "a|b, c|d"]


def test_parts_may_hold_rules_slots_and_templates() -> None:
    """What is in a part that is not there adds no variants."""
    plan = plan_of(
        "a|cat|[[s]]|{x|y}",
        prompt_sr={"rules": ["cat => dog | cow"]},
        matrix={"slots": ["s: 1 | 2"]},
        **PARTS,
    )
    assert prompts_of(plan)[:6] == ["a", "a, dog", "a, cow", "a, 1", "a, 2", "a, dog, 1"]
    assert plan.plan_size == 3 * 3 * 3
    assert prompts_of(plan)[-1] == "a, cow, 2, y"
    assert plan.variants[-1].label == "+cat; +[[s]]; +{x|y}; cat->cow; [s]=2; {1}=y"


def test_the_base_prompt_of_the_slots_goes_to_the_base() -> None:
    """Not to the last part, where it would come and go."""
    for mode, expected in (
        ("append", ["a, B", "a, B, p"]), ("prepend", ["B, a", "B, a, p"]), ("replace", ["B"]),
    ):  # fmt: skip
        plan = plan_of("a|p", matrix={"base_prompt": "B", "prompt_mode": mode}, **PARTS)
        assert prompts_of(plan) == expected


def test_a_part_that_two_prompts_have_is_one() -> None:
    """As a rule that two prompts have is; negative prompts have no parts."""
    data = {
        "txt2img": {"prompt": "a|p|q", "negative_prompt": "n|p"},
        "img2img": {"prompt": "b|q"},
        "randomizer": PARTS,
    }
    plan = plan_variants(PipelineConfig.from_mapping(data))
    assert [
        (variant.config["txt2img"]["prompt"], variant.config["img2img"]["prompt"])
        for variant in plan.variants
    ] == [("a", "b"), ("a, p", "b"), ("a, q", "b, q"), ("a, p, q", "b, q")]
    assert {variant.config["txt2img"]["negative_prompt"] for variant in plan.variants} == {"n|p"}


def test_swept_prompts_have_parts_too() -> None:
    """Each value its own; labels name the swept prompt first."""
    data = {
        "txt2img": {"prompt": "a|p"},
        "img2img": {},
        "randomizer": {"sweep": {"img2img.prompt": ["b|q", "c"]}, **PARTS},
    }
    plan = plan_variants(PipelineConfig.from_mapping(data))
    assert labels_of(plan) == [
        "prompt=b|q", "prompt=b|q; +p", "prompt=b|q; +q", "prompt=b|q; +p; +q",
        "prompt=c", "prompt=c; +p",
    ]  # fmt: skip


def test_sixteen_parts_are_counted_and_more_are_refused() -> None:
    """The message says how to write the character."""
    many = "|".join(f"p{number}" for number in range(16))
    assert plan_of(f"a|{many}", **PARTS).plan_size == 2**16
    with pytest.raises(PlanError, match=r"16 parts, which make 65,536 prompts; got 17"):
        plan_of(f"a|{many}|more", **PARTS)


def test_what_has_no_parts_is_told() -> None:
    """The table alone changes nothing, and neither does a bar at an end."""
    assert plan_of("a", **PARTS).warnings == (
        "randomizer.prompt_matrix: no prompt has parts, separated by '|'",
    )
    assert plan_of("a|b|", **PARTS).warnings == (
        "txt2img.prompt: nothing stands beside a '|', which adds no part",
    )
