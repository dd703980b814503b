"""``${x=!...}``: chosen once for a variant, the same wherever the variable stands."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from randomizer.small_plans import WILDCARDS, labels_of, plan_of, prompts_of
from safelight.errors import TemplateError


@pytest.mark.parametrize("mode", ["fanout", "random", "sequential"])
def test_a_value_used_again_is_the_same_in_both_places(mode: str) -> None:
    """In every mode each value comes, and only once."""
    draws: dict[str, Any] = {"draws": 2} if mode == "random" else {}
    plan = plan_of("${x=!{cat|dog}}${x} and ${x}", mode=mode, **draws)
    assert sorted(prompts_of(plan)) == ["cat and cat", "dog and dog"]
    assert plan.warnings == ()


def test_it_is_one_axis_with_a_name_of_its_own() -> None:
    """Records and tables say what was chosen, once, under the variable's name."""
    plan = plan_of("a {red|green} ${x=!__colors-cold__}${x}, ${x}", wildcards_dir=WILDCARDS)
    assert [(axis.name, list(axis.values or ())) for axis in plan.axes] == [
        ("txt2img.prompt{1}", ["red", "green"]),
        ("txt2img.prompt${x}", ["blue", "green"]),
    ]
    assert plan.variants[1].choices == {"txt2img.prompt{1}": "red", "txt2img.prompt${x}": "green"}
    assert labels_of(plan)[1] == "{1}=red; ${x}=green"


def test_what_is_chosen_inside_a_value_is_noted_below_it(tmp_path: Path) -> None:
    """A value may be a template; its own choices stay in the record."""
    (tmp_path / "animal.txt").write_text("{big|small} cat\n", "utf-8")
    plan = plan_of("${x=!__animal__}${x}, ${x}", wildcards_dir=str(tmp_path))
    assert prompts_of(plan) == ["big cat, big cat", "small cat, small cat"]
    assert plan.variants[0].choices == {
        "txt2img.prompt${x}": "big cat",
        "txt2img.prompt__animal__ > {1}": "big",
    }


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        ("${x=!{a|b}}nothing", ["nothing"]),
        ("${x=!{a|b}}{${x}|c}", ["a", "b", "c"]),
        ("${x=!{a|b}}{${x} {1|2} ${x}|c}", ["a 1 a", "a 2 a", "b 1 b", "b 2 b", "c"]),
        ("${x=!{a|b}}{${x}|c}{${x}|d}", ["aa", "ad", "ca", "cd", "bb", "bd", "cb"]),
        ("${x=!{a|b}}${y=!{1|2}}{${x}|${y}}", ["a", "b", "1", "2"]),
    ],
)
def test_a_value_that_is_not_used_does_not_multiply(template: str, prompts: list[str]) -> None:
    """Nobody wants the same picture twice under another label."""
    plan = plan_of(template)
    assert prompts_of(plan) == prompts
    assert plan.plan_size == len(prompts)
    for variant in plan.variants:
        used = {name for name in variant.choices if "$" in name}
        assert len(used) <= 1
        assert all(variant.choices[name] in variant.config["txt2img"]["prompt"] for name in used)


def test_a_large_choice_that_uses_it_in_one_option_is_counted_apart(tmp_path: Path) -> None:
    """However many values there are, those that it has no part in are not multiplied by it."""
    for name in ("animal", "place"):
        lines = "".join(f"{name} {number:04}\n" for number in range(2_000))
        (tmp_path / f"{name}.txt").write_text(lines, "utf-8")
    template = "${x=!__animal__}{${x} beside ${x}|__place__}"
    plan = plan_of(template, wildcards_dir=str(tmp_path))
    assert plan.plan_size == 4_000
    assert prompts_of(plan)[1999:2001] == ["animal 1999 beside animal 1999", "place 0000"]


def test_it_is_drawn_by_its_weights() -> None:
    """As any choice in mode random is."""
    template = "${x=!{9::a|1::b|0::c}}${x}${x}"
    firsts = Counter(
        prompts_of(plan_of(template, seed=seed, mode="random", draws=1))[0] for seed in range(500)
    )
    assert set(firsts) == {"aa", "bb"}
    assert 420 < firsts["aa"] < 480


def test_it_steps_in_sequential_mode() -> None:
    """With every other choice, and as many variants as the longest has values."""
    plan = plan_of("{1|2|3} ${x=!{a|b}}${x}${x}", mode="sequential")
    assert prompts_of(plan) == ["1 aa", "2 bb", "3 aa"]


