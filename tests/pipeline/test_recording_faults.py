"""Pictures come first: whatever breaks around a run, it goes on, and it says what broke."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from safelight.archive_layout import JOURNAL_NAME
from safelight.backends.fake import FakeBackend
from safelight.errors import BackendError
from safelight.learning import LearningRecord, LearningRecordWriter, read_records
from safelight.learning.learning_record import ImageOutput
from safelight.pipeline import (
    BackendDescription,
    GeneratedImage,
    Generation,
    ImageRequest,
    PipelineRunner,
    RunProgress,
    RunResult,
    StepCallback,
    recover_interrupted_runs,
)
from safelight.pipeline.drawn_before import outputs_are_whole
from safelight.pipeline.journal import read_journal

CONFIG: dict[str, Any] = {
    "txt2img": {
        "prompt": "a {red|green|blue} apple", "steps": 2, "seed": 5, "width": 64, "height": 64,
    },
    "randomizer": {"mode": "fanout"},
}  # fmt: skip
TWO_STAGES = {**CONFIG, "upscale": {"upscaler": "Nearest", "scale": 2}}

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="tmpfs")

Trouble = Callable[[Generation], Any]


class TroubledBackend:
    """FakeBackend, until a picture with *word* in its prompt is wanted."""

    name = "troubled"

    def __init__(self, trouble: Trouble, word: str = "green", stage: str = "txt2img") -> None:
        self._trouble, self._word, self._stage = trouble, word, stage
        self._fake = FakeBackend()
        self._prompt = ""

    def describe(self) -> BackendDescription:
        return BackendDescription(name=self.name)

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        self._prompt = getattr(request, "prompt", self._prompt)
        generation = self._fake.generate(request, on_step)
        if self._word in self._prompt and request.stage == self._stage:
            generation = self._trouble(generation)
        return generation


def raising(error: BaseException) -> Trouble:
    def trouble(generation: Generation) -> Generation:
        raise error

    return trouble


def answering(**changes: Any) -> Trouble:
    """Change the one picture of the answer."""

    def trouble(generation: Generation) -> Generation:
        return Generation(images=(dataclasses.replace(generation.images[0], **changes),))

    return trouble


def png_changed(change: Callable[[bytes], Any]) -> Trouble:
    def trouble(generation: Generation) -> Generation:
        return Generation(
            images=(GeneratedImage(png=change(generation.images[0].png), effective={}),)
        )

    return trouble


def png_of(side: int) -> bytes:
    from safelight.pipeline.images import encode_png

    return encode_png(np.zeros((side, side, 3), np.uint8))


def run_in(archive: Path, backend: Any, config: Any = None) -> tuple[RunResult, LearningRecord]:
    """Run with an archive, and return the result and the record that is on the disk."""
    with LearningRecordWriter(archive / "records") as writer:
        runner = PipelineRunner(backend, archive_dir=archive, learning_record_writer=writer)
        result = runner.run(config or CONFIG, seed=1)
    [record] = read_records(archive / "records")
    return result, record


def assert_whole(archive: Path, record: LearningRecord) -> None:
    """Every picture that *record* names is there and is the one that it means."""
    for output in record.outputs:
        assert output.path is not None
        data = (archive / output.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == output.sha256


def pixels(result: RunResult) -> list[tuple[int, str, str]]:
    return [(i.variant, i.output.stage, i.output.pixel_sha256) for i in result.images]


# -- the engine ------------------------------------------------------------------------


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        pytest.param(raising(BackendError("steps must be even")), "steps must be", id="refusal"),
        pytest.param(raising(RuntimeError("CUDA out of memory")), "out of memory", id="foreign"),
        pytest.param(raising(MemoryError()), "MemoryError", id="no memory"),
        pytest.param(raising(KeyError("images")), "images", id="key error"),
        pytest.param(raising(RuntimeError("half \ud83d")), "half", id="broken text"),
        pytest.param(raising(WordlessError()), "WordlessError", id="error without words"),
        pytest.param(lambda _: Generation(images=()), "without a picture", id="no picture"),
        pytest.param(lambda _: None, "", id="no answer"),
        pytest.param(png_changed(lambda _: b""), "damaged", id="empty file"),
        pytest.param(png_changed(lambda _: b"<html>"), "damaged", id="no image"),
        pytest.param(png_changed(lambda png: png[:-200]), "damaged", id="torn file"),
        pytest.param(png_changed(lambda png: png[:20] + png[40:]), "damaged", id="hole"),
        pytest.param(
            png_changed(lambda png: png[:80] + bytes(40) + png[120:]), "damaged", id="zeros"
        ),
        pytest.param(png_changed(lambda png: png.decode("latin-1")), "", id="text for bytes"),
        pytest.param(png_changed(lambda _: None), "", id="None for bytes"),
        pytest.param(answering(effective=None), "", id="None for knobs"),
    ],
)
def test_a_variant_that_fails_says_why_and_the_others_go_on(
    tmp_path: Path, trouble: Trouble, sentence: str
) -> None:
    """One bad answer costs one picture, not the night's run."""
    result, record = run_in(tmp_path, TroubledBackend(trouble))
    assert (result.status, record.status, record.error) == ("partial", "partial", None)
    [failure] = record.failures
    assert (failure.variant, failure.stage) == (1, "txt2img")
    assert sentence in failure.error
    assert failure.error
    assert [output.variant for output in record.outputs] == [0, 2]
    assert len(record.variant_configs) == 3
    assert record == result.learning_record
    assert_whole(tmp_path, record)


