from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from safelight.archive import Archive
from safelight.backends.fake import FakeBackend
from safelight.formats.png_chunks import png_texts, with_texts
from safelight.imports.folder_import import import_folders
from safelight.imports.imported_picture import import_picture
from safelight.imports.lost_records import rebuild_lost_records
from safelight.imports.picture_reader import read_picture
from safelight.knobs import KNOBS
from safelight.learning.learning_record import LearningRecord
from safelight.pipeline import PipelineRunner

_CONFIG: dict[str, dict[str, Any]] = {
    "txt2img": {"prompt": 'a barn,\n  "fog": {a}, <lora:ink:0.5>\n', "negative_prompt": "x: y, z",
                "steps": 3, "width": 64, "height": 64, "cfg_scale": 7.0, "seed": 11},
    "img2img": {"denoising_strength": 0.4},
    "upscale": {"upscaler": "Lanczos", "scale": 2},
}  # fmt: skip
_FOREIGN = "a barn\nSteps: {steps}, Sampler: Euler a, CFG scale: 7, Seed: {seed}, Size: 64x64"


@pytest.fixture
def drawn(tmp_path: Path) -> dict[str, Path]:
    """Stage -> picture of a run in an archive."""
    result = PipelineRunner(FakeBackend(), archive_dir=tmp_path / "first").run(_CONFIG)
    assert result.status == "completed"
    return {image.output.stage: image.path for image in result.images if image.path}


def _with(path: Path, target: Path, **texts: str | None) -> Path:
    """Write the picture *path* with other texts; None leaves one out."""
    kept = {**png_texts(path.read_bytes()), **texts}
    info = PngImagePlugin.PngInfo()
    for key, text in kept.items():
        if text is not None:
            info.add_itxt(key, text)
    with Image.open(path) as image:
        image.save(target, "PNG", pnginfo=info)
    return target


def _record(path: Path) -> LearningRecord:
    return LearningRecord.from_json(import_picture(str(path)).document)


@pytest.mark.parametrize("stage", ["txt2img", "img2img", "upscale"])
def test_a_picture_alone_tells_exactly_how_it_was_made(
    drawn: dict[str, Path], tmp_path: Path, stage: str
) -> None:
    archive = Archive(tmp_path / "elsewhere")
    copy = tmp_path / "copies" / "renamed.png"
    copy.parent.mkdir()
    copy.write_bytes(drawn[stage].read_bytes())
    summary = import_folders([copy.parent], archive)
    assert summary.read == {"safelight": {"full": 1}}
    (row,) = archive.query("", limit=None).dicts()
    record = archive.record(str(row["run_id"]))
    chunk = json.loads(png_texts(copy.read_bytes())["safelight"])
    (config,) = record.variant_configs
    assert config == chunk["config"]
    assert config["txt2img"]["prompt"] == _CONFIG["txt2img"]["prompt"]
    assert repr(config["txt2img"]["cfg_scale"]) == "7.0"
    assert record.backend == {"name": "fake", "version": chunk["engine"]["version"]}
    assert (row["stage"], row["backend"]) == (stage, "fake")
    notes = record.metadata["import"]
    assert set(notes["fields"].values()) == {"read"}
    assert notes["extra"]["safelight run"] == notes["own"]["run_id"] == chunk["run_id"]
    assert notes["own"]["pixel_sha256"] == chunk["pixel_sha256"]
    assert record.outputs[0].parent == chunk["parent"]


def test_what_a_run_drew_is_not_counted_twice(tmp_path: Path) -> None:
    archive, copies = Archive(tmp_path / "first"), tmp_path / "copies"
    with archive.writer() as writer:
        PipelineRunner(
            FakeBackend(), archive_dir=archive.path, learning_record_writer=writer
        ).run(_CONFIG)  # fmt: skip
    copies.mkdir()
    for path in archive.path.rglob("*.png"):
        (copies / path.name).write_bytes(path.read_bytes())
    summary = import_folders([copies], archive)
    assert (summary.known, summary.imported) == (3, 0)
    assert len(list(archive.query("", limit=None).dicts())) == 3


def test_a_lost_record_knows_its_engine_again(drawn: dict[str, Path], tmp_path: Path) -> None:
    for journal in tmp_path.rglob("journal.jsonl"):
        journal.unlink()
    (record,) = rebuild_lost_records(Archive(tmp_path / "first"))
    assert (record.backend["name"], len(record.outputs)) == ("fake", len(drawn))


