"""FakeComfyUI: ComfyUI's HTTP and websocket interface, with pictures that cost nothing.

Answers after the exchanges in ``tests/data/engines/comfyui``: it validates graphs by the recorded
inputs, limits and choices, keeps a queue and a history, serves unchanged graphs from its cache,
and draws a deterministic picture by walking the graph. What servers do wrong can be asked for.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from PIL import Image

__all__ = ["DATA", "FailedNode", "FakeComfyUI", "load_exchange"]

DATA = Path(__file__).resolve().parents[2] / "data" / "engines" / "comfyui"
_WIDE = 2**64 - 1
_FLOW_NODES = (
    ("FluxGuidance", "conditioning", "guidance", 100),
    ("ModelSamplingAuraFlow", "model", "shift", 100),
    ("ModelSamplingSD3", "model", "shift", 100),
    ("RescaleCFG", "model", "multiplier", 1),
)
"""Class, link, input and its limit, from ComfyUI's source: they were not recorded."""


def load_exchange(name: str) -> list[dict[str, Any]]:
    """Return the recorded exchanges of *name*, each with ``request`` and ``response``."""
    loaded = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    exchanges: list[dict[str, Any]] = loaded["exchanges"]
    return exchanges


@dataclass
class _Job:
    prompt_id: str
    client_id: str
    graph: dict[str, Any]
    outputs: tuple[str, ...]
    number: int
    beside: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False