def test_a_run_of_nothing_but_trouble_is_failed(tmp_path: Path) -> None:
    """Its record is evidence of what does not work."""
    backend = TroubledBackend(raising(RuntimeError("out of memory")), word="apple")
    result, record = run_in(tmp_path, backend)
    assert (result.status, record.status, len(record.failures)) == ("failed", "failed", 3)


def test_an_engine_that_does_not_answer_leaves_a_record(tmp_path: Path) -> None:
    """Also when it is gone before the first picture."""

    class Gone(TroubledBackend):
        def describe(self) -> BackendDescription:
            raise BackendError("nobody \ud83d at http://me:hunter2@localhost:7860")

    result, record = run_in(tmp_path, Gone(raising(RuntimeError())))
    assert (result.status, record.status, record.outputs) == ("failed", "failed", ())
    assert record.error is not None
    assert "nobody" in record.error


def test_a_picture_of_another_size_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    """Labels must not lie: 64 px was asked for, 32 px came."""
    result, record = run_in(tmp_path, TroubledBackend(answering(png=png_of(32))))
    sentences = [*result.warnings, *(failure.error for failure in result.failures)]
    assert any("32" in sentence and "64" in sentence for sentence in sentences)
    assert {output.variant for output in record.outputs} >= {0, 2}
    assert_whole(tmp_path, record)


@pytest.mark.parametrize(
    "effective",
    [
        {"steps": np.int64(3)},
        {"steps": np.array([1, 2])},
        {"sampler": Path("Euler a")},
        {"model": "broken \ud83d"},
        {"cfg_scale": float("nan")},
        {"extra": {"deep": {1, 2}}},
        {"object": object()},
    ],
    ids=["numpy number", "numpy array", "path", "surrogate", "nan", "set", "object"],
)
def test_whatever_the_engine_reports_is_recorded(tmp_path: Path, effective: Any) -> None:
    """An engine's own types end at the record, and cost no picture."""
    backend = TroubledBackend(answering(effective=effective))
    config = {**CONFIG, "txt2img": {**CONFIG["txt2img"], "cfg_scale": 5, "sampler": "Euler"}}
    result, record = run_in(tmp_path, backend, config)
    assert (result.status, record.status, len(record.outputs)) == ("completed", "completed", 3)
    assert LearningRecord.from_json(record.to_json()) == record


def test_warnings_that_are_no_text_cost_nothing(tmp_path: Path) -> None:
    """Engines send lone halves of emoji."""

    def warn(generation: Generation) -> Generation:
        return dataclasses.replace(generation, warnings=("half an emoji \ud83d",))

    result, record = run_in(tmp_path, TroubledBackend(warn))
    assert (result.status, len(record.outputs), len(record.warnings)) == ("completed", 3, 1)


# -- the disk --------------------------------------------------------------------------


