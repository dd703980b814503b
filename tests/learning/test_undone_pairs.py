"""Every recorded setting counts in what is alike; which of them undoes pairs is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from learning.simulated_ratings import digest, star_events
from safelight.learning.evidence.effects import Effects, find_effects
from safelight.learning.evidence.knob_levels import knob_levels, likeness
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import Trials, join_trials
from safelight.learning.evidence.undone_pairs import pair_count
from safelight.recorded_settings import Setting, changes_no_pixels, extra_settings

PROMPTS = 12


def trials(settings: Mapping[str, list[Any]], better: str = "Heun") -> Trials:
    """Return two pictures of each prompt that differ in their sampler, of which one is better."""
    count = 2 * PROMPTS
    samplers = ["Euler", "Heun"] * PROMPTS
    chance = np.random.default_rng(3)
    stars = {n: int(3 + (samplers[n] == better) + chance.integers(0, 2)) for n in range(count)}
    columns: dict[str, Any] = {
        "sha256": [digest(n) for n in range(count)], "sampler": samplers,
        "prompt": [f"thing {n // 2}" for n in range(count)], "seed": [1] * count,
    }  # fmt: skip
    by_row = {
        name: {row: recorded(name, value) for row, value in enumerate(values) if value is not None}
        for name, values in settings.items()
    }
    columns["model"] = ["m"] * count
    return join_trials(columns, fit_scores(star_events(stars)), by_row)


def recorded(name: str, value: Any) -> list[Setting]:
    """Return what a record keeps of *value*; of a list of values, what each stage had."""
    if isinstance(value, Setting):
        return [value]
    stages = ("txt2img", "img2img")
    each = value if isinstance(value, tuple) else (value,)
    kind, _, plain = name.partition(".")
    if kind == "lora":
        return [Setting("txt2img", name, one, None) for one in each]
    return [s for stage, one in zip(stages, each, strict=False)
            for s in extra_settings(stage, {plain: one})]  # fmt: skip


def pairs_of(effects: Effects, knob: str = "sampler") -> int:
    (effect,) = [effect for effect in effects.knobs if effect.knob == knob]
    return sum(c.n for c in effect.comparisons if c.basis == "pairs")


def test_pictures_that_differ_in_an_unknown_setting_are_not_alike() -> None:
    """It may be the cause; which one it was, and how many pairs it cost, is told."""
    assert pairs_of(find_effects(trials({}))) == PROMPTS
    mine = ["a", "b"] * PROMPTS
    effects = find_effects(trials({"extra.turbo": mine, "extra.same": ["x"] * 24}))
    assert pairs_of(effects) == 0
    (undone,) = effects.undone
    assert (undone.setting, undone.pairs) == ("extra.turbo", PROMPTS)
    assert undone.knobs == (("sampler", PROMPTS),)
    assert undone.message == "extra.turbo alone undoes 12 pairs that are alike in all else" \
        " (sampler 12)"  # fmt: skip


def test_what_is_there_in_one_and_not_in_the_other_differs() -> None:
    effects = find_effects(trials({"extra.turbo": [None, 1.0] * PROMPTS}))
    assert pairs_of(effects) == 0
    assert [undone.setting for undone in effects.undone] == ["extra.turbo"]


def test_the_parts_of_an_extension_are_one_setting() -> None:
    """Each is there whenever the other is: whether it was used can be told, which of both not."""
    parts: dict[str, list[Any]] = {
        "extra.ADetailer model": [None, "face"] * 12,
        "extra.ADetailer blur": [None, 4.0] * 12,
    }
    effects = find_effects(trials(parts))
    assert pairs_of(effects) == 0
    assert [undone.pairs for undone in effects.undone] == [PROMPTS]


def test_two_settings_that_both_differ_do_not_undo_pairs_alone() -> None:
    effects = find_effects(trials({"extra.a": ["a", "b"] * 12, "extra.b": [1.0, 2.0] * 12}))
    assert pairs_of(effects) == 0
    assert effects.undone == ()


@pytest.mark.parametrize(
    "name",
    ["extra.Time taken", "extra.time_taken", "extra.user", "extra.job_id", "extra.Created Date",
     "extra.file-name", "extra.safelight"],
)  # fmt: skip
def test_what_cannot_change_pixels_undoes_nothing(name: str) -> None:
    assert changes_no_pixels(name)
    effects = find_effects(trials({name: [float(n) for n in range(24)]}))
    assert pairs_of(effects) == PROMPTS
    assert effects.undone == ()
    assert name not in {effect.knob for effect in effects.knobs}


@pytest.mark.parametrize(
    "name",
    [
        "extra.turbo",
        "extra.RNG",
        "extra.timesteps",
        "lora.user",
        "extra.controlnet.path",
        "extra.style.id",
        "extra.sampler opt.index",
        "extra.Model hash",
        "earlier.time",
    ],
)
def test_what_may_change_pixels_is_not_passed_over(name: str) -> None:
    assert not changes_no_pixels(name)


def test_a_setting_nobody_knows_is_learned_from() -> None:
    count = 2 * PROMPTS
    stars = {n: 2 + 2 * (n % 2) + (n // 2) % 2 for n in range(count)}
    columns: dict[str, Any] = {
        "sha256": [digest(n) for n in range(count)],
        "prompt": [f"thing {n // 2}" for n in range(count)], "seed": [1] * count,
    }  # fmt: skip
    tiling = {"extra.tiling": {n: recorded("extra.tiling", bool(n % 2)) for n in range(count)}}
    effects = find_effects(join_trials(columns, fit_scores(star_events(stars)), tiling))
    (effect,) = [effect for effect in effects.knobs if effect.knob == "extra.tiling"]
    assert effect.status == "clear"
    assert effect.comparisons[0].n == PROMPTS


def test_a_text_of_its_own_in_every_picture_is_no_knob_but_counts() -> None:
    given = trials({"extra.note": [f"note {n}" for n in range(24)]})
    assert "extra.note" not in given.knobs
    effects = find_effects(given)
    assert pairs_of(effects) == 0
    assert [undone.setting for undone in effects.undone] == ["extra.note"]


def test_only_so_many_are_compared_and_all_of_them_count() -> None:
    many = {f"extra.{n:02d}": [float(n), 2.0] * PROMPTS for n in range(30)}
    given = trials(many)
    assert len([knob for knob in given.knobs if knob.startswith("extra.")]) == 20
    assert len(given.settings) == 9, "those that are no knobs; one never varied"


def test_a_lora_that_only_a_graph_names_is_a_knob() -> None:
    given = trials({"lora.Ink": [0.5 if n % 2 else None for n in range(24)]})
    assert given.numbers["lora.Ink"].tolist() == [0.0, 0.5] * PROMPTS


def test_pairs_are_counted_as_they_are_compared() -> None:
    """With a reference and, where levels are many, against all others together."""
    given = trials({})
    levels = knob_levels(given)
    alike = likeness(given)
    assert pair_count(levels["sampler"], alike["sampler"]) == PROMPTS
    assert pair_count(levels["sampler"], np.arange(24, dtype=np.uint64)) == 0


def unknown(text: str) -> Setting:
    return Setting("txt2img", "lora.ink", None, text)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("extra.version", ["1.10", "1.1"]), ("extra.n", ["007", "7"]), ("extra.n", ["1e3", "1000"]),
        ("extra.n", [9007199254740993, 9007199254740992]),
        ("extra.tile", [("x", "same"), ("y", "same")]), ("extra.tile", [("same",), (None, "same")]),
        ("extra.long", ["a" * 5000 + "x", "a" * 5000 + "y"]), ("extra.list", [[1, 2], [2, 1]]),
        ("extra.deep", [{"a": {"b": 1}}, {"a": {"b": 5}}]), ("earlier.steps", ["10", "30"]),
        ("lora.ink", [(0.5, 1.0), (1.0,)]), ("lora.ink", [unknown("weight None"), None]),
        ("lora.ink", [unknown("weight '0.8'"), unknown("weight '0.9'")]),
        ("lora.ink", [Setting("txt2img", "lora.ink", 1.0, "text encoder 0.5"), 1.0]),
        ("extra.Model hash", ["autov2 aaaa", "autov2 bbbb"]),
        ("extra.Lora hashes", ["ink: aaaa", "ink: bbbb"]),
        ("extra.Civitai resources", ['[{"modelVersionId": 3}]', '[{"modelVersionId": 4}]']),
        ("extra.init_image", ["a.png", "b.png"]),
    ],
)  # fmt: skip
def test_whatever_tells_two_pictures_apart_counts(name: str, values: list[Any]) -> None:
    """They are compared in nothing else while they differ in it."""
    if name == "extra.deep":
        found = trials({"extra.deep.a.b": [one["a"]["b"] for one in values] * PROMPTS})
    else:
        found = trials({name: values * PROMPTS})
    assert pairs_of(find_effects(found)) == 0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("extra.Model hash", ["autov2 aaaa", None]),
        ("extra.Lora hashes", ["ink: aaaa", "oil: bb"]),
        ("extra.Hashes", ['{"model": "aa"}', '{"model": "aa", "vae": "bb"}']),
        ("extra.Civitai resources", ['[{"modelVersionId": 3, "weight": 1}]',
                                     '[{"modelVersionId": 3, "weight": 0.5}]']),
        ("extra.n", ["3.0", 3]),
    ],
)  # fmt: skip
def test_what_says_nothing_new_does_not_count(name: str, values: list[Any]) -> None:
    """A hash of what has one hash only, and what is said by a LoRA's own weight."""
    assert pairs_of(find_effects(trials({name: values * PROMPTS}))) == PROMPTS


