"""Plans: modes, sweeps, seeds, caps; lazy, reproducible, and the same on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from randomizer.small_plans import WILDCARDS, labels_of, plan_of, prompts_of
from safelight.config import PipelineConfig
from safelight.errors import ConfigError
from safelight.randomizer import Axis, RandomizerPlanResult, Variant, plan_variants

MODES = ["off", "fanout", "random", "sequential", "rotate"]

prompts = st.sampled_from(
    ["a cat", "{a|b} cat", "{2$$a|b|c} [[s]]", "T {x|{y|z}}", "T and [[s]]", "{3::a|1::b} T"]
)
small_options = st.fixed_dictionaries(
    {"mode": st.sampled_from(MODES)},
    optional={
        "prompt_sr": st.just({"rules": ["cat => dog | cow", "dog => wolf | fox"]}),
        "wildcards": st.just({"tokens": [{"token": "T", "values": ["1", "{p|q}", "cat"]}]}),
        "matrix": st.just({"slots": ["s: one | two"]}),
        "sweep": st.sampled_from(
            [
                {"txt2img.steps": "10-30 (+10)"},
                {"txt2img.cfg_scale": [1, 7.5], "txt2img.eta": [0, 1]},
            ]
        ),
        "seeds_per_variant": st.integers(1, 3),
        "seed_policy": st.sampled_from(["per_iteration", "per_prompt"]),
        "max_variants": st.integers(0, 20),
        "draws": st.integers(1, 12),
    },
)
packs = st.lists(prompts, min_size=1, max_size=3, unique=True)


@given(packs, small_options, st.integers(0, 2**40))
def test_a_plan_is_as_large_as_it_says_and_nothing_comes_twice(
    pack: list[str], options: dict[str, Any], seed: int
) -> None:
    """Counting, indexing, slicing and iterating agree, in every mode and mix of sources."""
    plan = plan_of(pack, seed=seed, **options)
    listed = list(plan.variants)
    assert len(listed) == len(plan.variants) == plan.plan_size
    assert [plan.variants[place] for place in range(plan.plan_size)] == listed
    assert list(plan.variants[1::2]) == listed[1::2]
    assert list(reversed(plan.variants)) == listed[::-1]
    assert [variant.index for variant in listed] == list(range(plan.plan_size))
    if options["mode"] == "fanout":
        labelled = {(json.dumps(v.config, sort_keys=True), v.label) for v in listed}
        assert len(labelled) == plan.plan_size
    assert plan_of(pack, seed=seed, **options) == RandomizerPlanResultLike(plan)


class RandomizerPlanResultLike:
    """Equal to a plan with the same variants; a lazy sequence has no equality of its own."""

    def __init__(self, plan: RandomizerPlanResult) -> None:
        self._plan = plan

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, RandomizerPlanResult)
        same_variants = list(other.variants) == list(self._plan.variants)
        return same_variants and other.to_metadata() == self._plan.to_metadata()

    __hash__ = None  # type: ignore[assignment]


@given(packs, small_options, st.integers(0, 1000))
def test_random_mode_draws_nothing_twice_while_there_is_something_new(
    pack: list[str], options: dict[str, Any], seed: int
) -> None:
    """A draw that repeats an earlier one is a picture wasted."""
    options = {**options, "mode": "random", "max_variants": 0, "seeds_per_variant": 1}
    everything = plan_of(pack, **{**options, "mode": "fanout"})
    plan = plan_of(pack, seed=seed, **options)
    labelled = [(json.dumps(v.config["txt2img"]["prompt"]), v.label) for v in plan.variants]
    new = min(plan.plan_size, everything.plan_size)
    assert len(set(labelled[:new])) == new


def test_the_order_of_loops_is_the_order_of_the_documentation() -> None:
    """Prompts, rules, tokens, slots, templates, sweeps, seeds: outermost first."""
    plan = plan_of(
        ["cat T [[s]] {a|b}", "dog"],
        prompt_sr={"rules": ["cat => cow | hen"]},
        wildcards={"tokens": [{"token": "T", "values": ["1", "2"]}]},
        matrix={"slots": ["s: x | y"]},
        sweep={"txt2img.steps": "10-20 (+10)"},
        seeds_per_variant=2,
    )
    assert plan.axes == (
        Axis(name="txt2img.prompt", size=2, values=("cat T [[s]] {a|b}", "dog")),
        Axis(name="cat->", size=2, values=("cow", "hen")),
        Axis(name="T", size=2, values=("1", "2")),
        Axis(name="[s]", size=2, values=("x", "y")),
        plan.axes[4],
        plan.axes[5],
        Axis(name="txt2img.seed", size=2, values=range(1, 3)),
    )
    assert (plan.axes[4].name, list(plan.axes[4].values or ())) == ("txt2img.prompt{1}", ["a", "b"])
    assert (plan.axes[5].name, list(plan.axes[5].values or ())) == ("txt2img.steps", [10, 20])
    labels = labels_of(plan)
    pack = "prompt=cat T [[s]] {a|b}; "
    assert labels[0] == pack + "cat->cow; T=1; [s]=x; {1}=a; steps=10; seed=1"
    assert labels[1] == pack + "cat->cow; T=1; [s]=x; {1}=a; steps=10; seed=2"
    assert labels[2] == pack + "cat->cow; T=1; [s]=x; {1}=a; steps=20; seed=1"
    assert labels[63] == pack + "cat->hen; T=2; [s]=y; {1}=b; steps=20; seed=2"
    assert labels[64:] == [
        "prompt=dog; steps=10; seed=1",
        "prompt=dog; steps=10; seed=2",
        "prompt=dog; steps=20; seed=1",
        "prompt=dog; steps=20; seed=2",
    ]


def test_off_leaves_prompts_as_written_and_says_so() -> None:
    """Braces in a prompt that goes out raw are more often a mistake than a wish."""
    plan = plan_of(["{a|b}", "c"], mode="off", sweep={"txt2img.steps": [1, 2]})
    assert prompts_of(plan) == ["{a|b}", "c"]
    assert plan.warnings == (
        "txt2img.prompt: the mode is off, so template syntax was left as it is; "
        "add a [randomizer] table to expand it",
        "randomizer.mode is off, so its sources were not used",
    )


def test_sequential_walks_all_values_in_step() -> None:
    """Variant i has value i of every axis, going round; as many as the longest has values."""
    plan = plan_of(
        "{a|b} [[s]]", mode="sequential",
        matrix={"slots": ["s: 1 | 2 | 3"]}, sweep={"txt2img.steps": "10-40 (+10)"},
    )  # fmt: skip
    assert labels_of(plan) == [
        "[s]=1; {1}=a; steps=10", "[s]=2; {1}=b; steps=20",
        "[s]=3; {1}=a; steps=30", "[s]=1; {1}=b; steps=40",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["sequential", "rotate", "fanout"])
def test_equal_values_have_turns_of_their_own_where_they_do_not_multiply(mode: str) -> None:
    """Width and height of a list of sizes stay pairs; nothing is left out, so nothing is told."""
    knobs = {"negative_prompt": "n"}
    if mode == "fanout":
        plan = plan_of(
            ["p [[s]]", "q [[s]]", "p [[s]]"], knobs=knobs,
            prompt_sr={"mode": "rotate", "rules": ["p => a | a | b"]},
            matrix={"mode": "sequential", "slots": ["s: x | x | y"]},
        )  # fmt: skip
        assert prompts_of(plan) == ["a x", "q x", "a y"]
        return
    sweep = {"txt2img.width": [64, 64, 128], "txt2img.negative_prompt": ["m", "m", "n"]}
    plan = plan_of(["p", "p", "q"], knobs=knobs, mode=mode, sweep=sweep)
    drawn = [
        (knobs["prompt"], knobs["negative_prompt"], knobs["width"])
        for knobs in (variant.config["txt2img"] for variant in plan.variants)
    ]
    assert drawn == (
        [("p", "m", 64), ("p", "m", 64), ("q", "n", 128)]
        if mode == "sequential"
        else [("p", "m", 64), ("p", "m", 64), ("q", "m", 128)]
    )
    assert plan.warnings == ()


def test_rotate_gives_every_prompt_the_next_combination() -> None:
    """A pack of prompts walks through the combinations, beginning where the last pack stopped."""
    plan = plan_of(["p {a|b}"] * 5, mode="rotate", start=3, sweep={"txt2img.steps": [1, 2]})
    chosen = [
        "{1}=b; steps=2", "{1}=a; steps=1", "{1}=a; steps=2", "{1}=b; steps=1", "{1}=b; steps=2",
    ]  # fmt: skip
    assert labels_of(plan) == [f"prompt=p {{a|b}}; {each}" for each in chosen]


def test_draws_beyond_the_last_combination_come_with_other_seeds_and_say_so() -> None:
    """Eight draws of two combinations are eight pictures, not two pictures four times."""
    plan = plan_of("{r|b}", mode="random", draws=8)
    labelled = [(v.config["txt2img"]["prompt"], v.config["txt2img"]["seed"]) for v in plan.variants]
    assert sorted(labelled[:2]) == [("b", 1), ("r", 1)]
    assert [seed for _, seed in labelled[2:]] == [2, 3, 4, 5, 6, 7]
    assert labels_of(plan) == [
        *(f"{{1}}={prompt}" for prompt, _ in labelled[:2]),
        *(f"{{1}}={prompt}; seed={seed}" for prompt, seed in labelled[2:]),
    ]
    assert "txt2img.seed" not in plan.variants[1].choices
    assert plan.variants[2].choices == {"txt2img.prompt{1}": labelled[2][0], "txt2img.seed": 2}
    assert plan.warnings == (
        "there are only 2 combinations for 8 draws (randomizer.draws), so some come again, "
        "with other seeds",
    )


def test_draws_beyond_the_last_combination_go_by_weight() -> None:
    """A weight of nine to one must be seen in a thousand pictures."""
    drawn = prompts_of(plan_of("{9::common|1::rare}", mode="random", draws=1000))
    assert 70 <= drawn.count("rare") <= 130


@given(packs, small_options, st.integers(0, 1000))
def test_no_two_draws_of_a_plan_are_the_same_picture(
    pack: list[str], options: dict[str, Any], seed: int
) -> None:
    """Time spent on a picture that is already there, for every seed policy and count."""
    options = {**options, "mode": "random", "max_variants": 0, "draws": 60}
    plan = plan_of(pack, seed=seed, **options)
    size = plan_of(pack, **{**options, "mode": "fanout", "seeds_per_variant": 1}).plan_size
    again = plan.variants[size * options.get("seeds_per_variant", 1) :]
    seeds = [variant.config["txt2img"]["seed"] for variant in again]
    assert len(set(seeds)) == len(seeds)
    assert {v.config["txt2img"]["seed"] for v in plan.variants[: -len(again)]}.isdisjoint(seeds)
    assert all(v.choices["txt2img.seed"] == s for v, s in zip(again, seeds, strict=True))


def test_seeds_of_draws_that_come_again_follow_those_of_the_first() -> None:
    """Two seeds each: the combinations share 1 and 2, the next draws have 3 and 4, 5 and 6."""
    plan = plan_of("{a|b}", mode="random", draws=4, seeds_per_variant=2)
    seeds = [variant.config["txt2img"]["seed"] for variant in plan.variants]
    assert seeds == [1, 2, 1, 2, 3, 4, 5, 6]
    assert plan.axes[-1] == Axis(name="txt2img.seed", size=2, values=None)


@pytest.mark.parametrize(
    ("config", "combinations"),
    [
        ({"txt2img": {"prompt": "a"}, "sweep": {"txt2img.seed": [5, 6]}}, 2),
        ({"upscale": {"init_image": "a.png"}, "sweep": {"upscale.scale": [2]}}, 1),
    ],
)
def test_draws_that_come_again_with_equal_seeds_are_announced(
    config: dict[str, Any], combinations: int
) -> None:
    """Swept seeds are the user's, and an upscale has none; nothing is left to tell them apart."""
    options = {"mode": "random", "draws": 3, "sweep": config.pop("sweep")}
    plan = plan_variants(PipelineConfig.from_mapping({**config, "randomizer": options}))
    assert plan.plan_size == len(list(plan.variants)) == 3
    assert plan.warnings == (
        f"there are only {combinations} combinations for 3 draws (randomizer.draws), so some "
        "come again, and their seeds may be the same",
    )