class FullDiskFor:
    """A disk that has no room for files whose name contains *text*."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, function: str, text: str) -> None:
        self._function, self._text = function, text
        self._names: dict[int, str] = {}
        for name in {"open", function}:
            real: Callable[..., Any] = getattr(os, name)
            monkeypatch.setattr(os, name, self._wrapped(name, real))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **options: Any) -> Any:
            about = self._names.get(first, "") if isinstance(first, int) else str(first)
            if name == self._function and self._text in about:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            answer = real(first, *rest, **options)
            if name == "open":
                self._names[answer] = str(first)
            return answer

        return call


@pytest.mark.parametrize("function", ["open", "write", "fsync", "rename"])
def test_a_picture_that_finds_no_room_fails_its_variant_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """The user hears of it, the others go on, and no half picture is left."""
    FullDiskFor(monkeypatch, function, "00001-")
    result, record = run_in(tmp_path, FakeBackend())
    assert (result.status, record.status) == ("partial", "partial")
    [failure] = record.failures
    assert (failure.variant, failure.stage) == (1, "txt2img")
    assert failure.error.startswith("the picture could not be written: ")
    assert "No space left" in failure.error
    assert [output.variant for output in record.outputs] == [0, 2]
    assert_whole(tmp_path, record)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_disk_without_room_for_any_picture_is_a_failed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not raise, and its record says what happened to each variant."""
    FullDiskFor(monkeypatch, "write", ".png")
    result, record = run_in(tmp_path, FakeBackend())
    assert (result.status, record.status, result.images) == ("failed", "failed", ())
    assert len(record.failures) == 3


@linux_only
@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_disk_that_really_runs_full_in_the_middle(tmp_path: Path) -> None:
    """The same with no trick; the records are on another disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48k", "safelight-test", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount")
    try:
        with LearningRecordWriter(tmp_path / "records") as writer:
            runner = PipelineRunner(FakeBackend(), archive_dir=disk, learning_record_writer=writer)
            config = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 20}}
            result = runner.run(config, seed=1)
        [record] = read_records(tmp_path / "records")
        assert (result.status, record.status) == ("partial", "partial")
        assert 0 < len(record.outputs) < 60
        assert len(record.outputs) + len(record.failures) == 60
        assert all("No space left" in failure.error for failure in record.failures)
        assert_whole(disk, record)
        assert not list(disk.rglob("*.tmp"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_run_without_a_folder_for_its_pictures_fails_with_a_reason(tmp_path: Path) -> None:
    """A file sits where the pictures should go."""
    (tmp_path / "images").write_text("mine")
    result, record = run_in(tmp_path, FakeBackend())
    assert (result.status, record.status) == ("failed", "failed")
    assert record.error is not None
    assert record.error.startswith("the folder for the pictures cannot be made: ")


@pytest.mark.parametrize("function", ["open", "write", "fsync"])
def test_a_journal_that_cannot_be_written_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """The record is made from memory then, and the user is told."""
    FullDiskFor(monkeypatch, function, JOURNAL_NAME)
    result, record = run_in(tmp_path, FakeBackend())
    assert (result.status, len(record.outputs)) == ("completed", 3)
    assert any("journal is incomplete" in warning for warning in result.warnings)
    assert_whole(tmp_path, record)


def test_a_marker_that_cannot_be_written_costs_no_picture(tmp_path: Path) -> None:
    """A file sits where the markers of running runs should be."""
    (tmp_path / "running").write_text("mine")
    result, record = run_in(tmp_path, FakeBackend())
    assert (result.status, len(record.outputs)) == ("completed", 3)
    assert any("journal is incomplete" in warning for warning in result.warnings)


# -- the record ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "status"),
    [
        (FakeBackend(), "completed"),
        (FakeBackend(fail_on=["green"]), "partial"),
        (FakeBackend(fail_on=["apple"]), "failed"),
    ],
    ids=["completed", "partial", "failed"],
)
def test_a_record_that_could_not_be_written_is_written_by_the_next_recovery(
    tmp_path: Path, backend: FakeBackend, status: str
) -> None:
    """The pictures are there, the user is told, and the journal holds what the record says."""
    (tmp_path / "records").write_text("a file where the folder should be")
    writer = LearningRecordWriter(tmp_path / "records")
    result = PipelineRunner(backend, archive_dir=tmp_path, learning_record_writer=writer).run(
        CONFIG, seed=1
    )
    assert (result.status, result.recording_failures, writer.failures) == (status, 1, 1)
    assert any("learning record" in warning for warning in result.warnings)
    assert all(image.path is not None and image.path.exists() for image in result.images)
    assert result.learning_record is not None

    (tmp_path / "records").unlink()
    with LearningRecordWriter(tmp_path / "records") as healthy:
        assert recover_interrupted_runs(tmp_path, healthy) == (result.learning_record,)
        assert recover_interrupted_runs(tmp_path, healthy) == ()
    writer.close()  # the first writer still held it: the same bytes are no second record
    [record] = read_records(tmp_path / "records")
    assert (record, record.status) == (result.learning_record, status)
    assert_whole(tmp_path, record)


def test_a_recovery_that_cannot_write_either_keeps_the_run_for_the_next(tmp_path: Path) -> None:
    """Nothing is given up because the disk is full twice."""
    (tmp_path / "records").write_text("in the way")
    writer = LearningRecordWriter(tmp_path / "records")
    result = PipelineRunner(FakeBackend(), archive_dir=tmp_path, learning_record_writer=writer).run(
        CONFIG
    )
    assert recover_interrupted_runs(tmp_path, LearningRecordWriter(tmp_path / "records")) == ()
    (tmp_path / "records").unlink()
    again = recover_interrupted_runs(tmp_path, LearningRecordWriter(tmp_path / "records"))
    assert again == (result.learning_record,)


class SlowWriter:
    """Takes its time, as a network drive does."""

    def __init__(self) -> None:
        self.records: list[LearningRecord] = []

    def write(self, record: LearningRecord) -> None:
        time.sleep(0.2)
        self.records.append(record)


class BrokenHook:
    """Raises in every place that a hook has."""

    failures = "not even a number"

    def __call__(self, value: object) -> None:
        raise RuntimeError("this hook is broken \ud83d")

    write = __call__


def test_a_writer_that_hangs_delays_the_run_by_its_own_time_and_nothing_else() -> None:
    """A writer is the caller's own: it is waited for, once, after the last picture."""
    whole = PipelineRunner(FakeBackend()).run(CONFIG, seed=1)
    slow = SlowWriter()
    result = PipelineRunner(FakeBackend(), learning_record_writer=slow).run(CONFIG, seed=1)
    assert pixels(result) == pixels(whole)
    assert (result.status, result.warnings) == (whole.status, whole.warnings)
    assert slow.records == [result.learning_record]
    assert result.total_seconds > 0.2


