"""A workflow of the user's own: knobs find their places, and every mistake is told by name."""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backends.backend_contract import Steps
from backends.comfyui.editor_cases import EDITOR_CASES
from backends.comfyui.fake_server import FakeComfyUI
from command_line import Safelight
from safelight.application.examples import EXAMPLES
from safelight.archive import Archive
from safelight.backends.comfyui import ComfyuiBackend
from safelight.errors import BackendError
from safelight.formats.bounded_json import MAX_JSON
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner
from safelight.pipeline.backend import (
    Generation,
    Img2ImgRequest,
    Txt2ImgRequest,
    UpscaleRequest,
)
from safelight.pipeline.engine_pool import LocalPool

OWN_GRAPH = EXAMPLES / "workflows" / "own_graph.json"
GRAPH: dict[str, Any] = json.loads(OWN_GRAPH.read_text("utf-8"))
GRAPH["4"]["inputs"]["ckpt_name"] = "tiny.safetensors"
GRAPH["5"]["inputs"].update(width=64, height=48)
MAP = {
    "txt2img.prompt": "@Prompt.inputs.text",
    "txt2img.seed": "3.inputs.seed",
    "txt2img.steps": "KSampler.steps",
    "txt2img.sampler": "3.sampler_name",
    "txt2img.scheduler": "3.scheduler",
}

Make = Callable[..., ComfyuiBackend]


@pytest.fixture
def server() -> Iterator[FakeComfyUI]:
    with FakeComfyUI() as server:
        yield server


@pytest.fixture
def make(server: FakeComfyUI, tmp_path: Path) -> Iterator[Make]:
    made: list[ComfyuiBackend] = []

    def make(
        mapping: dict[str, Any], graph: Any = GRAPH, output: str = "", name: str = "graph.json"
    ) -> ComfyuiBackend:
        path = tmp_path / name
        path.write_text(json.dumps(graph))
        made.append(ComfyuiBackend(url=server.url, workflow=str(path), map=mapping, output=output))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


def draw(backend: ComfyuiBackend, **knobs: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{"prompt": "a tower", "seed": 5, **knobs}), Steps())


def changed(**nodes: Any) -> dict[str, Any]:
    """Return the graph with nodes replaced, or taken out where None."""
    graph = {**copy.deepcopy(GRAPH), **{name.lstrip("n"): node for name, node in nodes.items()}}
    return {node_id: node for node_id, node in graph.items() if node is not None}


def test_knobs_find_their_places_by_id_title_and_class(server: FakeComfyUI, make: Make) -> None:
    """And the rest of the workflow stays as its author left it."""
    (image,) = draw(make(MAP), steps=3, sampler="Euler a", scheduler="Karras").images
    ran = server.posted[0]["prompt"]
    wanted = copy.deepcopy(GRAPH)
    wanted["6"]["inputs"]["text"] = "a tower"
    wanted["3"]["inputs"].update(
        seed=5, steps=3, sampler_name="euler_ancestral", scheduler="karras"
    )
    assert ran == wanted
    assert image.effective == {
        "prompt": "a tower", "seed": 5, "steps": 3, "sampler": "Euler a", "scheduler": "Karras",
        "width": 64, "height": 48,
    }  # fmt: skip


def test_mapped_knobs_that_nobody_states_are_reported_from_the_workflow(make: Make) -> None:
    """In our spelling; the workflow's own values are what ran."""
    (image,) = draw(make(MAP)).images
    assert image.effective["steps"] == 20
    assert image.effective["sampler"] == "Euler"
    assert image.effective["scheduler"] == "Normal"


@pytest.mark.parametrize(
    "knobs",
    [{"cfg_scale": 3}, {"negative_prompt": "blurry"}, {"clip_skip": 2}, {"extra": {"x": 1}}],
)
def test_a_knob_that_is_not_mapped_is_refused_before_anything_is_drawn(
    server: FakeComfyUI, make: Make, knobs: dict[str, Any]
) -> None:
    """A sweep over it would draw the same picture again and again."""
    with pytest.raises(BackendError, match=rf"txt2img\.{next(iter(knobs))}.*add map"):
        draw(make(MAP), **knobs)
    assert not server.posted


