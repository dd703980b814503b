"""Templates, wildcards and walks as dynamicprompts has them, beyond what it can list."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from dynamicprompts import commands as library
from dynamicprompts.commands.variable_commands import (
    VariableAccessCommand,
    VariableAssignmentCommand,
)
from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.wildcards import WildcardManager

from randomizer.small_plans import DATA, WILDCARDS, plan_of, prompts_of
from randomizer.template_differences import DIFFERENT
from safelight.errors import TemplateError
from safelight.randomizer.template_signs import unshielded
from safelight.randomizer.template_syntax import parse_template
from safelight.randomizer.wildcard_files import WildcardFiles

MORE = json.loads((DATA / "dynamicprompts_more.json").read_text("utf-8"))
NUMBERS = {"artists/*": {"12345", "5678"}, "*": {"12345", "5678"}}
"""Values that only we read: numbers in a list."""
MANAGER = WildcardManager(DATA / WILDCARDS)
TEMPLATES = int(os.environ.get("SAFELIGHT_TEMPLATES", "400"))
"""How many are generated; several thousand find more and take minutes."""
MOST = 60
FEW = 20


def plain(command: Any) -> Any:
    """Return a tree as the cases write it."""
    method = command.sampling_method.value if command.sampling_method else None
    match command:
        case library.LiteralCommand():
            return {"literal": unshielded(command.literal)}
        case library.SequenceCommand():
            return {"sequence": list(map(plain, command.tokens))}
        case library.VariantCommand():
            options = [{"weight": o.weight, "value": plain(o.value)} for o in command.variants]
            return {
                "variants": options, "min": command.min_bound, "max": command.max_bound,
                "separator": command.separator, "method": method,
            }  # fmt: skip
        case library.WildcardCommand():
            path = command.wildcard
            return {
                "wildcard": path if isinstance(path, str) else plain(path), "method": method,
                "variables": {name: plain(value) for name, value in command.variables.items()},
            }  # fmt: skip
        case library.WrapCommand():
            return {"wrap": plain(command.wrapper), "inner": plain(command.inner)}
        case VariableAccessCommand():
            return {"get": command.name, "default": command.default and plain(command.default)}
        case VariableAssignmentCommand():
            return {
                "set": command.name, "value": plain(command.value),
                "immediate": command.immediate, "overwrite": command.overwrite,
            }  # fmt: skip
    raise AssertionError(command)


@pytest.mark.parametrize("case", MORE["parsed"], ids=lambda case: case["template"])
def test_templates_are_read_as_the_library_reads_them(case: dict[str, Any]) -> None:
    """The tree is the same, whoever built it, and what it cannot read we cannot."""
    if "parsed" in case:
        assert plain(parse_template(case["template"], "here")) == case["parsed"]
    else:
        with pytest.raises(TemplateError):
            parse_template(case["template"], "here")


@pytest.mark.parametrize("case", MORE["endless"], ids=lambda case: case["template"])
def test_what_the_library_repeats_or_never_ends_is_refused_or_drawn(case: dict[str, Any]) -> None:
    """An unknown wildcard is refused by name; ``~`` and ``@`` come to one of what they may."""
    template, may_come = case["template"], case["combinatorial"]
    try:
        drawn = prompts_of(plan_of(template, wildcards_dir=WILDCARDS))
    except TemplateError as error:
        assert "unknown wildcard" in str(error)
        assert not may_come or "__" in may_come[0]
    else:
        assert "~" in template or "@" in template
        every = prompts_of(
            plan_of(template.replace("~", "").replace("@", ""), wildcards_dir=WILDCARDS)
        )
        assert set(drawn) <= set(every)
        assert set(may_come) <= set(every)


@pytest.mark.parametrize("case", MORE["lookups"], ids=lambda case: case["pattern"])
def test_wildcards_are_found_as_the_library_finds_them(case: dict[str, Any]) -> None:
    """Globs, folders below, files of lists: the same values with the same weights."""
    found = WildcardFiles(DATA / WILDCARDS).values(case["pattern"])
    values = [
        (value.text, value.weight)
        for value in found
        if value.text not in NUMBERS.get(case["pattern"], ())
    ]
    assert values == sorted(zip(case["values"], case["weights"], strict=True))


@pytest.mark.parametrize("template", MORE["jinja"])
def test_a_template_of_jinja_is_never_drawn_as_if_it_were_ours(template: str) -> None:
    """It is another language of the same library; what we make of it is told."""
    try:
        plan = plan_of(template, wildcards_dir=WILDCARDS)
    except TemplateError:
        return
    assert plan.warnings or prompts_of(plan) == [template]


@pytest.mark.parametrize("case", MORE["invokeai"], ids=lambda case: case["prompt"])
def test_unknown_wildcards_are_all_named(case: dict[str, Any]) -> None:
    """InvokeAI names those inside braces, where the library hangs; we name the others, too."""
    try:
        plan_of(case["prompt"])
    except TemplateError as error:
        assert all(f"__{name}__" in str(error) for name in case["missing"])
    else:
        assert not case["missing"]


ENGINE_PROMPTS = json.loads((DATA / "engine_prompts.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "prompt",
    [prompt for peer in ("a1111", "fooocus", "invokeai") for prompt in ENGINE_PROMPTS[peer]],
)
def test_what_engines_read_reaches_them_or_is_told(prompt: str) -> None:
    """Attention, editing, composition and LoRA tags are the engine's own language."""
    try:
        plan = plan_of(prompt)
    except TemplateError as error:
        assert "character" in str(error)  # and says how to write what would be read as a template
    else:
        assert prompts_of(plan) == [prompt] or plan.warnings
    assert prompts_of(plan_of(prompt, templates=False)) == [prompt]


