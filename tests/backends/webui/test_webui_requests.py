"""What is asked of each server, and what is said when it does something else."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.backend_contract import Steps, pixels
from backends.webui.replay_server import ReplayServer
from safelight.backends.webui import WebuiBackend
from safelight.errors import BackendError
from safelight.pipeline.backend import (
    DrawsInParallel,
    Generation,
    Img2ImgRequest,
    ListsChoices,
    Txt2ImgRequest,
    UpscaleRequest,
)
from safelight.pipeline.stages import mismatches

Serve = Callable[..., ReplayServer]
Connect = Callable[..., WebuiBackend]

FOX: dict[str, Any] = {"prompt": "a red fox", "seed": 3, "steps": 3, "width": 64, "height": 64}


def png(size: tuple[int, int] = (64, 64), *, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def draw(backend: WebuiBackend, **fields: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{**FOX, **fields}), Steps())


def misfits(generation: Generation, request: Txt2ImgRequest) -> dict[str, Any]:
    """What the runner would record as not honoured."""
    differing = mismatches(request, generation.images[0].effective)
    return {m.knob.removeprefix("txt2img."): m.effective for m in differing}


def edit_info(change: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Let a server report something else than it drew with, as real ones do."""

    def tweak(answer: dict[str, Any]) -> None:
        info = {**json.loads(answer["info"]), **change}
        answer["info"] = json.dumps(info)

    return tweak


def test_it_satisfies_the_smaller_ports(connect: Connect) -> None:
    """Names are checked beforehand, and as many requests run at a time as there are servers."""
    backend = connect()
    assert isinstance(backend, ListsChoices)
    assert isinstance(backend, DrawsInParallel)
    assert backend.lanes == 1


def test_the_version_is_read_from_the_first_picture(serve: Serve, connect: Connect) -> None:
    """No server of the family tells it by itself."""
    backend = connect(serve("forge"))
    assert backend.describe().version == ""
    draw(backend)
    assert backend.describe().version == "f2.0.1v1.10.1-previous-669-gdfdcbab6"


def test_every_knob_reaches_forge_where_it_belongs(serve: Serve, connect: Connect) -> None:
    """Model, VAE and clip skip are options, restored afterwards; the rest are fields."""
    server = serve("forge")
    server.recorded["get_sd-modules"]["json"] = [
        {"model_name": "ae.safetensors", "filename": "/models/VAE/ae.safetensors"}
    ]
    generation = draw(
        connect(server),
        negative_prompt="blurry",
        sampler="Heun",
        scheduler="Karras",
        cfg_scale=5,
        eta=0.5,
        clip_skip=2,
        model="random-sd15",
        vae="ae",
        job_id="r1-7",
        extra={"tiling": True, "override_settings": {"eta_noise_seed_delta": 31337}},
    )
    _, body = server.posts[-1]
    assert body.pop("force_task_id").startswith("task(safelight-r1-7-")
    assert body == {
        "prompt": "a red fox",
        "negative_prompt": "blurry",
        "seed": 3,
        "steps": 3,
        "cfg_scale": 5,
        "width": 64,
        "height": 64,
        "sampler_name": "Heun",
        "scheduler": "Karras",
        "eta": 0.5,
        "tiling": True,
        "override_settings": {
            "sd_model_checkpoint": "random-sd15.safetensors",
            "forge_additional_modules": ["/models/VAE/ae.safetensors"],
            "CLIP_stop_at_last_layers": 2,
            "eta_noise_seed_delta": 31337,
        },
        "override_settings_restore_afterwards": True,
    }
    assert generation.images[0].effective["clip_skip"] == 2
    assert generation.images[0].effective["model"] == "random-sd15"
    assert [w for w in generation.warnings if "vae" in w], "Forge did not say what it did with it"


