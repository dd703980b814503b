"""plan_cost: what a plan will take, in pictures and minutes, from how long earlier pictures took.

A picture's seconds are taken to be a fixed part and a part that grows with steps and pixels,
fitted to the pictures that are most like it: same engine, model and sampler; else same engine
and model; else same engine. The answer always says how many timings it rests on. :class:`_Fit`
has the formulae.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.timestamps import duration

__all__ = ["TIMING_COLUMNS", "PlanCost", "Timing", "plan_cost", "timings_of"]

TIMING_COLUMNS = ("backend", "model", "sampler", "steps", "width", "height", "seconds")
"""Columns of the view ``images`` that :func:`timings_of` reads."""

_TIERS = (
    ("engine, model and sampler", ("backend", "model", "sampler")),
    ("engine and model", ("backend", "model")),
    ("engine", ("backend",)),
)
_FEWEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One picture, as far as its cost is concerned.

    Attributes:
        backend: The engine.
        model: Checkpoint; None when not known.
        sampler: Sampler; None when not known.
        steps: Denoising steps; None when not known.
        width: In pixels; None when not known.
        height: In pixels; None when not known.
        seconds: How long it took; None for one that is yet to be drawn.
    """

    backend: str | None = None
    model: str | None = None
    sampler: str | None = None
    steps: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCost:
    """What a plan will take.

    Attributes:
        pictures: How many pictures.
        seconds: How long they will take in all; None when no picture of the engine was timed.
        low: A tenth of the timed pictures took less than that for their kind; None as above. All
            pictures of a kind are taken to be off alike: chance would even out, a busy machine not.
        high: A tenth took more; None as above.
        timings: How many timed pictures this rests on.
        alike: In what the timed pictures are like the planned ones; empty when there are none.
    """

    pictures: int
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    timings: int = 0
    alike: str = ""

    def sentence(self) -> str:
        """Return the cost in words."""
        pictures = f"{self.pictures:,} picture" + ("" if self.pictures == 1 else "s")
        if self.seconds is None or self.low is None or self.high is None:
            return f"{pictures}; how long they take is not known: none like them was timed yet"
        return (
            f"{pictures}, about {duration(self.seconds)} ({duration(self.low)} to"
            f" {duration(self.high)}), from {self.timings:,} timed pictures of the same"
            f" {self.alike}"
        )


def timings_of(rows: Iterable[Sequence[Any]]) -> tuple[Timing, ...]:
    """Return the usable ones of *rows*, each in the order of :data:`TIMING_COLUMNS`."""
    timings = (Timing(**dict(zip(TIMING_COLUMNS, row, strict=True))) for row in rows)
    return tuple(t for t in timings if t.seconds is not None and 0 < t.seconds < 1e6)


def plan_cost(planned: Sequence[Timing], timings: Sequence[Timing]) -> PlanCost:
    """Return what *planned* pictures will take, judged by *timings* of earlier ones.

    With t(x) of :class:`_Fit` in seconds and q its 10 % or 90 % quantile, of each picture's own
    kind: ``seconds = sum_x t(x)``; ``low`` and ``high`` are ``sum_x q t(x)``.
    """
    groups: list[dict[tuple[Any, ...], list[Timing]]] = []
    for _, names in _TIERS:
        group = defaultdict(list)
        for timing in timings:
            group[tuple(getattr(timing, name) for name in names)].append(timing)
        groups.append(group)
    fits: dict[tuple[int, tuple[Any, ...]], _Fit] = {}
    total = low = high = 0.0
    used: set[tuple[int, tuple[Any, ...]]] = set()
    for picture in planned:
        key = _best_key(picture, groups)
        if key is None:
            return PlanCost(pictures=len(planned))
        if key not in fits:
            fits[key] = _Fit(groups[key[0]][key[1]])
        used.add(key)
        seconds = fits[key].seconds(picture)
        total += seconds
        low += seconds * fits[key].low
        high += seconds * fits[key].high
    if not planned:
        return PlanCost(pictures=0)
    return PlanCost(
        pictures=len(planned), seconds=total, low=low, high=high,
        timings=len({id(t) for tier, key in used for t in groups[tier][key]}),
        alike=_TIERS[max(tier for tier, _ in used)][0],
    )  # fmt: skip


def _best_key(
    picture: Timing, groups: Sequence[dict[tuple[Any, ...], list[Timing]]]
) -> tuple[int, tuple[Any, ...]] | None:
    """Return the closest tier that has enough timings; failing that, the closest with any."""
    keys = [tuple(getattr(picture, name) for name in names) for _, names in _TIERS]
    for fewest in (_FEWEST, 1):
        for tier, key in enumerate(keys):
            if len(groups[tier].get(key, ())) >= fewest:
                return tier, key
    return None


class _Fit:
    """Seconds of pictures of one kind: a fixed part, and one that grows with the work.

    With T the timings' seconds, W work (:meth:`_work`), and t(x) the seconds of picture x::

        t(x) = a + c W(x)                           a and c from :func:`_line`
        t(x) = W(x) median(T) / median(W)           where all timings have one W
        t(x) = median(T)                            where W is not known

    low and high are the 10 % and 90 % quantiles of T / t over the timings.
    """

    def __init__(self, timings: Sequence[Timing]) -> None:
        seconds = np.array([float(t.seconds or 0) for t in timings])
        self._size = {name: _most_common([getattr(t, name) for t in timings])
                      for name in ("steps", "width", "height")}  # fmt: skip
        work = np.array([self._work(t) for t in timings])
        known = np.isfinite(work)
        self._usual = float(np.median(seconds))
        self._fixed, self._per_work = self._usual, 0.0
        if np.unique(work[known]).size >= 2:
            self._fixed, self._per_work = _line(work[known], seconds[known])
        elif known.any():
            self._per_work = self._usual / max(float(np.median(work[known])), 1e-12)
            self._fixed = 0.0
        guessed = np.array([self.seconds(t) for t in timings])
        ratio = seconds / np.maximum(guessed, 1e-9)
        self.low, self.high = (float(q) for q in np.quantile(ratio, (0.1, 0.9)))

    def seconds(self, picture: Timing) -> float:
        """Return what a picture like that takes."""
        work = self._work(picture)
        return self._usual if not np.isfinite(work) else self._fixed + self._per_work * work

    def _work(self, picture: Timing) -> float:
        """Return W = steps width height / 10^6, steps times megapixels.

        What is not stated is as in most pictures; NaN if it is in none.
        """
        work = 1e-6
        for name, usual in self._size.items():
            work *= getattr(picture, name) or usual or math.nan
        return work


def _line(work: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, float]:
    """Return (fixed, per work), neither below 0, that fit best.

    a (seconds) and c (seconds per W) minimise ``sum_i (seconds_i - a - c W_i)^2``.

    In closed form: where the free line has a negative part, the best one has 0 there.

    Args:
        work: W, float64[n].
        seconds: float64[n].
    """
    usual, middle = float(seconds.mean()), float(work.mean())
    apart = work - middle
    slope = float(apart @ seconds) / float(apart @ apart)
    if slope <= 0:
        return usual, 0.0
    if slope * middle > usual:
        return 0.0, float(work @ seconds) / float(work @ work)
    return usual - slope * middle, slope


def _most_common(values: Sequence[int | None]) -> int | None:
    known = Counter(value for value in values if value)
    return known.most_common(1)[0][0] if known else None
