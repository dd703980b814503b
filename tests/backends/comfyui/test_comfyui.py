"""The ComfyUI engine keeps the contract, and builds the graphs that our stages mean."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.backend_contract import Steps, pixels
from backends.comfyui.comfyui_contract import ComfyuiContract
from backends.comfyui.fake_server import FakeComfyUI
from safelight.backends import create_backend
from safelight.backends.comfyui import ComfyuiBackend
from safelight.errors import BackendError, GenerationCancelled
from safelight.pipeline.backend import (
    Generation,
    Img2ImgRequest,
    Txt2ImgRequest,
    UpscaleRequest,
)

FIELDS: dict[str, Any] = {
    "prompt": "a lighthouse",
    "seed": 3,
    "steps": 2,
    "width": 64,
    "height": 48,
}


@pytest.fixture
def server() -> Iterator[FakeComfyUI]:
    with FakeComfyUI() as server:
        yield server


@pytest.fixture
def backend(server: FakeComfyUI) -> Iterator[ComfyuiBackend]:
    backend = ComfyuiBackend(url=server.url)
    yield backend
    backend.close()


class TestComfyuiBackend(ComfyuiContract):
    @pytest.fixture
    def backend(self, server: FakeComfyUI) -> Iterator[ComfyuiBackend]:
        backend = ComfyuiBackend(url=server.url)
        yield backend
        backend.close()

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return FIELDS


class TestComfyuiBackendWithoutWebsocket(ComfyuiContract):
    """A proxy that lets no websocket through costs progress, and nothing else."""

    @pytest.fixture
    def backend(self, server: FakeComfyUI) -> Iterator[ComfyuiBackend]:
        server.websocket = False
        backend = ComfyuiBackend(url=server.url)
        yield backend
        backend.close()

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return FIELDS


def txt2img(backend: ComfyuiBackend, **changes: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{**FIELDS, **changes}), Steps())


def nodes(server: FakeComfyUI, kind: str) -> list[dict[str, Any]]:
    """Return the inputs of every node of class *kind* in the last graph that was posted."""
    graph = server.posted[-1]["prompt"]
    return [node["inputs"] for node in graph.values() if node["class_type"] == kind]


def test_the_entry_point_finds_it(server: FakeComfyUI) -> None:
    """``backend = "comfyui"`` in a config is all it takes."""
    backend = create_backend("comfyui", {"url": server.url})
    assert isinstance(backend, ComfyuiBackend)
    backend.close()


def test_it_says_who_asks(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """To ComfyUI, as its page does, and to our pack inside of it, which then notes nothing."""
    txt2img(backend)
    posted = server.posted[-1]
    beside = {"safelight": posted["prompt_id"], "comfy_usage_source": "safelight"}
    assert posted["extra_data"] == beside


def test_nothing_is_asked_before_it_must_be() -> None:
    """Checking a config must not need a server."""
    ComfyuiBackend(url="http://127.0.0.1:9").close()


def test_previews_arrive_as_png_files(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """Servers send JPEG; whoever shows them need not care."""
    shown = threading.Event()
    previews: list[bytes] = []

    def on_step(step: int, steps: int, preview: bytes | None = None) -> None:
        if preview is not None:
            previews.append(preview)
            shown.set()

    server.mid_step = lambda _, step: step == 2 and shown.wait(10)
    backend.generate(Txt2ImgRequest(**FIELDS), on_step)
    assert pixels(previews[0]).shape == (48, 64, 3)


def test_loras_are_chained_and_leave_the_prompt(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """ComfyUI reads no tags; each becomes a loader, and the record keeps the tag."""
    prompt = "a fox <lora:bend:0.5> <lora:anna:0.2:0.7>"
    (image,) = txt2img(backend, prompt=prompt).images
    graph = server.posted[-1]["prompt"]
    assert graph["100"]["inputs"] == {
        "lora_name": "bend.safetensors",
        "strength_model": 0.5,
        "strength_clip": 0.5,
        "model": ["4", 0],
        "clip": ["4", 1],
    }
    assert graph["101"]["inputs"]["lora_name"] == "people/anna.safetensors"
    assert graph["101"]["inputs"]["strength_clip"] == 0.2
    assert graph["101"]["inputs"]["strength_model"] == 0.7
    assert graph["3"]["inputs"]["model"] == ["101", 0]
    assert graph["6"]["inputs"] == {"text": "a fox", "clip": ["101", 1]}
    assert image.effective["prompt"] == prompt


def test_a_lora_that_the_server_lacks_is_refused(backend: ComfyuiBackend) -> None:
    with pytest.raises(BackendError, match=r"no LoRA 'bendy' on ComfyUI.*bend\.safetensors"):
        txt2img(backend, prompt="a fox <lora:bendy:1>")


def test_automatic_is_reported_as_the_schedule_that_it_is(backend: ComfyuiBackend) -> None:
    """It depends on the sampler; a record that says Automatic says nothing."""
    (image,) = txt2img(backend, sampler="DPM++ 2M", scheduler="Automatic").images
    assert image.effective["scheduler"] == "Karras"


def test_a_schedule_that_is_only_nearly_the_same_is_told(backend: ComfyuiBackend) -> None:
    """ComfyUI's beta is over timesteps, AUTOMATIC1111's over sigmas."""
    assert "Beta" in txt2img(backend, scheduler="Beta").warnings[0]


@pytest.mark.parametrize(("knob", "name"), [("sampler", "PLMS"), ("scheduler", "Align Your Steps")])
def test_what_ksampler_cannot_do_is_refused(
    server: FakeComfyUI, backend: ComfyuiBackend, knob: str, name: str
) -> None:
    """And nothing is posted."""
    with pytest.raises(BackendError, match=f"{knob} '{name}'"):
        txt2img(backend, **{knob: name})
    assert not server.posted


def test_knobs_without_effect_are_told(backend: ComfyuiBackend) -> None:
    """Eta and extra knobs; a sweep over them would be in vain."""
    eta, extra = txt2img(backend, eta=0.5, extra={"tiling": True}).warnings
    assert "eta" in eta
    assert "tiling" in extra


def test_a_batch_is_several_seeds_queued_together(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """ComfyUI draws a batch from one seed; each of ours can be drawn again alone."""
    generation = txt2img(backend, batch_size=3, seed=2**64 - 2)
    seeds = [image.effective["seed"] for image in generation.images]
    assert seeds == [2**64 - 2, 2**64 - 1, 0]
    assert [image.effective["batch_size"] for image in generation.images] == [3, 3, 3]
    (alone,) = txt2img(backend, seed=2**64 - 1).images
    assert alone.png == generation.images[1].png
    assert [path for _, path in server.asked if path == "/prompt"] == ["/prompt"] * 4


def test_a_picture_that_was_fetched_outlasts_a_cancellation(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """Its last step is told of when it is there: who stops the run then keeps it."""
    drawn: list[Generation] = []

    def stop(step: int, steps: int, preview: bytes | None = None) -> None:
        if any(path == "/view" for _, path in server.asked):
            raise GenerationCancelled("stop")

    request = Txt2ImgRequest(**{**FIELDS, "batch_size": 2})
    with pytest.raises(GenerationCancelled):
        drawn.extend(backend.generate_rest(request, stop, 0))
    assert len(drawn) == 1


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos", "tiny_x4.safetensors"])
def test_hires_fix_is_a_second_pass(
    server: FakeComfyUI, backend: ComfyuiBackend, upscaler: str
) -> None:
    """With the same seed, on the enlarged picture; width and height stay the first pass's."""
    steps = Steps()
    request = Txt2ImgRequest(
        **FIELDS,
        hires_scale=1.5,
        hires_upscaler=upscaler,
        hires_steps=4,
        hires_denoising_strength=0.5,
    )
    (image,) = backend.generate(request, steps).images
    assert pixels(image.png).shape == (72, 96, 3)
    assert steps.seen[-1] == (6, 6)
    first, second = nodes(server, "KSampler")
    assert (first["seed"], first["steps"], first["denoise"]) == (3, 2, 1.0)
    assert (second["seed"], second["steps"], second["denoise"]) == (3, 4, 0.5)
    wanted = {
        "width": 64, "height": 48, "hires_scale": 1.5, "hires_upscaler": upscaler,
        "hires_steps": 4, "hires_denoising_strength": 0.5, "steps": 2,
    }  # fmt: skip
    assert {knob: image.effective[knob] for knob in wanted} == wanted


