"""Levels: what of a knob is compared with what."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.simulated_ratings import trials_of
from safelight.learning.evidence.knob_levels import MOST_LEVELS, KnobLevels, knob_levels, likeness


def levels_of(knob: str, values: list[Any], prompts: list[str] | None = None) -> KnobLevels:
    prompts = prompts or ["a boat"] * len(values)
    rows = [{"steps": v, "prompt": p} for v, p in zip(values, prompts, strict=True)]
    return knob_levels(trials_of(rows, lambda row: 3))[knob]


@pytest.mark.parametrize("count", [10, 50, 203])
def test_many_numbers_are_cut_into_five_ranges_of_as_many_pictures(count: int) -> None:
    """Nobody compares guidance 6.98 with 7.02; each range is named by its ends."""
    chance = np.random.default_rng(count)
    column = chance.permutation(np.exp(chance.normal(size=count)))
    levels = levels_of("steps", column.tolist())
    assert len(levels.names) == 5
    assert levels.counts.sum() == count
    assert np.ptp(levels.counts) <= 1
    assert levels.different == count
    parts = [column[levels.codes == level] for level in range(5)]
    assert all(one.max() < other.min() for one, other in pairwise(parts))
    assert levels.values is not None
    for level, name in enumerate(levels.names):
        inside = parts[level]
        assert name == f"{inside.min():.4g} to {inside.max():.4g}"
        assert levels.values[level] == pytest.approx(inside.mean())


@pytest.mark.parametrize("count", [2, 20])
def test_levels_that_differ_in_a_far_digit_have_names_that_differ(count: int) -> None:
    levels = levels_of("steps", [1234567 + number / 64 for number in range(count)])
    assert len(set(levels.names)) == len(levels.names) == min(count, 5)


@given(st.lists(st.none() | st.integers(0, 30), min_size=1, max_size=60))
def test_every_picture_is_counted_in_the_level_of_its_number(values: list[int | None]) -> None:
    """Be they few or many, equal or missing; what is missing is a level of its own."""
    levels = levels_of("steps", values)
    known = {value for value in values if value is not None}
    assert levels.different == len(known) + (None in values)
    assert levels.counts.tolist() == np.bincount(levels.codes).tolist()
    for value, code in zip(values, levels.codes, strict=True):
        name = levels.names[code]
        if value is None or len(known) <= 8:
            assert name == ("(none)" if value is None else f"{value}")
        else:
            low, _, high = name.partition(" to ")
            assert int(low) <= value <= int(high or low)


def test_terms_and_loras_are_compared_with_their_absence() -> None:
    """However often they are used: the question is what they bring."""
    prompts = [
        f"thing {n}{', golden hour' if n % 4 else ''}{' <lora:ink:0.5>' if n % 5 else ''}"
        for n in range(60)
    ]
    term = levels_of("term:golden hour", [8] * 60, prompts)
    assert (term.names, term.counts.tolist(), term.reference) == (("without", "with"), [15, 45], 0)
    lora = levels_of("lora.ink", [8] * 60, prompts)
    assert (lora.names, lora.counts.tolist(), lora.reference) == (("0", "0.5"), [12, 48], 0)
    assert levels_of("steps", [8, 20, 20]).reference == 1


def test_of_values_used_alike_the_first_of_the_alphabet_are_looked_at() -> None:
    """Whatever machine looks, and in whatever order they came."""
    names = [f"v{number:03}" for number in range(300)]
    often = names[1::7]
    values = np.random.default_rng(5).permutation([*names, *often]).tolist()
    levels = levels_of("steps", values)
    rest = [name for name in names if name not in often]
    assert levels.names == tuple(sorted([*often, *rest[: MOST_LEVELS - len(often)]]))
    assert levels.different == 300


def test_where_nothing_was_rated_knobs_have_no_levels() -> None:
    """Nor any trace: an archive begins so."""
    levels = knob_levels(trials_of([{"steps": 8, "prompt": "a boat"}], lambda row: None))["steps"]
    assert (levels.names, levels.counts.tolist(), levels.reference) == ((), [], None)
    assert levels.constant


def test_pictures_are_alike_but_for_a_term_where_the_rest_of_the_prompt_is_the_same() -> None:
    """With it or without it; seed and engine and all other knobs are the same, too."""
    terms = (", golden hour", "")
    rows: list[dict[str, Any]] = [
        {"prompt": f"thing {n}, plain{term}", "seed": seed, "backend": backend, "steps": steps}
        for n in range(6) for term in terms for seed in (1, 2) for backend in ("a", "b")
        for steps in (8, 20)
    ]  # fmt: skip
    alike = likeness(trials_of(rows, lambda row: 3))["term:golden hour"]
    groups = [
        (row["prompt"].removesuffix(terms[0]), row["seed"], row["backend"], row["steps"])
        for row in rows
    ]
    assert len(set(alike.tolist())) == len(set(groups)) == len(rows) // 2
    assert len(set(zip(groups, alike.tolist(), strict=True))) == len(rows) // 2
