"""Servers that nobody here has run are told apart by what their sources say that they answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.backend_contract import Steps
from backends.webui.replay_server import DialectName, ReplayServer
from safelight.backends.webui import WebuiBackend
from safelight.errors import BackendError
from safelight.formats.png_chunks import png_texts
from safelight.learning import LearningRecord
from safelight.pipeline import PipelineRunner
from safelight.pipeline.backend import Img2ImgRequest, Txt2ImgRequest

Serve = Callable[..., ReplayServer]
Connect = Callable[..., WebuiBackend]

FOX: dict[str, Any] = {"prompt": "a red fox", "seed": 3, "steps": 3, "width": 64, "height": 64}
KINDS: dict[DialectName, str] = {
    "forge": "forge", "forge_neo": "forge", "reforge": "reforge", "sdnext": "sdnext",
    "sdcpp": "sdcpp", "koboldcpp": "koboldcpp", "drawthings": "drawthings",
}  # fmt: skip
QUIET: list[DialectName] = ["koboldcpp", "drawthings"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_server_is_told_apart_and_draws(
    serve: Serve, connect: Connect, kind: DialectName
) -> None:
    """A wrong guess would send fields to the wrong place, and nobody would be told."""
    server = serve(kind)
    backend = connect(server)
    assert backend.describe().environment["dialect"] == KINDS[kind]
    sampler = "DPM++ 2M Karras" if kind == "drawthings" else "DPM++ 2M"
    drawn = backend.generate(Txt2ImgRequest(**FOX, sampler=sampler, cfg_scale=3), Steps())
    (_, body), (image,) = server.posts[-1], drawn.images
    assert "sd_cpp_extra_args" not in body["prompt"]
    assert (image.effective["width"], image.effective["height"]) == (64, 64)
    said = [w for w in drawn.warnings if "recorded as it was asked for" in w]
    assert len(said) == (kind in QUIET)


def test_forge_neo_has_what_forge_lacks(serve: Serve, connect: Connect) -> None:
    """It is recognised by presets of models that Forge never had."""
    backend = connect(serve("forge_neo"))
    request = Txt2ImgRequest(**FOX, sampler="ER SDE", scheduler="Flux2", others={"shift": 3.0})
    assert not [w for w in backend.generate(request, Steps()).warnings if "has no shift" in w]


def test_koboldcpp_gets_no_json_in_its_prompt(serve: Serve, connect: Connect) -> None:
    """It would draw the JSON: only stable-diffusion.cpp's own server takes it out."""
    server = serve("koboldcpp")
    backend = connect(server)
    drawn = backend.generate(
        Txt2ImgRequest(**FOX, eta=0.4, sampler="Euler a", scheduler="Karras", clip_skip=2), Steps()
    )
    (_, body) = server.posts[-1]
    assert body["prompt"] == "a red fox"
    assert (body["sampler_name"], body["scheduler"], body["clip_skip"]) == ("Euler A", "karras", 2)
    assert "eta" not in body
    assert [w for w in drawn.warnings if "no eta that a request can set" in w]
    assert drawn.images[0].effective["model"] == "tiny-sd"
    assert {"Res Multistep", "res_2s", "DPM++ 2S a"} <= set(backend.choices()["sampler"])
    with pytest.raises(BackendError, match="at most 2147483647 on KoboldCpp"):
        backend.generate(Txt2ImgRequest(**{**FOX, "seed": 2**31}), Steps())


def test_draw_things_is_asked_in_its_own_words(serve: Serve, connect: Connect) -> None:
    """It lists nothing and has other names for fields, but it is no stranger."""
    server = serve("drawthings")
    backend = connect(server)
    given = backend.generate(Txt2ImgRequest(**FOX), Steps()).images[0].png
    request = Img2ImgRequest(
        **FOX, init_image=given, denoising_strength=0.5, cfg_scale=3, sampler="Euler a"
    )
    backend.generate(request, Steps())
    path, body = server.posts[-1]
    assert path == "img2img"
    assert (body["guidance_scale"], body["sampler"], body["strength"]) == (3, "Euler a", 0.5)
    assert not {"cfg_scale", "sampler_name", "denoising_strength", "force_task_id"} & body.keys()
    assert backend.choices()["model"] == ("sd_v1.5_f16", "sd_v1.5_f16.ckpt")[1:]
    with pytest.raises(BackendError, match="model 'other' is unknown to Draw Things"):
        backend.generate(Txt2ImgRequest(**FOX, model="other"), Steps())


