"""What is read from ComfyUI's graphs is true, or says that it is not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from imports.test_comfyui_graph import _graph as plain_graph
from imports.test_comfyui_graph import _node, _read
from safelight.imports.imported_picture import READER, import_picture
from safelight.imports.picture_reader import read_picture
from safelight.imports.reading import Draft, Reading

_DATA = Path(__file__).parents[1] / "data" / "comfyui_graphs"
_PLAIN = {
    "steps": 20, "scheduler": "Normal", "sampler": "Euler", "seed": 42, "cfg_scale": 7,
    "model": "base.safetensors", "prompt": "a red barn", "negative_prompt": "blurry",
    "clip_skip": 1, "width": 512, "height": 768,
}  # fmt: skip
_GONE = object()
_FLUX = {
    "steps": 28, "scheduler": "Flux2", "seed": 1234567, "cfg_scale": 1, "guidance": 3.5,
    "model": "flux.safetensors", "weight_dtype": "default", "negative_prompt": "",
    "text_encoders": "t5, l", "vae": "ae.safetensors", "width": 1024,
}  # fmt: skip
_ASKED = "You improve prompts. Answer with the prompt only: a red barn"
_PASS = {
    "pass_2_scheduler": "karras", "pass_2_steps": "12", "pass_2_cfg_scale": "5",
    "pass_2_seed": "99", "pass_2_denoising_strength": "0.5", "pass_2_prompt": "smiling face",
}  # fmt: skip
_WAN = {
    "pass_2_seed": "0", "pass_2_start_at_step": "2", "pass_2_end_at_step": "10000",
    "pass_2_model": "wan2.2_low.safetensors", "pass_2_add_noise": "disable",
    "start_at_step": "0", "end_at_step": "2",
}  # fmt: skip
_TOLD_OTHERWISE = ("prompt", "negative_prompt", "steps", "cfg_scale", "seed", "model")


def _conflicts(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "conflicting")


# File, knobs other than the plain graph's, statuses other than read (clip skip: defaulted), extras.
_CASES: list[tuple[str, dict[str, Any], dict[str, str], dict[str, str]]] = [
    ("text_of_saver_node_against_graph.png", {},
     _conflicts(*_TOLD_OTHERWISE, "scheduler", "height"), {"Version": "ComfyUI"}),
    ("exif_graph_and_usercomment.webp", {},
     _conflicts("prompt", "steps", "cfg_scale", "seed", "model"), {}),
    ("ipadapter_named_as_model.png", {}, {"controls": "unresolved"},
     {"control_1": "IPAdapter", "control_1_model_name": "ip-adapter_sd15.bin",
      "control_1_weight": "0.5", "control_1_image": "face.png"}),
    ("prompt_written_by_language_model.png", {"prompt": _GONE}, {"prompt": "unresolved"},
     {"prompt_given": _ASKED}),
    ("clip_skip_defaulted_although_set.png", {"clip_skip": 2}, {}, {}),
    ("denoise_lost_in_txt2img.png", {}, {"denoising_strength": "unresolved"}, {"denoise": "0.6"}),
    ("upscaler_behind_sampler_lost.png", {}, {"scale": "unresolved"}, {}),
    ("size_as_text.png", {"width": 1216, "height": 832}, {}, {}),
    ("graph_in_xmp.webp", {}, {}, {}),
    ("negative_is_positive_through_basic_pipe.png", {}, {}, {}),
    ("original_and_refined.png", {}, _conflicts("passes", "loras"), _PASS),
    ("merge_told_as_first_model.png", {"model": _GONE}, {"model": "unresolved"},
     {"model_merge": "base.safetensors + second.safetensors (ModelMergeSimple ratio 0.1)"}),
    ("ultimate_upscale_lost.png",
     {"hires_scale": 2, "hires_steps": 10, "hires_denoising_strength": 0.25,
      "hires_upscaler": "4x_a.pth"},
     {"passes": "unresolved"}, {"pass_2_cfg_scale": "6", "pass_2_seed": "7"}),
    ("editor_subgraph_promoted_widgets.png", {"seed": 77, "height": 512}, {}, {}),
    ("batch_of_four.png", {"seed": _GONE, "batch_size": 4}, {"seed": "unresolved"},
     {"batch_seed": "42"}),
    ("two_saves.png", {}, _conflicts("steps", "seed"), {}),
    ("two_saves_that_differ_in_prompt_only.png", {}, _conflicts("prompt"), {}),
    ("two_saves_that_differ_in_lora_only.png", {}, _conflicts("width", "height", "loras"), {}),
    ("flux2.png", _FLUX, {"cfg_scale": "defaulted", "negative_prompt": "defaulted"}, {}),
    ("switch_true.png", {}, {}, {}),
    ("wildcard_populated.png", {"prompt": "a blue barn"}, {}, {}),
    ("gguf_cfgguider.png",
     {**_FLUX, "steps": 22, "scheduler": "Beta", "cfg_scale": 2.5, "width": 1280, "height": 1920,
      "model": "flux1-dev-Q8_0.gguf", "weight_dtype": _GONE}, {}, {}),
    ("rgthree_lora_stack.png", {}, {}, {}),
    ("clownshark.png",
     {"steps": 30, "scheduler": "Beta 57", "sampler": "res_2s", "cfg_scale": 5.5},
     {}, {}),
    ("animated.webp", {}, {}, {}),
    ("wan22.webp",
     {"steps": 4, "scheduler": "Simple", "seed": 5, "cfg_scale": 1, "vae": "wan.safetensors",
      "model": "wan2.2_high.safetensors", "text_encoders": "umt5", "width": 832, "height": 480},
     {"passes": "unresolved"}, _WAN),
    ("qwen_edit.png",
     {"prompt": "make the barn blue", "negative_prompt": "", "denoising_strength": 1,
      "width": 64, "height": 64}, {"controls": "unresolved"},
     {"init_image": "in.png", "control_1": "TextEncodeQwenImageEditPlus",
      "control_2": "TextEncodeQwenImageEditPlus"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "knobs", "statuses", "extra"), _CASES, ids=[case[0] for case in _CASES]
)
def test_every_kind_of_graph_reads_as_it_ran(
    file: str, knobs: dict[str, Any], statuses: dict[str, str], extra: dict[str, str]
) -> None:
    reading = read_picture(_DATA / file)
    expected = {k: v for k, v in {**_PLAIN, **knobs}.items() if v is not _GONE}
    name = expected.pop("sampler")
    drawn = dict(next(iter(reading.config.values())))
    assert drawn.pop("sampler") in (name, reading.native.get("sampler"))
    assert drawn == expected
    odd = {
        path.rpartition(".")[2]: state for path, state in reading.fields.items() if state != "read"
    }
    assert odd == ({"clip_skip": "defaulted"} if expected["clip_skip"] == 1 else {}) | statuses
    assert reading.extra == extra
    doubtful = {"unresolved", "conflicting"} & set(statuses.values())
    assert reading.outcome == ("partly" if doubtful else "full")
    assert reading.generator == "comfyui"


def test_every_file_is_named_with_its_licence() -> None:
    listed = {entry["file"] for entry in json.loads((_DATA / "index.json").read_text())}
    assert listed == {path.name for path in _DATA.iterdir() if path.name != "index.json"}


def test_the_text_of_a_web_ui_counts_against_a_graph_beside_it() -> None:
    """An img2img picture can carry the graph of its source."""
    reading = read_picture(_DATA / "a1111_with_stale_graph.png")
    assert (reading.generator, reading.config["img2img"]["seed"]) == ("a1111", 77)
    assert set(reading.fields.values()) <= {"read", "defaulted"}
    assert reading.warnings == (
        "a ComfyUI graph is there too and says another prompt, negative_prompt, seed, sampler,"
        " height",
    )


def test_a_record_keeps_both_sides_of_a_conflict(tmp_path: Path) -> None:
    picture = import_picture(str(_DATA / "text_of_saver_node_against_graph.png"))
    kept = json.loads(picture.document)["metadata"]["import"]
    assert kept["conflicts"]["txt2img.seed"] == [42, 0]
    assert kept["conflicts"]["txt2img.prompt"] == ["a red barn", "unknown"]
    assert kept["reader"] == READER
    assert "seed conflicting" in picture.missing


def test_what_only_a_savers_text_knows_is_taken_from_it(tmp_path: Path) -> None:
    """The graph has the question, the saver was given the answer."""
    graph = plain_graph(
        llm=_node("TextGenerate", prompt="describe a barn"), pos={"text": ["llm", 0]}
    )
    reading = _saved(tmp_path, graph, "a barn at dawn\nSteps: 20, Seed: 5, Version: ComfyUI")
    assert reading.config["txt2img"]["prompt"] == "a barn at dawn"
    assert reading.extra["prompt_given"] == "describe a barn"
    assert reading.fields["txt2img.prompt"] == "read"


def test_a_savers_text_that_agrees_is_no_conflict(tmp_path: Path) -> None:
    text = (
        "a cat\nNegative prompt: dog\nSteps: 20, Sampler: euler_ancestral_karras, CFG scale: 7.0,"
        " Seed: 5, Size: 1024x1536, Model hash: 0123456789, Model: m, Version: ComfyUI"
    )
    reading = _saved(tmp_path, plain_graph(), text, size=(1024, 1536))
    assert "conflicting" not in reading.fields.values()
    assert reading.hashes == (("autov2", "0123456789"),)


def _saved(
    folder: Path, graph: dict[str, Any], text: str, size: tuple[int, int] = (64, 64)
) -> Reading:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    info.add_text("prompt", json.dumps(graph))
    Image.new("RGB", size).save(folder / "a.png", pnginfo=info)
    return read_picture(folder / "a.png")


def _prompts(draft: Draft) -> tuple[str | None, str | None, str]:
    knobs = draft.knobs
    return knobs.get("prompt"), knobs.get("negative_prompt"), draft.statuses["negative_prompt"]


def _piped(**changes: Any) -> dict[str, Any]:
    pack = _node("ToBasicPipe", model=["ckpt", 0], clip=["ckpt", 1], vae=["ckpt", 2],
                 positive=["pos", 0], negative=["neg", 0])  # fmt: skip
    graph = plain_graph(pack=pack)
    for node, change in changes.items():
        graph[node] = change
    return graph


def _sampled(kind: str, **inputs: Any) -> dict[str, Any]:
    return _node(kind, seed=5, steps=20, cfg=7.0, sampler_name="euler", scheduler="karras",
                 denoise=1.0, latent_image=["latent", 0], **inputs)  # fmt: skip


@pytest.mark.parametrize("nodes", [
    {"ks": _sampled("ImpactKSamplerBasicPipe", basic_pipe=["pack", 0])},
    {"ks": _sampled("KSampler", model=["out", 0], positive=["out", 3], negative=["out", 4]),
     "out": _node("FromBasicPipe", basic_pipe=["pack", 0])},
    {"ks": _sampled("KSampler", model=["out", 1], positive=["out", 4], negative=["out", 5]),
     "out": _node("FromBasicPipe_v2", basic_pipe=["edit", 0]),
     "edit": _node("EditBasicPipe", basic_pipe=["pack", 0], positive=["pos", 0],
                   negative=["neg", 0])},
    {"ks": _sampled("KSampler", model=["out", 0], positive=["out", 3], negative=["out", 4]),
     "out": _node("FromDetailerPipe", detailer_pipe=["detail", 0]),
     "detail": _node("BasicPipeToDetailerPipe", basic_pipe=["pack", 0], wildcard="")},
    {"ks": _sampled("KSampler", model=["more", 1], positive=["more", 4], negative=["more", 5]),
     "more": _node("Context (rgthree)", base_ctx=["ctx", 0]),
     "ctx": _node("Context Big (rgthree)", model=["ckpt", 0], clip=["ckpt", 1], seed=5, steps=9,
                  cfg=3.0, positive=["pos", 0], negative=["neg", 0])},
    {"ks": _sampled("KSampler", model=["pick", 1], positive=["pick", 4], negative=["pick", 5]),
     "pick": _node("Context Switch (rgthree)", ctx_01=["ctx", 0], ctx_02=["bare", 0]),
     "bare": _node("Context (rgthree)", positive=["neg", 0], negative=["pos", 0]),
     "ctx": _node("Context (rgthree)", model=["ckpt", 0], positive=["pos", 0],
                  negative=["neg", 0])},
    {"ks": _sampled("KSampler", model=["mix", 1], positive=["mix", 4], negative=["mix", 5]),
     "mix": _node("Context Merge (rgthree)", ctx_01=["ctx", 0], ctx_02=["bare", 0]),
     "bare": _node("Context (rgthree)", seed=["ckpt", 0]),
     "ctx": _node("Context (rgthree)", model=["ckpt", 0], positive=["pos", 0],
                  negative=["neg", 0])},
    {"ks": _sampled("KSampler", model=["out", 1], positive=["out", 2], negative=["out", 3]),
     "out": _node("easy pipeOut", pipe=["pipe", 0]),
     "pipe": _node("easy pipeIn", model=["ckpt", 0], pos=None, positive=["pos", 0],
                   negative=["neg", 0])},
], ids=["basic only", "basic", "edited", "detailer", "context", "context switch", "context merge",
        "easy"])  # fmt: skip
def test_every_slot_of_a_pipe_means_what_it_means(nodes: dict[str, Any]) -> None:
    draft = _read(_piped(**nodes))
    assert _prompts(draft) == ("a cat", "dog", "read")
    assert draft.knobs["model"] == "m.safetensors"
    assert (draft.knobs["seed"], draft.knobs["steps"]) == (5, 20)
    assert len(draft.passes) == 1


def test_roles_that_were_crossed_stay_crossed() -> None:
    """FLUX has no negative prompt: people connect the positive slot to both."""
    draft = _read(_piped(
        ks=_sampled("KSampler", model=["out", 0], positive=["out", 3], negative=["out", 3]),
        out=_node("FromBasicPipe", basic_pipe=["pack", 0]),
    ))  # fmt: skip
    assert _prompts(draft)[:2] == ("a cat", "a cat")


def test_an_easy_loader_holds_prompts_size_and_batch() -> None:
    draft = _read({
        "load": _node("easy fullLoader", ckpt_name="m.safetensors", vae_name="Baked VAE",
                      clip_skip=-2, lora_name="None", positive="a cat", negative=["no", 0],
                      empty_latent_width=512, empty_latent_height=768, batch_size=1),
        "no": _node("easy negative", negative="dog"),
        "pre": _node("easy preSampling", pipe=["load", 0], steps=20, cfg=7.0, seed=5, denoise=1.0,
                     sampler_name="euler", scheduler="karras"),
        "ks": _node("easy kSampler", pipe=["pre", 0], image_output="Save"),
        "save": _node("SaveImage", images=["ks", 1]),
    })  # fmt: skip
    assert draft.knobs == {
        "steps": 20, "scheduler": "Karras", "sampler": "Euler", "seed": 5, "cfg_scale": 7,
        "model": "m.safetensors", "prompt": "a cat", "negative_prompt": "dog", "clip_skip": 2,
        "width": 512, "height": 768,
    }  # fmt: skip
    assert draft.outcome() == "full"


def test_a_walk_that_does_not_arrive_is_no_default() -> None:
    draft = _read(_piped(
        ks=_sampled("SomebodysSampler", pipe=["sealed", 0]), sealed=_node("Sealed", x=["pack", 0])
    ))  # fmt: skip
    for knob in ("prompt", "negative_prompt", "clip_skip"):
        assert draft.statuses[knob] == "unresolved", knob
        assert knob not in draft.knobs


@pytest.mark.parametrize("maker", [
    _node("OllamaGenerate", prompt="a barn", model="llama"),
    _node("GoogleTranslateTextNode", from_translate="ru", to_translate="en", text="a barn"),
    _node("easy stylesSelector", styles="fooocus", positive="a barn"),
    _node("Text Find and Replace", text="a barn", find="barn", replace="cow"),
    _node("ImageToText", text="a barn", image=["x", 0]),
    _node("SomethingOfTomorrow", text="a barn"),
], ids=["language model", "translator", "styler", "replacer", "captioner", "unknown"])  # fmt: skip
def test_only_what_hands_on_a_text_unchanged_is_gone_through(maker: dict[str, Any]) -> None:
    draft = _read(plain_graph(
        made=maker, show=_node("ShowText|pysssss", text=["made", 0]), pos={"text": ["show", 0]}
    ))  # fmt: skip
    assert draft.statuses["prompt"] == "unresolved"
    assert "a barn" in draft.extra["prompt_given"]
    assert maker["class_type"] in draft.warnings[0]
    assert draft.outcome() == "partly"


def test_all_that_a_language_model_was_given_is_kept() -> None:
    draft = _read(plain_graph(
        asked=_node("StringConcatenate", string_a="expand this:", string_b=["own", 0]),
        own=_node("PrimitiveStringMultiline", value="a fox"),
        made=_node("TextGenerate", prompt=["asked", 0]), pos={"text": ["made", 0]},
    ))  # fmt: skip
    assert draft.extra["prompt_given"] == "expand this:\na fox"


def test_an_encoder_that_translates_is_no_exception() -> None:
    draft = _read(plain_graph(
        pos=_node("DeepTranslatorCLIPTextEncodeNode", text="кот", clip=["ckpt", 1])
    ))  # fmt: skip
    assert draft.statuses["prompt"] == "unresolved"
    assert draft.extra["prompt_given"] == "кот"


@pytest.mark.parametrize("node", [
    _node("PreviewAny", source=["words", 0]), _node("easy showAnything", anything=["words", 0]),
    _node("Display Any (rgthree)", source=["words", 0]),
    _node("Any Switch (rgthree)", any_01=["words", 0], any_02=["neg", 0]),
    _node("ImpactWildcardProcessor", wildcard_text="{x|y}", populated_text="words"),
    _node("Text Concatenate", text_a=["words", 0], text_b="", delimiter=", ",
          clean_whitespace="true"),
    _node("CR Text Input Switch", Input=2, text1="no", text2=["words", 0]),
])  # fmt: skip
def test_a_text_that_is_handed_on_is_the_prompt(node: dict[str, Any]) -> None:
    draft = _read(plain_graph(
        words=_node("PrimitiveStringMultiline", value="words"), on=node, pos={"text": ["on", 0]}
    ))  # fmt: skip
    assert draft.knobs["prompt"] == "words"


def test_texts_for_several_encoders_are_all_told() -> None:
    draft = _read(plain_graph(
        pos=_node("CLIPTextEncodeFlux", clip_l="cat", t5xxl="a cat on a roof", guidance=3.5,
                  clip=["ckpt", 1])
    ))  # fmt: skip
    assert draft.knobs["prompt"] == "cat BREAK a cat on a roof"
    assert draft.knobs["guidance"] == 3.5


@pytest.mark.parametrize("patch", [
    _node("ADE_AnimateDiffLoaderGen1", model_name="mm_v3.ckpt", model=["ckpt", 0]),
    _node("IPAdapterUnifiedLoader", preset="PLUS", model=["ckpt", 0]),
    _node("SomebodysPatch", checkpoint="patch.pt", model=["ckpt", 0]),
])  # fmt: skip
def test_only_a_loader_loads_the_model(patch: dict[str, Any]) -> None:
    draft = _read(plain_graph(patch=patch, ks={"model": ["patch", 0]}))
    assert (draft.knobs["model"], draft.statuses["model"]) == ("m.safetensors", "read")


def test_a_mixture_of_one_file_with_itself_is_a_mixture() -> None:
    """One side has a LoRA, half of which is left."""
    draft = _read(plain_graph(
        lora=_node("LoraLoaderModelOnly", lora_name="ink", strength_model=1.0, model=["ckpt", 0]),
        mix=_node("ModelMergeSimple", model1=["ckpt", 0], model2=["lora", 0], ratio=0.5),
        ks={"model": ["mix", 0]},
    ))  # fmt: skip
    assert draft.statuses["model"] == "unresolved"
    assert draft.extra["model_merge"] == "m.safetensors (ModelMergeSimple ratio 0.5)"
    assert [lora.name for lora in draft.loras] == ["ink"]


def test_a_model_that_a_loader_is_given_replaces_its_own() -> None:
    draft = _read(plain_graph(
        easy=_node("easy fullLoader", ckpt_name="own.safetensors", model_override=["ckpt", 0]),
        ks={"model": ["easy", 1]},
    ))  # fmt: skip
    assert draft.knobs["model"] == "m.safetensors"


def test_guidance_that_a_model_was_distilled_with_is_no_cfg_scale() -> None:
    draft = _read(plain_graph(ks=_node(
        "FramePackSampler", model=["ckpt", 0], positive=["pos", 0], negative=["neg", 0], seed=5,
        steps=20, cfg=1.0, guidance_scale=10.0, sampler_name="euler", latent_image=["latent", 0],
    )))  # fmt: skip
    assert (draft.knobs["cfg_scale"], draft.knobs["guidance"]) == (1, 10)
    draft = _read(plain_graph(ks=_node(
        "XlabsSampler", model=["ckpt", 0], conditioning=["pos", 0], neg_conditioning=["neg", 0],
        noise_seed=5, steps=20, guidance=4.0, latent_image=["latent", 0],
    )))  # fmt: skip
    assert (draft.knobs["cfg_scale"], draft.statuses["cfg_scale"]) == (1, "defaulted")
    assert draft.knobs["guidance"] == 4


def test_loras_and_prompts_of_every_pass_are_kept() -> None:
    reading = read_picture(_DATA / "wan22.webp")
    assert [lora.name for lora in reading.loras] == [
        "light_high.safetensors", "light_low.safetensors",
    ]  # fmt: skip
    assert reading.passes[1]["loras"] == [{"name": "light_low.safetensors", "weight": 0.9}]
    assert reading.passes[1]["prompt"] == "a red barn"
    detailed = read_picture(_DATA / "original_and_refined.png")
    assert [(lora.name, lora.weight) for lora in detailed.loras] == [("face.safetensors", 0.7)]
    assert [p["prompt"] for p in detailed.passes] == ["a red barn", "smiling face"]


def test_a_detailer_that_is_pasted_in_is_a_pass() -> None:
    detail = _node("SEGSDetailer", image=["dec", 0], segs=["found", 0], basic_pipe=["pack", 0],
                   seed=9, steps=8, cfg=5.0, sampler_name="euler", scheduler="normal",
                   denoise=0.4)  # fmt: skip
    draft = _read(_piped(
        detail=detail, found=_node("BboxDetectorSEGS", image=["dec", 0]),
        paste=_node("SEGSPaste", image=["dec", 0], segs=["detail", 0]),
        save=_node("SaveImage", images=["paste", 0]),
    ))  # fmt: skip
    assert (draft.knobs["seed"], [p["seed"] for p in draft.passes]) == (5, [5, 9])
    assert draft.statuses["passes"] == "unresolved"
    assert draft.extra["pass_2_denoising_strength"] == "0.4"


def test_a_detailer_with_a_text_of_its_own_does_not_draw_the_prompt() -> None:
    draft = _read(_piped(
        fix=_node("FaceDetailerPipe", image=["dec", 0], detailer_pipe=["detail", 0], seed=9,
                  steps=8, cfg=5.0, sampler_name="euler", scheduler="normal", denoise=0.4),
        detail=_node("BasicPipeToDetailerPipe", basic_pipe=["pack", 0], wildcard="a {big|} smile"),
        save=_node("SaveImage", images=["fix", 0]),
    ))  # fmt: skip
    assert "prompt" not in draft.passes[1]
    assert draft.extra["pass_2_wildcard"] == "a {big|} smile"
    assert draft.knobs["prompt"] == "a cat"


def _enlarged(*, scale: bool = False) -> dict[str, Any]:
    graph = plain_graph(
        net=_node("UpscaleModelLoader", model_name="4x_a.pth"),
        up=_node("ImageUpscaleWithModel", upscale_model=["net", 0], image=["dec", 0]),
        save=_node("SaveImage", images=["up", 0]),
    )
    if scale:
        graph["half"] = _node("ImageScaleBy", image=["up", 0], upscale_method="area", scale_by=0.5)
        graph["save"]["inputs"]["images"] = ["half", 0]
    return graph


def test_what_enlarges_the_finished_picture_is_a_stage() -> None:
    draft = _read(_enlarged(), size=(2048, 3072))
    assert draft.config()["upscale"] == {"upscaler": "4x_a.pth", "scale": 4}
    assert (draft.knobs["width"], draft.outcome()) == (512, "full")
    draft = _read(_enlarged(scale=True), size=(1024, 1536))
    assert draft.config()["upscale"] == {"upscaler": "4x_a.pth", "scale": 2}
    draft = _read(_enlarged(), size=(2048, 900))
    assert draft.fields()["upscale.scale"] == "unresolved"
    assert draft.outcome() == "partly"


def test_a_record_says_which_stage_made_the_picture(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(_enlarged()))
    Image.new("RGB", (2048, 3072)).save(tmp_path / "a.png", pnginfo=info)
    record = json.loads(import_picture(str(tmp_path / "a.png")).document)
    assert list(record["variant_configs"][0]) == ["txt2img", "upscale"]
    assert (record["outputs"][0]["stage"], record["outputs"][0]["seed"]) == ("upscale", 5)


def test_the_size_settles_what_it_can() -> None:
    """The picture and its enlargement are both saved."""
    graph = _enlarged()
    graph["first"] = _node("SaveImage", images=["dec", 0])
    own = _read(graph, size=(512, 768))
    assert (own.then, "conflicting" in own.fields().values()) == (None, False)
    large = _read(graph, size=(2048, 3072))
    assert large.config()["upscale"]["scale"] == 4
    assert "conflicting" not in large.fields().values()


def test_the_pictures_own_size_counts_when_nothing_changed_it() -> None:
    def read(size: tuple[int, int], **more: Any) -> Draft:
        graph = plain_graph(latent=_node("ResolutionMaster", mode="auto"), **more)
        return _read(graph, size=size)

    assert read((640, 832)).knobs["height"] == 832
    assert read((643, 832)).statuses["width"] == "unresolved", "no latent is that wide"
    cut = read((640, 832), cut=_node("ImageCrop", image=["dec", 0], width=640, height=832),
               save=_node("SaveImage", images=["cut", 0]))  # fmt: skip
    assert (cut.statuses["width"], cut.outcome()) == ("unresolved", "partly")
    wider = read((640, 832), pad=_node("ImagePadForOutpaint", image=["dec", 0], left=64),
                 save=_node("SaveImage", images=["pad", 0]))  # fmt: skip
    assert (wider.statuses["width"], wider.outcome()) == ("unresolved", "partly")


@pytest.mark.parametrize(("inputs", "size"), [
    ({"resolution": "832x1216 (0.68)", "width_override": 0, "height_override": 0}, (832, 1216)),
    ({"resolution": "832x1216 (0.68)", "width_override": 640, "height_override": 0}, (640, 1216)),
    ({"aspect_ratio": "3:4 portrait 896x1152", "swap_dimensions": "Off"}, (896, 1152)),
    ({"aspect_ratio": "3:4 portrait 896x1152", "swap_dimensions": "On"}, (None, None)),
])  # fmt: skip
def test_a_size_that_is_chosen_by_name(
    inputs: dict[str, Any], size: tuple[int | None, int | None]
) -> None:
    draft = _read(plain_graph(latent=_node("Sizes", **inputs)), size=(9, 9))
    told = (draft.knobs.get("width"), draft.knobs.get("height"))
    assert told == size


def test_frames_of_a_film_are_no_batch() -> None:
    graph = plain_graph(
        latent={"batch_size": 16}, save=_node("SaveAnimatedWEBP", images=["dec", 0])
    )
    assert _read(graph).knobs["seed"] == 5
    repeated = plain_graph(
        rep=_node("RepeatLatentBatch", samples=["latent", 0], amount=3),
        ks={"latent_image": ["rep", 0]},
    )
    assert _read(repeated).statuses["seed"] == "unresolved"
    assert _read(repeated).knobs["batch_size"] == 3
