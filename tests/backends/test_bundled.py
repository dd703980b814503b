"""The model in the box keeps the contract; its knobs truly act, and it says what it cannot do."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import safelight.backends.bundled
from backends.backend_contract import BackendContract, Steps, pixels
from safelight.backends.bundled import BundledBackend
from safelight.backends.bundled.names import SAMPLER_NAMES, SCHEDULE_NAMES
from safelight.backends.bundled.samplers import SAMPLERS
from safelight.backends.bundled.schedules import SCHEDULES
from safelight.errors import BackendError
from safelight.learning import LearningRecord
from safelight.pipeline import PipelineRunner
from safelight.pipeline.backend import Img2ImgRequest, Txt2ImgRequest
from safelight.pipeline.images import identify_pixels
from safelight.pipeline.stages import mismatches

MODEL = Path(safelight.backends.bundled.__file__).parent / "model"


@pytest.fixture(scope="module")
def bundled() -> BundledBackend:
    return BundledBackend()


class TestBundledBackend(BackendContract):
    @pytest.fixture
    def backend(self, bundled: BundledBackend) -> BundledBackend:
        return bundled

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return {"prompt": "red apple", "seed": 3, "steps": 4}


def drawn(backend: BundledBackend, **fields: Any) -> np.ndarray[Any, Any]:
    request = Txt2ImgRequest(**{"prompt": "red apple", "seed": 1, "steps": 12, **fields})
    (image,) = backend.generate(request, Steps()).images
    return pixels(image.png)


def test_who_draws_is_told_to_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """By itself onnxruntime sends its maker an id of the machine, and the program's name."""
    program = (
        "from safelight.backends.bundled import BundledBackend, MODEL_FOLDER\n"
        "BundledBackend().describe()\n"
        "from safelight.backends.bundled.quiet_runtime import onnxruntime\n"
        "onnxruntime.InferenceSession(str(MODEL_FOLDER / 'text.onnx'))\n"
    )
    path = [str(Path(one).resolve()) for one in os.environ.get("PYTHONPATH", "").split(":") if one]
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        there = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), there)
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT")}
        subprocess.run(
            [sys.executable, "-c", program], check=True, cwd=tmp_path, timeout=300,
            env={**kept, **proxies, "HOME": str(tmp_path), "PYTHONPATH": ":".join(path)},
        )  # fmt: skip
        assert list(tmp_path.iterdir()) == []
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    sources = MODEL.parents[2].rglob("*.py")
    straight = re.compile(r"^ *(import|from) onnxruntime", re.MULTILINE)
    importing = [one.name for one in sources if straight.search(one.read_text("utf-8"))]
    assert importing == ["quiet_runtime.py"]


def test_a_red_apple_is_red(bundled: BundledBackend) -> None:
    """The picture shows what its prompt names."""
    apple = drawn(bundled)
    centre = apple[28:52, 20:44].reshape(-1, 3).mean(axis=0)
    assert centre[0] > 180
    assert centre[1] < 100
    assert centre[2] < 100
    assert apple[:4, :4].mean() > 220, "the corner is background"


@pytest.mark.parametrize(
    "change",
    [
        {"cfg_scale": 1},
        {"cfg_scale": 8},
        {"steps": 3},
        {"sampler": "Euler"},
        {"sampler": "Euler a"},
        {"scheduler": "Normal"},
        {"seed": 2},
        {"prompt": "rocket"},
        {"negative_prompt": "red"},
    ],
    ids=str,
)
def test_every_knob_matters(bundled: BundledBackend, change: dict[str, Any]) -> None:
    """Evidence about a knob that does nothing would be worthless."""
    assert np.abs(drawn(bundled) - drawn(bundled, **change)).mean() > 1


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [("DPM++ 2M", "Karras"), ("DPM++ 2M SDE", "Exponential"), ("Euler", "Normal")],
)
def test_automatic_is_the_samplers_own_schedule(
    bundled: BundledBackend, sampler: str, scheduler: str
) -> None:
    """As in AUTOMATIC1111; what it came to is reported, and is no mismatch."""
    request = Txt2ImgRequest(prompt="apple", steps=2, sampler=sampler, scheduler="Automatic")
    (image,) = bundled.generate(request, Steps()).images
    assert image.effective["scheduler"] == scheduler
    assert mismatches(request, image.effective) == ()