def test_a_request_that_is_tried_again_is_another_task(connect: Connect, serve: Serve) -> None:
    """The lost one may still be drawn, and what the server says of it is not of this one."""
    server = serve("forge")
    backend = connect(server)
    for _ in range(2):
        draw(backend, job_id="r1-7")
    one, other = (body["force_task_id"] for _, body in server.posts)
    assert one != other


def test_sd_server_gets_its_own_names_and_what_only_fits_inline(
    serve: Serve, connect: Connect
) -> None:
    """Its seed field wraps at 2**31, and eta has no field at all."""
    server = serve("sdcpp")
    server.recorded["get_loras"]["json"] = [{"name": "ink", "path": "ink.safetensors"}]
    generation = draw(
        connect(server),
        prompt="a fox <lora:ink:0.5>",
        seed=2**32 - 1,
        sampler="DPM++ 2M",
        scheduler="Uniform",
        eta=0.3,
        clip_skip=2,
        vae="x",
    )
    _, body = server.posts[-1]
    inline = json.dumps({"seed": 2**32 - 1, "sample_params": {"eta": 0.3}})
    assert body["prompt"] == f"a fox<sd_cpp_extra_args>{inline}</sd_cpp_extra_args>"
    assert body["lora"] == [{"path": "ink.safetensors", "multiplier": 0.5}]
    assert (body["sampler_name"], body["scheduler"]) == ("dpm++2m", "discrete")
    assert body["clip_skip"] == 2
    effective = generation.images[0].effective
    assert effective["prompt"] == "a fox <lora:ink:0.5>"
    assert (effective["sampler"], effective["scheduler"]) == ("DPM++ 2M", "Uniform")
    assert (effective["seed"], effective["eta"], effective["clip_skip"]) == (2**32 - 1, 0.3, 2)
    with pytest.raises(BackendError, match="no LoRA 'inc'.*did you mean 'ink'"):
        draw(connect(server), prompt="a fox <lora:inc:1>")
    assert any("vae 'x'" in w for w in generation.warnings)
    with pytest.raises(BackendError, match="seed must be at most"):
        draw(connect(server), seed=2**63)


MODULES = [
    {"model_name": "ae.safetensors", "filename": "/models/VAE/ae.safetensors"},
    {"model_name": "clip_l.safetensors", "filename": "/models/text_encoder/clip_l.safetensors"},
    {"model_name": "t5.safetensors", "filename": "/models/text_encoder/t5.safetensors"},
]


def test_forge_draws_with_distilled_guidance_and_text_encoders(
    serve: Serve, connect: Connect
) -> None:
    """FLUX.1 needs them, and Forge has one list for text encoders and VAE."""
    server = serve("forge")
    server.recorded["get_sd-modules"]["json"] = MODULES
    server.flow_key = "Distilled CFG Scale"
    others = {"guidance": 2.5, "text_encoders": "clip_l, t5.safetensors"}
    generation = draw(connect(server), vae="ae", others=others)
    _, body = server.posts[-1]
    assert body["distilled_cfg_scale"] == 2.5
    assert body["override_settings"]["forge_additional_modules"] == [
        module["filename"] for module in MODULES
    ]
    effective = generation.images[0].effective
    assert {knob: effective[knob] for knob in ("vae", *others)} == {"vae": "ae", **others}
    assert generation.warnings == ()
    with pytest.raises(BackendError, match="text_encoders 'nope' is unknown to Forge"):
        draw(connect(server), others={"text_encoders": "nope"})
    with pytest.raises(BackendError, match="extra.distilled_cfg_scale is the knob guidance"):
        draw(connect(server), others={"guidance": 2}, extra={"distilled_cfg_scale": 3})


def test_what_forge_defaults_is_reported(serve: Serve, connect: Connect) -> None:
    """The API's 3.5 shapes a picture as much as a stated number."""
    server = serve("forge")
    server.recorded["get_sd-modules"]["json"] = MODULES
    server.flow_key = "Distilled CFG Scale"
    assert draw(connect(server)).images[0].effective["guidance"] == 3.5
    generation = draw(connect(server), others={"text_encoders": "t5"})
    assert generation.images[0].effective["text_encoders"] == "t5"
    assert any("one list for text encoders and VAE" in w for w in generation.warnings)
    extra = draw(connect(server), extra={"distilled_cfg_scale": 3})
    assert extra.images[0].effective["guidance"] == 3, "as before the knob was one"