def test_a_text_without_knobs_takes_them_from_the_text_beside(
    drawn: dict[str, Path], tmp_path: Path
) -> None:
    chunk = json.loads(png_texts(drawn["txt2img"].read_bytes())["safelight"])
    del chunk["config"], chunk["engine"]
    path = _with(drawn["txt2img"], tmp_path / "a.png", safelight=json.dumps(chunk))
    reading = read_picture(path)
    assert (reading.generator, reading.config["txt2img"]["seed"]) == ("safelight", 11)
    assert reading.extra["safelight run"] == chunk["run_id"]
    assert _record(path).backend["name"] == "safelight"


@pytest.mark.parametrize("text", [
    _FOREIGN.format(steps=3, seed=12),
    _FOREIGN.format(steps=20, seed=11),
    _FOREIGN.format(steps=3, seed=11) + ", Denoising strength: 0.5",
], ids=["seed", "steps", "stage"])  # fmt: skip
def test_what_another_tool_drew_from_our_picture_is_its_own(
    drawn: dict[str, Path], tmp_path: Path, text: str
) -> None:
    """Web UIs copy the texts of a picture into what they draw from it."""
    reading = read_picture(_with(drawn["txt2img"], tmp_path / "a.png", parameters=text))
    assert (reading.generator, reading.own) == ("a1111-like", {})
    assert reading.config.keys() <= {"txt2img", "img2img"}
    assert any("drawn from that picture" in warning for warning in reading.warnings)


def test_the_engine_s_own_text_beside_is_no_contradiction(
    drawn: dict[str, Path], tmp_path: Path
) -> None:
    text = _FOREIGN.format(steps=3, seed=11)
    reading = read_picture(_with(drawn["txt2img"], tmp_path / "a.png", parameters=text))
    assert reading.config["txt2img"]["prompt"] == _CONFIG["txt2img"]["prompt"]


def test_a_picture_that_was_changed_since_says_so(drawn: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    info = PngImagePlugin.PngInfo()
    for key, text in png_texts(drawn["txt2img"].read_bytes()).items():
        info.add_itxt(key, text)
    with Image.open(drawn["txt2img"]) as image:
        image.resize((32, 32)).save(path, pnginfo=info)
    reading = read_picture(path)
    assert reading.warnings == ("it was drawn 64x64 and is 32x32: changed since",)
    assert reading.config["txt2img"]["width"] == 64


def test_files_that_a_picture_names_are_not_taken_for_ours(
    drawn: dict[str, Path], tmp_path: Path
) -> None:
    """A path is of the machine that drew: here it may be anything."""
    chunk = json.loads(png_texts(drawn["img2img"].read_bytes())["safelight"])
    chunk["config"] = {"img2img": {"init_image": "/etc/hostname", "seed": 11, "steps": 3}}
    path = _with(drawn["img2img"], tmp_path / "a.png", safelight=json.dumps(chunk))
    reading = read_picture(path)
    assert "init_image" not in reading.config["img2img"]
    assert reading.fields["img2img.init_image"] == "unresolved"
    assert (reading.outcome, reading.extra["init_image"]) == ("partly", "/etc/hostname")


def test_whatever_a_text_of_ours_holds_is_read_or_left(tmp_path: Path) -> None:
    chance = random.Random(7)
    values: tuple[Any, ...] = (
        None, True, -1, 2**70, 1e400, float("nan"), "", "x" * 300, [], {}, {"a": {}}, ["a"], 0.5,
    )  # fmt: skip
    keys = ("schema", "run_id", "variant", "stage", "parent", "config", "engine", "width",
            "height", "identity", "pixel_sha256")  # fmt: skip
    plain = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(plain)
    for number in range(300):
        about: dict[str, Any] = {key: chance.choice(values) for key in keys}
        if number % 4:
            about |= {"run_id": "abc", "stage": chance.choice(("txt2img", "upscale"))}
            names = chance.sample(sorted(KNOBS), 9)
            about["config"] = {
                stage: {name: chance.choice(values) for name in (*names, "extra", "loras")}
                for stage in ("txt2img", "upscale", "else")
            }
        path = tmp_path / f"{number}.png"
        path.write_bytes(with_texts(plain.read_bytes(), {"safelight": json.dumps(about)}))
        assert import_picture(str(path)).fault == ""
