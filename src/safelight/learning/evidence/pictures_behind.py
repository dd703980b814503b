"""pictures_behind: the pictures that a sentence rests on, so that whoever reads it can look.

Shown are pairs that are typical of what is said, not those that say it loudest: of all pairs those
whose difference lies nearest to the middle one, of different prompts first. Where no two pictures
are alike in all else, one of each side is shown that lies in the middle of its side, of one
prompt where there is such a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.comparing import Comparing
from safelight.learning.evidence.findings import ALL_OTHERS, Behind, KnobEffect, one_line
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.sentences import Sentence

__all__ = ["MOST_PAIRS", "pictures_behind"]

MOST_PAIRS = 27
"""Pairs that are named one by one: a filter that names more of them is too long to be asked."""

_SINGLES = 4

Rows = NDArray[np.int64]


def pictures_behind(
    comparing: Comparing,
    knobs: Iterable[KnobEffect],
    sentences: Sequence[Sentence],
    digests_of: Callable[[str], Collection[str]],
) -> tuple[Behind | None, ...]:
    """Return the pictures behind each of *sentences*; None where there are none to show.

    Args:
        comparing: The rated pictures.
        knobs: What is known of them.
        sentences: What is said of that.
        digests_of: Returns the SHA-256 of the pictures that meet a condition.
    """
    if not comparing.trials.digests:
        return (None,) * len(sentences)
    best = {knob.knob: knob.may_be_best for knob in knobs}
    looking = _Looking(comparing, digests_of)
    return tuple(looking.behind(one, best.get(one.knob, ())) for one in sentences)


@dataclass(frozen=True, slots=True)
class _Looking:
    comparing: Comparing
    digests_of: Callable[[str], Collection[str]]

    def behind(self, sentence: Sentence, best: Sequence[str]) -> Behind | None:
        levels = self.comparing.levels.get(sentence.knob)
        if levels is None:
            return None
        if sentence.about == "best":
            return self._of_each(levels, best)
        if sentence.about != "difference" or not sentence.better:
            return None
        inside = self._inside(sentence)
        better, worse = (
            np.flatnonzero(_with_level(levels, name, other) & inside)
            for name, other in (
                (sentence.better, sentence.worse), (sentence.worse, sentence.better)
            )
        )  # fmt: skip
        if not len(better) or not len(worse):
            return None
        pairs, alike = self._pairs(levels, better, worse), True
        if not len(pairs):
            pairs, alike = self._middle_ones(better, worse), False
        digests = self.comparing.trials.digests
        named = [(digests[one], digests[other]) for one, other in pairs.tolist()]
        named = [pair for pair in named if all(pair)]
        return Behind(
            better=_name(sentence.better), worse=_name(sentence.worse),
            pairs=tuple(named[:MOST_PAIRS]), count=len(pairs), alike=alike,
        )  # fmt: skip

    def _inside(self, sentence: Sentence) -> NDArray[np.bool_]:
        """Return which rows a sentence is about."""
        trials = self.comparing.trials
        if sentence.condition:
            wanted = frozenset(self.digests_of(sentence.condition))
            return np.array([digest in wanted for digest in trials.digests], np.bool_)
        if not sentence.part:
            return np.ones(len(trials), np.bool_)
        knob, value = sentence.part
        levels = self.comparing.levels[knob]
        if value in levels.names:
            return np.asarray(levels.codes == levels.names.index(value))
        assert levels.values is not None  # halves of what is a number
        column = levels.values[levels.codes]
        low = np.asarray(column <= np.median(column))
        return low if value.startswith("up to ") else ~low

    def _pairs(self, levels: KnobLevels, better: Rows, worse: Rows) -> Rows:
        """Return pairs that are alike in all else, the typical ones first, int64[n, 2]."""
        alike = self.comparing.alike[levels.knob]
        _, one, other = np.intersect1d(alike[better], alike[worse], return_indices=True)
        pairs = np.column_stack([better[one], worse[other]])
        readings = self.comparing.trials.readings
        differences = readings[pairs[:, 0]] - readings[pairs[:, 1]]
        off = np.abs(differences - np.median(differences)) if len(pairs) else differences
        return self._of_many_prompts(pairs[np.argsort(off, kind="stable")])

    def _middle_ones(self, better: Rows, worse: Rows) -> Rows:
        """Return rows of both sides, those in the middle of their side first, int64[n, 2]."""
        better, worse = (self._by_distance(rows) for rows in (better, worse))
        prompts = self.comparing.clusters.prompts
        first = {int(prompts[row]): int(row) for row in worse[::-1]}
        shared = [(int(row), first[int(prompts[row])]) for row in better if prompts[row] in first]
        if shared:
            return self._of_many_prompts(np.array(shared, np.int64))
        count = min(len(better), len(worse))
        return np.column_stack([better[:count], worse[:count]])

    def _of_many_prompts(self, pairs: Rows) -> Rows:
        """Return *pairs* with the first of each prompt before the second of any."""
        prompts = self.comparing.clusters.prompts[pairs[:, 0]]
        turn = np.zeros(len(pairs), np.int64)
        seen: dict[int, int] = {}
        for place, prompt in enumerate(prompts.tolist()):
            turn[place] = seen[prompt] = seen.get(prompt, -1) + 1
        return pairs[np.argsort(turn, kind="stable")]

    def _by_distance(self, rows: Rows) -> Rows:
        readings = self.comparing.trials.readings[rows]
        return rows[np.argsort(np.abs(readings - np.median(readings)), kind="stable")]

    def _of_each(self, levels: KnobLevels, names: Sequence[str]) -> Behind | None:
        """Return a picture in the middle of each of some levels."""
        singles = []
        for name in names[:_SINGLES]:
            rows = np.flatnonzero(_with_level(levels, name, ""))
            if len(rows) and (digest := self.comparing.trials.digests[self._by_distance(rows)[0]]):
                singles.append((_name(name), digest))
        return Behind(singles=tuple(singles)) if singles else None


def _with_level(levels: KnobLevels, name: str, other: str) -> NDArray[np.bool_]:
    if name == ALL_OTHERS and name not in levels.names:
        return (levels.codes >= 0) & ~_with_level(levels, other, "")
    if name not in levels.names:
        return np.zeros(len(levels.codes), np.bool_)
    return np.asarray(levels.codes == levels.names.index(name))


def _name(level: str) -> str:
    return one_line(level)