def test_guidance_that_the_model_has_not_is_told(serve: Serve, connect: Connect) -> None:
    """Forge takes the field with every model, and says nothing of it with most."""
    generation = draw(connect(serve("forge")), others={"guidance": 2.5})
    assert "guidance" not in generation.images[0].effective
    assert any("whether guidance 2.5 had an effect" in w for w in generation.warnings)


def test_only_forge_neo_has_a_shift(serve: Serve, connect: Connect) -> None:
    """There it is the same field as guidance; elsewhere it would be guidance in silence."""
    neo = serve("forge")
    neo.recorded["get_options"]["json"]["lumina_t2i_d_cfg"] = 6.0
    neo.flow_key = "Shift"
    generation = draw(connect(neo), others={"shift": 3})
    assert neo.posts[-1][1]["distilled_cfg_scale"] == 3
    assert generation.images[0].effective["shift"] == 3
    with pytest.raises(BackendError, match="guidance and shift are one setting on Forge Neo"):
        draw(connect(neo), others={"guidance": 2, "shift": 3})
    plain = serve("forge")
    generation = draw(connect(plain), others={"shift": 3})
    assert "distilled_cfg_scale" not in plain.posts[-1][1]
    assert any("Forge has no shift" in w for w in generation.warnings)


def test_sdnext_rescales_guidance_and_shifts(serve: Serve, connect: Connect) -> None:
    """It says both, the rescale always."""
    server = serve("sdnext")
    generation = draw(connect(server), others={"cfg_rescale": 0.5, "shift": 3.0, "guidance": 3.5})
    _, body = server.posts[-1]
    assert (body["cfg_rescale"], body["schedulers_shift"]) == (0.5, 3.0)
    effective = generation.images[0].effective
    assert (effective["cfg_rescale"], effective["shift"]) == (0.5, 3)
    assert any("SD.Next has no guidance" in w for w in generation.warnings)
    assert draw(connect(server)).images[0].effective["cfg_rescale"] == 0


def test_sd_server_takes_the_settings_of_flow_models_inline(serve: Serve, connect: Connect) -> None:
    """It has no fields for them; its defaults it tells with models that have no use for them."""
    server = serve("sdcpp")
    others = {"guidance": 2.5, "shift": 3.0, "sigmas": "14.6, 2.1, 0", "cache": "EasyCache"}
    generation = draw(connect(server), eta=0.3, others=others)
    answer = json.loads(server.posts[-1][1]["prompt"].partition("<sd_cpp_extra_args>")[2][:-20])
    assert answer == {
        "sample_params": {
            "eta": 0.3, "guidance": {"distilled_guidance": 2.5}, "flow_shift": 3.0,
            "custom_sigmas": [14.6, 2.1, 0.0],
        },
        "cache_mode": "easycache", "cache_option": "",
    }  # fmt: skip
    effective = generation.images[0].effective
    assert {knob: effective[knob] for knob in others} == others
    assert not {"guidance", "shift", "sigmas", "cache"} & set(
        draw(connect(server)).images[0].effective
    )
    with pytest.raises(BackendError, match="sigmas must be two or more numbers"):
        draw(connect(server), others={"sigmas": "1, 2"})


def test_an_approximate_sampler_is_told(serve: Serve, connect: Connect) -> None:
    """sd-server's DDIM is one of its own."""
    generation = draw(connect(serve("sdcpp")), sampler="DDIM")
    assert any("only nearly" in w for w in generation.warnings)
    assert generation.images[0].effective["sampler"] == "DDIM"