def test_a_label_says_which_prompt_of_the_pack() -> None:
    """Under the pictures of a contact sheet, "steps=20" alone names none of fifty prompts."""
    long = "a lighthouse at the end of the world, in fog"
    plan = plan_of(["{a|b} cat", long], sweep={"txt2img.steps": [20]})
    assert labels_of(plan) == [
        "prompt={a|b} cat; {1}=a; steps=20",
        "prompt={a|b} cat; {1}=b; steps=20",
        "prompt=a lighthouse at the end of the world, i…; steps=20",
    ]
    assert plan.variants[2].choices["txt2img.prompt"] == long
    assert labels_of(plan_of([long[:40], "x"])) == [f"prompt={long[:40]}", "prompt=x"]
    assert labels_of(plan_of([long])) == [None]


def test_a_swept_prompt_of_img2img_is_told_from_the_packs() -> None:
    """Two parts called prompt in one label would be a riddle."""
    data = {
        "txt2img": {"prompt": ["a", "b"], "seed": 1},
        "img2img": {},
        "randomizer": {"sweep": {"img2img.prompt": ["c"]}},
    }
    plan = plan_variants(PipelineConfig.from_mapping(data))
    assert labels_of(plan) == ["prompt=a; img2img.prompt=c", "prompt=b; img2img.prompt=c"]


