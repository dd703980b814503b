"""A design has few settings, and still tells the knobs apart."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import PlanError
from safelight.learning.plans.designs import DESIGNS, Design, choose_settings, grid_size

levels_of_knobs = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(
    lambda sizes: {f"k{n}": [f"v{value}" for value in range(size)] for n, size in enumerate(sizes)}
)


def two_each(knobs: int) -> dict[str, list[Any]]:
    return {f"k{n}": [0, 1] for n in range(knobs)}


@pytest.mark.parametrize(("knobs", "runs"), [(3, 4), (5, 8), (7, 8), (15, 16)])
def test_a_fraction_of_two_valued_knobs_is_orthogonal(knobs: int, runs: int) -> None:
    """Every pair of values of every two knobs comes equally often, in the fewest runs there are."""
    settings = choose_settings(two_each(knobs), "factorial")
    assert len(settings) == runs
    for a, b in itertools.combinations(two_each(knobs), 2):
        assert set(Counter((s[a], s[b]) for s in settings).values()) == {runs // 4}


def test_nine_runs_hold_four_knobs_of_three_values() -> None:
    """The classic L9 array is found."""
    levels = {f"k{n}": [0, 1, 2] for n in range(4)}
    settings = choose_settings(levels, "factorial")
    assert len(settings) == 9
    for a, b in itertools.combinations(levels, 2):
        assert len({(s[a], s[b]) for s in settings}) == 9


@given(levels=levels_of_knobs, design=st.sampled_from(DESIGNS), seed=st.integers(0, 5))
def test_every_design_is_made_of_its_values_and_repeats_nothing(
    levels: dict[str, list[str]], design: Design, seed: int
) -> None:
    """The same seed gives the same design; no setting is foreign or there twice."""
    settings = choose_settings(levels, design, seed=seed)
    assert settings == choose_settings(levels, design, seed=seed)
    assert 1 <= len(settings) <= grid_size(levels)
    for setting in settings:
        assert list(setting) == list(levels)
        assert all(setting[name] in values for name, values in levels.items())
    assert len({tuple(s.values()) for s in settings}) == len(settings)


@given(levels=levels_of_knobs, seed=st.integers(0, 5))
def test_a_fraction_shows_every_value(levels: dict[str, list[str]], seed: int) -> None:
    """A value that never came could not be judged."""
    settings = choose_settings(levels, "factorial", seed=seed)
    for name, values in levels.items():
        assert {s[name] for s in settings} == set(values)


@pytest.mark.parametrize("design", ["lhs", "sobol"])
def test_spread_designs_have_as_many_settings_as_asked(design: Design) -> None:
    """And look into every part of the range."""
    levels: dict[str, list[Any]] = {
        "steps": list(range(4, 64)),
        "cfg_scale": [n / 2 for n in range(2, 30)],
    }
    settings = choose_settings(levels, design, runs=16)
    assert len(settings) == 16
    assert len({s["steps"] // 16 for s in settings}) == 4


def test_one_knob_at_a_time_starts_from_where_one_is() -> None:
    """The middle comes once, and every other setting differs from it in one knob."""
    levels = {"steps": [4, 8, 16], "cfg_scale": [3, 7]}
    settings = choose_settings(levels, "single", start={"steps": 8, "cfg_scale": 5})
    assert settings[0] == {"steps": 8, "cfg_scale": 5}
    for setting in settings[1:]:
        assert sum(setting[name] != settings[0][name] for name in levels) == 1
    assert len(settings) == 5


@pytest.mark.parametrize(
    ("levels", "design", "runs", "message"),
    [
        ({}, "grid", None, "at least one knob"),
        ({"steps": []}, "lhs", None, "at least one value"),
        ({"steps": [1, 2]}, "grid", 3, "leave out"),
        ({"steps": [1, 2]}, "lhs", 0, "1 to 100,000 settings, got 0"),
        ({"a": range(1000), "b": range(1000)}, "grid", None, "1,000,000 settings"),
    ],
)
def test_what_cannot_be_designed_is_told(
    levels: dict[str, Any], design: Design, runs: int | None, message: str
) -> None:
    """In a sentence with the number."""
    with pytest.raises(PlanError, match=message):
        choose_settings(levels, design, runs=runs)