@pytest.mark.parametrize("schedule", ["Karras", "Exponential"])
def test_a_single_step_that_would_end_sd_server_is_refused(
    serve: Serve, connect: Connect, schedule: str
) -> None:
    """It divides by steps - 1; the real one was seen to abort over it."""
    server = serve("sdcpp")
    with pytest.raises(BackendError, match=f"steps must be at least 2 with scheduler '{schedule}'"):
        draw(connect(server), scheduler=schedule, steps=1)
    with pytest.raises(BackendError, match="hires_steps must be at least 2"):
        draw(connect(server), scheduler=schedule, hires_scale=2.0, hires_steps=1)
    with pytest.raises(BackendError, match="hires_denoising_strength must be above 0"):
        draw(connect(server), hires_scale=2.0, hires_denoising_strength=0)
    assert not server.posts
    assert draw(connect(server), scheduler="Normal", steps=1).images


def test_sdnext_says_that_schedules_have_no_effect(serve: Serve, connect: Connect) -> None:
    """It takes the field and ignores it."""
    server = serve("sdnext")
    generation = draw(connect(server), scheduler="Karras", clip_skip=2, eta=0.4)
    assert any("scheduler" in w and "'Karras'" in w for w in generation.warnings)
    assert any("eta 0.4" in w for w in generation.warnings)
    _, body = server.posts[-1]
    assert "scheduler" not in body
    assert body["clip_skip"] == generation.images[0].effective["clip_skip"] == 2
    assert body["override_settings"] == {"scheduler_eta": 0.4}


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        ({"sampler_name": "DPM++ 2M"}, {"sampler": "DPM++ 2M"}),
        ({"sd_model_name": "random-mini"}, {"model": "random-mini"}),
        ({"clip_skip": 1}, {"clip_skip": 1}),
        ({"steps": 20}, {"steps": 20}),
        ({"all_seeds": [77]}, {"seed": 77}),
        ({"all_prompts": ["a red fox, best quality"]}, {"prompt": "a red fox, best quality"}),
    ],
)
def test_a_silent_substitution_is_a_mismatch(
    serve: Serve, connect: Connect, change: dict[str, Any], misfit: dict[str, Any]
) -> None:
    """Forge answers 200 and draws something else; only its info tells."""
    server = serve("forge")
    server.tweak = edit_info(change)
    request = Txt2ImgRequest(**FOX, sampler="Euler", model="random-sd15", clip_skip=2)
    assert misfits(connect(server).generate(request, Steps()), request) == misfit


def test_a_schedule_that_became_automatic_is_a_mismatch(serve: Serve, connect: Connect) -> None:
    """The list may offer what the server then does not use."""
    server = serve("forge")
    server.recorded["get_schedulers"]["json"].append({"name": "new", "label": "Karras2"})
    backend = connect(server)
    backend.choices()
    server.recorded["get_schedulers"]["json"].pop()
    request = Txt2ImgRequest(**FOX, scheduler="Karras2")
    assert misfits(backend.generate(request, Steps()), request) == {"scheduler": "Automatic"}


@pytest.mark.parametrize(
    ("dialect", "asked", "made"), [("forge", 65, 64), ("sdnext", 65, 64), ("sdcpp", 72, 128)]
)
def test_another_size_is_a_mismatch(
    serve: Serve, connect: Connect, dialect: str, asked: int, made: int
) -> None:
    """Forge says 65 and sends 64: the file is the witness."""
    request = Txt2ImgRequest(**{**FOX, "width": asked})
    generation = connect(serve(dialect)).generate(request, Steps())
    assert misfits(generation, request) == {"width": made}


