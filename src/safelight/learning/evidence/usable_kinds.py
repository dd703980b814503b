"""usable_kinds: the kinds of pictures that settings are looked into by.

Words of prompts tell what was asked for. A kind that people made of pictures they saw may follow
from the very ratings that are to be explained (``best``, ``broken``). Of pictures that were chosen
by their scores every difference is too small, so that a setting would seem to matter for the others
only. How closely a kind follows the scores is, of the pairs of a picture with it (score x) and
one without (score y)::

    d = (pairs with x > y - pairs with x < y) / pairs                            Somers' d

A kind is left alone where d is beyond -0.4 to 0.4. Else it is looked into where it is the prompt's:
pictures of one prompt differ in it a fifth as often as by chance, or less. Where they differ, what
they are is not what was asked for, and the pairs of one prompt must show no difference (beyond 1.64
deviations by chance, of ranks within prompts); where there are too few of those, d is to be within
-0.2 to 0.2.

Source: Somers 1962, *A new asymmetric measure of association for ordinal variables*;
van Elteren 1960, *On the combination of independent two sample tests of Wilcoxon*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from safelight.filter_tokens import quoted
from safelight.learning.evidence.comparing import Comparing
from safelight.learning.evidence.picture_kinds import WORD, PictureKind

__all__ = ["UsableKinds", "usable_kinds"]

_FOLLOWS, _FOLLOWS_UNSEEN, _OF_PROMPTS, _LUCK, _FEWEST_PAIRS = 0.4, 0.2, 0.2, 1.64, 20
_FEWEST, _FEWEST_PROMPTS, _MOST = 20, 3, 12

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableKinds:
    """Kinds of pictures, by their names.

    Attributes:
        of_words: Of the prompts' words.
        of_people: Of what people made of pictures, twelve at most, those that are nearest half.
        following: Names of such as follow the scores.
    """

    of_words: Mapping[str, PictureKind] = field(default_factory=dict)
    of_people: Mapping[str, PictureKind] = field(default_factory=dict)
    following: tuple[str, ...] = ()

    @property
    def every(self) -> Mapping[str, PictureKind]:
        """All of them."""
        return {**self.of_words, **self.of_people}


def usable_kinds(comparing: Comparing) -> UsableKinds:
    """Return the kinds of rated pictures; of those with the same pictures the first.

    Those that people made have twenty pictures or more, of three prompts or more, and so have the
    pictures that they leave out.
    """
    of_words = {kind.name: kind for kind in _of_words(comparing)}
    seen = {_key(kind.has) for kind in of_words.values()}
    for levels in comparing.levels.values():
        seen |= {_key(levels.codes == level) for level in range(len(levels.names))}
    found: dict[str, PictureKind] = {}
    following = []
    prompts, readings = comparing.clusters.prompts, comparing.trials.readings
    kinds = [kind for kind in comparing.trials.kinds if _large(kind.has, prompts)]
    for kind in sorted(kinds, key=lambda kind: abs(kind.has.mean() - 0.5)):
        if _key(kind.has) in seen:
            continue
        seen.add(_key(kind.has))
        if _follows(kind.has, readings, prompts):
            following.append(kind.name)
        elif len(found) < _MOST:
            found[kind.name] = kind
    return UsableKinds(of_words=of_words, of_people=found, following=tuple(sorted(following)))


def _of_words(comparing: Comparing) -> Iterator[PictureKind]:
    circumstances = comparing.circumstances
    for word, has in circumstances.words().items():
        kind = PictureKind.of(f"{WORD}{word}", has, f"prompt has {quoted(word)}")
        opposite = circumstances.opposite(word)
        if opposite is not None:
            kind = PictureKind(
                name=kind.name, has=has, parts=(f"with {opposite!r}", kind.parts[1]),
                conditions=(f"prompt has {quoted(opposite)}", kind.conditions[1]),
            )  # fmt: skip
        yield kind


def _key(has: Bools) -> bytes:
    """Return what is the same of a kind and of all pictures but it."""
    return min(has.tobytes(), (~has).tobytes())


def _large(has: Bools, prompts: Integers) -> bool:
    return all(
        side.sum() >= _FEWEST and len(np.unique(prompts[side])) >= _FEWEST_PROMPTS
        for side in (has, ~has)
    )


def _follows(has: Bools, scores: NDArray[np.float64], prompts: Integers) -> bool:
    """Return whether a kind follows the scores, as the module has it."""
    overall = _Apart.of(has, scores, np.zeros(len(has), np.int64))
    within = _Apart.of(has, scores, prompts)
    sizes = np.bincount(prompts)
    alike = int((sizes * (sizes - 1)).sum()) / 2
    if abs(overall.d) > _FOLLOWS:
        return True
    by_chance = 2 * has.mean() * (1 - has.mean()) * alike
    if alike >= _FEWEST_PAIRS and within.pairs <= _OF_PROMPTS * by_chance:
        return False
    if within.pairs >= max(_FEWEST_PAIRS, len(has) / 4):
        return abs(within.z) > _LUCK
    return abs(overall.d) > _FOLLOWS_UNSEEN


@dataclass(frozen=True, slots=True)
class _Apart:
    """How far pictures of a kind are from others of their group.

    Attributes:
        pairs: Of one with it and one without, in one group.
        more: In how many more of them that with it has the larger score.
        variance: Of *more*, by chance.
    """

    pairs: int
    more: float
    variance: float

    @property
    def d(self) -> float:
        """From -1 to 1."""
        return self.more / max(self.pairs, 1)

    @property
    def z(self) -> float:
        """In deviations by chance."""
        return self.more / math.sqrt(max(self.variance, 1e-12))

    @staticmethod
    def of(has: Bools, scores: NDArray[np.float64], groups: Integers) -> _Apart:
        """Return it by the sums of ranks within groups (Mann and Whitney's U, ties corrected)."""
        _, score = np.unique(scores, return_inverse=True)
        many_scores = int(score.max()) + 1
        cells, cell, many = np.unique(
            groups * many_scores + score, return_inverse=True, return_counts=True
        )
        sizes = np.bincount(groups)
        before = np.cumsum(sizes) - sizes
        rank = (np.cumsum(many) - (many - 1) / 2)[cell] - before[groups]  # from 1, mean of ties
        inside = np.bincount(groups[has], minlength=len(sizes))
        each = inside * (sizes - inside)
        tied = np.bincount(cells // many_scores, many**3 - many, minlength=len(sizes))
        free = sizes + 1 - tied / np.maximum(sizes * (sizes - 1), 1)
        wins = float(rank[has].sum()) - float((inside * (inside + 1) / 2).sum())
        pairs = int(each.sum())
        return _Apart(pairs, 2 * wins - pairs, float((each * free).sum()) / 3)
