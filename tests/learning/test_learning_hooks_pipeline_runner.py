"""One record per run, the same object to writer and callback, and neither can hurt the run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.errors import ConfigError
from safelight.learning import LearningRecord, LearningRecordWriter, read_records
from safelight.pipeline import CancelToken, PipelineRunner, RunProgress, RunResult

CONFIG: dict[str, Any] = {
    "name": "hooks",
    "txt2img": {"prompt": "a {red|green} apple", "steps": 4, "seed": 5, "width": 64, "height": 64},
    "upscale": {"upscaler": "Lanczos", "scale": 2},
    "randomizer": {"mode": "fanout"},
    "metadata": {"project": "fruit"},
}


class InMemoryWriter:
    """Keeps records instead of writing them."""

    def __init__(self) -> None:
        self.records: list[LearningRecord] = []

    def write(self, record: LearningRecord) -> None:
        self.records.append(record)


class RaisingHook:
    """Raises in every place that a hook has."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, value: object) -> None:
        self.calls += 1
        raise RuntimeError("this hook is broken")

    write = __call__


def pixels(result: RunResult) -> list[tuple[int, str, str]]:
    return [(i.variant, i.output.stage, i.output.pixel_sha256) for i in result.images]


def test_exactly_one_record_and_the_same_object_to_both() -> None:
    """Writer and callback hear of a run once, and of the same record."""
    writer, heard = InMemoryWriter(), list[LearningRecord]()
    runner = PipelineRunner(
        FakeBackend(), learning_record_writer=writer, on_learning_record=heard.append
    )
    result = runner.run(CONFIG, seed=1)
    assert len(writer.records) == len(heard) == 1
    assert writer.records[0] is heard[0] is result.learning_record


def test_the_record_says_what_ran() -> None:
    """Every fact that the run knows is in its record."""
    writer = InMemoryWriter()
    result = PipelineRunner(FakeBackend(), learning_record_writer=writer).run(CONFIG, seed=1)
    record = writer.records[0]
    assert (record.status, record.name, record.plan_seed) == ("completed", "hooks", 1)
    assert (record.randomizer_mode, record.randomizer_plan_size) == ("fanout", 2)
    assert record.base_config["txt2img"]["prompt"] == "a {red|green} apple"
    prompts = [variant["txt2img"]["prompt"] for variant in record.variant_configs]
    assert prompts == ["a red apple", "a green apple"]
    assert record.template["prompts"] == {"txt2img.prompt": "a {red|green} apple"}
    assert len(record.template["variants"]) == 2
    assert [(o.variant, o.stage, o.width) for o in record.outputs] == [
        (0, "txt2img", 64), (0, "upscale", 128), (1, "txt2img", 64), (1, "upscale", 128),
    ]  # fmt: skip
    assert record.outputs[1].parent == record.outputs[0].sha256
    assert [o.sha256 for o in record.outputs] == [i.output.sha256 for i in result.images]
    assert (record.primary_steps, record.primary_sampler) == (4, "Euler")
    assert record.backend["name"] == "fake"
    assert {"safelight", "python", "platform"} <= record.environment.keys()
    assert set(record.seconds) == {"txt2img", "upscale"}
    assert record.metadata == {"project": "fruit"}
    assert record.outputs[0].path is None


def test_without_hooks_there_is_no_record_and_no_exception() -> None:
    """Nothing is built for nobody."""
    result = PipelineRunner(FakeBackend()).run(CONFIG, seed=1)
    assert result.learning_record is None
    assert result.status == "completed"
    assert result.recording_failures == 0


