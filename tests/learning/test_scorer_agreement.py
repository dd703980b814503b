"""How far a scorer agrees with people is told within prompts, and no surer than it is."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import kendalltau

from safelight.learning.evidence.scorer_agreement import (
    FEWEST_PROMPTS,
    RankAgreement,
    scorer_agreement,
)

Numbers = NDArray[np.float64]


def overall(numbers: Numbers, scores: Numbers, prompts: list[str]) -> RankAgreement:
    return scorer_agreement(numbers, scores, prompts, [""] * len(prompts)).overall


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_of_one_prompt_it_is_kendalls_tau_b(pairs: list[tuple[int, int]]) -> None:
    """SciPy says the same, ties and all."""
    numbers, scores = np.array(pairs, float).T
    found = overall(numbers, scores, ["p"] * len(pairs))
    expected = float(kendalltau(numbers, scores).statistic)
    if np.isnan(expected):
        assert found.tau is None
    else:
        assert found.tau == pytest.approx(expected)
    assert (found.pictures, found.prompts, found.low) == (len(pairs), 1, None)


def test_only_pictures_of_one_prompt_are_compared() -> None:
    """A scorer that only knows which prompt people like knows nothing of pictures."""
    numbers = np.array([1.0, 2, 11, 12, 21, 22])
    scores = np.array([2.0, 1, 12, 11, 22, 21])
    found = overall(numbers, scores, ["a", "a", "b", "b", "c", "c"])
    assert found.tau == -1.0
    assert kendalltau(numbers, scores).statistic > 0.5
    assert overall(numbers, scores, list("abcdef")) == RankAgreement(pictures=0, prompts=0)


def test_prompts_weigh_as_they_have_pictures() -> None:
    """By hand: three of 5 pictures with all 10 pairs, one of 2 with its pair the other way."""
    numbers = np.array([*range(5), *range(5), *range(5), 0, 1], float)
    scores = numbers.copy()
    scores[-2:] = 1, 0
    found = overall(numbers, scores, [*"a" * 5, *"b" * 5, *"c" * 5, *"d" * 2])
    weights = 3 * 10 * 2 / 5, 1 * 2 / 2
    assert found.tau == pytest.approx((weights[0] - weights[1]) / sum(weights))


def test_the_interval_is_wilsons_with_a_jackknife_over_prompts() -> None:
    """As the formula says, computed anew without each prompt: the ends are where it just fits."""
    chance = np.random.default_rng(4)
    prompts = [f"{prompt}" for prompt in range(8) for _ in range(2 + prompt)]
    scores = chance.integers(1, 6, len(prompts)).astype(float)
    numbers = scores + chance.normal(0, 2, len(prompts))
    found = overall(numbers, scores, prompts)
    without = []
    for prompt in sorted(set(prompts)):
        kept = np.array([each != prompt for each in prompts])
        names = [each for each in prompts if each != prompt]
        one = overall(numbers[kept], scores[kept], names).tau
        assert one is not None
        without.append(one)
    assert found.tau is not None
    variance = 7 / 8 * np.square(np.array(without) - np.mean(without)).sum()
    for end in (found.low, found.high):
        assert end is not None
        off = (found.tau - end) ** 2 / (1 - end**2)
        assert off == pytest.approx(2.364624**2 * variance / (1 - found.tau**2), rel=1e-5)


@pytest.mark.parametrize(("prompts", "size", "alike"), [(6, 2, 0.9), (8, 3, 0.9), (12, 2, 0.6)])
def test_few_prompts_that_happen_to_agree_are_not_sure(
    prompts: int, size: int, alike: float
) -> None:
    """Six of six pairs are no proof of an order without exception."""
    chance = np.random.default_rng(21)
    truth = 2 / np.pi * np.arcsin(alike)  # Kendall's tau of two normal numbers
    names = [f"{place // size}" for place in range(prompts * size)]
    held = []
    for _ in range(200):
        numbers = chance.normal(size=len(names))
        scores = alike * numbers + np.sqrt(1 - alike**2) * chance.normal(size=len(names))
        found = overall(numbers, scores, names)
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) >= 0.93
    agreed = overall(np.arange(12.0), np.arange(12.0), [f"{place // 2}" for place in range(12)])
    assert agreed.tau == 1.0
    assert agreed.high == pytest.approx(1.0)
    assert agreed.low == pytest.approx((6 - 1.959964**2) / (6 + 1.959964**2)), "Wilson's of 6 of 6"


def test_below_six_prompts_there_is_no_interval() -> None:
    numbers = np.array([1.0, 2] * FEWEST_PROMPTS)
    scores = np.array([1.0, 2, 2, 1] * (FEWEST_PROMPTS // 2))
    names = [f"{place // 2}" for place in range(len(numbers))]
    assert overall(numbers, scores, names).low is not None
    found = overall(numbers[:-2], scores[:-2], names[:-2])
    assert found.tau == pytest.approx(0.2)
    assert found.low is found.high is None


def test_models_are_told_apart_and_compared_within_themselves() -> None:
    """Pairs across models count for all, and for neither."""
    numbers = np.array([1.0, 2, 3, 4])
    scores = np.array([1.0, 2, 4, 3])
    found = scorer_agreement(numbers, scores, ["p"] * 4, ["x", "x", "y", "y"])
    assert found.overall.tau == pytest.approx(4 / 6)
    assert [(model, one.tau, one.pictures) for model, one in found.by_model] == [
        ("x", 1.0, 2), ("y", -1.0, 2),
    ]  # fmt: skip
    assert scorer_agreement(numbers, scores, ["p"] * 4, [""] * 4).by_model == ()


@given(st.integers(0, 2**32 - 1))
def test_order_and_scale_change_nothing(seed: int) -> None:
    """Only ranks count: any scorer's unit will do, and rows come in any order."""
    chance = np.random.default_rng(seed)
    numbers, scores = chance.normal(size=(2, 30))
    prompts = [f"{each}" for each in chance.integers(0, 8, 30)]
    order = chance.permutation(30)
    moved = overall(np.exp(numbers[order]), scores[order] * 7 - 1, [prompts[n] for n in order])
    first = overall(numbers, scores, prompts)
    assert moved.tau == pytest.approx(first.tau)
    assert (moved.low, moved.high) == pytest.approx((first.low, first.high))


