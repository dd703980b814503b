"""What each server of ``/v1/images`` is sent, what is made of its answers, and what is told."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.backend_contract import Steps, pixels
from backends.openai_images.openai_server import KINDS, ImagesServer, refuse
from safelight.application.archived_pictures import ArchivedPictures
from safelight.application.engine_at import engine_at
from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.backends.engine_server import EngineServer
from safelight.backends.openai_images import OpenAiImagesBackend
from safelight.config import PipelineConfig
from safelight.errors import BackendError, BackendLoginRefused, BackendOutcomeUnknown
from safelight.learning import LearningRecordWriter, read_records
from safelight.pipeline import PipelineRunner, RunResult
from safelight.pipeline.backend import Generation, Img2ImgRequest, Txt2ImgRequest, UpscaleRequest

Serve = Callable[..., ImagesServer]
Connect = Callable[..., OpenAiImagesBackend]
FOX: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "steps": 4, "cfg_scale": 3.5}
SMALL = {**FOX, "width": 64, "height": 64}


def draw(backend: OpenAiImagesBackend, **fields: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{**SMALL, **fields}), Steps())


def png(mode: str = "RGB", colour: Any = (200, 30, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


# -- who is who ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_server_is_recognised(serve: Serve, connect: Connect, kind: str) -> None:
    server = serve(kind)
    environment = connect(server).describe().environment
    assert environment["dialect"] == kind
    told = "what its pictures say" if kind == "sd-server" else "only the size"
    assert environment["confirms"] == told
    assert engine_at(f"{server.url}/v1", {}) == "openai-images"


def test_what_does_not_say_what_it_is_must_be_told(serve: Serve, connect: Connect) -> None:
    server = serve("dynamo")
    models = {"data": [{"id": "some/model", "owned_by": "somebody"}]}
    server.script["/v1/models"] = [refuse(200, models), refuse(200, models)]
    with pytest.raises(BackendError, match='does not say what it is.*server = "vllm-omni"'):
        connect(server).describe()
    assert connect(server, server="sglang").describe().environment["loaded_model"] == "some/model"
    with pytest.raises(BackendError, match="server must be one of vllm-omni"):
        connect(server, server="vllm")


def test_its_version_is_told_where_it_has_one(serve: Serve, connect: Connect) -> None:
    assert connect(serve("vllm-omni")).describe().version == "0.26.0"
    assert connect(serve("sglang")).describe().version == ""


# -- what is sent --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("vllm-omni", {"num_inference_steps": 4, "guidance_scale": 3.5, "seed": 7,
                       "negative_prompt": "blue", "model": "Tongyi-MAI/Z-Image-Turbo",
                       "response_format": "b64_json", "output_format": "png"}),
        ("sglang", {"num_inference_steps": 4, "true_cfg_scale": 3.5, "seed": 7,
                    "negative_prompt": "blue", "model": "Qwen/Qwen-Image",
                    "response_format": "b64_json", "output_format": "png"}),
        ("localai", {"step": 4, "seed": 7, "prompt": "a red fox|blue", "model": "dreamshaper",
                     "response_format": "b64_json"}),
        ("sd-server", {"seed": 7, "negative_prompt": "blue", "output_format": "png",
                       "sample_params": {"sample_steps": 4, "guidance": {"txt_cfg": 3.5}}}),
        ("dynamo", {"model": "black-forest-labs/FLUX.1-dev", "response_format": "b64_json",
                    "output_format": "png",
                    "nvext": {"num_inference_steps": 4, "guidance_scale": 3.5, "seed": 7,
                              "negative_prompt": "blue"}}),
        ("openai", {"model": "gpt-image-1"}),
    ],
)  # fmt: skip
def test_each_server_is_sent_its_own_fields(
    serve: Serve, connect: Connect, kind: str, expected: dict[str, Any]
) -> None:
    """And no other: OpenAI's refuses what it does not know."""
    server = serve(kind)
    model: dict[str, Any] = {"model": "gpt-image-1"} if kind == "openai" else {}
    draw(connect(server), negative_prompt="blue", **model)
    assert server.posts[0][0] == "/v1/images/generations"
    assert server.sent == [{"prompt": "a red fox", "n": 1, "size": "64x64", **expected}]


