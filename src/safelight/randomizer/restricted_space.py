"""Restricted: a product of spaces without some combinations, in the order of the whole product."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

from safelight.randomizer.draws import Dice
from safelight.randomizer.spaces import Product, Space

__all__ = ["Kept", "Restricted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Which combinations of a few parts are left.

    Attributes:
        places: Of the parts, in order; they need not be neighbours.
        ranks: Of the combinations that are left, in order, the first part outermost.
    """

    places: tuple[int, ...]
    ranks: Sequence[int]


class Restricted(Space):
    """The combinations of *whole* that are left.

    Parts that belong to no group multiply as before. The parts of a group are not put side by
    side: what begins alike is a stretch of the group's sorted ranks, so that the place of every
    part within the whole order is found by halving, and the order is that of *whole*.

    Args:
        whole: The product.
        parts: Spaces whose product has the ranks of *whole*: its own parts, or what these are
            products of.
        groups: Disjoint ones.
    """

    def __init__(self, whole: Product, parts: Sequence[Space], groups: Sequence[Kept]) -> None:
        self._whole, self._parts, self._groups = whole, tuple(parts), tuple(groups)
        self._strides = [self._strides_of(group) for group in groups]
        self._group_of = {
            place: number for number, group in enumerate(groups) for place in group.places
        }
        free = (p.size for place, p in enumerate(parts) if place not in self._group_of)
        self.size = prod(free) * prod(len(group.ranks) for group in groups)
        self.even = all(part.even for part in parts)
        self.longest = whole.longest

    def _strides_of(self, group: Kept) -> dict[int, int]:
        sizes = [self._parts[place].size for place in group.places]
        return {place: prod(sizes[n + 1 :]) for n, place in enumerate(group.places)}

    def split(self, rank: int) -> list[int]:
        """Return the rank within each part of the whole product."""
        inner = 0
        for part, within in zip(self._parts, self._ranks(rank), strict=True):
            inner = inner * part.size + within
        return self._whole.split(inner)

    def _ranks(self, rank: int) -> list[int]:
        """Return the rank within each part."""
        ranks = []
        left = self.size
        lows, highs = [0] * len(self._groups), [len(group.ranks) for group in self._groups]
        for place, part in enumerate(self._parts):
            number = self._group_of.get(place)
            if number is None:
                left //= part.size
                within, rank = divmod(rank, left)
            else:
                others = left // (highs[number] - lows[number])
                kept, stride = self._groups[number].ranks, self._strides[number][place]
                beginning = kept[lows[number] + rank // others] // stride
                low, high = self._stretch(number, beginning * stride, stride, lows, highs)
                rank -= (low - lows[number]) * others
                left = others * (high - low)
                lows[number], highs[number] = low, high
                within = beginning % part.size
            ranks.append(within)
        return ranks

    def _stretch(
        self, number: int, first: int, stride: int, lows: Sequence[int], highs: Sequence[int]
    ) -> tuple[int, int]:
        """Return where the ranks of a group that lie in *first* to *first* + *stride* stand."""
        kept, low, high = self._groups[number].ranks, lows[number], highs[number]
        low = bisect_left(kept, first, low, high)
        return low, bisect_left(kept, first + stride, low, high)

    def _rank(self, ranks: Sequence[int]) -> int:
        """Return the rank of a combination that is left: the inverse of :meth:`_ranks`."""
        rank, left = 0, self.size
        lows, highs = [0] * len(self._groups), [len(group.ranks) for group in self._groups]
        firsts = [0] * len(self._groups)
        for place, (part, within) in enumerate(zip(self._parts, ranks, strict=True)):
            number = self._group_of.get(place)
            if number is None:
                left //= part.size
                rank += within * left
            else:
                others = left // (highs[number] - lows[number])
                stride = self._strides[number][place]
                firsts[number] += within * stride
                low, high = self._stretch(number, firsts[number], stride, lows, highs)
                rank += (low - lows[number]) * others
                left = others * (high - low)
                lows[number], highs[number] = low, high
        return rank

    def sample(self, dice: Dice) -> int:
        """Draw within every part, and of each group by the weights of what is left of it."""
        ranks = [
            0 if place in self._group_of else part.sample(dice)
            for place, part in enumerate(self._parts)
        ]
        for number, group in enumerate(self._groups):
            ends = self._ends[number]
            at = dice.pick(ends) if ends and ends[-1] > 0 else dice.below(len(group.ranks))
            for place, within in self._within(number, group.ranks[at]):
                ranks[place] = within
        return self._rank(ranks)

    def chance(self, rank: int) -> float:
        """Multiply the chances of the parts and the shares within the groups."""
        ranks = self._ranks(rank)
        free = (p.chance(ranks[n]) for n, p in enumerate(self._parts) if n not in self._group_of)
        share = prod(free)
        for number, group in enumerate(self._groups):
            ends = self._ends[number]
            if ends and ends[-1] > 0:
                places = self._strides[number].items()
                one = self._chance(number, sum(ranks[place] * stride for place, stride in places))
                share *= one / ends[-1]
            else:
                share /= len(group.ranks)
        return share

    @cached_property
    def _ends(self) -> list[array[float]]:
        """Running sums of the chances of what is left of each group; none where all are even."""
        return [
            array("d")
            if all(self._parts[place].even for place in group.places)
            else array("d", accumulate(self._chance(number, rank) for rank in group.ranks))
            for number, group in enumerate(self._groups)
        ]

    def _chance(self, number: int, rank: int) -> float:
        return prod(self._parts[place].chance(w) for place, w in self._within(number, rank))

    def _within(self, number: int, rank: int) -> list[tuple[int, int]]:
        """Return (place of a part, rank within it) for a combination of a group."""
        return [
            (place, rank // stride % self._parts[place].size)
            for place, stride in self._strides[number].items()
        ]