def test_hooks_that_raise_change_nothing(tmp_path: Path) -> None:
    """All three broken at once: the pictures are the same, and so is the status."""
    whole = PipelineRunner(FakeBackend()).run(TWO_STAGES, seed=1)
    broken = BrokenHook()
    result = PipelineRunner(
        FakeBackend(),
        archive_dir=tmp_path,
        learning_record_writer=broken,
        on_learning_record=broken,
        on_progress=broken,
    ).run(TWO_STAGES, seed=1)
    assert pixels(result) == pixels(whole)
    assert (result.status, result.failures) == (whole.status, whole.failures)
    assert result.recording_failures == 2

    with LearningRecordWriter(tmp_path / "records") as writer:
        assert recover_interrupted_runs(tmp_path, writer) == (result.learning_record,)


def test_a_callback_that_raises_does_not_make_a_written_record_unsafe(tmp_path: Path) -> None:
    """A warning that is not true teaches people not to read warnings."""
    with LearningRecordWriter(tmp_path / "records") as writer:
        result = PipelineRunner(
            FakeBackend(),
            archive_dir=tmp_path,
            learning_record_writer=writer,
            on_learning_record=BrokenHook(),
        ).run(CONFIG)
    assert list(read_records(tmp_path / "records")) == [result.learning_record]
    assert result.recording_failures == 1
    assert not any("not safe" in warning for warning in result.warnings)
    assert list((tmp_path / "running").iterdir()) == []


@pytest.mark.parametrize(
    "value",
    [{"itself"}, object(), float("nan"), "\ud83d", 10**5000],
    ids=["set", "object", "nan", "broken text", "5,000 digits"],
)
def test_metadata_that_json_cannot_hold_costs_no_run(tmp_path: Path, value: Any) -> None:
    """A config from Python may carry anything."""
    result, record = run_in(tmp_path, FakeBackend(), {**CONFIG, "metadata": {"mine": value}})
    assert (result.status, len(record.outputs), set(record.metadata)) == ("completed", 3, {"mine"})


# -- the interrupt ---------------------------------------------------------------------


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_a_record_and_goes_on(
    tmp_path: Path, interrupt: type[BaseException]
) -> None:
    """Control-C stops the program, and what was finished before is recorded."""
    backend = TroubledBackend(raising(interrupt()), word="blue")
    writer = LearningRecordWriter(tmp_path / "records")
    runner = PipelineRunner(backend, archive_dir=tmp_path, learning_record_writer=writer)
    with pytest.raises(interrupt):
        runner.run(CONFIG)
    [record] = read_records(tmp_path / "records")
    assert (record.status, record.error) == ("cancelled", interrupt.__name__)
    assert [output.variant for output in record.outputs] == [0, 1]
    assert_whole(tmp_path, record)
    assert list((tmp_path / "running").iterdir()) == []