MOVING_SLOT = {"mode": "rotate", "slots": ["s: 1 | 2"]}


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (
            {"draws": 3},
            "randomizer.draws = 3 has no effect in mode fanout; "
            'set randomizer.mode = "random", or leave draws out',
        ),
        (
            {"start": 2},
            "randomizer.start = 2 has no effect in mode fanout without a source that moves; "
            'set randomizer.mode, or the mode of a source, to "rotate", or leave start out',
        ),
        (
            {"mode": "off", "seeds_per_variant": 4},
            "randomizer.seeds_per_variant = 4 has no effect in mode off; "
            'set randomizer.mode = "fanout", or leave seeds_per_variant out',
        ),
        (
            {"mode": "off", "max_variants": 4},
            "randomizer.max_variants = 4 has no effect in mode off; "
            'set randomizer.mode = "fanout", or leave max_variants out',
        ),
    ],
)
def test_a_setting_without_effect_is_named(options: dict[str, Any], warning: str) -> None:
    """Whoever sets 200 draws and gets 4 pictures should not have to read the source."""
    assert plan_of("a", **options).warnings == (warning,)


@pytest.mark.parametrize(
    "options",
    [
        {"draws": 8},
        {"mode": "random", "draws": 1},
        {"mode": "rotate", "start": 2},
        {"start": 2, "matrix": MOVING_SLOT},
        {"start": 2, "matrix": {**MOVING_SLOT, "mode": "sequential"}},
        {"seeds_per_variant": 4, "max_variants": 9},
    ],
)
def test_settings_that_are_used_are_not_named(options: dict[str, Any]) -> None:
    """A false warning teaches people to read past the true ones."""
    assert plan_of("[[s]]" if "matrix" in options else "a", **options).warnings == ()


