"""findings: what is said of knobs, as plain values that are worked out elsewhere.

Whoever only shows them needs no arithmetic: this module imports none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ABSENT",
    "Basis",
    "Comparison",
    "Effects",
    "Interaction",
    "KnobEffect",
    "Status",
    "UndonePairs",
]

ABSENT = "(none)"
"""How the absence of a knob is named among its levels."""

Status = Literal["clear", "small", "open", "few", "confounded"]
Basis = Literal["pairs", "adjusted", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One level of a knob against another, or against all others.

    Attributes:
        level: The level.
        against: What it is compared with.
        status: ``clear``: a difference, also after looking at all knobs. ``small``: surely
            less than :data:`.effects.MATTERS`. ``open``: not enough evidence yet. ``few``:
            too little for any figure. ``confounded``: never to be told apart with these
            pictures.
        basis: ``pairs``, ``adjusted``, or empty where there is no figure.
        n: Pairs, or rated pictures of the level.
        prompts: On how many prompts it rests.
        pictures: Rated pictures of the level.
        difference: In score units; None where there is no figure, as the next three.
        low: Of the 95 % interval.
        high: Of the 95 % interval.
        expected: The difference that new pictures are likely to show.
        chance: Chance of so large a difference where no knob matters, corrected for looking at
            all knobs; None where there is no figure.
        more: About how many more ratings would settle it; None where it is settled, or no
            number would.
        notes: What to bear in mind, sentences.
    """

    level: str
    against: str
    status: Status
    basis: Basis = ""
    n: int = 0
    prompts: int = 0
    pictures: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    expected: float | None = None
    chance: float | None = None
    more: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobEffect:
    """What is known of one knob.

    Attributes:
        knob: Its name.
        status: The best of its comparisons' status, or ``constant``.
        summary: What is known, in a sentence.
        comparisons: One per level, in the order of the levels; empty for a constant knob.
        unused: Values used too rarely to be looked at.
        follows: The knob that decides it; empty for a knob of its own.
    """

    knob: str
    status: Status | Literal["constant"]
    summary: str
    comparisons: tuple[Comparison, ...] = ()
    unused: int = 0
    follows: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """Two knobs that do not act side by side.

    Attributes:
        knob: One of them.
        change: What is changed about it: from, to.
        other: The other.
        other_change: What is changed about that: from, to.
        difference: By how much the effect of the one change grows with the other, in score
            units.
        low: Of the 95 % interval.
        high: Of the 95 % interval.
        chance: Chance of so large a one where there is none, corrected for all pairs.
        n: Rated pictures with both changes.
        pictures: Rated pictures that were looked at.
    """

    knob: str
    change: tuple[str, str]
    other: str
    other_change: tuple[str, str]
    difference: float
    low: float
    high: float
    chance: float
    n: int
    pictures: int

    @property
    def summary(self) -> str:
        """What it says, in a sentence without its full stop."""
        sign, word = (1, "more") if self.difference > 0 else (-1, "less")
        low, high = sorted((sign * self.low, sign * self.high))
        return (
            f"{self.knob} {self.change[1]} instead of {self.change[0]} is worth"
            f" {sign * self.difference:.2f} [{low:.2f}, {high:.2f}] {word} with"
            f" {self.other} {self.other_change[1]} than with {self.other_change[0]}"
            f" (n = {self.n} of {self.pictures} pictures)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UndonePairs:
    """What a setting costs.

    Attributes:
        setting: Its name, ``extra.NAME``.
        pairs: How many more there were if it did not count, of all knobs together.
        knobs: Which knobs' pairs, and how many of each, the most first.
    """

    setting: str
    pairs: int
    knobs: tuple[tuple[str, int], ...]

    @property
    def message(self) -> str:
        """What it costs, in a sentence without its full stop."""
        each = ", ".join(f"{knob} {count:,}" for knob, count in self.knobs[:3])
        more = f" and {len(self.knobs) - 3} more knobs" if len(self.knobs) > 3 else ""
        return (
            f"{self.setting} alone undoes {self.pairs:,} pairs that are alike in all else"
            f" ({each}{more})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What is known of all knobs.

    Attributes:
        pictures: Rated pictures that it rests on.
        ratings: Judgements of those.
        prompts: Different prompts.
        gone: Rated pictures without a row.
        knobs: The clearest first.
        interactions: Pairs of knobs that do not act side by side.
        reason: Why nothing can be said at all; empty otherwise.
        undone: Settings beside knobs that alone undo pairs.
    """

    pictures: int
    ratings: int
    prompts: int
    gone: int
    knobs: tuple[KnobEffect, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    reason: str = ""
    undone: tuple[UndonePairs, ...] = ()

    @property
    def clear(self) -> tuple[KnobEffect, ...]:
        """The knobs with a clear effect."""
        return tuple(knob for knob in self.knobs if knob.status == "clear")
