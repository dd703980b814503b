"""What docs/config.md says of templates is what they do, and what dynamicprompts does."""

from __future__ import annotations

import re
import tomllib
from itertools import islice
from pathlib import Path

import pytest
from dynamicprompts.generators import CombinatorialPromptGenerator
from dynamicprompts.wildcards import WildcardManager
from pyparsing import ParseBaseException

from randomizer.small_plans import WILDCARDS, plan_of, prompts_of
from safelight.config import PipelineConfig
from safelight.errors import TemplateError
from safelight.randomizer import plan_variants

PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text("utf-8")
SECTION = PAGE[PAGE.index("### Signs in prompts") : PAGE.index("### What it bounds")]
EXAMPLES = re.findall(r"^(\S.*?) +->  (.+)$", SECTION, re.MULTILINE)
DIFFERENCES = [
    [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in SECTION.splitlines()
    if line.startswith("| `")
]
ENDLESS = 60
CONFIGS = re.findall(r"```toml\n(\[txt2img\].+?)```\n\n[^`]+```text\n(.+?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("template", "said"), EXAMPLES)
def test_every_example_comes_to_the_prompts_beside_it(template: str, said: str) -> None:
    """An example that is wrong teaches a language that nobody reads."""
    prompts = prompts_of(plan_of(template, wildcards_dir=WILDCARDS))
    expected = said.split(" / ")
    assert len(prompts) == len(expected)
    for prompt, text in zip(prompts, expected, strict=True):
        either = re.fullmatch(r"(.*)\((\w+) or (\w+)\)", text)
        assert prompt in ([f"{either[1]}{either[n]}" for n in (2, 3)] if either else [text])


@pytest.mark.parametrize(("config", "said"), CONFIGS)
def test_every_config_comes_to_the_texts_below_it(config: str, said: str) -> None:
    """A line for each variant: its prompt and, where there is one, its negative prompt."""
    plan = plan_variants(PipelineConfig.from_mapping(tomllib.loads(config)))
    lines = [re.split(r" {2,}", line) for line in said.splitlines()]
    drawn = [variant.config["txt2img"] for variant in plan.variants]
    assert [
        [stage[knob] for knob in ("prompt", "negative_prompt") if knob in stage] for stage in drawn
    ] == lines


def test_the_page_has_configs_that_are_carried_out() -> None:
    """The pattern that finds them is not outlived by the page."""
    assert CONFIGS


def test_every_sign_has_an_example() -> None:
    """Signs that act and are named nowhere surprise whoever writes them as characters."""
    written = "\n".join(template for template, _ in EXAMPLES)
    for sign in ("{", "|", "::", "$$", "__", "*", "${", "=!", "?=", ":", "%{", "...", "{@", "{~",
                 "{!", "# ", r"\{", r"\}", r"\|", r"\#", r"\$", r"\__", r"\::", r"\@"):  # fmt: skip
        assert sign in written, sign


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wildcards that the table of differences names."""
    folder = tmp_path_factory.mktemp("wildcards")
    (folder / "weights.txt").write_text("3::a\n1::b\n", "utf-8")
    (folder / "self.txt").write_text("a\n__self__ b\n", "utf-8")
    (folder / "lists.yaml").write_text("ages: [18, 1.50, yes]\n", "utf-8")
    return folder


def listed(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row[0])
def test_the_table_tells_what_both_make_of_a_template(row: list[str], folder: Path) -> None:
    """Each difference is deliberate as long as it is in the table, and both sides are true."""
    pytest.importorskip("yaml")
    (template,), theirs, ours, why = listed(row[0]), row[1], row[2], row[3]
    assert why
    assert theirs != ours, "no difference any more"
    if "refused" in ours:
        with pytest.raises(TemplateError):
            plan_of(template, wildcards_dir=str(folder))
    else:
        plan = plan_of(template, wildcards_dir=str(folder))
        assert sorted(prompts_of(plan)) == sorted(listed(ours))
        assert bool(plan.warnings) == ("told" in ours)
    library = CombinatorialPromptGenerator(WildcardManager(folder))
    if "endless" in theirs:
        if "{__" not in template:  # where it never comes back
            assert is_endless(library, template)
    elif "an error" in theirs:
        with pytest.raises((ParseBaseException, ValueError)):
            library.generate(template, ENDLESS)
    else:
        assert list(map(str, library.generate(template, ENDLESS))) == listed(theirs)


def is_endless(library: CombinatorialPromptGenerator, template: str) -> bool:
    from dynamicprompts.parser.parse import parse

    texts = library._context.generator_from_command(parse(template))
    try:
        return sum(1 for _ in islice(texts, ENDLESS)) == ENDLESS
    except RecursionError:
        return True
