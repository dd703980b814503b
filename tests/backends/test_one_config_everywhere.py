"""The same config runs on every engine; the records differ only where the engines truly did."""

from __future__ import annotations

import atexit
import copy
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from backends.comfyui.fake_server import FakeComfyUI
from backends.comfyui.real_server import RealServer
from backends.family_pipelines import save_lora
from backends.openai_images.openai_server import ImagesServer
from backends.webui.replay_server import ReplayServer
from safelight.application.examples import EXAMPLES
from safelight.backends import create_backend
from safelight.config import PipelineConfig
from safelight.errors import BackendError, SafelightError
from safelight.learning import LearningRecord, LearningRecordWriter
from safelight.pipeline import PipelineRunner

CONFIG = """
name = "one config"
backend = "{engine}"

[txt2img]
prompt = "red apple"
negative_prompt = "blue"
sampler = "Euler"
scheduler = "Karras"
steps = 4
cfg_scale = 3
seed = 7
width = 64
height = 64

[img2img]
denoising_strength = 0.5

[upscale]
upscaler = "Lanczos"
scale = 2
"""

ENGINES = ("bundled", "fake", "webui", "comfyui", "openai-images", "diffusers")
LORA = "bend"
POSTED: dict[str, int] = {}
"""Engine -> the jobs that its server was given last."""


FOLDER = os.environ.get("SAFELIGHT_COMFYUI_DIR", "")
URL = os.environ.get("SAFELIGHT_COMFYUI_URL", "")
"""Read before a test's environment is made empty."""


@cache
def real_comfyui() -> str:
    """Return the address of a ComfyUI itself, where ``make test-comfyui`` has set one up."""
    if FOLDER:
        server = RealServer(Path(FOLDER))
        server.start()
        atexit.register(server.kill)
        return server.url
    return URL


