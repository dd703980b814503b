"""findings: what is said of knobs, as plain values that are worked out elsewhere.

Whoever only shows them needs no arithmetic: this module imports none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from safelight.learning.evidence.picture_kinds import sort_of

if TYPE_CHECKING:
    from safelight.learning.evidence.sentences import Sentence

__all__ = [
    "ABSENT",
    "ALL_OTHERS",
    "Basis",
    "Behind",
    "ChosenParents",
    "Comparison",
    "Effects",
    "Interaction",
    "KnobEffect",
    "ParentShare",
    "Part",
    "Status",
    "UndonePairs",
    "level_of_text",
    "one_line",
    "text_of_level",
]

ALL_OTHERS = "all others"
"""What a level of many is compared with."""

ABSENT = "(none)"
"""How the absence of a knob is named among its levels."""

EMPTY = "(empty)"
"""How the text without letters is named among them."""

_RESERVED = frozenset((ABSENT, EMPTY, ALL_OTHERS, "everything else"))
_MOST_LETTERS, _MOST_NAMED = 60, 6


def level_of_text(text: str) -> str:
    """Return what the value *text* is called among levels: in quotes if it looks like no value."""
    if not text:
        return EMPTY
    return f"'{text}'" if text.strip("'") in _RESERVED else text


def text_of_level(level: str) -> str:
    """Return the value of which :func:`level_of_text` made *level*."""
    if level == EMPTY:
        return ""
    is_quoted = level.startswith("'") and level.strip("'") in _RESERVED
    return level[1:-1] if is_quoted else level


def one_line(name: str, most: int = _MOST_LETTERS) -> str:
    """Return *name* as it stands in a sentence: one line of *most* letters.

    Of a longer one the middle is left out: versions stand at the end.
    """
    plain = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    plain = plain or ascii(name)[1:-1]
    if len(plain) <= most:
        return plain
    tail = most // 2
    return f"{plain[: most - tail - 1]}…{plain[-tail:]}"


Status = Literal["clear", "likely", "depends", "small", "open", "few", "confounded"]
Basis = Literal["pairs", "adjusted", ""]

_VERDICTS = {
    "small": "no difference that matters", "open": "not enough evidence",
    "few": "not enough evidence", "confounded": "cannot be told",
}  # fmt: skip


def _of_term(knob: str, level: str) -> str:
    """Return which prompts a level of a part of the prompt is about, after the word prompts."""
    term = knob.partition(":")[2]
    if level in ("with", "without"):
        return f"{level} {one_line(term)!r}"
    return f"with {one_line(level)!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A comparison among some of the pictures.

    Attributes:
        knob: What tells them from the others, a knob or a kind (:mod:`.picture_kinds`).
        value: Which of both parts it is.
        condition: The pictures in the filter language; empty where no filter says it.
        difference: In score units, as the next two.
        low: Of the 95 % interval.
        high: Of the 95 % interval.
        n: Pairs, or rated pictures of the level.
        basis: Which.
    """

    knob: str
    value: str
    condition: str
    difference: float
    low: float
    high: float
    n: int
    basis: Basis

    @property
    def name(self) -> str:
        """What the pictures are called."""
        if (sort := sort_of(self.knob)) is not None:
            return f"{sort.noun} {one_line(self.value)}"
        if self.knob.startswith("term:"):
            return f"prompts {_of_term(self.knob, self.value)}"
        return f"{one_line(self.knob)} {one_line(self.value)}"

    @property
    def sure(self) -> bool:
        """Whether its interval leaves out zero."""
        return self.low > 0 or self.high < 0

    @property
    def summary(self) -> str:
        """What it is, in a few words with its interval and n."""
        unit = "pairs" if self.basis == "pairs" else "pictures"
        return (
            f"for {self.name} {self.difference:+.2f} [{self.low:+.2f}, {self.high:+.2f}],"
            f" {self.n} {unit}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One level of a knob against another, or against all others.

    Attributes:
        level: The level.
        against: What it is compared with.
        status: ``likely``: a difference, also after looking at all knobs, if this is the first
            look. ``clear``: one however often anybody looks while ratings come in. ``small``:
            surely less than :data:`.effects.MATTERS`. ``depends``: for some pictures it is not
            what it is for others. ``open``: not enough evidence yet. ``few``:
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
        parts: What it is in parts of the pictures, where it depends on them.
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
    parts: tuple[Part, ...] = ()

    @property
    def told(self) -> bool:
        """Whether a difference is told: likely, or clear."""
        return self.status in ("clear", "likely")

    @property
    def verdict(self) -> str:
        """What the status says, in a few words."""
        if self.status == "depends":
            on = self.parts[0].knob
            if (sort := sort_of(on)) is not None:
                on = one_line(sort.source(on))
            return f"depends on {on}"
        if not self.told:
            return _VERDICTS[self.status]
        word = "better" if (self.difference or 0) > 0 else "worse"
        return word if self.status == "clear" else f"likely {word}"


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
        left_out: Rated pictures that do not tell its value, and take no part.
        may_be_best: The levels that may be best, where some are known not to be.
        seconds: Level -> what drawing a picture took on average, where records know it.
    """

    knob: str
    status: Status | Literal["constant"]
    summary: str
    comparisons: tuple[Comparison, ...] = ()
    unused: int = 0
    follows: str = ""
    left_out: int = 0
    may_be_best: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether something is known of it, so that its figures are shown at once."""
        return self.status in ("clear", "likely", "depends", "small")


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
        conditions: The pictures of *other_change* in the filter language, where that is a kind.
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
    conditions: tuple[str, str] = ("", "")

    @property
    def summary(self) -> str:
        """What it says, in a sentence without its full stop."""
        sign, word = (1, "more") if self.difference > 0 else (-1, "less")
        low, high = sorted((sign * self.low, sign * self.high))
        where = f"with {self.other} {self.other_change[1]} than with {self.other_change[0]}"
        if (sort := sort_of(self.other)) is not None:
            where = f"for {sort.noun} {one_line(self.other_change[1])} than for others"
        return (
            f"{self.knob} {self.change[1]} instead of {self.change[0]} is worth"
            f" {sign * self.difference:.2f} [{low:.2f}, {high:.2f}] {word} {where}"
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
class Behind:
    """Pictures that a sentence rests on, by the SHA-256 of their files.

    Attributes:
        better: What the better side is called.
        worse: What the other is.
        pairs: One of each side, the typical ones first; the first of many.
        count: How many pairs there are in all.
        alike: Whether those of a pair differ in nothing else.
        singles: Where nothing is better: (what it is called, one picture of it).
    """

    better: str = ""
    worse: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    count: int = 0
    alike: bool = False
    singles: tuple[tuple[str, str], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether *pairs* are all there are."""
        return self.count == len(self.pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentShare:
    """How often pictures of one setting were gone on with.

    Attributes:
        knob: Its name.
        level: Its value, or a range of many.
        chosen: Pictures with it that a later one was made from.
        pictures: Pictures with it.
        share: The first over the second.
        low: Lower end of the 95 % interval of the share.
        high: Upper end.
        expected: The share, if the others of the same prompts had been chosen alike.
        groups: Prompts, or runs, in which it could be chosen before others.
        more: More often than expected, not less.
        chance: Chance of so much where nothing matters, corrected for all of a table; None where
            too little is known for any.
        likely: That is small: it is likely no luck.
    """

    knob: str
    level: str
    chosen: int
    pictures: int
    share: float
    low: float
    high: float
    expected: float
    groups: int
    more: bool
    chance: float | None = None
    likely: bool = False

    @property
    def figure(self) -> str:
        """The share with its interval and n."""
        return (
            f"{self.share:.0%} [{self.low:.0%}, {self.high:.0%}], {self.chosen:,} of"
            f" {self.pictures:,}"
        )

    @property
    def summary(self) -> str:
        """What is likely, a sentence."""
        often = "more" if self.more else "less"
        return (
            f"Pictures with {one_line(self.knob)} {one_line(self.level)} were likely gone on with"
            f" {often} often than others of their prompts: {self.figure}; {self.expected:.0%}"
            " expected."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenParents:
    """Which settings' pictures were gone on with.

    Attributes:
        pictures: Among which somebody could choose.
        chosen: Those that a later picture was made from.
        handed_on: Left out, because nobody chose them.
        shares: By setting and value.
    """

    pictures: int
    chosen: int
    handed_on: int
    shares: tuple[ParentShare, ...] = ()

    @property
    def likely(self) -> tuple[ParentShare, ...]:
        """What is likely beyond luck."""
        return tuple(share for share in self.shares if share.likely)


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
        unrated: Pictures that meet the filter and nobody rated.
        warning: What may be wrong with all figures, because the rated look picked.
        following: Tags and the like that follow the ratings, so that nothing is told by them.
    """

    pictures: int
    ratings: int
    prompts: int
    gone: int
    knobs: tuple[KnobEffect, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    reason: str = ""
    undone: tuple[UndonePairs, ...] = ()
    unrated: int = 0
    warning: str = ""
    following: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """What is known, in the sentences to be read first; see :mod:`.sentences`."""
        from safelight.learning.evidence.sentences import sentences_of

        return sentences_of(self)

    @property
    def left_alone(self) -> str:
        """Which kinds of pictures nothing is told by, a sentence; empty where there are none."""
        if not self.following:
            return ""
        named = [one_line(sort.source(k)) for k in self.following if (sort := sort_of(k))]
        few, more = ", ".join(named[:_MOST_NAMED]), len(named) - _MOST_NAMED
        return f"Follows the ratings, so that it tells no kind of pictures: {few}" + (
            f" and {more:,} more." if more > 0 else "."
        )

    @property
    def undecided(self) -> tuple[str, ...]:
        """A line for each setting that is undecided, those first that are settled soonest."""
        from safelight.learning.evidence.sentences import undecided_of

        return undecided_of(self)

    @property
    def untold(self) -> tuple[str, ...]:
        """Why some things cannot be told, a sentence for each reason."""
        from safelight.learning.evidence.sentences import untold_of

        return untold_of(self)

    @property
    def summary(self) -> str:
        """What is known, as a text."""
        return "\n".join(sentence.text for sentence in self.sentences)

    @property
    def clear(self) -> tuple[KnobEffect, ...]:
        """The knobs with a clear effect."""
        return tuple(knob for knob in self.knobs if knob.status == "clear")

    @property
    def likely(self) -> tuple[KnobEffect, ...]:
        """The knobs with an effect that is clear, or is if this is the first look."""
        return tuple(knob for knob in self.knobs if knob.status in ("clear", "likely"))
