"""student: quantiles of Student's t without SciPy, which takes longer to import than to use."""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["student_quantile"]


def student_quantile(freedom: int, below: float) -> float:
    """Return what Student's t of *freedom* degrees is below with probability *below*.

    To within one part in 10,000. Source: Hill 1970, *Algorithm 396: Student's t-quantiles*,
    Communications of the ACM 13(10), in its symbols: n degrees, P the probability of both tails.

    Args:
        freedom: One or more.
        below: Above 0.5, below 1.
    """
    n, p = freedom, 2 * (1 - below)
    if n == 1:
        return 1 / math.tan(p * math.pi / 2)
    if n == 2:
        return math.sqrt(2 / (p * (2 - p)) - 2)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    x = d * p
    y = x ** (2 / n)
    if y > 0.05 + a:  # around the normal quantile
        x = NormalDist().inv_cdf(p / 2)
        y = x * x
        if n < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:  # of the far tail
        y = (
            (1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1
        ) * (n + 1) / (n + 2) + 1 / y
    return math.sqrt(n * y)
