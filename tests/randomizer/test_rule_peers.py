"""Rules, tokens, slots and grids as the tools that people come from have them.

Every recorded case is run. Where ours is another result on purpose, ``DIFFERENCES`` says why; a
line there that is true no more fails, too. Beyond the cases: StableNew leaves negative prompts
alone, and AUTOMATIC1111's matrix divides at every ``|``, that of a choice or of prompt editing too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from randomizer.small_plans import DATA, labels_of, plan_of, prompts_of
from safelight.config import PipelineConfig
from safelight.errors import ConfigError
from safelight.randomizer import plan_variants
from safelight.value_ranges import values_of

PRESETS = json.loads((DATA / "prompt_rules.json").read_text("utf-8"))
REPLACED = json.loads((DATA / "a1111_prompt_sr.json").read_text("utf-8"))
MATRIX = json.loads((DATA / "a1111_prompt_matrix.json").read_text("utf-8"))
AXES = json.loads((DATA / "axis_values.json").read_text("utf-8"))

_ONE_EACH = "only fanout multiplies; other modes take one value, as in the second dialect"
DIFFERENCES = {
    ("stablenew", "sr round_robin"): _ONE_EACH,
    ("stablenew", "sr default mode is random"): _ONE_EACH,
    ("stablenew", "wildcard random"): _ONE_EACH,
    ("stablenew", "all three, product order"): _ONE_EACH,
    ("stablenew", "matrix append already there"): "what is there already is not put there again",
    ("stablenew", "matrix slot alias"): "blanks, case, - and _ in a slot's name are not seen",
    ("stablenew", "matrix value containing a slot token"): "slots are filled once, none in another",
    ("stablenew2", "default cap 512"): "nothing is left out that nobody asked to leave out",
    ("axis", "5-1 (-1)"): "the end of a range belongs to it, going down as going up",
    ("axis", "0.1-0.5 (+0.1)"): "steps are decimal and have no noise",
}
"""(whose, case) -> why ours is another; everything else is the same."""


def same_unless_listed(whose: str, case: str, *, same: bool) -> None:
    """Fail where a case differs and is not listed, or is listed and does not."""
    assert same != ((whose, case) in DIFFERENCES), DIFFERENCES.get((whose, case), "not listed")


# -- presets of StableNew, in both dialects -------------------------------------------------


def as_safelight(config: dict[str, Any]) -> dict[str, Any]:
    """Their default mode of search/replace rules is random; ours is fanout."""
    if "prompt_sr" in config:
        config = {**config, "prompt_sr": {"mode": "random", **config["prompt_sr"]}}
    return config


def is_theirs(expected: dict[str, Any], prompts: list[str], drawn: list[tuple[str, Any]]) -> bool:
    """Return whether the (text, label) pairs *drawn* are what their calls gave.

    Our labels name the prompt of a pack first, which theirs do not.
    """
    calls = expected["calls"]
    if len(drawn) != sum(call["n"] for call in calls):
        return False
    if first := calls[0].get("first"):
        return drawn[0] == (first["text"], first["label"])
    for prompt, call in zip(prompts, calls, strict=True):
        ours, drawn = drawn[: call["n"]], drawn[call["n"] :]
        if "each_from" in call:
            if not {text for text, _ in ours} <= set(call["each_from"]):
                return False
        elif "set" in call:
            if sorted(ours) != sorted(map(tuple, call["set"])):
                return False
        else:
            before = f"prompt={prompt}" if len(prompts) > 1 else ""
            theirs = [(variant["text"], variant["label"]) for variant in call["variants"]]
            if ours != [(t, "; ".join(filter(None, (before, at))) or None) for t, at in theirs]:
                return False
    return True


@pytest.mark.parametrize("dialect", ["stablenew", "stablenew2"])
@pytest.mark.parametrize("case", PRESETS["cases"], ids=lambda case: case["name"])
def test_presets_give_the_same_prompts_and_labels(case: dict[str, Any], dialect: str) -> None:
    """In the order in which they come."""
    plan = plan_of(case["prompts"], **as_safelight(case["config"]))
    drawn = list(zip(prompts_of(plan), labels_of(plan), strict=True))
    same = is_theirs(case[dialect], case["prompts"], drawn)
    same_unless_listed(dialect, case["name"], same=same)


@pytest.mark.parametrize("case", PRESETS["text_forms"], ids=lambda case: case["text"])
def test_lines_are_read_as_rules_and_tokens(case: dict[str, Any]) -> None:
    """``search => a | b`` and ``name: a | b``; a line that is neither is a fault here."""
    key = {"prompt_sr": "rules", "wildcards": "tokens"}[case["section"]]
    lines = case["text"].split("\n")
    try:
        config = PipelineConfig.from_mapping(
            {"txt2img": {}, "randomizer": {case["section"]: {key: lines}}}
        )
    except ConfigError as error:
        assert "must look like" in str(error)
        assert case["expected"] == []
        return
    read = getattr(getattr(config.randomizer, case["section"]), key)
    assert [
        {name: getattr(entry, name) for name in entry.__slots__} for entry in read
    ] == [{k: tuple(v) if isinstance(v, list) else v for k, v in e.items()}
          for e in case["expected"]]  # fmt: skip


@pytest.mark.parametrize("case", PRESETS["whole"], ids=lambda case: case["prompt"])
def test_nothing_is_left_of_slots_and_tokens_that_have_values(case: dict[str, Any]) -> None:
    """Their check raises where any is left; ours says so in a warning."""
    plan = plan_of(case["prompt"], **as_safelight(case["config"]))
    assert prompts_of(plan) == case["result"]
    assert not [warning for warning in plan.warnings if "left in place" in warning]


# -- AUTOMATIC1111 --------------------------------------------------------------------------


@pytest.mark.parametrize("case", REPLACED["cases"], ids=lambda case: case["values"])
def test_prompt_sr_replaces_in_both_prompts(case: dict[str, Any]) -> None:
    """The first value is looked for, and every value is a cell; the label is the value."""
    values = list(values_of(case["values"], "text"))
    assert values == case["parsed_values"]
    rules = [{"search": values[0], "replacements": values}]
    stage = {"prompt": case["prompt"], "negative_prompt": case["negative"]}
    config = {"txt2img": stage, "randomizer": {"prompt_sr": {"rules": rules}}}
    variants = plan_variants(PipelineConfig.from_mapping(config)).variants
    assert [
        {"prompt": cell["prompt"], "negative": cell["negative_prompt"]}
        for cell in (variant.config["txt2img"] for variant in variants)
    ] == case["cells"]
    assert [variant.label for variant in variants] == [
        f"{values[0]}->{label}" for label in case["labels"]
    ]


def orders() -> Iterator[tuple[str, list[str]]]:
    """Yield each prompt of the cases and what all orders of its words come to."""
    for prompt in dict.fromkeys(case["prompt"] for case in REPLACED["prompt_order_cases"]):
        cases = [case for case in REPLACED["prompt_order_cases"] if case["prompt"] == prompt]
        yield prompt, [case["expected"] for case in cases]


@pytest.mark.parametrize(
    ("template", "case"),
    list(zip(["a {3$$, a $$cat|dog|bird}", "{2$$ and $$red|blue}"], orders(), strict=True)),
)
def test_prompt_order_is_a_choice_of_all_options(
    template: str, case: tuple[str, list[str]]
) -> None:
    """A template says it, in the same order of orders."""
    assert prompts_of(plan_of(template)) == case[1]
    assert prompts_of(plan_of(template))[0] == case[0]


@pytest.mark.parametrize("case", MATRIX["cases"], ids=str)
def test_the_prompt_matrix_makes_the_same_prompts(case: dict[str, Any]) -> None:
    """In the same order, blanks included."""
    plan = plan_of(
        case["prompt"],
        prompt_matrix={
            "place": "start" if case["put_at_start"] else "end",
            "separator": {"space": " ", "comma": ", "}[case["join"]],
        },
    )
    assert prompts_of(plan) == case["expected"]


KINDS: dict[str, Any] = {"int": "integer", "float": "number", "str": "text"}


@pytest.mark.parametrize("case", AXES["cases"], ids=lambda case: case["values"] or "empty")
def test_axis_texts_have_the_same_values(case: dict[str, Any]) -> None:
    """Permutations are those of a template."""
    if case["axis_type"] == "permutations":
        options = case["values"].replace(",", "|")
        drawn = prompts_of(plan_of(f"{{{len(case['values'].split(','))}$${options}}}"))
        assert [prompt.split(",") for prompt in drawn] == case["expected"]
    elif "error" in case:
        with pytest.raises(ValueError, match="must be"):
            values_of(case["values"], KINDS[case["axis_type"]])
    else:
        values = list(values_of(case["values"], KINDS[case["axis_type"]]))
        same_unless_listed("axis", case["values"], same=values == case["expected"])


def test_every_listed_difference_is_of_a_case() -> None:
    """A line about a case that is gone says nothing."""
    presets = {(d, case["name"]) for case in PRESETS["cases"] for d in ("stablenew", "stablenew2")}
    axes = {("axis", case["values"]) for case in AXES["cases"]}
    assert presets | axes >= DIFFERENCES.keys()
    assert all(DIFFERENCES.values())
