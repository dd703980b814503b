from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from safelight.formats.containers import file_texts
from safelight.imports.comfyui_graph import read_graph
from safelight.imports.reading import Draft
from safelight.imports.told_pictures import TOLD_PARAMETERS, read_parameters
from safelight.recorded_settings import lora_settings

_DATA = Path(__file__).parents[1] / "data" / "imports"


def _graph(**changes: Any) -> dict[str, Any]:
    graph: dict[str, Any] = {
        "ckpt": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
        "pos": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["ckpt", 1]}},
        "neg": {"class_type": "CLIPTextEncode", "inputs": {"text": "dog", "clip": ["ckpt", 1]}},
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768}},
        "ks": {"class_type": "KSampler", "inputs": {
            "seed": 5, "steps": 20, "cfg": 7.0, "sampler_name": "euler_ancestral",
            "scheduler": "karras", "denoise": 1.0, "model": ["ckpt", 0], "positive": ["pos", 0],
            "negative": ["neg", 0], "latent_image": ["latent", 0]}},
        "dec": {"class_type": "VAEDecode", "inputs": {"samples": ["ks", 0], "vae": ["ckpt", 2]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["dec", 0]}},
    }  # fmt: skip
    for node, change in changes.items():
        if isinstance(change, dict) and "class_type" in change:
            graph[node] = change
        else:
            graph[node]["inputs"].update(change)
    return graph


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def _read(graph: object, workflow: object = None, size: tuple[int, int] = (512, 768)) -> Draft:
    draft = Draft()
    read_graph(draft, graph, workflow, size=size)
    return draft


def test_the_plain_graph() -> None:
    draft = _read(_graph())
    assert draft.knobs == {
        "steps": 20, "scheduler": "Karras", "sampler": "Euler a", "seed": 5, "cfg_scale": 7,
        "model": "m.safetensors", "width": 512, "height": 768, "prompt": "a cat",
        "negative_prompt": "dog", "clip_skip": 1,
    }  # fmt: skip
    assert draft.statuses["clip_skip"] == "defaulted"
    assert draft.outcome() == "full"


def test_nodes_that_bend_the_model_are_knobs() -> None:
    """Two pictures that differ in them are not alike; each is read from the chain that has it."""
    draft = _read(_graph(
        unet=_node("UNETLoader", unet_name="z.safetensors", weight_dtype="fp8_e4m3fn"),
        shift=_node("ModelSamplingAuraFlow", shift=["number", 0], model=["unet", 0]),
        number=_node("PrimitiveFloat", value=3.0),
        rescale=_node("RescaleCFG", multiplier=0.7, model=["shift", 0]),
        cache=_node("TeaCacheForImgGen", rel_l1_thresh=0.4, model=["rescale", 0]),
        guide=_node("FluxGuidance", guidance=2.5, conditioning=["pos", 0]),
        other=_node("FluxGuidance", guidance=9.0, conditioning=["neg", 0]),
        clip=_node("DualCLIPLoader", clip_name1="t5", clip_name2="l", type="flux"),
        pos={"clip": ["clip", 0]},
        ks={"model": ["cache", 0], "positive": ["guide", 0], "negative": ["other", 0]},
    ))  # fmt: skip
    assert {k: draft.knobs[k] for k in (
        "model", "weight_dtype", "shift", "cfg_rescale", "cache", "guidance", "text_encoders",
    )} == {
        "model": "z.safetensors", "weight_dtype": "fp8_e4m3fn", "shift": 3, "cfg_rescale": 0.7,
        "cache": "TeaCacheForImgGen 0.4", "guidance": 2.5, "text_encoders": "t5, l",
    }  # fmt: skip
    assert draft.outcome() == "full"


def test_noise_levels_that_were_typed_in_are_the_schedule() -> None:
    """There is no name for it, and its steps are counted."""
    graph = _graph(ks=_node(
        "SamplerCustom", noise_seed=5, cfg=1.0, model=["ckpt", 0], positive=["pos", 0],
        negative=["neg", 0], sampler=["select", 0], sigmas=["levels", 0],
        latent_image=["latent", 0],
    ))  # fmt: skip
    graph["select"] = _node("KSamplerSelect", sampler_name="euler")
    graph["levels"] = _node("ManualSigmas", sigmas="1.0, 0.7, 0.2, 0.0")
    draft = _read(graph)
    assert (draft.knobs["sigmas"], draft.knobs["steps"]) == ("1.0, 0.7, 0.2, 0.0", 3)
    assert "scheduler" not in draft.statuses
    assert draft.outcome() == "full"
    graph["half"] = _node("SplitSigmas", sigmas=["levels", 0], step=2)
    graph["ks"]["inputs"]["sigmas"] = ["half", 0]
    assert "sigmas" not in _read(graph).knobs, "a node in between makes others of them"


