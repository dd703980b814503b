"""ComfyUI's editor graphs alone: values get their names, or it is said that they have none."""

from __future__ import annotations

from typing import Any

import pytest

from imports.test_comfyui_graph import _read


def _editor(kind: str, values: list[Any], *inputs: str, **other: list[Any]) -> dict[str, Any]:
    """Return an editor's graph of before 2025, whose values have no names."""
    kinds = {"ckpt": ("CheckpointLoaderSimple", ["m.safetensors"]),
             "pos": ("CLIPTextEncode", ["a cat"]), "neg": ("CLIPTextEncode", ["dog"]),
             "latent": ("EmptyLatentImage", [512, 768, 1])}  # fmt: skip
    nodes: list[dict[str, Any]] = []
    links: list[list[Any]] = []

    def link(source: str, slot: int) -> int:
        links.append([len(links) + 1, source, slot, "", 0, "X"])
        return len(links)

    for name, (own, widgets) in kinds.items():
        ports = [{"name": "clip", "link": link("ckpt", 1)}] if own == "CLIPTextEncode" else []
        nodes.append({"id": name, "type": own, "widgets_values": widgets, "inputs": ports})
    sources = {"model": ("ckpt", 0), "positive": ("pos", 0), "negative": ("neg", 0),
               "latent_image": ("latent", 0), "basic_pipe": ("pack", 0)}  # fmt: skip
    nodes.append({"id": "pack", "type": "ToBasicPipe", "inputs": [
        {"name": key, "link": link(*sources[key])} for key in ("model", "positive", "negative")
    ]})  # fmt: skip
    nodes.append({"id": "ks", "type": kind, "widgets_values": values, "inputs": [
        {"name": key, "link": link(*sources[key])} for key in inputs
    ]})  # fmt: skip
    nodes.append({"id": "dec", "type": "VAEDecode",
                  "inputs": [{"name": "samples", "link": link("ks", 0)}]})  # fmt: skip
    nodes.append({"id": "save", "type": "SaveImage",
                  "inputs": [{"name": "images", "link": link("dec", 0)}]})  # fmt: skip
    return {"nodes": nodes, "links": links, **other}


@pytest.mark.parametrize(("kind", "values", "inputs"), [
    ("KSampler //Inspire",
     [5, "randomize", 20, 7.0, "euler", "karras", 1.0, "GPU(=A1111)", "incremental", 0, 0.0],
     ("model", "positive", "negative", "latent_image")),
    ("ImpactKSamplerBasicPipe", [5, "fixed", 20, 7.0, "euler", "karras", 1.0],
     ("basic_pipe", "latent_image")),
    ("KSampler (Efficient)", [5, None, 20, 7.0, "euler", "karras", 1.0, "auto", "true"],
     ("model", "positive", "negative", "latent_image")),
])  # fmt: skip
def test_samplers_of_packs_are_read_from_the_editors_graph(
    kind: str, values: list[Any], inputs: tuple[str, ...]
) -> None:
    draft = _read(None, _editor(kind, values, *inputs))
    assert (draft.knobs["seed"], draft.knobs["steps"], draft.knobs["scheduler"]) == (
        5,
        20,
        "Karras",
    )
    assert (draft.knobs["prompt"], draft.knobs["negative_prompt"]) == ("a cat", "dog")
    assert draft.outcome() == "full"


def test_values_without_names_are_the_reason_and_not_a_missing_sampler() -> None:
    draft = _read(None, _editor("MysterySampler", [5, 20], "model", "latent_image"))
    assert draft.knobs == {}
    assert draft.warnings[-1] == (
        "the editor's graph holds the values of MysterySampler without their names"
    )
    draft = _read(None, _editor("KSampler", ["enable", 5, 20], "model", "positive"))
    assert "KSampler" in draft.warnings[-1], "values that cannot be what they should are not read"


def test_named_variables_are_followed_in_the_editors_graph() -> None:
    workflow = _editor("KSampler", [5, "fixed", 20, 7.0, "euler", "karras", 1.0],
                       "model", "positive", "negative", "latent_image")  # fmt: skip
    link = next(row for row in workflow["links"] if row[1] == "pos" and row[0] > 3)
    workflow["nodes"] += [
        {"id": "set", "type": "SetNode", "widgets_values": ["p"],
         "inputs": [{"name": "X", "link": 900}]},
        {"id": "get", "type": "GetNode", "widgets_values": ["p"]},
    ]  # fmt: skip
    workflow["links"].append([900, "pos", 0, "set", 0, "X"])
    for row in workflow["links"]:
        if row[1] == "pos" and row[0] != 900:
            row[1] = "get"
    assert link[1] == "get"
    assert _read(None, workflow).knobs["prompt"] == "a cat"


def test_a_subgraphs_widgets_have_the_values_that_it_shows() -> None:
    """Those of a port, of one node inside, and what is shown without a value of its own."""
    inner = _editor("KSampler", [1, "fixed", 9, 3.0, "euler", "karras", 1.0],
                    "model", "positive", "negative", "latent_image")  # fmt: skip
    text = next(node for node in inner["nodes"] if node["id"] == "pos")
    text["inputs"].append({"name": "text", "widget": {"name": "text"}, "link": 901})
    inner["links"].append([901, -10, 0, "pos", 1, "STRING"])
    decoded = next(row for row in inner["links"] if row[1] == "dec")
    inner["links"].append([902, "dec", 0, -20, 0, decoded[5]])
    inner |= {"id": "sub", "inputs": [{"name": "text"}], "outputs": [{"name": "IMAGE"}]}
    shown = [["-1", "text"], ["ks", "steps"], ["-1", "ckpt_name"], ["ks", "seed"]]
    outer = {
        "nodes": [
            {"id": 1, "type": "sub", "properties": {"proxyWidgets": shown},
             "widgets_values": ["a fox", 33, "shown.safetensors"],
             "inputs": [{"name": "text", "widget": {"name": "text"}, "link": None}]},
            {"id": 2, "type": "SaveImage", "inputs": [{"name": "images", "link": 1}]},
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "definitions": {"subgraphs": [inner]},
    }  # fmt: skip
    knobs = _read(None, outer).knobs
    assert (knobs["prompt"], knobs["negative_prompt"]) == ("a fox", "dog")
    assert (knobs["steps"], knobs["seed"], knobs["cfg_scale"]) == (33, 1, 3)
    assert knobs["model"] == "shown.safetensors"
