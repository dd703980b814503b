"""Chance without state: every draw is a hash of the seed, its purpose and its number.

``random.Random`` would have to be run from the start to know its thousandth draw, and its
methods have changed between Python versions. Here any draw can be made alone, and it is the same
on every machine: BLAKE2b (RFC 7693) over the seed and a purpose gives as many bits as are asked
for. Sums of weights go from left to right in IEEE doubles and use no logarithm, so weighted
draws do not depend on a mathematics library either.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from typing import Protocol

__all__ = ["Dice", "DrawnOrder", "Shuffle", "WeightedSpace"]

_LISTED = 1024
"""Spaces up to this size are shuffled by Fisher-Yates, which makes every order equally likely."""

_WEIGHED = 65_536
"""Spaces up to this size are drawn to the last combination exactly by weight."""

_MOST_LISTED = 2_000_000
"""Combinations that are listed in one pass, over and over, to be drawn by weight."""

_ATTEMPTS = 64
_ROUNDS = 6


class Dice:
    """A stream of draws for one purpose; equal arguments give an equal stream."""

    def __init__(self, seed: int, *purpose: object) -> None:
        text = "\x1f".join((str(seed), *map(str, purpose)))
        self._key = blake2b(text.encode(), digest_size=32).digest()
        self._count = 0

    def bits(self, count: int) -> int:
        """Return an integer of *count* random bits."""
        number, have = 0, 0
        while have < count:
            block = blake2b(self._count.to_bytes(16, "big"), key=self._key).digest()
            self._count += 1
            number, have = number << 512 | int.from_bytes(block, "big"), have + 512
        return number >> (have - count)

    def below(self, limit: int) -> int:
        """Return an integer from 0 to *limit* - 1, each equally likely to one part in 2**64."""
        return self.bits(limit.bit_length() + 64) * limit >> (limit.bit_length() + 64)

    def unit(self) -> float:
        """Return a number from 0 up to, not including, 1."""
        return self.bits(53) * 2.0**-53

    def pick(self, ends: Sequence[float]) -> int:
        """Return a place, drawn by weight; *ends* are the running sums of the weights."""
        return min(bisect_right(ends, self.unit() * ends[-1]), len(ends) - 1)


class Shuffle:
    """A random order of 0 to *size* - 1 that needs no memory and knows every place at once.

    Small orders are Fisher-Yates; large ones a Feistel network on the next power of four with
    cycle walking (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002).
    """

    def __init__(self, size: int, seed: int, *purpose: object) -> None:
        self.size = size
        self._order = _fisher_yates(size, Dice(seed, *purpose)) if size <= _LISTED else None
        text = "\x1f".join((str(seed), *map(str, purpose)))
        self._key = blake2b(text.encode(), digest_size=32).digest()
        self._half = ((size - 1).bit_length() + 1) // 2

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self.size:
            raise IndexError(f"a shuffle of {self.size} has no place {place}")
        if self._order is not None:
            return self._order[place]
        value = self._encrypted(place)
        while value >= self.size:
            value = self._encrypted(value)
        return value

    def _encrypted(self, value: int) -> int:
        half, mask, width = self._half, (1 << self._half) - 1, self._half // 8 + 1
        left, right = value >> half, value & mask
        for number in range(_ROUNDS):
            block = bytes((number,)) + right.to_bytes(width, "big")
            size = min(64, width + 1)
            mixed = int.from_bytes(blake2b(block, key=self._key, digest_size=size).digest(), "big")
            left, right = right, left ^ mixed & mask
        return left << half | right


def _fisher_yates(size: int, dice: Dice) -> list[int]:
    order = list(range(size))
    for last in range(size - 1, 0, -1):
        other = dice.below(last + 1)
        order[last], order[other] = order[other], order[last]
    return order


class WeightedSpace(Protocol):
    """What :class:`DrawnOrder` needs to know about a space of combinations."""

    size: int
    even: bool

    def sample(self, dice: Dice) -> int:
        """Return the rank of one combination, drawn by weight."""
        ...

    def chance(self, rank: int) -> float:
        """Return how likely :meth:`sample` is to return *rank*."""
        ...


class DrawnOrder:
    """The order in which combinations are drawn: none twice before all have come, then by weight.

    Until all have come, this is a :class:`Shuffle` when all combinations are equally likely,
    and takes no memory. Otherwise it is successive sampling: draw by weight, and draw again
    what has already come, which leaves the rest in proportion to their weights. When that keeps
    failing (nearly all the weight has come), the rest is drawn from a list of what is left,
    still by weight; in a space of more than 65,536 combinations, or after many such lists, the
    next unseen one of a shuffle is taken instead. The weighted order remembers the ranks drawn
    so far.

    Once all have come, every further draw is made by weight for itself, whatever came before
    it, and known by its place alone.
    """

    def __init__(self, space: WeightedSpace, seed: int) -> None:
        self._space, self._seed = space, seed

    def __getitem__(self, place: int) -> int:
        if place >= self._space.size:
            return self._space.sample(Dice(self._seed, "draw after all have come", place))
        return self._pass[place]

    @cached_property
    def _pass(self) -> Shuffle | _WeightedPass:
        if self._space.even:
            return Shuffle(self._space.size, self._seed, "order", 0)
        return _WeightedPass(self._space, self._seed)


class _WeightedPass:
    """One pass through an uneven space, drawn as far as anyone has asked."""

    def __init__(self, space: WeightedSpace, seed: int) -> None:
        self._space = space
        self._dice = Dice(seed, "weighted order", 0)
        self._drawn: list[int] = []
        self._seen: set[int] = set()
        self._left: list[int] = []
        self._ends: list[float] = []
        self._rest = Shuffle(space.size, seed, "rest of weighted order", 0)
        self._rest_place = 0
        self._listed = 0

    def __getitem__(self, place: int) -> int:
        while len(self._drawn) <= place:
            rank = self._next()
            self._drawn.append(rank)
            self._seen.add(rank)
        return self._drawn[place]

    def _next(self) -> int:
        for _ in range(_ATTEMPTS):
            rank = self._sample()
            if rank not in self._seen:
                return rank
        self._listed += self._space.size
        if self._space.size > _WEIGHED or self._listed > _MOST_LISTED:
            return self._next_of_rest()
        self._left = [rank for rank in range(self._space.size) if rank not in self._seen]
        self._ends = list(accumulate(map(self._space.chance, self._left)))
        return self._sample() if self._ends[-1] > 0 else self._next_of_rest()

    def _sample(self) -> int:
        if self._left:
            return self._left[self._dice.pick(self._ends)]
        return self._space.sample(self._dice)

    def _next_of_rest(self) -> int:
        while (rank := self._rest[self._rest_place]) in self._seen:
            self._rest_place += 1
        return rank