def _prompted(**nodes: Any) -> dict[str, Any]:
    """Return the graph with a text in a node of its own, as *nodes* hand it on and read it."""
    text = _node("PrimitiveString", value="a cat <lora:ink:0.5>")
    return _graph(**{"text": text, "pos": {"text": ["text", 0]}, **nodes})


@pytest.mark.parametrize(("graph", "words"), [
    (_graph(pos={"text": "a cat <lora:ink:0.5>"}), True),
    (_prompted(), True),
    (_prompted(save=_node("SaveWithTexts", images=["dec", 0], positive=["text", 0])), True),
    (_prompted(pos=_node("PackEncode", text=["text", 0], clip=["ckpt", 1])), False),
    (_prompted(tags=_node("LoraTagLoader", text=["text", 0], model=["ckpt", 0]),
               ks={"model": ["tags", 0]}), False),
], ids=["plain", "handed on", "saved with it", "pack encodes", "pack loads"])  # fmt: skip
def test_tags_in_a_prompt_are_loras_only_where_a_node_may_act_on_them(
    graph: dict[str, Any], words: bool
) -> None:
    """Prompts are copied from A1111 with all that is in them; ComfyUI's own nodes read words."""
    draft = _read(graph)
    config = draft.config()["txt2img"]
    assert draft.knobs["prompt"] == "a cat <lora:ink:0.5>"
    assert ([lora.name for lora in draft.loras] == []) == words
    assert (config.get("lora_tags") == "words") == words
    settings = lora_settings("txt2img", config["prompt"], None, config.get("lora_tags"))
    assert [setting.name for setting in settings] == ["extra.lora_tags" if words else "lora.ink"]


def test_tags_in_a_prompt_of_a_diffusers_pipeline_are_words() -> None:
    """A line of a spool tells its adapters beside; what it says of another tool stays as it was."""
    told = {"prompt": "a cat <lora:ink:0.5>", "loras": [{"name": "moss"}]}
    for parameters, loras in (
        ({**told, "pipeline": "StableDiffusionPipeline"}, ["moss"]),
        (told, ["moss", "ink"]),
    ):
        draft = Draft()
        read_parameters(draft, {TOLD_PARAMETERS: parameters, "tool": "mine"})
        assert [lora.name for lora in draft.loras] == loras


def test_an_unknown_sampler_node_is_known_by_its_inputs() -> None:
    graph = _graph()
    graph["ks"]["class_type"] = "SomebodysSamplerOfTomorrow"
    assert _read(graph).knobs["seed"] == 5


@pytest.mark.parametrize(("node", "expected"), [
    (_node("LoraLoader", lora_name="ink.safetensors", strength_model=0.8, strength_clip=0.5,
           model=["ckpt", 0], clip=["ckpt", 1]), [("ink.safetensors", 0.8)]),
    (_node("Power Lora Loader (rgthree)", model=["ckpt", 0],
           lora_1={"on": True, "lora": "a.safetensors", "strength": 0.6, "strengthTwo": None},
           lora_2={"on": False, "lora": "b.safetensors", "strength": 1}),
     [("a.safetensors", 0.6)]),
    (_node("Lora Loader (LoraManager)", model=["ckpt", 0], text="<lora:a:0.7> <lora:b:1>",
           loras={"__value__": [{"name": "a", "strength": 0.7, "active": True},
                                {"name": "b", "strength": 1, "active": False}]}), [("a", 0.7)]),
    (_node("LoRA Text Loader (LoraManager)", model=["ckpt", 0], lora_syntax="<lora:x:0.4>"),
     [("x", 0.4)]),
    (_node("CR LoRA Stack", model=["ckpt", 0], switch_1="On", lora_name_1="p.safetensors",
           model_weight_1=0.3, clip_weight_1=1, switch_2="Off", lora_name_2="q.safetensors",
           model_weight_2=1), [("p.safetensors", 0.3)]),
    (_node("Efficient Loader", ckpt_name="m.safetensors", lora_name="None",
           lora_stack=["stack", 0]), [("s.safetensors", 0.9)]),
    (_node("Loader", model=["ckpt", 0], loras=[["t.safetensors", 0.2, 1.0]]),
     [("t.safetensors", 0.2)]),
], ids=["plain", "rgthree", "manager", "tags", "numbered", "stack", "rows"])  # fmt: skip
def test_every_shape_of_lora(node: dict[str, Any], expected: list[tuple[str, float]]) -> None:
    stack = _node("LoRA Stacker", lora_count=1, lora_name_1="s.safetensors", lora_wt_1=0.9,
                  lora_name_2="beyond.safetensors", lora_wt_2=1)  # fmt: skip
    draft = _read(_graph(lora=node, stack=stack, ks={"model": ["lora", 0]}))
    assert [(lora.name, lora.weight) for lora in draft.loras] == expected
    assert draft.knobs["model"] == "m.safetensors"


