"""Differences are told for kinds that people made, never for what merely follows their stars."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from learning.simulated_ratings import trials_of
from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.findings import Effects
from safelight.learning.evidence.picture_kinds import SORTS, PictureKind
from safelight.learning.plans.kinds import kinds_of, told_kinds

Bools = np.ndarray[Any, np.dtype[np.bool_]]
PICTURES, PROMPTS = 300, 40


class Simulated:
    """Pictures by two models, each liked by its own tag's friends or by everybody."""

    def __init__(self, seed: int, *, pictures: int = PICTURES, prompts: int = PROMPTS) -> None:
        self.chance = np.random.default_rng(seed)
        self.model = self.chance.integers(2, size=pictures)
        self.prompt = self.chance.integers(prompts, size=pictures)
        self.cfg = self.chance.choice([4.0, 7.0, 10.0], pictures)
        self.liked = self.chance.normal(0, 0.4, prompts)[self.prompt]
        self.liked += self.chance.normal(0, 0.8, pictures)

    @property
    def stars(self) -> Any:
        cuts = np.quantile(self.liked, [0.1, 0.3, 0.6, 0.85])
        return 1 + np.searchsorted(cuts, self.liked)

    def effects(self, tag: Bools, name: str = "tag:portrait") -> Effects:
        stars = self.stars
        rows = [
            {"prompt": f"thing {prompt}", "seed": number, "model": ("dreamA", "realB")[model],
             "cfg_scale": cfg, "number": number}
            for number, (prompt, model, cfg) in enumerate(
                zip(self.prompt, self.model, self.cfg, strict=True)
            )
        ]  # fmt: skip
        trials = trials_of(rows, lambda row: int(stars[row["number"]]), hidden="number")
        plain = name.partition(":")[2]
        return find_effects(
            replace(trials, kinds=(PictureKind.of(name, tag, f"tags has '{plain}'"),))
        )


def crossing(seed: int = 1) -> tuple[Simulated, Bools]:
    """DreamA is better where the prompt shows people, whom no word of it names; realB elsewhere."""
    archive = Simulated(seed)
    tag = archive.prompt % 2 == 0
    archive.liked += 1.2 * (tag == (archive.model == 0))
    return archive, tag


@pytest.mark.parametrize(
    ("name", "on", "others"),
    [
        ("tag:portrait", "the tag 'portrait'", "pictures not tagged 'portrait'"),
        ("search:portrait", "the saved search 'portrait'", "pictures not found by 'portrait'"),
    ],
)
def test_what_reverses_by_a_kind_is_told_for_both_parts(name: str, on: str, others: str) -> None:
    archive, tag = crossing()
    effects = archive.effects(tag, name)
    (model,) = (knob for knob in effects.knobs if knob.knob == "model")
    (comparison,) = model.comparisons
    assert comparison.verdict == f"depends on {on}"
    having, lacking = comparison.parts
    assert (having.condition, lacking.condition) == (
        "tags has 'portrait'", "not tags has 'portrait'"
    )  # fmt: skip
    assert lacking.name == others
    first, second = sorted((having, lacking), key=lambda part: -abs(part.difference))
    text = effects.sentences[0].text
    assert text.startswith(f"For {first.name}, model ")
    assert f"for {second.name} it is the other way round" in text
    assert asdict(effects)["interactions"][0]["other"] == name
    assert {kind.condition for kind in kinds_of(effects)} == {
        "tags has 'portrait'", "not tags has 'portrait'"
    }  # fmt: skip
    assert told_kinds(effects) == (text,)


def told_by_tag(effects: Effects) -> bool:
    knobs = {i.other for i in effects.interactions} | {i.knob for i in effects.interactions}
    return any(knob.startswith("tag:") for knob in knobs)


@pytest.mark.parametrize("tagged", ["best", "worst", "most of the best"])
def test_a_tag_that_follows_the_stars_makes_no_claim(tagged: str) -> None:
    """Among the best every model looks alike: that says nothing about models."""
    for seed in range(4):
        archive = Simulated(seed, pictures=600)
        broken = archive.chance.random(600) < np.array([0.05, 0.3])[archive.model]
        archive.liked += 1.5 * archive.model - 4 * broken
        tag = archive.stars >= 4
        if tagged == "worst":
            tag = archive.stars == 1
        elif tagged == "most of the best":
            tag = tag & (archive.chance.random(600) < 0.5)
        effects = archive.effects(tag, "tag:best")
        assert not told_by_tag(effects)
        assert effects.following == ("tag:best",)
        assert "the tag 'best'" in effects.left_alone


def test_a_tag_by_pictures_that_only_leans_on_the_stars_is_left_alone_too() -> None:
    """It hangs on the stars as little as 0.3 of 1, and pictures of one prompt show it."""
    for seed in range(4):
        archive = Simulated(seed, pictures=600)
        tag = archive.stars >= 4
        luck = archive.chance.random(600) < 0.7
        tag = np.where(luck, archive.chance.random(600) < tag.mean(), tag)
        assert archive.effects(tag, "tag:nice").following == ("tag:nice",)


def test_a_tag_without_meaning_is_told_of_in_no_archive() -> None:
    for seed in range(8):
        archive = Simulated(seed)
        archive.liked += 1.0 * archive.model
        effects = archive.effects(archive.chance.random(PICTURES) < 0.4, "tag:idle")
        assert not told_by_tag(effects)


def test_a_kind_that_says_what_a_setting_says_is_looked_into_once() -> None:
    archive, _ = crossing()
    effects = archive.effects(archive.model == 0, "search:by dreamA")
    assert effects.following == ()
    assert not any("search:" in one.other for one in effects.interactions)


def test_every_sort_of_kind_has_words_of_its_own() -> None:
    assert len({sort.begins for sort in SORTS}) == len(SORTS)
    for sort in SORTS:
        lacking, having = sort.parts(f"{sort.begins}it's")
        assert lacking != having
        assert '"it\'s"' in lacking
        assert '"it\'s"' in having
