"""Control nets and their kind: more than knobs made the picture, and what they say is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from imports.test_comfyui_graph import _graph, _node, _read
from safelight.archive import Archive
from safelight.archive.contents import contents_of
from safelight.formats.file_texts import FileTexts
from safelight.imports.folder_import import import_folders
from safelight.imports.picture_reader import read_texts
from safelight.imports.reading import Reading

_LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64, Model: m"
_UNIT = (
    'ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: {}, '
    'Guidance Start: 0.0, Guidance End: 1.0"'
)


def _reading(**texts: str) -> Reading:
    return read_texts(FileTexts(texts=texts, width=64, height=64), "0" * 64)


@pytest.mark.parametrize(("line", "extra"), [
    (f"{_LINE}, {_UNIT.format(1)}, Version: v1.10.1", "ControlNet 0"),
    (f"{_LINE}, {_UNIT.format(1)}, Version: f2.0.1v1.10.1-previous-669-gdfdcbab6", "ControlNet 0"),
    (f"{_LINE}, {_UNIT.format(1)}, Version: neo", "ControlNet 0"),
    (f'{_LINE}, ControlNet: "preprocessor: canny, model: canny [d14c016b], weight: 1"',
     "ControlNet"),
    (f"{_LINE}, ControlNet Enabled: True, ControlNet Module: canny, ControlNet Weight: 1",
     "ControlNet Module"),
    (f"{_LINE}, ControlNet-1 Module: depth, ControlNet-1 Weight: 1", "ControlNet-1 Module"),
    (f"{_LINE}, Control type: ControlNet, Control model: Canny, Control conditioning: 0.8,"
     " App: SD.Next", "Control model"),
    (f"{_LINE}, IP Adapter: Base:0.5, App: SD.Next", "IP Adapter"),
    (f"{_LINE}, Control mode: T2I-Adapter, App: SD.Next", "Control mode"),
    (f"{_LINE}, Control process: Canny, App: SD.Next", "Control process"),
])  # fmt: skip
def test_a_text_with_a_control_net_is_not_read_fully(line: str, extra: str) -> None:
    reading = _reading(parameters=f"a barn\n{line}")
    assert (reading.outcome, reading.fields["txt2img.controls"]) == ("partly", "unresolved")
    assert reading.extra[extra]
    assert any("more than knobs steered it" in warning for warning in reading.warnings)
    without = _reading(parameters=f"a barn\n{_LINE}")
    assert (without.outcome, without.warnings) == ("full", ())


@pytest.mark.parametrize("line", [
    "ControlNet Enabled: False", "ControlNet: None", "Control type: none", "IP Adapter: []",
    "Style: control", "Controlled: 1", "Reference: x", "RNG: CPU",
])  # fmt: skip
def test_one_that_is_switched_off_and_other_words_are_no_control_net(line: str) -> None:
    assert _reading(parameters=f"a barn\n{_LINE}, {line}").outcome == "full"


_INVOKE = {
    "positive_prompt": "a barn", "model": {"name": "m"}, "scheduler": "euler", "steps": 20,
    "cfg_scale": 7, "seed": 5, "width": 64, "height": 64,
}  # fmt: skip


@pytest.mark.parametrize("key", ["controlnets", "ipAdapters", "t2iAdapters", "ref_images"])
def test_those_of_invokeai(key: str) -> None:
    def read(value: object) -> Reading:
        return _reading(invokeai_metadata=json.dumps({**_INVOKE, key: value}))

    assert read([]).outcome == "full"
    reading = read([{"control_model": {"name": "canny"}, "control_weight": 0.75}])
    assert (reading.outcome, reading.fields["txt2img.controls"]) == ("partly", "unresolved")
    assert json.loads(reading.extra[key])[0]["control_weight"] == 0.75


_STEERED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "control net": (
        {"cn": _node("ControlNetLoader", control_net_name="canny.pth"),
         "load": _node("LoadImage", image="pose.png", upload="image"),
         "edges": _node("Canny", image=["load", 0], low_threshold=0.2),
         "on": _node("ControlNetApply", conditioning=["pos", 0], control_net=["cn", 0],
                     image=["edges", 0], strength=0.8000000000000004),
         "ks": {"positive": ["on", 0]}},
        {"control_1": "ControlNetApply", "control_1_strength": "0.8",
         "control_1_control_net_name": "canny.pth", "control_1_low_threshold": "0.2",
         "control_1_image": "pose.png"},
    ),
    "two of them": (
        {"cn": _node("ControlNetLoader", control_net_name="canny.pth"),
         "cn2": _node("ControlNetLoader", control_net_name="depth.pth"),
         "on": _node("ControlNetApplyAdvanced", positive=["pos", 0], negative=["neg", 0],
                     control_net=["cn", 0], start_percent=0.0, end_percent=0.5),
         "on2": _node("ControlNetApplyAdvanced", positive=["on", 0], negative=["on", 1],
                      control_net=["cn2", 0]),
         "ks": {"positive": ["on2", 0], "negative": ["on2", 1]}},
        {"control_1": "ControlNetApplyAdvanced", "control_1_control_net_name": "depth.pth",
         "control_2": "ControlNetApplyAdvanced", "control_2_start_percent": "0.0",
         "control_2_end_percent": "0.5", "control_2_control_net_name": "canny.pth"},
    ),
    "adapter": (
        {"ip": _node("IPAdapterModelLoader", ipadapter_file="plus.safetensors"),
         "load": _node("LoadImage", image="face.png"),
         "on": _node("IPAdapterAdvanced", model=["ckpt", 0], ipadapter=["ip", 0],
                     image=["load", 0], weight=0.6, weight_type="linear"),
         "ks": {"model": ["on", 0]}},
        {"control_1": "IPAdapterAdvanced", "control_1_weight": "0.6",
         "control_1_weight_type": "linear", "control_1_ipadapter_file": "plus.safetensors",
         "control_1_image": "face.png"},
    ),
    "style model": (
        {"sm": _node("StyleModelLoader", style_model_name="redux.safetensors"),
         "cv": _node("CLIPVisionEncode", clip_vision=["ckpt", 3], image=["load", 0]),
         "load": _node("LoadImage", image="face.png"),
         "on": _node("StyleModelApply", conditioning=["pos", 0], style_model=["sm", 0],
                     clip_vision_output=["cv", 0], strength=1.0),
         "ks": {"positive": ["on", 0]}},
        {"control_1": "StyleModelApply", "control_1_strength": "1.0",
         "control_1_style_model_name": "redux.safetensors", "control_1_image": "face.png"},
    ),
    "reference": (
        {"load": _node("LoadImage", image="face.png"),
         "enc": _node("VAEEncode", pixels=["load", 0], vae=["ckpt", 2]),
         "on": _node("ReferenceLatent", conditioning=["pos", 0], latent=["enc", 0]),
         "ks": {"positive": ["on", 0]}},
        {"control_1": "ReferenceLatent", "control_1_image": "face.png"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(_STEERED))
def test_nodes_that_steer_are_found_between_sampler_text_and_model(kind: str) -> None:
    changes, settings = _STEERED[kind]
    texts = {"prompt": json.dumps(_graph(**changes))}
    reading = read_texts(FileTexts(texts=texts, width=512, height=768), "0" * 64)
    assert {k: v for k, v in reading.extra.items() if k.startswith("control_")} == settings
    assert (reading.outcome, reading.fields["txt2img.controls"]) == ("partly", "unresolved")
    knobs = reading.config["txt2img"]
    assert (knobs["prompt"], knobs["negative_prompt"], knobs["model"]) == (
        "a cat", "dog", "m.safetensors"
    )  # fmt: skip


@pytest.mark.parametrize(("mask", "steers"), [({}, True), ({"mask": ["load", 1]}, False)])
def test_a_picture_that_is_begun_with_and_looked_at_steers_but_for_inpainting(
    mask: dict[str, Any], steers: bool
) -> None:
    """Control LoRAs of FLUX look at the latents of the picture; a mask is a knob of ours."""
    draft = _read(_graph(
        load=_node("LoadImage", image="depth.png"),
        on=_node("InstructPixToPixConditioning", positive=["pos", 0], negative=["neg", 0],
                 vae=["ckpt", 2], pixels=["load", 0], **mask),
        ks={"positive": ["on", 0], "negative": ["on", 1], "latent_image": ["on", 2]},
    ))  # fmt: skip
    assert draft.extra["init_image"] == "depth.png"
    assert ("control_1" in draft.extra) == steers


def test_a_control_net_of_strength_0_and_one_that_leads_nowhere_do_nothing() -> None:
    net = _node("ControlNetLoader", control_net_name="canny.pth")
    apply = _node("ControlNetApply", conditioning=["pos", 0], control_net=["cn", 0], strength=0)
    off = _read(_graph(cn=net, on=apply, ks={"positive": ["on", 0]}))
    apply["inputs"]["strength"] = 1
    aside = _read(_graph(cn=net, on=apply))
    for draft in (off, aside):
        assert not [key for key in draft.extra if key.startswith("control")]


def test_of_two_saved_pictures_one_with_a_control_net_is_in_doubt() -> None:
    graph = _graph(
        cn=_node("ControlNetLoader", control_net_name="canny.pth"),
        on=_node("ControlNetApply", conditioning=["pos", 0], control_net=["cn", 0], strength=1),
    )
    graph["ks2"] = {**graph["ks"], "inputs": {**graph["ks"]["inputs"], "positive": ["on", 0]}}
    graph["dec2"] = _node("VAEDecode", samples=["ks2", 0])
    graph["save2"] = _node("SaveImage", images=["dec2", 0])
    draft = _read(graph)
    assert draft.statuses["controls"] == "conflicting"
    assert draft.outcome() == "partly"


def test_pictures_that_differ_in_a_control_net_are_not_alike(tmp_path: Path) -> None:
    """Nor are those that do not: nobody knows which picture steered which."""
    place = tmp_path / "pictures"
    place.mkdir()
    for number in range(4):
        text = f"a barn\nSteps: {20 + 10 * (number % 2)}, {_LINE.partition(', ')[2]}"
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", f"{text}, {_UNIT.format(1 + number // 2)}, Version: v1.10.1")
        Image.new("L", (64, 64), number).save(place / f"{number}.png", pnginfo=info)
    archive = Archive(tmp_path / "archive")
    import_folders([place], archive)
    assert len(archive.query("extra('ControlNet 0') has 'Weight: 2'").rows) == 2
    assert len(archive.query("unresolved has 'controls' and outcome = 'partly'").rows) == 4
    (steps,) = [one for one in contents_of(archive).varied if one.knob == "steps"]
    assert (steps.values.different, steps.groups) == (2, 0)