def test_it_holds_in_the_value_of_a_wildcard_and_ends_there(tmp_path: Path) -> None:
    """What a file sets is the file's own; two uses of it are two choices."""
    (tmp_path / "pair.txt").write_text("${x=!{a|b}}${x}-${x}\n", "utf-8")
    given: dict[str, Any] = {"wildcards_dir": str(tmp_path)}
    assert prompts_of(plan_of("{__pair__|c}", **given)) == ["a-a", "b-b", "c"]
    assert prompts_of(plan_of("__pair__ __pair__", **given)) == [
        "a-a a-a", "a-a b-b", "b-b a-a", "b-b b-b",
    ]  # fmt: skip
    with pytest.raises(TemplateError, match=r"variable \$\{x\} has no value"):
        plan_of("__pair__ ${x}", **given)


@pytest.mark.parametrize("inside", ["${x}", "${x:z}", "{c|${x}}"])
def test_a_value_that_is_chosen_once_cannot_use_one_set_beside_it(inside: str) -> None:
    """That is said, and no default stands in; what is chosen wherever it stands can use it."""
    with pytest.raises(TemplateError, match=r"\$\{x\} cannot be in a value that is chosen once"):
        plan_of("${x=!{a|b}}${y=!" + inside + " 1}${y}")
    assert prompts_of(plan_of("${x=!{a|b}}${y=" + "${x} 1}${y} ${x}")) == ["a 1 a", "b 1 b"]


def test_a_file_sees_what_the_prompt_has_chosen(tmp_path: Path) -> None:
    """``?=`` in a file leaves what the prompt says, and both have the same value."""
    (tmp_path / "coat.txt").write_text("${c?=!{red|blue}}a ${c} coat with ${c} buttons\n", "utf-8")
    given: dict[str, Any] = {"wildcards_dir": str(tmp_path)}
    assert prompts_of(plan_of("__coat__", **given)) == [
        "a red coat with red buttons", "a blue coat with blue buttons",
    ]  # fmt: skip
    assert prompts_of(plan_of("${c=!{green|gold}}__coat__, ${c} hat", **given)) == [
        "a green coat with green buttons, green hat", "a gold coat with gold buttons, gold hat",
    ]  # fmt: skip


def test_it_may_be_part_of_the_name_of_a_wildcard() -> None:
    """Each value leads to a file of its own, with as many values as that has."""
    template = "${t=!{cold|warm}}${t}: __colors-${t}__"
    plan = plan_of(template, wildcards_dir=WILDCARDS)
    assert prompts_of(plan) == ["cold: blue", "cold: green", "warm: red", "warm: yellow"]
    assert labels_of(plan)[2] == "${t}=warm; __colors-warm__=red"
    many = "|".join(f"n{number}" for number in range(1_001))
    with pytest.raises(TemplateError, match=r"name and has 1,001 values; 1,000 are allowed"):
        plan_of(f"${{t=!{{{many}}}}}__${{t}}__", wildcards_dir=WILDCARDS)


def test_what_moves_is_the_same_in_every_place_too() -> None:
    """``~`` inside the value is drawn once for a variant, not once for each place."""
    plan = plan_of("{1|2|3|4|5|6} ${x=!{~a|b}}${x}${x}", seed=3)
    assert {prompt[2:] for prompt in prompts_of(plan)} == {"aa", "bb"}
    assert plan.plan_size == 6


def test_its_length_counts_in_every_place() -> None:
    """Short to write and long to draw is refused by name, as everywhere."""
    with pytest.raises(TemplateError, match="100,000 are allowed"):
        plan_of("${x=!{a|" + "y" * 5000 + "}}" + "${x}" * 30)


parts = st.lists(
    st.sampled_from(["${x}", "${y}", "{${x}|c}", "{1|2}", "{${y} ${x}|d}", "{~${x}|e}", "w"]),
    min_size=1,
    max_size=4,
)


@given(parts)
def test_a_variant_is_the_template_with_each_variable_replaced_by_one_value(
    body: list[str],
) -> None:
    """All variables of a variant agree; taken together they are every way to put values in."""
    template = " ".join(body)
    plan = plan_of("${x=!{a|b}}${y=!{f|g|h}}" + template)
    expected = set()
    for x, y in product("ab", "fgh"):
        put_in = template.replace("${x}", x).replace("${y}", y).replace("{~", "{")
        expected |= set(prompts_of(plan_of(put_in)))
    drawn = prompts_of(plan)
    assert set(drawn) == expected if "~" not in template else set(drawn) <= expected
    different = {(v.config["txt2img"]["prompt"], *v.choices.items()) for v in plan.variants}
    assert len(different) == plan.plan_size or "~" in template
    for prompt in drawn:
        assert len(set(re.findall("[ab]", prompt))) <= 1
        assert len(set(re.findall("[fgh]", prompt))) <= 1