def test_eta_matters_where_there_is_one(bundled: BundledBackend) -> None:
    """Euler a without fresh noise is Euler; with it, it is not."""
    euler = drawn(bundled, sampler="Euler")
    assert (drawn(bundled, sampler="Euler a", eta=0) == euler).all()
    assert (drawn(bundled, sampler="Euler a", eta=0.5) != euler).any()


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    """A picture can be drawn again tomorrow."""
    program = """
import hashlib
from safelight.backends.bundled import BundledBackend
from safelight.pipeline.backend import Img2ImgRequest, Txt2ImgRequest
request = Txt2ImgRequest(prompt="rocket", seed=2**40, steps=4, sampler="Euler a")
png = BundledBackend().generate(request, lambda *a, **k: None).images[0].png
print(hashlib.sha256(png).hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


def test_unknown_words_are_said(bundled: BundledBackend) -> None:
    """A word without effect must not look like one."""
    request = Txt2ImgRequest(prompt="a bananna with zeppelin, 灯台", steps=1)
    warnings = bundled.generate(request, Steps()).warnings
    assert warnings == (
        "'bananna' is not in the bundled model's vocabulary; nearest: banana",
        "'zeppelin' is not in the bundled model's vocabulary",
        "'灯台' is not in the bundled model's vocabulary",
    )


def test_knobs_that_the_model_lacks_are_said(bundled: BundledBackend) -> None:
    """As warnings: the picture is there."""
    request = Txt2ImgRequest(prompt="apple", steps=1, vae="x", clip_skip=2, extra={"tiling": True})
    assert len(bundled.generate(request, Steps()).warnings) == 3


def test_words_beyond_the_models_length_are_counted(bundled: BundledBackend) -> None:
    """Not silently cut."""
    request = Txt2ImgRequest(prompt="red apple " * 21, steps=1)
    (warning,) = bundled.generate(request, Steps()).warnings
    assert "31 words had no effect" in warning


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"width": 512}, "width must be 64 px.*hires_scale or an \\[upscale\\]"),
        ({"height": 8}, "height must be 64 px"),
        ({"steps": 10_000}, "steps must be an integer from 1 to 1000, got 10000"),
        ({"cfg_scale": float("nan")}, "cfg_scale must be a finite number"),
        ({"steps": 0}, "steps must be an integer from 1 to 1000, got 0"),
        ({"cfg_scale": float("inf")}, "cfg_scale must be a finite number"),
        ({"seed": -1}, "seed must lie in 0 to"),
        ({"seed": 2**64 - 1, "batch_size": 2}, "seed must lie in 0 to"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"hires_scale": 4}, "hires_scale of the bundled model must be 1.25, 1.5, 1.75, 2; got 4"),
        ({"hires_scale": 1.3}, "hires_scale .* got 1.3"),
        ({"hires_scale": 2, "hires_upscaler": "R-ESRGAN"}, "no hires_upscaler 'R-ESRGAN'"),
        ({"hires_scale": 2, "hires_steps": 0}, "hires_steps must be"),
        ({"hires_scale": 2, "hires_denoising_strength": 2}, "hires_denoising_strength must be"),
        ({"model": "sdxl"}, "no model 'sdxl'; it has: emoji-64"),
        ({"sampler": "euler a"}, "no sampler 'euler a'; did you mean 'Euler a'"),
        ({"sampler": "euler_ancestral"}, "did you mean 'Euler a'"),
    ],
)
def test_what_it_cannot_do_is_refused(
    bundled: BundledBackend, change: dict[str, Any], complaint: str
) -> None:
    """With the knob, the rule, the value, and the way out."""
    with pytest.raises(BackendError, match=complaint):
        drawn(bundled, **change)


@pytest.mark.parametrize("file", ["model.json", "text.onnx", "unet.onnx"])
@pytest.mark.parametrize("damage", ["missing", "empty", "torn"])
def test_a_damaged_model_is_said_clearly(tmp_path: Path, file: str, damage: str) -> None:
    """Which file, and how to get a whole one."""
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    path = folder / file
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else data[: len(data) // 2])
    backend = BundledBackend(model_dir=folder)
    with pytest.raises(BackendError, match=f"{file} is missing or damaged.*pip install"):
        drawn(backend)
    with pytest.raises(BackendError, match=file):
        backend.describe()


@pytest.mark.parametrize(
    ("fact", "value"), [("sigma_max", None), ("mean", 3), ("name", []), ("vocabulary", {})]
)
def test_facts_of_the_wrong_kind_are_said_clearly(tmp_path: Path, fact: str, value: Any) -> None:
    """Which fact, and what it should be."""
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    facts = json.loads((folder / "model.json").read_text("utf-8"))
    (folder / "model.json").write_text(json.dumps({**facts, fact: value}), "utf-8")
    with pytest.raises(BackendError, match=f"model.json.*{fact} must be a"):
        drawn(BundledBackend(model_dir=folder))


def test_networks_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """A mixed-up folder gives an error, not noise."""
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    shutil.copy(MODEL / "text.onnx", folder / "unet.onnx")
    with pytest.raises(BackendError, match="do not fit together"):
        drawn(BundledBackend(model_dir=folder))


def test_what_has_no_effect_is_said(bundled: BundledBackend) -> None:
    """An eta for a sampler without one, a negative prompt without guidance."""
    request = Txt2ImgRequest(
        prompt="apple", negative_prompt="red", sampler="Euler", eta=0.5, cfg_scale=1, steps=1
    )
    assert bundled.generate(request, Steps()).warnings == (
        "Euler has no eta; it had no effect",
        "the negative prompt has no effect at cfg_scale 1",
    )
    foreign = Txt2ImgRequest(prompt="apple", negative_prompt="zeppelin", steps=1)
    (warning,) = bundled.generate(foreign, Steps()).warnings
    assert warning.startswith("negative prompt: 'zeppelin' is not")


@pytest.mark.parametrize(("strength", "steps"), [(0.5, 11), (1.0, 20), (0.05, 2), (0.75, 16)])
def test_redrawing_takes_as_many_steps_as_automatic1111_takes(
    bundled: BundledBackend, strength: float, steps: int
) -> None:
    """Of 20: int(strength * 20) + 1, at most all."""
    given = png_of(drawn(bundled, steps=2))
    seen = Steps()
    bundled.generate(Img2ImgRequest(init_image=given, denoising_strength=strength, steps=20), seen)
    assert seen.seen[-1] == (steps, steps)


def png_of(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_batch_is_the_same_pictures_as_its_seeds_alone(bundled: BundledBackend) -> None:
    """Byte for byte, so that a good one of a batch can be drawn again by its seed."""
    steps = Steps()
    request = Txt2ImgRequest(prompt="rocket", seed=7, steps=3, batch_size=3, sampler="Euler a")
    images = bundled.generate(request, steps).images
    assert [image.effective["seed"] for image in images] == [7, 8, 9]
    for image in images:
        alone = Txt2ImgRequest(
            prompt="rocket", seed=image.effective["seed"], steps=3, sampler="Euler a"
        )
        assert bundled.generate(alone, Steps()).images[0].png == image.png
    assert steps.seen == [(step, 9) for step in range(1, 10)]


def test_the_hires_fix_enlarges_and_redraws(bundled: BundledBackend) -> None:
    """Twice as large, the same thing, and not merely enlarged."""
    small = drawn(bundled)
    steps = Steps()
    request = Txt2ImgRequest(
        prompt="red apple", seed=1, steps=12, hires_scale=2, hires_steps=10,
        hires_denoising_strength=0.3,
    )  # fmt: skip
    (image,) = bundled.generate(request, steps).images
    assert steps.seen[-1] == (16, 16), "12, and 0.3 of 10 and one"
    assert (image.effective["width"], image.effective["hires_scale"]) == (64, 2)
    large = pixels(image.png)
    assert large.shape == (128, 128, 3)
    enlarged = np.asarray(
        Image.fromarray(small.astype(np.uint8)).resize((128, 128), Image.Resampling.LANCZOS),
        np.int16,
    )
    difference = np.abs(large - enlarged).mean()
    assert 0.5 < difference < 25


def test_only_what_the_mask_shows_white_is_redrawn(bundled: BundledBackend) -> None:
    """What it keeps stays as it was; with a blurred edge the two sides blend."""
    given = drawn(bundled)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    request = Img2ImgRequest(
        prompt="rocket", seed=5, steps=8, init_image=png_of(given), mask=png_of(mask),
        denoising_strength=0.9,
    )  # fmt: skip
    redrawn = pixels(bundled.generate(request, Steps()).images[0].png)
    assert np.abs(redrawn[:, :32] - given[:, :32]).max() <= 1
    assert np.abs(redrawn[:, 32:] - given[:, 32:]).mean() > 5
    blurred = bundled.generate(dataclasses.replace(request, mask_blur=4), Steps()).images[0]
    assert blurred.effective["mask_blur"] == 4
    assert np.abs(pixels(blurred.png)[:, 28:32] - given[:, 28:32]).max() > 1


def test_a_picture_is_redrawn_at_the_size_that_is_asked_for(bundled: BundledBackend) -> None:
    """Up to twice the model's own size."""
    given = png_of(drawn(bundled))
    request = Img2ImgRequest(
        prompt="red apple", init_image=given, width=128, height=96, denoising_strength=0.2, steps=5
    )
    (image,) = bundled.generate(request, Steps()).images
    assert pixels(image.png).shape == (96, 128, 3)
    with pytest.raises(BackendError, match="width must be 64 to 128 in steps of 16 px.*got 72"):
        bundled.generate(dataclasses.replace(request, width=72), Steps())