def test_an_interrupt_out_of_a_progress_bar_is_one_too(tmp_path: Path) -> None:
    """It strikes wherever the program happens to be."""

    def interrupt(progress: RunProgress) -> None:
        if progress.event == "variant":
            raise KeyboardInterrupt

    writer = LearningRecordWriter(tmp_path / "records")
    runner = PipelineRunner(FakeBackend(), archive_dir=tmp_path, learning_record_writer=writer)
    with pytest.raises(KeyboardInterrupt):
        runner.run(CONFIG, on_progress=interrupt)
    [record] = read_records(tmp_path / "records")
    assert record.status == "cancelled"
    assert record.outputs != ()
    assert_whole(tmp_path, record)


def test_a_variant_that_was_interrupted_between_stages_is_not_called_finished(
    tmp_path: Path,
) -> None:
    """Going on later must draw the stage that is missing."""
    backend = TroubledBackend(raising(KeyboardInterrupt()), word="blue", stage="upscale")
    writer = LearningRecordWriter(tmp_path / "records")
    runner = PipelineRunner(backend, archive_dir=tmp_path, learning_record_writer=writer)
    with pytest.raises(KeyboardInterrupt):
        runner.run(TWO_STAGES)
    [journal] = tmp_path.rglob(JOURNAL_NAME)
    _, entries, ending = read_journal(journal)
    assert [(len(entry.outputs), entry.finished) for entry in entries] == [
        (2, True), (2, True), (1, False),
    ]  # fmt: skip
    assert ending is not None
    assert ending["status"] == "cancelled"


# -- secrets ---------------------------------------------------------------------------

CANARY = "c4n4ry-h7q2"


class TellingBackend(TroubledBackend):
    """Says more than it should, everywhere it can."""

    def describe(self) -> BackendDescription:
        return BackendDescription(
            name=self.name,
            version="1",
            environment={"token": CANARY, "user": CANARY, "url": f"http://me:{CANARY}@host"},
        )


def test_no_secret_reaches_any_file_of_a_run(tmp_path: Path) -> None:
    """Pictures, journal and record are all shared; each of them is looked through."""

    def reveal(generation: Generation) -> Generation:
        image = dataclasses.replace(
            generation.images[0], effective={"extra": {"api_key": CANARY}, "password": CANARY}
        )
        return Generation(images=(image,), warnings=(f"asked http://me:{CANARY}@host",))

    refusal = BackendError(f"http://me:{CANARY}@host refused")
    config = {
        **CONFIG,
        "txt2img": {**CONFIG["txt2img"], "extra": {"password": CANARY, "a": [{"token": CANARY}]}},
        "metadata": {"secret": CANARY, "link": f"https://{CANARY}@host/x"},
        "backend": {"name": "fake", "options": {"password": CANARY}},
    }
    for backend in (TellingBackend(reveal), TellingBackend(raising(refusal))):
        with LearningRecordWriter(tmp_path / "records") as writer:
            PipelineRunner(backend, archive_dir=tmp_path, learning_record_writer=writer).run(config)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2 + 2 + 3 + 2  # records, journals, pictures
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []


def test_a_path_that_can_be_none_holds_no_whole_picture(tmp_path: Path) -> None:
    """A record says what it likes."""
    output = ImageOutput(
        variant=0, stage="txt2img", sha256="a" * 64, pixel_sha256="", width=8, height=8, path="a\0b"
    )
    assert not outputs_are_whole(tmp_path, [output])


@pytest.mark.parametrize(
    "path", ["../mine.png", "OUTSIDE/mine.png", "images/../mine.png", "images/link.png",
             "images/folder/mine.png", "images/pipe.png", "/dev/zero"],
)  # fmt: skip
def test_a_picture_outside_of_the_pictures_was_not_drawn_before(tmp_path: Path, path: str) -> None:
    """It would be read, and shown on contact sheets; and a pipe keeps nobody waiting."""
    archive, content = tmp_path / "archive", b"mine"
    images = archive / "images"
    images.mkdir(parents=True)
    for folder in (tmp_path, archive, images):
        (folder / "mine.png").write_bytes(content)
    (images / "link.png").symlink_to(tmp_path / "mine.png")
    (images / "folder").symlink_to(tmp_path)
    os.mkfifo(images / "pipe.png")
    output = ImageOutput(
        variant=0, stage="txt2img", sha256=hashlib.sha256(content).hexdigest(), pixel_sha256="",
        width=8, height=8, path="images/mine.png",
    )  # fmt: skip
    assert outputs_are_whole(archive, [output])
    elsewhere = path.replace("OUTSIDE", str(tmp_path))
    assert not outputs_are_whole(archive, [msgspec.structs.replace(output, path=elsewhere)])
