"""What readers of other projects make of their own test files, beside what ours makes of them.

The cases are facts about two projects' tests and lie beside this repository; without them there is
nothing to compare. Where we say otherwise on purpose, :data:`_DELIBERATE` says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safelight.formats.file_texts import FileTexts
from safelight.imports.picture_reader import read_texts
from safelight.imports.reading import Reading
from safelight.imports.xmp_texts import xmp_texts
from safelight.lora_tags import split_loras
from safelight.sampler_names import canonical_name

_CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"
_FILES = ("peer_sd_metadata_units.json", "peer_image_metahub_units.json")
_PLACES = {"UserComment": "exif:UserComment", "CreatorTool": "exif:Software"}
_TOOLS = {"sd-webui": "a1111", "easydiffusion": "easy-diffusion"}

_TOY = "a graph whose nodes are not linked: what has no way to the sampler took no part"
_DELIBERATE = {
    "parseComfyUI: should find KSampler node #14": _TOY,
    "parseComfyUI: should resolve prompts through ShowText|pysssss intermediates and ignore"
    " node-ref ckpt_name #19": _TOY,
    "parseTensorArt: should extract dimensions from nodes #66": _TOY,
    "parseImageMetadata: recovers ZiT style prompts and rgthree Power LoRAs from malformed MetaHub"
    " fields #4": _TOY,
    "parseImageMetadata: recovers prompt and seed from embedded prompt_api when old MetaHub chunks"
    " are empty #5": "what a styler made of a prompt is not in the file; the size is the picture's",
    "detectSoftware: should detect ComfyUI from UserComment with prompt and workflow JSON #22":
        "nothing in it draws: a graph without a sampler says no tool of pictures",
    "parseA1111Metadata: should return a default object if the parameters string is empty or"
    " whitespace #19": "blanks alone say nothing, not even a prompt",
    "parseA1111Metadata: should handle extra whitespace and newlines #21":
        "blanks at the ends of a prompt reach the text encoder, so they are kept",
}  # fmt: skip
"""Case -> why we say otherwise."""


def _cases() -> Iterator[Any]:
    for name in _FILES:
        path = _CASES / name
        for number, case in enumerate(
            json.loads(path.read_text())["cases"] if path.is_file() else ()
        ):
            title = case["test"].rpartition("> ")[2]
            yield pytest.param(case, id=f"{case['function']}: {title} #{number}")


_ALL = list(_cases()) or [
    pytest.param(None, marks=pytest.mark.skip(reason="the cases are not beside it"))
]


def _reading(texts: dict[str, Any]) -> Reading:
    plain = {
        _PLACES.get(key, key): value if isinstance(value, str) else json.dumps(value)
        for key, value in texts.items()
    }
    return read_texts(FileTexts(texts=plain, width=8, height=8), "0" * 64)


def _wanted(result: dict[str, Any]) -> dict[str, Any]:
    """Return the peer's answer in our words; what it fills in for nothing is left out."""
    sampling = {**result.get("sampling", {}), **result}
    model = result.get("model")
    hires = result.get("hires", {})
    named = model.get("name") if isinstance(model, dict) else model
    said = {
        "prompt": result.get("prompt"), "negative_prompt": result.get("negativePrompt"),
        "seed": sampling.get("seed"), "steps": sampling.get("steps"), "model": named,
        "cfg_scale": sampling.get("cfg", sampling.get("cfg_scale")),
        "sampler": sampling.get("sampler", sampling.get("sampler_name")),
        "scheduler": sampling.get("scheduler"), "clip_skip": sampling.get("clipSkip"),
        "width": result.get("width"), "height": result.get("height"),
        "hires_scale": hires.get("scale"), "hires_upscaler": hires.get("upscaler"),
        "hires_steps": hires.get("steps"), "hires_denoising_strength": hires.get("denoise"),
    }  # fmt: skip
    return {name: value for name, value in said.items() if value not in (None, "", 0)}


def _differences(case: dict[str, Any]) -> list[str]:
    result, args = case["result"], case["args"]
    if case["function"] == "detectSoftware":
        made = _reading(args[0]).generator or None
        return [] if made == _TOOLS.get(result, result) else [f"{made}, there {result}"]
    if case["function"] == "extractXmpEntries":
        packet = xmp_texts(args[0])
        there = {_PLACES.get(k, "xmp:description"): v for k, v in result.items()}
        return [] if packet == there else [f"{packet}, there {there}"]
    if case["function"] == "resolvePromptFromGraph":
        texts: dict[str, Any] = {"prompt": args[1], "workflow": args[0]}
    else:
        texts = {"parameters": args[0]} if isinstance(args[0], str) else args[0]
    reading = _reading(texts)
    value = result.get("value", result) if result.get("ok", True) else None
    (knobs,) = reading.config.values() or ({},)
    if value is None:
        return [f"read as {knobs}"] if knobs else []
    told = []
    for name, theirs in _wanted(value).items():
        ours = knobs.get(name)
        if name in ("sampler", "scheduler"):
            theirs = canonical_name(name, theirs) or theirs
        if ours != theirs:
            told.append(f"{name}: {ours!r}, there {theirs!r}")
    return told


_COMPARED = ("parse", "detectSoftware", "extractXmpEntries", "resolvePromptFromGraph")
_OTHER = ("parsePNGMetadata", "parseComfyUIMetadataEnhanced")


@pytest.mark.parametrize("case", _ALL)
def test_a_peers_own_case_reads_as_there_or_better(
    case: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    if not case["function"].startswith(_COMPARED) or case["function"] in _OTHER:
        pytest.skip("not about what a picture says")
    name = request.node.callspec.id
    told = _differences(case)
    assert bool(told) == (name in _DELIBERATE), f"{name}: {told}"


def _others(name: str) -> list[Any]:
    path = _CASES / name
    cases = json.loads(path.read_text())["cases"] if path.is_file() else []
    skipped = pytest.mark.skip(reason="the cases are not beside it")
    return cases or [pytest.param(None, marks=skipped)]


@pytest.mark.parametrize("case", _others("fooocus_lora_tags.json"))
def test_tags_of_loras_as_fooocus_reads_them(case: dict[str, Any]) -> None:
    """It stops after a number of LoRAs that its owner sets, which no picture tells."""
    ours = [[f"{lora.name}.safetensors", lora.unet] for lora in split_loras(case["prompt"])[1]]
    assert ours[: case["limit"]] == case["loras"]


@pytest.mark.parametrize("case", _others("renderdb_comfy_lora_shapes.json"))
def test_loras_of_graphs_as_renderdb_counts_them(case: dict[str, Any]) -> None:
    reading = _reading({"prompt": case["workflow"]})
    assert len(reading.loras) == case["expect_lora_count"]


@pytest.mark.parametrize("case", _others("invokeai_metadata.json"))
def test_texts_of_invokeai_are_kept_and_bad_ones_say_nothing(case: dict[str, Any]) -> None:
    texts = {key: str(value) for key, value in case["input"].items()}
    reading = _reading(texts)
    assert (reading.raw, reading.config) == (texts, {})