def test_the_seed_must_be_mapped(make: Make) -> None:
    """Else every record would name a seed that no picture was drawn with."""
    with pytest.raises(BackendError, match=r"txt2img\.seed"):
        draw(make({"txt2img.prompt": "6.text"}))


@pytest.mark.parametrize(
    ("graph", "next_step"),
    [
        (GRAPH, 'add map."txt2img.seed" = "3.inputs.seed"'),
        (
            changed(n3={**GRAPH["3"], "inputs": {**GRAPH["3"]["inputs"], "seed": ["6", 0]}}),
            "no input seed or noise_seed that can be set, so give it one in ComfyUI",
        ),
    ],
)
def test_a_plan_without_a_seed_that_can_be_set_is_refused(
    command: Safelight, graph: dict[str, Any], next_step: str
) -> None:
    """Its variants would be one picture; it is told when it is planned, without a server."""
    Path("graph.json").write_text(json.dumps(graph), "utf-8")
    Path("c.toml").write_text(
        """
        [backend]
        name = "comfyui"
        url = "http://127.0.0.1:9"
        workflow = "graph.json"
        map = { "txt2img.prompt" = "6.text", "txt2img.steps" = "3.steps" }
        [txt2img]
        prompt = "a tower"
        [randomizer]
        mode = "fanout"
        seeds_per_variant = 3
        sweep = { "txt2img.cfg_scale" = [3, 7], "txt2img.steps" = [1, 2] }
        """,
        "utf-8",
    )
    for order in ("plan", "run"):
        done = command(order, "c.toml")
        said = " ".join(done.output.split())
        assert done.exit_code, said
        assert "txt2img.seed: pictures that differ in it only would be one picture" in said
        assert next_step in said
        assert 'add map."txt2img.cfg_scale" = "NODE.inputs.INPUT"' in said
        assert "txt2img.steps" not in said


@pytest.mark.parametrize("acts", [False, True])
def test_a_lora_tag_counts_only_where_a_node_acts_on_it(
    server: FakeComfyUI, make: Make, tmp_path: Path, acts: bool
) -> None:
    """ComfyUI's own text encoder reads it as words; nodes of packs may carry it out."""
    graph = copy.deepcopy(GRAPH)
    if acts:
        graph["6"]["class_type"] = "LoraTagEncode"
        server.object_info["LoraTagEncode"] = server.object_info["CLIPTextEncode"]
    tagged = {"txt2img": {"prompt": "a tower <lora:ink:0.5>", "seed": 5}}
    runner = PipelineRunner(
        make({**MAP, "txt2img.prompt": "6.text"}, graph),
        archive_dir=tmp_path / "archive",
        learning_record_writer=LearningRecordWriter(tmp_path / "archive" / "records"),
    )
    result = runner.run(tagged)
    assert result.status == "completed"
    archive = Archive(tmp_path / "archive")
    assert len(archive.query("lora.ink = 0.5").rows) == acts
    assert len(archive.query("extra.lora_tags = '<lora:ink:0.5>'").rows) == (not acts)
    assert len(archive.query("prompt has '<lora:ink:0.5>'").rows) == 1
    assert any("only text there" in warning for warning in result.warnings) != acts


def test_any_input_can_be_swept_as_an_extra_knob(server: FakeComfyUI, make: Make) -> None:
    """Custom nodes have inputs that no knob of ours is named after."""
    backend = make({**MAP, "txt2img.extra.prefix": "9.filename_prefix"})
    (image,) = draw(backend, extra={"prefix": "mine"}).images
    assert server.posted[0]["prompt"]["9"]["inputs"]["filename_prefix"] == "mine"
    assert image.effective["extra"] == {"prefix": "mine"}


