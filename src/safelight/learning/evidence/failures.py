"""failures: which settings fail, as shares with their intervals; no rating is needed for that.

A share is of variants that were begun: k of n failed. Its 95 % interval is, with z = 1.96::

    (k + z^2 / 2 -+ z sqrt(k (n - k) / n + z^2 / 4)) / (n + z^2)

which stays between 0 and 1 and holds also for few. Settings are compared one knob at a time: what
went together with a setting may be the cause as well.

A value stands out when it fails more than the others of its knob by more than luck gives among all
values of all knobs looked at. Of N variants F failed, n have the value and k of these failed; had
failures nothing to do with it, they would be a draw without looking::

    chance = sum_(j >= k) C(n, j) C(N - n, F - j) / C(N, F)

corrected for all knobs and values by :func:`.effects.holm`: that anything stands out where nothing
matters has a chance of 5 % at most, if each variant fails by itself. Failures of an hour in which
a server was gone do not.

Sources: Wilson 1927, *Probable inference, the law of succession, and statistical inference*;
Fisher 1935, *The logic of inductive inference* (the exact test).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.effects import holm
from safelight.learning.evidence.knob_levels import levels_of_column
from safelight.learning.evidence.value_columns import levels_of, numbers_of

__all__ = ["FailureShare", "failure_shares", "wilson_interval"]

_Z = 1.96
_TOLD, _RISK = 0.9, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureShare:
    """How often one setting failed.

    Attributes:
        knob: Its name.
        level: Its value, or a range of many.
        failed: Variants with it that failed.
        begun: Variants with it that were begun.
        share: The first over the second.
        low: Lower end of the 95 % interval of the share.
        high: Upper end.
        stands_out: It fails more than the knob's other values together, beyond luck.
        error: What went wrong most often; empty where nothing did.
    """

    knob: str
    level: str
    failed: int
    begun: int
    share: float
    low: float
    high: float
    stands_out: bool
    error: str


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of the share *count* of *total*; 0 to 1 of nothing."""
    if not total:
        return 0.0, 1.0
    middle = count + _Z**2 / 2
    half = _Z * math.sqrt(count * (total - count) / total + _Z**2 / 4)
    low, high = (middle - half) / (total + _Z**2), (middle + half) / (total + _Z**2)
    return (0.0 if count == 0 else low), (1.0 if count == total else high)


def failure_shares(
    columns: Mapping[str, Sequence[object]], errors: Sequence[str | None]
) -> tuple[FailureShare, ...]:
    """Return the share that failed for each value of each knob that varies.

    Knobs with a value that stands out come first, and of a knob the value that fails most. What
    failed before an engine told its settings has those that were asked for, so a knob is looked
    at if nine in ten failed variants tell it, and among the variants that do.

    Args:
        columns: Knob -> its value for every variant that was begun; None where it is not told.
        errors: Why each failed; None for those that did not.
    """
    failures = sum(error is not None for error in errors)
    by_knob: list[list[FailureShare]] = []
    chances: list[tuple[str, float]] = []
    for knob, values in columns.items():
        told = [row for row, value in enumerate(values) if value is not None]
        reasons = [errors[row] for row in told]
        failed = np.array([reason is not None for reason in reasons], np.bool_)
        if not failures or failed.sum() < _TOLD * failures:
            continue
        known = [values[row] for row in told]
        column = numbers_of(known)
        levels = levels_of_column(knob, levels_of(known) if column is None else column)
        own = [
            _share(knob, name, levels.codes == place, failed, reasons)
            for place, name in enumerate(levels.names)
        ]
        if len(own) > 1:
            by_knob.append(own)
            whole = len(told), int(failed.sum())
            chances += [(knob, _chance(one.failed, one.begun, *whole)) for one in own]
    corrected = iter(holm(chances))
    by_knob = [
        sorted(
            (replace(one, stands_out=next(corrected)[0] <= _RISK) for one in own),
            key=lambda one: (-one.share, one.level),
        )
        for own in by_knob
    ]
    by_knob.sort(key=lambda own: -max(one.low if one.stands_out else 0.0 for one in own))
    return tuple(share for own in by_knob for share in own)


def _share(
    knob: str,
    level: str,
    rows: NDArray[np.bool_],
    failed: NDArray[np.bool_],
    errors: Sequence[str | None],
) -> FailureShare:
    count, begun = int((rows & failed).sum()), int(rows.sum())
    low, high = wilson_interval(count, begun)
    said = Counter(errors[row] or "" for row in np.flatnonzero(rows & failed).tolist())
    return FailureShare(
        knob=knob, level=level, failed=count, begun=begun, share=count / begun if begun else 0.0,
        low=low, high=high, stands_out=False,
        error=min(said, key=lambda text: (-said[text], text), default=""),
    )  # fmt: skip


def _chance(failed: int, begun: int, every: int, failures: int) -> float:
    """Return the chance of the module, of k, n, N and F."""
    from scipy.special import gammaln

    def ways(whole: int, some: NDArray[np.int64]) -> NDArray[np.float64]:
        chosen = gammaln(whole + 1) - gammaln(some + 1) - gammaln(whole - some + 1)
        return np.asarray(chosen, np.float64)

    j = np.arange(failed, min(begun, failures) + 1)
    j = j[failures - j <= every - begun]
    logs = ways(begun, j) + ways(every - begun, failures - j) - ways(every, np.array([failures]))
    return min(float(np.exp(logs).sum()), 1.0)
