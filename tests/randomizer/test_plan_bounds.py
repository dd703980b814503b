"""A few hundred bytes of config cost neither gigabytes nor minutes, or are refused by name."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.config import PipelineConfig, read_toml
from safelight.errors import ConfigError, PlanError, SafelightError, TemplateError
from safelight.pipeline.engine_choices import refuse_unknown_choices
from safelight.randomizer import RandomizerPlanResult, plan_variants, repeated_variants
from safelight.randomizer.draws import Dice
from safelight.randomizer.plan import Variant
from safelight.randomizer.plan_bounds import LONGEST_PROMPT, PlanWork
from safelight.randomizer.spaces import Line, Merged
from safelight.value_ranges import values_of

MEBIBYTE = 2**20


def _plan(prompt: object, folder: Path | None = None, **randomizer: Any) -> RandomizerPlanResult:
    data = {
        "txt2img": {"prompt": prompt, "seed": 1},
        "randomizer": {"mode": "fanout", **randomizer},
    }
    return plan_variants(PipelineConfig.from_mapping(data, folder=folder or Path()))


def _rules(*rules: tuple[str, list[str]]) -> dict[str, Any]:
    return {"prompt_sr": {"rules": [{"search": s, "replacements": r} for s, r in rules]}}


def _memory_of(prompt: object, error: type[SafelightError], match: str, **given: Any) -> int:
    """Return the bytes that it takes to refuse a plan."""
    tracemalloc.start()
    try:
        with pytest.raises(error, match=match):
            _plan(prompt, **given)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_rules_that_feed_each_other_are_refused_by_name() -> None:
    """Five rules of fifty letters each came to six gigabytes, in five hundred bytes of config."""
    rules = [("a", ["a" * 50])] * 5
    match = r"txt2img\.prompt: 'a' may make a prompt of 2,500,000 characters; 100,000 are allowed"
    assert _memory_of("a" * 20, PlanError, match, **_rules(*rules)) < 8 * MEBIBYTE


def test_rules_that_stay_within_the_bound_feed_each_other() -> None:
    """That later rules see what earlier ones wrote is what they are for."""
    plan = _plan("a", **_rules(*[("a", ["aa"])] * 10))
    assert plan.variants[0].config["txt2img"]["prompt"] == "a" * 1024


@pytest.mark.parametrize("values", [["b" * 1001], ["b", "b" * 1001]])
def test_what_a_rule_may_write_is_counted_before_it_is_written(values: list[str]) -> None:
    """Every occurrence is, and the longest value, even where nothing is split."""
    rules = _rules(("a", values))
    assert _plan("a" * 99, **rules).plan_size == len(values)
    match = "'a' may make a prompt of 100,100 characters"
    assert _memory_of("a" * 100, PlanError, match, **rules) < MEBIBYTE


@pytest.mark.parametrize(
    ("prompt", "named", "given"),
    [
        ("__t__ " * 20, "'__t__'",
         {"wildcards": {"tokens": [{"token": "__t__", "values": ["x" * 9000]}]}}),
        ("[[slot]]" * 20, "'slot'",
         {"matrix": {"slots": [{"name": "slot", "values": ["x" * 9000]}]}}),
        ("[[slot]]", "'slot'",
         {"matrix": {"slots": [{"name": "slot", "values": ["x" * 8]}], "prompt_mode": "append",
                     "base_prompt": "[[slot]] " * 20_000}}),
    ],
)  # fmt: skip
def test_tokens_slots_and_base_prompts_are_counted(
    prompt: str, named: str, given: dict[str, Any]
) -> None:
    """Each way to put text into a prompt has the same bound."""
    with pytest.raises(PlanError, match=r"may make a prompt of 1\d\d,\d\d\d characters") as refused:
        _plan(prompt, **given)
    assert named in str(refused.value) or "txt2img.prompt" in str(refused.value)


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("{" + "|".join("x" * 60_000 + str(n) for n in range(2)) + "}{a|" + "y" * 60_000 + "}",
         "txt2img.prompt"),
        ("{30$$ $$" + "|".join(str(n).zfill(4000) for n in range(60)) + "}", "{1}"),
        ("{2$$" + "s" * 100_000 + "$$a|b}", "{1}"),
        ("%{" + "x" * 60_000 + "...$$" + "y" * 60_000 + "}", "txt2img.prompt"),
        ("${x=" + "y" * 5000 + "}" + "${x}" * 30, "txt2img.prompt"),
        ("${a=" + "z" * 60 + "}" + "".join(
            f"${{{chr(n + 1)}=${{{chr(n)}}}${{{chr(n)}}}}}" for n in range(97, 120)
        ) + "${x}", "txt2img.prompt"),
    ],
    ids=["two choices", "picks", "separator", "wrapped", "variable", "variables"],
)  # fmt: skip
def test_what_a_template_may_come_to_is_counted(prompt: str, named: str) -> None:
    """A variable that doubles another one, twenty times, is a million of it."""
    with pytest.raises(TemplateError, match="100,000 are allowed") as refused:
        _plan(prompt)
    assert str(refused.value).startswith(
        named if named.startswith("txt2img") else f"txt2img.prompt: {named}"
    )


def test_a_prompt_that_is_written_long_stays_as_it_is() -> None:
    """The bound is on what is put in; nobody's own text is refused."""
    prompt = "a cat, " * LONGEST_PROMPT
    assert _plan(prompt).variants[0].config["txt2img"]["prompt"] == prompt
    with pytest.raises(PlanError, match="100,000 are allowed"):
        _plan(prompt, **_rules(("cat", ["dog"])))


