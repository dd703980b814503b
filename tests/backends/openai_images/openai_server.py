"""ImagesServer: a server of ``/v1/images`` as each dialect's documents tell it, over real HTTP.

``sd-server`` is told from the real one (stable-diffusion-cpp-python 0.4.7): its lists, its errors,
the text in its pictures, seeds that count up. The others are told from their documents and
sources; fields that they do not know are passed over in silence, as theirs are. Pictures are drawn
here, from whatever of the request acts on that server.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

__all__ = ["KINDS", "Handler", "ImagesServer", "drop", "refuse", "silence"]

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one kind of server is, as data.

    Attributes:
        models: What ``/v1/models`` answers with.
        others: Path -> what else GET answers with.
        acts: Fields of a request that change pixels, dotted where nested.
        edits: Whether ``/v1/images/edits`` exists.
        mask: Its field of a mask.
        seeds: ``up``: n pictures count up; ``none``: every picture is of chance.
        beside: What stands in answers beside the pictures.
    """

    models: Body
    others: Mapping[str, Any] = field(default_factory=dict)
    acts: tuple[str, ...] = ()
    edits: bool = False
    mask: str = ""
    seeds: str = "up"
    beside: Mapping[str, Any] = field(default_factory=dict)


def _models(owner: str | None, *names: str) -> Body:
    about = {} if owner is None else {"owned_by": owner}
    entries = [{"id": name, "object": "model", **about} for name in names]
    return {"object": "list", "data": entries}


_LIKE_DIFFUSERS = (
    "num_inference_steps", "guidance_scale", "true_cfg_scale", "seed", "negative_prompt",
    "flow_shift",
)  # fmt: skip
_SDCPP = (
    "seed", "negative_prompt", "clip_skip", "strength", "sample_params.sample_steps",
    "sample_params.guidance.txt_cfg", "sample_params.guidance.distilled_guidance",
    "sample_params.flow_shift", "sample_params.sample_method", "sample_params.scheduler",
    "sample_params.eta",
)  # fmt: skip

KINDS: Mapping[str, Kind] = {
    "vllm-omni": Kind(
        models=_models("vllm", "Tongyi-MAI/Z-Image-Turbo"),
        others={"/version": {"version": "0.26.0"}},
        acts=_LIKE_DIFFUSERS,
        edits=True,
        mask="mask_image",
        beside={"output_format": "png", "size": "512x512"},
    ),
    "sglang": Kind(
        models=_models("sglang", "Qwen/Qwen-Image"),
        others={"/models": {"model_path": "Qwen/Qwen-Image", "pipeline_class": "QwenImage"}},
        acts=_LIKE_DIFFUSERS,
        edits=True,
    ),
    "localai": Kind(
        models=_models(None, "dreamshaper"),
        others={"/version": {"version": "v4.1.0"}, "/system": {"loaded_models": []}},
        acts=("step", "seed"),
    ),
    "sd-server": Kind(
        models=_models("local", "sd-cpp-local"),
        others={
            "/sdcpp/v1/capabilities": {
                "model": {"name": "sdxs.safetensors", "path": "sdxs.safetensors", "stem": "sdxs"},
                "samplers": ["euler", "euler_a", "dpm++2m", "lcm", "ddim_trailing", "er_sde"],
                "schedulers": ["discrete", "karras", "exponential", "ays", "simple", "lcm"],
            }
        },
        acts=_SDCPP,
        edits=True,
        mask="mask",
    ),
    "dynamo": Kind(
        models=_models("nvidia", "black-forest-labs/FLUX.1-dev"),
        acts=("nvext.num_inference_steps", "nvext.guidance_scale", "nvext.seed",
              "nvext.negative_prompt"),
    ),
    "openai": Kind(
        models=_models("openai", "gpt-image-1", "dall-e-3"),
        edits=True,
        mask="mask",
        seeds="none",
        beside={"quality": "high", "background": "opaque"},
    ),
}  # fmt: skip


