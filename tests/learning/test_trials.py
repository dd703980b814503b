"""Trials: rated pictures meet what made them, and nothing else slips in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.simulated_ratings import star_events
from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.scores import ImageScores, fit_scores
from safelight.learning.evidence.trials import join_trials, prompt_terms
from safelight.recorded_settings import Setting


def scores_of(count: int) -> ImageScores:
    digests = tuple(f"{number:064x}" for number in range(count))
    values = np.sin(np.arange(count, dtype=np.float64) * 7)
    return ImageScores(
        identities=digests, scores=values, deviations=np.full(count, 0.6), readings=values,
        ratings=np.ones(count, np.int64), places={d: p for p, d in enumerate(digests)},
    )  # fmt: skip


def digests(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(count)]


def test_rows_and_ratings_meet_by_either_hash_and_each_picture_counts_once() -> None:
    """A picture that was drawn twice is one; unrated rows and lost records are counted."""
    known = scores_of(4)
    columns: dict[str, Any] = {
        "sha256": [known.identities[1], "f" * 64, known.identities[1], None],
        "pixel_sha256": [None, "e" * 64, None, known.identities[0]],
        "steps": [10, 20, 30, 40],
    }
    trials = join_trials(columns, known)
    assert trials.identities == (known.identities[1], known.identities[0])
    assert trials.numbers["steps"].tolist() == [10, 40]
    assert (trials.gone, trials.unrated) == (2, 1)


@pytest.mark.parametrize("extra", ["grid of pictures", "cut short"])
def test_a_grid_is_no_sample_and_one_model_is_one_level(extra: str) -> None:
    """Nor is what was cut short. Tools write a model's name with folder, ending and hash or not."""
    names = ["base.safetensors", "SDXL\\base [0a1b2c3d4e]", "base.safetensors", "other", "other"]
    grid = Setting("txt2img", f"extra.{extra}", None, "2x2")
    trials = join_trials(
        {"sha256": digests(5), "model": names}, scores_of(5), {grid.name: {4: [grid]}}
    )
    model = trials.levels["model"]
    assert [model.names[code] for code in model.codes] == [*["base.safetensors"] * 3, "other"]
    assert (len(trials), trials.gone) == (4, 1)


def test_loras_and_terms_become_knobs() -> None:
    """A LoRA by its weight, 0 where it is not called; terms that three prompts have."""
    prompts = [
        f"a cat {n % 4}{', golden hour' if n % 2 else ''}{' <lora:ink:0.5>' if n % 3 else ''}"
        for n in range(48)
    ]
    prompts = [p.replace("cat", "dog") if n % 5 else p for n, p in enumerate(prompts)]
    trials = join_trials({"sha256": digests(48), "prompt": prompts}, scores_of(48))
    assert trials.numbers["lora.ink"].tolist() == [0.5 if n % 3 else 0.0 for n in range(48)]
    assert "term:golden hour" in trials.levels
    assert all("lora" not in prompt for prompt in trials.prompts.names)


@pytest.mark.parametrize(
    ("with_it", "pictures_each", "is_knob"),
    [(3, 2, True), (2, 10, False), (3, 1, False), (5, 1, True), (4, 1, False)],
)
def test_a_term_needs_three_prompts_and_five_pictures(
    with_it: int, pictures_each: int, is_knob: bool
) -> None:
    """Of fewer it would be those prompts that are judged, not the term."""
    prompts = [f"thing {n}{', golden hour' if n < with_it else ', plain'}" for n in range(12)]
    given = [prompt for prompt in prompts for _ in range(pictures_each)]
    trials = join_trials({"sha256": digests(len(given)), "prompt": given}, scores_of(len(given)))
    assert any("golden hour" in name for name in trials.levels) is is_knob


def test_what_is_absent_among_texts_is_no_text() -> None:
    """Nobody wants to read of a VAE named None that is worse than the others."""
    vaes = ["b", None, "a", float("nan"), "b", float("inf")]
    trials = join_trials({"sha256": digests(6), "vae": vaes}, scores_of(6))
    assert trials.levels["vae"].names == ("a", "b")
    assert trials.levels["vae"].codes.tolist() == [1, -1, 0, -1, 1, -1]
    assert {trials.prompts.names, trials.seeds.names, trials.backends.names} == {()}


def test_a_number_beyond_all_numbers_is_absent_and_the_others_stay() -> None:
    """One seed field of a broken import must not cost the column."""
    steps = [20, 10**400, 8.5, None, -(10**400), 2**60]
    trials = join_trials({"sha256": digests(6), "steps": steps}, scores_of(6))
    wanted = [20.0, np.nan, 8.5, np.nan, np.nan, 2.0**60]
    np.testing.assert_array_equal(trials.numbers["steps"], wanted)


def test_seeds_and_engines_are_known_by_their_names() -> None:
    """Pictures of one prompt are alike only where these are."""
    columns: dict[str, Any] = {
        "sha256": digests(4), "seed": [2**63 + 1, 7, None, 7], "backend": ["comfyui", "webui"] * 2,
    }  # fmt: skip
    trials = join_trials(columns, scores_of(4))
    assert trials.seeds.names == ("7", str(2**63 + 1))
    assert trials.seeds.codes.tolist() == [1, 0, -1, 0]
    assert trials.backends.names == ("comfyui", "webui")
    assert trials.backends.codes.tolist() == [0, 1, 0, 1]


