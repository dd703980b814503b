"""Spaces of combinations: counted, indexed, drawn from and stepped through without being listed.

A space numbers its combinations from 0: the *rank*. Everything that decides *which*
combination comes next is arithmetic on ranks; only the subclasses elsewhere know what a rank
means. Spaces nest as the loops do: a :class:`Product` has its outermost loop first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import perm, prod

from safelight.randomizer.draws import Dice

__all__ = [
    "Line",
    "Merged",
    "Product",
    "Selection",
    "Space",
    "Succession",
    "Union",
    "without_repeats",
]


_ATTEMPTS = 10_000


class Space:
    """The base: one combination.

    Attributes:
        size: Number of combinations.
        even: Whether :meth:`sample` draws every combination equally often.
        longest: Turns after which :meth:`step` has shown every value of every choice.
    """

    size: int = 1
    even: bool = True
    longest: int = 1

    def sample(self, dice: Dice) -> int:
        """Return the rank of one combination, drawn by weight."""
        return dice.below(self.size) if self.size > 1 else 0

    def chance(self, rank: int) -> float:
        """Return how likely :meth:`sample` is to return *rank*."""
        return 1 / self.size if 0 <= rank < self.size else 0.0

    def step(self, turn: int) -> int:
        """Return the rank in which every choice shows its value number *turn*, going round."""
        return turn % self.size


class Line(Space):
    """*size* values in a row, all equally likely."""

    def __init__(self, size: int) -> None:
        self.size = self.longest = size


class Product(Space):
    """Every combination of *parts*, the first one outermost."""

    def __init__(self, parts: Sequence[Space]) -> None:
        self.parts = tuple(parts)
        self.size = prod(part.size for part in self.parts)
        self.even = all(part.even for part in self.parts)
        self.longest = max((part.longest for part in self.parts), default=1)

    def split(self, rank: int) -> list[int]:
        """Return the rank within each part."""
        if len(self.parts) == 1:
            return [rank]
        ranks = []
        for part in reversed(self.parts):
            rank, within = divmod(rank, part.size)
            ranks.append(within)
        return ranks[::-1]

    def _joined(self, ranks: Sequence[int]) -> int:
        rank = 0
        for part, within in zip(self.parts, ranks, strict=True):
            rank = rank * part.size + within
        return rank

    def sample(self, dice: Dice) -> int:
        """Draw within every part."""
        return self._joined([part.sample(dice) for part in self.parts])

    def chance(self, rank: int) -> float:
        """Multiply the parts' chances."""
        ranks = self.split(rank)
        return prod(part.chance(r) for part, r in zip(self.parts, ranks, strict=True))

    def step(self, turn: int) -> int:
        """Step every part."""
        return self._joined([part.step(turn) for part in self.parts])


class Union(Space):
    """One of *options*, then a combination of it.

    Args:
        options: What there is to choose from, in order.
        weights: How often each is drawn; None means equally often.
        nested: Whether what is inside an option moves on only when the option comes round
            again (a choice inside a choice), instead of with every turn (a loop inside a loop).
    """

    def __init__(
        self, options: Sequence[Space], weights: Sequence[float] | None = None, *, nested: bool
    ) -> None:
        self.options = tuple(options)
        self._nested = nested
        sizes = [option.size for option in self.options]
        self._each = sizes[0] if len(set(sizes)) == 1 else None
        self._ends = list(accumulate(sizes)) if self._each is None else []
        self.size = self._ends[-1] if self._ends else sizes[0] * len(sizes)
        self._weights = None if weights is None or len(set(weights)) == 1 else tuple(weights)
        self._weight_ends = list(accumulate(self._weights)) if self._weights else []
        self.even = (
            self._weights is None
            and self._each is not None
            and all(option.even for option in self.options)
        )
        inside = max(option.longest for option in self.options)
        self.longest = len(sizes) * inside if nested else max(len(sizes), inside)

    def locate(self, rank: int) -> tuple[int, int]:
        """Return the option's place and the rank within it."""
        if self._each is not None:
            return divmod(rank, self._each)
        place = bisect_right(self._ends, rank)
        return place, rank - self._start(place)

    def _start(self, place: int) -> int:
        if self._each is not None:
            return place * self._each
        return self._ends[place - 1] if place else 0

    def sample(self, dice: Dice) -> int:
        """Draw an option by weight, then within it."""
        count = len(self.options)
        place = dice.pick(self._weight_ends) if self._weights else dice.below(count)
        return self._start(place) + self.options[place].sample(dice)

    def chance(self, rank: int) -> float:
        """Multiply the option's share by the chance within it."""
        place, within = self.locate(rank)
        if self._weights:
            share = self._weights[place] / self._weight_ends[-1]
        else:
            share = 1 / len(self.options)
        return share * self.options[place].chance(within)

    def step(self, turn: int) -> int:
        """Step to the next option, and within it as *nested* says."""
        later, place = divmod(turn, len(self.options))
        return self._start(place) + self.options[place].step(later if self._nested else turn)