@pytest.mark.parametrize(
    "matrix", [{**MOVING_SLOT, "enabled": False}, {**MOVING_SLOT, "slots": []}]
)
def test_a_source_that_is_not_used_does_not_use_start(matrix: dict[str, Any]) -> None:
    """Its mode says rotate, and still nothing moves."""
    assert any("randomizer.start = 2" in w for w in plan_of("a", start=2, matrix=matrix).warnings)


def test_a_cap_is_reported_with_both_numbers() -> None:
    """A silent cap is how 16,000 pictures become 8 without anybody noticing."""
    plan = plan_of("a", max_variants=8, sweep={"txt2img.steps": "1-1600"})
    assert (plan.plan_size, plan.full_size) == (8, 1600)
    assert plan.warnings == (
        "kept the first 8 of 1,600 combinations (randomizer.max_variants = 8)",
    )


def test_a_seed_of_minus_one_is_drawn_once_when_the_plan_is_made() -> None:
    """Every variant of the plan has the same seed, and the next plan of this seed has it, too."""
    seeds = {v.config["txt2img"]["seed"] for v in plan_of("{a|b}", knobs={"seed": -1}).variants}
    again = plan_of("{a|b}", knobs={"seed": -1}).variants[0].config["txt2img"]["seed"]
    other = plan_of("{a|b}", knobs={"seed": -1}, seed=1).variants[0].config["txt2img"]["seed"]
    assert seeds == {again}
    assert again != other
    assert 0 <= again < 2**32


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("per_iteration", [1, 2, 1, 2, 1, 2]), ("per_prompt", [1, 2, 3, 4, 5, 6])],
)
def test_seeds_follow_the_policy(policy: str, expected: list[int]) -> None:
    """The same seeds make pictures comparable; own seeds make them different."""
    plan = plan_of("{a|b|c}", seeds_per_variant=2, seed_policy=policy)
    assert [variant.config["txt2img"]["seed"] for variant in plan.variants] == expected