CASES = {
    case["template"]: case
    for case in json.loads((DATA / "dynamicprompts_expand.json").read_text("utf-8"))["cases"]
}
ROWS = (Path(__file__).parents[2] / "docs" / "config.md").read_text("utf-8")


@pytest.mark.parametrize("template", DIFFERENT)
def test_a_case_that_is_different_here_is_so_for_a_reason(template: str) -> None:
    """A difference that is none any more goes from the list, and no row loses its cases."""
    ours = prompts_of(plan_of(template, wildcards_dir=WILDCARDS))
    assert ours != list(dict.fromkeys(CASES[template]["combinatorial"]))
    row = DIFFERENT[template].replace("|", r"\|")
    assert f"| `{row}` |" in ROWS


# -- walks over generated templates ---------------------------------------------------------


def generated(chance: Random, depth: int = 0) -> str:
    """Return a template of words, choices, counts, weights and wildcards."""
    variable = chance.choice(["${w}", "${u:v}"])
    kinds: list[Callable[[], str]] = [
        lambda: chance.choice(["red", "blue", "a b", "x", "(y:1.2)", "[z:q:0.5]"]),
        lambda: chance.choice(["__colors-cold__", "__colors-*__", "__shapes__"]),
        lambda: braces(chance, depth),
        lambda: "%{so ... now$$" + braces(chance, depth) + "}",
        lambda: variable,
    ]
    weights = ([1, 2, 6, 1, 1], [6, 1, 2, 0, 1], [6, 1, 0, 0, 1])[depth]
    parts = [chance.choices(kinds, weights)[0]() for _ in range(chance.choice([1, 1, 2]))]
    return ", ".join(parts)


def braces(chance: Random, depth: int) -> str:
    options = dict.fromkeys(generated(chance, depth + 1) for _ in range(chance.randint(2, 3)))
    head = chance.choice(["", "", "", "2$$", "1-2$$ and $$", "0-1$$"])
    weights = [""] if head else ["", "2::", "0.5::"]
    return "{" + head + "|".join(chance.choice(weights) + option for option in options) + "}"


def assigned(chance: Random) -> str:
    """Return a template that says what its variables are."""
    template = generated(chance)
    value = chance.choice(["one", "{one|two}", "__colors-cold__"])
    return f"${{w={value}}}{template}" if "${w}" in template else template


def walk(template: str, method: SamplingMethod, most: int) -> Iterator[str]:
    context = SamplingContext(
        default_sampling_method=method,
        wildcard_manager=MANAGER,
        rand=Random(1),
    )
    return map(str, islice(context.generator_from_command(parse(template)), most))


@pytest.mark.parametrize("part", range(4))
def test_thousands_of_templates_walk_as_in_the_library(part: int) -> None:
    """Listed: the same prompts in the same order. Drawn: only those, by both. Stepped: the same.

    Where the library counts a text twice, or steps through choices that it says it cannot, there
    is nothing to compare.
    """
    chance = Random(part)
    compared = {"listed": 0, "drawn": 0, "stepped": 0}
    for _ in range(TEMPLATES // 4):
        template = assigned(chance)
        listed = list(walk(template, SamplingMethod.COMBINATORIAL, MOST + 1))
        if len(listed) > MOST:
            continue
        every = list(dict.fromkeys(listed))
        assert list(dict.fromkeys(prompts_of(plan_of(template, wildcards_dir=WILDCARDS)))) == every
        compared["listed"] += 1
        drawn = prompts_of(
            plan_of(template, mode="random", draws=3, seed=part, wildcards_dir=WILDCARDS)
        )
        assert set(drawn) <= set(every), template
        if "$$" not in template:  # where a text may come twice in one
            assert set(walk(template, SamplingMethod.RANDOM, FEW)) <= set(every), template
        compared["drawn"] += 1
        if "%{" not in template and "$$" not in template:
            stepped = plan_of(template, mode="sequential", wildcards_dir=WILDCARDS)
            theirs = list(walk(template, SamplingMethod.CYCLICAL, stepped.plan_size))
            assert prompts_of(stepped) == theirs, template
            compared["stepped"] += 1
    assert min(compared.values()) > TEMPLATES // 20, compared
