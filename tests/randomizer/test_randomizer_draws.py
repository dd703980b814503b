"""Chance: reproducible, fair, and without repeats."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.randomizer.draws import Dice, DrawnOrder, Shuffle
from safelight.randomizer.spaces import Line, Product, Selection, Space, Union

CHI_SQUARE_999 = {2: 13.82, 9: 27.88, 23: 49.73}
"""99.9 % points by degrees of freedom; the seeds are fixed, so a test passes always or never."""


def chi_square(counts: list[int], expected: list[float]) -> float:
    return sum((n - e) ** 2 / e for n, e in zip(counts, expected, strict=True))


@given(st.integers(1, 5000), st.integers(0, 2**64))
def test_a_shuffle_has_every_place_once(size: int, seed: int) -> None:
    """A permutation that is not one would draw a combination twice and lose another."""
    shuffle = Shuffle(size, seed)
    assert sorted(shuffle[place] for place in range(size)) == list(range(size))


def test_a_shuffle_of_a_huge_space_needs_no_memory() -> None:
    """Any place is known at once, and no place comes twice among many."""
    shuffle = Shuffle(10**18 + 9, 7)
    drawn = [shuffle[place] for place in (*range(5000), 10**18)]
    assert len(set(drawn)) == 5001
    assert max(drawn) < 10**18 + 9


def test_all_orders_of_four_are_equally_likely() -> None:
    """Fisher-Yates on hashed draws: 24 orders, each as often as the others."""
    counts = Counter(tuple(Shuffle(4, seed)[p] for p in range(4)) for seed in range(4800))
    assert len(counts) == 24
    assert chi_square(list(counts.values()), [200.0] * 24) < CHI_SQUARE_999[23]


def test_the_first_place_of_a_large_shuffle_is_spread_evenly() -> None:
    """The Feistel network must not favour a part of the space."""
    counts = Counter(Shuffle(10**9, seed)[0] * 10 // 10**9 for seed in range(5000))
    assert chi_square([counts[tenth] for tenth in range(10)], [500.0] * 10) < CHI_SQUARE_999[9]


def test_dice_know_a_golden_row() -> None:
    """The same seed gives the same draws on every machine and in every version, for ever."""
    dice = Dice(42, "golden")
    assert [dice.below(1000) for _ in range(8)] == [882, 212, 649, 710, 568, 847, 665, 367]
    assert Dice(42, "golden", 1).below(2**32) == 938427592


def weighted(weights: list[float]) -> Union:
    return Union([Space() for _ in weights], weights, nested=True)


def test_the_draw_after_the_first_goes_by_the_weights_that_are_left() -> None:
    """Weights belong to places: after the third of 1, 8, 1 the second follows 8 times in 9.

    The ``dynamicprompts`` library removes the weight by its value, here that of the first.
    """
    followers: Counter[int] = Counter()
    for seed in range(6000):
        order = DrawnOrder(weighted([1, 8, 1]), seed)
        if order[0] == 2:
            followers[order[1]] += 1
    total = followers.total()
    assert total > 400
    assert set(followers) == {0, 1}
    assert chi_square([followers[0], followers[1]], [total / 9, total * 8 / 9]) < 10.83


def test_options_of_one_template_go_by_the_weights_that_are_left() -> None:
    """The same inside ``{2$$1::a|8::b|1::c}``: successive sampling by position."""
    space = Selection([Space(), Space(), Space()], [1.0, 8.0, 1.0], 2, 2)
    followers: Counter[int] = Counter()
    for seed in range(6000):
        (first, second), _ = space.locate(space.sample(Dice(seed, "pair")))
        if first == 2:
            followers[second] += 1
    total = followers.total()
    assert chi_square([followers[0], followers[1]], [total / 9, total * 8 / 9]) < 10.83


@given(
    weights=st.lists(st.sampled_from([0.001, 1, 2, 50]), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
)
def test_nothing_is_drawn_twice_while_something_is_new(weights: list[float], seed: int) -> None:
    """However uneven the weights, everything comes once before anything comes again."""
    order = DrawnOrder(weighted(weights), seed)
    size = len(weights)
    assert sorted(order[n] for n in range(size)) == list(range(size))


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [7.0, 2.0, 1.0]])
def test_once_all_have_come_every_draw_goes_by_weight_alone(weights: list[float]) -> None:
    """Whole rounds would make nine in ten as frequent as one in ten, whatever was asked for."""
    order = DrawnOrder(weighted(weights), 5)
    later = [order[n] for n in range(3, 3003)]
    expected = [3000 * weight / sum(weights) for weight in weights]
    assert chi_square([later.count(place) for place in range(3)], expected) < CHI_SQUARE_999[2]
    pairs = Counter(pairwise(later))
    ideal = [e * f / 3000 for e in expected for f in expected]
    counts = [pairs[before, after] for before in range(3) for after in range(3)]
    assert chi_square(counts, ideal) < CHI_SQUARE_999[9]


def test_a_draw_after_all_have_come_is_known_by_its_place_alone() -> None:
    """The millionth picture can be made again without the pictures before it."""
    order = DrawnOrder(weighted([3, 1, 2]), 5)
    forwards = [order[n] for n in range(50)]
    alone = [DrawnOrder(weighted([3, 1, 2]), 5)[n] for n in reversed(range(50))]
    assert alone[::-1] == forwards
    assert order[10**30] in range(3)


def test_a_heavy_option_in_a_huge_space_does_not_stall() -> None:
    """When nearly all the weight has come, unseen combinations are still found."""
    space = Product([weighted([10**9, 1]), *[weighted([10**9, 1])] * 19])
    drawn = [DrawnOrder(space, 3)[n] for n in range(40)]
    assert len(set(drawn)) == 40


small_spaces: st.SearchStrategy[Space] = st.recursive(
    st.builds(Line, st.integers(1, 4)),
    lambda inner: st.one_of(
        st.builds(Product, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda options, nested: Union(options, range(1, len(options) + 1), nested=nested),
            st.lists(inner, min_size=1, max_size=3),
            st.booleans(),
        ),
        st.builds(
            lambda options, low, high: Selection(
                options,
                [float(n + 1) for n in range(len(options))],
                min(low, high, len(options)),
                min(max(low, high), len(options)),
            ),
            st.lists(inner, min_size=1, max_size=3),
            st.integers(0, 2),
            st.integers(1, 2),
        ),
    ),
    max_leaves=5,
)


@given(small_spaces)
def test_chances_of_all_combinations_add_up_to_one(space: Space) -> None:
    """Exact weighted draws need exact weights."""
    if space.size <= 2000:
        assert sum(space.chance(rank) for rank in range(space.size)) == pytest.approx(1)
        if space.even:
            assert space.chance(0) == pytest.approx(1 / space.size)


@given(small_spaces, st.integers(0, 10**6), st.integers(0, 10**6))
def test_draws_and_steps_stay_inside_the_space(space: Space, seed: int, turn: int) -> None:
    """A rank outside would be somebody else's combination."""
    assert 0 <= space.sample(Dice(seed)) < space.size
    assert 0 <= space.step(turn) < space.size


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.data())
def test_selections_are_numbered_without_gaps(sizes: list[int], data: st.DataObject) -> None:
    """Every rank is another choice: the count is right and the numbering is a bijection."""
    high = data.draw(st.integers(1, len(sizes)))
    low = data.draw(st.integers(0, high))
    space = Selection([Line(size) for size in sizes], [1.0] * len(sizes), low, high)
    if space.size <= 3000:
        located = [space.locate(rank) for rank in range(space.size)]
        assert len({(tuple(places), tuple(ranks)) for places, ranks in located}) == space.size
        assert [space._rank(*each) for each in located] == list(range(space.size))
