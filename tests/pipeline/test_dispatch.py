"""Whatever workers do, every variant ends once, in bounds, and none is forgotten."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import BackendError, BackendUnavailable, GenerationCancelled
from safelight.pipeline import CancelToken
from safelight.pipeline.dispatch import VariantQueue, WorkerShare, dispatch
from safelight.pipeline.engine_pool import Ended
from safelight.pipeline.picture_saver import DrawnVariant
from safelight.pipeline.retry import RetryPolicy
from safelight.randomizer import Variant


def drawn(place: int) -> DrawnVariant:
    return DrawnVariant(variant=Variant(index=place, config={}), position=place)


class Lanes:
    """Workers that end in an order of chance, fall silent by their odds, and come up late."""

    def __init__(self, odds: Sequence[float], late: Sequence[int], seed: int) -> None:
        self.workers = tuple(f"w{n}" for n in range(len(odds)))
        self._odds = dict(zip(self.workers, odds, strict=True))
        self._late = dict(zip(self.workers, late, strict=True))
        self._chance = random.Random(seed)
        self._busy: deque[tuple[str, DrawnVariant]] = deque()
        self.begun: list[tuple[str, int]] = []
        self.cancel_after = -1
        self.cancel = CancelToken()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        return None

    def ready(self, worker: str) -> bool:
        if self._late[worker] == 9:
            raise BackendError("this one has no engine")
        self._late[worker] -= 1
        return self._late[worker] < 0

    def start(self, worker: str, drawn: DrawnVariant) -> None:
        assert worker not in [busy for busy, _ in self._busy], "one variant at a time"
        self.begun.append((worker, drawn.position))
        drawn.tries += 1
        drawn.unavailable = None
        self._busy.append((worker, drawn))
        if len(self.begun) == self.cancel_after:
            self.cancel.cancel()

    def next_ended(self, timeout: float | None) -> Ended | None:
        if not self._busy:
            return None
        self._busy.rotate(self._chance.randrange(len(self._busy)))
        worker, drawn = self._busy.popleft()
        if self.cancel.cancelled:
            drawn.finished = False
            return Ended(worker=worker, drawn=drawn, stopped=GenerationCancelled("stop"))
        if self._chance.random() < self._odds[worker]:
            drawn.unavailable = ("txt2img", f"{worker} is silent")
        return Ended(worker=worker, drawn=drawn)

    def stop(self) -> None:
        """Nothing goes on in the meantime."""


@settings(deadline=None, max_examples=150)
@given(
    odds=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=1, max_size=5),
    late=st.lists(st.sampled_from([0, 0, 1, 3, 9]), min_size=5, max_size=5),
    variants=st.integers(0, 40),
    retries=st.integers(0, 4),
    models=st.integers(1, 3),
    cancel_after=st.integers(-1, 30),
    seed=st.integers(0, 2**32),
)
def test_every_variant_ends_once_or_is_told_as_missing(
    odds: list[float],
    late: list[int],
    variants: int,
    retries: int,
    models: int,
    cancel_after: int,
    seed: int,
) -> None:
    """Over any mix of healthy, flaky, dead, late and broken workers, cancelled at any moment."""
    lanes = Lanes(odds, late[: len(odds)], seed)
    lanes.cancel_after = cancel_after
    queue = VariantQueue(range(variants), lambda place: place % models, drawn)
    ended: list[DrawnVariant] = []
    shares: dict[str, WorkerShare] = {}
    missing, stopped = 0, False
    try:
        dispatch(
            lanes, queue,
            retry=RetryPolicy(retries=retries, first_wait=1e-6, longest_wait=1e-5),
            cancel=lanes.cancel, shares=shares, on_ended=ended.append,
            on_retry=lambda *_: None,
        )  # fmt: skip
    except BackendUnavailable as error:
        missing = len(queue)
        assert f"; {missing:,} variants are not drawn" in str(error)
        assert all(share.left_out for share in shares.values())
    except GenerationCancelled:
        stopped = True
        missing = len(queue)
    counts = Counter(end.position for end in ended)
    assert set(counts.values()) <= {1}
    assert len(counts) + missing == variants
    tries = Counter(place for _, place in lanes.begun)
    assert all(number <= retries + 1 for number in tries.values())
    for end in ended:
        if end.failure is not None:
            assert tries[end.position] == retries + 1
        elif not stopped:
            assert end.unavailable is None
    if (
        0.0 in odds
        and not stopped
        and retries
        and all(late[n] != 9 for n, odd in enumerate(odds) if odd == 0.0)
    ):
        assert missing == 0, "a healthy worker was there all the time"


@settings(max_examples=100)
@given(places=st.lists(st.integers(0, 4), max_size=60), workers=st.integers(1, 5), data=st.data())
def test_a_worker_changes_its_weights_only_when_it_must(
    places: list[int], workers: int, data: Any
) -> None:
    """Everything is handed out once; a worker leaves a model when none of it is left."""
    queue = VariantQueue(range(len(places)), lambda place: places[place], drawn)
    left = Counter(places)
    held: dict[str, int] = {}
    given_out = []
    while queue:
        worker = f"w{data.draw(st.integers(0, workers - 1))}"
        one = queue.take(worker)
        assert one is not None
        model = places[one.position]
        if worker in held and held[worker] != model:
            assert left[held[worker]] == 0
        held[worker] = model
        left[model] -= 1
        given_out.append(one.position)
    assert sorted(given_out) == list(range(len(places)))
    assert queue.take("w0") is None


def test_what_others_could_not_finish_goes_to_those_who_are_well() -> None:
    """Else a few dead workers would use up a variant's tries between them."""
    lanes = Lanes([1.0, 1.0, 1.0, 1.0, 0.0], [0] * 5, 1)
    queue = VariantQueue(range(30), None, drawn)
    ended: list[DrawnVariant] = []
    dispatch(
        lanes, queue, retry=RetryPolicy(retries=2, first_wait=1e-6), cancel=CancelToken(),
        shares={}, on_ended=ended.append, on_retry=lambda *_: None,
    )  # fmt: skip
    assert [end.failure for end in ended] == [None] * 30


@pytest.mark.parametrize("number", [0, 1])
def test_nothing_to_do_is_done(number: int) -> None:
    """Also with nobody to do it."""
    lanes = Lanes([0.0] * number, [0] * number, 1)
    dispatch(
        lanes, VariantQueue((), None, drawn), retry=RetryPolicy(), cancel=CancelToken(),
        shares={}, on_ended=lambda _: None, on_retry=lambda *_: None,
    )  # fmt: skip


def test_what_is_cancelled_before_it_begins_draws_nothing() -> None:
    lanes = Lanes([0.0, 0.0], [0, 0], 1)
    lanes.cancel.cancel()
    with pytest.raises(GenerationCancelled):
        dispatch(
            lanes, VariantQueue(range(3), None, drawn), retry=RetryPolicy(), cancel=lanes.cancel,
            shares={}, on_ended=lambda _: None, on_retry=lambda *_: None,
        )  # fmt: skip
    assert lanes.begun == []
