"""Where the words of a variant come from: all of its text, and nothing made up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from randomizer.small_plans import DATA, WILDCARDS
from safelight.config import PipelineConfig
from safelight.errors import TemplateError
from safelight.randomizer import plan_variants
from safelight.randomizer.explanation import Explanation, Piece, explain_variant


def config_of(
    prompt: object, folder: Path = DATA, stages: dict[str, Any] | None = None, **options: Any
) -> PipelineConfig:
    data = {
        "txt2img": {"prompt": prompt, "seed": 1},
        **(stages or {}),
        "randomizer": {"mode": "fanout", "wildcards_dir": WILDCARDS, **options},
    }
    return PipelineConfig.from_mapping(data, folder=folder)


def sources(pieces: Sequence[Piece]) -> list[tuple[object, ...]]:
    """Return (text, source, origin) of everything with a source, and what is inside."""
    return [
        (piece.text, piece.source, piece.origin, *([inside] if inside else []))
        for piece in pieces
        if piece.source
        for inside in [sources(piece.inside)]
    ]


def of_prompt(config: PipelineConfig, index: int, where: str = "txt2img.prompt") -> Any:
    explanation = explain_variant(config, 0, index)
    return next(prompt for prompt in explanation.prompts if prompt.where == where)


def test_choices_wildcards_and_variables_are_named(tmp_path: Path) -> None:
    """With the file of a wildcard, and what its value chose inside."""
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "animal.txt").write_text("{big|small} cat\n", "utf-8")
    (tmp_path / "w" / "view.txt").write_text("near\nfar\n", "utf-8")
    template = "a {red|green} __animal__, ${v=!__view__}${v} and ${w=so}${w} ${v}"
    config = config_of(template, tmp_path, wildcards_dir="w")
    prompt = of_prompt(config, 3)
    assert prompt.text == "a red small cat, near and so near"
    assert prompt.written == template
    near = ("near", "txt2img.prompt${v}", "the template",
            [("near", "txt2img.prompt__view__", "w/view.txt")])  # fmt: skip
    assert sources(prompt.pieces) == [
        ("red", "txt2img.prompt{1}", "the template"),
        ("small cat", "txt2img.prompt__animal__", "w/animal.txt",
         [("small", "txt2img.prompt__animal__ > {1}", "a value of w/animal.txt")]),
        near,
        ("so", "txt2img.prompt${w}", "the template"),
        near,
    ]  # fmt: skip


def test_rules_tokens_slots_and_the_base_prompt_are_named() -> None:
    """Also those that stand in each other, and in a choice of a template."""
    config = config_of(
        "a MOOD {big MOOD cat|dog} __t__",
        prompt_sr={
            "rules": [
                {"search": "MOOD", "replacements": ["dark", "light"]},
                {"search": "ark", "replacements": ["ull"]},
            ]
        },
        wildcards={"tokens": [{"token": "__t__", "values": ["in x", "in y"]}]},
        matrix={
            "slots": [{"name": "s", "values": ["1", "2"]}],
            "base_prompt": "on [[s]]",
            "prompt_mode": "append",
        },
    )
    prompt = of_prompt(config, 0)
    dull = ("dull", "MOOD->", "randomizer.prompt_sr", [("ull", "ark->", "randomizer.prompt_sr")])
    assert prompt.text == "a dull big dull cat in x, on 1"
    assert sources(prompt.pieces) == [
        dull,
        ("big dull cat", "txt2img.prompt{1}", "the template", [dull]),
        ("in x", "__t__", "randomizer.wildcards"),
        (", on 1", "base prompt", "randomizer.matrix.base_prompt",
         [("1", "[s]", "randomizer.matrix.slots")]),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["{x|y}", "__colors-cold__", "2::x", "x|y", "{x", "$$x", "# x"])
def test_a_value_that_is_a_part_of_a_template_has_a_source(value: str) -> None:
    """It makes signs of its own, or makes others of those around it; its words are found still."""
    rules = {"rules": [{"search": "W", "replacements": [value, f"{value} or"]}]}
    config = config_of("a {W|b} W", prompt_sr=rules)
    try:
        plan = plan_variants(config)
    except TemplateError:
        return  # it makes no template at all
    for variant in plan.variants:
        prompt = of_prompt(config, variant.index)
        assert "".join(piece.text for piece in prompt.pieces) == prompt.text
        for words in unsourced(prompt.pieces):
            assert not re.search("x|y|or|blue|green", words)


def test_swept_loras_and_knobs_and_seeds_are_told() -> None:
    """Which value of which source; and what img2img takes over."""
    config = config_of(
        ["a cat", "a <lora:ink:0.2> dog"],
        stages={"img2img": {"denoising_strength": 0.5}},
        sweep={"lora.ink": [0.5, 1.0], "txt2img.steps": [3, 4]},
        settings=[{"txt2img.cfg_scale": 3, "txt2img.width": 64}],
        seeds_per_variant=2,
    )
    explanation = explain_variant(config, 5, 15)
    first, redrawn = explanation.prompts
    assert first.text == "a <lora:ink:1> dog"
    assert (first.origin, redrawn.origin) == (
        "txt2img.prompt, number 2 of 2", "taken over from txt2img.prompt",
    )  # fmt: skip
    assert sources(first.pieces) == [("1", "lora.ink", "randomizer.sweep, value 2")]
    assert sources(redrawn.pieces) == sources(first.pieces)
    told = {knob.name: (knob.value, knob.origin) for knob in explanation.knobs}
    assert told == {
        "txt2img.seed": (2, "counted from 1, which is stated"),
        "txt2img.steps": (4, "randomizer.sweep, value 2"),
        "txt2img.cfg_scale": (3, "randomizer.settings, number 1 of 1"),
        "txt2img.width": (64, "randomizer.settings, number 1 of 1"),
        "img2img.denoising_strength": (0.5, "stated"),
        **{
            f"img2img.{knob}": (value, f"taken over from txt2img.{knob}")
            for knob, value in (("seed", 2), ("steps", 4), ("cfg_scale", 3))
        },
    }


def test_a_lora_after_a_choice_is_no_part_of_it() -> None:
    """Nor is anything else that is put at an end of the text."""
    config = config_of("a {x|y}", sub_sweeps=[{"txt2img.steps": [3]}, {"lora.ink": [0.5, 1]}])
    explanation = explain_variant(config, 0, 2)
    (prompt,) = explanation.prompts
    assert [(piece.text, piece.source, piece.inside) for piece in prompt.pieces] == [
        ("a ", "", ()), ("x", "txt2img.prompt{1}", ()), (" <lora:ink:1>", "lora.ink", ()),
    ]  # fmt: skip
    assert prompt.pieces[2].origin == "randomizer.sub_sweeps, number 2 of 2"
    steps = explain_variant(config, 0, 0).knobs[-1]
    assert (steps.name, steps.origin) == ("txt2img.steps", "randomizer.sub_sweeps, number 1 of 2")


def test_what_a_row_of_a_file_sets_comes_with_its_prompt(tmp_path: Path) -> None:
    """Seeds and LoRAs, too."""
    (tmp_path / "p.csv").write_text("prompt,seed,lora.ink\na,5,0.5\nb,-1,\n", "utf-8")
    data = {
        "txt2img": {"seed": 1},
        "randomizer": {"prompts": {"file": "p.csv"}, "seeds_per_variant": 2},
    }
    config = PipelineConfig.from_mapping(data, folder=tmp_path)
    explanation = explain_variant(config, 0, 1)
    lora = explanation.prompts[0].pieces[-1]
    assert (lora.text, lora.origin) == (" <lora:ink:0.5>", "comes with the prompt")
    assert lora.source.endswith("lora.ink")
    (seed,) = explanation.knobs
    assert (seed.value, seed.origin) == (6, "counted from 5, which comes with the prompt")
    assert explain_variant(config, 0, 2).knobs[0].origin == "comes with the prompt"


def test_a_seed_that_was_drawn_says_of_what() -> None:
    """The plan's seed gives it again."""
    config = config_of("a", stages={"txt2img": {"prompt": "a"}})
    (seed,) = explain_variant(config, 7).knobs
    assert seed.origin == "drawn from the plan's seed 7"


