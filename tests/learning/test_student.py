"""Quantiles of Student's t are those of SciPy."""

from __future__ import annotations

import pytest
from scipy.special import stdtrit

from safelight.learning.plans.student import student_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 10, 30, 1000, 10**6])
@pytest.mark.parametrize("below", [0.6, 0.9, 0.95, 0.975, 0.99, 0.999, 0.999999])
def test_quantiles_are_those_of_scipy(freedom: int, below: float) -> None:
    assert student_quantile(freedom, below) == pytest.approx(stdtrit(freedom, below), rel=1e-4)
