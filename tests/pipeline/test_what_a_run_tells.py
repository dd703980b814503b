"""A run tells the truth about what it did, as it does it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from safelight.backends.fake import FakeBackend
from safelight.config import PipelineConfig
from safelight.durable_file import write_new_file
from safelight.formats.png_chunks import png_texts
from safelight.learning import LearningRecord, LearningRecordWriter
from safelight.pipeline import (
    BackendDescription,
    CancelToken,
    GeneratedImage,
    Generation,
    ImageRequest,
    PipelineRunner,
    RunProgress,
    RunResult,
    StepCallback,
    Txt2ImgRequest,
)
from safelight.pipeline.run_sheet import write_contact_sheet
from safelight.randomizer import plan_variants

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 3, "seed": 10}


def recorded(config: Any, backend: Any = None, **options: Any) -> tuple[RunResult, LearningRecord]:
    records: list[LearningRecord] = []
    runner = PipelineRunner(backend or FakeBackend(), on_learning_record=records.append, **options)
    result = runner.run(config, seed=1)
    return result, records[-1]


class BatchBackend:
    """Answers every drawing request with two pictures, the second of the next seed."""

    name = "batch"

    def __init__(self) -> None:
        self._fake = FakeBackend()

    def describe(self) -> BackendDescription:
        return BackendDescription(name=self.name)

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        if not isinstance(request, Txt2ImgRequest):
            return self._fake.generate(request, on_step)
        following = dataclasses.replace(request, seed=request.seed + 1)
        images = [self._fake.generate(r, on_step).images[0] for r in (request, following)]
        return Generation(images=tuple(images))


def test_every_picture_of_a_batch_is_redrawn_and_remembers_its_own_past() -> None:
    """What was made of the second picture must not claim the first one's seed."""
    config = {"txt2img": {"prompt": "a", **SMALL}, "img2img": {"denoising_strength": 0.5}}
    result, record = recorded(config, BatchBackend())
    stages = [image.output.stage for image in result.images]
    assert stages == ["txt2img", "txt2img", "img2img", "img2img"]
    assert [image.output.seed for image in result.images[:2]] == [10, 11]
    for parent, child in ((0, 2), (1, 3)):
        assert result.images[child].output.parent == result.images[parent].output.sha256
        png = result.images[child].png
        assert png is not None
        chunk = json.loads(png_texts(png)["safelight"])
        assert chunk["config"]["txt2img"]["seed"] == 10 + parent
    assert record.variant_configs[0]["txt2img"]["seed"] == 10
    assert [output.mismatches for output in record.outputs] == [()] * 4


def test_a_cancel_within_a_stage_stops_the_engine_at_its_next_step() -> None:
    """A stage can take minutes; nobody waits for its end."""
    cancel, steps = CancelToken(), list[int]()

    def stop(progress: RunProgress) -> None:
        steps.append(progress.step)
        if progress.step == 3:
            cancel.cancel()

    config = {"txt2img": {"prompt": "a", **SMALL, "steps": 100}}
    result = PipelineRunner(FakeBackend()).run(config, cancel=cancel, on_progress=stop)
    assert (result.status, steps, result.images) == ("cancelled", [1, 2, 3], ())


class CountingBackend(FakeBackend):
    """Notes, before each picture, how many files the run has by then."""

    def __init__(self, archive: Path) -> None:
        super().__init__()
        self._archive = archive
        self.on_the_way: list[int] = []
        self._drawn = 0

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        self.on_the_way.append(self._drawn - len(list(self._archive.rglob("0*.png"))))
        self._drawn += 1
        return super().generate(request, on_step)


