"""Where knobs stand in graphs: found by the one reader of graphs, by what changes its reading."""

from __future__ import annotations

from typing import Any

import pytest

from safelight.imports.comfyui_places import placed_reading

Nodes = dict[str, dict[str, Any]]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def plain(**changed: dict[str, Any]) -> Nodes:
    """Return the graph that everybody begins with; *changed* nodes are put in."""
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd.safetensors"),
        "6": node("CLIPTextEncode", text="a barn", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="", clip=["4", 1]),
        "5": node("EmptyLatentImage", width=512, height=512, batch_size=1),
        "3": node(
            "KSampler", seed=20, steps=20, cfg=8.0, sampler_name="euler", scheduler="normal",
            denoise=1.0, model=["4", 0], positive=["6", 0], negative=["7", 0],
            latent_image=["5", 0],
        ),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="x"),
    } | {name.lstrip("n"): known for name, known in changed.items()}  # fmt: skip


def places(graph: Nodes) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return what the first pass says, and where."""
    reading = placed_reading(graph, "9")
    return {knob.name: knob.places for knob in reading.knobs if knob.of <= 1 and knob.places}


def test_every_knob_of_a_plain_graph_is_found() -> None:
    """Equal values are told apart, and so is an empty text."""
    assert places(plain()) == {
        "prompt": (("6", "text"),),
        "negative_prompt": (("7", "text"),),
        "model": (("4", "ckpt_name"),),
        "sampler": (("3", "sampler_name"),),
        "scheduler": (("3", "scheduler"),),
        "steps": (("3", "steps"),),
        "cfg_scale": (("3", "cfg"),),
        "seed": (("3", "seed"),),
        "width": (("5", "width"),),
        "height": (("5", "height"),),
        "batch_size": (("5", "batch_size"),),
    }


def test_knobs_that_stand_apart_from_the_sampler_are_followed() -> None:
    """As in the templates of Flux and all that came after it."""
    graph = plain(
        n1=node("RandomNoise", noise_seed=7),
        n2=node("KSamplerSelect", sampler_name="euler"),
        n10=node("BasicScheduler", scheduler="simple", steps=["20", 0], denoise=1.0,
                 model=["15", 0]),
        n11=node("BasicGuider", model=["15", 0], conditioning=["12", 0]),
        n12=node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
        n13=node("UNETLoader", unet_name="flux.safetensors", weight_dtype="default"),
        n14=node("LoraLoader", lora_name="ink.safetensors", strength_model=0.6, strength_clip=0.6,
                 model=["13", 0], clip=["16", 0]),
        n15=node("ModelSamplingSD3", shift=3.0, model=["14", 0]),
        n16=node("DualCLIPLoader", clip_name1="t5", clip_name2="l", type="flux"),
        n20=node("PrimitiveInt", value=12),
        n6=node("CLIPTextEncode", text="a barn", clip=["14", 1]),
        n3=node("SamplerCustomAdvanced", noise=["1", 0], guider=["11", 0], sampler=["2", 0],
                sigmas=["10", 0], latent_image=["5", 0]),
    )  # fmt: skip
    found = places(graph)
    del graph["7"]
    assert found == places(graph)
    assert {name: found[name] for name in ("seed", "steps", "guidance", "shift", "model")} == {
        "seed": (("1", "noise_seed"),),
        "steps": (("20", "value"),),
        "guidance": (("12", "guidance"),),
        "shift": (("15", "shift"),),
        "model": (("13", "unet_name"),),
    }
    assert found["text_encoders"] == (("16", "clip_name1"), ("16", "clip_name2"))
    assert found["ink.safetensors"] == (("14", "strength_model"), ("14", "strength_clip"))


def test_one_text_in_two_places_is_one_knob() -> None:
    """SDXL has two encoders, and both are given the prompt."""
    both = node("CLIPTextEncodeSDXL", text_g="a barn", text_l="a barn", clip=["4", 1])
    assert places(plain(n6=both))["prompt"] == (("6", "text_g"), ("6", "text_l"))


def test_a_text_of_several_parts_is_no_knob() -> None:
    """Both at once would be other words than the one."""
    graph = plain(
        n6=node("ConditioningConcat", conditioning_to=["61", 0], conditioning_from=["62", 0]),
        n61=node("CLIPTextEncode", text="a barn", clip=["4", 1]),
        n62=node("CLIPTextEncode", text="a door", clip=["4", 1]),
    )
    assert "prompt" not in places(graph)
    (prompt,) = [k for k in placed_reading(graph, "9").knobs if k.name == "prompt"]
    assert prompt.parts == (("61", "text"), ("62", "text"))


def test_layers_are_counted_from_the_end() -> None:
    """And are a knob of ours without a sign."""
    skipped = node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1])
    texts = {
        name: node("CLIPTextEncode", text=text, clip=["10", 0])
        for name, text in (("n6", "a barn"), ("n7", ""))
    }
    assert places(plain(n10=skipped, **texts))["clip_skip"] == (("10", "stop_at_clip_layer"),)


def test_what_a_second_sampler_says_is_told_apart() -> None:
    """Its steps and strength are the hires fix; its own seed is a thing of its own."""
    second = dict(plain()["3"]["inputs"], steps=10, denoise=0.5, latent_image=["30", 0])
    graph = plain(
        n30=node("LatentUpscaleBy", upscale_method="bicubic", scale_by=1.5, samples=["3", 0]),
        n31=node("KSampler", **second),
        n8=node("VAEDecode", samples=["31", 0], vae=["4", 2]),
    )
    found = places(graph)
    assert found["seed"] == (("3", "seed"),)
    assert found["hires_steps"] == (("31", "steps"),)
    assert found["hires_scale"] == (("30", "scale_by"),)
    assert found["hires_denoising_strength"] == (("31", "denoise"),)
    later = {k.name: k.places for k in placed_reading(graph, "9").knobs if k.of == 2}
    assert later == {
        name: (("31", place),)
        for name, place in (
            ("sampler", "sampler_name"), ("scheduler", "scheduler"), ("cfg_scale", "cfg"),
            ("seed", "seed"),
        )
    }  # fmt: skip


def test_only_what_the_picture_comes_from_is_read() -> None:
    """Another branch of the graph is another picture."""
    other = {f"{name}0": node for name, node in plain().items()}
    for known in other.values():
        for name, value in known["inputs"].items():
            if isinstance(value, list):
                known["inputs"][name] = [f"{value[0]}0", value[1]]
    assert places({**other, **plain()}) == places(plain())


@pytest.mark.parametrize(
    "graph", [{"9": node("SaveImage", images=["8", 0])}, plain(n3=node("Odd"))]
)
def test_a_graph_without_a_sampler_has_no_knobs(graph: Nodes) -> None:
    """It is still a graph."""
    assert placed_reading(graph, "9").warnings
    assert not places(graph)


def test_a_graph_that_is_too_large_is_not_read_for_ever() -> None:
    """And it is told that knobs may be missing."""
    reading = placed_reading(plain(), "9", most=3)
    assert len([knob for knob in reading.knobs if knob.places]) == 3
    assert "inputs of the workflow could be knobs and 3 were tried" in reading.warnings[-1]