class ImagesServer:
    """One server on a free port; use it as a context.

    Attributes:
        posts: (path, fields, files) of every request for pictures, in order.
        asked: Every path that was asked for, with the headers of the request.
        script: Path -> what to do instead, each once, in order.
        format: What pictures are encoded as.
        tweak: Changes the answer before it is sent.
        files: Path -> what GET answers with there: status, headers, content.
        hold: Waited for before a picture is drawn.
    """

    def __init__(self, kind: str, *, key: str = "", says: str | None = None) -> None:
        self.kind = KINDS[kind]
        self.name = kind if says is None else says
        self.key = key
        self.posts: list[tuple[str, Body, dict[str, bytes]]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.script: dict[str, list[Callable[[Handler], None]]] = {}
        self.format = "PNG"
        self.tweak: Callable[[Body], None] = lambda answer: None
        self.files: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.hold: threading.Event | threading.Barrier | None = None
        self.over = threading.Event()
        self.drawn = 0
        self._http = _Http(("127.0.0.1", 0), Handler)
        self._http.images = self
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> ImagesServer:
        return self

    def __exit__(self, *details: object) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def sent(self) -> list[Body]:
        """The fields of every request for pictures; those within the prompt taken out of it."""
        return [_taken_out(body) for _, body, _ in self.posts]

    def answer(self, body: Body, files: dict[str, bytes]) -> Body:
        """Return the answer to a request."""
        body = _taken_out(body)
        number = int(body.get("n", 1))
        given = next((data for name, data in files.items() if name.startswith("image")), None)
        width, height = _size(body, given)
        if self.name == "sd-server":
            width, height = (-(-side // 64) * 64 for side in (width, height))
        pictures = []
        for place in range(number):
            knobs = {path: _at(body, path) for path in self.kind.acts}
            seed_path = next((path for path in knobs if path.endswith("seed")), "")
            seed = int(knobs.get(seed_path) or 0) + place
            knobs[seed_path] = seed
            if self.kind.seeds == "none":
                self.drawn += 1
                knobs["chance"] = self.drawn
            knobs["prompt"] = body["prompt"]
            strength = float(knobs.pop("strength", None) or 0.75)
            strength = 0.5 if self.name != "sd-server" else strength
            if body.get("strength") == 0:
                strength = 0.0
            mask = files.get(self.kind.mask) if self.kind.mask else None
            picture = _drawn(knobs, (width, height), given, strength, mask)
            text = _sdcpp_text(body, seed, picture.size) if self.name == "sd-server" else ""
            pictures.append({"b64_json": _encoded(picture, self.format, text)})
        return {"created": 1, "data": pictures, **self.kind.beside}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    images: ImagesServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        images = self.server.images
        images.asked.append((self.path, dict(self.headers)))
        if self._scripted() or self._unauthorized():
            return
        path = self.path.partition("?")[0]
        if path in images.files:
            status, headers, content = images.files[path]
            self.send(status, content, **headers)
        elif path == "/v1/models":
            self.reply(200, images.kind.models)
        elif path in images.kind.others:
            self.reply(200, images.kind.others[path])
        else:
            self.send(404, b"")

    def do_POST(self) -> None:
        images = self.server.images
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        images.asked.append((self.path, dict(self.headers)))
        body, files = _parsed(self.headers.get("Content-Type", ""), content)
        images.posts.append((self.path, body, files))
        if self._scripted() or self._unauthorized():
            return
        known = self.path == "/v1/images/generations" or (
            self.path == "/v1/images/edits" and images.kind.edits
        )
        if not known:
            self.reply(404, {"detail": "Not Found"})
            return
        if images.hold is not None:
            images.hold.wait(30)
        answer = images.answer(body, files)
        images.tweak(answer)
        self.reply(200, answer)

    def reply(self, status: int, body: Any) -> None:
        """Answer with JSON."""
        self.send(status, json.dumps(body).encode(), **{"Content-Type": "application/json"})

    def send(self, status: int, content: bytes, **headers: str) -> None:
        """Answer with *content*."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def _scripted(self) -> bool:
        left = self.server.images.script.get(self.path)
        if not left:
            return False
        left.pop(0)(self)
        return True

    def _unauthorized(self) -> bool:
        key = self.server.images.key
        if not key or self.headers.get("Authorization") == f"Bearer {key}":
            return False
        self.reply(401, {"error": {"message": "Incorrect API key provided", "type": "auth"}})
        return True


def refuse(status: int, body: Any) -> Callable[[Handler], None]:
    """Answer with *status* and *body*."""
    return lambda handler: handler.reply(status, body)


def drop(handler: Handler) -> None:
    """Break the connection off without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def silence(handler: Handler) -> None:
    """Say nothing until the server ends."""
    handler.server.images.over.wait(30)
    handler.close_connection = True


def _parsed(kind: str, content: bytes) -> tuple[Body, dict[str, bytes]]:
    if not kind.startswith("multipart/"):
        body = json.loads(content)
        assert isinstance(body, dict)
        return body, {}
    message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content)
    body, files = {}, {}
    for part in message.get_payload():
        assert not isinstance(part, str)
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if part.get_filename():
            files[name] = data
        else:
            body[name] = data.decode()
    return body, files


def _taken_out(body: Body) -> Body:
    """Return the request with what stands in its prompt, as sd-server takes it."""
    found = re.search(r"<sd_cpp_extra_args>(.*?)</sd_cpp_extra_args>", body["prompt"])
    if found is None:
        return body
    prompt = re.sub(r"<sd_cpp_extra_args>.*?</sd_cpp_extra_args>", "", body["prompt"])
    return {**body, "prompt": prompt, **json.loads(found[1])}


def _at(body: Body, path: str) -> Any:
    value: Any = body
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _size(body: Body, given: bytes | None) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", str(body.get("size", "")))
    if found:
        return int(found[1]), int(found[2])
    if given is not None:
        with Image.open(io.BytesIO(given)) as picture:
            return picture.size
    return 64, 64


def _drawn(
    knobs: Body, size: tuple[int, int], given: bytes | None, strength: float, mask: bytes | None
) -> Image.Image:
    text = json.dumps(knobs, sort_keys=True)
    chance = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:15], 16))
    small = chance.integers(0, 256, (4, 4, 3), np.uint8)
    drawn = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    if given is None:
        return drawn
    with Image.open(io.BytesIO(given)) as picture:
        before = picture.convert("RGB").resize(size)
    after = Image.blend(before, drawn, strength)
    if mask is None:
        return after
    with Image.open(io.BytesIO(mask)) as shown:
        clear = shown.mode == "RGBA"
        place = shown.getchannel("A").point(lambda v: 255 - v) if clear else shown.convert("L")
    return Image.composite(after, before, place.resize(size))