def _flowing(server: FakeComfyUI, **inputs: Any) -> dict[str, Any]:
    """Return the graph with nodes between model and sampler that are mapped to nothing."""
    kinds = {"shift": "ModelSamplingSD3", "cache": "TeaCache"}
    for kind in kinds.values():
        server.object_info[kind] = {"input": {"required": {}}, "output_node": False}
    shift = {"class_type": kinds["shift"], "inputs": {"model": ["4", 0], "shift": 3.0, **inputs}}
    cache = {"class_type": kinds["cache"], "inputs": {"model": ["40", 0], "rel_l1_thresh": 0.4}}
    sampler = copy.deepcopy(GRAPH["3"])
    sampler["inputs"]["model"] = ["41", 0]
    return changed(n40=shift, n41=cache, n3=sampler)


def test_nodes_that_bend_the_model_are_reported_though_nothing_is_mapped_to_them(
    server: FakeComfyUI, make: Make
) -> None:
    """They shape the picture; two pictures that differ in them are not alike."""
    backend = make(MAP, _flowing(server))
    (image,) = draw(backend).images
    assert (image.effective["shift"], image.effective["cache"]) == (3, "TeaCache 0.4")
    mapped = make({**MAP, "txt2img.shift": "40.shift"}, _flowing(server))
    (image,) = draw(mapped, others={"shift": 5.0}).images
    assert image.effective["shift"] == 5
    (image,) = draw(make(MAP, _flowing(server, shift=["4", 1]))).images
    assert "shift" not in image.effective, "another node decides it"


def test_what_two_nodes_say_differently_is_not_reported(server: FakeComfyUI, make: Make) -> None:
    """Which of them is meant cannot be told."""
    graph = _flowing(server)
    graph["41"] = {"class_type": "ModelSamplingSD3", "inputs": {"model": ["40", 0], "shift": 5.0}}
    (image,) = draw(make(MAP, graph)).images
    assert "shift" not in image.effective


def test_text_encoders_go_into_their_places_one_by_one(server: FakeComfyUI, make: Make) -> None:
    """A loader of two has an input for each."""
    lists = {"clip_name1": ["a", "b"], "clip_name2": ["c", "d"]}
    for name, files in lists.items():
        server.object_info["DualCLIPLoader"]["input"]["required"][name][0] = files
    loader = {"class_type": "DualCLIPLoader",
              "inputs": {"clip_name1": "a", "clip_name2": "c", "type": "flux"}}  # fmt: skip
    prompt = copy.deepcopy(GRAPH["6"])
    prompt["inputs"]["clip"] = ["50", 0]
    mapping = {**MAP, "txt2img.text_encoders": ["50.clip_name1", "50.clip_name2"]}
    backend = make(mapping, changed(n50=loader, n6=prompt))
    (image,) = draw(backend, others={"text_encoders": "b, d"}).images
    assert image.effective["text_encoders"] == "b, d"
    (image,) = draw(backend).images
    assert image.effective["text_encoders"] == "a, c"
    with pytest.raises(BackendError, match="2 text encoders must be named"):
        draw(backend, others={"text_encoders": "b"})


def test_one_knob_may_stand_in_several_places(server: FakeComfyUI, make: Make) -> None:
    """Two samplers, one seed."""
    second = {**copy.deepcopy(GRAPH["3"]), "_meta": {"title": "Second pass"}}
    second["inputs"]["latent_image"] = ["3", 0]
    decode = copy.deepcopy(GRAPH["8"])
    decode["inputs"]["samples"] = ["30", 0]
    backend = make(
        {"txt2img.seed": ["3.seed", "Second pass.seed"], "txt2img.prompt": "6.text"},
        changed(n30=second, n8=decode),
    )
    draw(backend)
    ran = server.posted[0]["prompt"]
    assert [ran[node]["inputs"]["seed"] for node in ("3", "30")] == [5, 5]


def test_stages_without_a_map_use_our_own_graphs(server: FakeComfyUI, make: Make) -> None:
    """A workflow for txt2img does not take the upscale stage away."""
    backend = make(MAP)
    (given,) = draw(backend).images
    (image,) = backend.generate(UpscaleRequest(init_image=given.png, scale=2), Steps()).images
    assert image.effective["scale"] == 2


