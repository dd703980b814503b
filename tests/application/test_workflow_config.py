"""A workflow of anybody's becomes a config that draws what it draws and can be swept."""

from __future__ import annotations

import copy
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backends.comfyui.fake_server import FakeComfyUI
from safelight.application.examples import EXAMPLES
from safelight.application.workflow_config import WorkflowKnobs, workflow_knobs
from safelight.backends.comfyui.graph_map import GraphMap
from safelight.backends.engine_server import EngineServer
from safelight.config import PipelineConfig
from safelight.errors import BackendError
from safelight.pipeline.stages import stage_request
from safelight.randomizer import plan_variants

DRAWN = sorted((Path(__file__).parents[1] / "data" / "comfyui_drawn").glob("*.png"))
GRAPH: dict[str, Any] = json.loads((EXAMPLES / "workflows" / "own_graph.json").read_text("utf-8"))


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    return buffer.getvalue()


def posted(found: WorkflowKnobs, config: dict[str, Any]) -> dict[str, Any]:
    """Return the graph that the one variant of *config* is posted with."""
    options = config["backend"]
    assert config == tomllib.loads(found.toml(Path()))
    graph_map = GraphMap(options["workflow"], options["map"], options.get("output", ""))
    given = {knob.name: picture() for knob in found.knobs if knob.name in ("init_image", "mask")}
    stage = {**config[found.stage], **dict.fromkeys(given, "given.png")}
    ready = PipelineConfig.from_mapping({**config, found.stage: stage})
    (variant,) = plan_variants(ready, 1).variants
    knobs = variant.config[found.stage]
    request = stage_request(found.stage, knobs, picture(), mask=given.get("mask"))
    bound = graph_map.graph(request, lambda _: "uploaded")
    return {name: dict(known) for name, known in bound.nodes.items()}


def found_in(graph: dict[str, Any], folder: Path, **options: Any) -> WorkflowKnobs:
    path = folder / "wf.json"
    path.write_text(json.dumps(graph))
    return workflow_knobs(str(path), **options)


@pytest.mark.parametrize("path", DRAWN, ids=lambda path: path.stem)
def test_the_config_of_a_picture_draws_the_picture(path: Path) -> None:
    """All that ComfyUI was sent goes out again: no knob is put where it does not stand."""
    try:
        found = workflow_knobs(str(path))
    except BackendError as error:
        assert "editor's format" in str(error), "which is read elsewhere"
        return
    config = found.config(Path())
    before = copy.deepcopy(dict(found.file.graph))
    for knob in found.knobs:
        if knob.mapped and knob.name in ("init_image", "mask"):
            for node, name in knob.places:
                before[node]["inputs"][name] = "uploaded"
    if found.stage == "upscale" or "seed" not in config[found.stage]:
        return
    assert posted(found, config) == before


def test_the_config_has_the_knobs_and_offers_the_rest(tmp_path: Path) -> None:
    """Where they stand, what they are now, in the order in which people think of them."""
    found = found_in(GRAPH, tmp_path)
    config = found.config(tmp_path)
    assert config["backend"]["workflow"] == "wf.json"
    assert config["backend"]["map"]["txt2img.sampler"] == "3.inputs.sampler_name"
    assert config["txt2img"]["sampler"] == "Euler"
    assert list(config["txt2img"])[:3] == ["prompt", "negative_prompt", "model"]
    text = found.toml(tmp_path)
    assert '# "txt2img.extra.filename_prefix" = "9.inputs.filename_prefix"' in text
    assert '# "txt2img.batch_size" = "5.inputs.batch_size"  # 1' in text
    offered = text.replace('# "txt2img.extra.filename', '"txt2img.extra.filename')
    mapping = tomllib.loads(offered)["backend"]["map"]
    assert GraphMap(found.file.path, mapping)
    assert found.notes == ()


def test_a_picture_and_its_workflow_have_one_config(tmp_path: Path) -> None:
    """But for their names."""
    chunks = PngInfo()
    chunks.add_text("prompt", json.dumps(GRAPH))
    Image.new("RGB", (8, 8)).save(tmp_path / "wf.png", pnginfo=chunks)
    of_picture = workflow_knobs(str(tmp_path / "wf.png"))
    assert of_picture.knobs == found_in(GRAPH, tmp_path).knobs
    assert of_picture.file.kind == "picture"


def test_a_prompt_is_drawn_as_it_is(tmp_path: Path) -> None:
    """Braces that were written for ComfyUI are no templates here, nor is what looks like one."""
    graph = copy.deepcopy(GRAPH)
    graph["6"]["inputs"]["text"] = "a {red|blue} barn, __sky__\u2028$x\n# no comment"
    found = found_in(graph, tmp_path)
    assert posted(found, found.config(Path())) == graph


