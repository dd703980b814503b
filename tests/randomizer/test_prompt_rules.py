"""Search/replace rules, inline tokens and matrix slots: exact, counted, labelled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from randomizer.small_plans import labels_of, plan_of, prompts_of
from safelight.config import PipelineConfig
from safelight.errors import ConfigError, PlanError, TemplateError
from safelight.knobs import PROMPT_KNOBS
from safelight.randomizer import plan_variants
from safelight.randomizer.prompt_holes import shown_prefix


def rules(*pairs: tuple[str, Sequence[str]], mode: str = "fanout") -> dict[str, Any]:
    return {"mode": mode, "rules": [{"search": s, "replacements": list(r)} for s, r in pairs]}


def tokens(*pairs: tuple[str, Sequence[str]], mode: str = "fanout") -> dict[str, Any]:
    return {"mode": mode, "tokens": [{"token": t, "values": list(v)} for t, v in pairs]}


def slots(*pairs: tuple[str, Sequence[str]], **more: Any) -> dict[str, Any]:
    return {"slots": [{"name": n, "values": list(v)} for n, v in pairs], **more}


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


@pytest.mark.parametrize(
    ("prompt", "values"),
    [
        ("aVUVTU", {"T": ["", "::["], "U": ["\\:"], "V": ["", "]"]}),
        ("\\VUVV", {"U": [""], "V": ["", "::x", ":"]}),
        ("T{a|b}VU", {"T": ["\\", "x"], "U": [":y"], "V": ["", ":"]}),
        ("TVU", {"T": ["[", "x"], "U": ["[s]]", "y"], "V": ["", "z"]}),
    ],
)
def test_values_that_meet_may_form_a_sign(prompt: str, values: dict[str, list[str]]) -> None:
    """Through others that are empty, too."""
    used = [name for name in values if name in prompt]
    expected = []
    for chosen in product(*(values[name] for name in used)):
        text = prompt
        for name, value in zip(used, chosen, strict=True):
            text = text.replace(name, value)
        expected += prompts_of(plan_of(text, matrix=slots(("s", ["1", "2"]))))
    listed = [(name, values[name]) for name in used]
    plan = plan_of(prompt, prompt_sr=rules(*listed), matrix=slots(("s", ["1", "2"])))
    assert prompts_of(plan) == expected


def test_holes_in_a_row_are_one_axis_each() -> None:
    """Empty values between them decide about nothing by themselves."""
    prompt = "".join(f"<{number}>" for number in range(30)) + " {x|y}"
    listed = [(f"<{number}>", ["", f", {number}"]) for number in range(30)]
    assert plan_of(prompt, prompt_sr=rules(*listed)).plan_size == 2**31


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


@pytest.mark.parametrize("mode", ["sequential", "rotate"])
@pytest.mark.parametrize("plan", ["fanout", "rotate", "sequential"])
def test_sources_move_on_where_they_are_met(mode: str, plan: str) -> None:
    """Otherwise a pack in which every second prompt has the token shows every second value."""
    pack = ["a 1", "none", "a 2", "none", "b a 3"]
    for sources in (
        {"prompt_sr": rules(("a", ["x", "y"]), mode=mode)},
        {"wildcards": tokens(("a", ["x", "y"]), mode=mode)},
    ):
        planned = plan_variants(
            PipelineConfig.from_mapping(
                {"txt2img": {"prompt": pack}, "randomizer": {"mode": plan, **sources}}
            )
        )
        assert prompts_of(planned) == ["x 1", "none", "y 2", "none", "b x 3"]


def test_a_matrix_moves_on_with_every_prompt() -> None:
    """As both dialects of the presets have it, slot or not."""
    for mode in ("sequential", "rotate"):
        plan = plan_of(["none", "[[s]]", "[[s]]"], matrix=slots(("s", ["x", "y"]), mode=mode))
        assert prompts_of(plan) == ["none", "y", "x"]


some_prompts = st.lists(
    st.text(alphabet="aAb", max_size=3)
    | st.sampled_from(["a {1|2|3}", "{1|2} A {3|4} b", "b {1|2}"]),
    min_size=1,
    max_size=4,
)


@given(
    some_prompts,
    st.lists(st.sampled_from(["", "a", "A", "{1|2}"]), max_size=3, unique=True),
    st.lists(st.sampled_from(["a", "bA", "c", " {1|2} ", ""]), min_size=1, max_size=3, unique=True),
    st.integers(0, 3),
)
def test_turns_are_counted_as_a_walk_through_the_plan_counts_them(
    pack: list[str], negatives: list[str], values: list[str], start: int
) -> None:
    """Wherever a variant is asked for, its value is that of all variants before it."""
    options: dict[str, Any] = {
        "prompt_sr": rules(("b", values)),
        "wildcards": tokens(("a", ["x", "y", "z"]), ("A", ["X", "Y"]), mode="rotate"),
        "sweep": {"txt2img.steps": [1, 2]},
        "start": start,
    }
    if negatives:
        options["sweep"]["txt2img.negative_prompt"] = negatives
    plan = plan_of(pack, **options)
    met = {"a": 0, "A": 0}
    assert not any("once per prompt" in warning for warning in plan.warnings)
    for place in range(plan.plan_size):
        choices = plan.variants[place].choices
        for token, listed in (("a", "xyz"), ("A", "XY")):
            if token in choices:
                assert choices[token] == listed[(start + met[token]) % len(listed)]
                met[token] += 1


def test_turns_of_a_huge_plan_are_counted_at_once() -> None:
    """By arithmetic: the last of 10^18 variants knows how many had the token."""
    braces = " ".join("{" + "|".join(f"w{i}.{j}" for j in range(10)) + "}" for i in range(9))
    plan = plan_of(
        [f"T {braces}", braces, f"T {braces}"],
        wildcards=tokens(("T", ["x", "y", "z"]), mode="rotate"),
        sweep={"txt2img.seed": "1-1000000000"},
    )
    assert plan.plan_size == 3 * 10**18
    assert prompts_of(plan, 1)[0].startswith("x")
    last = plan.variants[-1].choices["T"]
    assert last == "xyz"[(2 * 10**18 - 1) % 3]


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
    """Whatever its case; that is told. What is only a part of other words is not there."""
    matrix = slots(base_prompt="Best Quality", prompt_mode="append")
    plan = plan_of("a cat, best quality", matrix=matrix)
    assert prompts_of(plan) == ["a cat, best quality"]
    assert plan.warnings == (
        "txt2img.prompt: has the base prompt already, which is not put there again",
    )
    inside = plan_of("a pink house", matrix=slots(base_prompt="ink", prompt_mode="append"))
    assert (prompts_of(inside), inside.warnings) == (["a pink house, ink"], ())


@pytest.mark.parametrize("mode", ["append", "prepend"])
def test_a_base_prompt_beside_nothing_stands_alone(mode: str) -> None:
    """No comma joins it to a prompt that is empty or not stated."""
    matrix = slots(base_prompt="BASE", prompt_mode=mode)
    assert prompts_of(plan_of(["", "a"], matrix=matrix))[0] == "BASE"
    unstated = {"txt2img": {"seed": 1}, "randomizer": {"matrix": matrix}}
    assert prompts_of(plan_variants(PipelineConfig.from_mapping(unstated))) == ["BASE"]
    parted = plan_of("|p", matrix=matrix, prompt_matrix={})
    assert prompts_of(parted) == ["BASE", "BASE, p"]


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


EVERYWHERE = {
    "txt2img": {"prompt": "MOOD __m__ [[v]] cat", "negative_prompt": "MOOD __m__ [[v]] dog"},
    "img2img": {"prompt": "[[v]] MOOD", "negative_prompt": "__m__"},
}
SOURCES: dict[str, Any] = {
    "prompt_sr": rules(("MOOD", ["calm", "wild"])),
    "wildcards": tokens(("__m__", ["1", "2"])),
    "matrix": slots(("v", ["x", "y"])),
}


def texts_of(stages: dict[str, Any], **options: Any) -> list[tuple[str, ...]]:
    """Return the texts of all stages of each variant."""
    return [texts for texts, _ in texts_and_labels(stages, **options)]


def texts_and_labels(
    stages: dict[str, Any], **options: Any
) -> list[tuple[tuple[str, ...], str | None]]:
    plan = plan_variants(PipelineConfig.from_mapping({**stages, "randomizer": options}))
    return [
        (
            tuple(
                knobs[knob]
                for knobs in variant.config.values()
                for knob in PROMPT_KNOBS
                if knob in knobs
            ),
            variant.label,
        )
        for variant in plan.variants
    ]


def test_a_source_has_one_value_in_every_text() -> None:
    """The negative prompt and img2img's go along: one axis, not one for each text."""
    assert texts_of(EVERYWHERE, **SOURCES) == [
        (f"{mood} {m} {v} cat", f"{mood} {m} {v} dog", f"{v} {mood}", m)
        for mood, m, v in product(["calm", "wild"], "12", "xy")
    ]