def test_input_pictures_are_uploaded_into_their_loaders(server: FakeComfyUI, make: Make) -> None:
    """Whatever loads them in the workflow."""
    load = {"class_type": "LoadImage", "inputs": {"image": "example.png"}}
    encode = {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}}
    sampler = copy.deepcopy(GRAPH["3"])
    sampler["inputs"].update(latent_image=["11", 0], denoise=0.5)
    mapping = {
        "txt2img.prompt": "6.text",
        "txt2img.seed": "3.seed",
        "img2img.prompt": "6.text",
        "img2img.seed": "3.seed",
        "img2img.init_image": "10.image",
        "img2img.denoising_strength": "3.denoise",
    }
    plain = make({k: v for k, v in mapping.items() if k.startswith("txt2img")}, name="a.json")
    (given,) = draw(plain).images
    backend = make(mapping, changed(n10=load, n11=encode, n3=sampler), name="b.json")
    request = Img2ImgRequest(prompt="b", seed=1, init_image=given.png, denoising_strength=0.0)
    (image,) = backend.generate(request, Steps()).images
    assert image.effective["denoising_strength"] == 0.0
    assert "init_image" not in image.effective
    assert server.posted[-1]["prompt"]["10"]["inputs"]["image"] in server.inputs


def test_another_picture_under_the_name_that_a_workflow_loads_is_another_setup(
    server: FakeComfyUI, make: Make
) -> None:
    """Else pictures that were drawn from the old one would be taken for those of the new one."""
    graph = copy.deepcopy(GRAPH)
    graph["20"] = {"class_type": "LoadImage", "inputs": {"image": "style.png"}}
    setups = []
    for content in (b"one", b"other", b"one"):
        server.inputs["style.png"] = content
        setups.append(make(MAP, graph).setup({}))
    assert setups[0] == setups[2] != setups[1]
    del server.inputs["style.png"]
    assert make(MAP, graph).setup({}).untold == ("the picture 'style.png' of its workflow",)
    mapped = {"img2img.init_image": "20.inputs.image", "img2img.seed": "3.inputs.seed"}
    assert make(mapped, graph).setup({}).untold == ()


def test_a_batch_is_mapped_or_repeated_by_seed(server: FakeComfyUI, make: Make) -> None:
    """ComfyUI's own batches come from one seed, which is told."""
    repeated = draw(make(MAP), batch_size=2)
    assert [image.effective["seed"] for image in repeated.images] == [5, 6]
    mapped = make({**MAP, "txt2img.batch_size": "5.batch_size"})
    assert "one seed" in draw(mapped, batch_size=2).warnings[0]
    assert server.posted[-1]["prompt"]["5"]["inputs"]["batch_size"] == 2


@pytest.mark.parametrize(
    ("entry", "address", "message"),
    [
        ("txt2img.stepz", "3.steps", "no knob 'txt2img.stepz'; did you mean 'txt2img.steps'"),
        ("steps", "3.steps", "no knob 'steps'"),
        ("upscale.steps", "3.steps", "upscale has no knob 'steps'"),
        ("txt2img.steps", "3", "must look like '3.inputs.steps', got '3'"),
        ("txt2img.steps", 3, "must look like '3.inputs.steps', got 3"),
        ("txt2img.steps", "33.steps", r'map."txt2img.steps": .* has no node \'33\''),
        ("txt2img.steps", "KSamplr.steps", "no node 'KSamplr'; did you mean 'KSampler'"),
        ("txt2img.steps", "@Promt.text", "did you mean 'Prompt'"),
        ("txt2img.steps", "3.stps", r"node 3 \(KSampler\) has no input 'stps'; did you mean"),
        ("txt2img.prompt", "CLIPTextEncode.text", "is several nodes .*node 6.*node 7.*name an id"),
        ("txt2img.model", "3.model", r"comes from node 4 .*map an input of that node instead"),
    ],
)
def test_a_wrong_map_is_told_with_its_entry(
    make: Make, entry: str, address: Any, message: str
) -> None:
    """When the engine is made: before the plan, not in the middle of it."""
    with pytest.raises(BackendError, match=message):
        make({entry: address})


