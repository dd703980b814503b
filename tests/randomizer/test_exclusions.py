"""Conditions leave combinations out: exactly those, in no mode any other, without listing plans."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import safelight
from randomizer.small_plans import WILDCARDS, labels_of, plan_of, prompts_of
from safelight.config import PipelineConfig
from safelight.config_schema import config_schema
from safelight.errors import ConfigError, PlanError
from safelight.randomizer import Variant, plan_variants
from safelight.randomizer.draws import Dice
from safelight.randomizer.restricted_space import Kept, Restricted
from safelight.randomizer.spaces import Line, Product, Union

Holds = Callable[[Variant], bool]
FIRST = "txt2img.prompt"


def knob(variant: Variant, name: str) -> Any:
    return variant.config["txt2img"].get(name)


def chosen(variant: Variant, name: str) -> Any:
    return variant.choices.get(name)


CONDITIONS: list[tuple[str, Holds]] = [
    ("steps > 10", lambda v: (knob(v, "steps") or 0) > 10),
    ("txt2img.steps in (10, 30)", lambda v: knob(v, "steps") in (10, 30)),
    ("eta is missing", lambda v: knob(v, "eta") is None),
    ("{1} = 'a'", lambda v: chosen(v, f"{FIRST}{{1}}") == "a"),
    ("choice('{2}') is not missing", lambda v: chosen(v, f"{FIRST}{{2}}") is not None),
    ("{1} has 'B' and steps = 20",
     lambda v: "b" in chosen(v, f"{FIRST}{{1}}") and knob(v, "steps") == 20
     if chosen(v, f"{FIRST}{{1}}") else False),
    ("slot('S') = 'one'", lambda v: chosen(v, "[s]") == "one"),
    ("[s] = 'two' and eta = 0", lambda v: chosen(v, "[s]") == "two" and knob(v, "eta") == 0),
    ("token('T')", lambda v: chosen(v, "T") is not None),
    ("rule('cat') != 'dog' or T = '1'",
     lambda v: chosen(v, "cat->") not in (None, "dog") or chosen(v, "T") == "1"),
    ("not (rule('cat') = 'cow')", lambda v: chosen(v, "cat->") != "cow"),
    ("extra.clip = 'x' and lora.ink > 0.5",
     lambda v: v.config["txt2img"]["extra"]["clip"] == "x" and chosen(v, "lora.ink") > 0.5
     if "clip" in knob(v, "extra") and chosen(v, "lora.ink") is not None else False),
    ("prompt has 'cat'", lambda v: "cat" in written(v)),
]  # fmt: skip


def written(variant: Variant) -> str:
    """Return the prompt as the pack has it."""
    return str(variant.choices.get(FIRST, variant.templates.get(FIRST, knob(variant, "prompt"))))


prompts = st.sampled_from(
    ["a cat", "{a|b} cat", "{2$$a|b|c} [[s]]", "T {x|{y|z}}", "T and [[s]]", "{3::a|1::b} T",
     "cat {a|b} [[s]] T"]
)  # fmt: skip
packs = st.lists(prompts, min_size=1, max_size=3, unique=True)
sources: dict[str, Any] = {
    "prompt_sr": st.just({"rules": ["cat => dog | cow", "dog => wolf | fox"]}),
    "wildcards": st.just({"tokens": [{"token": "T", "values": ["1", "{p|q}", "cat"]}]}),
    "matrix": st.just({"slots": ["s: one | two"]}),
    "sweep": st.sampled_from(
        [
            {"txt2img.steps": "10-30 (+10)"},
            {"txt2img.steps": [10, 20], "txt2img.eta": [0, 1], "lora.ink": [0, 0.5, 1]},
            {"txt2img.eta": [0, 1], "txt2img.extra.clip": ["x", "y"], "lora.ink": [0.4, 0.9]},
        ]
    ),
    "seeds_per_variant": st.integers(1, 2),
}
options = st.fixed_dictionaries({}, optional=sources)
several = st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3, unique_by=lambda c: c[0])


def known(pack: list[str], stated: dict[str, Any], condition: str) -> bool:
    """Whether a plan has what *condition* names."""
    text = " ".join(pack)
    needed = {
        "slot(": "matrix" in stated, "[s]": "matrix" in stated, "token(": "wildcards" in stated,
        "rule(": "prompt_sr" in stated and "wildcards" in stated,
        "not (rule": "prompt_sr" in stated, "extra.clip": "clip" in str(stated),
        "{1}": "{" in text, "choice('{2}')": "{y|z}" in text,
    }  # fmt: skip
    if condition.startswith("not (rule"):
        return needed["not (rule"]
    return all(there for name, there in needed.items() if name in condition)


def same(variant: Variant) -> tuple[Any, ...]:
    """Return all of a variant but its place."""
    config = json.dumps(variant.config, sort_keys=True)
    return config, variant.label, dict(variant.choices), dict(variant.templates)


@given(packs, options, several)
def test_what_is_left_is_the_plan_without_what_the_conditions_hold_for(
    pack: list[str], stated: dict[str, Any], conditions: list[tuple[str, Holds]]
) -> None:
    """In its order, whether or not the axes that a condition names are neighbours."""
    stated = {**stated, "seed": 3}
    conditions = [one for one in conditions if known(pack, stated, one[0])]
    knobs = {"extra": {"k": 1}}
    whole = list(plan_of(pack, knobs=knobs, **stated).variants)
    left = [v for v in whole if not any(holds(v) for _, holds in conditions)]
    exclude = [{"where": text} for text, _ in conditions]
    if not left:
        with pytest.raises(PlanError, match="every combination"):
            plan_of(pack, knobs=knobs, exclude=exclude, **stated)
        return
    plan = plan_of(pack, knobs=knobs, exclude=exclude, **stated)
    assert [same(variant) for variant in plan.variants] == [same(variant) for variant in left]
    assert plan.plan_size == plan.full_size == len(left)
    each = stated.get("seeds_per_variant", 1)
    assert plan.left_out * each == len(whole) - len(left)
    told = [w for w in plan.warnings if "leaves out nothing" in w]
    assert len(told) == sum(not any(map(holds, whole)) for _, holds in conditions)
    drawn = plan_of(
        pack, mode="random", draws=len(left) // each, knobs=knobs, exclude=exclude, **stated
    )
    assert {repr(same(v)) for v in drawn.variants} == {repr(same(v)) for v in left}
    assert drawn.left_out == plan.left_out


spaces = st.recursive(
    st.integers(1, 4).map(Line),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda options: Union(options, [n + 1 for n in range(len(options))], nested=True)
    ),
    max_leaves=3,
)


@given(st.data())
def test_a_restricted_product_is_the_product_without_some_combinations(data: st.DataObject) -> None:
    """Counted, indexed and drawn by the chances that are left, however its groups interleave."""
    parts = data.draw(st.lists(spaces, min_size=1, max_size=5))
    places = data.draw(st.permutations(range(len(parts))))
    cut = data.draw(st.integers(0, len(parts)))
    groups = []
    for members in (sorted(places[:cut]), sorted(places[cut : cut + 2])):
        size = 1
        for place in members:
            size *= parts[place].size
        if members:
            kept = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
            groups.append(Kept(places=tuple(members), ranks=sorted(kept)))
    whole = Product(parts)

    def is_left(ranks: list[int]) -> bool:
        for group in groups:
            rank = 0
            for place in group.places:
                rank = rank * parts[place].size + ranks[place]
            if rank not in group.ranks:
                return False
        return True

    left = [rank for rank in range(whole.size) if is_left(whole.split(rank))]
    space = Restricted(whole, parts, groups)
    assert [space.split(rank) for rank in range(space.size)] == [whole.split(r) for r in left]
    share = sum(map(whole.chance, left))
    for rank, inner in enumerate(left):
        assert space.chance(rank) == pytest.approx(whole.chance(inner) / share)
    assert all(0 <= space.sample(Dice(n)) < space.size for n in range(20))
    assert space.even == whole.even


def test_what_is_drawn_of_a_restricted_product_has_its_weight() -> None:
    """Weights count among what is left as they did among all."""
    weighted = Union([Line(1)] * 3, [6, 3, 1], nested=True)
    space = Restricted(Product([weighted, Line(2)]), [weighted, Line(2)],
                       [Kept(places=(0, 1), ranks=(0, 2, 3, 5))])  # fmt: skip
    counts = [0] * 4
    for number in range(4000):
        counts[space.sample(Dice(1, number))] += 1
    shares = [6 / 13, 3 / 13, 3 / 13, 1 / 13]
    assert [space.chance(rank) for rank in range(4)] == pytest.approx(shares)
    for count, share in zip(counts, shares, strict=True):
        assert abs(count / 4000 - share) < 0.03


def test_a_plan_that_steps_passes_over_turns() -> None:
    """What is left out is not made up for."""
    sweep = {"txt2img.steps": "1-6", "txt2img.sampler": ["Euler", "Heun"]}
    plan = plan_of(["a", "b"], mode="sequential", sweep=sweep,
                   exclude=[{"where": "sampler = 'Heun' and steps > 2"}])  # fmt: skip
    assert labels_of(plan) == [
        "prompt=a; steps=1; sampler=Euler", "prompt=b; steps=2; sampler=Heun",
        "prompt=a; steps=3; sampler=Euler", "prompt=a; steps=5; sampler=Euler",
    ]  # fmt: skip
    assert plan.left_out == 2
    with pytest.raises(PlanError, match="leaves out every turn"):
        plan_of("a", mode="sequential", sweep={"txt2img.steps": [1, 2], "txt2img.eta": [0, 1]},
                exclude=[{"where": "steps = 1 and eta = 0 or steps = 2 and eta = 1"}])  # fmt: skip
    with pytest.raises(PlanError, match="turn by turn, and this one has 2,000,000"):
        plan_of("a", mode="sequential", exclude=[{"where": "steps = 3"}],
                sweep={"txt2img.seed": "1-2000000", "txt2img.steps": [3, 4]})  # fmt: skip


def test_in_rotate_every_prompt_goes_on_through_what_is_left_of_it() -> None:
    """A prompt that is left out altogether takes no turn."""
    exclude = [{"where": "steps = 2"}, {"where": "prompt = 'b'"}]
    plan = plan_of(["a", "b", "c"], mode="rotate", sweep={"txt2img.steps": "1-3"}, exclude=exclude)
    assert labels_of(plan) == ["prompt=a; steps=1", "prompt=c; steps=1"]
    assert plan.plan_size == 2


def test_a_condition_on_the_prompt_is_decided_prompt_by_prompt() -> None:
    """By the prompt as it is written; words are looked for in it."""
    sweep = {"txt2img.steps": [10, 20]}
    plan = plan_of(["a {red|green} cat", "a dog"], sweep=sweep,
                   exclude=[{"where": "dog steps = 20"}, {"where": "prompt = 'a {red|green} cat'"
                                                                   " and steps = 10"}])  # fmt: skip
    assert prompts_of(plan) == ["a red cat", "a green cat", "a dog"]
    assert [variant.choices["txt2img.steps"] for variant in plan.variants] == [20, 20, 10]


def test_knobs_of_settings_and_sub_sweeps_are_named_like_others() -> None:
    """Where one of them does not have the knob, what is stated counts."""
    exclude = [{"where": "steps = 5 and cfg_scale >= 7"}]
    listed = [{"txt2img.cfg_scale": [3, 7]}, {"txt2img.steps": [5, 6]}]
    plan = plan_of("a", sub_sweeps=listed, knobs={"steps": 5, "cfg_scale": 8}, exclude=exclude)
    assert labels_of(plan) == ["cfg_scale=3", "steps=6"]
    settings = [{"txt2img.steps": 5, "lora.ink": 0.5}, {"txt2img.lora.ink": 1}]
    exclude = [{"where": "lora('ink') = 1"}]
    plan = plan_of("a", settings=settings, exclude=exclude)
    assert labels_of(plan) == ["steps=5; lora.ink=0.5"]


def test_img2img_has_what_it_takes_from_txt2img() -> None:
    """As the variant has it; the knob alone is that of the stage that states it."""
    data: dict[str, Any] = {
        "txt2img": {"prompt": "a", "seed": 1},
        "img2img": {},
        "randomizer": {
            "sweep": {"txt2img.steps": [5, 6], "img2img.denoising_strength": [0.3, 0.6]}
        },
    }
    for where in (
        "img2img.steps = 5 and denoising_strength > 0.5",
        "steps = 5 and img2img.steps = 5 and img2img.denoising_strength = 0.6",
    ):
        data["randomizer"]["exclude"] = [{"where": where}]
        plan = plan_variants(PipelineConfig.from_mapping(data))
        assert [v.choices["img2img.denoising_strength"] for v in plan.variants] == [0.3, 0.3, 0.6]
    data["img2img"] = {"steps": 3}
    data["randomizer"]["exclude"] = [{"where": "steps = 3"}]
    with pytest.raises(ConfigError, match="several stages have steps: write txt2img.steps or img2"):
        PipelineConfig.from_mapping(data)


def test_what_templates_choose_inside_others_can_be_named() -> None:
    """By its name among a variant's choices, as ``plan`` shows it."""
    plan = plan_of("{a {red|green}|b} {x|y}", exclude=[{"where": "{2} = 'red' and {3} = 'x'"}])
    assert prompts_of(plan) == ["a red y", "a green x", "a green y", "b x", "b y"]
    twice = [{"where": "{1} = 'a' and choice('{1} #2') = 'a'"}]
    plan = plan_of("${x={a|b}}${x} and ${x}", exclude=twice)
    assert prompts_of(plan) == ["a and b", "b and a", "b and b"]
    for name in ("__colors-cold__ = 'blue'", "wildcard('colors-cold') = 'blue'",
                 "choice('txt2img.prompt__colors-cold__') = 'blue'"):  # fmt: skip
        plan = plan_of("__colors-cold__ sky", exclude=[{"where": name}], wildcards_dir=WILDCARDS)
        assert prompts_of(plan) == ["green sky"]


