"""Pipelines of diffusers are noted by their signatures, and scripts go on as if they were not."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safelight_spool
from PIL import Image
from safelight_spool import autolog, observe, record

from imports.spool_lines import lines_of
from safelight.application.failed_settings import failed_settings
from safelight.archive import Archive
from safelight.imports.folder_import import import_folders


class Generator:
    """As torch's: what was drawn from it is part of its state."""

    def __init__(self, device: str = "cpu") -> None:
        self.device, self._seed, self.drawn = device, 0, 0

    def manual_seed(self, seed: int) -> Generator:
        self._seed, self.drawn = seed, 0
        return self

    def initial_seed(self) -> int:
        return self._seed

    def get_state(self) -> tuple[int, int]:
        return self._seed, self.drawn


class EulerDiscreteScheduler:
    def __init__(self) -> None:
        self.config = {"use_karras_sigmas": True, "num_train_timesteps": 1000, "_class_name": "x"}


class _Answer:
    def __init__(self, images: list[Image.Image]) -> None:
        self.images = images


class DiffusionPipeline:
    """The stub of what all pipelines of diffusers come from."""

    device, dtype = "cuda:0", "torch.float16"

    def __init__(self) -> None:
        self.config = {"_name_or_path": "someone/model"}
        self.register_modules()

    def register_modules(self) -> None:
        self.scheduler = EulerDiscreteScheduler()

    def get_active_adapters(self) -> list[str]:
        return ["ink"]


class StubPipeline(DiffusionPipeline):
    def __call__(
        self, prompt: str | list[str], num_inference_steps: int = 30, guidance_scale: float = 7.5,
        generator: Any = None, num_images_per_prompt: int = 1, clip_skip: int | None = None,
        callback_on_step_end: Any = None, output_type: str = "pil",
    ) -> Any:  # fmt: skip
        """Draw a colour."""
        if num_inference_steps > 100:
            raise MemoryError("CUDA out of memory")
        if num_inference_steps == 77:
            raise KeyboardInterrupt
        generators = generator if isinstance(generator, list) else [generator]
        for each in generators:
            if each is not None:
                each.drawn += 1
        count = num_images_per_prompt * (len(prompt) if isinstance(prompt, list) else 1)
        seeds = [each.initial_seed() if each else 9 for each in generators]
        return _Answer([
            Image.new("RGB", (16, 24), (seeds[n % len(seeds)], n, num_inference_steps))
            for n in range(count)
        ])  # fmt: skip


@pytest.fixture(autouse=True)
def _diffusers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("diffusers")
    vars(module).update(DiffusionPipeline=DiffusionPipeline, __version__="0.99")
    monkeypatch.setitem(sys.modules, "diffusers", module)
    yield
    safelight_spool._all.clear()
    safelight_spool._observed.clear()


def _noted(folder: Path) -> list[dict[str, Any]]:
    return lines_of(folder / ".safelight-spool")


def test_a_call_is_noted_with_all_that_it_was_made_of(tmp_path: Path) -> None:
    """The defaults included: whoever changes one later wants to know what it was."""
    pipeline = observe(StubPipeline(), tmp_path)
    assert isinstance(pipeline, StubPipeline)
    assert StubPipeline.__call__.__doc__ == "Draw a colour."
    StubPipeline()("not observed")
    answer = pipeline("a cat", generator=Generator("cuda").manual_seed(7))
    (line,) = _noted(tmp_path)
    assert line["parameters"] == {
        "prompt": "a cat", "num_inference_steps": 30, "guidance_scale": 7.5, "seed": 7,
        "num_images_per_prompt": 1, "generator_device": "cuda",
        "pipeline": "StubPipeline", "model": "someone/model", "loras": [{"name": "ink"}],
        "scheduler_class": "EulerDiscreteScheduler",
        "scheduler_config": {"use_karras_sigmas": True, "num_train_timesteps": 1000},
    }  # fmt: skip
    assert line["environment"]["device"] == "cuda:0"
    assert line["environment"]["diffusers"] == line["tool_version"] == "0.99"
    assert (line["status"], len(line["outputs"]), len(answer.images)) == ("completed", 1, 1)