def test_a_text_does_not_replace_a_number(make: Make) -> None:
    """A map that points to the wrong input would otherwise fail on the server, or not at all."""
    with pytest.raises(BackendError, match=r'map."txt2img.prompt": .*cannot replace'):
        draw(make({**MAP, "txt2img.prompt": "3.steps"}))


def _with_note(value: Any) -> dict[str, Any]:
    return changed(n6={**GRAPH["6"], "inputs": {**GRAPH["6"]["inputs"], "note": value}})


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ([1, 2], "must hold nodes"),
        ({}, "must hold nodes"),
        ({"3": {"inputs": {}}}, "must hold nodes"),
        (changed(n9=None), "has no node that saves a picture; add a SaveImage node"),
        (_with_note(math.nan), "JSON cannot carry"),
        (_with_note("half a \ud83d"), "JSON cannot carry"),
        (_with_note(json.loads("[" * 300 + "]" * 300)), "nests deeper than"),
        (changed(n19=GRAPH["9"]), r"gives pictures at node 9 .*node 19 .*name one in output"),
    ],
)
def test_a_file_that_is_no_such_workflow_is_refused(make: Make, graph: Any, message: str) -> None:
    """With the next step."""
    with pytest.raises(BackendError, match=message):
        make(MAP, graph)


def _picture(kind: str, **texts: Any) -> bytes:
    """Return a picture with *texts* where ComfyUI and the nodes for that kind put them."""
    exif = Image.Exif()
    for tag, (key, value) in zip((0x0110, 0x010F), texts.items(), strict=False):
        exif[tag] = f"{key}:{value if isinstance(value, str) else json.dumps(value)}"
    chunks = PngInfo()
    for key, value in texts.items():
        chunks.add_text(key, value if isinstance(value, str) else json.dumps(value))
    options: dict[str, Any] = {"pnginfo": chunks} if kind == "PNG" else {"exif": exif}
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_picture_is_the_workflow_that_drew_it(
    server: FakeComfyUI, make: Make, tmp_path: Path, kind: str
) -> None:
    """It is what people have; and it is the same workflow as its file, whatever it notes beside."""
    ran = {node: {**about, "is_changed": [math.nan]} for node, about in GRAPH.items()}
    path = tmp_path / "of a friend.xyz"
    path.write_bytes(_picture(kind, prompt=ran, workflow={"nodes": [], "links": []}))
    backend = ComfyuiBackend(url=server.url, workflow=str(path), map=MAP)
    draw(backend)
    assert server.posted[0]["prompt"]["4"] == GRAPH["4"]
    of_json, of_picture = (b.setup({}).facts["workflow"] for b in (make(MAP), backend))
    assert of_json == of_picture
    backend.close()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (_picture("PNG"), "picture without a ComfyUI graph.*as ComfyUI saved it"),
        (_picture("PNG", prompt="a lighthouse"), "picture without a ComfyUI graph"),
        (b"\x89PNG\r\n\x1a\n", "is a damaged picture"),
        (b"PK\x03\x04\xff\xfe", "is neither JSON nor a picture"),
        (b"{]", "is not JSON"),
        (b"[" * 200_000, "nests too deep"),
        (b" " * (MAX_JSON + 1), "is larger than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_without_a_workflow_says_what_it_is(
    tmp_path: Path, file: bytes, message: str
) -> None:
    """With the next step; and no file is read without end."""
    path = tmp_path / "wf"
    path.write_bytes(file)
    with pytest.raises(BackendError, match=message):
        ComfyuiBackend(workflow=str(path), map=MAP)


def test_a_workflow_without_a_map_is_refused(make: Make) -> None:
    """Nothing of the config could reach it."""
    with pytest.raises(BackendError, match="needs a map"):
        make({})


