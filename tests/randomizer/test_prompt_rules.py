"""Search/replace rules, inline tokens and matrix slots: exact, counted, labelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from randomizer.small_plans import DATA, labels_of, plan_of, prompts_of
from safelight.errors import PlanError, TemplateError
from safelight.randomizer.prompt_holes import shown_prefix

CASES = json.loads((DATA / "prompt_rules.json").read_text("utf-8"))["cases"]


def rules(*pairs: tuple[str, Sequence[str]], mode: str = "fanout") -> dict[str, Any]:
    return {"mode": mode, "rules": [{"search": s, "replacements": list(r)} for s, r in pairs]}


def tokens(*pairs: tuple[str, Sequence[str]], mode: str = "fanout") -> dict[str, Any]:
    return {"mode": mode, "tokens": [{"token": t, "values": list(v)} for t, v in pairs]}


def slots(*pairs: tuple[str, Sequence[str]], **more: Any) -> dict[str, Any]:
    return {"slots": [{"name": n, "values": list(v)} for n, v in pairs], **more}


def as_safelight(config: dict[str, Any]) -> dict[str, Any]:
    """Their default mode of search/replace rules is random; ours is fanout."""
    if "prompt_sr" in config:
        config = {**config, "prompt_sr": {"mode": "random", **config["prompt_sr"]}}
    return config


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_presets_of_stablenew_give_the_same_prompts_and_labels(case: dict[str, Any]) -> None:
    """All cases on which both dialects agree, and every other one as the second has it.

    Two differences: the hidden cap of 512, which safelight does not have, and the prompt of a
    pack, which our labels name first.
    """
    plan = plan_of(case["prompts"], **as_safelight(case["config"]))
    expected = case["stablenew2"]
    if expected.get("random"):
        drawn = prompts_of(plan)
        assert len(drawn) == sum(call["n"] for call in expected["calls"])
        assert set(drawn) <= {text for call in expected["calls"] for text in call["each_from"]}
    else:
        pack = case["prompts"] if len(case["prompts"]) > 1 else [None] * len(expected["calls"])
        assert list(zip(prompts_of(plan), labels_of(plan), strict=True)) == [
            (variant["text"], label_in_pack(prompt, variant["label"]))
            for prompt, call in zip(pack, expected["calls"], strict=True)
            for variant in call["variants"]
        ]


def label_in_pack(prompt: str | None, label: str | None) -> str | None:
    return "; ".join(part for part in (prompt and f"prompt={prompt}", label) if part) or None


pieces = st.text(alphabet="ab_", max_size=3)
some_rules = st.lists(
    st.tuples(pieces.filter(bool), st.lists(pieces, min_size=1, max_size=3)), max_size=4
)


def one_after_the_other(prompt: str, listed: list[tuple[str, list[str]]]) -> list[tuple[str, str]]:
    """The rules done naively: replace in every text, rule by rule."""
    texts = [(prompt, "")]
    for search, values in listed:
        texts = [
            (text.replace(search, value), f"{label}{search}->{value}; ")
            if search in text
            else (text, label)
            for text, label in texts
            for value in (dict.fromkeys(values) if search in text else [""])
        ]
    return texts


@given(st.text(alphabet="ab_ ", max_size=8), some_rules)
def test_holes_give_what_replacing_in_every_text_gives(
    prompt: str, listed: list[tuple[str, list[str]]]
) -> None:
    """The symbolic count is exact even where rules rewrite each other's results."""
    plan = plan_of(prompt, prompt_sr=rules(*listed), templates=False)
    got = [
        (text, f"{label}; " if label else "")
        for text, label in zip(prompts_of(plan), labels_of(plan), strict=True)
    ]
    assert got == one_after_the_other(prompt, listed)
    assert plan.plan_size == len(got)


