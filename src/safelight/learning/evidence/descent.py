"""descent: where a smooth function of a few numbers is least, within bounds.

For fits of up to some dozens of parameters, logarithms and the like, that matter on the scale
of 1: that is taken for their curvature until steps have shown it. SciPy's L-BFGS-B takes a
quarter of a second to import, which is longer than these fits take.

Source: Nocedal and Wright 2006, *Numerical Optimization*, algorithm 6.1 and equation 6.20 (BFGS);
Bertsekas 1982, SIAM J. Control and Optimization 20 (bounds: what is held by one takes no part).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Least", "least"]

Floats = NDArray[np.float64]

_SUFFICIENT = 1e-4
_FLAT, _SETTLED = 1e-5, 2e-9
_SHORTEST = 1e-10


class Least(NamedTuple):
    """Where a function is least.

    Attributes:
        point: That place.
        curvature: The inverse Hessian as far as the way there has shown it; None without a step.
    """

    point: Floats
    curvature: Floats | None


def least(
    cost: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    *,
    low: Floats | float = -np.inf,
    high: Floats | float = np.inf,
    rounds: int = 100,
    curvature: Floats | None = None,
) -> Least:
    """Return where *cost* is least, on the way down from *start*; the same for the same cost.

    Args:
        cost: Returns the value at a point and its gradient.
        start: Where to begin, inside the bounds.
        low: Lower bound of each number, or of all.
        high: Upper bound likewise.
        rounds: Steps at most.
        curvature: The inverse Hessian as far as it is known, of an earlier descent on nearly the
            same function for one. Too large, it makes rounding errors grow until it is put right.
    """
    point = np.asarray(start, np.float64)
    value, slope = cost(point)
    for _ in range(rounds):
        free = ~(((point <= low) & (slope > 0)) | ((point >= high) & (slope < 0)))
        if not free.any() or np.abs(slope[free]).max() < _FLAT:
            break
        way = np.zeros_like(point)
        if curvature is None:
            way[free] = -slope[free] / max(1.0, float(np.linalg.norm(slope[free])))
        else:
            way[free] = -curvature[np.ix_(free, free)] @ slope[free]
        step = _step_down(cost, point, value, slope, way, low, high)
        if step is None:
            if curvature is None:
                break
            curvature = None  # what is believed of it leads nowhere: begin anew
            continue
        moved, bent = step[0] - point, step[2] - slope
        settled = value - step[1] <= _SETTLED * max(abs(value), abs(step[1]), 1.0)
        point, value, slope = step
        bent[moved == 0] = 0.0  # what is held by a bound takes no part in the curvature either
        curvature = _learned(curvature, moved, bent)
        if settled:
            break
    return Least(point, curvature)


def _step_down(
    cost: Callable[[Floats], tuple[float, Floats]],
    point: Floats,
    value: float,
    slope: Floats,
    way: Floats,
    low: Floats | float,
    high: Floats | float,
) -> tuple[Floats, float, Floats] | None:
    """Return a point on *way* with its value and slope, low enough; None when there is none."""
    size = 1.0
    while size > _SHORTEST:
        there = np.clip(point + size * way, low, high)
        promised = float(slope @ (there - point))
        if promised >= 0:
            return None
        there_value, there_slope = cost(there)
        if there_value <= value + _SUFFICIENT * promised:
            return there, there_value, there_slope
        # The parabola through both values and the slope here, kept away from either end.
        bend = there_value - value - promised
        size *= min(max(-promised / (2 * bend), 0.1), 0.5) if np.isfinite(bend) else 0.1
    return None


def _learned(curvature: Floats | None, moved: Floats, bent: Floats) -> Floats | None:
    """Return the inverse Hessian after a step *moved* that changed the slope by *bent*."""
    along = float(moved @ bent)
    if along <= 1e-12 * float(np.linalg.norm(moved) * np.linalg.norm(bent)):
        return curvature  # the function does not bend upwards here: nothing is learned
    known = np.eye(len(moved)) if curvature is None else curvature
    reached = known @ bent
    return np.asarray(
        known
        + np.outer(moved, moved) * ((along + float(bent @ reached)) / along**2)
        - (np.outer(reached, moved) + np.outer(moved, reached)) / along
    )
