"""Simulated archives: pictures with settings, people who rate them, and what is truly liked.

An :class:`Album` is built up part by part: what chance gives to groups of pictures, what values of
knobs are worth, what else moves scores. Once it is settled people rate it, and what comes of it is
a :class:`SimulatedArchive`: what the code may see, and beside that the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.ratings.rating_event import Identity, RatingEvent

__all__ = ["CUTS", "Album", "Judgements", "Secret", "SimulatedArchive", "level_name", "stamp"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Columns = dict[str, list[Any]]

CUTS = (-1.4, -0.5, 0.4, 1.3)
"""Scores at which a usual rater gives one star more."""

_START = datetime(2026, 1, 1, tzinfo=UTC)
_SHARPNESS, _PICK_SHARPNESS = 2.4, 1.6
_FIRST_RATING = 400 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgements:
    """Every rating as a number, int64[m] each.

    Attributes:
        pictures: Row of the picture.
        scales: Which ratings are read on one scale.
        values: Stars; -1 for a reject, 6 for a favourite.
    """

    pictures: Integers
    scales: Integers
    values: Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Secret:
    """What only an oracle knows.

    Attributes:
        scores: Of every row, spread 1 over the rated ones, float64[n].
        parts: What chance gave: the group of every row, and the variance over groups, in squared
            score units.
        matters: Knob -> level of every row, of knobs that matter.
        known: Columns of what else moves scores.
        judgements: The ratings.
    """

    scores: Floats
    parts: Sequence[tuple[Integers, float]]
    matters: Mapping[str, Sequence[str]]
    known: Sequence[Floats]
    judgements: Judgements


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedArchive:
    """What an archive and its raters would say, and what is true.

    Attributes:
        columns: As :func:`~safelight.learning.evidence.trials.join_trials` takes them.
        events: Ratings, in the order in which they were given.
        truth: Knob -> level -> worth in score units; None where no single number is true of it.
            A knob that is not listed does nothing.
        untold: Knob -> what it cannot be told from, by design: it must be named, and the knob
            never be claimed.
        interacting: Knobs of which an interaction may be named.
        planted: Pairs of knobs that do not act side by side, to be found.
        looks: How many events had been given whenever somebody looked; the last look sees all.
        secret: What only an oracle knows.
    """

    columns: Columns
    events: tuple[RatingEvent, ...]
    truth: Mapping[str, Mapping[str, float] | None]
    untold: Mapping[str, str]
    interacting: tuple[str, ...]
    planted: frozenset[frozenset[str]]
    looks: tuple[int, ...]
    secret: Secret

    def true_difference(self, knob: str, level: str, against: str) -> float | None:
        """Return what *level* is truly worth more than *against*; None where that is no number."""
        worth = self.truth.get(knob, MappingProxyType({}))
        if knob in self.untold or worth is None:
            return None
        if not any(worth.values()):
            return 0.0
        if level in worth and against in worth:
            return worth[level] - worth[against]
        if level in worth and against == "all others":
            rated = self.secret.matters[knob]
            others = [worth[name] for name in rated if name != level]
            return worth[level] - float(np.mean(others))
        return None


def level_name(value: object) -> str:
    """Return how effects call *value*."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def stamp(seconds: float) -> str:
    """Return the moment *seconds* after the beginning."""
    return (_START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Album:
    """Pictures while they are made, and then while they are rated.

    Attributes:
        chance: Where all chance comes from.
        columns: Of the archive, one value per picture.
        scores: Spread 1 over the rated pictures; all 0 until :meth:`settle`.
        spread: By what worths were divided; 1 until :meth:`settle`.
    """

    def __init__(self, chance: np.random.Generator, columns: Columns) -> None:
        self.chance = chance
        count = len(next(iter(columns.values())))
        self.columns: Columns = {"sha256": [f"{row:064x}" for row in range(count)], **columns}
        self.raw = np.zeros(count)
        self.scores = np.zeros(count)
        self.spread = 1.0
        self._parts: list[tuple[Integers, float]] = []
        self._worth: dict[str, dict[str, float]] = {}
        self._matters: dict[str, list[str]] = {}
        self._known: list[Floats] = []
        self._events: list[RatingEvent] = []
        self._judged: list[tuple[int, int, int]] = []
        self._paused = 0.0

    def __len__(self) -> int:
        return len(self.raw)

    def by_chance(self, *groups: Sequence[object], spread: float, fixed: bool = False) -> None:
        """Give each group (those alike in all of *groups*) a normal part.

        A *fixed* one is no chance to the oracle: whatever came of it is the truth.
        """
        keys = [" | ".join(str(part) for part in row) for row in zip(*groups, strict=True)]
        codes = np.unique(keys, return_inverse=True)[1].astype(np.int64)
        own: Floats = self.chance.normal(0, spread, codes.max() + 1)[codes]
        if fixed:
            self.known(own)
            return
        self.raw += own
        self._parts.append((codes, spread**2))

    def luck(self, spread: float = 0.6, own: Floats | None = None) -> None:
        """Give each picture a part of its own: normal with *spread*, or *own*."""
        own = self.chance.normal(0, spread, len(self)) if own is None else own
        self.raw += own
        self._parts.append((np.arange(len(self)), float(np.square(own).mean())))

    def known(self, column: Floats) -> None:
        """Add *column* to all scores: something that no knob is."""
        self.raw += column
        self._known.append(column)

    def knob(
        self, name: str, worth: Mapping[Any, float], values: Sequence[Any] | None = None
    ) -> None:
        """Make values of a knob worth so much; they are its column's when not given."""
        used = self.columns[name] if values is None else values
        self.raw += np.array([worth.get(value, 0.0) for value in used])
        self._worth[name] = {level_name(value): worth.get(value, 0.0) for value in set(used)}
        if any(self._worth[name].values()):
            self._matters[name] = [level_name(value) for value in used]

    def knob_of_fixed(self, name: str) -> None:
        """Make the truth of the knob *name* what all known columns are worth at its values."""
        values = np.array(self.columns[name])
        for place, column in enumerate(self._known):
            means = {value: float(column[values == value].mean()) for value in set(values.tolist())}
            own = np.array([means[value] for value in values.tolist()])
            self._known[place] = column - own
            before = self._worth.get(name, {})
            self._worth[name] = {
                level_name(v): mean + before.get(level_name(v), 0.0) for v, mean in means.items()
            }
        self._matters[name] = [level_name(value) for value in values.tolist()]

    def settle(self, rated: Sequence[int] | Integers | None = None) -> None:
        """Fix the scores, so that the *rated* rows (all when not given) have mean 0, spread 1."""
        rows = np.arange(len(self)) if rated is None else np.asarray(rated)
        self.spread = float(self.raw[rows].std())
        self.scores = (self.raw - self.raw[rows].mean()) / self.spread

    def stars(
        self,
        order: Iterable[int],
        *,
        rater: str = "me",
        cuts: Sequence[float] = CUTS,
        shift: float = 0.0,
        drift: float = 0.0,
        noise: Callable[[int], Floats] | None = None,
        lowest: int = 1,
        scale: int = 0,
    ) -> None:
        """Let *rater* give the pictures stars, in that order.

        Args:
            order: Rows.
            rater: His name.
            cuts: Scores at which he gives one more.
            shift: How much stricter he is than *cuts* say.
            drift: How much stricter he is at the end than in the middle.
            noise: Gives so many errors; logistic when not given.
            lowest: Stars below the first cut.
            scale: Ratings of one number are read alike by the oracle.
        """
        rows = np.array(list(order), np.int64)
        count = len(rows)
        felt = self.scores[rows] - shift - drift * np.linspace(-1, 1, count)
        felt += noise(count) if noise else self.chance.logistic(0, 1 / _SHARPNESS, count)
        values = lowest + np.searchsorted(np.array(cuts), felt)
        for row, value in zip(rows, values, strict=True):
            self._add(int(row), rater, "stars", int(value), scale)

    def pause(self, seconds: float = 6 * 3600.0) -> None:
        """Let some time go by, after which raters sit down anew."""
        self._paused += seconds

    def flags(self, order: Iterable[int], kind: str, rater: str = "me") -> None:
        """Let *rater* call the pictures favourites or rejects."""
        for row in order:
            self._add(int(row), rater, kind, 6 if kind == "favourite" else -1, 0)

    def picks(self, pairs: Iterable[tuple[int, int]], rater: str = "me") -> None:
        """Let *rater* pick the better one of each pair of rows, as Bradley and Terry have it."""
        for pair in pairs:
            felt = _PICK_SHARPNESS * self.scores[list(pair)] + self.chance.gumbel(size=2)
            moment = len(self._events)
            self._events.append(
                RatingEvent(
                    event_id=f"{rater}-pick-{moment}",
                    timestamp=stamp(_FIRST_RATING + self._paused + moment),
                    kind="pick", won=(int(felt[1] > felt[0]),), rater=rater,
                    shown=tuple(Identity(sha256=self.columns["sha256"][row]) for row in pair),
                )
            )  # fmt: skip

    def _add(self, row: int, rater: str, kind: str, value: int, scale: int) -> None:
        moment = len(self._events)
        self._judged.append((row, scale, value))
        self._events.append(
            RatingEvent(
                event_id=f"{rater}-{kind}-{moment}",
                timestamp=stamp(_FIRST_RATING + self._paused + moment),
                kind=kind, value=value if kind == "stars" else True, rater=rater,
                image=Identity(sha256=self.columns["sha256"][row]),
            )
        )  # fmt: skip

    def archive(
        self,
        *,
        truth: Mapping[str, Mapping[Any, float] | None] = MappingProxyType({}),
        untold: Mapping[str, str] = MappingProxyType({}),
        interacting: Sequence[str] = (),
        planted: Iterable[Iterable[str]] = (),
        looks: Sequence[int] = (),
    ) -> SimulatedArchive:
        """Return what came of it; *truth*, before it is divided by the spread, goes before."""
        every: dict[str, Mapping[Any, float] | None] = {**self._worth, **truth}
        judged = np.array(self._judged, np.int64).reshape(-1, 3)
        return SimulatedArchive(
            columns=self.columns,
            events=tuple(self._events),
            truth={knob: self._in_unit(worth) for knob, worth in every.items()},
            untold=untold,
            interacting=tuple(interacting),
            planted=frozenset(frozenset(pair) for pair in planted),
            looks=tuple(looks) or (len(self._events),),
            secret=Secret(
                scores=self.scores,
                parts=[(codes, variance / self.spread**2) for codes, variance in self._parts],
                matters=self._matters,
                known=self._known,
                judgements=Judgements(
                    pictures=judged[:, 0], scales=judged[:, 1], values=judged[:, 2]
                ),
            ),
        )

    def _in_unit(self, worth: Mapping[Any, float] | None) -> Mapping[str, float] | None:
        if worth is None:
            return None
        return {level_name(value): own / self.spread for value, own in worth.items()}
