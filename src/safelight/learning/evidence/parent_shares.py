"""parent_shares: which settings' pictures somebody went on with, as shares; a weak sign.

A picture from which a later one was made was chosen by somebody, for whatever reason. Whoever
chooses looks at pictures of one prompt (of one run, where no prompt was drawn twice) beside each
other, so that a setting is held against the others there. In group g let m pictures be seen and c
of them chosen, n of the setting and o of these chosen, of all G groups where either could be::

    u_g = o - n c / m                    v_g = n (m - n) c (m - c) / (m^2 (m - 1))
    t   = sum u / sqrt(max(sum v, G / (G - 1) sum u^2))             Student's t of G - 1

v is the variance of a draw without looking (hypergeometric; Mantel and Haenszel 1959), the other
what groups show by themselves: choices of one sitting hang together. Below 6 groups, or with sum v
below 2, nothing is told. Chances are corrected for all settings and values of a table together, by
:func:`.effects.holm`: that anything is told where nothing matters has a chance of 5 % at most.

Source: Mantel and Haenszel 1959, *Statistical aspects of the analysis of data from retrospective
studies of disease*.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.effects import holm
from safelight.learning.evidence.failures import wilson_interval
from safelight.learning.evidence.findings import ParentShare
from safelight.learning.evidence.knob_levels import levels_of_column
from safelight.learning.evidence.value_columns import levels_of, numbers_of

__all__ = ["parent_shares"]

_RISK, _FEWEST_GROUPS, _LEAST_VARIANCE = 0.05, 6, 2.0

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


def parent_shares(
    columns: Mapping[str, Sequence[object]], chosen: Sequence[bool], groups: Sequence[Hashable]
) -> tuple[ParentShare, ...]:
    """Return the share that was chosen for each value of each setting that varies.

    Settings of which something is likely come first, and of a setting the largest share.

    Args:
        columns: Setting -> its value for every picture; None where it is not known.
        chosen: Whether each was.
        groups: Among which pictures each was chosen.
    """
    number: dict[Hashable, int] = {}
    group = np.array([number.setdefault(each, len(number)) for each in groups], np.int64)
    picked = np.array(chosen, np.bool_)
    shares: list[ParentShare] = []
    chances: list[tuple[str, float]] = []
    for knob, values in columns.items():
        rows = np.array([row for row, value in enumerate(values) if value is not None], np.int64)
        known = [values[row] for row in rows]
        column = numbers_of(known)
        levels = levels_of_column(knob, levels_of(known) if column is None else column)
        if levels.constant:
            continue
        for place, level in enumerate(levels.names):
            share, chance = _share(knob, level, levels.codes == place, picked[rows], group[rows])
            shares.append(share)
            chances.append((knob, chance))
    tested = [place for place, (_, chance) in enumerate(chances) if chance < 1]
    for place, (chance, _) in zip(tested, holm([chances[p] for p in tested]), strict=True):
        likely = chance <= _RISK
        shares[place] = replace(shares[place], chance=min(chance, 1.0), likely=likely)
    first = {share.knob for share in shares if share.likely}
    return tuple(sorted(
        shares, key=lambda own: (own.knob not in first, [*columns].index(own.knob), -own.share)
    ))  # fmt: skip


def _share(
    knob: str, level: str, own: Bools, chosen: Bools, group: Integers
) -> tuple[ParentShare, float]:
    """Return the share of one value, and the chance of what is apart from the others."""
    many = int(group.max(initial=-1)) + 1
    seen, inside = np.bincount(group, minlength=many), np.bincount(group[own], minlength=many)
    picked = np.bincount(group[chosen], minlength=many)
    both = np.bincount(group[own & chosen], minlength=many)
    apart = both - inside * picked / np.maximum(seen, 1)
    variance = inside * (seen - inside) * picked * (seen - picked)
    variance = variance / np.maximum(seen**2 * (seen - 1), 1)
    told = variance > 0
    count, pictures = int(both.sum()), int(inside.sum())
    low, high = wilson_interval(count, pictures)
    share = ParentShare(
        knob=knob, level=level, chosen=count, pictures=pictures, share=count / max(pictures, 1),
        low=low, high=high, groups=int(told.sum()), more=bool(apart.sum() > 0),
        expected=float(count - apart.sum()) / max(pictures, 1),
    )  # fmt: skip
    return share, _chance(apart[told], variance[told])


def _chance(apart: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    many = len(apart)
    if many < _FEWEST_GROUPS or variance.sum() < _LEAST_VARIANCE:
        return 1.0
    from scipy.special import stdtr

    spread = max(float(variance.sum()), float(many / (many - 1) * np.square(apart).sum()))
    return float(2 * stdtr(many - 1, -abs(float(apart.sum())) / math.sqrt(spread)))