def test_guidance_goes_where_the_model_has_it(serve: Serve, connect: Connect) -> None:
    """Qwen-Image passes over guidance_scale; with a distilled guidance beside it both are sent."""
    server = serve("vllm-omni")
    connect(server).generate(Txt2ImgRequest(**SMALL, others={"guidance": 2.5, "shift": 3}), Steps())
    assert server.sent[0].items() >= {
        "guidance_scale": 2.5, "true_cfg_scale": 3.5, "flow_shift": 3
    }.items()  # fmt: skip
    draw(connect(server, cfg_field="true_cfg_scale"))
    assert "guidance_scale" not in server.sent[1]
    assert server.sent[1]["true_cfg_scale"] == 3.5
    one_field = Txt2ImgRequest(**SMALL, others={"guidance": 2.5})
    with pytest.raises(BackendError, match="cfg_scale and guidance are one field"):
        connect(server, cfg_field="guidance_scale").generate(one_field, Steps())


def test_what_stands_in_a_prompt_does_not_steer_the_server(serve: Serve, connect: Connect) -> None:
    """sd-server takes settings out of prompts, which may come from anywhere; the first counts."""
    server = serve("sd-server")
    prompt = '<sd_cpp_extra_args>{"seed": 666}</sd_cpp_extra_args>a fox'
    generation = draw(connect(server), prompt=prompt, negative_prompt="</sd_cpp_extra_args>")
    assert server.sent[0]["negative_prompt"] == "</sd_cpp_extra_args>"
    assert server.sent[0]["seed"] == generation.images[0].effective["seed"] == 7
    assert generation.images[0].effective["prompt"] == "a fox"


def test_seeds_of_a_batch_are_those_that_can_be_known(serve: Serve, connect: Connect) -> None:
    """One request where the server counts up; else one for each."""
    counted, apart, unseeded = serve("sd-server"), serve("vllm-omni"), serve("openai")
    for server in (counted, apart):
        generation = draw(connect(server), batch_size=3)
        assert [image.effective["seed"] for image in generation.images] == [7, 8, 9]
        assert {image.effective["batch_size"] for image in generation.images} == {3}
        alone = draw(connect(server), seed=9).images[0]
        assert (pixels(alone.png) == pixels(generation.images[2].png)).all()
    assert [(body["n"], body["seed"]) for body in counted.sent] == [(3, 7), (1, 9)]
    assert [(body["n"], body["seed"]) for body in apart.sent] == [(1, 7), (1, 8), (1, 9), (1, 9)]
    generation = draw(connect(unseeded), batch_size=3, model="gpt-image-1")
    assert [body["n"] for body in unseeded.sent] == [3]
    assert all("seed" not in image.effective for image in generation.images)
    assert [w for w in generation.warnings if "takes no seed" in w]


@pytest.mark.parametrize(
    ("kind", "image", "mask"),
    [("sd-server", "image[]", "mask"), ("vllm-omni", "image", "mask_image"),
     ("openai", "image", "mask")],
)  # fmt: skip
def test_a_picture_and_its_mask_are_sent_as_a_form(
    serve: Serve, connect: Connect, kind: str, image: str, mask: str
) -> None:
    """White is redrawn; OpenAI redraws what is transparent."""
    server = serve(kind)
    shown = Image.new("L", (64, 64))
    shown.paste(255, (0, 0, 32, 64))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    model: dict[str, Any] = {"model": "gpt-image-1"} if kind == "openai" else {}
    request = Img2ImgRequest(**FOX, **model, init_image=png(), mask=buffer.getvalue())
    generation = connect(server).generate(request, Steps())
    ((path, body, files),) = server.posts
    assert (path, set(files)) == ("/v1/images/edits", {image, mask})
    assert body.get("size") == (None if kind == "openai" else "64x64")
    changed = np.abs(pixels(generation.images[0].png) - pixels(png())).mean(axis=(0, 2))
    assert changed[:32].mean() > 5 > changed[33:].mean()


