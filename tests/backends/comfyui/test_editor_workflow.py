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


def test_a_subgraph_may_be_defined_in_the_one_that_holds_it() -> None:
    """Or beside it, which is the same."""
    workflow, wanted = copy.deepcopy(EDITOR_CASES["nested"])
    inner, outer = workflow["definitions"]["subgraphs"]
    workflow["definitions"] = {"subgraphs": [outer | {"definitions": {"subgraphs": [inner]}}]}
    assert nodes(workflow) == wanted


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
                 "pick": [["x", "y"], {"control_after_generate": True, "default": "y"}]},
}, "input_order": {"optional": ["pick", "note"]}, "output": ["IMAGE"]}}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["by size", 640, 480, False, "nm", "x", "fixed", "", "a note"],
         {"mode": "by size", "mode.width": 640, "mode.height": 480, "mode.crop": False,
          "name": "nm", "note": "a note", "pick": "x"}),
        (["by factor", 2.5, "fine", 7, 99, "fixed", "nm"],
         {"mode": "by factor", "mode.factor": 2.5, "mode.how": "fine", "mode.how.taps": 7,
          "mode.how.seed": 99, "name": "nm", "note": "", "pick": "y"}),
        (["match", "nm", "y", "fixed", "", None],
         {"mode": "match", "name": "nm", "note": "", "pick": "y"}),
        ([], {"mode": "by size", "mode.width": 512, "mode.height": 300, "mode.crop": True,
              "name": "n", "note": "", "pick": "y"}),
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


def test_groups_of_inputs_that_grew_have_values_before_the_others() -> None:
    """As the page makes their widgets; a value that is linked is not posted."""
    spec = {"template": {"input": {"required": {"num": ["FLOAT", {"default": 0.5}]}}}}
    known = {"Grow": {"input": {"required": {
        "first": ["INT", {"default": 1}], "nums": ["COMFY_AUTOGROW_V3", spec],
        "last": ["STRING", {"default": "z"}]}}, "output": []}}  # fmt: skip
    canvas = Canvas()
    canvas.add(1, "PrimitiveInt", [4, "fixed"], {}, "INT")
    canvas.add(2, "Grow", [0.1, 0.2, 3, "zz"], {"nums.num0": (1, 0, "INT")}, "IMAGE",
               widgets="nums.num0 nums.num1")  # fmt: skip
    assert nodes(canvas.file(), known)["2"]["inputs"] == {
        "nums.num0": ["1", 0], "nums.num1": 0.2, "first": 3, "last": "zz",
    }  # fmt: skip


def test_what_a_subgraph_shows_goes_into_sockets_too() -> None:
    """Of those that the server's class has. Read from pages 1.49.6 and 1.58.1."""
    spec = {"template": {"input": {"required": {"num": ["*", {}]}}}}
    known = {"Takes": {"input": {"required": {
        "source": ["*", {}], "nums": ["COMFY_AUTOGROW_V3", spec]}}, "output": []}}  # fmt: skip
    inside = Canvas(rows=False)
    inside.add(11, "EmptyImage", [64, 48, 1, 255], {"width": (-10, 0, "INT")}, "IMAGE",
               widgets="width height batch_size color")  # fmt: skip
    into = dict.fromkeys(("source", "nums.num0", "of a newer server"), (-10, 0, "INT"))
    inside.add(12, "Takes", [], into)
    inside.link(11, 0, -20, 0, "IMAGE")
    canvas = Canvas()
    canvas.add(5, "a-subgraph", [80], {}, "IMAGE", widgets="side")
    subgraph = inside.subgraph("a-subgraph", "One", {"side": "INT"}, {"IMAGE": "IMAGE"})
    posted = nodes(canvas.file(subgraph), known)
    assert posted["5:12"]["inputs"] == {"source": 80, "nums.num0": 80}
    assert posted["5:11"]["inputs"]["width"] == 80


def test_a_comparison_is_posted_with_the_pictures_that_it_has_not_shown_yet() -> None:
    """ComfyUI refuses one without; read from pages 1.49.6 and 1.58.1."""
    known = {"ImageCompare": {"input": {
        "required": {"compare_view": ["IMAGECOMPARE", {"socketless": True}]},
        "optional": {"image_a": ["IMAGE", {}]}}, "output": []}}  # fmt: skip
    canvas = Canvas()
    canvas.add(2, "ImageCompare", [], {})
    assert nodes(canvas.file(), known)["2"]["inputs"] == {"compare_view": {"__value__": ["", ""]}}


