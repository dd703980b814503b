"""What the editor saves is posted as the editor would post it, or refused in a sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.comfyui.core_shapes import node
from backends.comfyui.editor_cases import EDITOR_CASES
from backends.comfyui.editor_shapes import Canvas
from safelight.backends.comfyui.editor_workflow import api_workflow
from safelight.errors import BackendError

DATA = Path(__file__).resolve().parents[2] / "data" / "comfyui_editor"
KNOWN: dict[str, Any] = json.loads((DATA / "object_info.json").read_text("utf-8"))
TEMPLATES = sorted(path.stem for path in DATA.glob("*.json") if path.stem != "object_info")


def pair(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    loaded = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return loaded["workflow"], loaded["api"]


def nodes(workflow: dict[str, Any], known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what is posted, without titles."""
    posted = api_workflow(workflow, KNOWN | (known or {}), "it").nodes
    return {
        name: {"class_type": each["class_type"], "inputs": each["inputs"]}
        for name, each in posted.items()
    }


@pytest.mark.parametrize("name", TEMPLATES)
def test_official_templates_are_posted_as_the_page_posts_them(name: str) -> None:
    """Ids, classes, inputs and titles."""
    workflow, wanted = pair(name)
    assert api_workflow(workflow, KNOWN, name).nodes == wanted


@pytest.mark.parametrize("name", EDITOR_CASES)
def test_each_thing_that_the_editor_does_is_done(name: str) -> None:
    workflow, wanted = EDITOR_CASES[name]
    assert nodes(workflow) == wanted


def test_a_file_that_was_moved_about_is_the_same() -> None:
    """Where nodes stand, and in which order they were saved, is nothing to a server."""
    workflow, wanted = pair("image_netayume_lumina_t2i")
    for canvas in (workflow, *workflow["definitions"]["subgraphs"]):
        canvas["nodes"].reverse()
        canvas["links"].reverse()
        for each in canvas["nodes"]:
            each["pos"] = [1, 2]
    assert api_workflow(workflow, KNOWN, "it").nodes == wanted


# -- what the server says of its nodes ------------------------------------------------------------

_SIZES = [
    {"key": "by size", "inputs": {
        "required": {"width": ["INT", {"default": 512}], "height": ["INT", {"default": 300}]},
        "optional": {"crop": ["BOOLEAN", {"default": True}]}}},
    {"key": "by factor", "inputs": {"required": {
        "factor": ["FLOAT", {"default": 1.5}],
        "how": ["COMFY_DYNAMICCOMBO_V3", {"options": [
            {"key": "nearest", "inputs": {"required": {}}},
            {"key": "fine", "inputs": {"required": {
                "taps": ["INT", {"default": 3}],
                "seed": ["INT", {"default": 0, "control_after_generate": True}]}}}]}]}}},
    {"key": "match", "inputs": {"required": {"like": ["IMAGE", {}]}}},
]  # fmt: skip
_GROWS = {"template": {"input": {"required": {"img": ["IMAGE", {}]}}, "prefix": "img", "min": 1}}
DYNAMIC = {"Dynamic": {"input": {
    "required": {
        "image": ["IMAGE"], "mode": ["COMFY_DYNAMICCOMBO_V3", {"options": _SIZES}],
        "name": ["STRING", {"default": "n"}], "images": ["COMFY_AUTOGROW_V3", _GROWS],
    },
    "optional": {"note": ["STRING", {"multiline": True}],
                 "pick": [["x", "y"], {"control_after_generate": True}]},
}, "output": ["IMAGE"]}}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["by size", 640, 480, False, "nm", "a note", "y", "fixed", ""],
         {"mode": "by size", "mode.width": 640, "mode.height": 480, "mode.crop": False,
          "name": "nm", "note": "a note", "pick": "y"}),
        (["by factor", 2.5, "fine", 7, 99, "fixed", "nm"],
         {"mode": "by factor", "mode.factor": 2.5, "mode.how": "fine", "mode.how.taps": 7,
          "mode.how.seed": 99, "name": "nm", "note": "", "pick": "x"}),
        (["match", "nm"], {"mode": "match", "name": "nm", "note": "", "pick": "x"}),
        ([], {"mode": "by size", "mode.width": 512, "mode.height": 300, "mode.crop": True,
              "name": "n", "note": "", "pick": "x"}),
    ],
)  # fmt: skip
def test_widgets_that_come_and_go_are_read_as_the_chosen_option_has_them(
    values: list[Any], wanted: dict[str, Any]
) -> None:
    """Read from the page of comfyui-frontend-package 1.58.1, to which a server said the same."""
    canvas = Canvas()
    canvas.add(1, "EmptyImage", [64, 48, 1, 255], {}, "IMAGE")
    links = {"image": (1, 0, "IMAGE"), "images.img0": (1, 0, "IMAGE"), "images.img1": (1, 0, "X")}
    canvas.add(2, "Dynamic", values, links, "IMAGE")
    posted = nodes(canvas.file(), DYNAMIC)["2"]["inputs"]
    assert posted == {**wanted, "image": ["1", 0], "images.img0": ["1", 0],
                      "images.img1": ["1", 0]}  # fmt: skip


