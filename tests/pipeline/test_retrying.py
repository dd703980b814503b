"""An engine that does not answer is asked again, patiently, in bounds; one that refuses is not."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.backends.fake import FakeBackend
from safelight.errors import BackendOutcomeUnknown, BackendUnavailable, BackendUnreachable
from safelight.learning import LearningRecord
from safelight.pipeline import CancelToken, PipelineRunner, RunProgress
from safelight.pipeline.backend import (
    Generation,
    ImageRequest,
    StepCallback,
    Txt2ImgRequest,
)
from safelight.pipeline.continuation import finished_entries
from safelight.pipeline.engine_pool import LocalPool
from safelight.pipeline.retry import RetryPolicy

QUICK = RetryPolicy(retries=3, first_wait=0.001, longest_wait=0.01)
CONFIG: dict[str, Any] = {
    "txt2img": {"prompt": "a", "seed": 1, "steps": 2, "width": 16, "height": 16},
    "upscale": {"upscaler": "Nearest", "scale": 2},
    "randomizer": {"mode": "fanout", "sweep": {"txt2img.cfg_scale": [1, 2, 3, 4]}},
}


class Flaky(FakeBackend):
    """Falls silent when told to: *silent* takes stage and number of the request, from 1."""

    def __init__(
        self, silent: Any, error: type[BackendUnavailable] = BackendUnavailable, **options: Any
    ) -> None:
        super().__init__(**options)
        self._error = error
        self.asked: Counter[str] = Counter()
        self._silent = silent
        self._lock = threading.Lock()

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        with self._lock:
            self.asked[request.stage] += 1
            number = self.asked[request.stage]
        if self._silent(request.stage, number):
            raise self._error("the server is away")
        return super().generate(request, on_step)


def test_a_server_that_comes_back_costs_no_variant(tmp_path: Path) -> None:
    """The stage that was lost is drawn again, the ones before it are not."""
    backend = Flaky(lambda stage, number: stage == "upscale" and number in (2, 3))
    reports: list[RunProgress] = []
    runner = PipelineRunner(backend, archive_dir=tmp_path, retry=QUICK, on_progress=reports.append)
    result = runner.run(CONFIG)
    assert (result.status, len(result.images)) == ("completed", 8)
    assert backend.asked == {"txt2img": 4, "upscale": 6}
    waits = [progress.message for progress in reports if progress.event == "retry"]
    assert waits == [
        "the server is away; trying again in 0.001 s",
        "the server is away; trying again in 0.002 s",
    ]
    (share,) = result.workers.values()
    assert (share.variants, share.silences, share.left_out) == (4, 2, "")


def test_without_a_policy_nothing_is_tried_twice(tmp_path: Path) -> None:
    """As it always was for who builds a runner of their own."""
    backend = Flaky(lambda stage, number: number == 1)
    result = PipelineRunner(backend, archive_dir=tmp_path).run(CONFIG)
    assert result.status == "partial"
    assert [failure.error for failure in result.failures] == [
        "the server is away",
        "the server is away",
    ]


def test_what_an_engine_refuses_is_not_asked_again(tmp_path: Path) -> None:
    """It would refuse again."""
    backend = Flaky(lambda *_: False, fail_on=["a"])
    result = PipelineRunner(backend, archive_dir=tmp_path, retry=QUICK).run(CONFIG)
    assert (result.status, backend.asked["txt2img"]) == ("failed", 4)


def test_a_server_that_stays_away_ends_the_run_and_leaves_what_it_had(tmp_path: Path) -> None:
    """A thousand variants are not tried in vain one after the other; the run can go on later."""
    backend = Flaky(lambda stage, number: stage == "txt2img" and number > 1)
    records: list[LearningRecord] = []
    runner = PipelineRunner(
        backend, archive_dir=tmp_path, retry=QUICK, on_learning_record=records.append
    )
    result = runner.run(CONFIG)
    assert result.status == "partial"
    assert result.error == "the server is away; 2 variants are not drawn"
    assert [failure.error for failure in result.failures] == [
        "the server is away; tried 4 times",
    ]
    assert records[0].error == result.error
    assert len(records[0].variant_configs) == 2


@pytest.mark.parametrize(("unknown", "asked", "failed"), [(False, 4, 1), (True, 5, 0)])
def test_what_may_have_been_drawn_is_drawn_again_only_when_asked(
    tmp_path: Path, unknown: bool, asked: int, failed: int
) -> None:
    """It may cost money twice; the others go on after a rest."""
    backend = Flaky(lambda stage, number: stage == "txt2img" and number == 2, BackendOutcomeUnknown)
    retry = dataclasses.replace(QUICK, unknown=unknown)
    result = PipelineRunner(backend, archive_dir=tmp_path, retry=retry).run(CONFIG)
    assert (backend.asked["txt2img"], len(result.failures)) == (asked, failed)
    assert [failure.error for failure in result.failures] == [
        "the server is away; it was not sent again (--retry-unknown sends it again)"
    ] * failed


def test_a_server_that_swallows_everything_is_left_out_in_the_end(tmp_path: Path) -> None:
    """Each costs a time-out, and a thousand of them a week."""
    backend = Flaky(lambda stage, number: True, BackendOutcomeUnknown)
    config = {**CONFIG, "randomizer": {"mode": "fanout", "sweep": {
        "txt2img.cfg_scale": list(range(1, 20))}}}  # fmt: skip
    result = PipelineRunner(backend, archive_dir=tmp_path, retry=QUICK).run(config)
    assert (result.status, len(result.failures)) == ("failed", QUICK.retries + 3)
    assert "13 variants are not drawn" in str(result.error)


def test_the_last_server_is_waited_for_while_nobody_listens_there(tmp_path: Path) -> None:
    """One that starts again loads its models for minutes; no variant is to blame for that."""
    backend = Flaky(
        lambda stage, number: stage == "txt2img" and 1 < number < 30, BackendUnreachable
    )
    reports: list[RunProgress] = []
    runner = PipelineRunner(backend, archive_dir=tmp_path, retry=QUICK, on_progress=reports.append)
    result = runner.run(CONFIG)
    assert (result.status, len(result.images), result.failures) == ("completed", 8, ())
    waits = [progress.message for progress in reports if progress.event == "retry"]
    assert waits[0] == (
        "the server is away; trying again in 0.001 s, for 300 s at most (retry.patience)"
    )


class Killed(FakeBackend):
    """Dies of pictures of something blue, and needs a while to start again."""

    def __init__(self) -> None:
        super().__init__()
        self.killed = self._away = 0

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        if self._away:
            self._away -= 1
            raise BackendUnreachable("nobody listens")
        if "blue" in str(getattr(request, "prompt", "")):
            self.killed, self._away = self.killed + 1, 5
            raise BackendUnavailable("it broke off")
        return super().generate(request, on_step)


def test_a_picture_that_kills_the_last_server_fails_and_the_others_are_drawn(
    tmp_path: Path,
) -> None:
    backend = Killed()
    fox = {"prompt": "a {blue|red|green} fox", "seed": 1, "width": 64, "height": 64}
    config = {"txt2img": fox, "randomizer": {"mode": "fanout"}}
    result = PipelineRunner(backend, archive_dir=tmp_path, retry=QUICK).run(config)
    assert (len(result.images), len(result.failures), result.error) == (2, 1, None)
    assert backend.killed == QUICK.retries + 1


def test_patience_has_an_end(tmp_path: Path) -> None:
    """Then the run ends, with what it had; nothing was tried in vain."""
    backend = Flaky(lambda stage, number: number > 1, BackendUnreachable)
    retry = RetryPolicy(retries=3, first_wait=0.001, longest_wait=0.01, patience=0.05)
    result = PipelineRunner(backend, archive_dir=tmp_path, retry=retry).run(CONFIG)
    assert (result.status, result.failures) == ("partial", ())
    assert result.error == "the server is away; 3 variants are not drawn"


def test_a_wait_ends_when_somebody_cancels(tmp_path: Path) -> None:
    """Nobody waits for the end of a back-off of hours."""
    backend = Flaky(lambda *_: True)
    cancel = CancelToken()
    patient = RetryPolicy(retries=9, first_wait=3600, longest_wait=3600)
    runner = PipelineRunner(backend, archive_dir=tmp_path, retry=patient)
    began = time.monotonic()
    result = runner.run(CONFIG, cancel=cancel, on_progress=lambda _: cancel.cancel())
    assert (result.status, result.failures) == ("cancelled", ())
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_a_dead_server_is_left_out_and_its_variant_drawn_by_another(
    tmp_path: Path, dead: int
) -> None:
    """Whichever of three it is: no variant fails, and each is drawn once."""
    servers = [Flaky(lambda *_, mine=number: mine == dead) for number in range(3)]
    many = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 40}}
    records: list[LearningRecord] = []
    runner = PipelineRunner(
        servers[0],
        pool=LocalPool(servers, ["one", "two", "three"]),
        archive_dir=tmp_path,
        retry=QUICK,
        on_learning_record=records.append,
    )
    result = runner.run(many)
    assert (result.status, len(result.images)) == ("completed", 80)
    assert sum(server.asked["upscale"] for server in servers) == 40
    shares = list(result.workers.items())
    assert [bool(share.silences) for _, share in sorted(shares)] == [
        name == ["one", "two", "three"][dead] for name, _ in sorted(shares)
    ]
    assert [config["txt2img"]["seed"] for config in records[0].variant_configs] == [*range(1, 41)]


def test_a_variant_that_kills_every_server_does_not_take_the_others_with_it(
    tmp_path: Path,
) -> None:
    """One request that crashes its engine is one failure."""

    class Crashing(FakeBackend):
        def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
            if getattr(request, "cfg_scale", 0) == 2:
                raise BackendUnavailable("the connection broke")
            return super().generate(request, on_step)

    backends = [Crashing(), Crashing()]
    runner = PipelineRunner(
        backends[0], pool=LocalPool(backends), archive_dir=tmp_path, retry=QUICK
    )
    result = runner.run(CONFIG)
    assert (result.status, result.error, len(result.images)) == ("partial", None, 6)
    assert [failure.variant for failure in result.failures] == [1]


@given(
    retries=st.integers(0, 9),
    first=st.floats(0.001, 100),
    longest=st.floats(0.001, 100),
    failures=st.integers(1, 10**6),
)
def test_waits_grow_and_never_exceed_their_bound(
    retries: int, first: float, longest: float, failures: int
) -> None:
    """Also after a million failures in a row."""
    policy = RetryPolicy(retries=retries, first_wait=first, longest_wait=longest)
    assert 0 < policy.wait(failures) <= policy.wait(failures + 1) <= longest


class OneByOne(Flaky):
    """Gives the pictures of a request one by one, each asked for by itself."""

    def generate_rest(
        self, request: ImageRequest, on_step: StepCallback, done: int
    ) -> Iterator[Generation]:
        """Yield them."""
        assert isinstance(request, Txt2ImgRequest)
        for place in range(done, request.batch_size or 1):
            one = dataclasses.replace(request, batch_size=None, seed=request.seed + place)
            yield self.generate(one, on_step)


@pytest.mark.parametrize("cancelled", [False, True])
def test_pictures_that_are_there_outlast_an_engine_that_never_comes_back(
    tmp_path: Path, cancelled: bool
) -> None:
    """Its variant waits in the queue when nobody is left: what was drawn of it is recorded."""
    batch = {"txt2img": {**CONFIG["txt2img"], "batch_size": 3}}
    records: list[LearningRecord] = []
    cancel = CancelToken()

    def report(progress: RunProgress) -> None:
        if progress.event == "retry" and cancelled:
            cancel.cancel()

    backend = OneByOne(lambda stage, number: number > 2, BackendUnreachable)
    runner = PipelineRunner(
        backend,
        archive_dir=tmp_path,
        retry=dataclasses.replace(QUICK, patience=0),
        on_learning_record=records.append,
    )
    result = runner.run(batch, cancel=cancel, on_progress=report)
    assert result.status == ("cancelled" if cancelled else "failed")
    assert [output.seed for output in records[0].outputs] == [1, 2]
    assert [failure.error for failure in result.failures] == ["the server is away"] * (
        not cancelled
    )
    assert len(list(tmp_path.rglob("*.png"))) == 2
    left = finished_entries(records[0], None)  # where its journal is gone
    assert [bool(entry.failures) for _, entry, _ in left] == [True] * (not cancelled)


@pytest.mark.parametrize("workers", [1, 2])
def test_where_the_journal_is_gone_what_lacks_pictures_is_not_finished(
    tmp_path: Path, workers: int
) -> None:
    """Each picture of a batch is enlarged; and several variants may be cut off at once."""
    cut = {**CONFIG, "txt2img": {**CONFIG["txt2img"], "batch_size": 2}}
    records: list[LearningRecord] = []
    cancel = CancelToken()
    begun = threading.Barrier(workers)

    def second(stage: str, number: int) -> bool:
        if stage == "upscale" and number > 1:
            begun.wait(10)
            cancel.cancel()
        return False

    engines = [Flaky(second) for _ in range(workers)]
    runner = PipelineRunner(
        engines[0], pool=LocalPool(engines), archive_dir=tmp_path, on_learning_record=records.append
    )
    assert runner.run(cut, cancel=cancel).status == "cancelled"
    assert len(records[0].variant_configs) == workers
    assert finished_entries(records[0], None) == []
