"""ReplayServer: Forge, SD.Next or sd-server as they were recorded, and kin, over real HTTP.

Lists, refusals and the shape of every answer are the recordings; pictures are drawn here, from
seed and knobs, with the server's own silent substitutions, and carry its own infotext.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, PngImagePlugin

__all__ = ["Handler", "ReplayServer", "drop", "html", "refuse", "reply", "silence", "truncated"]

_DATA = Path(__file__).parents[2] / "data" / "engines" / "a1111"
DialectName = Literal["forge", "sdnext", "sdcpp", "forge_neo", "reforge", "koboldcpp", "drawthings"]
Body = dict[str, Any]


class ReplayServer:
    """One server on a free port; use it as a context.

    Attributes:
        posts: (path, body) of every POST of a job, in order.
        interrupts: How often it was told to interrupt.
        script: Path -> what to do instead, each once, in order.
        state: What progress says of the job that runs, or of none.
        polls: Times that progress must be asked before a job ends.
        seconds: What a job takes at least.
        previews: Whether progress shows a half-done picture.
        tweak: Changes the answer to a job before it is sent.
        flow_key: What Forge's text calls ``distilled_cfg_scale`` with the model that is loaded;
            empty when the model has none, as Stable Diffusion.
        put_there: LoRAs that it finds when it is asked to look again.
        kind: Who it is; *dialect* is whose answers it shares where it has none of its own.
        texts: Whether pictures come with a text about them.
    """

    def __init__(
        self, dialect: DialectName, *, login: tuple[str, str] | None = None, port: int = 0
    ) -> None:
        self.kind = dialect
        self.recorded: dict[str, Any] = _answers(dialect)
        self.dialect: str = self.recorded.get("like", dialect)
        self.login = login
        self.posts: list[tuple[str, Body]] = []
        self.asked: list[str] = []
        self.interrupts = 0
        self.script: dict[str, list[Callable[[Handler], None]]] = {}
        self.tasks: dict[str, str] | None = None
        self.polls = 0
        self.seconds = 0.0
        self.previews = False
        self.flow_key = ""
        self.put_there: list[Body] = []
        self.texts = self.kind not in ("koboldcpp", "drawthings")
        self.tweak: Callable[[Body], None] = lambda answer: None
        self.state = self._idle()
        self.polled = threading.Semaphore(0)
        self.over = threading.Event()
        self.stopped = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._port = port
        self.start()

    def start(self) -> None:
        """Listen, on the same port as before."""
        self.over = threading.Event()
        self._http = _Http(("127.0.0.1", self._port), Handler)
        self._http.replay = self
        self._port = self._http.server_address[1]
        self.state = self._idle()
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self) -> None:
        """Die at once: connections break off, nobody listens."""
        self._http.shutdown()
        self._http.server_close()
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.over.set()

    def restart(self) -> None:
        """Die, and be back with nothing to do."""
        self.kill()
        self._one_at_a_time = threading.Lock()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> ReplayServer:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.over.is_set():
            self.kill()

    def _idle(self) -> Body:
        state = self.recorded["get_progress"].get("json")
        return dict(state["state"], interrupted=False) if state else {"job": ""}

    def begin_someone_elses(self, steps: int = 30) -> None:
        """Let another client's job run."""
        self.state = self._running(steps, stamp="20260101000000")

    def end_someone_elses(self) -> None:
        self.state = self._idle()

    def _running(self, steps: int, stamp: str) -> Body:
        state: Body = dict(self.recorded["progress_during_txt2img"]["json"]["state"])
        state.update(sampling_step=0, sampling_steps=steps, job_timestamp=stamp, interrupted=False)
        return state

    # what it answers

    def listed(self, name: str) -> Any:
        return self.recorded[f"get_{name}"]

    def progress(self, query: str) -> Body:
        state: Body = json.loads(json.dumps(self.recorded["get_progress"]["json"]))
        running = bool(self.state["job"])
        if running and self.state["sampling_step"] < self.state["sampling_steps"]:
            self.state["sampling_step"] += 1
        state["state"] = dict(self.state)
        if running and self.previews and "skip_current_image=true" not in query:
            state["current_image"] = _base64(_noise("preview", self.state["sampling_step"], 16, 16))
        if running:
            self.polled.release()
        return state

    def interrupt(self) -> None:
        self.interrupts += 1
        if self.state["job"]:
            self.state["interrupted"] = True
            self.stopped.set()

    def job(self, path: str, body: Body) -> tuple[int, Body]:
        """Carry out one job, after those that came before; return status and answer."""
        refusal = self._refusal(path, body)
        if refusal is not None:
            return refusal["status"], refusal["json"]
        task = str(body.get("force_task_id", ""))
        if self.tasks is not None:
            self.tasks[task] = "queued"
        over = self.over
        with self._one_at_a_time:
            steps = body.get("steps") or 20
            stamp = f"20261122{len(self.posts):06d}"
            if self.dialect != "sdcpp":
                self.state = self._running(steps, stamp)
            if self.tasks is not None:
                self.tasks[task] = "active"
            self.stopped.clear()
            over.wait(self.seconds)
            for _ in range(self.polls):
                while not (over.is_set() or self.stopped.is_set()):
                    if self.polled.acquire(timeout=0.02):
                        break
            if over.is_set():
                raise ConnectionAbortedError("this server is no more")
            answer = self._answer(path, body, stamp)
            if self.dialect != "sdcpp":
                self.state = {**self._idle(), "interrupted": self.stopped.is_set()}
                self.state["job_timestamp"] = stamp
            if self.tasks is not None:
                self.tasks[task] = "completed"
        self.tweak(answer)
        return 200, answer

    def _refusal(self, path: str, body: Body) -> Any:
        here = self.recorded
        wrong = {k for k in ("steps", "width", "cfg_scale") if isinstance(body.get(k), str)}
        if wrong:
            return here["txt2img_width_str"] if "width" in wrong else here["txt2img_cfg_str"]
        if self.kind in ("koboldcpp", "drawthings"):
            return None
        if self.dialect == "sdcpp":
            if not body.get("prompt"):
                return here["txt2img_empty_prompt"]
            known = [e["name"] for e in self.listed("upscalers")["json"]]
            known += [e["name"] for e in self.listed("latent-upscale-modes")["json"]]
            return here["hires_bad"] if body.get("hr_upscaler", "Latent") not in known else None
        if body.get("steps") == 0 and self.dialect == "forge":
            return here["txt2img_steps_zero"]
        if path == "img2img" and not body.get("init_images"):
            return here["img2img_no_init"]
        if path == "img2img" and _opened(body["init_images"][0]) is None:
            return here["img2img_bad_b64"]
        if self.dialect == "sdnext" and "sampler_name" in body:
            names = {e["name"].lower() for e in self.listed("samplers")["json"]}
            if body["sampler_name"].lower() not in names:
                return here["txt2img_bad_sampler"]
        if self.dialect == "sdnext" and body.get("enable_hr") and not body.get("hr_upscaler"):
            told = "'NoneType' object has no attribute 'lower'"  # seen of a real one
            return {"status": 500, "json": {"error": "AttributeError", "errors": told}}
        if (
            self.dialect == "forge"
            and self.kind != "reforge"
            and body.get("enable_hr")
            and "hr_additional_modules" not in body
        ):
            return here["hires_latent"]
        return None

    def _answer(self, path: str, body: Body, stamp: str) -> Body:
        if self.kind == "drawthings":
            body = {_A1111_FIELDS.get(name, name): value for name, value in body.items()}
        used = self._used(path, body)
        pictures, texts = [], []
        count = body.get("batch_size") or 1
        for number in range(count):
            own = {**used, "seed": (used["seed"] + number) % 2**64}
            texts.append(self._infotext(own))
            drawn = self._picture(path, body, own)
            pictures.append(_base64(drawn, texts[-1] if self.texts else ""))
        answer: Body = {"images": pictures, "parameters": body, "info": ""}
        if not self.texts:
            return {"images": pictures, "parameters": {}, "info": ""}
        if self.dialect == "sdcpp":
            return answer
        # As recorded: a field that these servers do not know is missing from their echo.
        answer["parameters"] = {k: v for k, v in body.items() if not k.startswith("no_such")}
        info = json.loads(self.recorded[f"{path}_ok"]["json"]["info"])
        seeds = [(used["seed"] + number) % 2**64 for number in range(count)]
        info.update(
            prompt=used["prompt"], negative_prompt=used["negative_prompt"], seed=used["seed"],
            all_prompts=[used["prompt"]] * count, all_seeds=seeds,
            all_negative_prompts=[used["negative_prompt"]] * count, infotexts=texts,
            sampler_name=used["sampler"] or "Default", cfg_scale=used["cfg_scale"],
            steps=used["steps"], width=used["width"], height=used["height"],
            batch_size=count, clip_skip=used["clip_skip"], job_timestamp=stamp,
        )  # fmt: skip
        if path == "img2img" or body.get("enable_hr"):
            info["denoising_strength"] = used["denoising_strength"]
        if self.dialect == "forge":
            info["sd_model_name"] = used["model"]
            info["extra_generation_params"] = {"Schedule type": used["scheduler"]}
            vae = used["options"].get("sd_vae", "Automatic")
            info["sd_vae_name"] = None if vae in ("Automatic", "None") else vae
        answer["info"] = json.dumps(info)
        return answer

    def _used(self, path: str, body: Body) -> Body:
        """What this server makes of *body*, its silent substitutions included."""
        prompt = str(body.get("prompt", ""))
        inline: Body = {}
        if self.dialect == "sdcpp":
            match = re.search(r"<sd_cpp_extra_args>(.*?)</sd_cpp_extra_args>", prompt)
            inline = json.loads(match[1]) if match else {}
            prompt = prompt.replace(match[0], "") if match else prompt
        options = body.get("override_settings", {})
        own = {**(self.listed("options").get("json") or {}), **options}
        seed: int = inline["seed"] if "seed" in inline else body.get("seed", 1234)
        if self.dialect == "sdcpp" and "seed" not in inline and seed > 2**31 - 1:
            seed = 424242
        return {
            "prompt": prompt,
            "negative_prompt": body.get("negative_prompt", ""),
            "seed": seed,
            "steps": body.get("steps") or {"forge": 50, "sdnext": 20, "sdcpp": 20}[self.dialect],
            "cfg_scale": float(body.get("cfg_scale", 7)),
            "width": self._side(body.get("width") or 512),
            "height": self._side(body.get("height") or 512),
            "sampler": self._sampler(body.get("sampler_name")),
            "scheduler": self._scheduler(body.get("scheduler")),
            "model": self._model(options.get("sd_model_checkpoint")),
            "options": {name: own[name] for name in _SHAPING if name in own},
            "clip_skip": int(own.get("CLIP_stop_at_last_layers", 1))
            if self.dialect == "forge"
            else body.get("clip_skip", 1),
            "eta": inline.get("sample_params", {}).get("eta") or body.get("eta"),
            "flow": self._flow(body, inline),
            "denoising_strength": body.get(
                "denoising_strength", 0.3 if self.dialect == "sdnext" else 0.75
            ),
            "hires_strength": body.get("hr_denoising_strength", 0.0),
        }

    def _flow(self, body: Body, inline: Body) -> Body:
        """Infotext key -> value, of the settings that came with FLUX.1; as in their sources."""
        if self.dialect == "sdcpp":
            parameters = dict(inline.get("sample_params", {}))
            return (
                {**parameters, "cache": inline["cache_mode"]}
                if "cache_mode" in inline
                else parameters
            )
        if self.dialect == "sdnext":
            shift = (
                {"Sampler shift": body["schedulers_shift"]} if "schedulers_shift" in body else {}
            )
            return {"CFG rescale": body.get("cfg_rescale", 0.0), **shift}
        files = body.get("override_settings", {}).get("forge_additional_modules", [])
        modules = {f"Module {n}": Path(file).stem for n, file in enumerate(files, 1)}
        if not self.flow_key:
            return {}
        return {self.flow_key: body.get("distilled_cfg_scale", 3.5), **modules}

    def _settings(self, used: Body) -> Body:
        """Infotext key -> value of the server's own settings, as AUTOMATIC1111 1.10 writes them."""
        options = used["options"]
        ensd = options.get("eta_noise_seed_delta", 0)
        merged, source = options.get("token_merging_ratio", 0), options.get("randn_source", "GPU")
        said = {
            "ENSD": int(ensd) if used["sampler"] in _ANCESTRAL else 0,
            "Token merging ratio": merged, "RNG": source if source != "GPU" else "",
        }  # fmt: skip
        return {key: value for key, value in said.items() if value}

    def _side(self, pixels: int) -> int:
        if self.kind in ("koboldcpp", "drawthings"):
            return max(64, pixels // 64 * 64)
        return -(-pixels // 64) * 64 if self.dialect == "sdcpp" else max(8, pixels // 8 * 8)

    def _sampler(self, name: str | None) -> str:
        name = name or ""
        listed = self.listed("samplers").get("json") or []
        known = {e["name"].lower(): str(e["name"]) for e in listed}
        if self.dialect == "forge":
            return name if name in known.values() else "DPM++ 2M" if name else "Euler"
        return known.get(name.lower(), "")

    def _scheduler(self, name: str | None) -> str:
        if self.dialect == "sdnext":
            return ""
        known = [e["label"] for e in self.listed("schedulers").get("json") or []]
        return name if name and name in known else {"forge": "Automatic", "sdcpp": ""}[self.dialect]

    def _model(self, asked: str | None) -> str:
        """An unknown model is the one that is loaded."""
        models = self.listed("sd-models").get("json") or [{"model_name": ""}]
        for model in models if asked and self.dialect != "sdcpp" else ():
            if asked in (model["title"], model["model_name"]):
                return str(model["model_name"]).rpartition("/")[2]
        return str(models[0]["model_name"]).rpartition("/")[2]

    def _infotext(self, used: Body) -> str:
        head = [used["prompt"]] + [f"Negative prompt: {n}" for n in [used["negative_prompt"]] if n]
        size = f"{used['width']}x{used['height']}"
        if self.dialect == "forge":
            last = (
                f"Steps: {used['steps']}, Sampler: {used['sampler']}, Schedule type:"
                f" {used['scheduler']}, CFG scale: {used['cfg_scale']}, {_pairs(used['flow'])}Seed:"
                f" {used['seed']}, Size: {size}, Model: {used['model']},"
                f" {_pairs(self._settings(used))}Version: f2.0.1v1.10.1"
            )
        elif self.dialect == "sdnext":
            sampler = f"Sampler: {used['sampler']}, " if used["sampler"] else ""
            strength = f", Hires strength: {used['hires_strength']}"
            last = (
                f"Steps: {used['steps']}, Size: {size}, {sampler}Scheduler: PNDMScheduler, Seed:"
                f" {used['seed']}, CFG scale: {used['cfg_scale']}, {_pairs(used['flow'])}"
                "App: SD.Next, Version: unknown,"
                f" Pipeline: StableDiffusionPipeline, Operations: txt2img, Model: {used['model']}"
                f"{strength if used['hires_strength'] else ''}"
            )
        else:
            last = self._sdcpp_infotext(used, size)
        return "\n".join([*head, last])

    def _sdcpp_infotext(self, used: Body, size: str) -> str:
        flow = used["flow"]
        distilled = flow.get("guidance", {}).get("distilled_guidance", 3.5)
        levels = [float(np.float32(level)) for level in flow.get("custom_sigmas", ())]
        sampling: Body = {
            "eta": used["eta"],
            "flow_shift": flow.get("flow_shift"),
            "guidance": {
                "txt_cfg": float(np.float32(used["cfg_scale"])),
                "distilled_guidance": float(np.float32(distilled)),
            },
            "steps": used["steps"],
            "custom_sigmas": levels,
        }
        for key, value in (("method", used["sampler"]), ("scheduler", used["scheduler"])):
            if value and value != "default":
                sampling[key] = value
        facts = {
            "clip_skip": used["clip_skip"] if used["clip_skip"] > 1 else -1,
            "height": used["height"],
            "models": {"model": f"{used['model']}.safetensors"},
            "prompt": {"negative": used["negative_prompt"], "positive": used["prompt"]},
            "sampling": sampling,
            "seed": used["seed"],
            "strength": used["denoising_strength"],
            "width": used["width"],
        }
        if "cache" in flow:
            facts["cache"] = {"requested_mode": flow["cache"], "requested_option": ""}
        sampler = f"{used['sampler'] or 'NONE'} {used['scheduler']}".strip()
        return (
            f"Steps: {used['steps']}, CFG scale: {used['cfg_scale']:.6f}, Eta: inf, Seed:"
            f" {used['seed']}, Size: {size}, Model: {used['model']}.safetensors, RNG: cuda,"
            f" Sampler: {sampler}, Version: stable-diffusion.cpp, SDCPP:"
            f" {json.dumps(facts, separators=(',', ':'))}"
        )

    def _picture(self, path: str, body: Body, used: Body) -> Image.Image:
        width, height = used["width"], used["height"]
        if body.get("enable_hr") and (self.dialect != "sdnext" or body.get("hr_resize_mode")):
            scale = body.get("hr_scale", 2)
            width, height = self._side(round(width * scale)), self._side(round(height * scale))
        pairs = sorted((k, v) for k, v in used.items() if k not in ("denoising_strength", "seed"))
        drawn = _noise(repr(pairs), used["seed"], width, height)
        given = _opened(body["init_images"][0]) if path == "img2img" else None
        if given is None:
            return drawn
        before = given.resize((width, height))
        drawn = Image.blend(before, drawn, used["denoising_strength"])
        mask = _opened(body["mask"]) if "mask" in body else None
        return drawn if mask is None else Image.composite(drawn, before, mask.convert("L"))

    def enlarged(self, body: Body) -> tuple[int, Body | None]:
        """Answer ``extra-single-image``."""
        if self.dialect == "sdcpp":
            return 404, None
        if self.dialect == "sdnext":
            return 500, self.recorded["extra_single_lanczos"]["json"]
        names = [e["name"] for e in self.listed("upscalers")["json"]]
        if body.get("upscaler_1", "None") not in names:
            return 500, self.recorded["extra_single_bad_upscaler"]["json"]
        picture = _opened(body["image"])
        assert picture is not None
        size = [int(side * body["upscaling_resize"] // 8 * 8) for side in picture.size]
        image = picture.resize((size[0], size[1]))
        return 200, {"html_info": "<p></p>", "image": _base64(image)}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    replay: ReplayServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: _Http
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.replay._sockets.add(self.connection)

    def finish(self) -> None:
        self.server.replay._sockets.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        replay = self.server.replay
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length) if length else b""
        path, _, query = self.path.partition("?")
        replay.asked.append(f"{self.command} {path}")
        if replay.login is not None:
            word = base64.b64encode(":".join(replay.login).encode()).decode()
            if self.headers.get("authorization") != f"Basic {word}":
                self.send(401, {"detail": "Not authenticated"})
                return
        name = path.removeprefix("/sdapi/v1/")
        if self.command == "POST" and name in ("txt2img", "img2img", "extra-single-image"):
            replay.posts.append((name, json.loads(raw)))
        scripted = replay.script.get(name)
        if scripted:
            scripted.pop(0)(self)
            return
        self._answer(replay, name, query, raw)

    def _answer(self, replay: ReplayServer, name: str, query: str, raw: bytes) -> None:
        has_progress = replay.dialect != "sdcpp"
        if self.command == "GET" and name == "progress" and has_progress:
            self.send(200, replay.progress(query))
        elif self.command == "GET" and f"get_{name}" in replay.recorded:
            answer = replay.listed(name)
            self.send(answer["status"], answer.get("json"))
        elif self.command == "POST" and name in ("txt2img", "img2img"):
            self.send(*replay.job(name, json.loads(raw)))
        elif self.command == "POST" and name == "extra-single-image":
            self.send(*replay.enlarged(json.loads(raw)))
        elif self.command == "POST" and name == "refresh-loras" and replay.dialect != "sdcpp":
            replay.recorded["get_loras"]["json"] += replay.put_there
            self.send(200, None)
        elif self.command == "POST" and name == "interrupt" and has_progress:
            replay.interrupt()
            answer = replay.recorded["post_interrupt"]
            self.send(answer["status"], answer.get("json"))
        elif name == "/internal/progress" and replay.tasks is not None:
            state = replay.tasks.get(json.loads(raw)["id_task"], "")
            flags = ("active", "queued", "completed")
            self.send(200, {flag: flag == state for flag in flags})
        elif name == "/internal/progress" and "internal_progress" in replay.recorded:
            self.send(200, replay.recorded["internal_progress"]["json"])
        else:
            self.send(404, None if replay.dialect == "sdcpp" else {"detail": "Not Found"})

    def send(self, status: int, body: Any, kind: str = "application/json") -> None:
        """Send *body*: bytes as they are, anything else as JSON, None as nothing."""
        data = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        self.send_response(status)
        if data:
            self.send_header("content-type", kind)
        if status != 204:
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def reply(status: int, body: Any, kind: str = "application/json") -> Callable[[Handler], None]:
    """Answer with this instead."""
    return lambda handler: handler.send(status, body, kind)


def refuse(name: str) -> Callable[[Handler], None]:
    """Answer with what was recorded under *name*."""

    def answer(handler: Handler) -> None:
        recorded = handler.server.replay.recorded[name]
        handler.send(recorded["status"], recorded.get("json"))

    return answer


def html(status: int) -> Callable[[Handler], None]:
    """Answer as a proxy or a login page would."""
    return reply(status, b"<html><body>hello</body></html>", "text/html; charset=utf-8")


def drop(handler: Handler) -> None:
    """Close the connection without a word."""
    with contextlib.suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def truncated(handler: Handler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"images": ["iVBOR')
    handler.wfile.flush()
    drop(handler)


def silence(handler: Handler) -> None:
    """Say nothing until the server ends."""
    handler.server.replay.over.wait(60)
    handler.close_connection = True


_ANCESTRAL = ("Euler a", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE")
"""Samplers whose noise the seed's delta moves."""

_SHAPING = ("eta_noise_seed_delta", "token_merging_ratio", "randn_source", "sd_vae")

_A1111_FIELDS = {
    "guidance_scale": "cfg_scale", "sampler": "sampler_name", "strength": "denoising_strength",
}  # fmt: skip


def _answers(name: str) -> dict[str, Any]:
    """Return what is known of a server, over what it shares with the one that it is like."""
    own: dict[str, Any] = json.loads((_DATA / f"{name}.json").read_text("utf-8"))
    return {**(_answers(own["like"]) if "like" in own else {}), **own}


def _pairs(infotext: Body) -> str:
    return "".join(f"{key}: {value}, " for key, value in infotext.items())


def _opened(encoded: str) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            return image.convert("RGB")
    except (OSError, ValueError):
        return None


def _noise(words: str, seed: int, width: int, height: int) -> Image.Image:
    digest = hashlib.sha256(f"{words} {seed}".encode("utf-8", "backslashreplace")).digest()
    chance = np.random.default_rng(list(digest))
    small = chance.integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)


def _base64(image: Image.Image, text: str = "") -> str:
    info = PngImagePlugin.PngInfo()
    if text:
        info.add_itxt("parameters", text)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until *happened*; a test that waits for nothing fails after ten seconds."""
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)