def test_terms_of_which_each_prompt_has_one_are_one_knob() -> None:
    """As a wildcard in a prompt makes them."""
    prompts = [f"thing {n % 6}, {'oil' if n // 6 % 2 else 'ink'}" for n in range(48)]
    trials = join_trials({"sha256": digests(48), "prompt": prompts}, scores_of(48))
    assert trials.levels["term:ink|oil"].names == ("ink", "oil")
    (comparison,) = find_effects(trials).knobs[0].comparisons
    assert (comparison.level, comparison.against, comparison.pictures) == ("oil", "ink", 24)


def test_values_of_no_plain_type_are_told_apart_by_how_they_are_written() -> None:
    """Two resolutions that an importer left as pairs are two."""
    sizes = [(512, 512), (768, 512), None, (512, 512), "large"]
    trials = join_trials({"sha256": digests(5), "size": sizes}, scores_of(5))
    levels = trials.levels["size"]
    assert set(levels.names) == {"(512, 512)", "(768, 512)", "large"}
    assert levels.codes[0] == levels.codes[3]
    assert levels.codes[2] == -1, "what is not there is no value"
    assert len(set(levels.codes.tolist())) == 4


def test_a_picture_without_a_prompt_has_none_and_calls_no_lora() -> None:
    """Its code says so, beside prompts that are there."""
    prompts = ["b <lora:ink:0.5>", None, "a", None, "b"]
    trials = join_trials({"sha256": digests(5), "prompt": prompts}, scores_of(5))
    assert trials.prompts.names == ("a", "b")
    assert trials.prompts.codes.tolist() == [1, -1, 0, -1, 1]
    assert trials.numbers["lora.ink"].tolist() == [0.5, 0.0, 0.0, 0.0, 0.0]


def test_commas_inside_brackets_do_not_part() -> None:
    """An attention group is one term."""
    assert prompt_terms("a Cat, (oil, thick:1.2), a  cat") == ("a cat", "(oil, thick:1.2)")


def test_brackets_that_never_close_keep_nothing_together_and_long_prompts_are_read_once() -> None:
    assert prompt_terms("a, b), c, d [e, {f, g], (h") == ("a, b)", "c", "d [e", "{f, g]", "(h")
    assert len(prompt_terms(", ".join(map(str, range(50_000))))) == 50_000


def test_columns_of_unequal_length_are_refused() -> None:
    """The caller mixed something up."""
    with pytest.raises(ValueError, match="one length"):
        join_trials({"sha256": ["a"], "steps": []}, scores_of(1))


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from([float("nan"), float("inf"), 10**400, (), b"x"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 30))
def test_whatever_stands_in_a_column_there_is_an_answer(data: st.DataObject, count: int) -> None:
    """Mixed types, NaN, absurd numbers: no trace, and no figure that is not a number."""
    column = st.lists(anything, min_size=count, max_size=count)
    columns: dict[str, Any] = {
        "sha256": digests(count), "prompt": data.draw(column), "seed": data.draw(column),
        "steps": data.draw(column), "sampler": data.draw(column),
    }  # fmt: skip
    effects = find_effects(join_trials(columns, scores_of(count)))
    for knob in effects.knobs:
        assert knob.summary
        for comparison in knob.comparisons:
            figures = (
                comparison.difference,
                comparison.low,
                comparison.high,
                comparison.expected,
                comparison.chance,
            )
            assert len({figure is None for figure in figures}) == 1
            assert all(figure is None or np.isfinite(figure) for figure in figures)


def test_a_value_of_one_picture_each_is_compared_with_nothing() -> None:
    """Half have none, each other one has its own: no other value is there often enough."""
    columns: dict[str, Any] = {
        "sha256": digests(26), "prompt": [None] * 26, "seed": [None] * 26,
        "steps": [*[None] * 13, *range(13)],
    }  # fmt: skip
    effects = find_effects(join_trials(columns, scores_of(26)))
    assert [c for knob in effects.knobs for c in knob.comparisons if c.difference is not None] == []


def test_where_it_is_in_doubt_which_loras_there_were_each_of_them_is() -> None:
    columns: dict[str, Any] = {
        "sha256": digests(3), "prompt": ["a <lora:ink:0.5>", "a <lora:oil:1>", "a"],
        "conflicting": [None, "loras, steps", None], "unresolved": ["seed", None, None],
    }  # fmt: skip
    trials = join_trials(columns, scores_of(3))
    assert sorted(trials.doubtful) == ["lora.ink", "lora.oil", "loras", "seed", "steps"]
    assert trials.doubtful["lora.ink"].tolist() == [False, True, False]
    assert trials.doubtful["seed"].tolist() == [True, False, False]


def test_files_of_one_image_that_say_otherwise_leave_in_doubt_what_they_say() -> None:
    """Twins; spellings of one model say the same, and what a run drew itself is known."""
    same = "a" * 64
    columns: dict[str, list[object]] = {
        "sha256": [same, same], "prompt": ["thing", "thing"], "seed": [1, 2],
        "model": ["x", "x.safetensors"], "steps": [20, 30], "status": ["imported", "imported"],
    }  # fmt: skip
    scores = fit_scores(star_events({0: 4}))
    scores = replace(scores, places={same: 0})
    trials = join_trials(columns, scores)
    assert {knob: rows.tolist() for knob, rows in trials.doubtful.items()} == {"steps": [True]}
    assert trials.seeds.codes.tolist() == [-1]
    assert trials.prompts.codes.tolist() == [0]
    columns["status"] = ["completed", "imported"]
    assert dict(join_trials(columns, scores).doubtful) == {}