def test_a_hires_scale_that_fits_no_latent_is_told(backend: ComfyuiBackend) -> None:
    """And the factor that was really used is reported."""
    generation = txt2img(backend, width=72, height=72, hires_scale=1.5)
    assert "108 x 108" in generation.warnings[0]
    (image,) = generation.images
    assert pixels(image.png).shape == (112, 112, 3)
    assert image.effective["hires_scale"] == 112 / 72
    assert image.effective["width"] == 72


def test_a_mask_keeps_what_is_black(backend: ComfyuiBackend) -> None:
    """To the pixel: what the VAE would have changed there is put back."""
    (given,) = txt2img(backend).images
    mask = Image.new("L", (64, 48))
    mask.paste(255, (32, 0, 64, 48))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    request = Img2ImgRequest(
        **{**FIELDS, "seed": 9},
        init_image=given.png,
        mask=buffer.getvalue(),
        denoising_strength=1.0,
    )
    (image,) = backend.generate(request, Steps()).images
    before, after = pixels(given.png), pixels(image.png)
    assert (before[:, :32] == after[:, :32]).all()
    assert (before[:, 32:] != after[:, 32:]).any()


def test_a_mask_of_another_size_is_refused(backend: ComfyuiBackend) -> None:
    """ComfyUI would stretch it in silence."""
    (given,), (mask,) = (txt2img(backend).images, txt2img(backend, width=32).images)
    request = Img2ImgRequest(**FIELDS, init_image=given.png, mask=mask.png)
    with pytest.raises(BackendError, match="mask must be as large"):
        backend.generate(request, Steps())


