"""What a plan costs is told from real timings, with how many there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from safelight.learning.plans.plan_cost import Timing, _line, plan_cost, timings_of


def timed(steps: int, seconds: float, **more: object) -> Timing:
    known = {"backend": "fake", "model": "m", "sampler": "Euler", "width": 512, "height": 512}
    return Timing(steps=steps, seconds=seconds, **{**known, **more})  # type: ignore[arg-type]


EARLIER = [timed(steps, 0.5 + 0.1 * steps) for steps in (10, 20, 30, 40)]


def test_seconds_grow_with_steps_and_pixels() -> None:
    """Half a second, and a tenth per step at 512 x 512."""
    planned = [Timing(backend="fake", model="m", sampler="Euler", steps=80, width=512, height=512)]
    cost = plan_cost(planned, EARLIER)
    assert cost.seconds == pytest.approx(8.5)
    assert (cost.pictures, cost.timings, cost.alike) == (1, 4, "engine, model and sampler")
    larger = Timing(backend="fake", model="m", sampler="Euler", steps=80, width=1024, height=1024)
    assert plan_cost([larger], EARLIER).seconds == pytest.approx(0.5 + 4 * 8)


def test_what_is_not_stated_is_as_in_most_pictures() -> None:
    """A config mostly leaves its size to the engine."""
    bare = Timing(backend="fake", model="m", sampler="Euler", steps=80)
    assert plan_cost([bare], EARLIER).seconds == pytest.approx(8.5)


def test_the_nearest_kind_that_was_timed_counts() -> None:
    """Another sampler: the model's timings; another model: the engine's; another engine: none."""
    other = Timing(backend="fake", model="m", sampler="Heun", steps=20)
    assert plan_cost([other], EARLIER).alike == "engine and model"
    assert plan_cost([Timing(backend="fake", model="x")], EARLIER).alike == "engine"
    unknown = plan_cost([Timing(backend="comfyui")], EARLIER)
    assert unknown.seconds is None
    assert "not known: none like them was timed" in unknown.sentence()


def test_the_sentence_says_how_many_timings_it_rests_on() -> None:
    """With the range in which a tenth to nine tenths of them lie."""
    sentence = plan_cost([timed(40, 0) for _ in range(200)], EARLIER).sentence()
    assert sentence == (
        "200 pictures, about 15 min (15 min to 15 min), from 4 timed pictures of the same"
        " engine, model and sampler"
    )


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["fake", None]), st.sampled_from(["m", None]),
            st.sampled_from(["Euler", None]), st.none() | st.integers(1, 50),
            st.none() | st.just(512), st.none() | st.just(512),
            st.none() | st.floats(-1, 1e9, allow_nan=False),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_any_archive_gives_a_cost_that_is_no_nonsense(rows: list[tuple[object, ...]]) -> None:
    """Missing columns and absurd seconds included."""
    cost = plan_cost([Timing(backend="fake", model="m", steps=20)] * 3, timings_of(rows))
    assert cost.pictures == 3
    assert cost.seconds is None or 0 <= cost.seconds < 1e9
    assert "3 pictures" in cost.sentence()


@given(st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 100)), min_size=2, max_size=20))
def test_the_line_of_timings_is_that_of_least_squares(pairs: list[tuple[float, float]]) -> None:
    """Neither part below nothing, as SciPy's solver has it."""
    work, seconds = np.array(pairs).T
    if np.ptp(work) < 1e-3:
        return
    basis = np.column_stack([np.ones_like(work), work])
    wanted = float(nnls(basis, seconds)[1])
    fixed, slope = _line(work, seconds)
    assert min(fixed, slope) >= 0
    assert np.linalg.norm(basis @ [fixed, slope] - seconds) == pytest.approx(wanted, abs=1e-6)