@pytest.mark.parametrize("spelling", ["x.safetensors [6ce0161689]", "x", "x.safetensors"])
def test_any_spelling_of_a_model_is_that_model(
    serve: Serve, connect: Connect, spelling: str
) -> None:
    """Title, name or file: what the user wrote is reported, and the hash beside it."""
    server = serve("forge")
    server.recorded["get_sd-models"]["json"] = [
        {"title": "x.safetensors [6ce0161689]", "model_name": "x", "hash": "6ce0161689"}
    ]
    backend = connect(server)
    effective = draw(backend, model=spelling).images[0].effective
    assert effective["model"] == spelling
    assert effective["model_hash"] == "autov2:6ce0161689"
    sent = server.posts[-1][1]["override_settings"]["sd_model_checkpoint"]
    assert sent == "x.safetensors [6ce0161689]"
    assert {"x", "x.safetensors [6ce0161689]"} <= set(backend.choices()["model"])


def test_a_hash_that_the_server_made_up_is_not_reported(serve: Serve, connect: Connect) -> None:
    """sd-server says 8888888888; Forge for half a year hashed the file's name."""
    assert "model_hash" not in draw(connect(serve("sdcpp"))).images[0].effective
    server = serve("forge")
    server.tweak = edit_info({"sd_model_hash": "ae8d8dd0e5"})
    assert draw(connect(server)).images[0].effective["model_hash"] == "autov2:ae8d8dd0e5"
    fake = hashlib.sha256(b"random-mini.safetensors").hexdigest()[:10]
    server.tweak = edit_info({"sd_model_hash": fake})
    assert "model_hash" not in draw(connect(server)).images[0].effective


def test_unknown_names_are_refused_with_a_hint_and_lists_are_read_again(
    serve: Serve, connect: Connect
) -> None:
    """A model that was added since the start is found."""
    server = serve("forge")
    backend = connect(server)
    with pytest.raises(BackendError, match=r"sampler 'euler_ancestral'.*did you mean 'Euler a'"):
        draw(backend, sampler="euler_ancestral")
    with pytest.raises(BackendError, match="model 'nosuch'"):
        draw(backend, model="nosuch")
    with pytest.raises(BackendError, match="hires_upscaler 'nosuch'"):
        draw(backend, hires_scale=2, hires_upscaler="nosuch")
    assert not server.posts
    server.recorded["get_sd-models"]["json"].append(
        {"title": "new.safetensors", "model_name": "new"}
    )
    assert draw(backend, model="new").images


def test_a_batch_is_one_post_and_every_picture_has_its_seed(serve: Serve, connect: Connect) -> None:
    """Three servers, three places where the seeds stand."""
    for dialect in ("forge", "sdnext", "sdcpp"):
        server = serve(dialect)
        generation = draw(connect(server), batch_size=3)
        assert len(server.posts) == 1
        assert [image.effective["seed"] for image in generation.images] == [3, 4, 5]
        assert len({image.png for image in generation.images}) == 3


def test_a_grid_before_the_pictures_is_left_out(serve: Serve, connect: Connect) -> None:
    """``index_of_first_image`` says where they begin."""

    def put_grid_first(answer: dict[str, Any]) -> None:
        answer["images"].insert(0, base64.b64encode(png()).decode())
        edit_info({"index_of_first_image": 1})(answer)

    server = serve("forge")
    plain = draw(connect(server), batch_size=2)
    server.tweak = put_grid_first
    assert draw(connect(server), batch_size=2).images == plain.images


def test_hires_fix_is_asked_for_in_every_dialect(serve: Serve, connect: Connect) -> None:
    """Forge fails without one field, SD.Next needs three more, sd-server renames one."""
    hires = {
        "hires_scale": 2.0,
        "hires_upscaler": "Latent",
        "hires_steps": 2,
        "hires_denoising_strength": 0.6,
    }
    expected: dict[str, dict[str, Any]] = {
        "forge": {
            "hr_second_pass_steps": 2,
            "denoising_strength": 0.6,
            "hr_additional_modules": [],
        },
        "sdcpp": {"hr_steps": 2, "denoising_strength": 0.6},
        "sdnext": {"hr_denoising_strength": 0.6, "hr_resize_mode": 1, "hr_force": True},
    }
    for dialect, fields in expected.items():
        server = serve(dialect)
        upscaler = {"hires_upscaler": "Latent Bicubic"} if dialect == "sdnext" else {}
        image = draw(connect(server), **{**hires, **upscaler}).images[0]
        assert pixels(image.png).shape == (128, 128, 3)
        assert (image.effective["width"], image.effective["hires_scale"]) == (64, 2.0)
        assert fields.items() <= server.posts[-1][1].items()