FORCED = {"Forced": {"input": {"required": {
    "seed": ["INT", {"default": 0}], "amount": ["INT", {"forceInput": True}],
    "steps": ["INT", {"default": 5}], "many": ["COMBO", {"options": ["p", "q"]}],
    "file": [[], {"image_upload": True, "image_folder": "output"}],
}}, "output": ["INT"]}}  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        [12, "fixed", 8, ["p", "q"], "a.png", "image"],
        [12, "fixed", 77, 8, ["p", "q"], "a.png", "image"],
        {"seed": 12, "steps": 8, "many": ["p", "q"], "file": "a.png", "preview": {"x": 1}},
    ],
)
def test_values_are_read_in_every_form_in_which_they_were_saved(values: Any) -> None:
    """Older editors kept a value for an input that must be linked; some nodes save by name."""
    canvas = Canvas()
    canvas.add(1, "PrimitiveInt", [4, "fixed"], {}, "INT")
    canvas.add(2, "Forced", values, {"amount": (1, 0, "INT")}, "INT")
    assert nodes(canvas.file(), FORCED)["2"]["inputs"] == {
        "seed": 12, "steps": 8, "many": {"__value__": ["p", "q"]}, "file": "a.png [output]",
        "amount": ["1", 0],
    }  # fmt: skip


def test_names_of_values_are_believed_before_their_order() -> None:
    """A server of another version has other widgets."""
    canvas = Canvas()
    canvas.add(1, "EmptyImage", ["new", 64, 48, 1, 7], {}, "IMAGE")
    canvas.nodes[0]["widgets_values_named"] = {"fresh": "new", "width": 64, "height": 48,
                                               "batch_size": 1, "color": 7}  # fmt: skip
    assert nodes(canvas.file()) == {
        "1": node("EmptyImage", width=64, height=48, batch_size=1, color=7)
    }


def test_values_without_a_place_are_told() -> None:
    """They may have mattered."""
    canvas = Canvas()
    canvas.add(1, "EmptyImage", [64, 48, 1, 7, "bicubic"], {}, "IMAGE")
    (note,) = api_workflow(canvas.file(), KNOWN, "workflow x.json").notes
    assert note.startswith("workflow x.json: values of EmptyImage have no place")


# -- nodes of other packs -------------------------------------------------------------------------


def test_set_and_get_nodes_are_links() -> None:
    """Those of KJNodes, of which no server knows."""
    canvas = Canvas()
    canvas.add(1, "EmptyImage", [64, 48, 1, 7], {}, "IMAGE")
    canvas.add(2, "SetNode", ["pic"], {"IMAGE": (1, 0, "IMAGE")}, "IMAGE")
    canvas.add(3, "GetNode", ["pic"], {}, "IMAGE")
    canvas.add(4, "ImageInvert", [], {"image": (3, 0, "IMAGE")}, "IMAGE")
    canvas.add(5, "ImageInvert", [], {"image": (2, 0, "IMAGE")}, "IMAGE")
    posted = nodes(canvas.file())
    assert [posted[name]["inputs"]["image"] for name in ("4", "5")] == [["1", 0], ["1", 0]]
    canvas.nodes[1]["widgets_values"] = ["other"]
    with pytest.raises(BackendError, match=r"node 3 \(GetNode\) gets 'pic', which no SetNode"):
        nodes(canvas.file())


def test_loras_of_a_power_loader_keep_their_rows() -> None:
    """rgthree's, whose page makes a widget of each row."""
    kind = "Power Lora Loader (rgthree)"
    known = {kind: {"input": {"required": {}, "optional": {"model": ["MODEL"]}}, "output": []}}
    row = {"on": True, "lora": "a.safetensors", "strength": 0.8}
    canvas = Canvas()
    canvas.add(1, kind, [{}, {"type": "PowerLoraLoaderHeaderWidget"}, row, {}, ""], {})
    assert nodes(canvas.file(), known) == {"1": node(kind, lora_1=row)}


# -- texts ----------------------------------------------------------------------------------------


def _text(text: str) -> tuple[str, tuple[str, ...]]:
    workflow = copy.deepcopy(EDITOR_CASES["texts"][0])
    next(each for each in workflow["nodes"] if each["id"] == 5)["widgets_values"] = [text]
    converted = api_workflow(workflow, KNOWN, "it")
    return converted.nodes["5"]["inputs"]["text"], converted.notes


