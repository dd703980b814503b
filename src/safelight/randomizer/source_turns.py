"""SourceTurns: how often a source that moves on has moved before a variant, without listing them.

A rule or token whose mode is ``rotate`` takes its next value with every variant in which it is met.
In mode ``fanout`` those before a variant are counted from the sizes of the spaces: of earlier
prompts, and of what lies before it in its own. In ``sequential`` and ``rotate`` a variant counts
where the source is met by its prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate

from safelight.config import RandomizerMode
from safelight.randomizer.rule_spaces import RuledSpace

__all__ = ["SourceTurns"]


class SourceTurns:
    """Counts the variants of a plan in which sources are met.

    Args:
        mode: The plan's.
        prompts: The space of each prompt of the pack.
        inside: Combinations of what is inside of those, swept knobs.
    """

    def __init__(self, mode: RandomizerMode, prompts: Sequence[RuledSpace], inside: int) -> None:
        self._prompts, self._inside = prompts, inside
        self._by_variant = mode == "fanout"
        self._counts = mode != "random" and any(prompt.met for prompt in prompts)
        self._earlier: dict[int, list[int]] = {}

    def at(self, number: int, place: int, rank: int) -> Callable[[int], int] | None:
        """Return what tells how often the source of a number was met before a combination.

        Args:
            number: The combination's in the plan.
            place: Its prompt.
            rank: Its rank among those of this prompt.

        Returns:
            None where sources move on with every variant.
        """
        return partial(self._before, number, place, rank) if self._counts else None

    def _before(self, number: int, place: int, rank: int, source: int) -> int:
        sums = self._sums(source)
        if not self._by_variant:
            return number // len(self._prompts) * sums[-1] + sums[place]
        of_texts, within = divmod(rank, self._inside)
        before = self._prompts[place].met_before(of_texts, source)
        return (sums[place] + before) * self._inside + within

    def _sums(self, source: int) -> list[int]:
        """Return in how many combinations of the texts *source* is met before each prompt."""
        if source not in self._earlier:
            met = (prompt.met.get(source, 0) for prompt in self._prompts)
            each = met if self._by_variant else (min(count, 1) for count in met)
            self._earlier[source] = list(accumulate(each, initial=0))
        return self._earlier[source]
