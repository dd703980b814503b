"""Infotexts of four kinds, read as the knobs that they tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safelight.backends.webui.infotext import infotext_knobs
from safelight.formats.infotext import parse_infotext

FORGE = (
    "a red fox, 35mm film\nsecond line\nNegative prompt: blurry,\nugly\n"
    "Steps: 4, Sampler: Euler a, Schedule type: Karras, CFG scale: 5.5, Seed: 42, Size: 64x96,"
    ' Model hash: 6ce0161689, Model: "x, y: z", VAE: v.pt, Denoising strength: 0.6,'
    " Clip skip: 2, Mask blur: 4, Eta: 0.5, Hires upscale: 2.0, Hires steps: 3,"
    " Hires upscaler: Latent (nearest-exact), Version: v1.10.1"
)


def test_a_forge_text_tells_every_knob() -> None:
    """Each key under the knob's name, numbers as numbers, quoted values unquoted."""
    text = parse_infotext(FORGE)
    assert text.prompt == "a red fox, 35mm film\nsecond line"
    assert text.negative_prompt == "blurry,\nugly"
    assert infotext_knobs(text) == {
        "sampler": "Euler a",
        "scheduler": "Karras",
        "model": "x, y: z",
        "vae": "v.pt",
        "hires_upscaler": "Latent (nearest-exact)",
        "steps": 4,
        "seed": 42,
        "clip_skip": 2,
        "hires_steps": 3,
        "mask_blur": 4,
        "cfg_scale": 5.5,
        "denoising_strength": 0.6,
        "hires_scale": 2.0,
        "eta": 0.5,
        "width": 64,
        "height": 96,
        "model_hash": "autov2:6ce0161689",
    }


def test_an_sdnext_text_repeats_its_prompts_and_names_a_class_for_a_default_sampler() -> None:
    """The template lines are no part of the negative prompt."""
    text = parse_infotext(
        "a fox\nNegative prompt: blurry\nTemplate: a fox\nNegative template: blurry\n"
        "Steps: 1, Size: 64x64, Scheduler: PNDMScheduler, Seed: 8, CFG scale: 6.0, App: SD.Next"
    )
    assert (text.prompt, text.negative_prompt) == ("a fox", "blurry")
    assert infotext_knobs(text)["sampler"] == "PNDMScheduler"


def test_an_sdcpp_text_is_read_from_its_json() -> None:
    """Its own last line joins sampler and schedule, and writes eta as inf."""
    facts: dict[str, Any] = {
        "clip_skip": -1,
        "hires": {"enabled": True, "scale": 2.0, "steps": 0, "upscaler": "Latent"},
        "models": {"model": "m.safetensors"},
        "prompt": {"positive": "a", "negative": ""},
        "sampling": {
            "eta": None,
            "guidance": {"txt_cfg": 7.300000190734863},
            "method": "euler_a",
            "scheduler": "karras",
            "steps": 4,
        },
        "seed": 42,
        "width": 64,
        "height": 64,
    }
    line = "Steps: 4, CFG scale: 7.300000, Eta: inf, Seed: 42, Size: 64x64, Sampler: euler_a karras"
    knobs = infotext_knobs(parse_infotext(f"a\n{line}, SDCPP: {json.dumps(facts)}"))
    assert knobs == {
        "prompt": "a",
        "negative_prompt": "",
        "sampler": "Euler a",
        "scheduler": "Karras",
        "steps": 4,
        "cfg_scale": 7.3,
        "seed": 42,
        "width": 64,
        "height": 64,
        "model": "m.safetensors",
        "hires_scale": 2.0,
        "hires_upscaler": "Latent",
    }


def test_a_broken_sdcpp_json_costs_only_itself() -> None:
    """The plain line before it still tells the seed; eta inf is no eta."""
    text = "a\nSteps: 4, CFG scale: 7.3, Eta: inf, Seed: 42, Size: 64x64, SDCPP: {broken"
    knobs = infotext_knobs(parse_infotext(text))
    assert knobs["seed"] == 42
    assert "eta" not in knobs


def test_an_old_joined_sampler_is_two_knobs() -> None:
    """Before 1.9 the schedule was part of the sampler's name."""
    text = "a\nSteps: 4, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, Size: 8x8"
    knobs = infotext_knobs(parse_infotext(text))
    assert (knobs["sampler"], knobs["scheduler"]) == ("DPM++ 2M", "Karras")


@pytest.mark.parametrize("text", ["", "a fox", "Steps: 20, a ladder, Seed: no", "\n\n", "::,,::"])
def test_what_is_no_infotext_is_all_prompt(text: str) -> None:
    """Fewer than three pairs are somebody's words."""
    assert parse_infotext(text).prompt == text.strip()
    assert infotext_knobs(parse_infotext(text)) == {}