@contextmanager
def options(engine: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Yield what the engine needs besides its name: the address of a server, or a model."""
    if engine == "webui":
        with ReplayServer("forge") as server:
            server.recorded["get_loras"]["json"] = [{"name": LORA, "alias": LORA}]
            yield {"url": server.url}
            POSTED[engine] = len(server.posts)
    elif engine == "comfyui" and (url := real_comfyui()):
        yield {"url": url}
    elif engine == "comfyui":
        with FakeComfyUI() as comfyui:
            yield {"url": comfyui.url}
            POSTED[engine] = len(comfyui.posted)
    elif engine == "openai-images":
        with ImagesServer("sd-server") as images:
            yield {"url": images.url}
    elif engine == "diffusers":
        if importlib.util.find_spec("diffusers") is None:
            pytest.skip("the extra safelight[diffusers] is not installed")
        from backends.diffusers_engine.tiny_pipeline import save_tiny_pipeline

        model = save_tiny_pipeline(tmp_path / "tiny")
        save_lora(model, tmp_path / "loras" / f"{LORA}.safetensors")
        yield {"model": str(model), "device": "cpu", "lora_dir": str(tmp_path / "loras")}
    else:
        yield {}


def record_of(engine: str, tmp_path: Path) -> LearningRecord:
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(engine=engine), "utf-8")
    config = PipelineConfig.from_file(file)
    records: list[LearningRecord] = []
    with options(engine, tmp_path) as given:
        backend: Any = create_backend(config.backend.name, given)
        with closing(backend) if hasattr(backend, "close") else nullcontext():
            runner = PipelineRunner(
                backend, archive_dir=tmp_path / "archive", on_learning_record=records.append
            )
            result = runner.run(config)
    assert result.status == "completed", result.failures
    return records[0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("ignore" if importlib.util.find_spec("torch") else "error")
def test_one_word_changes_the_engine(engine: str, tmp_path: Path) -> None:
    """What was asked is the same, and what was asked was done; the rest is the engine's own."""
    record = record_of(engine, tmp_path)
    asked = PipelineConfig.from_file(tmp_path / "config.toml").to_mapping()
    assert record.base_config == asked
    assert record.backend["name"] == engine
    (done,) = record.variant_configs
    for stage, knobs in asked.items():
        assert {name: done[stage].get(name) for name in knobs} == knobs, stage
    assert [(output.stage, output.width, output.height) for output in record.outputs] == [
        ("txt2img", 64, 64), ("img2img", 64, 64), ("upscale", 128, 128),
    ]  # fmt: skip
    assert [output.mismatches for output in record.outputs] == [(), (), ()]
    assert record.outputs[0].seed == 7
    assert (record.primary_sampler, record.primary_scheduler) == ("Euler", "Karras")


@pytest.mark.parametrize("engine", ["webui", "comfyui", "openai-images"])
def test_a_password_is_nowhere_in_what_a_run_leaves(
    engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in record, journal, picture, log or result, whether the server lets it in or not."""
    canary = "canary-7f3a"
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(engine=engine), "utf-8")
    config = PipelineConfig.from_file(file)
    caplog.set_level("DEBUG")
    with options(engine, tmp_path) as given:
        where = given["url"].replace("http://", f"http://me:{canary}@")
        for url in (where, f"http://me:{canary}@127.0.0.1:9"):
            with closing(create_backend(engine, {"url": url})) as backend:  # type: ignore[type-var]
                with LearningRecordWriter(tmp_path / "archive" / "records") as writer:
                    runner = PipelineRunner(
                        backend, archive_dir=tmp_path / "archive", learning_record_writer=writer
                    )
                    try:
                        text = repr(runner.run(config))
                    except BackendError as error:
                        text = str(error)
                assert canary not in text + repr(backend)
    left = [path for path in (tmp_path / "archive").rglob("*") if path.is_file()]
    assert any(path.suffix == ".png" for path in left)
    assert any(path.suffix == ".json" for path in left)
    assert not [path for path in left if canary.encode() in path.read_bytes()]
    assert canary not in caplog.text


TXT2IMG: dict[str, Any] = {
    "prompt": "red apple", "sampler": "Euler", "scheduler": "Karras", "steps": 3, "cfg_scale": 3,
    "seed": 7, "width": 64, "height": 64,
}  # fmt: skip
WHERE = {
    f"txt2img.{knob}": place
    for knob, place in (
        ("prompt", "6.text"), ("sampler", "3.sampler_name"), ("scheduler", "3.scheduler"),
        ("steps", "3.steps"), ("cfg_scale", "3.cfg"), ("seed", "3.seed"), ("width", "5.width"),
        ("height", "5.height"),
    )
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "sweep": {
        "txt2img": TXT2IMG,
        "randomizer": {"mode": "fanout", "sweep": {"txt2img.cfg_scale": [2, 5]}},
    },
    "hires fix": {"txt2img": {**TXT2IMG, "hires_scale": 1.5}},
    "weights of a LoRA": {
        "txt2img": {**TXT2IMG, "prompt": f"red apple <lora:{LORA}:{{0.3|0.9}}>"},
        "randomizer": {"mode": "fanout"},
    },
    "edit of a picture": {"img2img": {
        **{k: v for k, v in TXT2IMG.items() if k not in ("width", "height")},
        "init_image": "given.png", "denoising_strength": 0.4,
    }},
    "workflow of the editor": {
        "backend": {"workflow": "editor.json", "map": WHERE}, "txt2img": TXT2IMG,
    },
    "picture as workflow": {"backend": {"workflow": "drawn.png", "map": WHERE}, "txt2img": TXT2IMG},
}  # fmt: skip
"""One config of each kind."""

DRAWS = "draws"
NO_WORKFLOW = {name: "has no option 'workflow'" for name in ENGINES if name != "comfyui"}
EXPECTED: dict[str, dict[str, str]] = {
    "sweep": {},
    "hires fix": {"openai-images": "draws in one pass; leave it out"},
    "weights of a LoRA": {"bundled": "takes no LoRA", "openai-images": "load the LoRA when"},
    "edit of a picture": {},
    "workflow of the editor": NO_WORKFLOW,
    "picture as workflow": NO_WORKFLOW,
}
"""Kind -> engine that says in one sentence why it does not, and what that is about."""


def put_files(folder: Path) -> None:
    """Write what the configs name: a picture, a workflow of the editor, one in a picture."""
    from PIL import Image, PngImagePlugin

    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    picture.save(folder / "given.png")
    graph = json.loads((EXAMPLES / "workflows" / "own_graph.json").read_text("utf-8"))
    graph["4"]["inputs"]["ckpt_name"] = "tiny.safetensors"
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph))
    picture.save(folder / "drawn.png", pnginfo=info)
    (folder / "editor.json").write_text(json.dumps(as_the_editor_saves(graph)), "utf-8")


def as_the_editor_saves(graph: dict[str, Any]) -> dict[str, Any]:
    """Return a graph of the API as a canvas: links with numbers, values of widgets by name."""
    nodes: dict[str, dict[str, Any]] = {
        name: {"id": int(name), "type": node["class_type"], "mode": 0, "inputs": [], "outputs": [],
               "widgets_values": {}}
        for name, node in graph.items()
    }  # fmt: skip
    links: list[list[Any]] = []
    for name, node in graph.items():
        for key, value in node["inputs"].items():
            if not isinstance(value, list):
                nodes[name]["widgets_values"][key] = value
                continue
            source, slot = value
            outputs = nodes[source]["outputs"]
            outputs += [{"type": "*", "links": []} for _ in range(slot + 1 - len(outputs))]
            outputs[slot]["links"].append(len(links) + 1)
            into = nodes[name]["inputs"]
            links.append([len(links) + 1, int(source), slot, int(name), len(into), "*"])
            into.append({"name": key, "type": "*", "link": len(links)})
    return {"nodes": list(nodes.values()), "links": links, "version": 0.4}


def outcome(engine: str, kind: str, folder: Path) -> str:
    """Return ``draws``, or the one sentence with which it is refused before anything is drawn."""
    put_files(folder)
    config = copy.deepcopy(KINDS[kind])
    own = config.pop("backend", {})
    if "workflow" in own:
        own["workflow"] = str(folder / own["workflow"])
    if "init_image" in config.get("img2img", {}):
        config["img2img"]["init_image"] = str(folder / "given.png")
    said = DRAWS
    with options(engine, folder) as given:
        try:
            backend: Any = create_backend(engine, {**given, **own})
            with closing(backend) if hasattr(backend, "close") else nullcontext():
                result = PipelineRunner(backend, archive_dir=folder / "archive").run(config)
        except SafelightError as error:
            said = str(error)
        else:
            if result.status != "completed":
                (said,) = {failure.error for failure in result.failures}
                assert result.images == ()
            assert [
                image.output.mismatches for image in result.images if image.output.mismatches
            ] == []
    if said != DRAWS:
        assert POSTED.get(engine, 0) == 0, "refused before drawing"
    POSTED.clear()
    return said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("ignore" if importlib.util.find_spec("torch") else "error")
def test_a_config_of_each_kind_draws_or_says_why_not(
    engine: str, kind: str, tmp_path: Path
) -> None:
    """Whoever moves a config to another engine is told at once, in one sentence; run with -rP."""
    said = outcome(engine, kind, tmp_path)
    sys.stdout.write(f"{kind:24} {engine:10} {said}\n")
    expected = EXPECTED[kind].get(engine, DRAWS)
    assert re.search(expected, said), said
    assert "\n" not in said
    assert "Traceback" not in said