def test_a_text_with_private_characters_stays_as_it_is_where_nothing_is_put_in() -> None:
    """They are the marks of this very work."""
    text = "a \U0010ff10 {x|y}"
    config = PipelineConfig.from_mapping({"txt2img": {"prompt": "a", "negative_prompt": text}})
    _, negative = explain_variant(config, 0, 0).prompts
    assert (negative.text, [piece.source for piece in negative.pieces]) == (text, [""])


def test_rules_slots_and_parts_are_told_in_every_prompt() -> None:
    config = PipelineConfig.from_mapping({
        "txt2img": {"prompt": "a|b|c cat", "negative_prompt": "low cat [[s]]"},
        "img2img": {"prompt": "cat {p|q}", "denoising_strength": 0.5},
        "randomizer": {
            "prompt_matrix": {"enabled": True}, "prompt_sr": {"rules": ["cat => dog | cow"]},
            "matrix": {"slots": ["s: one | two"]},
            "sweep": {"img2img.negative_prompt": ["dull", "cat"]},
        },
    })  # fmt: skip
    plan = plan_variants(config)
    for index in range(plan.plan_size):
        config_of_variant: Mapping[Any, Mapping[str, Any]] = plan.variants[index].config
        for prompt in explain_variant(config, 0, index).prompts:
            stage, _, knob = prompt.where.partition(".")
            assert prompt.text == config_of_variant[stage][knob]
            assert "".join(piece.text for piece in prompt.pieces) == prompt.text
    told = {
        prompt.where: prompt for prompt in explain_variant(config, 0, plan.plan_size - 1).prompts
    }
    sources = {
        where: [p.source for p in prompt.pieces if p.source] for where, prompt in told.items()
    }
    assert sources == {
        "txt2img.prompt": ["parts"], "txt2img.negative_prompt": ["cat->", "[s]"],
        "img2img.prompt": ["cat->", "img2img.prompt{1}"],
        "img2img.negative_prompt": ["img2img.negative_prompt"],
    }  # fmt: skip
    (parts,) = (piece for piece in told["txt2img.prompt"].pieces if piece.source)
    assert [piece.source for piece in parts.inside] == ["", "cat->"]