def test_swept_seeds_replace_the_others() -> None:
    """A -1 in the list is drawn, each by itself; seeds_per_variant steps back and says so."""
    plan = plan_of("a", sweep={"txt2img.seed": [5, -1, -1, 5]}, seeds_per_variant=3)
    seeds = [variant.config["txt2img"]["seed"] for variant in plan.variants]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3
    assert min(seeds) >= 0
    assert plan.warnings == (
        "txt2img.seed: 1 repeated values were left out",
        "txt2img.seed is swept, so randomizer.seeds_per_variant is not used",
    )


def test_img2img_has_its_inherited_knobs_written_out() -> None:
    """What a swept txt2img knob means for img2img must not be left to the reader."""
    data = {
        "txt2img": {"prompt": "a", "steps": 20, "seed": -1, "model": "m"},
        "img2img": {"denoising_strength": 0.5, "steps": 7},
        "upscale": {"scale": 2},
        "randomizer": {"sweep": {"txt2img.model": ["m", "n"]}},
    }
    first, second = plan_variants(PipelineConfig.from_mapping(data)).variants
    seed = first.config["txt2img"]["seed"]
    assert second.config == {
        "txt2img": {"prompt": "a", "steps": 20, "seed": seed, "model": "n"},
        "img2img": {
            "denoising_strength": 0.5, "steps": 7, "prompt": "a", "model": "n", "seed": seed,
        },
        "upscale": {"scale": 2},
    }  # fmt: skip


def test_sweeping_the_prompt_makes_a_pack() -> None:
    """So rules and templates act on swept prompts as on any others."""
    plan = plan_of("unused", sweep={"txt2img.prompt": ["{a|b}", "c"]})
    assert prompts_of(plan) == ["a", "b", "c"]
    assert plan.variants[1].choices["txt2img.prompt"] == "{a|b}"


def test_engine_knobs_can_be_swept_and_are_never_shared() -> None:
    """Changing one variant's nested knobs must not change another's."""
    knobs = {"extra": {"override": {"a": 1}}}
    plan = plan_of("x", knobs=knobs, sweep={"txt2img.extra.override.b": [[1], [2]]})
    first, second = plan.variants
    assert first.config["txt2img"]["extra"] == {"override": {"a": 1, "b": [1]}}
    first.config["txt2img"]["extra"]["override"]["b"].append(9)
    assert second.config["txt2img"]["extra"] == {"override": {"a": 1, "b": [2]}}
    assert plan.variants[0].config["txt2img"]["extra"]["override"]["b"] == [1]


def test_an_upscale_needs_neither_prompt_nor_seed() -> None:
    """A plan that only sweeps the factor."""
    data = {
        "upscale": {"init_image": "a.png"},
        "randomizer": {"sweep": {"upscale.scale": "1.5..2 step 0.5"}, "seeds_per_variant": 4},
    }
    plan = plan_variants(PipelineConfig.from_mapping(data))
    assert [variant.config for variant in plan.variants] == [
        {"upscale": {"init_image": "a.png", "scale": 1.5}},
        {"upscale": {"init_image": "a.png", "scale": 2.0}},
    ]


@pytest.mark.parametrize("mode", ["fanout", "random", "sequential"])
def test_ten_thousand_variants_of_a_huge_space_leave_memory_flat(mode: str) -> None:
    """10^27 combinations: counted, and walked through one at a time."""
    braces = " ".join("{" + "|".join(f"w{i}{j}" for j in range(10)) + "}" for i in range(9))
    listed = [{"token": f"T{n}", "values": [f"v{v}" for v in range(32)]} for n in range(6)]
    prompt = braces + "".join(f" T{n}" for n in range(6))
    sweep = {"txt2img.seed": "1-1000000000"}
    plan_of("{a|b}")
    tracemalloc.start()
    plan = plan_of(prompt, mode=mode, draws=10**9, wildcards={"tokens": listed}, sweep=sweep)
    count = sum(1 for _ in plan.variants[:2000])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2000
    assert plan.plan_size == (10**9 * 32**6 * 10**9 if mode == "fanout" else 10**9)
    assert peak < 5_000_000


def test_a_variant_does_not_carry_the_pack_along() -> None:
    """A large pack would be copied for each of its variants."""
    plan = plan_of([f"prompt {number}" for number in range(20_000)])
    tracemalloc.start()
    config = plan.variants[-1].config
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert config["txt2img"] == {"prompt": "prompt 19999", "seed": 1}
    assert peak < 50_000


GOLDEN = ["small b 1 20", "tall a 2 20", "small b 2 20", "small c 2 30"]


