"""Who rates only what he likes is told what that does to the figures."""

from __future__ import annotations

import numpy as np
import pytest

from learning.simulated_ratings import digest, star_events
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.selection import selection_of
from safelight.learning.evidence.trials import Trials, join_trials
from safelight.learning.ratings import Identity, RatingEvent

SAMPLERS = ("Euler a", "DPM++ 2M", "DDIM")


def rated_of_600(seed: int, *, picked: bool) -> Trials:
    """Return an archive of which a fifth was rated: the best at first sight, or what came."""
    chance = np.random.default_rng(seed)
    sampler = chance.integers(3, size=600)
    taste = np.array([0.0, 0.5, -0.3])[sampler] + chance.normal(size=600)
    first_sight = taste + chance.normal(0, 0.3, 600)
    order = np.argsort(-first_sight) if picked else chance.permutation(600)
    felt = taste + chance.logistic(size=600) / 2.2
    stars = 1 + np.searchsorted([-1.4, -0.5, 0.4, 1.3], felt)
    events = star_events({int(row): int(stars[row]) for row in order[:120]})
    columns = {
        "sha256": [digest(row) for row in range(600)],
        "sampler": [SAMPLERS[code] for code in sampler],
        "prompt": [f"subject {row % 20}" for row in range(600)],
    }
    return join_trials(columns, fit_scores(events))


@pytest.mark.parametrize("seed", range(10))
def test_what_was_picked_is_warned_of_and_what_came_is_not(seed: int) -> None:
    """The number is told in either case."""
    picked = selection_of(rated_of_600(seed, picked=True))
    assert picked.sentence == "120 of 600 pictures rated"
    assert picked.warning.startswith("120 of 600 pictures are rated, and with ")
    came = selection_of(rated_of_600(seed, picked=False))
    assert (came.rated, came.pictures, came.warning) == (120, 600, "")


def flagged(favourites: int, rejects: int, pictures: int) -> Trials:
    """Return an archive of flags alone."""
    events = [
        RatingEvent(
            event_id=str(row), timestamp="2026-01-01T00:00:00Z", value=True,
            kind="favourite" if row < favourites else "reject", image=Identity(sha256=digest(row)),
        )
        for row in range(favourites + rejects)
    ]  # fmt: skip
    return join_trials({"sha256": [digest(row) for row in range(pictures)]}, fit_scores(events))


@pytest.mark.parametrize(
    ("favourites", "rejects", "pictures", "warned"),
    [(30, 0, 100, True), (30, 30, 200, False), (30, 0, 60, False), (0, 30, 100, False)],
)
def test_favourites_alone_are_picked(
    favourites: int, rejects: int, pictures: int, *, warned: bool
) -> None:
    """Unless they are half of all there is, or rejects stand beside them."""
    assert bool(selection_of(flagged(favourites, rejects, pictures)).warning) is warned


def test_a_mark_is_what_was_given() -> None:
    """Stars where there are some, on nobody's own scale; of picks nothing."""
    shown = tuple(Identity(sha256=digest(row)) for row in range(3))
    events = [
        *star_events({0: 4}, "ann"), *star_events({0: 5}, "bob"),
        RatingEvent.now("favourite", shown[1], value=True),
        RatingEvent.now("reject", shown[0], value=True),
        RatingEvent.now("pick", shown=shown, won=(2,)),
    ]  # fmt: skip
    np.testing.assert_array_equal(fit_scores(events).marks, [4.5, 5.0, np.nan])


def test_where_all_is_rated_or_nothing_is_there_is_nothing_to_warn_of() -> None:
    assert selection_of(flagged(5, 5, 10)).sentence == "all 10 pictures rated"
    nothing = selection_of(join_trials({}, fit_scores([])))
    assert (nothing.rated, nothing.mean_mark, nothing.warning) == (0, None, "")