def test_an_output_can_be_named(server: FakeComfyUI, make: Make) -> None:
    """By title, where a workflow saves more than one picture."""
    preview = {
        "class_type": "PreviewImage",
        "inputs": {"images": ["8", 0]},
        "_meta": {"title": "Look"},
    }
    backend = make(MAP, changed(n19=preview), output="Look")
    assert len(draw(backend).images) == 1


def _saving(kind: str, **inputs: Any) -> dict[str, Any]:
    """Return the graph with another node that saves the picture."""
    return changed(n9={"class_type": kind, "inputs": {"images": ["8", 0], **inputs}})


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("SaveImageAdvanced", {"format": "png", "format.bit_depth": "16-bit"}),
        ("SaveImageWithMetaData", {"extension": ".PNG"}),
        ("PreviewImage", {}),
        ("Image Save", {"file_type": "png"}),
    ],
)
def test_any_node_that_saves_pictures_is_the_output(
    server: FakeComfyUI, make: Make, kind: str, inputs: dict[str, Any]
) -> None:
    """By its name, else by what the server says of it."""
    specs = {"images": ["IMAGE"]}
    server.object_info[kind] = {"input": {"required": specs}, "output_node": True}
    assert len(draw(make(MAP, _saving(kind, **inputs))).images) == 1


def test_saved_pictures_go_before_shown_ones(server: FakeComfyUI, make: Make) -> None:
    """A preview on the way is in many workflows."""
    shown = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    draw(make(MAP, changed(n19=shown)))
    assert [path for _, path in server.asked if path == "/view"] == ["/view"]
    websocket = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["8", 0]}}
    assert make(MAP, changed(n19=websocket))


@pytest.mark.parametrize(
    ("kind", "inputs", "named"),
    [
        ("SaveImageAdvanced", {"format": "exr", "format.bit_depth": "32-bit float"}, "EXR"),
        ("SaveImageExtended", {"output_ext": ".webp"}, "WEBP"),
        ("SaveImageWithMetaData", {"extension": "jpg"}, "JPG"),
        ("SaveAnimatedWEBP", {"lossless": True}, "WEBP"),
    ],
)
def test_another_format_is_refused_before_anything_is_drawn(
    server: FakeComfyUI, make: Make, kind: str, inputs: dict[str, Any], named: str
) -> None:
    """Not after a night of drawing, one by one."""
    server.object_info[kind] = {"input": {"required": {"images": ["IMAGE"]}}, "output_node": True}
    graph = _saving(kind, **inputs)
    with pytest.raises(BackendError, match=f"writes {named} files.*set it to PNG.*SaveImage node"):
        make(MAP, graph)
    beside = {**graph, "19": GRAPH["9"]}
    assert len(draw(make(MAP, beside, output="19")).images) == 1


def test_a_format_can_be_set_where_it_is_mapped(server: FakeComfyUI, make: Make) -> None:
    """Names of inputs may have dots in them, and so may those of nodes."""
    server.object_info["SaveImageAdvanced"] = {
        "input": {"required": {"images": ["IMAGE"]}}, "output_node": True,
    }  # fmt: skip
    graph = _saving("SaveImageAdvanced", format="exr", **{"format.bit_depth": "8-bit"})
    mapping = {
        **MAP,
        "txt2img.extra.format": "9.format",
        "txt2img.extra.bits": "9.format.bit_depth",
    }
    backend = make(mapping, graph)
    draw(backend, extra={"format": "png", "bits": "16-bit"})
    assert server.posted[0]["prompt"]["9"]["inputs"]["format.bit_depth"] == "16-bit"
    with pytest.raises(BackendError, match="writes EXR files"):
        draw(backend)
    assert len(server.posted) == 1


def test_choices_are_those_of_the_mapped_inputs(make: Make) -> None:
    """A name that the workflow's own nodes do not know is refused before the run."""
    choices = make({**MAP, "txt2img.model": "4.ckpt_name"}).choices()
    assert choices["model"] == ("tiny.safetensors",)
    assert "DPM++ 2M" in choices["sampler"]
    assert "vae" not in choices