def test_rules_whose_values_lead_to_different_rests_can_be_named() -> None:
    """The prompt is one part then."""
    rules = {"rules": ["pet => cat | dog", "cat => tom | kitty"]}
    plan = plan_of("a pet", prompt_sr=rules, exclude=[{"where": "rule('cat') = 'tom'"}])
    assert prompts_of(plan) == ["a kitty", "a dog"]


def test_a_plan_of_any_size_is_counted_at_once() -> None:
    """Only what is named is multiplied out; names far apart keep the order."""
    slots = {"slots": [f"s{n}: a | b | c | d" for n in range(12)]}
    prompt = " ".join(f"[[s{n}]]" for n in range(12))
    sweep = {"txt2img.seed": "1-1000000000", "txt2img.steps": "1-100"}
    tracemalloc.start()
    plan = plan_of(prompt, matrix=slots, sweep=sweep,
                   exclude=[{"where": "slot('s0') = 'a' and steps > 50"}])  # fmt: skip
    assert plan.plan_size == 4**11 * 10**9 * (3 * 100 + 50)
    assert plan.left_out == 4**11 * 10**9 * 50
    last = plan.variants[plan.plan_size - 1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (last.choices["[s0]"], last.choices["txt2img.steps"]) == ("d", 100)
    steps = [v.choices["txt2img.steps"] for v in plan.variants[48:52]]
    assert steps == [49, 50, 1, 2]
    assert peak < 20_000_000


REFUSED = [
    ("stpes = 3", "no axis or knob 'stpes'; did you mean 'steps'"),
    ("slot('stile') = 'a'", "there is no slot 'stile'; did you mean 'style'"),
    ("rule('x') = 'a'", "there is no rule 'x'; there are none"),
    ("txt2img.seed = 3", "every combination has the same seeds: sweep the seed"),
    ("upscale.scale = 3", "no axis or knob 'upscale.scale'"),
    ("steps =", "ends where a value is expected"),
    ("steps = 'a'", "steps is compared with a number"),
    ("", "must state which combinations are left out"),
]


@pytest.mark.parametrize(("where", "message"), REFUSED)
def test_a_condition_that_cannot_be_read_is_refused_with_the_config(
    where: str, message: str
) -> None:
    """With its place, before anything is planned."""
    matrix = {"slots": ["style: ink | oil"]}
    with pytest.raises(ConfigError, match=message) as caught:
        plan_of("a [[style]]", matrix=matrix, exclude=[{"where": "steps = 1"}, {"where": where}])
    assert caught.value.faults[0].path == "randomizer.exclude[1].where"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("steps = 1", "must be a list of tables"),
        (["steps = 1"], "must be a table"),
        ([{"where": 3}], "must be text"),
        ([{"were": "steps = 1"}], "did you mean 'where'"),
        ([{}], "must state which"),
    ],
)
def test_both_checks_refuse_what_is_no_list_of_conditions(value: Any, message: str) -> None:
    data = {"txt2img": {"prompt": "a"}, "randomizer": {"exclude": value}}
    with pytest.raises(ConfigError, match=message):
        PipelineConfig.from_mapping(data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, config_schema())