def test_a_source_may_be_in_the_negative_prompt_alone() -> None:
    """It is an axis all the same."""
    stages = {"txt2img": {"prompt": "a cat", "negative_prompt": "[[v]] __m__"}}
    assert texts_of(stages, wildcards=SOURCES["wildcards"], matrix=SOURCES["matrix"]) == [
        ("a cat", "x 1"), ("a cat", "y 1"), ("a cat", "x 2"), ("a cat", "y 2"),
    ]  # fmt: skip


def test_nothing_is_found_across_two_texts() -> None:
    """A search text, a slot or the brackets of a template end with the text they began in."""
    stages = {"txt2img": {"prompt": "a [[v", "negative_prompt": "]] b {c"}}
    plan = plan_variants(
        PipelineConfig.from_mapping(
            {
                **stages,
                "randomizer": {
                    "templates": ["txt2img.prompt"],
                    "prompt_sr": rules(("v]]", ["x"]), ("v", ["x", ""])),
                    "matrix": slots(("v", ["y"]), ("x", ["y"])),
                },
            }
        )
    )
    assert [tuple(variant.config["txt2img"].values())[:2] for variant in plan.variants] == [
        ("a [[x", "]] b {c"), ("a [[", "]] b {c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("prompt_sr", ("calm 1 x cat", "MOOD 1 x dog", "x MOOD", "1")),
        ("wildcards", ("calm 1 x cat", "calm __m__ x dog", "x calm", "__m__")),
        ("matrix", ("calm 1 x cat", "calm 1 [[v]] dog", "[[v]] calm", "1")),
    ],
)
def test_a_source_can_be_kept_from_a_text(source: str, expected: tuple[str, ...]) -> None:
    """``applies_to`` names the texts that it acts on."""
    options = {**SOURCES, source: {**SOURCES[source], "applies_to": ["txt2img.prompt"]}}
    assert texts_of(EVERYWHERE, **options)[0] == expected