def test_a_saved_picture_is_found_to_be_the_one_that_was_told_of(tmp_path: Path) -> None:
    """Its file says nothing; its pixels do, whatever it is called and wherever it went."""
    pipeline = observe(StubPipeline(), tmp_path)
    answer = pipeline(["a cat", "a dog"], generator=[Generator().manual_seed(n) for n in (5, 6)])
    unsaved = pipeline("a bird", generator=Generator().manual_seed(8))
    assert unsaved.images
    archive = Archive(tmp_path / "archive")
    import_folders([tmp_path], archive)
    answer.images[1].save(tmp_path / "dog.png")
    answer.images[0].save(tmp_path / "cat.webp", lossless=True)
    Image.new("RGB", (16, 24), "red").save(tmp_path / "other.png")
    with pytest.raises(MemoryError):
        pipeline("a cat", num_inference_steps=900)
    import_folders([tmp_path], archive)
    found = {Path(str(row["path"])).name: row for row in archive.query(limit=None).dicts()}
    assert len(found) == 3
    assert (found["dog.png"]["prompt"], found["dog.png"]["seed"]) == ("a dog", 6)
    assert (found["cat.webp"]["prompt"], found["cat.webp"]["seed"]) == ("a cat", 5)
    assert found["other.png"]["prompt"] is None
    row = found["dog.png"]
    assert (row["sampler"], row["scheduler"], row["model"], row["steps"], row["cfg_scale"]) == (
        "Euler", "Karras", "someone/model", 30, 7.5)  # fmt: skip
    failed = failed_settings(archive)
    assert (failed.begun, failed.failed) == (3, 1)


def test_a_seed_is_told_only_of_a_generator_that_nothing_was_drawn_from(tmp_path: Path) -> None:
    """The second picture of one generator cannot be drawn again from its seed."""
    pipeline = observe(StubPipeline(), tmp_path)
    generator = Generator().manual_seed(7)
    pipeline("a", generator=generator)
    pipeline("b", generator=generator)
    pipeline("c", generator=Generator().manual_seed(7), num_images_per_prompt=2)
    first, second, batch = (line["parameters"] for line in _noted(tmp_path))
    assert first["seed"] == 7
    assert "seed" not in second
    assert second["generator_seed_before"] == 7
    assert batch["seed"] == 7
    assert [o["parameters"]["seed"] for o in _noted(tmp_path)[2]["outputs"]] == [None, None]


def test_two_calls_seem_alike_only_where_all_is_known_that_they_were_given(
    tmp_path: Path,
) -> None:
    """A picture to begin with is known by its pixels; latents are told to be unlike any other."""

    class Img2Img(DiffusionPipeline):
        def __call__(self, image: Any, latents: Any = None) -> Any:
            return (None,)

    pipeline = observe(Img2Img(), tmp_path)
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    for image in (red, red.copy(), blue):
        pipeline(image, latents=np.zeros(3))
    first, again, other = (line["parameters"] for line in _noted(tmp_path))
    assert first["image"] == again["image"] != other["image"]
    assert len({each["latents"] for each in (first, again, other)}) == 3


def test_what_fails_is_noted_and_raised_as_it_is(tmp_path: Path) -> None:
    pipeline = observe(StubPipeline(), tmp_path)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        pipeline("a", num_inference_steps=900)
    with pytest.raises(KeyboardInterrupt):
        pipeline("a", num_inference_steps=77)
    with pytest.raises(TypeError):
        pipeline("a", unknown=3)
    failed, stopped, wrong = _noted(tmp_path)
    assert (failed["status"], failed["error"]) == ("failed", "MemoryError: CUDA out of memory")
    assert failed["parameters"]["num_inference_steps"] == 900
    assert (stopped["status"], wrong["status"]) == ("cancelled", "failed")


def test_all_pipelines_are_noted_in_a_block_or_from_now_on(tmp_path: Path) -> None:
    pipeline = StubPipeline()
    with record(tmp_path / "a"):
        pipeline("a")
    pipeline("not noted")
    autolog(tmp_path / "b")

    class Later(DiffusionPipeline):
        def __call__(self, prompt: str, odd: int = 3) -> Any:
            return (StubPipeline()(prompt).images,)

    Later()("b")
    assert [line["parameters"]["prompt"] for line in _noted(tmp_path / "a")] == ["a"]
    (line,) = _noted(tmp_path / "b")
    assert (line["parameters"]["pipeline"], line["parameters"]["odd"]) == ("Later", 3)
    assert len(line["outputs"]) == 1, "one pipeline within another is one execution"


def test_nothing_of_ours_breaks_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert observe(StubPipeline(), file)("a").images
    pipeline = StubPipeline()
    monkeypatch.setattr(pipeline, "scheduler", property(lambda _: 1 / 0))
    monkeypatch.setattr(safelight_spool, "_told_of", None)
    assert observe(pipeline, tmp_path)("a").images
    assert [line["status"] for line in _noted(tmp_path)] == ["completed"]
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with record(tmp_path):
        assert pipeline("a").images
    assert observe(object(), tmp_path)
    assert "not noted" in caplog.text
