"""Machines that know nothing of each other draw one plan, each its part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import Safelight
from safelight.archive import Archive
from safelight.config import PipelineConfig
from safelight.errors import ConfigError, PlanError
from safelight.randomizer import RandomizerPlanResult, plan_variants
from safelight.randomizer.explanation import explain_variant

CONFIG: dict[str, Any] = {
    "txt2img": {"prompt": "{red|green|blue} {fox|owl}", "seed": -1, "steps": 2, "width": 64,
                "height": 64},
}  # fmt: skip


def config_of(part: str, **randomizer: Any) -> PipelineConfig:
    table = {"mode": "fanout", **randomizer, **({"part": part} if part else {})}
    return PipelineConfig.from_mapping({**CONFIG, "randomizer": table})


def configs(plan: RandomizerPlanResult) -> list[Any]:
    return [(variant.label, dict(variant.config["txt2img"])) for variant in plan.variants]


@given(
    parts=st.integers(1, 6), each=st.integers(1, 3), mode=st.sampled_from(["fanout", "random"]),
    seed=st.one_of(st.none(), st.integers(0, 9)),
)  # fmt: skip
def test_parts_are_together_the_whole(parts: int, each: int, mode: str, seed: int | None) -> None:
    """Whatever seeds the machines would have drawn: that of the config counts."""
    more = {"mode": mode, "seeds_per_variant": each, "draws": 7}
    if seed is not None:
        more["seed"] = seed
    plans = [
        plan_variants(config_of(f"{number}/{parts}", **more), 1000 + number)
        for number in range(1, parts + 1)
    ]
    assert len({plan.seed for plan in plans}) == 1
    whole = plan_variants(config_of("1/1", **more), 5)
    assert [made for plan in plans for made in configs(plan)] == configs(whole)
    assert max(p.plan_size for p in plans) - min(p.plan_size for p in plans) <= 1
    assert [v.index for v in plans[-1].variants] == list(range(plans[-1].plan_size))


def test_a_variant_of_a_part_is_explained() -> None:
    told = explain_variant(config_of("2/2"), index=1)
    assert (told.index, told.plan_size) == (1, 3)
    assert told.label is not None


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "1/0", ""])
def test_a_part_that_is_none_is_refused(part: str) -> None:
    table = {"mode": "fanout", "part": part}
    if part == "":
        assert plan_variants(config_of("")).plan_size == 6
        return
    with pytest.raises(ConfigError, match=r'randomizer\.part.*such as "2/8"'):
        PipelineConfig.from_mapping({**CONFIG, "randomizer": table})


def test_an_empty_part_is_told() -> None:
    with pytest.raises(PlanError, match="part 1 of 7 is empty: there are 6 variants"):
        plan_variants(config_of("1/7"))


def test_two_machines_and_a_merge_draw_every_variant_once(command: Safelight) -> None:
    Path("c.toml").write_text(
        '[txt2img]\nprompt = "{red|green|blue} {fox|owl}"\nsteps = 2\nwidth = 64\nheight = 64\n'
        '[randomizer]\nmode = "fanout"\n'
    )
    for number in (1, 2):
        done = command("run", "c.toml", "--part", f"{number}/2", "--archive", f"m{number}",
                       "--set", "backend=fake")  # fmt: skip
        assert done.exit_code == 0, done.output
    assert command("archive", "merge", "m2", "--archive", "m1").exit_code == 0
    prompts = [row[0] for row in Archive("m1").query(columns=["prompt"], limit=None).rows]
    assert sorted(prompts) == sorted(f"{c} {a}" for c in ("red", "green", "blue")
                                     for a in ("fox", "owl"))  # fmt: skip
    seeds = {row[0] for row in Archive("m1").query(columns=["seed"], limit=None).rows}
    assert len(seeds) == 1, "the same on both machines"