def _one(kind: str, values: list[Any], spec: list[Any]) -> Any:
    canvas = Canvas()
    canvas.add(1, kind, values, {}, "X")
    known = {kind: {"input": {"required": {"it": spec}}, "output": []}}
    return nodes(canvas.file(), known)["1"]["inputs"].get("it")


def test_values_that_a_server_might_take_for_links_are_wrapped() -> None:
    assert _one("Curved", [[[0, 0], [1, 1]]], ["CURVE"]) == {
        "__type__": "CURVE", "__value__": [[0, 0], [1, 1]],
    }  # fmt: skip
    assert _one("Many", [["a", 0]], ["COMBO", {"multi_select": True}]) == {"__value__": ["a", 0]}


def test_what_nobody_chose_is_not_posted() -> None:
    """A list without a choice, such as of models where there are none."""
    assert _one("Empty", [], [[]]) is None
    assert _one("Text", [None], ["STRING", {"multiline": True}]) == ""


def test_classes_that_were_renamed_are_called_by_their_new_names() -> None:
    canvas = Canvas()
    canvas.add(1, "T2IAdapterLoader", ["a.pth"], {}, "CONTROL_NET")
    known = {"ControlNetLoader": {"input": {"required": {"name": [["a.pth"]]}}, "output": []}}
    assert nodes(canvas.file(), known) == {"1": node("ControlNetLoader", name="a.pth")}


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


@pytest.mark.parametrize(
    ("values", "width"),
    [
        ([80, 48, 1, 7], 80), ([80, 48, 1, 7, None, ""], 80), ([80, 48, 1, 7, "more"], 64),
        ([80, 48, 1, "7"], 64), ([80, 48, 1], 64), ([80, 48, True, 7], 64),
    ],
)  # fmt: skip
def test_values_in_order_count_where_they_fit_as_they_do_in_the_editor(
    values: list[Any], width: int
) -> None:
    """Programs that change a file forget the names: official templates name other files there."""
    canvas = Canvas()
    canvas.add(1, "EmptyImage", values, {}, "IMAGE")
    canvas.nodes[0]["widgets_values_named"] = {"width": 64, "height": 48, "batch_size": 1,
                                               "color": 7}  # fmt: skip
    assert nodes(canvas.file()) == {
        "1": node("EmptyImage", width=width, height=48, batch_size=1, color=7)
    }


def test_names_of_values_are_believed_where_their_order_does_not_fit() -> None:
    """A server of another version has other widgets."""
    canvas = Canvas()
    canvas.add(1, "EmptyImage", ["new", 64, 48, 1, 7], {}, "IMAGE")
    canvas.nodes[0]["widgets_values_named"] = {"fresh": "new", "width": 64, "height": 48,
                                               "batch_size": 1, "color": 7}  # fmt: skip
    assert nodes(canvas.file()) == {
        "1": node("EmptyImage", width=64, height=48, batch_size=1, color=7)
    }


def test_widgets_that_the_server_lacks_do_not_shift_what_a_subgraph_shows() -> None:
    """ComfyUI 0.3.75 has no such input of ModelSamplingAuraFlow; the values after it stay right."""
    workflow, wanted = pair("3d_hunyuan3d_image_to_model")
    (host,) = (each for each in workflow["nodes"] if each["id"] == 91)
    del host["widgets_values_named"]
    assert api_workflow(workflow, KNOWN, "it").nodes == wanted


def test_a_value_that_an_editor_could_not_place_is_still_shown() -> None:
    """It keeps such values beside the others; where it has none, the one inside counts."""
    workflow = copy.deepcopy(EDITOR_CASES["primitive_inside"][0])
    host = workflow["nodes"][0]
    host["widgets_values"] = [None]
    assert nodes(workflow)["5:2"]["inputs"]["color"] == 255
    host["properties"]["proxyWidgetErrorQuarantine"] = [
        {"originalEntry": ["-1", "color"], "reason": "missingSourceNode", "hostValue": 17}
    ]
    assert nodes(workflow)["5:2"]["inputs"]["color"] == 17


