from __future__ import annotations

import json
import os
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image, PngImagePlugin

from safelight.archive import Archive
from safelight.imports.folder_import import import_folders
from safelight.imports.imported_picture import import_picture
from safelight.imports.picture_reader import read_picture
from safelight.imports.picture_walk import walk_pictures
from safelight.imports.reading import ImportedLora, Reading
from safelight.imports.sample_prompts import kohya_prompts, plain_file

_DRAWN = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
_PROMPTS = """# what to draw
a lighthouse --n fog --w 64 --h 64 --d 42 --s 20 --l 7.5 --ss euler_a

a harbour, "two" words --w 64 --h 64 --d 43 --g 3.5
"""


def _picture(path: Path, *, size: tuple[int, int] = (64, 64), text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngImagePlugin.PngInfo()
    if text:
        info.add_text("parameters", text)
    shade = len(list(path.parent.iterdir()))
    image = Image.new("RGB", size, (shade, 0, 0))
    if path.suffix == ".png":
        image.save(path, pnginfo=info)
    else:
        image.save(path)
    os.utime(path, (_DRAWN, _DRAWN))
    return path


def _beside(path: Path, text: str, *, later: float = -3600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (_DRAWN + later, _DRAWN + later))
    return path


def _weights(path: Path, **told: str) -> None:
    header = json.dumps({"__metadata__": told, "a": {"dtype": "F16", "shape": [1]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(100))


def _kohya(folder: Path, name: str = "ink_e000004_00_20260101120000_42.png", **how: Any) -> Reading:
    return read_picture(_picture(folder / "sample" / name, **how))


def test_kohya_s_samples_know_epoch_lora_and_prompt(tmp_path: Path) -> None:
    _beside(tmp_path / "sample_prompts.txt", _PROMPTS)
    for epoch in (2, 4):
        _weights(
            tmp_path / f"ink-{epoch:06}.safetensors", ss_output_name="ink", ss_epoch=str(epoch),
            ss_network_module="networks.lora", ss_sd_model_name="base.safetensors",
            ss_network_dim="16", ss_network_alpha="8.0", ss_base_model_version="sdxl_base_v1-0",
        )  # fmt: skip
    reading = _kohya(tmp_path)
    assert reading.generator == "kohya"
    assert reading.config["txt2img"] == {
        "model": "base.safetensors", "seed": 42, "prompt": "a lighthouse",
        "negative_prompt": "fog", "steps": 20, "cfg_scale": 7.5, "sampler": "Euler a",
        "width": 64, "height": 64,
    }  # fmt: skip
    assert set(reading.fields.values()) == {"read"}
    assert reading.loras == (ImportedLora(name="ink", weight=1.0),)
    assert reading.extra == {
        "Training epoch": "4", "Network dim": "16", "Network alpha": "8.0",
        "Base model version": "sdxl_base_v1-0",
    }  # fmt: skip


def test_a_name_alone_says_what_it_says(tmp_path: Path) -> None:
    reading = _kohya(tmp_path, "ink_000001500_07_20260101120000_9.png")
    assert reading.extra == {"Training step": "1500", "Trained model": "ink", "Sample prompt": "7"}
    assert reading.config["txt2img"] == {"seed": 9, "width": 64, "height": 64}
    assert (reading.fields["txt2img.prompt"], reading.loras) == ("unresolved", ())
    assert reading.outcome == "partly"


@pytest.mark.parametrize(("prompts", "size", "told"), [
    (_PROMPTS.replace("42", "77"), (64, 64), "says another seed"),
    (_PROMPTS.replace(" --d 42", ""), (64, 64), "says another seed"),
    (_PROMPTS, (200, 64), "says a width of 64, and it has 200"),
    ("# nothing", (64, 64), "has no prompt number 0"),
])  # fmt: skip
def test_prompts_that_do_not_fit_are_not_read(
    tmp_path: Path, prompts: str, size: tuple[int, int], told: str
) -> None:
    """The file was changed for the next training, or is another one's."""
    _beside(tmp_path / "sample" / "prompt.txt", prompts)
    reading = _kohya(tmp_path, size=size)
    assert reading.fields["txt2img.prompt"] == "unresolved"
    assert reading.extra["Sample prompt"] == "0"
    assert reading.warnings == (f"the prompt is not certain: prompt.txt {told}",)


def test_of_several_files_the_one_that_fits_is_read(tmp_path: Path) -> None:
    _beside(tmp_path / "sample" / "prompt.txt", _PROMPTS.replace("42", "77"))
    _beside(tmp_path / "sample_prompts.txt", _PROMPTS)
    assert _kohya(tmp_path).config["txt2img"]["prompt"] == "a lighthouse"
    _beside(tmp_path / "prompts.txt", _PROMPTS.replace("lighthouse", "barn"))
    reading = _kohya(tmp_path)
    assert reading.fields["txt2img.prompt"] == "unresolved"
    assert reading.warnings[0].endswith("; the files beside it say different ones")


@pytest.mark.parametrize(("later", "copied", "read"), [
    (-60, False, True), (3600, False, False), (3600, True, True),
])  # fmt: skip
def test_what_was_written_after_the_picture_is_not_certain(
    tmp_path: Path, later: float, copied: bool, read: bool
) -> None:
    """A trainer that goes on writes its prompts anew; a copy has times that say nothing."""
    path = _picture(tmp_path / "sample" / "ink_000100_00_20260101120000.png")
    file = _beside(tmp_path / "prompts.txt", "a barn --s 12", later=later)
    if copied:
        for one in (path, file):
            os.utime(one, (one.stat().st_mtime + 10**7, one.stat().st_mtime + 10**7))
    fields = read_picture(path).fields
    assert (fields["txt2img.prompt"] == "read") is read


def test_every_form_of_kohya_s_prompts(tmp_path: Path) -> None:
    toml = _beside(tmp_path / "a.toml", (
        '[prompt]\nwidth = 64\nseed = 42\n[[prompt.subset]]\nprompt = "a"\nsample_steps = 20\n'
        '[[prompt.subset]]\nprompt = "b"\nwidth = 32\nscale = 7.5\nsample_sampler = "ddim"\n'
    ))  # fmt: skip
    table: list[dict[str, Any]] = [
        {"prompt": "a", "seed": 42, "sample_steps": 20, "width": 64},
        {"prompt": "b", "seed": 42, "width": 32, "scale": 7.5, "sample_sampler": "ddim"},
    ]
    listed = _beside(tmp_path / "a.json", json.dumps(table))
    expected = [
        {"prompt": "a", "width": 64, "seed": 42, "steps": 20},
        {"prompt": "b", "width": 32, "seed": 42, "cfg_scale": 7.5, "sampler": "ddim"},
    ]
    assert kohya_prompts(plain_file(toml)) == kohya_prompts(plain_file(listed)) == expected


def _job(**sample: Any) -> dict[str, Any]:
    told = {"width": 64, "height": 64, "seed": 42, "walk_seed": True, "sample_steps": 20,
            "guidance_scale": 4, "neg": "", "sampler": "flowmatch",
            "prompts": ["a [trigger] barn", "a harbour", "flags --w 512"]}  # fmt: skip
    process = {
        "type": "sd_trainer", "trigger_word": "p3r5on", "sample": told | sample,
        "network": {"type": "lora", "linear": 16, "linear_alpha": 8},
        "model": {"name_or_path": "Qwen/Qwen-Image", "arch": "qwen_image"},
    }  # fmt: skip
    return {"job": "extension", "config": {"name": "ink", "process": [process]}}


def _ai_toolkit(folder: Path, number: int = 1) -> Reading:
    name = f"{round(_DRAWN * 1000)}__000001500_{number}.jpg"
    return read_picture(_picture(folder / "samples" / name))


@pytest.mark.parametrize("name", ["config.yaml", ".job_config.json"])
def test_ai_toolkit_s_samples_know_step_lora_and_prompt(tmp_path: Path, name: str) -> None:
    write = yaml.dump if name.endswith("yaml") else json.dumps
    _beside(tmp_path / name, write(_job()))
    reading = _ai_toolkit(tmp_path)
    assert reading.generator == "ai-toolkit"
    assert reading.config["txt2img"] == {
        "model": "Qwen/Qwen-Image", "prompt": "a harbour", "negative_prompt": "", "steps": 20,
        "seed": 43, "cfg_scale": 4, "sampler": "flowmatch", "width": 64, "height": 64,
    }  # fmt: skip
    assert reading.loras == (ImportedLora(name="ink", weight=1.0),)
    assert reading.extra["Training step"] == "1500"
    assert _ai_toolkit(tmp_path, 0).config["txt2img"]["prompt"] == "a p3r5on barn"
    assert _ai_toolkit(tmp_path, 2).fields["txt2img.prompt"] == "unresolved"


def test_ai_toolkit_s_newer_lists_and_distilled_models(tmp_path: Path) -> None:
    job = _job(samples=[{"prompt": "a", "seed": 7, "width": 64, "network_multiplier": 0.5}],
               walk_seed=False)  # fmt: skip
    job["config"]["process"][0]["model"] = {"name_or_path": "FLUX.1-dev", "is_flux": True}
    _beside(tmp_path / "config.yaml", yaml.dump(job))
    reading = _ai_toolkit(tmp_path, 0)
    knobs = reading.config["txt2img"]
    assert (knobs["seed"], knobs["guidance"], "cfg_scale" in knobs) == (7, 4, False)
    assert reading.loras == (ImportedLora(name="ink", weight=0.5),)


def test_a_whole_model_in_training_is_no_lora(tmp_path: Path) -> None:
    job = _job()
    del job["config"]["process"][0]["network"]
    _beside(tmp_path / "config.yaml", yaml.dump(job))
    reading = _ai_toolkit(tmp_path)
    assert (reading.loras, reading.extra["Trained model"]) == ((), "ink")
    assert reading.fields["txt2img.model"] == "unresolved"


def _onetrainer(workspace: Path, folder: str = "1 - a harbour, two words") -> Reading:
    name = "run2026-01-01_12-00-00-training-sample-400-4-0.png"
    return read_picture(_picture(workspace / "samples" / folder.replace(",", "") / name))


def _onetrainer_samples(prompt: str) -> list[dict[str, Any]]:
    other = {"prompt": "x", "random_seed": False}
    return [other, {
        "prompt": prompt, "negative_prompt": "fog", "width": 64, "height": 64, "seed": 42,
        "random_seed": False, "diffusion_steps": 20, "cfg_scale": 5.0,
        "noise_scheduler": "EULER_A",
    }]  # fmt: skip


def test_onetrainer_s_samples_know_step_lora_and_prompt(tmp_path: Path) -> None:
    config = {
        "training_method": "LORA", "base_model_name": "base/sdxl", "lora_rank": 16,
        "model_type": "STABLE_DIFFUSION_XL_10_BASE",
        "output_model_destination": "models/ink.safetensors",
        "samples": _onetrainer_samples("a harbour, two words"),
    }  # fmt: skip
    _beside(tmp_path / "config" / "2026-01-01_10-00-00.json", json.dumps(config))
    changed = config | {"samples": _onetrainer_samples("something else")}
    _beside(tmp_path / "config" / "2026-01-01_13-00-00.json", json.dumps(changed))
    reading = _onetrainer(tmp_path)
    assert reading.generator == "onetrainer"
    knobs = reading.config["txt2img"]
    assert (knobs["prompt"], knobs["seed"], knobs["cfg_scale"]) == ("a harbour, two words", 42, 5)
    assert (knobs["model"], knobs["steps"], knobs["sampler"]) == ("base/sdxl", 20, "Euler a")
    assert reading.loras == (ImportedLora(name="ink", weight=1.0),)
    assert reading.extra == {
        "Training step": "400", "Epoch of training step": "4", "Network dim": "16",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "read"),
    [("1 - a harbour", True), ("1 - another", False), ("7 - a harbour", False), ("custom", False)],
)
def test_onetrainer_s_folder_must_be_that_of_the_prompt(
    tmp_path: Path, folder: str, read: bool
) -> None:
    _beside(tmp_path / "samples.json", json.dumps(_onetrainer_samples("a harbour")))
    reading = _onetrainer(tmp_path, folder)
    assert (reading.fields["txt2img.prompt"] == "read") is read
    assert "cfg_scale" not in reading.config["txt2img"], "of which kind it is, the model says"


def test_a_sample_with_a_text_of_its_own_keeps_it(tmp_path: Path) -> None:
    _beside(tmp_path / "prompts.txt", _PROMPTS)
    text = "a tower\nSteps: 20, Sampler: Euler, CFG scale: 3, Seed: 42, Size: 64x64"
    reading = _kohya(tmp_path, text=text)
    assert (reading.generator, reading.config["txt2img"]["prompt"]) == ("a1111-like", "a tower")
    assert reading.extra["Training epoch"] == "4"


@pytest.mark.parametrize("name", [
    "ink_e000004_00_20269901120000_42.png", "ink_e0004_00_20260101120000.png",
    "0000000000000_000000500_0.jpg", "picture.png",
])  # fmt: skip
def test_other_names_are_no_samples(tmp_path: Path, name: str) -> None:
    reading = read_picture(_picture(tmp_path / name))
    assert (reading.generator, reading.extra, reading.outcome) == ("", {}, "none")


def test_epoch_and_lora_can_be_asked_for(tmp_path: Path) -> None:
    """The same prompts and seeds in every epoch: what people train for can be asked at once."""
    folder = tmp_path / "training"
    _beside(folder / "sample_prompts.txt", _PROMPTS)
    _weights(folder / "ink.safetensors", ss_output_name="ink", ss_network_module="networks.lora")
    for epoch in (2, 4):
        for number, seed in ((0, 42), (1, 43)):
            name = f"ink_e{epoch:06}_{number:02}_2026010112000{epoch}_{seed}.png"
            _picture(folder / "sample" / name)
    archive = Archive(tmp_path / "archive")
    summary = import_folders([folder], archive)
    assert summary.read == {"kohya": {"partly": 4}}
    rows = list(archive.query("extra('Training epoch') = 4", limit=None).dicts())
    assert sorted(str(row["prompt"]) for row in rows) == ['a harbour, "two" words', "a lighthouse"]
    assert len(list(archive.query("lora.ink = 1", limit=None).dicts())) == 4


def test_small_pictures_of_ai_toolkit_are_passed_over(tmp_path: Path) -> None:
    _picture(tmp_path / "samples" / ".thumbs" / "a.png")
    assert list(walk_pictures([tmp_path])) == []


@pytest.mark.parametrize("content", [
    b"", b"\xff\xfe\0", b"[" * 100_000, b"a: &a [1]\nb:\n  <<: *a\n", b"config: 7",
    b"config: {process: [7]}", b"config: {process: [{sample: 7, network: 7, model: 7}]}",
    b"prompt = [[[", b"--w --h\n --d x\n",
])  # fmt: skip
def test_whatever_lies_beside_stops_no_import(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "samples"
    for number, name in enumerate((
        "ink_e000004_00_20260101120000_42.png", f"{round(_DRAWN * 1000)}__000001500_0.png",
        "2026-01-01_12-00-00-training-sample-400-4-0.png",
    )):  # fmt: skip
        path = _picture(folder / f"{number} - x" / name if number == 2 else folder / name)
        for beside in ("config.yaml", ".job_config.json", "samples.json", "prompts.txt",
                       "prompts.toml", "prompts.json", "ink.safetensors"):  # fmt: skip
            for place in (tmp_path, folder):
                (place / beside).write_bytes(content)
        (tmp_path / "config").mkdir(exist_ok=True)
        (tmp_path / "config" / "2026-01-01_10-00-00.json").write_bytes(content)
        assert import_picture(str(path)).fault == ""