def test_templates_can_be_kept_from_a_text() -> None:
    """Where braces are meant for the engine; rules act there nevertheless."""
    stages = {"txt2img": {"prompt": "{a|b} cat", "negative_prompt": "{a|b} cat"}}
    assert texts_of(stages, templates=["txt2img.prompt"], prompt_sr=rules(("cat", ["{x}"]))) == [
        ("a x", "{a|b} {x}"), ("b x", "{a|b} {x}"),
    ]  # fmt: skip


def test_a_base_prompt_belongs_to_the_first_prompt() -> None:
    """Unless the matrix is kept from it; its slots act in all of them."""
    stages = {"txt2img": {"prompt": "a", "negative_prompt": "b"}}
    matrix = slots(("v", ["x"]), base_prompt="[[v]]", prompt_mode="append")
    assert texts_of(stages, matrix=matrix) == [("a, x", "b")]
    elsewhere = {**matrix, "applies_to": ["txt2img.negative_prompt"]}
    assert texts_of(stages, matrix=elsewhere) == [("a", "b")]


def test_values_that_decide_about_one_text_are_told_apart_in_all() -> None:
    """A branch is a branch of the whole prompt, and the template of each text is read by itself."""
    stages = {"txt2img": {"prompt": "W cat", "negative_prompt": "W dog"}}
    options = {"templates": ["txt2img.negative_prompt"], "prompt_sr": rules(("W", ["{1|2}", "w"]))}
    assert texts_of(stages, **options) == [
        ("{1|2} cat", "1 dog"), ("{1|2} cat", "2 dog"), ("w cat", "w dog"),
    ]  # fmt: skip