def test_numbers_and_texts_come_through_other_nodes() -> None:
    draft = _read(_graph(
        seed=_node("Seed (rgthree)", seed=77), steps=_node("PrimitiveInt", value=33),
        words=_node("JoinStrings", delimiter=", ", string1=["one", 0], string2=["two", 0]),
        one=_node("String Literal", string="alpha"), two=_node("PrimitiveString", value="beta"),
        ks={"seed": ["seed", 0], "steps": ["steps", 0]}, pos={"text": ["words", 0]},
    ))  # fmt: skip
    assert (draft.knobs["seed"], draft.knobs["steps"]) == (77, 33)
    assert draft.knobs["prompt"] == "alpha, beta"


def test_a_switch_tells_which_text_was_used() -> None:
    draft = _read(_graph(
        pick=_node("ComfySwitchNode", switch=["no", 0], on_false=["yes", 0], on_true=["neg", 0]),
        no=_node("PrimitiveBoolean", value=False), yes=_node("Text", value="chosen"),
        pos={"text": ["pick", 0]},
    ))  # fmt: skip
    assert draft.knobs["prompt"] == "chosen"


def test_a_text_that_a_foreign_node_makes_is_unresolved_and_not_guessed() -> None:
    draft = _read(_graph(
        llm=_node("PromptWriter", system="be vivid", user="cat", model="gpt"),
        pos={"text": ["llm", 0]},
    ))  # fmt: skip
    assert "prompt" not in draft.knobs
    assert draft.statuses["prompt"] == "unresolved"
    assert draft.outcome() == "partly"


def test_control_nets_keep_the_roles_apart() -> None:
    apply = _node("ControlNetApplyAdvanced", positive=["pos", 0], negative=["neg", 0],
                  control_net=["cn", 0], strength=0.8)  # fmt: skip
    draft = _read(_graph(
        cn=_node("ControlNetLoader", control_net_name="canny.pth"), apply=apply,
        ks={"positive": ["apply", 0], "negative": ["apply", 1]},
    ))  # fmt: skip
    assert (draft.knobs["prompt"], draft.knobs["negative_prompt"]) == ("a cat", "dog")
    assert draft.extra["control_1_control_net_name"] == "canny.pth"


@pytest.mark.parametrize(("kind", "word"), [
    ("ConditioningCombine", "AND"), ("ConditioningConcat", "BREAK")
])  # fmt: skip
def test_parts_of_a_prompt_are_joined_as_the_web_ui_writes_it(kind: str, word: str) -> None:
    draft = _read(_graph(
        both=_node(kind, conditioning_1=["pos", 0], conditioning_2=["more", 0]),
        more=_node("CLIPTextEncode", text="a hat"), ks={"positive": ["both", 0]},
    ))  # fmt: skip
    assert draft.knobs["prompt"] == f"a cat {word} a hat"


def test_an_average_of_two_prompts_is_no_single_text() -> None:
    draft = _read(_graph(
        both=_node("ConditioningAverage", conditioning_to=["pos", 0], conditioning_from=["m", 0]),
        m=_node("CLIPTextEncode", text="a hat"), ks={"positive": ["both", 0]},
    ))  # fmt: skip
    assert draft.statuses["prompt"] == "unresolved"