def test_hires_fix_of_sdnext_has_an_upscaler_and_a_strength_of_its_own(
    serve: Serve, connect: Connect
) -> None:
    """A real one answers 500 where none is named, and tells img2img's strength beside its own."""
    server = serve("sdnext")
    image = draw(connect(server), hires_scale=2.0, hires_denoising_strength=0.6).images[0]
    assert image.effective["hires_denoising_strength"] == 0.6
    assert server.posts[-1][1]["hr_upscaler"] == "Latent Bilinear"


def test_hires_fix_that_enlarged_nothing_is_a_mismatch(serve: Serve, connect: Connect) -> None:
    """SD.Next was recorded answering with the first pass."""
    server = serve("forge")

    def shrink(answer: dict[str, Any]) -> None:
        answer["images"] = [base64.b64encode(png((64, 64))).decode()]

    server.tweak = shrink
    request = Txt2ImgRequest(**FOX, hires_scale=2.0)
    assert misfits(connect(server).generate(request, Steps()), request) == {"hires_scale": 1.0}


def test_a_mask_redraws_only_what_it_shows(serve: Serve, connect: Connect) -> None:
    """The API's own defaults would smear the picture and enlarge the hole."""
    mask = Image.new("RGB", (64, 64))
    mask.paste("white", (32, 0, 64, 64))
    buffer = io.BytesIO()
    mask.save(buffer, "WEBP", lossless=True)
    server = serve("forge")
    request = Img2ImgRequest(
        prompt="a fox", init_image=png(kind="WEBP"), mask=buffer.getvalue(), mask_blur=2
    )
    image = connect(server).generate(request, Steps()).images[0]
    given = pixels(png())
    assert np.abs(pixels(image.png)[:, :32] - given[:, :32]).max() < 12
    assert np.abs(pixels(image.png)[:, 32:] - given[:, 32:]).max() > 40
    body = server.posts[-1][1]
    assert (body["mask_blur"], body["inpainting_fill"], body["inpaint_full_res"]) == (2, 1, False)
    assert (body["width"], body["height"]) == (64, 64), "not the API's own 512"
    assert base64.b64decode(body["init_images"][0]).startswith(b"\x89PNG")


def test_an_input_of_an_uneven_size_is_told(serve: Serve, connect: Connect) -> None:
    """Nobody asked for the size, so it is no mismatch, but it changed."""
    request = Img2ImgRequest(prompt="a fox", init_image=png((100, 75)))
    generation = connect(serve("forge")).generate(request, Steps())
    assert any("100x75" in w and "96x72" in w for w in generation.warnings)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"steps": 30}, "knob steps"),
        ({"sampler_name": "Heun"}, "knob sampler"),
        ({"n_iter": 2}, "knob batch_size"),
        ({"send_images": False}, "set by safelight"),
        ({"override_settings": {"sd_model_checkpoint": "x"}}, "knob model"),
        ({"override_settings": 3}, "must be a table"),
    ],
)
def test_extra_knobs_may_not_override_safelights_own(
    serve: Serve, connect: Connect, extra: dict[str, Any], message: str
) -> None:
    """The record would say one thing and the server do another."""
    server = serve("forge")
    with pytest.raises(BackendError, match=message):
        draw(connect(server), extra=extra)
    assert not server.posts