def test_swept_loras_count() -> None:
    """Each writes itself into the prompt."""
    sweep = {"lora." + "n" * 500 + str(n): [0.5, 1.0] for n in range(50)}
    with pytest.raises(PlanError, match=r"the LoRAs may make a prompt of 1\d\d,\d\d\d characters"):
        _plan("x{y|z}" + "x" * 90_000, sweep=sweep)
    with pytest.raises(PlanError, match="at most 100 LoRAs can be swept, got 101"):
        _plan("x", sweep={f"lora.l{n}": [0.5, 1.0] for n in range(101)})


def test_rules_that_try_each_other_in_vain_are_counted() -> None:
    """Each rule that a later one looks into doubles the attempts, without a single branch more."""
    words = [f"s{n}q" for n in range(200)]
    rules = [(word, [f"{word[:-1]}z"]) for word in words] + [("z", ["y"]), ("y", ["x"])]
    with pytest.raises(PlanError, match=r"takes too much to be made|in more than 10,000 ways|many"):
        _plan(" ".join(words * 30), **_rules(*rules * 2))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (_rules(*[(f"s{n}", ["x"]) for n in range(1001)]), "at most 1,000 rules, tokens and slots"),
        (_rules(*[(f"s{n}q", [f"x{n}"]) for n in range(900)]), "too many rules, tokens and slots"),
        (_rules(("a" * 1001, ["x"])), "may look for 1,000 characters, got 1,001"),
        ({"sweep": {f"txt2img.extra.x{n}": [1] for n in range(1001)}}, "at most 1,000 knobs"),
    ],
    ids=["rules", "met rules", "search", "sweeps"],
)
def test_sources_are_counted(given: dict[str, Any], match: str) -> None:
    """What acts on each other is bounded in number, too."""
    with pytest.raises(PlanError, match=match):
        _plan(" ".join(f"s{n}q" for n in range(900)), **given)


@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        ("{150$$" + "|".join(map(str, range(200))) + "}", "takes 150 options at once; 100"),
        ("{90$$" + "|".join(f"{{{'|'.join(map(str, range(n % 7 + 1)))}x{n}}}" for n in range(300))
         + "}", "which are too many to be counted"),
        ("{~a|b}" * 8000, "20,000 signs"),
        ("{a|b}" * 12_000, "more than 10\\*\\*3,000 combinations"),
        ("__" + "n" * 1001 + "__", "name of a wildcard may have 1,000 characters, got 1,001"),
    ],
    ids=["picks", "uneven picks", "signs", "combinations", "wildcard name"],
)  # fmt: skip
def test_choices_are_counted(prompt: str, match: str) -> None:
    """Each of these took minutes, or ended in a number that Python does not write down."""
    with pytest.raises((TemplateError, PlanError), match=match):
        _plan(prompt)


def test_numbers_of_thousands_of_digits_are_refused() -> None:
    """They cannot be written into a message or an answer."""
    given: list[dict[str, Any]] = [{"draws": 10**4000}, {"seeds_per_variant": 10**4000}]
    for numbers in given:
        with pytest.raises(PlanError, match=r"more than 10\*\*3,000 combinations"):
            _plan("{a|b}", mode="random", **numbers)


def test_wildcards_that_name_wildcards_are_counted(tmp_path: Path) -> None:
    """A thousand values that name a thousand values each, three times over."""
    for level in range(3):
        values = [f"v{n} __w{level + 1}__" if level < 2 else f"v{n}" for n in range(1000)]
        (tmp_path / f"w{level}.txt").write_text("\n".join(values), "utf-8")
    with pytest.raises(PlanError, match="the plan takes too much to be made"):
        _plan("__w0__", tmp_path, wildcards_dir=".")
    assert _plan("__w2__ and __w2__", tmp_path, wildcards_dir=".").plan_size == 1_000_000


def test_aliases_of_yaml_are_counted(tmp_path: Path) -> None:
    """Nine lines of ten aliases each stand for a thousand million values."""
    lines = ["a0: &a0 {x: [one], y: [two]}"]
    lines += [
        f"a{n}: &a{n} {{" + ", ".join(f"k{k}: *a{n - 1}" for k in range(10)) + "}"
        for n in range(1, 9)
    ]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines), "utf-8")
    with pytest.raises(TemplateError, match=r"aliases in .*bomb\.yaml stand for more than 500,000"):
        _plan("__a0/x__", tmp_path, wildcards_dir=".")
    (tmp_path / "bomb.yaml").write_text("\n".join(lines[:3]), "utf-8")
    assert _plan("__a2/k1/k2/y__", tmp_path, wildcards_dir=".").plan_size == 1


