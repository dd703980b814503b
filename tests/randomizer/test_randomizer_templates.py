"""Dynamic-prompt templates: the library's language and order, without its two defects."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from dynamicprompts.commands import Command
from hypothesis import example, given
from hypothesis import strategies as st

from randomizer.small_plans import DATA, WILDCARDS, labels_of, plan_of, prompts_of
from randomizer.template_differences import DIFFERENT
from safelight.config import PipelineConfig
from safelight.errors import TemplateError
from safelight.randomizer import plan_variants
from safelight.randomizer.template_signs import has_syntax
from safelight.randomizer.template_syntax import _PlainTemplate

CASES = [
    case
    for case in json.loads((DATA / "dynamicprompts_expand.json").read_text("utf-8"))["cases"]
    if case["template"] not in DIFFERENT
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["template"])
def test_fanout_lists_what_the_library_lists(case: dict[str, Any]) -> None:
    """Templates written for other tools mean the same here, in the same order."""
    plan = plan_of(case["template"], wildcards_dir=WILDCARDS)
    assert prompts_of(plan) == list(dict.fromkeys(case["combinatorial"]))
    assert plan.plan_size == len(plan.variants)


@pytest.mark.parametrize(
    "case", [case for case in CASES if "cyclical_first6" in case], ids=lambda case: case["template"]
)
def test_sequential_steps_as_the_library_cycles(case: dict[str, Any]) -> None:
    """All choices step together; the plan ends when the longest has been gone through."""
    plan = plan_of(case["template"], mode="sequential", wildcards_dir=WILDCARDS)
    assert prompts_of(plan, 6) == case["cyclical_first6"][: plan.plan_size]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["template"])
def test_random_draws_only_what_fanout_lists(case: dict[str, Any]) -> None:
    """A draw is one of the combinations, and none comes twice while new ones remain."""
    if re.search(r"=!|@|0::", case["template"]):
        pytest.skip("does not multiply, or never comes")
    every = list(dict.fromkeys(case["combinatorial"]))
    plan = plan_of(case["template"], mode="random", draws=len(every), wildcards_dir=WILDCARDS)
    assert sorted(prompts_of(plan)) == sorted(every)


def library_texts(template: str) -> list[str]:
    from dynamicprompts.generators import CombinatorialPromptGenerator

    try:
        texts = CombinatorialPromptGenerator().generate(template, 400)
    except RuntimeError:  # the library's way to say that there is no text at all
        return []
    return list(dict.fromkeys(map(str, texts)))


words = st.sampled_from(["red", "green", "blue", "a b", "", "x"])
braces = st.recursive(
    words,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda options: "{" + "|".join(options) + "}"),
        st.lists(inner, min_size=2, max_size=3, unique=True).map(
            lambda options: "{2$$ and $$" + "|".join(options) + "}"
        ),
        st.lists(inner, min_size=2, max_size=2).map(" ".join),
    ),
    max_leaves=5,
)


@given(braces)
def test_any_nesting_of_braces_is_listed_as_the_library_does(template: str) -> None:
    """Our counting walks the same tree in the same order, whatever is inside what."""
    texts = library_texts(f"a {template}")
    if 0 < len(texts) < 400:
        assert list(dict.fromkeys(prompts_of(plan_of(f"a {template}")))) == texts


@example(["{", "2", "::", "}"])
@example(["{", ".5", " ", "::", " ", "{", "a", "|", "2", "}", "}"])
@given(st.lists(st.sampled_from(["{", "}", "|", "a", " ", "\n", ",:(", "2", ".5", "::", "-"])))
def test_templates_of_braces_alone_parse_as_in_the_library(signs: list[str]) -> None:
    """The quick reader for ``{a|2::b}`` builds the very tree that the library would."""
    text = "".join(signs)
    if has_syntax(text):
        assert _PlainTemplate(text).tree() == library_tree(text)


@example(["{", "2::", "__a__", "|", " ", "__a/b-c_d__", " ", "}"])
@example(["__a__", "(", "x", ")"])
@example(["_", "__a__"])
@example(["__a__", "__a__"])
@given(
    st.lists(
        st.sampled_from(
            ["__a__", "__a/b-c_d__", "__", "_", "a", "{", "}", "|", " ", "\n", "2::", "(", ")",
             "-", "/", "*", "~", "!", "#", ","]
        ),
        max_size=14,
    )
)  # fmt: skip
def test_templates_with_wildcards_parse_as_in_the_library(signs: list[str]) -> None:
    """Where the quick reader takes a template on, the library would read the same in it."""
    text = "".join(signs)
    tree = _PlainTemplate(text).tree() if has_syntax(text) else None
    if tree is not None:
        assert tree == library_tree(text)


def library_tree(text: str) -> Command | None:
    """Return what the library's own parser makes of *text*, None when it cannot read it."""
    from dynamicprompts.parser.parse import parse
    from pyparsing import ParseException

    try:
        return parse(text)
    except ParseException:
        return None