def test_names_that_differ_in_case_or_ending_are_one() -> None:
    found = trials({
        "extra.RNG": ["CPU", None] * PROMPTS, "extra.rng": [None, "CPU"] * PROMPTS,
        "lora.Ink": [0.5, None] * PROMPTS, "lora.ink.safetensors": [None, 0.5] * PROMPTS,
    })  # fmt: skip
    assert pairs_of(find_effects(found)) == PROMPTS


def test_a_tag_in_one_picture_hides_no_weight_of_another() -> None:
    """A graph names its LoRAs, a prompt has tags; both are of one name, and mix in an archive."""
    count = 2 * PROMPTS
    prompts = [f"thing {n // 2}" for n in range(count)]
    columns: dict[str, Any] = {
        "sha256": [digest(n) for n in range(count + 1)],
        "prompt": [*prompts, "other <lora:ink:0.7>"], "seed": [1] * (count + 1),
    }  # fmt: skip
    weights = {n: recorded("lora.ink", 0.5 if n % 2 else 1.0) for n in range(count)}
    weights[count] = recorded("lora.ink", 0.7)
    scores = fit_scores(star_events({n: 2 + n % 3 for n in range(count + 1)}))
    joined = join_trials(columns, scores, {"lora.ink": weights})
    assert joined.numbers["lora.ink"].tolist() == [1.0, 0.5] * PROMPTS + [0.7]