def test_warnings_name_the_text_that_they_are_about() -> None:
    """Not the first one, which may have nothing to do with it."""
    stages = {"txt2img": {"prompt": "a", "negative_prompt": "[[zz]] __w__ {1|2}"}}
    plan = plan_variants(
        PipelineConfig.from_mapping(
            {
                **stages,
                "randomizer": {
                    "wildcards": tokens(("__w__", ["{a|b}", "c", "d"]), mode="random"),
                    "matrix": slots(("a", ["b"])),
                },
            }
        )
    )
    told = [warning for warning in plan.warnings if "negative" in warning]
    assert [warning.partition(": ")[0] for warning in told] == ["txt2img.negative_prompt"] * 2


def test_a_long_prompt_beside_a_long_negative_prompt_is_not_too_long() -> None:
    """The bound is that of one text."""
    stages = {"txt2img": {"prompt": "a " * 45_000, "negative_prompt": "b " * 45_000}}
    texts = texts_of(stages, prompt_sr=rules(("a", ["c"]), ("b", ["d"])))
    assert texts == [("c " * 45_000, "d " * 45_000)]


SWEPT: dict[str, Any] = {
    "sweep": {"txt2img.negative_prompt": ["{low|bad} cat", "MOOD [[v]]", "plain"]},
    "prompt_sr": rules(("MOOD", ["calm", "wild"]), ("cat", ["dog"])),
    "matrix": slots(("v", ["x", "y"])),
}


def test_swept_prompts_are_worked_on_as_stated_ones() -> None:
    """Each value by itself: what is in one of them multiplies that one only."""
    stages = {"txt2img": {"prompt": "a", "negative_prompt": "not this"}}
    assert texts_and_labels(stages, **SWEPT) == [
        (
            ("a", "low dog"),
            "negative_prompt={low|bad} cat; cat->dog; txt2img.negative_prompt{1}=low",
        ),
        (
            ("a", "bad dog"),
            "negative_prompt={low|bad} cat; cat->dog; txt2img.negative_prompt{1}=bad",
        ),
        (("a", "calm x"), "negative_prompt=MOOD [[v]]; MOOD->calm; [v]=x"),
        (("a", "calm y"), "negative_prompt=MOOD [[v]]; MOOD->calm; [v]=y"),
        (("a", "wild x"), "negative_prompt=MOOD [[v]]; MOOD->wild; [v]=x"),
        (("a", "wild y"), "negative_prompt=MOOD [[v]]; MOOD->wild; [v]=y"),
        (("a", "plain"), "negative_prompt=plain"),
    ]


def test_swept_prompts_are_the_outermost_axis_inside_the_pack() -> None:
    """With their values as swept; a variant tells the text that it was made of."""
    stages = {"txt2img": {"prompt": ["a W", "b"]}, "img2img": {"seed": 3}}
    sweep = {"txt2img.steps": [1, 2], "img2img.prompt": ["W {1|2}", "v"]}
    plan = plan_variants(
        PipelineConfig.from_mapping(
            {**stages, "randomizer": {"sweep": sweep, "prompt_sr": rules(("W", ["x", "y"]))}}
        )
    )
    assert [axis.name for axis in plan.axes] == [
        "txt2img.prompt", "img2img.prompt", "W->", "img2img.prompt{1}", "txt2img.steps",
    ]  # fmt: skip
    assert plan.axes[1].values == ("W {1|2}", "v")
    second = plan.variants[2]
    assert second.choices["img2img.prompt"] == "W {1|2}"
    assert second.templates == {"txt2img.prompt": "a W", "img2img.prompt": "W {1|2}"}
    assert second.config["img2img"]["prompt"] == "x 2"
    assert plan.plan_size == 2 * (2 * 2 + 2) + 2 * (2 * 2 + 1)


def test_many_swept_prompts_without_anything_in_them_are_one_axis() -> None:
    """They are not told apart, so a plan of a thousand million is counted at once."""
    texts = [f"text {number}" for number in range(20_000)]
    stages = {"txt2img": {"prompt": "W"}, "img2img": {}}
    plan = plan_variants(
        PipelineConfig.from_mapping(
            {
                **stages,
                "randomizer": {
                    "sweep": {"txt2img.negative_prompt": texts, "img2img.prompt": texts},
                    "prompt_sr": rules(("W", ["x", "y"])),
                },
            }
        )
    )
    assert plan.plan_size == 20_000**2 * 2
    assert plan.variants[-1].config["img2img"]["prompt"] == texts[-1]


