"""A setting that nobody has drawn is shown by the pictures that come nearest to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from learning.simulated_ratings import digest, trials_of
from safelight.learning.plans.nearest import nearest_pictures
from safelight.learning.plans.suggested import setting_words

Row = dict[str, Any]
LORA = "lora.ink"


def near(rows: list[Row], setting: Row, count: int = 3) -> list[tuple[int, str]]:
    """Return the numbers of the nearest of *rows*, and how they differ."""
    trials = trials_of(rows, lambda row: row.get("stars", 3), hidden="stars")
    (found,) = nearest_pictures(trials, [setting], count)
    return [(int(one.digest, 16), one.text) for one in found]


def test_another_model_is_further_than_another_sampler_and_that_than_a_few_steps() -> None:
    rows: list[Row] = [
        {"prompt": "a", "model": "real", "sampler": "Euler", "steps": 20},
        {"prompt": "b", "model": "dream", "sampler": "DDIM", "steps": 20},
        {"prompt": "c", "model": "dream", "sampler": "Euler", "steps": 24},
        {"prompt": "d", "model": "dream", "sampler": "Euler", "steps": 40},
        {"prompt": "e", "model": "real", "sampler": "Euler", "steps": 80},
    ]
    found = near(rows, {"model": "dream", "sampler": "Euler", "steps": 20}, 4)
    assert [number for number, _ in found] == [2, 3, 1, 0]
    assert [text for _, text in found] == [
        "steps 24, not 20", "steps 40, not 20", "sampler DDIM, not Euler", "model real, not dream",
    ]  # fmt: skip


def test_the_very_setting_is_called_the_same() -> None:
    rows: list[Row] = [{"prompt": "a", "steps": 20, "cfg_scale": 7.0},
                       {"prompt": "b", "steps": 30, "cfg_scale": 7.0}]  # fmt: skip
    assert near(rows, {"steps": 30, "cfg_scale": 7.0}, 1) == [(1, "the same settings")]


def test_of_equally_near_ones_each_prompt_has_its_turn_and_none_is_the_luckiest() -> None:
    rows: list[Row] = [
        {"prompt": prompt, "steps": 20, "stars": stars} for prompt in "ab" for stars in (1, 3, 5)
    ]
    rows.append({"prompt": "c", "steps": 40, "stars": 3})
    found = near(rows, {"steps": 20}, 2)
    assert [number for number, _ in found] == [1, 4]


def test_a_lora_that_is_not_there_is_told_by_its_name() -> None:
    rows: list[Row] = [
        {"prompt": "a <lora:ink:0.5>", "steps": 20},
        {"prompt": "b", "steps": 20},
    ]
    assert near(rows, {"steps": 20, LORA: 0.6}) == [(0, "ink at 0.5, not 0.6"), (1, "without ink")]
    assert setting_words({"steps": 20, LORA: 0.6}) == "steps 20, ink at 0.6"
    assert setting_words({LORA: 0}) == "without ink"


def test_what_tells_none_of_the_settings_is_near_to_nothing() -> None:
    rows: list[Row] = [{"prompt": "a", "steps": None}, {"prompt": "b", "steps": 50}]
    assert near(rows, {"steps": 10}) == [(1, "steps 50, not 10")]
    assert near(rows[:1], {"steps": 10}) == []


def test_a_picture_whose_file_nobody_knows_is_not_shown() -> None:
    rows: list[Row] = [{"prompt": "a", "steps": 2}, {"prompt": "b", "steps": 9}]
    trials = replace(trials_of(rows, lambda row: 3), digests=("", digest(1)))
    (found,) = nearest_pictures(trials, [{"steps": 2}])
    assert [one.digest for one in found] == [digest(1)]
    assert nearest_pictures(replace(trials, digests=()), [{"steps": 2}]) == ((),)
