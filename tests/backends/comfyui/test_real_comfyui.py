"""The ComfyUI engine on ComfyUI itself, with random weights.

Needs a server: ``make test-comfyui`` sets one up and runs this. By hand, either name a folder that
``real_server.py`` has prepared in ``SAFELIGHT_COMFYUI_DIR``, or a server that runs with such models
in ``SAFELIGHT_COMFYUI_URL``.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from backends.backend_contract import Steps, pixels
from backends.comfyui.comfyui_contract import ComfyuiContract
from backends.comfyui.real_server import CHECKPOINT, UPSCALER, RealServer
from safelight.application.examples import EXAMPLES
from safelight.application.workflow_config import workflow_knobs
from safelight.backends.comfyui import ComfyuiBackend
from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError, BackendUnavailable, GenerationCancelled
from safelight.formats.png_chunks import png_texts
from safelight.pipeline.backend import (
    Backend,
    Generation,
    Img2ImgRequest,
    Txt2ImgRequest,
    UpscaleRequest,
)
from safelight.pipeline.stages import stage_request

FOLDER = os.environ.get("SAFELIGHT_COMFYUI_DIR", "")
URL = os.environ.get("SAFELIGHT_COMFYUI_URL", "")
OWN_GRAPH = EXAMPLES / "workflows" / "own_graph.json"
FIELDS: dict[str, Any] = {
    "prompt": "a lighthouse",
    "seed": 3,
    "steps": 2,
    "width": 32,
    "height": 32,
}

if not (FOLDER or URL):
    pytest.skip(
        "no real ComfyUI: run `make test-comfyui`, or set SAFELIGHT_COMFYUI_DIR or _URL",
        allow_module_level=True,
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if URL:
        yield URL
        return
    with RealServer(Path(FOLDER)) as server:
        yield server.url


@pytest.fixture
def backend(url: str) -> Iterator[ComfyuiBackend]:
    backend = ComfyuiBackend(url=url)
    yield backend
    backend.close()


class TestRealComfyui(ComfyuiContract):
    @pytest.fixture
    def backend(self, url: str) -> Iterator[ComfyuiBackend]:
        backend = ComfyuiBackend(url=url)
        yield backend
        backend.close()

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return FIELDS

    def test_what_is_reported_are_knobs_with_right_values(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """Size and steps are stated: the defaults would take minutes on a processor."""
        small = {name: request_fields[name] for name in ("prompt", "width", "height", "steps")}
        image = self.draw(backend, small)
        assert image.effective == {
            **small,
            "negative_prompt": "",
            "model": CHECKPOINT,
            "seed": 0,
            "sampler": "Euler",
            "scheduler": "Normal",
            "cfg_scale": 8,
        }

    def test_redrawing_keeps_the_more_the_lower_the_strength(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """Measured from strength 0, because an untrained VAE gives no picture back as it was."""
        given = self.draw(backend, request_fields)
        drawn = []
        for strength in (0.0, 0.3, 1.0):
            request = Img2ImgRequest(
                init_image=given.png,
                denoising_strength=strength,
                **{**request_fields, "seed": 987, "prompt": "something else"},
            )
            (image,) = backend.generate(request, Steps()).images
            assert image.effective["denoising_strength"] == strength
            drawn.append(pixels(image.png))
        near, far = (float(np.abs(picture - drawn[0]).mean()) for picture in drawn[1:])
        assert 0 < near < far


def txt2img(backend: Backend, **changes: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{**FIELDS, **changes}), Steps())


def test_a_stop_before_the_answer_to_a_post_is_read_leaves_no_job_behind(
    backend: ComfyuiBackend,
) -> None:
    """As ^C may come; the server has the job by then."""

    def interrupt(response: httpx.Response) -> None:
        if response.request.url.path == "/prompt":
            raise KeyboardInterrupt

    server = backend._server
    server._client.event_hooks = {"response": [interrupt]}
    with pytest.raises(KeyboardInterrupt):
        txt2img(backend, steps=2000, seed=77, job_id="stopped")

    def is_ours(job: Any) -> bool:
        return '"steps": 2000' in json.dumps(job[2])

    for _ in range(1200):  # it ends with the step in hand
        queue = server.json(server.get("/queue"))
        if not any(map(is_ours, [*queue["queue_running"], *queue["queue_pending"]])):
            break
        time.sleep(0.1)
    else:
        pytest.fail("it draws on")
    entries = server.json(server.get("/history")).values()
    ended = [entry["status"]["status_str"] for entry in entries if is_ours(entry["prompt"])]
    assert ended in ([], ["error"])


def test_it_says_which_comfyui_it_is(backend: ComfyuiBackend) -> None:
    """Versions change pixels."""
    description = backend.describe()
    assert description.version
    assert description.environment["pytorch"]
    assert CHECKPOINT in backend.choices()["model"]


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos", UPSCALER])
def test_hires_fix_redraws_larger(backend: ComfyuiBackend, upscaler: str) -> None:
    """Latent, by filter, by model."""
    (image,) = txt2img(backend, hires_scale=1.5, hires_upscaler=upscaler, hires_steps=1).images
    assert pixels(image.png).shape == (48, 48, 3)
    assert image.effective["hires_upscaler"] == upscaler
    assert image.effective["width"] == 32


def test_a_mask_keeps_what_is_black(backend: ComfyuiBackend) -> None:
    """To the pixel."""
    import io

    from PIL import Image

    (given,) = txt2img(backend).images
    mask = Image.new("L", (32, 32))
    mask.paste(255, (16, 0, 32, 32))
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
    assert (before[:, :16] == after[:, :16]).all()
    assert (before[:, 16:] != after[:, 16:]).any()


def test_a_lora_and_clip_skip_change_the_picture(backend: ComfyuiBackend) -> None:
    """They reach the networks, not only the graph."""
    plain = pixels(txt2img(backend).images[0].png)
    bent = txt2img(backend, prompt=f"{FIELDS['prompt']} <lora:bend:1>")
    assert bent.warnings == ()
    assert (pixels(bent.images[0].png) != plain).any()
    assert (pixels(txt2img(backend, clip_skip=3).images[0].png) != plain).any()


def test_an_upscale_model_gives_the_size_that_was_asked_for(backend: ComfyuiBackend) -> None:
    """Its own factor is 4."""
    (given,) = txt2img(backend).images
    request = UpscaleRequest(init_image=given.png, upscaler=UPSCALER, scale=2.5)
    (image,) = backend.generate(request, Steps()).images
    assert pixels(image.png).shape == (80, 80, 3)


def test_a_batch_can_be_drawn_again_one_by_one(backend: ComfyuiBackend) -> None:
    """The second of a batch is the picture of the next seed."""
    batch = txt2img(backend, batch_size=2, seed=50).images
    (alone,) = txt2img(backend, seed=51).images
    assert (pixels(batch[1].png) == pixels(alone.png)).all()
    assert [image.effective["seed"] for image in batch] == [50, 51]


def test_the_file_keeps_the_graph_that_drew_it(backend: ComfyuiBackend) -> None:
    """ComfyUI's users drop pictures into it to open their graph."""
    (image,) = txt2img(backend).images
    graph = json.loads(png_texts(image.png)["prompt"])
    assert graph["3"]["inputs"]["seed"] == FIELDS["seed"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 8}, "txt2img.width: Value 8 smaller than min of 16"),
        ({"cfg_scale": 500}, "txt2img.cfg_scale: Value 500.* bigger than max"),
        ({"model": "tinny.safetensors"}, "txt2img.model: .*did you mean 'tiny.safetensors'"),
        ({"sampler": "euler_ancestrel"}, "txt2img.sampler: .*'euler_ancestrel'"),
        ({"vae": "none.pt"}, "txt2img.vae: .*'none.pt'"),
    ],
)
def test_a_refusal_names_the_knob(
    backend: ComfyuiBackend, change: dict[str, Any], message: str
) -> None:
    """Not node 3."""
    with pytest.raises(BackendError, match=message):
        txt2img(backend, **change)


