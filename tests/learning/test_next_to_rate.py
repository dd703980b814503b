"""What is served for rating is what teaches most, and is shuffled."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from learning.simulated_ratings import digest, star_events
from safelight.learning.evidence.next_to_rate import (
    _CANDIDATES,
    _EFFECT_VARIANCE,
    _MOST_LEVELS,
    _OWN_VARIANCE,
    _dense,
    _information_of_pick,
    next_pairs,
    next_pictures,
    rating_pool,
)
from safelight.learning.evidence.scores import ImageScores, fit_scores


def columns(size: int, prompts: int = 4) -> dict[str, list[Any]]:
    rng = random.Random(size)
    return {
        "sha256": [digest(n) for n in range(size)],
        "prompt": [f"p{n % prompts}" for n in range(size)],
        "seed": [n // prompts % 3 for n in range(size)],
        "sampler": [rng.choice(["Euler", "Heun", "LMS"]) for _ in range(size)],
        "steps": [rng.choice([5, 10, 20, 40]) for _ in range(size)],
    }


def test_what_was_rated_already_teaches_less() -> None:
    """Of twenty pictures with ten rated, those that nobody rated come first."""
    scores = fit_scores(star_events({n: 1 + n % 5 for n in range(10)}))
    pool = rating_pool(columns(20), scores)
    assert set(next_pictures(pool, 5)) <= set(range(10, 20))


def test_a_knob_value_that_nobody_judged_comes_first() -> None:
    """Ninety-nine Euler pictures are known alike; the one of Heun teaches about Heun."""
    given = columns(100, prompts=1)
    given["sampler"] = ["Euler"] * 99 + ["Heun"]
    given["steps"] = [20] * 100
    scores = fit_scores(star_events({n: 1 + n % 5 for n in range(40)}))
    assert next_pictures(rating_pool(given, scores)) == (99,)


def test_what_was_passed_over_comes_behind_all_else() -> None:
    """However much it would teach, and only where there is too little else."""
    pool = rating_pool(columns(30))
    passed = set(range(0, 30, 2))
    for seed in range(5):
        places = next_pictures(pool, 20, leave_out={1}, passed_over=passed, seed=seed)
        assert len(set(places)) == 20
        assert set(places[:14]) == set(range(3, 30, 2))
        assert set(places[14:]) <= passed
    assert not set(next_pictures(pool, 9, passed_over=passed)) & passed


def known_of(given: dict[str, list[Any]], rated: int) -> ImageScores:
    """Return scores of the first *rated* pictures, known more or less surely."""
    chance = np.random.default_rng(rated)
    digests = tuple(given["sha256"][:rated])
    values = chance.normal(size=rated)
    return ImageScores(
        identities=digests, scores=values, deviations=chance.uniform(0.2, 0.9, rated),
        readings=values, ratings=np.ones(rated, np.int64),
        places={name: place for place, name in enumerate(digests)},
    )  # fmt: skip


def test_what_is_known_of_the_knobs_is_the_regression_of_the_book() -> None:
    """Rasmussen and Williams 2006, equations 2.25 and 2.26, for the kernel of one weight each."""
    given, rated = columns(40), 25
    scores = known_of(given, rated)
    pool = rating_pool(given, scores)
    design = np.column_stack([
        [float(value == level) for value in given[knob]]
        for knob, levels in (("sampler", dict.fromkeys(given["sampler"])),
                             ("steps", sorted(set(given["steps"]))))
        for level in levels
    ])  # fmt: skip
    own = 1 / (1 / scores.deviations**2 - 1)  # of what was read, the prior's part taken out
    seen, unseen = design[:rated], design[rated:]
    total = _EFFECT_VARIANCE * seen @ seen.T + np.diag(_OWN_VARIANCE + own)
    gain = _EFFECT_VARIANCE * np.linalg.solve(total, seen).T
    np.testing.assert_allclose(pool.means[rated:], unseen @ gain @ scores.scores, atol=1e-9)
    left = _EFFECT_VARIANCE * (np.eye(design.shape[1]) - gain @ seen)
    effects = design @ left @ design.T
    of_pool = _dense(pool.columns, len(pool.covariance))
    np.testing.assert_allclose(of_pool @ pool.covariance @ of_pool.T, effects, atol=1e-9)
    np.testing.assert_array_equal(pool.means[:rated], scores.scores)
    np.testing.assert_allclose(pool.own[:rated], 1 / (1 / _OWN_VARIANCE + 1 / own))
    np.testing.assert_array_equal(pool.own[rated:], _OWN_VARIANCE)


@pytest.mark.parametrize("value", ["only one", 7, None, math.nan])
def test_a_knob_that_never_varied_plays_no_part(value: Any) -> None:
    """Be it a text, a number or nothing."""
    given = columns(40)
    plain = rating_pool(given, known_of(given, 25))
    more = rating_pool({**given, "model": [value] * 40}, known_of(given, 25))
    np.testing.assert_array_equal(more.columns, plain.columns)
    np.testing.assert_array_equal(more.covariance, plain.covariance)
    np.testing.assert_array_equal(more.means, plain.means)


def test_of_many_values_those_used_most_are_told_apart_and_the_rare_are_one() -> None:
    """Also the first that stands in the archive, which is mostly the one used most."""
    samplers = [f"s{number:02}" for number in range(20) for _ in range(30 - number)]
    pool = rating_pool({"sha256": [digest(n) for n in range(len(samplers))], "sampler": samplers})
    places = dict(zip(samplers, pool.columns[:, 0].tolist(), strict=True))
    own = _MOST_LEVELS - 1
    assert len({places[name] for name in sorted(places)[:own]}) == own
    (rest,) = {places[name] for name in sorted(places)[own:]}
    assert rest not in {places[name] for name in sorted(places)[:own]}


def test_of_a_large_pool_what_comes_is_still_what_is_allowed() -> None:
    """A sample is looked at, of those that may come."""
    size = 2 * _CANDIDATES
    pool = rating_pool(columns(size))
    places = next_pictures(pool, 20, leave_out=range(0, size, 3))
    assert len(set(places)) == 20
    assert all(0 <= place < size and place % 3 for place in places)


def entropy(chance: Any) -> Any:
    """Return that of a coin, in bits."""
    return np.asarray(stats.bernoulli.entropy(chance)) / math.log(2)


@pytest.mark.parametrize("variance", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("mean", [0.0, 0.3, 1.0, 2.5])
def test_what_a_pick_tells_is_the_information_of_the_book(mean: float, variance: float) -> None:
    """How unsure it is, less how unsure it would be if all were known: Lindley, by summing up."""
    differences = mean + math.sqrt(variance) * np.linspace(-9, 9, 4001)
    weights = stats.norm.pdf(differences, mean, math.sqrt(variance))
    weights /= weights.sum()
    chances = stats.norm.cdf(differences)
    wanted = entropy(weights @ chances) - weights @ entropy(chances)
    information = _information_of_pick(np.array([mean, -mean]), np.array([variance, variance]))
    assert information == pytest.approx(np.full(2, wanted), abs=0.02)


@pytest.mark.parametrize("mean", [-60.0, -9.0, 9.0, 60.0])
def test_a_pick_that_is_decided_tells_nothing(mean: float) -> None:
    """However surely: nothing is a number, too, and the other pairs are still compared with it."""
    assert _information_of_pick(np.array([mean]), np.array([1e-6])) == pytest.approx(0, abs=1e-6)


def test_who_has_rated_nearly_everything_is_still_asked() -> None:
    """Of three thousand pictures of a prompt sixty are left, and they make pairs enough."""
    given = columns(3000, prompts=1)
    given["seed"] = [1] * 3000
    pool = rating_pool(given)
    pairs = next_pairs(pool, 10, leave_out=range(60, 3000))
    assert len(pairs) == 10
    assert all(place < 60 for pair in pairs for place in pair)


def test_pairs_share_prompt_and_seed_and_differ_in_a_knob() -> None:
    """A pick between two prompts says little about samplers."""
    given = columns(60)
    for one, other in next_pairs(rating_pool(given), 10):
        assert given["prompt"][one] == given["prompt"][other]
        assert (given["sampler"][one], given["steps"][one]) != (
            given["sampler"][other], given["steps"][other]
        )  # fmt: skip


def test_a_pair_that_is_decided_already_is_not_asked_for() -> None:
    """The best against the worst teaches nothing; two of equal score do."""
    stars = {0: 5, 1: 1, 2: 5, 3: 5}
    events = [e for rater in "abcdefgh" for e in star_events(stars, rater)]
    given = columns(4, prompts=1)
    given["seed"], given["sampler"], given["steps"] = [1] * 4, ["Euler"] * 4, [20] * 4
    for pair in next_pairs(rating_pool(given, fit_scores(events)), 3):
        assert 1 not in pair


def test_nothing_comes_twice_and_nothing_that_was_left_out() -> None:
    """Pairs compared before, and pictures left out, stay away."""
    pool = rating_pool(columns(30))
    first = next_pairs(pool, 10)
    assert len({frozenset(pair) for pair in first}) == 10
    again = next_pairs(pool, 10, compared={frozenset(p) for p in first}, leave_out={3})
    assert not {frozenset(p) for p in again} & {frozenset(p) for p in first}
    assert all(3 not in pair for pair in again)
    assert 3 not in next_pictures(pool, 29, leave_out={3})


def test_the_order_within_a_pair_is_chance() -> None:
    """Over many seeds neither side is favoured, so that position tells nothing."""
    pool = rating_pool(columns(12))
    left = sum(pair[0] < pair[1] for seed in range(150) for pair in next_pairs(pool, 2, seed=seed))
    assert 110 < left < 190


def test_the_same_seed_gives_the_same_choice() -> None:
    """So that a page can be loaded again."""
    pool = rating_pool(columns(50))
    assert next_pairs(pool, 5, seed=9) == next_pairs(pool, 5, seed=9)
    assert next_pictures(pool, 5, seed=9) == next_pictures(pool, 5, seed=9)


@pytest.mark.parametrize("size", [0, 1])
def test_an_empty_archive_has_nothing_to_rate(size: int) -> None:
    """And one picture has nothing to be compared with."""
    pool = rating_pool(columns(size))
    assert next_pairs(pool, 3) == ()
    assert len(next_pictures(pool, 3)) == size


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.sampled_from(["p", "q"]),
            st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=2), st.booleans()),
        ),
        max_size=25,
    ),
    count=st.integers(1, 30),
)
def test_any_columns_give_places_of_the_pool(rows: list[tuple[Any, Any]], count: int) -> None:
    """Mixed, missing and huge values included."""
    given = {
        "sha256": [digest(n) for n in range(len(rows))],
        "prompt": [prompt for prompt, _ in rows],
        "steps": [value for _, value in rows],
    }
    pool = rating_pool(given)
    places = next_pictures(pool, count)
    assert len(set(places)) == len(places) == min(count, len(rows))
    for one, other in next_pairs(pool, count):
        assert one != other
