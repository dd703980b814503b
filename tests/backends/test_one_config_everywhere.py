"""The same config runs on every engine; the records differ only where the engines truly did."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from backends.comfyui.fake_server import FakeComfyUI
from backends.openai_images.openai_server import ImagesServer
from backends.webui.replay_server import ReplayServer
from safelight.backends import create_backend
from safelight.config import PipelineConfig
from safelight.errors import BackendError
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


@contextmanager
def options(engine: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Yield what the engine needs besides its name: the address of a server, or a model."""
    if engine == "webui":
        with ReplayServer("forge") as server:
            yield {"url": server.url}
    elif engine == "comfyui":
        with FakeComfyUI() as comfyui:
            yield {"url": comfyui.url}
    elif engine == "openai-images":
        with ImagesServer("sd-server") as images:
            yield {"url": images.url}
    elif engine == "diffusers":
        if importlib.util.find_spec("diffusers") is None:
            pytest.skip("the extra safelight[diffusers] is not installed")
        from backends.diffusers_engine.tiny_pipeline import save_tiny_pipeline

        yield {"model": str(save_tiny_pipeline(tmp_path / "tiny")), "device": "cpu"}
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
