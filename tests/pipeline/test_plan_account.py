"""A record holds its plan: what varied, by which rules, and what would be another plan."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.config import PipelineConfig
from safelight.learning import LearningRecord
from safelight.pipeline import PipelineRunner
from safelight.pipeline.input_files import InputFiles
from safelight.pipeline.plan_account import FIRST_PART, LARGEST, plan_account, plan_differences
from safelight.randomizer import plan_variants

SMALL = {"width": 64, "height": 64, "steps": 1}


def account(data: dict[str, Any], seed: int = 1) -> dict[str, Any]:
    config = dataclasses.replace(PipelineConfig.from_mapping(data), stated=data)
    return plan_account(config, plan_variants(config, seed), InputFiles(Path()))


def records_of(data: dict[str, Any], **options: Any) -> list[LearningRecord]:
    records: list[LearningRecord] = []
    runner = PipelineRunner(FakeBackend(), on_learning_record=records.append, **options)
    list(runner.runs(PipelineConfig.from_mapping(data)))
    return records


def test_a_record_says_what_varied_and_how() -> None:
    """Axes with their values, rules, seeds, caps; read back from its file as they were."""
    data = {
        "txt2img": {"prompt": "a {red|green} house", "seed": 5, **SMALL},
        "randomizer": {
            "mode": "fanout",
            "seeds_per_variant": 2,
            "seed_policy": "per_prompt",
            "max_variants": 7,
            "prompt_sr": {"rules": ["house => hut | tower"]},
            "sweep": {"txt2img.cfg_scale": [3, 7.5]},
        },
    }
    (record,) = records_of(data)
    plan = LearningRecord.from_json(record.to_json()).plan
    assert [(axis["name"], axis.get("values")) for axis in plan["axes"]] == [
        ("house->", ["hut", "tower"]),
        ("txt2img.prompt{1}", ["red", "green"]),
        ("txt2img.cfg_scale", [3, 7.5]),
        ("txt2img.seed", None),
    ]
    assert plan["full_size"] == 16
    assert plan["randomizer"]["max_variants"] == 7
    assert plan["randomizer"]["seeds_per_variant"] == 2
    assert plan["randomizer"]["seed_policy"] == "per_prompt"
    (rule,) = plan["randomizer"]["prompt_sr"]["rules"]
    assert rule == {"search": "house", "replacements": ["hut", "tower"]}


def test_later_parts_name_the_first() -> None:
    """A plan of many runs is told once."""
    data = {
        "txt2img": {"prompt": "a", **SMALL},
        "randomizer": {"mode": "fanout", "seeds_per_variant": 5},
    }
    first, *later = records_of(data, variants_per_run=2)
    assert first.plan["full_size"] == 5
    assert [record.plan for record in later] == [{FIRST_PART: first.run_id}] * 2


def test_the_config_is_there_as_it_was_written_without_its_secrets() -> None:
    """In its order, which is that of the axes."""
    data = {
        "txt2img": {"prompt": "a", **SMALL},
        "backend": {"name": "webui", "url": "http://me:hunter2@host/", "password": "hunter3"},
        "randomizer": {"mode": "fanout", "sweep": {"txt2img.steps": [2], "txt2img.eta": [0]}},
    }
    stated = account(data)
    assert "hunter" not in json.dumps(stated)
    kept = json.loads(stated["config"])
    assert list(kept) == ["txt2img", "backend", "randomizer"]
    assert list(kept["randomizer"]["sweep"]) == ["txt2img.steps", "txt2img.eta"]
    assert kept["backend"]["url"] == "http://host/"


def test_what_a_wildcard_or_a_lora_is_called_is_no_secret() -> None:
    """Neither the token of a table of tokens, nor a LoRA whose name is that of a login."""
    for lora in ({"lora.cookie": [0, 1]}, {"lora": {"cookie": [0, 1]}}):
        data: dict[str, Any] = {
            "txt2img": {"prompt": "a X", **SMALL},
            "randomizer": {
                "wildcards": {"tokens": [{"token": "X", "values": ["cat", "dog"]}]},
                "sweep": lora,
            },
        }
        stated = account(data)
        assert json.loads(stated["config"]) == data
        assert "(removed)" not in json.dumps(stated)
        other = {"token": "a", "values": ["cat", "dog"]}
        changed = {**data, "randomizer": {**data["randomizer"], "wildcards": {"tokens": [other]}}}
        assert plan_differences(stated, account(changed))


def test_prompts_that_are_listed_stay_as_one_alone_does() -> None:
    """A variable of a template, or an address, has the form of what addresses hide."""
    text = "a?b;${key=!{x|y}}${key}"
    data = {
        "txt2img": {"prompt": [text, "http://me:hunter2@host/?sig=a cat"], **SMALL},
        "randomizer": {"sweep": {"txt2img.negative_prompt": [text]}},
    }
    kept = json.loads(account(data)["config"])
    assert kept["txt2img"]["prompt"] == [text, "http://host/?sig=a cat"]
    assert kept["randomizer"] == data["randomizer"]


def long(last: int) -> dict[str, Any]:
    return {
        "txt2img": {"prompt": "a", **SMALL},
        "randomizer": {"mode": "fanout", "sweep": {"txt2img.seed": [*range(20_000), last]}},
    }


def test_a_large_plan_is_told_by_counts_and_hashes() -> None:
    """And is still told from another one."""
    first, second = account(long(30_000)), account(long(30_001))
    assert len(json.dumps(first)) < LARGEST
    assert set(first["randomizer"]) == set(first["config"]) == {"count", "sha256"}
    assert plan_differences(first, account(long(30_000))) == []
    assert plan_differences(first, second) == ["the [randomizer] table changed"]
    small = account({"txt2img": {"prompt": "a", **SMALL}})
    assert plan_differences(first, small) == ["the [randomizer] table changed"]
    assert plan_differences(small, first) == ["the [randomizer] table changed"]


@pytest.mark.parametrize("size", [3000, 10**9])
def test_values_beyond_number_are_counted(size: int) -> None:
    """A sweep of a billion seeds is not listed."""
    stated = account(
        {
            "txt2img": {"prompt": "a", **SMALL},
            "randomizer": {"mode": "fanout", "sweep": {"txt2img.seed": f"1-{size}"}},
        }
    )
    assert stated["axes"] == [{"name": "txt2img.seed", "size": size}]


def test_what_does_not_choose_variants_is_no_difference() -> None:
    """Another name, another engine, a note."""
    data = {"name": "one", "txt2img": {"prompt": "{a|b}", **SMALL}}
    data["randomizer"] = {"mode": "fanout"}
    other = {**data, "name": "two", "backend": {"name": "fake"}, "metadata": {"note": "x"}}
    assert plan_differences(account(data), account(other)) == []


def test_every_difference_is_told() -> None:
    """Not the first one only."""
    data: dict[str, Any] = {"txt2img": {"prompt": "a", **SMALL}}
    before = account({**data, "randomizer": {"mode": "fanout", "sweep": {"txt2img.steps": [5, 6]}}})
    now = account(
        {
            **data,
            "randomizer": {
                "mode": "fanout", "max_variants": 1, "sweep": {"txt2img.eta": [0, 1]},
            },
        }
    )  # fmt: skip
    assert plan_differences(before, now) == [
        "txt2img.steps is swept over nothing, and was over 5, 6",
        "txt2img.eta is swept over 0, 1, and was over nothing",
        "randomizer.max_variants is 1, and was 0",
    ]
