"""What docs/config.md says of files of prompts is what they come to."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from safelight.config import PipelineConfig, plain
from safelight.randomizer import plan_variants

PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text("utf-8")
SECTION = PAGE[PAGE.index("### Prompts from a file") : PAGE.index("### Signs in prompts")]
EXAMPLES = re.findall(
    r"^```text\n(\S+)(?:, (.+))?\n((?:(?!->).*\n)+)((?:-> .+\n)+)```$", SECTION, re.MULTILINE
)
STAGES: dict[str, Any] = {"txt2img": {"seed": 1}}


@pytest.mark.parametrize(("name", "table", "content", "said"), EXAMPLES)
def test_every_example_comes_to_what_stands_below_it(
    tmp_path: Path, name: str, table: str, content: str, said: str
) -> None:
    """An example that is wrong teaches files that nobody reads."""
    (tmp_path / name).write_text(content, "utf-8")
    stages = STAGES | ({"img2img": {}} if "img2img" in said else {})
    prompts = {"file": name, **tomllib.loads(table)}
    config = PipelineConfig.from_mapping(
        {**stages, "randomizer": {"prompts": prompts}}, folder=tmp_path
    )
    variants = list(plan_variants(config).variants)
    lines = said.splitlines()
    assert len(variants) == len(lines)
    for variant, line in zip(variants, lines, strict=True):
        wanted = tomllib.loads(f"knobs = {{{line.removeprefix('-> ')}}}")["knobs"]
        redrawn = wanted.pop("img2img", {})
        drawn = plain(variant.config)
        assert drawn["txt2img"] == {"seed": 1, **wanted}
        assert redrawn.items() <= drawn.get("img2img", {}).items()


def test_every_format_has_an_example() -> None:
    assert [example[0] for example in EXAMPLES] == [
        "prompts.txt", "prompts.txt", "prompts.csv", "prompts.jsonl",
    ]  # fmt: skip
