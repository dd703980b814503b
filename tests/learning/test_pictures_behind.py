"""Behind each sentence stand the pictures that it rests on, typical ones first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from learning.simulated_ratings import digest, trials_of
from learning.test_effects import scatter, sweep
from learning.test_sentences import crossing, kinds_of
from safelight.learning.evidence.comparing import Comparing
from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.findings import Behind
from safelight.learning.evidence.pictures_behind import MOST_PAIRS, pictures_behind
from safelight.learning.evidence.sentences import Sentence

Row = dict[str, Any]


def behind(rows: list[Row], stars: Callable[[Any], int]) -> list[tuple[Sentence, Behind | None]]:
    trials = trials_of(rows, stars)
    effects = find_effects(trials)

    def digests_of(condition: str) -> set[str]:
        word = condition.split("'")[1]
        return {digest(n) for n, row in enumerate(rows) if word in row["prompt"]}

    found = pictures_behind(Comparing(trials), effects.knobs, effects.sentences, digests_of)
    return list(zip(effects.sentences, found, strict=True))


def test_pairs_are_alike_in_all_else_and_the_better_one_comes_first() -> None:
    rows = sweep(12, sampler=["Euler", "DDIM"], steps=[8, 20])
    (sentence, found), *_ = behind(rows, lambda row: 4 if row["sampler"] == "Euler" else 2)
    assert (sentence.better, sentence.worse) == ("Euler", "DDIM")
    assert found is not None
    assert (found.better, found.worse, found.alike, found.count) == ("Euler", "DDIM", True, 24)
    assert found.whole
    for pair in found.pairs:
        one, other = (rows[int(each, 16)] for each in pair)
        assert (one["sampler"], other["sampler"]) == ("Euler", "DDIM")
        assert {**one, "sampler": ""} == {**other, "sampler": ""}
    first = [rows[int(pair[0], 16)]["prompt"] for pair in found.pairs[:12]]
    assert len(set(first)) == 12  # no prompt has its second turn before each had one


def test_what_is_shown_first_is_typical_and_not_the_loudest() -> None:
    """One pair of twelve is five stars against one."""
    rows = sweep(12, sampler=["Euler", "DDIM"])

    def stars(row: Any) -> int:
        loud = row["prompt"] == "thing 3"
        return (5 if loud else 4) if row["sampler"] == "Euler" else (1 if loud else 3)

    found = behind(rows, stars)[0][1]
    assert found is not None
    assert "thing 3" not in {rows[int(pair[0], 16)]["prompt"] for pair in found.pairs[:11]}


def test_of_many_pairs_some_are_named_and_all_are_counted() -> None:
    rows = sweep(MOST_PAIRS + 8, sampler=["Euler", "DDIM"])
    found = behind(rows, lambda row: 4 if row["sampler"] == "Euler" else 2)[0][1]
    assert found is not None
    assert (len(found.pairs), found.count, found.whole) == (MOST_PAIRS, MOST_PAIRS + 8, False)


def test_without_pairs_one_of_each_side_is_shown() -> None:
    rows = scatter(120, sampler=["Euler", "DDIM"])
    found = behind(rows, lambda row: 4 if row["sampler"] == "Euler" else 2)[0][1]
    assert found is not None
    assert not found.alike
    sides = {tuple(rows[int(each, 16)]["sampler"] for each in pair) for pair in found.pairs}
    assert sides == {("Euler", "DDIM")}


def test_of_a_part_only_its_own_pictures_are_shown() -> None:
    rows = kinds_of()
    chance = np.random.default_rng(2)
    noise = {id(row): chance.normal(0, 0.4) for row in rows}
    found = behind(rows, lambda row: round(2.5 + 1.2 * crossing(row) + noise[id(row)]))
    (sentence, shown), *_ = [one for one in found if one[0].part]
    word = sentence.condition.split("'")[1]
    assert shown is not None
    for pair in shown.pairs:
        better, worse = (rows[int(each, 16)] for each in pair)
        assert word in better["prompt"]
        assert word in worse["prompt"]
        assert (better["model"], worse["model"]) == (sentence.better, sentence.worse)


def test_of_what_may_be_best_one_of_each_is_shown() -> None:
    worth = {"a": 4, "b": 4, "c": 4, "d": 1, "e": 1}
    rows = sweep(14, sampler=list(worth))
    found = {one.about: shown for one, shown in behind(rows, lambda row: worth[row["sampler"]])}
    assert found["best"] is not None
    names = {name: rows[int(each, 16)]["sampler"] for name, each in found["best"].singles}
    assert names == {"a": "a", "b": "b", "c": "c"}