@pytest.mark.parametrize("kind", QUIET)
@pytest.mark.parametrize(
    "stated", [{"hires_scale": 2.0}, {"batch_size": 2}, {"prompt": "a fox <lora:ink:1>"}]
)
def test_what_would_be_another_picture_without_it_is_refused(
    serve: Serve, connect: Connect, kind: DialectName, stated: dict[str, Any]
) -> None:
    """These servers pass over what they do not know, and say nothing."""
    server = serve(kind)
    with pytest.raises(BackendError, match="must be left out on"):
        connect(server).generate(Txt2ImgRequest(**{**FOX, **stated}), Steps())
    assert server.posts == []


def test_a_stranger_is_still_refused(serve: Serve, connect: Connect) -> None:
    """A page at the address is no interface, and neither is any JSON."""
    server = serve("drawthings")
    server.recorded["get_/"] = {"status": 200, "json": {"hello": "world"}}
    with pytest.raises(BackendError, match="has no /sdapi/v1 interface"):
        connect(server).describe()


def test_sd_servers_newer_names_are_ours(serve: Serve, connect: Connect) -> None:
    """What it lists since 2026 is asked for as on any other engine, and told where only nearly."""
    server = serve("sdcpp")
    newer = ["dpm++2m_sde", "euler_cfg_pp", "euler_a_cfg_pp", "euler_ge", "lms", "er_sde",
             "res_multistep"]  # fmt: skip
    server.recorded["get_samplers"]["json"] += [{"name": name} for name in newer]
    server.recorded["get_schedulers"]["json"] += [
        {"name": name, "label": name} for name in ("beta", "flux2")
    ]
    backend = connect(server)
    drawn = backend.generate(
        Txt2ImgRequest(**FOX, sampler="DPM++ 2M SDE", scheduler="Beta"), Steps()
    )
    (_, body) = server.posts[-1]
    assert (body["sampler_name"], body["scheduler"]) == ("dpm++2m_sde", "beta")
    effective = drawn.images[0].effective
    assert (effective["sampler"], effective["scheduler"]) == ("DPM++ 2M SDE", "Beta")
    assert len([w for w in drawn.warnings if "only nearly" in w]) == 2
    ours = {"Euler CFG++", "Euler a CFG++", "Gradient Estimation", "LMS", "ER SDE", "Res Multistep"}
    assert ours <= set(backend.choices()["sampler"])


# -- settings of the server, and what the record says of them ---------------------------------


def run(backend: WebuiBackend, folder: Path, config: dict[str, Any]) -> LearningRecord:
    records: list[LearningRecord] = []
    runner = PipelineRunner(backend, archive_dir=folder, on_learning_record=records.append)
    result = runner.run(config)
    assert result.status == "completed", result.failures
    return records[0]


def sheet(**sweep: Any) -> dict[str, Any]:
    knobs = {f"txt2img.{knob}": list(values) for knob, values in sweep.items()}
    return {"txt2img": dict(FOX), "randomizer": {"mode": "fanout", "sweep": knobs}}


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("eta_noise_seed_delta", 31337.0, "extra.ENSD was not asked for"),
        ("randn_source", "CPU", "extra.RNG was not asked for"),
        ("token_merging_ratio", 0.5, "extra.Token merging ratio was not asked for"),
        ("CLIP_stop_at_last_layers", 2, "clip_skip was not asked for"),
        ("sd_vae", "soft.safetensors", "vae was not asked for"),
    ],
)
@pytest.mark.parametrize("over", ["prompt", "cfg_scale"])
def test_a_setting_that_is_changed_there_in_mid_run_is_told_once(
    serve: Serve, connect: Connect, tmp_path: Path, option: str, value: Any, told: str, over: str
) -> None:
    """Whatever the sweep is over: half of the sheet was drawn by another rule."""
    server = serve("forge")
    options = server.recorded["get_options"]["json"]

    def change(answer: dict[str, Any]) -> None:
        if len(server.posts) == 3:
            options[option] = value

    server.tweak = change
    values = ["a", "b", "c", "d", "e"] if over == "prompt" else [1, 2, 3, 4, 5]
    config = sheet(**{over: values})
    config["txt2img"]["sampler"] = "Euler a"
    record = run(connect(server), tmp_path, config)
    assert len([w for w in record.warnings if told in w]) == 1
    assert len([w for w in record.warnings if "was not asked for" in w]) == 1
    pictures = [each["txt2img"] for each in record.variant_configs]
    if "extra" in told:
        name = told.removeprefix("extra.").partition(" was")[0]
        assert [name in p.get("extra", {}) for p in pictures] == [False] * 3 + [True] * 2


