"""A picture file tells its settings in the order people read them, at both doors alike."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from command_line import Safelight
from safelight.application.engine_list import NO_ENGINES, EngineList
from safelight.application.picture_settings import (
    PictureSettings,
    read_picture_bytes,
    read_picture_file,
    settings_of_picture,
)
from safelight.archive_layout import records_folder
from safelight.backends.fake import FakeBackend
from safelight.errors import ImageError
from safelight.learning import LearningRecordWriter
from safelight.learning.learning_record import ImageOutput, Mismatch
from safelight.pipeline import PipelineRunner

TEXT = """a lighthouse <lora:ink:0.7>
Negative prompt: blurry
Steps: 24, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6, Seed: 12345678901, \
Size: 512x768, Model: dreamshaper_8, Clip skip: 2, RNG: CPU, Version: f2.0.1"""


def written(path: Path, text: str = TEXT) -> Path:
    info = PngInfo()
    if text:
        info.add_text("parameters", text)
    Image.new("RGB", (16, 24), (90, 20, 10)).save(path, pnginfo=info)
    return path


def test_what_people_ask_for_first_comes_first(tmp_path: Path) -> None:
    told = read_picture_file(written(tmp_path / "a.png"))
    assert [one.name for one in told.settings] == [
        "model", "lora.ink", "sampler", "scheduler", "steps", "cfg_scale", "size", "seed",
    ]  # fmt: skip
    values = {one.name: one.value for one in told.settings}
    assert (values["model"], values["lora.ink"]) == ("dreamshaper_8", "0.7")
    assert (values["size"], values["seed"]) == ("512 × 768", "12345678901")
    assert told.prompt.startswith("a lighthouse")
    assert told.negative == "blurry"
    assert {one.name: one.value for one in told.rest}["RNG"] == "CPU"
    assert (told.outcome, told.unread) == ("full", ())


def test_of_several_stages_each_setting_is_told_once() -> None:
    """That of the stage that drew last; what an earlier one had otherwise follows, by its name."""
    both = {"prompt": "a hill <lora:ink:0.5>, <lora:ink:0.5>", "steps": 8, "seed": 3}
    stages = {
        "txt2img": {**both, "sampler": "Euler", "cfg_scale": 4.0, "width": 64, "height": 96,
                    "extra": {"RNG": True}},
        "img2img": {**both, "sampler": "Euler a", "cfg_scale": 6.5, "denoising_strength": 0.4},
        "upscale": {"upscaler": "Lanczos", "scale": 2},
    }  # fmt: skip
    output = ImageOutput(
        variant=0, stage="upscale", sha256="0" * 64, pixel_sha256="1" * 64, width=128, height=192,
        mismatches=(Mismatch(knob="img2img.sampler", requested="DDIM", effective="Euler a"),),
    )  # fmt: skip
    told = settings_of_picture(output, stages)
    assert [(one.name, one.value, one.asked) for one in told.settings] == [
        ("lora.ink", "0.5", None), ("sampler", "Euler a", "DDIM"), ("steps", "8", None),
        ("cfg_scale", "6.5", None), ("size", "64 × 96", None), ("seed", "3", None),
    ]  # fmt: skip
    assert [(one.label, one.value) for one in told.rest] == [
        ("Denoising strength", "0.4"), ("Sampler of txt2img", "Euler"), ("CFG of txt2img", "4"),
        ("RNG", "true"), ("Upscaler", "Lanczos"), ("Scale", "2"),
    ]  # fmt: skip
    assert told.words == "a hill"


def test_bytes_tell_what_their_file_does(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png")
    there = read_picture_file(path)
    here = read_picture_bytes(io.BytesIO(path.read_bytes()), "a.png", path.stat().st_mtime)
    for name in PictureSettings.__slots__:
        if name != "record":
            assert getattr(here, name) == getattr(there, name), name


def test_nothing_beside_a_picture_that_was_sent_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is sent names no file of this machine."""
    path = written(tmp_path / "a.png", "")
    (tmp_path / "a.txt").write_text(TEXT)
    assert read_picture_file(path).settings
    monkeypatch.chdir(tmp_path)
    sent = read_picture_bytes(io.BytesIO(path.read_bytes()), "a.png", 0.0)
    assert (sent.settings, sent.outcome) == ((), "none")


def test_what_is_no_picture_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"notes\.png: not a PNG"):
        read_picture_bytes(io.BytesIO(b"some words"), "notes.png", 0.0)


def test_the_tools_engine_is_that_of_the_owners_list(tmp_path: Path) -> None:
    told = read_picture_file(written(tmp_path / "a.png"))
    assert (told.engine, told.config["backend"]) == ("webui", "webui")
    engines = EngineList(tmp_path / "settings")
    engines.add("gpu", "http://127.0.0.1:7860", "webui")
    named = told.named_engine(engines)
    assert (named.engine, named.config["backend"]) == ("gpu", "gpu")
    engines.add("other", "http://127.0.0.1:7861", "webui")
    assert told.named_engine(engines) == told == told.named_engine(NO_ENGINES)


def test_the_command_shows_the_same(tmp_path: Path, command: Safelight) -> None:
    path = written(tmp_path / "a.png")
    shown = command("show", str(path)).stdout
    settings = shown[shown.index("setting") :]
    names = [one.name for one in read_picture_file(path).settings]
    places = [settings.index(f" {name} ") for name in names]
    assert places == sorted(places)
    assert json.loads(command("show", str(path), "--json").stdout)["status"] == "imported"
    (tmp_path / "b.png").write_text("no picture")
    refused = command("show", str(tmp_path / "b.png"))
    assert refused.exit_code == 1
    assert "not a PNG" in refused.output


def test_of_a_picture_of_the_archive_the_command_tells_what_was_asked_for(
    tmp_path: Path, command: Safelight
) -> None:
    """Its file knows what was used only; the record of its run knows both."""
    archive = tmp_path / "archive"
    knobs = {"prompt": "a hill", "sampler": "Euler", "steps": 2, "width": 32, "height": 32}
    with LearningRecordWriter(records_folder(archive)) as writer:
        backend = FakeBackend(substitute={"sampler": "Euler a"})
        PipelineRunner(backend, archive_dir=archive, learning_record_writer=writer).run(
            {"txt2img": knobs}
        )
    (picture,) = archive.rglob("0*.png")
    shown = command("show", str(picture), "--archive", str(archive)).stdout
    assert "asked for: Euler" in shown
    assert "import-" not in shown
    assert "asked for" not in command("show", str(picture), "--archive", str(tmp_path)).stdout