@given(
    st.lists(
        st.sampled_from(["a", "{a|b}", "b_", "_", "__", "{", "|", "$", "[[s]]", ""]), max_size=3
    ),
    st.lists(st.sampled_from(["x", "{c|d}", "_", "", "|", "}", " x"]), min_size=1, max_size=3),
)
def test_templates_see_the_values_that_rules_put_in(parts: list[str], values: list[str]) -> None:
    """A plan with rules is the plans of the replaced prompts, one after the other."""
    prompt = "T".join(parts) + "T"
    expected: list[str] = []
    try:
        for value in dict.fromkeys(values):
            expected += prompts_of(plan_of(prompt.replace("T", value)))
    except TemplateError:  # whatever is wrong with one text is wrong with all
        with pytest.raises(TemplateError):
            plan_of(prompt, prompt_sr=rules(("T", values)))
    else:
        assert prompts_of(plan_of(prompt, prompt_sr=rules(("T", values)))) == expected


def test_six_tokens_of_32_values_are_counted_at_once() -> None:
    """A thousand million prompts, and the last one is as near as the first."""
    listed = [(f"__t{n}__", [f"v{n}.{v}" for v in range(32)]) for n in range(6)]
    prompt = " ".join(token for token, _ in listed)
    plan = plan_of(prompt, wildcards=tokens(*listed))
    assert plan.plan_size == 32**6
    assert plan.variants[-1].config["txt2img"]["prompt"] == "v0.31 v1.31 v2.31 v3.31 v4.31 v5.31"
    assert plan.variants[-1].label == "; ".join(f"__t{n}__=v{n}.31" for n in range(6))
    assert plan.variants[33].choices["__t4__"] == "v4.1"


def test_a_rule_that_another_sets_off_multiplies_only_there() -> None:
    """``dog`` appears with one of three values, so the second rule has its loop only there."""
    plan = plan_of(
        "a cat", prompt_sr=rules(("cat", ["dog", "cow", "hen"]), ("dog", ["wolf", "fox"]))
    )
    assert labels_of(plan) == [
        "cat->dog; dog->wolf", "cat->dog; dog->fox", "cat->cow", "cat->hen",
    ]  # fmt: skip


def test_rules_that_set_each_other_off_too_often_are_refused() -> None:
    """An exact count would need every branch; the message says which rules to change."""
    many = [f"{n}x" for n in range(400)]
    with pytest.raises(PlanError, match="more than 10,000 ways"):
        plan_of("a b", prompt_sr=rules(("a", many), ("b", many), ("x", ["y", "z"])))


def test_random_and_rotating_sources_do_not_multiply() -> None:
    """They take one value for every combination of the other axes, moving on or drawn."""
    plan = plan_of(
        "__w__ [[s]]",
        wildcards=tokens(("__w__", ["a", "b", "c"]), mode="rotate"),
        matrix=slots(("s", ["1", "2"])),
        start=1,
    )
    assert prompts_of(plan) == ["b 1", "c 2"]
    drawn = plan_of(
        "__w__ [[s]]",
        wildcards=tokens(("__w__", ["a", "b", "c"]), mode="random"),
        matrix=slots(("s", [str(n) for n in range(50)])),
    )
    assert drawn.plan_size == 50
    assert {prompt[0] for prompt in prompts_of(drawn)} == {"a", "b", "c"}


def test_sequential_sources_take_the_next_value_per_prompt() -> None:
    """A pack goes through a list in step, beginning where the config says."""
    plan = plan_of(
        ["1 cat", "2 cat", "3 cat"],
        prompt_sr=rules(("cat", ["dog", "cow"]), mode="sequential"),
        start=1,
    )
    assert prompts_of(plan) == ["1 cow", "2 dog", "3 cow"]


