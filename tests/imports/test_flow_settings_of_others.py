"""What each tool calls the settings of flow and distilled models, read as our knobs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safelight.formats.file_texts import FileTexts
from safelight.formats.infotext import parameters_text
from safelight.imports.imported_picture import READER
from safelight.imports.picture_reader import read_texts
from safelight.imports.reading import Reading

_KNOBS = (
    "guidance", "cfg_rescale", "shift", "sigmas", "text_encoders", "weight_dtype", "cache", "eta",
    "vae", "cfg_scale",
)  # fmt: skip
_FORGE = (
    "a cat\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Seed: 5, Model: m, "
)
_SDNEXT = "a cat\nSteps: 20, Size: 64x64, Sampler: Euler, Seed: 5, CFG scale: 4, App: SD.Next, "
_FORGE_VERSION = "Version: f2.0.1v1.10.1-previous-669-gdfdcbab6"


def _read(**texts: str) -> Reading:
    metadata = FileTexts(texts=texts, width=64, height=64)
    return read_texts(metadata, "0" * 64)


def _swarm(**params: Any) -> str:
    drawn = {"prompt": "a cat", "seed": 5, "steps": 20, "cfgscale": 1, "model": "m", **params}
    return json.dumps({"sui_image_params": drawn})


def _invoke(**metadata: Any) -> str:
    drawn = {"positive_prompt": "a cat", "seed": 5, "steps": 20, "scheduler": "euler"}
    return json.dumps({**drawn, **metadata})


@pytest.mark.parametrize(
    ("texts", "knobs", "extra"),
    [
        (
            {"parameters": _FORGE + "Distilled CFG Scale: 3.5, Module 1: ae, Module 2: clip_l,"
             " Module 3: t5xxl_fp16, Diffusion in Low Bits: bnb-nf4 (fp16 LoRA), "
             + _FORGE_VERSION},
            {"cfg_scale": 1, "guidance": 3.5, "vae": "ae", "text_encoders": "clip_l, t5xxl_fp16",
             "weight_dtype": "bnb-nf4 (fp16 LoRA)"},
            {"Version": _FORGE_VERSION.removeprefix("Version: ")},
        ),
        (
            {"parameters": _FORGE + "Shift: 9, Module 1: qwen_image_vae, Module 2: mystery,"
             " Eta: 0.5, Version: neo"},
            {"cfg_scale": 1, "shift": 9, "vae": "qwen_image_vae", "eta": 0.5},
            {"Module 2": "mystery", "Version": "neo"},
        ),
        (
            {"parameters": _SDNEXT + "CFG rescale: 0.7, Sampler shift: 3, TE: t5-fp8, Parser: x"},
            {"cfg_scale": 4, "cfg_rescale": 0.7, "shift": 3, "text_encoders": "t5-fp8"},
            {"App": "SD.Next", "Parser": "x"},
        ),
        (
            {"parameters": _FORGE + "CFG rescale: 7, Shift: none, Version: neo"},
            {"cfg_scale": 1},
            {"CFG rescale": "7", "Shift": "none", "Version": "neo"},
        ),
        (
            {"parameters": _swarm(fluxguidancescale="3.5", sigmashift=3, t5xxlmodel="t5",
                                  cliplmodel="l", aspectratio="1:1")},
            {"cfg_scale": 1, "guidance": 3.5, "shift": 3, "text_encoders": "l, t5"},
            {"aspectratio": "1:1"},
        ),
        (
            {"invokeai_metadata": _invoke(guidance=4.0, cfg_rescale_multiplier=0.2,
                                          t5_encoder={"name": "t5"},
                                          clip_embed_model={"name": "l"})},
            {"cfg_scale": 1, "guidance": 4, "cfg_rescale": 0.2, "text_encoders": "l, t5"},
            {},
        ),
    ],
    ids=["forge", "forge-neo", "sdnext", "odd values", "swarmui", "invokeai"],
)  # fmt: skip
def test_each_tools_own_words_are_read_as_knobs(
    texts: dict[str, str], knobs: dict[str, Any], extra: dict[str, str]
) -> None:
    """What changes pixels must be asked for, compared and learned from under one name."""
    reading = _read(**texts)
    (drawn,) = reading.config.values()
    assert {name: drawn[name] for name in _KNOBS if name in drawn} == knobs
    assert reading.extra == extra
    assert all(reading.fields[f"txt2img.{name}"] in ("read", "defaulted") for name in knobs)


def test_sdnext_calls_clip_skip_and_the_strength_of_hires_fix_by_names_of_its_own() -> None:
    """With a strength of 0 another one counts, which its text leaves out."""
    hires = _SDNEXT + "CLiP-skip: 2, Hires upscaler: Latent Bilinear, Hires scale: 2.0, "
    told = _read(parameters=hires + "Hires strength: 0.6")
    drawn = told.config["txt2img"]
    assert (drawn["clip_skip"], drawn["hires_denoising_strength"]) == (2, 0.6)
    assert told.extra == {"App": "SD.Next"}
    untold = _read(parameters=hires + "Hires strength: 0.0")
    assert "hires_denoising_strength" not in untold.config["txt2img"]
    assert untold.extra["Hires strength"] == "0.0"


def test_our_own_pictures_give_back_what_they_were_drawn_with() -> None:
    """Whoever lost the records still has the pictures."""
    drawn = {
        "prompt": "a cat", "steps": 3, "sampler": "Euler", "scheduler": "Simple", "cfg_scale": 1,
        "seed": 5, "model": "m", "guidance": 3.5, "cfg_rescale": 0.5, "shift": 3,
        "sigmas": "1.0, 0.7, 0", "text_encoders": "t5, l", "weight_dtype": "fp8_e4m3fn",
        "cache": "TeaCache 0.4", "eta": 0.5,
    }  # fmt: skip
    text = parameters_text({"txt2img": drawn}, 64, 64)
    (read,) = _read(parameters=text).config.values()
    assert {name: read[name] for name in drawn} == drawn


def test_guidance_alone_is_no_true_guidance() -> None:
    """InvokeAI writes none beside it where the model knows only the distilled one."""
    reading = _read(invokeai_metadata=_invoke(guidance=4.0))
    assert reading.fields["txt2img.cfg_scale"] == "defaulted"
    assert reading.fields["txt2img.guidance"] == "read"


def test_readings_of_before_can_be_told() -> None:
    """The reading with the highest number counts, so a reader that reads more has another."""
    assert READER == 5
