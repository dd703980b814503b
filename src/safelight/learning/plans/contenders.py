"""contenders: which values of a knob may be best beside the best known setting, and which are not.

What is best of many is never known, only what is not: a value is out when some other one is
better for sure. All others may be best, the best known one among them. The sets of all knobs hold
the truly best values 95 times in 100, as far as the model is right.

With K knobs, L values of this one, m(a) the score that the model expects of the best known setting
with the value a, and sd(a, b) the deviation of m(a) - m(b), a is out if for some b::

    m(b) - m(a) > t sd(a, b)                 t: 1 - 0.05 / (K (L - 1)) of Student's t is below

since only the L - 1 comparisons with the truly best one can put that out, of each of K knobs. How
much pictures vary is estimated from the N rated ones, so its freedom is N - 1.

Source: Hsu 1981, *Simultaneous confidence intervals for all distances from the "best"*;
Bonferroni in place of Dunnett's common deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.plans.knob_space import KnobSpace, NumberKnob, SpaceKnob
from safelight.learning.plans.proposals import Tried
from safelight.learning.plans.student import student_quantile
from safelight.learning.plans.suggested import Contenders
from safelight.learning.plans.surrogate import Surrogate

__all__ = ["contenders_of"]

_ERROR = 0.05
_MOST_NUMBERS, _SPREAD_NUMBERS = 8, 5


def contenders_of(
    space: KnobSpace, model: Surrogate, tried: Sequence[Tried], best: Mapping[str, Any]
) -> tuple[Contenders, ...]:
    """Return for each knob of *space* which of its tried values may be best beside *best*.

    Of a number with more than eight values, five are looked at and that of *best*. Where not
    everything goes together, each level that decides what does (the model) is looked at with the
    tried setting that is best with it, and of other knobs what goes with *best*.
    """
    found = []
    freedom = max(sum(rated.pictures for rated in tried) - 1, 1)
    every = [_compared(space, model, tried, best, place) for place in range(len(space.knobs))]
    risk = _ERROR / max(sum(len(values) > 1 for values, _ in every), 1)
    for knob, (values, points) in zip(space.knobs, every, strict=True):
        if len(values) < 2:
            continue
        means, covariance = model.together(points)
        own = np.diag(covariance)
        deviations = np.sqrt(np.maximum(own[:, None] + own - 2 * covariance, 1e-12))
        sure = student_quantile(freedom, 1 - risk / (len(values) - 1))
        out = np.any(means - means[:, None] > sure * deviations, axis=1).tolist()
        order = sorted(range(len(values)), key=lambda row: -means[row])
        found.append(
            Contenders(
                knob=knob.name,
                value=best[knob.name],
                equal=tuple(
                    values[row] for row in order if not out[row] and values[row] != best[knob.name]
                ),
                worse=tuple(values[row] for row in order if out[row]),
            )
        )
    return tuple(found)


def _compared(
    space: KnobSpace,
    model: Surrogate,
    tried: Sequence[Tried],
    best: Mapping[str, Any],
    place: int,
) -> tuple[list[Any], NDArray[np.float64]]:
    """Return the values of a knob, and the point at which each is looked at."""
    knob = space.knobs[place]
    values = _values(knob, [rated.setting[knob.name] for rated in tried], best[knob.name])
    points = np.repeat([space.point(best)], len(values), axis=0)
    points[:, place] = [knob.place(value) for value in values]
    if space.rooms is None:
        return values, points
    if knob.name != space.rooms.choice:
        goes = space.goes_together(points) | (points[:, place] == knob.place(best[knob.name]))
        return [value for value, there in zip(values, goes, strict=True) if there], points[goes]
    every = np.array([space.point(rated.setting) for rated in tried])
    means, deviations = model.predict(np.nan_to_num(every))
    sure = np.where(np.isfinite(every).all(axis=1), means - deviations, -np.inf)
    for row, value in enumerate(values):
        if value != best[knob.name]:
            own = np.where(every[:, place] == knob.place(value), sure, -np.inf)
            points[row] = every[int(np.argmax(own))]
    return values, points


def _values(knob: SpaceKnob, tried: Sequence[Any], best: Any) -> list[Any]:
    values = sorted({value for value in tried if np.isfinite(knob.place(value))}, key=knob.place)
    if isinstance(knob, NumberKnob) and len(values) > _MOST_NUMBERS:
        chosen = np.linspace(0, len(values) - 1, _SPREAD_NUMBERS).round().astype(int)
        values = sorted({*(values[place] for place in chosen), best}, key=knob.place)
    return values