@dataclass
class FakeComfyUI:
    """One server; a context manager.

    Attributes:
        websocket: Whether ``/ws`` is there.
        canned: Path -> (status, content type, body) to answer instead.
        mid_step: Called in the working thread before every sampling step.
        taken: Called when a job is in the queue; where it says so, its post is not answered.
        own_ids: Whether jobs get ids of its own, as those of before 2025 do.
        drop_answer_to: Paths whose next POST is carried out and then not answered.
        png: Changes a file on its way through ``/view``.
        login: ``user:password`` that every request must bring; empty for none.
        cache_outputs: Whether an unchanged graph repeats the old files.
        jobs: Whether there is ``/api/jobs``, as in ComfyUI of 2026.
        cancels: Whether jobs can be cancelled there.
        hosted: Whether it is there as Comfy Cloud documents: below ``/api`` only, with ids of its
            own, an interrupt that stops whatever runs, and files that are elsewhere.
        key: What ``X-API-Key`` must say; empty for nothing.
        storage: Where a hosted server says that a file is: its name is put behind.
        port: Where it listens; any that is free when 0.
    """

    websocket: bool = True
    canned: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    mid_step: Callable[[FakeComfyUI, int], object] = lambda server, step: None
    taken: Callable[[FakeComfyUI], object] = lambda server: False
    own_ids: bool = False
    drop_answer_to: set[str] = field(default_factory=set)
    png: Callable[[bytes], bytes] = lambda png: png
    login: str = ""
    cache_outputs: bool = True
    jobs: bool = False
    cancels: bool = True
    hosted: bool = False
    key: str = ""
    storage: str = ""
    port: int = 0

    def __post_init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.posted: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.inputs: dict[str, bytes] = {}
        self.history: dict[str, Any] = {}
        self.pending: list[_Job] = []
        self.running: _Job | None = None
        self.sockets: list[tuple[str, Any]] = []
        self.object_info = json.loads((DATA / "object_info.json").read_text("utf-8"))
        for kind, link, name, most in _FLOW_NODES:
            inputs = {link: [link.upper()], name: ["FLOAT", {"min": 0, "max": most}]}
            self.object_info[kind] = {"input": {"required": inputs}, "output_node": False}
        lists = {
            ("LoraLoader", "lora_name"): ["bend.safetensors", "people/anna.safetensors"],
            ("VAELoader", "vae_name"): ["pixel_space", "sharp.safetensors"],
        }
        for (kind, name), values in lists.items():
            self.object_info[kind]["input"]["required"][name][0] = values
        self._cache: dict[str, list[dict[str, str]]] = {}
        self._number = 0
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._stopping = False

    # -- life ----------------------------------------------------------------------------

    def __enter__(self) -> FakeComfyUI:
        handler = type("Handler", (_Handler,), {"comfy": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True),
            threading.Thread(target=self._run_jobs, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Stop answering: listening and open connections end."""
        if self._stopping:
            return
        with self._work:
            self._stopping = True
            self._work.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self.close_sockets()

    @property
    def stopped(self) -> bool:
        """Whether it was killed."""
        return self._stopping

    def close_sockets(self) -> None:
        """Break every websocket off, as a proxy may."""
        for _, connection in self.sockets:
            try:
                connection.shutdown(2)
            except OSError:
                continue
        self.sockets.clear()

    def forget(self) -> None:
        """Lose every job, as a restart does."""
        with self._work:
            self.pending.clear()
            self.history.clear()
            self.running = None

    # -- jobs ----------------------------------------------------------------------------

    def submit(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Validate a graph and queue it."""
        graph = body.get("prompt")
        if not isinstance(graph, dict):
            return 400, _error("no_prompt", "No prompt provided", "")
        for node_id, node in graph.items():
            if node.get("class_type") not in self.object_info:
                kind = node.get("class_type")
                text = f"Cannot execute because node {kind} does not exist."
                return 400, _error("invalid_prompt", text, f"Node ID '#{node_id}'")
        outputs = [n for n, v in graph.items() if self.object_info[v["class_type"]]["output_node"]]
        if not outputs:
            return 400, _error("prompt_no_outputs", "Prompt has no outputs", "")
        faults = {node: f for node, v in graph.items() if (f := self._faults(v))}
        node_errors = {
            node: {
                "errors": fault,
                "dependent_outputs": outputs,
                "class_type": graph[node]["class_type"],
            }
            for node, fault in faults.items()
        }
        good = [n for n in outputs if not _upstream(graph, n) & faults.keys()]
        if not good:
            text = "Prompt outputs failed validation"
            error = _error("prompt_outputs_failed_validation", text, "")
            return 400, {**error, "node_errors": node_errors}
        with self._work:
            self._number += 1
            job = _Job(
                prompt_id=str((not self._gives_ids and body.get("prompt_id")) or uuid.uuid4()),
                client_id=str(body.get("client_id", "")),
                graph=graph,
                outputs=tuple(good),
                number=self._number,
                beside=dict(body.get("extra_data") or {}),
            )
            self.posted.append(dict(body))
            self.pending.append(job)
            self._work.notify_all()
        return 200, {
            "prompt_id": job.prompt_id,
            "number": job.number,
            "node_errors": node_errors,
        }

    @property
    def _gives_ids(self) -> bool:
        return self.hosted or self.own_ids

    def _faults(self, node: Mapping[str, Any]) -> list[dict[str, Any]]:
        faults = []
        for name, spec in self.object_info[node["class_type"]]["input"]["required"].items():
            if name not in node["inputs"]:
                faults.append(_fault("required_input_missing", name, "", None))
                continue
            value = node["inputs"][name]
            if isinstance(value, list) or node["class_type"] in ("LoadImage", "LoadImageMask"):
                continue
            faults.extend(self._value_faults(name, spec, value))
        return faults

    def _value_faults(self, name: str, spec: list[Any], value: Any) -> list[dict[str, Any]]:
        options = spec[1] if len(spec) > 1 else {}
        values = spec[0] if isinstance(spec[0], list) else options.get("options")
        if values is not None:
            if value in values:
                return []
            return [_fault("value_not_in_list", name, f"{name}: {value!r} not in list", value)]
        if spec[0] in ("INT", "FLOAT"):
            for limit, kind, word in (
                ("min", "value_smaller_than_min", "smaller than min of"),
                ("max", "value_bigger_than_max", "bigger than max of"),
            ):
                bound = options.get(limit)
                if bound is not None and (value < bound if limit == "min" else value > bound):
                    fault = _fault(kind, name, name, value)
                    return [{**fault, "message": f"Value {value} {word} {bound}"}]
        return []

    def _run_jobs(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self.pending or self._stopping)
                if self._stopping:
                    return
                job = self.running = self.pending.pop(0)
            entry = self._execute(job)
            with self._work:
                if self.running is job and not self._stopping:  # not forgotten meanwhile
                    self.history[job.prompt_id] = entry
                    self.running = None
            self._send(job, "executing", node=None)

    def _execute(self, job: _Job) -> dict[str, Any]:
        """Run *job* and return its entry of the history."""
        messages: list[Any] = [["execution_start", {"prompt_id": job.prompt_id}]]
        self._send(job, "execution_start")
        outputs: dict[str, Any] = {}
        try:
            for node in job.outputs:
                files = self._output(job, node, messages)
                if files is not None:
                    outputs[node] = {"images": files}
            messages.append(["execution_success", {"prompt_id": job.prompt_id}])
            status, ok = "success", True
        except _InterruptedJob:
            messages.append(["execution_interrupted", {"prompt_id": job.prompt_id}])
            status, ok = "error", False
        except FailedNode as failure:
            messages.append(["execution_error", {"prompt_id": job.prompt_id, **failure.about}])
            status, ok = "error", False
        return {
            "prompt": [job.number, job.prompt_id, job.graph, {}, list(job.outputs)],
            "outputs": outputs,
            "status": {"status_str": status, "completed": ok, "messages": messages},
            "meta": {},
        }

    def _output(self, job: _Job, node: str, messages: list[Any]) -> list[dict[str, str]] | None:
        key = json.dumps([node, {n: job.graph[n] for n in sorted(_upstream(job.graph, node))}])
        if key in self._cache:
            nodes = sorted(_upstream(job.graph, node))
            messages.append(["execution_cached", {"nodes": nodes, "prompt_id": job.prompt_id}])
            return self._cache[key] if self.cache_outputs else None
        walk = _Walk(self, job)
        picture = walk.picture(job.graph[node]["inputs"]["images"])
        prefix = job.graph[node]["inputs"].get("filename_prefix", "temp")
        file = f"{prefix}_{len(self.files) + 1:05d}_.png"
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        self.files[file] = buffer.getvalue()
        self._cache[key] = [{"filename": file, "subfolder": "", "type": "output"}]
        return self._cache[key]

    def step(self, job: _Job, node: str, step: int, steps: int, picture: Image.Image) -> None:
        """Tell of one step, unless the job was interrupted."""
        self.mid_step(self, step)
        if job.interrupted or self._stopping:
            raise _InterruptedJob
        self._send(job, "executing", node=node)
        self._send(job, "progress", value=step, max=steps, node=node)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG")
        frame = struct.pack(">II", 1, 1) + buffer.getvalue()
        self._send_frame(job.client_id, 2, frame)

    def _send(self, job: _Job, kind: str, **data: Any) -> None:
        message = {"type": kind, "data": {**data, "prompt_id": job.prompt_id}}
        self._send_frame(job.client_id, 1, json.dumps(message).encode())

    def _send_frame(self, client_id: str, opcode: int, payload: bytes) -> None:
        """Send to the newest socket of *client_id*: a second one takes the messages over."""
        mine = [connection for name, connection in self.sockets if name == client_id]
        if not mine:
            return
        head = struct.pack(">BBQ", 0x80 | opcode, 127, len(payload))
        try:
            mine[-1].sendall(head + payload)
        except OSError:
            self.sockets = [pair for pair in self.sockets if pair[1] is not mine[-1]]

    # -- what clients ask ----------------------------------------------------------------

    def queue(self) -> dict[str, Any]:
        """Return ``/queue``."""
        with self._lock:
            jobs = [[self.running] if self.running else [], list(self.pending)]
        lists = [
            [[j.number, j.prompt_id, j.graph, j.beside, list(j.outputs)] for j in js] for js in jobs
        ]
        return {"queue_running": lists[0], "queue_pending": lists[1]}

    def delete(self, prompt_ids: list[str]) -> None:
        """Take pending jobs out of the queue."""
        with self._lock:
            self.pending = [job for job in self.pending if job.prompt_id not in prompt_ids]

    def interrupt(self, prompt_id: str | None) -> None:
        """Stop the running job, if it is the one that is meant."""
        with self._lock:
            if self.running and (self.hosted or prompt_id in (None, self.running.prompt_id)):
                self.running.interrupted = True

    def job(self, prompt_id: str) -> dict[str, Any] | None:
        """Return ``/api/jobs/ID``."""
        with self._lock:
            entry = self.history.get(prompt_id)
            waiting = [(job, "pending") for job in self.pending]
            waiting += [(self.running, "in_progress")] if self.running else []
        if entry is None:
            found = [(job, status) for job, status in waiting if job.prompt_id == prompt_id]
            return {"id": prompt_id, "status": found[0][1]} if found else None
        messages = entry["status"]["messages"]
        interrupted = any(kind == "execution_interrupted" for kind, _ in messages)
        bad = "cancelled" if interrupted else "failed"
        return {
            "id": prompt_id,
            "status": "completed" if entry["status"]["completed"] else bad,
            "outputs": entry["outputs"],
            "execution_status": entry["status"],
            "workflow": {"prompt": entry["prompt"][2], "extra_data": {}},
        }

    def cancel(self, prompt_ids: list[str]) -> bool:
        """Carry out ``/api/jobs/cancel``."""
        with self._lock:
            stops = self.running is not None and self.running.prompt_id in prompt_ids
            if self.running and stops:
                self.running.interrupted = True
            left = [job for job in self.pending if job.prompt_id not in prompt_ids]
            done = stops or len(left) < len(self.pending)
            self.pending = left
        return done


class _InterruptedJob(Exception):
    """The job was told to stop."""


class FailedNode(Exception):
    """A node raised."""

    def __init__(self, node: str, kind: str, exception: str, message: str) -> None:
        self.about = {
            "node_id": node,
            "node_type": kind,
            "exception_type": exception,
            "exception_message": message,
        }
        super().__init__(message)


class _Walk:
    """Draws by walking a graph backwards; a latent is a picture, an eighth of nothing lost."""

    def __init__(self, server: FakeComfyUI, job: _Job) -> None:
        self._server = server
        self._job = job

    def picture(self, link: list[Any]) -> Image.Image:
        """Return what comes out of *link*."""
        node_id = link[0]
        node = self._job.graph[node_id]
        inputs = node["inputs"]
        kind: str = node["class_type"]
        if kind == "EmptyLatentImage":
            size = (inputs["width"] // 8 * 8, inputs["height"] // 8 * 8)
            return Image.new("RGB", size)
        if kind == "LoadImage":
            return self._loaded(node_id, inputs["image"])
        if kind == "KSampler":
            return self._sampled(node_id, inputs)
        if kind == "ImageScale":
            return self.picture(inputs["image"]).resize((inputs["width"], inputs["height"]))
        if kind == "LatentUpscaleBy":
            source = self.picture(inputs["samples"])
            cells = (round(side // 8 * inputs["scale_by"]) for side in source.size)
            return source.resize((next(cells) * 8, next(cells) * 8))
        if kind == "ImageUpscaleWithModel":
            source = self.picture(inputs["image"])
            return source.resize((source.width * 4, source.height * 4))
        if kind == "ImageCompositeMasked":
            mask = self.mask(inputs["mask"])
            return Image.composite(
                self.picture(inputs["source"]), self.picture(inputs["destination"]), mask
            )
        passed_on = {"VAEDecode": "samples", "VAEEncode": "pixels", "SetLatentNoiseMask": "samples"}
        return self.picture(inputs[passed_on[kind]])

    def mask(self, link: list[Any]) -> Image.Image:
        inputs = self._job.graph[link[0]]["inputs"]
        loaded = Image.open(io.BytesIO(self._server.inputs[inputs["image"]]))
        return loaded.convert("RGB").getchannel(0)

    def _loaded(self, node_id: str, name: str) -> Image.Image:
        try:
            data = self._server.inputs[name]
            with Image.open(io.BytesIO(data)) as picture:
                return picture.convert("RGB")
        except (OSError, KeyError):
            text = f"cannot identify image file '/comfyui/input/{name}'\n"
            error = "PIL.UnidentifiedImageError"
            raise FailedNode(node_id, "LoadImage", error, text) from None

    def _sampled(self, node_id: str, inputs: Mapping[str, Any]) -> Image.Image:
        before = self.picture(inputs["latent_image"])
        if before.width * before.height > 4096**2:
            text = "CUDA out of memory. Tried to allocate 48.00 GiB."
            raise FailedNode(node_id, "KSampler", "torch.OutOfMemoryError", text)
        ingredients = {
            "texts": [
                self._values_behind(inputs[name]) for name in ("model", "positive", "negative")
            ],
            **{n: inputs[n] for n in ("seed", "steps", "cfg", "sampler_name", "scheduler")},
        }
        digest = hashlib.sha256(json.dumps(ingredients).encode()).digest()
        rng = np.random.default_rng(list(digest))
        noise = rng.integers(0, 256, (before.height // 8, before.width // 8, 3), np.uint8)
        picture = Image.fromarray(noise).resize(before.size, Image.Resampling.NEAREST)
        if inputs["denoise"] > 0:
            for step in range(1, inputs["steps"] + 1):
                self._server.step(self._job, node_id, step, inputs["steps"], picture)
        return Image.blend(before, picture, inputs["denoise"])

    def _values_behind(self, link: list[Any]) -> Any:
        """Return every value behind *link*."""
        node = self._job.graph[link[0]]
        return [
            node["class_type"],
            {
                name: self._values_behind(value) if isinstance(value, list) else value
                for name, value in sorted(node["inputs"].items())
            },
        ]


def _upstream(graph: Mapping[str, Any], node: str) -> set[str]:
    """Return *node* and every node that it needs."""
    behind, todo = set(), [node]
    while todo:
        here = todo.pop()
        if here in behind or here not in graph:
            continue
        behind.add(here)
        todo.extend(v[0] for v in graph[here]["inputs"].values() if isinstance(v, list))
    return behind


def _error(kind: str, message: str, details: str) -> dict[str, Any]:
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return {"error": error, "node_errors": {}}


def _fault(kind: str, name: str, details: str, value: Any) -> dict[str, Any]:
    info = {"input_name": name, "input_config": None, "received_value": value}
    message = kind.replace("_", " ").capitalize()
    return {"type": kind, "message": message, "details": details, "extra_info": info}


class _Handler(BaseHTTPRequestHandler):
    comfy: FakeComfyUI
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if not self._admitted("GET", parts.path):
            return
        comfy = self.comfy
        root, _, rest = self._inside(parts.path)[1:].partition("/")
        if root == "ws" and not (comfy.hosted and parts.path.startswith("/api")):
            self._websocket(parse_qs(parts.query).get("clientId", [""])[0])
        elif root == "api" and rest.startswith("jobs") and comfy.jobs:
            job = comfy.job(rest[5:]) if rest != "jobs" else {"jobs": [], "pagination": {}}
            self._json(200 if job else 404, job or {"error": "Job not found"})
        elif comfy.hosted and (root == "history" or (root == "object_info" and rest)):
            self._json(404, {"code": "NOT_FOUND", "message": "no such route"})
        elif root == "object_info" and not rest:
            self._json(200, comfy.object_info)
        elif root == "view" and comfy.hosted:
            self._moved(comfy.storage + parse_qs(parts.query)["filename"][0] + "?signed=secret")
        elif root == "history":
            known = comfy.history.get(rest)
            self._json(200, {unquote(rest): known} if known else {})
        elif root == "queue":
            self._json(200, comfy.queue())
        elif root == "object_info":
            known = comfy.object_info.get(unquote(rest))
            self._json(200, {unquote(rest): known} if known else {} if rest else comfy.object_info)
        elif root == "system_stats":
            own = {"cloud_version": "1"} if comfy.hosted else {}
            self._json(200, {**_STATS, "system": {**_STATS["system"], **own}})
        elif root == "view":
            place = {key: said for key, (said, *_) in parse_qs(parts.query).items()}
            kept = comfy.inputs if place.get("type") == "input" else comfy.files
            data = kept.get(place["filename"])
            self._answer(200 if data else 404, "image/png", comfy.png(data) if data else b"")
        else:
            self._answer(404, "text/plain", b"404: Not Found")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self._admitted("POST", self.path):
            return
        comfy = self.comfy
        path = self._inside(self.path)
        if path == "/upload/image":
            name, data = _uploaded(self.headers, body)
            comfy.inputs[name] = data
            self._json(200, {"name": name, "subfolder": "", "type": "input"})
            return
        sent = json.loads(body)
        status, answer = 200, None
        if path == "/prompt":
            status, answer = comfy.submit(sent)
            if status == 200 and comfy.taken(comfy):
                self.close_connection = True
                return
        elif path == "/interrupt":
            comfy.interrupt(sent.get("prompt_id"))
        elif path == "/queue":
            comfy.delete(sent["delete"])
        elif path == "/api/jobs/cancel" and comfy.jobs and comfy.cancels:
            answer = {"cancelled": comfy.cancel(sent["job_ids"])}
        else:
            status = 405
        if self.path in comfy.drop_answer_to:
            comfy.drop_answer_to.discard(self.path)
            self.close_connection = True
            return
        self._json(status, answer) if answer is not None else self._answer(status, "", b"")

    def _inside(self, path: str) -> str:
        """Return *path* as ComfyUI has it without ``/api``, before which all routes are, too."""
        if path.startswith("/api/") and not (
            path.startswith("/api/jobs") and not self.comfy.hosted
        ):
            inside = path.removeprefix("/api")
            return f"/api{inside}" if inside.startswith("/jobs") else inside
        return path if not self.comfy.hosted or path == "/ws" else f"/nothing{path}"

    def _moved(self, place: str) -> None:
        self.send_response(302)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _admitted(self, method: str, path: str) -> bool:
        comfy = self.comfy
        if comfy.stopped:
            self.close_connection = True
            return False
        comfy.asked.append((method, path))
        if comfy.login:
            wanted = base64.b64encode(comfy.login.encode()).decode()
            if self.headers.get("authorization") != f"Basic {wanted}":
                self._answer(401, "text/plain", b"who are you?")
                return False
        said = (
            self.headers.get("x-api-key")
            or parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        )
        if comfy.key and said != comfy.key:
            self._answer(401, "application/json", b'{"code": "UNAUTHORIZED"}')
            return False
        canned = comfy.canned.get(path)
        if canned is not None:
            self._answer(*canned)
        return canned is None

    def _json(self, status: int, document: Any) -> None:
        self._answer(status, "application/json; charset=utf-8", json.dumps(document).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _websocket(self, client_id: str) -> None:
        key = self.headers.get("sec-websocket-key")
        if not self.comfy.websocket or not key:
            self._answer(404, "text/plain", b"404: Not Found")
            return
        magic = key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(magic).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.comfy.sockets.append((client_id, self.connection))
        self._wait_for_close()
        self.comfy.sockets = [p for p in self.comfy.sockets if p[1] is not self.connection]
        self.close_connection = True

    def _wait_for_close(self) -> None:
        """Read what the client sends until it says goodbye, and answer that."""
        while len(head := self.rfile.read(2)) == 2:
            length = head[1] & 0x7F
            self.rfile.read(4 + length)
            if head[0] & 0x0F == 8:
                with contextlib.suppress(OSError):
                    self.connection.sendall(b"\x88\x00")
                return


def _uploaded(headers: Message, body: bytes) -> tuple[str, bytes]:
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    for part in BytesParser().parsebytes(head + body).walk():
        if part.get_filename():
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            return str(part.get_filename()), data
    raise AssertionError("a form without a file")


_STATS: dict[str, Any] = {
    "system": {
        "os": "posix",
        "comfyui_version": "0.3.75",
        "python_version": "3.11.7 (main)",
        "pytorch_version": "2.13.0+cpu",
    },
    "devices": [{"name": "cpu", "type": "cpu"}],
}