class Succession(Union):
    """One of *options*, the next one when that before it has had all of its turns.

    Args:
        options: What there is to choose from, in order.
    """

    def __init__(self, options: Sequence[Space]) -> None:
        super().__init__(options, nested=False)
        self._turns = list(accumulate(option.longest for option in self.options))
        self.longest = self._turns[-1]

    def step(self, turn: int) -> int:
        """Step on in the option whose turn it is."""
        turn %= self.longest
        place = bisect_right(self._turns, turn)
        begun = self._turns[place - 1] if place else 0
        return self._start(place) + self.options[place].step(turn - begun)


class Selection(Space):
    """From *low* to *high* of the options, in every order, none of them twice.

    The count is k! times the k-th elementary symmetric polynomial of the options' sizes, so
    nothing is listed. Combinations come in the order: fewer options first, then by the places
    of the options chosen, then by what is inside them, the first one outermost.
    """

    def __init__(
        self, options: Sequence[Space], weights: Sequence[float], low: int, high: int
    ) -> None:
        self.options = tuple(options)
        self._weights = tuple(weights)
        self._low, self._high = low, high
        self._sizes = [option.size for option in self.options]
        self._equal = len(set(self._sizes)) == 1
        count = len(self._sizes)
        sums = self._symmetric(self._sizes)
        self._counts = [perm(k, k) * sums[k] for k in range(low, high + 1)]
        self._orders = [perm(count, k) for k in range(low, high + 1)]
        self.size = sum(self._counts)
        inside = [option.even for option in self.options]
        self.even = low == high and self._equal and len(set(self._weights)) == 1 and all(inside)
        self.longest = sum(self._orders) * max(option.longest for option in self.options)

    def _symmetric(self, sizes: Sequence[int]) -> list[int]:
        """Return the elementary symmetric polynomials of *sizes*, up to degree *high*."""
        sums = [1] + [0] * self._high
        for size in sizes:
            for degree in range(self._high, 0, -1):
                sums[degree] += sums[degree - 1] * size
        return sums

    def locate(self, rank: int) -> tuple[list[int], list[int]]:
        """Return the places of the options chosen, and the rank within each."""
        length = self._low
        for count in self._counts:
            if rank < count:
                break
            rank, length = rank - count, length + 1
        places: list[int] = []
        left = list(range(len(self._sizes)))
        outer = 1
        for missing in range(length, 0, -1):
            at, rank = self._first(left, missing, rank, outer)
            outer *= self._sizes[left[at]]
            places.append(left.pop(at))
        ranks = []
        for place in reversed(places):
            rank, within = divmod(rank, self._sizes[place])
            ranks.append(within)
        return places, ranks[::-1]

    def _first(self, left: list[int], missing: int, rank: int, outer: int) -> tuple[int, int]:
        """Return which of the places *left* comes next, and the rank that remains."""
        if self._equal:
            size = self._sizes[0]
            block = outer * int(size**missing) * perm(len(left) - 1, missing - 1)
            return divmod(rank, block)
        sums = self._symmetric([self._sizes[place] for place in left])
        for at, place in enumerate(left):
            size, reduced = self._sizes[place], 1
            for degree in range(1, missing):
                reduced = sums[degree] - size * reduced
            block = outer * size * perm(missing - 1, missing - 1) * reduced
            if rank < block:
                return at, rank
            rank -= block
        raise IndexError(rank)

    def _rank(self, places: Sequence[int], ranks: Sequence[int]) -> int:
        """Return the rank of a choice: the inverse of :meth:`locate`."""
        rank = sum(self._counts[: len(places) - self._low])
        left = list(range(len(self._sizes)))
        outer = 1
        for done, place in enumerate(places):
            missing = len(places) - done
            sums = [] if self._equal else self._symmetric([self._sizes[each] for each in left])
            for before in left[: left.index(place)]:
                size, reduced = self._sizes[before], 1
                if self._equal:
                    reduced = size ** (missing - 1) * perm(len(left) - 1, missing - 1)
                else:
                    for degree in range(1, missing):
                        reduced = sums[degree] - size * reduced
                    reduced *= perm(missing - 1, missing - 1)
                rank += outer * size * reduced
            outer *= self._sizes[place]
            left.remove(place)
        inside = 0
        for place, within in zip(places, ranks, strict=True):
            inside = inside * self._sizes[place] + within
        return rank + inside

    def sample(self, dice: Dice) -> int:
        """Draw how many, then one after the other by the weights that are left."""
        length = self._low + dice.below(self._high - self._low + 1)
        places: list[int] = []
        left = list(range(len(self._sizes)))
        for _ in range(length):
            at = dice.pick(list(accumulate(self._weights[place] for place in left)))
            places.append(left.pop(at))
        return self._rank(places, [self.options[place].sample(dice) for place in places])

    def chance(self, rank: int) -> float:
        """Multiply the shares of successive sampling by the chances inside."""
        places, ranks = self.locate(rank)
        share = 1 / (self._high - self._low + 1)
        left = list(self._weights)
        for place, within in zip(places, ranks, strict=True):
            total = list(accumulate(left))[-1]
            share *= self._weights[place] / total * self.options[place].chance(within)
            left[place] = 0.0
        return share

    def step(self, turn: int) -> int:
        """Step through all selections, then move on inside them."""
        later, order = divmod(turn, sum(self._orders))
        length = self._low
        for count in self._orders:
            if order < count:
                break
            order, length = order - count, length + 1
        left = list(range(len(self._sizes)))
        places: list[int] = []
        for missing in range(length, 0, -1):
            at, order = divmod(order, perm(len(left) - 1, missing - 1))
            places.append(left.pop(at))
        return self._rank(places, [self.options[place].step(later) for place in places])