def test_a_setting_without_effect_is_no_change(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    """ENSD moves the noise of some samplers only, and the texts of the others leave it out."""
    server = serve("forge")
    server.recorded["get_options"]["json"]["eta_noise_seed_delta"] = 31337.0
    record = run(connect(server), tmp_path, sheet(sampler=["Euler", "Euler a", "Heun", "DPM2 a"]))
    assert [w for w in record.warnings if "was not asked for" in w] == []


def test_settings_are_recorded_also_where_pictures_come_without_a_text(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    """A JPEG, or a proxy that drops what lies beside: the server's options know them."""
    server = serve("forge")
    server.texts = False
    server.recorded["get_options"]["json"] |= {
        "eta_noise_seed_delta": 31337.0, "randn_source": "CPU", "token_merging_ratio": 0.5,
        "CLIP_stop_at_last_layers": 2, "s_churn": 0.0, "upcast_attn": True,
    }  # fmt: skip
    record = run(connect(server), tmp_path, sheet(cfg_scale=[1, 2, 3, 4, 5]))
    for each in record.variant_configs:
        assert each["txt2img"]["extra"] == {
            "ENSD": "31337", "RNG": "CPU", "Token merging ratio": "0.5", "upcast_attn": "True",
        }  # fmt: skip
        assert each["txt2img"]["clip_skip"] == 2
    assert server.asked.count("GET /sdapi/v1/options") <= 4, "once per run, not per picture"


# -- the record against what the server itself says ---------------------------------------------


SAMPLERS_OF_SDCPP = {
    "euler": "Euler", "euler_a": "Euler a", "heun": "Heun", "dpm2": "DPM2", "lcm": "LCM",
    "dpm++2s_a": "DPM++ 2S a", "dpm++2m": "DPM++ 2M", "dpm++2mv2": "DPM++ 2M v2", "tcd": "TCD",
    "ipndm": "IPNDM", "ipndm_v": "IPNDM_V", "ddim_trailing": "DDIM", "res_2s": "res_2s",
    "res_multistep": "Res Multistep",
}  # fmt: skip
SCHEDULES_OF_SDCPP = {
    "karras": "Karras", "exponential": "Exponential", "ays": "Align Your Steps",
    "gits": "Align Your Steps GITS", "sgm_uniform": "SGM Uniform", "simple": "Simple",
    "kl_optimal": "KL Optimal", "smoothstep": "smoothstep",
}  # fmt: skip


def said(text: str) -> dict[str, Any]:
    """Read the last line of a text by itself: no code of ours that could err with it."""
    if "SDCPP: " in text:
        facts = json.loads(text.partition("SDCPP: ")[2])
        sampling = facts["sampling"]
        return {
            "Sampler": SAMPLERS_OF_SDCPP.get(sampling.get("method", "default"), ""),
            "Schedule type": SCHEDULES_OF_SDCPP.get(sampling.get("scheduler", "default"), ""),
            "Steps": sampling["steps"], "Seed": facts["seed"],
            "CFG scale": sampling["guidance"]["txt_cfg"],
            "Size": f"{facts['width']}x{facts['height']}",
            "Model": Path(facts["models"]["model"]).stem,
        }  # fmt: skip
    last = text.rpartition("\n")[2]
    return dict(part.split(": ", 1) for part in last.split(", ") if ": " in part)


def texts_in(answer: dict[str, Any]) -> list[str]:
    """Return what the server wrote into its pictures."""
    return [png_texts(base64.b64decode(image))["parameters"] for image in answer["images"]]


@pytest.mark.parametrize("kind", ["forge", "forge_neo", "reforge", "sdnext", "sdcpp"])
def test_the_record_says_what_the_servers_own_texts_say(
    serve: Serve, connect: Connect, tmp_path: Path, kind: DialectName
) -> None:
    """Over all samplers with one schedule, and all schedules with one sampler, knob by knob."""
    server = serve(kind)
    texts: list[str] = []
    server.tweak = lambda answer: texts.extend(texts_in(answer))
    backend = connect(server)
    choices = backend.choices()
    sheets = [sheet(sampler=choices["sampler"])]
    if "scheduler" in choices:
        sheets[0]["txt2img"]["scheduler"] = "Karras"
        sheets.append(sheet(scheduler=choices["scheduler"]))
        sheets[1]["txt2img"]["sampler"] = "Euler"
    for number, config in enumerate(sheets):
        record = run(backend, tmp_path / str(number), config)
        drawn = [record.variant_configs[output.variant]["txt2img"] for output in record.outputs]
        assert [output.mismatches for output in record.outputs] == [()] * len(drawn)
        assert len(drawn) == len(texts)
        for knobs, text in zip(drawn, texts, strict=True):
            there = said(text)
            size = f"{knobs['width']}x{knobs['height']}"
            assert there["Sampler"] in (knobs["sampler"], "")
            assert there.get("Schedule type") in (knobs.get("scheduler"), "")
            assert (int(there["Steps"]), int(there["Seed"])) == (knobs["steps"], knobs["seed"])
            assert float(there["CFG scale"]) == knobs["cfg_scale"]
            assert (there["Size"], there["Model"]) == (size, knobs["model"].rpartition("/")[2])
            assert text.startswith(f"{knobs['prompt']}\n")
        texts.clear()