# -- as the editor saves it -----------------------------------------------------------------------

EDITED, EDITED_NODES = EDITOR_CASES["subgraph"]
EDITED_MAP = {
    "txt2img.prompt": "5:6.inputs.text",
    "txt2img.seed": "KSampler.seed",
    "txt2img.steps": "5:3.steps",
}


def test_a_workflow_as_the_editor_saves_it_draws(server: FakeComfyUI, make: Make) -> None:
    """Inside of subgraphs, too; that it was converted is said once."""
    backend = make(EDITED_MAP, EDITED)
    assert not server.asked, "making an engine asks nobody"
    drawn = draw(backend, steps=3)
    wanted = copy.deepcopy(EDITED_NODES)
    wanted["5:6"]["inputs"]["text"] = "a tower"
    wanted["5:3"]["inputs"].update(seed=5, steps=3)
    posted = {
        name: {key: node[key] for key in ("class_type", "inputs")}
        for name, node in server.posted[0]["prompt"].items()
    }
    assert posted == wanted
    assert drawn.images[0].effective["steps"] == 3
    (said,) = drawn.warnings
    assert "graph.json was converted from the editor's format" in said
    assert not draw(backend).warnings


def test_what_was_drawn_before_is_known_by_what_the_editor_would_post(make: Make) -> None:
    """Nodes that were only moved are no other workflow; a value that nobody maps is."""

    def revision(workflow: Any) -> Any:
        return make(EDITED_MAP, workflow).setup({}).facts["workflow"]

    moved, changed_value = copy.deepcopy(EDITED), copy.deepcopy(EDITED)
    moved["nodes"][0]["pos"] = [500, 500]
    changed_value["definitions"]["subgraphs"][0]["nodes"][2]["widgets_values"] = ["sharp"]
    assert revision(moved) == revision(EDITED) == revision({**EDITED, "extra": {"ds": 2}})
    assert revision(changed_value) != revision(EDITED)


def test_a_workflow_that_the_server_cannot_run_is_told_before_anything_is_drawn(
    server: FakeComfyUI, make: Make
) -> None:
    """When the run asks who draws, as a wrong map of the same file is."""
    wrong = make({"txt2img.prompt": "5:6.txt", "txt2img.seed": "5:3.seed"}, EDITED)
    with pytest.raises(BackendError, match=r"node 5:6 \(CLIPTextEncode\) has no input 'txt'"):
        wrong.describe()
    del server.object_info["VAEDecode"], server.object_info["KSampler"]
    with pytest.raises(BackendError, match=r"graph.json needs 2 node classes .*KSampler, VAE"):
        make(EDITED_MAP, EDITED).describe()
    assert not server.posted


def test_a_pool_whose_first_server_is_gone_knows_what_it_has_no_place_for(
    make: Make, tmp_path: Path
) -> None:
    """Whoever answers can say it of a workflow that a server must read first."""
    alive = make(EDITED_MAP, EDITED)
    with FakeComfyUI() as other:
        gone = ComfyuiBackend(url=other.url, workflow=str(tmp_path / "graph.json"), map=EDITED_MAP)
    faults = LocalPool([gone, alive]).knob_faults("txt2img", {"prompt": "a tower", "cfg_scale": 3})
    gone.close()
    assert [*faults] == ["cfg_scale"]


def test_a_workflow_that_was_edited_meanwhile_is_converted_again(
    server: FakeComfyUI, make: Make, tmp_path: Path
) -> None:
    """The next run takes the file as it is then."""
    backend = make(EDITED_MAP, EDITED)
    draw(backend)
    edited = copy.deepcopy(EDITED)
    edited["definitions"]["subgraphs"][0]["nodes"][2]["widgets_values"] = ["sharp"]
    (tmp_path / "graph.json").write_text(json.dumps(edited))
    backend.describe()
    draw(backend)
    assert server.posted[-1]["prompt"]["5:7"]["inputs"]["text"] == "sharp"