@pytest.mark.parametrize(
    ("prompt", "where", "message"),
    [
        ("{a|b}", "{2} = 'a'", r"exclude\[0\].where: there is no axis or knob '\{2}'; did"),
        ("{a|b} {~x|y}", "{2} = 'x'", "goes along with the combinations"),
        ("{a|b}", "{1} in ('a', 'b')", r"exclude\[0\] \(\{1} in \('a', 'b'\)\) leaves out every"),
        ("{a|b}", "steps between 1 and 2000 and cfg_scale < 5", "2,000,000 combinations of txt2img"
         r".steps \(2,000\), txt2img.cfg_scale \(1,000\); 1,000,000 can be"),
    ],
)  # fmt: skip
def test_what_cannot_be_left_out_is_told(prompt: str, where: str, message: str) -> None:
    """By name, with what to do."""
    sweep = {"txt2img.steps": "1-2000", "txt2img.cfg_scale": "1-1000"}
    with pytest.raises(PlanError, match=message):
        plan_of(prompt, sweep=sweep, exclude=[{"where": where}])


def test_conditions_that_leave_nothing_together_are_told() -> None:
    exclude = [{"where": "steps = 1"}, {"where": "steps = 2"}]
    with pytest.raises(PlanError, match="the conditions of randomizer.exclude together"):
        plan_of("a", sweep={"txt2img.steps": [1, 2]}, exclude=exclude)


