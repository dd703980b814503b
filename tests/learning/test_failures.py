"""Which settings fail is told as shares that say how sure they are."""

from __future__ import annotations

import random

import pytest
from scipy.stats import fisher_exact

from safelight.learning.evidence.failures import failure_shares, wilson_interval


@pytest.mark.parametrize(
    ("count", "total", "interval"),
    [(0, 10, (0.0, 0.2775)), (1, 10, (0.0179, 0.4042)), (81, 263, (0.2553, 0.3662)),
     (10, 10, (0.7225, 1.0)), (0, 0, (0.0, 1.0))],
)  # fmt: skip
def test_the_interval_is_wilsons(count: int, total: int, interval: tuple[float, float]) -> None:
    """The examples of Newcombe 1998, table I; of nothing nothing is known."""
    assert wilson_interval(count, total) == pytest.approx(interval, abs=1e-3)


def test_what_fails_more_than_the_others_comes_first_with_its_error() -> None:
    """Here one sampler; steps are only beside it."""
    chance = random.Random(1)
    samplers = [chance.choice(("Euler", "Heun", "LMS")) for _ in range(300)]
    steps = [chance.choice((10, 20)) for _ in range(300)]
    errors = [
        chance.choice(("out of memory", "out of memory", "NaN"))
        if chance.random() < (0.4 if sampler == "LMS" else 0.03)
        else None
        for sampler in samplers
    ]
    shares = failure_shares({"steps": steps, "sampler": samplers, "vae": ["v"] * 300}, errors)
    assert [share.knob for share in shares] == ["sampler"] * 3 + ["steps"] * 2
    first = shares[0]
    assert (first.level, first.stands_out, first.error) == ("LMS", True, "out of memory")
    assert first.begun == samplers.count("LMS")
    assert first.low < first.share == first.failed / first.begun < first.high
    assert not any(share.stands_out for share in shares[1:])
    assert sum(share.failed for share in shares[:3]) == sum(error is not None for error in errors)


def test_where_failures_are_luck_hardly_any_value_stands_out() -> None:
    """Of ten knobs of twenty values some always fail most: once in twenty tables at most."""
    chance = random.Random(2)
    false = 0
    for _ in range(60):
        table = {f"knob {n}": [chance.randrange(20) for _ in range(200)] for n in range(10)}
        named = {knob: [f"v{value}" for value in column] for knob, column in table.items()}
        errors = ["out of memory" if chance.random() < 0.1 else None for _ in range(200)]
        false += any(share.stands_out for share in failure_shares(named, errors))
    assert false <= 8, false  # with 3 expected at most, more than 8 come once in 350 such tests


def test_that_a_value_stands_out_is_fishers_exact_test() -> None:
    """SciPy says the same of one knob of two values: two looks, each at half the risk."""
    settled = {}
    for failed in (3, 4, 5, 6):
        errors: list[str | None] = ["NaN"] * failed + [None] * (10 - failed)
        errors += ["NaN"] + [None] * 19
        table = {"sampler": ["LMS"] * 10 + ["Euler"] * 20}
        told = {one.level: one.stands_out for one in failure_shares(table, errors)}
        fisher = fisher_exact([[failed, 10 - failed], [1, 19]], alternative="greater")
        settled[failed] = (told["LMS"], bool(2 * fisher.pvalue <= 0.05))
        assert not told["Euler"]
    assert all(ours == theirs for ours, theirs in settled.values()), settled
    assert len({ours for ours, _ in settled.values()}) == 2


def test_a_setting_that_failures_do_not_tell_is_not_blamed_or_cleared() -> None:
    """What failed before the engine told it has none; that is no value of its own."""
    errors = ["no answer"] * 5 + [None] * 20
    told_by_engine = [None] * 5 + ["Euler", "Heun"] * 10
    some_untold = [10] * 4 + [20] * 16 + [None] * 5
    assert failure_shares({"sampler": told_by_engine}, errors) == ()
    shares = failure_shares({"steps": some_untold}, errors)
    assert [(share.level, share.failed, share.begun) for share in shares] == [
        ("10", 4, 4), ("20", 1, 16)
    ]  # fmt: skip


def test_where_nothing_fails_nothing_is_told() -> None:
    assert failure_shares({"steps": [1, 2]}, [None, None]) == ()
    assert failure_shares({}, []) == ()