@pytest.mark.parametrize("mode", ["fanout", "rotate", "sequential", "off"])
def test_a_variant_takes_the_same_steps_whatever_the_size_of_the_pack(mode: str) -> None:
    """Drawing a file of thousands of prompts must not take its square."""

    def steps_of_a_variant(prompts: int) -> int:
        texts = [f"{number:05} cats" for number in range(prompts)]
        variants = plan_of(texts, mode=mode).variants
        made = [variants[1]]
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            made.append(variants[1])
        finally:
            sys.setprofile(None)
        assert made[0] == made[1]
        return calls

    assert steps_of_a_variant(1000) == steps_of_a_variant(10)


def test_a_plan_is_the_same_for_ever() -> None:
    """A record holds the seed, not the draws: this list must never change."""
    plan = plan_of(
        "{3::small|tall} {a|b|c} [[s]]", mode="random", draws=4, seed=2**33,
        matrix={"slots": ["s: 1 | 2"]}, sweep={"txt2img.steps": "20-40 (+10)"},
    )  # fmt: skip
    assert [
        f"{v.config['txt2img']['prompt']} {v.config['txt2img']['steps']}" for v in plan.variants
    ] == GOLDEN


def test_another_interpreter_makes_the_same_plan() -> None:
    """Hash randomization, import order and process must not matter."""
    code = (
        "from randomizer.small_plans import *\n"
        "p = plan_of('{5::a|b|c} __flavors/*__ T', mode='random', draws=30,"
        "wildcards_dir=WILDCARDS, knobs={'seed': -1}, seed=9,"
        "wildcards={'mode': 'random', 'tokens': ['T: 1 | 2']})\n"
        "print([v.label for v in p.variants], p.variants[0].config)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        ).stdout
        for hash_seed in ("0", "1", "777")
    }  # fmt: skip
    assert len(outputs) == 1


def test_the_configs_seed_wins_over_the_callers() -> None:
    """A config that names its seed is a plan that can be shared."""
    assert plan_of("a", seed=1).seed == 1
    assert plan_variants(
        PipelineConfig.from_mapping({"txt2img": {}, "randomizer": {"seed": 5}}), 1
    ).seed == 5  # fmt: skip


def test_metadata_is_plain_json() -> None:
    """It goes into every learning record."""
    plan = plan_of("__colors-cold__", max_variants=1, wildcards_dir=WILDCARDS)
    assert json.loads(json.dumps(plan.to_metadata())) == {
        "mode": "fanout",
        "plan_size": 1,
        "full_size": 2,
        "left_out": 0,
        "seed": 0,
        "warnings": ["kept the first 1 of 2 combinations (randomizer.max_variants = 1)"],
        "axes": [{"name": "txt2img.prompt__colors-cold__", "size": 2}],
        "wildcard_files": plan.wildcard_files,
        "prompt_files": {},
    }


def test_a_variant_outside_the_plan_is_an_index_error() -> None:
    """As in any sequence."""
    plan = plan_of("{a|b}")
    assert isinstance(plan.variants[-2], Variant)
    with pytest.raises(IndexError, match="the plan has no variant 2"):
        plan.variants[2]


class TestNegativePromptsInAList:
    """One negative prompt for each prompt, in order."""

    def test_each_prompt_has_its_own(self) -> None:
        plan = plan_variants(
            PipelineConfig.from_mapping(
                {"txt2img": {"prompt": ["a cat", "a dog"], "negative_prompt": ["fur", "tail"]}}
            )
        )
        assert [
            (v.config["txt2img"]["prompt"], v.config["txt2img"]["negative_prompt"])
            for v in plan.variants
        ] == [("a cat", "fur"), ("a dog", "tail")]

    def test_one_prompt_with_several_is_told_apart_by_them(self) -> None:
        plan = plan_variants(
            PipelineConfig.from_mapping(
                {"txt2img": {"prompt": "a cat", "negative_prompt": ["fur", "tail"]}}
            )
        )
        assert [v.label for v in plan.variants] == [
            "txt2img.negative_prompt=fur",
            "txt2img.negative_prompt=tail",
        ]
        assert [axis.name for axis in plan.axes] == ["txt2img.negative_prompt"]

    def test_lists_that_do_not_go_together_are_refused_with_both_lengths(self) -> None:
        with pytest.raises(ConfigError, match=r"has 2 texts and .* has 3") as raised:
            PipelineConfig.from_mapping(
                {"txt2img": {"prompt": ["a", "b", "c"], "negative_prompt": ["x", "y"]}}
            )
        assert raised.value.faults[0].path == "txt2img.negative_prompt"
