"""Of few pairs no more is said than few pairs say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, t, ttest_1samp

from learning.evidence.worlds import archive_of
from safelight.learning.evidence.comparing import Comparing, _kept_chance
from safelight.learning.evidence.paired_comparisons import Estimate, clustered_mean
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import join_trials

Floats = NDArray[np.float64]


def chance_of(estimate: Estimate) -> float:
    return float(2 * t.sf(abs(estimate.difference) / estimate.error, estimate.freedom))


def of_prompts(differences: Floats, beside: Floats | None = None) -> Estimate:
    """Return the estimate of one difference for each prompt."""
    prompts = np.arange(len(differences))
    return clustered_mean(differences, prompts, prompts, beside)


def test_of_one_pair_a_prompt_it_is_students_t_test() -> None:
    """SciPy says the same."""
    differences = np.random.default_rng(1).normal(0.4, 1, 9)
    estimate = of_prompts(differences)
    assert chance_of(estimate) == pytest.approx(float(ttest_1samp(differences, 0).pvalue))
    assert estimate.freedom == pytest.approx(8)


@pytest.mark.parametrize(("pairs", "columns"), [(8, 1), (12, 1), (12, 3)])
def test_what_stands_beside_few_pairs_is_paid_for(pairs: int, columns: int) -> None:
    """Drift of a rater, rated in a chance order: 3,000 archives in which nothing differs."""
    chance = np.random.default_rng(2)
    found = [
        chance_of(of_prompts(chance.normal(size=pairs), chance.uniform(-1, 1, (pairs, columns))))
        for _ in range(3_000)
    ]
    for risk in (0.05, 0.005):
        told = int(np.sum(np.array(found) <= risk))
        assert binom.sf(told - 1, 3_000, risk) > 0.001, f"{told} of 3,000 at {risk}"
        assert told >= 0.4 * 3_000 * risk, f"only {told} of 3,000 at {risk}"


def test_prompts_of_unequal_size_are_paid_for() -> None:
    """Their pairs hang together: one of twelve pairs, seven of one to three."""
    chance = np.random.default_rng(3)
    prompts = np.repeat(np.arange(8), [12, 1, 2, 3, 1, 2, 3, 1])
    found = []
    for _ in range(2_000):
        differences = chance.normal(size=8)[prompts] + 0.5 * chance.normal(size=len(prompts))
        found.append(chance_of(clustered_mean(differences, prompts, prompts)))
    told = int(np.sum(np.array(found) <= 0.05))
    assert binom.sf(told - 1, 2_000, 0.05) > 0.001, f"{told} of 2,000"


@pytest.mark.parametrize(("won", "of"), [(8, 8), (7, 8), (11, 12), (12, 12), (9, 12), (45, 64)])
def test_picks_are_as_sure_as_their_signs(won: int, of: int) -> None:
    """Eight of eight come once in 128 times by luck, though all eight are alike."""
    differences = np.where(np.arange(of) < won, 2.5, -2.5)
    prompts = np.arange(of)
    estimate = clustered_mean(differences, prompts, prompts, by_signs=True)
    exact = float(binomtest(won, of).pvalue)
    chance = max(exact - float(binom.pmf(won, of, 0.5)), 0.6 * exact)
    assert chance_of(estimate) == pytest.approx(chance, rel=1e-6)


def test_three_in_a_hundred_of_picks_are_never_more_than_five() -> None:
    """Over all outcomes of so many picks, and as many looks as a training has epochs."""
    for prompts in (8, 9, 10, 13, 20):
        places = np.arange(prompts)
        chances = [
            chance_of(clustered_mean(np.where(places < won, 1.0, -1.0), places, places,
                                     by_signs=True))
            for won in range(prompts + 1)
        ]  # fmt: skip
        weights = binom.pmf(np.arange(prompts + 1), prompts, 0.5)
        for looks in (1, 2, 3, 6, 11, 23):
            false = float(weights[np.array(chances) <= 0.03 / looks].sum())
            assert looks * false <= 0.05 + 1e-9, (prompts, looks)


def test_picks_of_unlike_sizes_are_told_by_both_tests() -> None:
    """By hand over all signs; Student's t test where that is less sure."""
    sizes = np.linspace(0.1, 3, 10)
    for lost in ((5,), (0, 1), (9,), ()):
        unlike = np.where(np.isin(np.arange(10), lost), -sizes, sizes)
        every = np.array([abs(np.dot(signs, sizes)) for signs in product((-1, 1), repeat=10)])
        exact, beyond = (float(np.mean(every >= abs(unlike.sum()) + off)) for off in (-1e-2, 1e-2))
        by_hand = max((exact + beyond) / 2, 0.6 * exact)
        estimate = clustered_mean(unlike, np.arange(10), np.arange(10), by_signs=True)
        surest = max(by_hand, float(ttest_1samp(unlike, 0).pvalue))
        assert chance_of(estimate) == pytest.approx(surest, rel=0.05)


def test_looking_again_at_picks_finds_luck_no_more_often() -> None:
    """A bet on signs multiplies by 33 in one archive of 33 at most, whenever one looks."""
    chance = np.random.default_rng(4)
    won = 0
    for _ in range(200):
        signs = np.where(chance.random(40) < 0.5, -1.0, 1.0)
        bets = (
            clustered_mean(signs[:n], np.arange(n), np.arange(n), by_signs=True).for_signs
            for n in range(8, 41, 4)
        )
        won += max(bet or 0.0 for bet in bets) >= 33
    assert binom.sf(won - 1, 200, 1 / 33) > 0.001, won
    surely = clustered_mean(np.ones(12), np.arange(12), np.arange(12), by_signs=True).for_signs
    assert surely is not None
    assert surely > 100


def test_what_one_look_does_not_tell_no_number_of_looks_does() -> None:
    """It may be drift, of which signs know nothing, however much they have won."""
    estimate = Estimate(
        difference=1.0, error=1.0, freedom=9.0, comparisons=10, prompts=10, for_signs=1e6
    )
    assert _kept_chance(estimate, 0.3) == 0.3
    assert _kept_chance(estimate, 1e-9) < 1e-5


def test_what_picks_hold_together_is_not_evidence_twice() -> None:
    """Of 72 pictures of 12 prompts, picked among within prompts, 60 - 2 are free at the most."""
    archive = archive_of("epochs_12x3_own_seeds_picks_null", 0)
    trials = join_trials(archive.columns, fit_scores(archive.events))
    assert len(set(trials.compared.tolist())) >= len(set(archive.columns["prompt"]))
    (first, *_) = Comparing(trials).drafts("epoch")
    assert first.basis == "adjusted"
    assert first.estimate is not None
    assert first.estimate.freedom <= 58 * 1.05, "as Satterthwaite has it, about"