def test_upscaling_is_done_there_where_it_can_be_and_here_where_it_cannot(
    serve: Serve, connect: Connect
) -> None:
    """And it is said who did it."""
    request = UpscaleRequest(init_image=png(), upscaler="R-ESRGAN 4x+", scale=2)
    generation = connect(serve("forge")).generate(request, Steps())
    assert generation.images[0].effective == {"upscaler": "R-ESRGAN 4x+", "scale": 2}
    assert generation.warnings == ()
    for dialect in ("sdnext", "sdcpp"):
        backend = connect(serve(dialect))
        plain = backend.generate(UpscaleRequest(init_image=png(), scale=2), Steps())
        assert plain.images[0].effective == {"upscaler": "Lanczos", "scale": 2}
        assert any("Pillow" in w for w in plain.warnings)
        with pytest.raises(BackendError, match="R-ESRGAN"):
            backend.generate(request, Steps())


def test_an_enlargement_that_is_not_to_the_pixel_is_a_mismatch(
    serve: Serve, connect: Connect
) -> None:
    """AUTOMATIC1111 rounds to multiples of eight."""
    request = UpscaleRequest(init_image=png((50, 50)), upscaler="Lanczos", scale=1.5)
    image = connect(serve("forge")).generate(request, Steps()).images[0]
    assert pixels(image.png).shape[:2] == (72, 72)
    assert image.effective["scale"] == 1.44


def test_a_jpeg_is_converted_and_told(serve: Serve, connect: Connect) -> None:
    """The option samples_format decides what the API sends."""

    def as_jpeg(answer: dict[str, Any]) -> None:
        answer["images"] = [base64.b64encode(png(kind="JPEG")).decode()]

    server = serve("forge")
    server.tweak = as_jpeg
    generation = draw(connect(server))
    pixels(generation.images[0].png)
    assert generation.images[0].effective["seed"] == 3, "the info beside it still tells"
    assert any("samples_format" in w for w in generation.warnings)


@pytest.mark.parametrize("dialect", ["forge", "sdnext", "sdcpp"])
def test_hires_fix_has_a_strength_also_where_none_is_stated(
    serve: Serve, connect: Connect, dialect: str
) -> None:
    """The API's own default is none, and Forge compares it with a number."""
    server = serve(dialect)
    upscaler = {"sdnext": "Latent Bicubic"}.get(dialect, "Latent")
    draw(connect(server), hires_scale=2.0, hires_upscaler=upscaler)
    field = "hr_denoising_strength" if dialect == "sdnext" else "denoising_strength"
    assert server.posts[-1][1][field] == 0.7


def test_a_sampler_has_one_name_whatever_the_server_calls_it(
    serve: Serve, connect: Connect
) -> None:
    """sd-server of 2026 says euler_a in the JSON beside its pictures."""
    server = serve("forge")

    def name_natively(answer: dict[str, Any]) -> None:
        answer["info"] = json.dumps({**json.loads(answer["info"]), "sampler_name": "euler_a"})

    server.tweak = name_natively
    image = draw(connect(server), sampler="Euler a").images[0]
    assert image.effective["sampler"] == "Euler a"


def test_settings_of_the_server_are_recorded_beside_each_picture(
    serve: Serve, connect: Connect
) -> None:
    """They change pixels and nobody asked for them; the texts of the pictures know them."""
    server = serve("forge")
    server.flow_key = "ENSD: 31337, RNG: CPU, Distilled CFG Scale"
    image = draw(connect(server)).images[0]
    assert image.effective["extra"] == {"ENSD": "31337", "RNG": "CPU"}


def test_a_lora_that_was_put_there_meanwhile_is_found(serve: Serve, connect: Connect) -> None:
    """A server looks at its folder once; it is asked to look again before a name is refused."""
    server = serve("forge")
    server.recorded["get_loras"]["json"] = []
    server.put_there = [{"name": "ink", "alias": "ink", "path": "ink.safetensors"}]
    effective = draw(connect(server), prompt="a fox <lora:ink:0.5>").images[0].effective
    assert effective["prompt"] == "a fox <lora:ink:0.5>"
