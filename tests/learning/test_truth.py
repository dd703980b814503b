"""Effects tell the truth about raters whose taste is known: the short form.

``bench/effects_truth.py`` asks five hundred times. Here the seeds are fixed, and a figure fails
only where chance would give it less than once in a thousand.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from effects_truth import confounder_run, coverage_run, interaction_run, null_run

ALARM = 0.001


@pytest.mark.parametrize("kind", ["sweep", "scatter of few prompts"])
def test_intervals_hold_the_truth_as_often_as_they_say(kind: str) -> None:
    """95 %, or what cannot be told from 93 to 97 % in so many."""
    held = [row[1] for run in range(20) for row in coverage_run(kind, run)]
    assert len(held) > 150
    assert binom.cdf(sum(held), len(held), 0.93) > ALARM, f"{sum(held)} of {len(held)}"
    assert binom.sf(sum(held) - 1, len(held), 0.97) > ALARM, f"{sum(held)} of {len(held)}"


def test_where_nothing_matters_hardly_anything_is_named() -> None:
    """In one run of twenty at most."""
    named = [names for run in range(30) if (names := null_run(run))]
    assert binom.sf(len(named) - 1, 30, 0.05) > ALARM, named


def test_a_confounder_is_named_and_never_clear() -> None:
    assert [confounder_run(run) for run in range(8)] == [(True, False)] * 8


def test_an_interaction_is_found_and_no_other() -> None:
    """With 400 ratings."""
    outcomes = [interaction_run(run) for run in range(8)]
    assert all(planted for planted, _ in outcomes)
    assert sum(false for _, false in outcomes) <= 1
