"""Small fits run in one thread, and nobody else's arithmetic is touched afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import scipy.linalg  # noqa: F401 - its BLAS is looked for
from threadpoolctl import threadpool_info, threadpool_limits

from learning.simulated_ratings import star_events
from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.plans.knob_space import KnobSpace, NumberKnob
from safelight.learning.plans.proposals import Tried, propose


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    with threadpool_limits(2, "blas"):
        yield


def test_what_was_is_given_back() -> None:
    """Also by one inside another, and where a fit fails."""
    with one_blas_thread():
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == {2}
    with pytest.raises(ValueError, match="no"), one_blas_thread():
        raise ValueError("no")
    assert threads() == {2}


class Watched(Sequence[Any]):
    """Values that note how many threads there are when they are looked at."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values, self.seen = values, set[int]()

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: Any) -> Any:
        self.seen |= threads()
        return self.values[place]


@pytest.mark.parametrize(
    ("fit", "values"),
    [
        (fit_scores, star_events({1: 2, 2: 4, 3: 5})),
        (
            lambda tried: propose(
                KnobSpace(knobs=(NumberKnob(name="x", low=0, high=1, step=0.1),)), tried, 1
            ),
            [Tried(setting={"x": n / 9}, score=n % 4) for n in range(9)],
        ),
    ],
)
def test_fits_calculate_in_one_thread(
    fit: Callable[[Sequence[Any]], object], values: Sequence[Any]
) -> None:
    watched = Watched(values)
    fit(watched)
    assert watched.seen == {1}
    assert threads() == {2}
