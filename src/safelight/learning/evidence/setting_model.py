"""setting_model: what each setting does beside all others, by a mixed model for each.

The levels of the setting asked about are fixed; all else that pictures share is random: every
other setting, the prompt, the prompt with the level (so that the answer is for new prompts), the
prompt with its seed, parts of the order of rating, sittings, months and folders. Picks say
nothing beyond the pictures that they hold together: these pictures' readings are centred among
themselves, which a prompt's variance of 0 would take for evidence. So where most readings rest on
picks alone, what such pictures share is held in the place of the prompt. What raters'
scales, their drift, a trend and longer prompts may do is held at
:data:`.circumstances.STEADY_SPREAD`, and so is what the settings of fewest levels do, up to a
level for every ten pictures: the spread of two levels cannot be found from two levels. See
:mod:`.mixed_model`.

A mixed model takes time that grows with pictures times the square of columns: above
:data:`MOST_WORK` the regression of :mod:`.adjusted_model` answers, whose errors need many more
pictures than columns, which there then are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.adjusted_model import FEWEST_ROWS
from safelight.learning.evidence.circumstances import STEADY_SPREAD, Circumstances
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.mixed_model import MixedFit, fit_mixed
from safelight.learning.evidence.paired_comparisons import STAR_ROUNDED, Clusters, Estimate
from safelight.recorded_settings import EXTRA, LORA

__all__ = ["MOST_WORK", "SettingModel"]

MOST_WORK = 1e9
"""Products of a whole answer, as :meth:`SettingModel.work` counts them."""

_MOST_COLUMNS, _PICTURES_A_HELD_COLUMN = 60, 10
_TOGETHER = (("term:", "terms"), (LORA, "LoRAs"), (EXTRA, "extras"))
"""Settings of one kind share a variance: of each there is little."""

_BELIEFS = {"noise": np.inf, "prompt": np.inf, "draw": 0.5, "level": 0.035, "loose": 0.1, "": 0.3}
"""How large a variance may well be, as part of the spread of readings: what settings do may, how
what one does differs between prompts, and parts of the order, months and folders, less."""

_A_LITTLE = 0.12
"""Deviation of what levels of other settings do at least, in score units: that nothing was found
does not mean that they do nothing."""

_TOGETHER_BY_PICKS = "picks"

_KINDS = tuple(sign for sign, _ in _TOGETHER)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class SettingModel:
    """Rated pictures, asked about one setting after another.

    Args:
        levels: All settings; constant ones are passed over.
        readings: Unshrunk scores, float64[n].
        weights: How much each tells, float64[n], above 0.
        ratings: How many judgements bear on each, int64[n].
        clusters: What is alike.
        circumstances: What went with the pictures beside settings.
        together: Number of the pictures that each is held together with by picks, where these
            are what most readings rest on, int64[n].
    """

    def __init__(
        self,
        levels: Mapping[str, KnobLevels],
        readings: Floats,
        weights: Floats,
        ratings: Integers,
        clusters: Clusters,
        circumstances: Circumstances,
        *,
        together: Integers | None = None,
    ) -> None:
        self._together = together
        self._levels = {knob: own for knob, own in levels.items() if not own.constant}
        self._readings, self._weights, self._clusters = readings, weights, clusters
        self._steady, self._loose = circumstances.steady, circumstances.loose
        self._length = circumstances.length
        self._least_noise = STAR_ROUNDED / max(float(ratings.mean()), 1.0)
        self._start: dict[str, float] = {}
        self._fits: dict[str, MixedFit] = {}

    @cached_property
    def _columns(self) -> Mapping[str, Floats]:
        return {knob: _columns_of(own) for knob, own in self._levels.items()}

    @cached_property
    def _held(self) -> frozenset[str]:
        """The settings whose spread is not to be found, those of fewest levels."""
        left = len(self._readings) / _PICTURES_A_HELD_COLUMN - self._steady.shape[1]
        held = set()
        for knob in sorted(self._columns, key=lambda knob: self._columns[knob].shape[1]):
            left -= self._columns[knob].shape[1] - 1
            if left >= 0 and not knob.startswith(_KINDS):
                held.add(knob)
        return frozenset(held)

    @property
    def work(self) -> float:
        """About how many products an answer about all settings takes."""
        width = sum(len(_with_columns(own)) for own in self._levels.values())
        width += self._steady.shape[1]
        width += sum(own.shape[1] for own in self._loose)
        size = np.bincount(self._clusters.prompts).astype(np.float64)
        once = float(len(self._readings)) * width**2 + float((size**3).sum())
        return float(once * len(self._levels))

    def estimate(self, levels: KnobLevels, level: int, against: int | None) -> Estimate | None:
        """Return the estimate of a level of five pictures against another, or against all others.

        None where one of them has fewer.
        """
        often = np.flatnonzero(levels.counts >= FEWEST_ROWS)
        if level not in often or (against is not None and against not in often) or len(often) < 2:
            return None
        place = np.full(len(levels.names) + 1, len(often), np.int64)  # the last is for code -1
        place[often] = np.arange(len(often))
        if levels.knob not in self._fits:
            code = place[levels.codes]
            fixed = (code[:, None] == np.arange(int(code.max()) + 1)).astype(np.float64)
            fixed[:, 0] = 1
            self._fits[levels.knob] = self._fitted(levels.knob, fixed, code)
        fit = self._fits[levels.knob]
        contrast = np.zeros(len(fit.beta))
        contrast[place[level]] = 1
        if against is not None:
            contrast[place[against]] = -1
        else:
            share = levels.counts[often].astype(np.float64)
            share[often == level] = 0
            contrast[place[often]] -= share / max(share.sum(), 1.0)
        contrast[0] = 0  # of the first, which has no column
        difference, error, freedom = fit.contrast(contrast)
        at = levels.codes == level
        return Estimate(
            difference=difference, error=error, freedom=freedom,
            comparisons=int(levels.counts[level]),
            prompts=int(np.count_nonzero(np.bincount(self._clusters.prompts[at]))),
        )  # fmt: skip

    def _fitted(self, knob: str, fixed: Floats, code: Integers) -> MixedFit:
        blocks = self._clusters.prompts
        within = {"prompt": blocks}
        if self._together is not None:
            within = {_TOGETHER_BY_PICKS: _crossed(blocks, self._together)}
        for name, own in (
            ("draw", self._clusters.draws),
            ("level in prompt", _crossed(self._clusters.whole, code)),
        ):
            # As many as rows would be noise once more; the same groups, the same once more.
            if int(own.max()) < len(code) - 1 and not any(_same(own, o) for o in within.values()):
                within[name] = own
        across: dict[str, list[Floats]] = {}
        for other, columns in self._columns.items():
            if other != knob and columns.shape[1] and other not in self._held:
                kind = next((kind for sign, kind in _TOGETHER if other.startswith(sign)), other)
                across.setdefault(kind, []).append(columns)
        joined = {kind: np.concatenate(own, axis=1) for kind, own in across.items()}
        joined |= {f"loose {place}": own for place, own in enumerate(self._loose)}
        names = ["noise", *within, *joined]
        spread = float(np.var(self._readings)) or 1.0
        start = [self._start.get(n, 0.5 if n == "noise" else 0.05) * spread for n in names]
        held = [np.nan] * len(names)
        if self._together is not None:
            held[names.index(_TOGETHER_BY_PICKS)] = STEADY_SPREAD**2
        least = [_A_LITTLE**2 if name in across else 0.0 for name in names]
        least[0] = self._least_noise
        beliefs = [_BELIEFS.get(name.split(" ")[0], _BELIEFS[""]) * spread for name in names]
        parts = list(joined.values())
        fewest = [self._columns[other] for other in self._columns if other in self._held - {knob}]
        if not knob.startswith("term:"):
            fewest.append(self._length)
        steady = np.concatenate([self._steady, *fewest], axis=1)
        if steady.shape[1]:
            parts.append(steady)
            held.append(STEADY_SPREAD**2)
            least.append(0.0)
            beliefs.append(np.inf)
            start.append(STEADY_SPREAD**2)
        fit = fit_mixed(
            self._readings, self._weights, fixed, blocks, list(within.values()), parts,
            held=np.array(held), beliefs=np.array(beliefs), least=np.array(least),
            start=np.array(start),
        )  # fmt: skip
        for name, variance in zip(names, fit.variances / spread, strict=False):
            self._start[name] = max(float(variance), 0.01)
        return fit


def _columns_of(levels: KnobLevels) -> Floats:
    """Return a centred column per level that two pictures have, but for what is absent or zero."""
    columns = (levels.codes[:, None] == _with_columns(levels)).astype(np.float64)
    return np.asarray(columns - columns.mean(axis=0), np.float64)


def _with_columns(levels: KnobLevels) -> Integers:
    usable = np.flatnonzero(levels.counts >= 2)
    most = usable[np.argsort(-levels.counts[usable], kind="stable")][:_MOST_COLUMNS]
    if levels.knob.startswith(_KINDS) and len(most):
        most = most[most != (levels.reference if levels.reference is not None else most[0])]
    return np.asarray(most, np.int64)


def _same(first: Integers, second: Integers) -> bool:
    return int(_crossed(first, second).max()) == int(first.max()) == int(second.max())


def _crossed(first: Integers, second: Integers) -> Integers:
    both = first * (int(second.max()) + 1) + second
    return np.asarray(np.unique(both, return_inverse=True)[1], np.int64)