def test_enlarging_is_done_here(serve: Serve, connect: Connect) -> None:
    server = serve("dynamo")
    request = UpscaleRequest(init_image=png(), upscaler="Nearest", scale=2)
    (image,) = connect(server).generate(request, Steps()).images
    assert pixels(image.png).shape == (128, 128, 3)
    assert (image.effective["upscaler"], server.posts) == ("Nearest", [])


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("vllm-omni", {"hires_scale": 2}, "hires_scale 2 cannot be asked for"),
        ("sd-server", {"prompt": "a <lora:x:1> fox"}, "<lora:x:…> is only words"),
        ("localai", {"prompt": "a fox|blue"}, "prompt holds '|'"),
        ("localai", {"negative_prompt": "red|blue"}, "negative_prompt holds '|'"),
        ("localai", {"seed": 0}, "seed must lie between 1 and 2147483647"),
        ("sd-server", {"seed": 2**63}, "seed must lie between"),
        ("sglang", {"height": None}, "width and height must be stated together"),
        ("sglang", {"model": "Qwen/Qwen-Imag"}, "model 'Qwen/Qwen-Imag' is unknown.*Qwen-Image"),
        ("openai", {}, "model must be stated: OpenAI has 2"),
        ("sd-server", {"sampler": "UniPC"}, "sampler 'UniPC' is unknown"),
        ("sd-server", {"steps": 1, "scheduler": "Karras"}, "steps must be at least 2"),
        ("vllm-omni", {"extra": {"n": 4}}, "extra.n is set by safelight"),
        ("vllm-omni", {"extra": {"seed": 4}}, "extra.seed is stated as a knob"),
    ],
)  # fmt: skip
def test_what_would_be_drawn_otherwise_is_refused_before(
    serve: Serve, connect: Connect, kind: str, fields: dict[str, Any], message: str
) -> None:
    server = serve(kind)
    with pytest.raises(BackendError, match=message):
        draw(connect(server), **fields)
    assert server.posts == []


@pytest.mark.parametrize(
    ("kind", "mask", "message"),
    [("sglang", png("L", 255), "mask cannot be used on SGLang"),
     ("dynamo", None, "img2img cannot be asked of Dynamo"),
     ("localai", None, "img2img cannot be asked of LocalAI")],
)  # fmt: skip
def test_no_picture_is_redrawn_otherwise(
    serve: Serve, connect: Connect, kind: str, mask: bytes | None, message: str
) -> None:
    server = serve(kind)
    with pytest.raises(BackendError, match=message):
        connect(server).generate(Img2ImgRequest(**FOX, init_image=png(), mask=mask), Steps())
    assert server.posts == []


# -- what comes back -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_pictures_of_other_formats_become_png_and_are_told(
    serve: Serve, connect: Connect, kind: str
) -> None:
    server = serve("vllm-omni")
    server.format = kind
    generation = draw(connect(server))
    assert pixels(generation.images[0].png).shape == (64, 64, 3)
    assert f"vLLM-Omni sent {kind}, which was converted to PNG." in generation.warnings


def test_a_prompt_that_was_rewritten_and_a_quality_that_was_chosen_are_recorded(
    serve: Serve, connect: Connect
) -> None:
    server = serve("openai")
    server.tweak = lambda answer: answer["data"][0].update(revised_prompt="a fox, oil on canvas")
    generation = draw(connect(server), model="dall-e-3")
    effective = generation.images[0].effective
    assert effective["prompt"] == "a fox, oil on canvas"
    assert effective["extra"] == {"quality": "high", "background": "opaque"}
    assert server.sent[0]["response_format"] == "b64_json"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "sent 0 of 1 pictures"),
        ([{}], "an answer without a picture"),
        ([{"b64_json": "???"}], "no base64"),
        ([{"b64_json": base64.b64encode(b"<html>").decode()}], "no picture"),
        ([{"b64_json": base64.b64encode(png()[:60]).decode()}], "breaks off"),
        ("nonsense", "without data"),
    ],
)
def test_answers_that_are_none_are_told(
    serve: Serve, connect: Connect, data: Any, message: str
) -> None:
    server = serve("sglang")
    server.tweak = lambda answer: answer.update(data=data)
    with pytest.raises(BackendError, match=message):
        draw(connect(server))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "too large", "param": "size", "code": None}}, "size: too large"),
        ({"error": {"message": "billing hard limit reached"}}, "billing hard limit reached"),
        ({"detail": "Invalid size format"}, "Invalid size format"),
        ({"detail": [{"loc": ["body", "n"], "msg": "Input should be less than 11"}]},
         "n: Input should be less than 11"),
        ({"error": "invalid params"}, "invalid params"),
        ({"error": "server_error", "message": "parse error"}, "server_error"),
        ({"object": "error", "message": "no such model", "code": 404}, "no such model"),
    ],
)  # fmt: skip
def test_refusals_are_told_in_the_servers_words(
    serve: Serve, connect: Connect, body: Any, words: str
) -> None:
    server = serve("vllm-omni")
    server.script["/v1/images/generations"] = [refuse(400, body)]
    with pytest.raises(BackendError, match=words) as refused:
        draw(connect(server))
    assert "{" not in str(refused.value)


