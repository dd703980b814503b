"""What ``safelight run`` adds to the pictures of a web UI, from its start to the record.

The server runs in a process of its own and answers like Forge, with a 512 x 512 picture, after
a fixed time in which it "draws". The floor is a loop of single POSTs over one kept connection
that decodes the answer's base64 and writes the files. Between that and safelight stand: a plan,
a look at the progress before and after each job and from beside it, the infotext, the
picture's identity and metadata, files flushed to the disk, a journal and a learning record. Both
take turns within one run, and the medians are compared. Then the same config goes to one server
and to two. Last, a whole process: how long after its start the first picture is asked for.

Bars: under 2 % or under 5 ms a picture; two servers at least 1.8 times as fast as one; the
first request within 400 ms.

Usage: ``python bench/webui_overhead.py [ROUNDS]``
"""

from __future__ import annotations

import base64
import io
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

import httpx

from safelight.backends.webui import WebuiBackend
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner

SECONDS, SIDE, PICTURES, ROUNDS = 0.25, 512, 40, 3
CONFIG = f"""
backend = {{{{ name = "webui", url = "{{url}}" }}}}
[txt2img]
prompt = "a fox"
steps = 20
width = {SIDE}
height = {SIDE}
seed = 0
"""

INFOTEXT = (
    "a fox\nSteps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: {seed},"
    f" Size: {SIDE}x{SIDE}, Model: m, Version: f2.0.1"
)
LISTS: dict[str, Any] = {
    "samplers": [{"name": "Euler a"}],
    "schedulers": [{"name": "automatic", "label": "Automatic"}],
    "options": {"forge_additional_modules": [], "CLIP_stop_at_last_layers": 1},
    "sd-models": [{"title": "m.safetensors", "model_name": "m"}],
    "upscalers": [{"name": "Lanczos"}],
    "progress": {"progress": 0, "state": {"job": "", "sampling_step": 0, "sampling_steps": 20}},
}


def picture() -> str:
    """Return a PNG about as large as a drawn one compresses to, in base64."""
    from PIL import Image

    gradient, noise = (
        Image.linear_gradient("L").resize((SIDE, SIDE)),
        Image.effect_noise((SIDE, SIDE), 12),
    )
    buffer = io.BytesIO()
    Image.merge("RGB", (gradient, noise, gradient.rotate(90))).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def serve(port_to: Connection) -> None:
    """Be a server until the process ends."""
    image, drawing, asked_at = picture(), Lock(), list[float]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

        def _send(self, body: Any, status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            """Answer with a list, or 404."""
            if self.path == "/asked_at":
                self._send(asked_at)
                return
            name = self.path.partition("?")[0].rpartition("/")[2]
            self._send(LISTS.get(name, {}), 200 if name in LISTS else 404)

        def do_POST(self) -> None:
            """Draw for a fixed time, one at a time."""
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not self.path.endswith("txt2img"):
                self._send({}, 404)
                return
            asked_at.append(time.time())
            with drawing:
                time.sleep(SECONDS)
            seed = asked["seed"]
            info = {"all_seeds": [seed], "infotexts": [INFOTEXT.format(seed=seed)]}
            self._send({"images": [image], "parameters": asked, "info": json.dumps(info)})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port_to.send(server.server_address[1])
    server.serve_forever()


def start() -> tuple[Any, str]:
    """Start a server; return its process and its address."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    return process, f"http://127.0.0.1:{here.recv()}"


def bare(url: str, folder: Path) -> float:
    """Return the seconds that the pictures take over bare calls, written to files."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        began = time.perf_counter()
        for seed in range(PICTURES):
            body = {"prompt": "a fox", "seed": seed, "steps": 20, "width": SIDE, "height": SIDE}
            answer = client.post("/sdapi/v1/txt2img", json=body).json()
            (folder / f"{seed}.png").write_bytes(base64.b64decode(answer["images"][0]))
        return time.perf_counter() - began


def ours(backend: WebuiBackend, folder: Path) -> float:
    """Return the seconds that the same pictures take through a run with its record."""
    config = {
        "txt2img": {"prompt": "a fox", "seed": 0, "steps": 20, "width": SIDE, "height": SIDE},
        "randomizer": {"mode": "fanout", "seeds_per_variant": PICTURES},
    }
    began = time.perf_counter()
    with LearningRecordWriter(folder / "records") as writer:
        runner = PipelineRunner(backend, archive_dir=folder, learning_record_writer=writer)
        result = runner.run(config)
    seconds = time.perf_counter() - began
    assert result.status == "completed", result.failures
    assert [image.output.seed for image in result.images] == list(range(PICTURES))
    return seconds


def first_request(url: str, folder: Path) -> float:
    """Return the seconds from the start of a ``safelight run`` to its first picture's request."""
    (folder / "config.toml").write_text(CONFIG.format(url=url), "utf-8")
    command = [sys.executable, "-m", "safelight", "run", "config.toml", "--again"]
    began = time.time()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    times: list[float] = httpx.get(f"{url}/asked_at", trust_env=False).json()
    return min(at for at in times if at > began) - began


def main() -> None:
    """Print the comparisons beside their bars."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    servers = [start(), start()]
    urls = [url for _, url in servers]
    alone, two = WebuiBackend(url=urls[0]), WebuiBackend(urls=urls)
    floor, single, double, begun = [], [], [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for _ in range(rounds):
            floor.append(bare(urls[0], folder))
            single.append(ours(alone, folder))
            double.append(ours(two, folder))
            begun.append(first_request(urls[0], folder))
    low, mid, fast = (statistics.median(times) for times in (floor, single, double))
    added = (mid - low) / PICTURES * 1000
    print(f"{PICTURES} pictures of {SECONDS * 1000:.0f} ms each, median of {rounds} rounds")
    print(f"bare calls     {low:6.2f} s")
    print(f"safelight      {mid:6.2f} s   {mid / low:.3f} of bare, {added:.1f} ms a picture"
          "   (bar 1.02 or 5 ms)")  # fmt: skip
    print(f"two servers    {fast:6.2f} s   {mid / fast:.2f} times one   (bar 1.8)")
    print(f"first request  {statistics.median(begun):6.2f} s after the start   (bar 0.40)")
    for backend in (alone, two):
        backend.close()
    for process, _ in servers:
        process.terminate()


if __name__ == "__main__":
    main()