def test_a_drawn_value_that_decides_about_templates_is_drawn_per_prompt() -> None:
    """The count must not depend on the variant; the plan says what it did about it."""
    plan = plan_of(
        "__w__ {1|2}", wildcards=tokens(("__w__", ["{a|b}", "c", "d"]), mode="random"), seed=2
    )
    assert plan.plan_size in (2, 4)
    assert any("so it is chosen once per prompt" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("replace", ["BASE quality"]),
        ("append", ["a cat, BASE quality"]),
        ("prepend", ["BASE quality, a cat"]),
    ],
)
def test_a_base_prompt_replaces_or_joins(mode: str, expected: list[str]) -> None:
    """The matrix may carry the prompt that its slots belong to."""
    matrix = slots(base_prompt="BASE quality", prompt_mode=mode)
    assert prompts_of(plan_of("a cat", matrix=matrix)) == expected


def test_a_base_prompt_that_is_there_is_not_repeated() -> None:
    """Whatever its case."""
    matrix = slots(base_prompt="Best Quality", prompt_mode="append")
    assert prompts_of(plan_of("a cat, best quality", matrix=matrix)) == ["a cat, best quality"]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 4)), min_size=1, max_size=5),
    st.integers(1, 300),
)
def test_a_cut_matrix_keeps_a_prefix_of_the_slots_shown(
    listed: list[tuple[bool, int]], limit: int
) -> None:
    """The cut comes before anyone knows which slots occur; counting it needs no list."""
    combinations = list(product(*(range(size) for _, size in listed)))[:limit]
    seen = dict.fromkeys(
        tuple(v for v, (shown, _) in zip(each, listed, strict=True) if shown)
        for each in combinations
    )
    shown = list(product(*(range(size) for is_shown, size in listed if is_shown)))
    assert list(seen) == shown[: shown_prefix(listed, limit)]


def test_a_cut_matrix_is_reported() -> None:
    """A limit bounds the matrix only, and never silently."""
    plan = plan_of("[[a]][[b]]", matrix=slots(("a", "12"), ("b", "xyz"), limit=4))
    assert prompts_of(plan) == ["1x", "1y", "1z", "2x"]
    assert plan.warnings == (
        "kept the first 4 of 6 matrix combinations (randomizer.matrix.limit = 4)",
    )


def test_what_never_matches_is_reported() -> None:
    """A misspelt rule would otherwise be seen when all the pictures are done."""
    plan = plan_of(
        "a cat [[moood]]",
        prompt_sr=rules(("dog", ["x"])),
        wildcards=tokens(("__w__", ["x"])),
        matrix=slots(("mood", ["x"])),
    )
    assert plan.warnings == (
        "txt2img.prompt: slot [[moood]] has no values, left in place",
        "'dog' is in no prompt and changes nothing",
        "'__w__' is in no prompt and changes nothing",
        "slot [[mood]] is in no prompt and changes nothing",
    )


def test_a_slot_with_the_name_of_another_is_reported() -> None:
    """Its values never come; the two names do not even look alike."""
    plan = plan_of(
        "[[art style]]", matrix=slots(("Art Style", ["oil"]), ("art_style", ["ink", "chalk"]))
    )
    assert prompts_of(plan) == ["oil"]
    assert plan.warnings == (
        "randomizer.matrix.slots: the slot 'art_style' was ignored, because 'Art Style' has the "
        "same name (case, blanks, - and _ do not count); rename it, or put the values of both "
        "into one",
    )


def test_repeated_values_are_one() -> None:
    """The same text twice in a list is one picture."""
    assert prompts_of(plan_of("x", prompt_sr=rules(("x", ["a", "b", "a"])))) == ["a", "b"]


def test_only_the_first_prompt_is_touched() -> None:
    """Rules act on what is shown; the negative prompt and img2img's own stay."""
    plan = plan_of("a cat", knobs={"negative_prompt": "cat"}, prompt_sr=rules(("cat", ["dog"])))
    assert plan.variants[0].config["txt2img"]["negative_prompt"] == "cat"


def test_private_signs_in_a_prompt_are_refused() -> None:
    """They stand for values while the prompt is being made."""
    with pytest.raises(PlanError, match=r"U\+100000"):
        plan_of("a \U00100000", prompt_sr=rules(("a", ["b"])))