class Merged(Space):
    """*space* without the combinations that mean the same as an earlier one, or nothing at all.

    Args:
        space: The space, small enough to be listed.
        meanings: What each rank means; None for a rank that must not come.
    """

    def __init__(self, space: Space, meanings: Sequence[object]) -> None:
        self.space = space
        firsts: dict[object, int] = {}
        for rank, meaning in enumerate(meanings):
            if meaning is not None:
                firsts.setdefault(meaning, rank)
        self.kept = list(firsts.values())
        numbers = {meaning: number for number, meaning in enumerate(firsts)}
        self._numbers = [numbers.get(meaning, -1) for meaning in meanings]
        self.size = len(self.kept)
        self.even = False
        self.longest = space.longest
        self._chances = [0.0] * self.size

    def sample(self, dice: Dice) -> int:
        """Draw from the space until the combination is one that may come."""
        for _ in range(_ATTEMPTS):
            if (number := self._numbers[self.space.sample(dice)]) >= 0:
                return number
        return dice.below(self.size)  # all the weight is on what must not come

    def chance(self, rank: int) -> float:
        """Add up the chances of everything that means the same."""
        if not any(self._chances):
            for inner, number in enumerate(self._numbers):
                if number >= 0:
                    self._chances[number] += self.space.chance(inner)
        return self._chances[rank]

    def step(self, turn: int) -> int:
        """Step through the space, passing over what must not come."""
        inner = self.space.step(turn)
        while (number := self._numbers[inner % len(self._numbers)]) < 0:
            inner += 1
        return number


def without_repeats(space: Space, meaning: Callable[[int], object]) -> Space:
    """Return *space*, or a :class:`Merged` one when two ranks mean the same."""
    meanings = [meaning(rank) for rank in range(space.size)]
    if None not in meanings and len(set(meanings)) == len(meanings):
        return space
    return Merged(space, meanings)