def test_usual_templates_do_not_import_the_parser() -> None:
    """Braces, weights and wildcards are most templates; importing pyparsing takes longer."""
    code = (
        "import sys\n"
        "from safelight.randomizer.template_syntax import parse_template\n"
        "parse_template('a {2::red|__colors/warm__} apple on __surface__, {x|{y|z}}', '')\n"
        "print('pyparsing' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_wildcard_is_named_with_near_names() -> None:
    """The library loops for ever here; we stop before counting and name all of them."""
    with pytest.raises(TemplateError) as caught:
        plan_of("{__shape__|x} __colors-cld__ {a|__nothing__}", wildcards_dir=WILDCARDS)
    message = str(caught.value)
    assert "__shape__ in txt2img.prompt; did you mean 'shapes'" in message
    assert "__colors-cld__ in txt2img.prompt; did you mean 'colors-cold'" in message
    assert "__nothing__" in message
    assert str(DATA / WILDCARDS) in message


def test_an_unknown_wildcard_ends_in_time() -> None:
    """A guard in a process of its own: whatever happens, the test suite goes on."""
    code = (
        "from safelight.config import PipelineConfig\n"
        "from safelight.errors import TemplateError\n"
        "from safelight.randomizer import plan_variants\n"
        "for mode in ('fanout', 'random', 'sequential', 'rotate'):\n"
        "    data = {'txt2img': {'prompt': '{__a__|b}'}, 'randomizer': {'mode': mode}}\n"
        "    try:\n"
        "        plan_variants(PipelineConfig.from_mapping(data))\n"
        "    except TemplateError:\n"
        "        print(mode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["fanout", "random", "sequential", "rotate"]


def test_without_a_folder_the_message_says_what_to_set() -> None:
    """The first mistake of a new user."""
    with pytest.raises(TemplateError, match=r"set randomizer\.wildcards_dir"):
        plan_of("__colors__")


@pytest.mark.parametrize("mode", ["fanout", "random", "sequential"])
def test_a_wildcard_that_needs_itself_is_refused(tmp_path: Path, mode: str) -> None:
    """Two files that name each other would expand without end."""
    (tmp_path / "cat.txt").write_text("big __animal__\n", "utf-8")
    (tmp_path / "animal.txt").write_text("dog\n__cat__\n", "utf-8")
    with pytest.raises(TemplateError, match="__animal__ -> __cat__ -> __animal__"):
        plan_of("__animal__", mode=mode, wildcards_dir=str(tmp_path))


def test_an_empty_wildcard_file_says_so(tmp_path: Path) -> None:
    """A file of comments would make a plan of nothing."""
    (tmp_path / "mood.txt").write_text("# soon\n\n", "utf-8")
    with pytest.raises(
        TemplateError, match=r"wildcard __mood__ has no values: mood in .* is empty"
    ):
        plan_of("__mood__", wildcards_dir=str(tmp_path))


@pytest.mark.parametrize(("template", "place"), [("a {b|c", 3), ("__unclosed", 1), ("a %{b", 3)])
def test_a_template_that_cannot_be_read_names_the_place(template: str, place: int) -> None:
    """A prompt may be a page long; the fault is one character."""
    with pytest.raises(TemplateError, match=rf"txt2img\.prompt: .* at character {place}\b"):
        plan_of(template)


@pytest.mark.parametrize(
    ("template", "place"),
    [
        ("lora:foo__bar:0.8", 9),
        ("{a|foo__bar}", 7),
        ("__colors__ foo__bar:0.8", 15),
        ("a {b|c} _____", 9),
    ],
)
def test_underscores_without_an_end_are_pointed_out(template: str, place: int) -> None:
    """Whoever wrote a file's name is not looking for a missing brace."""
    with pytest.raises(TemplateError) as caught:
        plan_of(template, wildcards_dir=WILDCARDS)
    message = str(caught.value)
    assert f"at character {place}, {template[place - 1 :]!r}" in message
    assert "__...__ is read as a wildcard" in message
    assert "randomizer.templates = false switches that off" in message
    assert prompts_of(plan_of(template, templates=False)) == [template]


def test_underscores_that_make_a_whole_wildcard_are_pointed_out_too() -> None:
    """``__bar__`` in a file's name looks for a wildcard that nobody has."""
    with pytest.raises(
        TemplateError,
        match=r"__bar__ .* __\.\.\.__ is read as a wildcard, which randomizer\.templates = false",
    ):
        plan_of("foo__bar__baz", wildcards_dir=WILDCARDS)


def test_a_missing_brace_is_not_blamed_on_a_wildcard() -> None:
    """The wildcard beside it is sound; pointing at it would send the reader astray."""
    with pytest.raises(TemplateError, match="check that every { has its }"):
        plan_of("{a __colors__", wildcards_dir=WILDCARDS)


def test_a_template_nested_too_deeply_is_refused() -> None:
    """Instead of a crash deep inside a parser."""
    with pytest.raises(TemplateError, match="nested too deeply"):
        plan_of("{" * 900 + "a|b" + "}" * 900)


def test_an_undefined_variable_is_named() -> None:
    """The library raises a bare KeyError."""
    with pytest.raises(
        TemplateError, match=r"variable \$\{anmal\} has no value; did you mean 'animal'"
    ):
        plan_of("${animal=cat} ${anmal}")


@pytest.mark.parametrize(
    "prompt",
    [
        "(word:1.2), [a:b:0.5] <lora:name_x:0.8> BREAK\n  two  blanks, 50% off for $5\t",
        "a, b AND c :0.5 [x|y] // not a comment",
        "漢字 🎨 \r\n end ",
    ],
)
def test_prompts_without_template_syntax_stay_byte_for_byte(prompt: str) -> None:
    """Attention, scheduling, LoRA tags and line ends belong to the engine."""
    plan = plan_of(prompt)
    assert prompts_of(plan) == [prompt]
    assert plan.variants[0].templates == {}
    assert plan.warnings == ()


def test_lone_signs_beside_a_template_are_text() -> None:
    """``50%`` and ``$5`` begin no syntax; the library would refuse them."""
    assert prompts_of(plan_of("50% off, $5 (a:1.2) {x|10%}")) == [
        "50% off, $5 (a:1.2) x",
        "50% off, $5 (a:1.2) 10%",
    ]


def test_a_prompt_of_a_megabyte_is_no_template() -> None:
    """Plain prompts never meet the parser, which is a thousand times slower."""
    prompt = "a cat, " * 150_000
    assert prompts_of(plan_of(prompt)) == [prompt]


def test_a_plain_prompt_does_not_import_the_library() -> None:
    """The parser takes a tenth of a second to import; most prompts need none."""
    code = (
        "import sys\n"
        "from safelight.config import PipelineConfig\n"
        "from safelight.randomizer import plan_variants\n"
        "data = {'txt2img': {'prompt': 'a cat'}, 'randomizer': {}}\n"
        "plan_variants(PipelineConfig.from_mapping(data)).variants[0]\n"
        "print('dynamicprompts' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_comment_is_left_out_and_reported() -> None:
    """``#1`` may be a jersey number: nobody should lose half a prompt without a word."""
    plan = plan_of("{a|b} # not this")
    assert prompts_of(plan) == ["a", "b"]
    assert plan.warnings == (
        "txt2img.prompt: what follows '#' is a comment and was left out, '# not this' at character"
        r" 7; write \# for the character",
    )


def test_a_template_of_a_thousand_million_costs_no_memory() -> None:
    """Counted, indexed and sliced without being listed."""
    template = " ".join("{" + "|".join(f"w{i}{j}" for j in range(10)) + "}" for i in range(9))
    plan_of("{a|b}")
    tracemalloc.start()
    plan = plan_of(template)
    assert plan.plan_size == 10**9
    assert plan.variants[123_456_789].config["txt2img"]["prompt"] == (
        "w01 w12 w23 w34 w45 w56 w67 w78 w89"
    )
    assert len(list(plan.variants[10**8 :: 10**6])) == 900
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_equal_options_are_merged_and_their_weights_added() -> None:
    """``{A|A|B}`` is two pictures, and A is drawn twice as often."""
    assert prompts_of(plan_of("{A|A|B}")) == ["A", "B"]
    assert prompts_of(plan_of("{2$$A|A|B}")) == ["A,B", "B,A"]
    firsts = Counter(
        prompts_of(plan_of("{A|A|B}", seed=seed, mode="random", draws=1))[0] for seed in range(900)
    )
    assert 540 < firsts["A"] < 660


def test_random_draws_go_by_the_weights() -> None:
    """``9::a`` comes first nine times in ten; an option of weight 0 never comes."""
    template = "{9::a|1::b|0::c}"
    firsts = Counter(
        prompts_of(plan_of(template, seed=seed, mode="random", draws=1))[0] for seed in range(1000)
    )
    assert set(firsts) == {"a", "b"}
    assert 870 < firsts["a"] < 930
    assert sorted(prompts_of(plan_of(template, mode="random", draws=2))) == ["a", "b"]
    assert prompts_of(plan_of(template)) == ["a", "b", "c"]


def test_each_variant_knows_template_wildcards_and_values(tmp_path: Path) -> None:
    """What a record needs to say how a prompt came about, and from which state of the files."""
    (tmp_path / "animal.txt").write_text("{big|small} __cat__\n", "utf-8")
    (tmp_path / "cat.txt").write_text("lion\ntiger\n", "utf-8")
    template = "a {red|green} __animal__ and __cat__"
    plan = plan_of(template, wildcards_dir=str(tmp_path))
    variant = plan.variants[-1]
    assert variant.templates == {"txt2img.prompt": template}
    assert variant.choices == {
        "txt2img.prompt{1}": "green",
        "txt2img.prompt__animal__": "small tiger",
        "txt2img.prompt__animal__ > {1}": "small",
        "txt2img.prompt__animal__ > __cat__": "tiger",
        "txt2img.prompt__cat__": "tiger",
    }
    assert variant.label == "{1}=green; __animal__=small tiger; __cat__=tiger"
    assert plan.wildcard_files == {
        name: sha256((tmp_path / f"{name}.txt").read_bytes()).hexdigest()
        for name in ("animal", "cat")
    }


def test_one_slot_used_twice_is_told_apart() -> None:
    """A variable expands anew each time; both choices are in the record."""
    plan = plan_of("${x={a|b}}${x}${x}")
    assert labels_of(plan) == [
        "{1}=a; {1} #2=a",
        "{1}=a; {1} #2=b",
        "{1}=b; {1} #2=a",
        "{1}=b; {1} #2=b",
    ]


def test_a_tilde_draws_without_multiplying() -> None:
    """``{~a|b}`` decorates a fanout; the draws are the same for the same seed."""
    plan = plan_of("{1|2|3|4|5|6|7|8} {~a|b}", seed=4)
    assert plan.plan_size == 8
    assert {prompt[-1] for prompt in prompts_of(plan)} == {"a", "b"}
    assert prompts_of(plan) == prompts_of(plan_of("{1|2|3|4|5|6|7|8} {~a|b}", seed=4))


def test_negative_prompts_and_img2img_are_expanded_too() -> None:
    """Every prompt of a drawing stage may be a template; the first one is the outer loop."""
    data = {
        "txt2img": {"prompt": "{a|b}", "negative_prompt": "{x|y}", "seed": 1},
        "img2img": {"prompt": "{c|d}", "denoising_strength": 0.5},
        "randomizer": {},
    }
    plan = plan_variants(PipelineConfig.from_mapping(data))
    assert [axis.name for axis in plan.axes] == [
        "txt2img.prompt{1}", "txt2img.negative_prompt{1}", "img2img.prompt{1}",
    ]  # fmt: skip
    assert plan.variants[1].label == "{1}=a; txt2img.negative_prompt{1}=x; img2img.prompt{1}=d"
    assert plan.variants[1].config["img2img"] == {
        "prompt": "d", "denoising_strength": 0.5, "negative_prompt": "x", "seed": 1,
    }  # fmt: skip


def test_yaml_wildcards_are_read(tmp_path: Path) -> None:
    """Collections of wildcards are mostly published as YAML."""
    pytest.importorskip("yaml")
    (tmp_path / "paint.yaml").write_text("paint:\n  warm: [red, 2::orange]\n", "utf-8")
    assert prompts_of(plan_of("__paint/warm__", wildcards_dir=str(tmp_path))) == ["orange", "red"]
