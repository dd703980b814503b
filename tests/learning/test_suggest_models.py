"""Several models are one more choice, and what does not go with a model is not suggested for it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from learning.simulated_ratings import trials_of
from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.trials import Trials
from safelight.learning.plans.kinds import kinds_of, told_kinds
from safelight.learning.plans.knob_space import ChoiceKnob, KnobSpace, NumberKnob, Rooms
from safelight.learning.plans.space_of_trials import space_of
from safelight.learning.plans.suggest import suggest, verdict
from safelight.learning.plans.suggested import Suggestions

MODELS = ("dream", "real", "turbo")


def drawn(count: int = 160, seed: int = 1, models: Sequence[str] = MODELS) -> list[dict[str, Any]]:
    """A distilled model with few steps and little guidance; a LoRA of one model alone."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        model = models[number % len(models)]
        turbo = model == "turbo"
        rows.append({
            "model": model, "sampler": rng.choice(["Euler", "Heun", "DDIM"]),
            "steps": rng.choice([4, 6, 8] if turbo else [15, 22, 30]),
            "cfg_scale": rng.choice([1.0, 1.5, 2.0] if turbo else [5.0, 7.0, 9.0]),
            "lora.ink": rng.choice([0.0, 0.4, 0.8]) if model == "dream" else 0.0,
            "prompt": rng.choice(["a fox", "a boat", "a hill"]), "seed": number % 4,
        })  # fmt: skip
    return rows


def rated(rows: Sequence[Mapping[str, Any]], worth: Mapping[str, float], seed: int = 2) -> Trials:
    rng = random.Random(seed)
    return trials_of(
        rows, lambda row: min(5, max(1, round(worth[row["model"]] + rng.gauss(0, 0.5))))
    )


def settings_of(result: Suggestions) -> list[Mapping[str, Any]]:
    return [one.setting for one in result.suggestions]


@pytest.mark.parametrize("best", MODELS)
def test_the_model_is_a_choice_and_the_best_one_is_found(best: str) -> None:
    """It stands first in each setting, and is compared with the others."""
    worth = {**dict.fromkeys(MODELS, 2.5), best: 4.0}
    result = suggest(rated(drawn(), worth), 4)
    assert result.best is not None
    assert result.best.setting["model"] == best
    assert all(next(iter(setting)) == "model" for setting in settings_of(result))
    compared = next(knob for knob in result.contenders if knob.knob == "model")
    assert compared.value == best
    assert set(compared.worse) == set(MODELS) - {best}
    chosen = verdict(rated(drawn(), worth))
    assert not isinstance(chosen, str)
    assert chosen.best.setting["model"] == best


@pytest.mark.parametrize("stars", ["rated", "alike"])
def test_what_does_not_go_with_a_model_is_never_suggested(stars: str) -> None:
    """Steps and guidance as each was tried with, and a LoRA only where it was used."""
    seen = set()
    for seed in range(6):
        worth = dict.fromkeys(MODELS, 3.0)
        trials = rated(drawn(seed=seed), worth, seed)
        if stars == "alike":
            trials = trials_of(drawn(seed=seed), lambda _: 3)
        result = suggest(trials, 24, seed=seed)
        assert result.exploring is (stars == "alike")
        seen |= {setting["model"] for setting in settings_of(result)}
        for setting in settings_of(result):
            turbo = setting["model"] == "turbo"
            assert (4 <= setting["steps"] <= 8) if turbo else (15 <= setting["steps"] <= 30)
            assert (1 <= setting["cfg_scale"] <= 2) if turbo else (5 <= setting["cfg_scale"] <= 9)
            assert setting["model"] == "dream" or setting["lora.ink"] == 0
    assert seen == set(MODELS)


def test_of_a_model_with_few_pictures_it_is_said_that_it_may_leave_what_was_tried() -> None:
    few = [*drawn(100, models=MODELS[:2]), *drawn(9, models=("turbo",))]
    worth = dict.fromkeys(MODELS, 3.0)
    result = suggest(rated(few, worth), 30)
    told = "fewer than 10 pictures of turbo are rated: steps, cfg_scale may be ones that never"
    assert any(note.startswith(told) for note in result.notes)
    enough = [*few, *drawn(1, seed=9, models=("turbo",))]
    assert not any("turbo" in note for note in suggest(rated(enough, worth), 1).notes)


def test_a_sampler_of_another_engine_is_not_suggested() -> None:
    """What one engine calls by a name, another need not know."""
    rows = [{**row, "backend": "a" if row["model"] == "dream" else "b"} for row in drawn()]
    for row in rows:
        if row["backend"] == "a":
            row["sampler"] = {"Euler": "k_euler"}.get(row["sampler"], row["sampler"])
    for setting in settings_of(suggest(rated(rows, dict.fromkeys(MODELS, 3.0)), 24)):
        assert setting["sampler"] != ("Euler" if setting["model"] == "dream" else "k_euler")