def test_zeroed_conditioning_is_an_empty_negative() -> None:
    draft = _read(_graph(zero=_node("ConditioningZeroOut", conditioning=["pos", 0]),
                         ks={"negative": ["zero", 0]}))  # fmt: skip
    assert draft.knobs["negative_prompt"] == ""


def test_a_picture_that_is_loaded_makes_it_img2img() -> None:
    draft = _read(_graph(
        load=_node("LoadImage", image="in.png"), enc=_node("VAEEncode", pixels=["load", 0]),
        ks={"latent_image": ["enc", 0], "denoise": 0.6},
    ))  # fmt: skip
    assert (draft.stage, draft.knobs["denoising_strength"]) == ("img2img", 0.6)
    assert draft.extra["init_image"] == "in.png"


def test_two_saved_pictures_of_two_samplers_conflict() -> None:
    other = _graph()["ks"]["inputs"]
    draft = _read(_graph(
        ks2=_node("KSampler", **{**other, "seed": 9}),
        dec2=_node("VAEDecode", samples=["ks2", 0]), save2=_node("SaveImage", images=["dec2", 0]),
    ))  # fmt: skip
    assert draft.statuses["seed"] == "conflicting"
    assert draft.statuses["steps"] == "read"
    assert draft.outcome() == "partly"


def test_the_size_tells_which_of_two_saved_pictures_it_is() -> None:
    graph = _graph(
        up=_node("LatentUpscaleBy", samples=["ks", 0], upscale_method="bislerp", scale_by=2.0),
        save2=_node("SaveImage", images=["dec2", 0]), dec2=_node("VAEDecode", samples=["ks2", 0]),
    )  # fmt: skip
    second = {"latent_image": ["up", 0], "denoise": 0.5, "steps": 10}
    graph["ks2"] = _node("KSampler", **{**graph["ks"]["inputs"], **second})
    assert "hires_scale" not in _read(graph, size=(512, 768)).knobs
    large = _read(graph, size=(1024, 1536)).knobs
    assert (large["hires_scale"], large["hires_steps"], large["steps"]) == (2, 10, 20)


def test_a_preview_does_not_hide_what_was_saved() -> None:
    other = _graph()["ks"]["inputs"]
    draft = _read(_graph(
        ks2=_node("KSampler", **{**other, "seed": 9}),
        look=_node("PreviewImage", images=["dec2", 0]), dec2=_node("VAEDecode", samples=["ks2", 0]),
    ))  # fmt: skip
    assert (draft.knobs["seed"], draft.statuses["seed"]) == (5, "read")


@pytest.mark.parametrize("path", sorted((_DATA / "comfyui").iterdir()), ids=lambda p: p.name[:30])
def test_the_editors_graph_alone_says_the_same(path: Path) -> None:
    with path.open("rb") as file:
        metadata = file_texts(file)
    size = (metadata.width, metadata.height)
    both = _read(json.loads(metadata.texts["prompt"]), size=size)
    alone = _read(None, json.loads(metadata.texts["workflow"]), size=size)
    comment = "/* テスト */"  # the editor strips comments when it queues
    for knob, value in both.knobs.items():
        other = alone.knobs.get(knob)
        assert (other.replace(comment, "") if isinstance(other, str) else other) == value, knob