def test_inputs_are_uploaded_by_what_they_hold(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """Equal pictures share a file; different ones never overwrite each other."""
    (given,) = txt2img(backend).images
    for scale in (2, 3):
        backend.generate(UpscaleRequest(init_image=given.png, scale=scale), Steps())
    assert len(server.inputs) == 1
    (name,) = server.inputs
    assert name.startswith("safelight-")


def test_an_upscale_model_is_followed_by_the_exact_size(backend: ComfyuiBackend) -> None:
    """A model has one factor of its own; the knob has any."""
    (given,) = txt2img(backend).images
    request = UpscaleRequest(init_image=given.png, scale=3, upscaler="tiny_x4.safetensors")
    (image,) = backend.generate(request, Steps()).images
    assert pixels(image.png).shape == (144, 192, 3)
    assert image.effective == {"upscaler": "tiny_x4.safetensors", "scale": 3}


def test_clip_skip_and_vae_become_nodes(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """And are read back from the graph that ran."""
    (image,) = txt2img(backend, clip_skip=2, vae="sharp.safetensors").images
    assert nodes(server, "CLIPSetLastLayer") == [{"clip": ["4", 1], "stop_at_clip_layer": -2}]
    assert nodes(server, "VAEDecode")[0]["vae"] == ["10", 0]
    assert image.effective["clip_skip"] == 2
    assert image.effective["vae"] == "sharp.safetensors"


def test_separate_loaders_replace_the_checkpoint(server: FakeComfyUI) -> None:
    """As Flux and its kin are shipped."""
    lists = {
        ("UNETLoader", "unet_name"): "flux.safetensors",
        ("DualCLIPLoader", "clip_name1"): "t5.safetensors",
        ("DualCLIPLoader", "clip_name2"): "l.safetensors",
    }
    for (kind, name), value in lists.items():
        server.object_info[kind]["input"]["required"][name][0] = [value]
    backend = ComfyuiBackend(
        url=server.url,
        unet="flux.safetensors",
        clip=["t5.safetensors", "l.safetensors"],
        clip_type="flux",
        vae="sharp.safetensors",
    )
    (image,) = txt2img(backend).images
    assert not nodes(server, "CheckpointLoaderSimple")
    assert nodes(server, "KSampler")[0]["model"] == ["4", 0]
    assert nodes(server, "CLIPTextEncode")[0]["clip"] == ["12", 0]
    assert image.effective["model"] == "flux.safetensors"
    assert image.effective["vae"] == "sharp.safetensors"
    assert image.effective["weight_dtype"] == "default"
    assert image.effective["text_encoders"] == "t5.safetensors, l.safetensors"
    assert backend.choices()["model"] == ("flux.safetensors",)
    backend.close()


@pytest.mark.parametrize(("count", "kind"), [(3, "TripleCLIPLoader"), (4, "QuadrupleCLIPLoader")])
def test_up_to_four_text_encoders_are_loaded(server: FakeComfyUI, count: int, kind: str) -> None:
    """SD3 wants three, HiDream four."""
    server.object_info["UNETLoader"]["input"]["required"]["unet_name"][0] = ["big.safetensors"]
    files = [f"{number}.safetensors" for number in range(1, count + 1)]
    inputs = {f"clip_name{number}": [files] for number in range(1, count + 1)}
    server.object_info[kind] = {"input": {"required": inputs}, "output_node": False}
    backend = ComfyuiBackend(
        url=server.url, unet="big.safetensors", clip=files, clip_type="sd3",
        vae="sharp.safetensors",
    )  # fmt: skip
    (image,) = txt2img(backend).images
    assert nodes(server, kind) == [dict(zip(inputs, files, strict=True))]
    assert image.effective["text_encoders"] == ", ".join(files)
    backend.close()


def test_a_sampler_with_its_schedule_in_its_name_is_told_apart(backend: ComfyuiBackend) -> None:
    """It is how web UIs once called it."""
    with pytest.raises(BackendError, match=r"sampler 'DPM\+\+ 2M' and scheduler 'Karras'"):
        txt2img(backend, sampler="DPM++ 2M Karras")


def _with_files(server: FakeComfyUI) -> None:
    """Give the server a diffusion model and two text encoders."""
    lists = {
        ("UNETLoader", "unet_name"): ["big.safetensors"],
        ("CLIPLoader", "clip_name"): ["one.safetensors", "two.safetensors"],
        ("DualCLIPLoader", "clip_name1"): ["one.safetensors"],
        ("DualCLIPLoader", "clip_name2"): ["two.safetensors"],
    }
    for (kind, name), values in lists.items():
        server.object_info[kind]["input"]["required"][name][0] = values


@pytest.mark.parametrize(
    ("clip_type", "kind"), [("sd3", "ModelSamplingSD3"), ("lumina2", "ModelSamplingAuraFlow")]
)
def test_models_of_flows_are_shifted_guided_and_rescaled(
    server: FakeComfyUI, clip_type: str, kind: str
) -> None:
    """Each by the node that ComfyUI has for it, told from the graph that ran."""
    _with_files(server)
    for loader in ("CLIPLoader", "DualCLIPLoader"):
        server.object_info[loader]["input"]["required"]["type"][0] = [clip_type]
    backend = ComfyuiBackend(
        url=server.url, unet="big.safetensors", clip="one.safetensors", clip_type=clip_type,
        vae="sharp.safetensors",
    )  # fmt: skip
    others = {
        "guidance": 2.5, "cfg_rescale": 0.5, "shift": 3.0,
        "text_encoders": "two.safetensors", "weight_dtype": "fp8_e5m2",
    }  # fmt: skip
    (image,) = txt2img(backend, others=others).images
    assert nodes(server, kind) == [{"model": ["4", 0], "shift": 3.0}]
    assert nodes(server, "RescaleCFG") == [{"model": ["25", 0], "multiplier": 0.5}]
    assert nodes(server, "FluxGuidance") == [{"conditioning": ["6", 0], "guidance": 2.5}]
    (sampler,) = nodes(server, "KSampler")
    assert (sampler["model"], sampler["positive"]) == (["26", 0], ["27", 0])
    assert {knob: image.effective[knob] for knob in others} == others
    with pytest.raises(BackendError, match="weight_dtype"):
        txt2img(backend, others={"weight_dtype": "nope"})
    (image,) = txt2img(backend, others={"text_encoders": "one.safetensors, two.safetensors"}).images
    assert image.effective["text_encoders"] == "one.safetensors, two.safetensors"
    with pytest.raises(BackendError, match="text_encoders must name 1 to 4 files"):
        txt2img(backend, others={"text_encoders": " , "})
    backend.close()


def test_what_a_checkpoint_cannot_be_asked_is_told(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """A shift by the wrong node draws noise, so it is not guessed."""
    others = {"shift": 3.0, "sigmas": "1, 0", "cache": "TeaCache 0.4", "weight_dtype": "fp8",
              "text_encoders": "t5"}  # fmt: skip
    generation = txt2img(backend, others=others)
    for knob in others:
        assert any(w.startswith(f"{knob} = ") for w in generation.warnings), knob
        assert knob not in generation.images[0].effective


def test_an_unchanged_graph_is_served_from_the_cache_and_is_a_picture(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """The server repeats the old file; nothing is wrong with that."""
    first, second = txt2img(backend), txt2img(backend)
    assert first.images[0].png == second.images[0].png
    assert second.warnings == ()
    assert len(server.files) == 1


def test_pictures_come_as_the_server_made_them(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """ComfyUI's own chunks let its users open the graph again."""
    (image,) = txt2img(backend).images
    assert [image.png] == list(server.files.values())


def test_values_are_read_from_the_graph_that_ran(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """An extension of the server may change a graph on its way in."""
    submit = server.submit

    def changed(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        body["prompt"]["3"]["inputs"].update(steps=1, sampler_name="heun")
        return submit(body)

    server.submit = changed  # type: ignore[method-assign,assignment]
    (image,) = txt2img(backend).images
    assert image.effective["steps"] == 1
    assert image.effective["sampler"] == "Heun"


def test_both_shapes_of_lists_are_read(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """Old nodes list their choices first, new ones as options."""
    choices = backend.choices()
    assert choices["model"] == ("tiny.safetensors",)
    assert "tiny_x4.safetensors" in choices["upscaler"]
    assert "Latent" in choices["hires_upscaler"]
    assert {"Euler a", "DPM++ 2M", "Euler CFG++"} <= set(choices["sampler"])
    assert {"Automatic", "Karras", "Linear Quadratic"} <= set(choices["scheduler"])
    assert "karras" not in choices["scheduler"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "127.0.0.1:8188"}, "url must look like"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "60"}, "timeout"),
        ({"unet": "flux.safetensors"}, "all of unet, clip and vae"),
        ({"unet": "u", "vae": "v", "clip": ["a"] * 5}, "1 to 4 text encoders, got 5"),
        ({"map": {"txt2img.steps": "3.steps"}}, "set workflow"),
        ({"workflow": "nowhere.json"}, "nowhere.json cannot be read"),
        ({"verify": "nowhere.pem"}, "nowhere.pem"),
    ],
)
def test_a_wrong_option_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    """Not in the middle of the first picture."""
    with pytest.raises(BackendError, match=message):
        ComfyuiBackend(**options)


def test_pixels_differ_with_every_knob_that_shapes_them(backend: ComfyuiBackend) -> None:
    """A knob that never reaches the graph would show here."""
    plain = pixels(txt2img(backend).images[0].png)
    for change in (
        {"prompt": "a tower"}, {"negative_prompt": "blurry"}, {"steps": 3}, {"cfg_scale": 2},
        {"sampler": "Heun"}, {"scheduler": "Karras"}, {"clip_skip": 2},
    ):  # fmt: skip
        assert np.any(pixels(txt2img(backend, **change).images[0].png) != plain), change