def test_sources_that_do_not_multiply_cannot_be_named() -> None:
    """Their values go with the number of a combination."""
    matrix = {"slots": ["My style: ink | oil"], "mode": "rotate"}
    with pytest.raises(PlanError, match="so none can be left out for it; let it multiply"):
        plan_of("{a|b} [[my style]]", matrix=matrix,
                exclude=[{"where": "slot('my style') = 'ink'"}])  # fmt: skip


def test_in_mode_off_conditions_are_not_used() -> None:
    (warning,) = plan_of("a", mode="off", exclude=[{"where": "steps = 1"}]).warnings
    assert "its sources were not used" in warning


def test_names_are_data_and_never_sql() -> None:
    """Quotes in the name of a rule or a wildcard are characters of it."""
    rules = {"rules": [{"search": "a\"b'", "replacements": ["x\"'", "y"]}]}
    plan = plan_of('a"b\' {1|2}', prompt_sr=rules,
                   exclude=[{"where": "rule(\"a\"\"b'\") = \"x\"\"'\" and {1} = '1'"}])  # fmt: skip
    assert prompts_of(plan) == ["x\"' 2", "y 1", "y 2"]


def test_a_seed_that_is_swept_can_be_named() -> None:
    sweep = {"txt2img.seed": [2**64 - 1, 3], "txt2img.steps": [1, 2]}
    plan = plan_of("a", sweep=sweep, exclude=[{"where": f"seed = {2**64 - 1} and steps = 2"}])
    assert plan.plan_size == 3


PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text("utf-8")


def examples_with(table: str) -> list[PipelineConfig]:
    """Return the examples of the page that have *table*."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    return [
        PipelineConfig.from_mapping(tomllib.loads(block))
        for block in blocks
        if f"[[randomizer.{table}]]" in block
    ]


def test_the_examples_of_the_page_come_to_what_it_says() -> None:
    """Sizes and what is left out."""
    (excluding,) = examples_with("exclude")
    plan = plan_variants(excluding)
    assert (plan.plan_size, plan.left_out) == (9, 7)
    assert "Of 16 combinations 7 are left out." in PAGE
    (apart,) = examples_with("sub_sweeps")
    assert labels_of(plan_variants(apart)) == [
        "steps=10", "steps=20", "steps=30", "cfg_scale=2", "cfg_scale=5"
    ]  # fmt: skip


def test_the_names_that_the_page_lists_can_be_named() -> None:
    """Each in a plan that has it."""
    table = PAGE[PAGE.index("| name | what it is |") : PAGE.index("What a prompt has nothing of")]
    named = [name for line in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", line)]
    assert len(named) >= 18
    data: dict[str, Any] = {
        "txt2img": {
            "prompt": "a {x|y} __colors__ __animal__ [[style]] mood cat",
            "negative_prompt": "{a|b}",
            "extra": {"tiling": True, "Tile size": 3},
            "cfg_scale": 2,
        },
        "img2img": {},
        "randomizer": {
            "sweep": {"txt2img.steps": [1, 2], "lora.ink": [0, 1], "lora.my style": [0, 1]},
            "matrix": {"slots": ["style: a | b"]},
            "wildcards": {"tokens": [{"token": "mood", "values": ["c", "d"]}]},
            "prompt_sr": {"rules": ["cat => dog | cow"]},
            "wildcards_dir": "wild",
        },
    }
    with TemporaryDirectory() as folder:
        (Path(folder) / "wild").mkdir()
        for name, values in (("colors", "u\nv"), ("animal", "__cats__\nhen"), ("cats", "tom\nkit")):
            (Path(folder) / "wild" / f"{name}.txt").write_text(values, "utf-8")
        for name in named:
            data["randomizer"]["exclude"] = [{"where": f"{name} is missing and {name} is missing"}]
            config = PipelineConfig.from_mapping(data, folder=Path(folder))
            try:
                plan_variants(config)
            except PlanError as error:  # nothing has it
                assert "leaves out every combination" in str(error)


def test_what_few_plans_need_is_loaded_only_for_those() -> None:
    """The database takes a tenth of a second; conditions and tables of prompts, some hundredths."""
    program = """
import sys
from safelight.config import PipelineConfig
from safelight.randomizer import plan_variants
data = {"txt2img": {"prompt": "a"}, "randomizer": {"sweep": {"txt2img.steps": [1, 2]}}}
plan_variants(PipelineConfig.from_mapping(data))
rooms = ("filters", "condition_names", "randomizer.exclusions", "randomizer.prompt_files")
assert not {"duckdb", "csv", *(f"safelight.{room}" for room in rooms)} & sys.modules.keys()
data["randomizer"]["exclude"] = [{"where": "steps = 1"}]
assert plan_variants(PipelineConfig.from_mapping(data)).plan_size == 1
"""
    source = str(Path(safelight.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