def test_subgraphs_muted_and_bypassed_nodes_are_as_the_editor_queues_them() -> None:
    def port(name: str, link: int | None, kind: str, widget: bool = False) -> dict[str, Any]:
        made: dict[str, Any] = {"name": name, "link": link, "type": kind}
        return {**made, "widget": {"name": name}} if widget else made

    inner = {
        "id": "sub-1", "inputs": [{"name": "model"}, {"name": "latent"}],
        "outputs": [{"name": "LATENT"}],
        "nodes": [
            {"id": 1, "type": "CLIPTextEncode", "widgets_values": ["inside"], "inputs": []},
            {"id": 2, "type": "KSampler",
             "widgets_values": [42, "fixed", 9, 3, "euler", "simple", 1],
             "inputs": [port("model", 11, "MODEL"), port("positive", 12, "CONDITIONING"),
                        port("negative", 12, "CONDITIONING"), port("latent_image", 13, "LATENT")]},
        ],
        "links": [
            {"id": 11, "origin_id": -10, "origin_slot": 0, "target_id": 2, "target_slot": 0},
            {"id": 12, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 1},
            {"id": 13, "origin_id": -10, "origin_slot": 1, "target_id": 2, "target_slot": 3},
            {"id": 14, "origin_id": 2, "origin_slot": 0, "target_id": -20, "target_slot": 0},
        ],
    }  # fmt: skip
    workflow = {
        "nodes": [
            {"id": 1, "type": "CheckpointLoaderSimple", "widgets_values": ["m.safetensors"]},
            {"id": 2, "type": "LoraLoaderModelOnly", "mode": 4, "widgets_values": ["off", 1],
             "inputs": [port("model", 1, "MODEL")], "outputs": [{"type": "MODEL"}]},
            {"id": 3, "type": "EmptyLatentImage", "widgets_values": [640, 512, 1]},
            {"id": 4, "type": "sub-1",
             "inputs": [port("model", 2, "MODEL"), port("latent", 3, "LATENT")]},
            {"id": 5, "type": "VAEDecode", "inputs": [port("samples", 4, "LATENT")]},
            {"id": 6, "type": "SaveImage", "inputs": [port("images", 5, "IMAGE")]},
            {"id": 7, "type": "SaveImage", "mode": 2, "inputs": [port("images", 5, "IMAGE")]},
        ],
        "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 4, 0, "MODEL"], [3, 3, 0, 4, 1, "LATENT"],
                  [4, 4, 0, 5, 0, "LATENT"], [5, 5, 0, 6, 0, "IMAGE"]],
        "definitions": {"subgraphs": [inner]},
    }  # fmt: skip
    draft = _read(None, workflow)
    assert (draft.knobs["model"], draft.knobs["seed"]) == ("m.safetensors", 42)
    assert (draft.knobs["prompt"], draft.knobs["width"]) == ("inside", 640)
    assert draft.loras == [], "a bypassed node does nothing"


def test_a_graph_that_bites_its_tail_ends() -> None:
    graph = _graph(pos={"text": ["a", 0]}, a=_node("T", text=["b", 0]), b=_node("T", text=["a", 0]),
                   ckpt=_node("M", model=["ks", 0]))  # fmt: skip
    draft = _read(graph)
    assert draft.statuses["prompt"] == "unresolved"


def test_switches_that_set_one_another_end() -> None:
    for key in ("select", "index"):
        ring = _node("Switch", **{key: ["one", 0], "input1": ["two", 0], "input2": ["one", 0]})
        draft = _read(_graph(one=ring, two=ring, pos={"text": ["one", 0]}, ks={"seed": ["two", 0]}))
        assert draft.statuses["seed"] == draft.statuses["prompt"] == "unresolved"


@pytest.mark.parametrize("shape", ["chain", "fan", "text fan"])
def test_ten_megabytes_of_graph_are_read_in_bounded_time(shape: str) -> None:
    graph = _graph()
    count = 60_000
    for number in range(count):
        if shape == "chain":
            inputs: dict[str, Any] = {"model": [f"n{number + 1}", 0], "x": "y" * 60}
        elif shape == "fan":
            inputs = {"model": ["ckpt", 0], "positive": [f"n{(number * 7) % count}", 0], "steps": 1,
                      "seed": 1, "cfg": 1}  # fmt: skip
        else:
            inputs = {f"string_{k}": [f"n{number + k}", 0] for k in range(1, 4)}
        graph[f"n{number}"] = _node("X", **inputs)
    graph["ks"]["inputs"].update(model=["n0", 0], positive=["n0", 0])
    graph["more"] = _node("SaveImage", images=["n5", 0])
    began = time.monotonic()
    _read(graph)
    assert time.monotonic() - began < 20, "a graph of this size took minutes before it was bounded"


@pytest.mark.parametrize("graph", [
    {}, [], None, "x", {"1": None}, {"1": {}}, {"1": {"inputs": []}}, {"1": {"inputs": {}}},
    {"1": {"class_type": 5, "inputs": {"seed": float("nan")}}},
    {"1": {"class_type": "KSampler", "inputs": {"positive": ["1", 0], "seed": "x", "steps": {}}}},
    {"1": {"class_type": "K", "inputs": {"positive": ["2", "x"], "steps": [1], "cfg": True}}},
    {"nodes": 5, "links": {}}, {"nodes": [None, {"id": {}}], "links": [[1], {"id": "x"}]},
])  # fmt: skip
def test_what_is_no_graph_is_harmless(graph: object) -> None:
    _read(graph)
    _read(None, graph)