def test_a_second_sampler_is_told_and_not_guessed(tmp_path: Path) -> None:
    """Which of the two a knob means, only its owner knows."""
    graph = copy.deepcopy(GRAPH)
    graph["30"] = copy.deepcopy(graph["3"])
    graph["30"]["inputs"] |= {"latent_image": ["3", 0], "denoise": 0.5, "seed": 1}
    graph["8"]["inputs"]["samples"] = ["30", 0]
    found = found_in(graph, tmp_path)
    (note,) = [note for note in found.notes if "One sampler more" in note]
    assert "seed" in note
    assert "of node 30 (KSampler) stay as they are" in note
    assert found.config(tmp_path)["backend"]["map"]["txt2img.seed"] == "3.inputs.seed"
    assert '# "txt2img.extra.pass_2_seed" = "30.inputs.seed"' in found.toml(tmp_path)
    assert posted(found, found.config(Path())) == graph


def test_where_pictures_are_saved_twice_one_is_named(tmp_path: Path) -> None:
    """And the other is told."""
    found = found_in({**GRAPH, "19": GRAPH["9"]}, tmp_path)
    assert found.config(tmp_path)["backend"]["output"] == "9"
    assert "also saves some at node 19 (Save Image, SaveImage)" in found.notes[0]


def test_a_node_that_writes_no_png_is_told(tmp_path: Path) -> None:
    """Before it is run; one beside it is taken."""
    exr = {"class_type": "SaveImageAdvanced", "inputs": {"images": ["8", 0], "format": "exr"}}
    found = found_in({**GRAPH, "9": exr}, tmp_path)
    assert "writes EXR files, and only PNG files are taken" in found.notes[0]
    assert found_in({**GRAPH, "1": exr}, tmp_path).output == "9"


def test_a_workflow_that_begins_with_a_picture_asks_for_one(tmp_path: Path) -> None:
    """The name in it is that of a file on somebody's server."""
    graph = copy.deepcopy(GRAPH)
    graph["10"] = {"class_type": "LoadImage", "inputs": {"image": "example.png"}}
    graph["11"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}}
    graph["3"]["inputs"] |= {"latent_image": ["11", 0], "denoise": 0.5}
    found = found_in(graph, tmp_path)
    assert found.stage == "img2img"
    assert found.config(tmp_path)["img2img"]["denoising_strength"] == 0.5
    assert "say in [img2img] which, as init_image" in found.notes[-1]
    assert '[img2img]\n# init_image = "FILE"' in found.toml(tmp_path)


def test_a_batch_is_not_mapped_and_told(tmp_path: Path) -> None:
    """All of one batch come from one seed, so none but the first could be drawn again."""
    graph = copy.deepcopy(GRAPH)
    graph["5"]["inputs"]["batch_size"] = 4
    found = found_in(graph, tmp_path)
    assert "draws 4 pictures from one seed at a time" in found.notes[-1]
    assert "txt2img.batch_size" not in found.config(tmp_path)["backend"]["map"]


def test_a_server_tells_what_it_lacks_and_where_pictures_come_out(tmp_path: Path) -> None:
    """Node packs and models, each with its node."""
    graph = copy.deepcopy(GRAPH)
    graph["9"]["class_type"] = "Image Save"
    graph["12"] = {"class_type": "SharpenIt", "inputs": {"image": ["8", 0]}}
    graph["9"]["inputs"]["images"] = ["12", 0]
    with pytest.raises(BackendError, match="no node that saves a picture; --url lets a server"):
        found_in(graph, tmp_path)
    with FakeComfyUI() as comfy:
        spec = {"input": {"required": {"images": ["IMAGE"]}}, "output_node": True}
        comfy.object_info["Image Save"] = spec
        server = EngineServer("ComfyUI", comfy.url)
        found = found_in(graph, tmp_path, server=server)
        server.close()
    assert found.output == "9"
    assert found.config(tmp_path)["backend"]["output"] == "9"
    assert found.config(tmp_path)["backend"]["url"] == comfy.url
    told = "\n".join(found.notes)
    assert "no SharpenIt for node 12 (SharpenIt): install its pack" in told
    assert "no 'v1-5-pruned-emaonly.safetensors' for ckpt_name of node 4 (Load Checkpoint," in told


def test_a_graph_without_a_seed_says_so(tmp_path: Path) -> None:
    """A stage that draws needs one, and the run would say so much later."""
    graph = {name: node for name, node in GRAPH.items() if name in ("4", "8", "9")}
    assert any("no seed was found" in note.lower() for note in found_in(graph, tmp_path).notes)
