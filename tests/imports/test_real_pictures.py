"""Real pictures of real tools: what the people who collected them expect of a reader."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from imports.expected_values import differences
from safelight.imports.picture_reader import read_picture
from safelight.knobs import KNOBS

_OWN = Path(__file__).parents[1] / "data" / "imports"
_ALL = Path(__file__).parents[3] / "shared" / "data" / "images"
_WRONG = {
    # The index expects another sample's prompt; the file's own text has no such words.
    "forge-neo/enslo__48b8f8e7__forge-neo.png": "prompt",
}
_GENERATORS = {
    "stability-matrix": "stability-matrix", "sd.cpp": "sd.cpp", "easy-reforge": "reforge",
    "no-generation-metadata": "", "c2pa-only": "",
}  # fmt: skip


def _entries(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    index = folder / "index.json"
    if not index.is_file():
        return []
    return [(folder / entry["file"], entry) for entry in json.loads(index.read_text())]


_CASES = _entries(_OWN) + _entries(_ALL)


@pytest.mark.parametrize(
    ("path", "entry"), _CASES, ids=[f"{p.parts[-3]}-{p.name}" for p, _ in _CASES]
)
def test_a_real_picture_reads_as_expected(path: Path, entry: dict[str, Any]) -> None:
    reading = read_picture(path)
    values = entry.get("expected", {}).get("values")
    wrong = _WRONG.get(entry["file"])
    if isinstance(values, dict):
        differing = [
            d for d in differences(reading, values) if not wrong or not d.startswith(wrong)
        ]
        assert differing == []
    elif isinstance(values, str) and values.startswith("no metadata"):
        assert reading.outcome == "none"
    if entry["tool"] in ("no-generation-metadata", "c2pa-only"):
        assert (reading.outcome, reading.generator, reading.config) == ("none", "", {})
    for knob, state in reading.fields.items():
        stage, _, name = knob.partition(".")
        if name not in KNOBS:  # LoRAs and passes are kept elsewhere
            continue
        assert (name in reading.config.get(stage, {})) == (state != "unresolved"), knob


@pytest.mark.parametrize("folder", [_OWN, _ALL], ids=["own", "all"])
def test_every_tool_is_told_apart(folder: Path) -> None:
    if not _entries(folder):
        pytest.skip("the full collection is not here")
    unlike: Counter[str] = Counter()
    for path, entry in _entries(folder):
        tool = _GENERATORS.get(entry["tool"], entry["tool"])
        reading = read_picture(path)
        if reading.generator != tool:
            unlike[f"{tool} read as {reading.generator or 'nothing'}"] += 1
    # Pictures whose text names no version, and one whose text is a placeholder.
    allowed = {"a1111-like read as forge-classic": 1, "sdnext read as a1111-like": 1,
               "invokeai read as nothing": 1}  # fmt: skip
    assert all(count <= allowed.get(what, 0) for what, count in unlike.items()), unlike


def test_each_sampler_of_a_graph_is_a_pass() -> None:
    reading = read_picture(
        _OWN / "comfyui/comfyanonymous__8010ade3__sdxl_refiner_prompt_example.png"
    )
    base, refiner = reading.passes
    assert (base["model"], base["seed"]) == ("sd_xl_base_1.0.safetensors", 6767725640732)
    assert (base["start_at_step"], base["end_at_step"]) == (0, 20)
    assert (refiner["model"], refiner["start_at_step"]) == ("sd_xl_refiner_1.0.safetensors", 20)
    assert "hires_scale" not in reading.config["txt2img"], "a refiner enlarges nothing"


def test_a_second_pass_over_an_enlarged_picture_is_hires_fix() -> None:
    reading = read_picture(_OWN / "comfyui/comfyanonymous__5c9875f9__hiresfix_esrgan_workflow.png")
    knobs = reading.config["txt2img"]
    assert (knobs["width"], knobs["hires_scale"], knobs["steps"]) == (768, 2, 12)
    assert (knobs["hires_upscaler"], knobs["hires_steps"]) == ("RealESRGAN_x4.pth", 14)
    assert knobs["hires_denoising_strength"] == 0.5


def test_values_spread_over_custom_sampling_nodes_are_found() -> None:
    reading = read_picture(_OWN / "comfyui/comfyanonymous__0369432f__flux_dev_example.png")
    knobs = reading.config["txt2img"]
    assert (knobs["seed"], knobs["steps"], knobs["scheduler"]) == (219670278747233, 20, "Simple")
    assert (knobs["model"], knobs["vae"]) == ("flux1-dev.safetensors", "ae.safetensors")
    assert reading.fields["txt2img.cfg_scale"] == "defaulted"
    assert (knobs["guidance"], knobs["weight_dtype"]) == (3.5, "default")
    assert knobs["text_encoders"] == "t5xxl_fp16.safetensors, clip_l.safetensors"
    assert (reading.extra["max_shift"], reading.extra["base_shift"]) == ("1.15", "0.5")


def test_the_shift_of_a_flow_is_found_between_model_and_sampler() -> None:
    """The editor's slider wrote 3.1000000000000005, which is not another shift than 3.1."""
    path = _OWN / "comfyui/comfyanonymous__c6a05374__qwen_image_basic_example.png"
    knobs = read_picture(path).config["txt2img"]
    assert (knobs["shift"], knobs["weight_dtype"]) == (3.1, "default")
    assert knobs["text_encoders"] == "qwen_2.5_vl_7b_fp8_scaled.safetensors"


def test_a_cascade_tells_of_the_stage_that_reads_the_prompt() -> None:
    reading = read_picture(
        _OWN / "comfyui/comfyanonymous__f734ac8c__stable_cascade_image_to_image.png"
    )
    knobs = reading.config["img2img"]
    assert knobs["model"] == "stable_cascade_stage_c.safetensors"
    assert (knobs["seed"], knobs["denoising_strength"]) == (321653652654528, 0.6)