def test_a_model_that_nobody_was_told_of_is_not_recorded(serve: Serve, connect: Connect) -> None:
    """An sd-server that does not say what it has draws with it, whatever a config names."""
    server = serve("sd-server")
    server.script["/sdcpp/v1/capabilities"] = [refuse(404, {})]
    generation = draw(connect(server), model="another.safetensors")
    (image,) = generation.images
    assert image.effective.get("model") != "another.safetensors"
    assert "model" in image.unused
    assert any("has no model that a request can set" in each for each in generation.warnings)


# -- pictures that lie elsewhere -----------------------------------------------------------


def answers_with(server: ImagesServer, url: str) -> None:
    def tweak(answer: dict[str, Any]) -> None:
        answer["data"] = [{"url": url}]

    server.tweak = tweak


def keys_seen(server: ImagesServer, path: str) -> list[str | None]:
    return [h.get("Authorization") for asked, h in server.asked if asked.partition("?")[0] == path]


def test_a_picture_at_the_server_is_fetched_with_its_key(serve: Serve, connect: Connect) -> None:
    server = serve("sglang", key="canary")
    answers_with(server, "/v1/images/1/content?variant=0")
    server.files["/v1/images/1/content"] = (200, {}, png())
    generation = draw(connect(server, api_key="canary", headers={"X-Team": "red"}))
    assert (pixels(generation.images[0].png) == pixels(png())).all()
    assert keys_seen(server, "/v1/images/1/content") == ["Bearer canary"]