def test_values_without_a_place_are_told() -> None:
    """They may have mattered."""
    canvas = Canvas()
    canvas.add(1, "EmptyImage", [64, 48, 1, 7, "bicubic"], {}, "IMAGE")
    (note,) = api_workflow(canvas.file(), KNOWN, "workflow x.json").notes
    assert note.startswith("workflow x.json: values of EmptyImage have no place")


# -- what is passed through -----------------------------------------------------------------------

PASSING = {
    "Apart": {"input": {"required": {"a": ["IMAGE,MASK"], "b": ["LATENT"], "c": ["IMAGE"]}},
              "output": ["MASK", "IMAGE"]},
    "Switch": {"input": {"required": {"no": ["COMFY_MATCHTYPE_V3"], "yes": ["COMFY_MATCHTYPE_V3"]}},
               "output": ["COMFY_MATCHTYPE_V3"]},
    "Any": {"input": {"required": {"any": ["*"]}}, "output": []},
}  # fmt: skip


@pytest.mark.parametrize(
    ("through", "inputs", "slot", "to", "came"),
    [
        ("Apart", "a c", 1, "ImageInvert", "c"),  # the very type comes before one of several
        ("Apart", "a c", 0, "Any", "a"),
        ("Apart", "a c", 1, "Any", None),  # what takes anything takes what stands beside it
        ("Switch", "no yes", 0, "ImageInvert", "no"),  # types that follow what is connected
    ],
)
def test_a_bypassed_node_gives_on_what_fits(
    through: str, inputs: str, slot: int, to: str, came: str | None
) -> None:
    """By the rules of the editor."""
    canvas = Canvas()
    names = {name: (number, 0, "IMAGE") for number, name in enumerate(inputs.split(), 1)}
    for number in (1, 2):
        canvas.add(number, "EmptyImage", [64, 48, 1, 7], {}, "IMAGE")
    outputs = "MASK IMAGE" if through == "Apart" else "IMAGE"
    canvas.add(3, through, [], names, outputs, mode=4)
    entry = "image" if to == "ImageInvert" else "any"
    canvas.add(4, to, [], {entry: (3, slot, "IMAGE")}, "IMAGE")
    wanted = {} if came is None else {entry: [str(names[came][0]), 0]}
    assert nodes(canvas.file(), PASSING)["4"]["inputs"] == wanted


def test_a_subgraph_may_give_on_what_it_gets() -> None:
    """Without a node on the way."""
    inner = Canvas(rows=False)
    inner.link(-10, 0, -20, 0, "IMAGE")
    canvas = Canvas()
    canvas.add(1, "EmptyImage", [64, 48, 1, 7], {}, "IMAGE")
    canvas.add(2, "straight", [], {"i": (1, 0, "IMAGE")}, "IMAGE")
    canvas.add(3, "ImageInvert", [], {"image": (2, 0, "IMAGE")}, "IMAGE")
    file = canvas.file(inner.subgraph("straight", "S", {"i": "IMAGE"}, {"o": "IMAGE"}))
    assert nodes(file)["3"]["inputs"]["image"] == ["1", 0]


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


@pytest.mark.parametrize(
    ("text", "posted"),
    [
        ("a barn, (red:1.2) \\(big\\)", "a barn, (red:1.2) \\(big\\)"),
        ("a {red} barn", "a red barn"),
    ],
)
def test_nothing_is_told_of_a_text_without_choices(text: str, posted: str) -> None:
    assert _text(text) == (posted, ())


def test_a_text_that_only_costs_time_costs_none() -> None:
    """Workflows come from anywhere. Looked through from each sign anew, this would take hours."""
    unclosed = "/* " * 400_000
    assert _text(f"a /* b */ {unclosed}// c") == (f"a  {unclosed}", ())
    with pytest.raises(BackendError, match="1,001 braces in text, 1,000 may be"):
        _text("{a|b}" * 1001)


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


def _everywhere() -> dict[str, Any]:
    KNOWN.setdefault("Anything Everywhere", {"input": {}, "output": []})
    canvas = Canvas()
    canvas.add(1, "Anything Everywhere", [], {}, "IMAGE")
    return canvas.file()


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
        (_everywhere(), r"node 1 \(Anything Everywhere\) adds links while the editor posts"),
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
