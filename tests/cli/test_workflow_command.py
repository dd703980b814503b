"""``safelight workflow``: from a picture or a workflow to a run, without an editor in between."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backends.comfyui.fake_server import FakeComfyUI
from command_line import Safelight
from safelight.application.examples import EXAMPLES
from safelight.formats.png_chunks import with_texts


@pytest.fixture
def server() -> Iterator[FakeComfyUI]:
    with FakeComfyUI() as server:
        yield server


@pytest.fixture
def graph() -> dict[str, Any]:
    graph: dict[str, Any] = json.loads((EXAMPLES / "workflows" / "own_graph.json").read_text())
    graph["4"]["inputs"]["ckpt_name"] = "tiny.safetensors"
    graph["5"]["inputs"] |= {"width": 64, "height": 48}
    graph["3"]["inputs"]["steps"] = 2
    return graph


@pytest.fixture
def safelight(command: Safelight, graph: dict[str, Any], tmp_path: Path) -> Safelight:
    """The command line, in a folder with one graph as a workflow and in a picture."""
    (tmp_path / "wf.json").write_text(json.dumps(graph))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    (tmp_path / "wf.png").write_bytes(with_texts(buffer.getvalue(), {"prompt": json.dumps(graph)}))
    return command


def test_a_picture_is_drawn_again_and_swept(
    safelight: Safelight, server: FakeComfyUI, graph: dict[str, Any]
) -> None:
    """Two commands: the first run sends what drew it, and one --set more sweeps a knob."""
    made = safelight("workflow", "wf.png", "--url", server.url, "--write", "my.toml")
    assert made.exit_code == 0, made.output
    assert "steps of node 3 (KSampler)" in made.stdout
    ran = safelight("run", "my.toml")
    assert ran.exit_code == 0, ran.output
    assert [body["prompt"] for body in server.posted] == [graph]
    sweep = 'randomizer.sweep."txt2img.steps"=[2, 3]'
    assert sweep.replace("[2, 3]", "") in made.output.replace("[10, 20]", "")
    swept = safelight("run", "my.toml", "--set", sweep)
    assert swept.exit_code == 0, swept.output
    steps = [body["prompt"]["3"]["inputs"]["steps"] for body in server.posted]
    assert steps == [2, 3], "what was drawn is not drawn again"


def test_the_workflow_and_the_picture_that_holds_it_are_one(
    safelight: Safelight, server: FakeComfyUI
) -> None:
    """What one of them drew, the other need not draw again."""
    for file in ("wf.json", "wf.png"):
        config = f"{file}.toml"
        made = safelight("workflow", file, "--url", server.url, "--write", config)
        assert made.exit_code == 0, made.output
        assert safelight("run", config).exit_code == 0
    assert len(server.posted) == 1


def test_the_config_is_printed_and_nothing_else_is(safelight: Safelight, tmp_path: Path) -> None:
    """So that it can go into a file; what is told beside goes to standard error."""
    result = safelight("workflow", "wf.json")
    config = tomllib.loads(result.stdout)
    assert config["backend"]["workflow"] == "wf.json"
    assert "seed of node 3" in result.stderr
    told = json.loads(safelight("workflow", "wf.json", "--json").stdout)
    assert told["config"] == config
    (steps,) = [knob for knob in told["knobs"] if knob["name"] == "txt2img.steps"]
    assert steps == {
        "name": "txt2img.steps", "value": 2, "mapped": True,
        "places": [{"node": "3", "class": "KSampler", "title": "KSampler", "input": "steps"}],
    }  # fmt: skip
    assert safelight("workflow", "wf.json", "--write", "my.json").exit_code == 0
    assert json.loads((tmp_path / "my.json").read_text()) == config


@pytest.mark.parametrize("lacking", ["seed", "init_image"])
def test_what_cannot_be_drawn_yet_is_not_told_to_be_drawn(
    safelight: Safelight, graph: dict[str, Any], tmp_path: Path, lacking: str
) -> None:
    """The command that is told next would be refused."""
    if lacking == "seed":
        graph["3"]["inputs"]["seed"] = -5
    else:
        graph["20"] = {"class_type": "LoadImage", "inputs": {"image": "a.png"}}
        pixels = {"pixels": ["20", 0], "vae": ["4", 2]}
        graph["5"] = {"class_type": "VAEEncode", "inputs": pixels}
    (tmp_path / "wf.json").write_text(json.dumps(graph))
    made = safelight("workflow", "wf.json", "--write", "my.toml")
    assert made.exit_code == 0, made.output
    assert f"before it can draw, it needs {lacking}" in " ".join(made.output.split())
    assert "safelight run" not in made.output


def test_a_config_that_is_there_stays(safelight: Safelight, tmp_path: Path) -> None:
    """Somebody may have worked on it."""
    (tmp_path / "my.toml").write_text("# mine\n")
    result = safelight("workflow", "wf.png", "--write", "my.toml")
    assert (result.exit_code, "is there already" in result.output) == (1, True)
    assert (tmp_path / "my.toml").read_text() == "# mine\n"


def test_a_picture_without_a_graph_says_what_to_do(safelight: Safelight, tmp_path: Path) -> None:
    """Sites take graphs out of pictures."""
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    result = safelight("workflow", "bare.png")
    assert result.exit_code == 1
    assert "picture without a ComfyUI graph" in result.output
    assert "take the file as ComfyUI saved it" in result.output


@pytest.mark.parametrize("kind", ["json", "png"])
def test_what_the_editor_saved_is_drawn_and_swept_as_its_page_posts_it(
    command: Safelight, server: FakeComfyUI, tmp_path: Path, kind: str
) -> None:
    """A file, or a picture in which only that is left; a server says what is what."""
    data = Path(__file__).parents[1] / "data" / "comfyui_editor"
    text = (data / "image_sdxl_simple.json").read_text("utf-8")
    for name, there in (
        ("sd_xl_base_1.0.safetensors", "tiny.safetensors"), ("dpmpp_2m", "euler"),
        ("karras", "simple"),
    ):  # fmt: skip
        text = text.replace(name, there)
    pair = json.loads(text)
    server.object_info = {
        **json.loads((data / "object_info.json").read_text("utf-8")), **server.object_info,
    }  # fmt: skip
    saved = json.dumps(pair["workflow"])
    (tmp_path / "saved.json").write_text(saved, "utf-8")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    (tmp_path / "saved.png").write_bytes(with_texts(buffer.getvalue(), {"workflow": saved}))
    alone = command("workflow", f"saved.{kind}")
    assert alone.exit_code != 0
    assert "only a server can read: name one with --url" in " ".join(alone.output.split())
    made = command("workflow", f"saved.{kind}", "--url", server.url, "--write", "my.toml")
    assert made.exit_code == 0, made.output
    assert "converted from the editor's format" in " ".join(made.output.split())
    ran = command("run", "my.toml")
    assert ran.exit_code == 0, ran.output
    (posted,) = (body["prompt"] for body in server.posted)
    for node, about in pair["api"].items():
        assert posted[node]["class_type"] == about["class_type"]
        assert posted[node]["inputs"] == about["inputs"]
    swept = command("run", "my.toml", "--set", 'randomizer.sweep."txt2img.steps"=[2, 3]')
    assert swept.exit_code == 0, swept.output
    assert len(server.posted) == 3