def test_a_knob_that_one_model_has_stays_with_it_and_is_told() -> None:
    rows: list[dict[str, Any]] = [
        {**row, "clip_skip": 1 + number // 3 % 2 if row["model"] == "dream" else None}
        for number, row in enumerate(drawn())
    ]
    result = suggest(rated(rows, dict.fromkeys(MODELS, 3.0)), 2)
    assert all("clip_skip" not in setting for setting in settings_of(result))
    assert any(note.startswith("clip_skip is only known of dream") for note in result.notes)
    alone = [row for row in rows if row["model"] == "dream"]
    assert any("clip_skip" in s for s in settings_of(suggest(rated(alone, {"dream": 3.0}), 2)))


def test_models_are_compared_where_each_is_best() -> None:
    """With the steps of the others the distilled one is worse than they are, not with its own."""
    rng = random.Random(3)
    rows = [{**row, "steps": (6, 22)[number // 3 % 2]} for number, row in enumerate(drawn(240))]

    def stars(row: Mapping[str, Any]) -> int:
        wanted: bool = row["steps"] == (6 if row["model"] == "turbo" else 22)
        return min(5, max(1, round(2.4 + 1.6 * wanted + rng.gauss(0, 0.4))))

    (models,) = (
        knob for knob in suggest(trials_of(rows, stars), 1).contenders if knob.knob == "model"
    )
    assert {models.value, *models.equal} == set(MODELS)


def test_what_is_named_is_varied_with_every_model() -> None:
    """Whoever names values means them; a LoRA still needs its model."""
    trials = rated(drawn(), dict.fromkeys(MODELS, 3.0))
    steps = NumberKnob(name="steps", low=4, high=40, step=1, integer=True)
    weight = NumberKnob(name="lora.ink", low=0.2, high=1.0, step=0.1)
    space, _, _ = space_of(trials, (steps, weight))
    assert space.rooms is not None
    assert "steps" not in space.rooms.numbers
    assert space.rooms.numbers["lora.ink"] == ((0.2, 1.0), (0.0, 0.0), (0.0, 0.0))


def test_every_point_of_a_space_with_rooms_is_a_setting_within_them() -> None:
    """Also where the ends of a room are no round values."""
    space = KnobSpace(
        knobs=(
            ChoiceKnob(name="model", levels=("a", "b")),
            NumberKnob(name="cfg_scale", low=1, high=15, step=0.5),
            ChoiceKnob(name="sampler", levels=("x", "y", "z")),
        ),
        rooms=Rooms(
            choice="model", numbers={"cfg_scale": ((1.75, 1.75), (4.0, 9.0))},
            choices={"sampler": ((1,), (0, 2))},
        ),
    )  # fmt: skip
    points = space.rounded(space.of_unit(np.random.default_rng(1).random((500, 3))))
    assert space.goes_together(points).all()
    seen = set()
    for point in points:
        setting = space.setting(point)
        assert np.allclose(space.point(setting), point)
        seen.add((setting["model"], setting["sampler"]))
        if setting["model"] == "a":
            assert setting["cfg_scale"] == 1.75
        else:
            assert 4 <= setting["cfg_scale"] <= 9
    assert seen == {("a", "y"), ("b", "x"), ("b", "z")}
    assert not space.goes_together(np.array([space.point({
        "model": "a", "cfg_scale": 5.0, "sampler": "y"})])).any()  # fmt: skip


def of_kinds(difference: float) -> Trials:
    """Pictures of two kinds of prompts; one model is better with the one, by *difference*."""
    rng = random.Random(4)
    rows = [
        {
            "model": rng.choice(["dream", "real"]), "steps": rng.choice([10, 20]),
            "prompt": f"a {rng.choice(['portrait', 'view'])} of {rng.choice('abcdefgh') * 4}",
            "seed": number,
        }
        for number in range(260)
    ]  # fmt: skip

    def stars(row: Mapping[str, Any]) -> int:
        liked: bool = (row["model"] == "dream") == ("portrait" in row["prompt"])
        return min(5, max(1, round(3 + difference * (liked - 0.5) + rng.gauss(0, 0.5))))

    return trials_of(rows, stars)


def test_kinds_of_prompts_are_those_on_which_a_setting_depends() -> None:
    effects = find_effects(of_kinds(2.0))
    assert {(kind.name, kind.condition) for kind in kinds_of(effects)} == {
        ("prompts with 'portrait'", "prompt has 'portrait'"),
        ("prompts with 'view'", "prompt has 'view'"),
    }
    assert "model dream is better than real" in told_kinds(effects)[0]
    nothing = find_effects(of_kinds(0.0))
    assert (kinds_of(nothing), told_kinds(nothing)) == ((), ())