@pytest.mark.parametrize("broken", ["writer", "callback", "both"])
def test_a_hook_that_raises_changes_nothing_in_the_result(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken recorder is logged, counted and shown; pictures and status stay the same."""
    whole = PipelineRunner(FakeBackend()).run(CONFIG, seed=1)
    writer, callback = RaisingHook(), RaisingHook()
    with caplog.at_level(logging.ERROR):
        result = PipelineRunner(
            FakeBackend(),
            learning_record_writer=writer if broken != "callback" else None,
            on_learning_record=callback if broken != "writer" else None,
        ).run(CONFIG, seed=1)
    assert pixels(result) == pixels(whole)
    assert (result.status, result.failures) == (whole.status, whole.failures)
    assert result.recording_failures == writer.calls + callback.calls > 0
    assert "this hook is broken" in caplog.text
    assert any("learning record" in warning for warning in result.warnings)


def test_a_broken_writer_does_not_keep_the_record_from_the_callback() -> None:
    """Each hook stands for itself."""
    heard = list[LearningRecord]()
    runner = PipelineRunner(
        FakeBackend(), learning_record_writer=RaisingHook(), on_learning_record=heard.append
    )
    assert runner.run(CONFIG).learning_record is heard[0]


def test_a_progress_callback_that_raises_is_called_once_and_hurts_nothing() -> None:
    """A broken progress bar must not cost a picture, nor fill the log."""
    listener = RaisingHook()
    result = PipelineRunner(FakeBackend(), on_progress=listener).run(CONFIG)
    assert (result.status, listener.calls) == ("completed", 1)


def test_a_failed_variant_is_noted_and_the_others_go_on() -> None:
    """One bad prompt costs one picture, not the night's run."""
    writer = InMemoryWriter()
    runner = PipelineRunner(FakeBackend(fail_on=["red"]), learning_record_writer=writer)
    result = runner.run(CONFIG, seed=1)
    record = writer.records[0]
    assert (result.status, record.status) == ("partial", "partial")
    assert [(f.variant, f.stage) for f in record.failures] == [(0, "txt2img")]
    assert {o.variant for o in record.outputs} == {1}
    assert len(record.variant_configs) == 2


def test_a_run_in_which_everything_fails_has_a_record_too() -> None:
    """What did not work is evidence."""
    writer = InMemoryWriter()
    runner = PipelineRunner(FakeBackend(fail_on=["apple"]), learning_record_writer=writer)
    result = runner.run(CONFIG)
    assert (result.status, writer.records[0].status) == ("failed", "failed")
    assert result.images == ()


def test_a_substitution_by_the_engine_is_a_mismatch_that_is_shown() -> None:
    """Labels must not lie: what the engine used instead is kept beside what was asked."""
    writer = InMemoryWriter()
    backend = FakeBackend(substitute={"sampler": "DPM++ 2M"})
    config = {"txt2img": {"prompt": "a", "sampler": "Euler a", "width": 64, "height": 64}}
    result = PipelineRunner(backend, learning_record_writer=writer).run(config)
    (mismatch,) = writer.records[0].outputs[0].mismatches
    assert (mismatch.knob, mismatch.requested) == ("txt2img.sampler", "Euler a")
    assert mismatch.effective == writer.records[0].primary_sampler == "DPM++ 2M"
    assert writer.records[0].variant_configs[0]["txt2img"]["sampler"] == "DPM++ 2M"
    assert any("Euler a" in warning and "DPM++ 2M" in warning for warning in result.warnings)


@pytest.mark.parametrize("event", ["step", "variant"])
def test_a_cancelled_run_has_its_record_and_keeps_its_pictures(event: str) -> None:
    """Stopping between or within stages loses nothing that was finished."""
    writer, cancel = InMemoryWriter(), CancelToken()
    steps = 0

    def stop(progress: RunProgress) -> None:
        nonlocal steps
        steps += progress.event == "step"
        if progress.event == event and (event == "variant" or steps == 7):
            cancel.cancel()

    config = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 10}}
    runner = PipelineRunner(FakeBackend(), learning_record_writer=writer)
    result = runner.run(config, cancel=cancel, on_progress=stop)
    record = writer.records[0]
    assert (result.status, record.status) == ("cancelled", "cancelled")
    assert 0 < len(record.variant_configs) < 20
    assert len(record.outputs) == len(result.images) > 0
    assert record.randomizer_plan_size == 20


def test_a_config_at_fault_begins_no_run() -> None:
    """What cannot begin is an error for the caller, not a record."""
    writer = InMemoryWriter()
    runner = PipelineRunner(FakeBackend(), learning_record_writer=writer)
    with pytest.raises(ConfigError, match=r"txt2img\.sampler.*did you mean 'Euler a'"):
        runner.run({"txt2img": {"prompt": "a", "sampler": "euler_ancestral"}})
    assert writer.records == []


def test_a_large_plan_becomes_several_runs_with_a_record_each() -> None:
    """A record stays readable, and the parts know their plan."""
    writer = InMemoryWriter()
    runner = PipelineRunner(FakeBackend(), learning_record_writer=writer, variants_per_run=3)
    config = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 4}}
    result = runner.run(config)
    parts = [(r.part, r.parts, r.first_variant, len(r.variant_configs)) for r in writer.records]
    assert parts == [(1, 3, 0, 3), (2, 3, 3, 3), (3, 3, 6, 2)]
    assert len({r.plan_id for r in writer.records}) == 1
    assert len({r.run_id for r in writer.records}) == 3
    assert (result.status, len(result.images)) == ("completed", 16)


def test_the_file_writer_and_the_archive_work_together(tmp_path: Path) -> None:
    """Every image that the record names is there, whole, under the name it says."""
    import hashlib

    with LearningRecordWriter(tmp_path / "records") as writer:
        runner = PipelineRunner(FakeBackend(), archive_dir=tmp_path, learning_record_writer=writer)
        result = runner.run(CONFIG)
    (record,) = read_records(tmp_path / "records")
    assert record == result.learning_record
    for output in record.outputs:
        assert output.path is not None
        data = (tmp_path / output.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == output.sha256
    assert list((tmp_path / "running").iterdir()) == []
    assert not list(tmp_path.rglob("*.tmp"))