def test_a_variant_that_is_not_there_is_no_explanation() -> None:
    """As the plan says it."""
    with pytest.raises(IndexError, match="the plan has no variant 2"):
        explain_variant(config_of("{a|b}"), 0, 2)


# -- of any plan ------------------------------------------------------------------------------

WRITTEN = ["alpha", "beta", "(gamma:1.2)", "[delta:zeta:0.5]", r"\{eta\}", "theta #1"]
PUT_IN = ["OWL", "ELK", "BEE", "{FOX|HEN}", "R1", "T1 ELK", ""]


def texts(chance: Random, depth: int = 0) -> str:
    """Return a template of words as written, choices of words that are not, and places for more."""
    kinds = ["word", "rule", "token", "slot", "choice", "wildcard", "variable", "picks", "wrapped"]
    weights = [6, 3, 2, 2, 4, 2, 2, 2, 1] if depth < 2 else [6, 2, 1, 1, 0, 1, 0, 0, 0]
    parts = []
    for kind in chance.choices(kinds, weights, k=chance.randint(1, 3)):
        inside = (texts(chance, depth + 1) if depth < 2 else "" for _ in "ab")
        # Two that differ: of two alike nothing is chosen, and they are as written.
        first = chance.sample(PUT_IN[:3], 2)
        options = [f"{word} {text}" for word, text in zip(first, inside, strict=True)]
        parts.append(
            {
                "word": chance.choice(WRITTEN),
                "rule": chance.choice(["R1", "R2"]),
                "token": "T1",
                "slot": "[[s1]]",
                "choice": "{" + "|".join(options) + "}",
                "wildcard": chance.choice(["__colors-cold__", "__shapes__"]),
                "variable": "${v} and ${v}",
                "picks": "{1-2$$ + $$" + "|".join(options) + "}",
                "wrapped": "%{theta ... alpha$${" + "|".join(options) + "}}",
            }[kind]
        )
    return chance.choice([" ", ", "]).join(parts)


def plan_of_chance(chance: Random) -> PipelineConfig:
    assigned = chance.choice(["${v=!{OWL|BEE}}", "${v=ELK}", "${v=!__colors-cold__}"])
    return config_of(
        assigned + texts(chance),
        stages={"img2img": {"prompt": "{alpha|OWL} beta", "denoising_strength": 0.5}},
        mode=chance.choice(["fanout", "random", "sequential", "rotate"]),
        max_variants=30,
        prompt_sr={
            "rules": [
                {"search": search, "replacements": chance.sample(PUT_IN, 2)}
                for search in ("R1", "R2", chance.choice(["L", "OW", "E"]))
            ],
            "mode": chance.choice(["fanout", "fanout", "random", "sequential"]),
        },
        wildcards={"tokens": [{"token": "T1", "values": chance.sample(PUT_IN, 2)}]},
        matrix={
            "slots": [{"name": "s1", "values": chance.sample(PUT_IN, 2)}],
            "base_prompt": chance.choice(["", "OWL [[s1]]"]),
            "prompt_mode": chance.choice(["append", "prepend"]),
        },
        sweep={"lora.ink": [0.0, 0.5]} if chance.random() < 0.3 else {},
    )


def unsourced(pieces: Sequence[Piece]) -> Iterator[str]:
    return (piece.text for piece in pieces if not piece.source)


def assert_whole(pieces: Sequence[Piece], start: int, end: int, text: str) -> None:
    for piece in pieces:
        assert piece.start == start
        assert piece.text == text[piece.start : piece.end] != ""
        start = piece.end
        if piece.inside:
            assert_whole(piece.inside, piece.start, piece.end, text)
    assert start == end


def explained(config: PipelineConfig, seed: int) -> Iterator[Explanation]:
    plan = plan_variants(config, seed)
    for variant in list(plan.variants)[:: max(plan.plan_size // 3, 1)]:
        explanation = explain_variant(config, seed, variant.index)
        prompts = {prompt.where: prompt.text for prompt in explanation.prompts}
        assert prompts == {
            f"{stage}.prompt": knobs["prompt"]
            for stage, knobs in variant.config.items()
            if "prompt" in knobs
        }
        yield explanation


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_pieces_are_the_text_and_whatever_is_not_as_written_has_a_source(seed: int) -> None:
    """Whatever rules, templates and wildcards do to each other."""
    config = plan_of_chance(Random(seed))
    for explanation in explained(config, seed):
        for prompt in explanation.prompts:
            assert_whole(prompt.pieces, 0, len(prompt.text), prompt.text)
            for text in unsourced(prompt.pieces):
                assert not re.search("OWL|ELK|BEE|FOX|HEN|blue|green|square|circle|ink", text)
            assert "template" not in [piece.source for piece in prompt.pieces]
