"""The adjusted model is the regression of the book, and what must not matter does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from learning.simulated_ratings import trials_of
from safelight.learning.evidence.adjusted_model import FEWEST_ROWS, AdjustedModel
from safelight.learning.evidence.knob_levels import KnobLevels, knob_levels

Row = dict[str, Any]
Floats = NDArray[np.float64]


def levels_of(rows: Sequence[Row]) -> Mapping[str, KnobLevels]:
    return knob_levels(trials_of(rows, lambda row: 3))


def pairs_of(levels: KnobLevels) -> list[tuple[int, int | None]]:
    """Return every level with what it is compared with."""
    every = range(len(levels.names))
    return [(level, levels.reference) for level in every if level != levels.reference]


def one_each(count: int) -> NDArray[np.int64]:
    """Return numbers of prompts or draws where every picture has its own."""
    return np.arange(count)


class Mixed:
    """Four hundred pictures of two knobs by chance, and a column that goes with one of them."""

    def __init__(self, prompts: int) -> None:
        count, chance = 400, np.random.default_rng(5)
        rows: list[Row] = [
            {"sampler": str(chance.choice(["a", "b"])), "steps": int(chance.choice([8, 20, 30]))}
            for _ in range(count)
        ]
        of_b = np.array([row["sampler"] == "b" for row in rows], float)
        steps = np.array([row["steps"] for row in rows])
        self.used = chance.random(count) < 0.8
        self.column = np.where(self.used, 1.5 * of_b + chance.normal(size=count), 0.0)
        self.prompts = one_each(count) % prompts
        self.weights = chance.uniform(0.3, 1, count)
        self.readings = 0.7 * of_b + 0.4 * self.column + chance.normal(0, 0.5, count)
        self.sampler = of_b
        self.model = AdjustedModel(
            levels_of(rows), self.readings, self.weights, self.prompts, one_each(count)
        )
        offsets = np.eye(prompts)[self.prompts] if prompts < count else np.ones((count, 1))
        self.design = np.column_stack([offsets, of_b, steps == 20, steps == 30])


@pytest.mark.parametrize("prompts", [4, 400])
def test_one_more_column_has_its_coefficient_of_least_squares(prompts: int) -> None:
    """As if it had been a knob from the start: Frisch and Waugh 1933, Lovell 1963.

    Of few prompts each has an offset of its own; pictures of 400 prompts share one.
    """
    mixed = Mixed(prompts)
    root = np.sqrt(mixed.weights)
    whole = np.column_stack([mixed.design, mixed.column]) * root[:, None]
    wanted = np.linalg.lstsq(whole, mixed.readings * root)[0][-1]
    coefficient = mixed.model.coefficient(mixed.column)
    assert coefficient is not None
    assert coefficient.difference == pytest.approx(wanted, rel=0.01)
    assert (coefficient.comparisons, coefficient.prompts) == (mixed.used.sum(), prompts)


@pytest.mark.parametrize("prompts", [4, 400])
@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (1e3, 0.0), (1.0, 100.0)])
def test_the_unit_and_the_zero_of_a_column_do_not_matter(
    prompts: int, scale: float, shift: float
) -> None:
    """Megapixels or pixels, Celsius or Kelvin: it says the same, and is as sure of it."""
    mixed = Mixed(prompts)
    plain = mixed.model.coefficient(mixed.column)
    other = mixed.model.coefficient(mixed.column * scale + shift)
    assert plain is not None
    assert other is not None
    assert other.difference * scale == pytest.approx(plain.difference, rel=1e-3)
    assert other.error * scale == pytest.approx(plain.error, rel=1e-3)


@pytest.mark.parametrize("prompts", [4, 400])
def test_a_column_that_the_knobs_imply_has_no_coefficient(prompts: int) -> None:
    """What is one of them, or the same everywhere, says nothing more."""
    mixed = Mixed(prompts)
    assert mixed.model.coefficient(mixed.sampler) is None
    assert mixed.model.coefficient(np.ones(len(mixed.sampler))) is None


def estimates_of(
    rows: Sequence[Row], knob: str, readings: Floats
) -> dict[str, tuple[float, float]]:
    """Return difference and error of each level of *knob* that has them, by its name."""
    levels, count = levels_of(rows), len(rows)
    model = AdjustedModel(levels, readings, np.ones(count), one_each(count), one_each(count))
    return {
        levels[knob].names[level]: (estimate.difference, estimate.error)
        for (level, _), estimate in model.estimates(knob, pairs_of(levels[knob])).items()
    }


def test_what_values_are_called_does_not_matter() -> None:
    """Of many values each is compared with all others, not with the first of the alphabet."""
    names = "abcdefghijklmno"
    turned = dict(zip(names, reversed(names), strict=True))
    rows: list[Row] = [
        {"sampler": name} for place, name in enumerate(names) for _ in range(6 + 2 * place)
    ]
    chance = np.random.default_rng(8)
    readings = np.array([0.1 * ord(row["sampler"]) % 1 for row in rows])
    readings = readings + chance.normal(0, 0.5, len(rows))
    plain = estimates_of(rows, "sampler", readings)
    other = estimates_of([{"sampler": turned[row["sampler"]]} for row in rows], "sampler", readings)
    assert len(plain) == len(names)
    for name, figures in plain.items():
        assert other[turned[name]] == pytest.approx(figures, rel=1e-9)


def test_how_rare_values_were_rated_moves_no_other() -> None:
    """Too few for a figure each, they have a column together, be it of five pictures."""
    rare = [{"sampler": "c"}] * (FEWEST_ROWS - 3) + [{"sampler": "d"}] * 3
    rows: list[Row] = [{"sampler": "a"}] * 41 + [{"sampler": "b"}] * 40 + rare
    readings = np.random.default_rng(2).normal(0, 0.5, len(rows))
    better = readings + np.array([row["sampler"] in "cd" for row in rows])
    assert set(estimates_of(rows, "sampler", readings)) == {"b"}
    before, after = (
        estimates_of(rows, "sampler", readings)["b"],
        estimates_of(rows, "sampler", better)["b"],
    )
    assert after == pytest.approx(before, abs=0.01)


@pytest.mark.parametrize(("between", "each"), [(0.0, 2), (0.25, 2), (1.0, 2), (1.0, 6)])
def test_pictures_are_drawn_to_their_prompt_as_far_as_prompts_differ(
    between: float, each: int
) -> None:
    """1 - sqrt(s^2 / (s^2 + n t^2)) of n pictures: Fuller and Battese 1973."""
    prompts, chance = np.arange(2000) // each, np.random.default_rng(6)
    rows: list[Row] = [{"sampler": "ab"[chance.integers(2)]} for _ in prompts]
    offsets = chance.normal(0, np.sqrt(between), len(prompts))[prompts]
    readings = offsets + chance.normal(0, 0.5, len(prompts))
    model = AdjustedModel(
        levels_of(rows), readings, np.ones(len(prompts)), prompts, one_each(len(prompts))
    )
    wanted = 1 - np.sqrt(0.25 / (0.25 + np.bincount(prompts) * between))
    np.testing.assert_allclose(model._drawn, wanted, atol=0.05 if between else 0.1)


def test_an_estimate_says_of_how_many_prompts_its_pictures_are() -> None:
    """Forty pictures of one prompt are no forty witnesses."""
    rows: list[Row] = [{"sampler": "abc"[number % 3]} for number in range(120)]
    prompts = np.array([
        0 if row["sampler"] == "c" else number % 30 for number, row in enumerate(rows)
    ])  # fmt: skip
    levels, readings = levels_of(rows), np.random.default_rng(1).normal(size=len(rows))
    model = AdjustedModel(levels, readings, np.ones(len(rows)), prompts, one_each(len(rows)))
    estimates = {
        levels["sampler"].names[level]: estimate
        for (level, _), estimate in model.estimates("sampler", pairs_of(levels["sampler"])).items()
    }
    assert (estimates["b"].comparisons, estimates["b"].prompts) == (40, 10)
    assert (estimates["c"].comparisons, estimates["c"].prompts) == (40, 1)