@pytest.mark.parametrize("leads_there", [False, True])
def test_a_key_never_goes_to_another_host(
    serve: Serve, connect: Connect, leads_there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither at once nor by being led there; nor is a signed address told anywhere."""
    caplog.set_level(logging.INFO)  # the most that --verbose shows
    server, elsewhere = serve("sglang", key="canary"), serve("openai")
    there = f"{elsewhere.url}/a.png?sig=secret-signature"
    elsewhere.files["/a.png"] = (200, {}, png())
    server.files["/moved"] = (302, {"Location": there}, b"")
    answers_with(server, "/moved" if leads_there else there)
    backend = connect(server, api_key="canary", headers={"X-Token": "canary-2"})
    draw(backend)
    (headers,) = [headers for path, headers in elsewhere.asked if path.startswith("/a.png")]
    assert not [value for value in headers.values() if "canary" in value]
    elsewhere.files["/a.png"] = (403, {}, b"")
    with pytest.raises(
        BackendError, match="the picture was drawn, but .*refused the file .403"
    ) as refused:
        draw(backend)
    assert "secret-signature" not in str(refused.value) + caplog.text
    assert "canary" not in str(refused.value) + caplog.text


def test_addresses_of_pictures_are_followed_in_bounds(serve: Serve, connect: Connect) -> None:
    server = serve("sglang")
    backend = connect(server)
    server.files["/round"] = (302, {"Location": "/round"}, b"")
    for url, message in (
        ("/round", "sends the file on more than 3 times"),
        ("file:///etc/passwd", "not followed: it must be https"),
        ("http://user:pass@127.0.0.1/", "without a login"),
        ("/gone", "refused the file .404"),
        ("http://[x/", "not followed"),
        ("http://127.0.0.1/\x01", "not followed"),
        (f"http://{'a' * 70}.com/", "not followed"),
    ):
        answers_with(server, url)
        with pytest.raises(BackendError, match=message):
            draw(backend)
    assert len([path for path, _ in server.asked if path == "/round"]) == 4
    answers_with(server, "http://127.0.0.1:1/a.png")
    with pytest.raises(
        BackendOutcomeUnknown, match="was drawn, but where .* does not answer the file"
    ):
        draw(backend)


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/meta-data", "http://localhost:8188/interrupt",
     "https://[::1]/a.png", "https://[::ffff:127.0.0.1]/a.png"],
)  # fmt: skip
def test_a_server_elsewhere_does_not_send_us_to_our_own_machine(url: str) -> None:
    """Whatever listens here trusts who asks from here, and so does a cloud's metadata."""
    server = EngineServer("the images server", "https://pictures.example")
    with pytest.raises(BackendError, match="on this machine or its link only if the server is"):
        server.fetch(url, timeout=1.0)
    server.close()


# -- runs ----------------------------------------------------------------------------------


def run(backend: OpenAiImagesBackend, archive: Path, config: dict[str, Any]) -> RunResult:
    with LearningRecordWriter(records_folder(archive)) as writer:
        runner = PipelineRunner(
            backend, archive_dir=archive, learning_record_writer=writer,
            library=ArchivedPictures(Archive(archive)),
        )  # fmt: skip
        return runner.run(PipelineConfig.from_mapping(config))


SWEEP: dict[str, Any] = {
    "txt2img": {"prompt": "a fox", "width": 64, "height": 64, "seed": 5, "sampler": "Euler a"},
    "randomizer": {"mode": "fanout", "sweep": {"txt2img.steps": [2, 3, 4]}},
}


def test_a_run_says_once_what_nobody_confirmed_and_reuses_nothing(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    """A picture that cannot be known to be the same is drawn again."""
    server = serve("vllm-omni")
    backend = connect(server)
    first, second = (run(backend, tmp_path, SWEEP) for _ in range(2))
    assert (first.status, second.status, second.reused) == ("completed", "completed", 0)
    assert len(server.posts) == 6
    told = "vLLM-Omni does not say which seed, steps it used; recorded is what was asked."
    assert first.warnings.count(told) == 1
    assert any("has no sampler that a request can set" in warning for warning in first.warnings)
    record = next(iter(read_records(records_folder(tmp_path))))
    assert [variant["txt2img"]["steps"] for variant in record.variant_configs] == [2, 3, 4]
    assert all("sampler" not in variant["txt2img"] for variant in record.variant_configs)
    assert record.environment["confirms"] == "only the size"
    assert told in record.warnings


def test_a_seed_that_was_never_sent_is_not_recorded(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    server = serve("openai")
    config = {"txt2img": {**SWEEP["txt2img"], "model": "gpt-image-1"}}
    result = run(connect(server), tmp_path, config)
    (record,) = read_records(records_folder(tmp_path))
    assert record.outputs[0].seed is None
    assert "seed" not in record.variant_configs[0]["txt2img"]
    assert [w for w in result.warnings if "takes no seed" in w]
    assert "its seeds" in "".join(w for w in result.warnings if "reused" in w)
    with Image.open(next(iter((tmp_path / "images").rglob("*.png")))) as picture:
        assert "Seed:" not in picture.info["parameters"]


def test_sd_servers_own_words_are_the_record(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    """Its pictures say what was used, so nothing is left open; a size that it rounds is seen."""
    server = serve("sd-server")
    config = {
        "txt2img": {**FOX, "width": 72, "height": 64, "sampler": "Euler a", "scheduler": "Karras",
                    "model": "sdxs"},
    }  # fmt: skip
    result = run(connect(server), tmp_path, config)
    (record,) = read_records(records_folder(tmp_path))
    knobs = record.variant_configs[0]["txt2img"]
    assert knobs.items() >= {
        **FOX, "sampler": "Euler a", "scheduler": "Karras", "model": "sdxs", "width": 128
    }.items()  # fmt: skip
    assert [m.knob for m in record.outputs[0].mismatches] == ["txt2img.width"]
    assert not [warning for warning in result.warnings if "does not say" in warning]


def test_a_key_is_nowhere_in_what_a_run_leaves(
    serve: Serve, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve("vllm-omni", key="canary-1")
    config = {**SWEEP, "backend": {"name": "openai-images", "url": server.url,
                                   "api_key": "canary-1"}}  # fmt: skip
    texts = []
    for key in ("canary-1", "canary-wrong"):
        with closing(OpenAiImagesBackend(url=server.url, api_key=key)) as backend:
            if key == "canary-1":
                texts.append(repr(run(backend, tmp_path, config)))
            else:
                with pytest.raises(BackendLoginRefused, match="set api_key") as refused:
                    backend.describe()
                texts.append(str(refused.value))
            texts.append(repr(backend))
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".json" for path in left)
    assert not [path for path in left if b"canary" in path.read_bytes()]
    assert "canary" not in json.dumps(texts) + caplog.text


def test_several_servers_share_the_work(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    servers = [serve("vllm-omni"), serve("vllm-omni")]
    backend = connect(*servers)
    assert backend.lanes == 2
    assert run(backend, tmp_path, SWEEP).status == "completed"
    assert sum(len(server.posts) for server in servers) == 3


def test_a_server_that_batches_is_given_several_at_once(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    """Or a router, which has many behind one address: each picture here waits for the other."""
    server = serve("sglang")
    server.hold = threading.Barrier(2)
    backend = connect(server, at_once=2)
    sweep = {"mode": "fanout", "sweep": {"txt2img.steps": [2, 3]}}
    result = run(backend, tmp_path, {**SWEEP, "randomizer": sweep})
    assert (backend.lanes, result.status) == (2, "completed"), result.failures
    with pytest.raises(BackendError, match="at_once must be a whole number from 1 to 64, got 0"):
        connect(server, at_once=0)