def test_files_of_wildcards_are_bounded(tmp_path: Path) -> None:
    """The library reads a file whole, into an object for every line."""
    (tmp_path / "long.txt").write_text("x\n" * 500_001, "utf-8")
    with pytest.raises(TemplateError, match="may have 250,000 lines, got 500,002"):
        _plan("__long__", tmp_path, wildcards_dir=".")
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(16 * MEBIBYTE + 1)
    with pytest.raises(TemplateError, match="may have 16,777,216 bytes, got 16,777,217"):
        _plan("__large__", tmp_path, wildcards_dir=".")
    (tmp_path / "many.json").write_text('{"x": [%s"y"]}' % ('"z",' * 2**20), "utf-8")
    with pytest.raises(TemplateError, match="have more than 4,194,304 bytes"):
        _plan("__x__", tmp_path, wildcards_dir=".")


def test_a_folder_of_everything_is_no_folder_of_wildcards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names the root of a disk would wait for all of it to be walked."""
    monkeypatch.setattr("safelight.randomizer.wildcard_bounds._MOST_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(TemplateError, match="more than 3 files; name a folder of wildcards alone"):
        _plan("__x__", tmp_path, wildcards_dir=".")


def test_repeats_are_looked_for_in_bounded_memory() -> None:
    """Ten thousand variants of a hundred thousand characters each are a gigabyte."""
    prompt = "x" * 90_000
    plan = _plan([f"{prompt}{n}" for n in range(300)])
    tracemalloc.start()
    assert repeated_variants(plan) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MEBIBYTE


def test_repeats_are_looked_for_in_bounded_work() -> None:
    """A variant of thousands of axes takes long to be made, however short its text is."""
    plan = _plan("{|a}" * 2_000, mode="random", draws=10_000)
    made = 0

    def counted() -> Iterator[Variant]:
        nonlocal made
        for variant in plan.variants:
            made += 1
            yield variant

    variants: Any = counted()
    assert repeated_variants(replace(plan, variants=variants)) is None
    assert made < 2_000


def test_more_values_than_can_be_counted_are_none_of_the_engines_choices() -> None:
    """Python's own length of anything has 63 bits."""
    data = {
        "txt2img": {"prompt": f"{{20$${'|'.join(f'w{n}' for n in range(100))}}}", "seed": 1},
        "randomizer": {"mode": "random", "draws": 2},
    }
    config = PipelineConfig.from_mapping(data)
    plan = plan_variants(config, 1)
    assert any(axis.size > sys.maxsize for axis in plan.axes)
    refuse_unknown_choices(FakeBackend(), config, plan)


def test_what_hardly_ever_comes_is_not_waited_for() -> None:
    """All the weight may lie on what must not come."""

    class Sure(Line):
        def sample(self, dice: Dice) -> int:
            return 0

    merged = Merged(Sure(3), [None, "a", "b"])
    drawn = {merged.sample(Dice(seed, "test")) for seed in range(8)}
    assert drawn == {0, 1}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a" + ".a" * 50_000 + "=1", "a key may have 100 parts"),
        ("[a" + ' . "b"' * 200 + "]", "a key may have 100 parts"),
        ("a=" + "[" * 100_000, "nests too deep"),
        ("a=" + "9" * 5000, "is not TOML: Exceeds the limit"),
    ],
    ids=["key", "header", "arrays", "digits"],
)
def test_a_config_that_is_costly_to_read_is_refused(text: str, match: str) -> None:
    """A key of 100 kB took ten gigabytes."""
    tracemalloc.start()
    with pytest.raises(ConfigError, match=match):
        read_toml(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MEBIBYTE


def test_the_faults_of_a_config_are_told_up_to_a_hundred() -> None:
    """Nobody reads sixty thousand."""
    with pytest.raises(ConfigError, match="300 faults") as refused:
        PipelineConfig.from_mapping({"txt2img": {f"unknown{n}": 1 for n in range(300)}})
    assert len(refused.value.faults) == 300
    assert str(refused.value).endswith("and 200 more")


def test_a_list_of_ranges_is_indexed_without_being_added_up_anew() -> None:
    """A sweep over a hundred thousand numbers took minutes: each value looked at all parts."""
    values = values_of(",".join(map(str, range(50_000))), "integer")
    assert list(values) == list(range(50_000))
    with pytest.raises(ValueError, match="may have 200 characters, got 100,001"):
        values_of("9" * 100_000 + "x", "number")
    with pytest.raises(ValueError, match="field larger than field limit"):
        values_of("x" * 200_000, "text")


def test_work_is_counted_up_to_its_end() -> None:
    """The same plan is refused everywhere, whatever the machine does beside it."""
    work = PlanWork(most=10)
    work.spend(10, "the prompts")
    with pytest.raises(
        PlanError, match="the prompts: the plan takes too much .* more than 10 steps"
    ):
        work.spend(1, "the prompts")
