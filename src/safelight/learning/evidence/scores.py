"""scores: one latent score per picture, from stars, flags and picks together, with its deviation.

The score's unit is the spread of taste: over the rated pictures scores have mean 0, and the prior
says standard deviation 1. Stars and flags are read first, with every rater's own scale
(:mod:`.star_model`); picks then refine what they say
(:mod:`.pick_model`). It is a batch fit of the whole event log: nothing is
stored, and the same events give the same bits, in whatever order they come.

What stars alone cannot tell is how much of their spread is noise: only raters who share pictures,
or picks, show that. Without either, a rating's noise is taken to be 0.8 of the spread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.agreement import Agreement, rater_agreement
from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.evidence.pick_model import Choice, fit_picks
from safelight.learning.evidence.star_model import RaterScale, StarEvidence, fit_stars
from safelight.learning.ratings.rating_event import (
    Identity,
    Pictures,
    RatingEvent,
    events_in_force,
    time_order,
)
from safelight.learning.ratings.rating_event import unique_events as unique

__all__ = ["AUTOMATIC", "ImageScores", "RaterFit", "fit_scores", "is_automatic"]

AUTOMATIC = "automatic:"
"""Beginning of the ``source`` of ratings that a program gave; they never mix with people's."""

_EVIDENCE = ("stars", "reject", "favourite")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RaterFit:
    """What one rater's own evidence says, read with his own scale.

    Attributes:
        rater: Name; empty when nobody gave one.
        rows: Places in :attr:`ImageScores.identities` of the pictures that he judged, int64[k].
        scores: Of those pictures, by his evidence alone, float64[k].
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
            with ``1 - deviations**2``: one over the variance of a reading, in which the score's
            own 1 is counted.
        ratings: How many judgements bear on the picture, int64[n].
        raters: Each rater's own fit, by name, sorted.
        pick_sharpness: How sharply picks tell scores apart: b of Bradley-Terry.
        agreement: Of raters who judged the same pictures.
        places: Every known digest of every picture -> its place in the arrays.
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
            and kind the last one counts; undone ones do not. People's and automatic ratings are
            not told apart here: hand in one kind only (see :func:`is_automatic`).
        known: Identities with both hashes, from records, which join ratings by either.
    """
    every = unique(events)
    pictures = Pictures([*known, *_identities(every.values())])
    judgements, picks = _in_force(every.values(), pictures)
    keys = sorted({key for _, key, _ in judgements} | {k for p in picks for k in p.keys})
    row_of = {key: row for row, key in enumerate(keys)}
    names = sorted({rater for rater, _, _ in judgements} | {p.rater for p in picks})
    evidence = _columns(judgements, row_of, names)
    stars = fit_stars(evidence)
    choices = [choice for pick in picks for choice in pick.choices(row_of)]
    means, variances, sharpness = stars.means, stars.variances, 1.0
    ratings = np.bincount(evidence.images, minlength=len(keys))
    readings = _readings(means, variances, ratings)
    if choices:
        fitted = fit_picks(choices, means, variances)
        means, variances, sharpness = fitted.means, fitted.variances, fitted.sharpness
        readings[fitted.rows] = fitted.readings
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
        pick_sharpness=sharpness,
        agreement=rater_agreement(evidence, [(f.rows, f.scores) for f in raters.values()]),
        places={digest: row_of[key] for key in keys for _, digest in members[key]},
    )


def _readings(
    means: NDArray[np.float64], variances: NDArray[np.float64], ratings: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the means without the prior.

    Of a picture i with k > 0 judgements, all in score units, and 0 for one with none::

        reading_i = mean_i / max(1 - mean of variances of all pictures with k judgements, 0.02)

    The prior has mean 0 and variance 1: with a normal likelihood a mean is 1 - variance times
    what is read. How far the prior draws is taken alike for all pictures with as many judgements:
    five stars tell less than three, and undoing each by itself would favour the extremes.
    """
    size = np.bincount(ratings)
    mean = np.bincount(ratings, weights=variances) / np.maximum(size, 1)
    reliability = np.maximum(1 - mean, 0.02)[ratings]
    return np.asarray(np.where(ratings > 0, means / reliability, 0.0), np.float64)


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


def _identities(events: Iterable[RatingEvent]) -> Iterator[Identity]:
    for event in events:
        if event.image is not None:
            yield event.image
        yield from event.shown


def _in_force(
    events: Iterable[RatingEvent], pictures: Pictures
) -> tuple[list[tuple[str, Key, tuple[int, int]]], list[_Pick]]:
    """Return (rater, picture, (value, place in time)) of stars and flags; and the picks."""
    last: dict[tuple[str, Key, str], tuple[int, int]] = {}
    picks: list[_Pick] = []
    in_force = events_in_force(events)
    times = {e.event_id: place for place, e in enumerate(sorted(in_force, key=time_order))}
    for event in in_force:
        moment = times[event.event_id]
        if event.kind in _EVIDENCE and event.image is not None:
            value = 0
            if event.kind == "stars":
                value = int(event.value or 0)
            elif event.value:
                value = 6 if event.kind == "favourite" else -1
            last[event.rater, pictures.key(event.image), event.kind] = (value, moment)
        elif event.kind == "pick" and event.won:
            pick = _pick(event, pictures)
            if pick is not None:
                picks.append(pick)
    stars = [
        (rater, key, (max(value, 0), moment))
        for (rater, key, _), (value, moment) in last.items()
        if value
    ]
    return sorted(stars), picks


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
    judgements: Sequence[tuple[str, Key, tuple[int, int]]],
    row_of: Mapping[Key, int],
    names: Sequence[str],
) -> StarEvidence:
    """Return *judgements* as columns; the j-th of a rater's n has time 2 (j - 1) / (n - 1) - 1."""
    number = {name: place for place, name in enumerate(names)}
    raters = np.array([number[rater] for rater, _, _ in judgements], np.int64)
    moments = np.array([moment for _, _, (_, moment) in judgements], np.int64)
    times = np.zeros(len(judgements))
    order = np.lexsort((moments, raters))
    starts = np.searchsorted(raters[order], np.arange(len(names) + 1))
    for rater in range(len(names)):
        own = order[starts[rater] : starts[rater + 1]]
        times[own] = np.linspace(-1, 1, len(own)) if len(own) > 1 else 0.0
    return StarEvidence(
        images=np.array([row_of[key] for _, key, _ in judgements], np.int64),
        raters=raters,
        values=np.array([value for _, _, (value, _) in judgements], np.int64),
        times=times,
        image_count=len(row_of),
        rater_names=tuple(names),
    )


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
