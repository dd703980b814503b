"""The way down ends where SciPy's does, with bounds and without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from safelight.learning.evidence.descent import least

TESTS = Path(__file__).parents[1]


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.booleans())
def test_a_bowl_ends_at_its_lowest_point_within_bounds(seed: int, count: int, held: bool) -> None:
    """Also where that is a corner or an edge, in bowls that are fifty times as steep one way."""
    chance = np.random.default_rng(seed)
    turn = np.linalg.qr(chance.normal(size=(count, count)))[0]
    shape = turn @ np.diag(chance.uniform(1, 50, count)) @ turn.T
    middle = chance.normal(0, 2, count)
    bound = 1.0 if held else 100.0

    def cost(point: Any) -> tuple[float, Any]:
        off = point - middle
        return 0.5 * float(off @ shape @ off), shape @ off

    lowest = least(cost, np.zeros(count), low=-bound, high=bound).point
    wanted = minimize(
        cost, np.zeros(count), jac=True, method="L-BFGS-B", bounds=[(-bound, bound)] * count,
        options={"ftol": 1e-14, "gtol": 1e-10, "maxiter": 2000},
    )  # fmt: skip
    assert np.abs(lowest).max() <= bound
    assert cost(lowest)[0] <= wanted.fun + 1e-5 * max(1.0, abs(wanted.fun))


def test_a_bent_valley_is_followed_to_its_end() -> None:
    """Rosenbrock's."""

    def cost(point: Any) -> tuple[float, Any]:
        x, y = point
        value = (1 - x) ** 2 + 100 * (y - x * x) ** 2
        return value, np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])

    np.testing.assert_allclose(least(cost, np.array([-1.2, 1.0])).point, [1, 1], atol=1e-3)


def test_what_was_learned_of_the_shape_saves_steps_the_next_time() -> None:
    """Rounds of an EM differ little from each other."""
    asked = 0

    def cost(point: Any, middle: float) -> tuple[float, Any]:
        nonlocal asked
        asked += 1
        off = (point - middle) * np.array([1.0, 10.0, 40.0])
        return 0.5 * float(off @ (point - middle)), off

    first = least(lambda point: cost(point, 1.0), np.zeros(3))
    needed, asked = asked, 0
    again = least(lambda point: cost(point, 1.1), first.point, curvature=first.curvature)
    np.testing.assert_allclose(again.point, 1.1, atol=1e-4)
    assert asked <= needed / 2


def test_a_cliff_is_not_stepped_over() -> None:
    """Where the function cannot be computed, its value says so, and steps become shorter."""

    def cost(point: Any) -> tuple[float, Any]:
        if point[0] > 1.5:
            return 1e10, np.zeros(1)
        return float((point[0] - 1) ** 2), 2 * (point - 1)

    np.testing.assert_allclose(least(cost, np.array([-50.0])).point, [1.0], atol=1e-4)


@pytest.mark.parametrize("work", ["suggest(trials, 3)", "verdict(trials)"])
def test_suggestions_do_not_import_scipy(work: str) -> None:
    """It takes a quarter of a second, longer than all that is computed."""
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(TESTS)!r})\n"
        "from learning.simulated_ratings import trials_of\n"
        "from safelight.learning.plans.suggest import suggest, verdict\n"
        "rows = [{'steps': n % 5 * 5 + 5, 'cfg_scale': float(n // 5)} for n in range(20)]\n"
        "trials = trials_of(rows, lambda row: min(5, 1 + row['steps'] // 6))\n"
        f"{work}\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'scipy'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