def test_prompts_of_settings_are_taken_as_they_are_and_told() -> None:
    """Settings are written by programs, too, and hold what was drawn once."""
    settings = [
        {"txt2img.negative_prompt": "plain"}, {"txt2img.negative_prompt": "a cat"},
        {"txt2img.negative_prompt": "{a|b}"}, {"txt2img.negative_prompt": "[[v]]"},
    ]  # fmt: skip
    plan = plan_of(
        "[[v]] cat",
        settings=settings,
        prompt_sr=rules(("cat", ["dog"])),
        matrix=slots(("v", ["x"])),
    )
    assert [variant.config["txt2img"]["negative_prompt"] for variant in plan.variants] == [
        "plain", "a cat", "{a|b}", "[[v]]",
    ]  # fmt: skip
    assert plan.warnings == (
        "randomizer.settings[1]: txt2img.negative_prompt (and 2 more) is taken as it is, although"
        " it holds a template, or what a rule, token or slot looks for; sweep the prompt to have"
        " that worked on",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["txt2img.promt"], "did you mean 'txt2img.prompt'"),
        (["img2img.prompt"], "img2img does not run"),
        (["upscale.prompt"], "upscale has no prompts"),
        ([], "must be a list of prompts"),
        ("txt2img.prompt", "must be a list of prompts"),
        ([3], "must name prompts among"),
    ],
)
@pytest.mark.parametrize("source", ["prompt_sr", "wildcards", "matrix"])
def test_names_of_texts_are_checked(source: str, names: object, message: str) -> None:
    """A name that is nowhere would switch the source off in silence."""
    with pytest.raises(ConfigError, match=message):
        texts_of({"txt2img": {}}, **{source: {"applies_to": names}})


@pytest.mark.parametrize("names", [["img2img.prompt"], [], ["prompt"]])
def test_names_of_templates_are_checked(names: list[str]) -> None:
    """As those of the sources are."""
    with pytest.raises(ConfigError, match=r"randomizer\.templates"):
        plan_of("a", templates=names)


def test_private_signs_in_a_prompt_are_refused() -> None:
    """They stand for values while the prompt is being made."""
    with pytest.raises(PlanError, match=r"U\+100000"):
        plan_of("a \U00100000", prompt_sr=rules(("a", ["b"])))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"templates": ["img2img.prompt"]}, "templates"),
        ({"prompt_sr": {"rules": ["b => c"], "applies_to": ["img2img.prompt"]}},
         "prompt_sr.applies_to"),
    ],
)  # fmt: skip
def test_a_prompt_that_is_taken_over_is_told_where_a_source_names_it(
    options: dict[str, Any], key: str
) -> None:
    """It is that of txt2img as drawn, so nothing acts there; a prompt of its own is no matter."""
    stages = {"txt2img": {"prompt": "a {x|y}", "seed": 1}, "img2img": {"denoising_strength": 0.5}}
    told = f"randomizer.{key}: img2img.prompt has no text of its own and takes that of txt2img"
    data = {**stages, "randomizer": options}
    warnings = plan_variants(PipelineConfig.from_mapping(data)).warnings
    assert [warning for warning in warnings if told in warning]
    own = {**data, "img2img": {"prompt": "b", "denoising_strength": 0.5}}
    assert not plan_variants(PipelineConfig.from_mapping(own)).warnings
    named = ["txt2img.prompt", "txt2img.negative_prompt"]
    assert plan_of("a", templates=named).warnings == (
        "randomizer.templates: txt2img.negative_prompt has no text of its own, so nothing acts"
        " there; state it, or leave it out",
    )


@pytest.mark.parametrize("mode", ["sequential", "rotate", "random"])
def test_values_that_no_variant_has_are_told(mode: str) -> None:
    """One prompt, or one combination, is one value of a source that does not multiply."""
    sources: dict[str, Any] = {"wildcards": tokens(("X", ["1", "2", "3"]), mode=mode)}
    (warning,) = plan_of("a X", seeds_per_variant=2, **sources).warnings
    assert warning.startswith("'X' takes one value for each ")
    assert "it has one of its 3 values" in warning
    assert not plan_of(["a X", "b X", "c X"], **sources).warnings
    swept = plan_of("a X", sweep={"txt2img.steps": "1-3"}, **sources)
    assert bool(swept.warnings) == (mode == "sequential")
    again = plan_of("a X", start=1, **sources).warnings
    assert any("X" in told for told in again) == (mode == "random")