def _world(chance: np.random.Generator, prompts: int) -> tuple[Numbers, Numbers, list[str]]:
    """Return a scorer and people who agree more on some prompts; sizes are uneven, stars whole."""
    numbers, scores, names = [], [], []
    for prompt in range(prompts):
        count = int(chance.choice([2, 4, 12]))
        slope = np.clip(0.4 + 0.2 * chance.standard_normal(), -0.95, 0.95)
        own = chance.standard_normal(count)
        taste = slope * own + np.sqrt(1 - slope**2) * chance.standard_normal(count)
        numbers.append(own + 3 * chance.standard_normal())
        scores.append(np.clip(np.round(3 + 1.1 * taste), 1, 5))
        names += [f"{prompt}"] * count
    return np.concatenate(numbers), np.concatenate(scores), names


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """The truth is what very many prompts say; 300 archives of 12 prompts each."""
    chance = np.random.default_rng(20)
    truth = overall(*_world(chance, 4000)).tau
    assert truth is not None
    held = []
    for _ in range(300):
        found = overall(*_world(chance, 12))
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= truth <= found.high)
    assert 0.91 <= np.mean(held) <= 0.985


def test_a_scorer_that_knows_nothing_is_seldom_held_for_one_that_does() -> None:
    chance = np.random.default_rng(21)
    clear = []
    for _ in range(300):
        _, scores, names = _world(chance, 12)
        found = overall(chance.standard_normal(len(names)), scores, names)
        assert found.low is not None
        assert found.high is not None
        clear.append(found.low > 0 or found.high < 0)
    assert np.mean(clear) <= 0.09


def test_pairs_are_counted_as_by_hand() -> None:
    """P, Q and ties of a prompt with both."""
    numbers, scores = np.array([1.0, 1, 2, 3, 3]), np.array([1.0, 2, 2, 1, 3])
    signs = [(np.sign(numbers[a] - numbers[b]), np.sign(scores[a] - scores[b]))
             for a, b in combinations(range(5), 2)]  # fmt: skip
    same = sum(a * b > 0 for a, b in signs)
    opposite = sum(a * b < 0 for a, b in signs)
    first = sum(a == 0 and b != 0 for a, b in signs)
    second = sum(a != 0 and b == 0 for a, b in signs)
    ordered = same + opposite
    expected = (same - opposite) / np.sqrt((ordered + first) * (ordered + second))
    assert overall(numbers, scores, ["p"] * 5).tau == pytest.approx(expected)
