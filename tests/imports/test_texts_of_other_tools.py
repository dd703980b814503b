"""Texts of web UIs and other tools, each with something that is easily read wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from safelight.application.rated_pictures import rated_trials
from safelight.archive import Archive
from safelight.formats.file_texts import FileTexts
from safelight.imports.folder_import import import_folders
from safelight.imports.imported_picture import import_picture
from safelight.imports.picture_reader import read_picture, read_texts
from safelight.imports.reading import Reading

_FILES = Path(__file__).parents[1] / "data" / "texts_by_hand"
_LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 77, Size: 512x512, Model: base"
_BARN = {"prompt": "a barn", "negative_prompt": "x", "steps": 20, "cfg_scale": 7, "seed": 77,
         "sampler": "Euler a", "scheduler": "Automatic", "clip_skip": 1, "model": "base",
         "width": 512, "height": 512}  # fmt: skip
_RED = {**_BARN, "prompt": "a red barn", "negative_prompt": "blurry"}
_MRE = {"prompt": "barn", "negative_prompt": "", "steps": 30, "cfg_scale": 7,
        "seed": 7000000000000000001, "sampler": "DPM++ 2M SDE", "scheduler": "Karras",
        "model": "morph.safetensors", "width": 1152, "height": 896, "clip_skip": 2}  # fmt: skip
_EASY = {"seed": 5, "steps": 25, "cfg_scale": 7.5, "width": 512, "height": 512,
         "sampler": "Euler a", "scheduler": "Automatic", "model": "sd15",
         "negative_prompt": ""}  # fmt: skip

_MEANT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "k01_infotext_prompt_begins_with_brace.png": (
        "a1111-like", "txt2img",
        {**_BARN, "prompt": "{red|blue} car on a hill", "negative_prompt": "dog"},
    ),
    "k03_key_in_other_case.png": (
        "a1111-like", "txt2img",
        {**_BARN, "prompt": "a cat", "negative_prompt": "dog", "cfg_scale": 8, "seed": 5},
    ),
    "k10_metahub_fields_without_graph.png": (
        "comfyui", "txt2img",
        {"prompt": "a red barn", "negative_prompt": "blurry", "seed": 456, "steps": 32,
         "cfg_scale": 7, "sampler": "DPM++ 2M", "scheduler": "Karras",
         "model": "base.safetensors", "width": 64, "height": 64},
    ),
    "k11_imaginairy_new_scheme.jpg": (
        "imaginairy", "txt2img",
        {"prompt": "a red barn", "negative_prompt": "blurry", "seed": 307, "steps": 50,
         "cfg_scale": 7.5, "sampler": "DDIM", "scheduler": "Automatic",
         "model": "Some Model V1", "width": 1024, "height": 1024},
    ),
    "k12_graph_in_xmp.webp": (
        "comfyui", "txt2img",
        {"prompt": "a red barn", "negative_prompt": "blurry", "seed": 42, "steps": 20,
         "cfg_scale": 7, "sampler": "Euler", "scheduler": "Normal",
         "model": "base.safetensors", "width": 512, "height": 768, "clip_skip": 1},
    ),
    "k13_civitai_img2img_told_as_txt2img.jpg": (
        "civitai", "img2img",
        {"prompt": "a red barn", "negative_prompt": "blurry", "seed": 5, "steps": 25,
         "cfg_scale": 5, "sampler": "Euler", "scheduler": "Normal", "denoising_strength": 0.3,
         "model": "urn:air:sdxl:checkpoint:civitai:1@2", "clip_skip": 1, "width": 64, "height": 64},
    ),
    "k14_sdnext_scheduler_key.png": (
        "sdnext", "txt2img",
        {"prompt": "a red barn", "negative_prompt": "", "seed": 20, "steps": 30, "cfg_scale": 4,
         "sampler": "Euler", "model": "Anima", "width": 1024, "height": 1024},
    ),
    "k15_model_named_in_hashes.png": (
        "comfyui", "txt2img",
        {"prompt": "a cat <lora:add-detail.safetensors:0.8:0.8>", "negative_prompt": "dog",
         "seed": 7, "steps": 30, "cfg_scale": 6, "sampler": "Euler", "scheduler": "Automatic",
         "model": "base_v100", "width": 512, "height": 512},
    ),
    "k16_civitai_cloud_model.png": (
        "civitai", "img2img",
        {"prompt": "a barn", "negative_prompt": "", "seed": 305, "width": 1024, "height": 1536},
    ),
    "k17_civitai_loras_dropped.png": (
        "civitai", "txt2img",
        {**_BARN, "prompt": "a barn <lora:one:0.6>", "seed": 5, "model": "Base"},
    ),
    "k18_addnet_loras.png": ("a1111-like", "txt2img", {**_BARN, "seed": 5}),
    "k24_invoke_flux_guidance_as_cfg.png": (
        "invokeai", "txt2img",
        {"prompt": "a red barn", "negative_prompt": "", "seed": 5, "steps": 20, "cfg_scale": 1,
         "guidance": 3.5, "sampler": "Euler", "scheduler": "Automatic", "model": "FLUX Dev",
         "width": 1024, "height": 1024, "clip_skip": 1},
    ),
    "k25_easy_diffusion_img2img.png": (
        "easy-diffusion", "img2img",
        {**_EASY, "prompt": "a red barn", "clip_skip": 2, "denoising_strength": 0.6},
    ),
    "k27_grid_as_one_picture_grid-0001.png": (
        "a1111", "txt2img", {name: _BARN[name] for name in _BARN if name != "seed"},
    ),
    "k28_lora_forms.png": (
        "a1111-like", "txt2img",
        {**_BARN, "negative_prompt": "bad <lora:neg:0.2>",
         "prompt": "a <lora:one> <lora:two:0.8:lbw=1,0,1> <lora:three:te=0.5:unet=0.7>"
                   " <lyco:four:0.4> <lora:five:-0.3> <hypernet:h:0.5>"},
    ),
    "i01_fooocus_mre.png": ("fooocus", "txt2img", _MRE),
    "i01b_fooocus_mre_parameters.png": ("fooocus", "txt2img", _MRE),
    "i05_one_line.png": (
        "forge", "txt2img",
        {**_BARN, "prompt": "(barn:1.2) at dusk.", "negative_prompt": "", "seed": 301,
         "steps": 50, "cfg_scale": 4},
    ),
    "i06_no_prompts.png": (
        "a1111", "txt2img",
        {**_BARN, "prompt": "", "negative_prompt": "", "seed": 5, "steps": 25,
         "sampler": "DPM++ 2M", "scheduler": "Karras", "width": 832, "height": 1216},
    ),
    "i06b_cfg_nan.png": (
        "a1111-like", "txt2img",
        {"prompt": "", "negative_prompt": "", "steps": 25, "sampler": "Euler",
         "scheduler": "Automatic", "clip_skip": 1, "width": 832, "height": 1216},
    ),
    "i07_xmp_description.webp": ("a1111-like", "txt2img", _RED),
    "i08_trailing_spaces.png": (
        "forge-neo", "txt2img",
        {**_BARN, "prompt": "1girl, happy, \nmedieval,  \nwide shot, ", "negative_prompt": "bad, "},
    ),
    "i14_sdcpp_json_lora.png": (
        "sd.cpp", "txt2img",
        {"prompt": "a dog", "negative_prompt": "", "seed": 303, "steps": 9, "cfg_scale": 1,
         "guidance": 3.5, "sampler": "Euler", "scheduler": "smoothstep",
         "model": "z_image_turbo-Q8_0.gguf", "width": 1088, "height": 1920},
    ),
    "i15_sdnext_pipes.png": (
        "sdnext", "txt2img",
        {"prompt": "a barn", "negative_prompt": "moon", "seed": 302, "steps": 25, "cfg_scale": 7,
         "sampler": "Euler a", "clip_skip": 2, "model": "base", "width": 768, "height": 512},
    ),
    "i16_easydiffusion_none.png": (
        "easy-diffusion", "txt2img", {**_EASY, "prompt": "barn", "clip_skip": 1},
    ),
    "i18_nai4.png": (
        "novelai", "txt2img",
        {"prompt": "1girl, barn", "negative_prompt": "bad", "seed": 1234, "steps": 28,
         "cfg_scale": 5, "sampler": "Euler a", "scheduler": "Karras", "cfg_rescale": 0,
         "model": "NovelAI Diffusion V4", "width": 832, "height": 1216},
    ),
    "i19_krita_itxt.png": ("a1111-like", "txt2img", _BARN),
    "i20_draw_things.png": (
        "draw-things", "txt2img",
        {"prompt": "a barn", "negative_prompt": "blurry", "seed": 11, "steps": 30,
         "cfg_scale": 5, "sampler": "DPM++ 2M", "scheduler": "Align Your Steps",
         "model": "flux_1_dev_q5p.ckpt", "width": 512, "height": 768},
    ),
    "i24_sidecar.png": ("a1111-like", "txt2img", _BARN),
    "i24b_sidecar_double.png": ("a1111-like", "txt2img", _BARN),
    "i24c_json_sidecar.png": ("fooocus", "txt2img", _MRE),
}  # fmt: skip
_LORAS = {
    "k15_model_named_in_hashes.png": [
        ("add-detail.safetensors", 0.8, "bbbb2222cc"),
        ("other-one.safetensors", None, "cccc3333dd"),
    ],
    "k17_civitai_loras_dropped.png": [("one", 0.6, ""), ("Two", 0.35, "")],
    "k18_addnet_loras.png": [("one", 0.8, "dddd4444eeee")],
    "k28_lora_forms.png": [
        ("one", 1, "aa11"), ("two", 0.8, "bb22"), ("three", 0.7, ""), ("four", 0.4, ""),
        ("five", -0.3, ""),
    ],
    "i01_fooocus_mre.png": [("off_1.0.safetensors", 0.5, ""), ("add.safetensors", 0.4, "")],
    "i01b_fooocus_mre_parameters.png": [
        ("off_1.0.safetensors", 0.5, ""), ("add.safetensors", 0.4, "")
    ],
    "i14_sdcpp_json_lora.png": [("oil_v3", 1, "")],
    "i20_draw_things.png": [("a_f16.ckpt", 0.8, "")],
    "i24c_json_sidecar.png": [("off_1.0.safetensors", 0.5, ""), ("add.safetensors", 0.4, "")],
}  # fmt: skip
_NOT_READ = {
    "k10_metahub_fields_without_graph.png": {
        "seed": "conflicting", "steps": "conflicting", "sampler": "conflicting",
    },
    "k16_civitai_cloud_model.png": dict.fromkeys(
        ("steps", "cfg_scale", "sampler", "model"), "unresolved"
    ),
    "k27_grid_as_one_picture_grid-0001.png": {"seed": "unresolved"},
    "i06b_cfg_nan.png": dict.fromkeys(("cfg_scale", "seed", "model"), "unresolved"),
}  # fmt: skip


@pytest.mark.parametrize("name", _MEANT)
def test_a_file_says_what_it_means(name: str) -> None:
    reading = read_picture(_FILES / name)
    generator, stage, knobs = _MEANT[name]
    assert (reading.generator, reading.config) == (generator, {stage: knobs})
    told = [(lora.name, lora.weight, lora.hash) for lora in reading.loras]
    assert told == _LORAS.get(name, [])
    doubted = {
        path.removeprefix(f"{stage}."): status
        for path, status in reading.fields.items() if status not in ("read", "defaulted")
    }  # fmt: skip
    assert doubted == _NOT_READ.get(name, {})


def test_every_file_made_by_hand_is_asked_for() -> None:
    pictures = {path.name for path in _FILES.iterdir() if path.suffix in (".png", ".jpg", ".webp")}
    assert pictures == set(_MEANT)


def _read(name: str = "", size: int = 64, **texts: str) -> Reading:
    metadata = FileTexts(
        texts={key.replace("__", ":"): text for key, text in texts.items()},
        width=size, height=size,
    )  # fmt: skip
    return read_texts(metadata, "0" * 64, name=name)


def _loras(reading: Reading) -> list[tuple[str, float | None]]:
    return [(lora.name, lora.weight) for lora in reading.loras]


@pytest.mark.parametrize("prompt", [
    '{"subject": "a barn", "light": {"kind": "dusk"}}', "{a|b} barn, {2$$x|y}", "{ ",
])  # fmt: skip
def test_a_prompt_may_begin_with_a_brace(prompt: str) -> None:
    """JSON prompts and templates that a tool left as they were are words, not metadata."""
    reading = _read(parameters=f"{prompt}\nNegative prompt: dog\n{_LINE}")
    assert reading.config["txt2img"]["prompt"] == prompt.rstrip("\n")
    assert reading.outcome == "full"


@pytest.mark.parametrize("line", [
    _LINE.lower(), _LINE.upper().replace("EULER A", "Euler a").replace("BASE", "base"),
    _LINE.replace("CFG scale", "Cfg_Scale").replace("Model", "model"),
    _LINE.replace("CFG scale", "Guidance Scale"),
])  # fmt: skip
def test_a_key_may_be_spelled_in_any_way(line: str) -> None:
    (knobs,) = _read(parameters=f"a barn\nNegative prompt: x\n{line}").config.values()
    wanted = {name: _BARN[name] for name in ("cfg_scale", "seed", "steps", "sampler", "model")}
    assert {name: knobs[name] for name in wanted} == wanted


def test_draw_things_writes_its_negative_prompt_and_loras_in_its_own_way() -> None:
    reading = _read(xmp__description=(
        "a barn\n-blurry,\ndark\nSteps: 30, Sampler: DPM++ 2M AYS, Guidance Scale: 5.0, Seed: 11,"
        " Size: 512x768, Model: m.ckpt, LoRA 1 Model: a.ckpt, LoRA 1 Weight: 0.8, LoRA 2 Model:"
        " b.ckpt, LoRA 2 Weight: -0.2"
    ))  # fmt: skip
    knobs = reading.config["txt2img"]
    assert (knobs["prompt"], knobs["negative_prompt"]) == ("a barn", "blurry,\ndark")
    assert (reading.generator, knobs["cfg_scale"]) == ("draw-things", 5)
    assert _loras(reading) == [("a.ckpt", 0.8), ("b.ckpt", -0.2)]


def test_loras_as_keys_of_a_saver_node() -> None:
    reading = _read(parameters=(
        f"a barn\n{_LINE}, Lora_0 Model name: ink.safetensors, Lora_0 Model hash: aa11,"
        " Lora_0 Strength model: 0.7, Lora_0 Strength clip: 0.5"
    ))  # fmt: skip
    assert [(x.name, x.weight, x.hash) for x in reading.loras] == [("ink.safetensors", 0.7, "aa11")]


def test_an_extension_that_is_off_adds_no_lora() -> None:
    line = f"{_LINE}, AddNet Enabled: False, AddNet Model 1: one(dddd4444eeee)"
    assert _read(parameters=f"a barn\n{line}").loras == ()


def test_a_resource_without_a_like_name_is_the_tag_of_its_weight() -> None:
    """Civitai names pages, tags name files: one LoRA must not be counted as two."""
    resources = [
        {"type": "lora", "weight": 0.6, "modelName": "A Page's Title"},
        {"type": "lora", "weight": 0.2, "modelName": "Another"},
    ]
    reading = _read(parameters=(
        f"a barn <lora:add_ink_v2:0.6>\n{_LINE}, Civitai resources: {json.dumps(resources)}"
    ))  # fmt: skip
    assert _loras(reading) == [("add_ink_v2", 0.6), ("Another", 0.2)]


def test_loras_of_the_second_pass_take_part() -> None:
    line = f'{_LINE}, Hires upscale: 2, Hires prompt: "a barn <lora:hr:0.3>"'
    assert _loras(_read(parameters=f"a barn <lora:one:1>\n{line}")) == [("one", 1), ("hr", 0.3)]


def test_a_seed_may_be_hexadecimal() -> None:
    line = _LINE.replace("Seed: 77", "Seed: 0x1F")
    assert _read(parameters=f"a barn\n{line}").config["txt2img"]["seed"] == 31


@pytest.mark.parametrize("other", ["generation_data", "imagemetahub_data", "invokeai_graph"])
@pytest.mark.parametrize("text", ["{broken", '{"generator": "ComfyUI", "prompt": ""}', "{}"])
def test_what_says_nothing_hides_nothing(other: str, text: str) -> None:
    texts = {"parameters": f"a barn\nNegative prompt: x\n{_LINE}", other: text}
    reading = _read(**texts)  # type: ignore[arg-type]
    assert reading.config == {"txt2img": _BARN}


def test_the_fields_of_image_metahub_fill_what_its_graph_does_not_say() -> None:
    named = [{"name": "one", "weight": 0.5}, {"name": {"lora": "two", "strength": 0.2}}]
    data = {"prompt": "a barn", "seed": 5, "steps": 9, "model": "m", "loras": named}
    reading = _read(imagemetahub_data=json.dumps(data))
    assert reading.config == {"txt2img": {"prompt": "a barn", "seed": 5, "steps": 9, "model": "m"}}
    assert _loras(reading) == [("one", 0.5), ("two", 0.2)]


def test_the_key_of_an_address_is_kept_nowhere() -> None:
    """Whoever has a signed address has the file; a record may be shared."""
    picture = import_picture(str(_FILES / "k13_civitai_img2img_told_as_txt2img.jpg"))
    assert b"https://x.invalid/a.jpeg" in picture.document
    assert b"SECRETTOKEN" not in picture.document


_GRIDS = [
    ("grid-0001.png", 1024, f"{_LINE}, Version: v1.10.1", "2x2"),
    ("00001.png", 1024, f"{_LINE}, Version: v1.10.1", "2x2"),
    ("xyz_grid-0003-5.png", 1100, f"{_LINE}, Script: X/Y/Z plot, X Type: Steps", "X/Y/Z plot"),
    ("00001.png", 64, f"{_LINE}, App: SD.Next, Grid: 3x1", "3x1"),
    ("grid-0002.png", 2048, f"{_LINE}, Hires upscale: 2, Version: v1.10.1", "2x2"),
]


@pytest.mark.parametrize(("name", "size", "line", "cells"), _GRIDS)
def test_a_grid_says_that_it_is_one(name: str, size: int, line: str, cells: str) -> None:
    reading = _read(name, size, parameters=f"a barn\n{line}")
    varied = "steps" if "Type" in line else "seed"
    assert reading.extra["grid of pictures"] == cells
    assert reading.fields[f"txt2img.{varied}"] == "unresolved"
    assert (reading.outcome, varied in reading.config["txt2img"]) == ("partly", False)
    assert f"it is a grid of pictures ({cells}); its text is of the first alone" in reading.warnings


@pytest.mark.parametrize(("name", "size", "line"), [
    ("grid-0001.png", 512, _LINE),
    ("00001.png", 1024, f"{_LINE}, Hires upscale: 2, Version: v1.10.1"),
    ("00001.png", 1024, f"{_LINE}, Postprocess upscale by: 2, Version: v1.10.1"),
    ("00001.png", 1000, f"{_LINE}, Version: v1.10.1"),
    ("00001.png", 1024, _LINE),
])  # fmt: skip
def test_what_was_enlarged_is_no_grid(name: str, size: int, line: str) -> None:
    reading = _read(name, size, parameters=f"a barn\n{line}")
    assert "grid of pictures" not in reading.extra
    assert reading.fields["txt2img.seed"] == "read"
    doubtful = size == 1024 and line == _LINE
    assert any("2 times as large" in warning for warning in reading.warnings) == doubtful


def _import(folder: Path, **pictures: tuple[int, str]) -> Archive:
    for name, (side, text) in pictures.items():
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", text)
        Image.new("L", (side, side)).save(folder / f"{name}.png", pnginfo=info)
    archive = Archive(folder / "archive")
    import_folders([folder], archive, rater="anna")
    return archive


def test_a_rating_that_sdnext_wrote_is_a_rating(tmp_path: Path) -> None:
    line = f"{_LINE}, App: SD.Next, Rating: 4"
    archive = _import(tmp_path, a=(64, f"a barn\n{line}"), b=(64, f"a cat\n{_LINE}, Rating: 4"))
    (event,) = archive.ratings().events()
    assert (event.kind, event.value, event.rater) == ("stars", 4, "anna")
    assert event.source == "imported:sdnext"


def test_a_grid_is_found_and_is_no_evidence(tmp_path: Path) -> None:
    """A rated grid would say of the first cell's settings what people said of all of them."""
    rated = f"{_LINE}, App: SD.Next, Rating: 4"
    archive = _import(tmp_path, one=(512, f"a barn\n{rated}"), many=(1024, f"a barn\n{rated}"))
    found = archive.query("extra('grid of pictures') = '2x2'", columns=["path", "seed"])
    assert [seed for _, seed in found.rows] == [None]
    _, trials, _ = rated_trials(archive, "")
    assert (len(trials), trials.gone) == (1, 1)
