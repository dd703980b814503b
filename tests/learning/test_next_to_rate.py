"""What is served for rating is what teaches most, and is shuffled."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.simulated_ratings import digest, star_events
from safelight.learning.next_to_rate import next_pairs, next_pictures, rating_pool
from safelight.learning.scores import fit_scores


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
