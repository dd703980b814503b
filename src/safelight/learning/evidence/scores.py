"""scores: one latent score per picture, from stars, flags and picks together, with its deviation.

The score's unit is the spread of taste: over the rated pictures scores have mean 0, and the prior
says standard deviation 1. Stars and flags are read first, with every rater's own scale
(:mod:`.star_model`); picks then refine what they say
(:mod:`.pick_model`). A standard that drifts while somebody rates is part of his readings: it is
told from settings where these are compared (:mod:`.circumstances`). It is a batch fit of the whole
event log: nothing is stored, and the same events give the same bits, in whatever order they come.

What stars alone cannot tell is how much of their spread is noise: only raters who share pictures,
or picks, show that. Without either, a rating's noise is taken to be 0.8 of the spread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.agreement import Agreement, rater_agreement
from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.evidence.pick_model import Choice, fit_picks
from safelight.learning.evidence.star_model import (
    SEEN,
    RaterScale,
    StarEvidence,
    fit_stars,
    own_scales,
)
from safelight.learning.ratings.rating_event import (
    AUTOMATIC,
    Identity,
    Pictures,
    RatingEvent,
    events_in_force,
    pictures_of,
)
from safelight.learning.ratings.rating_event import unique_events as unique

__all__ = ["AUTOMATIC", "ImageScores", "Judgements", "RaterFit", "fit_scores", "is_automatic"]

_EVIDENCE = ("stars", "reject", "favourite")
_PAUSE = 1800.0
"""Seconds without a judgement after which a rater sits down anew."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgements:
    """Who gave stars and flags to which picture, and when, one row each.

    Attributes:
        images: Place of the picture, int64[m].
        raters: Number of the rater, int64[m].
        places: Which of the rater's moments it is, in the order of time from 0, int64[m]: what has
            one time has one place.
        sittings: Number of the rater's sitting, which ends where he pauses for half an hour,
            int64[m].
        rater_names: Name of each rater.
        own_scale: Whether a rater's stars are read on a scale of his own, so that the mean of his
            readings is 0 whatever he was shown, bool[raters].
    """

    images: NDArray[np.int64]
    raters: NDArray[np.int64]
    places: NDArray[np.int64]
    sittings: NDArray[np.int64]
    rater_names: tuple[str, ...]
    own_scale: NDArray[np.bool_]

    def of_images(self, images: Sequence[int]) -> Judgements:
        """Return the judgements of some pictures, which are numbered by their place in *images*."""
        place = np.full(max(int(self.images.max(initial=-1)), *images, -1) + 1, -1, np.int64)
        place[np.asarray(images, np.int64)] = np.arange(len(images))
        new = place[self.images]
        kept = new >= 0
        return Judgements(
            images=new[kept], raters=self.raters[kept], places=self.places[kept],
            sittings=self.sittings[kept], rater_names=self.rater_names, own_scale=self.own_scale,
        )  # fmt: skip


