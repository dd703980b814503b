"""An engine with several servers draws several variants at once; the account stays in order."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.errors import BackendError, BackendUnavailable
from safelight.learning import LearningRecord
from safelight.pipeline import CancelToken, PipelineRunner, RunProgress
from safelight.pipeline.backend import (
    BackendDescription,
    Generation,
    ImageRequest,
    StepCallback,
    Txt2ImgRequest,
)
from safelight.pipeline.journal import read_journal

CONFIG = {
    "txt2img": {"prompt": "a", "seed": 1, "steps": 2, "width": 16, "height": 16},
    "randomizer": {"mode": "fanout", "sweep": {"txt2img.cfg_scale": [1, 2, 3, 4, 5, 6]}},
}


class Servers(FakeBackend):
    """Three at once; *meet* lets requests go on only when all three are under way."""

    lanes = 3

    def __init__(self, meet: threading.Barrier | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.threads: set[int] = set()
        self.asked = 0
        self._meet = meet
        self._lock = threading.Lock()

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        with self._lock:
            self.threads.add(threading.get_ident())
            self.asked += 1
        if self._meet is not None:
            self._meet.wait(timeout=20)
        assert isinstance(request, Txt2ImgRequest)
        if request.cfg_scale == 4:
            raise BackendError("this one fails")
        return super().generate(request, on_step)


def runner(backend: FakeBackend, archive: Path, records: list[LearningRecord]) -> PipelineRunner:
    return PipelineRunner(backend, archive_dir=archive, on_learning_record=records.append)


def test_variants_are_drawn_at_the_same_time_and_recorded_in_their_order(tmp_path: Path) -> None:
    """Three requests meet at a barrier: one after another they would wait for ever."""
    backend = Servers(meet=threading.Barrier(3))
    records: list[LearningRecord] = []
    reports: list[tuple[str, int]] = []

    def listen(progress: RunProgress) -> None:
        reports.append((progress.event, threading.get_ident()))

    result = runner(backend, tmp_path, records).run(CONFIG, on_progress=listen)
    assert len(backend.threads) == 3
    assert threading.get_ident() not in backend.threads
    assert {thread for _, thread in reports} == {threading.get_ident()}, "listeners need no locks"
    assert [event for event, _ in reports if event != "step"].count("variant") == 5
    (record,) = records
    assert (result.status, record.status) == ("partial", "partial")
    scales = [config["txt2img"]["cfg_scale"] for config in record.variant_configs]
    assert scales == [1, 2, 3, 4, 5, 6]
    assert [failure.variant for failure in record.failures] == [3]
    for output in record.outputs:
        assert output.path is not None
        assert output.path.split("/")[-1].startswith(f"{output.variant:05d}-")


def test_a_stop_ends_every_lane_and_keeps_what_is_finished(tmp_path: Path) -> None:
    """Finished pictures are in the record, and each points at its own config."""
    backend = Servers(seconds_per_step=0.01)
    records: list[LearningRecord] = []
    cancel = CancelToken()

    def stop_after_two(progress: RunProgress) -> None:
        if progress.event == "variant" and progress.variant >= 2:
            cancel.cancel()

    run = runner(backend, tmp_path, records)
    many = {"mode": "fanout", "seeds_per_variant": 60}
    config = {"txt2img": CONFIG["txt2img"], "randomizer": many}
    result = run.run(config, cancel=cancel, on_progress=stop_after_two)
    (record,) = records
    assert (result.status, record.status) == ("cancelled", "cancelled")
    assert backend.asked < 60
    journal = next(tmp_path.rglob("journal.jsonl"))
    _, entries, ending = read_journal(journal)
    assert ending is not None
    assert len(record.variant_configs) == len(entries)
    for output in record.outputs:
        assert record.variant_configs[output.variant]["txt2img"]["seed"] == output.seed


def test_an_interrupt_from_the_keyboard_stops_the_lanes_and_leaves_a_record(
    tmp_path: Path,
) -> None:
    """Control-C reaches the caller's thread, where nobody draws."""
    backend = Servers(seconds_per_step=0.01)
    records: list[LearningRecord] = []

    def press(progress: RunProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner(backend, tmp_path, records).run(CONFIG, on_progress=press)
    (record,) = records
    assert record.status == "cancelled"
    assert not [t for t in threading.enumerate() if t.name.startswith("safelight-")]


def test_strict_makes_a_substitution_a_failure_and_keeps_the_picture(tmp_path: Path) -> None:
    """Who asks for Heun and gets DPM++ 2M has no evidence about Heun."""
    backend = FakeBackend(substitute={"sampler": "DPM++ 2M"})
    config = {"txt2img": {"prompt": "a", "sampler": "Heun", "width": 16, "height": 16}}
    lenient = PipelineRunner(backend, archive_dir=tmp_path).run(config)
    assert lenient.status == "completed"
    assert lenient.warnings == ("asked for txt2img.sampler = 'Heun', the engine used 'DPM++ 2M'",)
    result = PipelineRunner(backend, archive_dir=tmp_path, strict=True).run(config)
    assert result.status == "failed"
    (failure,) = result.failures
    assert failure.error == "asked for txt2img.sampler = 'Heun', the engine used 'DPM++ 2M'"
    assert [image.path.is_file() for image in result.images if image.path] == [True]


def test_variants_of_one_model_are_drawn_together_and_recorded_in_their_order(
    tmp_path: Path,
) -> None:
    """Swapping a checkpoint costs seconds; the plan's order is for people."""
    models: list[str | None] = []

    class Listening(FakeBackend):
        def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
            assert isinstance(request, Txt2ImgRequest)
            models.append(request.model)
            return super().generate(request, on_step)

    sweep = {"txt2img.steps": [1, 2, 3], "txt2img.model": ["b", "a"]}
    config = {**CONFIG, "randomizer": {"mode": "fanout", "sweep": sweep}}
    records: list[LearningRecord] = []
    result = runner(Listening(), tmp_path, records).run(config)
    assert models == ["b"] * 3 + ["a"] * 3
    settings = [
        (config["txt2img"]["steps"], config["txt2img"]["model"])
        for config in records[0].variant_configs
    ]
    assert settings == [(1, "b"), (1, "a"), (2, "b"), (2, "a"), (3, "b"), (3, "a")]
    assert len(result.images) == 6


@pytest.mark.parametrize("goes_silent", [False, True])
def test_a_version_that_only_a_picture_tells_is_in_the_record(
    tmp_path: Path, goes_silent: bool
) -> None:
    """Web UIs tell theirs in no other way; one that is gone by then changes nothing."""

    class Shy(FakeBackend):
        drawn = False

        def describe(self) -> BackendDescription:
            if self.drawn and goes_silent:
                raise BackendUnavailable("gone")
            return BackendDescription(name="fake", version="1.10" if self.drawn else "")

        def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
            self.drawn = True
            return super().generate(request, on_step)

    records: list[LearningRecord] = []
    result = runner(Shy(), tmp_path, records).run(CONFIG)
    assert result.status == "completed"
    assert records[0].backend["version"] == ("" if goes_silent else "1.10")
