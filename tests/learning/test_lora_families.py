"""Epochs of one training are levels of one setting, where no picture has two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from learning.simulated_ratings import trials_of
from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.lora_families import with_families

Row = Mapping[str, Any]
EPOCHS = ("", "<lora:ink-000002:1>", "<lora:ink-000004:1>", "<lora:ink:1>")


def rows(count: int = 200) -> list[Row]:
    chance = np.random.default_rng(3)
    return [
        {"prompt": f"thing {number % 25} {EPOCHS[chance.integers(4)]}", "seed": number}
        for number in range(count)
    ]


def stars(row: Row) -> int:
    return 4 if "000004" in row["prompt"] else 2 if row["seed"] % 3 else 3


def test_epochs_are_compared_with_each_other_and_with_none() -> None:
    trials = with_families(trials_of(rows(), stars))
    assert [knob for knob in trials.numbers if knob.startswith("lora.")] == []
    assert trials.levels["lora.ink"].names == ("ink-000002", "ink-000004", "ink")
    (ink,) = (k for k in find_effects(trials_of(rows(), stars)).knobs if k.knob == "lora.ink")
    compared = {(c.level, c.against): c for c in ink.comparisons}
    best = compared["ink-000004", "(none)"]
    assert best.told
    assert (best.difference or 0) > 0
    assert "ink-000004" in ink.may_be_best
    assert "ink-000002" not in ink.may_be_best


def test_two_of_a_family_in_one_picture_stay_two_loras() -> None:
    both: list[Row] = [*rows(), {"prompt": "thing <lora:ink-000002:1> <lora:ink:0.5>", "seed": 999}]
    trials = with_families(trials_of(both, stars))
    assert {knob for knob in trials.numbers if knob.startswith("lora.")} == {
        "lora.ink-000002", "lora.ink-000004", "lora.ink",
    }  # fmt: skip


def test_another_weight_is_another_picture() -> None:
    some: list[Row] = rows()
    some[::2] = [{**row, "prompt": row["prompt"].replace(":1>", ":0.7>")} for row in some[::2]]
    trials = with_families(trials_of(some, stars))
    assert set(trials.settings["lora.ink weight"].names) == {"0.0", "0.7", "1.0"}