def test_a_workflow_of_ones_own_runs_with_its_knobs_mapped(url: str) -> None:
    """What no knob is mapped to keeps the workflow's value."""
    backend = ComfyuiBackend(
        url=url,
        workflow=str(OWN_GRAPH),
        map={
            "txt2img.model": "Load Checkpoint.ckpt_name",
            "txt2img.prompt": "@Prompt.inputs.text",
            "txt2img.seed": "3.inputs.seed",
            "txt2img.steps": "KSampler.steps",
            "txt2img.sampler": "KSampler.sampler_name",
            "txt2img.width": "5.width",
            "txt2img.height": "5.height",
        },
    )
    (image,) = txt2img(backend, model=CHECKPOINT, sampler="DPM++ 2M").images
    assert image.effective == {**FIELDS, "model": CHECKPOINT, "sampler": "DPM++ 2M"}
    ran = json.loads(png_texts(image.png)["prompt"])
    assert ran["3"]["inputs"]["cfg"] == 8.0
    assert ran["7"]["inputs"]["text"] == "text, watermark"
    with pytest.raises(BackendError, match=r"txt2img\.cfg_scale: asked for"):
        txt2img(backend, model=CHECKPOINT, cfg_scale=3)
    backend.close()


def test_a_picture_is_a_workflow_whose_knobs_can_be_swept(url: str, tmp_path: Path) -> None:
    """What safelight workflow makes of a file of ComfyUI's draws just what our stages draw."""
    server = EngineServer("ComfyUI", url)
    own = ComfyuiBackend(url=url)
    path = tmp_path / "wf.png"
    path.write_bytes(txt2img(own, prompt="a barn <lora:bend:0.5>").images[0].png)
    found = workflow_knobs(str(path), server=server)
    server.close()
    assert found.notes == ()
    config = found.config(tmp_path)
    options = {**config["backend"], "workflow": str(path)}
    del options["name"]
    theirs = ComfyuiBackend(**options)
    assert config["txt2img"].pop("extra") == {"lora_bend": 0.5}
    stated = stage_request("txt2img", {**config["txt2img"], "steps": 3}, None)
    (image,) = theirs.generate(stated, Steps()).images
    (wanted,) = txt2img(own, prompt="a barn <lora:bend:0.5>", steps=3).images
    assert image.png == wanted.png, "the same graph, so that the server repeats the file"
    assert image.effective["steps"] == 3
    own.close()
    theirs.close()