_NOBODY = Judgements(
    images=np.zeros(0, np.int64), raters=np.zeros(0, np.int64), places=np.zeros(0, np.int64),
    sittings=np.zeros(0, np.int64), rater_names=(), own_scale=np.zeros(0, np.bool_),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RaterFit:
    """What one rater's own evidence says, read with his own scale.

    Attributes:
        rater: Name; empty when nobody gave one.
        rows: Places in :attr:`ImageScores.identities` of the pictures that he judged, int64[k].
        scores: Of those pictures, by his evidence alone, float64[k]; where all that he judged are
            flagged, in units of the spread of what he saw.
        deviations: float64[k].
        stars: How many of his stars count.
        picks: How many of his picks count.
        contradictions: Pairs of pictures that he picked both ways round.
        scale: How he uses stars; None when he gave none.
    """

    rater: str
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    deviations: NDArray[np.float64]
    stars: int
    picks: int
    contradictions: int
    scale: RaterScale | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageScores:
    """Score of every picture about which something is said.

    Attributes:
        identities: One digest per picture, sorted: of its bytes where known, else its pixels.
        scores: Latent, mean 0, in units of the spread of taste, float64[n].
        deviations: Standard deviation of each score, float64[n]; 1 would be no evidence.
        readings: What the evidence says without the prior, float64[n]: noisier than the scores,
            but not drawn towards 0. Differences of means are to be taken of these, weighted
            with ``1 - deviations**2`` averaged over pictures judged alike: one over the variance
            of a reading, in which the score's own 1 is counted.
        ratings: How many judgements bear on the picture, int64[n].
        raters: Each rater's own fit, by name, sorted.
        pick_sharpness: How sharply picks tell scores apart: b of Bradley-Terry.
        agreement: Of raters who judged the same pictures.
        places: Every known digest of every picture -> its place in the arrays.
        judgements: Of stars and flags, who gave which and when.
        marks: Mean of each picture's stars as they were given; where there are none, a favourite
            is 5, a reject 1, what was passed over 3; NaN for picks alone, float64[n].
        compared: Number of the pictures that picks hold together, directly or through others:
            beyond these they say nothing; -1 where none was picked or passed over, int64[n].
    """

    identities: tuple[str, ...]
    scores: NDArray[np.float64]
    deviations: NDArray[np.float64]
    readings: NDArray[np.float64]
    ratings: NDArray[np.int64]
    raters: Mapping[str, RaterFit] = field(default_factory=dict)
    pick_sharpness: float = 1.0
    agreement: Agreement = field(default_factory=Agreement)
    places: Mapping[str, int] = field(default_factory=dict)
    judgements: Judgements = _NOBODY
    marks: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    compared: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def place(self, *digests: str | None) -> int | None:
        """Return the place of the picture with the first known of *digests*, or None."""
        for digest in digests:
            if digest is not None and digest in self.places:
                return self.places[digest]
        return None


def is_automatic(event: RatingEvent) -> bool:
    """Return whether a program gave the rating, not a person."""
    return event.source.startswith(AUTOMATIC)


@one_blas_thread()
def fit_scores(events: Iterable[RatingEvent], known: Iterable[Identity] = ()) -> ImageScores:
    """Return the scores of all pictures that *events* judge.

    :mod:`.star_model` has the model of stars and flags, :mod:`.pick_model` that of picks, whose
    beliefs before are what stars and flags say. Scores and readings are then moved to mean 0.

    Args:
        events: From any number of stores, in any order, also several times. Per rater, picture
            and kind the last one counts; undone ones do not. That a picture was ``seen`` counts of
            raters who flag, and only for pictures of which they said nothing. People's and
            automatic ratings are not told apart here: hand in one kind only (see
            :func:`is_automatic`).
        known: Identities with both hashes, from records, which join ratings by either.
    """
    every = unique(events)
    pictures = Pictures([*known, *pictures_of(every.values())])
    judgements, picks = _in_force(every.values(), pictures)
    keys = sorted({one.key for one in judgements} | {k for p in picks for k in p.keys})
    row_of = {key: row for row, key in enumerate(keys)}
    names = sorted({one.rater for one in judgements} | {p.rater for p in picks})
    evidence = _columns(judgements, row_of, names)
    stars = fit_stars(evidence)
    choices = [choice for pick in picks for choice in pick.choices(row_of)]
    means, variances, sharpness = stars.means, stars.variances, 1.0
    ratings = np.bincount(evidence.images, minlength=len(keys))
    readings = _readings(means, variances, ratings, stars.extremes)
    if choices:
        fitted = fit_picks(choices, means, variances)
        means, variances, sharpness = fitted.means, fitted.variances, fitted.sharpness
        readings[fitted.rows] = fitted.readings
    spread = _spread_of_rated(means, variances, stars.extremes)
    means, variances, readings = means / spread, variances / spread**2, readings / spread
    for pick in picks:
        ratings[[row_of[key] for key in pick.keys]] += 1
    raters = {
        name: _rater_fit(name, stars.rater_rows[name], stars.scales.get(name), evidence,
                         [p for p in picks if p.rater == name], row_of, sharpness)
        for name in names
    }  # fmt: skip
    members = pictures.members() if keys else {}
    return ImageScores(
        identities=tuple(digest for _, digest in keys),
        scores=means - means.mean() if len(keys) else means,
        deviations=np.sqrt(variances),
        readings=readings - readings.mean() if len(keys) else readings,
        ratings=ratings.astype(np.int64),
        raters=raters,
        pick_sharpness=sharpness * spread,
        agreement=rater_agreement(evidence, [(f.rows, f.scores) for f in raters.values()]),
        places={digest: row_of[key] for key in keys for _, digest in members[key]},
        judgements=_one_by_one(judgements, evidence),
        marks=_marks(evidence),
        compared=_compared(choices, len(keys)),
    )


def _compared(choices: Iterable[Choice], count: int) -> NDArray[np.int64]:
    """Return :attr:`ImageScores.compared` of *count* pictures."""
    leads = list(range(count))

    def first(row: int) -> int:
        while leads[row] != row:
            leads[row] = row = leads[leads[row]]
        return row

    named = set[int]()
    for choice in choices:
        named.update((choice.winner, *choice.losers))
        for loser in choice.losers:
            leads[first(loser)] = first(choice.winner)
    return np.array([first(row) if row in named else -1 for row in range(count)], np.int64)


def _marks(evidence: StarEvidence) -> NDArray[np.float64]:
    starred = (evidence.values >= 1) & (evidence.values <= 5)
    of_flags = np.select([evidence.values == 6, evidence.values == SEEN], [5.0, 3.0], 1.0)
    marks = np.full(evidence.image_count, np.nan)
    for rows, values in ((~starred, of_flags), (starred, evidence.values)):
        counts = np.bincount(evidence.images[rows], minlength=len(marks))
        sums = np.bincount(evidence.images[rows], values[rows], minlength=len(marks))
        marks[counts > 0] = sums[counts > 0] / counts[counts > 0]
    return marks


def _readings(
    means: NDArray[np.float64],
    variances: NDArray[np.float64],
    ratings: NDArray[np.int64],
    extremes: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the means without the prior.

    Of a picture i with k > 0 judgements, all in score units, and 0 for one with none::

        reading_i = mean_i / max(1 - mean of variances of all pictures with k judgements, 0.02)

    The prior has mean 0 and variance 1: with a normal likelihood a mean is 1 - variance times
    what is read. How far the prior draws is taken alike for all pictures with as many judgements:
    five stars tell less than three, and undoing each by itself would favour the extremes.

    Of pictures that are the ends of what was seen, with M the mean of their means, it is::

        reading_i = M + (mean_i - M) / max(the same, variance of their means)

    Of two groups, with the shares p and q and with means D apart, that variance is D p q; and by
    D p q the share of either changes when all that is seen is better by 1.
    """
    size = np.bincount(ratings)
    mean = np.bincount(ratings, weights=variances) / np.maximum(size, 1)
    reliability = np.maximum(1 - mean, 0.02)[ratings]
    centre = np.zeros(len(means))
    if extremes.any():
        reliability[extremes] = np.maximum(reliability[extremes], means[extremes].var())
        centre[extremes] = means[extremes].mean()
    read = centre + (means - centre) / reliability
    return np.asarray(np.where(ratings > 0, read, 0.0), np.float64)


def _spread_of_rated(
    means: NDArray[np.float64], variances: NDArray[np.float64], extremes: NDArray[np.bool_]
) -> float:
    """Return the standard deviation of the rated pictures' scores: 1, but where they are ends."""
    if not extremes.any():
        return 1.0
    return float(np.sqrt(max(1.0, means.var() + variances.mean())))


Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Pick:
    """A pick among different pictures, by key."""

    rater: str
    won: tuple[Key, ...]
    lost: tuple[Key, ...]

    @property
    def keys(self) -> tuple[Key, ...]:
        return (*self.won, *self.lost)

    def choices(self, row_of: Mapping[Key, int]) -> Iterator[Choice]:
        """Yield each winner's choice among the losers; of a tie of m each pair, weighing 2 / m."""
        won = [row_of[key] for key in self.won]
        lost = tuple(row_of[key] for key in self.lost)
        if lost:
            yield from (Choice(winner, lost) for winner in won)
            return
        for first, other in combinations(won, 2):
            yield Choice(first, (other,), tie=True, weight=2 / len(won))

    def pairs(self) -> Iterator[tuple[Key, Key]]:
        yield from ((winner, loser) for winner in self.won for loser in self.lost)


@dataclass(frozen=True, slots=True, order=True)
class _Judgement:
    """Stars or a flag of one rater for one picture, or that he has seen and left it.

    Attributes:
        value: As in :class:`.star_model.StarEvidence`.
        seconds: When.
    """

    rater: str
    key: Key
    value: int
    seconds: float


def _in_force(
    events: Iterable[RatingEvent], pictures: Pictures
) -> tuple[list[_Judgement], list[_Pick]]:
    last: dict[tuple[str, Key, str], _Judgement] = {}
    picks: list[_Pick] = []

    def judged(event: RatingEvent, picture: Identity, value: int) -> None:
        key = pictures.key(picture)
        # Of what was read from files or worked out, the time says nothing about a rater's order.
        seconds = event.moment.timestamp() if ":" not in event.source else 0.0
        last[event.rater, key, event.kind] = _Judgement(event.rater, key, value, seconds)

    for event in events_in_force(events):
        if event.kind in _EVIDENCE and event.image is not None:
            value = 0
            if event.kind == "stars":
                value = int(event.value or 0)
            elif event.value:
                value = 6 if event.kind == "favourite" else -1
            judged(event, event.image, value)
        elif event.kind == "seen":
            for picture in event.shown:
                judged(event, picture, SEEN)
        elif event.kind == "pick" and event.won:
            pick = _pick(event, pictures)
            if pick is not None:
                picks.append(pick)
    said = [replace(one, value=max(one.value, 0)) for one in last.values() if one.value]
    return sorted(_without_idle_looks(said, picks)), picks


def _without_idle_looks(said: Sequence[_Judgement], picks: Sequence[_Pick]) -> list[_Judgement]:
    """Return what was *said*, of pictures that were only seen those that a rater of flags left."""
    flagging = {one.rater for one in said if one.value in (0, 6)}
    judged = {(one.rater, one.key) for one in said if one.value != SEEN}
    judged |= {(pick.rater, key) for pick in picks for key in pick.keys}
    return [
        one for one in said
        if one.value != SEEN or (one.rater in flagging and (one.rater, one.key) not in judged)
    ]  # fmt: skip


def _pick(event: RatingEvent, pictures: Pictures) -> _Pick | None:
    keys = [pictures.key(identity) for identity in event.shown]
    won = {keys[place] for place in event.won}
    lost = {key for place, key in enumerate(keys) if place not in event.won}
    both = won & lost  # a picture shown twice cannot beat itself
    won, lost = won - both, lost - both
    if len(won) + len(lost) < 2 or not won:
        return None
    return _Pick(event.rater, tuple(sorted(won)), tuple(sorted(lost)))


def _columns(
    judgements: Sequence[_Judgement], row_of: Mapping[Key, int], names: Sequence[str]
) -> StarEvidence:
    number = {name: place for place, name in enumerate(names)}
    return StarEvidence(
        images=np.array([row_of[one.key] for one in judgements], np.int64),
        raters=np.array([number[one.rater] for one in judgements], np.int64),
        values=np.array([one.value for one in judgements], np.int64),
        image_count=len(row_of),
        rater_names=tuple(names),
    )


def _one_by_one(judgements: Sequence[_Judgement], evidence: StarEvidence) -> Judgements:
    raters = evidence.raters
    seconds = np.array([one.seconds for one in judgements], np.float64)
    order = np.lexsort((seconds, raters))
    another = np.diff(raters[order], prepend=-1) != 0
    later = np.diff(seconds[order], prepend=0.0)
    moments = np.cumsum(another | (later > 0))
    first = np.maximum.accumulate(np.where(another, moments, 0))
    places, sittings = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    places[order] = moments - first
    sittings[order] = np.cumsum(another | (later > _PAUSE)) - 1
    return Judgements(
        images=evidence.images, raters=raters, places=places, sittings=sittings,
        rater_names=evidence.rater_names, own_scale=own_scales(evidence),
    )  # fmt: skip


def _rater_fit(
    name: str,
    by_stars: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
    scale: RaterScale | None,
    evidence: StarEvidence,
    picks: Sequence[_Pick],
    row_of: Mapping[Key, int],
    sharpness: float,
) -> RaterFit:
    rows, means, variances = by_stars
    if picks:
        picked = np.array([row_of[key] for pick in picks for key in pick.keys], np.int64)
        every = np.union1d(rows, picked)
        prior = np.zeros(len(every)), np.ones(len(every))
        at = np.searchsorted(every, rows)
        prior[0][at], prior[1][at] = means, variances
        local = {key: int(np.searchsorted(every, row_of[key])) for p in picks for key in p.keys}
        choices = [choice for pick in picks for choice in pick.choices(local)]
        fitted = fit_picks(choices, *prior, sharpness)
        rows, means, variances = every, fitted.means, fitted.variances
    pairs = {pair for pick in picks for pair in pick.pairs()}
    own = evidence.values[evidence.raters == evidence.rater_names.index(name)]
    return RaterFit(
        rater=name,
        rows=rows,
        scores=means,
        deviations=np.sqrt(variances),
        stars=int(((own >= 1) & (own <= 5)).sum()),
        picks=len(picks),
        contradictions=sum((b, a) in pairs for a, b in pairs) // 2,
        scale=scale,
    )