@pytest.mark.parametrize(
    ("text", "posted"),
    [("a {red|blue} barn", "a red barn"), ("{a {b|c}|d}, {|x}", "a b, "), (r"{\{a\}|b}", "{a}")],
)
def test_of_choices_the_first_is_taken_and_that_is_told(text: str, posted: str) -> None:
    """The editor takes one by chance; a run must be one that can be drawn again."""
    got, notes = _text(text)
    assert got == posted
    assert "the first is taken" in notes[0]


def test_a_text_without_choices_is_left_as_it_is() -> None:
    assert _text("a barn, (red:1.2) \\(big\\)") == ("a barn, (red:1.2) \\(big\\)", ())


def test_dates_in_the_name_of_a_file_are_left_to_the_server() -> None:
    """Filled in here, the workflow would be another one every day."""
    workflow = copy.deepcopy(EDITOR_CASES["texts"][0])
    save = next(each for each in workflow["nodes"] if each["id"] == 9)
    save["widgets_values"] = ["%date:yyyy-MM-dd%/x"]
    assert nodes(workflow)["9"]["inputs"]["filename_prefix"] == "%year%-%month%-%day%/x"


# -- refusals -------------------------------------------------------------------------------------


def test_all_classes_that_the_server_lacks_are_named_at_once() -> None:
    """Not one after the other, each after another installation; muted ones are not missed."""
    canvas = Canvas()
    for number in (1, 2):
        canvas.add(number, "Sharpen+", [], {}, "IMAGE", cnr_id="essentials")
    canvas.add(3, "Blur!", [], {}, "IMAGE", cnr_id="comfy-core")
    canvas.add(4, "Muted", [], {}, "IMAGE", mode=2)
    with pytest.raises(BackendError) as refused:
        nodes(canvas.file())
    assert str(refused.value) == (
        "it needs 2 node classes that the server lacks: Sharpen+ (2 times) of essentials, Blur!;"
        " install the custom nodes there, or update it"
    )


def _reroutes() -> Canvas:
    canvas = Canvas()
    canvas.add(1, "Reroute", [], {"": (2, 0, "*")}, "*")
    canvas.add(2, "Reroute", [], {"": (1, 0, "*")}, "*")
    canvas.add(9, "SaveImage", ["x"], {"images": (1, 0, "IMAGE")})
    return canvas


def _self_holding() -> dict[str, Any]:
    inner = Canvas(rows=False)
    inner.add(1, "itself", [], {}, "IMAGE")
    canvas = Canvas()
    canvas.add(5, "itself", [], {}, "IMAGE")
    return canvas.file(inner.subgraph("itself", "Me", {}, {}))


def _hanging(**changes: Any) -> dict[str, Any]:
    canvas = Canvas()
    canvas.add(1, "EmptyImage", [64, 48, 1, 7], {}, "IMAGE")
    canvas.add(9, "SaveImage", ["x"], {"images": (1, 0, "IMAGE")})
    return canvas.file() | changes


def _group_node() -> Canvas:
    canvas = Canvas()
    canvas.add(1, "workflow>Mine", [], {}, "IMAGE")
    return canvas


@pytest.mark.parametrize(
    ("workflow", "sentence"),
    [
        (_reroutes().file(), r"go round in a circle at node [12] \(Reroute\)"),
        (_self_holding(), r"the subgraph of node 5:1 \(subgraph\) holds itself"),
        (_hanging(links=[]), r"images of node 9 \(SaveImage\) hangs on link 1, which the file"),
        (_hanging(links=[[1, 3, 0, 9, 0, "IMAGE"]]), "comes from node 3, which the file lacks"),
        (_hanging(nodes=[{"type": "EmptyImage"}]), "its node number 1 has no id"),
        (_hanging(nodes=[{"id": 4}]), "its node 4 has no class"),
        (_hanging(nodes=[]), "has no node that is run"),
        (_group_node().file(), r"has group nodes \(workflow>Mine\).*take them apart"),
    ],
)
def test_a_faulty_file_is_refused_in_a_sentence(workflow: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BackendError, match=sentence):
        nodes(workflow)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) for everything inside of *value*."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


@pytest.mark.parametrize("wrong", [None, "x", -10, [], {}, [None, {}]], ids=repr)
def test_nothing_that_stands_in_a_file_breaks_the_reading(wrong: Any) -> None:
    """Each value in turn is something else: that converts, or is refused in a sentence."""
    workflow = copy.deepcopy(EDITOR_CASES["nested"][0])
    for holder, key in _places(workflow):
        kept, holder[key] = holder[key], wrong
        try:
            api_workflow(workflow, KNOWN, "it")
        except BackendError as refused:
            assert str(refused).startswith("it")
        holder[key] = kept