def _encoded(picture: Image.Image, kind: str, text: str) -> str:
    buffer = io.BytesIO()
    if kind == "PNG":
        about = PngImagePlugin.PngInfo()
        if text:
            about.add_text("parameters", text)
        picture.save(buffer, "PNG", pnginfo=about)
    else:
        picture.save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def _sdcpp_text(body: Body, seed: int, size: tuple[int, int]) -> str:
    """Return what the real one writes into its pictures, its own defaults included."""
    stated = body.get("sample_params", {})
    guidance = stated.get("guidance", {})
    sampling = {
        "custom_sigmas": [],
        "eta": stated.get("eta"),
        "flow_shift": stated.get("flow_shift"),
        "guidance": {
            "distilled_guidance": guidance.get("distilled_guidance", 3.5),
            "img_cfg": None,
            "txt_cfg": float(np.float32(guidance.get("txt_cfg", 7.0))),
        },
        "shifted_timestep": 0,
        "steps": stated.get("sample_steps", 20),
    }
    names = {"method": "sample_method", "scheduler": "scheduler"}
    sampling |= {key: stated[name] for key, name in names.items() if name in stated}
    facts = {
        "clip_skip": body.get("clip_skip", -1),
        "height": size[1],
        "models": {"model": "sdxs.safetensors", "taesd": "taesd.safetensors"},
        "prompt": {"negative": body.get("negative_prompt", ""), "positive": body["prompt"]},
        "sampling": sampling,
        "schema": "sdcpp.image.params/v1",
        "seed": seed,
        "strength": float(np.float32(body.get("strength", 0.75))),
        "width": size[0],
    }
    return f"{body['prompt']}\nSteps: 1, Version: stable-diffusion.cpp, SDCPP: {json.dumps(facts)}"
