"""How a value was learned goes with it: into find, show, the page and what is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin

import safelight.web
from safelight.application.rated_pictures import rated_trials
from safelight.archive import Archive
from safelight.cli import main
from safelight.cli.shown_import import LEARNED
from safelight.imports.archive_summary import summary_of_archive
from safelight.imports.folder_import import import_folders
from safelight.learning.evidence.effects import find_effects
from safelight.learning.ratings import Identity, RatingEvent


def saved_twice(steps: int, seed: int) -> dict[str, Any]:
    """Return a graph that saves the pictures of two samplers, of *steps* and of 8."""

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    sampler = {
        "seed": seed, "steps": steps, "cfg": 7, "sampler_name": "euler", "scheduler": "normal",
        "denoise": 1, "model": ["m", 0], "positive": ["p", 0], "negative": ["n", 0],
        "latent_image": ["l", 0],
    }  # fmt: skip
    return {
        "m": node("CheckpointLoaderSimple", ckpt_name="base.safetensors"),
        "l": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "p": node("CLIPTextEncode", text=f"a barn {seed}", clip=["m", 1]),
        "n": node("CLIPTextEncode", text="", clip=["m", 1]),
        "k1": node("KSampler", **sampler), "k2": node("KSampler", **{**sampler, "steps": 8}),
        "d1": node("VAEDecode", samples=["k1", 0]), "d2": node("VAEDecode", samples=["k2", 0]),
        "s1": node("SaveImage", images=["d1", 0]), "s2": node("SaveImage", images=["d2", 0]),
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return six pictures of steps 20 or 8, nobody knows, and six of 30 for sure."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(12):
        info = PngImagePlugin.PngInfo()
        graph = saved_twice(20, number)
        if number % 2:
            graph = {k: v for k, v in graph.items() if k not in ("k2", "d2", "s2")}
            graph["k1"]["inputs"]["steps"] = 30
        info.add_text("prompt", json.dumps(graph))
        Image.new("RGB", (64, 64), (number, 0, 0)).save(pictures / f"{number}.png", pnginfo=info)
    return pictures


@pytest.fixture
def archive(tmp_path: Path, folder: Path) -> Archive:
    archive = Archive(tmp_path / "archive")
    import_folders([folder], archive)
    return archive


def test_the_statuses_are_columns_that_find_asks_for(archive: Archive) -> None:
    columns = ("steps", "outcome", "defaulted", "unresolved", "conflicting")
    rows = list(archive.query("conflicting has 'steps'", columns=columns).rows)
    assert rows == [(20, "partly", "clip_skip", None, "steps")] * 6
    sure = archive.query("outcome = 'full' and conflicting is missing", columns=("steps",))
    assert sure.rows == ((30,),) * 6


def test_a_pack_answers_the_same(archive: Archive) -> None:
    assert (
        CliRunner().invoke(main, ["archive", "pack", "--archive", str(archive.path)]).exit_code == 0
    )
    packed = Archive(archive.path)
    assert len(packed.query("conflicting has 'steps'", columns=("steps",)).rows) == 6


def test_a_conflicting_value_is_left_out_of_its_comparison_and_counted(archive: Archive) -> None:
    rows = archive.query("", columns=("sha256", "steps")).rows
    for digest, steps in rows:
        stars = 5 if steps == 20 else 2
        archive.ratings().add(
            RatingEvent.now("stars", Identity(sha256=digest), value=stars, rater="me")
        )
    _, trials, _ = rated_trials(archive, "")
    (steps,) = (knob for knob in find_effects(trials).knobs if knob.knob == "steps")
    assert (steps.status, steps.left_out) == ("constant", 6)
    assert "6 pictures are left out" in steps.summary


def test_show_reads_any_picture_and_keeps_nothing(folder: Path, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    shown = CliRunner().invoke(main, ["show", str(folder / "0.png"), "--archive", nowhere])
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["steps", "20", "two", "places", "disagree"] in lines
    assert not any(status in shown.output for status in ("defaulted", "unresolved", "conflicting"))
    page = (Path(safelight.web.__file__).parent / "static" / "dropped.js").read_text("utf-8")
    assert all(words in page for words in LEARNED.values()), "the page says it so, too"
    assert not Path(nowhere).exists()
    as_json = CliRunner().invoke(main, ["show", str(folder / "0.png"), "--json"])
    assert (
        json.loads(as_json.output)["metadata"]["import"]["fields"]["txt2img.steps"] == "conflicting"
    )


def test_show_invents_nothing_of_a_picture_that_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    shown = CliRunner().invoke(main, ["show", str(tmp_path / "bare.png")])
    assert "nobody says" in shown.output
    assert "the file does not say how it was made" in shown.output
    assert "cfg" not in shown.output
    missing = CliRunner().invoke(main, ["show", str(tmp_path / "none.png")])
    assert (missing.exit_code, "none.png" in missing.output) == (1, True)


def test_the_doubts_of_a_picture_that_was_enlarged_at_the_end_are_its_doubts(
    tmp_path: Path,
) -> None:
    """The last stage knows a scale alone; what was drawn before it is as doubtful as it was."""
    graph = saved_twice(20, 1)
    graph["u"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "4x.pth"}}
    for number in (1, 2):
        inputs = {"upscale_model": ["u", 0], "image": [f"d{number}", 0]}
        graph[f"e{number}"] = {"class_type": "ImageUpscaleWithModel", "inputs": inputs}
        graph[f"s{number}"]["inputs"]["images"] = [f"e{number}", 0]
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph))
    (tmp_path / "p").mkdir()
    Image.new("RGB", (256, 256)).save(tmp_path / "p" / "a.png", pnginfo=info)
    archive = Archive(tmp_path / "archive")
    summary = import_folders([tmp_path / "p"], archive)
    columns = ("stage", "steps", "defaulted", "conflicting")
    (row,) = archive.query("conflicting has 'steps'", columns=columns).rows
    assert row == ("upscale", 20, "clip_skip", "steps")
    assert summary_of_archive(archive).missing == summary.missing