def test_it_is_there_with_api_before_every_path_too(url: str) -> None:
    """As a proxy or a host may have it, the websocket included."""
    backend = ComfyuiBackend(url=f"{url}/api")
    steps = Steps()
    request = Txt2ImgRequest(**{**FIELDS, "seed": time.time_ns() % 2**32, "steps": 4})
    assert backend.generate(request, steps).images
    assert steps.previews
    backend.close()


def test_its_loaders_of_text_encoders_take_what_we_give_them(url: str) -> None:
    """Three and four are loaded by nodes that are not told their kind."""
    for count, kind in ((3, "TripleCLIPLoader"), (4, "QuadrupleCLIPLoader")):
        about = httpx.get(f"{url}/object_info/{kind}").json()[kind]
        assert list(about["input"]["required"]) == [f"clip_name{n}" for n in range(1, count + 1)]


def test_a_stop_interrupts_the_job_and_nobody_elses(url: str, backend: ComfyuiBackend) -> None:
    """Ours waits behind another client's: it leaves the queue, the other one is finished."""
    other = ComfyuiBackend(url=url)
    done: list[Generation] = []
    began = threading.Event()

    def draw_for_the_other() -> None:
        request = Txt2ImgRequest(**{**FIELDS, "seed": time.time_ns() % 2**32, "steps": 12})
        done.append(other.generate(request, lambda *_: began.set()))

    thread = threading.Thread(target=draw_for_the_other)
    thread.start()
    assert began.wait(60)
    with pytest.raises(GenerationCancelled):
        backend.generate(Txt2ImgRequest(**{**FIELDS, "seed": 77}), Steps(stop_after=2))
    thread.join(120)
    other.close()
    assert len(done[0].images) == 1
    assert httpx.get(f"{url}/queue").json() == {"queue_running": [], "queue_pending": []}


def test_a_running_job_is_interrupted_within_a_step(url: str, backend: ComfyuiBackend) -> None:
    """A thousand steps are not waited for."""
    request = Txt2ImgRequest(**{**FIELDS, "steps": 1000, "seed": time.time_ns() % 2**32})

    def stop_at_two(step: int, steps: int, preview: bytes | None = None) -> None:
        if step >= 2:
            raise GenerationCancelled("stopped by the test")

    with pytest.raises(GenerationCancelled):
        backend.generate(request, stop_at_two)
    for _ in range(600):  # until the step ends that was running
        if not httpx.get(f"{url}/queue").json()["queue_running"]:
            return
        time.sleep(0.1)
    pytest.fail("the job was not interrupted")


def test_a_repeated_request_finds_its_job_again(url: str, backend: ComfyuiBackend) -> None:
    """Servers note things in a graph that they ran; it is the same graph all the same."""
    (given,) = txt2img(backend).images
    request = UpscaleRequest(init_image=given.png, scale=2, job_id=f"run-{time.time_ns()}")
    first = backend.generate(request, Steps())
    jobs = len(httpx.get(f"{url}/history").json())
    second = backend.generate(request, Steps())
    assert second.images[0].png == first.images[0].png
    assert len(httpx.get(f"{url}/history").json()) == jobs


@pytest.mark.skipif(not FOLDER, reason="only a server of our own may be killed")
def test_a_server_that_dies_and_comes_back_lost_the_job_and_draws_it_again(
    tmp_path: Path,
) -> None:
    """Neither a hang nor a picture that is not there; the next request finds the new server."""
    server = RealServer(Path(FOLDER))
    server.start()
    backend = ComfyuiBackend(url=server.url)

    def kill_at_two(step: int, steps: int, preview: bytes | None = None) -> None:
        if step >= 2:
            server.kill()

    try:
        request = Txt2ImgRequest(
            **{**FIELDS, "steps": 200, "seed": time.time_ns() % 2**32}, job_id="killed"
        )
        with pytest.raises(BackendUnavailable):
            backend.generate(request, kill_at_two)
        server.start()
        again = Txt2ImgRequest(**FIELDS, job_id="killed")
        assert backend.generate(again, Steps()).images
    finally:
        backend.close()
        server.kill()