def test_the_description_tells_what_changes_pixels(bundled: BundledBackend) -> None:
    """Runtime versions, device, and which weights."""
    environment = bundled.describe().environment
    assert environment["device"] == "cpu"
    assert {"numpy", "onnxruntime"} <= environment.keys()
    digest = hashlib.sha256()
    for name in ("model.json", "text.onnx", "unet.onnx"):
        digest.update((MODEL / name).read_bytes())
    assert environment["model_sha256"] == digest.hexdigest()


def test_the_names_that_are_told_are_those_that_are_there() -> None:
    """They stand apart so that telling them loads no arithmetic."""
    assert tuple(SAMPLERS) == SAMPLER_NAMES
    assert tuple(SCHEDULES) == SCHEDULE_NAMES


@pytest.mark.parametrize("knob", ["sampler", "scheduler"])
def test_what_the_record_says_draws_the_same_pixels_again(
    bundled: BundledBackend, tmp_path: Path, knob: str
) -> None:
    """Over all samplers with one schedule, and all schedules with one sampler."""
    names = bundled.choices()[knob]
    config = {
        "txt2img": {"prompt": "red apple", "seed": 5, "steps": 3, "sampler": "Euler",
                    "scheduler": "Karras"},
        "randomizer": {"mode": "fanout", "sweep": {f"txt2img.{knob}": list(names)}},
    }  # fmt: skip
    records: list[LearningRecord] = []
    runner = PipelineRunner(bundled, archive_dir=tmp_path, on_learning_record=records.append)
    assert runner.run(config).status == "completed"
    (record,) = records
    for output, name in zip(record.outputs, names, strict=True):
        knobs = record.variant_configs[output.variant]["txt2img"]
        assert knobs[knob] == name or name == "Automatic"
        (again,) = bundled.generate(Txt2ImgRequest(**knobs), Steps()).images
        assert identify_pixels(again.png).pixel_sha256 == output.pixel_sha256
    assert len({output.pixel_sha256 for output in record.outputs}) > len(names) // 2
