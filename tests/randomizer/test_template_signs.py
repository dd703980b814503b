"""Prompts draw what their text says, or say that they do not."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from randomizer.small_plans import WILDCARDS, plan_of, prompts_of
from safelight.config import PipelineConfig
from safelight.errors import TemplateError
from safelight.randomizer import plan_variants
from safelight.randomizer.template_signs import is_template, read_signs, unshielded

SCENE = '{"scene": "studio", "subjects": [{"type": "vase"}], "camera": {"lens": "85mm"}}'


@pytest.mark.parametrize("text", [SCENE, f"  {SCENE}\n", '["a", {"b": "c#d"}]', "{}", "[1, 2]"])
@pytest.mark.parametrize("knob", ["prompt", "negative_prompt"])
def test_a_prompt_that_is_json_is_left_alone(text: str, knob: str) -> None:
    """FLUX.2, Ideogram and others are asked in JSON, and a sweep of steps must not touch it."""
    data = {
        "txt2img": {"prompt": "a cat", "seed": 1, knob: text},
        "randomizer": {"sweep": {"txt2img.steps": [4, 8]}},
    }
    plan = plan_variants(PipelineConfig.from_mapping(data))
    assert [variant.config["txt2img"][knob] for variant in plan.variants] == [text, text]
    assert plan.warnings == ()


def test_a_template_inside_json_is_told() -> None:
    """It could have been meant, and it is not what is drawn."""
    plan = plan_of('{"subject": "a __animal__", "colour": "{red|blue}"}')
    assert plan.plan_size == 1
    assert plan.warnings == (
        "txt2img.prompt: the text is JSON and was left as it is, with '__animal__' at character 16;"
        " for a choice inside JSON use [randomizer.prompt_sr], [randomizer.wildcards] or [[slots]]",
    )


def test_rules_put_values_into_json() -> None:
    """The value decides whether it still is JSON: one with a quote ends the text it is in."""
    rule = {"rules": [{"search": "VASE", "replacements": ["vase", "jug", 'a "jug"']}]}
    plan = plan_of('{"scene": {"type": "VASE"}}', prompt_sr=rule)
    assert prompts_of(plan) == [
        '{"scene": {"type": "vase"}}',
        '{"scene": {"type": "jug"}}',
        '"scene": "type": "a "jug""',
    ]
    assert "offers no choice" in plan.warnings[0]


def test_without_a_randomizer_json_is_not_called_a_template() -> None:
    """Nobody needs a table to have left alone what is left alone anyway."""
    for prompt, warnings in ((SCENE, 0), ("a {red|green} cat", 1), ("#tea", 0)):
        plan = plan_variants(PipelineConfig.from_mapping({"txt2img": {"prompt": prompt}}))
        assert len(plan.warnings) == warnings


@pytest.mark.parametrize(
    ("text", "drawn", "told"),
    [
        ("{{1girl}}, solo", "1girl, solo", r"'{{1girl}}' at character 1 offers no choice"),
        ("a {vase}", "a vase", r"'{vase}' at character 3 offers no choice"),
        ("a {x|x}", "a x", r"'{x|x}' at character 3 offers no choice"),
        ("a {0$$x|y}b", "a b", r"'{0$$x|y}' at character 3 offers no choice"),
        ("a {}b", "a b", r"'{}' at character 3 offers no choice"),
        ("{ {a} and {b} }", "a and b ", r"'{ {a} and {b} }' at character 1 offers no choice"),
    ],
)
def test_braces_without_a_choice_are_told(text: str, drawn: str, told: str) -> None:
    """Emphasis in braces, and JSON that is not whole, would vanish without a word."""
    plan = plan_of(text)
    assert prompts_of(plan) == [drawn]
    assert plan.warnings == (
        f"txt2img.prompt: {told}, so its braces were left out; write \\{{ and \\}} to keep them",
    )


@pytest.mark.parametrize(
    "text",
    ["{__colors-cold__}", "{2$$__colors-cold__}", "{a|b}", "{{a|b}}", "${x=a}{${x}}", "{2$$a|b}"],
)
def test_braces_with_a_choice_are_not_told(text: str) -> None:
    """A warning that always comes is read by nobody."""
    assert plan_of(text, wildcards_dir=WILDCARDS).warnings == ()


@pytest.mark.parametrize("sign", ["{", "}", "|", "#", "$", "__", "::"])
def test_a_backslash_makes_a_sign_a_character(sign: str, tmp_path: Path) -> None:
    """In prompts, inside braces and in values of files alike, and once."""
    (tmp_path / "w.txt").write_text(f"a \\{sign} b\n", "utf-8")
    for template in (
        f"a \\{sign} b",
        f"{{a \\{sign} b|c}}",
        "__w__",
        "{__w__|c}",
        "${x=__w__}${x}",
    ):
        plan = plan_of(template, wildcards_dir=str(tmp_path))
        assert prompts_of(plan)[0] == f"a {sign} b"
        assert plan.warnings == ()


def test_backslashes_of_the_engine_stay() -> None:
    r"""``\(`` is a bracket without weight; ``\||/`` is a tag."""
    prompts = prompts_of(plan_of(r"\(x\) \[y\] \n \||/, C:\dir {a|\||/}"))
    assert prompts == [r"\(x\) \[y\] \n \||/, C:\dir a", r"\(x\) \[y\] \n \||/, C:\dir \||/"]
    assert prompts_of(plan_of(r"\\{a|b} \\\{")) == ["\\a \\{", "\\b \\{"]


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("a house in #FF5733 with a {red|green} door", "a house in #FF5733 with a red door"),
        ('a mug that says {"#tea"|"#coffee"}', 'a mug that says "#tea"'),
        ("C# code, A# minor {red|green}", "C# code, A# minor red"),
        ("#1 of {red|green}", "#1 of red"),
        ("<lora:a # b:1> {red|green}", "<lora:a # b:1> red"),
    ],
)  # fmt: skip
def test_a_hash_that_is_no_comment_is_text(text: str, drawn: str) -> None:
    """Colours, tags, numbers and languages are written more often than comments."""
    plan = plan_of(text)
    assert plan.plan_size == 2
    assert prompts_of(plan)[0] == drawn
    assert plan.warnings == ()


def test_a_comment_is_told_with_its_place_wherever_it_is(tmp_path: Path) -> None:
    """In a value of a wildcard file the rest was cut without a word."""
    (tmp_path / "w.txt").write_text("red # inline\nblue\n", "utf-8")
    plan = plan_of("a cat\n#{x|y}\n__w__", wildcards_dir=str(tmp_path))
    assert plan.warnings == (
        "txt2img.prompt: what follows '#' is a comment and was left out, '#{x|y}' at character 7;"
        r" write \# for the character",
        "txt2img.prompt, __w__ > 'red # inline': what follows '#' is a comment and was left out,"
        r" '# inline' at character 5; write \# for the character",
    )


def test_a_comment_that_cuts_a_brace_off_is_named() -> None:
    """Every brace is closed, as far as the reader can see."""
    with pytest.raises(
        TemplateError, match=r"what follows # at character 4 is a comment, write \\#"
    ):
        plan_of("{a # b|c}")


def test_prompt_editing_inside_braces_stays_whole() -> None:
    """``{blonde|[black|gray]}`` drew half a bracket."""
    plan = plan_of("{blonde|brunette|[black|gray]} hair, |_|, [{a|b}|c]")
    assert prompts_of(plan)[4:] == [
        "[black|gray] hair, |_|, [a|c]",
        "[black|gray] hair, |_|, [b|c]",
    ]
    assert plan.warnings == (
        "txt2img.prompt: the | in '[black|gray]' at character 18 is prompt editing and separates no"
        " options; for a choice use braces inside",
    )
    assert prompts_of(plan_of(r"{\[a|b\]|[c|d}")) == [r"\[a", r"b\]", "[c", "d"]


def test_a_wildcard_between_options_is_told() -> None:
    """What stands between two ``$$`` is put in as it is."""
    plan = plan_of("x{2$$, neon-__colors-cold__-$$a|b}", wildcards_dir=WILDCARDS)
    assert prompts_of(plan)[0] == "xa, neon-__colors-cold__-b"
    (warning,) = plan.warnings
    assert "'__colors-cold__' at character 13 stands between $$ and $$, where it is text" in warning


def test_underscores_in_a_name_are_part_of_it(tmp_path: Path) -> None:
    """LoRAs are called like that, also in files; where a wildcard could be meant, it is told."""
    (tmp_path / "lora.txt").write_text("<lora:Stone__old:1> castle\n", "utf-8")
    (tmp_path / "wash.txt").write_text("w\n", "utf-8")
    text = (
        "<lora:ink___wash_v3:0.7>, <lora:wool__knit:0.7> <my__own__word> __lora__ {a|<lora:x__y:1>}"
    )
    plan = plan_of(text, wildcards_dir=str(tmp_path))
    assert prompts_of(plan) == [
        text.replace("__lora__", "<lora:Stone__old:1> castle").replace("{a|<lora:x__y:1>}", end)
        for end in ("a", "<lora:x__y:1>")
    ]
    assert plan.warnings == ()
    plan = plan_of("<lora:a__wash__b:1>", wildcards_dir=str(tmp_path))
    assert prompts_of(plan) == ["<lora:a__wash__b:1>"]
    (warning,) = plan.warnings
    assert "although there is such a wildcard; write {__wash__} to use it" in warning
    assert prompts_of(plan_of("<lora:{__wash__}:1>", wildcards_dir=str(tmp_path))) == ["<lora:w:1>"]


@pytest.mark.parametrize("text", ["{@a|b|c}", "{~a|b}", "__@shapes__"])
def test_signs_that_make_no_combinations_are_told_where_they_are_alone(text: str) -> None:
    """One picture instead of three; beside anything that varies they do what they are for."""
    plan = plan_of(text, wildcards_dir=WILDCARDS)
    assert plan.plan_size == 1
    assert plan.warnings[0].startswith("txt2img.prompt: ~ and @ take one value for each")
    assert plan_of(f"{{1|2}} {text}", wildcards_dir=WILDCARDS).warnings == ()
    assert plan_of(text, mode="random", draws=1, wildcards_dir=WILDCARDS).warnings == ()


def test_many_values_alike_are_told_in_few_sentences(tmp_path: Path) -> None:
    """A file of thousands must not fill a record."""
    (tmp_path / "w.txt").write_text("".join(f"v{n} # c\n" for n in range(500)), "utf-8")
    plan = plan_of("__w__", wildcards_dir=str(tmp_path))
    assert plan.plan_size == 500
    assert len(plan.warnings) == 4
    assert plan.warnings[-1] == "txt2img.prompt, __w__: the same of 497 more"


@example(["{", "\\", "|", "\n", "#"])
@given(
    st.lists(
        st.sampled_from(
            ["{", "}", "|", "\\", "#", "$", "$$", "%", "__", "a", " ", "\n", "[", "]", "<l:", ">",
             "::", "2$$", "//", "/*", "@", '"', "${", "%{", "\\||/", "é"]
        ),
        max_size=16,
    )
)  # fmt: skip
def test_shielding_changes_nothing_but_backslashes_and_comments(signs: list[str]) -> None:
    """Every sign is there as before, and a text without signs is itself."""
    text = "".join(signs)
    read = read_signs(text)
    if "#" not in text and "\\" not in text and "$$" not in text:
        assert unshielded(read.text) == text
        assert [read.place(n) for n in range(len(text))] == list(range(len(text)))
    if not is_template(text):
        assert prompts_of(plan_of(text)) == [text]


WORDS = ["a cat", "(red hat:1.2)", "[blue]", "8k", "50%", "$5", "<lora:x_y__z:0.7>", "\\(artist\\)"]
ODD = [
    *("{{best}}", "{best}", "#tag", "# 1", "a|b", "[x|y]", "{a|[b|c]}", ":{", "}:", "|_|", "__"),
    *("\\o/", "$$$", "//", "C#", ">__<", '{"a": 1}', "{x::y}", "^__^", "@me", "~art~", "\\||/"),
    *("100%{x}", "http://a.b/c#d", "{masterpiece:1.2}", "((a))", "{[a]}", "\\{x\\}"),
]


def test_prompts_as_people_write_them_pass_unchanged_or_with_a_word() -> None:
    """Thousands of prompts that were never meant as templates: none is changed in silence."""
    chance = Random(5)
    counts = {"same": 0, "told": 0, "refused": 0}
    for _ in range(2_400):
        words = chance.choices(WORDS, k=4) + chance.choices(ODD, k=chance.randint(0, 2))
        chance.shuffle(words)
        prompt = chance.choice([", ", " ", "\n"]).join(words)
        try:
            plan = plan_of(prompt)
        except TemplateError as error:
            assert "at character" in str(error) or "unknown wildcard" in str(error)
            counts["refused"] += 1
            continue
        same = prompts_of(plan, 2) == [prompt]
        fans_out = plan.plan_size > 1
        asked = "\\{x\\}" in prompt
        assert same or plan.warnings or fans_out or asked, prompt
        counts["same" if same else "told"] += 1
    assert min(counts.values()) > 50


pieces = st.sampled_from(
    [*"\\#<{|}[]$\n> a", "{a|b}", "__colors-cold__", "# ", "<l:", "__", '{"k": "', '"}', '["', '"]',
     "x__y"]
)  # fmt: skip
values = st.sampled_from(["", "<l:q>", "{c|d}", "b c", *'x\\<>\n"|_#:/@$]'])


@example([["\\"], ["__colors-cold__"]], [""])
@example([['["', "{a|b}", '["']], ["]"])
@example([["\\", "T", "|"]], ["\\", "x"])
@example([["<l:", "T", "x__y", ">"]], ["q", ">"])
@example([['{"k": "', "T", '"}']], ["x", '"'])
@example([["T", " # ", "x {a|b}"]], ["x", "\n"])
@given(
    st.lists(st.lists(pieces, max_size=4), min_size=1, max_size=3),
    st.lists(values, min_size=1, max_size=3),
)
def test_rules_decide_about_signs_as_if_they_were_written_out(
    parts: list[list[str]], listed: list[str]
) -> None:
    """One plan with a rule is the plans of the prompts that the rule makes, one after the other."""
    prompt = "T".join("".join(part) for part in parts) + "T"
    rule: dict[str, Any] = {"rules": [{"search": "T", "replacements": listed}]}
    expected: list[str] = []
    try:
        for value in dict.fromkeys(listed):
            expected += prompts_of(plan_of(prompt.replace("T", value), wildcards_dir=WILDCARDS))
    except TemplateError:
        with pytest.raises(TemplateError):
            plan_of(prompt, prompt_sr=rule, wildcards_dir=WILDCARDS)
    else:
        assert prompts_of(plan_of(prompt, prompt_sr=rule, wildcards_dir=WILDCARDS)) == expected
