"""Settings go to other tools as they are, and what had to be put there is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import Safelight
from safelight.application.settings_texts import Settings, settings_of_config
from safelight.config import PipelineConfig
from safelight.errors import RequestError
from safelight.formats.infotext import parse_infotext

KNOWN = {
    "prompt": "a {tower} <lora:ink:0.6>", "negative_prompt": "fog", "model": "dream.safetensors",
    "seed": 2**33, "steps": 31, "cfg_scale": 6.5, "sampler": "DPM++ 2M", "scheduler": "Karras",
    "width": 640, "height": 512,
}  # fmt: skip


def settings(**more: dict[str, Any]) -> Settings:
    return Settings(stages={"txt2img": KNOWN, **more}, width=640, height=512)


def test_a_graph_states_what_is_known_and_loads_the_loras_of_the_prompt() -> None:
    told = settings().text("comfyui")
    nodes = json.loads(told.text)
    kinds = {node["class_type"]: node["inputs"] for node in nodes.values()}
    sampling = kinds["KSampler"]
    assert [sampling[name] for name in ("seed", "steps", "cfg", "sampler_name", "scheduler")] == [
        2**33, 31, 6.5, "dpmpp_2m", "karras"
    ]  # fmt: skip
    assert kinds["CheckpointLoaderSimple"] == {"ckpt_name": "dream.safetensors"}
    assert kinds["LoraLoader"]["lora_name"] == "ink"
    assert kinds["LoraLoader"]["strength_model"] == 0.6
    assert {nodes["6"]["inputs"]["text"].strip(), nodes["7"]["inputs"]["text"]} == {
        "a {tower}", "fog"
    }  # fmt: skip
    (note,) = told.notes
    assert "choose your files" in note


def test_what_a_graph_had_to_put_there_and_left_out_is_told() -> None:
    few = {"prompt": "a tower", "model": "dream", "steps": 9}
    told = Settings(stages={"txt2img": few, "upscale": {"scale": 2}}).text("comfyui")
    assert "stands there: seed, cfg_scale, sampler, scheduler, width, height." in told.notes[-2]
    assert told.notes[-1] == "Left out: upscale, which followed."


@pytest.mark.parametrize(
    ("stages", "why"),
    [({"txt2img": {"prompt": "x"}}, "must name a model"), ({}, "nothing is known"),
     ({"img2img": {"prompt": "x", "model": "m"}}, "began with img2img"),
     ({"txt2img": {"model": "m", "scheduler": "Align Your Steps"}}, "Align Your Steps")],
)  # fmt: skip
def test_what_no_graph_can_say_is_refused(stages: dict[str, dict[str, Any]], why: str) -> None:
    with pytest.raises(RequestError, match=why):
        Settings(stages=stages).text("comfyui")


def test_infotext_and_config_say_the_same() -> None:
    pairs = parse_infotext(settings().text("infotext").text).pairs
    assert (pairs["Steps"], pairs["Seed"], pairs["Size"]) == ("31", str(2**33), "640x512")
    config = PipelineConfig.from_mapping(json.loads(settings().text("json").text))
    assert config.stages["txt2img"] == KNOWN


@pytest.mark.parametrize(
    "more",
    [{"randomizer": {"sweep": {"txt2img.steps": [1, 2]}}}, {"txt2img": {"prompt": "a {b|c}"}},
     {"txt2img": {"prompt": ["a", "b"]}}, {"randomizer": {"settings": [{"txt2img.steps": 2}]}}],
)  # fmt: skip
def test_a_config_of_several_pictures_has_no_settings_of_one(more: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="varies"):
        settings_of_config({"txt2img": {"prompt": "a"}, **more})


def test_a_picture_and_a_preset_are_told_at_the_command_line(
    command: Safelight, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text('[txt2img]\nprompt = "a hill"\nseed = 5\nsteps = 3\n')
    assert command("run", "p.toml", "--set", "backend=fake").exit_code == 0
    (picture,) = tmp_path.glob("safelight/images/*/*/*.png")
    for file in (str(picture), "p.toml"):
        told = command("show", file, "--as", "infotext")
        assert told.stdout.startswith("a hill\nSteps: 3, "), told.output
        assert "Seed: 5" in told.stdout
    told = command("show", "p.toml", "--as", "comfyui")
    assert told.exit_code == 2
    assert "must name a model" in told.output
    page = json.loads(command("show", str(picture), "--as", "comfyui", "--json").stdout)
    assert json.loads(page["text"])["3"]["inputs"]["seed"] == 5
    assert command("show", "last", "--as", "json").exit_code == 2


def test_tags_that_were_only_words_are_told_of_and_stay_in_the_prompt() -> None:
    """Where this was drawn nothing acted on them; a graph of ours does."""
    words = Settings(stages={"txt2img": {**KNOWN, "lora_tags": "words"}})
    assert any("only words where this was drawn" in note for note in words.text("comfyui").notes)
    config = json.loads(words.text("json").text)
    assert config["txt2img"] == {**KNOWN, "prompt": config["txt2img"]["prompt"]}
    assert "<lora:ink:0.6>" in config["txt2img"]["prompt"]
