"""A run's record against what ComfyUI itself says that it drew: its history and its own pictures.

Runs where ``test_real_comfyui.py`` does. The graphs are read here, node by node, not by the code
that wrote the record.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends.comfyui.real_server import RealServer
from safelight.backends.comfyui import ComfyuiBackend
from safelight.formats.png_chunks import png_texts
from safelight.learning import LearningRecord
from safelight.pipeline import PipelineRunner
from safelight.sampler_names import SAMPLERS, SCHEDULERS

FOLDER = os.environ.get("SAFELIGHT_COMFYUI_DIR", "")
URL = os.environ.get("SAFELIGHT_COMFYUI_URL", "")
KNOBS: dict[str, Any] = {
    "prompt": "a lighthouse", "negative_prompt": "fog", "seed": 11, "steps": 2, "cfg_scale": 3.5,
    "width": 32, "height": 32, "sampler": "Euler", "scheduler": "Karras",
}  # fmt: skip

if not (FOLDER or URL):
    pytest.skip(
        "no real ComfyUI: run `make test-comfyui`, or set SAFELIGHT_COMFYUI_DIR or _URL",
        allow_module_level=True,
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if URL:
        yield URL
        return
    with RealServer(Path(FOLDER)) as server:
        yield server.url


def run(url: str, folder: Path, knob: str) -> LearningRecord:
    """Sweep *knob* over all that the server lists."""
    records: list[LearningRecord] = []
    with closing(ComfyuiBackend(url=url)) as backend:
        sweep = {f"txt2img.{knob}": list(backend.choices()[knob])}
        config = {"txt2img": KNOBS, "randomizer": {"mode": "fanout", "sweep": sweep}}
        runner = PipelineRunner(backend, archive_dir=folder, on_learning_record=records.append)
        result = runner.run(config)
    assert result.status == "completed", result.failures
    return records[0]


def drawn_by(graph: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the one sampling node of *graph* was given, in ComfyUI's own words."""
    (node,) = (n["inputs"] for n in graph.values() if n["class_type"] == "KSampler")

    def behind(link: list[Any]) -> Any:
        return graph[link[0]]["inputs"]

    size = behind(node["latent_image"])
    return {
        "seed": node["seed"], "steps": node["steps"], "cfg_scale": node["cfg"],
        "sampler": node["sampler_name"], "scheduler": node["scheduler"],
        "denoise": node["denoise"], "model": behind(node["model"])["ckpt_name"],
        "prompt": behind(node["positive"])["text"],
        "negative_prompt": behind(node["negative"])["text"],
        "width": size["width"], "height": size["height"],
    }  # fmt: skip


def native(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record says, with ComfyUI's names where ours differ."""
    sampler, scheduler = SAMPLERS.get(knobs["sampler"]), SCHEDULERS.get(knobs["scheduler"])
    return {
        **{name: knobs[name] for name in KNOBS},
        "model": knobs["model"], "denoise": 1.0,
        "sampler": sampler.comfyui if sampler else knobs["sampler"],
        "scheduler": scheduler.comfyui if scheduler else knobs["scheduler"],
    }  # fmt: skip


@pytest.mark.parametrize("knob", ["sampler", "scheduler"])
def test_the_record_says_what_history_and_pictures_say(url: str, tmp_path: Path, knob: str) -> None:
    """All samplers with one schedule, all schedules with one sampler, knob by knob."""
    record = run(url, tmp_path, knob)
    history = httpx.get(f"{url}/history", timeout=60).json().values()
    ran = [entry["prompt"][2] for entry in history]
    assert len(record.outputs) == len(record.variant_configs) >= 9
    for output in record.outputs:
        assert output.path is not None
        texts = png_texts((tmp_path / output.path).read_bytes())
        graph = json.loads(texts["prompt"])
        assert graph in ran, "the picture's graph is one that the server ran"
        knobs = record.variant_configs[output.variant]["txt2img"]
        assert native(knobs) == drawn_by(graph)
        assert (output.seed, output.width, output.height) == (knobs["seed"], 32, 32)
        assert output.mismatches == ()
    assert len({output.pixel_sha256 for output in record.outputs}) > 4
