"""What core nodes of ComfyUI can make, drawn by ComfyUI itself, reads as it was sent.

Runs where ``test_real_comfyui.py`` does. Set ``SAFELIGHT_COMFYUI_DRAWN`` to a folder to keep the
pictures, which ``tests/imports/test_comfyui_drawn.py`` reads without a server.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from backends.comfyui.core_shapes import SOURCE, Shape, differences
from backends.comfyui.editor_shapes import EDITOR_SHAPES
from backends.comfyui.real_pictures import Job, node_classes, post, put_in
from backends.comfyui.real_server import SECOND_CHECKPOINT, RealServer
from backends.comfyui.sampler_shapes import SAMPLER_SHAPES
from backends.comfyui.stage_shapes import STAGE_SHAPES
from safelight.archive import Archive
from safelight.cli import main
from safelight.imports.picture_reader import read_picture

FOLDER = os.environ.get("SAFELIGHT_COMFYUI_DIR", "")
URL = os.environ.get("SAFELIGHT_COMFYUI_URL", "")
KEPT = os.environ.get("SAFELIGHT_COMFYUI_DRAWN", "")
SHAPES = (*SAMPLER_SHAPES, *STAGE_SHAPES, *EDITOR_SHAPES)

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


@pytest.fixture(scope="module")
def jobs(url: str) -> Mapping[str, Job]:
    """Every shape that the server has the nodes for, given to it at once: name -> job."""
    known = node_classes(url)
    if (
        SECOND_CHECKPOINT
        not in known["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
    ):
        pytest.skip("the server lacks models that `make test-comfyui` sets up")
    pixels = np.random.default_rng(3).integers(0, 255, (48, 32, 3), dtype=np.uint8)
    source = io.BytesIO()
    Image.fromarray(pixels).save(source, "PNG")
    put_in(url, SOURCE, source.getvalue())
    posted: dict[str, Job] = {}
    by_graph: dict[str, Job] = {}
    for shape in SHAPES:
        key = json.dumps(shape.graph)
        if {node["class_type"] for node in shape.graph.values()} <= known.keys():
            by_graph[key] = by_graph.get(key) or post(url, shape.graph, shape.workflow)
            posted[shape.name] = by_graph[key]
    return posted


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_what_is_read_is_what_was_sent(
    shape: Shape, jobs: Mapping[str, Job], tmp_path: Path
) -> None:
    if shape.name not in jobs:
        pytest.skip("the server lacks nodes of this shape")
    path = Path(KEPT or tmp_path) / f"{shape.name}.png"
    path.write_bytes(jobs[shape.name].picture(shape.save))
    assert differences(shape, read_picture(path)) == {}


def test_an_archive_says_what_was_sent(jobs: Mapping[str, Job], tmp_path: Path) -> None:
    """From the command to the rows of a question."""
    shapes = {name: next(s for s in SHAPES if s.name == name)
              for name in ("two_loras", "second_pass_over_latents", "blended")}  # fmt: skip
    (tmp_path / "output").mkdir()
    for name, shape in shapes.items():
        (tmp_path / "output" / f"{name}.png").write_bytes(jobs[name].picture(shape.save))
    run = ["import", str(tmp_path / "output"), "--archive", str(tmp_path / "archive")]
    assert CliRunner().invoke(main, run).exit_code == 0
    archive = Archive(tmp_path / "archive")
    columns = ("seed", "sampler", "cfg_scale", "model", "outcome")
    row = {"seed": 42, "sampler": "Euler", "cfg_scale": 6.5, "model": "tiny.safetensors"}
    for question, outcome in (
        ("lora.bend.safetensors = 0.8 and lora.bend_too.safetensors < 0.3", "full"),
        ("hires_scale = 1.5 and hires_upscaler = 'Latent (nearest-exact)'", "full"),
        ("conflicting has 'seed'", "partly"),
    ):
        found = list(archive.query(question, columns=columns, limit=None).dicts())
        assert found == [row | {"outcome": outcome}], question