def test_a_slow_disk_slows_the_engine_instead_of_filling_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most a handful of variants wait for the disk, however long the plan is."""
    real = os.fsync

    def slow(handle: int) -> None:
        time.sleep(0.005)
        real(handle)

    monkeypatch.setattr(os, "fsync", slow)
    backend = CountingBackend(tmp_path)
    config = {"txt2img": {"prompt": "a", **SMALL}, "randomizer": {"seeds_per_variant": 40}}
    PipelineRunner(backend, archive_dir=tmp_path).run(config)
    assert 1 < max(backend.on_the_way) <= 5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_journal_line_is_written_after_its_pictures_names_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut leaves a journal that names pictures that are not there, or no folder."""
    flushed: list[str] = []
    real = os.fsync

    def noted(handle: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    config = {"txt2img": {"prompt": "a", **SMALL}, "randomizer": {"seeds_per_variant": 3}}
    result = PipelineRunner(FakeBackend(), archive_dir=tmp_path).run(config)
    assert result.folder is not None
    folder = result.folder.name
    names = ["picture" if name.endswith(".png.tmp") else name for name in flushed]
    assert names == [
        tmp_path.name,  # the name of running/, where the plan is held
        *[tmp_path.name, "images", result.folder.parent.name, folder],
        "journal.jsonl",
        *["picture", folder, "journal.jsonl"] * 3,
        "journal.jsonl",
    ]


def test_the_record_has_the_hash_of_every_wildcard_file(tmp_path: Path) -> None:
    """A file that changes later must not look like the one that was used."""
    (tmp_path / "wild").mkdir()
    (tmp_path / "wild" / "colours.txt").write_bytes(b"red\nblue\n")
    config = PipelineConfig.from_mapping(
        {
            "txt2img": {"prompt": "a __colours__ apple", **SMALL},
            "randomizer": {"wildcards_dir": "wild"},
        },
        folder=tmp_path,
    )
    _, record = recorded(config)
    digest = hashlib.sha256(b"red\nblue\n").hexdigest()
    assert record.template["wildcard_files"] == {"colours": digest}
    assert record.template["prompts"] == {"txt2img.prompt": "a __colours__ apple"}


def test_what_a_template_changes_is_told_by_plan_run_and_record(tmp_path: Path) -> None:
    """Whoever looks at a picture later learns that the prompt is not what was written."""
    (tmp_path / "w.txt").write_text("red # later\n", "utf-8")
    config = PipelineConfig.from_mapping(
        {"txt2img": {"prompt": "{{1girl}} __w__", **SMALL}, "randomizer": {"wildcards_dir": "."}},
        folder=tmp_path,
    )
    told = plan_variants(config, 10).warnings
    result, record = recorded(config)
    assert [warning.partition(" at character")[0] for warning in told] == [
        "txt2img.prompt: '{{1girl}}'",
        "txt2img.prompt, __w__ > 'red # later': what follows '#' is a comment and was left out,"
        " '# later'",
    ]
    assert set(told) <= set(result.warnings)
    assert set(told) <= set(record.warnings)


def test_a_pack_keeps_every_prompt_as_written() -> None:
    """Not only the first one's."""
    config = {
        "txt2img": {"prompt": ["a {red|blue} cat", "a {big|small} dog"], **SMALL},
        "randomizer": {},
    }
    _, record = recorded(config)
    written = ["a {red|blue} cat", "a {big|small} dog"]
    assert record.template["prompts"] == {"txt2img.prompt": written}
    assert len({variant["label"] for variant in record.template["variants"]}) == 4


def test_the_seconds_of_a_stage_are_those_of_its_engine() -> None:
    """Costs of plans are estimated from them."""
    config = {"txt2img": {"prompt": "a", **SMALL}, "upscale": {"scale": 2}}
    _, record = recorded(config, FakeBackend(seconds_per_step=0.02))
    assert 0.06 <= record.seconds["txt2img"] < 2
    assert 0.02 <= record.seconds["upscale"] < 1
    assert record.outputs[0].seconds == record.seconds["txt2img"]


def test_the_input_picture_is_looked_for_beside_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the command is called from."""
    configs, elsewhere = tmp_path / "configs", tmp_path / "elsewhere"
    configs.mkdir()
    elsewhere.mkdir()
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "PNG")
    write_new_file(configs, "in", ".png", buffer.getvalue())
    (configs / "c.toml").write_text('[upscale]\ninit_image = "in.png"\nscale = 2\n')
    monkeypatch.chdir(elsewhere)
    result = PipelineRunner(FakeBackend()).run(PipelineConfig.from_file(configs / "c.toml"))
    (image,) = result.images
    assert (result.status, image.output.width) == ("completed", 64)
    assert image.output.parent == hashlib.sha256(buffer.getvalue()).hexdigest()


def test_a_finished_variant_is_told_before_the_next_one_ends() -> None:
    """With pictures of a minute each, nobody wants to hear of one a minute late."""
    events: list[tuple[str, int, int]] = []
    config = {"txt2img": {"prompt": "a", **SMALL}, "randomizer": {"seeds_per_variant": 3}}
    PipelineRunner(FakeBackend(seconds_per_step=0.1)).run(
        config, on_progress=lambda p: events.append((p.event, p.variant, p.step))
    )
    assert events.index(("variant", 1, 0)) < events.index(("step", 2, 3))
    assert events.index(("variant", 2, 0)) < events.index(("step", 3, 3))


def test_a_plan_that_was_stopped_between_its_runs_is_cancelled() -> None:
    """Two thirds of a plan are not a completed plan."""
    cancel = CancelToken()

    def stop(progress: RunProgress) -> None:
        if progress.event == "variant" and progress.variant == 2:
            cancel.cancel()

    config = {"txt2img": {"prompt": "a", **SMALL}, "randomizer": {"seeds_per_variant": 5}}
    runner = PipelineRunner(FakeBackend(), variants_per_run=2)
    result = runner.run(config, cancel=cancel, on_progress=stop)
    assert result.status == "cancelled"
    assert len(result.images) < 5


def test_a_failure_is_named_by_its_place_in_the_plan() -> None:
    """Also in the second of several runs of a plan."""
    config = {
        "txt2img": {"prompt": "a {red|green|blue} apple", **SMALL},
        "randomizer": {"seeds_per_variant": 2},
    }
    runner = PipelineRunner(
        FakeBackend(fail_on=["blue"]), variants_per_run=3, on_learning_record=lambda record: None
    )
    result = runner.run(config)
    assert [failure.variant for failure in result.failures] == [4, 5]
    assert all(failure.label for failure in result.failures)
    assert [f.variant for f in result.records[1].failures] == [1, 2]
    assert len(result.records) == 2


class TellingBackend(FakeBackend):
    """Reports everything that it was asked for, extra knobs included."""

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        (image,) = super().generate(request, on_step).images
        effective = {**image.effective, "extra": dict(request.extra)}
        return Generation(images=(GeneratedImage(png=image.png, effective=effective),))


def test_a_blanked_secret_is_no_mismatch_and_a_prompt_stays_as_it_was_drawn() -> None:
    """What is compared is what was sent, not what is fit to be shared."""
    prompt = "a link https://x.y/?key=value&z on a wall"
    config = {"txt2img": {"prompt": prompt, **SMALL, "extra": {"token": "hunter2"}}}
    result, record = recorded(config, TellingBackend())
    assert record.outputs[0].mismatches == ()
    assert record.variant_configs[0]["txt2img"]["prompt"] == prompt
    assert "hunter2" not in record.to_json()
    png = result.images[0].png
    assert png is not None
    assert "hunter2" not in str(png_texts(png))


def test_failed_variants_keep_their_place_on_the_sheet(tmp_path: Path) -> None:
    """A hole says more than a row that has moved up."""
    mapping = {
        "txt2img": {"prompt": "a {cat|dog|bird}", **SMALL},
        "randomizer": {"seeds_per_variant": 3},
    }
    config = PipelineConfig.from_mapping(mapping)
    whole = PipelineRunner(FakeBackend(), archive_dir=tmp_path).run(config, seed=1)
    holes = PipelineRunner(FakeBackend(fail_on=["dog"]), archive_dir=tmp_path).run(config, seed=1)
    plan = plan_variants(config, 1)
    sheets = []
    for result in (whole, holes):
        path = write_contact_sheet(result, config, plan)
        assert path is not None
        with Image.open(path) as image:
            sheets.append(np.asarray(image.convert("RGB")))
    assert sheets[0].shape == sheets[1].shape
    crossed = (sheets[1] == (236, 233, 226)).all(axis=2).sum()
    assert crossed > 3 * 100 * 100
    assert not (sheets[0] == (236, 233, 226)).all(axis=2).any()


def test_an_interrupted_recording_is_told_as_recoverable_only_where_it_is(tmp_path: Path) -> None:
    """'The next command tries again' must not be said when nothing is left to try."""
    (tmp_path / "records").write_text("in the way")
    writer = LearningRecordWriter(tmp_path / "records")
    config = {"txt2img": {"prompt": "a", **SMALL}}
    runner = PipelineRunner(FakeBackend(), archive_dir=tmp_path, learning_record_writer=writer)
    assert runner.run(config).recoverable
    (tmp_path / "file").write_text("no folder")
    lost = PipelineRunner(
        FakeBackend(), archive_dir=tmp_path / "file" / "archive", learning_record_writer=writer
    ).run(config)
    assert (lost.status, lost.recoverable) == ("failed", False)
